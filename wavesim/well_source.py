"""A file of The Well's, acoustic scattering: what it says of itself, checked, and its fields.

    attributes dataset_name, n_trajectories
    dimensions/time, x, y
    boundary_conditions/NAME       associated_dims, bc_type WALL, OPEN or PERIODIC; mask along its axis
    t0_fields/pressure, density, speed_of_sound, t1_fields/velocity
                                   ([trajectory][, time][, x][, y][, 2]), as sample_, time_ and dim_varying say

Format: PolymathicAI/the_well, docs/data_format.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from wavesim.config import Side
from wavesim.errors import WavesimError
from wavesim.fem.boundary import Sides
from wavesim.provenance import file_hash

SIDES: dict[str, Side] = {"WALL": "rigid", "OPEN": "absorbing", "PERIODIC": "periodic"}
FIELDS = ("t0_fields/pressure", "t0_fields/density", "t0_fields/speed_of_sound", "t1_fields/velocity")
AXES = ("dimensions/time", "dimensions/x", "dimensions/y")


@dataclass(frozen=True)
class Source:
    """A file to import, and what was found in it. split: where its trajectories go; axes: time, x and y."""

    path: Path
    split: str
    sha256: str
    dataset: str
    trajectories: int
    axes: tuple[np.ndarray, np.ndarray, np.ndarray]
    sides: Sides


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file, to read. Raises WavesimError where it is no whole HDF5 file."""
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise WavesimError(f"{path} is not a whole HDF5 file ({error})") from error
    with file:
        yield file


def inspect(path: Path, split: str) -> Source:
    """What a file says of itself, after a check of all but its values.

    Raises:
        WavesimError: something is missing, is of another shape than the rest says, or is not known here.
    """
    with opened(path) as file:
        missing = [name for name in (*FIELDS, *AXES, "boundary_conditions") if name not in file]
        if missing:
            raise WavesimError(f"{path} is no acoustic scattering file of The Well: it lacks {', '.join(missing)}")
        time, x, y = (np.asarray(file[name][()], float) for name in AXES)
        # Times as exactly as `check` wants them: to a millionth of the last one.
        for name, axis in (("time", time), ("x", x), ("y", y)):
            if axis.ndim != 1 or axis.size < 6 or not _rises_evenly(axis, 5e-7 * axis.size if name == "time" else 1e-3):
                raise WavesimError(f"{path}: {name} must be one line of 6 or more values in equal steps upward")
        trajectories = int(_said(path, file, "n_trajectories"))
        for name in FIELDS:
            by_row, by_time, by_axis = _varying(path, file[name])
            shape = [trajectories] * by_row + [time.size] * by_time
            shape += [axis.size for axis, varies in zip((x, y), by_axis, strict=True) if varies]
            shape += [2] * name.startswith("t1")
            if list(file[name].shape) != shape:
                raise WavesimError(
                    f"{path}: {name} has shape {file[name].shape}, and {tuple(shape)} follows from the file's own "
                    f"n_trajectories {trajectories}, dimensions and attributes; mend the file"
                )
        dataset, sides = str(_said(path, file, "dataset_name")), _sides(path, file, (x.size, y.size))
    return Source(path, split, file_hash(path), dataset, trajectories, (time, x, y), sides)


def _rises_evenly(axis: np.ndarray, slack: float) -> bool:
    steps = np.diff(axis)
    return bool(steps[0] > 0 and np.ptp(steps) <= slack * steps[0])


def _said(path: Path, node: h5py.File | h5py.Group | h5py.Dataset, name: str) -> Any:
    """An attribute of a file, or of what is in it."""
    if name not in node.attrs:
        raise WavesimError(f"{path} is no acoustic scattering file of The Well: {node.name} has no attribute {name}")
    return node.attrs[name]


def _varying(path: Path, data: h5py.Dataset) -> tuple[bool, bool, list[bool]]:
    """Whether a field has values of its own for each trajectory, each time, and along x and y."""
    by_row, by_time, by_axis = (_said(path, data, f"{key}_varying") for key in ("sample", "time", "dim"))
    if np.shape(by_axis) != (2,):
        raise WavesimError(f"{path}: dim_varying of {data.name} is {by_axis}, and must say it of x and of y")
    return bool(by_row), bool(by_time), [bool(varies) for varies in by_axis]


def _sides(path: Path, file: h5py.File, cells: tuple[int, int]) -> Sides:
    """Open unless a condition that covers an end of its axis says otherwise."""
    found: dict[tuple[str, int], Side] = {}
    for group in file["boundary_conditions"].values():
        dims = list(_said(path, group, "associated_dims"))
        if len(dims) != 1:
            continue
        kind, mask = str(_said(path, group, "bc_type")), group.get("mask")
        if kind.upper() not in SIDES:
            raise WavesimError(f"{path}: bc_type '{kind}' of {group.name} is not one of {', '.join(SIDES)}")
        if dims[0] not in ("x", "y") or mask is None or mask.shape != (cells[dims[0] == "y"],):
            raise WavesimError(f"{path}: {group.name} must have a mask of as many values as its axis, x or y, has")
        found |= {(dims[0], end): SIDES[kind.upper()] for end in (0, -1) if mask[end]}
    try:
        return Sides(*(found.get(key, "absorbing") for key in (("x", 0), ("x", -1), ("y", 0), ("y", -1))))
    except WavesimError as error:
        raise WavesimError(f"{path}: boundary_conditions: {error}") from error


def field(path: Path, file: h5py.File, name: str, rows: slice) -> np.ndarray:
    """(trajectory, time, x, y[, 2]) float32, an axis that does not vary having one entry, or its full size in space."""
    data = file[name]
    by_row, by_time, by_axis = _varying(path, data)
    values = np.asarray(data[rows] if by_row else data[:][None], np.float32)
    if not by_row:
        values = np.repeat(values, rows.stop - rows.start, axis=0)
    if not by_time:
        values = np.expand_dims(values, 1)
    for axis, varies in enumerate(by_axis):
        if not varies:
            size = file["dimensions"]["xy"[axis]].size
            values = np.repeat(np.expand_dims(values, 2 + axis), size, axis=2 + axis)
    return values
