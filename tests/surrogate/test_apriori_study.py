"""The study of a-priori compression runs from one command, and its words follow from its numbers."""

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
from scipy.stats import t as student

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))  # last: no script takes the name of a package

import apriori_tables  # noqa: E402
from apriori import RESULTS, Scale, iterations_of, jobs, key_of, of_these_settings, timed  # noqa: E402
from apriori_arms import CLASSICAL, ONE_WAY, THINNED, arms  # noqa: E402
from apriori_claims import claims  # noqa: E402
from apriori_costs import SHARES, UNROLLS, of_a_training  # noqa: E402

from wavesim.config import ForecasterConfig  # noqa: E402
from wavesim.surrogate import Forecaster  # noqa: E402


def line(name: str, seed: int, error: float, parameters: int, **more: object) -> dict:
    curve = {"first_frames": error / 2, "one_crossing": error, "last_frame": 2 * error}
    about = {"group": "main", "preset": "packing", "size": None, "macs": 1e6, "bytes": 4 * parameters, "seconds": 9.0}
    splits = {"train": curve, "valid": curve, "test": curve}
    return {**about, **splits, "name": name, "seed": seed, "parameters": parameters, **more}


COST = {
    CLASSICAL: {"onnx_milliseconds": 2.0, "compiled_milliseconds": 1.0, "training_milliseconds": 100.0,
                               "training_bytes": 4e6, "prediction_bytes": 1e6},
    ONE_WAY: {"onnx_milliseconds": 1.0, "compiled_milliseconds": 0.25, "training_milliseconds": 300.0,
                             "training_bytes": 8e6, "prediction_bytes": 3e6},
}  # fmt: skip


def test_the_words_follow_from_the_numbers(tmp_path):
    rows = [line(CLASSICAL, seed, error, 1000) for seed, error in enumerate((0.1, 0.2))]
    rows += [line(ONE_WAY, seed, error, 200) for seed, error in enumerate((0.16, 0.2))]
    rows += [line("one-way, rank 8, 5 taps", 0, 0.14, 100), line("classical, 4 channels", 0, 0.3, 210, group="thin")]
    apriori_tables.write(rows, COST, tmp_path)
    text = (tmp_path / "apriori.md").read_text()
    parts = np.var((0.1, 0.2), ddof=1) / 0.15**2 / 2, np.var((0.16, 0.2), ddof=1) / 0.18**2 / 2
    freedom = sum(parts) ** 2 / (parts[0] ** 2 + parts[1] ** 2)  # Welch and Satterthwaite, two seeds each
    error = np.exp(student.ppf(0.975, freedom) * np.sqrt(sum(parts)))
    said = "packings: not decided: with 0.20 of the parameters the one-way one has 1.20 "
    assert error > 10 and 0.01 < 1.2 / error < 0.1
    said += f"({1.2 / error:.2f} to {round(1.2 * error, -1):.0f}) of the error"
    assert f"{said}; one-way, rank 8, 5 taps, has 0.93 with 0.10" in text
    assert "classical, 4 channels, of as many parameters and multiply-accumulates, has 2.00." in text
    assert "*Faster prediction, in compiled loops*: holds: 0.25" in text
    assert "*Faster training in bfloat16*: does not hold: 3.00" in text and "training in float32" not in text
    assert f"0.150 ± {np.std((0.1, 0.2), ddof=1):.3f}" in text
    assert (tmp_path / "apriori.png").stat().st_size > 10_000
    short = (tmp_path / "summary.md").read_text()
    assert "| classical, 5 taps | 1,000 | 1.00 | 0.150 ± 0.071 |" in short and said in short


def test_more_training_is_no_equal_error_with_fewer_parameters():
    """The arm that trains for the classical one's seconds takes more steps than it."""
    rows = [line(CLASSICAL, 0, 0.1, 1000), line(ONE_WAY, 0, 0.2, 200)]
    rows.append(line(f"{ONE_WAY}, classical's seconds", 0, 0.05, 200, group="time", iterations=2000))
    assert claims(rows, COST)[0].endswith("has 2.00 of the error.")
    rows.append(line("sum, rank 16", 0, 0.1, 400, group="families"))
    assert claims(rows, COST)[0].endswith("; sum, rank 16, has 1.00 with 0.40.")


