"""Each quadrilateral cut into four, on the same curves: a mesh of half the element size for the same domain.

A cell is the image x(s, t) of the unit square; its quarters are the images of that square's quarters, so a degree lower
than the cells' own shape loses nothing, and interfaces stay where they are.
"""

from __future__ import annotations

from math import isqrt

import numpy as np

from wavesim.fem.mesh import Mesh
from wavesim.fem.sampling import lagrange, lobatto


def refined(mesh: Mesh) -> Mesh:
    """A mesh of quadrilaterals, each of them cut at the middles s = 1/2 and t = 1/2."""
    known, c = len(mesh.points), mesh.cells
    ends = np.sort(np.stack([c, np.roll(c, -1, axis=1)], axis=2), axis=2)
    keys, edge = np.unique(ends.reshape(-1, 2) @ [known, 1], return_inverse=True)
    m, centre = known + edge.reshape(c.shape), known + len(keys) + np.arange(len(c))
    square = mesh.positions(2).reshape(-1, 3, 3, 2)  # (cell, t, s)
    points = np.empty((known + len(keys) + len(c), 2))
    points[:known], points[centre] = mesh.points, square[:, 1, 1]
    points[m] = square[:, [0, 1, 2, 1], [1, 2, 1, 0]]
    quarters = [
        (c[:, 0], m[:, 0], centre, m[:, 3]),
        (m[:, 0], c[:, 1], m[:, 1], centre),
        (m[:, 3], centre, m[:, 2], c[:, 3]),
        (centre, m[:, 1], c[:, 2], m[:, 2]),
    ]
    cells = np.concatenate([np.column_stack(quarter) for quarter in quarters])
    shape = np.zeros((0, 0, 2))
    if mesh.curved:
        degree = isqrt(mesh.shape.shape[1]) - 1
        halves = [lagrange(degree, (k + lobatto(degree)) / 2) for k in (0, 1)]
        shape = np.concatenate(
            [np.einsum("qk,cka->cqa", np.kron(up, along), mesh.shape) for up in halves for along in halves]
        )
    return Mesh(points, cells, np.tile(mesh.tags, 4), shape, mesh.margins)
