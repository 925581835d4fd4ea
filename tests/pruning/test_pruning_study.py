"""The study of pruning runs from one command, and its words follow from its numbers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))  # last: no script takes the name of a package

import pruning  # noqa: E402
import pruning_answers  # noqa: E402
import pruning_choice  # noqa: E402
import pruning_tables  # noqa: E402
from apriori import Scale  # noqa: E402
from pruning import key_of, of_these_settings  # noqa: E402
from pruning_arms import COLLAPSE, FAMILIES, SEEDS, STUDY, TEACHER, Arm, arms  # noqa: E402
from pruning_choice import AT_ONCE, REWOUND, TRAINED_ON, Study  # noqa: E402

from wavesim.errors import WavesimError  # noqa: E402
from wavesim.pruning import METHODS  # noqa: E402
from wavesim.pruning.loop import restart_of  # noqa: E402

Course = list[tuple[float, float, float]]


def line(name: str, family: str, course: Course, seed: int = 0, steps: int = 0, **more: object) -> dict:
    """A pruning whose rounds have these (density, error, index); it rewinds, or goes on by so many steps a round."""
    rounds = [
        {"round": k, "density": density, "validation_error": error, "pq_index": index, "stored_bytes": 1000 * density,
         "milliseconds": 1 + density, "masked_milliseconds": 2.0, "parameters": 100, "steps": (steps or 400) * (k > 0)}
        for k, (density, error, index) in enumerate(course)
    ]  # fmt: skip
    group = "uncut" if name in (REWOUND, TRAINED_ON, AT_ONCE) else "methods"
    about = {"group": group, "name": name, "family": family, "preset": "packing", "seed": seed, "rounds": rounds}
    about |= {"key": f"{name}, {family}, {seed}", "going_on": steps > 0, "before": 0, "result": len(rounds) - 1}
    about |= {"exponents": [1.0, 2.0]}
    return {**about, **more}


def uncut(family: str = "classical", error: float = 0.1, on: tuple[float, ...] = (0.09, 0.08), seed: int = 0) -> list:
    """What is uncut: trained twice more from the beginning, to that error in the mean, going on by 100 steps a round,
    and by 400 at once to four fifths of the error."""
    rewound = line(REWOUND, family, [(1.0, one * error, 0.2) for one in (1.0, 0.9, 1.1)], seed)
    further = [(1.0, error, 0.2), *((1.0, one, 0.2) for one in on)]
    at_once = line(AT_ONCE, family, [(1.0, error, 0.2), (1.0, 0.8 * error, 0.2)], seed, 400)
    return [rewound, line(TRAINED_ON, family, further, seed, 100), at_once]


def judged(rows: list, test: dict[str, float] | None = None, faster: float = 1.0) -> Study:
    """All rounds judged: errors on test data are those of validation, times `test` by name."""
    seen = {
        (row["key"], k): {"test_error": one["validation_error"] * (test or {}).get(row["name"], 1.0),
                          "milliseconds": 1.0, "classical_milliseconds": faster}
        for row in rows for k, one in enumerate(row["rounds"])
    }  # fmt: skip
    return Study(rows, seen)


SAP = [(1.0, 0.10, 0.2), (0.5, 0.105, 0.15), (0.2, 0.108, 0.18), (0.1, 0.2, 0.1)]
TICKET = [(1.0, 0.10, 0.2), (0.5, 0.109, 0.2), (0.2, 0.3, 0.2), (0.1, 0.4, 0.2)]


def test_an_error_is_read_against_what_is_uncut_after_as_many_steps():
    going_on = line("sap, fine-tuned", "classical", [(1.0, 0.1, 0.2), (0.6, 0.09, 0.2), (0.3, 0.09, 0.2)], steps=100)
    at_once = line("one-shot", "classical", [(1.0, 0.1, 0.2), (0.3, 0.09, 0.2)], steps=400)
    further = line("then", "classical", [(0.5, 0.09, 0.2), (0.3, 0.088, 0.2)], steps=100, before=100)
    study = Study([*uncut(), line("sap", "classical", SAP), going_on, at_once, further], {})
    rewound = study.rows[3]
    assert [study.times(rewound, k) for k in range(4)] == pytest.approx([1, 1.05, 1.08, 2])
    assert [study.times(going_on, k) for k in (0, 1, 2)] == pytest.approx([1, 0.09 / 0.085, 0.09 / 0.085])
    assert [study.times(at_once, k) for k in (0, 1)] == pytest.approx([1, 0.09 / 0.08])
    assert [study.times(further, k) for k in (0, 1)] == pytest.approx([0.09 / 0.085, 0.088 / 0.085])
    assert [study.last_within(row) for row in (rewound, going_on, at_once, further)] == [2, 2, 0, 1]
    assert Study([rewound], {}).last_within(rewound) is None  # nothing to read it against
    longer = {**further, "before": 300}
    assert study.times(longer, 0) is None  # nothing that is uncut went on for as long
    idle = {**going_on, "rounds": [{**one, "steps": 0} for one in going_on["rounds"]]}
    assert study.times(idle, 1) == pytest.approx(0.9)  # a round that cut nothing trained nothing
    refused = {**study.rows[0], "rounds": []}
    assert Study([refused, rewound], {}).chosen() == []


def test_the_words_follow_from_the_numbers(tmp_path):
    rows = [*uncut(), *uncut("one-way"), line("sap", "classical", SAP)]
    rows += [line("sap (1, 2)", "classical", SAP[:2] + SAP[3:]), line("lottery-ticket", "classical", TICKET)]
    rows += [line(COLLAPSE, "classical", SAP), line("lottery-ticket", "one-way", TICKET[:1] + TICKET[2:])]
    pruning_tables.write(judged(rows), tmp_path)
    text = (tmp_path / "pruning.md").read_text()
    assert (
        "in scope layer: sap 0.200, sap (1, 2) 0.500, lottery-ticket 0.500; sap leaves fewer than the lottery " in text
    )
    assert "ticket in 1 of 1 seeds." in text
    assert "in scope global" not in text  # the lottery ticket of that scope is not there
    assert "falls from 0.200 to 0.150 (round 1, density 0.500, 1.05 times the error), rises from 0.150 to 0.180" in text
    assert "falls from 0.180 to 0.100 (round 3, density 0.100, 2.00 times the error)" in text
    assert (
        "leaves less to prune: by the lottery ticket the classical forecaster goes down to a density of 0.500" in text
    )
    assert "the one-way one to 1.000." in text
    assert "| classical | sap | 1 of 1 | 0.200 | 0.20 | 1.000 | 0 | 1.08 | 1.08 |" in text
    assert (tmp_path / "pruning_packing.png").stat().st_size > 10_000


def test_who_has_not_failed_has_not_come_to_an_end(tmp_path):
    rows = [*uncut(), line("sap", "classical", SAP[:3]), line("sap (1, 2)", "classical", SAP[:2])]
    rows += [line("lottery-ticket", "classical", TICKET)]
    pruning_tables.write(judged(rows), tmp_path)
    text = (tmp_path / "pruning.md").read_text()
    assert "sap 0.200 or less, sap (1, 2) 0.500 or less, lottery-ticket 0.500; not decided, for not all came" in text
    assert "| classical | sap | 1 of 1 | ≤ 0.200 |" in text


def test_seeds_that_differ_decide_nothing():
    rows = [row for seed in (0, 1) for row in (*uncut(seed=seed), *uncut("one-way", seed=seed))]
    rows += [line("lottery-ticket", "classical", TICKET, 0), line("lottery-ticket", "classical", SAP, 1)]
    rows += [line("lottery-ticket", "one-way", SAP, 0), line("lottery-ticket", "one-way", TICKET, 1)]
    assert "a priori is not decided by the seeds" in "\n".join(pruning_answers.answers(judged(rows)))


def test_between_rounds_errors_are_read_off_in_logarithms():
    study = Study([*uncut(), line("sap", "classical", [(1.0, 0.1, 0.2), (0.25, 0.4, 0.2), (0.2, 0.5, 0.2)])], {})
    row = study.rows[3]
    assert pruning_tables.times_at(study, row, 0.5) == pytest.approx(2)
    assert pruning_tables.times_at(study, row, 0.25) == pytest.approx(4)
    assert pruning_tables.times_at(study, row, 0.1) is None
    at_once = {**row, "rounds": row["rounds"][:2]}
    assert [pruning_tables.times_at(study, at_once, density) for density in (0.5, 0.25)] == [None, pytest.approx(4)]


def test_random_weights_stand_beside_what_they_are_compared_with():
    random = line("random, counts of sap", "classical", [(1.0, 0.1, 0.2), (0.1, 0.4, 0.2)])
    text = "\n".join(pruning_answers.answers(judged([*uncut(), line("sap", "classical", SAP), random])))
    assert "as many in each tensor: sap 0.50 times its error, better in 1 of 1." in text


def test_a_round_that_found_nothing_to_cut_is_no_success(tmp_path):
    idle = line("structured-sap", "classical", [(1.0, 0.1, 0.2), (1.0, 0.1, 0.2), (0.5, 0.2, 0.1)])
    pruning_tables.write(judged([*uncut(), idle]), tmp_path)
    text = (tmp_path / "pruning.md").read_text()
    assert "| classical | structured-sap | 0 of 1 |  |  |  |  | best 2.00 |  |" in text
    assert "no pruned forecaster is within" in text


def test_what_breaks_is_told_at_the_end_and_has_no_line(tmp_path, monkeypatch):
    def broken(*_):
        raise ValueError("a defect")

    monkeypatch.setattr(pruning, "finished", broken)
    monkeypatch.setattr(sys, "argv", ["pruning.py", "--quick", "--groups", "scopes", "--folder", str(tmp_path)])
    monkeypatch.setattr(pruning, "QUICK_ARMS", (COLLAPSE,))
    with pytest.raises(SystemExit, match="12 broke, as told above"):
        pruning.main()
    assert not (tmp_path / "quick" / "runs.jsonl").exists()


def test_a_pruning_that_is_worse_wins_nothing_nor_does_what_is_uncut():
    worse = line("sap", "classical", [(1.0, 0.12, 0.2), (0.1, 0.2, 0.1)])
    assert "no pruned forecaster is within" in pruning_answers.answers(judged([*uncut(), worse]))[-1]


def test_winners_are_chosen_on_validation_data_and_the_aim_is_judged_on_both():
    def shrunk(name: str, bits: float, error: float) -> dict:
        return line(name, "classical", [(1.0, 0.1, 0.2), (1 / bits, error, 0.2)])

    rows = [*uncut(), shrunk("sap", 8, 0.105), shrunk("espn", 20, 0.2)]
    chosen, aim = pruning_answers.answers(judged(rows, {"sap": 3, "espn": 0.5}, 2))[-2:]
    said = (
        "the smallest is classical pruned by sap, 8.0 times fewer stored bits, 2.0 times fewer milliseconds, 3.15 times"
    )
    assert said in chosen
    assert aim.endswith("is not met.")
    rows = [*uncut(), shrunk("sap", 120, 0.105)]
    met = pruning_answers.answers(judged(rows, faster=11))[-1]
    assert (
        "100 times fewer stored bits and 10 times fewer milliseconds, is met by classical pruned by sap: 120.0" in met
    )
    assert "is met on validation data alone" in pruning_answers.answers(judged(rows, {"sap": 1.3}, 11))[-1]
    assert pruning_answers.answers(judged(rows, faster=9))[-1].endswith("is not met.")


def test_what_takes_the_classical_ones_place_is_read_against_it():
    """The one-way forecaster is half as wrong: pruned until it is 1.8 times as wrong it is as good as the classical."""
    rows = [
        *uncut(),
        *uncut("one-way", 0.05, (0.05, 0.05)),
        line("sap", "one-way", [(1.0, 0.05, 0.2), (0.1, 0.09, 0.2)]),
    ]
    study = judged(rows, faster=20)
    row = study.rows[-1]
    assert (study.last_within(row), study.last_within(row, "classical")) == (0, 1)
    assert "one-way pruned by sap, 10.0 times fewer stored bits" in pruning_answers.answers(study)[-2]


def test_only_what_validation_chose_is_judged_and_no_round_twice(tmp_path, monkeypatch):
    rows = [*uncut(), line("sap", "classical", SAP)]
    seen = []
    monkeypatch.setattr(pruning_choice, "load", lambda path: path)
    monkeypatch.setattr(pruning_choice, "errors_on", lambda path, data, split: seen.append((path, split)) or (0.1, 0.2))
    monkeypatch.setattr(pruning_choice, "_milliseconds", lambda path, classical, data: {"milliseconds": 1.0})
    networks = {row["key"]: tmp_path / row["name"] for row in rows}
    for row in rows:
        for number in range(len(row["rounds"])):
            path = pruning_choice.network(networks[row["key"]], number)
            path.parent.mkdir(exist_ok=True)
            path.touch()
    for _ in range(2):
        pruning_choice.judge(rows, networks, {"packing": tmp_path}, tmp_path)
    sap, rewound = (tmp_path / name for name in ("sap", REWOUND))
    chosen = [sap / "round_2.safetensors", *(rewound / f"round_{k}.safetensors" for k in (1, 2))]
    assert seen == [(path, "test") for path in chosen]
    assert pruning_choice.read(rows, tmp_path).test_times(rows[-1], 2) == 1


def test_a_refusal_is_a_line_that_says_why_and_keeps_the_rounds_before_it(tmp_path, monkeypatch):
    def refuse(*_):
        raise WavesimError("the forecasts blow up")

    monkeypatch.setattr(pruning, "finished", refuse)
    arm = next(arm for arm in arms() if arm.name == "sap (1, 2)")
    who = {"group": arm.group, "name": arm.name, "preset": arm.preset, "family": arm.family, "seed": 0, "key": "a"}
    found = {**who, **pruning.told(arm, 0, Scale(), tmp_path)}
    assert found["refused"] == "the forecasts blow up" and found["rounds"] == []
    of_before = {**line("sap", "classical", SAP[:2]), "refused": "the forecasts blow up"}
    pruning_tables.write(judged([found, *uncut(), of_before]), tmp_path)
    text = (tmp_path / "pruning.md").read_text()
    assert f"- *{arm.preset}, {arm.family}*, sap (1, 2), seed 0, in round 1: the forecasts blow up" in text
    assert "- *packing, classical*, sap, seed 0, in round 2: the forecasts blow up" in text
    assert "| classical | sap | 1 of 1 | ≤ 0.500 |" in text


def test_the_index_turns_where_it_comes_back_by_more_than_noise():
    turns = pruning_answers._turns
    assert turns(np.array([0.2, 0.15, 0.155, 0.1, 0.1, 0.3, 0.31, 0.2])) == [0, 3, 6, 7]
    assert turns(np.array([0.2, 0.205, 0.2])) == [0]
    own = [line(COLLAPSE, "classical", [(1.0, 0.1, 0.2), (0.5, 0.1, 0.1), (0.2, 0.2, 0.3), (0.1, 0.9, 0.1)])]
    assert pruning_answers._course(Study([*uncut(), *own], {}), own).endswith("; it falls, rises and falls")
    assert "does not fall" in pruning_answers._course(
        Study([*uncut(), own[0]], {}), [line(COLLAPSE, "classical", SAP[:2])]
    )


def test_autosparse_stands_beside_its_scores_shuffled():
    rows = [line("autosparse, 0.3", "classical", SAP[:2]), line("autosparse-shuffled, 0.3", "classical", TICKET[:2])]
    text = "\n".join(pruning_answers.answers(judged([*uncut(), *rows])))
    assert "autosparse, 0.3: 0.96 times the error of its scores shuffled, better in 1 of 1." in text


def test_rank_correlations_are_printed(tmp_path):
    held = {"held out": "layers", "weights": 99, "regressor": 0.31, "|theta|": 0.25, "|g theta|": -0.02}
    own = line("autosparse, 0.3", "classical", SAP[:2], held_out=[held], pupil={**held, "regressor": 0.11})
    pruning_tables.write(judged([*uncut(), own]), tmp_path)
    text = (tmp_path / "pruning.md").read_text()
    assert "lifetimes of layers held out, regressor 0.31, |theta| 0.25, |g theta| -0.02." in text
    assert "lifetimes of the forecaster that it prunes, regressor 0.11, |theta| 0.25, |g theta| -0.02." in text


def test_autosparse_learns_from_where_its_weights_are_scored_and_published_restarts_stand():
    learning = [arm for arm in arms() if "autosparse" in arm.name or arm.name == TEACHER]
    assert {arm.settings(False).rewind_to for arm in learning} == {10}
    other = (", fine-tuned", TRAINED_ON, AT_ONCE, ", fine-tuned, 0.3", "then lottery-ticket")
    of_random = {"one-shot, 0.1", "greg-1, 0.1"}  # which go on
    for arm in arms():
        settings = arm.settings(False)
        on = arm.name.endswith(other) or arm.like in of_random
        assert restart_of(settings) == ("fine-tune" if on else METHODS[settings.method].restart)


def goes_on(arm: Arm) -> bool:
    return pruning.about(arm, STUDY)["going_on"]


def steps(arm: Arm) -> int:
    """Of a round, at most."""
    pruned = arm.settings(False)
    return METHODS[pruned.method].trainings * pruned.iterations


def test_every_method_is_there_and_a_control_trains_as_long_as_what_it_is_compared_with():
    found = arms()
    assert {arm.changes["method"] for arm in found if arm.family == "classical"} == METHODS.keys()
    of = {(arm.name, arm.preset, arm.family): arm for arm in found}
    for arm in found:
        if arm.like:
            other = of[arm.like, arm.preset, arm.family]
            assert goes_on(arm) == goes_on(other)
            if goes_on(arm) and arm.like != "structured-sap":  # that trains as often as it cuts; errors are read so
                assert steps(arm) == steps(other)
            assert arm.changes.get("rewind_to", 0) == of[arm.like, arm.preset, arm.family].changes.get("rewind_to", 0)


def test_every_arm_has_settings_and_a_key_of_its_own():
    found = arms()
    assert len({key_of(arm, 0, Scale()) for arm in found}) == len(found)
    names = {(arm.name, arm.preset, arm.family) for arm in found}
    assert len(names) == len(found) and {family for _, _, family in names} == FAMILIES.keys()
    for arm in found:
        assert arm.settings(False).method == arm.changes["method"]
        assert {(name, arm.preset, arm.family) for name in (arm.like, arm.after) if name} <= names
    assert len(pruning.networks_of(STUDY, Path("runs"))) == SEEDS * len(found)


def test_prunings_with_other_settings_are_in_no_table():
    arm: Arm = arms()[0]
    own = line(arm.name, arm.family, SAP, preset=arm.preset, key=key_of(arm, 0, Scale()))
    others = [{**own, "key": "another"}, {**own, "name": "an arm that there was"}]
    assert of_these_settings([own, *others], Scale()) == [own]


def test_the_table_in_the_repository_is_that_of_its_lines(tmp_path):
    """All but its first words, which are the machine's and the day's."""
    for name in ("runs.jsonl", "chosen.jsonl"):
        shutil.copy(pruning.RESULTS / name, tmp_path)
    command = [sys.executable, BENCHMARKS / "pruning.py", "--finished", "--folder", tmp_path, "--out", tmp_path]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    kept, made = ((folder / "pruning.md").read_text().split("; ", 1)[1] for folder in (pruning.RESULTS, tmp_path))
    assert kept == made


@pytest.mark.skipif(find_spec("dolfinx") is None, reason="the truth needs dolfinx")
def test_the_study_runs_and_is_not_run_twice(tmp_path):
    command = [sys.executable, BENCHMARKS / "pruning.py", "--quick", "--presets", "random-32",
               "--seeds", "1", "--folder", tmp_path / "runs", "--out", tmp_path / "out"]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=500)
        assert done.returncode == 0, done.stderr
    lines = [json.loads(text) for text in (tmp_path / "out" / "runs.jsonl").open()]
    names = (REWOUND, TRAINED_ON, AT_ONCE, "sap (1, 2)", "random, counts of sap (1, 2)")
    of_families = [name for name in names for _ in FAMILIES] + ["structured-sap"] * 2
    assert [row["name"] for row in lines] == of_families
    rewound, _, _, sap, random = (row["rounds"] for row in lines[0:15:3])
    assert random[-1]["nonzero"] == pytest.approx(sap[-1]["nonzero"], abs=2) and len(random) == 2 < len(sap)
    assert rewound[0]["nonzero"] <= rewound[1]["nonzero"]
    assert rewound[0]["validation_error"] != rewound[1]["validation_error"]  # it was trained all the same
    assert "The questions" in (tmp_path / "out" / "pruning.md").read_text()
