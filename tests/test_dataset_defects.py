"""What the dataset refuses to read and to write, and what it says: truncated files, wrong layouts, a full disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from the_well.data import WellDataset

import wavesim.dataset as dataset
from wavesim.dataset import CONSTANT, STATE, WaveDataset, check, write_shard, write_statistics
from wavesim.errors import WavesimError


def spoil_in_place(path: Path, change) -> None:
    with h5py.File(path, "r+") as file:
        change(file)


def test_a_truncated_file_is_named_with_what_to_do(wave_dataset):
    path = wave_dataset / "data/valid/packing_000002.hdf5"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(WavesimError, match=r"packing_000002\.hdf5 is not a whole HDF5 file .*move it away") as told:
        check(wave_dataset)
    assert "delete it" not in str(told.value)  # it may be somebody else's


def test_a_file_of_text_and_an_empty_file_are_no_hdf5(tmp_path):
    for content in ("", "not a dataset\n" * 100):
        (tmp_path / "a.hdf5").write_text(content)
        with pytest.raises(WavesimError, match="not a whole HDF5 file"):
            dataset.open_shard(tmp_path / "a.hdf5")
    with pytest.raises(WavesimError, match="does not exist"):
        dataset.open_shard(tmp_path / "b.hdf5")


def test_too_many_open_files_are_not_taken_for_a_broken_file(wave_dataset, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EMFILE, "Unable to open file")

    monkeypatch.setattr(h5py, "File", refuse)
    with pytest.raises(WavesimError, match="cannot be opened: Too many open files"):
        WaveDataset(wave_dataset, "train")


@pytest.mark.parametrize("name", [*(f"t0_fields/{name}" for name in (*STATE, *CONSTANT)), "dimensions/time"])
def test_a_missing_field_is_named(wave_dataset, name):
    spoil_in_place(wave_dataset / "data/train/packing_000001.hdf5", lambda file: file.__delitem__(name))
    with pytest.raises(WavesimError, match=rf"packing_000001\.hdf5 is not a wavesim dataset file: it lacks .*{name}"):
        WaveDataset(wave_dataset, "train")


def test_a_file_of_the_well_that_is_not_ours_is_refused(wave_dataset):
    spoil_in_place(wave_dataset / "data/test/packing_000003.hdf5", lambda file: file.attrs.__delitem__("wavesim"))
    with pytest.raises(WavesimError, match="lacks the root attribute 'wavesim'"):
        WaveDataset(wave_dataset, "test")


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("pressure", (6, 7, 5), r"pressure has shape \(6, 7, 5\), expected \(trajectory, time, x, y\)"),
        ("pressure", (2, 5, 7, 5), "with 6 frames"),
        ("pressure_rate", (2, 6, 5, 7), r"pressure_rate has shape \(2, 6, 5, 7\), expected \(2, 6, 7, 5\)"),
        ("density", (2, 5, 7), r"density has shape \(2, 5, 7\), expected \(2, 7, 5\)"),
        ("speed_of_sound", (7, 5), "speed_of_sound has shape"),
    ],
)
def test_a_wrong_layout_is_told_with_the_shape_expected(wave_dataset, name, shape, message):
    def change(file: h5py.File) -> None:
        del file[f"t0_fields/{name}"]
        file[f"t0_fields/{name}"] = np.ones(shape, np.float32)

    spoil_in_place(wave_dataset / "data/train/packing_000000.hdf5", change)
    with pytest.raises(WavesimError, match=message):
        check(wave_dataset)


def test_a_field_that_is_not_finite_is_found(wave_dataset):
    def change(file: h5py.File) -> None:
        file["t0_fields/pressure"][1, 4, 0, 0] = np.nan

    spoil_in_place(wave_dataset / "data/train/packing_000001.hdf5", change)
    with pytest.raises(WavesimError, match=r"packing_000001\.hdf5: pressure of trajectory 1 is not finite"):
        check(wave_dataset)


@pytest.mark.parametrize(
    ("field", "place", "read"),
    [
        ("pressure", (1, 4, 0, 0), lambda data: data.window(1, 3, 2)),
        ("pressure_rate", (1, 4, 0, 0), lambda data: data.trajectory(1)),
        ("bulk_modulus", (1, 0, 0), lambda data: data.medium(1)),
    ],
)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_not_handed_out(wave_dataset, field, place, read, value):
    path = wave_dataset / "data/test/packing_000003.hdf5"
    spoil_in_place(path, lambda file: file[f"t0_fields/{field}"].__setitem__(place, value))
    data = WaveDataset(wave_dataset, "test")
    with pytest.raises(WavesimError, match=r"packing_000003\.hdf5: trajectory 1 is not finite"):
        read(data)
    assert np.isfinite(data.trajectory(0).state).all()  # the other rows are as good as they were


def test_a_medium_that_is_not_positive_is_found(wave_dataset):
    spoil_in_place(
        wave_dataset / "data/test/packing_000003.hdf5", lambda file: file["t0_fields/density"].__setitem__((0, 0, 0), 0)
    )
    with pytest.raises(WavesimError, match="must be positive"):
        check(wave_dataset)


def test_frames_that_are_not_equally_spaced_are_found(wave_dataset):
    def change(file: h5py.File) -> None:
        file["dimensions/time"][3] += 0.2 / 96

    spoil_in_place(wave_dataset / "data/train/packing_000000.hdf5", change)
    for opened in (check, lambda root: WaveDataset(root, "train")):
        with pytest.raises(WavesimError, match=r"packing_000000\.hdf5: the frames are not 0\.0104167 apart") as told:
            opened(wave_dataset)
        assert "\n" not in str(told.value)


@pytest.mark.parametrize("times", [[0, 0, 0, 0, 0, 0], [5, 4, 3, 2, 1, 0], [0, 1, 2, np.nan, 4, 5]])
def test_times_that_do_not_rise_are_found(wave_dataset, times):
    spoil_in_place(
        wave_dataset / "data/train/packing_000000.hdf5",
        lambda file: file["dimensions/time"].write_direct(np.array(times, "f4")),
    )
    with pytest.raises(WavesimError, match=r"packing_000000\.hdf5: the frames are not .* apart"):
        WaveDataset(wave_dataset, "train")


@pytest.mark.parametrize("first", [0.0, 20.0])
def test_equal_frames_pass_as_single_precision_has_their_times(wave_dataset, waves, first):
    for root, split in ((wave_dataset, "train"), (wave_dataset, "test")):
        for path in WaveDataset(root, split).paths:
            path.unlink()
        write_shard(root / f"data/{split}/p_{split}.hdf5", waves.shard(frames=300, time=first + np.arange(300) / 96))
        assert WaveDataset(root, split).frame_interval == pytest.approx(1 / 96, rel=1e-5)


@pytest.mark.parametrize("frames", [5, 8])
def test_mixed_shapes_in_one_split_are_refused(wave_dataset, waves, frames):
    write_shard(wave_dataset / "data/train/packing_000009.hdf5", waves.shard(frames=frames))
    with pytest.raises(WavesimError, match=r"mixes shapes \[\(.*one dataset has one of each"):
        WaveDataset(wave_dataset, "train")


def test_mixed_frame_intervals_in_one_split_are_refused(wave_dataset, waves):
    write_shard(wave_dataset / "data/train/packing_000009.hdf5", waves.shard(time=np.arange(6) / 95))
    with pytest.raises(WavesimError, match="frame intervals"):
        WaveDataset(wave_dataset, "train")


def test_an_unknown_split_and_an_empty_one_say_what_there_is(wave_dataset, tmp_path):
    with pytest.raises(WavesimError, match="split 'validation' is not one of train, valid, test"):
        WaveDataset(wave_dataset, "validation")
    with pytest.raises(WavesimError, match=r"holds no \.hdf5 file; make some with"):
        WaveDataset(tmp_path, "train")
    with pytest.raises(WavesimError, match="is not a folder"):
        check(tmp_path / "nowhere")
    with pytest.raises(WavesimError, match="holds no dataset"):
        check(tmp_path)


def test_a_packing_in_two_splits_is_refused(wave_dataset, waves):
    write_shard(wave_dataset / "data/test/packing_000001.hdf5", waves.shard())
    with pytest.raises(WavesimError, match="packing_000001 is in both train and test"):
        check(wave_dataset)


def test_a_sound_dataset_is_counted_by_split(wave_dataset):
    assert check(wave_dataset) == {"train": 4, "valid": 2, "test": 2}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("pressure", np.nan, "pressure is not finite"),
        ("pressure_rate", np.inf, "pressure_rate is not finite"),
        ("pressure", 1e39, "pressure is not finite"),  # finite in double, infinite in single precision
        ("bulk_modulus", 0.0, "bulk_modulus must be positive, got 0"),
        ("density", -1.0, "density must be positive, got -1"),
    ],
)
def test_a_defective_shard_is_not_written(tmp_path, waves, field, value, message):
    spoiled = getattr(waves.shard(), field).copy()
    spoiled[0, 0, 0] = value
    with pytest.raises(WavesimError, match=message):
        write_shard(tmp_path / "shard.hdf5", waves.shard(**{field: spoiled}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("field", ["pressure_rate", "bulk_modulus", "density", "time", "x", "y"])
def test_axes_that_do_not_fit_are_told(tmp_path, waves, field):
    shorter = getattr(waves.shard(), field)[..., :-1]
    with pytest.raises(WavesimError, match=rf"{field} has shape \(.*\), expected \("):
        write_shard(tmp_path / "shard.hdf5", waves.shard(**{field: shorter}))
    assert list(tmp_path.iterdir()) == []


def test_a_shard_without_the_trajectory_axis_is_told(tmp_path, waves):
    with pytest.raises(WavesimError, match=r"expected \(trajectory, time, y, x\)"):
        write_shard(tmp_path / "shard.hdf5", waves.shard(pressure=np.ones((6, 5, 7))))


@pytest.mark.parametrize("target", ["os.fsync", "pathlib.Path.write_bytes"])
def test_a_full_disk_leaves_the_old_file_and_nothing_half_written(wave_dataset, waves, monkeypatch, target):
    path = wave_dataset / "data/valid/packing_000002.hdf5"
    before, beside = path.read_bytes(), sorted(path.parent.iterdir())

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(target, full)
        with pytest.raises(WavesimError, match=r"the disk is full: .*packing_000002.*free some space"):
            write_shard(path, waves.shard(9))
        with pytest.raises(WavesimError, match="the disk is full"):
            write_shard(path.with_name("packing_000007.hdf5"), waves.shard(9))
    assert path.read_bytes() == before and sorted(path.parent.iterdir()) == beside
    write_shard(path, waves.shard(9))
    assert WaveDataset(wave_dataset, "valid").about(0)["first"] == 9


def test_a_shard_being_written_is_seen_by_no_reader(wave_dataset, waves, monkeypatch):
    write_statistics(wave_dataset)
    seen = []
    real = os.fsync

    def look(descriptor: int) -> None:  # just before the new file gets its name
        seen.append((len(WaveDataset(wave_dataset, "valid")), len(WellDataset(path=str(wave_dataset / "data/valid")))))
        real(descriptor)

    before = len(WellDataset(path=str(wave_dataset / "data/valid")))
    monkeypatch.setattr(os, "fsync", look)
    write_shard(wave_dataset / "data/valid/packing_000007.hdf5", waves.shard())
    assert seen == [(2, before)]
    assert len(WaveDataset(wave_dataset, "valid")) == 4
