"""The time stepper: energy, stability, batches, single precision, and the refusal of unstable runs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from wavesim.config import WavesConfig
from wavesim.errors import WavesimError
from wavesim.fem import (
    PointSource,
    Pulse,
    Ricker,
    Sides,
    SpreadSource,
    _dolfinx,
    assemble,
    packing,
    simulate,
    simulation,
    stepper,
    uniform,
)
from wavesim.fem.sampling import Nodes

MEDIUM = packing(np.array([[0.2, 0.3], [0.7, 0.6], [0.4, 0.9]]), np.array([0.2, 0.25, 0.15]), 20.0, 5.0, 0.06)
NODES = Nodes((10, 10), 4)
X, Y = NODES.x[None, :], NODES.y[:, None]
PULSE = Pulse((0.45, 0.6), 0.1)(X, Y).ravel()


@pytest.fixture(scope="module")
def matrices():
    space = _dolfinx.space(NODES)
    return space.stiffness(space.evaluate(MEDIUM.density)), space.mass(space.evaluate(MEDIUM.bulk_modulus))


@pytest.mark.parametrize("order", [2, 4])
def test_discrete_energy_is_conserved_between_rigid_walls(matrices, order):
    operator = stepper.operator(*matrices, interval=1.0, order=order)
    state = stepper.init(operator, PULSE)
    first = stepper.frame(operator, state).discrete_energy
    drift = 0.0
    for _ in range(10_000 // operator.steps + 1):
        state = stepper.advance(operator, state)
        drift = max(drift, abs(stepper.frame(operator, state).discrete_energy / first - 1))
    assert state.steps >= 10_000
    assert drift < 1e-10


@pytest.mark.parametrize("order", [2, 4])
def test_physical_energy_is_kept_to_the_order_of_the_stepper(matrices, order):
    fewest = stepper.operator(*matrices, interval=0.05, order=order).steps
    drifts = []
    for steps in (2 * fewest, 4 * fewest):
        operator = stepper.operator(*matrices, interval=0.05, steps=steps, order=order)
        state = stepper.init(operator, PULSE)
        energies = [stepper.frame(operator, state).energy]
        for _ in range(40):
            state = stepper.advance(operator, state)
            energies.append(stepper.frame(operator, state).energy)
        drifts.append(np.ptp(energies) / energies[0])
    assert np.log2(drifts[0] / drifts[1]) == pytest.approx(order, abs=0.4), drifts
    assert drifts[1] < {2: 1e-2, 4: 1e-5}[order], drifts


@pytest.mark.parametrize("order", [2, 4])
def test_noise_stays_bounded_at_the_limit_and_not_beyond_its_margin(matrices, order):
    limit = stepper.largest_time_step(*matrices, order)
    stable = stepper.operator(*matrices, interval=limit, steps=1, order=order)
    factor = 1.05  # in the time step: 1.1 in the eigenvalue, of which 1.05 is margin
    beyond = dataclasses.replace(stable, stepping=stable.stepping * factor**2, time_step=limit * factor)
    growth = {}
    for name, operator in (("stable", stable), ("beyond", beyond)):
        state = stepper.init(operator, np.random.default_rng(0).standard_normal(PULSE.size))
        first = np.linalg.norm(state.pressure)
        for _ in range(1500):
            state = stepper.step(operator, state)
            if np.linalg.norm(state.pressure) > 1e6 * first:
                break
        growth[name] = np.linalg.norm(state.pressure) / first
    assert growth["stable"] < 10
    assert growth["beyond"] > 1e6


def test_too_large_a_step_is_refused_with_the_number_to_use(matrices):
    limit = stepper.largest_time_step(*matrices)
    fewest = int(np.ceil(1.0 / limit))
    assert stepper.operator(*matrices, interval=1.0, steps=fewest).time_step <= limit
    with pytest.raises(WavesimError, match=f"use at least {fewest} steps"):
        stepper.operator(*matrices, interval=1.0, steps=fewest - 1)
    with pytest.raises(WavesimError, match="use at least"):
        stepper.operator(*matrices, interval=1.0, steps=0)


def test_an_unstable_run_raises_and_returns_nothing(monkeypatch):
    config = WavesConfig(grid=16, frames=33, elements=8, degree=4)
    without_a_limit(monkeypatch)
    with pytest.raises(WavesimError, match="unstable"):
        simulate(config, uniform(), Pulse((0.4, 0.5), 0.1))


def test_a_batch_equals_its_simulations_one_by_one(matrices):
    operator = stepper.operator(*matrices, interval=0.3)
    starts = np.stack([PULSE, Pulse((0.7, 0.3), 0.08)(X, Y).ravel()], axis=1)
    batch = stepper.frame(operator, stepper.advance(operator, stepper.init(operator, starts, starts[:, ::-1])))
    for column in range(2):
        state = stepper.init(operator, starts[:, column], starts[:, 1 - column])
        single = stepper.frame(operator, stepper.advance(operator, state))
        for got, want in zip(dataclasses.astuple(batch), dataclasses.astuple(single), strict=True):
            np.testing.assert_allclose(got[..., column], want, rtol=1e-11, atol=1e-12)


def test_single_precision_stays_close_to_double_over_thousands_of_steps(matrices):
    fields = {}
    for dtype in (np.float32, np.float64):
        operator = stepper.operator(*matrices, interval=3.4, steps=5000, dtype=dtype)
        fields[dtype] = stepper.advance(operator, stepper.init(operator, PULSE)).pressure
        assert fields[dtype].dtype == dtype
    single, double = fields.values()
    assert np.linalg.norm(single - double) < 1e-4 * np.linalg.norm(double)


def test_waves_run_backward_when_the_rate_is_reversed(matrices):
    operator = stepper.operator(*matrices, interval=0.5, steps=120)
    there = stepper.frame(operator, stepper.advance(operator, stepper.init(operator, PULSE)))
    back = stepper.advance(operator, stepper.init(operator, there.pressure, -there.pressure_rate))
    assert np.linalg.norm(back.pressure - PULSE) < 1e-4 * np.linalg.norm(PULSE)


def test_a_batch_of_media_that_share_their_density_equals_its_simulations_one_by_one():
    space = _dolfinx.space(NODES)
    stiffness = space.stiffness(np.full(space.weights.size, 1.3))
    media = [MEDIUM, uniform(2.0), packing(np.array([[0.5, 0.5]]), np.array([0.3]), 4.0, 1.0, 0.1)]
    masses = np.stack([space.mass(space.evaluate(medium.bulk_modulus)) for medium in media], axis=1)
    together = stepper.operator(stiffness, masses, 0.4)
    starts = np.stack([PULSE] * 3, axis=1)
    batch = stepper.frame(together, stepper.advance(together, stepper.init(together, starts, starts[:, ::-1])))
    for column in range(3):
        alone = stepper.operator(stiffness, masses[:, column], 0.4, together.steps)
        state = stepper.init(alone, PULSE, PULSE)
        single = stepper.frame(alone, stepper.advance(alone, state))
        for got, want in zip(dataclasses.astuple(batch), dataclasses.astuple(single), strict=True):
            np.testing.assert_allclose(got[..., column], want, rtol=1e-11, atol=1e-11)


def without_a_limit(monkeypatch):
    honest = stepper.largest_time_step
    monkeypatch.setattr(stepper, "largest_time_step", lambda *arguments: 1.6 * honest(*arguments))


@pytest.mark.parametrize("start", [0.0, 1.0])
def test_a_driven_run_that_grows_is_stopped_and_a_stable_one_is_not(monkeypatch, start):
    source, places = PointSource((0.3, 0.4), Ricker(6.0)), np.array([[0.7, 0.6]])

    def driven():
        problem = assemble(uniform(), NODES, 0.1, (8, 8), sources=[source])
        return problem, simulation.start(problem, lambda x, y: start * np.cos(np.pi * x) + 0 * y)

    stable = simulation.run(*driven(), 30)[0]
    assert np.ptp(stable.energy) > 1e-3 and np.isfinite(simulation.listen(*driven(), places, 30).pressure).all()
    without_a_limit(monkeypatch)
    with pytest.raises(WavesimError, match="unstable"):
        simulation.run(*driven(), 30)
    with pytest.raises(WavesimError, match="unstable"):
        simulation.listen(*driven(), places, 30)


def test_sources_add_no_more_energy_than_their_bound():
    """A signal in step with a mode adds all that it can: E = (F t)^2 / 8 for a driven oscillator of unit mass."""
    frequency = np.sqrt(2) / 2  # of cos(pi x) cos(pi y), kappa = rho = 1
    shape = SpreadSource(
        lambda x, y: 2 * np.cos(np.pi * x) * np.cos(np.pi * y), lambda t: np.cos(2 * np.pi * frequency * t)
    )
    problem = assemble(uniform(), NODES, 0.25, (8, 8), sources=[shape])
    state = simulation.start(problem, lambda x, y: 0 * x)
    energy = simulation.run(problem, state, 40)[0].energy
    time = 0.25 * 39
    assert energy[-1] == pytest.approx(time**2 / 8, rel=0.05)
    drive = problem.operator.drive
    root = drive.given(drive.gram(problem.operator.mass), 0, 39 * problem.operator.steps)
    # |a|_M = |cos|, whose mean is 2 / pi.
    assert root == pytest.approx(time * 2 / np.pi / np.sqrt(2), rel=0.02)
    assert energy[-1] < root**2


def single_precision_error(medium, left="rigid", device=None, steps=5000, nodes=NODES, others="rigid"):
    """The crossings that so many of the largest steps make, and how far single precision is off double after them."""
    fields, sides, frames = {}, Sides(left, *3 * [others]), 100
    interval = steps / frames / assemble(medium, nodes, 1.0, (8, 8), sides).operator.steps
    for dtype, there in ((np.float64, None), (np.float32, device)):
        problem = assemble(medium, nodes, interval, (8, 8), sides, steps=steps // frames, dtype=dtype, device=there)
        state = simulation.start(problem, Pulse((0.45, 0.6), 0.1))
        for _ in range(frames):
            state = simulation.next_frame(problem, state)
        fields[dtype] = state.pressure
    single, double = fields[np.float32], fields[np.float64]
    return interval * frames, np.linalg.norm(single - double) / np.linalg.norm(double)


@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize(
    ("medium", "left"), [(uniform(), "rigid"), (uniform(), "soft"), (MEDIUM, "rigid")], ids=["rigid", "soft", "grains"]
)
def test_single_precision_at_the_largest_steps_stays_close_to_double(device, medium, left):
    assert single_precision_error(medium, left, device)[1] < 1e-4


@pytest.mark.parametrize("sides", ["rigid", "periodic"])
@pytest.mark.parametrize("nodes", [Nodes((40, 40), 1), Nodes((20, 20), 2), Nodes((8, 8), 5), Nodes((5, 5), 7)])
def test_single_precision_stays_close_to_double_at_every_degree(nodes, sides):
    assert single_precision_error(uniform(), sides, nodes=nodes, others=sides)[1] < 1e-4


def test_single_precision_keeps_the_mean_that_walls_conserve():
    # Rounding alone takes it to 1e-3 of the pulse.
    problem = assemble(uniform(), NODES, 0.5, (8, 8), dtype=np.float32)
    state = simulation.start(problem, Pulse((0.45, 0.6), 0.1), lambda x, y: 0.01 + 0 * x)
    mass, after = problem.operator.mass, state
    for _ in range(100):
        after = simulation.next_frame(problem, after)
    conserved = mass @ problem.at_unknowns(Pulse((0.45, 0.6), 0.1)) + 50 * 0.01 * mass.sum()
    assert abs(mass @ after.pressure - conserved) < 1e-6 * conserved


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ripple", [0, 1e-8])
def test_a_constant_stays_and_is_no_instability(dtype, ripple):
    problem = assemble(uniform(), Nodes((6, 6), 4), 0.1, (16, 16), dtype=dtype)
    state = simulation.start(problem, lambda x, y: 0.3 + ripple * np.cos(2 * np.pi * x))
    np.testing.assert_allclose(simulation.run(problem, state, 30)[0].pressure, 0.3, rtol=1e-5)


@pytest.mark.parametrize(("degree", "elements"), [(2, 32), (4, 32)])
def test_a_thin_layer_is_no_instability(degree, elements):
    """What is counted as energy rises by 20 and by 66 % in a layer of one small element, and then all of it leaves."""
    problem = assemble(uniform(), Nodes((elements, elements), degree), 0.05, (16, 16), Sides.all("absorbing"), 1)
    energy = simulation.run(problem, simulation.start(problem, Pulse((0.5, 0.5), 0.1)), 100)[0].energy
    assert 1.1 * energy[0] < energy.max() < 2 * energy[0] and energy[-1] < 1e-4 * energy[0]


def test_a_start_that_is_not_finite_is_refused():
    with pytest.raises(WavesimError, match="the field at time 0 is nan somewhere"):
        simulation.start(assemble(uniform(), NODES, 0.1, (8, 8)), lambda x, y: np.where(x > 0.5, np.nan, 0))
