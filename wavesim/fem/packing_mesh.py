"""Packings from packings.h5 (its format: data/README.md), scaled to the unit square that the waves run in.

A packing becomes a medium on any mesh through `medium.packing`, whose interfaces are smooth and of a declared width:
the mesh need not follow them, it has to resolve them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from wavesim.errors import WavesimError


@dataclass(frozen=True)
class SquarePacking:
    """A periodic packing of the unit square. positions: (grain, 2), x first; radii: (grain,); size_ratio: below 1."""

    name: str
    positions: np.ndarray
    radii: np.ndarray
    size_ratio: float


def read(path: str | Path) -> list[SquarePacking]:
    """The whole packings of a packings.h5, or of the folder that holds it, in the order of their names.

    Raises:
        WavesimError: no such file, not HDF5, no whole packing in it, or a box that is not a square.
    """
    path = Path(path) / "packings.h5" if Path(path).is_dir() else Path(path)
    if not path.is_file():
        raise WavesimError(f"{path} does not exist; make it with `wavesim generate packings`")
    try:
        with h5py.File(path, "r") as file:
            packings = [_square(path, name, file[name]) for name in sorted(file) if "complete" in file[name].attrs]
    except OSError as error:
        raise WavesimError(f"{path} is not a whole HDF5 file ({error}); generate packings in another folder") from error
    if not packings:
        raise WavesimError(f"{path} holds no whole packing; go on with `wavesim generate packings`")
    return packings


def one(packing: SquarePacking | str | Path, number: int = 0) -> SquarePacking:
    """`packing` itself, or of the file of that name the one of that `number`.

    Raises:
        WavesimError: as `read`, or no such number.
    """
    if isinstance(packing, SquarePacking):
        return packing
    packings = read(packing)
    if not 0 <= number < len(packings):
        raise WavesimError(f"{packing} has no packing {number}: it holds 0 to {len(packings) - 1}")
    return packings[number]


def _square(path: Path, name: str, group: h5py.Group) -> SquarePacking:
    missing = [key for key in ("positions", "radii", "box") if key not in group]
    if missing or "size_ratio" not in group.attrs:
        raise WavesimError(f"{path}: packing {name} lacks {', '.join(missing) or 'the attribute size_ratio'}")
    positions, radii, box = (np.asarray(group[key], float) for key in ("positions", "radii", "box"))
    if box.shape != (2,) or not np.isclose(box[0], box[1]):
        raise WavesimError(f"{path}: packing {name} has the box {box.tolist()}; waves need two dimensions and a square")
    return SquarePacking(name, positions / box[0] % 1.0, radii / box[0], float(group.attrs["size_ratio"]))
