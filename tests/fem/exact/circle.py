"""A round inclusion hit by a plane pulse or by the wave of a point source.

In polar coordinates around the centre, phi from the direction of the wave (or the source), at e^(-i omega t),

    outside   sum over n of e_n (J_n(k1 r) + B_n H_n(k1 r)) e^(i n phi),   inside   sum of e_n A_n J_n(k2 r) e^(i n phi)
    plane pulse   e_n = i^n;      point source at r_s   e_n = (i rho1 / 4) H_n(k1 r_s), for r < r_s

with A_n, B_n from the continuity of p and (1/rho) dp/dr at r = a. Back to time along omega = x + i sigma, sigma > 0:

    p(t) = Re (1 / pi) sum over omega_m = (m + 1/2) D + i sigma of   D F(omega_m) P(omega_m) e^(-i omega_m t)

The sum is exact but for repetitions of the field after T = 2 pi / D, which the shift makes count e^(-sigma T); it also
leads past the branch point at omega = 0 and every resonance. With the window W = t - (first arrival), T = 2 W and
sigma W = ln 1e5, repetitions count 1e-10 of a later, weaker field, and rounding 1e5 times 1e-16. The incident field
outside is added in time, in closed form.
Functions of order n are carried as ratios to order n - 1: J downwards in n, H upwards, both stable.
Reference: Morse and Ingard, Theoretical Acoustics (1968), section 8.1; Abramowitz and Stegun, 9.1.27 and 9.1.79.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import hankel1, jv

from wavesim.errors import WavesimError

from .green import PointSource
from .matter import BACKGROUND, Fields, Matter, spread
from .profiles import Profile

GROWTH = np.log(1e5)  # sigma W
CHUNK = 2_000_000  # ratios (order, frequency, place) at a time: 32 MB


@dataclass(frozen=True)
class Circle:
    """`inside` matter for r < radius around center, `outside` elsewhere."""

    center: tuple[float, float]
    radius: float
    inside: Matter
    outside: Matter = BACKGROUND

    def bulk_modulus(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """kappa at (x, y), which broadcast."""
        return np.where(self.distance(x, y) < self.radius, self.inside.bulk_modulus, self.outside.bulk_modulus)

    def density(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """rho at (x, y)."""
        return np.where(self.distance(x, y) < self.radius, self.inside.density, self.outside.density)

    def distance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """r."""
        return np.hypot(x - self.center[0], y - self.center[1])


@dataclass(frozen=True)
class CirclePlaneWave:
    """The pulse f(d . (r - center) - c t) of `profile`, travelling at `angle` (radians from x) onto a circle.

    refinement: multiplies orders, largest frequency and period of the sum; 2 changes less than 2e-10 (tested).
    """

    profile: Profile
    circle: Circle
    angle: float = 0.0
    refinement: int = 1

    def fields(self, x: np.ndarray, y: np.ndarray, t: np.ndarray | float) -> Fields:
        """(p, p_t).

        Raises:
            WavesimError: a profile without a transform.
        """
        f, circle = self.profile, self.circle
        if f.transform is None:
            raise WavesimError("a round inclusion needs a profile with a transform: gaussian or ricker")
        transform = f.transform
        x, y, t = spread(x, y, t)
        r, cosine = _polar(circle, x, y, self.angle)
        c = circle.outside.wave_speed
        # zeta = -r - c t falls to `last` when the pulse comes; what is `first` has then gone by.
        arrival = (-circle.radius - f.last) / c
        omega = _frequencies(f.largest_wavenumber * c, arrival, t, (f.last - f.first + 2 * circle.radius) / c, self)
        orders = _orders(omega, circle)
        series = _Series(circle, omega, orders)
        spectrum = transform(omega / c) / c
        excitation = series.bessel * (1j ** (np.arange(orders) % 4))[:, None] * spectrum
        p, p_t = series.to_time(excitation, r, cosine, t)
        zeta = r * cosine - c * t
        outside = r >= circle.radius
        p += np.where(outside, f.value(zeta), 0.0)
        p_t += np.where(outside, -c * f.slope(zeta), 0.0)
        return p, p_t


@dataclass(frozen=True)
class CirclePointSource:
    """The wave of s = delta(r - place) f(t), from a place outside of a circle."""

    profile: Profile
    circle: Circle
    place: tuple[float, float]
    refinement: int = 1

    def fields(self, x: np.ndarray, y: np.ndarray, t: np.ndarray | float) -> Fields:
        """(p, p_t).

        Raises:
            WavesimError: a profile without a transform, or a place that is not outside of the circle.
        """
        f, circle = self.profile, self.circle
        dx, dy = np.subtract(self.place, circle.center)
        distance = float(np.hypot(dx, dy))
        if f.transform is None:
            raise WavesimError("a round inclusion needs a profile with a transform: gaussian or ricker")
        if distance <= circle.radius * 1.02:
            raise WavesimError(
                f"the source is {distance} from the centre: the series needs more than 1.02 radii of {circle.radius}"
            )
        times = t
        x, y, t = spread(x, y, t)
        r, cosine = _polar(circle, x, y, float(np.arctan2(dy, dx)))
        c = circle.outside.wave_speed
        arrival = f.first + (distance - circle.radius) / c
        omega = _frequencies(f.largest_wavenumber, arrival, t, f.last - f.first + 2 * circle.radius / c, self)
        # On the circle the terms fall like (a / r_s)^n.
        steps = int(np.ceil(37 / np.log(distance / circle.radius)))
        orders = _orders(omega, circle) + steps * self.refinement
        series = _Series(circle, omega, orders)
        # F(omega) = integral of f e^(+i omega t) dt
        spectrum = 0.25j * circle.outside.density * f.transform(-omega)
        hankel = series.outgoing(np.array([distance]))[..., 0]  # H_n(k1 r_s) / H_n(k1 a)
        excitation = series.bessel_hankel * hankel * spectrum
        p, p_t = series.to_time(excitation, r, cosine, t)
        direct = PointSource(f, self.place, circle.outside)
        outside = r >= circle.radius
        if outside.any():
            q, q_t = direct.fields(x[outside], y[outside], times)
            p[..., outside] += q
            p_t[..., outside] += q_t
        return p, p_t


class _Series:
    """Everything of one circle at the complex frequencies omega (frequency,), for the orders 0 to orders - 1."""

    def __init__(self, circle: Circle, omega: np.ndarray, orders: int) -> None:
        self.circle, self.omega, self.orders = circle, omega, orders
        self.k1, self.k2 = omega / circle.outside.wave_speed, omega / circle.inside.wave_speed
        z1, z2, n = self.k1 * circle.radius, self.k2 * circle.radius, np.arange(orders)[:, None]
        self.j1, self.j2, self.h1 = j_ratios(z1, orders), j_ratios(z2, orders), h_ratios(z1, orders)
        # J_n(z1), and J_n(z1) H_n(z1), which neither grow nor vanish quickly.
        self.bessel = _products(jv(0, z1), self.j1)
        self.bessel_hankel = _products(jv(0, z1) * hankel1(0, z1), self.j1 * self.h1)
        # f_n' / f_n = n / z - f_{n+1} / f_n, times k / rho: what p's normal flux is to p.
        j_out = (n / z1 - self.j1) * self.k1 / circle.outside.density
        h_out = (n / z1 - self.h1) * self.k1 / circle.outside.density
        j_in = (n / z2 - self.j2) * self.k2 / circle.inside.density
        self.scattered = (j_in - j_out) / (h_out - j_in)  # B_n H_n(z1) / J_n(z1)
        self.inner = (h_out - j_out) / (h_out - j_in)  # A_n J_n(z2) / J_n(z1)

    def outgoing(self, r: np.ndarray) -> np.ndarray:
        """(order, frequency, place) H_n(k1 r) / H_n(k1 a) at the distances r (place,) >= a."""
        z = np.multiply.outer(self.k1, r)
        start = hankel1(0, z) / hankel1(0, self.k1 * self.circle.radius)[:, None]
        return _products(start, h_ratios(z, self.orders) / self.h1[..., None])

    def regular(self, r: np.ndarray) -> np.ndarray:
        """(order, frequency, place) J_n(k2 r) / J_n(k2 a) at the distances r (place,) <= a."""
        z = np.multiply.outer(self.k2, r)
        start = jv(0, z) / jv(0, self.k2 * self.circle.radius)[:, None]
        return _products(start, j_ratios(z, self.orders) / self.j2[..., None])

    def to_time(self, excitation: np.ndarray, r: np.ndarray, cosine: np.ndarray, t: np.ndarray) -> Fields:
        """(p, p_t) at t, of the whole field inside and the scattered one outside.

        excitation: (order, frequency), what multiplies e^(i n phi) in the incident field at r = a, with the spectrum.
        """
        shape = r.shape
        r, angle = r.ravel(), np.arccos(np.clip(cosine.ravel(), -1, 1))
        fields = np.zeros((self.omega.size, r.size), complex)
        weight = np.where(np.arange(self.orders) > 0, 2.0, 1.0)[:, None]  # n and -n
        size = max(CHUNK // excitation.size, 1)
        for inside in (True, False):
            places = np.nonzero((r < self.circle.radius) == inside)[0]
            radial = self.regular if inside else self.outgoing
            amplitude = weight * excitation * (self.inner if inside else self.scattered)
            for first in range(0, places.size, size):
                part = places[first : first + size]
                round_ = np.cos(np.multiply.outer(np.arange(self.orders), angle[part]))
                fields[:, part] = np.einsum("nf,nfp,np->fp", amplitude, radial(r[part]), round_)
        step = 2 * self.omega[0].real / np.pi  # D / pi
        wave = step * np.exp(-1j * np.multiply.outer(t.ravel(), self.omega))
        p, p_t = (wave @ fields).real, (wave @ (-1j * self.omega[:, None] * fields)).real
        whole = t.shape[:1] + shape
        return p.reshape(whole), p_t.reshape(whole)


def j_ratios(z: np.ndarray, orders: int) -> np.ndarray:
    """(orders, *z) of J_{n+1}(z) / J_n(z), n = 0 ..., by the recurrence downwards."""
    extra = 20 + int(np.max(np.abs(z)))  # from here on the start is forgotten
    ratio = np.zeros(z.shape, complex)
    result = np.empty((orders, *z.shape), complex)
    for n in range(orders + extra, 0, -1):
        ratio = z / (2 * n - z * ratio)
        if n <= orders:
            result[n - 1] = ratio
    return result


def h_ratios(z: np.ndarray, orders: int) -> np.ndarray:
    """(orders, *z) of H_{n+1}(z) / H_n(z), of the first kind, n = 0 ..., by the recurrence upwards."""
    result = np.empty((orders, *z.shape), complex)
    result[0] = hankel1(1, z) / hankel1(0, z)
    for n in range(1, orders):
        result[n] = 2 * n / z - 1 / result[n - 1]
    return result


def _products(start: np.ndarray, ratios: np.ndarray) -> np.ndarray:
    """(order, ...) of f_n from f_0 and the ratios f_{n+1} / f_n."""
    return np.cumprod(np.concatenate([start[None], ratios[:-1]]), axis=0)


def _polar(circle: Circle, x: np.ndarray, y: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """r, and the cosine of phi, from the direction `angle`."""
    x, y = x - circle.center[0], y - circle.center[1]
    r = np.hypot(x, y)
    return r, (x * np.cos(angle) + y * np.sin(angle)) / np.where(r > 0, r, 1)


def _frequencies(
    largest: float, arrival: float, t: np.ndarray, shortest: float, wave: CirclePlaneWave | CirclePointSource
) -> np.ndarray:
    """(frequency,) omega_m up to `largest`; the window is at least `shortest`, so that sigma stays moderate."""
    window = max(float(np.max(t)) - arrival, shortest)
    step = np.pi / window / wave.refinement
    count = int(np.ceil(largest * wave.refinement / step))
    return (np.arange(count) + 0.5) * step + 1j * GROWTH / window


def _orders(omega: np.ndarray, circle: Circle) -> int:
    """How many orders count: J_n(z) falls below 1e-17 a few z^(1/3) beyond n = |z|."""
    z = float(np.abs(omega[-1])) * circle.radius / circle.outside.wave_speed
    return int(np.ceil(z + 12 * np.cbrt(z) + 12))
