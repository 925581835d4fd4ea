"""The loop that every method shares: approach, score, quota, plan, cut, restart, retrain, and again.

    OUT.safetensors      the last round's network, materialised; or the last one that is `within` an error
    OUT.rounds.jsonl     one row a round; row 0 is the network as it came
    OUT.lifetimes        how many rounds each weight survived (methods that cut single weights)
A round with nothing to cut leaves the network as it is, untrained. After each round the run is on disk: a call after
a kill goes on from there, and inside of the round in hand from its last validation. What is whole stays as it is.
"""

from __future__ import annotations

import copy
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning

from wavesim.config import PruningConfig, TrainingConfig
from wavesim.given import model_file
from wavesim.provenance import file_hash, generator, settings_hash, whole_file
from wavesim.pruning import kept
from wavesim.pruning.beforehand import (
    require_adam,
    require_apart,
    require_every_round,
    require_fit,
    require_rewind,
    rows_of_whole,
    sources_of,
)
from wavesim.pruning.beginnings import beginning_of, trained_on
from wavesim.pruning.materialise import delivered
from wavesim.pruning.method import Method
from wavesim.pruning.methods import METHODS
from wavesim.pruning.plans import require_prunable
from wavesim.pruning.quotas import everything
from wavesim.pruning.report import measured
from wavesim.pruning.run import Job, Row, Run
from wavesim.pruning.store import write_lifetimes, write_rows
from wavesim.surrogate import Forecaster, load, save
from wavesim.surrogate.devices import accelerator
from wavesim.surrogate.train import Progress, fit, prepare


def prune(
    model_path: str | Path,
    data: str | Path,
    pruning: PruningConfig,
    training: TrainingConfig,
    out: str | Path,
    seed: int = 0,
    progress: Progress | None = None,
    device: str = "cpu",
    networks: Path | None = None,
) -> list[Row]:
    """Prune a trained forecaster in rounds and write OUT (a .safetensors path) with its rows beside it.

    Args:
        data: a dataset's folder, ours or The Well's.
        training: how the forecaster was trained; `retraining` says what a round takes of it.
        progress: called as in training, with the iterations of all rounds in one count.
        networks: a folder that keeps each round's network, round_NUMBER.safetensors; none: only the result is kept.
    Returns:
        the rows, from round 0, the network as it came, to the last; `report.measured` says what is in them, and errors
        on the test split, where there is one, are in the row of the result.
    Raises:
        WavesimError: a model or data that do not fit each other or the method, a budget that leaves less than what has
            to stay, a rewind without a beginning, an OUT that is something else or was made or left half done with
            other settings, no such device. What can be refused is so before anything is trained or written.
    """
    model_path, data, out = model_file(model_path), Path(data), Path(out)
    require_apart(out, model_path, pruning)
    accelerator(device)  # a name that is none is told before anything is computed
    method = METHODS[pruning.method]
    pruning = pruning.model_copy(update={"rounds": rounds_of(pruning), "restart": restart_of(pruning)})
    require_rewind(pruning)
    require_adam(pruning, training)
    model = load(model_path)
    require_prunable(model)
    require_fit(model, method)
    told = {"pruning": pruning.model_dump(mode="json"), "training": training.model_dump(mode="json"), "seed": seed}
    told |= {"pruned_from": file_hash(model_path), "sources": sources_of(pruning)}
    identity = {**told, "data": trained_on(data)}
    job = Job(pruning, training, data, seed, device, out.parent / f".{out.stem}.pruning", settings_hash(identity))
    if rows := rows_of_whole(out, identity):
        shutil.rmtree(job.folder, ignore_errors=True)  # a kill may have come before this
        return rows

    prepared = prepare(copy.deepcopy(model), data, retraining(job), seed, job.folder, device)
    run = kept.resumed(job)
    networks = networks or job.folder / "networks"

    def keep(run: Run) -> Run:
        number, error = len(run.rows) - 1, run.rows[-1]["validation_error"]
        networks.mkdir(parents=True, exist_ok=True)
        about = {**told, "validation_error": error, "data": prepared.said}
        save(delivered(run.model, pruning, number), _round(networks, number), about)
        kept.keep(run)  # last: a round whose network is not kept is done again
        return run

    if run is None:
        run = keep(begun(job, method, model, model_path))  # so that the first round, too, can go on
    while run.number <= rounds_of(pruning) and not ended(run):
        run = keep(one_round(run, method, progress))
        write_rows(out, run.rows)
    chosen = chosen_of(run)
    if "test_error" not in run.rows[chosen]:
        run = with_test(run, chosen, load(_round(networks, chosen)))
        kept.keep(run)
    write_rows(out, run.rows)  # a kill may have come between the last two writes
    write_lifetimes(out, model_path, run)
    with whole_file(out) as part:
        shutil.copyfile(_round(networks, chosen), part)
    shutil.rmtree(job.folder)
    return list(run.rows)


def _round(networks: Path, number: int) -> Path:
    return networks / f"round_{number}.safetensors"


def within(run: Run) -> list[bool]:
    """Which rounds are as good as the settings ask, round 0 being one of them; all, where they do not ask."""
    errors = [row["validation_error"] for row in run.rows]
    return [run.settings.within is None or error <= run.settings.within * errors[0] for error in errors]


def ended(run: Run) -> bool:
    """Whether the last two rounds were worse than the settings allow."""
    return not any(within(run)[-2:])


