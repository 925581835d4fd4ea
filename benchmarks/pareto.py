"""Who wins, the solver or the forecaster: error against milliseconds a simulated crossing, through packings.

On preset `packing` at three contrasts, and where one thing is changed each (pareto_cases.py), on test media. The truth
is a conforming run refined until its own error is small (pareto_truth.py). It is raced by solvers that are cheaper
(pareto_solvers.py) and by the forecasters whose files are given (pareto_forecasters.py), all in single precision on one
thread: relative L2 of pressure over the grid's cells, at half and at one crossing of the background over the unit
square, VRMSE over frames 6 to 12 and 13 to 30; milliseconds of the processor, of one simulation and of a batch, in the
first medium. What a medium costs once (meshing, assembly, encoder) is told apart.

    OMP_NUM_THREADS=1 python benchmarks/pareto.py [--models A.safetensors B.safetensors ...] [--data DATASET ...]
        [--packings packings.h5] [--media 8] [--scenarios "contrast (20, 5)" ...] [--quick] [--finished]

Packings are those that the shipped forecasters were trained on, made anew by the same recipe: their test split has not
been seen. With --data, the datasets that they were trained on (by default those of ship_presets.py, where they are), it
is told after how many simulations data and training have paid. Every measurement is a line of OUT/runs.jsonl and is not
made again: a second call goes on where the first stopped, and one with another model adds it; but milliseconds that are
held against each other are taken in turns in one process: with whoever has none of this machine yet, all that decide
are timed again. With --untimed only errors are measured, on a machine that may have other work. OUT/pareto.md and the
figures are made of the lines alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pareto_figure
import pareto_forecasters
import pareto_solvers
import pareto_tables
import torch
from pareto_cases import QUICK, SCENARIOS, Case, Scale, Scenario, cases, packings_of
from pareto_forecasters import Model
from pareto_panels import decisive, panels
from pareto_solvers import FINER, Solver, solvers
from pareto_tensor import SPREADS
from pareto_truth import Truth, truth_of, unchecked

from wavesim.errors import WavesimError
from wavesim.lock import sole_user
from wavesim.provenance import log_lines, machine, read_lines, revision, settings_hash
from wavesim.surrogate import load
from wavesim.turns import in_turns

RESULTS = Path(__file__).parent / "results" / "pareto"
MODELS = Path(__file__).parents[1] / "data" / "models"
Runner = Solver | Model
Lines = list[dict[str, Any]]


class Notes:
    """The lines of finished measurements, by what they are of."""

    def __init__(self, path: Path):
        self.path, self.lines = path, {line["key"]: line for line in read_lines(path)}

    def known(self, *what: Any) -> dict[str, Any] | None:
        """The line of a measurement, or nothing."""
        return self.lines.get(settings_hash(what))

    def add(self, line: dict[str, Any], *what: Any) -> dict[str, Any]:
        key, told = settings_hash(what), {**line, "revision": revision()}
        self.lines[key] = {"key": key, **told}
        log_lines(self.path, [told], key=key)
        return line


def settings_of(scenario: Scenario, scale: Scale, given: argparse.Namespace) -> str:
    """What lines must have in common to stand in one table, beside their cases."""
    return settings_hash([asdict(scenario), asdict(scale), given.bursts, given.seed])


def current(scale: Scale, given: argparse.Namespace, notes: Notes) -> Lines:
    """Lines of models, and those made with these settings; where packings of one name are not the same, of those that
    came last."""
    found = {settings_of(scenario, scale, given) for scenario in SCENARIOS}
    own = [line for line in notes.lines.values() if line["kind"] == "model" or line["settings"] in found]
    last = {(line["scenario"], line["packing"]): line["case"] for line in own if line["kind"] == "truth"}
    return [
        line
        for line in own
        if line["kind"] in ("model", "trial") or line["case"] == last.get((line["scenario"], line["packing"]))
    ]


def identity(one: Runner) -> list[Any]:
    return ["model", one.fingerprint, one.name] if isinstance(one, Model) else ["solver", one.about()]


def tell(models: Sequence[Model], notes: Notes) -> None:
    """A line of each model of what is known of it, now or, of the same file, before."""
    for one in models:
        run, before = one.about(), (notes.known("model", one.name) or {"run": {}})["run"]
        if before.get("fingerprint") == one.fingerprint:
            run["trained"] = run["trained"] or before["trained"]
            run["seconds"] = {**before["seconds"], **run["seconds"]}
        line = {"kind": "model", "run": run}
        if {**line, "revision": "", "key": ""} != {**(notes.known("model", one.name) or {}), "revision": "", "key": ""}:
            notes.add(line, "model", one.name)


def race(given: argparse.Namespace, scale: Scale, models: Sequence[Model], notes: Notes) -> Iterator[str]:
    """Measure what is missing; yields what is at work."""
    for scenario in SCENARIOS:
        if given.scenarios and scenario.name not in given.scenarios:
            continue
        first: tuple[Case, Truth] | None = None
        media = given.media if scenario.main else min(given.media, given.others)
        where = given.packings, given.folder
        about = {"scenario": scenario.name, "settings": settings_of(scenario, scale, given)}
        yield f"{scenario.name}: the spread of tensors"
        (trial,) = cases(scenario, scale, *where, 1, given.bursts, given.seed, "valid")
        tensors = list(spread_best(trial, {**about, "packing": trial.packing.name, "case": trial.key}, notes))
        runners: list[Runner] = [*solvers(scale), *tensors, *models]
        for case in cases(scenario, scale, *where, media, given.bursts, given.seed):
            about |= {"packing": case.packing.name, "case": case.key}
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
        if first is not None and not given.untimed:
            about |= {"packing": first[0].packing.name, "case": first[0].key}
            for some in in_sittings(first[0], runners, scale, given, notes):
                yield f"{scenario.name}: milliseconds of {len(some)}"
                time_all(*first, some, about, given.folder, notes)


def spread_best(case: Case, about: dict[str, Any], notes: Notes) -> Iterator[Solver]:
    """Tensors of the spread that errs least at one crossing in this medium, where it is not the published one."""
    truth: Truth | None = None
    for one in solvers(case.scale):
        if one.family != "tensor" or one.order != 4:
            continue
        what = case.key, identity(one), SPREADS, "trial"
        line = notes.known(*what)
        if line is None:
            truth = truth or unchecked(case)
            tried = [pareto_solvers.errors_of(case, truth, replace(one, spread=spread)) for spread in SPREADS]
            errors = [float(np.mean(found["state"]["one"])) for found in tried]
            line = notes.add({**about, "kind": "trial", "run": one.about(), "errors": errors}, *what)
        best = replace(one, spread=SPREADS[int(np.argmin(line["errors"]))])
        if best != one:
            yield best


def in_sittings(
    case: Case, runners: list[Runner], scale: Scale, given: argparse.Namespace, notes: Notes
) -> Iterator[list[Runner]]:
    """Those that are to be timed together: who is not timed on this machine yet, and who decides (pareto_panels.py),
    until all that do were timed together. Those that have no errors in this medium have no times."""
    batches, together, able = (1, scale.several), set[str](), []
    for one in runners:
        errors = notes.known(case.key, identity(one), "errors")
        if one.name != "persistence" and errors and "refused" not in errors:
            able.append(one)
    while True:
        lines = {one.name: [notes.known(case.key, identity(one), "time", batch) for batch in batches] for one in able}
        lacking = {
            name for name, taken in lines.items() if any(not one or one["machine"] != machine() for one in taken)
        }
        (panel,) = (one for one in panels(current(scale, given, notes)) if one.scenario == case.scenario)
        best = [row for row in decisive(panel, batches) if row.name in {one.name for one in able}]
        if not lacking and len({row.taken for row in best}) < 2:
            return
        together |= lacking | {row.name for row in best}
        yield [one for one in able if one.name in together]


def time_all(
    case: Case, truth: Truth, runners: list[Runner], about: dict[str, Any], folder: Path, notes: Notes
) -> None:
    """Milliseconds a simulated crossing, of one simulation and of one in a batch, in turns."""
    batches = 1, case.scale.several
    works: dict[int, dict[tuple[str, str, int], tuple[Callable[[], None], int]]] = {batch: {} for batch in batches}
    largest = case.scale.several * case.scale.frames * 2 * (max(FINER) * case.config.grid) ** 2
    room = np.empty(largest, np.float32)  # for all of them; what is not written takes no memory
    for one in runners:
        if isinstance(one, Model):
            for batch in batches:
                found = pareto_forecasters.frames_of(case, truth, one, batch, folder, room)
                for runtime, (work, calls, frames) in found.items():
                    works[batch][one.name, runtime, frames] = work, calls
        else:
            for batch, (work, frames) in pareto_solvers.frames_of(case, truth, one, batches, room).items():
                works[batch][one.name, "solver", frames] = work, 1
    lines = []
    for batch in batches:
        turns, burst = (3, 1) if case.scale.quick else (15, 4) if batch == 1 else (5, 1)
        pairs = in_turns(works[batch], turns, burst, time.process_time)
        taken = sorted((one / frames, other / frames, *run) for (*run, frames), (one, other) in pairs.items())
        factor = case.scale.frames / batch
        for one in runners:
            least, median, _, runtime = next(row for row in taken if row[2] == one.name)
            line = {**about, "kind": "time", "run": one.about(), "batch": batch, "runtime": runtime}
            if isinstance(one, Model) and batch == 1:
                line["seconds"] = pareto_forecasters.seconds_of(case, truth, one)
            lines.append((one, {**line, "milliseconds": least * factor, "median": median * factor}))
    at = {"machine": machine(), "taken": time.strftime("%Y-%m-%d %H:%M:%S")}
    for one, line in lines:
        notes.add({**line, **at}, case.key, identity(one), "time", line["batch"])


def shipped() -> Iterator[Path]:
    """Files of forecasters shipped for packings, and of published networks, whose libraries are installed."""
    for path in (path for kind in ("packing*", "published") for path in sorted(MODELS.glob(f"{kind}/*.safetensors"))):
        try:
            load(path)
        except WavesimError as error:
            print(f"{path.stem} does not race: {error}")
        else:
            yield path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--models", type=Path, nargs="*", help="default: those shipped for packings, and published networks"
    )
    made = sorted(Path("runs/apriori/data").glob("packing*-256-64"))
    parser.add_argument("--data", type=Path, nargs="*", default=made, help="datasets that they were trained on")
    parser.add_argument("--training", type=float, help="seconds of a training, of models whose folder does not tell")
    parser.add_argument("--packings", type=Path, help="packings.h5 to test on; default: made in FOLDER")
    parser.add_argument("--seed", type=int, default=0, help="of the datasets that went through them")
    parser.add_argument("--media", type=int, default=8, help="test media of each of the three contrasts")
    parser.add_argument("--others", type=int, default=2, help="test media where one thing is changed, at most --media")
    parser.add_argument("--bursts", type=int, default=2, help="simulations through each")
    parser.add_argument("--scenarios", nargs="*", choices=[one.name for one in SCENARIOS], help="default: all")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no measurement after so many")
    parser.add_argument("--quick", action="store_true", help="small, short and few: whether it runs")
    parser.add_argument("--untimed", action="store_true", help="only errors; a later call takes the milliseconds")
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
    with sole_user(given.folder):
        if not given.finished:
            if not scale.quick:
                given.packings = packings_of(SCENARIOS[0], given.packings, given.folder)
            files = list(shipped()) if given.models is None else given.models
            models = pareto_forecasters.models(files, given.data, given.training, given.packings)
            tell(models, notes)
            for words in race(given, scale, models, notes):
                print(words, flush=True)
                if time.perf_counter() - begin > 60 * given.minutes:
                    break
        lines = current(scale, given, notes)
    if all(line["kind"] == "model" for line in lines):
        raise SystemExit(
            f"no line of {notes.path} is of this seed and as many bursts: nothing is drawn; give --seed and --bursts "
            "as when they were made, or another --out"
        )
    pareto_tables.write(lines, out / "pareto.md", scale.several)
    pareto_figure.draw(lines, out, scale.several)


if __name__ == "__main__":
    main()
