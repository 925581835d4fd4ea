"""Rigid obstacles: smaller domains, finite elements around a block, and fields that stay zero in every forecaster."""

import shutil
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import h5py
import numpy as np
import pytest
import torch
from learned_cases import contrast
from learned_cases import forecaster as learned
from network_cases import EVERY, forecaster

from wavesim.config import ForecasterConfig, TrainingConfig
from wavesim.dataset import Shard, WaveDataset, check, write_shard, write_statistics
from wavesim.errors import WavesimError
from wavesim.surrogate import Forecaster, OnnxForecaster, export_onnx, init, load, rollout
from wavesim.surrogate import train as train_model
from wavesim.surrogate.data import Windows, described, validation_batch
from wavesim.surrogate.loops import CompiledForecaster, multiplies_bfloat16
from wavesim.surrogate.unrolled import rollout_error
from wavesim.unit_check import check_units
from wavesim.viz.style import grain_share


def any_forecaster(network: str, **settings: object) -> Forecaster:
    return learned(**settings) if network == "effective" else forecaster(network, **settings)


def around_a_block(grid: tuple[int, int] = (16, 16), batch: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """States and media (batch, 2, y, x) of random contrast, with a block of infinite density in each."""
    media = contrast(batch, grid).numpy()
    media[:, 1, 4:7, 5:12] = np.inf
    rng = np.random.default_rng(0)
    return rng.normal(size=(batch, 2, *grid)).astype("f4"), media


@pytest.mark.parametrize("network", [None, "effective"])
@pytest.mark.parametrize("kappa", [1.0, 20.0])
def test_what_lies_behind_obstacles_is_as_if_it_were_not(network: str | None, kappa: float) -> None:
    """Columns of them leave a smaller domain with a rigid side. Steps are untrained: an encoder sees the background
    behind a wall of obstacles, and a mirror image behind a side."""
    settings = {"substeps": 20, "sides": ("soft", "rigid", "absorbing", "soft")}
    if network:
        whole = learned(size=0.0, **settings)
    else:
        whole = Forecaster(ForecasterConfig(ranks=(), **settings), 2.0)  # type: ignore[arg-type]
    media = contrast(1, (12, 14)).numpy()
    media[:, 0, :, 9:], media[:, 1, :, 9:] = kappa, np.inf
    states = np.random.default_rng(0).normal(size=(1, 2, 12, 14)).astype("f4")
    found = rollout(whole, states, media, 30)
    expected = rollout(whole, states[..., :9], media[..., :9], 30)
    np.testing.assert_allclose(found[..., :9], expected, rtol=0, atol=2e-5 * abs(expected).max())
    assert not found[..., 9:].any()


def test_the_step_converges_to_finite_elements_around_a_rigid_block() -> None:
    """A block of 1e8 times the background's impedance, of elements of degree 6; their values at the cells' centres.

    At its corners the pressure is as r^(2/3), of which second order leaves 4/3."""
    fem = pytest.importorskip("wavesim.fem")
    pytest.importorskip("dolfinx")
    low, high, sides = np.array((0.5, 0.25)), np.array((0.75, 0.5)), np.linspace(0, 1, 17)
    points = np.stack(np.meshgrid(sides, sides), axis=-1).reshape(-1, 2)
    first = (np.arange(16) + 17 * np.arange(16)[:, None]).ravel()
    cells = np.stack((first, first + 1, first + 18, first + 17), axis=1)
    middle = points[cells].mean(axis=1)
    block = ((middle > low) & (middle < high)).all(axis=1)
    mesh = fem.Mesh(points, cells, block.astype(int))
    problem = fem.assemble(fem.Materials((1.0, 1e8), (1.0, 1e8)), mesh, 0.5, (4, 4), degree=6)

    def pulse(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.exp(-((x - 0.25) ** 2 + (y - 0.35) ** 2) / (2 * 0.08**2))

    errors, ignorant = [], 0.0
    for cells_along in (32, 64, 128):
        centre = (np.arange(cells_along) + 0.5) / cells_along
        x, y = np.meshgrid(centre, centre)
        inside = (x > low[0]) & (x < high[0]) & (y > low[1]) & (y < high[1])
        places = np.stack((x[~inside], y[~inside]), axis=1)
        truth = fem.listen(problem, fem.start(problem, pulse), places, frames=1).pressure[-1]
        step = Forecaster(ForecasterConfig(ranks=(), substeps=4), 2.0)
        medium = np.ones((2, cells_along, cells_along), np.float32)
        state, frames = np.stack((pulse(x, y), 0 * x)), cells_along // 4
        plain = rollout(step, state, medium, frames)[-1, 0]
        medium[1][inside] = np.inf
        found = rollout(step, state, medium, frames)[-1, 0]
        errors.append(np.linalg.norm(found[~inside] - truth) / np.linalg.norm(truth))
        ignorant = np.linalg.norm(plain[~inside] - truth) / np.linalg.norm(truth)
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    assert errors[-1] < 0.007 and np.all(slopes > 4 / 3), (errors, slopes)
    assert ignorant > 0.3


@pytest.mark.parametrize("network", [*EVERY, "effective"])
def test_nothing_enters_an_obstacle_and_all_else_goes_on(network: str) -> None:
    """In every forecaster, of states that are not zero there; its energy stays within its budget."""
    model, (states, media) = any_forecaster(network, substeps=16), around_a_block()
    found = rollout(model, states, media, 4)
    blocked = np.broadcast_to(np.isinf(media[:, None, 1:]), found.shape)
    assert not found[blocked].any() and np.isfinite(found).all()
    assert found[~blocked].reshape(2, -1).std() > 0.01
    current = init(model, states, media)
    energies = model.energy(torch.from_numpy(found[:, -1]), current.context)
    assert (energies <= current.budget * (1 + 1e-4)).all()


def test_an_effective_step_carries_nothing_across_a_wall_of_one_cell() -> None:
    """A closed box: what is inside stays inside, whatever the weights are. (Filters reach across thin walls.)"""
    model, media = learned(), contrast(1, (14, 14)).numpy()
    ring = np.zeros((14, 14), bool)
    ring[3:10, 4:11] = True
    ring[4:9, 5:10] = False
    media[0, 1][ring] = np.inf
    states = np.zeros((1, 2, 14, 14), np.float32)
    states[..., 6, 7] = 1.0
    found = rollout(model, states, media, 40)
    assert not found[..., :3, :].any() and not found[..., 10:, :].any()
    assert not found[..., :4].any() and not found[..., 11:].any()
    assert abs(found[-1, -1, 0, 4:9, 5:10]).max() > 0.01


@pytest.mark.parametrize(
    ("network", "settings"),
    [("gated", {}), ("gated", {"convolution": "classical"}), ("effective", {}), ("gated", {"ranks": ()})],
)
def test_compiled_loops_have_the_same_obstacles(network: str, settings: dict[str, object]) -> None:
    model, (states, media) = any_forecaster(network, substeps=16, **settings), around_a_block((17, 19))
    expected, found = (rollout(one, states, media, 8) for one in (model, CompiledForecaster(model)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * abs(expected).max())
    assert not found[np.broadcast_to(np.isinf(media[:, None, 1:]), found.shape)].any()


@pytest.mark.skipif(not multiplies_bfloat16(), reason="this processor does not multiply bfloat16")
def test_nothing_enters_an_obstacle_in_half_precision() -> None:
    model, (states, media) = any_forecaster("gated", substeps=16), around_a_block((17, 19))
    expected, found = (rollout(one, states, media, 3) for one in (model, CompiledForecaster(model, "bfloat16")))
    assert np.linalg.norm(found - expected) < 0.02 * np.linalg.norm(expected)
    assert not found[np.broadcast_to(np.isinf(media[:, None, 1:]), found.shape)].any()


def test_a_medium_without_room_for_waves_is_told(tmp_path: Path) -> None:
    shard = waves_around_blocks([4], seed=0, frames=3)
    still, full = np.zeros_like(shard.pressure), np.full_like(shard.density, np.inf)
    write_shard(tmp_path / "data/train/a.hdf5", replace(shard, pressure=still, pressure_rate=still, density=full))
    with pytest.raises(WavesimError, match="density is infinite in every cell"):
        check_units(WaveDataset(tmp_path, "train"))


def test_pictures_show_an_obstacle_of_any_bulk_modulus() -> None:
    medium = np.ones((2, 4, 5))
    medium[1, 1:3, 2] = np.inf
    assert np.array_equal(grain_share(medium), np.isinf(medium[1]))
    medium[0, 0, 0] = 4.0
    assert grain_share(medium)[0, 0] == 1.0 and grain_share(medium)[2, 2] == 1.0 and grain_share(medium)[3, 3] == 0.0


@pytest.mark.parametrize("network", ["gated", "space-time", "classic-unet", "effective"])
def test_an_export_has_the_same_obstacles(network: str, tmp_path: Path) -> None:
    """It was made of a medium without any."""
    model, (states, media) = any_forecaster(network, substeps=4), around_a_block()
    media[:, 0] = media[:, 0] ** 0.1
    export_onnx(model, tmp_path / "m", (16, 16), batch=2)
    found, expected = (rollout(one, states, media, 6) for one in (OnnxForecaster(tmp_path / "m"), model))
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * abs(expected).max())
    assert not found[np.broadcast_to(np.isinf(media[:, None, 1:]), found.shape)].any()


@pytest.mark.parametrize(("channel", "value"), [(0, np.inf), (0, np.nan), (1, np.nan), (1, -np.inf)])
def test_only_a_density_may_be_infinite(channel: int, value: float) -> None:
    states, media = around_a_block()
    media[0, channel, 5, 6] = value
    with pytest.raises(WavesimError, match=r"medium holds values that are not finite|must be positive"):
        init(Forecaster(ForecasterConfig(ranks=(), substeps=16), 2.0), states, media)


def waves_around_blocks(rows: list[int], seed: int, cells: int = 16, frames: int = 9, finer: int = 4) -> Shard:
    """Pulses around a block each, of the explicit step on cells `finer` times as small: averages, frames 2 cells apart.

    The rate, too, is the mean of fine cells."""
    rng, fine, count = np.random.default_rng(seed), cells * finer, len(rows)
    media, states = np.ones((count, 2, cells, cells)), np.zeros((count, 2, fine, fine))
    centre = (np.arange(fine) + 0.5) / fine
    for k, row in enumerate(rows):
        column = rng.integers(4, cells - 8)
        media[k, :, row : row + 4, column : column + 4] = np.array((7.0, np.inf))[:, None, None]
        x, y = rng.choice((0.1, 0.9), 2)
        states[k, 0] = np.exp(-((centre - x) ** 2 + (centre[:, None] - y) ** 2) / (2 * 0.07**2))
    step = Forecaster(ForecasterConfig(ranks=(), substeps=4), 2.0)
    blown = media.repeat(finer, axis=-1).repeat(finer, axis=-2)
    all_frames = rollout(step, states, blown, finer * (frames - 1))[:, finer - 1 :: finer]
    states = np.where(np.isinf(blown[:, 1:]), 0.0, states)
    whole = np.concatenate((states[:, None], all_frames), axis=1)
    means = whole.reshape(count, frames, 2, cells, finer, cells, finer).mean(axis=(4, 6))
    interval, axis = 2 / cells, (np.arange(cells) + 0.5) / cells
    rate = means[:, :, 1] * finer / interval  # dt of the fine frames is a part of ours
    time = interval * np.arange(frames)
    return Shard(means[:, :, 0], rate, media[:, 0], media[:, 1], time, axis, axis, {}, {"config": {}})


def assert_units_count(root: Path, split: str) -> None:
    """Around obstacles, too, a density of other units is found."""
    data = WaveDataset(root, split)
    for factor in (0.5, 2.0):
        off = np.array((1.0, factor), np.float32)[:, None, None]
        with patch.object(data, "medium", lambda index, off=off: WaveDataset(root, split).medium(index) * off):
            with pytest.raises(WavesimError, match="p_tt is"):
                check_units(data)


def test_noise_and_fields_stay_out_of_obstacles(tmp_path: Path) -> None:
    shard = waves_around_blocks([4, 5], seed=0, frames=3)
    write_shard(tmp_path / "data" / "train" / "a.hdf5", shard)
    windows = Windows(WaveDataset(tmp_path, "train"), 2, seed=0, noise=0.1)
    plain = Windows(WaveDataset(tmp_path, "train"), 2, seed=0)
    for index in range(4):
        (noisy, medium), (states, _) = windows[index], plain[index]
        blocked = np.isinf(medium[1])
        assert blocked.any() and not noisy[:, :, blocked].any() and (noisy[0] - states[0])[:, ~blocked].std() > 0
    with pytest.raises(WavesimError, match=r"fields in a rigid obstacle .* must be 0; nothing was written"):
        write_shard(tmp_path / "b.hdf5", replace(shard, pressure=shard.pressure + 1))
    shutil.copytree(tmp_path / "data", tmp_path / "other" / "data")
    with h5py.File(tmp_path / "other" / "data" / "train" / "a.hdf5", "r+") as file:
        file["t0_fields/pressure_rate"][:] = 1.0
    with pytest.raises(WavesimError, match=r"fields in a rigid obstacle \(infinite density\) must be 0"):
        check(tmp_path / "other")


def test_what_single_precision_cannot_hold_is_no_obstacle() -> None:
    states, media = around_a_block()
    media = media.astype(float)
    media[0, 1, 0, 0] = 1e39
    with pytest.raises(WavesimError, match="medium holds values that single precision does not"):
        init(Forecaster(ForecasterConfig(ranks=(), substeps=16), 2.0), states, media)


def test_a_medium_of_nothing_but_obstacles_is_at_rest() -> None:
    states, media = around_a_block()
    media[0, 1] = np.inf
    found = rollout(learned(), states, media, 3)
    assert not found[0].any() and np.isfinite(found).all() and found[1].any()


def test_a_network_learns_waves_around_obstacles_from_a_dataset(tmp_path: Path) -> None:
    """It beats the coarse step around blocks at other places, and the dataset passes every check."""
    for split, rows, seed in (("train", [4, 5, 7, 8] * 3, 0), ("valid", [6] * 4, 1)):
        write_shard(tmp_path / "data" / split / f"{split}.hdf5", waves_around_blocks(rows, seed))
        check_units(WaveDataset(tmp_path, split))
        assert_units_count(tmp_path, split)
    assert write_statistics(tmp_path)["mean"]["density"] == 1.0  # of what waves go through
    said = described(WaveDataset(tmp_path, "train"), WaveDataset(tmp_path, "valid"))
    assert said["log_medium_mean"] == [0.0, 0.0]  # as networks see it, though a block's bulk modulus is another
    assert check(tmp_path) == {"train": 12, "valid": 4}
    small = ForecasterConfig(
        width=8, ranks=(4, 4), encoder_width=8, encoder_ranks=(2, 2), kernel_size=3, substeps=4, network="gated"
    )
    training = TrainingConfig(unrolls=(1, 4), shares=(0.3, 0.7), iterations=200, batch=2)
    model = load(train_model(small, training, tmp_path, tmp_path / "m.safetensors"))
    valid = validation_batch(WaveDataset(tmp_path, "valid"))
    coarse = rollout_error(Forecaster(small.model_copy(update={"ranks": ()}), 2.0), *valid)
    assert rollout_error(model, *valid) < 0.8 * coarse