def chosen_of(run: Run) -> int:
    """The number of the round whose network is the result."""
    return max(number for number, good in enumerate(within(run)) if good)


def rounds_of(pruning: PruningConfig) -> int:
    """How many rounds the settings, or else the method, say."""
    return pruning.rounds or METHODS[pruning.method].rounds


def restart_of(pruning: PruningConfig) -> str:
    """Where retraining starts by the settings, or else as the method was published."""
    return pruning.restart or METHODS[pruning.method].restart


def trainings_of(pruning: PruningConfig) -> int:
    """How many trainings of `iterations` steps a pruning makes at most."""
    return rounds_of(pruning) * METHODS[pruning.method].trainings


def one_round(run: Run, method: Method, progress: Progress | None = None) -> Run:
    """Train where the method wants it, score, cut and retrain once."""
    start, before = time.perf_counter(), run.model
    done = steps = 0

    def trained(model: Forecaster, callbacks: Sequence[lightning.Callback], training: TrainingConfig) -> None:
        nonlocal done, steps
        iterations, number = training.iterations, run.number
        passed = ((number - 1) * method.trainings + done) * iterations
        of_all = trainings_of(run.settings) * iterations

        def report(iteration: int, _: int, error: float) -> None:
            if progress:
                progress(passed + iteration, of_all, error)

        stage = () if done + 1 == method.trainings else ("approach",)
        windows = int(generator(run.job.seed, "pruning", number, *stage).integers(2**31))
        folder = run.job.folder / f"round_{number}_{done}"
        came = fit(model, run.job.data, training, windows, folder, report, callbacks, run.job.device, read=False)
        done, steps = done + 1, steps + int(came.history[-1]["iteration"])  # a method may end a training

    if method.approach:
        whole = replace(run, model=copy.deepcopy(run.model) if method.retrains else run.restarted())
        training = fine_tuning(run.job) if method.retrains else retraining(run.job)
        run = method.approach(whole, lambda model, callbacks: trained(model, callbacks, training))
    scores = method.score(run)
    survivors = method.quota(run, scores)
    plan = method.plan(run, scores, survivors)
    run = run.cut(plan, survivors)
    errors = run.job.errors(run.model)
    if method.retrains and not same(run.model, before):
        model = run.restarted()
        trained(model, method.hooks(run, plan), retraining(run.job))
        run = replace(run, model=model)
    return with_row(run, method, start, steps, errors)


def retraining(job: Job) -> TrainingConfig:
    """The training of one round: after a rewind as the first one was, of its own length; otherwise a shorter one."""
    if job.pruning.restart == "fine-tune":
        return fine_tuning(job)
    return job.training.model_copy(update={"iterations": job.pruning.iterations})


def fine_tuning(job: Job) -> TrainingConfig:
    """A training that goes on: it has learned short rollouts already and takes the last stage alone.

    The peak learning rate stays: in a trial a quarter of it left an error of 0.076 after two rounds where the whole
    left 0.066.
    """
    training = job.training
    changes: dict[str, Any] = {"unrolls": training.unrolls[-1:], "shares": (1.0,)}
    return training.model_copy(update={"iterations": job.pruning.iterations, **changes})


def same(model: Forecaster, other: Forecaster) -> bool:
    """Whether two forecasters agree in every shape and weight."""
    pairs = zip(model.parameters(), other.parameters(), strict=True)
    return all(one.shape == another.shape and bool((one == another).all()) for one, another in pairs)


def with_row(
    run: Run, method: Method, start: float, steps: int = 0, errors_before: tuple[float, float] | None = None
) -> Run:
    """The run with the row of the round that led to it, begun at `start` on the performance counter, of so many
    optimiser steps."""
    result = delivered(run.model, run.settings, run.number)
    row: Row = {
        "round": run.number,
        "method": method.name,
        "steps": steps,
        **measured(run, result, method.cuts_weights),
    }
    row["one_step_error"], row["validation_error"] = errors = run.job.errors(result)
    row["validation_error_before_retraining"] = (errors_before or errors)[1]
    row["seconds"] = time.perf_counter() - start
    return replace(run, rows=(*run.rows, row), scores=None)


def with_test(run: Run, number: int, result: Forecaster) -> Run:
    """The run with the errors of its result, the network of a round, on the test split, where there is one: looked at
    once, at the end."""
    errors: tuple[float | None, float | None] = (None, None)
    if (run.job.data / "data" / "test").is_dir():
        errors = run.job.errors(result, "test")
    row = {**run.rows[number], "test_one_step_error": errors[0], "test_error": errors[1]}
    return replace(run, rows=(*run.rows[:number], row, *run.rows[number + 1 :]))


def begun(job: Job, method: Method, model: Forecaster, model_path: Path) -> Run:
    """The run before the first round."""
    start = time.perf_counter()
    before = beginning_of(model_path)
    initial = before.initial() if before else None
    first = Run(job, model, {}, model, initial, initial)
    rewinds = job.pruning.restart == "rewind"
    if rewinds:
        first.beginning()  # or the refusal
    require_every_round(first, method)
    if rewinds:
        assert before
        first = replace(first, early=before.later(job.pruning.rewind_to, job.data, job.folder / "early", job.device))
    scores = method.score(first)
    return with_row(replace(first, survivors=everything(scores)), method, start)
