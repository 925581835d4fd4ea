"""Superposition, scaling and reciprocity: of steps that have them, of steps that do not, and of the FE truth."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch

from wavesim.errors import WavesimError
from wavesim.metrics import bump, homogeneity_defect, reciprocity_defect, superposition_defect
from wavesim.provenance import generator
from wavesim.surrogate.coarse import CoarseStep

GRID, FRAMES = (24, 32), 30


def medium(contrast: float = 20.0) -> np.ndarray:
    """(2, y, x) of (kappa, rho), anything between 1 and the contrast in every cell."""
    rng = np.random.default_rng(4)
    return rng.uniform(1, contrast, size=(2, *GRID))


def coarse(through: np.ndarray, courant: float = 1.5):
    """F of the finite-volume step of the forecasters, in double precision."""
    step = CoarseStep(courant, 24).double()
    stencil = step.stencil(torch.from_numpy(through)[None])
    step.check(stencil)

    def forecast(state: np.ndarray) -> np.ndarray:
        current, states = torch.from_numpy(np.asarray(state, float))[None], []
        for _ in range(FRAMES):
            current = step(current, stencil)
            states.append(current[0].numpy())
        return np.stack(states)

    return forecast


def states(number: int) -> np.ndarray:
    return np.random.default_rng(number).normal(size=(2, *GRID))


def test_the_coarse_step_has_all_three_symmetries() -> None:
    through = medium()
    forecast = coarse(through)
    assert superposition_defect(forecast, states(0), states(1)).max() < 1e-12
    assert homogeneity_defect(forecast, states(0)).max() < 1e-12
    one, other = bump(GRID, (0.3, 0.3)).astype(float), bump(GRID, (0.7, 0.6), 2.0).astype(float)
    assert reciprocity_defect(forecast, through[0], one, other) < 1e-12


def test_reciprocity_needs_the_weight_of_the_compliance() -> None:
    """Single cells of kappa 20 and 1 in a medium of 1: without the weight one hears 20 times what the other does."""
    through = np.ones((2, *GRID))
    through[0, 6, 5] = 20.0
    one, other = np.zeros(GRID), np.zeros(GRID)
    one[6, 5] = other[12, 20] = 1.0
    forecast = coarse(through)
    assert reciprocity_defect(forecast, through[0], one, other) < 1e-12
    # sqrt( (20 - 1)^2 / ((20^2 + 1^2) / 2) )
    expected = 19 / np.sqrt(401 / 2)
    assert reciprocity_defect(forecast, np.ones(GRID), one, other) == pytest.approx(expected, rel=1e-9)


def test_a_step_that_shifts_to_the_right_is_heard_on_the_right_alone() -> None:
    def shift(state: np.ndarray) -> np.ndarray:
        return np.stack([np.roll(state, frame, axis=-1) for frame in range(1, 16)])

    one, other = np.zeros(GRID), np.zeros(GRID)
    one[10, 4] = other[10, 14] = 1.0
    assert reciprocity_defect(shift, np.ones(GRID), one, other) == pytest.approx(np.sqrt(2))
    assert superposition_defect(shift, states(0), states(1)).max() < 1e-15  # and is linear all the same


def test_reciprocity_of_a_pulse_with_itself_is_refused() -> None:
    """It is 0 for every step, were it reciprocal or not."""
    pulse = bump(GRID, (0.2, 0.3))
    with pytest.raises(WavesimError, match="reciprocity of a pulse with itself says nothing"):
        reciprocity_defect(lambda state: np.stack([state]), np.ones(GRID), pulse, pulse.copy())


def test_a_step_with_an_offset_is_neither_linear_nor_homogeneous() -> None:
    offset, u, v = states(2), states(0), states(1)

    def forecast(state: np.ndarray) -> np.ndarray:
        return np.stack([state + offset])

    norm = np.linalg.norm
    assert superposition_defect(forecast, u, v)[0] == pytest.approx(norm(offset) / norm(u + v + offset))
    assert homogeneity_defect(forecast, u)[0] == pytest.approx(2 * norm(offset) / norm(3 * u + offset))


def test_a_cubic_step_has_the_defects_of_its_power() -> None:
    def cube(state: np.ndarray) -> np.ndarray:
        return np.stack([state**3, 2 * state**3])

    u = states(0)
    np.testing.assert_allclose(homogeneity_defect(cube, u, factor=3.0), 1 - 3 / 27)
    np.testing.assert_allclose(superposition_defect(cube, u, u), 1 - 2 / 8)


def test_a_step_that_scales_itself_back_is_homogeneous_and_not_additive() -> None:
    def normalised(state: np.ndarray) -> np.ndarray:
        return np.stack([np.abs(state)])

    assert homogeneity_defect(normalised, states(0)).max() < 1e-15
    assert superposition_defect(normalised, states(0), states(1)).min() > 0.2


@lru_cache
def of_finite_elements(cells: int) -> float:
    """The reciprocity defect of the FE truth as a grid of so many cells a side holds it."""
    from wavesim.fem import Pulse, random_field, simulate
    from wavesim.preset_config import RandomConfig

    field = random_field(generator(3, "reciprocity"), 0.2, 0.6)
    config = RandomConfig(grid=(cells, cells), elements=(10, 10), frames=17, frame_interval=1 / 16)
    places, width = ((0.3, 0.35), (0.65, 0.7)), 0.08
    bumps = [bump((cells, cells), place, width * cells) for place in places]

    def forecast(state: np.ndarray) -> np.ndarray:
        which = next(k for k in (0, 1) if np.array_equal(state[0], bumps[k]))
        waves = simulate(config, field, Pulse(places[which], width))
        return np.stack([waves.pressure, waves.pressure_rate], axis=1)[1:]

    centres = (np.arange(cells) + 0.5) / cells
    kappa = field.bulk_modulus(centres[None, :], centres[:, None])
    assert kappa.max() / kappa.min() > 3
    return reciprocity_defect(forecast, kappa, *bumps)


def test_the_finite_element_truth_is_reciprocal_to_the_grids_own_error() -> None:
    pytest.importorskip("dolfinx")
    coarse_grid, fine_grid = of_finite_elements(16), of_finite_elements(32)
    assert coarse_grid < 0.03 and fine_grid < 0.006, (coarse_grid, fine_grid)
    assert 1.7 < np.log2(coarse_grid / fine_grid) < 2.3
