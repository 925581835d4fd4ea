"""Wave trajectories on disk, in The Well's HDF5 layout, and the one place where its axis order is transposed.

    DIR/stats.yaml
    DIR/data/{train,valid,test}/NAME.hdf5     one file a packing: all trajectories through that medium's packing
        t0_fields/pressure, pressure_rate      (trajectory, time, x, y) float32
        t0_fields/bulk_modulus, density, speed_of_sound   (trajectory, x, y) float32
The project's own order is (trajectory, time, channel, y, x). A state has two channels, the pressure p and the scaled
rate dt p_t, dt being the frame interval, so that both have one magnitude. A medium has two: bulk modulus, density.

Format: PolymathicAI/the_well, docs/data_format.md. What we add stands in one root attribute, `wavesim` (JSON).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml

from wavesim.errors import WavesimError
from wavesim.provenance import whole_file

SPLITS = ("train", "valid", "test")
STATE = ("pressure", "pressure_rate")
MEDIUM = ("bulk_modulus", "density")
CONSTANT = (*MEDIUM, "speed_of_sound")
OPEN_FILES = 256  # a process may usually hold 1024, sockets of data loaders included


class OutOfRangeError(WavesimError, IndexError):
    """A trajectory or a frame that is not there."""


@dataclass(frozen=True)
class Shard:
    """The trajectories of one file, in the project's axis order, nondimensional.

    pressure, pressure_rate: (trajectory, time, y, x); bulk_modulus, density: (trajectory, y, x);
    time: (time,); x: (x,), y: (y,) cell centres. boundary: The Well's type for each axis. parameters: numbers that
    hold for the whole file. about: provenance, anything that JSON can hold.
    """

    pressure: np.ndarray
    pressure_rate: np.ndarray
    bulk_modulus: np.ndarray
    density: np.ndarray
    time: np.ndarray
    x: np.ndarray
    y: np.ndarray
    parameters: Mapping[str, float]
    about: Mapping[str, Any]
    boundary: tuple[str, str] = ("WALL", "WALL")


@dataclass(frozen=True)
class Trajectory:
    """One simulation. state: (time, channel, y, x) of (p, dt p_t); medium: (channel, y, x) of (kappa, rho); float32."""

    state: np.ndarray
    medium: np.ndarray
    frame_interval: float
    name: str
    about: Mapping[str, Any]
    split: str = ""

    def __repr__(self) -> str:
        frames, split = len(self.state), f" of {self.split}" if self.split else ""
        return (
            f"<Trajectory {self.name}{split}: {frames} frames, every {self.frame_interval:.5g} from 0 to "
            f"{(frames - 1) * self.frame_interval:.5g}; state {self.state.shape}, medium {self.medium.shape}>"
        )


def write_shard(path: str | Path, shard: Shard, dataset_name: str = "wavesim") -> None:
    """Write one file of the layout, whole or not at all.

    Raises:
        WavesimError: a field that is not finite in single precision, a medium that is not positive, axes that do not
            fit, or a full disk.
    """
    if shard.pressure.ndim != 4:
        raise WavesimError(f"{path}: pressure has shape {shard.pressure.shape}, expected (trajectory, time, y, x)")
    n, frames, height, width = shard.pressure.shape
    expected = {
        "pressure_rate": (n, frames, height, width),
        "bulk_modulus": (n, height, width),
        "density": (n, height, width),
        "time": (frames,),
        "x": (width,),
        "y": (height,),
    }
    for name, shape in expected.items():
        if getattr(shard, name).shape != shape:
            raise WavesimError(f"{path}: {name} has shape {getattr(shard, name).shape}, expected {shape}")
    with np.errstate(over="ignore"):  # what single precision cannot hold becomes infinite, and is refused below
        fields = {name: getattr(shard, name).astype(np.float32) for name in (*STATE, *MEDIUM)}
    for name, field in fields.items():
        if not np.isfinite(field).all():
            raise WavesimError(f"{path}: {name} is not finite; the run that made it was unstable: nothing was written")
        if name in MEDIUM and not (field > 0).all():
            raise WavesimError(f"{path}: {name} must be positive, got {field.min():.3g}; nothing was written")
    fields["speed_of_sound"] = np.sqrt(shard.bulk_modulus / shard.density).astype(np.float32)

    with whole_file(path) as part, h5py.File(part, "w") as file:
        file.attrs.update(
            dataset_name=dataset_name,
            grid_type="cartesian",
            n_spatial_dims=2,
            n_trajectories=n,
            simulation_parameters=list(shard.parameters),
            wavesim=json.dumps(dict(shard.about), sort_keys=True),
            **shard.parameters,
        )
        dimensions = file.create_group("dimensions")
        dimensions.attrs["spatial_dims"] = ["x", "y"]
        for name in ("time", "x", "y"):
            axis = dimensions.create_dataset(name, data=getattr(shard, name).astype(np.float32))
            axis.attrs.update(sample_varying=False, time_varying=name == "time")
        _write_boundaries(file, shard)
        scalars = file.create_group("scalars")
        scalars.attrs["field_names"] = list(shard.parameters)
        for name, value in shard.parameters.items():
            scalar = scalars.create_dataset(name, data=np.float32(value))
            scalar.attrs.update(sample_varying=False, time_varying=False)
        group = file.create_group("t0_fields")
        group.attrs["field_names"] = [*STATE, *CONSTANT]
        for name, field in fields.items():
            varying = name in STATE
            # A window of a few frames of one trajectory is what training reads: one chunk holds eight frames.
            chunks = (1, min(8, frames), width, height) if varying else (1, width, height)
            data = group.create_dataset(name, data=field.swapaxes(-1, -2), chunks=chunks)
            data.attrs.update(dim_varying=[True, True], sample_varying=True, time_varying=varying)
        for name in ("t1_fields", "t2_fields"):
            file.create_group(name).attrs["field_names"] = np.array([], dtype="S1")


def _write_boundaries(file: h5py.File, shard: Shard) -> None:
    boundaries = file.create_group("boundary_conditions")
    for dimension, kind in zip("xy", shard.boundary, strict=True):
        group = boundaries.create_group(f"{dimension}_{kind.lower()}")
        group.attrs.update(
            associated_dims=[dimension],
            associated_fields=np.array([], dtype="S1"),
            bc_type=kind,
            sample_varying=False,
            time_varying=False,
        )
        mask = np.zeros(getattr(shard, dimension).size, bool)
        mask[[0, -1]] = True
        group.create_dataset("mask", data=mask)


class WaveDataset:
    """The trajectories of one split, read lazily: files are opened at first use, once in each process.

    Raises:
        WavesimError: no such folder or split, a file that is not HDF5 or cut short, a layout other than above.
    """

    def __init__(self, root: str | Path, split: str):
        self.root, self.split = Path(root), split
        if split not in SPLITS:
            raise WavesimError(f"split '{split}' is not one of {', '.join(SPLITS)}")
        self.paths = sorted((self.root / "data" / split).glob("*.hdf5"))
        if not self.paths:
            raise WavesimError(f"{self.root}/data/{split} holds no .hdf5 file; make some with `wavesim generate waves`")
        self._files: dict[tuple[int, Path], h5py.File] = {}
        self._index: list[tuple[Path, int]] = []
        shapes, intervals = set(), set()
        for path in self.paths:
            with open_shard(path) as file:
                n, frames, width, height = file["t0_fields/pressure"].shape
                time = file["dimensions/time"][:].astype(float)
            self._index += [(path, i) for i in range(n)]
            shapes.add((frames, height, width))
            intervals.add((time[-1] - time[0]) / (frames - 1))
        if len(shapes) > 1 or max(intervals) - min(intervals) > 1e-5 * max(intervals):
            raise WavesimError(
                f"{self.root}/data/{split} mixes shapes {sorted(shapes)} or frame intervals {sorted(intervals)}; "
                "one dataset has one of each"
            )
        (self.frames, *grid), self.frame_interval = shapes.pop(), float(min(intervals))
        self.grid: tuple[int, int] = (grid[0], grid[1])

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
            self._files[key] = open_shard(path)
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

    def medium(self, index: int) -> np.ndarray:
        """(channel, y, x) float32 of (bulk modulus, density). Raises WavesimError for values that are not finite."""
        file, row = self._file(index)
        return self._finite(index, np.stack([file["t0_fields"][name][row].T for name in MEDIUM]))

    def window(self, index: int, start: int, length: int) -> np.ndarray:
        """States `start` to `start + length - 1` as (time, channel, y, x) float32, (p, dt p_t). Raises as `medium`."""
        if start < 0 or start + length > self.frames:
            raise OutOfRangeError(f"window {start}..{start + length} of a trajectory of {self.frames} frames")
        file, row = self._file(index)
        fields = [file["t0_fields"][name][row, start : start + length].swapaxes(-1, -2) for name in STATE]
        state = np.stack(fields, axis=1)
        state[:, 1] *= np.float32(self.frame_interval)
        return self._finite(index, state)

    def _finite(self, index: int, values: np.ndarray) -> np.ndarray:
        if not np.isfinite(values).all():
            path, row = self.place(index)
            raise WavesimError(f"{path}: trajectory {row} is not finite throughout; move it away and make it again")
        return values

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
        )


def open_shard(path: str | Path) -> h5py.File:
    """Open a file of the layout for reading.

    Raises:
        WavesimError: missing, truncated, not HDF5, or of another layout.
    """
    path = Path(path)
    if not path.is_file():
        raise WavesimError(f"{path} does not exist")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        if error.errno is not None:  # the system's refusal, not HDF5's: no permission, too many open files
            raise WavesimError(f"{path} cannot be opened: {os.strerror(error.errno)}") from error
        raise WavesimError(f"{path} is not a whole HDF5 file ({error}); move it away and generate it again") from error
    defect = _layout_defect(file)
    if defect:
        file.close()
        raise WavesimError(f"{path} is not a wavesim dataset file: {defect}")
    return file


def _layout_defect(file: h5py.File) -> str | None:
    names = [f"t0_fields/{name}" for name in (*STATE, *CONSTANT)]
    missing = [name for name in (*names, "dimensions/time") if name not in file]
    if "wavesim" not in file.attrs:
        missing.append("the root attribute 'wavesim'")
    if missing:
        return f"it lacks {', '.join(missing)}"
    shape, frames = file["t0_fields/pressure"].shape, file["dimensions/time"].size
    if len(shape) != 4 or shape[1] != frames or frames < 2:
        return f"pressure has shape {shape}, expected (trajectory, time, x, y) with {max(frames, 2)} frames"
    for name in (*STATE, *CONSTANT):
        expected = shape if name in STATE else (shape[0], *shape[2:])
        if file[f"t0_fields/{name}"].shape != expected:
            return f"{name} has shape {file[f't0_fields/{name}'].shape}, expected {expected}"
    return None


def check(root: str | Path) -> dict[str, int]:
    """Check every file of a dataset: layout, shapes, frames, finiteness, and no packing in two splits.

    Returns:
        the number of trajectories of each split that is there.
    Raises:
        WavesimError: the first defect found.
    """
    root = Path(root)
    if not root.is_dir():
        raise WavesimError(f"{root} is not a folder")
    counts: dict[str, int] = {}
    owner: dict[str, str] = {}
    for split in SPLITS:
        if not (root / "data" / split).is_dir():
            continue
        data = WaveDataset(root, split)
        counts[split] = len(data)
        for path in data.paths:
            if owner.setdefault(path.stem, split) != split:
                raise WavesimError(
                    f"{path.stem} is in both {owner[path.stem]} and {split}: splits must not share a packing; "
                    "move one of the two files away"
                )
            with open_shard(path) as file:
                time = file["dimensions/time"][:].astype(float)
                if not np.allclose(np.diff(time), data.frame_interval, rtol=0, atol=1e-6 * max(abs(time[-1]), 1e-30)):
                    raise WavesimError(f"{path}: the frames are not {data.frame_interval:.6g} apart throughout")
                for name in (*STATE, *CONSTANT):
                    field = file[f"t0_fields/{name}"]
                    for row in range(field.shape[0]):
                        if not np.isfinite(field[row]).all():
                            raise WavesimError(f"{path}: {name} of trajectory {row} is not finite")
                if (file["t0_fields/bulk_modulus"][:] <= 0).any() or (file["t0_fields/density"][:] <= 0).any():
                    raise WavesimError(f"{path}: bulk modulus and density must be positive")
    if not counts:
        raise WavesimError(f"{root} holds no dataset: expected {root}/data/train and its like")
    return counts


def write_statistics(root: str | Path) -> dict[str, dict[str, float]]:
    """Write The Well's stats.yaml from the training split: mean, std, rms of each field and of its change a frame."""
    data = WaveDataset(root, "train")
    stats: dict[str, dict[str, float]] = {
        key: {} for key in ("mean", "std", "rms", "mean_delta", "std_delta", "rms_delta")
    }
    for name in (*STATE, *CONSTANT):
        sums = np.zeros(3)
        delta = np.zeros(3)
        for path in data.paths:
            with open_shard(path) as file:
                for row in file[f"t0_fields/{name}"]:
                    row = np.asarray(row, float)
                    sums += row.size, row.sum(), (row**2).sum()
                    if name in STATE:
                        step = np.diff(row, axis=0)
                        delta += step.size, step.sum(), (step**2).sum()
        for suffix, (count, total, squares) in (("", sums), ("_delta", delta)):
            if count:
                stats["mean" + suffix][name] = float(total / count)
                stats["std" + suffix][name] = float(np.sqrt(max(squares / count - (total / count) ** 2, 0.0)))
                stats["rms" + suffix][name] = float(np.sqrt(squares / count))
    with whole_file(Path(root) / "stats.yaml") as part:
        part.write_text(yaml.safe_dump(stats))
    return stats
