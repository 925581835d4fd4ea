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
from well_format import format_defects

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


SIDES = {
    ("rigid", "absorbing", "soft", "rigid"): {
        "x_wall": ("WALL", [0]), "x_open": ("OPEN", [6]), "y_soft_wall": ("WALL", [0]), "y_wall": ("WALL", [4])
    },
    ("periodic", "periodic", "absorbing", "absorbing"): {
        "x_periodic": ("PERIODIC", [0, 6]), "y_open": ("OPEN", [0, 4])
    },
}  # fmt: skip


@pytest.mark.parametrize("changes", [{}, {"parameters": {}}, *({"sides": sides} for sides in SIDES)])
def test_every_attribute_of_the_wells_format_is_there(tmp_path, waves, changes):
    write_shard(tmp_path / "shard.hdf5", waves.shard(**changes))
    with h5py.File(tmp_path / "shard.hdf5") as file:
        assert format_defects(file) == []
        found = {
            name: (group.attrs["bc_type"], group["mask"][:].nonzero()[0].tolist())
            for name, group in file["boundary_conditions"].items()
        }
        walls = {"x_wall": ("WALL", [0, 6]), "y_wall": ("WALL", [0, 4])}
        assert found == SIDES.get(changes.get("sides", ()), walls)
        if "y_soft_wall" in found:  # p = 0 there
            soft = file["boundary_conditions/y_soft_wall"]
            assert soft.attrs["associated_fields"].tolist() == ["pressure"] and soft["values"][:].tolist() == [0]


@pytest.mark.parametrize(
    ("sides", "codes"),
    [
        (("rigid", "absorbing", "soft", "rigid"), [[0, 1], [0, 0]]),
        (("periodic", "periodic", "absorbing", "soft"), [[2, 2], [1, 0]]),
    ],
)
def test_the_wells_reader_tells_the_sides_apart(tmp_path, waves, sides, codes):
    write_shard(tmp_path / "data/train/a.hdf5", waves.shard(sides=sides))
    sample = WellDataset(path=str(tmp_path), well_split_name="train")[0]
    assert sample["boundary_conditions"].tolist() == codes  # 0 WALL, 1 OPEN, 2 PERIODIC


def test_the_wells_reader_gets_a_series_frame_by_frame(tmp_path, waves):
    energy = np.arange(12.0).reshape(2, 6)
    write_shard(tmp_path / "data/train/a.hdf5", waves.shard(series={"energy": energy}))
    well = WellDataset(path=str(tmp_path), well_split_name="train", n_steps_input=2, n_steps_output=3)
    with h5py.File(tmp_path / "data/train/a.hdf5") as file:
        assert format_defects(file) == []
    sample = well[3]  # two windows a trajectory: the second one of the second
    assert well.metadata.scalar_names == ["energy"] and len(well) == 4
    np.testing.assert_array_equal(sample["input_scalars"][:, 0], [7, 8])
    np.testing.assert_array_equal(sample["output_scalars"][:, 0], [9, 10, 11])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.attrs.__delitem__("phi"),
        lambda file: file["dimensions"].attrs.__setitem__("spatial_dims", ["y", "x"]),
        lambda file: file["t0_fields/density"].attrs.__setitem__("time_varying", True),
        lambda file: file["t0_fields/density"].attrs.__setitem__("sample_varying", 1),
        lambda file: file["boundary_conditions"].__delitem__("y_wall"),
        lambda file: file["scalars"].__delitem__("phi"),
        lambda file: file["scalars/phi"].attrs.__setitem__("sample_varying", np.True_),
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
