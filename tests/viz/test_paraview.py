import errno
from pathlib import Path

import meshio
import numpy as np
import pytest

from wavesim.dataset import Trajectory
from wavesim.errors import WavesimError
from wavesim.viz.paraview import write_xdmf


def test_the_file_holds_every_frame_at_its_time_and_place(tmp_path):
    height, width, interval = 3, 4, 0.25
    y, x = np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width, indexing="ij")
    pressure = np.stack([x + 10 * y + 100 * frame for frame in range(3)])
    state = np.stack([pressure, interval * 2 * pressure], axis=1)
    path = write_xdmf(tmp_path / "deep" / "t.xdmf", Trajectory(state, np.stack([1 + x, 2 + y]), interval, "t", {}))
    with meshio.xdmf.TimeSeriesReader(path) as reader:
        points, cells = reader.read_points_cells()
        centres = points[cells[0].data].mean(axis=1)
        assert reader.num_steps == 3
        for frame in range(3):
            time, _, data = reader.read_data(frame)
            exact = centres[:, 0] + 10 * centres[:, 1] + 100 * frame
            assert time == pytest.approx(frame * interval)
            np.testing.assert_allclose(data["pressure"][0], exact)
            np.testing.assert_allclose(data["pressure_rate"][0], 2 * exact)
            np.testing.assert_allclose(data["density"][0], 2 + centres[:, 1])
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == ["t.h5", "t.xdmf"]


def test_what_fails_leaves_the_earlier_files_and_the_working_folder_as_they_were(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state, medium = np.zeros((3, 2, 2, 2)), np.ones((2, 2, 2))
    path = write_xdmf("t.xdmf", Trajectory(state, medium, 1.0, "t", {}))
    before = {name: (tmp_path / name).read_bytes() for name in ("t.xdmf", "t.h5")}
    assert b"t.h5:/" in before["t.xdmf"] and b".part" not in before["t.xdmf"]

    write_data, frames = meshio.xdmf.TimeSeriesWriter.write_data, []

    def fill_the_disk(writer, time, **data):
        assert Path.cwd() == tmp_path
        frames.append(time)
        if len(frames) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_data(writer, time, **data)

    monkeypatch.setattr(meshio.xdmf.TimeSeriesWriter, "write_data", fill_the_disk)
    with pytest.raises(WavesimError, match="the disk is full"):
        write_xdmf(path, Trajectory(state + 1, medium, 1.0, "t", {}))
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(WavesimError, match=r"\.xdmf"):
        write_xdmf(tmp_path / "t.vtk", Trajectory(np.zeros((1, 2, 2, 2)), np.ones((2, 2, 2)), 1.0, "t", {}))
