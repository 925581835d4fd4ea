"""Datasets of the presets: functions of (seed, k) alone, the same bytes after any kill, and in The Well's layout."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
from well_format import format_defects

from wavesim import processes
from wavesim.dataset import SPLITS, WaveDataset, check
from wavesim.errors import WavesimError
from wavesim.fem import generate_dataset, recall, simulate, trial
from wavesim.fem.batch import simulate_all
from wavesim.fem.plan import Job, Plan, file_splits, plan_preset
from wavesim.fem.presets import draw
from wavesim.fem.trial import estimate
from wavesim.fem.waves import require_room
from wavesim.preset_config import (
    NAMES,
    PRESETS,
    CavityConfig,
    MixtureConfig,
    RandomConfig,
    ResolvedConfig,
    dataset_config,
)
from wavesim.provenance import generator
from wavesim.unit_check import check_units

# Wider than high, other cells along x than along y, and nothing symmetric: an exchange of x and y shows.
SMALL = {"lengths": (1.5, 1.0), "grid": (24, 16), "elements": (9, 6), "frames": 6, "frame_interval": 0.05,
         "pulse_width": 0.1, "layer": 2, "shard": 3}  # fmt: skip
RANDOM = RandomConfig(**SMALL, correlation_length=0.3)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Seven trajectories in three files."""
    out = tmp_path_factory.mktemp("random")
    return out, generate_dataset(RANDOM, out, 7, seed=5, workers=2, progress=False)


def contents(out):
    """The bytes of everything but the run's log of timings and the number of its process."""
    return {
        path.relative_to(out): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in ("run.jsonl", ".lock")
    }


@pytest.mark.parametrize("preset", PRESETS)
def test_a_draw_is_a_function_of_seed_and_number_alone(preset):
    config = PRESETS[preset](**SMALL)
    drawn = [draw(config, generator(5, "waves", k)) for k in (0, 1, 0)]
    cells = [medium.cells((16, 24), config.lengths) for medium, _ in drawn]
    np.testing.assert_array_equal(cells[0], cells[2])
    assert drawn[0][1] == drawn[2][1] != drawn[1][1] and not np.allclose(cells[0], cells[1])
    for (x, y), width in ((pulse.center, pulse.width) for _, pulse in drawn):
        assert 3 * width <= x <= 1.5 - 3 * width and 3 * width <= y <= 1 - 3 * width


def test_media_keep_to_their_settings():
    cavity, layers, random, lens = (PRESETS[name]() for name in ("cavity", "layers", "random", "lens"))
    for k in range(20):
        kappa, rho = draw(cavity, generator(0, "waves", k))[0].cells((4, 4))
        assert np.ptp(kappa) == 0 and 0.5 <= kappa[0, 0] <= 2 and (rho == 1).all()
        kappa, rho = draw(layers, generator(0, "waves", k))[0].cells((4, 256))
        assert (np.ptp(kappa, axis=0) == 0).all() and 0.5 <= kappa.min() and kappa.max() <= 4
        assert 0.7 <= rho.min() and rho.max() <= 1.5
        kappa, rho = draw(random, generator(0, "waves", k))[0].cells((32, 32))
        assert np.exp(-1) <= kappa.min() and kappa.max() <= np.exp(1) and (rho == 1).all()
        kappa, rho = draw(lens, generator(0, "waves", k))[0].cells((64, 64))
        assert min(kappa[0].min(), kappa[:, -1].min()) > 0.99 and 0.5 <= kappa.min() < 0.52 and (rho == 1).all()


@pytest.mark.parametrize("sides", [("rigid",) * 4, ("periodic", "periodic", "soft", "rigid")])
def test_a_batch_runs_as_each_of_its_trajectories_does_alone(sides):
    config = RANDOM.model_copy(update={"sides": sides})
    media, pulses = zip(*(draw(config, generator(1, "waves", k)) for k in range(3)), strict=True)
    together = simulate_all(config, media, pulses)
    for medium, pulse, run in zip(media, pulses, together, strict=True):
        alone = simulate(config, medium, pulse, steps=run.steps_per_frame)
        scale = np.abs(alone.pressure_rate).max()
        np.testing.assert_allclose(run.pressure, alone.pressure, atol=2e-6)
        np.testing.assert_allclose(run.pressure_rate, alone.pressure_rate, atol=1e-5 * scale)
        np.testing.assert_allclose(run.energy, alone.energy, rtol=1e-5)


