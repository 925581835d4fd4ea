"""What follows from the form of the learned operator, whatever its weights: matrices, closed forms, long runs."""

import numpy as np
import pytest
import torch
from learned_cases import GRID, SIDES, contrast, eigenvalues, forecaster, states, stiffness, untrained

from wavesim.surrogate import rollout
from wavesim.surrogate.coarse import CoarseStep
from wavesim.surrogate.effective import STABLE

MIXED = SIDES[4]


@pytest.mark.parametrize("sides", SIDES)
def test_the_operator_is_symmetric_and_semidefinite_for_any_weights(sides) -> None:  # type: ignore[no-untyped-def]
    """Only a constant pressure is at rest, and between soft sides not even that."""
    for size in (0.3, 3.0):
        model, medium = forecaster(size, sides=sides), contrast(1)
        matrix, _ = stiffness(model, medium)
        assert abs(matrix - matrix.T).max() < 1e-13 * abs(matrix).max()
        found = eigenvalues(model, medium)
        if "soft" in sides:
            assert found[0] > 1e-9 * found[-1]
        else:
            assert abs(found[0]) < 1e-13 * found[-1] and found[1] > 1e-9 * found[-1]
            assert abs(matrix @ np.ones(len(matrix))).max() < 1e-13 * abs(matrix).max()


@pytest.mark.parametrize("sides", SIDES)
def test_the_untrained_step_is_the_coarse_one(sides) -> None:  # type: ignore[no-untyped-def]
    model, medium, state = untrained(sides=sides).double(), contrast().double(), states().double()
    coarse = CoarseStep(2.0, 8, sides).double()
    stencil, context = coarse.stencil(medium), model.encode(medium)
    torch.testing.assert_close(model(state, context._replace(substeps=8)), coarse(state, stencil))
    torch.testing.assert_close(model.energy(state, context), coarse.energy(state, stencil, medium))


def test_energy_is_the_work_of_the_acceleration() -> None:
    model, medium, state = forecaster(sides=MIXED), contrast(1), states(1)
    matrix, kappa = stiffness(model, medium)
    pressure, rate = state.double().flatten(2)[0].numpy()
    expected = pressure @ matrix @ pressure / 2 + (rate**2 / kappa).sum() / 2
    assert model.energy(state.double(), model.encode(medium.double())).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("sides", [SIDES[0], MIXED])
def test_superposition_and_amplitude_hold_to_rounding(sides) -> None:  # type: ignore[no-untyped-def]
    model, medium = forecaster(sides=sides).double(), contrast().double()
    one, two, context = states().double(), states(seed=5).double(), model.encode(medium)
    together = model(3 * one - 0.5 * two, context)
    expected = 3 * model(one, context) - 0.5 * model(two, context)
    torch.testing.assert_close(together, expected, atol=1e-12 * expected.abs().max().item(), rtol=0)


@torch.no_grad()
def test_time_runs_backwards() -> None:
    model, start = forecaster().double(), states().double()
    context, flip = model.encode(contrast().double()), torch.tensor([1.0, -1.0]).double()[:, None, None]
    state = start
    for _ in range(40):
        state = model(state, context)
    assert (state - start).norm() > 0.5 * start.norm()
    state = state * flip
    for _ in range(40):
        state = model(state, context)
    torch.testing.assert_close(state * flip, start, atol=1e-8, rtol=0)


@torch.no_grad()
def test_the_scheme_keeps_its_own_energy_to_rounding_and_damping_only_takes() -> None:
    medium, state = contrast().double(), states().double()
    for sides, leaves in (((SIDES[0]), False), (SIDES[3], True), (MIXED, True)):
        model, now, energies = forecaster(sides=sides).double(), state, []
        context = model.encode(medium)
        for _ in range(40):
            energies.append(model.coarse.scheme_energy(now, context.stencil, context.substeps).flatten())
            now = model(now, context)
        course = torch.stack(energies) / energies[0]
        assert (energies[0] > 0).all() and (course.diff(dim=0) < 1e-12).all()
        if leaves:
            assert (course[-1] < 0.9).all()
        else:
            torch.testing.assert_close(course, torch.ones_like(course), atol=1e-11, rtol=0)


