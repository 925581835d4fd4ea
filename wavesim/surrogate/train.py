"""Unrolled training of a forecaster on FE trajectories.

    loss = mean over windows and frames of |forecast - truth|^2 / |truth|^2,   both channels of (p, dt p_t)
The forecast of a window of U + 1 frames starts from its first and runs on its own output for U frames; U grows by
stages, because what is trained on short unrolls blows up on long ones. Window i is a function of (seed, i) alone, each
in one of the eight orientations of the square. The model that is kept is the one with the smallest error over rollouts
of 32 frames from the first state of 8 validation trajectories, never of one step.
"""

from __future__ import annotations

import ctypes
import logging
import math
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from wavesim.config import ForecasterConfig, TrainingConfig
from wavesim.dataset import WaveDataset
from wavesim.errors import WavesimError
from wavesim.metrics import relative_l2
from wavesim.provenance import generator, write_lines
from wavesim.surrogate.checkpoint import save
from wavesim.surrogate.devices import accelerator
from wavesim.surrogate.models import Forecaster
from wavesim.surrogate.running import Running, goes_on, training_hash

Progress = Callable[[int, int, float], None]
"""Called with (iteration, iterations, validation error so far)."""

VALIDATE_EVERY = 100
VALIDATION_TRAJECTORIES = 8
VALIDATION_FRAMES = 32


class Windows(IterableDataset):
    """Training windows `first`, `first` + 1, ...: states (time, 2, y, x) and media (2, y, x)."""

    def __init__(self, data: WaveDataset, length: int, seed: int, first: int, count: int):
        self.data, self.length, self.seed, self.first, self.count = data, length, seed, first, count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for index in range(self.first, self.first + self.count):
            rng = generator(self.seed, "windows", index)
            trajectory = int(rng.integers(len(self.data)))
            start = int(rng.integers(self.data.frames - self.length + 1))
            turn, flip = int(rng.integers(4)), bool(rng.integers(2))
            yield tuple(  # type: ignore[misc]
                oriented(array, turn, flip)
                for array in (self.data.window(trajectory, start, self.length), self.data.medium(trajectory))
            )


def oriented(field: np.ndarray, turn: int, flip: bool) -> np.ndarray:
    """(..., y, x) turned by `turn` quarters and mirrored: scalar fields on a square keep their equation under both."""
    field = np.rot90(field, turn, axes=(-2, -1))
    return np.ascontiguousarray(field[..., ::-1] if flip else field)


class Unrolled(lightning.LightningModule):
    """The loss above; `total` iterations set the stages and the learning rate."""

    def __init__(self, model: Forecaster, config: TrainingConfig, data: WaveDataset, valid: WaveDataset, seed: int):
        super().__init__()
        self.model, self.config, self.data, self.seed = model, config, data, seed
        self.valid_states, self.valid_media = validation_batch(valid)
        self.best_error = math.inf
        self.best_weights: dict[str, torch.Tensor] | None = None
        self.history: list[dict[str, float]] = []
        self.losses: list[float] = []
        edges = np.cumsum(config.shares) / sum(config.shares) * config.iterations
        self.last_of_stage = np.round(edges).astype(int)

    def unroll(self) -> int:
        """Frames of the current stage's rollouts."""
        stage = int(np.searchsorted(self.last_of_stage, self.global_step, side="right"))
        return self.config.unrolls[min(stage, len(self.config.unrolls) - 1)]

    def train_dataloader(self) -> DataLoader:
        config = self.config
        # To the next validation: a resumed run comes to the same ones as an unbroken one.
        steps = min(VALIDATE_EVERY - self.global_step % VALIDATE_EVERY, config.iterations - self.global_step)
        count = steps * config.batch
        windows = Windows(self.data, max(config.unrolls) + 1, self.seed, self.global_step * config.batch, count)
        return DataLoader(windows, batch_size=config.batch)

    def training_step(self, batch: Sequence[torch.Tensor], _: int) -> torch.Tensor:
        states, medium = batch
        context = self.model.encode(medium)
        loss = torch.zeros((), device=states.device)
        unroll = self.unroll()
        frames = self.model.frames(states[:, 0], context)
        for truth, forecast in zip(states[:, 1 : unroll + 1].unbind(1), frames, strict=False):
            loss = loss + ((forecast - truth).square().sum((1, 2, 3)) / truth.square().sum((1, 2, 3))).mean()
        loss = loss / unroll
        if not torch.isfinite(loss):
            raise WavesimError(
                f"the training loss is {loss.item()} at iteration {self.global_step}; lower learning_rate"
            )
        self.losses.append(loss.item())
        return loss

    def on_train_epoch_end(self) -> None:
        if self.global_step % VALIDATE_EVERY and self.global_step < self.config.iterations:
            return  # Lightning closes a resumed epoch after its first step
        error = rollout_error(self.model, self.valid_states, self.valid_media)
        record = {"iteration": self.global_step, "loss": float(np.mean(self.losses)), "unroll": self.unroll()}
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
        checkpoint["progress"] = {"history": self.history, "best": (self.best_error, self.best_weights)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history, (self.best_error, self.best_weights) = checkpoint["progress"].values()


class Reporter(lightning.Callback):
    """Tells a progress function where training is."""

    def __init__(self, progress: Progress):
        self.progress = progress

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, *_: Any) -> None:
        error = module.history[-1]["validation_error"] if module.history else math.nan
        self.progress(trainer.global_step, module.config.iterations, error)


