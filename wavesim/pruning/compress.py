"""The loop that every method shares: score, quota, plan, cut, restart, retrain, and again.

    OUT.safetensors       the last round's network, materialised
    OUT.rounds.jsonl      one row a round; row 0 is the network as it came
A round with nothing to cut leaves the network as it is, untrained. After each round the run is on disk: a call after
a kill goes on from there, and inside of the round in hand from its last validation.
"""

from __future__ import annotations

import copy
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wavesim.config import ForecasterConfig, PruningConfig, TrainingConfig
from wavesim.errors import WavesimError
from wavesim.provenance import file_hash, generator, settings_hash, whole_file, write_lines
from wavesim.pruning.materialise import apply, materialise
from wavesim.pruning.methods import METHODS
from wavesim.pruning.plans import Mask, Plan
from wavesim.pruning.pq_index import gini_index, pq_index
from wavesim.pruning.quotas import Survivors, everything, surviving_scores
from wavesim.pruning.report import cost
from wavesim.surrogate import Forecaster, load, save
from wavesim.surrogate.checkpoint import read_header
from wavesim.surrogate.data import described, require_trainable
from wavesim.surrogate.devices import accelerator
from wavesim.surrogate.train import Progress, fit, rollout_error, validation_batch
from wavesim.well_dataset import open_split

Row = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """What stays the same over all rounds. folder: where the run is kept until it is whole."""

    pruning: PruningConfig
    training: TrainingConfig
    data: Path
    seed: int
    device: str
    folder: Path
    settings: str

    def error(self, model: Forecaster) -> float:
        """Mean relative L2 error over rollouts of 32 frames of 8 validation trajectories."""
        return rollout_error(model, *validation_batch(open_split(self.data, "valid")))


@dataclass(frozen=True)
class Run:
    """Where pruning stands. initial: the weights before any training, cut like the model's, where restarts rewind."""

    model: Forecaster
    survivors: Survivors
    initial: Forecaster | None
    rows: tuple[Row, ...] = ()


def prune(
    model_path: str | Path,
    data: str | Path,
    pruning: PruningConfig,
    training: TrainingConfig,
    out: str | Path,
    seed: int = 0,
    progress: Progress | None = None,
    device: str = "cpu",
) -> list[Row]:
    """Prune a trained forecaster in rounds and write OUT (a .safetensors path) with its rows beside it.

    Args:
        data: a dataset's folder, ours or The Well's.
        training: how the forecaster was trained; `retraining` says what a round takes of it.
        progress: called as in training, with the iterations of all rounds in one count.
    Returns:
        the rows, from round 0, the network as it came, to the last: round; pq_index and gini_index, means over the
        groups of what is left; pq_index_groups; survivors, what the index leaves of weights or units; density, non-zero
        parameters over those of round 0; what `report.cost` says of the materialised network; seconds;
        validation_error_before_retraining and validation_error, as in `surrogate.train`.
    Raises:
        WavesimError: a model or data that do not fit each other or the method, a rewind without a beginning, no such
            device.
    """
    model_path, data, out = Path(model_path), Path(data), Path(out)
    if out.resolve() == model_path.resolve():
        raise WavesimError(f"{out} is the forecaster to prune; give the result another name")
    accelerator(device)  # a name that is none is told before anything is computed or written
    model = load(model_path)
    told = {"pruning": pruning.model_dump(), "training": training.model_dump(), "seed": seed}
    told |= {"pruned_from": file_hash(model_path)}
    settings = settings_hash({**told, "data": str(data.resolve())})
    job = Job(pruning, training, data, seed, device, out.parent / f".{out.stem}.pruning", settings)

    require_trainable(model, retraining(job), open_split(data, "train"), open_split(data, "valid"))
    run = resumed(job)
    if run is None:
        run = begun(job, model, model_path)
        keep(job, run)  # so that the first round, too, goes on from its last validation
    while len(run.rows) <= pruning.rounds:
        run = one_round(job, run, progress)
        keep(job, run)
        write_lines(out.with_suffix(".rounds.jsonl"), run.rows)
    write_lines(out.with_suffix(".rounds.jsonl"), run.rows)  # a kill may have come between the last two writes
    result = materialise(run.model, Mask({}))
    trained = described(open_split(data, "train"), open_split(data, "valid"))
    save(result, out, {**told, "validation_error": run.rows[-1]["validation_error"], "data": trained})
    shutil.rmtree(job.folder)
    return list(run.rows)


