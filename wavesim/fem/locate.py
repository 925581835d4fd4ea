"""Where a place lies in a mesh, and a field's value there.

A straight quadrilateral with corners v_0 .. v_3, counter-clockwise, is the image of the unit square under

    x(s, t) = (1-s)(1-t) v_0 + s (1-t) v_1 + s t v_2 + (1-s) t v_3,

which Newton's method inverts; a curved one is the image under the polynomials of degree p that take given positions at
the Gauss-Lobatto-Legendre points, inverted likewise from where the straight one ends; in a triangle
x(s, t) = v_0 + s (v_1 - v_0) + t (v_2 - v_0) is solved at once. Candidates are the cells whose centres are nearest. A
place that rounding puts just outside the mesh counts as on its rim.
"""

from __future__ import annotations

from math import isqrt

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from wavesim.errors import WavesimError
from wavesim.fem.extent import Extent
from wavesim.fem.sampling import cell_centres, differentiation, lagrange

NEAREST = 24  # cells by their centres that are tried for a place,
FARTHEST = 400  # and if none of them holds it
SLACK = 1e-9


def at(cells: np.ndarray, degree: int, node_of: np.ndarray, nodes: int, places: np.ndarray) -> sparse.csr_matrix:
    """The matrix (places, nodes) from a nodal field to its values at places (places, 2), x first.

    Args:
        cells: (cells, 3 or 4, 2) corners in turn, or (cells, (degree + 1)^2, 2) points of curved ones, s fastest.
        node_of: (cells, points of a cell), the node at each of them; in a quadrilateral t-major, s fastest.
    Raises:
        WavesimError: a place outside the mesh.
    """
    places = np.atleast_2d(np.asarray(places, float))
    cell, (s, t) = locate(cells, places)
    if cells.shape[1] == 3:
        values = np.stack([1 - s - t, s, t], axis=1)
    else:
        along_s, along_t = lagrange(degree, s), lagrange(degree, t)
        values = np.einsum("pj,pi->pji", along_t, along_s).reshape(len(places), -1)
    columns = node_of[cell]
    start = np.arange(len(places) + 1) * columns.shape[1]
    return sparse.csr_matrix((values.ravel(), columns.ravel(), start), shape=(len(places), nodes))


def cell_averages(
    cells: np.ndarray,
    degree: int,
    node_of: np.ndarray,
    nodes: int,
    grid: tuple[int, int],
    extent: Extent,
    parts: int = 4,
) -> sparse.csr_matrix:
    """The matrix (cells, nodes) to averages over grid = (y, x) cells of a rectangle, by parts^2 Gauss points each."""
    low, high = extent.low, extent.high
    points, weights = np.polynomial.legendre.leggauss(parts)
    lines = []
    for k, count in ((0, grid[1]), (1, grid[0])):
        size = (high[k] - low[k]) / count
        lines.append(low[k] + cell_centres(count, high[k] - low[k])[:, None] + size * points / 2)
    x, y = lines
    shape = (grid[0], grid[1], parts, parts)  # cell row, cell column, point row, point column
    places = np.stack([np.broadcast_to(x[None, :, None, :], shape), np.broadcast_to(y[:, None, :, None], shape)], -1)
    values = at(cells, degree, node_of, nodes, places.reshape(-1, 2))
    weight = np.tile(np.outer(weights, weights).ravel() / 4, grid[0] * grid[1])
    rows = np.repeat(np.arange(grid[0] * grid[1]), parts**2)
    return (sparse.csr_matrix((weight, (rows, np.arange(rows.size)))) @ values).tocsr()


