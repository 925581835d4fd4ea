"""Every pruning method on the same forecasters: error against density, stored bytes and milliseconds.

A pruning that rewinds trains anew in every round. So the forecasters, those of apriori.py, are trained for a third of
its optimiser steps, on 32 x 32 cells. In random media these are as large, beside waves and media, as those of its
64 x 64; in packings, which need 24 grains, by a fifth larger. A training after a rewind is as long as the first one.
    uncut       the same trainings with nothing cut. An error is read against that of what is uncut after as many
                optimiser steps: of pruning in rounds that go on, much is nothing but more training. A rewind is read
                against the mean of three: from one training to the next, errors differ by some hundredths
    methods     each published method, in layers or globally as it was published. In rounds: until two in a row have
                more than twice the error, or to the least density. At once: to 0.3 and to 0.1 of the weights, or to
                half and a quarter of the units
    controls    random weights, as many in each tensor as a method left, from the same start by as many steps
    scopes      SAP and the lottery ticket where all weights, or those of one output channel, are compared; and SAP in
                global scope for twenty rounds of larger steps, at most 0.3 of what is left: until it collapses
    restarts    SAP and the lottery ticket going on instead of rewinding, ESPN too; and single weights after units
Rounds are judged on the validation split; which of them the tables and answers tell of is decided there, and these see
the test split, once (pruning_choice.py). Weights are stored in half precision. A finished pruning is a line of
results/pruning/runs.jsonl and is not run again; what is refused is a line that says why, with the rounds before it.

    OMP_NUM_THREADS=1 python benchmarks/pruning.py [--quick] [--groups methods] [--presets packing-32] [--seeds 3]
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import apriori
import pruning_choice
import pruning_tables
import torch
from apriori import QUICK, Scale
from pruning_arms import FAMILIES, PRESETS, SEEDS, STUDY, TEACHER, USUAL, Arm, arms, named
from pruning_choice import AT_ONCE, REWOUND, TRAINED_ON

from wavesim.config import PruningConfig, TrainingConfig
from wavesim.errors import WavesimError
from wavesim.lock import sole_user
from wavesim.provenance import log_lines, read_lines, revision, settings_hash
from wavesim.pruning import METHODS, prune
from wavesim.pruning.learning import learn, ranked
from wavesim.pruning.loop import begun, restart_of, retraining, rounds_of, with_row
from wavesim.pruning.run import Job, Row
from wavesim.pruning.store import read_rows, result_in, rows_beside
from wavesim.surrogate import load, save
from wavesim.surrogate.train import fit

RESULTS = Path(__file__).parent / "results" / "pruning"


def base_of(arm: Arm) -> apriori.Arm:
    """The forecaster that an arm prunes."""
    return apriori.Arm("pruned", arm.family, FAMILIES[arm.family], arm.preset)


def forecaster_of(arm: Arm, seed: int, scale: Scale, folder: Path) -> Path:
    """Its file; trained now where it is missing."""
    base = base_of(arm)
    path = apriori.model_of(base, seed, scale, folder, scale.iterations)
    return path if path.exists() else apriori.trained(base, seed, scale, folder, scale.iterations)


def finished(arm: Arm, seed: int, scale: Scale, folder: Path) -> dict[str, Any]:
    """Prune once, and tell what came of it; where a like arm is missing, that one is pruned first."""
    model, data = forecaster_of(arm, seed, scale, folder), apriori.dataset(arm.preset, scale, folder)
    like = regressor = None
    learned: dict[str, Any] = {}
    share = 1.0
    if arm.after:
        model = result_from(arm.after, arm.preset, arm.family, seed, scale, folder)
        done = read_rows(model)
        share = done[result_in(done)]["nonzero"] / done[0]["nonzero"]
    if arm.like:
        like = result_from(arm.like, arm.preset, arm.family, seed, scale, folder)
    if "autosparse" in arm.name:
        teacher = next(preset for preset in PRESETS if preset != arm.preset)
        history = result_from(TEACHER, teacher, arm.family, (seed + 1) % SEEDS, scale, folder)
        own = result_from(TEACHER, arm.preset, arm.family, seed, scale, folder)
        regressor = history.with_suffix(".regressor.safetensors")
        learned["held_out"] = learn([history], apriori.dataset(teacher, scale, folder), regressor, seed)
        learned["pupil"] = ranked(regressor, own, data, seed)
    pruning = arm.settings(scale == QUICK, like, regressor)
    training = apriori.training_of(base_of(arm), scale, scale.iterations)
    out = result_of(arm, seed, scale, folder)
    out.parent.mkdir(parents=True, exist_ok=True)
    networks = out.with_suffix(".networks")
    if arm.group == "uncut":
        rows = uncut(model, data, pruning, training, networks, seed)
    else:
        rows = prune(model, data, pruning, training, out, seed, networks=networks)
    return {**about(arm, scale), **lines_of(rows, share), **begun_after(arm, seed, scale, folder), **learned}


TOLD = ("round", "steps", "pq_index", "gini_index", "density", "nonzero", "parameters", "stored_bytes",
        "macs_per_frame", "milliseconds", "masked_milliseconds", "one_step_error", "validation_error_before_retraining",
        "validation_error", "seconds")  # fmt: skip


def lines_of(rows: list[Row], share: float = 1.0) -> dict[str, Any]:
    """result: the number of the round that the method itself would have ended with; share: what another pruning had
    left, of which the densities are."""
    rounds = [{key: row[key] for key in TOLD} | {"density": share * row["density"]} for row in rows]
    return {"rounds": rounds, "result": result_in(rows)}


def begun_after(arm: Arm, seed: int, scale: Scale, folder: Path) -> dict[str, int]:
    """Steps that what is pruned further had gone on for already."""
    if arm.after is None:
        return {"before": 0}
    other = named(arm.after, arm.preset, arm.family)
    rows = read_rows(result_of(other, seed, scale, folder))
    steps = sum(row["steps"] for row in rows[: result_in(rows) + 1])
    return {"before": steps if about(other, scale)["going_on"] else 0}


def about(arm: Arm, scale: Scale) -> dict[str, Any]:
    """Whether an arm's trainings go on from the trained weights, and the exponents of its index."""
    pruning = arm.settings(scale == QUICK)
    going_on = restart_of(pruning) == "fine-tune"
    return {"going_on": going_on, "exponents": [pruning.p, pruning.q], "revision": revision()}


