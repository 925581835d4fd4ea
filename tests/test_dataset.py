"""The dataset's layout against closed forms, The Well's own reader, and a checker written from its description."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import re
from inspect import signature
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from the_well.data import WellDataset

import wavesim.dataset as dataset
from wavesim.dataset import CONSTANT, MEDIUM, STATE, WaveDataset, write_shard, write_statistics
from wavesim.errors import WavesimError

CELLS = [(0, 0), (6, 0), (0, 4), (2, 3)]  # (x, y) indices, corners that a transposition would move included


@pytest.mark.parametrize(("ix", "iy"), CELLS)
def test_axes_are_transposed_exactly_once(wave_dataset, waves, ix, iy):
    t, k = 3, 1
    values = (k, t * waves.frame_interval, waves.x[ix], waves.y[iy])
    with h5py.File(wave_dataset / "data/train/packing_000000.hdf5") as file:
        assert file["t0_fields/pressure"][k, t, ix, iy] == pytest.approx(waves.pressure(*values), rel=1e-6)
        assert file["t0_fields/bulk_modulus"][k, ix, iy] == pytest.approx(2 + k + waves.x[ix] ** 2, rel=1e-6)
    data = WaveDataset(wave_dataset, "train")
    run = data.trajectory(k)
    assert data.grid == (5, 7) and run.state.shape == (6, 2, 5, 7) and run.medium.shape == (2, 5, 7)
    assert run.state.dtype == run.medium.dtype == np.float32
    assert run.state[t, 0, iy, ix] == pytest.approx(waves.pressure(*values), rel=1e-6)
    assert run.medium[0, iy, ix] == pytest.approx(2 + k + waves.x[ix] ** 2, rel=1e-6)
    assert run.medium[1, iy, ix] == pytest.approx(1 + 0.5 * waves.y[iy], rel=1e-6)


def test_a_trajectory_is_shown_by_its_shapes_times_and_split(wave_dataset):
    shown = repr(WaveDataset(wave_dataset, "valid").trajectory(1))
    assert shown == (
        "<Trajectory packing_000002:1 of valid: 6 frames, every 0.010417 from 0 to 0.052083; "
        "state (6, 2, 5, 7), medium (2, 5, 7)>"
    )


@pytest.mark.parametrize("index", [4, 9, -5])
@pytest.mark.parametrize("read", ["trajectory", "medium", "name", "place", "packing", "about"])
def test_a_trajectory_beyond_the_end_is_told_with_how_many_there_are(wave_dataset, read, index):
    data = WaveDataset(wave_dataset, "train")
    for kind in (WavesimError, IndexError):
        with pytest.raises(kind, match=f"split train has 4 trajectories, 0 to 3; got {index}"):
            getattr(data, read)(index)


def test_the_second_channel_is_the_rate_times_the_frame_interval(wave_dataset, waves):
    data = WaveDataset(wave_dataset, "test")
    assert data.frame_interval == pytest.approx(1 / 96, rel=1e-6)
    window = data.window(1, start=2, length=3)
    t, y, x = np.meshgrid(np.arange(2, 5) / 96, waves.y, waves.x, indexing="ij")
    k = 7  # the second trajectory of the fourth packing
    np.testing.assert_allclose(window[:, 0], waves.pressure(k, t, x, y), rtol=2e-6)
    np.testing.assert_allclose(window[:, 1], waves.pressure_rate(k, t, x, y) / 96, rtol=2e-5)
    np.testing.assert_array_equal(window, data.trajectory(1).state[2:5])


@pytest.mark.parametrize(("start", "length"), [(-1, 2), (5, 2), (0, 7)])
def test_a_window_beyond_the_trajectory_is_an_index_error(wave_dataset, start, length):
    with pytest.raises(IndexError, match="6 frames"):
        WaveDataset(wave_dataset, "train").window(0, start, length)


def test_a_trajectory_carries_its_packing_and_its_provenance(wave_dataset):
    data = WaveDataset(wave_dataset, "train")
    assert len(data) == 4
    assert [data.name(i) for i in (0, 3)] == ["packing_000000:0", "packing_000001:1"]
    assert data.packing(2) == "packing_000001"
    assert data.trajectory(3).about == {"seed": 7, "first": 2}


def test_the_wells_reader_gets_the_same_values_and_walls(wave_dataset, waves):
    write_statistics(wave_dataset)
    # Version 1.1 of the reader starts each window's times at 0; 1.2 normalises them unless told.
    plain_times = {"normalize_time_grid": False} if "normalize_time_grid" in signature(WellDataset).parameters else {}
    well = WellDataset(
        path=str(wave_dataset), well_split_name="train", n_steps_input=2, n_steps_output=1, **plain_times
    )
    assert len(well) == 4 * (6 - 2)  # windows of three frames out of six
    data = WaveDataset(wave_dataset, "train")
    sample = well[4 + 1]  # the second trajectory's second window
    ours = data.trajectory(1)
    fields = sample["input_fields"].numpy()  # (time, x, y, field)
    assert fields.shape == (2, 7, 5, 2)
    np.testing.assert_array_equal(fields[..., 0].swapaxes(1, 2), ours.state[1:3, 0])
    np.testing.assert_allclose(fields[..., 1].swapaxes(1, 2) / 96, ours.state[1:3, 1], rtol=1e-6)
    np.testing.assert_array_equal(sample["output_fields"][0, ..., 0].numpy().T, ours.state[3, 0])
    constants = sample["constant_fields"].numpy().swapaxes(0, 1)  # (y, x, field)
    np.testing.assert_array_equal(constants[..., 0], ours.medium[0])
    np.testing.assert_array_equal(constants[..., 1], ours.medium[1])
    np.testing.assert_allclose(constants[..., 2] ** 2, ours.medium[0] / ours.medium[1], rtol=1e-6)
    assert not sample["boundary_conditions"].any()  # 0 is WALL, on both sides of both axes
    np.testing.assert_allclose(sample["space_grid"][3, 1].numpy(), [waves.x[3], waves.y[1]], rtol=1e-6)
    np.testing.assert_allclose(np.diff(sample["input_time_grid"].numpy()), 1 / 96, rtol=1e-6)
    np.testing.assert_allclose(sample["constant_scalars"].numpy(), [0.5, 0.84], rtol=1e-6)
    assert well.metadata.constant_field_names[0] == list(CONSTANT)


def format_defects(file: h5py.File) -> list[str]:
    """What in `file` departs from The Well's data format, read from its description (docs/data_format.md)."""
    defects: list[str] = []

    def need(fine: bool, what: str) -> None:
        if not fine:
            defects.append(what)

    def strings(owner, name: str) -> list[str]:
        value = owner.attrs.get(name)
        listed = isinstance(value, np.ndarray) and all(isinstance(entry, str) for entry in value)
        need(listed, f"{owner.name}@{name} is no list of strings")
        return list(value) if listed else []

    def flags(owner, *names: str) -> list[bool]:
        for name in names:
            need(isinstance(owner.attrs.get(name), np.bool_), f"{owner.name}@{name} is no boolean")
        return [bool(owner.attrs.get(name, False)) for name in names]

    for name, kind in {
        "dataset_name": str,
        "grid_type": str,
        "n_spatial_dims": np.integer,
        "n_trajectories": np.integer,
    }.items():
        need(isinstance(file.attrs.get(name), kind), f"@{name}")
    for name in strings(file, "simulation_parameters"):
        need(isinstance(file.attrs.get(name), float | np.floating), f"@{name} is no number")
        need(name in file["scalars"], f"scalars/{name}")
    axes = strings(file["dimensions"], "spatial_dims")
    need(len(axes) == file.attrs["n_spatial_dims"], "spatial_dims")
    size = {}
    for name in ("time", *axes):
        axis = file["dimensions"][name]
        flags(axis, "sample_varying", "time_varying")
        need(axis.dtype == np.float32 and axis.ndim == 1, f"dimensions/{name}")
        step = np.diff(axis[:])
        need(bool(np.allclose(step, step[0], rtol=1e-4)), f"dimensions/{name} is not uniform")
        size[name] = axis.size
    covered = set()
    for group in file["boundary_conditions"].values():
        flags(group, "sample_varying", "time_varying")
        strings(group, "associated_fields")
        need(group.attrs["bc_type"] in ("WALL", "OPEN", "PERIODIC"), f"{group.name}@bc_type")
        own = strings(group, "associated_dims")
        need(group["mask"].dtype == bool and group["mask"].shape == tuple(size[d] for d in own), f"{group.name}/mask")
        covered |= set(own)
    need(covered == set(axes), "boundary_conditions do not cover every axis")
    scalars = file["scalars"]
    strings(scalars, "field_names")
    need(set(scalars.attrs["field_names"]) == set(scalars), "scalars@field_names")
    for scalar in scalars.values():
        varying = flags(scalar, "sample_varying", "time_varying")
        need(scalar.dtype == np.float32 and scalar.ndim == sum(varying), scalar.name)
    for order in range(3):
        group = file[f"t{order}_fields"]
        strings(group, "field_names")
        need(set(group.attrs["field_names"]) == set(group), f"{group.name}@field_names")
        for field in group.values():
            by_sample, by_time = flags(field, "sample_varying", "time_varying")
            by_axis = field.attrs["dim_varying"]
            need(by_axis.dtype == bool and by_axis.size == len(axes), f"{field.name}@dim_varying")
            shape = [file.attrs["n_trajectories"]] * by_sample + [size["time"]] * by_time
            shape += [size[axis] for axis, varies in zip(axes, by_axis, strict=True) if varies] + [len(axes)] * order
            need(field.dtype == np.float32 and list(field.shape) == shape, f"{field.name} has shape {field.shape}")
    return defects


