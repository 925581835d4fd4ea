"""A file of The Well's, acoustic scattering: what it says of itself, checked, and its fields.

    attributes dataset_name, n_trajectories
    dimensions/time, x, y
    boundary_conditions/NAME       associated_dims, bc_type WALL, OPEN or PERIODIC; mask along its axis
    t0_fields/pressure, density, speed_of_sound, t1_fields/velocity
                                   ([trajectory][, time][, x][, y][, 2]), as sample_, time_ and dim_varying say

Of the pressure p, the velocity v, the density rho and the speed of sound c there come

    kappa = rho c^2,      p_t = -kappa div v,

the divergence by differences of fourth order between cells, with v mirrored at walls, carried round at periodic sides
and extrapolated by a cubic at open ones. Where the density jumps, the differences are those of a smooth field still.

Format: PolymathicAI/the_well, docs/data_format.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from wavesim.config import Side
from wavesim.errors import WavesimError

SIDES: dict[str, Side] = {"WALL": "rigid", "OPEN": "absorbing", "PERIODIC": "periodic"}
PRESSURE, VELOCITY = "t0_fields/pressure", "t1_fields/velocity"
DENSITY, SPEED = "t0_fields/density", "t0_fields/speed_of_sound"
FIELDS = (PRESSURE, DENSITY, SPEED, VELOCITY)
AXES = ("dimensions/time", "dimensions/x", "dimensions/y")


@dataclass(frozen=True)
class Source:
    """A file, and what was found in it. axes: time, x and y; sides: left, right, bottom, top."""

    path: Path
    dataset: str
    trajectories: int
    axes: tuple[np.ndarray, np.ndarray, np.ndarray]
    sides: tuple[Side, Side, Side, Side]


def opened(path: Path) -> h5py.File:
    """The file, to read. Raises WavesimError where it is no whole HDF5 file."""
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise WavesimError(f"{path} is not a whole HDF5 file ({error})") from error


def inspect(path: Path) -> Source:
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
    return Source(path, dataset, trajectories, (time, x, y), sides)


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


def _sides(path: Path, file: h5py.File, cells: tuple[int, int]) -> tuple[Side, Side, Side, Side]:
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
    left, right, bottom, top = (found.get((axis, end), "absorbing") for axis in "xy" for end in (0, -1))
    for one, other in ((left, right), (bottom, top)):
        if (one == "periodic") != (other == "periodic"):
            raise WavesimError(f"{path}: boundary_conditions: of '{one}' and '{other}' both or none are periodic")
    return left, right, bottom, top


def fields(
    source: Source, file: h5py.File, rows: slice, times: slice = slice(None)
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pressure and its rate (trajectory, time, x, y), bulk modulus and density (trajectory, x, y), float32."""
    pressure, velocity = (_field(source.path, file, name, rows, times) for name in (PRESSURE, VELOCITY))
    bulk_modulus, density = medium(source, file, rows)
    _, x, y = source.axes
    divergence = _derivative(velocity[..., 0], x[1] - x[0], 2, source.sides[:2])
    divergence += _derivative(velocity[..., 1], y[1] - y[0], 3, source.sides[2:])
    return pressure, -bulk_modulus[:, None] * divergence, bulk_modulus, density


def medium(source: Source, file: h5py.File, rows: slice) -> tuple[np.ndarray, np.ndarray]:
    """Bulk modulus and density (trajectory, x, y) float32."""
    density, speed = (_field(source.path, file, name, rows) for name in (DENSITY, SPEED))
    return (density * speed**2)[:, 0], density[:, 0]


def _field(path: Path, file: h5py.File, name: str, rows: slice, times: slice = slice(None)) -> np.ndarray:
    """(trajectory, time, x, y[, 2]) float32, an axis that does not vary having one entry, or its full size in space."""
    data = file[name]
    by_row, by_time, by_axis = _varying(path, data)
    values = np.asarray(data[(*[rows] * by_row, *[times] * by_time)], np.float32)
    if not by_row:
        values = np.repeat(values[None], rows.stop - rows.start, axis=0)
    if not by_time:
        values = np.expand_dims(values, 1)
    for axis, varies in enumerate(by_axis):
        if not varies:
            size = file["dimensions"]["xy"[axis]].size
            values = np.repeat(np.expand_dims(values, 2 + axis), size, axis=2 + axis)
    return values


def _derivative(field: np.ndarray, spacing: float, axis: int, sides: tuple[Side, ...]) -> np.ndarray:
    """The derivative along an axis of a velocity component normal to the sides at its ends."""
    field = np.moveaxis(field, axis, -1)
    before, after = field[..., :4], field[..., :-5:-1]  # inward from either end
    ghosts = []
    for side, inward, opposite in ((sides[0], before, after), (sides[1], after, before)):
        if side == "rigid":
            first, second = -inward[..., 0], -inward[..., 1]
        elif side == "periodic":
            first, second = opposite[..., 0], opposite[..., 1]
        else:
            first = inward @ np.array([4, -6, 4, -1], field.dtype)
            second = inward @ np.array([10, -20, 15, -4], field.dtype)
        ghosts.append((first, second))
    (a, b), (c, d) = ghosts
    padded = np.concatenate([b[..., None], a[..., None], field, c[..., None], d[..., None]], axis=-1)
    slope = (8 * (padded[..., 3:-1] - padded[..., 1:-3]) - (padded[..., 4:] - padded[..., :-4])) / (12 * spacing)
    return np.moveaxis(slope, -1, axis)
