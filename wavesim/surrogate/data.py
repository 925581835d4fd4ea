"""The data of a training: windows of trajectories, read when they are asked for, and what cannot be trained on.

Window i is a function of (seed, i) alone: its trajectory, its first frame, its noise, and one of the orientations of
the domain that leave its shape and its sides as they are (eight of a square between equal walls). Who reads it, which
of how many processes, and whether the training was killed in between, changes nothing.
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from wavesim.config import ForecasterConfig, Side, TrainingConfig
from wavesim.dataset import CHECKSUMS, WaveDataset
from wavesim.errors import WavesimError
from wavesim.media import media_of
from wavesim.provenance import generator, settings_hash
from wavesim.surrogate.models import Forecaster
from wavesim.unit_check import check_units

VALIDATION_TRAJECTORIES = 8
VALIDATION_FRAMES = 32
NORMALISATION = "none: forecasts commute with the amplitude of the state, and see the medium by its logarithm"
SAMPLED = 32  # trajectories that the statistics of a dataset are taken from
SAMPLED_MEDIA = 512

Sides = tuple[Side, Side, Side, Side]


class Windows(Dataset):
    """Window `index`: states (time, 2, y, x) and medium (2, y, x), float32.

    `noise` is the standard deviation of what is added to the first state, over that state's root mean square.
    """

    def __init__(self, data: WaveDataset, length: int, seed: int, noise: float = 0.0):
        self.data, self.length, self.seed, self.noise = data, length, seed, noise
        self.allowed = orientations(data.grid, data.sides)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rng = generator(self.seed, "windows", index)
        trajectory = int(rng.integers(len(self.data)))
        start = int(rng.integers(self.data.frames - self.length + 1))
        turn, flip = int(rng.integers(4)), int(rng.integers(2))
        orientation = self.allowed[(2 * turn + flip) % len(self.allowed)]
        states = oriented(self.data.window(trajectory, start, self.length), *orientation)
        medium = oriented(self.data.medium(trajectory), *orientation)
        if self.noise:
            size = self.noise * np.sqrt(np.mean(states[0] ** 2))
            noise = generator(self.seed, "noise", index).standard_normal(states[0].shape, np.float32)
            states[0] += size * noise * np.isfinite(medium[1])  # none in obstacles
        return states, medium


def oriented(field: np.ndarray, turn: int, flip: bool) -> np.ndarray:
    """(..., y, x) turned by `turn` quarters and mirrored: scalar fields on a square keep their equation under both."""
    field = np.rot90(field, turn, axes=(-2, -1))
    return np.array(field[..., ::-1] if flip else field)


def orientations(grid: tuple[int, int], sides: Sides) -> list[tuple[int, bool]]:
    """The (turn, flip) that leave a domain of (y, x) cells with these sides (left, right, bottom, top) as it is."""
    left, right, bottom, top = sides
    # A picture of the domain whose edges are its sides, turned and mirrored as a field is; y grows with the row.
    picture = np.array([["", bottom, ""], [left, "", right], ["", top, ""]])
    found = [(turn, flip) for turn in range(4) for flip in (False, True)]
    return [
        (turn, flip)
        for turn, flip in found
        if (turn % 2 == 0 or grid[0] == grid[1]) and (oriented(picture, turn, flip) == picture).all()
    ]


class WaveData(lightning.LightningDataModule):
    """Batches of windows to the next validation; each of the processes that train together takes its share of each.

    Args:
        workers: processes that read ahead; each opens the files for itself.
    """

    def __init__(self, data: WaveDataset, config: TrainingConfig, seed: int, workers: int = 0):
        super().__init__()
        self.windows = Windows(data, max(config.unrolls) + 1, seed, config.noise)
        self.config, self.workers = config, workers

    def train_dataloader(self) -> DataLoader:
        assert self.trainer is not None
        step, ranks, rank = self.trainer.global_step, self.trainer.world_size, self.trainer.global_rank
        batches = shares(self.config, step, ranks, rank)
        # OpenVINO's threads do not survive a fork: after `wavesim.bench` in the same process, readers are started anew.
        start = "spawn" if self.workers and "openvino" in sys.modules else None
        return DataLoader(self.windows, batch_sampler=batches, num_workers=self.workers, multiprocessing_context=start)


def shares(config: TrainingConfig, step: int, ranks: int, rank: int) -> list[list[int]]:
    """The windows of one of `ranks` processes in each step, from `step` to the next validation.

    A resumed training comes to the same validations as an unbroken one.
    """
    steps = min(config.validate_every - step % config.validate_every, config.iterations - step)
    share = config.batch // ranks
    firsts = [(step + k) * config.batch + rank * share for k in range(steps)]
    return [list(range(first, first + share)) for first in firsts]


def validation_batch(
    valid: WaveDataset, trajectories: int = VALIDATION_TRAJECTORIES
) -> tuple[torch.Tensor, torch.Tensor]:
    """States (batch, time, 2, y, x) and media (batch, 2, y, x): the first 33 frames of 8 trajectories of a split."""
    chosen = spread(len(valid), trajectories)
    frames = min(valid.frames, VALIDATION_FRAMES + 1)
    states = np.stack([valid.window(index, 0, frames) for index in chosen])
    return torch.from_numpy(states), torch.from_numpy(np.stack([valid.medium(index) for index in chosen]))


def spread(count: int, most: int) -> list[int]:
    """At most `most` of `count` indices, evenly spread."""
    return np.unique(np.linspace(0, count - 1, most).round().astype(int)).tolist()


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


def between_its_sides(config: ForecasterConfig, data: WaveDataset) -> ForecasterConfig:
    """The settings of a forecaster for these data: their sides are its own."""
    return config.model_copy(update={"sides": data.sides})


def require_trainable(model: Forecaster, config: TrainingConfig, train: WaveDataset, valid: WaveDataset) -> None:
    """Refuse splits that `model` cannot be trained and judged on.

    Raises:
        WavesimError: another frame interval than the model's, a grid that it does not run on, other sides,
            trajectories shorter than the unrolls, a medium that is not positive or in which the coarse
            step is unstable, or one that is in both splits, a single one that trains, fields in other units than each
            other's.
    """
    for data in (train, valid):
        where = f"{data.root}/data/{data.split}"
        if not math.isclose(courant_of(data), model.courant, rel_tol=1e-4):
            raise WavesimError(
                f"{where} has a frame interval of {courant_of(data):.3f} cells, the model was made for "
                f"{model.courant:.3f}; train one on this dataset alone"
            )
        try:
            model.require(data.grid)
        except WavesimError as error:
            raise WavesimError(f"{where}: {error}") from error
        if data.sides != model.config.sides:
            raise WavesimError(
                f"{where} has the sides {', '.join(data.sides)} (left, right, bottom, top), the model was made for "
                f"{', '.join(model.config.sides)}; train one on this dataset alone"
            )
    if max(config.unrolls) + 1 > train.frames:
        raise WavesimError(
            f"unrolls of {max(config.unrolls)} frames need trajectories of {max(config.unrolls) + 1} or more, and "
            f"those of {train.root} have {train.frames}; give shorter `unrolls` in [training]"
        )
    _require_media_apart(_media(model, train), _media(model, valid), train)
    for data in (train, valid):
        check_units(data)


def _media(model: Forecaster, data: WaveDataset) -> dict[bytes, str]:
    """A hash of each medium with a trajectory that runs through it, after a check of all of them."""
    found: dict[bytes, str] = {}
    stiffest = torch.zeros(1, 4, 1, 1)
    for index in range(len(data)):
        medium = data.medium(index)
        if not (medium > 0).all():
            raise WavesimError(f"{data.root}: the medium of {data.name(index)} must be positive in every cell")
        key = hashlib.sha256(medium.tobytes()).digest()
        if key not in found:
            with torch.no_grad():
                stencil = model.coarse.stencil(torch.from_numpy(medium[None]))
            stiffest = max(stiffest, stencil, key=lambda one: float(one[:, :4].sum(dim=1).max()))
            found[key] = data.name(index)
    model.coarse.check(stiffest)
    return found


def _require_media_apart(train: dict[bytes, str], valid: dict[bytes, str], data: WaveDataset) -> None:
    if len(train) == 1:
        raise WavesimError(
            f"{data.root} trains in a single medium, and nothing is learned there of any other: give waves through two "
            "media or more"
        )
    if "imported" in data.about(0):
        return  # what others made has the splits that they gave it
    for key in train.keys() & valid.keys():
        raise WavesimError(
            f"{data.root}: {train[key]} of train and {valid[key]} of valid run through the same medium, so that the "
            "validation would not tell learning from memory; move one of them away"
        )


def data_hash(root: Path, splits: Sequence[WaveDataset]) -> str:
    """Twelve characters that change with the splits' files: by their checksums, or by names and sizes without."""
    stated = root / CHECKSUMS
    if stated.is_file():
        ours = tuple(f"data/{data.split}/" for data in splits)
        lines = [line.split("  ", 1) for line in stated.read_text().splitlines() if "  " in line]
        return settings_hash(sorted(line for line in lines if line[1].startswith(ours)))
    files = [(data.split, path.name, path.stat().st_size) for data in splits for path in data.paths]
    return settings_hash(files)


