"""Sources and receivers, against the Green's function, a manufactured solution, and reciprocity."""

from __future__ import annotations

import numpy as np
import pytest
import sympy
from exact import manufactured
from exact.green import PointSource as ExactSource
from exact.matter import Matter
from exact.profiles import ricker
from scipy import sparse

from wavesim.errors import WavesimError
from wavesim.fem import Medium, packing, stepper, uniform
from wavesim.fem.boundary import Sides
from wavesim.fem.sampling import Nodes
from wavesim.fem.simulation import assemble, listen
from wavesim.fem.source import PlanePacket, PointSource, Ricker, Ring, SpreadSource, StandingMode
from wavesim.fem.space import Space

RECEIVERS = np.array([[0.71, 0.62], [0.2, 0.85], [0.55, 0.13], [0.9, 0.3]])
GRAINS = packing(np.array([[0.2, 0.3], [0.7, 0.6], [0.4, 0.9]]), np.array([0.2, 0.25, 0.15]), 20.0, 5.0, 0.06)


def heard(medium, sources, receivers, elements=12, degree=6, interval=1.5, sides=None, **settings):
    problem = assemble(
        medium, Nodes((elements, elements), degree), interval, (4, 4), sides or Sides(), sources=sources, **settings
    )
    state = stepper.init(problem.operator, np.zeros(problem.operator.mass.size))
    return listen(problem, state, receivers, 1)


def test_a_point_source_between_rigid_walls_is_heard_as_the_greens_function_and_its_images_say():
    place, width = (0.31, 0.42), 0.08
    peak = 1 / (np.sqrt(2) * np.pi * width)
    source = PointSource(place, Ricker(peak, 0.6))
    exact = ExactSource(ricker(width, 0.6), place, x_sides=("rigid", "rigid"), y_sides=("rigid", "rigid"))
    errors = []
    for elements in (6, 12):
        traces = heard(uniform(), [source], RECEIVERS, elements)
        wanted = exact.fields(*RECEIVERS.T, traces.times)[0]
        errors.append(np.linalg.norm(traces.pressure - wanted) / np.linalg.norm(wanted))
    assert errors[1] < 3e-4 and errors[1] < errors[0] / 8, errors


def test_a_source_in_dense_and_stiff_matter_is_scaled_as_the_equation_says():
    place = (0.5, 0.5)
    exact = ExactSource(ricker(0.08, 0.6), place, matter=Matter(2.0, 1.6), x_sides=("soft", "soft"))
    traces = heard(
        uniform(2.0, 1.6), [PointSource(place, Ricker(1 / (np.sqrt(2) * np.pi * 0.08), 0.6))], RECEIVERS,
        sides=Sides("soft", "soft", "absorbing", "absorbing"), layer=3,
    )  # fmt: skip
    wanted = exact.fields(*RECEIVERS.T, traces.times)[0]
    assert np.linalg.norm(traces.pressure - wanted) < 2e-3 * np.linalg.norm(wanted)


@pytest.mark.parametrize("sides", [Sides(), Sides.all("absorbing")])
def test_source_and_receiver_may_be_exchanged(sides):
    one, other = (0.23, 0.34), (0.81, 0.57)
    signal = Ricker(2.0)
    there = heard(GRAINS, [PointSource(one, signal)], np.array([other]), degree=4, sides=sides, layer=2).pressure
    back = heard(GRAINS, [PointSource(other, signal)], np.array([one]), degree=4, sides=sides, layer=2).pressure
    assert np.abs(there).max() > 1e-3
    # With a layer the scheme is reciprocal to the order of the step in it alone.
    assert np.abs(there - back).max() < (1e-11 if sides == Sides() else 1e-3) * np.abs(there).max()


def manufactured_error(elements, steps, order, example, degree=6):
    """Relative L2 error of p at time 0.9, with the source a sum over all nodes."""
    medium = Medium(example.bulk_modulus, example.density)
    problem = assemble(medium, Nodes((elements, elements), degree), 0.9, (4, 4), order=order)
    space: Space = problem.space
    x, y = space.points.T
    force = stepper.Force(
        sparse.identity(x.size, format="csr"), lambda time: example.bulk_modulus(x, y) * example.source(x, y, time)
    )
    stiffness, mass = space.stiffness(space.evaluate(medium.density)), space.mass(space.evaluate(medium.bulk_modulus))
    operator = stepper.operator(stiffness, mass, 0.9, steps, order, force=force)
    state = stepper.init(operator, example.pressure(x, y, 0.0), example.rate(x, y, 0.0))
    frame = stepper.frame(operator, stepper.advance(operator, state))
    pairs = (frame.pressure, example.pressure(x, y, 0.9)), (frame.pressure_rate, example.rate(x, y, 0.9))
    return [np.linalg.norm(found - wanted) / np.linalg.norm(wanted) for found, wanted in pairs]


