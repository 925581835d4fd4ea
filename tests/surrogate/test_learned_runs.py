"""The effective step in training, files, graphs, pruning and counts."""

from pathlib import Path

import numpy as np
import pytest
import torch
from learned_cases import SIDES, contrast, forecaster, states, stiffness, untrained
from torch.utils.flop_counter import FlopCounterMode

from wavesim import costs
from wavesim.config import ForecasterConfig, TrainingConfig, parse
from wavesim.dataset import WaveDataset
from wavesim.errors import WavesimError
from wavesim.pruning.materialise import materialise
from wavesim.pruning.plans import Mask
from wavesim.pruning.scores import prunable
from wavesim.surrogate import Forecaster, OnnxForecaster, export_onnx, load, rollout, save, train
from wavesim.surrogate.unrolled import Unrolled, rollout_error

GRID = (9, 7)


def test_one_trajectory_is_learned_by_heart(modes: Path) -> None:
    """Frames of four standing modes, 2 cells a frame, of which the coarse step on 16 cells misses some."""
    data = WaveDataset(modes, "train")
    window, medium = torch.from_numpy(data.window(0, 0, 9))[None], torch.from_numpy(data.medium(0))[None]
    model = untrained(ranks=(8,), kernel_size=5)
    before = rollout_error(model, window, medium)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(40):
        frames = model.frames(window[:, 0], model.encode(medium))
        loss = sum((next(frames) - window[:, k]).square().sum() / window[:, k].square().sum() for k in (1, 2, 3, 4))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert rollout_error(model, window, medium) < 0.4 * before


def inclined_layers() -> tuple[torch.Tensor, float, float]:
    """Layers of density 1 and 5 across (1, 1), 1.4 cells thick, kappa 1; for long waves 1/rho is 1/<rho> along the
    normal and <1/rho> along the layers (Milton, section 9)."""
    y, x = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    rho = torch.where((x + y) % 4 < 2, 1.0, 5.0)
    return torch.stack((torch.ones(16, 16), rho))[None], 1 / 3, 3 / 5


def standing(kx: int, ky: int, speed: float, frames: int) -> torch.Tensor:
    """cos(k r) cos(|k| c t), (1, time, 2, y, x), on 16 periodic cells; frames of 1 cell."""
    k = 2 * torch.pi / 16
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    omega, time = speed * k * np.hypot(kx, ky), torch.arange(frames)[:, None, None]
    shape = torch.cos(k * (kx * x + ky * y))
    return torch.stack((torch.cos(omega * time) * shape, -omega * torch.sin(omega * time) * shape), dim=1)[None]


def test_the_effective_step_learns_what_layers_are_to_long_waves() -> None:
    """Three waves say what the tensor is: along the normal, along the layers, and along x. The fourth, along y, is new.

    The coarse step's own 1/<rho> at each face is right along the normal and 22 % too small along the layers.
    """
    medium, normal, along = inclined_layers()
    model = untrained(courant=1.0, sides=("periodic",) * 4, substeps=3)

    def stiffness_along(kx: int, ky: int) -> float:
        """omega^2 / k^2 of the mode that is most like this wave."""
        matrix, kappa = stiffness(model, medium)
        model.float()
        found, vectors = np.linalg.eigh(np.sqrt(kappa)[:, None] * matrix * np.sqrt(kappa))
        wave = standing(kx, ky, 1.0, 1)[0, 0, 0].flatten().numpy()
        return float(found[np.argmax(abs(wave @ vectors))] / ((2 * np.pi / 16) ** 2 * (kx**2 + ky**2)))

    assert stiffness_along(1, -1) == pytest.approx(7 / 15, rel=0.04)
    between = (normal + along) / 2
    known = (standing(1, 1, normal**0.5, 13), standing(1, -1, along**0.5, 13), standing(1, 0, between**0.5, 13))
    windows = torch.cat(known)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        """Of how much of the wave is left: what varies from layer to layer, its homogenised truth does not have."""
        optimizer.zero_grad()
        frames = model.frames(windows[:, 0], model.encode(medium))
        left = [((next(frames) - truth)[:, 0] * windows[:, 0, 0]).mean((1, 2)) for truth in windows[:, 1:].unbind(1)]
        total = torch.stack(left).square().sum()
        total.backward()
        return total

    optimizer.step(loss)

    for direction, expected in (((1, 1), normal), ((1, -1), along), ((1, 0), between), ((0, 1), between)):
        assert stiffness_along(*direction) == pytest.approx(expected, rel=0.03), direction


@pytest.mark.parametrize("sides", [SIDES[0], SIDES[4], SIDES[5]])
def test_gradients_reach_every_weight(sides) -> None:  # type: ignore[no-untyped-def]
    model, medium = forecaster(sides=sides), contrast()
    model.train().bundle(states(), model.encode(medium)).square().sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_writes_a_file_that_forecasts_better_than_it_began(
    precision: str, modes: Path, tmp_path: Path
) -> None:
    config = untrained().config
    training = TrainingConfig(
        unrolls=(1, 2),
        shares=(1, 1),
        iterations=12,
        batch=2,
        validate_every=6,
        precision=precision,  # type: ignore[arg-type]
    )
    model = load(train(config, training, modes, tmp_path / "m.safetensors"))
    valid = WaveDataset(modes, "valid").trajectory(0)
    errors = [np.linalg.norm(rollout(one, valid)[:8] - valid.state[1:9]) for one in (model, untrained())]
    assert errors[0] < errors[1]