def read_through(train: WaveDataset, valid: WaveDataset) -> dict[str, Any]:
    """`described`, after every trajectory of both splits was read once, one at a time.

    Raises:
        WavesimError: values that are not finite, with their trajectory.
    """
    said, known = described(train, valid), spread(len(train), SAMPLED)
    for data, left_out in ((train, known), (valid, [])):
        for index in range(len(data)):
            if index not in left_out:
                data.window(index, 0, data.frames)
    return said


def described(train: WaveDataset, valid: WaveDataset) -> dict[str, Any]:
    """What a model's file says of its data; rms and mean values are those of at most 32 training trajectories.

    media: keys of its media (media.py), the first 512 in their order, which is that of hashes: a sample of many.
    """
    chosen = spread(len(train), SAMPLED)
    squares = np.mean([np.mean(train.window(k, 0, train.frames) ** 2, axis=(0, 2, 3), dtype=float) for k in chosen], 0)
    media = np.stack([train.medium(k) for k in chosen]).astype(float)
    log_media = np.log(np.where(np.isinf(media[:, 1:]), 1.0, media))  # an obstacle is seen as background (obstacles.py)
    return {
        "hash": data_hash(train.root, (train, valid)),
        "trajectories": {data.split: len(data) for data in (train, valid)},
        "media": " ".join(sorted(media_of(train) | media_of(valid))[:SAMPLED_MEDIA]),
        "grid": list(train.grid),
        "frames": train.frames,
        "frame_interval": train.frame_interval,
        "lengths": list(train.lengths),
        "sides": list(train.sides),
        "state_rms": [round(float(value), 9) for value in np.sqrt(squares)],
        "log_medium_mean": [round(float(value), 6) for value in log_media.mean(axis=(0, 2, 3))],
        "log_medium_std": [round(float(value), 6) for value in log_media.std(axis=(0, 2, 3))],
        "normalisation": NORMALISATION,
    }
