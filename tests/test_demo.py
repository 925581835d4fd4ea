"""The whole path on the quick settings: once for the whole session, then looked at from many sides."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from markupsafe import escape

from wavesim.cli import info_text, settings
from wavesim.dataset import WaveDataset, check
from wavesim.demo import run_demo
from wavesim.errors import WavesimError
from wavesim.lock import sole_user
from wavesim.metrics import relative_l2
from wavesim.report import verdict
from wavesim.surrogate import load, rollout


def test_it_jams_at_least_eight_packings_of_two_size_ratios(demo_run: Path) -> None:
    rows = json.loads((demo_run / "packings.json").read_text())
    assert len(rows) >= 8
    assert sorted({round(1 / row["size_ratio"], 2) for row in rows}) == [1.4, 3.0]
    for row in rows:
        assert 0.7 < row["phi_j"] < 0.95 and 3.5 < row["coordination"] < 4.5 and row["bulk_modulus"] > 0
    with h5py.File(demo_run / "packings.h5") as file:
        assert len(file) == len(rows)


def test_its_dataset_is_whole_and_no_packing_is_in_two_splits(demo_run: Path) -> None:
    assert set(check(demo_run / "waves")) == {"train", "valid", "test"}


def test_its_table_holds_the_errors_of_a_rollout_made_here(demo_run: Path) -> None:
    results = json.loads((demo_run / "results.json").read_text())
    names = [row["name"] for row in results["rows"]]
    assert names[:5] == ["persistence", "coarse step", "classical", "compressed", "pruned"]
    test = WaveDataset(demo_run / "waves", "test")
    for row in results["rows"][2:5]:
        model = load(demo_run / "models" / f"{row['name']}.safetensors")
        truth = test.trajectory(0)
        forecast = rollout(model, truth.state[0], truth.medium, test.frames - 1)
        np.testing.assert_allclose(row["errors"][0], relative_l2(forecast[:, 0], truth.state[1:, 0]), atol=2e-5)
        assert row["parameters"] == sum(p.numel() for p in model.parameters())
        assert row["stored_bytes"] == (demo_run / "models" / f"{row['name']}.safetensors").stat().st_size
        assert row["milliseconds"] > 0 and row["macs"] > 0
    still = np.array(results["rows"][0]["errors"])
    truth = test.trajectory(0).state[:, 0]
    np.testing.assert_allclose(still[0], relative_l2(truth[:1], truth[1:]), atol=2e-5)


def test_its_ladder_of_fe_runs_gets_better_with_resolution_and_dearer(demo_run: Path) -> None:
    rows = json.loads((demo_run / "results.json").read_text())["rows"]
    for degree in (2, 3, 4):
        ladder = [row for row in rows if row["name"].startswith(f"FE degree {degree},") and row["kind"] == "fe"]
        errors = [row["first_frames"] for row in ladder]
        # The coarsest rungs are all wrong on this coarse grid: they need not be in order among themselves.
        assert len(ladder) == 5 and errors[-1] == min(errors) < errors[0] / 2
        assert ladder[-1]["milliseconds"] > ladder[0]["milliseconds"]
    truth = rows[-1]
    assert truth["kind"] == "truth" and truth["milliseconds"] > ladder[-1]["milliseconds"]
    assert all(row["equal_fe"].startswith("FE degree") for row in rows[1:5])


def test_its_report_needs_no_other_file_and_gives_the_verdict(demo_run: Path) -> None:
    text = (demo_run / "report.html").read_text()
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert text.count("data:image/png;base64") >= 6 and "data:video/mp4;base64" in text
    results = json.loads((demo_run / "results.json").read_text())
    assert all(str(escape(sentence)) in text for sentence in verdict(results)) and "own error" in text
    for figure in ("fields", "errors", "pareto", "pruning", "training", "packings"):
        assert (demo_run / f"{figure}.png").stat().st_size > 10_000


def test_a_second_call_does_nothing_again_and_other_settings_are_refused(demo_run: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (demo_run / "models").glob("*.safetensors")}
    start = time.perf_counter()
    run_demo(demo_run, settings("quick"), seed=0, progress=False)
    assert time.perf_counter() - start < 60  # the report is drawn again, nothing is computed
    assert {path: path.stat().st_mtime_ns for path in before} == before
    with pytest.raises(WavesimError, match=r"other settings \(seed 0 there, 1 now\)"):
        run_demo(demo_run, settings("quick"), seed=1, progress=False)
    with pytest.raises(WavesimError, match=r"packings\.particles"):
        run_demo(demo_run, settings("demo"), seed=0, progress=False)


def test_killed_in_the_middle_it_goes_on_with_what_is_whole(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "wavesim", "demo", "--config", "quick", "--out", str(tmp_path / "run")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "packings.json").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    first = (tmp_path / "run" / "packings.h5").read_bytes()
    with sole_user(tmp_path / "run"):
        pass  # the kill has left no lock
    from wavesim.demo import _claim, _packings, _truth

    config = settings("quick")
    _claim(tmp_path / "run", config, 0)
    assert not _packings(tmp_path / "run", config, 0, 2, False)  # whole: not made again
    assert (tmp_path / "run" / "packings.h5").read_bytes() == first
    assert _truth(tmp_path / "run", config, 0, 2, False)
    check(tmp_path / "run" / "waves")


def test_info_tells_what_each_artefact_is(demo_run: Path) -> None:
    assert "8 packings" in info_text(demo_run / "packings.h5")
    assert "waves on 32 x 32 cells" in info_text(demo_run / "waves")
    assert "forecaster 'one-way'" in info_text(demo_run / "models" / "compressed.safetensors")
    assert "persistence" in info_text(demo_run)


@pytest.mark.parametrize("content", ['{"name": "of another program"}', "[1, 2]", "no JSON"])
def test_a_folder_of_another_program_is_left_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(WavesimError, match=r"config\.json is not of a run of wavesim; give another --out") as told:
        run_demo(tmp_path, settings("quick"), seed=0, progress=False)
    assert "remove" not in str(told.value) and (tmp_path / "config.json").read_text() == content
