"""What is read to train on, and what is refused: windows, orientations, data that cannot be learned from."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest
from conftest import exact_shard

from wavesim.config import ForecasterConfig, TrainingConfig
from wavesim.dataset import Shard, WaveDataset, write_checksums, write_shard
from wavesim.errors import WavesimError
from wavesim.surrogate import load, train
from wavesim.surrogate.data import Windows, data_hash, described, orientations, oriented

SMALL = ForecasterConfig(width=8, ranks=(4,), encoder_width=8, encoder_ranks=(2, 2), kernel_size=3, substeps=4)
SHORT = TrainingConfig(unrolls=(2,), shares=(1,), iterations=4, batch=2, validate_every=2)
RIGID = ("rigid",) * 4


def dataset(root: Path, change: Callable[[str, Shard], Shard] = lambda _, shard: shard) -> Path:
    """Two splits of exact modes on 16 x 16 cells, changed."""
    for split, speeds, seed in (("train", [0.8, 1.0, 1.2], 1), ("valid", [0.95, 1.15], 2)):
        shard = exact_shard(16, 9, 2.0, speeds, seed)
        write_shard(root / "data" / split / f"{split}.hdf5", change(split, shard))
    return root


def wide(_: str, shard: Shard) -> Shard:
    """The same beside its mirror image: a domain of 32 x 16 cells between walls."""
    doubled = {
        name: np.concatenate([getattr(shard, name), getattr(shard, name)[..., ::-1]], axis=-1)
        for name in ("pressure", "pressure_rate", "bulk_modulus", "density")
    }
    return replace(shard, x=(np.arange(32) + 0.5) / 16, **doubled)


def test_window_k_is_a_function_of_seed_and_k_alone(modes: Path) -> None:
    data = WaveDataset(modes, "train")
    forward, backward = Windows(data, 5, seed=1, noise=0.1), Windows(data, 5, seed=1, noise=0.1)
    before = [forward[k] for k in range(8)]
    for k in reversed(range(8)):
        for a, b in zip(before[k], backward[k], strict=True):
            np.testing.assert_array_equal(a, b)
    assert before[0][0].shape == (5, 2, 16, 16) and before[0][0].dtype == np.float32
    assert not np.array_equal(before[0][0], Windows(data, 5, seed=2, noise=0.1)[0][0])


def test_noise_has_the_stated_size_and_touches_the_first_state_alone(modes: Path) -> None:
    data = WaveDataset(modes, "train")
    noisy, clean = Windows(data, 4, seed=3, noise=0.05), Windows(data, 4, seed=3)
    ratios = []
    for k in range(20):
        (states, medium), (truth, same) = noisy[k], clean[k]
        np.testing.assert_array_equal(states[1:], truth[1:])
        np.testing.assert_array_equal(medium, same)
        ratios.append(np.std(states[0] - truth[0]) / np.sqrt(np.mean(truth[0] ** 2)))
    assert np.mean(ratios) == pytest.approx(0.05, rel=0.02)  # of 10,240 numbers: 0.7 %


def test_the_eight_orientations_are_different_and_keep_all_values() -> None:
    field = np.arange(9.0).reshape(1, 3, 3)
    seen = {oriented(field, turn, flip).tobytes() for turn in range(4) for flip in (False, True)}
    assert len(seen) == 8
    assert all(np.array_equal(np.sort(np.frombuffer(s)), np.arange(9.0)) for s in seen)


@pytest.mark.parametrize(
    ("grid", "sides", "allowed"),
    [
        ((8, 8), RIGID, 8),
        ((8, 16), RIGID, 4),  # never a quarter turn
        ((8, 8), ("rigid", "rigid", "soft", "soft"), 4),
        ((8, 8), ("soft", "rigid", "rigid", "rigid"), 2),  # as it is, and y mirrored
        ((8, 8), ("rigid", "soft", "absorbing", "rigid"), 1),
        ((8, 8), ("soft", "rigid", "soft", "rigid"), 2),  # as it is, and x and y exchanged
    ],
)
def test_orientations_leave_the_domain_as_it_is(grid: tuple[int, int], sides: tuple, allowed: int) -> None:
    found = orientations(grid, sides)
    assert len(found) == allowed and (0, False) in found
    edges = np.full(grid, "        inside")
    edges[:, 0], edges[:, -1], edges[0], edges[-1] = sides
    edges[[0, 0, -1, -1], [0, -1, 0, -1]] = "corner"
    for turn, flip in found:
        np.testing.assert_array_equal(oriented(edges, turn, flip), edges)


def test_a_rectangle_is_trained_on(tmp_path: Path) -> None:
    model = load(train(SMALL, SHORT, dataset(tmp_path / "wide", wide), tmp_path / "m.safetensors"))
    assert model.courant == pytest.approx(2.0)


def test_reading_ahead_in_other_processes_changes_nothing(modes: Path, tmp_path: Path) -> None:
    paths = [train(SMALL, SHORT, modes, tmp_path / f"{workers}.safetensors", workers=workers) for workers in (0, 2)]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_nothing_is_forked_once_openvino_is_there(modes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its threads end a forked reader; readers that are started anew read the same."""
    monkeypatch.setitem(sys.modules, "openvino", ModuleType("openvino"))
    monkeypatch.setattr(os, "fork", None)
    short = SHORT.model_copy(update={"iterations": 2, "unrolls": (1,), "shares": (1.0,)})
    paths = [train(SMALL, short, modes, tmp_path / f"{workers}.safetensors", workers=workers) for workers in (0, 1)]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def refused(root: Path, said: str, training: TrainingConfig = SHORT, **change: object) -> None:
    out = root.parent / "m.safetensors"
    with pytest.raises(WavesimError, match=said) as caught:
        train(SMALL.model_copy(update=change), training, root, out)
    assert "\n" not in str(caught.value) and not out.exists()