def locate(cells: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cell (places,) that holds each of places (places, 2), and (2, places) its s and t; cells as in `at`.

    Raises:
        WavesimError: a place outside the mesh.
    """
    triangles = cells.shape[1] == 3
    tree = cKDTree(cells.mean(axis=1))
    cell = np.full(len(places), -1)
    inside = np.zeros((2, len(places)))
    best = np.full(len(places), np.inf)
    for most, enough in ((NEAREST, SLACK), (FARTHEST, 1e-6)):  # a long cell may have many small ones beside it
        missing, count = np.flatnonzero(best > enough), min(most, len(cells))
        candidates = tree.query(places[missing], count)[1].reshape(len(missing), count)
        for k in range(count):
            some = np.flatnonzero(best[missing] > SLACK)  # not in a cell yet
            if not some.size:
                break
            left = missing[some]
            s, t = reference(cells[candidates[some, k]], places[left])
            beyond = np.maximum(np.maximum(-s, -t), s + t - 1 if triangles else np.maximum(s, t) - 1)
            nearer = beyond < best[left]
            chosen = left[nearer]
            best[chosen], cell[chosen] = beyond[nearer], candidates[some[nearer], k]
            inside[:, chosen] = np.clip(s[nearer], 0, 1), np.clip(t[nearer], 0, 1)
    if (outside := np.flatnonzero(best > 1e-6)).size:
        x, y = places[outside[0]]
        raise WavesimError(f"({x:.6g}, {y:.6g}) lies outside the mesh")
    return cell, inside


def reference(cells: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(s, t) of places (places, 2), each in a cell of its own; cells as in `at`."""
    if cells.shape[1] > 4:
        return _curved(cells, places)
    corners = cells
    if corners.shape[1] == 3:
        along_s, along_t = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        return _solved(along_s, along_t, places - corners[:, 0])
    v0, v1, v2, v3 = (corners[:, k] for k in range(4))
    s, t = np.full(len(places), 0.5), np.full(len(places), 0.5)
    for _ in range(12):
        a, b = s[:, None], t[:, None]
        there = (1 - a) * (1 - b) * v0 + a * (1 - b) * v1 + a * b * v2 + (1 - a) * b * v3
        along_s, along_t = (1 - b) * (v1 - v0) + b * (v2 - v3), (1 - a) * (v3 - v0) + a * (v2 - v1)
        step_s, step_t = _solved(along_s, along_t, places - there)
        # Far outside the map folds; kept near, a place that is inside is found in a few steps.
        s, t = np.clip(s + step_s, -1, 2), np.clip(t + step_t, -1, 2)
        if max(np.abs(step_s).max(initial=0), np.abs(step_t).max(initial=0)) < 1e-13:
            break
    return s, t


def _curved(cells: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(s, t) in curved cells (places, (degree + 1)^2, 2)."""
    side = isqrt(cells.shape[1])
    square = cells.reshape(-1, side, side, 2)
    s, t = reference(square[:, [0, 0, -1, -1], [0, -1, -1, 0]], places)
    slopes, flat = differentiation(side - 1), square.reshape(-1, side, 2 * side)
    for _ in range(20):
        along_s, along_t = lagrange(side - 1, s), lagrange(side - 1, t)
        across, risen = (line[:, None] @ flat for line in (along_t, along_t @ slopes))  # along t first: (p, 1, i d)
        there, by_s, by_t = (
            (along[:, None] @ lines.reshape(-1, side, 2))[:, 0]
            for along, lines in ((along_s, across), (along_s @ slopes, across), (along_s, risen))
        )
        step_s, step_t = _solved(by_s, by_t, places - there)
        s, t = np.clip(s + step_s, -0.5, 1.5), np.clip(t + step_t, -0.5, 1.5)
        if max(np.abs(step_s).max(initial=0), np.abs(step_t).max(initial=0)) < 1e-13:
            break
    return s, t


def _solved(along_s: np.ndarray, along_t: np.ndarray, rest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(s, t) with s along_s + t along_t = rest, all (places, 2)."""
    area = along_s[:, 0] * along_t[:, 1] - along_s[:, 1] * along_t[:, 0]
    area = np.where(np.abs(area) > 1e-300, area, 1e-300)
    s = (rest[:, 0] * along_t[:, 1] - rest[:, 1] * along_t[:, 0]) / area
    t = (along_s[:, 0] * rest[:, 1] - along_s[:, 1] * rest[:, 0]) / area
    return s, t
