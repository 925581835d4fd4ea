"""Unrolled training of a forecaster on FE trajectories.

    loss = mean over windows and frames of |forecast - truth|^2 / |truth|^2,   both channels of (p, dt p_t)
The forecast of a window of U + 1 frames starts from its first and runs on its own output for U frames; U grows by
stages, because what is trained on short unrolls blows up on long ones. With `loss_frames` the loss runs over the last
of the U frames alone, those before being given (pushforward; Brandstetter et al., arXiv 2202.03376). The model that is
kept is the one with the smallest error over rollouts of 32 frames from the first state of 8 validation trajectories,
never of one step.
"""

from __future__ import annotations

import ctypes
import logging
import math
import shutil
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment

from wavesim.config import ForecasterConfig, TrainingConfig
from wavesim.dataset import WaveDataset
from wavesim.errors import WavesimError
from wavesim.metrics import relative_l2
from wavesim.provenance import write_lines
from wavesim.surrogate.averaging import Averaged
from wavesim.surrogate.checkpoint import save
from wavesim.surrogate.data import WaveData, courant_of, described, require_trainable, validation_batch
from wavesim.surrogate.devices import accelerator
from wavesim.surrogate.distributed import side_by_side
from wavesim.surrogate.logs import Log, Progress, Reporter, tensorboard
from wavesim.surrogate.models import Forecaster
from wavesim.surrogate.running import Running, goes_on, progress_in, training_hash
from wavesim.well_dataset import open_split