def test_a_single_medium_and_media_of_both_splits_are_refused(tmp_path: Path) -> None:
    one = dataset(tmp_path / "one", lambda _, shard: replace(shard, bulk_modulus=np.ones_like(shard.bulk_modulus)))
    refused(one, "one trains in a single medium, and nothing is learned there of any other")

    def shared(split: str, shard: Shard) -> Shard:
        kappa = shard.bulk_modulus.copy()
        kappa[1] = 1.5
        return replace(shard, bulk_modulus=kappa)

    refused(dataset(tmp_path / "two", shared), "train:1 of train and valid:1 of valid run through the same medium")


def test_data_that_a_forecaster_does_not_fit_are_refused(tmp_path: Path) -> None:
    slow = dataset(tmp_path / "slow", lambda split, shard: replace(shard, time=shard.time * (1 + (split == "valid"))))
    refused(slow, r"data/valid has a frame interval of 4\.000 cells, the model was made for 2\.000")
    soft = ("rigid", "rigid", "soft", "soft")
    sides = {"train": RIGID, "valid": soft}
    half = dataset(tmp_path / "half", lambda split, shard: replace(shard, sides=sides[split]))
    refused(half, r"data/valid has the sides rigid, rigid, soft, soft \(left.*made for rigid, rigid, rigid, rigid")
    odd = dataset(tmp_path / "odd", lambda _, shard: replace(shard, sides=("periodic",) * 4))
    deep = {"network": "unet", "ranks": (1,) * 6}
    refused(odd, "16 cells along a periodic axis are no multiple of 32.*use 32 cells", **deep)
    plain = dataset(tmp_path / "plain")
    refused(
        plain, "a grid of 16 x 16 cells is too small for this forecaster: it takes 20 along each side", kernel_size=41
    )
    refused(
        plain,
        "unrolls of 9 frames need trajectories of 10 or more, and those of .* have 9",
        SHORT.model_copy(update={"unrolls": (9,)}),
    )
    flat = dataset(tmp_path / "flat", lambda _, shard: replace(shard, y=shard.y / 2))
    refused(flat, r"cells of 0\.0625 x 0\.03125; forecasters need square ones")


@pytest.mark.parametrize(
    ("changed", "factor", "said"),
    [
        ("pressure_rate", 1e-3, r"the pressure changes 1.*e\+03 times as fast as pressure_rate says"),
        ("bulk_modulus", 1e-9, "times what kappa div"),
        ("density", 1e3, "times what kappa div"),
    ],
)
def test_other_units_are_refused(tmp_path: Path, changed: str, factor: float, said: str) -> None:
    def scaled(_: str, shard: Shard) -> Shard:
        return replace(shard, **{changed: getattr(shard, changed) * np.float32(factor)})

    refused(dataset(tmp_path / "scaled", scaled), said)


def test_a_dataset_without_trajectories_is_refused(tmp_path: Path) -> None:
    root = dataset(tmp_path / "empty")
    with h5py.File(root / "data/train/train.hdf5", "r+") as file:
        for name, field in list(file["t0_fields"].items()):
            del file[f"t0_fields/{name}"]
            file[f"t0_fields/{name}"] = np.zeros((0, *field.shape[1:]), np.float32)
    refused(root, "data/train holds no trajectory; make some with")


@pytest.mark.parametrize("workers", [0, 1])
def test_what_is_not_finite_is_told_in_one_line_whoever_reads_it(tmp_path: Path, workers: int) -> None:
    root = dataset(tmp_path / "nan")
    with h5py.File(root / "data/train/train.hdf5", "r+") as file:
        file["t0_fields/pressure"][1, 4:] = np.nan
    with pytest.raises(WavesimError, match=r"train\.hdf5: trajectory 1 is not finite") as caught:
        long = SHORT.model_copy(update={"iterations": 20, "unrolls": (8,)})
        train(SMALL, long, root, tmp_path / "m.safetensors", workers=workers)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("split", "row"), [("train", 0), ("train", 2), ("valid", 1)])
