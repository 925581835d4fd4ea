"""The compiled loops of steps do what torch does, the effective one between any sides, and go on for ever."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from learned_cases import GRID, SIDES, contrast, forecaster, states

from wavesim.bench import fastest
from wavesim.config import ForecasterConfig
from wavesim.errors import WavesimError
from wavesim.surrogate import Forecaster, rollout
from wavesim.surrogate.loops import CompiledForecaster

FREE = float(np.finfo(np.float32).max)


def agree(model: Forecaster, state: np.ndarray, medium: np.ndarray, frames: int = 20) -> None:
    expected, found = (rollout(one, state, medium, frames) for one in (model, CompiledForecaster(model)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * abs(expected).max())


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("grid", [GRID, (33, 64), (2, 40)])  # that fill no vector, that do, and the smallest
def test_an_effective_rollout_is_that_of_torch(sides, grid) -> None:  # type: ignore[no-untyped-def]
    """Two media at once, the stiffer of which says how many sub-steps both take."""
    media = torch.cat((contrast(1, grid), 1 + 0.1 * contrast(1, grid, seed=3)))
    agree(forecaster(sides=sides), states(2, grid).numpy(), media.numpy())


@pytest.mark.parametrize("sides", SIDES)
def test_a_rollout_of_the_coarse_step_alone_is_that_of_torch(sides) -> None:  # type: ignore[no-untyped-def]
    coarse = Forecaster(ForecasterConfig(ranks=(), substeps=16, sides=sides), 2.0).eval()
    agree(coarse, states().numpy(), contrast(1).numpy())


@pytest.mark.parametrize("ranks", [{}, {"ranks": ()}], ids=["effective", "coarse"])
@pytest.mark.parametrize("budget", [None, 0.1])
def test_a_frame_begins_where_it_is_told(ranks, budget) -> None:  # type: ignore[no-untyped-def]
    """Not where the last one of the same workspace ended: after another state, and after one that was scaled back."""
    model = Forecaster(ForecasterConfig(substeps=16, **ranks), 2.0) if ranks else forecaster()
    loops, medium = CompiledForecaster(model.eval()), contrast(1).numpy()
    one, other = states(2).numpy()[:, None]
    workspace = loops.start(one, medium, budget)
    for state in (one, other, loops.advance(one, workspace)[:, 0], one, other):
        for _ in range(2):
            found = loops.advance(state, workspace)[:, 0]
            expected = loops.advance(state, loops.start(state, medium, budget))[:, 0]
            np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * abs(expected).max())
            state = found


@pytest.mark.parametrize("network", ["effective", "gated"])
@pytest.mark.parametrize("share", [0.9, 1e-3])
@torch.no_grad()
def test_frames_of_one_call_are_those_of_as_many_calls(network: str, share: float) -> None:
    """Within a budget, a share of the first energy: some frames are scaled back to it, or all."""
    model, medium = forecaster(network=network, substeps=16), contrast(1).numpy()
    one, other = states(2).numpy()[:, None]
    budget = share * float(model.energy(torch.from_numpy(one), model.encode(torch.from_numpy(medium))))
    loops, both = CompiledForecaster(model), np.concatenate((one, other))
    together = loops.advance(both, loops.start(both, medium, budget), frames=6)
    for state, found in zip((one, other), together, strict=True):
        workspace = loops.start(state, medium, budget)
        for frame in found:
            state = loops.advance(state, workspace)[:, 0]
            np.testing.assert_allclose(frame, state[0], rtol=0, atol=2e-6 * abs(state).max())


@torch.no_grad()
def test_what_exceeds_its_energy_budget_is_scaled_back_to_it() -> None:
    """From a budget that is a tenth of what the state has."""
    model, state, medium = forecaster(), states(1), contrast(1)
    context = model.encode(medium)
    loops, budget = CompiledForecaster(model), 0.1 * float(model.energy(state, context))
    after = torch.from_numpy(loops.advance(state.numpy(), loops.start(state.numpy(), medium.numpy(), budget))[:, 0])
    free = model(state, context)
    expected = free * torch.sqrt(budget / model.energy(free, context))
    torch.testing.assert_close(after, expected, rtol=0, atol=2e-5 * float(expected.abs().max()))


@torch.no_grad()
def test_energy_is_bounded_over_10000_compiled_frames_in_an_unseen_medium_with_contrast() -> None:
    """Nothing scaled back: the scheme's own energy stays, and bounds that of the wave."""
    grid = (64, 64)
    model, medium, start = forecaster(courant=0.5, substeps=4), contrast(1, grid, seed=7), states(1, grid)
    loops, context = CompiledForecaster(model), model.encode(medium)
    workspace = loops.start(start.numpy(), medium.numpy(), FREE)

    def energy(state: np.ndarray) -> float:
        return float(model.coarse.scheme_energy(torch.from_numpy(state), context.stencil, context.substeps))

    frames = np.empty((1, *start.shape), np.float32)
    np.copyto(frames[0], start.numpy())
    course = []
    for _ in range(10):
        for _ in range(1000):
            loops.advance(frames[:, 0], workspace, frames)
        course.append(energy(frames[0]) / energy(start.numpy()))
    assert np.abs(np.array(course) - 1).max() < 1e-3, course
    stable = 1 - float(model.coarse.largest(context.stencil)) / (4 * context.substeps**2)
    assert float(model.energy(torch.from_numpy(frames[0]), context)) <= energy(start.numpy()) / stable * 1.001


def test_the_window_has_the_choice_between_torch_and_loops() -> None:
    model = forecaster()
    found = fastest(model, states(1)[0].numpy(), contrast(1)[0].numpy())
    assert set(found.milliseconds) == {"torch", "compiled loops"} and not found.why_not


def test_what_these_loops_do_not_know_is_refused() -> None:
    with pytest.raises(WavesimError, match=r"one frame a call, not bundle 2: use ONNX"):
        CompiledForecaster(forecaster(bundle=2))
    with pytest.raises(WavesimError, match=r"'effective' is a step of single precision: use precision float32"):
        CompiledForecaster(forecaster(), "bfloat16")
