"""A point source s = delta(r - r0) f(t) in uniform matter, in the open or in a rectangle.

    p = (rho / 2 pi) integral of f(t - tau) / sqrt(tau^2 - (r/c)^2) dtau     from r/c to t - first
      = (rho / 2 pi) integral of f(t - (r/c) cosh u) du                      from 0 to arccosh(c (t - first) / r)

with f = 0 before `first`; tau = (r/c) cosh u takes the singularity away. The panels of the Gauss rule are of equal
width in v = u + (tau - r/c) / h: short in u near the arrival, short in tau later; h is halved until nothing changes.
Sides are images. At r = 0 the field is infinite until f is over.
Reference: Morse and Feshbach, Methods of Theoretical Physics I (1953), section 7.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wavesim.errors import WavesimError

from .images import Sides, images
from .matter import BACKGROUND, Fields, Matter, spread
from .profiles import Profile

OPEN: Sides = ("open", "open")
NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)
POINTS = 128  # at a time: their quadrature fits into a cache


@dataclass(frozen=True)
class PointSource:
    """delta(r - place) f(t), f the `profile` as a function of time, with a finite `first`."""

    profile: Profile
    place: tuple[float, float]
    matter: Matter = BACKGROUND
    x_sides: Sides = OPEN
    y_sides: Sides = OPEN
    lengths: tuple[float, float] = (1.0, 1.0)
    tolerance: float = 1e-11

    def fields(self, x: np.ndarray, y: np.ndarray, t: np.ndarray | float) -> Fields:
        """(p, p_t), with an absolute error of `tolerance` times rho times the largest |f|, |f'|.

        Raises:
            WavesimError: `first` is not finite, a point is at the source while f lasts, or f is too rough.
        """
        x, y, t = spread(x, y, t)
        f, c = self.profile, self.matter.wave_speed
        if not np.isfinite(f.first):
            raise WavesimError(f"a point source's profile must be zero before a finite time; first is {f.first}")
        shape = np.broadcast_shapes(x.shape, t.shape)
        time = np.broadcast_to(t, shape).ravel()
        reach = c * max(float(time.max(initial=f.first)) - f.first, 0.0)
        result = np.zeros((2, time.size))
        for (x0, y0), sign in zip(*images(self.place, self.x_sides, self.y_sides, self.lengths, reach), strict=True):
            delay = np.broadcast_to(np.hypot(x - x0, y - y0) / c, shape).ravel()
            if np.any((delay == 0) & (time > f.first) & (time <= f.last)):
                raise WavesimError(f"the field at the source {self.place} is infinite while f lasts: move the point")
            # Where f is over, r = 0 is the limit of small r, with an error of (r / c tau)^2.
            delay = np.where(time > f.last, np.maximum(delay, 1e-9 * (time - f.first)), delay)
            on = np.nonzero(time - f.first > delay)[0]
            for k in range(0, on.size, POINTS):
                part = on[k : k + POINTS]
                result[:, part] += sign * _convolve(f, delay[part], time[part], self.tolerance)
        p, p_t = result.reshape(2, *shape) * self.matter.density / (2 * np.pi)
        return p, p_t


def _convolve(f: Profile, delay: np.ndarray, time: np.ndarray, tolerance: float) -> np.ndarray:
    """(2, points) integrals over u, of f and of f', for r/c = delay < time - first."""
    duration = time - f.first
    h = (f.last - f.first) / 6 if np.isfinite(f.last) else float(duration.max()) / 8
    last = _panels(f, delay, time, h)
    for _ in range(10):
        h /= 2
        result = _panels(f, delay, time, h)
        change = np.abs(result - last)
        if np.all(change <= tolerance * np.maximum(1, np.abs(last))):
            break
        last = result
    else:
        raise WavesimError(f"the quadrature of a point source still changes by {change.max():.1e}: f is rough")
    # A jump of f at `first` is a delta in f', which brings the Green's function itself.
    result[1] += f.value(np.array(f.first)) / np.sqrt((duration - delay) * (duration + delay))
    return result


def _panels(f: Profile, delay: np.ndarray, time: np.ndarray, h: float) -> np.ndarray:
    """One quadrature, with panels of width at most 1 in v = u + (tau - r/c) / h, where f is not zero."""
    a = delay[:, None]
    low, high = (np.arccosh(np.maximum((time - edge) / delay, 1.0))[:, None] for edge in (f.last, f.first))

    def v_of(u: np.ndarray) -> np.ndarray:
        return u + a / h * (np.cosh(u) - 1)

    begin, whole = v_of(low), v_of(high) - v_of(low)
    count = max(int(np.ceil(whole.max())), 1)
    v = begin + whole * np.arange(count + 1) / count
    u = np.minimum(v, np.arccosh(1 + v * h / a))  # above the root of a convex rising function: Newton falls onto it
    for _ in range(6):
        u = u - (v_of(u) - v) / (1 + a / h * np.sinh(u))
    u[:, :1], u[:, -1:] = low, high
    middle, half = (u[:, 1:] + u[:, :-1]) / 2, np.diff(u, axis=1) / 2
    moment = time[:, None, None] - a[..., None] * np.cosh(middle[..., None] + half[..., None] * NODES)
    return np.stack([np.einsum("pkn,pk,n->p", g(moment), half, WEIGHTS) for g in (f.value, f.slope)])