def test_the_aim_is_of_parameters_milliseconds_and_error_at_once():
    rows = [line(CLASSICAL, 0, 0.1, 1000), line(ONE_WAY, 0, 0.2, 200)]
    small, thin = "effective medium, one-way, 8 wide", "effective medium, classical, 3 wide"
    rows += [line(small, 0, 0.09, 49, group="networks"), line(thin, 0, 0.05, 40, group="networks")]
    cost = {**COST, thin: COST[ONE_WAY], small: {"onnx_milliseconds": 0.7, "compiled_milliseconds": 0.19}}

    def told(rows: list[dict], cost: dict) -> str:
        return next(words for words in claims(rows, cost) if "twentieth" in words)

    end = "by as many steps for effective medium, one-way, 8 wide, with 0.049, 0.190 and 0.90 of them."
    assert told(rows, cost).endswith(f"holds, with one seed {end}")
    worse = [row if row["name"] != small else {**row, "test": {"one_crossing": 0.11}} for row in rows]
    assert told(worse, cost).endswith(f"does not hold, with one seed {end.replace('0.90', '1.10')}")
    large = [row if row["name"] != small else {**row, "parameters": 51} for row in rows]
    for others, price in ((large, cost), (rows, {**cost, small: {"compiled_milliseconds": 0.21}})):
        assert told(others, price).endswith("no arm is as small and as fast.")
    longer = line(f"{small}, classical's seconds", 0, 0.08, 49, group="time", iterations=3000)
    words = end.removesuffix("."), end.replace("steps", "seconds of training").replace("0.90", "0.80")
    assert told([*rows, longer], cost).endswith(f"holds, with one seed {words[0]}; holds, with one seed {words[1]}")


def test_the_control_is_the_best_of_as_dear_ones_and_no_tie_starves_it():
    """Loops fill rows up to whole vectors: 5 to 8 channels take as long but for noise."""
    rows = [line(CLASSICAL, 0, 0.1, 1000), line(ONE_WAY, 0, 0.2, 200)]
    cost = dict(COST)
    for name, error, parameters, milliseconds in (
        ("classical, 5 channels", 0.4, 90, 0.2501),
        ("classical, 8 channels", 0.3, 260, 0.25),
        ("classical, 3 taps", 0.26, 500, 0.27),
        ("classical, 12 channels", 0.21, 700, 0.28),
    ):
        rows.append(line(name, 0, error, parameters, group="thin"))
        cost[name] = {"compiled_milliseconds": milliseconds, "onnx_milliseconds": 2.0}
    said = claims(rows, cost)[0]
    assert "; classical, 5 channels, of as many parameters, has 4.00" in said
    assert "; classical, 12 channels, of as many multiply-accumulates, has 2.10" in said
    assert "; classical, 3 taps, of as many milliseconds in compiled loops, has 2.60" in said
    assert "ONNX" not in said


def test_a_claim_is_decided_where_one_lies_outside_of_the_interval():
    pair = "effective medium, one-way, 16 wide", "effective medium, classical, 4 wide"
    rows = [line(CLASSICAL, seed, error, 1000) for seed, error in enumerate((0.1, 0.102))]
    rows += [line(ONE_WAY, seed, error, 200) for seed, error in enumerate((0.11, 0.112))]
    rows += [line(name, 0, error, 50, group="networks") for name, error in zip(pair, (0.1, 0.2), strict=True)]
    said = claims(rows, COST)
    assert "packings: does not hold: with 0.20 of the parameters the one-way one has 1.10 (1.04 to 1.16)" in said[0]
    assert "the one-way one has 0.50 of the classical one's error" in said[1]
    rows += [line(ONE_WAY, 2, 0.06, 200)]
    assert "packings: not decided: " in claims(rows, COST)[0]
    other = [{**row, "preset": "cavity", "group": "other presets"} for row in rows]
    assert any("cavities: not decided" in words for words in claims(rows + other, COST))


def test_an_arm_trains_for_anothers_seconds_with_every_seed_alike():
    arm, scale = next(arm for arm in arms() if arm.scaled), Scale()
    cost = {CLASSICAL: {"training_milliseconds": 50.0}, "classical, 7 channels": {"training_milliseconds": 40.0}}
    assert arm.name == "classical, 7 channels, classical's seconds" and arms()[0].scaled is None
    assert iterations_of(arm, scale, cost, []) == 1500 and iterations_of(arms()[0], scale, cost, []) == 1200
    assert iterations_of(arm, scale, cost, [line(arm.name, 0, 0.1, 10, iterations=1480)]) == 1480


def test_trainings_with_other_settings_are_in_no_table():
    arm, scale = arms()[0], Scale()
    own = line(arm.name, 0, 0.1, 1000, iterations=1200, key=key_of(arm, 0, scale, 1200))
    others = [
        {**own, "iterations": 600},
        {**own, "key": key_of(arm, 0, Scale(grid=32), 1200)},
        {**own, "name": "an arm that there was"},
    ]
    assert of_these_settings([own, *others], scale) == [own]