def test_a_trajectory_depends_neither_on_their_number_nor_on_workers(dataset, tmp_path):
    out, _ = dataset
    generate_dataset(RANDOM, tmp_path, 12, seed=5, workers=1, progress=False)
    for path in out.rglob("*.hdf5"):
        other = tmp_path / path.relative_to(out)
        with h5py.File(path) as few, h5py.File(other) as many:
            rows = few["t0_fields/pressure"].shape[0]
            for name in ("t0_fields/pressure", "t0_fields/pressure_rate", "t0_fields/bulk_modulus", "scalars/energy"):
                np.testing.assert_array_equal(few[name][:], many[name][:rows])
        assert rows < 3 or path.read_bytes() == other.read_bytes()


def test_a_killed_run_ends_with_the_bytes_of_an_unbroken_one(dataset, tmp_path):
    out, script = tmp_path / "out", tmp_path / "run.py"
    script.write_text(
        "from pathlib import Path\nfrom wavesim.preset_config import RandomConfig\n"
        "from wavesim.fem import generate_dataset\nif __name__ == '__main__':\n"
        f"    config = RandomConfig.model_validate_json('{RANDOM.model_dump_json()}')\n"
        f"    generate_dataset(config, Path({str(out)!r}), 7, 5, 1, False)\n"
    )
    run = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(out.glob("data/*/*.hdf5")) and time.monotonic() < deadline:
        time.sleep(0.002)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    done = {path: path.stat().st_mtime_ns for path in out.glob("data/*/*.hdf5")}
    assert done and not (out / "README.md").exists()
    generate_dataset(RANDOM, out, 7, seed=5, workers=2, progress=False)
    assert all(path.stat().st_mtime_ns == written for path, written in done.items())
    assert contents(out) == contents(dataset[0])


def test_splits_hold_their_shares_whatever_the_number_of_files():
    splits = file_splits(64, RANDOM)
    assert Counter(splits) == {"train": 48, "valid": 8, "test": 8} and splits[:3] == ["train", "valid", "test"]
    assert all(file_splits(files, RANDOM) == splits[:files] for files in range(3, 64))
    with pytest.raises(WavesimError, match="use n 7 or more"):
        plan_preset(RANDOM, Path("x"), 6, 0)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (CavityConfig(**SMALL, bulk_moduli=(1.0, 1.0)), r"bulk_moduli \(1\.0, 1\.0\)"),
        (RandomConfig(**SMALL, contrast=0.0), "contrast 0"),
    ],
)
def test_settings_that_draw_one_medium_are_refused_before_anything_is_computed(config, said, tmp_path):
    with pytest.raises(WavesimError, match=f"one medium again and again, .*widen what it draws from .*{said}"):
        generate_dataset(config, tmp_path / "out", 7, seed=5)
    assert not (tmp_path / "out").exists()


def test_the_files_have_the_wells_format_and_its_reader_gets_x_first(dataset):
    well = pytest.importorskip("the_well.data")
    out, summary = dataset
    assert summary["trajectories"] == {"train": 3, "valid": 3, "test": 1}
    for path in out.rglob("*.hdf5"):
        with h5py.File(path) as file:
            assert format_defects(file) == []
    config, medium, pulse = recall(WaveDataset(out, "test").paths[0], 0)
    assert config == RANDOM
    sample = well.WellDataset(path=str(out), well_split_name="test", n_steps_input=1, n_steps_output=5)[0]
    fields = np.concatenate([sample["input_fields"], sample["output_fields"]])  # (time, x, y, field)
    assert fields.shape == (6, 24, 16, 2)
    run = simulate(config, medium, pulse)
    np.testing.assert_allclose(fields[..., 0], run.pressure.swapaxes(1, 2), atol=2e-5)
    np.testing.assert_allclose(fields[..., 1], run.pressure_rate.swapaxes(1, 2), atol=5e-4)
    cells = medium.cells((16, 24), config.lengths)
    np.testing.assert_allclose(sample["constant_fields"][..., 0], cells[0].T, rtol=1e-6)
    grid = sample["space_grid"].numpy()  # (x, y, 2)
    np.testing.assert_allclose(grid[[0, -1], 0, 0], [1.5 / 48, 1.5 - 1.5 / 48], rtol=1e-6)
    np.testing.assert_allclose(grid[0, [0, -1], 1], [1 / 32, 1 - 1 / 32], rtol=1e-6)
    scalars = np.concatenate([sample["input_scalars"], sample["output_scalars"]])
    assert scalars.shape == (6, 2)
    np.testing.assert_allclose(scalars[:, 0], run.energy, rtol=1e-4)
    np.testing.assert_allclose(scalars[:, 1], run.unresolved_share, rtol=1e-3)
    ours = WaveDataset(out, "test").trajectory(0)
    assert ours.lengths == (1.5, 1.0) and ours.state.shape == (6, 2, 16, 24)
    np.testing.assert_array_equal(ours.state[:, 0], fields[..., 0].swapaxes(1, 2))


