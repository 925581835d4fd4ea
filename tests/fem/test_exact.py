"""The exact solutions solve the equation, meet their sides and interfaces, and agree with closed forms and each other.

Derivatives are central differences of order 8 in a tenth of a width: they are wrong by (1/630) (h/w)^8 |f^(10)| w^8 of
the largest second derivative 1 / w^2: 1.5e-8 for a Gaussian and 2e-7 for a Ricker wavelet. Values and slopes at an
interface are extrapolated from 8 points a side, w / 50 apart, with an error of (1/50)^8 |f^(8)| w^8 < 1e-10 and the
field's own error times 2^8, for slopes over h.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from exact.circle import Circle, CirclePlaneWave, CirclePointSource, _Series
from exact.green import PointSource
from exact.interface import InterfaceWave, fresnel
from exact.layers import LayeredWave
from exact.manufactured import example
from exact.matter import Matter
from exact.modes import PERIODIC, RIGID, SOFT, Mode, PlaneWave
from exact.profiles import Profile, gaussian, ricker
from exact.pulse import PulseAtRest
from scipy.special import dawsn, h1vp, jvp

from wavesim.errors import WavesimError

SIDES = [RIGID, SOFT, ("rigid", "soft"), ("soft", "rigid"), PERIODIC]
PAIRS = [*zip(SIDES, SIDES[1:] + SIDES[:1], strict=True), (RIGID, RIGID), (PERIODIC, PERIODIC)]
SECOND = np.array([-1 / 560, 8 / 315, -1 / 5, 8 / 5, -205 / 72, 8 / 5, -1 / 5, 8 / 315, -1 / 560])
FIRST = np.array([1 / 280, -4 / 105, 1 / 5, -4 / 5, 0, 4 / 5, -1 / 5, 4 / 105, -1 / 280])
STEPS = np.arange(-4, 5)
# Exact for polynomials of degree 7: value and derivative at 0 from the points 1, ..., 8.
EXTRAPOLATE = np.linalg.solve(np.vander(np.arange(1.0, 9), increasing=True).T, np.eye(8)[:, :2])


@pytest.fixture
def random():
    return np.random.default_rng(5)


def residuals(fields, x, y, t, h, bulk_modulus, density):
    """Largest |(1/kappa) p_tt - (1/rho) lap p| over the largest term, and |dp/dt - p_t| over the largest p_t.

    x, y: (points,); t: (times,).
    """
    across = h * np.multiply.outer(np.array([[1, 0], [0, 1]]), STEPS)[..., None]  # (place, direction, step, point)
    p = fields(x + across[0], y + across[1], t)[0]
    laplacian = np.einsum("k,tdkp->tp", SECOND, p) / h**2
    p, p_t = (one.reshape(t.size, STEPS.size, -1) for one in fields(x, y, (t[:, None] + h * STEPS).ravel()))
    p_tt, slope, exact = np.einsum("k,tkp->tp", FIRST, p_t) / h, np.einsum("k,tkp->tp", FIRST, p) / h, p_t[:, 4]
    assert np.abs(p_tt).max() > 0 and np.isfinite(p_tt).all()
    wrong = np.abs(p_tt / bulk_modulus - laplacian / density).max() / np.abs(p_tt / bulk_modulus).max()
    return wrong, np.abs(slope - exact).max() / np.abs(exact).max()


def jumps(fields, x, y, normal, t, h, before, beyond):
    """Largest jump of p and of (1/rho) dp/dn at points (x, y), normal (2, points), over the largest of each."""
    limits, steps = [], np.arange(1, 9)[:, None] * h
    for side, density in ((-1, before.density), (1, beyond.density)):
        p = fields(x + side * steps * normal[0], y + side * steps * normal[1], t)[0]
        value, slope = (np.einsum("k,tkp->tp", weights, p) for weights in EXTRAPOLATE.T)
        limits.append((value, slope * side / (h * density)))
    return [np.abs(b - a).max() / np.abs(a).max() for a, b in zip(*limits, strict=True)]


@pytest.mark.parametrize("profile", [gaussian(0.3, 0.2, 1.5), ricker(0.3, 0.2, -2.0)])
def test_a_profile_is_its_transform_and_the_real_part_of_its_analytic_signal(profile):
    z = np.linspace(profile.first, profile.last, 801)
    values, h = profile.value(z), z[1] - z[0]
    assert max(abs(values[0]), abs(values[-1])) < 1e-15
    np.testing.assert_allclose(np.gradient(values, h)[1:-1], profile.slope(z)[1:-1], rtol=0, atol=h**2 * 200)
    k = np.array([0.0, 1.7, -4.0, 3 + 0.5j])
    np.testing.assert_allclose(np.exp(-1j * np.outer(k, z)) @ values * h, profile.transform(k), rtol=0, atol=1e-13)
    np.testing.assert_allclose(profile.analytic(z).real, values, rtol=0, atol=1e-12)
    # (1/pi) integral of F e^(ikz) from 0, above the real axis, by 40 Gauss panels.
    node, weight = np.polynomial.legendre.leggauss(16)
    k = ((np.arange(40)[:, None] + (node + 1) / 2) * profile.largest_wavenumber / 40).ravel()
    weight = np.tile(weight, 40) * profile.largest_wavenumber / 80
    above = np.array([0.1 + 0.2j, -0.7, 1 + 1j])
    wave = np.exp(1j * np.outer(above, k)) * profile.transform(k) * weight / np.pi
    np.testing.assert_allclose(wave.sum(axis=1), profile.analytic(above), rtol=0, atol=1e-12)
    np.testing.assert_allclose((1j * k * wave).sum(axis=1), profile.analytic_slope(above), rtol=0, atol=1e-11)


@pytest.mark.parametrize("fast", [0.5, 3.0])
def test_fresnel_coefficients_conserve_energy_and_have_the_known_limits(fast):
    first, second = Matter(1.0, 1.5), Matter(4.0 * fast**2, 4.0)
    angles = np.linspace(0, 1.55, 200)
    reflection, transmission = fresnel(first, second, angles)
    cosine = np.sqrt(1 - (second.wave_speed / first.wave_speed * np.sin(angles)) ** 2 + 0j)
    flux = np.abs(reflection) ** 2 + np.abs(transmission) ** 2 * (cosine.real / second.impedance) / (
        np.cos(angles) / first.impedance
    )
    np.testing.assert_allclose(flux, 1, rtol=0, atol=1e-13)
    critical = np.sin(angles) > first.wave_speed / second.wave_speed
    assert critical.any() == (second.wave_speed > first.wave_speed)
    np.testing.assert_allclose(np.abs(reflection[critical]), 1, rtol=0, atol=1e-13)
    z1, z2 = first.impedance, second.impedance
    np.testing.assert_allclose(reflection[0], (z2 - z1) / (z2 + z1), rtol=1e-14)
    np.testing.assert_allclose(fresnel(first, second, np.pi / 2)[0], -1, rtol=0, atol=1e-14)
    np.testing.assert_allclose(fresnel(first, Matter(1e20, 1e20), 0.7)[0], 1, rtol=0, atol=1e-9)


def test_nothing_is_reflected_at_the_angle_of_intromission():
    first, second = Matter(1.0, 1.0), Matter(1.0, 2.0)
    ratio, index = second.density / first.density, first.wave_speed / second.wave_speed
    # Brekhovskikh and Godin (2.2.24): sin^2 = (m^2 - n^2) / (m^2 - 1)
    angle = np.arcsin(np.sqrt((ratio**2 - index**2) / (ratio**2 - 1)))
    np.testing.assert_allclose(fresnel(first, second, angle), [0, 1], rtol=0, atol=1e-14)


INTERFACES = {
    "normal": InterfaceWave(ricker(0.08, -0.3), Matter(20, 5), point=(0.4, 0.1)),
    "oblique": InterfaceWave(gaussian(0.08, -0.3), Matter(0.5, 3), Matter(1, 0.7), 0.9, (0.4, 0.1), 0.5),
    "total": InterfaceWave(gaussian(0.08, -0.3), Matter(5, 2), Matter(), -0.9, (0.4, 0.1), -2.0),
    "total ricker": InterfaceWave(ricker(0.08, -0.3), Matter(2, 0.4), Matter(1, 2), 1.1, (0.4, 0.1), 0.0),
}


@pytest.mark.parametrize("wave", INTERFACES.values(), ids=list(INTERFACES))
def test_a_pulse_on_an_interface_solves_the_equation_on_both_sides_and_fits_across(wave, random):
    normal = np.array([np.cos(wave.normal), np.sin(wave.normal)])
    along = np.array([-normal[1], normal[0]])
    t = np.linspace(0.1, 0.8, 4)
    for side, matter in ((-1, wave.first), (1, wave.second)):
        h = 0.008 * min(1, matter.wave_speed / wave.first.wave_speed)
        d, e = side * random.uniform(5 * h, 0.5, 60), random.uniform(-0.3, 0.3, 60)
        x, y = wave.point[0] + d * normal[0] + e * along[0], wave.point[1] + d * normal[1] + e * along[1]
        assert np.all(wave.bulk_modulus(x, y) == matter.bulk_modulus) and np.all(wave.density(x, y) == matter.density)
        assert max(residuals(wave.fields, x, y, t, h, *matter)) < 1e-6
    e = np.linspace(-0.3, 0.3, 30)
    x, y = wave.point[0] + e * along[0], wave.point[1] + e * along[1]
    h = 0.08 / 50 * min(1, wave.second.wave_speed / wave.first.wave_speed)
    assert max(jumps(wave.fields, x, y, normal[:, None], t, h, wave.first, wave.second)) < 1e-7


def test_an_interface_between_equal_matters_is_not_there(random):
    wave = InterfaceWave(gaussian(0.1, -0.2), Matter(2, 3), Matter(2, 3), 0.4)
    x, y = random.uniform(-1, 1, (2, 50))
    zeta = x * np.cos(0.4) + y * np.sin(0.4) - np.sqrt(2 / 3) * 0.3
    p, p_t = wave.fields(x, y, 0.3)
    np.testing.assert_allclose(p, np.exp(-((zeta + 0.2) ** 2) / 0.02), rtol=0, atol=1e-15)
    np.testing.assert_allclose(p_t, np.sqrt(2 / 3) * (zeta + 0.2) / 0.01 * p, rtol=0, atol=1e-14)


def test_total_reflection_needs_an_analytic_signal():
    bare = Profile(np.sin, np.cos)
    with pytest.raises(WavesimError, match="analytic signal"):
        InterfaceWave(bare, Matter(9, 1), angle=1.0).fields(np.zeros(1), np.zeros(1), 0.0)


def test_two_layers_are_an_interface():
    second, t = Matter(20, 5), np.linspace(0, 1, 5)
    x, y = np.linspace(-1, 1, 101), 0.0
    layered = LayeredWave(gaussian(0.05), [-np.inf, 0.2, np.inf], [Matter(), second], origin=-0.4)
    single = InterfaceWave(gaussian(0.05, -0.6), second, point=(0.2, 0.0))
    np.testing.assert_allclose(layered.fields(x, y, t), single.fields(x, y, t), rtol=0, atol=1e-12)


def test_what_a_slab_lets_through_has_the_transmission_of_its_closed_form():
    slab, thickness, w = Matter(6, 2), 0.3, 0.05
    wave = LayeredWave(gaussian(w), [-np.inf, 0, thickness, np.inf], [Matter(), slab, Matter()], origin=-0.5)
    t = np.linspace(0, 8, 4001)
    p = wave.fields(np.float64(thickness), np.float64(0), t)[0]
    omega = np.linspace(0.5, 40, 30)
    spectrum = np.exp(1j * np.outer(omega, t - 0.5)) @ p * t[1]
    ratio, phase = slab.impedance, omega / slab.wave_speed * thickness
    # Brekhovskikh and Godin, section 2.5
    expected = 1 / (np.cos(phase) - 0.5j * (ratio + 1 / ratio) * np.sin(phase))
    incident = w * np.sqrt(2 * np.pi) * np.exp(-((omega * w) ** 2) / 2)
    np.testing.assert_allclose(spectrum, expected * incident, rtol=0, atol=1e-11)


def test_layers_between_walls_fit_together_and_keep_their_mean(random):
    matters, edges = [Matter(), Matter(5, 2), Matter(0.5, 0.7)], [0, 0.6, 0.9, 1.3]
    wave = LayeredWave(ricker(0.04), edges, matters, ("rigid", "rigid"), origin=0.3)
    bell = LayeredWave(gaussian(0.04), edges, matters, ("rigid", "rigid"), origin=0.3)
    t = np.array([0.0, 0.4, 1.0, 1.7, 3.0])
    node, weight = np.polynomial.legendre.leggauss(300)
    mean = 0
    for j, matter in enumerate(matters):
        a, b = edges[j], edges[j + 1]
        mean = mean + bell.fields((a + b) / 2 + (b - a) / 2 * node, 0.0, t)[0] @ weight * (b - a) / 2 / matter[0]
        x = random.uniform(a + 0.02, b - 0.02, 40)
        assert np.all(wave.bulk_modulus(x, 0.0) == matter.bulk_modulus)
        assert max(residuals(wave.fields, x, np.zeros(40), t, 0.004 * min(1, matter.wave_speed), *matter)) < 1e-6
        if j:
            at, normal = np.full(1, a), np.array([[1.0], [0.0]])
            assert max(jumps(wave.fields, at, 0 * at, normal, t, 4e-4, matters[j - 1], matter)) < 1e-7
    np.testing.assert_allclose(mean, 0.04 * np.sqrt(2 * np.pi), rtol=1e-12)  # d/dt of the mean of p/kappa never changes
    soft = LayeredWave(ricker(0.04), edges, matters, ("rigid", "soft"), origin=0.3)
    assert np.abs(soft.fields(np.array([1.3]), 0.0, t)[0]).max() < 1e-12 < np.abs(soft.fields(1.2, 0.0, t)[0]).max()


@pytest.mark.parametrize(("power", "jump"), [(0, 1.0), (2, 0.0)])
def test_a_point_source_that_is_switched_on_has_its_closed_form(power, jump):
    matter = Matter(3.0, 1.7)
    f = Profile(lambda t: np.asarray(t, float) ** power, lambda t: 2.0 * np.asarray(t) * (power == 2), first=0.0)
    x, t = np.array([1e-3, 0.02, 0.3, 0.9]), np.array([0.8, 5.0])
    p, p_t = PointSource(f, (0.0, 0.0), matter).fields(x, 0.0, t)
    a, time = x / matter.wave_speed, t[:, None]
    u = np.arccosh(time / a)
    closed = {0: u, 2: time**2 * u - 2 * time * a * np.sinh(u) + a**2 * (u / 2 + np.sinh(2 * u) / 4)}
    rate = {0: 1 / np.sqrt(time**2 - a**2), 2: 2 * (time * u - a * np.sinh(u))}
    np.testing.assert_allclose(p, 1.7 / (2 * np.pi) * closed[power], rtol=1e-10)
    np.testing.assert_allclose(p_t, 1.7 / (2 * np.pi) * rate[power], rtol=1e-10)
    assert float(f.value(np.float64(0))) == jump


def test_a_point_source_solves_the_equation_emits_f_and_keeps_quiet_before_the_arrival(random):
    matter, f = Matter(2.0, 1.5), ricker(0.07, 0.6)
    source = PointSource(f, (0.3, 0.4), matter)
    angle, r = random.uniform(0, 7, 60), random.uniform(0.2, 1.2, 60)
    x, y, t = 0.3 + r * np.cos(angle), 0.4 + r * np.sin(angle), np.linspace(0.6, 1.8, 4)
    assert max(residuals(source.fields, x, y, t, 0.007, *matter)) < 1e-6
    p, p_t = source.fields(np.array([1.3]), 0.4, np.array([-1.0, f.first + 1 / matter.wave_speed - 1e-9]))
    assert not p.any() and not p_t.any()
    with pytest.raises(WavesimError, match="infinite"):
        source.fields(0.3, 0.4, f.last - 0.1)
    late = f.last + 0.3
    np.testing.assert_allclose(source.fields(0.3, 0.4, late), source.fields(0.3 + 1e-6, 0.4, late), rtol=1e-8)
    # -2 pi r (1/rho) dp/dr tends to f, with an error of order (r/c)^2 log r f''.
    r, h, t = 1e-4, 1e-5, np.linspace(0.4, 0.8, 9)
    slope = np.tensordot(FIRST, [source.fields(np.float64(0.3 + r + k * h), 0.4, t)[0] for k in STEPS], 1) / h
    np.testing.assert_allclose(-2 * np.pi * r * slope / matter.density, f.value(t), rtol=0, atol=2e-5)


def modal_sum(x, y, place, x_sides, y_sides, lengths, matter, coefficient, cut):
    """(2, points): the sum over modes of wavenumbers k < cut of shape(x) shape(place) / |shape|^2 coefficient(k c)."""
    total = np.zeros((2, x.size))
    shapes = []
    for axis, (sides, length) in enumerate(zip((x_sides, y_sides), lengths, strict=True)):
        low = 1 if "soft" in sides else 0
        count = int(cut * length / np.pi) + 2
        for_axis = []
        for number in range(low, count):
            for phase in (0.0, np.pi / 2) if sides == PERIODIC and number else (0.0,):
                numbers = (number, 0) if axis == 0 else (0, number)
                each = (sides, RIGID) if axis == 0 else (RIGID, sides)
                phases = (phase, 0.0, 0.0) if axis == 0 else (0.0, phase, 0.0)
                mode = Mode(numbers, *each, lengths, phases=phases)
                values = mode.fields(
                    *((np.append(x, place[0]), 0.0) if axis == 0 else (0.0, np.append(y, place[1]))), 0
                )
                norm = length if number == 0 else length / 2
                for_axis.append((mode.wavenumbers[axis], values[0][:-1] * values[0][-1] / norm))
        shapes.append(for_axis)
    for (kx, a), (ky, b) in product(*shapes):
        k = np.hypot(kx, ky)
        if k < cut:
            total += np.multiply.outer(coefficient(k * matter.wave_speed), a * b)
    return total


@pytest.mark.parametrize(
    ("x_sides", "y_sides"), [(RIGID, SOFT), (PERIODIC, PERIODIC), (("rigid", "soft"), ("soft", "rigid")), (SOFT, RIGID)]
)
def test_images_of_point_and_pulse_equal_the_sums_over_modes(x_sides, y_sides, random):
    lengths, matter, place, w, t = (1.2, 0.8), Matter(2.0, 1.5), (0.35, 0.3), 0.08, 1.9
    x, y = random.random((2, 25)) * np.array(lengths)[:, None]

    def rest(omega):  # the Gaussian's coefficient in the open plane: images make it exact
        own = 2 * np.pi * w**2 * np.exp(-((omega / matter.wave_speed * w) ** 2) / 2)
        return np.array([np.cos(omega * t), -omega * np.sin(omega * t)]) * own

    pulse = PulseAtRest(place, w, 1.0, matter, x_sides, y_sides, lengths).fields(x, y, t)
    sums = modal_sum(x, y, place, x_sides, y_sides, lengths, matter, rest, 9 / w)
    np.testing.assert_allclose(pulse, sums, rtol=0, atol=1e-11)

    f = ricker(w, 0.75)  # over before t

    def driven(omega):  # q'' + omega^2 q = kappa f
        if omega == 0:
            return np.zeros(2)  # a Ricker wavelet has neither a mean nor a first moment about its centre
        q = np.exp(1j * omega * t) * f.transform(np.float64(omega))
        return matter.bulk_modulus * np.array([q.imag / omega, q.real])

    source = PointSource(f, place, matter, x_sides, y_sides, lengths).fields(x, y, t)
    sums = modal_sum(x, y, place, x_sides, y_sides, lengths, matter, driven, 9.5 / w / matter.wave_speed)
    np.testing.assert_allclose(source, sums, rtol=0, atol=1e-10)


def test_walls_on_one_side_of_an_open_region_reflect():
    t, y = np.array([0.9]), np.linspace(-1, 1, 7)
    for sides in (("soft", "open"), ("open", "soft")):
        wall = np.full(7, 0.0 if sides[0] == "soft" else 1.0)
        p, p_t = PulseAtRest((0.4, 0.1), 0.1, x_sides=sides).fields(wall, y, t)
        free = PulseAtRest((0.4, 0.1), 0.1).fields(wall, y, t)[0]
        assert max(np.abs(p).max(), np.abs(p_t).max()) < 1e-12 < np.abs(free).max()
    with pytest.raises(WavesimError, match="both are periodic"):
        PulseAtRest((0.4, 0.1), 0.1, x_sides=("periodic", "rigid")).fields(y, y, t)


def test_a_pulse_at_rest_begins_as_a_gaussian_and_has_its_closed_form_at_the_centre(random):
    w, matter = 0.06, Matter(2.0, 0.5)
    pulse = PulseAtRest((0.2, 0.1), w, 1.5, matter)
    x, y = random.uniform(-0.3, 0.6, (2, 40))
    p, p_t = pulse.fields(x, y, 0.0)
    np.testing.assert_allclose(p, 1.5 * np.exp(-((x - 0.2) ** 2 + (y - 0.1) ** 2) / (2 * w**2)), rtol=0, atol=1e-13)
    assert not p_t.any()
    t = np.linspace(-1, 1, 9)
    tau = 2 * t / w
    closed = 1.5 * (1 - np.sqrt(2) * tau * dawsn(tau / np.sqrt(2)))
    np.testing.assert_allclose(pulse.fields(np.float64(0.2), np.float64(0.1), t)[0], closed, rtol=0, atol=1e-12)
    assert max(residuals(pulse.fields, x, y, np.array([-0.2, 0.1, 0.3]), 0.004, *matter)) < 1e-6


CIRCLES = [Circle((0.5, 0.45), 0.2, Matter(*inside)) for inside in ((20.0, 5.0), (0.2, 1.0), (3.0, 0.4))]
BACKGROUND = Matter(1.2, 0.9)


def circle_waves():
    for circle in (*CIRCLES, Circle((0.5, 0.45), 0.2, Matter(4.0, 2.0), BACKGROUND)):
        yield CirclePlaneWave(gaussian(0.06, -0.5), circle, 0.4)
        yield CirclePlaneWave(ricker(0.06, -0.5), circle, -2.0)
        yield CirclePointSource(ricker(0.06, 0.5), circle, (0.15, 0.3))


@pytest.mark.parametrize("wave", circle_waves())
def test_a_wave_on_a_circle_solves_the_equation_inside_and_outside_and_fits_across(wave, random):
    circle, t = wave.circle, np.array([0.5, 1.1, 1.9])
    slow = min(1, circle.inside.wave_speed)
    angle = random.uniform(0, 7, 12)
    for r, matter in (
        (random.uniform(0, 0.2 - 0.025 * slow, 12), circle.inside),
        (random.uniform(0.226, 0.3, 12), circle.outside),
    ):
        x, y = circle.center[0] + r * np.cos(angle), circle.center[1] + r * np.sin(angle)
        assert np.all(circle.bulk_modulus(x, y) == matter.bulk_modulus)
        assert np.all(circle.density(x, y) == matter.density)
        assert max(residuals(wave.fields, x, y, t, 0.006 * min(1, matter.wave_speed), *matter)) < 1e-6
    normal = np.array([np.cos(angle), np.sin(angle)])
    x, y = circle.center[0] + 0.2 * normal[0], circle.center[1] + 0.2 * normal[1]
    assert max(jumps(wave.fields, x, y, normal, t, 0.06 / 25 * slow, circle.inside, circle.outside)) < 1e-5


@pytest.mark.parametrize("wave", circle_waves())
def test_more_orders_and_frequencies_change_nothing_on_a_circle(wave, random):
    x, y = random.random((2, 60))
    t = np.linspace(0.2, 2.5, 6)
    finer = type(wave)(**{**vars(wave), "refinement": 2})
    for one, other in zip(wave.fields(x, y, t), finer.fields(x, y, t), strict=True):
        assert np.abs(one - other).max() < 2e-10 * np.abs(other).max()


def test_a_circle_of_the_same_matter_is_not_there(random):
    circle, t = Circle((0.5, 0.45), 0.2, BACKGROUND, BACKGROUND), np.linspace(0, 1.5, 4)
    x, y = random.random((2, 60))
    plane, f = CirclePlaneWave(gaussian(0.06, -0.6), circle, 0.4), gaussian(0.06, -0.6)
    zeta = (x - 0.5) * np.cos(0.4) + (y - 0.45) * np.sin(0.4) - BACKGROUND.wave_speed * t[:, None]
    np.testing.assert_allclose(plane.fields(x, y, t)[0], f.value(zeta), rtol=0, atol=1e-10)
    # Inside, the series stands against the Green's function in time.
    point, free = CirclePointSource(ricker(0.06, 0.5), circle, (0.1, 0.2)), PointSource
    expected = free(ricker(0.06, 0.5), (0.1, 0.2), BACKGROUND).fields(x, y, t)
    np.testing.assert_allclose(point.fields(x, y, t), expected, rtol=0, atol=1e-10)
    assert (circle.distance(x, y) < 0.2).sum() > 3
    # Close to the circle, orders far above the wavenumber count.
    near, r = (0.5 + 0.21, 0.45), np.linspace(0.19, 0.1999, 5)
    x, y, t = 0.5 + r * np.cos(0.02), 0.45 + r * np.sin(0.02), np.array([0.5, 0.7])
    expected = free(ricker(0.06, 0.5), near, BACKGROUND).fields(x, y, t)[0]
    point = CirclePointSource(ricker(0.06, 0.5), circle, near)
    np.testing.assert_allclose(point.fields(x, y, t)[0], expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("circle", CIRCLES)
def test_a_circle_conserves_energy_and_has_the_limits_of_small_and_rigid_ones(circle):
    omega = np.linspace(0.5, 60, 25)
    series = _Series(circle, omega + 0j, 20)
    scattered = series.scattered * series.bessel**2 / series.bessel_hankel  # B_n
    np.testing.assert_allclose(np.abs(1 + 2 * scattered), 1, rtol=0, atol=1e-9)
    # Morse and Ingard (8.2.19): a compressible monopole and a dense dipole
    z = 1e-4
    tiny = _Series(circle, np.array([z / 0.2 + 0j]), 3)
    tiny_scattered = (tiny.scattered * tiny.bessel**2 / tiny.bessel_hankel)[:, 0]
    kappa, rho = circle.inside
    assert tiny_scattered[0] == pytest.approx(1j * np.pi / 4 * z**2 * (1 / kappa - 1), rel=1e-5)
    assert tiny_scattered[1] == pytest.approx(1j * np.pi / 4 * z**2 * (rho - 1) / (rho + 1), rel=1e-5)
    rigid = _Series(Circle((0, 0), 0.2, Matter(1e24, 1e12)), omega + 0j, 8)
    n = np.arange(8)[:, None]
    expected = -jvp(n, omega * 0.2) / h1vp(n, omega * 0.2)
    np.testing.assert_allclose(rigid.scattered * rigid.bessel**2 / rigid.bessel_hankel, expected, rtol=0, atol=1e-9)


def test_a_circle_answers_the_same_when_source_and_receiver_are_exchanged_and_nothing_too_early():
    circle, f, places = CIRCLES[0], ricker(0.06, 0.5), [(0.15, 0.3), (0.8, 0.65)]
    t = np.linspace(0.5, 2.5, 30)
    there, back = (CirclePointSource(f, circle, a).fields(*np.array(b), t) for a, b in (places, places[::-1]))
    np.testing.assert_allclose(there, back, rtol=0, atol=1e-10 * np.abs(there[1]).max())
    wave = CirclePlaneWave(gaussian(0.06, -0.9), circle)
    p, _ = wave.fields(np.array([0.5, 0.69, 0.9]), 0.45, np.array([0.0, 0.1]))
    assert np.abs(p).max() < 1e-10
    with pytest.raises(WavesimError, match=r"1\.02 radii"):
        CirclePointSource(f, circle, (0.5, 0.6)).fields(np.zeros(1), np.zeros(1), 1.0)
    with pytest.raises(WavesimError, match="transform"):
        CirclePlaneWave(Profile(np.sin, np.cos), circle).fields(np.zeros(1), np.zeros(1), 1.0)


def check_sides(fields, x_sides, y_sides, lengths):
    """p or its normal derivative is zero at each side, or the opposite sides agree in both."""
    h, t, along = 1e-3, np.array([0.1, 0.7]), np.linspace(0.03, 0.94, 9)
    for axis, sides in enumerate((x_sides, y_sides)):
        limits = []
        for place in (0.0, lengths[axis]):
            at = [(place + k * h, along * lengths[1 - axis]) for k in STEPS]
            p = np.stack([fields(*(one if axis == 0 else one[::-1]), t)[0] for one in at])
            limits.append((p[4], np.tensordot(FIRST, p, 1) / h))
        assert max(np.abs(one).max() for one in limits[0]) > 0.1
        if sides == PERIODIC:
            np.testing.assert_allclose(*limits, rtol=0, atol=1e-9)
        for side, (value, slope) in zip(sides, limits, strict=True):
            if side != "periodic":
                np.testing.assert_allclose(value if side == "soft" else slope, 0, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("x_sides", "y_sides"), PAIRS)
def test_modes_solve_the_equation_and_meet_their_sides(x_sides, y_sides, random):
    lengths, matter = (1.3, 0.7), Matter(3.0, 0.8)
    mode = Mode((2, 1), x_sides, y_sides, lengths, matter, 1.5, (0.3, 0.8, 0.2))
    x, y = random.random((2, 20))
    assert max(residuals(mode.fields, x, y, np.array([0.0, 0.4]), 0.005, *matter)) < 1e-9
    check_sides(mode.fields, x_sides, y_sides, lengths)


def test_modes_have_the_known_frequencies():
    assert Mode((1, 0)).frequency == pytest.approx(np.pi)
    assert Mode((1, 1), SOFT, SOFT).frequency == pytest.approx(np.sqrt(2) * np.pi)  # the square drum
    assert Mode((1, 0), ("rigid", "soft"), RIGID, (2.0, 1.0)).frequency == pytest.approx(np.pi / 4)  # a quarter wave
    assert PlaneWave((3, -4), matter=Matter(4, 1)).frequency == pytest.approx(20 * np.pi)
    for number, sides in ((0, SOFT), (-1, RIGID), (1, ("open", "soft"))):
        with pytest.raises(WavesimError, match="no mode"):
            Mode((number, 1), sides).fields(np.zeros(1), np.zeros(1), 0.0)


def test_a_travelling_wave_solves_the_equation_and_is_periodic(random):
    wave = PlaneWave((2, -1), (1.3, 0.7), Matter(3.0, 0.8), 1.5, 0.3)
    x, y = random.random((2, 50))
    assert max(residuals(wave.fields, x, y, np.array([0.0, 0.4]), 0.005, 3.0, 0.8)) < 1e-8
    check_sides(wave.fields, PERIODIC, PERIODIC, (1.3, 0.7))
    k = np.array(wave.wavenumbers)
    back = wave.fields(x - 0.1 * k[0], y - 0.1 * k[1], 0.0)  # 0.1 |k| along k takes 0.1 |k| / c
    np.testing.assert_allclose(wave.fields(x, y, 0.1 * np.hypot(*k) / wave.matter.wave_speed), back, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("x_sides", "y_sides"), PAIRS)
def test_a_manufactured_solution_solves_the_equation_and_meets_its_sides(x_sides, y_sides, random):
    lengths, h = (1.3, 0.7), 2e-3
    made = example(x_sides, y_sides, lengths)
    x, y = random.random((2, 30)) * np.array(lengths)[:, None]
    t = np.array([0.1, 0.9])
    assert made.bulk_modulus(x, y).min() > 0.5 and made.density(x, y).min() > 0.4

    def slope(f, *places, axis):  # by differences of order 8
        moved = [[place + k * h * (i == axis) for i, place in enumerate(places)] for k in STEPS]
        return np.tensordot(FIRST, [f(*one) for one in moved], 1) / h

    time = t[:, None]
    divergence = sum(
        slope(
            lambda x, y, t, axis=axis: slope(made.pressure, x, y, t, axis=axis) / made.density(x, y),
            *(x, y, time),
            axis=axis,
        )
        for axis in (0, 1)
    )
    expected = slope(made.rate, x, y, time, axis=2) / made.bulk_modulus(x, y) - divergence
    np.testing.assert_allclose(made.source(x, y, time), expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(made.rate(x, y, time), slope(made.pressure, x, y, time, axis=2), rtol=0, atol=1e-8)
    np.testing.assert_allclose(made.source_t(x, y, time), slope(made.source, x, y, time, axis=2), rtol=0, atol=1e-6)
    np.testing.assert_allclose(made.source_tt(x, y, time), slope(made.source_t, x, y, time, axis=2), rtol=0, atol=1e-6)
    check_sides(made.fields, x_sides, y_sides, lengths)
    if x_sides == PERIODIC:
        np.testing.assert_allclose(made.source(x + 1.3, y, time), made.source(x, y, time), rtol=0, atol=1e-9)


def test_fields_have_the_shape_of_times_and_places():
    x, y, t = np.linspace(0, 1, 3)[None, :], np.linspace(0, 1, 4)[:, None], np.linspace(0, 1, 5)
    for one in (
        Mode((1, 2)),
        PlaneWave((1, 2)),
        InterfaceWave(gaussian(0.1, -0.4), Matter(2, 1)),
        LayeredWave(gaussian(0.1), [-np.inf, np.inf], [Matter()]),
        PointSource(ricker(0.1, 0.9), (0.33, 0.4)),
        PulseAtRest((0.3, 0.4), 0.1),
        CirclePlaneWave(gaussian(0.1, -0.9), CIRCLES[0]),
        CirclePointSource(ricker(0.1, 0.9), CIRCLES[0], (0.01, 0.02)),
        example(),
    ):
        several, single = one.fields(x, y, t), one.fields(x, y, 1.0)
        for a, b in zip(several, single, strict=True):
            assert a.shape == (5, 4, 3) and b.shape == (4, 3) and a.dtype == b.dtype == float
            np.testing.assert_allclose(a[-1], b, rtol=0, atol=1e-9)
