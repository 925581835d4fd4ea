"""The main job: packings, truth, two forecasters, pruning, evaluation, report. Each stage goes on where it stopped.

RUN/config.json         all settings and the seed; other settings are refused
RUN/packings.h5         jammed by LAMMPS
RUN/waves/              the dataset: FE trajectories through the packings
RUN/models/             classical, compressed, pruned .safetensors, their histories and ONNX graphs
RUN/results.json        errors and costs
RUN/report.html         everything that a reader wants to see; figures and film beside it
RUN/stages.json         seconds each stage took
RUN/.lock               held by the demo at work here: there is one at a time
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from multiprocessing.managers import SyncManager
from pathlib import Path
from queue import Empty
from typing import Any

import torch
from tqdm import tqdm

from wavesim import processes
from wavesim.config import ForecasterConfig, RunConfig, TrainingConfig
from wavesim.errors import WavesimError
from wavesim.lock import sole_user
from wavesim.provenance import file_hash, write_json
from wavesim.settings import differences

STAGES = ("packings", "truth", "forecasters", "pruning", "evaluation", "report")


def run_demo(out: Path, config: RunConfig, seed: int, workers: int = 2, progress: bool = True) -> Path:
    """Run all stages that are not whole yet; returns the path of the report.

    Raises:
        WavesimError: a folder made with other settings or in use, a missing engine, or what a stage raises.
    """
    with sole_user(Path(out)):
        return _run(Path(out), config, seed, workers, progress)


def _run(out: Path, config: RunConfig, seed: int, workers: int, progress: bool) -> Path:
    _claim(out, config, seed)
    torch.set_num_threads(1)  # pruning and rollouts run here, beside processes that use the other cores
    seconds: dict[str, float] = _read(out / "stages.json", {})
    stages: dict[str, Callable[[], Any]] = {
        "packings": lambda: _packings(out, config, seed, workers, progress),
        "truth": lambda: _truth(out, config, seed, workers, progress),
        "forecasters": lambda: _forecasters(out, config, seed, progress),
        "pruning": lambda: _pruning(out, config, seed, progress),
        "evaluation": lambda: _evaluation(out, workers, progress),
        "report": lambda: _report(out, config, seed),
    }
    for name, stage in stages.items():
        start = time.perf_counter()
        worked = stage()
        if worked:
            seconds[name] = (
                seconds.get(name, 0.0) * (name not in ("evaluation", "report")) + time.perf_counter() - start
            )
            write_json(out / "stages.json", seconds)
        print(f"{name:12s} {seconds.get(name, 0.0):7.1f} s{'' if worked else '   (was whole)'}", flush=True)
    print(f"{'together':12s} {sum(seconds.values()):7.1f} s", flush=True)
    return out / "report.html"


def _claim(out: Path, config: RunConfig, seed: int) -> None:
    settings: dict[str, Any] = {"config": config.model_dump(mode="json"), "seed": seed}
    try:
        found = _read(out / "config.json", settings)
        ours = found.keys() == settings.keys()
    except (ValueError, AttributeError):  # not JSON, or no table
        ours = False
    if not ours:
        raise WavesimError(f"{out / 'config.json'} is not of a run of wavesim; give another --out")
    if found != settings:
        old, new = ({**one.get("config", {}), "seed": one.get("seed")} for one in (found, settings))
        raise WavesimError(
            f"{out} was begun with other settings ({', '.join(differences(old, new))}); give another --out, or move "
            "that folder away"
        )
    write_json(out / "config.json", settings)


def _packings(out: Path, config: RunConfig, seed: int, workers: int, progress: bool) -> bool:
    if (out / "packings.json").exists():
        return False
    from wavesim.granular import generate_packings

    write_json(out / "packings.json", generate_packings(config.packings, out, seed, workers, progress))
    return True


def _truth(out: Path, config: RunConfig, seed: int, workers: int, progress: bool) -> bool:
    if (out / "truth.json").exists():
        return False
    from wavesim.fem import generate_waves

    summary = generate_waves(config.waves, out / "packings.h5", out / "waves", seed, workers, progress)
    write_json(out / "truth.json", summary)
    return True


def twins(config: RunConfig) -> dict[str, ForecasterConfig]:
    """The classical forecaster and its one-way twin: the same topology, widths and reach."""
    return {
        "classical": config.forecaster.model_copy(update={"convolution": "classical"}),
        "compressed": config.forecaster.model_copy(update={"convolution": "one-way"}),
    }


def _forecasters(out: Path, config: RunConfig, seed: int, progress: bool) -> bool:
    """Train the twins side by side, one process of one thread each."""
    paths = {name: out / "models" / f"{name}.safetensors" for name in twins(config)}
    missing = {name: twin for name, twin in twins(config).items() if not paths[name].exists()}
    if not missing:
        return False
    context = processes.Spawn()
    manager = SyncManager(ctx=context)
    with processes.undivided():  # its process answers once, and would complain if nobody listened
        manager.start(processes.follow_parent)
    with manager, processes.pool(len(missing)) as pool:
        queue = manager.Queue()
        jobs = [
            pool.submit(_train_one, queue, name, twin, config.training, out / "waves", paths[name], seed)
            for name, twin in missing.items()
        ]
        bars = {
            name: tqdm(
                total=config.training.iterations, desc=f"train {name}", position=i, disable=None if progress else True
            )
            for i, name in enumerate(missing)
        }
        while any(not job.done() for job in jobs) or not queue.empty():
            try:
                name, iteration, error = queue.get(timeout=0.2)
            except Empty:
                continue
            bars[name].n = iteration
            bars[name].set_postfix_str(f"validation rel. L2 {error:.3f}" if error == error else "")
        for bar in bars.values():
            bar.close()
        for job in jobs:
            job.result()
    return True


def _train_one(
    queue: Any, name: str, forecaster: ForecasterConfig, training: TrainingConfig, data: Path, out: Path, seed: int
) -> None:
    from wavesim.surrogate import train

    torch.set_num_threads(1)
    train(forecaster, training, data, out, seed, lambda i, _, error: queue.put((name, i, error)))


def _pruning(out: Path, config: RunConfig, seed: int, progress: bool) -> bool:
    pruned = out / "models" / "pruned.safetensors"
    if pruned.exists():
        return False
    from wavesim.pruning import prune, trainings_of

    total = trainings_of(config.pruning) * config.pruning.iterations
    with tqdm(total=total, desc="prune", disable=None if progress else True) as bar:

        def report(iteration: int, _: int, error: float) -> None:
            bar.n = iteration
            bar.set_postfix_str(f"validation rel. L2 {error:.3f}" if error == error else "")
            bar.refresh()

        compressed = out / "models" / "compressed.safetensors"
        prune(compressed, out / "waves", config.pruning, config.training, pruned, seed, report)
    return True


def models_of(run: Path) -> dict[str, Path]:
    """The forecasters of a run that are there, by name."""
    paths = {name: run / "models" / f"{name}.safetensors" for name in ("classical", "compressed", "pruned")}
    return {name: path for name, path in paths.items() if path.exists()}


def _evaluation(out: Path, workers: int, progress: bool) -> bool:
    from wavesim.evaluate import evaluate

    models = models_of(out)
    hashes = {name: file_hash(path) for name, path in models.items()}
    found = _read(out / "results.json", {})
    if found.get("models") == hashes and "floors" in found:  # not of a version that measured less
        return False
    results = evaluate(models, out / "waves", out / "models", workers=workers, progress=progress)
    write_json(out / "results.json", {**results, "models": hashes})
    return True


def _report(out: Path, config: RunConfig, seed: int) -> bool:
    from wavesim.report import write_report

    write_report(out, config, seed)
    return True


def _read(path: Path, default: Any) -> Any:
    return json.loads(path.read_text()) if path.exists() else default
