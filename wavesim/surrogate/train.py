"""Training of a forecaster on FE trajectories: what may be trained, with Lightning, on how many processes.

    prepare(...) -> Job      nothing speaks against it, and nothing is written yet
    fitted(job)  -> Fitted   its model has the best weights (unrolled.py says of which loss, and best at what)
A call after a kill goes on from the last validation.
"""

from __future__ import annotations

import ctypes
import logging
import shutil
import signal
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment

from wavesim.config import ForecasterConfig, TrainingConfig
from wavesim.dataset import WaveDataset
from wavesim.errors import WavesimError
from wavesim.provenance import write_lines
from wavesim.surrogate.checkpoint import save
from wavesim.surrogate.data import (
    WaveData,
    between_its_sides,
    courant_of,
    described,
    read_through,
    require_trainable,
    validation_batch,
)
from wavesim.surrogate.devices import accelerator
from wavesim.surrogate.distributed import side_by_side
from wavesim.surrogate.logs import Log, Progress, Reporter, tensorboard
from wavesim.surrogate.models import Forecaster
from wavesim.surrogate.running import Running, goes_on, progress_in, training_hash
from wavesim.surrogate.unrolled import Unrolled, known, rollout_error
from wavesim.well_dataset import open_split


def keep_freed_memory() -> None:
    """Have glibc keep what is freed for the next allocation.

    Each step allocates the same megabytes again; given back to the system between two steps, they cost a page fault
    each: 16.9 against 7.3 ms for forward and backward of a one-way filter of rank 32 on 4 x 64 x 64 cells.
    """
    if sys.platform == "linux" and hasattr(glibc := ctypes.CDLL(None), "mallopt"):
        trim_threshold, mmap_threshold, top_pad = -1, -3, -2
        for parameter, size in ((mmap_threshold, 1 << 30), (trim_threshold, (1 << 31) - 1), (top_pad, 1 << 26)):
            glibc.mallopt(parameter, size)


def untrained(config: ForecasterConfig, courant: float, seed: int) -> Forecaster:
    """The forecaster that training with `seed` starts from; the caller's random state stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Forecaster(config, courant)


@dataclass(frozen=True)
class Job:
    """What a training is a function of, and where and how it runs.

    folder: of the running checkpoint. devices: processes that share every batch, of one graphics card each, or of the
    processor. workers: processes that read ahead, for each of them. log: a folder for curves and log; none: neither.
    said: what a file says of the data, where they were read for it.
    """

    model: Forecaster
    data: Path
    config: TrainingConfig
    seed: int
    folder: Path
    device: str = "cpu"
    devices: int = 1
    workers: int = 0
    log: Path | None = None
    said: dict[str, Any] | None = None

    @property
    def running(self) -> Path:
        """Where the running checkpoint lies."""
        return self.folder / "running.ckpt"


@dataclass(frozen=True)
class Fitted:
    """history: iteration, loss, unroll, validation_error of every validation; seconds: over all calls."""

    history: list[dict[str, float]]
    seconds: float


def prepare(
    model: Forecaster,
    data: str | Path,
    config: TrainingConfig,
    seed: int,
    folder: Path,
    device: str = "cpu",
    devices: int = 1,
    workers: int = 0,
    log: Path | None = None,
    read: bool = True,
) -> Job:
    """A training that nothing speaks against; nothing is written yet. Arguments and errors are those of `fit`.

    The data are read through once for values that are not finite, unless this training was begun before.
    """
    if not model.config.ranks:
        raise WavesimError("ranks is empty: the coarse step alone has no weights to train; give at least one rank")
    if config.weight_decay and not known(model):
        raise WavesimError("weight_decay: no layer of this network knows its dense kernel; set it to 0")
    accelerator(device, devices)
    if config.batch % devices:
        raise WavesimError(f"batch {config.batch} cannot be shared among {devices} devices; give a multiple of them")
    splits = open_split(data, "train"), open_split(data, "valid")
    require_trainable(model, config, *splits)
    job = Job(model.train(), Path(data), config, seed, folder, device, devices, workers, log)
    if not read or goes_on(job.running, training_hash(job.model, config, seed, splits)):
        return job
    return replace(job, said=read_through(*splits))


def fit(
    model: Forecaster,
    data: str | Path,
    config: TrainingConfig,
    seed: int,
    folder: Path,
    progress: Progress | None = None,
    callbacks: Sequence[lightning.Callback] = (),
    device: str = "cpu",
    read: bool = True,
) -> Fitted:
    """Train `model` in place, keeping its best weights; a call after a kill goes on from the last validation.

    Args:
        data: a dataset's folder, ours or The Well's. folder: where the running checkpoint lives. The caller removes it
            once the model is saved: until then another call with the same arguments takes the result from it.
        device: as in `devices`. read: whether the data are read through first, for values that are not finite; who has
            had them read before saves the time.
    Raises:
        WavesimError: a forecaster without weights, a device that is not there, data that are not finite or do not fit
            the model or the unrolls, a loss that is not finite, or no validation error that is.
    """
    return fitted(prepare(model, data, config, seed, folder, device, read=read), progress, callbacks)


def fitted(job: Job, progress: Progress | None = None, callbacks: Sequence[lightning.Callback] = ()) -> Fitted:
    """Train the job's model in place, on as many processes as it says; as `fit`."""
    if job.devices == 1:
        run(job, progress, callbacks)
    else:
        side_by_side(run, job.devices, job, progress)
    result = progress_in(job.running)
    if result["best_weights"] is None:
        raise WavesimError(
            f"no validation error of the last stage was finite (unrolls of {job.config.unrolls[-1]} frames): the "
            "forecasts blow up; lower learning_rate, lengthen the unrolls, or set conserve_energy"
        )
    job.model.load_state_dict(result["best_weights"])
    job.model.eval()
    return Fitted(result["history"], result["seconds"])