@pytest.mark.parametrize("sides", [("periodic",) * 4, ("absorbing", "soft", "rigid", "absorbing")])
@pytest.mark.parametrize("preset", PRESETS)
def test_the_fields_of_every_preset_are_in_units_of_each_other(tmp_path, preset, sides):
    config = PRESETS[preset](**{**SMALL, "frames": 9, "sides": sides, "shard": 1, "verified": 0})
    generate_dataset(config, tmp_path, 3, seed=5, workers=1, progress=False)
    for split in SPLITS:
        check_units(WaveDataset(tmp_path, split))


@pytest.mark.parametrize("preset", ["layers", "lens"])
def test_what_leaves_through_an_absorbing_side_is_gone(preset):
    config = PRESETS[preset](**{**SMALL, "frames": 2, "frame_interval": 6.0, "sides": ("absorbing",) * 4, "layer": 4})
    medium, pulse = draw(config, generator(0, "waves", 0))
    run = simulate(config, medium, pulse)
    assert run.energy[1] < 1e-3 * run.energy[0]


def test_every_file_states_the_error_of_its_truth_and_how_it_was_made(dataset):
    out, summary = dataset
    for path in out.rglob("*.hdf5"):
        with h5py.File(path) as file:
            about = json.loads(file.attrs["wavesim"])
        (stated,) = about["truth_error"]
        config, medium, pulse = recall(path, stated["trajectory"])
        finer = simulate(config, medium, pulse, degree=5).pressure
        data = WaveDataset(out, path.parent.name)
        stored = data.trajectory([data.name(i) for i in range(len(data))].index(f"{path.stem}:0")).state[:, 0]
        error = np.linalg.norm(stored - finer, axis=(1, 2)) / np.linalg.norm(finer, axis=(1, 2))
        np.testing.assert_allclose(stated["pressure"], error, rtol=2e-2, atol=1e-6)
        first = about["trajectories"][0]
        assert first["time_step"] * first["steps_per_frame"] == pytest.approx(0.05)
        assert about["config"]["time_order"] == 4 and about["seed"] == 5 and "fenics-dolfinx" in about["versions"]
    assert 0 < summary["truth_error"]["pressure"]["mean"] < 0.02 and summary["verified"] == 3


def test_what_the_disk_cannot_hold_is_refused_before_it_starts(tmp_path, monkeypatch):
    disk = shutil.disk_usage(tmp_path)
    needed = sum(job.bytes for job in plan_preset(RANDOM, tmp_path, 7, 0).jobs)
    assert needed >= 7 * (2 * 6 + 3) * 24 * 16 * 4
    monkeypatch.setattr(shutil, "disk_usage", lambda _: disk._replace(free=needed - 1))
    with pytest.raises(WavesimError, match="its disk has"):
        generate_dataset(RANDOM, tmp_path / "deep" / "out", 7, seed=5, progress=False)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: disk._replace(free=needed))
    require_room(tmp_path / "deep", needed)


