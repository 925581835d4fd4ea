"""One file of a dataset: the arrays that go in, and how they lie in The Well's HDF5 layout.

    t0_fields/pressure, pressure_rate                  (trajectory, time, x, y) float32
    t0_fields/bulk_modulus, density, speed_of_sound    (trajectory, x, y) float32
    scalars/NAME                                       a parameter of the file, or (trajectory, time) float32
    mesh/NAME                                          our own: of what cannot be meshed again to the last bit
    boundary_conditions/{x,y}_KIND                     mask: the first or the last cell of the axis, or both

The Well knows three kinds of sides: WALL, OPEN and PERIODIC. A side that is free of pressure is a WALL with a value, 0,
of the field `pressure`; a rigid one is a WALL without; an absorbing one is OPEN.

Format: PolymathicAI/the_well, docs/data_format.md. What we add stands in one root attribute, `wavesim` (JSON).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from wavesim.config import Side
from wavesim.errors import WavesimError
from wavesim.hdf5 import whole_hdf5

STATE = ("pressure", "pressure_rate")
MEDIUM = ("bulk_modulus", "density")
CONSTANT = (*MEDIUM, "speed_of_sound")
CHUNK = 8  # frames: a window of a few frames of one trajectory is what training reads
GZIP = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
KINDS = {"rigid": ("wall", "WALL"), "soft": ("soft_wall", "WALL"), "periodic": ("periodic", "PERIODIC"),
         "absorbing": ("open", "OPEN")}  # fmt: skip


def is_whole(name: str, values: np.ndarray) -> bool:
    """Whether a field holds what it may: finite values, and as density infinite ones, which are rigid obstacles."""
    return bool((np.isfinite(values) | (np.isposinf(values) if name == "density" else False)).all())


def obstructed(fields: Mapping[str, Any]) -> bool:
    """Whether a field (trajectory, time, ...) is other than 0 in a rigid obstacle of a density (trajectory, ...)."""
    rigid = np.isposinf(fields["density"][:])
    where = np.flatnonzero(rigid.any(axis=(1, 2)))
    return any(bool(fields[name][row][:, rigid[row]].any()) for name in STATE for row in where)


@dataclass(frozen=True)
class Shard:
    """The trajectories of one file, in the project's axis order, nondimensional.

    pressure, pressure_rate: (trajectory, time, y, x); bulk_modulus, density: (trajectory, y, x), the density infinite
    in rigid obstacles;
    time: (time,); x: (x,), y: (y,) cell centres. parameters: numbers that hold for the whole file. about: provenance,
    anything that JSON can hold. sides: left, right, bottom, top. series: numbers that change, (trajectory, time).
    mesh: arrays of the mesh that the fields were computed on, where it is no rectangle's own.
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
    sides: tuple[Side, Side, Side, Side] = ("rigid",) * 4
    series: Mapping[str, np.ndarray] = field(default_factory=dict)
    gzip: bool = False
    mesh: Mapping[str, np.ndarray] = field(default_factory=dict)


