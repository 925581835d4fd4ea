"""A dataset of wave trajectories on disk, and the one place where its axis order is transposed on reading.

    DIR/stats.yaml
    DIR/checksums.txt                       SHA-256 of every file, as `sha256sum -c` reads it
    DIR/data/{train,valid,test}/NAME.hdf5   one file a packing, or a batch of media (see shard.py)

On disk it is The Well's order (trajectory, time, x, y), in the project (trajectory, time, channel, y, x). A state has
two channels, the pressure p and the scaled rate dt p_t, dt being the frame interval, so that both have one magnitude.
A medium has two: bulk modulus, density.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml

from wavesim.config import Side
from wavesim.errors import WavesimError
from wavesim.given import refuse_pickle, require_dataset_folder
from wavesim.provenance import file_hash, whole_file
from wavesim.shard import CONSTANT, MEDIUM, STATE, Made, Shard, inspect, is_whole, obstructed, open_shard, write_shard

__all__ = [
    "CONSTANT",
    "MEDIUM",
    "SPLITS",
    "STATE",
    "Shard",
    "Trajectory",
    "WaveDataset",
    "check",
    "open_shard",
    "write_shard",
]

SPLITS = ("train", "valid", "test")
CHECKSUMS = "checksums.txt"
Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
OPEN_FILES = 256  # a process may usually hold 1024, sockets of data loaders included


class OutOfRangeError(WavesimError, IndexError):
    """A trajectory or a frame that is not there."""


@dataclass(frozen=True)
class Trajectory:
    """One simulation. state: (time, channel, y, x) of (p, dt p_t); medium: (channel, y, x) of (kappa, rho); float32.

    lengths: (Lx, Ly) of the domain; sides: its left, right, bottom and top one, where they are known.
    """

    state: np.ndarray
    medium: np.ndarray
    frame_interval: float
    name: str
    about: Mapping[str, Any]
    split: str = ""
    lengths: tuple[float, float] = (1.0, 1.0)
    sides: tuple[Side, Side, Side, Side] | None = None

    def __repr__(self) -> str:
        frames, split = len(self.state), f" of {self.split}" if self.split else ""
        return (
            f"<Trajectory {self.name}{split}: {frames} frames, every {self.frame_interval:.5g} from 0 to "
            f"{(frames - 1) * self.frame_interval:.5g}; state {self.state.shape}, medium {self.medium.shape}>"
        )


class WaveDataset:
    """The trajectories of one split, read lazily: files are opened at first use, once in each process.

    Raises:
        WavesimError: no such folder or split, a file that is not HDF5 or cut short, a layout other than above, frames
            that are not equally spaced.
    """

    def __init__(self, root: str | Path, split: str):
        self.root, self.split = Path(root), split
        if split not in SPLITS:
            raise WavesimError(f"split '{split}' is not one of {', '.join(SPLITS)}")
        require_dataset_folder(self.root)
        self.paths = sorted((self.root / "data" / split).glob("*.hdf5"))
        if not self.paths:
            raise WavesimError(f"{self.root}/data/{split} holds no .hdf5 file; make some with `wavesim generate waves`")
        self._files: dict[tuple[int, Path], h5py.File] = {}
        self._index: list[tuple[Path, int]] = []
        shapes, intervals, lengths, sides = set(), set(), set(), set()
        for path in self.paths:
            made = self._inspect(path)
            self._index += [(path, i) for i in range(made.trajectories)]
            shapes.add(made.shape)
            intervals.add(made.frame_interval)
            lengths.add(made.lengths)
            sides.add(made.sides)
        if (
            len(shapes) > 1
            or max(intervals) - min(intervals) > 1e-5 * max(intervals)
            or max(len(lengths), len(sides)) > 1
        ):
            raise WavesimError(
                f"{self.root}/data/{split} mixes shapes {sorted(shapes)}, frame intervals {sorted(intervals)}, "
                f"domains {sorted(lengths)} or sides {sorted(sides)}; one dataset has one of each"
            )
        if not self._index:
            raise WavesimError(f"{self.root}/data/{split} holds no trajectory; make some with `wavesim generate waves`")
        (self.frames, *grid), self.frame_interval = shapes.pop(), float(min(intervals))
        self.grid: tuple[int, int] = (grid[0], grid[1])
        self.lengths: tuple[float, float] = lengths.pop()
        self.sides: tuple[Side, Side, Side, Side] = sides.pop()

    def _inspect(self, path: Path) -> Made:
        with self._open(path) as file:
            return inspect(file)

    def _open(self, path: Path) -> h5py.File:
        return open_shard(path)

    def __len__(self) -> int:
        return len(self._index)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}}  # an open file does not travel into a worker process

    def place(self, index: int) -> tuple[Path, int]:
        """The file of a trajectory and its row in it. Raises OutOfRangeError where there is no such trajectory."""
        try:
            return self._index[index]
        except IndexError as error:
            raise OutOfRangeError(
                f"{self.root}: split {self.split} has {len(self)} trajectories, 0 to {len(self) - 1}; got {index}"
            ) from error

    def _file(self, index: int) -> tuple[h5py.File, int]:
        path, row = self.place(index)
        key = (os.getpid(), path)  # a worker process that was forked off must not use its parent's handle
        if key not in self._files:
            while len(self._files) >= OPEN_FILES:
                self._files.pop(next(iter(self._files))).close()
            self._files[key] = self._open(path)
        return self._files[key], row

    def name(self, index: int) -> str:
        """`FILE:ROW` of a trajectory, the file being that of its packing."""
        path, row = self.place(index)
        return f"{path.stem}:{row}"

    def packing(self, index: int) -> str:
        """The packing that a trajectory runs through: the name of its file."""
        return self.place(index)[0].stem

    def about(self, index: int) -> dict[str, Any]:
        """The provenance of a trajectory's file."""
        return json.loads(self._file(index)[0].attrs["wavesim"])

    def series(self, index: int, name: str) -> np.ndarray | None:
        """A number of a trajectory that changes in time, (time,), such as `energy`; None where its file has none."""
        file, row = self._file(index)
        found = file.get(f"scalars/{name}")
        return None if found is None or found.ndim != 2 else found[row]

    def medium(self, index: int) -> np.ndarray:
        """(channel, y, x) float32 of (bulk modulus, density), which is infinite in rigid obstacles.

        Raises WavesimError for other values that are not finite.
        """
        file, row = self._file(index)
        both = np.stack([file["t0_fields"][name][row].T for name in MEDIUM])
        self._require_whole(index, dict(zip(MEDIUM, both, strict=True)))
        return both

    def window(self, index: int, start: int, length: int) -> np.ndarray:
        """States `start` to `start + length - 1` as (time, channel, y, x) float32, (p, dt p_t). Raises as `medium`."""
        if start < 0 or start + length > self.frames:
            raise OutOfRangeError(f"window {start}..{start + length} of a trajectory of {self.frames} frames")
        state = self._state(index, start, length)
        state[:, 1] *= np.float32(self.frame_interval)
        self._require_whole(index, {"state": state})
        return state

    def _state(self, index: int, start: int, length: int) -> np.ndarray:
        """(time, channel, y, x) of (p, p_t)."""
        file, row = self._file(index)
        fields = [file["t0_fields"][name][row, start : start + length].swapaxes(-1, -2) for name in STATE]
        return np.stack(fields, axis=1)

    def _require_whole(self, index: int, fields: Mapping[str, np.ndarray]) -> None:
        if not all(is_whole(name, values) for name, values in fields.items()):
            path, row = self.place(index)
            raise WavesimError(f"{path}: trajectory {row} is not finite throughout; move it away and make it again")

    def trajectory(self, index: int) -> Trajectory:
        """The whole trajectory with its medium.

        Raises:
            OutOfRangeError: no such trajectory. WavesimError: values that are not finite.
        """
        return Trajectory(
            state=self.window(index, 0, self.frames),
            medium=self.medium(index),
            frame_interval=self.frame_interval,
            name=self.name(index),
            about=self.about(index),
            split=self.split,
            lengths=self.lengths,
            sides=self.sides,
        )