def uncut(
    model: Path, data: Path, pruning: PruningConfig, training: TrainingConfig, networks: Path, seed: int
) -> list[Row]:
    """The rows of a pruning that cuts nothing and trains all the same, which the loop never does."""
    pruning = pruning.model_copy(update={"rounds": rounds_of(pruning), "restart": restart_of(pruning)})
    job, method = Job(pruning, training, data, seed, "cpu", networks / "running", ""), METHODS[pruning.method]
    run = begun(job, method, load(model), model)
    save(run.model, pruning_choice.network(networks, 0))
    for number in range(rounds_of(pruning)):
        start, again = time.perf_counter(), run.restarted()
        fit(again, data, retraining(job), seed + 1 + number, job.folder / f"round_{number}")
        run = with_row(replace(run, model=again), method, start, retraining(job).iterations)
        save(again, pruning_choice.network(networks, number + 1))
    shutil.rmtree(job.folder)
    return list(run.rows)


def told(arm: Arm, seed: int, scale: Scale, folder: Path) -> dict[str, Any] | None:
    """As `finished`, or why it was refused; nothing where it broke, as one arm does not end the study."""
    try:
        return finished(arm, seed, scale, folder)
    except WavesimError as error:
        print(f"refused: {error}", file=sys.stderr, flush=True)
        out = result_of(arm, seed, scale, folder)
        rows = read_rows(out) if rows_beside(out).is_file() else []  # of the rounds before
        before = begun_after(arm, seed, scale, folder) if rows else {"before": 0}
        return {"refused": str(error).replace(f"{folder}/", ""), **about(arm, scale), **lines_of(rows), **before}
    except Exception:
        traceback.print_exc()
        return None


def result_from(name: str, preset: str, family: str, seed: int, scale: Scale, folder: Path) -> Path:
    """The result of another arm, which is made first where it is missing."""
    other = named(name, preset, family)
    path = result_of(other, seed, scale, folder)
    if not path.exists():
        finished(other, seed, scale, folder)
    return path