@torch.no_grad()
def bounded(cells: int, **settings: object) -> None:
    """10,000 frames in single precision, nothing scaled back: E stays, and bounds the energy of the wave."""
    model, medium = forecaster(0.3, conserve_energy=False, **settings), contrast(1, (cells, cells), seed=7)
    context, start = model.encode(medium), states(1, (cells, cells))
    energy = model.coarse.scheme_energy(start, context.stencil, context.substeps).item()
    state, courses = start, []
    for frame in range(10_000):
        state = model(state, context)
        if frame % 100 == 99:
            courses.append(model.coarse.scheme_energy(state, context.stencil, context.substeps).item() / energy)
    assert np.abs(np.array(courses) - 1).max() < 1e-3, courses
    stable = 1 - float(model.coarse.largest(context.stencil).max()) / (4 * context.substeps**2)
    assert 0 < model.energy(state, context).item() <= energy / stable * 1.001


def test_energy_is_bounded_over_10000_frames_in_an_unseen_medium_with_contrast() -> None:
    bounded(16, courant=0.25, substeps=1)


@pytest.mark.slow
def test_energy_is_bounded_over_10000_frames_on_64_cells() -> None:
    bounded(64)


@pytest.mark.parametrize("sides", [SIDES[0], SIDES[2]])
def test_a_pressure_that_is_the_same_everywhere_stays(sides) -> None:  # type: ignore[no-untyped-def]
    model = forecaster(sides=sides)
    still = torch.stack((torch.full(GRID, 0.7), torch.zeros(GRID)))
    forecast = torch.from_numpy(rollout(model, still, contrast(1)[0], 50))
    torch.testing.assert_close(forecast, still.expand(50, -1, -1, -1), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("sides", [SIDES[0], SIDES[2], MIXED])
def test_the_largest_eigenvalue_is_bounded_from_above_and_that_is_enough_for_stability(sides) -> None:  # type: ignore[no-untyped-def]
    for seed in range(4):
        model, medium = forecaster(sides=sides, substeps=1), contrast(1, seed=seed)
        exact = eigenvalues(model, medium)[-1]
        context = model.encode(medium.double())
        assert exact < model.coarse.largest(context.stencil).item() < 1.15 * exact
        assert exact / 4 < context.substeps**2 < 1.5 * exact / 4 + 3


@torch.no_grad()
def test_a_stiff_medium_takes_more_substeps_and_its_waves_keep_their_speed() -> None:
    """A medium of wave speed 3, far beyond what one sub-step is stable in."""
    medium = torch.tensor([9.0, 1.0]).double()[None, :, None, None].expand(1, 2, 2, 64)
    x = torch.arange(64, dtype=torch.float64)
    pulse = torch.exp(-((x - 8) ** 2) / 18).expand(2, 64)
    state = torch.stack((pulse, 6.0 * (x - 8) / 9 * pulse))[None]  # 6 cells a frame to the right
    model = untrained(substeps=1).double()
    context = model.encode(medium)
    assert context.substeps == 8  # 6 sqrt(4 + 2) / 2 = 7.3, as two cells between walls have a mode of 2 at most
    for _ in range(7):
        state = model(state, context)
    assert abs(state[0, 0, 0].argmax().item() - (8 + 7 * 6)) <= 1


@pytest.mark.parametrize("sides", [SIDES[0], MIXED])
@torch.no_grad()
def test_each_medium_of_a_batch_takes_its_own_substeps(sides) -> None:  # type: ignore[no-untyped-def]
    model, state = forecaster(sides=sides).double(), states(3).double()
    speeds = torch.tensor([1.0, 2.5, 1.5]).double()[:, None, None, None]  # over that of the first
    medium = torch.cat((contrast(3)[:, :1].double() * speeds**2, contrast(3)[:, 1:].double()), dim=1)
    context = model.encode(medium)
    together = model(state, context)
    taken = []
    for k in range(3):
        alone = model.encode(medium[k : k + 1])
        taken.append(alone.substeps)
        torch.testing.assert_close(model(state[k : k + 1], alone), together[k : k + 1], atol=1e-12, rtol=1e-12)
    assert context.substeps.flatten().tolist() == taken and len(set(taken)) == 3


def test_an_effective_step_is_granted_a_share_of_the_coarse_ones_substeps() -> None:
    """Gershgorin's bound in a uniform medium of speed c is 8 (c C)^2, and n sub-steps are stable up to 4 n^2."""
    medium, courant = torch.ones(3, 2, *GRID), 2.0
    medium[1, 0], medium[2, 0] = 9.0, 25.0
    coarse = [np.floor(np.sqrt(8) * c * courant / 2) + 1 for c in (1, 3, 5)]
    assert coarse == [3, 9, 15]
    step = untrained(courant, substeps=4).coarse
    assert step.granted(medium).flatten().tolist() == [4, 7, 11]  # 0.7 of them, rounded up, and 4 at least


def set_bias(model, channels: slice, value: float) -> None:  # type: ignore[no-untyped-def]
    """The same output of the encoder everywhere."""
    with torch.no_grad():
        model.coarse.coefficients.head.bias[channels] = np.arctanh(value)


def symbol(model, kx: float, ky: float) -> float:  # type: ignore[no-untyped-def]
    """The eigenvalue of A for a plane wave of kx, ky (radians a cell) in a uniform periodic medium, over C^2."""
    medium = torch.ones(1, 2, 12, 12, dtype=torch.float64)
    y, x = torch.meshgrid(torch.arange(12.0).double(), torch.arange(12.0).double(), indexing="ij")
    wave = torch.stack((torch.cos(kx * x + ky * y), torch.sin(kx * x + ky * y)))[:, None]
    image = model.coarse.acceleration(wave, model.coarse.stencil(medium).expand(2, -1, -1, -1))
    ratio = -(image * wave).sum() / wave.square().sum() / 4
    torch.testing.assert_close(-image, 4 * ratio * wave, atol=1e-12, rtol=0)
    return ratio.item()


WAVES = [(2 * np.pi * m / 12, 2 * np.pi * n / 12) for m, n in ((1, 0), (0, 2), (1, 3), (-2, 5), (6, 6))]


def test_the_wider_stencil_holds_the_laplacian_of_fourth_order() -> None:
    model = untrained(sides=("periodic",) * 4).double()
    set_bias(model, slice(8, 10), 8 / 12)
    for kx, ky in WAVES:
        expected = sum(4 * np.sin(k / 2) ** 2 * (1 + np.sin(k / 2) ** 2 / 3) for k in (kx, ky))
        assert symbol(model, kx, ky) == pytest.approx(expected, rel=1e-12)
    assert symbol(model, *WAVES[0]) == pytest.approx(WAVES[0][0] ** 2, rel=2e-3)  # 1/90 k^4


def test_the_corners_hold_a_tensor_with_an_off_diagonal_part() -> None:
    """k' [[1, T], [T, 1]] k at long waves."""
    model = untrained(sides=("periodic",) * 4).double()
    set_bias(model, slice(4, 8), 0.6)
    for kx, ky in WAVES:
        expected = 4 * np.sin(kx / 2) ** 2 + 4 * np.sin(ky / 2) ** 2 + 2 * 0.3 * np.sin(kx) * np.sin(ky)
        assert symbol(model, kx, ky) == pytest.approx(expected, rel=1e-12)


def test_faces_and_bulk_modulus_scale_what_they_say() -> None:
    model = untrained(sides=("periodic",) * 4).double()
    set_bias(model, slice(0, 2), 0.25)  # right and left: both sides of every face across x
    set_bias(model, slice(10, 11), -0.5)
    kx, ky = WAVES[2]
    expected = np.exp(-0.5) * (np.exp(0.5) * 4 * np.sin(kx / 2) ** 2 + 4 * np.sin(ky / 2) ** 2)
    assert symbol(model, kx, ky) == pytest.approx(expected, rel=1e-12)


@torch.no_grad()
def test_a_shifted_or_repeated_field_between_periodic_sides_is_forecast_so() -> None:
    model = forecaster(sides=("periodic",) * 4).double()
    state, medium = states().double(), contrast().double()
    encoded = model.encode(medium)
    alone = model(state, encoded)
    for change in (lambda f: f.roll((2, -3), (-2, -1)), lambda f: f.repeat(1, 1, 2, 3)):
        context = model.encode(change(medium))._replace(substeps=encoded.substeps)
        torch.testing.assert_close(model(change(state), context), change(alone), atol=1e-11, rtol=0)


def test_training_may_ask_for_a_step_that_is_stable_with_fewer_substeps() -> None:
    """The excess is none where the sub-steps are stable; taken down, it leaves a stiff medium as many as asked for."""
    model, medium = untrained(substeps=5), contrast(1)
    step = model.coarse
    stiff = step.stencil(medium)
    assert step.substeps_in(stiff, medium) > 5 and step.excess(stiff, medium).item() > 1e-3
    soft = 0 * medium + 1
    assert step.excess(step.stencil(soft), soft).item() == 0
    bound = step.largest(stiff).item() / (4 * STABLE * 25) - 1  # the excess of the stiffest cell
    assert step.excess(stiff, medium).item() <= bound**2
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(100):
        excess = step.excess(step.stencil(medium), medium)
        optimizer.zero_grad()
        excess.backward()
        optimizer.step()
    assert step.substeps_in(step.stencil(medium), medium) == 5
    assert eigenvalues(model, medium)[-1] < 4 * 25  # of a dense matrix