def run(job: Job, progress: Progress | None = None, callbacks: Sequence[lightning.Callback] = ()) -> None:
    """Train to the end, in this process or in its part of a training of several."""
    keep_freed_memory()
    train, valid = open_split(job.data, "train"), open_split(job.data, "valid")
    running = Running(job.running, training_hash(job.model, job.config, job.seed, (train, valid)))
    resumed = goes_on(running.path, running.training)
    module = Unrolled(job.model, job.config, validation_batch(valid))
    kind, devices = accelerator(job.device, job.devices)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # our own progress and errors are enough
    trainer = lightning.Trainer(
        max_steps=job.config.iterations,
        accelerator=kind,
        devices=devices,
        strategy="auto" if job.devices == 1 else "ddp",
        plugins=None if job.devices == 1 else [LightningEnvironment()],
        precision="bf16-mixed" if job.config.precision == "bfloat16" else "32-true",
        gradient_clip_val=job.config.gradient_clip,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,  # the data module shares out the windows
        logger=tensorboard(job.log) if job.log else False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            running,
            *([Log(job.log)] if job.log else []),
            *([Reporter(progress)] if progress else []),
            *callbacks,
        ],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            trainer.fit(
                module,
                datamodule=WaveData(train, job.config, job.seed, job.workers),
                ckpt_path=str(running.path) if resumed else None,
                weights_only=True,
            )
        except WavesimError as error:  # of a reading process it comes with its whole traceback
            raise WavesimError(
                str(error).strip().splitlines()[-1].removeprefix("wavesim.errors.WavesimError: ")
            ) from error
        except SystemExit as end:  # Lightning's answer to an interruption, after which it ignores any other
            if not isinstance(end.__context__, KeyboardInterrupt):
                raise
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt from end


def about(job: Job, splits: tuple[WaveDataset, WaveDataset]) -> dict[str, Any]:
    """What a trained model's file says of its training: settings, seed, data, and its error on the second split."""
    error = rollout_error(job.model, *validation_batch(splits[1]))
    return {
        "training": job.config.model_dump(),
        "seed": job.seed,
        "validation_error": error,
        "data": job.said or described(*splits),
    }


def train(
    forecaster: ForecasterConfig,
    training: TrainingConfig,
    data: str | Path,
    out: str | Path,
    seed: int = 0,
    progress: Progress | None = None,
    device: str = "cpu",
    devices: int = 1,
    workers: int = 0,
) -> Path:
    """Train a forecaster from scratch and write OUT (a .safetensors path) with its history beside it.

    Args:
        data: a dataset's folder, ours or The Well's. device: as in `devices`. devices: how many of them share every
            batch. workers: processes that read ahead, for each of them.
    Raises:
        WavesimError: as `fit`.
    """
    out = Path(out)
    splits = open_split(data, "train"), open_split(data, "valid")
    model = untrained(between_its_sides(forecaster, splits[0]), courant_of(splits[0]), seed)
    folder = out.parent / f".{out.stem}.training"
    job = prepare(model, data, training, seed, folder, device, devices, workers)
    result = fitted(job, progress)
    write_lines(out.with_suffix(".history.jsonl"), result.history)
    save(model, out, about(job, splits))
    shutil.rmtree(folder)
    return out