@pytest.mark.parametrize(("frames", "runs"), [(6, [2, 6]), (40, [2, 2, 8])])
def test_a_trial_runs_no_more_frames_than_it_needs_and_counts_no_compiling(tmp_path, monkeypatch, frames, runs):
    made, clock = [], [0.0]

    def make(job):  # the first one compiles for 100 s, and each takes 3 s and 2 s a frame
        made.append(job.config.frames)
        clock[0] += 3 + 2 * job.config.frames + 100 * (len(made) == 1)
        job.path.parent.mkdir(parents=True)
        job.path.write_bytes(b"." * (50 + 10 * job.config.frames))

    for name in ("write_statistics", "write_checksums", "check"):
        monkeypatch.setattr(trial, name, lambda root: None)
    monkeypatch.setattr(trial, "make_shard", make)
    monkeypatch.setattr(trial.time, "perf_counter", lambda: clock[0])
    job = plan_preset(RANDOM.model_copy(update={"frames": frames}), tmp_path / "out", 7, 5).jobs[0]
    assert trial._trial(job) == pytest.approx((3 + 2 * frames, 50 + 10 * frames)) and made == runs
    made.append(0)
    assert trial._trial(job, cold=False) == pytest.approx((3 + 2 * frames, 50 + 10 * frames))
    assert made[len(runs) + 1 :] == runs[1:]


def test_a_dry_run_leaves_nothing_and_knows_the_bytes(dataset, tmp_path):
    plan = plan_preset(RANDOM, tmp_path / "out", 7, 5)
    said = estimate(plan, workers=2)
    real = sum(path.stat().st_size for path in dataset[0].rglob("*.hdf5")) / 1e9
    assert said["trajectories"] == 7 and said["minutes"] > 0 and said["gigabytes"] == pytest.approx(real, rel=0.4)
    assert not list(tmp_path.iterdir())
    assert estimate(plan_preset(RANDOM, dataset[0], 7, 5), workers=2)["trajectories"] == 0


@pytest.mark.parametrize(
    "config",
    [
        RANDOM.model_copy(update={"contrast": 4.0, "elements": (3, 2), "frames": 2}),
        CavityConfig(**SMALL | {"elements": (3, 2), "frames": 2}, bulk_moduli=(1e9, 1e9)),
        CavityConfig(**SMALL | {"elements": (3, 2), "frames": 2}, bulk_moduli=(1e-9, 1e-9)),
    ],
)
def test_single_precision_carries_the_most_extreme_media_that_settings_allow(config):
    config = config.model_copy(update={"frame_interval": 1e-6 if config.preset == "cavity" else 0.05})
    pairs = [draw(config, generator(5, "waves", k)) for k in range(2)]
    for run in simulate_all(config, *zip(*pairs, strict=True)):
        assert np.isfinite(run.pressure_rate).all() and 0.9 < run.energy[1] / run.energy[0] < 1.1