def test_what_is_not_finite_is_told_before_the_first_step(tmp_path: Path, split: str, row: int) -> None:
    """In a last frame, which no window of so short a training has."""
    root, seen = dataset(tmp_path / "nan"), []
    with h5py.File(root / f"data/{split}/{split}.hdf5", "r+") as file:
        file["t0_fields/pressure_rate"][row, -1, 3, 4] = np.inf
    once = SHORT.model_copy(update={"unrolls": (1,), "iterations": 1, "validate_every": 1})
    with pytest.raises(WavesimError, match=rf"{split}\.hdf5: trajectory {row} is not finite throughout"):
        train(SMALL, once, root, tmp_path / "m.safetensors", progress=lambda now, *_: seen.append(now))
    assert not seen and [path.name for path in tmp_path.iterdir()] == ["nan"]


def test_every_trajectory_is_read_whole_once_and_before_the_first_step(
    modes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a training of two parts, which a kill has parted: the second one trusts the first."""
    whole: list[tuple[str, int]] = []
    read = WaveDataset._state

    def noted(self: WaveDataset, index: int, start: int, length: int) -> np.ndarray:
        if length == self.frames and self.split != "valid":  # validation takes short trajectories whole
            whole.append((self.split, index))
        return read(self, index, start, length)

    monkeypatch.setattr(WaveDataset, "_state", noted)

    class Killed(BaseException):
        pass

    def killed(now: int, *_: object) -> None:
        assert sorted(whole) == [("train", k) for k in range(6)]
        if now == 3:
            raise Killed

    given = {"forecaster": SMALL, "training": SHORT, "data": modes, "out": tmp_path / "m.safetensors"}
    with pytest.raises(Killed):
        train(**given, progress=killed)  # type: ignore[arg-type]
    whole.clear()
    train(**given)  # type: ignore[arg-type]
    assert len(whole) <= 6
    whole.clear()
    train(**{**given, "out": tmp_path / "n.safetensors"})  # type: ignore[arg-type]
    assert sorted(whole) == [("train", k) for k in range(6)]
    assert (tmp_path / "m.safetensors").read_bytes() == (tmp_path / "n.safetensors").read_bytes()


def test_a_frame_of_zeros_is_told_as_such(tmp_path: Path) -> None:
    def silent(_: str, shard: Shard) -> Shard:
        return replace(shard, pressure=0 * shard.pressure, pressure_rate=0 * shard.pressure_rate)

    refused(dataset(tmp_path / "silent", silent), "a frame that is zero throughout")


def test_the_data_hash_changes_with_the_files_and_not_with_the_test_split(tmp_path: Path) -> None:
    root = dataset(tmp_path / "data")
    write_shard(root / "data/test/test.hdf5", exact_shard(16, 9, 2.0, [1.3], 5))

    def now() -> str:
        return data_hash(root, (WaveDataset(root, "train"), WaveDataset(root, "valid")))

    by_size = now()
    write_checksums(root)
    by_content = now()
    with h5py.File(root / "data/test/test.hdf5", "r+") as file:
        file["t0_fields/pressure"][0, 0, 0, 0] = 0.5
    write_checksums(root)
    assert now() == by_content != by_size
    with h5py.File(root / "data/train/train.hdf5", "r+") as file:
        file["t0_fields/pressure"][0, 0, 0, 0] = 0.5
    write_checksums(root)
    assert now() != by_content


def test_the_file_of_a_model_states_the_scale_of_its_data(modes: Path) -> None:
    said = described(WaveDataset(modes, "train"), WaveDataset(modes, "valid"))
    with h5py.File(modes / "data/train/train.hdf5") as file:
        fields = file["t0_fields"]
        pressure, rate = (np.asarray(fields[name], float) for name in ("pressure", "pressure_rate"))
        kappa = np.log(np.asarray(fields["bulk_modulus"], float))
    rms = [np.sqrt(np.mean(pressure**2)), np.sqrt(np.mean((rate * 2 / 16) ** 2))]  # of dt p_t, dt = 2 / 16
    np.testing.assert_allclose(said["state_rms"], rms, rtol=1e-5)
    np.testing.assert_allclose(said["log_medium_mean"], [kappa.mean(), 0], atol=1e-6)
    np.testing.assert_allclose(said["log_medium_std"], [kappa.std(), 0], atol=1e-6)
    assert said["trajectories"] == {"train": 6, "valid": 2} and said["sides"] == list(RIGID)


def test_a_forecaster_is_not_trained_in_a_medium_that_is_not_positive(tmp_path: Path) -> None:
    root = dataset(tmp_path / "negative")
    with h5py.File(root / "data/valid/valid.hdf5", "r+") as file:
        file["t0_fields/density"][1, 3, 3] = -1
    refused(root, "the medium of valid:1 must be positive in every cell")