def check(root: str | Path, each: Each = map) -> dict[str, int]:
    """Check every file: layout, shapes, frames, finiteness, no packing and no medium in two splits, and its checksum.

    Args:
        each: does the work of `map`, over files; for example that of a pool's processes.
    Returns:
        the number of trajectories of each split that is there.
    Raises:
        WavesimError: the first defect found.
    """
    root = Path(root)
    refuse_pickle(root, "a dataset's folder")
    if not root.is_dir():
        raise WavesimError(f"{root} is not a folder")
    counts: dict[str, int] = {}
    owner: dict[str, tuple[str, str]] = {}
    for split in SPLITS:
        if not (root / "data" / split).is_dir():
            continue
        data = WaveDataset(root, split)
        counts[split] = len(data)
        for path in data.paths:
            if owner.setdefault(path.stem, (split, path.stem))[0] != split:
                raise WavesimError(
                    f"{path.stem} is in both {owner[path.stem][0]} and {split}: splits must not share a packing; "
                    "move one of the two files away"
                )
        for path, media in zip(data.paths, each(_media, data.paths), strict=True):
            for row, medium in enumerate(media):
                other = owner.setdefault(medium, (split, f"{path.stem}:{row}"))
                if other[0] != split:
                    raise WavesimError(
                        f"{other[1]} of {other[0]} and {path.stem}:{row} of {split} run through the same medium: "
                        "splits must not share one; keep one of them, or draw the media anew"
                    )
    if not counts:
        raise WavesimError(f"{root} holds no dataset: expected {root}/data/train and its like")
    _compare_checksums(root, each)
    return counts


