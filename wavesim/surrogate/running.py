"""The running checkpoint of a training: what a kill leaves, and who may go on from it.

    FOLDER/running.ckpt     Lightning's checkpoint at the last validation, replaced whole or not at all
It carries the hash of all that a training is a function of. Where any of that differs, training starts afresh.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Checkpoint

from wavesim.config import TrainingConfig
from wavesim.dataset import WaveDataset
from wavesim.provenance import settings_hash, whole_file
from wavesim.surrogate.models import Forecaster

KEY = "wavesim_training"


def training_hash(model: Forecaster, config: TrainingConfig, seed: int, splits: Sequence[WaveDataset]) -> str:
    """Twelve characters that change with the forecaster, its weights now, the settings, the seed or the data.

    Files count by split, name, size and time of change: reading them all would take longer than many a training.
    """
    weights = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        weights.update(name.encode())
        weights.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    files = [
        (data.split, path.name, path.stat().st_size, path.stat().st_mtime_ns) for data in splits for path in data.paths
    ]
    return settings_hash(
        {
            "forecaster": model.config.model_dump(),
            "courant": model.courant,
            "weights": weights.hexdigest(),
            "training": config.model_dump(),
            "seed": seed,
            "data": files,
        }
    )


class Running(Checkpoint):
    """Writes `path` after every validation; `training` is the hash that it carries.

    A subclass of Lightning's Checkpoint, whose hooks run after those of the module: the validation is in the history.
    """

    def __init__(self, path: Path, training: str):
        self.path, self.training = path, training

    def on_save_checkpoint(self, trainer: lightning.Trainer, module: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint[KEY] = self.training

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Any) -> None:
        # Lightning closes a resumed epoch after its first step, where the losses since the validation would be lost.
        if not module.history or module.history[-1]["iteration"] != trainer.global_step:
            return
        if not trainer.is_global_zero:
            trainer.save_checkpoint(self.path)  # takes part in what all processes do together, and writes nothing
            return
        with whole_file(self.path) as part:
            trainer.save_checkpoint(part)


def goes_on(path: Path, training: str) -> bool:
    """Whether `path` is a whole checkpoint of the training with this hash."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)[KEY] == training
    except Exception:  # no file, an older one, or whatever a half-written or a foreign file raises; none runs code
        return False


def progress_in(path: Path) -> dict[str, Any]:
    """What the training itself keeps in a running checkpoint: history, best_error, best_weights, mean, seconds."""
    return torch.load(path, map_location="cpu", weights_only=True)["progress"]