def one_round(job: Job, run: Run, progress: Progress | None = None) -> Run:
    """Score, cut and retrain once."""
    start, number = time.perf_counter(), len(run.rows)
    method = METHODS[job.pruning.method]
    scores = method.score(run.model)
    survivors = method.quota(scores, run.survivors, job.pruning)
    plan = method.plan(scores, survivors, job.pruning)
    model = apply(run.model, plan)
    initial = apply(run.initial, plan) if run.initial else None
    error_before = job.error(model)
    if not same(model, run.model):
        if initial:
            model = copy.deepcopy(initial)

        def report(iteration: int, iterations: int, error: float) -> None:
            if progress:
                progress((number - 1) * iterations + iteration, job.pruning.rounds * iterations, error)

        windows = int(generator(job.seed, "pruning", number).integers(2**31))
        folder = job.folder / f"round_{number}"
        fit(model, job.data, retraining(job), windows, folder, report, method.hooks(plan), job.device)
    return with_row(job, Run(model, still_there(survivors, plan), initial, run.rows), start, error_before)


def retraining(job: Job) -> TrainingConfig:
    """The training of one round: after a rewind as the first one was, of its own length; otherwise a shorter one.

    A network that goes on has learned short rollouts already: it takes the last stage alone. The peak learning rate
    stays: in a trial a quarter of it left an error of 0.076 after two rounds where the whole left 0.066.
    """
    changes: dict[str, Any] = {"iterations": job.pruning.iterations}
    if job.pruning.restart == "fine-tune":
        changes |= {"unrolls": job.training.unrolls[-1:], "shares": (1.0,)}
    return job.training.model_copy(update=changes)


def still_there(survivors: Survivors, plan: Plan) -> Survivors:
    """The survivors, counted among the units that a plan leaves."""
    if isinstance(plan, Mask):
        return survivors
    return {group: values[plan.units[group]] for group, values in survivors.items()}


def same(model: Forecaster, other: Forecaster) -> bool:
    """Whether two forecasters agree in every shape and weight."""
    pairs = zip(model.parameters(), other.parameters(), strict=True)
    return all(torch.equal(one, another) for one, another in pairs)


def with_row(job: Job, run: Run, start: float, error_before: float | None = None) -> Run:
    """The run with the row of the round that led to it, begun at `start` on the performance counter."""
    scores = METHODS[job.pruning.method].score(run.model)
    groups = surviving_scores(scores, run.survivors, job.pruning.scope)
    indices = {group: pq_index(values, job.pruning.p, job.pruning.q) for group, values in groups.items()}
    costs = cost(materialise(run.model, Mask({})), open_split(job.data, "valid").grid)
    error = job.error(run.model)
    row: Row = {
        "round": len(run.rows),
        "pq_index": float(np.mean(list(indices.values()))),
        "gini_index": float(np.mean([gini_index(values) for values in groups.values()])),
        "pq_index_groups": indices,
        "survivors": sum(int(left.sum()) for left in run.survivors.values()),
        "density": costs["nonzero"] / (run.rows[0] if run.rows else costs)["nonzero"],
        **costs,
        "validation_error_before_retraining": error if error_before is None else error_before,
        "validation_error": error,
        "seconds": time.perf_counter() - start,
    }
    return Run(run.model, run.survivors, run.initial, (*run.rows, row))


def begun(job: Job, model: Forecaster, model_path: Path) -> Run:
    """The run before the first round."""
    start = time.perf_counter()
    survivors = everything(METHODS[job.pruning.method].score(model))
    initial = beginning(model_path) if job.pruning.restart == "rewind" else None
    return with_row(job, Run(model, survivors, initial), start)


def beginning(model_path: Path) -> Forecaster:
    """The forecaster before its training: drawn again from the seed in its file, as `surrogate.train` drew it.

    Raises:
        WavesimError: a file of a forecaster that was not trained from scratch, such as a pruned one.
    """
    header = read_header(model_path)
    if "seed" not in header["about"] or "pruning" in header["about"]:
        raise WavesimError(
            f"{model_path} does not say from which seed it was trained from scratch, so there is nothing to rewind to; "
            "set restart = 'fine-tune'"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(header["about"]["seed"])
        return Forecaster(header["config"], header["courant"])


def keep(job: Job, run: Run) -> None:
    """Write the run between two rounds, whole or not at all."""
    content = {
        "settings": job.settings,
        "config": run.model.config.model_dump_json(),
        "courant": run.model.courant,
        "model": run.model.state_dict(),
        "initial": run.initial.state_dict() if run.initial else None,
        "survivors": run.survivors,
        "rows": list(run.rows),
    }
    with whole_file(job.folder / "run.pt") as part:
        torch.save(content, part)


def resumed(job: Job) -> Run | None:
    """The run that an earlier call with the same settings left; one of other settings is cleared away."""
    kept = job.folder / "run.pt"
    content: dict[str, Any] = torch.load(kept, weights_only=True) if kept.is_file() else {"settings": None}
    if content["settings"] != job.settings:
        shutil.rmtree(job.folder, ignore_errors=True)
        return None

    def forecaster(weights: dict[str, torch.Tensor]) -> Forecaster:
        model = Forecaster(ForecasterConfig.model_validate_json(content["config"]), content["courant"])
        model.load_state_dict(weights)
        return model.eval()

    initial = forecaster(content["initial"]) if content["initial"] else None
    return Run(forecaster(content["model"]), content["survivors"], initial, tuple(content["rows"]))
