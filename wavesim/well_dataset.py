"""The Well's acoustic scattering files read where they lie, as a dataset is: nothing is written.

    DIR/data/{train,valid,test}/*.hdf5      with the fields that `well_source` names
A window takes its own frames from the file and no others; `wavesim import` computes the rate once and for all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from wavesim.dataset import SPLITS, WaveDataset
from wavesim.shard import MEDIUM, Made
from wavesim.well_source import Source, fields, inspect, medium, opened


def open_split(root: str | Path, split: str) -> WaveDataset:
    """A split of a dataset of ours, or of a folder of The Well's acoustic files.

    Raises:
        WavesimError: neither of them.
    """
    paths = sorted((Path(root) / "data" / split).glob("*.hdf5")) if split in SPLITS else []
    if paths and _is_theirs(paths[0]):
        return WellDataset(root, split)
    return WaveDataset(root, split)


def _is_theirs(path: Path) -> bool:
    try:
        with h5py.File(path, "r") as file:
            return "wavesim" not in file.attrs and "t0_fields/pressure_rate" not in file
    except OSError:
        return False  # WaveDataset says what is wrong with it


class WellDataset(WaveDataset):
    """A split of The Well's acoustic files.

    Raises:
        WavesimError: as WaveDataset, and what `well_source.inspect` finds: without a velocity there is no rate.
    """

    def __init__(self, root: str | Path, split: str):
        self._sources: dict[Path, Source] = {}
        super().__init__(root, split)

    def _inspect(self, path: Path) -> Made:
        source = self._sources[path] = inspect(path)
        time, x, y = source.axes
        interval = (time[-1] - time[0]) / (time.size - 1)
        lengths = tuple(float(f"{np.ptp(axis) * axis.size / (axis.size - 1):.6g}") for axis in (x, y))
        shape = (time.size, y.size, x.size)
        return Made(source.trajectories, shape, interval, (lengths[0], lengths[1]), source.sides)

    def _open(self, path: Path) -> h5py.File:
        return opened(path)

    def about(self, index: int) -> dict[str, Any]:
        """Where a trajectory's file comes from."""
        path, _ = self.place(index)
        return {"imported": {"file": path.name}, "dataset": self._sources[path].dataset}

    def medium(self, index: int) -> np.ndarray:
        """(channel, y, x) float32 of (bulk modulus, density)."""
        file, row = self._file(index)
        values = medium(self._sources[self.place(index)[0]], file, slice(row, row + 1))
        both = np.stack([one[0].T for one in values])
        self._require_whole(index, dict(zip(MEDIUM, both, strict=True)))
        return both

    def _state(self, index: int, start: int, length: int) -> np.ndarray:
        file, row = self._file(index)
        source = self._sources[self.place(index)[0]]
        pressure, rate, *_ = fields(source, file, slice(row, row + 1), slice(start, start + length))
        return np.stack([pressure[0], rate[0]], axis=1).swapaxes(-1, -2)
