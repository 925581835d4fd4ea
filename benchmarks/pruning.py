"""Every pruning method on the same forecasters: error against density, stored bytes and milliseconds.

A pruning that rewinds trains anew in every round. So the forecasters, the classical and the one-way one of apriori.py,
are trained for a third of its optimiser steps, on 32 x 32 cells. In random media these are as large, beside waves and
media, as those of its 64 x 64; in packings, which need 24 grains, by a fifth larger. A training after a rewind is as
long as the first one; of several that go on, each is a quarter of it.
    methods     each published method as it was published, in layers, to a tenth of the weights (of the units: half);
                the index decides how much SAP takes
    uncut       the same trainings with nothing cut: what a ratio of 1 is to be read against
    scopes      SAP and the lottery ticket where all weights, or those of one output channel, are compared
    restarts    SAP and the lottery ticket going on instead of rewinding, ESPN too, and rewinding to the very beginning
SAP with (p, q) = (1, 2) in global scope goes on for sixteen rounds: until nothing is left to forecast with. Rounds are
judged on the validation split; the test split is seen once, when a pruning is finished. A finished pruning is a line of
results/pruning/runs.jsonl and is not run again; what is refused is a line that says why.

    OMP_NUM_THREADS=1 python benchmarks/pruning.py [--quick] [--groups methods] [--presets packing-32] [--seeds 3]
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import apriori
import pruning_tables
import torch
from apriori import QUICK, Scale
from apriori_arms import gated

from wavesim.config import PruningConfig, TrainingConfig
from wavesim.errors import WavesimError
from wavesim.lock import sole_user
from wavesim.provenance import log_lines, read_lines, revision, settings_hash
from wavesim.pruning import METHODS, prune
from wavesim.pruning.learning import learn
from wavesim.pruning.loop import begun, restart_of, retraining, rounds_of, trainings_of, with_row, with_test
from wavesim.pruning.run import Job, Row, errors_on
from wavesim.surrogate import load
from wavesim.surrogate.train import fit

RESULTS = Path(__file__).parent / "results" / "pruning"
PRESETS = ("packing-32", "random-32")
FAMILIES = {"classical": gated("classical"), "one-way": gated("one-way")}
STUDY = Scale({"packing": 256, "random": 344}, 400, 32, 33, (1, 2, 4))
ON = STUDY.iterations // 4  # of a training that goes on
USUAL = {"density": 0.1, "iterations": STUDY.iterations, "eta": 0.0, "rounds": 1}
TEACHER = "lottery-ticket"
UNCUT = {"method": "lottery-ticket", "density": 1.0}
# Weights are rewound to those after ten steps: at the beginning the last layer is zero, and with it every gradient.
EARLY = 10


@dataclass(frozen=True)
class Arm:
    """One pruning of one forecaster. changes: to USUAL; like: name of the arm whose last counts a control takes.

    Autosparse learns from the lottery ticket of the same forecaster on the other preset, rewound to the same step.
    """

    group: str
    name: str
    family: str
    preset: str
    changes: dict[str, Any]
    like: str | None = None

    def settings(self, quick: bool, like: Path | None = None, regressor: Path | None = None) -> PruningConfig:
        early = min(1, self.changes.get("rewind_to", 0))
        short = {"iterations": 3, "rounds": min(2, self.changes.get("rounds", 1)), "rewind_to": early} if quick else {}
        return PruningConfig.model_validate({**USUAL, **self.changes, **short, "like": like, "regressor": regressor})


def recipes() -> list[tuple[str, str, dict[str, Any], str | None]]:
    """Group, name, changes, and whose counts a control takes; the most telling first."""
    ticket = {"method": "lottery-ticket", "rounds": 8, "rewind_to": EARLY}
    sap = {"method": "sap", "density": None, "rewind_to": EARLY}
    slow, fast = {**sap, "rounds": 10}, {**sap, "rounds": 8, "p": 1.0, "q": 2.0}
    on = {"restart": "fine-tune", "iterations": ON, "rewind_to": 0}
    early = {"rewind_to": EARLY}
    by_units = {"density": 0.5, "iterations": ON}
    return [
        ("methods", "sap", slow, None),
        ("methods", "sap (1, 2)", fast, None),
        ("methods", TEACHER, ticket, None),
        ("methods", "random, counts of sap (1, 2)", {"method": "random", **early}, "sap (1, 2)"),
        ("methods", "random, counts of lottery-ticket", {"method": "random", **early}, "lottery-ticket"),
        ("uncut", "uncut, rewound", {**UNCUT, **early}, None),
        ("uncut", "uncut, trained on", {**UNCUT, **on, "rounds": 8}, None),
        ("methods", "structured-sap", {"method": "structured-sap", "eta": 0.1, "rounds": 4, **by_units}, None),
        ("methods", "one-shot", {"method": "one-shot"}, None),
        ("methods", "one-shot-dense", {"method": "one-shot-dense", **early}, None),
        ("methods", "granet", {"method": "granet", "scope": "global", "iterations": 2 * STUDY.iterations}, None),
        ("methods", "granet-st", {"method": "granet-st", "scope": "global", "iterations": 2 * STUDY.iterations}, None),
        ("methods", "greg-1", {"method": "greg-1"}, None),
        ("methods", "greg-2", {"method": "greg-2"}, None),
        ("methods", "structured-greg", {"method": "structured-greg", "density": 0.5}, None),
        ("methods", "espn", {"method": "espn", **early}, None),
        ("methods", "autosparse", {"method": "autosparse", **early}, None),
        ("methods", "autosparse-shuffled", {"method": "autosparse-shuffled", **early}, None),
        ("scopes", "sap (1, 2), global", {**fast, "scope": "global", "rounds": 16, "multiple": 1}, None),
        ("scopes", "lottery-ticket, global", {**ticket, "scope": "global"}, None),
        ("scopes", "sap, global", {**slow, "scope": "global"}, None),
        ("scopes", "sap (1, 2), neuron", {**fast, "scope": "neuron"}, None),
        ("restarts", "sap (1, 2), fine-tuned", {**fast, **on}, None),
        ("restarts", "lottery-ticket, fine-tuned", {**ticket, **on}, None),
        ("restarts", "espn, fine-tuned", {"method": "espn", "restart": "fine-tune"}, None),
        ("restarts", "lottery-ticket, from step 0", {**ticket, "rewind_to": 0}, None),
    ]


def arms() -> list[Arm]:
    return [
        Arm(group, name, family, preset, changes, like)
        for group, name, changes, like in recipes()
        for preset in PRESETS
        for family in FAMILIES
    ]


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
    if arm.like:
        like = result_from(arm.like, arm.preset, arm.family, seed, scale, folder)
    if "autosparse" in arm.name:
        teacher = next(preset for preset in PRESETS if preset != arm.preset)
        history = result_from(TEACHER, teacher, arm.family, seed, scale, folder)
        regressor = history.with_suffix(".regressor.safetensors")
        learned = {"held_out": learn([history], apriori.dataset(teacher, scale, folder), regressor, seed)}
    pruning = arm.settings(scale == QUICK, like, regressor)
    training = apriori.training_of(base_of(arm), scale, scale.iterations)
    out = result_of(arm, seed, scale, folder)
    out.parent.mkdir(parents=True, exist_ok=True)
    if arm.group == "uncut":
        rows = uncut(model, data, pruning, training, out.with_suffix(""), seed)
    else:
        rows = prune(model, data, pruning, training, out, seed)
    told = ("round", "pq_index", "gini_index", "density", "nonzero", "parameters", "stored_bytes", "macs_per_frame",
            "milliseconds", "masked_milliseconds", "one_step_error", "validation_error", "seconds")  # fmt: skip
    return {
        "rounds": [{key: row[key] for key in told} for row in rows],
        "iterations": trainings_of(pruning) * pruning.iterations,
        "dense_test_error": errors_on(load(model), data, "test")[1],
        "test_error": rows[-1]["test_error"],
        "test_one_step_error": rows[-1]["test_one_step_error"],
        "revision": revision(),
        **learned,
    }


def uncut(
    model: Path, data: Path, pruning: PruningConfig, training: TrainingConfig, folder: Path, seed: int
) -> list[Row]:
    """The rows of a pruning that cuts nothing and trains all the same, which the loop never does."""
    pruning = pruning.model_copy(update={"rounds": rounds_of(pruning), "restart": restart_of(pruning)})
    job, method = Job(pruning, training, data, seed, "cpu", folder, ""), METHODS[pruning.method]
    run = begun(job, method, load(model), model)
    for number in range(rounds_of(pruning)):
        start, again = time.perf_counter(), run.restarted()
        fit(again, data, retraining(job), seed + 1 + number, folder / f"round_{number}")
        run = with_row(replace(run, model=again), method, start)
    shutil.rmtree(folder)
    return list(with_test(run, run.model).rows)


def told(arm: Arm, seed: int, scale: Scale, folder: Path) -> dict[str, Any]:
    """As `finished`, or why it was refused: one arm does not end the study."""
    try:
        return finished(arm, seed, scale, folder)
    except WavesimError as error:
        print(f"refused: {error}", file=sys.stderr, flush=True)
        return {"refused": str(error), "revision": revision()}


def result_from(name: str, preset: str, family: str, seed: int, scale: Scale, folder: Path) -> Path:
    """The result of another arm, which is made first where it is missing."""
    other = next(one for one in arms() if (one.name, one.preset, one.family) == (name, preset, family))
    path = result_of(other, seed, scale, folder)
    if not path.exists():
        finished(other, seed, scale, folder)
    return path


def result_of(arm: Arm, seed: int, scale: Scale, folder: Path) -> Path:
    """Where an arm's result lies."""
    return folder / "pruned" / f"{key_of(arm, seed, scale)}.safetensors"


