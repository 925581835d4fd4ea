"""The study of pruning runs from one command, and its words follow from its numbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))  # last: no script takes the name of a package

import pruning_tables  # noqa: E402
from apriori import Scale  # noqa: E402
from pruning import Arm, arms, key_of, of_these_settings  # noqa: E402


def line(name: str, family: str, courses: list[tuple[float, float, float]], seed: int = 0, **more: object) -> dict:
    """A pruning whose rounds have these (density, error, index)."""
    rounds = [
        {"round": k, "density": density, "validation_error": error, "pq_index": index, "stored_bytes": 1000 * density,
         "milliseconds": 1 + density, "masked_milliseconds": 2.0}
        for k, (density, error, index) in enumerate(courses)
    ]  # fmt: skip
    about = {"group": "methods", "name": name, "family": family, "preset": "packing", "seed": seed, "rounds": rounds}
    return {**about, "dense_test_error": courses[0][1], "test_error": courses[-1][1], **more}


SAP = [(1.0, 0.10, 0.2), (0.5, 0.105, 0.15), (0.2, 0.108, 0.18), (0.1, 0.2, 0.1)]
TICKET = [(1.0, 0.10, 0.2), (0.5, 0.109, 0.2), (0.2, 0.3, 0.2), (0.1, 0.4, 0.2)]


def test_the_words_follow_from_the_numbers(tmp_path):
    rows = [line("sap", "classical", SAP), line("lottery-ticket", "classical", TICKET)]
    rows += [line("sap (1, 2), global", "classical", SAP), line("lottery-ticket", "one-way", TICKET[:1] * 4)]
    pruning_tables.write(rows, tmp_path)
    text = (tmp_path / "pruning.md").read_text()
    assert "in scope layer: SAP 0.20, lottery ticket 0.50" in text
    assert "falls from 0.20 to 0.15 (round 1, error 1.05 times), rises from 0.15 to 0.18 (round 2" in text
    assert "falls from 0.18 to 0.10 (round 3, error 2.00 times)" in text
    assert "leaves less to prune: by the lottery ticket the classical forecaster goes down to a density of 0.50" in text
    assert "the one-way one to 1.00" in text
    assert "the smallest is one-way pruned by lottery-ticket, 1.0 times" in text
    assert (tmp_path / "pruning_packing.png").stat().st_size > 10_000


def test_a_pruning_that_is_worse_wins_nothing():
    assert "no pruned forecaster stays" in pruning_tables.answers([line("sap", "classical", SAP)])[-1]


def test_every_arm_has_settings_and_a_key_of_its_own():
    found = arms()
    assert len({key_of(arm, 0, Scale()) for arm in found}) == len(found)
    names = {(arm.name, arm.preset, arm.family) for arm in found}
    for arm in found:
        assert arm.settings(False).method == arm.changes["method"]
        assert arm.like is None or (arm.like, arm.preset, arm.family) in names


def test_prunings_with_other_settings_are_in_no_table():
    arm: Arm = arms()[0]
    own = line(arm.name, arm.family, SAP, key=key_of(arm, 0, Scale()))
    assert of_these_settings([own, {**own, "key": "another"}, {**own, "name": "an arm that there was"}], Scale()) == [
        own
    ]


@pytest.mark.skipif(find_spec("dolfinx") is None, reason="the truth needs dolfinx")
def test_the_study_runs_and_is_not_run_twice(tmp_path):
    command = [sys.executable, BENCHMARKS / "pruning.py", "--quick", "--groups", "methods", "--presets", "random",
               "--seeds", "1", "--folder", tmp_path / "runs", "--out", tmp_path / "out"]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=500)
        assert done.returncode == 0, done.stderr
    lines = [json.loads(text) for text in (tmp_path / "out" / "runs.jsonl").open()]
    assert [row["name"] for row in lines] == [
        name for name in ("sap", "random, counts of sap", "structured-sap") for _ in range(2)
    ]
    sap, random = (row["rounds"] for row in lines[0:4:2])
    assert [round_["nonzero"] for round_ in sap] == pytest.approx([round_["nonzero"] for round_ in random], abs=2)
    assert "The questions" in (tmp_path / "out" / "pruning.md").read_text()
