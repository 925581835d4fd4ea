"""The Well's acoustic scattering files as a dataset of ours, so that forecasters can be trained on them.

Their fields are the pressure p, the velocity v, the density rho and the speed of sound c; ours come from them by

    kappa = rho c^2,      p_t = -kappa div v,

the divergence by differences of fourth order between cells, with v mirrored at walls, carried round at periodic sides
and extrapolated by a cubic at open ones. Where the density jumps, the differences are those of a smooth field still.
Lengths and times stay as they are in the file.

Format and data: PolymathicAI/the_well, docs/data_format.md and datasets/acoustic_scattering_*.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from wavesim.config import Side
from wavesim.dataset import SPLITS, check, open_shard, write_checksums, write_statistics
from wavesim.errors import WavesimError
from wavesim.fem.boundary import Sides
from wavesim.fem.card import write_imported_card
from wavesim.lock import sole_user
from wavesim.provenance import file_hash
from wavesim.shard import Shard, write_shard

TOGETHER = 2  # trajectories in one file: 0.2 GB each at 202 frames of 256 x 256, and as much again while computing
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


def import_well(source: str | Path, out: str | Path, split: str = "test") -> dict[str, int]:
    """Write the trajectories of a file, or of a folder with data/{train,valid,test}, as a dataset; go on after a kill.

    Args:
        split: where a single file's trajectories go.
    Returns:
        the number of trajectories of each split.
    Raises:
        WavesimError: before anything is written: nothing to import; a file without the fields above, or with a grid or
            times that are not uniform; a folder that was not imported, or that holds another file of the name, the same
            file elsewhere, or trajectories of another shape; another process at work in it.
    """
    source, out = Path(source), Path(out)
    if split not in SPLITS:
        raise WavesimError(f"split '{split}' is not one of {', '.join(SPLITS)}")
    if source.is_file():
        found = [(split, source)]
    else:
        folders = [(name, source / "data" / name) for name in SPLITS]
        found = [(name, path) for name, folder in folders for path in sorted(folder.glob("*.h*5"))]
    if not found:
        raise WavesimError(f"{source} is no .hdf5 file, and no folder with {source}/data/train/*.hdf5 and its like")
    sources = [_source(path, name) for name, path in found]
    _require_apart(sources, out)
    with sole_user(out):
        _require_apart(sources, out)  # once more, now that nobody else adds to it
        for one in sources:
            for first, shard in _shards(one, out):
                write_shard(_file(one, out, first), shard, f"imported_{one.path.stem}")
        if (out / "data" / "train").is_dir():
            write_statistics(out)
        write_checksums(out)
        counts = check(out)
        write_imported_card(out, counts)
    return counts


def _file(source: Source, out: Path, first: int) -> Path:
    return out / "data" / source.split / f"{source.path.stem}_{first:06d}.hdf5"


def _require_apart(sources: Sequence[Source], out: Path) -> None:
    """Raises WavesimError where the sources and what lies in `out` are no one dataset with splits of its own."""
    if (out / "settings.json").exists():
        raise WavesimError(f"{out} was made by `wavesim generate waves`; import into another --out")
    owner: dict[str, tuple[str, str]] = {}  # of each name: split and SHA-256
    shape: dict[str, tuple[float, ...]] = {}  # of each split
    for name in SPLITS:
        for path in sorted((out / "data" / name).glob("*.hdf5")):
            with open_shard(path) as file:
                about = json.loads(file.attrs["wavesim"])
                shape[name] = _shape([file[axis][:] for axis in AXES])
            if "imported" not in about:
                raise WavesimError(f"{path} was not imported; import into another --out than {out}")
            owner[Path(about["imported"]["file"]).stem] = name, about["imported"]["sha256"]
    for one in sources:
        own = (one.split, one.sha256)
        stem = next((key for key, value in owner.items() if value[1] == one.sha256), one.path.stem)
        if stem != one.path.stem or owner.setdefault(stem, own) != own:
            split, sha256 = owner[stem]
            what = "the same" if sha256 == one.sha256 else "other"
            raise WavesimError(
                f"{one.path} for {one.split}: {out} has {stem} in {split} with {what} content; "
                + ("leave this one out" if what == "the same" else "rename this one, or give another --out")
            )
        if not np.allclose(shape.setdefault(one.split, _shape(one.axes)), _shape(one.axes), rtol=1e-6, atol=0):
            raise WavesimError(
                f"{one.path} has other frames, cells, frame interval or lengths ({_numbers(_shape(one.axes))}) than "
                f"{one.split} has ({_numbers(shape[one.split])}); give another --out"
            )


def _shape(axes: Sequence[np.ndarray]) -> tuple[float, ...]:
    """The numbers of frames and of cells along x and y, and their distances."""
    return (*(axis.size for axis in axes), *(float(np.ptp(axis.astype(float))) / (axis.size - 1) for axis in axes))


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise WavesimError(f"{path} is not a whole HDF5 file ({error})") from error
    with file:
        yield file


def _source(path: Path, split: str) -> Source:
    """The file, after a check of all but its values."""
    with _opened(path) as file:
        missing = [name for name in (*FIELDS, *AXES, "boundary_conditions") if name not in file]
        if missing:
            raise WavesimError(f"{path} is no acoustic scattering file of The Well: it lacks {', '.join(missing)}")
        time, x, y = (np.asarray(file[name][()], float) for name in AXES)
        for name, axis in (("time", time), ("x", x), ("y", y)):
            steps = np.diff(axis) if axis.ndim == 1 else axis
            # Times as exactly as `check` wants them.
            slack = 5e-7 * abs(np.ptp(axis)) if name == "time" else 1e-3 * abs(steps.flat[0]) if steps.size else 0
            if axis.ndim != 1 or axis.size < 6 or not np.allclose(steps, steps.mean(), rtol=0, atol=slack):
                raise WavesimError(f"{path}: {name} must be one line of 6 or more equal steps")
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


def _shards(source: Source, out: Path) -> Iterator[tuple[int, Shard]]:
    """The files that are not there yet, each with the number of its first trajectory."""
    about = {"imported": {"file": source.path.name, "sha256": source.sha256}, "dataset": source.dataset}
    (time, x, y), sides = source.axes, astuple(source.sides)
    with _opened(source.path) as file:
        for first in range(0, source.trajectories, TOGETHER):
            if _file(source, out, first).exists():
                continue
            rows = slice(first, min(first + TOGETHER, source.trajectories))
            pressure, density, speed, velocity = (_field(source.path, file, name, rows) for name in FIELDS)
            density, bulk_modulus = density[:, 0], (density * speed**2)[:, 0]
            divergence = _derivative(velocity[..., 0], x[1] - x[0], 2, sides[:2])
            divergence += _derivative(velocity[..., 1], y[1] - y[0], 3, sides[2:])
            yield (
                first,
                Shard(
                    pressure=pressure.swapaxes(-1, -2),
                    pressure_rate=(-bulk_modulus[:, None] * divergence).swapaxes(-1, -2),
                    bulk_modulus=bulk_modulus.swapaxes(-1, -2),
                    density=density.swapaxes(-1, -2),
                    time=time - time[0],
                    x=x,
                    y=y,
                    parameters={},
                    about={**about, "first": first},
                    sides=sides,
                    gzip=True,
                ),
            )


def _field(path: Path, file: h5py.File, name: str, rows: slice) -> np.ndarray:
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
