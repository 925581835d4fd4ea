"""The Well's acoustic scattering files as a dataset of ours, so that forecasters can be trained on them.

Their fields are the pressure p, the velocity v, the density rho and the speed of sound c; ours come from them by

    kappa = rho c^2,      p_t = -kappa div v,

the divergence by differences of fourth order between cells, with v mirrored at walls, carried round at periodic sides
and extrapolated by a cubic at open ones. Where the density jumps, the differences are those of a smooth field still.
Lengths and times stay as they are in the file.

Format and data: PolymathicAI/the_well, docs/data_format.md and datasets/acoustic_scattering_*.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from wavesim.config import Side
from wavesim.dataset import SPLITS, check, write_checksums, write_statistics
from wavesim.errors import WavesimError
from wavesim.fem.card import write_imported_card
from wavesim.lock import sole_user
from wavesim.provenance import file_hash
from wavesim.shard import Shard, write_shard

TOGETHER = 2  # trajectories in one file: 0.2 GB each at 202 frames of 256 x 256, and as much again while computing
SIDES: dict[str, Side] = {"WALL": "rigid", "OPEN": "absorbing", "PERIODIC": "periodic"}
NEEDED = ("t0_fields/pressure", "t0_fields/density", "t0_fields/speed_of_sound", "t1_fields/velocity",
          "dimensions/time", "dimensions/x", "dimensions/y")  # fmt: skip


def import_well(source: str | Path, out: str | Path, split: str = "test") -> dict[str, int]:
    """Write the trajectories of a file, or of a folder with data/{train,valid,test}, as a dataset; go on after a kill.

    Args:
        split: where a single file's trajectories go.
    Returns:
        the number of trajectories of each split.
    Raises:
        WavesimError: nothing to import, a file without the fields above, a grid or times that are not uniform; another
            process at work in the folder.
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
    for _, path in found:
        with _opened(path):
            pass  # before anything is written
    with sole_user(out):
        for name, path in found:
            for first, shard in _shards(path, out / "data" / name / path.stem):
                write_shard(out / "data" / name / f"{path.stem}_{first:06d}.hdf5", shard, f"imported_{path.stem}")
        if (out / "data" / "train").is_dir():
            write_statistics(out)
        write_checksums(out)
        counts = check(out)
        write_imported_card(out, counts)
    return counts


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise WavesimError(f"{path} is not a whole HDF5 file ({error})") from error
    with file:
        missing = [name for name in NEEDED if name not in file]
        if missing:
            raise WavesimError(f"{path} is no acoustic scattering file of The Well: it lacks {', '.join(missing)}")
        yield file


def _shards(path: Path, begin: Path) -> Iterator[tuple[int, Shard]]:
    """The files that are not there yet, each with the number of its first trajectory."""
    with _opened(path) as file:
        time, x, y = (file[f"dimensions/{name}"][:].astype(float) for name in ("time", "x", "y"))
        for name, axis in (("time", time), ("x", x), ("y", y)):
            steps = np.diff(axis)
            if axis.ndim != 1 or axis.size < 6 or not np.allclose(steps, steps[0], rtol=1e-3):
                raise WavesimError(f"{path}: {name} must be one line of 6 or more equal steps")
        sides = _sides(file)
        about = {"imported": {"file": path.name, "sha256": file_hash(path)}, "dataset": str(file.attrs["dataset_name"])}
        for first in range(0, int(file.attrs["n_trajectories"]), TOGETHER):
            if begin.with_name(f"{begin.name}_{first:06d}.hdf5").exists():
                continue
            rows = slice(first, min(first + TOGETHER, int(file.attrs["n_trajectories"])))
            pressure, density, speed, velocity = (_field(file, name, rows) for name in NEEDED[:4])
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


def _field(file: h5py.File, name: str, rows: slice) -> np.ndarray:
    """(trajectory, time, x, y[, 2]) float32, an axis that does not vary having one entry, or its full size in space."""
    data = file[name]
    by_row, by_time, by_axis = (data.attrs[f"{key}_varying"] for key in ("sample", "time", "dim"))
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


def _sides(file: h5py.File) -> tuple[Side, Side, Side, Side]:
    """left, right, bottom, top: open unless a condition that covers an end of its axis says otherwise."""
    sides: dict[tuple[str, int], Side] = {}
    for group in file["boundary_conditions"].values():
        dims: Any = list(group.attrs["associated_dims"])
        if len(dims) == 1:
            mask = group["mask"][:]
            sides |= {(dims[0], end): SIDES[str(group.attrs["bc_type"]).upper()] for end in (0, -1) if mask[end]}
    left, right, bottom, top = (sides.get(key, "absorbing") for key in (("x", 0), ("x", -1), ("y", 0), ("y", -1)))
    return left, right, bottom, top


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
