"""Datasets of waves: reproducible to the byte, continued after a kill, split by packing, and readable by others."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
from well_format import format_defects

from wavesim.config import WavesConfig
from wavesim.dataset import WaveDataset, check
from wavesim.errors import WavesimError
from wavesim.fem import generate_waves, rerun, simulate
from wavesim.fem.plan import plan_packings, split
from wavesim.fem.stored import draw, recall
from wavesim.fem.waves import carry_out
from wavesim.processes import pool
from wavesim.unit_check import check_units

CONFIG = WavesConfig(
    grid=16, frames=6, pulses=2, pulse_width=0.1, interface_width=0.08, elements=10, degree=3, verified=3
)
RATIOS = (1 / 1.4, 1 / 3)


@pytest.fixture(scope="module")
def packings(tmp_path_factory):
    """Three packings of each size ratio: eight disks on a jittered lattice in a box of side 4."""
    path = tmp_path_factory.mktemp("packings") / "packings.h5"
    random = np.random.default_rng(0)
    lattice = np.stack(np.meshgrid(np.arange(4) + 0.5, np.arange(0, 4, 2) + 0.5), axis=-1).reshape(-1, 2)
    with h5py.File(path, "w") as file:
        for k in range(6):
            group = file.create_group(f"{k:06d}")
            ratio = RATIOS[k % 2]
            group["positions"] = lattice + random.uniform(-0.2, 0.2, lattice.shape)
            group["radii"] = np.where(np.arange(8) % 2, 0.5, 0.5 * ratio)
            group["box"] = [4.0, 4.0]
            group.attrs.update(size_ratio=ratio, complete=True)
        file.create_group("000006")  # one that a kill left unfinished
    return path


@pytest.fixture(scope="module")
def dataset(packings, tmp_path_factory):
    out = tmp_path_factory.mktemp("waves")
    return out, generate_waves(CONFIG, packings, out, seed=7, workers=2, progress=False)


def contents(out):
    """The bytes of everything but the run's log of timings and the number of its process."""
    return {
        path.relative_to(out): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in ("run.jsonl", ".lock")
    }


def test_the_summary_and_the_files_agree(dataset):
    out, summary = dataset
    assert summary["trajectories"] == check(out) == {"train": 4, "valid": 4, "test": 4}
    assert (summary["frames"], summary["grid"]) == (6, 16)
    lines = [json.loads(line) for line in (out / "run.jsonl").read_text().splitlines()]
    assert len(lines) == 6 and summary["milliseconds_per_frame"] > 0
    assert f"{summary['truth_error']['pressure']['mean']:.2%}" in (out / "README.md").read_text()


def test_the_fields_are_in_units_of_each_other(dataset):
    for name in ("train", "valid", "test"):
        check_units(WaveDataset(dataset[0], name))


def test_splits_share_no_packing_and_hold_every_size_ratio(dataset):
    out, _ = dataset
    owners = Counter()
    for name in ("train", "valid", "test"):
        data = WaveDataset(out, name)
        assert {data.about(i)["packing"]["size_ratio"] for i in range(len(data))} == set(RATIOS)
        owners.update({data.about(i)["packing"]["name"] for i in range(len(data))})
    assert owners == Counter(f"{k:06d}" for k in range(6))


def test_the_shares_of_the_default_settings_are_kept():
    splits = split([RATIOS[0]] * 16 + [RATIOS[1]] * 16, WavesConfig())
    for own in (splits[:16], splits[16:]):
        assert Counter(own) == {"train": 12, "valid": 2, "test": 2}
    with pytest.raises(WavesimError, match="at least 3"):
        split([0.5, 0.5, 1.0, 1.0, 1.0], WavesConfig())


def test_size_ratios_that_differ_by_rounding_are_one():
    half = [0.5, np.nextafter(0.5, 1), np.nextafter(0.5, 0), 0.5 + 1e-7]
    assert split(half, WavesConfig()) == split([0.5] * 4, WavesConfig()) == ["train", "train", "valid", "test"]
    assert Counter(split([*half, *[0.51] * 4], WavesConfig())) == {"train": 4, "valid": 2, "test": 2}


def test_the_same_seed_makes_the_same_bytes_with_other_workers(dataset, packings, tmp_path):
    generate_waves(CONFIG, packings, tmp_path, seed=7, workers=1, progress=False)
    again, first = contents(tmp_path), contents(dataset[0])
    assert again.keys() == first.keys()
    assert [str(path) for path in first if again[path] != first[path]] == []


