"""Several frames in one call: the same rollout, step by step, in training and in a file."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from network_cases import OURS, fields, forecaster

from wavesim.config import ForecasterConfig
from wavesim.metrics import relative_l2
from wavesim.surrogate import Forecaster, OnnxForecaster, export_onnx, init, rollout, step
from wavesim.surrogate.train import rollout_error


def by_hand(model: Forecaster, state: torch.Tensor, medium: torch.Tensor, frames: int) -> list[torch.Tensor]:
    """Each call starts from the last frame of the one before; each frame is brought back to its budget."""
    found: list[torch.Tensor] = []
    with torch.no_grad():
        context = model.encode(medium)
        budget = model.budget(state, context)
        while len(found) < frames:
            call = model.bundle(found[-1] if found else state, context)
            assert call.shape == (len(state), model.config.bundle, *state.shape[1:])
            found += [model.conserved(call[:, frame], context, budget) for frame in range(model.config.bundle)]
    return found[:frames]


@pytest.mark.parametrize("network", OURS)
def test_a_bundle_without_corrections_is_as_many_coarse_steps(network: str) -> None:
    model, (state, medium) = forecaster(network, bundle=3), fields()
    torch.nn.init.zeros_(model.network.head.weight)
    context = model.encode(medium)
    once = model.coarse(state, context.stencil)
    twice = model.coarse(once, context.stencil)
    torch.testing.assert_close(model.bundle(state, context)[:, 1], twice)
    torch.testing.assert_close(model(state, context), once)


@pytest.mark.parametrize("network", OURS)
@pytest.mark.parametrize("bundle", [1, 3])
def test_a_rollout_by_bundles_is_that_by_hand(network: str, bundle: int) -> None:
    model, (state, medium) = forecaster(network, bundle=bundle), fields()
    expected = torch.stack(by_hand(model, state, medium, 7), dim=1)
    np.testing.assert_allclose(rollout(model, state, medium, 7), expected, rtol=1e-5, atol=1e-5)
    current, context = init(model, state, medium), model.encode(medium)
    for frame in range(1, 6):
        current = step(model, current)
        assert current.frame == frame and len(current.ahead) == -frame % bundle
        torch.testing.assert_close(current.state, expected[:, frame - 1])
    with torch.no_grad():
        frames = list(islice(model.frames(state, context, model.budget(state, context)), 5))
    torch.testing.assert_close(torch.stack(frames, dim=1), expected[:, :5])


def test_the_error_of_a_rollout_counts_every_frame_of_a_bundle() -> None:
    model, (state, medium) = forecaster("gated", bundle=2), fields()
    truth = torch.randn(2, 4, 2, 16, 16)
    truth[:, 0] = state
    found = by_hand(model, state, medium, 3)
    each = [relative_l2(now[:, 0].numpy(), truth[:, 1 + frame, 0].numpy()) for frame, now in enumerate(found)]
    assert rollout_error(model, truth, medium) == pytest.approx(np.mean(each), rel=1e-5)


def test_a_bundle_shares_the_work_of_the_network_and_each_frame_has_its_own_coarse_step() -> None:
    alone, bundled = (
        Forecaster(ForecasterConfig(network="unet", width=16, ranks=(8, 8), bundle=bundle), 2.0) for bundle in (1, 4)
    )
    coarse = Forecaster(ForecasterConfig(ranks=()), 2.0).macs((16, 16))["frame"]
    # Two more channels into the stem and out of the head for each frame.
    call = alone.macs((16, 16))["frame"] - coarse + 3 * (2 * 16 + 2 * 16) * 16 * 16
    assert bundled.macs((16, 16))["frame"] == coarse + call // 4


@pytest.mark.parametrize("network", ["unet", "space-time"])
def test_onnx_runtime_forecasts_the_same_bundles_on_a_grid_that_is_no_multiple(network: str, tmp_path: Path) -> None:
    sides = ("rigid", "soft", "absorbing", "rigid")
    model = forecaster(network, bundle=2, sides=sides, activation="gelu")
    states, media = (field.numpy() for field in fields(1, (14, 17)))
    export_onnx(model, tmp_path / "m", (14, 17))
    exported = OnnxForecaster(tmp_path / "m")
    np.testing.assert_allclose(rollout(exported, states, media, 5), rollout(model, states, media, 5), atol=2e-5)


def test_a_kernel_of_space_and_time_lets_each_frame_of_a_call_see_the_others() -> None:
    """A coarse frame alone that is changed changes the corrections of its neighbours in time, and, over two filters of
    three taps, of none that is more than two frames away."""
    model = forecaster("space-time", bundle=6, kernel_size=3, ranks=(8, 8))
    _, medium = fields(1)
    frames = torch.randn(1, 14, 16, 16, generator=torch.Generator().manual_seed(3))
    changed = frames.clone()
    changed[:, 6:8] += 1  # frame 3 of 0, 1, ..., 6
    with torch.no_grad():
        seen = model.network.encode(medium)
        apart = (
            (model.network(changed, seen) - model.network(frames, seen)).unflatten(1, (-1, 2)).abs().amax((0, 2, 3, 4))
        )
    assert (apart > 1e-3).tolist() == [True] * 5 + [False]


def test_a_kernel_that_reaches_over_more_frames_than_a_call_has_is_refused() -> None:
    with pytest.raises(ValueError, match=r"reaches over 3 frames.*take bundle 2 or more"):
        ForecasterConfig(network="space-time", kernel_size=7)