class Unrolled(lightning.LightningModule):
    """The loss above; `valid` holds the states (batch, time, 2, y, x) and media (batch, 2, y, x) to validate on."""

    def __init__(self, model: Forecaster, config: TrainingConfig, valid: tuple[torch.Tensor, torch.Tensor]):
        super().__init__()
        self.model, self.config, self.valid = model, config, valid
        self.averaged: Averaged | None = None
        self.best_error = math.inf
        self.best_weights: dict[str, torch.Tensor] | None = None
        self.history: list[dict[str, float]] = []
        self.losses: list[float] = []
        self.mean: dict[str, torch.Tensor] | None = None
        self.seconds_before, self.start = 0.0, time.perf_counter()
        edges = np.cumsum(config.shares) / sum(config.shares) * config.iterations
        self.last_of_stage = np.round(edges).astype(int)

    def seconds(self) -> float:
        """How long training has taken, in this call and in those that it goes on from."""
        return self.seconds_before + time.perf_counter() - self.start

    def unroll(self) -> int:
        """Frames of the current stage's rollouts."""
        stage = int(np.searchsorted(self.last_of_stage, self.global_step, side="right"))
        return self.config.unrolls[min(stage, len(self.config.unrolls) - 1)]

    def on_train_start(self) -> None:
        if self.config.ema:  # now that the weights are on their device
            self.averaged = Averaged(self.model, self.config.ema, self.mean)

    def training_step(self, batch: Sequence[torch.Tensor], _: int) -> torch.Tensor:
        states, medium = batch
        context = self.model.encode(medium)
        unroll = self.unroll()
        given = max(unroll - (self.config.loss_frames or unroll), 0)
        forecast, loss = states[:, 0], torch.zeros((), device=states.device)
        if given:
            with torch.no_grad():
                for _ in range(given):
                    forecast = self.model(forecast, context)
            torch.clear_autocast_cache()  # or the weights in half precision would stay those without gradients
        for frame in range(given + 1, unroll + 1):
            forecast = self.model(forecast, context)
            truth = states[:, frame]
            loss = loss + ((forecast - truth).square().sum((1, 2, 3)) / truth.square().sum((1, 2, 3))).mean()
        loss = loss / (unroll - given)
        if not torch.isfinite(loss):
            raise WavesimError(self.why_not_finite(states, loss.item()))
        self.losses.append(loss.item())
        return loss

    def why_not_finite(self, states: torch.Tensor, loss: float) -> str:
        """One line on a loss that is no number."""
        if not states[:, 1:].square().sum((2, 3, 4)).all():
            return "a training trajectory has a frame that is zero throughout, against which no error is relative"
        return f"the training loss is {loss} at iteration {self.global_step}; lower learning_rate"

    def on_train_batch_end(self, *_: Any) -> None:
        if self.averaged:
            self.averaged.update()

    def on_train_epoch_end(self) -> None:
        if self.global_step % self.config.validate_every and self.global_step < self.config.iterations:
            return  # Lightning closes a resumed epoch after its first step
        with self.averaged.in_place() if self.averaged else nullcontext():
            self.validate()

    def validate(self) -> None:
        """Add to the history, and keep the weights where they are the best so far."""
        error = rollout_error(self.model, *self.valid)
        loss = float(np.mean(self.losses))
        if self.trainer.world_size > 1:  # each process has the losses of its own windows
            mine = torch.tensor(loss, dtype=torch.float64, device=self.device)
            loss = float(self.trainer.strategy.reduce(mine, reduce_op="mean"))
        record = {"iteration": self.global_step, "loss": loss, "unroll": self.unroll()}
        self.history.append({**record, "validation_error": error})
        self.losses.clear()
        # Short unrolls can look good over these frames and blow up after them: only the last stage's models count.
        last_stage = self.global_step > self.last_of_stage[-2:-1].sum() or self.global_step == self.config.iterations
        if error < self.best_error and last_stage:
            self.best_error = error
            self.best_weights = {name: value.clone() for name, value in self.model.state_dict().items()}

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.model.parameters(), lr=self.config.learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.config.learning_rate, total_steps=self.config.iterations + 1, pct_start=0.1
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["progress"] = {
            "history": self.history,
            "best_error": self.best_error,
            "best_weights": self.best_weights,
            "mean": self.averaged.mean if self.averaged else None,
            "seconds": self.seconds(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        progress = checkpoint["progress"]
        self.history, self.mean, self.seconds_before = progress["history"], progress["mean"], progress["seconds"]
        self.best_error, self.best_weights = progress["best_error"], progress["best_weights"]


def rollout_errors(model: Forecaster, states: torch.Tensor, media: torch.Tensor) -> np.ndarray:
    """Relative L2 errors (time, batch) of the pressure over rollouts from the first state to the last."""
    device = model.coarse.differences.device
    with torch.no_grad():
        context = model.encode(media.to(device))
        forecast = states[:, 0].to(device)
        budget = model.budget(forecast, context)
        errors = []
        for frame in range(1, states.shape[1]):
            forecast = model(forecast, context)
            if model.config.conserve_energy:
                forecast = model.conserved(forecast, context, budget)
            errors.append(relative_l2(forecast[:, 0].cpu().numpy(), states[:, frame, 0].numpy()))
    return np.stack(errors)


def rollout_error(model: Forecaster, states: torch.Tensor, media: torch.Tensor) -> float:
    """The mean of `rollout_errors`; infinite where one of them is no number."""
    mean = float(np.mean(rollout_errors(model, states, media)))
    return mean if math.isfinite(mean) else math.inf


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
    """What a training is a function of, and where and how it runs: see `fit`."""

    model: Forecaster
    data: Path
    config: TrainingConfig
    seed: int
    folder: Path
    device: str = "cpu"
    devices: int = 1
    workers: int = 0
    log: Path | None = None

    @property
    def running(self) -> Path:
        """Where the running checkpoint lies."""
        return self.folder / "running.ckpt"


@dataclass(frozen=True)
class Fitted:
    """history: iteration, loss, unroll, validation_error of every validation; seconds: over all calls."""

    history: list[dict[str, float]]
    seconds: float


def fit(
    model: Forecaster,
    data: str | Path,
    config: TrainingConfig,
    seed: int,
    folder: Path,
    progress: Progress | None = None,
    callbacks: Sequence[lightning.Callback] = (),
    device: str = "cpu",
    devices: int = 1,
    workers: int = 0,
    log: Path | None = None,
) -> Fitted:
    """Train `model` in place, keeping its best weights; a call after a kill goes on from the last validation.

    Args:
        data: a dataset's folder, ours or The Well's. folder: where the running checkpoint lives. The caller removes it
            once the model is saved: until then another call with the same arguments takes the result from it.
        device: as in `devices`. devices: processes that share every batch, of one thread or one graphics card each.
        workers: processes that read ahead, for each of them. log: a folder for curves and log; none: neither.
    Raises:
        WavesimError: a forecaster without weights, devices that are not there, data that are not finite or do not fit
            the model or the unrolls, a loss that is not finite, or no validation error that is.
    """
    if not model.config.ranks:
        raise WavesimError("ranks is empty: the coarse step alone has no weights to train; give at least one rank")
    accelerator(device, devices)
    if config.batch % devices:
        raise WavesimError(f"batch {config.batch} cannot be shared among {devices} devices; give a multiple of them")
    require_trainable(model, config, open_split(data, "train"), open_split(data, "valid"))
    job = Job(model.train(), Path(data), config, seed, folder, device, devices, workers, log)
    if devices == 1:
        run(job, progress, callbacks)
    else:
        side_by_side(run, devices, job, progress)
    result = progress_in(job.running)
    if result["best_weights"] is None:
        raise WavesimError(
            f"no validation error of the last stage was finite (unrolls of {config.unrolls[-1]} frames): the forecasts "
            "blow up; lower learning_rate, lengthen the unrolls, or set conserve_energy"
        )
    model.load_state_dict(result["best_weights"])
    model.eval()
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


def about(
    model: Forecaster, training: TrainingConfig, seed: int, splits: tuple[WaveDataset, WaveDataset]
) -> dict[str, Any]:
    """What a trained model's file says of its training: settings, seed, data, and its error on the second split."""
    error = rollout_error(model, *validation_batch(splits[1]))
    return {
        "training": training.model_dump(),
        "seed": seed,
        "validation_error": error,
        "data": described(*splits),
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

    Raises:
        WavesimError: as `fit`.
    """
    out = Path(out)
    splits = open_split(data, "train"), open_split(data, "valid")
    model = untrained(forecaster, courant_of(splits[0]), seed)
    folder = out.parent / f".{out.stem}.training"
    fitted = fit(model, data, training, seed, folder, progress, device=device, devices=devices, workers=workers)
    write_lines(out.with_suffix(".history.jsonl"), fitted.history)
    save(model, out, about(model, training, seed, splits))
    shutil.rmtree(folder)
    return out
