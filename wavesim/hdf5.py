"""HDF5 files that appear whole or not at all, on disks that may be full.

They are made in memory and written by plain writing, because HDF5 itself can crash a process where a disk is full.
That takes as much memory again as the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from wavesim.provenance import whole_file


@contextmanager
def whole_hdf5(path: str | Path, mode: str = "w") -> Iterator[h5py.File]:
    """A new file (`w`), or one that is there (`r+`), to be filled; it takes its place at the end.

    Raises:
        WavesimError: the disk is full.
    """
    with h5py.File(path, mode, driver="core", backing_store=False) as file:
        yield file
        file.flush()
        image = file.id.get_file_image()
    with whole_file(path) as part:
        part.write_bytes(image)