def _media(path: Path) -> list[str]:
    """A hash of each trajectory's medium, after a check of the file's values; of what others made, none."""
    with open_shard(path) as file:
        fields = file["t0_fields"]
        for name in (*STATE, *CONSTANT):
            for row, values in enumerate(fields[name]):
                if not is_whole(name, values):
                    raise WavesimError(f"{path}: {name} of trajectory {row} is not finite")
        if obstructed(fields):
            raise WavesimError(f"{path}: fields in a rigid obstacle (infinite density) must be 0")
        if (fields["bulk_modulus"][:] <= 0).any() or (fields["density"][:] <= 0).any():
            raise WavesimError(f"{path}: bulk modulus and density must be positive")
        rows = range(0 if "imported" in json.loads(file.attrs["wavesim"]) else fields["pressure"].shape[0])
        return [sha256(b"".join(fields[name][row].tobytes() for name in MEDIUM)).hexdigest() for row in rows]


def write_checksums(root: str | Path, each: Each = map) -> None:
    """Write checksums.txt, a line for every file of the dataset."""
    names, hashes = _hashes(Path(root), each)
    with whole_file(Path(root) / CHECKSUMS) as part:
        part.write_text("".join(f"{value}  {name}\n" for name, value in zip(names, hashes, strict=True)))


def _hashes(root: Path, each: Each) -> tuple[list[str], list[str]]:
    paths = [path for split in SPLITS for path in sorted((root / "data" / split).glob("*.hdf5"))]
    return [path.relative_to(root).as_posix() for path in paths], list(each(file_hash, paths))


def _compare_checksums(root: Path, each: Each) -> None:
    if not (root / CHECKSUMS).exists():
        return
    stated = dict(line.split("  ", 1)[::-1] for line in (root / CHECKSUMS).read_text().splitlines() if "  " in line)
    found = dict(zip(*_hashes(root, each), strict=True))
    for name in sorted(stated.keys() | found.keys()):
        if stated.get(name) != found.get(name):
            how = "is missing" if name not in found else "is not listed" if name not in stated else "has changed"
            raise WavesimError(f"{root}/{name} {how}, by {CHECKSUMS}; generate it again, or remove {CHECKSUMS}")


def write_statistics(root: str | Path, each: Each = map) -> dict[str, dict[str, float]]:
    """Write The Well's stats.yaml from the training split: mean, std, rms of each field and of its change a frame."""
    stats: dict[str, dict[str, float]] = {
        key: {} for key in ("mean", "std", "rms", "mean_delta", "std_delta", "rms_delta")
    }
    for field in np.sum(list(each(_sums, WaveDataset(root, "train").paths)), axis=0).tolist():
        name = (*STATE, *CONSTANT)[len(stats["mean"])]
        for suffix, (count, total, squares) in zip(("", "_delta"), field, strict=True):
            if count:
                stats["mean" + suffix][name] = total / count
                stats["std" + suffix][name] = float(np.sqrt(max(squares / count - (total / count) ** 2, 0.0)))
                stats["rms" + suffix][name] = float(np.sqrt(squares / count))
    with whole_file(Path(root) / "stats.yaml") as part:
        part.write_text(yaml.safe_dump(stats))
    return stats


def _sums(path: Path) -> np.ndarray:
    """(field, values or changes, 3) of one file: count, sum and sum of squares."""
    sums = np.zeros((len(STATE) + len(CONSTANT), 2, 3))
    with open_shard(path) as file:
        for name, own in zip((*STATE, *CONSTANT), sums, strict=True):
            for row in file[f"t0_fields/{name}"]:
                values = np.asarray(row, float)
                finite = values[np.isfinite(values)]  # an obstacle's density is infinite
                own[0] += finite.size, finite.sum(), np.vdot(finite, finite)
                if name in STATE:
                    change = np.diff(values, axis=0)
                    own[1] += change.size, change.sum(), np.vdot(change, change)
    return sums