@pytest.mark.parametrize("changes", [{}, {"parameters": {}}, {"boundary": ("WALL", "OPEN")}])
def test_every_attribute_of_the_wells_format_is_there(tmp_path, waves, changes):
    write_shard(tmp_path / "shard.hdf5", waves.shard(**changes))
    with h5py.File(tmp_path / "shard.hdf5") as file:
        assert format_defects(file) == []
        kinds = [group.attrs["bc_type"] for group in file["boundary_conditions"].values()]
        assert sorted(kinds) == sorted(changes.get("boundary", ("WALL", "WALL")))
        for name, group in file["boundary_conditions"].items():
            assert group["mask"][:].nonzero()[0].tolist() == [0, {"x": 6, "y": 4}[name[0]]]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.attrs.__delitem__("phi"),
        lambda file: file["dimensions"].attrs.__setitem__("spatial_dims", ["y", "x"]),
        lambda file: file["t0_fields/density"].attrs.__setitem__("time_varying", True),
        lambda file: file["t0_fields/density"].attrs.__setitem__("sample_varying", 1),
        lambda file: file["boundary_conditions"].__delitem__("y_wall"),
        lambda file: file["scalars"].__delitem__("phi"),
    ],
)
def test_the_format_checker_of_these_tests_sees_a_defect(tmp_path, waves, spoil):
    write_shard(tmp_path / "shard.hdf5", waves.shard())
    with h5py.File(tmp_path / "shard.hdf5", "r+") as file:
        spoil(file)
        assert format_defects(file)