def key_of(arm: Arm, seed: int, scale: Scale) -> str:
    training = apriori.training_of(base_of(arm), scale, 1)
    return settings_hash([asdict(arm), USUAL, asdict(scale), training.model_dump(), seed])


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
    parser.add_argument("--seeds", type=int, default=3)
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
    begin = time.perf_counter()
    with sole_user(given.folder):  # two at once would train the same forecaster, and lose each other's lines
        for arm, seed in jobs(chosen, given.seeds) if not given.finished else ():
            done = {line["key"] for line in read_lines(out / "runs.jsonl")}
            key = key_of(arm, seed, scale)
            if key in done or time.perf_counter() - begin > 60 * given.minutes:
                continue
            print(f"{arm.preset}, {arm.family}: {arm.name}, seed {seed}", file=sys.stderr, flush=True)
            about = {"group": arm.group, "name": arm.name, "preset": arm.preset, "family": arm.family, "seed": seed}
            log_lines(out / "runs.jsonl", [{**about, **told(arm, seed, scale, given.folder)}], key=key)
        pruning_tables.write(of_these_settings(read_lines(out / "runs.jsonl"), scale), out)


QUICK_ARMS = ("sap (1, 2)", "random, counts of sap (1, 2)", "uncut, rewound", "uncut, trained on", "structured-sap")

if __name__ == "__main__":
    main()
