"""Who wins, the solver or the forecaster: error against milliseconds a simulated crossing, through packings.

On preset `packing` at three contrasts, and where one thing is changed each (pareto_cases.py), on test media. The truth
is a conforming run refined until its own error is small (pareto_truth.py). It is raced by solvers that are cheaper
(pareto_solvers.py) and by the forecasters whose files are given (pareto_forecasters.py), all in single precision on one
thread: relative L2 of pressure over the grid's cells, at half and at one crossing of the background over the unit
square, VRMSE over frames 6 to 12 and 13 to 30; milliseconds of the processor, of one simulation and of a batch, all
taken in turns in one process, in the first medium. What a medium costs once (meshing, assembly, encoder) is told apart.

    OMP_NUM_THREADS=1 python benchmarks/pareto.py --models A.safetensors B.safetensors [--data DATASET ...]
        [--packings packings.h5] [--media 4] [--scenarios "contrast (20, 5)" ...] [--quick] [--finished]

Give --packings those that the forecasters were trained on: their test split has not been seen. With --data, the
datasets that they were trained on, it is told after how many simulations data and training have paid. Every measurement
is a line of OUT/runs.jsonl and is not made again: a second call goes on where the first stopped, and one with another
model adds it. OUT/pareto.md and the figures are made of the lines alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pareto_figure
import pareto_forecasters
import pareto_solvers
import pareto_tables
import torch
from pareto_cases import QUICK, SCENARIOS, Case, Scale, Scenario, cases
from pareto_forecasters import Model
from pareto_solvers import Solver, solvers
from pareto_truth import Truth, truth_of

from wavesim.errors import WavesimError
from wavesim.lock import sole_user
from wavesim.provenance import file_hash, log_lines, machine, read_lines, revision, settings_hash
from wavesim.turns import in_turns

RESULTS = Path(__file__).parent / "results" / "pareto"
Runner = Solver | Model
Lines = list[dict[str, Any]]


class Notes:
    """The lines of finished measurements, by what they are of."""

    def __init__(self, path: Path):
        self.path = path

    def known(self, *what: Any) -> dict[str, Any] | None:
        """The line of a measurement, or nothing."""
        key = settings_hash(what)
        return next((line for line in read_lines(self.path) if line["key"] == key), None)

    def add(self, line: dict[str, Any], *what: Any) -> dict[str, Any]:
        log_lines(self.path, [{**line, "revision": revision()}], key=settings_hash(what))
        return line


def settings_of(scenario: Scenario, scale: Scale, given: argparse.Namespace) -> str:
    """What lines must have in common to stand in one table."""
    packings = None if given.packings is None else file_hash(given.packings)
    return settings_hash([asdict(scenario), asdict(scale), given.bursts, given.seed, packings])


def identity(one: Runner) -> list[Any]:
    return ["model", one.fingerprint, one.name] if isinstance(one, Model) else ["solver", one.about()]


def tell(models: Sequence[Model], notes: Notes) -> None:
    """A line of each model of what is known of it now; what was known before it replaces."""
    for one in models:
        line = {"kind": "model", "run": one.about()}
        if {**line, "revision": "", "key": ""} != {**(notes.known("model", one.name) or {}), "revision": "", "key": ""}:
            notes.add(line, "model", one.name)


def race(given: argparse.Namespace, scale: Scale, models: Sequence[Model], notes: Notes) -> Iterator[str]:
    """Measure what is missing; yields what is at work."""
    runners: list[Runner] = [*solvers(scale), *models]
    for scenario in SCENARIOS:
        if given.scenarios and scenario.name not in given.scenarios:
            continue
        first: tuple[Case, Truth] | None = None
        media = given.media if scenario.main else min(given.media, given.others)
        for case in cases(scenario, scale, given.packings, given.folder, media, given.bursts, given.seed):
            about = {"scenario": scenario.name, "settings": settings_of(scenario, scale, given)}
            about["packing"] = case.packing.name
            yield f"{scenario.name}, packing {case.packing.name}: the truth"
            known = notes.known(case.key, "truth")
            truth = truth_of(case, given.folder / "truths", known)
            if known is None:
                notes.add({**about, "kind": "truth", **truth.about}, case.key, "truth")
            first = first or (case, truth)
            for one in runners:
                what = case.key, identity(one), "errors"
                if notes.known(*what) is None:
                    yield f"{scenario.name}, packing {case.packing.name}: {one.name}"
                    module = pareto_forecasters if isinstance(one, Model) else pareto_solvers
                    try:
                        found = module.errors_of(case, truth, one)
                    except WavesimError as error:  # no such mesh, or an unstable forecast
                        found = {"refused": str(error)}
                    notes.add({**about, "kind": "errors", "run": one.about(), **found}, *what)
        if first is not None:
            yield f"{scenario.name}: milliseconds"
            time_all(*first, [one for one in runners if one.name != "persistence"], about, given.folder, notes)


def time_all(
    case: Case, truth: Truth, runners: list[Runner], about: dict[str, Any], folder: Path, notes: Notes
) -> None:
    """Milliseconds a simulated crossing, of one simulation and of one in a batch, of those that are not timed yet.

    Those that have no errors in this medium have no times.
    """
    batches = 1, case.scale.several
    works: dict[int, dict[tuple[str, str, int], tuple[Callable[[], None], int]]] = {batch: {} for batch in batches}
    lacking = []
    for one in runners:
        errors = notes.known(case.key, identity(one), "errors")
        timed = all(notes.known(case.key, identity(one), "time", batch) for batch in batches)
        if timed or not errors or "refused" in errors:
            continue
        lacking.append(one)
        if isinstance(one, Model):
            for batch in batches:
                found = pareto_forecasters.frames_of(case, truth, one, batch, folder)
                for runtime, (work, calls, frames) in found.items():
                    works[batch][one.name, runtime, frames] = work, calls
        else:
            for batch, (work, frames) in pareto_solvers.frames_of(case, truth, one, batches).items():
                works[batch][one.name, "solver", frames] = work, 1
    for batch in batches:
        turns, burst = (3, 1) if case.scale.quick else (15, 4) if batch == 1 else (5, 1)
        pairs = in_turns(works[batch], turns, burst, time.process_time)
        taken = sorted((one / frames, other / frames, *run) for (*run, frames), (one, other) in pairs.items())
        factor = case.scale.frames / batch
        for one in lacking:
            least, median, _, runtime = next(row for row in taken if row[2] == one.name)
            line = {
                **about,
                "packing": case.packing.name,
                "kind": "time",
                "run": one.about(),
                "batch": batch,
                "runtime": runtime,
            }
            if isinstance(one, Model) and batch == 1:
                line["seconds"] = pareto_forecasters.seconds_of(case, truth, one)
            line |= {"milliseconds": least * factor, "median": median * factor}
            notes.add(line, case.key, identity(one), "time", batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, nargs="*", default=[], help=".safetensors files of forecasters")
    parser.add_argument("--data", type=Path, nargs="*", default=[], help="datasets that they were trained on")
    parser.add_argument("--training", type=float, help="seconds of a training, of models whose folder does not tell")
    parser.add_argument("--packings", type=Path, help="packings.h5 of the three contrasts; default: made in FOLDER")
    parser.add_argument("--seed", type=int, default=0, help="of the datasets that went through them")
    parser.add_argument("--media", type=int, default=4, help="test media of each contrast")
    parser.add_argument("--others", type=int, default=2, help="test media where one thing is changed, at most --media")
    parser.add_argument("--bursts", type=int, default=2, help="simulations through each")
    parser.add_argument("--scenarios", nargs="*", choices=[one.name for one in SCENARIOS], help="default: all")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no measurement after so many")
    parser.add_argument("--quick", action="store_true", help="small, short and few: whether it runs")
    parser.add_argument("--finished", action="store_true", help="only draw what is there")
    parser.add_argument("--folder", type=Path, default=Path("runs/pareto"), help="packings and truths")
    parser.add_argument(
        "--out", type=Path, help="lines, tables, figures; default: results/pareto, --quick: FOLDER/quick"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    scale, begin = QUICK if given.quick else Scale(), time.perf_counter()
    out = given.out or (given.folder / "quick" if given.quick else RESULTS)
    notes = Notes(out / "runs.jsonl")
    current = {settings_of(scenario, scale, given) for scenario in SCENARIOS}  # what others made is in no table
    with sole_user(given.folder):
        models = pareto_forecasters.models(given.models, given.data, given.training)
        tell(models, notes)
        for words in race(given, scale, models, notes) if not given.finished else ():
            print(words, flush=True)
            if time.perf_counter() - begin > 60 * given.minutes:
                break
    lines = [line for line in read_lines(notes.path) if line["kind"] == "model" or line["settings"] in current]
    if all(line["kind"] == "model" for line in lines):
        raise SystemExit(
            f"no line of {notes.path} is of these packings, this seed and as many bursts: nothing is drawn; give "
            "--packings, --seed and --bursts as when they were made, or another --out"
        )
    pareto_tables.write(lines, out / "pareto.md", scale.several, machine())
    pareto_figure.draw(lines, out, scale.several)


if __name__ == "__main__":
    main()