def validation_batch(valid: WaveDataset) -> tuple[torch.Tensor, torch.Tensor]:
    """States (batch, time, 2, y, x) and media (batch, 2, y, x): the first 33 frames of 8 trajectories of a split."""
    chosen = np.unique(np.linspace(0, len(valid) - 1, VALIDATION_TRAJECTORIES).round().astype(int))
    frames = min(valid.frames, VALIDATION_FRAMES + 1)
    states = np.stack([valid.window(index, 0, frames) for index in chosen])
    return torch.from_numpy(states), torch.from_numpy(np.stack([valid.medium(index) for index in chosen]))


@torch.no_grad()
def rollout_error(model: Forecaster, states: torch.Tensor, media: torch.Tensor) -> float:
    """Mean relative L2 error of the pressure over rollouts from the first state to the last; infinite where one is."""
    device = model.coarse.differences.device
    context = model.encode(media.to(device))
    start = states[:, 0].to(device)
    budget = model.budget(start, context) if model.config.conserve_energy else None
    errors = []
    for truth, forecast in zip(states[:, 1:].unbind(1), model.frames(start, context, budget), strict=False):
        errors.append(relative_l2(forecast[:, 0].cpu().numpy(), truth[:, 0].numpy()))
    mean = float(np.mean(errors))
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


def courant_of(data: WaveDataset) -> float:
    """Frame interval over cell size: how many cells a background wave crosses in a frame.

    Raises:
        WavesimError: cells that are not squares.
    """
    cells = [length / count for length, count in zip(data.lengths, data.grid[::-1], strict=True)]
    if abs(cells[0] - cells[1]) > 1e-4 * cells[0]:
        raise WavesimError(
            f"{data.root} has cells of {cells[0]:.4g} x {cells[1]:.4g}; forecasters need square ones: choose lengths "
            "and grid in one proportion"
        )
    return data.frame_interval / cells[0]


def fit(
    model: Forecaster,
    data: str | Path,
    config: TrainingConfig,
    seed: int,
    folder: Path,
    progress: Progress | None = None,
    callbacks: Sequence[lightning.Callback] = (),
    device: str = "cpu",
) -> list[dict[str, float]]:
    """Train `model` in place, keeping its best weights; a call after a kill goes on from the last validation.

    Args:
        data: a dataset's folder. folder: where the running checkpoint lives. The caller removes it once the model is
            saved: until then another call with the same arguments takes the result from it. device: as in `devices`.
    Returns:
        the history: iteration, loss, unroll, validation_error of every validation.
    Raises:
        WavesimError: a forecaster without weights, a device that is not there, data that are not finite or do not fit
            the model or the unrolls, a loss that is not finite, or no validation error that is.
    """
    if not model.config.ranks:
        raise WavesimError("ranks is empty: the coarse step alone has no weights to train; give at least one rank")
    kind, devices = accelerator(device)
    keep_freed_memory()
    train, valid = WaveDataset(data, "train"), WaveDataset(data, "valid")
    if not math.isclose(courant_of(train), model.courant, rel_tol=1e-4):
        raise WavesimError(
            f"{data} has a frame interval of {courant_of(train):.3f} cells, the model was made for {model.courant:.3f}"
        )
    if max(config.unrolls) + 1 > train.frames:
        raise WavesimError(
            f"unrolls of {max(config.unrolls)} frames need longer trajectories than {train.frames} frames"
        )
    model.coarse.check(model.coarse.stencil(torch.from_numpy(np.stack([train.medium(i) for i in range(len(train))]))))
    module = Unrolled(model.train(), config, train, valid, seed)
    running = Running(folder / "running.ckpt", training_hash(model, config, seed, (train, valid)))
    resumed = goes_on(running.path, running.training)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # our own progress and errors are enough
    trainer = lightning.Trainer(
        max_steps=config.iterations,
        accelerator=kind,
        devices=devices,
        gradient_clip_val=config.gradient_clip,
        reload_dataloaders_every_n_epochs=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[running, *([Reporter(progress)] if progress else []), *callbacks],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(module, ckpt_path=str(running.path) if resumed else None, weights_only=True)
    if module.best_weights is None:
        raise WavesimError(
            f"no validation error of the last stage was finite (unrolls of {config.unrolls[-1]} frames): the forecasts "
            "blow up; lower learning_rate, lengthen the unrolls, or set conserve_energy"
        )
    model.load_state_dict(module.best_weights)
    model.eval()
    return module.history


def train(
    forecaster: ForecasterConfig,
    training: TrainingConfig,
    data: str | Path,
    out: str | Path,
    seed: int = 0,
    progress: Progress | None = None,
    device: str = "cpu",
) -> Path:
    """Train a forecaster from scratch and write OUT (a .safetensors path) with its history beside it.

    Raises:
        WavesimError: as `fit`.
    """
    out = Path(out)
    model = untrained(forecaster, courant_of(WaveDataset(data, "train")), seed)
    folder = out.parent / f".{out.stem}.training"
    history = fit(model, data, training, seed, folder, progress, device=device)
    write_lines(out.with_suffix(".history.jsonl"), history)
    error = rollout_error(model, *validation_batch(WaveDataset(data, "valid")))
    save(model, out, {"training": training.model_dump(), "seed": seed, "validation_error": error})
    shutil.rmtree(folder)
    return out
