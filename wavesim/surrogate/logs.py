"""What a training tells while it runs: a progress function, a folder's logs, and TensorBoard where it is installed.

LOG/curves.csv     iteration, loss, unroll, validation_error of every validation, written anew at each
LOG/log.txt        a line a validation, and what the caller adds
LOG/tensorboard    the same curves, where the package tensorboard or tensorboardX is there
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Checkpoint

from wavesim.provenance import whole_file

Progress = Callable[[int, int, float], None]
"""Called with (iteration, iterations, validation error so far)."""


class Reporter(lightning.Callback):
    """Tells a progress function where training is."""

    def __init__(self, progress: Progress):
        self.progress = progress

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, *_: Any) -> None:
        error = module.history[-1]["validation_error"] if module.history else math.nan
        if trainer.is_global_zero:
            self.progress(trainer.global_step, module.config.iterations, error)


class Log(Checkpoint):
    """Writes the files above after every validation.

    A subclass of Lightning's Checkpoint, whose hooks run after those of the module: the validation is in the history.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Any) -> None:
        now = module.history[-1] if module.history else {}
        if now.get("iteration") != trainer.global_step or not trainer.is_global_zero:
            return
        write_curves(self.folder / "curves.csv", module.history)
        add_line(
            self.folder / "log.txt",
            f"iteration {now['iteration']} of {module.config.iterations}: loss {now['loss']:.5g} over rollouts of "
            f"{now['unroll']} frames, validation error {now['validation_error']:.5g}; {module.seconds():.1f} s",
        )
        if trainer.logger:
            curves = {name: value for name, value in now.items() if name != "iteration"}
            trainer.logger.log_metrics(curves, trainer.global_step)


def tensorboard(folder: Path) -> Any:
    """Lightning's logger for TensorBoard in a folder, or False where neither of its packages is installed."""
    if not any(find_spec(name) for name in ("tensorboard", "tensorboardX")):
        return False
    from lightning.pytorch.loggers import TensorBoardLogger

    return TensorBoardLogger(folder, name="tensorboard", version="")


def write_curves(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write a history as CSV, whole or not at all."""
    with whole_file(path) as part, open(part, "w", newline="") as file:
        writer = csv.DictWriter(file, list(history[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)


def add_line(path: Path, text: str) -> None:
    """Add a line to a log, after the date and time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        file.write(f"{datetime.now().astimezone().isoformat(timespec='seconds')}  {text}\n")