def test_a_step_of_a_training_is_the_mean_over_its_unrolls():
    step = np.array([3.0, 4.0])  # of no frames; each takes 2 and 5 milliseconds more
    mean = sum(share * (step + unroll * np.array([2.0, 5.0])) for unroll, share in zip(UNROLLS, SHARES, strict=True))
    ends = (step + unroll * np.array([2.0, 5.0]) for unroll in (UNROLLS[0], UNROLLS[-1]))
    np.testing.assert_allclose(of_a_training(*ends), mean)
    assert sum(SHARES) == pytest.approx(1)


def test_what_is_told_as_the_best_is_chosen_on_validation_data():
    rows = [line(CLASSICAL, 0, 0.1, 1000), line(ONE_WAY, 0, 0.2, 200)]
    lucky, good = "effective medium, one-way, 8 wide", "effective medium, one-way, 16 wide"
    for name, valid, test in ((lucky, 0.12, 0.08), (good, 0.11, 0.09)):
        errors = {"valid": {"one_crossing": valid}, "test": {"one_crossing": test}}
        rows.append({**line(name, 0, 0.2, 40, group="networks"), **errors})
    cost = COST | {name: {"compiled_milliseconds": 0.1} for name in (lucky, good)}
    assert any(f"one seed by as many steps for {good}, with 0.040" in words for words in claims(rows, cost))
    rows += [{**line("sum, rank 16", 0, 0.09, 400, group="families"), "valid": {"one_crossing": 0.11}}]
    assert "sum, rank 16" not in claims(rows, cost)[0]


def test_a_cost_is_decided_where_least_and_median_agree():
    rows = [line(CLASSICAL, 0, 0.1, 1000), line(ONE_WAY, 0, 0.2, 200)]
    ours, theirs = (
        {**COST[name], "onnx_milliseconds_median": median} for name, median in ((ONE_WAY, 2.5), (CLASSICAL, 2.4))
    )
    told = claims(rows, {ONE_WAY: ours, CLASSICAL: theirs})
    assert any("in ONNX Runtime*: not decided: 0.50 (1.04 by medians)" in words for words in told)


def test_the_tables_in_the_repository_are_those_of_its_lines(tmp_path):
    """All but their first words, which are the machine's and the day's."""
    for name in ("runs.jsonl", "costs.json"):
        shutil.copy(RESULTS / name, tmp_path)
    command = [sys.executable, BENCHMARKS / "apriori.py", "--finished", "--folder", tmp_path, "--out", tmp_path]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    for name in ("apriori.md", "summary.md"):
        kept, made = ((folder / name).read_text().split("; ", 1)[1] for folder in (RESULTS, tmp_path))
        assert kept == made, name


def test_every_group_of_arms_runs_alone():
    for group in {arm.group for arm in arms()}:
        chosen = [arm for arm in arms() if arm.group == group]
        cost = {arm.name: {"training_milliseconds": 1.0 + len(arm.name)} for arm in timed(chosen)}
        assert len(list(jobs(chosen, 1, Scale(), cost, []))) == len(chosen)


def test_what_overfits_is_the_growth_of_the_error_from_all_to_few_seed_by_seed():
    rows = [line(CLASSICAL, 0, 0.1, 1000), line(ONE_WAY, 0, 0.2, 200)]
    here = {"preset": "random", "group": "other presets"}
    few = {"preset": "random", "group": "data", "size": 8}
    for seed, (all_of_them, eight) in enumerate((((0.1, 0.2), (0.2, 0.3)), ((0.11, 0.22), (0.22, 0.35)))):
        for name, whole, part in zip((CLASSICAL, ONE_WAY), all_of_them, eight, strict=True):
            family = name.split(",")[0]
            rows += [line(name, seed, whole, 100, **here), line(f"{family}, 8 trajectories", seed, part, 100, **few)]
    growths = np.array([[2.0, 1.5], [2.0, 0.35 / 0.22]])  # by seed: classical, one-way
    apart = np.log(growths[:, 1] / growths[:, 0])
    assert abs(apart.mean()) < student.ppf(0.975, 1) * apart.std(ddof=1) / np.sqrt(2)  # two seeds decide nothing here
    words = f"on 8, {growths[:, 1].mean():.2f} times the error on all of them, the classical one 2.00: "
    assert claims(rows, COST)[-1].endswith(f"random media: seed by seed, the one-way one has, {words}not decided.")
    alone = [row for row in rows if row["seed"] == 0]
    assert claims(alone, COST)[-1].endswith(
        "1.50 times the error on all of them, the classical one 2.00: holds, with one seed."
    )
    third = [{**row, "seed": 2} for row in rows if row["seed"] == 0 and row["preset"] == "random"]
    assert claims([*rows, *third], COST)[-1].endswith("2.00: holds.")


