"""Averages of disks that cannot be, and effective media of meshes that fill no rectangle, are refused in one line."""

import numpy as np
import pytest

from wavesim.errors import WavesimError
from wavesim.fem import Mesh, Nodes, Raster, Sides, assemble, effective, run, start, uniform

NODES = Nodes((4, 4), 2)
DISK = np.array([[0.5, 0.5, 0.2]])
CORNERS = np.array([(x, y) for y in range(3) for x in range(3)][:8], float)
L_SHAPE = Mesh(CORNERS, np.array([(0, 1, 4, 3), (1, 2, 5, 4), (3, 4, 7, 6)]))


@pytest.mark.parametrize(
    ("disks", "bulk_modulus", "density", "said"),
    [
        (DISK, -4, 1, "bulk_modulus of the disks"),
        (DISK, 4, 0, "density of the disks"),
        (DISK, 4, np.nan, "density of the disks"),
        (DISK[:0], 4, 1, "at least one"),
        (DISK[0], 4, 1, "at least one"),
        (DISK * np.inf, 4, 1, "all finite"),
    ],
)
def test_disks_that_cannot_be_are_refused(disks, bulk_modulus, density, said):
    with pytest.raises(WavesimError, match=said):
        Raster(disks, bulk_modulus, density, NODES)


def test_an_effective_medium_takes_a_rectangle():
    with pytest.raises(WavesimError, match="that of a rectangle along the axes, and this mesh does not fill"):
        effective(uniform(), L_SHAPE)


def test_a_layer_is_a_whole_number_of_elements():
    with pytest.raises(WavesimError, match=r"layer 2\.5 must be a whole number"):
        assemble(uniform(), NODES, 0.1, (4, 4), Sides(left="absorbing"), 2.5)


def test_frames_of_a_mesh_of_triangles():
    line = np.linspace(0, 1, 13)
    points = np.column_stack([axis.ravel() for axis in np.meshgrid(line, line)])
    first = np.add.outer(13 * np.arange(12), np.arange(12)).ravel()
    cells = [np.column_stack([first, first + 1, first + 14]), np.column_stack([first, first + 14, first + 13])]
    problem = assemble(uniform(), Mesh(points, np.concatenate(cells)), 0.1, (6, 6), degree=1)
    frames = run(problem, start(problem, lambda x, y: 1 + 2 * x - 3 * y), 5)[0]
    # |p|^2 = 4/3, and that of the averages is less by the variance (4 + 9) / 12 of slopes within cells of width 1/6.
    assert frames.unresolved_share[0] == pytest.approx(np.sqrt(13 / 12 / 36 / (4 / 3)), rel=1e-6)
    assert np.ptp(frames.energy) < 0.05 * frames.energy[0]