def test_a_killed_run_goes_on_where_it_stopped(dataset, packings, tmp_path):
    settings = CONFIG.model_dump_json()
    script = tmp_path / "run.py"
    out = tmp_path / "out"
    script.write_text(
        "from pathlib import Path\nfrom wavesim.config import WavesConfig\nfrom wavesim.fem import generate_waves\n"
        f"if __name__ == '__main__':\n    config = WavesConfig.model_validate_json('{settings}')\n"
        f"    generate_waves(config, Path({str(packings)!r}), Path({str(out)!r}), 7, 1, False)\n"
    )
    run = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(out.glob("data/*/packing_*.hdf5")) and time.monotonic() < deadline:
        time.sleep(0.005)
    run.send_signal(signal.SIGKILL)
    run.wait()
    wait_until_group_is_gone(run.pid)
    done = {path: path.stat().st_mtime_ns for path in out.glob("data/*/packing_*.hdf5")}
    assert 1 <= len(done) < 6
    (out / "data" / "train" / ".packing_000000.x.part").mkdir(parents=True)  # what a kill in mid-write leaves
    generate_waves(CONFIG, packings, out, seed=7, workers=1, progress=False)
    assert all(path.stat().st_mtime_ns == written for path, written in done.items())
    assert contents(out) == contents(dataset[0])