def test_what_was_compressed_afterwards_stands_beside_the_same_filters_from_the_start():
    rows = [line(CLASSICAL, 0, 0.1, 1000), line(ONE_WAY, 0, 0.2, 200)]
    rows.append(line("cp-series, rank 32", 0, 0.15, 200, group="families"))
    rows.append(line("classical decomposed to rank 32 and tuned", 0, 0.13, 250, group="afterwards", before_tuning=0.8))
    (told,) = (words for words in claims(rows, COST) if "afterwards" in words)
    assert "an error of 0.80 (validation), and tuned for as many steps again, with 250 parameters, 1.30 of its" in told
    assert told.endswith("such filters from the start, with 200 and half of the steps in all, 1.50.")


def test_what_trains_for_as_many_seconds_is_told_with_its_steps():
    rows = [line(CLASSICAL, 0, 0.1, 1000), line(ONE_WAY, 0, 0.2, 200)]
    rows.append(line(f"{ONE_WAY}, classical's seconds", 0, 0.19, 200, group="time", iterations=1070))
    (told,) = (words for words in claims(rows, COST) if "seconds of training" in words)
    assert told.endswith("packings: one-way, rank 32, 5 taps, 1,070 steps, has 1.90.")


def test_every_arm_is_a_forecaster_of_at_most_a_hundred_thousand_weights_and_has_its_own_key():
    found = arms()
    keys = {key_of(arm, 0, Scale(), 1200) for arm in found}
    assert len(keys) == len(found)
    for arm in found:
        if arm.changes.get("network") in ("fno", "tfno") and find_spec("neuralop") is None:
            continue
        model = Forecaster(arm.forecaster(), 2.0)
        weights = sum(p.numel() * (1 + p.is_complex()) for p in model.parameters())
        assert weights < 100_000, arm.name
        if arm.name.endswith(" wide"):
            assert weights <= 34_000 / 20, (arm.name, weights)
        if arm.changes.get("network") in THINNED:  # to the budget of the classical forecaster
            assert 0.7 < weights / 34_000 < 1.4, (arm.name, weights)


def test_a_decomposed_kernel_of_full_rank_is_the_kernel():
    pytest.importorskip("tensorly")
    from apriori_afterwards import decomposed

    small = ForecasterConfig(convolution="classical", width=3, kernel_size=3, ranks=(1,), encoder_width=3)
    model = Forecaster(small, 2.0)
    found = decomposed(model, 27)  # no kernel of 3 x 3 x 3 x 3 needs more
    for name, layer in found.named_modules():
        if hasattr(layer, "kernel"):
            kernel = model.get_submodule(name).kernel().detach().numpy()
            np.testing.assert_allclose(layer.kernel().detach().numpy(), kernel, atol=1e-3 * np.abs(kernel).max())


def quick(folder: Path, *options: str) -> tuple[str, list[dict]]:
    command = [sys.executable, BENCHMARKS / "apriori.py", "--quick", "--seeds", "1", *options,
               "--folder", folder / "runs", "--out", folder / "out"]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout, [json.loads(row) for row in (folder / "out" / "runs.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("dolfinx") is None or find_spec("lammps") is None, reason="needs dolfinx and LAMMPS")
def test_the_whole_study_runs_small(tmp_path):
    _, rows = quick(tmp_path)
    assert {row["group"] for row in rows} == {arm.group for arm in arms()} and len(rows) == 9
    assert next(row for row in rows if row["group"] == "afterwards")["before_tuning"] > 0
    table = (tmp_path / "out" / "apriori.md").read_text()
    assert "## packing" in table and "## Fewer trajectories (random)" in table
    assert f"| main | {CLASSICAL} | 1 | 34,000 |" in table
    assert "| one-way, rank 32, 5 taps | 7,024 |" in (tmp_path / "out" / "summary.md").read_text()
    ours, theirs = (next(row for row in rows if row["name"] == name) for name in (ONE_WAY, CLASSICAL))
    found = ours["test"]["one_crossing"] / theirs["test"]["one_crossing"]
    assert f"of the parameters the one-way one has {found:.2f} of the error" in table


@pytest.mark.skipif(find_spec("dolfinx") is None, reason="the truth needs dolfinx")
def test_the_study_runs_and_is_not_run_twice(tmp_path):
    for _ in range(2):
        printed, rows = quick(tmp_path, "--groups", "data")
        assert [row["name"] for row in rows] == ["one-way, 8 trajectories"]
    assert "seed 0" not in printed
    assert 0 < rows[0]["test"]["first_frames"] < 1.5 and len(rows[0]["test"]["curve"]) == 11
