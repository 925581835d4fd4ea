"""Cells that follow circles: edges along an interface become arcs, and their cells are bent with them.

An edge between cells of different tags whose two ends lie on one circle is a chord of it. Points c + r (cos, sin) of
equal shares of the angle take the place of those of the chord; a cell's other points move by its edges' displacements
d_0 .. d_3, each fading linearly towards the opposite edge (Gordon and Hall):

    x(s, t) = straight(s, t) + (1-t) d_0(s) + s d_1(t) + t d_2(s) + (1-s) d_3(t).

Reference: Gordon and Hall, Numer. Math. 21 (1973) 109-129.
"""

from __future__ import annotations

import numpy as np

from wavesim.fem.mesh import Mesh
from wavesim.fem.sampling import lobatto

NONE = -1


def on_circles(mesh: Mesh, circles: np.ndarray, circle_of: np.ndarray, degree: int = 4) -> Mesh:
    """A straight mesh of quadrilaterals whose interfaces follow circles.

    Args:
        circles: (circles, 3) of x, y and radius. circle_of: (points,) the circle that a point lies on, or -1.
        degree: of the polynomials that stand for the arcs.
    Raises:
        WavesimError: a cell that its arc folds.
    """
    shape = bent(mesh.points, mesh.cells, mesh.tags, circles, circle_of, degree)
    return Mesh(mesh.points, mesh.cells, mesh.tags, shape)


def bent(
    points: np.ndarray, cells: np.ndarray, tags: np.ndarray, circles: np.ndarray, circle_of: np.ndarray, degree: int = 4
) -> np.ndarray:
    """(cells, (degree + 1)^2, 2) the points of the cells, counter-clockwise, of `on_circles`; s fastest."""
    line = lobatto(degree)
    start, end = cells, np.roll(cells, -1, axis=1)  # (cells, edges)
    own = interfaces(cells, tags, circle_of)
    off = np.zeros((*own.shape, degree + 1, 2))  # d_k along the edge's own direction
    for cell, edge in np.argwhere(own != NONE):
        x, y, radius = circles[own[cell, edge]]
        ends = points[[start[cell, edge], end[cell, edge]]]
        first, last = np.arctan2(ends[:, 1] - y, ends[:, 0] - x)
        angle = first + line * ((last - first + np.pi) % (2 * np.pi) - np.pi)
        arc = np.column_stack([x + radius * np.cos(angle), y + radius * np.sin(angle)])
        off[cell, edge] = arc - (ends[0] + line[:, None] * (ends[1] - ends[0]))
    s, t = line[None, None, :, None], line[None, :, None, None]
    bottom, right, top, left = (off[:, k] for k in range(4))
    moved = (1 - t) * bottom[:, None] + s * right[:, :, None] + t * top[:, None, ::-1] + (1 - s) * left[:, ::-1, None]
    ends = points[cells[:, [0, 1, 3, 2]]].reshape(-1, 2, 2, 2)
    along = np.stack([1 - line, line], axis=1)
    straight = np.einsum("tk,sl,ckla->ctsa", along, along, ends)
    return (straight + moved).reshape(len(cells), -1, 2)


def interfaces(cells: np.ndarray, tags: np.ndarray, circle_of: np.ndarray) -> np.ndarray:
    """(cells, edges) the circle that both ends of an edge between cells of different tags are on, or -1."""
    after = np.roll(cells, -1, axis=1)
    ends = np.sort(np.stack([cells, after], axis=2), axis=2) @ [cells.max() + 1, 1]
    keys, number = np.unique(ends, return_inverse=True)
    number = number.reshape(cells.shape)
    each = np.broadcast_to(tags[:, None], cells.shape)
    low, high = np.full(len(keys), tags.max()), np.zeros(len(keys), int)
    np.minimum.at(low, number, each)
    np.maximum.at(high, number, each)
    return np.where((circle_of[cells] == circle_of[after]) & (low < high)[number], circle_of[cells], NONE)