def test_a_log_that_a_kill_has_torn_or_taken_stops_no_later_call(dataset, packings, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(dataset[0], out)
    whole = (out / "run.jsonl").read_text()
    (out / "run.jsonl").write_text(whole[:-30])  # the last line is cut short
    one = next(out.glob("data/valid/*.hdf5"))
    one.unlink()
    generate_waves(CONFIG, packings, out, seed=7, workers=1, progress=False)
    names = [json.loads(line)["file"] for line in (out / "run.jsonl").read_text().splitlines()]
    assert len(names) == len(set(names)) and one.stem in names
    (out / "run.jsonl").unlink()  # the kill came after the last file, before its line
    (out / ".run.x.part").mkdir()
    summary = generate_waves(CONFIG, packings, out, seed=7, workers=1, progress=False)
    assert summary == {**dataset[1], "milliseconds_per_frame": None}
    assert not (out / ".run.x.part").exists()


def wait_until_group_is_gone(group):
    """A killed parent takes its workers with it; fails if they live on."""
    deadline = time.monotonic() + 20
    while living(group):
        assert time.monotonic() < deadline, "workers outlived their parent"
        time.sleep(0.02)


def living(group):
    """Processes of a group, without those that have ended and that nobody has asked about yet."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group, *_ = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(its_group) == group and state != "Z":
            found.append(stat.parent.name)
    return found


def test_a_folder_made_with_other_settings_is_refused(dataset, packings):
    out, _ = dataset
    with pytest.raises(WavesimError, match="seed 7 there, 8 now"):
        generate_waves(CONFIG, packings, out, seed=8, progress=False)
    other = CONFIG.model_copy(update={"degree": 4})
    with pytest.raises(WavesimError, match="degree 3 there, 4 now"):
        generate_waves(other, packings, out, seed=7, progress=False)


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"config": 3}', b"\xff"])
def test_a_folder_whose_settings_are_torn_is_refused_in_one_line(packings, tmp_path, content):
    (tmp_path / "settings.json").write_bytes(content)
    with pytest.raises(WavesimError, match=r"settings\.json is not what made this folder.* another folder") as refused:
        generate_waves(CONFIG, packings, tmp_path, seed=7, progress=False)
    assert "\n" not in str(refused.value) and not (tmp_path / "data").exists()


def test_a_trajectory_comes_back_from_its_file_alone(dataset):
    out, _ = dataset
    data = WaveDataset(out, "valid")
    config, medium, pulse = recall(data.paths[0], 1)
    assert config == CONFIG
    np.testing.assert_allclose(medium.cells((16, 16)), data.medium(1), rtol=1e-6)
    run = simulate(config, medium, pulse)
    state, milliseconds, unknowns = rerun(data.paths[0], 1)
    np.testing.assert_allclose(state[:, 0], run.pressure, rtol=1e-12)
    np.testing.assert_allclose(data.trajectory(1).state, state, rtol=1e-5, atol=1e-7)
    assert unknowns == 31**2 and milliseconds > 0
    with pytest.raises(WavesimError, match="no trajectory 2"):
        rerun(data.paths[0], 2)


def test_trajectories_differ_in_cut_and_pulse(dataset):
    data = WaveDataset(dataset[0], "train")
    drawn = [json.dumps(trajectory) for i in (0, 2) for trajectory in data.about(i)["trajectories"]]
    assert len(set(drawn)) == 4
    assert not np.allclose(data.medium(0), data.medium(1))


def test_the_truth_error_is_that_of_the_stored_fields_against_a_finer_run(dataset):
    out, summary = dataset
    stored = json.loads((out / "truth_error.json").read_text())
    # Three were asked for: one of each size ratio first, then a second one.
    assert [run["trajectory"] for run in stored["runs"]] == [0, 1, 0]
    run = stored["runs"][0]
    state = rerun(out / "data" / "test" / f"{run['file']}.hdf5", 0, degree=4)[0]
    data = WaveDataset(out, "test")
    truth = data.trajectory([data.name(i) for i in range(len(data))].index(f"{run['file']}:0")).state.astype(float)
    errors = np.sqrt(((truth - state) ** 2).sum((2, 3))[1:] / (state**2).sum((2, 3))[1:])
    np.testing.assert_allclose(run["pressure"][1:], errors[:, 0], rtol=1e-2)
    np.testing.assert_allclose(run["pressure_rate"][1:], errors[:, 1], rtol=1e-2)
    mean = np.mean([run["pressure"] for run in stored["runs"]])
    assert summary["truth_error"]["pressure"]["mean"] == pytest.approx(mean)


def test_the_rate_is_the_derivative_of_the_pressure(dataset):
    """Integrated over the frames by Hermite's corrected trapezoid, whose own error falls with the interval^4."""
    config, medium, pulse = recall(WaveDataset(dataset[0], "train").paths[0], 0)
    fine = config.model_copy(update={"frame_interval": 1 / 128, "frames": 25})
    run = simulate(fine, medium, pulse)
    h, rate = 1 / 128, run.pressure_rate
    integral = (rate[1:-1:2] * 4 + rate[:-2:2] + rate[2::2]).sum(axis=0) * h / 3  # Simpson's rule
    change = run.pressure[-1] - run.pressure[0]
    assert np.linalg.norm(integral - change) < 1e-4 * np.linalg.norm(change)


def test_the_wells_own_reader_loads_the_files_with_x_first(dataset):
    from the_well.data import WellDataset

    out, _ = dataset
    well = WellDataset(
        path=str(out), well_split_name="test", n_steps_input=1, n_steps_output=5, use_normalization=False
    )
    config, medium, pulse = recall(WaveDataset(out, "test").paths[0], 0)
    run = simulate(config, medium, pulse)
    assert np.abs(run.pressure[3] - run.pressure[3].T).max() > 0.01  # so that an exchange of x and y shows
    names = [name for order in (0, 1, 2) for name in well.metadata.field_names[order]]
    sample = well[0]
    for name, field in (("pressure", run.pressure), ("pressure_rate", run.pressure_rate)):
        got = np.concatenate([sample["input_fields"], sample["output_fields"]])[..., names.index(name)]
        np.testing.assert_allclose(got, field.swapaxes(1, 2), rtol=1e-5, atol=1e-7)
    constants = [name for order in (0, 1, 2) for name in well.metadata.constant_field_names[order]]
    cells = medium.cells((16, 16))
    for name, field in (
        ("bulk_modulus", cells[0]),
        ("density", cells[1]),
        ("speed_of_sound", np.sqrt(cells[0] / cells[1])),
    ):
        np.testing.assert_allclose(sample["constant_fields"][..., constants.index(name)], field.T, rtol=1e-5)


def test_missing_packings_and_workers_are_refused(packings, tmp_path):
    with pytest.raises(WavesimError, match="workers 0"):
        generate_waves(CONFIG, packings, tmp_path / "out", seed=0, workers=0, progress=False)
    with pytest.raises(WavesimError, match="does not exist"):
        generate_waves(CONFIG, Path(tmp_path / "none.h5"), tmp_path / "out", seed=0, progress=False)


def test_a_worker_that_was_killed_is_an_error_with_a_remedy():
    with pytest.raises(WavesimError, match="fewer workers"), pool(1) as workers:
        workers.submit(os._exit, 1).result()


def test_packings_share_a_number_of_trajectories_and_may_have_other_sides(packings, tmp_path):
    with pytest.raises(WavesimError, match="6 packings; use a multiple"):
        plan_packings(CONFIG, packings, tmp_path, 0, n=7)
    open_sides = CONFIG.model_copy(update={"sides": ("absorbing",) * 4, "layer": 3, "verified": 0, "frames": 3})
    plan = plan_packings(open_sides, packings, tmp_path, 7, n=6)
    assert [job.rows for job in plan.jobs] == [1] * 6
    summary = carry_out(plan, 1, progress=False)
    assert summary["trajectories"] == {"train": 2, "valid": 2, "test": 2}
    path = WaveDataset(tmp_path, "train").paths[0]
    with h5py.File(path) as file:
        assert set(file["boundary_conditions"]) == {"x_open", "y_open"}
        assert format_defects(file) == []
    config, medium, pulse = recall(path, 0)
    run = simulate(config, medium, pulse)
    np.testing.assert_allclose(WaveDataset(tmp_path, "train").trajectory(0).state[:, 0], run.pressure, atol=1e-6)


def test_the_shipped_sample_comes_out_of_its_own_settings_again():
    """The shipped models were trained on such fields: neither the draws nor the numbers of the solver may move."""
    path = Path(__file__).parents[2] / "data" / "sample" / "data" / "test" / "packing_000042.hdf5"
    config, medium, pulse = recall(path, 0)
    run = simulate(config.model_copy(update={"frames": 6}), medium, pulse)
    with h5py.File(path) as file:
        about = json.loads(file.attrs["wavesim"])
        np.testing.assert_allclose(file["t0_fields/pressure"][0, :6].swapaxes(1, 2), run.pressure, rtol=1e-6, atol=1e-7)
    drawn = draw(config, about["seed"], int(about["packing"]["name"]), 0)
    stored = about["trajectories"][0]
    assert json.loads(json.dumps(drawn)) == {key: stored[key] for key in drawn}