def test_a_file_rebuilds_the_step(tmp_path: Path) -> None:
    model = forecaster(sides=SIDES[5], bundle=2)
    again = load(save(model, tmp_path / "m.safetensors"))
    assert again.config == model.config and again.weights() == model.weights() > 0
    arrays = states(1)[0].numpy(), contrast(1)[0].numpy()
    np.testing.assert_array_equal(rollout(again, *arrays, 3), rollout(model, *arrays, 3))


def test_onnx_runtime_forecasts_the_same_and_refuses_what_is_too_stiff(tmp_path: Path) -> None:
    model = forecaster(courant=0.25, ranks=(4,), substeps=1, sides=("rigid", "absorbing", "soft", "rigid"))
    export_onnx(model, tmp_path / "m", GRID)
    exported = OnnxForecaster(tmp_path / "m")
    state, medium = states(1).numpy(), 1 + 0.1 * contrast(1).numpy()
    expected = rollout(model, state, medium, 12)
    np.testing.assert_allclose(rollout(exported, state, medium, 12), expected, atol=2e-5 * abs(expected).max())
    stiff = medium * np.array([20, 1], np.float32)[:, None, None]
    with pytest.raises(WavesimError, match=r"1 is less than the \d+ that this medium takes, .* forecast with PyTorch"):
        exported.start(state, stiff)
    needed = int(torch.as_tensor(model.encode(torch.from_numpy(stiff)).substeps))
    export_onnx(model, tmp_path / "more", GRID, substeps=needed)
    expected = rollout(model, state, stiff, 12)
    found = rollout(OnnxForecaster(tmp_path / "more"), state, stiff, 12)
    np.testing.assert_allclose(found, expected, atol=2e-5 * abs(expected).max())
    with pytest.raises(WavesimError, match="is less than the 3 of this forecaster"):
        export_onnx(forecaster(substeps=3), tmp_path / "fewer", GRID, substeps=2)


def test_onnx_runtime_refuses_a_medium_in_which_the_substeps_granted_are_unstable(tmp_path: Path) -> None:
    model, medium = untrained(substeps=5), contrast(1)
    assert model.coarse.granted(medium).item() == 5 < model.encode(medium).substeps
    export_onnx(model, tmp_path / "m", GRID)
    with pytest.raises(WavesimError, match=r"substeps 5 is unstable in this medium, .* forecast with PyTorch"):
        OnnxForecaster(tmp_path / "m").start(states(1).numpy(), medium.numpy())


def test_a_network_that_corrects_the_coarse_step_is_exported_with_its_own_substeps(tmp_path: Path) -> None:
    model = Forecaster(ForecasterConfig(ranks=(4,), substeps=4), 0.5)
    with pytest.raises(WavesimError, match="network 'gated' has learned to correct 4"):
        export_onnx(model, tmp_path / "m", (16, 16), substeps=5)
    assert not list(tmp_path.iterdir())


def test_a_step_without_substeps_is_refused() -> None:
    with pytest.raises(WavesimError, match="network 'effective' is a step that takes them"):
        parse({"network": "effective", "substeps": 0}, ForecasterConfig, "here")


def test_a_mask_leaves_the_operator_symmetric() -> None:
    model = forecaster()
    masks = {name: weight.abs() > weight.abs().median() for name, weight in prunable(model).items()}
    masked = materialise(model, Mask(masks))
    assert 0 < sum(int(p.count_nonzero()) for p in masked.parameters()) < 0.7 * model.weights()
    matrix, _ = stiffness(masked, contrast(1))
    assert abs(matrix - matrix.T).max() < 1e-13 * abs(matrix).max()


def test_macs_agree_with_a_count_of_the_operations_that_run() -> None:
    model, medium, cells = forecaster(), contrast(1), GRID[0] * GRID[1]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        stencil = model.coarse.stencil(medium)
    assert model.macs(GRID)["encode"] == counter.get_total_flops() // 2
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.coarse(states(1), stencil)
    # Seven times twelve differences and products with links, seven kicks and six drifts, which the counter leaves out.
    assert counter.get_total_flops() == 0 and model.macs(GRID)["frame"] == cells * (7 * 2 * 12 + 7 + 6)


def test_the_smallest_grid_runs_and_one_cell_less_is_refused() -> None:
    model = forecaster(kernel_size=7)
    least = model.coarse.least
    arrays = (states(1, (least, 9)).numpy(), contrast(1, (least, 9)).numpy())
    assert rollout(model, *arrays, 1).shape == (1, 1, 2, least, 9)
    with pytest.raises(WavesimError, match=f"too small for this forecaster: it takes {least}"):
        rollout(model, *(array[..., 1:, :] for array in arrays), 1)


def test_the_loss_of_an_effective_step_has_its_excess(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    model, config = untrained(), TrainingConfig(iterations=1, unrolls=(1,), shares=(1.0,))
    start, medium = states(2), contrast(2)
    batch = (torch.stack((start, start), dim=1), medium)
    unrolled = Unrolled(model, config, batch)
    without = unrolled.training_step(batch, 0) - model.coarse.excess(model.coarse.stencil(medium), medium)
    monkeypatch.setattr(type(model.coarse), "excess", lambda self, stencil, medium: stencil.new_full((), 7.0))
    torch.testing.assert_close(unrolled.training_step(batch, 0), without + 7)


def test_a_stiff_medium_is_timed_where_the_graphs_refuse_it(tmp_path: Path) -> None:
    model = forecaster(courant=0.25, ranks=(4,), substeps=1)
    soft = 1 + 0.1 * contrast(1)[0].numpy()
    stiff = soft * np.array([20, 1], np.float32)[:, None, None]
    for medium, runtimes in ((soft, {"ONNX Runtime", "compiled loops"}), (stiff, {"compiled loops"})):
        assert costs._works(model, tmp_path / "m", states(1)[0].numpy(), medium).keys() == runtimes
