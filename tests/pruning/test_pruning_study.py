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

import pruning  # noqa: E402
import pruning_tables  # noqa: E402
from apriori import Scale  # noqa: E402
from pruning import Arm, arms, key_of, of_these_settings  # noqa: E402

from wavesim.errors import WavesimError  # noqa: E402
from wavesim.pruning import METHODS  # noqa: E402
from wavesim.pruning.loop import restart_of  # noqa: E402


def line(name: str, family: str, courses: list[tuple[float, float, float]], seed: int = 0, **more: object) -> dict:
    """A pruning whose rounds have these (density, error, index)."""
    rounds = [
        {"round": k, "density": density, "validation_error": error, "pq_index": index, "stored_bytes": 1000 * density,
         "milliseconds": 1 + density, "masked_milliseconds": 2.0}
        for k, (density, error, index) in enumerate(courses)
    ]  # fmt: skip
    about = {"group": "methods", "name": name, "family": family, "preset": "packing", "seed": seed, "rounds": rounds}
    about["iterations"] = 400 * (len(courses) - 1)
    return {**about, "dense_test_error": courses[0][1], "test_error": courses[-1][1], **more}


def shrunk(bits: float, time: float, validation: float, test: float, name: str = "sap") -> dict:
    """A pruning of the classical forecaster to so many times fewer bits and milliseconds, at these errors."""
    ends = [(1.0, 1.0, 0.1), (1 / bits, 1 / time, validation)]
    rounds = [
        {"round": k, "density": b, "validation_error": e, "pq_index": 0.2, "stored_bytes": 1e6 * b, "milliseconds": t,
         "masked_milliseconds": 1.0}
        for k, (b, t, e) in enumerate(ends)
    ]  # fmt: skip
    return {**line(name, "classical", TICKET), "rounds": rounds, "dense_test_error": 0.1, "test_error": test}


UNCUT = ("uncut, rewound", "uncut, trained on")
SAP = [(1.0, 0.10, 0.2), (0.5, 0.105, 0.15), (0.2, 0.108, 0.18), (0.1, 0.2, 0.1)]
TICKET = [(1.0, 0.10, 0.2), (0.5, 0.109, 0.2), (0.2, 0.3, 0.2), (0.1, 0.4, 0.2)]


def test_the_words_follow_from_the_numbers(tmp_path):
    rows = [line("sap", "classical", SAP), line("sap (1, 2)", "classical", SAP[:2] + SAP[3:])]
    rows += [line("lottery-ticket", "classical", TICKET)]
    rows += [line("sap (1, 2), global", "classical", SAP), line("lottery-ticket", "one-way", TICKET[:1] * 4)]
    pruning_tables.write(rows, tmp_path)
    text = (tmp_path / "pruning.md").read_text()
    assert "in scope layer: sap 0.20, sap (1, 2) 0.50, lottery-ticket 0.50" in text
    assert "in scope global" not in text  # the lottery ticket of that scope is not there
    assert "falls from 0.20 to 0.15 (round 1, error 1.05 times), rises from 0.15 to 0.18 (round 2" in text
    assert "falls from 0.18 to 0.10 (round 3, error 2.00 times)" in text
    assert "leaves less to prune: by the lottery ticket the classical forecaster goes down to a density of 0.50" in text
    assert "the one-way one to 1.00" in text
    assert "the smallest is one-way pruned by lottery-ticket, 1.0 times fewer stored bits, 1.0 times fewer" in text
    assert "10 times fewer milliseconds, is not met." in text
    assert (tmp_path / "pruning_packing.png").stat().st_size > 10_000


def test_a_pruning_that_is_worse_wins_nothing():
    assert "no pruned forecaster stays" in pruning_tables.answers([line("sap", "classical", SAP)])[-1]


def test_what_is_uncut_wins_nothing():
    rows = [line("sap", "classical", SAP), line("uncut, rewound", "classical", SAP[:1] * 2, group="uncut")]
    assert "no pruned forecaster stays" in pruning_tables.answers(rows)[-1]