@pytest.mark.parametrize(("order", "fewest", "level"), [(2, 520, 1e-3), (4, 300, 5e-7)])
def test_a_source_in_smooth_matter_is_as_exact_in_time_as_the_stepper(order, fewest, level):
    # Fast in time and slow in space, so that the steps' error is all there is.
    x, y, t = manufactured.X, manufactured.Y, manufactured.T
    kappa, rho = 1 + 0.4 * sympy.sin(2 * x) * sympy.cos(3 * y), 1 + 0.3 * sympy.cos(3 * x + y)
    example = manufactured.manufactured(
        kappa, rho, sympy.cos(sympy.pi * x) * sympy.cos(sympy.pi * y) * sympy.cos(25 * t)
    )
    errors = np.array([manufactured_error(10, steps, order, example, degree=8) for steps in (fewest, 2 * fewest)])
    slopes = np.log2(errors[0] / errors[1])
    assert np.all(np.abs(slopes - order) < 0.2), errors
    assert np.all(errors[1] < level), errors


@pytest.mark.parametrize(("degree", "level"), [(3, 3e-4), (4, 2e-5), (5, 2e-6)])
def test_a_source_in_smooth_matter_is_as_exact_in_space_as_the_elements(degree, level):
    example = manufactured.example()
    errors = np.array([manufactured_error(n, 900, 4, example, degree) for n in (5, 10)])
    assert np.all(np.log2(errors[0] / errors[1]) > degree + 0.6), errors
    assert np.all(errors[1] < level), errors


def test_a_spread_source_drives_its_mode_as_an_oscillator():
    """With s = g(x, y) t, g a mode of frequency omega: p = kappa g (t / omega^2 - sin(omega t) / omega^3)."""
    kappa, rho, time = 2.0, 1.6, 1.3
    mode = StandingMode((2, 1), wave_speed=np.sqrt(kappa / rho))
    source = SpreadSource(lambda x, y: mode.pressure(x, y, 0.0), lambda t: t)
    problem = assemble(uniform(kappa, rho), Nodes((6, 6), 6), time, (4, 4), sources=[source])
    state = stepper.advance(problem.operator, stepper.init(problem.operator, np.zeros(problem.operator.mass.size)))
    omega = mode.frequency
    wanted = kappa * (time / omega**2 - np.sin(omega * time) / omega**3) * mode.pressure(*RECEIVERS.T, 0.0)
    assert np.abs(problem.at(RECEIVERS) @ state.pressure - wanted).max() < 1e-5 * np.abs(wanted).max()


def test_a_place_outside_the_mesh_is_refused():
    with pytest.raises(WavesimError, match=r"\(1\.2, 0\.5\) lies outside the mesh, whose x goes from 0 to 1"):
        heard(uniform(), [], np.array([[1.2, 0.5]]))


def test_a_packets_rate_is_the_slope_of_its_pressure_in_time():
    packet = PlanePacket((0.3, 0.4), 0.7, 0.2, 0.15, wave_speed=1.3)
    x, y = np.random.default_rng(0).uniform(0, 1, (2, 200))
    slope = (packet.pressure(x, y, 1e-5) - packet.pressure(x, y, -1e-5)) / 2e-5
    np.testing.assert_allclose(packet.rate(x, y), slope, rtol=1e-5, atol=1e-5)  # differences: h^2 p_ttt / 6


def test_a_ricker_wavelet_has_its_peak_in_time_and_in_frequency_where_it_says():
    signal = Ricker(3.0, delay=0.8, amplitude=2.0)
    times = np.linspace(-2, 4, 6001)
    values = np.array([signal(time) for time in times])
    assert times[values.argmax()] == pytest.approx(0.8, abs=1e-3) and values.max() == pytest.approx(2.0)
    spectrum = np.abs(np.fft.rfft(values, 1 << 17))
    assert np.fft.rfftfreq(1 << 17, times[1] - times[0])[spectrum.argmax()] == pytest.approx(3.0, abs=1e-2)
    assert abs(Ricker(3.0)(0.0)) < 1e-7


def test_a_ring_is_highest_on_its_circle():
    ring = Ring((0.5, 0.4), 0.2, 0.05, 3.0)
    assert ring(0.5 + 0.2 * np.cos(1.1), 0.4 + 0.2 * np.sin(1.1)) == pytest.approx(3.0)
    assert ring(0.5, 0.4) == pytest.approx(3.0 * np.exp(-8))