def test_the_wells_reader_takes_a_file_without_parameters(tmp_path, waves):
    write_shard(tmp_path / "data/train/a.hdf5", waves.shard(parameters={}))
    sample = WellDataset(path=str(tmp_path), well_split_name="train")[0]
    assert sample["input_fields"].shape == (1, 7, 5, 2)


def test_files_are_opened_lazily_and_not_carried_through_a_pickle(wave_dataset, monkeypatch):
    data = WaveDataset(wave_dataset, "train")
    opened = []
    real = dataset.open_shard
    monkeypatch.setattr(dataset, "open_shard", lambda path: opened.append(path.stem) or real(path))
    before = data.trajectory(3)
    assert opened == ["packing_000001"]
    data.window(2, 0, 1)
    assert opened == ["packing_000001"]
    copy = pickle.loads(pickle.dumps(data))
    after = copy.trajectory(3)
    assert opened == ["packing_000001"] * 2
    np.testing.assert_array_equal(before.state, after.state)
    assert copy.name(3) == before.name and copy.frame_interval == before.frame_interval


def test_a_forked_worker_opens_files_of_its_own(wave_dataset, monkeypatch):
    data = WaveDataset(wave_dataset, "train")
    expected = data.trajectory(0).state
    opened = []
    real = dataset.open_shard
    monkeypatch.setattr(dataset, "open_shard", lambda path: opened.append(path.stem) or real(path))
    here, there = multiprocessing.get_context("fork").Pipe()

    def work() -> None:
        there.send((data.trajectory(0).state, opened))

    worker = multiprocessing.get_context("fork").Process(target=work)
    worker.start()
    assert here.poll(20), "the worker sent nothing"
    state, opened_there = here.recv()
    worker.join(20)
    np.testing.assert_array_equal(state, expected)
    assert opened_there == ["packing_000000"] and opened == []


