"""A trajectory for ParaView: an XDMF time series on the grid's cells, written by meshio.

PATH.xdmf describes it, PATH.h5 beside it holds the numbers; the two belong together, and each is whole or not there.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from wavesim.dataset import MEDIUM, Trajectory
from wavesim.errors import WavesimError
from wavesim.hdf5 import whole_hdf5
from wavesim.provenance import whole_file


def write_xdmf(path: str | Path, trajectory: Trajectory) -> Path:
    """Write pressure, pressure rate, bulk modulus and density of a trajectory as cell data, frame by frame.

    Args:
        path: ends in .xdmf. trajectory: state (time, channel, y, x) and medium (channel, y, x) on equal cells.
    Raises:
        WavesimError: another suffix, or a full disk.
    """
    import meshio

    path = Path(path)
    if path.suffix != ".xdmf":
        raise WavesimError(f"{path}: a trajectory is written as .xdmf, not '{path.suffix}'")
    height, width = trajectory.medium.shape[1:]
    along_x, along_y = (np.linspace(0, own, n + 1) for own, n in zip(trajectory.lengths, (width, height), strict=True))
    x, y = np.meshgrid(along_x, along_y)
    points = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)
    corner = (np.arange(height)[:, None] * (width + 1) + np.arange(width)).ravel()
    quads = np.stack([corner, corner + 1, corner + width + 2, corner + width + 1], axis=1)
    # Used as a context, meshio's writer would put the .h5 file into the working folder. So both files are opened and
    # closed here; the .xdmf refers to the other by its bare name, and comes last.
    writer = meshio.xdmf.TimeSeriesWriter(path)
    with whole_file(path) as description:
        numbers = path.with_suffix(".h5")
        with whole_hdf5(numbers) as writer.h5_file:
            writer.h5_filename = numbers.name
            writer.write_points_cells(points, [("quad", quads)])
            for frame, (pressure, rate) in enumerate(trajectory.state):
                fields = dict(zip(MEDIUM, trajectory.medium, strict=True)) | {
                    "pressure": pressure,
                    "pressure_rate": rate / trajectory.frame_interval,
                }
                cells = {name: [field.ravel()] for name, field in fields.items()}
                writer.write_data(frame * trajectory.frame_interval, cell_data=cells)
            ElementTree.ElementTree(writer.xdmf_file).write(description)
    return path