def stored_bytes(trajectories: int, frames: int, grid: tuple[int, int]) -> int:
    """What the fields of a file take on the disk at most, grid being (y, x) cells: whole chunks, not packed."""
    padded = frames if frames <= CHUNK else -(-frames // CHUNK) * CHUNK
    return 4 * trajectories * (len(STATE) * padded + len(CONSTANT)) * grid[0] * grid[1]


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
    arrays = {name: getattr(shard, name) for name in expected} | dict(shard.series)
    for name, shape in (expected | dict.fromkeys(shard.series, (n, frames))).items():
        if arrays[name].shape != shape:
            raise WavesimError(f"{path}: {name} has shape {arrays[name].shape}, expected {shape}")
    with np.errstate(over="ignore"):  # what single precision cannot hold becomes infinite, and is refused below
        fields = {name: getattr(shard, name).astype(np.float32, copy=False) for name in (*STATE, *MEDIUM)}
    for name, values in fields.items():
        rigid = np.isposinf(shard.density) if name == "density" else False
        if not (np.isfinite(values) | rigid).all():
            raise WavesimError(f"{path}: {name} is not finite; the run that made it was unstable: nothing was written")
        if name in MEDIUM and not (values > 0).all():
            raise WavesimError(f"{path}: {name} must be positive, got {values.min():.3g}; nothing was written")
    if obstructed(fields):
        raise WavesimError(f"{path}: fields in a rigid obstacle (infinite density) must be 0; nothing was written")
    fields["speed_of_sound"] = np.sqrt(shard.bulk_modulus / shard.density).astype(np.float32)

    with whole_hdf5(path) as file:
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
        scalars.attrs["field_names"] = [*shard.parameters, *shard.series]
        for name, value in (*shard.parameters.items(), *shard.series.items()):
            scalar = scalars.create_dataset(name, data=np.asarray(value, np.float32))
            scalar.attrs.update(sample_varying=name in shard.series, time_varying=name in shard.series)
        group = file.create_group("t0_fields")
        group.attrs["field_names"] = [*STATE, *CONSTANT]
        for name, values in fields.items():
            varying = name in STATE
            chunks = (1, min(CHUNK, frames), width, height) if varying else (1, width, height)
            packing = GZIP if shard.gzip else {}
            data = group.create_dataset(name, data=values.swapaxes(-1, -2), chunks=chunks, **packing)
            data.attrs.update(dim_varying=[True, True], sample_varying=True, time_varying=varying)
            file.flush()  # chunks get their places now, not when a dataset happens to be closed
        for name, values in shard.mesh.items():
            file[f"mesh/{name}"] = values
        for name in ("t1_fields", "t2_fields"):
            file.create_group(name).attrs["field_names"] = np.array([], dtype="S1")


def _write_boundaries(file: h5py.File, shard: Shard) -> None:
    boundaries = file.create_group("boundary_conditions")
    for dimension, ends in (("x", shard.sides[:2]), ("y", shard.sides[2:])):
        for side in dict.fromkeys(ends):
            name, kind = KINDS[side]
            group = boundaries.create_group(f"{dimension}_{name}")
            group.attrs.update(
                associated_dims=[dimension],
                associated_fields=["pressure"] if side == "soft" else np.array([], dtype="S1"),
                bc_type=kind,
                sample_varying=False,
                time_varying=False,
            )
            mask = np.zeros(getattr(shard, dimension).size, bool)
            mask[[end for end, own in zip((0, -1), ends, strict=True) if own == side]] = True
            group.create_dataset("mask", data=mask)
            if side == "soft":
                group.create_dataset("values", data=np.zeros(mask.sum(), np.float32))


@dataclass(frozen=True)
class Made:
    """What a file holds. shape: (time, y, x) of a trajectory; lengths: (Lx, Ly); sides: left, right, bottom, top."""

    trajectories: int
    shape: tuple[int, int, int]
    frame_interval: float
    lengths: tuple[float, float]
    sides: tuple[Side, Side, Side, Side]


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
        theirs = "t1_fields/velocity" in file and "wavesim" not in file.attrs
        file.close()
        hint = "; `wavesim import` makes a dataset of The Well's acoustic files" if theirs else ""
        raise WavesimError(f"{path} is not a wavesim dataset file: {defect}{hint}")
    return file


def _layout_defect(file: h5py.File) -> str | None:
    names = [f"t0_fields/{name}" for name in (*STATE, *CONSTANT)] + [f"dimensions/{name}" for name in ("time", *"xy")]
    missing = [name for name in names if name not in file]
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


def inspect(file: h5py.File) -> Made:
    """What an open file of the layout holds.

    Raises:
        WavesimError: times that do not rise in equal steps, to a millionth of the largest: they are single precision.
    """
    n, frames, width, height = file["t0_fields/pressure"].shape
    time = file["dimensions/time"][:].astype(float)
    interval = (time[-1] - time[0]) / (frames - 1)
    if not (interval > 0 and np.allclose(np.diff(time), interval, rtol=0, atol=1e-6 * np.abs(time).max())):
        raise WavesimError(
            f"{file.filename}: the frames are not {interval:.6g} apart throughout; one frame interval is what a "
            "forecaster steps by: keep equally spaced frames"
        )
    lengths = _length(file["dimensions/x"][:]), _length(file["dimensions/y"][:])
    return Made(n, (frames, height, width), interval, lengths, _sides(file))


def _sides(file: h5py.File) -> tuple[Side, Side, Side, Side]:
    """Left, right, bottom, top; absorbing where nothing is said, as The Well has it."""
    kinds: dict[str, Any] = {name: side for side, (name, _) in KINDS.items()}
    found: dict[tuple[str, int], Side] = {}
    for name, group in file.get("boundary_conditions", {}).items():
        axis, _, kind = name.partition("_")
        found |= {(axis, end): kinds[kind] for end in (0, -1) if kind in kinds and group["mask"][end]}
    left, right, bottom, top = (found.get((axis, end), "absorbing") for axis in "xy" for end in (0, -1))
    return left, right, bottom, top


def _length(centres: np.ndarray) -> float:
    """What equal cells with these centres, in single precision, cover."""
    return float(f"{np.ptp(centres.astype(float)) * centres.size / max(centres.size - 1, 1):.6g}")