def test_the_number_of_open_files_is_bounded(wave_dataset, monkeypatch):
    monkeypatch.setattr(dataset, "OPEN_FILES", 1)
    data = WaveDataset(wave_dataset, "train")
    first, second = data.trajectory(0).state, data.trajectory(2).state
    descriptors = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else None
    for _ in range(3):
        np.testing.assert_array_equal(data.trajectory(0).state, first)
        np.testing.assert_array_equal(data.trajectory(2).state, second)
    if descriptors is not None:
        assert len(os.listdir("/proc/self/fd")) == descriptors


def test_statistics_are_those_of_the_whole_training_arrays(wave_dataset):
    returned = write_statistics(wave_dataset)
    stats = yaml.safe_load((wave_dataset / "stats.yaml").read_text())
    assert stats == returned
    whole: dict[str, list[np.ndarray]] = {name: [] for name in (*STATE, *CONSTANT)}
    for path in sorted((wave_dataset / "data/train").glob("*.hdf5")):
        with h5py.File(path) as file:
            for name, arrays in whole.items():
                arrays.append(file[f"t0_fields/{name}"][:].astype(float))
    for name, arrays in whole.items():
        values = np.concatenate(arrays)
        measured = [stats[key][name] for key in ("mean", "std", "rms")]
        expected = [values.mean(), values.std(), np.sqrt((values**2).mean())]
        np.testing.assert_allclose(measured, expected, rtol=1e-9)
        if name in STATE:
            change = np.diff(values, axis=1)
            measured = [stats[key][name] for key in ("mean_delta", "std_delta", "rms_delta")]
            expected = [change.mean(), change.std(), np.sqrt((change**2).mean())]
            np.testing.assert_allclose(measured, expected, rtol=1e-9)
    assert set(stats["mean"]) == {*STATE, *MEDIUM, "speed_of_sound"}
    assert set(stats["std_delta"]) == set(STATE)
    assert set(stats) == {"mean", "std", "rms", "mean_delta", "std_delta", "rms_delta"}


def test_the_examples_of_the_format_description_run(wave_dataset, tmp_path, monkeypatch, capsys):
    (tmp_path / "runs/demo").mkdir(parents=True)
    wave_dataset.rename(tmp_path / "runs/demo/waves")
    with h5py.File(tmp_path / "runs/demo/packings.h5", "w") as file:
        for name, finished in (("000000", True), ("000001", False)):
            arrays = {"positions": np.zeros((3, 2)), "radii": np.full(3, 0.5), "box": np.full(2, 9.0)}
            for key, array in arrays.items():
                file[f"{name}/{key}"] = array
            file[name].attrs.update(phi_j=0.84, **({"complete": True} if finished else {}))
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[1] / "data/README.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 3
    for example in examples:
        exec(example, {})
    printed = capsys.readouterr().out
    assert printed.startswith("1 0.84 (3, 2) 0.5 [9. 9.]")
    assert "{'train': 4, 'valid': 2, 'test': 2}" in printed
    assert "packing_000003:0 (6, 2, 5, 7) (2, 5, 7)" in printed