def test_a_dry_run_counts_the_trajectories_that_are_run_twice(tmp_path, monkeypatch):
    """Files of 4 trajectories at 60 seconds, and 30 more for each verified one, that is 6 * 60 + 3 * 30 in all."""
    jobs = [Job(tmp_path / f"{k}", RANDOM, 0, k, 4, twice) for k, twice in enumerate([(), (), (1,), (), (0, 1), ()])]
    monkeypatch.setattr(processes, "pool", lambda _: ThreadPoolExecutor(1))
    monkeypatch.setattr(trial, "_trial", lambda job, cold=True: (60.0 + 30.0 * len(job.verified), 1e6))
    said = estimate(Plan(tmp_path, jobs, {}), workers=3)
    assert said["minutes"] == pytest.approx((6 * 60 + 3 * 30) / 3 / 60) and said["trajectories"] == 24


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('preset = "rndom"', "unknown preset 'rndom'; presets: cavity, layers, random, lens, packing"),
        ('preset = "random"\ncontrst = 1', "unknown key 'contrst'; did you mean 'contrast'?"),
        ('preset = "lens"\nlengths = [0.5, 1.0]', "radii up to 0.3 do not fit into a domain 0.5 wide"),
        ('preset = "cavity"\npulse_width = 0.2', "use one below 1/6"),
        ('preset = "cavity"\nsides = ["periodic", "rigid", "rigid", "rigid"]', "periodic together"),
        ('preset = "random"\ncontrast = 60.0', "contrast: Input should be less than or equal to 4"),
        (
            'preset = "cavity"\nbulk_moduli = [1.0, 1e50]',
            "bulk_moduli.1: Input should be less than or equal to 1",
        ),
        ('preset = "cavity"\nbulk_moduli = [2.0, 1.0]', "the second must not be below the first"),
        ("frames = 3", "says no preset"),
        ("[wave]\nframes = 9", r"did you mean \[waves\] by \[wave\]\?"),
        ("[waves]\nframs = 9", r"waves.toml: \[waves\]: unknown key 'frams'; did you mean 'frames'\?"),
        ("[waves]\n[trainin]", "unknown key 'trainin'; did you mean 'training'"),
        ('preset = "lens"\n[waves]\nframes = 9', r"has both preset and a table \[waves\]: .*remove the line \[waves\]"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(tmp_path, text, message):
    (tmp_path / "waves.toml").write_text(text + "\n")
    with pytest.raises(WavesimError, match=message.replace("?", r"\?")):
        dataset_config(tmp_path / "waves.toml")


def test_a_toml_file_may_hold_a_preset_or_the_waves_of_a_whole_run(tmp_path):
    path = tmp_path / "waves.toml"
    path.write_text('preset = "random"\ncontrast = 0.1\n')
    assert dataset_config(path) == RandomConfig(contrast=0.1)
    path.write_text("[waves]\ngrid = 32\n")
    assert dataset_config(path) == dataset_config("packing-smooth").model_copy(update={"grid": 32})
    path.write_text("[waves]\nframes = 8\n")  # fewer than training takes, which is another command's business
    assert dataset_config(path) == dataset_config("packing-smooth").model_copy(update={"frames": 8})
    path.write_text('preset = "packing-smooth"\ngrid = 32\n')
    assert dataset_config(path) == dataset_config("packing-smooth").model_copy(update={"grid": 32})
    path.write_text('preset = "packing"\ngrid = 32\n')
    assert dataset_config(path) == ResolvedConfig(grid=32)


def test_the_settings_of_a_lens_show_the_keys_of_its_mixture_asleep(tmp_path, capsys, monkeypatch):
    from wavesim.cli import print_settings

    print_settings("lens")
    head, table = capsys.readouterr().out.split("# [mixture]\n")
    awake = "\n".join(line.removeprefix("# ") for line in table.splitlines())
    (tmp_path / "lens.toml").write_text(f"{head}[mixture]\n{awake}\n")
    monkeypatch.chdir(Path(__file__).parents[2])  # where data/diagram.json is
    assert dataset_config(tmp_path / "lens.toml").mixture == MixtureConfig()


@pytest.mark.parametrize("name", NAMES)
def test_the_settings_that_are_printed_are_read_back(name, tmp_path, capsys):
    from wavesim.cli import print_settings

    print_settings(name)
    (tmp_path / "waves.toml").write_text(capsys.readouterr().out)
    assert dataset_config(tmp_path / "waves.toml") == dataset_config(name)


def test_the_fields_lie_in_chunks_for_windows_and_are_packed_without_a_plugin(dataset):
    with h5py.File(next(dataset[0].rglob("*.hdf5"))) as file:
        for name in ("pressure", "pressure_rate"):
            field = file[f"t0_fields/{name}"]
            assert field.chunks == (1, 6, 24, 16) and field.compression == "gzip" and field.shuffle


def test_the_card_has_a_picture_and_checksums_find_a_changed_bit(dataset, tmp_path):
    out = Path(shutil.copytree(dataset[0], tmp_path / "copy"))
    assert check(out) == {"train": 3, "valid": 3, "test": 1}
    assert "![" in (out / "README.md").read_text() and (out / "picture.png").stat().st_size > 10_000
    path = next((out / "data" / "valid").glob("*.hdf5"))
    with h5py.File(path, "r+") as file:
        file["t0_fields/pressure"][1, 2, 3, 4] *= 1.0001
    with pytest.raises(WavesimError, match=r"random_000001\.hdf5 has changed"):
        check(out)
    path.unlink()
    shutil.rmtree(path.parent)
    with pytest.raises(WavesimError, match=r"random_000001\.hdf5 is missing"):
        check(out)


def test_a_medium_in_two_splits_is_found(dataset, tmp_path):
    out = Path(shutil.copytree(dataset[0], tmp_path / "copy"))
    (out / "checksums.txt").unlink()
    shutil.copy(next((out / "data" / "train").glob("*.hdf5")), out / "data" / "test" / "other.hdf5")
    with pytest.raises(WavesimError, match="run through the same medium"):
        check(out)