def test_winners_are_chosen_on_validation_data_and_the_aim_is_judged_on_both():
    by_validation = [shrunk(8, 2, 0.105, 0.3, "sap"), shrunk(20, 4, 0.2, 0.1, "espn")]
    chosen, aim = pruning_tables.answers(by_validation)[-2:]
    assert (
        "the smallest is classical pruned by sap, 8.0 times fewer stored bits, 2.0 times fewer milliseconds, 3.00"
        in (chosen)
    )
    assert aim.endswith("is not met.")
    met = pruning_tables.answers([shrunk(120, 11, 0.105, 0.104)])[-1]
    assert (
        "100 times fewer stored bits and 10 times fewer milliseconds, is met by classical pruned by sap: 120.0" in met
    )
    assert "is met on validation data alone" in pruning_tables.answers([shrunk(120, 11, 0.105, 0.13)])[-1]
    assert pruning_tables.answers([shrunk(120, 9, 0.105, 0.1)])[-1].endswith("is not met.")


def test_a_refusal_is_a_line_that_says_why_and_ends_nothing(tmp_path, monkeypatch):
    def refuse(*_):
        raise WavesimError("density 1e-9 leaves 0")

    monkeypatch.setattr(pruning, "finished", refuse)
    arm = arms()[0]
    found = pruning.told(arm, 0, Scale(), tmp_path)
    assert found["refused"] == "density 1e-9 leaves 0"
    about = {"group": arm.group, "name": arm.name, "preset": arm.preset, "family": arm.family, "seed": 0}
    pruning_tables.write([{**about, **found}, line("sap", "one-way", SAP)], tmp_path)
    text = (tmp_path / "pruning.md").read_text()
    assert f"- *{arm.preset}, {arm.family}*, {arm.name}, seed 0: density 1e-9 leaves 0" in text
    assert "; 1 prunings." in text


def test_held_out_rank_correlations_are_printed(tmp_path):
    held = {"held out": "layers", "weights": 99, "regressor": 0.31, "|theta|": 0.25, "|g theta|": -0.02}
    pruning_tables.write([line("autosparse", "classical", SAP, held_out=[held])], tmp_path)
    said = (
        "classical, autosparse: rank correlation with lifetimes held out, regressor 0.31, |theta| 0.25, |g theta| -0.02"
    )
    assert said in (tmp_path / "pruning.md").read_text()


def test_autosparse_learns_from_where_its_weights_are_scored_and_published_restarts_stand():
    by_name = {arm.name: arm for arm in arms()}
    teacher, pupils = by_name[pruning.TEACHER], (by_name["autosparse"], by_name["autosparse-shuffled"])
    assert {arm.settings(False).rewind_to for arm in (teacher, *pupils)} == {10}
    for arm in arms():
        own = METHODS[arm.settings(False).method].restart
        assert restart_of(arm.settings(False)) == (
            "fine-tune" if arm.name.endswith((", fine-tuned", ", trained on")) else own
        )


def test_every_arm_has_settings_and_a_key_of_its_own():
    found = arms()
    assert len({key_of(arm, 0, Scale()) for arm in found}) == len(found)
    names = {(arm.name, arm.preset, arm.family) for arm in found}
    for arm in found:
        assert arm.settings(False).method == arm.changes["method"]
        assert arm.like is None or (arm.like, arm.preset, arm.family) in names


def test_prunings_with_other_settings_are_in_no_table():
    arm: Arm = arms()[0]
    own = line(arm.name, arm.family, SAP, preset=arm.preset, key=key_of(arm, 0, Scale()))
    assert of_these_settings([own, {**own, "key": "another"}, {**own, "name": "an arm that there was"}], Scale()) == [
        own
    ]


@pytest.mark.skipif(find_spec("dolfinx") is None, reason="the truth needs dolfinx")
def test_the_study_runs_and_is_not_run_twice(tmp_path):
    command = [sys.executable, BENCHMARKS / "pruning.py", "--quick", "--presets", "random-32",
               "--seeds", "1", "--folder", tmp_path / "runs", "--out", tmp_path / "out"]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=500)
        assert done.returncode == 0, done.stderr
    lines = [json.loads(text) for text in (tmp_path / "out" / "runs.jsonl").open()]
    assert [row["name"] for row in lines] == [
        name for name in ("sap (1, 2)", "random, counts of sap (1, 2)", *UNCUT, "structured-sap") for _ in range(2)
    ]
    sap, random, rewound = (row["rounds"] for row in lines[0:6:2])
    assert random[-1]["nonzero"] == pytest.approx(sap[-1]["nonzero"], abs=2) and len(random) == 2 < len(sap)
    assert rewound[0]["nonzero"] <= rewound[1]["nonzero"]
    assert rewound[0]["validation_error"] != rewound[1]["validation_error"]  # it was trained all the same
    assert "The questions" in (tmp_path / "out" / "pruning.md").read_text()
