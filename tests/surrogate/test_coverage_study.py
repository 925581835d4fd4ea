"""The study of coverage runs from one command, makes nothing twice, and its words follow from its numbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))  # last: no script takes the name of a package

import band_coverage as study  # noqa: E402


def row(coverage: list[float], **bounds: float) -> dict:
    """A forecaster whose error is 0.1 at each lead time."""
    told = {
        name: {
            "level": 0.9, "calibrated": 150, "tested": 400, "coverage": coverage, "error": [0.1] * len(coverage),
            "interval": [[share - 0.03, share + 0.02] for share in coverage], "bound": [bounds[name]] * len(coverage),
        }
        for name in study.SCALES
    }  # fmt: skip
    about = {"preset": "packing", "model": "one", "frame_interval": 0.25, "fitted": 50, "machine": "a machine"}
    return {**about, **told, "milliseconds": {"forecast": 0.3, "band": 0.2}, "date": "2026-01-01", "revision": "abc"}


def test_the_words_follow_from_the_numbers() -> None:
    text = study.table([row([0.88, 0.9, 0.92, 0.86, 0.91, 0.9, 0.94, 0.89], constant=0.14, defect=0.13, band=0.12)])
    assert "| packing | one | 50, 150, 400 | 1.00 | 0.860 (0.830 to 0.880) | 0.120 | 0.100 |" in text
    assert "| packing | one | 0.900 | 0.860 | 0.940 | 1.40 | 1.30 | 1.20 | 0.30 | 0.20 |" in text
    assert "packing, one: within 3 % of 90%? YES in the mean over the lead times (90.0%), and at 75% of them." in text
    assert "? NO in the mean" in study.answer(row([0.8, 0.9], constant=1, defect=1, band=1))


@pytest.mark.skipif(find_spec("dolfinx") is None, reason="the truth needs dolfinx")
def test_the_study_runs_and_a_second_call_makes_nothing_twice(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "benchmarks" / "band_coverage.py", "--quick", "--preset", "random",
               "--models", ROOT / "data/models/demo/pruned.safetensors", "--folder", tmp_path]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def run() -> tuple[str, dict]:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=500)
        assert done.returncode == 0, done.stderr
        (line,) = (tmp_path / "quick" / "coverage.jsonl").read_text().splitlines()
        return done.stdout, json.loads(line)

    text, line = run()
    assert text.strip() == (tmp_path / "quick" / "coverage.md").read_text().strip()
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.hdf5")}
    logs = {path: path.read_text() for path in (tmp_path / "lines").glob("*.jsonl")}
    assert len(logs) == 2 and line["band"]["tested"] == 24 and line["band"]["calibrated"] + line["fitted"] >= 16

    # Of one medium the line is lost, as by a kill: it is measured again, and nothing else is made.
    (tested,) = (path for path in logs if "testing" in path.name)
    tested.write_text("".join(logs[tested].splitlines(keepends=True)[:-1]))
    _, again = run()
    assert again["band"] == line["band"] and {path: path.stat().st_mtime_ns for path in made} == made
    assert {path: sorted(path.read_text().splitlines()) for path in logs} == {
        path: sorted(text.splitlines()) for path, text in logs.items()
    }

    # What it counts is what its own lines say.
    (own,) = (tmp_path / "lines").glob("*.band.json")
    band, lines = json.loads(own.read_text()), [json.loads(text) for text in logs[tested].splitlines()]
    within = [
        np.array(one["errors"])
        <= np.array(band["quantiles"]) * np.exp(np.sum(np.array(band["exponents"]) * one["features"], axis=1))
        for one in lines
    ]
    np.testing.assert_allclose(line["band"]["coverage"], np.mean(within, axis=0), atol=1e-5)