def result_of(arm: Arm, seed: int, scale: Scale, folder: Path) -> Path:
    """Where an arm's result lies."""
    return folder / "pruned" / f"{key_of(arm, seed, scale)}.safetensors"


def key_of(arm: Arm, seed: int, scale: Scale) -> str:
    training = apriori.training_of(base_of(arm), scale, 1)
    forecaster = base_of(arm).forecaster().model_dump()
    return settings_hash([asdict(arm), USUAL, forecaster, asdict(scale), apriori.keyed(training), seed])


def of_these_settings(rows: list[dict[str, Any]], scale: Scale) -> list[dict[str, Any]]:
    """Without the lines of prunings with others: they stay in the file, and out of the tables."""
    known = {(arm.group, arm.name, arm.preset, arm.family): arm for arm in arms()}
    asked = [(row, known.get((row["group"], row["name"], row["preset"], row["family"]))) for row in rows]
    return [row for row, arm in asked if arm and key_of(arm, row["seed"], scale) == row["key"]]


def jobs(chosen: list[Arm], seeds: int) -> Iterator[tuple[Arm, int]]:
    """All arms with the first seed, then with the second."""
    return ((arm, seed) for seed in range(seeds) for arm in chosen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small, short and few: whether it runs")
    parser.add_argument("--groups", nargs="*", default=None, choices=sorted({arm.group for arm in arms()}))
    parser.add_argument("--presets", nargs="*", default=list(PRESETS), choices=PRESETS)
    parser.add_argument("--seeds", type=int, default=SEEDS, choices=range(1, SEEDS + 1))
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no pruning after so many")
    parser.add_argument("--finished", action="store_true", help="only show what is there")
    parser.add_argument("--folder", type=Path, default=Path("runs/pruning"), help="data, models and results")
    parser.add_argument("--out", type=Path, help="lines and tables; default: results/pruning, --quick: FOLDER/quick")
    given = parser.parse_args()
    torch.set_num_threads(1)
    scale = QUICK if given.quick else STUDY
    chosen = [
        arm
        for arm in arms()
        if arm.preset in given.presets and (given.groups is None or arm.group in given.groups)
        and (not given.quick or arm.name in QUICK_ARMS)
    ]  # fmt: skip
    out = given.out or (given.folder / "quick" if given.quick else RESULTS)
    begin, broken = time.perf_counter(), []
    with sole_user(given.folder):  # two at once would train the same forecaster, and lose each other's lines
        for arm, seed in jobs(chosen, given.seeds) if not given.finished else ():
            done = {line["key"] for line in read_lines(out / "runs.jsonl")}
            key = key_of(arm, seed, scale)
            if key in done or time.perf_counter() - begin > 60 * given.minutes:
                continue
            print(f"{arm.preset}, {arm.family}: {arm.name}, seed {seed}", file=sys.stderr, flush=True)
            who = {"group": arm.group, "name": arm.name, "preset": arm.preset, "family": arm.family, "seed": seed}
            if line := told(arm, seed, scale, given.folder):
                log_lines(out / "runs.jsonl", [{**who, **line}], key=key)
            else:
                broken.append(f"{arm.preset}, {arm.family}: {arm.name}, seed {seed}")
        rows = of_these_settings(read_lines(out / "runs.jsonl"), scale)
        if not given.finished:
            data = {preset: apriori.dataset(preset, scale, given.folder) for preset in {row["preset"] for row in rows}}
            pruning_choice.judge(rows, networks_of(scale, given.folder), data, out)
        pruning_tables.write(pruning_choice.read(rows, out), out)
    if broken:
        raise SystemExit(
            f"{len(broken)} broke, as told above, and are tried again by the next call: {'; '.join(broken)}"
        )


def networks_of(scale: Scale, folder: Path) -> dict[str, Path]:
    """Key -> where the networks of an arm's rounds lie."""
    return {
        key_of(arm, seed, scale): result_of(arm, seed, scale, folder).with_suffix(".networks")
        for arm in arms()
        for seed in range(SEEDS)
    }


QUICK_ARMS = (REWOUND, TRAINED_ON, AT_ONCE, "sap (1, 2)", "random, counts of sap (1, 2)", "structured-sap")

if __name__ == "__main__":
    main()
