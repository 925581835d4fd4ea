"""Learned steps in training, files, graphs, pruning and counts."""

from pathlib import Path

import numpy as np
import pytest
import torch
from learned_cases import EVERY, SIDES, contrast, forecaster, states, untrained
from torch.utils.flop_counter import FlopCounterMode

from wavesim.config import ForecasterConfig, TrainingConfig, parse
from wavesim.dataset import WaveDataset
from wavesim.errors import WavesimError
from wavesim.surrogate import OnnxForecaster, export_onnx, load, rollout, save, train
from wavesim.surrogate.loops import CompiledForecaster
from wavesim.surrogate.unrolled import rollout_error

GRID = (9, 7)


@pytest.mark.parametrize("network", EVERY)
def test_one_trajectory_is_learned_by_heart(network: str, modes: Path) -> None:
    """Frames of four standing modes, 2 cells a frame, of which the coarse step on 16 cells misses some."""
    data = WaveDataset(modes, "train")
    window, medium = torch.from_numpy(data.window(0, 0, 9))[None], torch.from_numpy(data.medium(0))[None]
    model = untrained(network, width=8, ranks=(8,), kernel_size=5)
    before = rollout_error(model, window, medium)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        frames = model.frames(window[:, 0], model.encode(medium))
        loss = sum((next(frames) - window[:, k]).square().sum() / window[:, k].square().sum() for k in (1, 2, 3, 4))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert rollout_error(model, window, medium) < {"structured": 0.1, "effective": 0.35}[network] * before


@pytest.mark.parametrize("network", EVERY)
@pytest.mark.parametrize("sides", [SIDES[0], SIDES[4], SIDES[5]])
def test_gradients_reach_every_weight(network: str, sides) -> None:  # type: ignore[no-untyped-def]
    model, medium = forecaster(network, sides=sides), contrast()
    model.train().bundle(states(), model.encode(medium)).square().sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


@pytest.mark.parametrize("network", EVERY)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_writes_a_file_that_forecasts_better_than_it_began(
    network: str, precision: str, modes: Path, tmp_path: Path
) -> None:
    config = untrained(network).config
    training = TrainingConfig(
        unrolls=(1, 2),
        shares=(1, 1),
        iterations=24,
        batch=2,
        validate_every=12,
        precision=precision,  # type: ignore[arg-type]
    )
    model = load(train(config, training, modes, tmp_path / "m.safetensors"))
    valid = WaveDataset(modes, "valid").trajectory(0)
    errors = [np.linalg.norm(rollout(one, valid)[:8] - valid.state[1:9]) for one in (model, untrained(network))]
    assert errors[0] < 0.9 * errors[1]


@pytest.mark.parametrize("network", EVERY)
def test_a_file_rebuilds_the_step(network: str, tmp_path: Path) -> None:
    model = forecaster(network, sides=SIDES[5], bundle=2)
    again = load(save(model, tmp_path / "m.safetensors"))
    assert again.config == model.config and again.weights() == model.weights() > 0
    arrays = states(1)[0].numpy(), contrast(1)[0].numpy()
    np.testing.assert_array_equal(rollout(again, *arrays, 3), rollout(model, *arrays, 3))


@pytest.mark.parametrize("network", EVERY)
def test_onnx_runtime_forecasts_the_same_and_refuses_what_is_too_stiff(network: str, tmp_path: Path) -> None:
    model = forecaster(network, courant=0.5, ranks=(4,), substeps=2, sides=("rigid", "absorbing", "soft", "rigid"))
    export_onnx(model, tmp_path / "m", GRID)
    exported = OnnxForecaster(tmp_path / "m")
    state, medium = states(1).numpy(), 1 + 0.1 * contrast(1).numpy()
    expected = rollout(model, state, medium, 12)
    np.testing.assert_allclose(rollout(exported, state, medium, 12), expected, atol=2e-5 * abs(expected).max())
    with pytest.raises(WavesimError, match=r"substeps 2 is unstable in this medium, .* forecast with PyTorch"):
        exported.start(state, medium * np.array([30, 1], np.float32)[:, None, None])


@pytest.mark.parametrize("network", EVERY)
def test_compiled_loops_and_a_step_without_substeps_are_refused(network: str) -> None:
    with pytest.raises(WavesimError, match=f"gated networks, not '{network}'"):
        CompiledForecaster(forecaster(network))
    with pytest.raises(WavesimError, match=f"network '{network}' is a step that takes them"):
        parse({"network": network, "substeps": 0}, ForecasterConfig, "here")


@pytest.mark.parametrize("network", EVERY)
def test_macs_agree_with_a_count_of_the_operations_that_run(network: str) -> None:
    model, medium, cells = forecaster(network), contrast(1), GRID[0] * GRID[1]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        stencil = model.coarse.stencil(medium)
    assert model.macs(GRID)["encode"] == counter.get_total_flops() // 2
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.coarse(states(1), stencil)
    # Differences are counted as such, and not as kernels of zeros; products with stencil and gates as well.
    applications, kicks, drifts = 7, 7 * cells, 6 * cells
    links, kernels = (12, 12 * 25) if network == "effective" else (4, 2 * 4 * 9)
    sides = 2 if network == "structured" else 1
    gates = 2 * 16 if network == "structured" else 0
    # The adjoint of a padded filter makes the cells beyond both edges, too: 2 layers of 4 ranks and 3 taps.
    beyond = 2 * 4 * 3 * 2 * sum(GRID) if network == "structured" else 0
    others = applications * (cells * (sides * 2 * links + gates - kernels) - beyond) + kicks + drifts
    assert model.macs(GRID)["frame"] == counter.get_total_flops() // 2 + others


@pytest.mark.parametrize("network", EVERY)
def test_the_smallest_grid_runs_and_one_cell_less_is_refused(network: str) -> None:
    model = forecaster(network, kernel_size=7)
    least = model.coarse.least
    arrays = (states(1, (least, 9)).numpy(), contrast(1, (least, 9)).numpy())
    assert rollout(model, *arrays, 1).shape == (1, 1, 2, least, 9)
    with pytest.raises(WavesimError, match=f"too small for this forecaster: it takes {least}"):
        rollout(model, *(array[..., 1:, :] for array in arrays), 1)
