"""K of a mesh of quadrilaterals, element by element: what takes the place of its entries.

With the derivatives D along an edge of the reference element, s and t its coordinates, and at each of its points

    g_ss = w grad s . (1/rho) grad s,     g_st = w grad s . (1/rho) grad t,     g_tt = w grad t . (1/rho) grad t,
    K_e = D_s^T (g_ss D_s + g_st D_t) + D_t^T (g_st D_s + g_tt D_t):

three numbers a point and 4 (p + 1) products, where K has about (p + 1)^2 entries a row. Groups of elements, one in
each lane of a vector, lie together in memory. The factors are read off the space's derivatives.

Reference: Deville, Fischer, Mund, High-Order Methods for Incompressible Fluid Flow (2002), section 4.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from wavesim.fem.boundary import numbers
from wavesim.fem.diagonals import LANES, filled
from wavesim.fem.rounding import annihilating
from wavesim.fem.sampling import differentiation
from wavesim.fem.space import Space


@dataclass(frozen=True)
class Cells:
    """metric: (elements, points, 3) of (g_ss, g_st, g_tt); unknown: (elements, points), -1 where there is none."""

    degree: int
    metric: np.ndarray
    unknown: np.ndarray


@dataclass(frozen=True)
class Groups:
    """The same as kernel.c reads it, for fields of one precision: what each array is says kernel.c's `cells`.

    scale: s = h^2 / M, (1 or batch, field).
    """

    slope: np.ndarray
    metric: np.ndarray
    rim: np.ndarray
    pair: np.ndarray
    start: np.ndarray
    place: np.ndarray
    scale: np.ndarray
    order: np.ndarray


def cells(space: Space, density: np.ndarray, prolongation: sparse.csr_matrix) -> Cells | None:
    """The elements of a mesh of quadrilaterals, or of a rectangle's own where 1/rho is a tensor; else None.

    Args:
        density: (element points,), or of averages (2, 2, element points) of 1/rho.
    """
    if density.ndim == 1 if space.mesh is None else space.mesh.cells.shape[1] != 4:
        return None
    points, side = space.elements, space.degree + 1
    node = space.node_of[points]
    along, up = np.arange(side**2) % side, np.arange(side**2) // side
    slope = differentiation(space.degree)
    # D_x at a point is s_x D_s + t_x D_t: one neighbour along s and one along t tell s_x and t_x.
    beside = np.where(along > 0, along - 1, 1)
    above = np.where(up > 0, up - 1, 1)
    factors = []
    for d in space.gradient:
        at_side = np.asarray(d[points.ravel(), node[:, up * side + beside].ravel()]).reshape(node.shape)
        at_top = np.asarray(d[points.ravel(), node[:, above * side + along].ravel()]).reshape(node.shape)
        factors.append((at_side / slope[along, beside], at_top / slope[up, above]))
    lightness = np.multiply.outer(np.eye(2), 1 / density) if density.ndim == 1 else density
    gradients = np.moveaxis(np.array(factors), 0, 1)  # (s and t, x and y, elements, points)
    ss, st, tt = (
        np.einsum("aep,abep,bep->ep", gradients[i], lightness[:, :, points], gradients[j])
        for i, j in ((0, 0), (0, 1), (1, 1))
    )
    metric = np.stack([ss, st, tt], axis=-1) * space.weights[points][..., None]
    return Cells(space.degree, metric, numbers(prolongation)[node])


def groups(cells_: Cells, scale: np.ndarray, dtype: np.dtype) -> Groups:
    """The elements side by side, and the numbers of a field so that most lie where they are used.

    scale: s (1 or batch, unknowns).
    """
    points = cells_.degree + 1
    unknown = side_by_side(cells_.unknown, -1, dtype)
    a, b = np.arange(points**2) % points, np.arange(points**2) // points
    on_rim = (a % cells_.degree == 0) | (b % cells_.degree == 0)
    inner, rim = unknown[:, ~on_rim].ravel(), unknown[:, on_rim]
    shared, times = np.unique(rim[rim >= 0], return_counts=True)
    pairs = times <= 2
    order = np.concatenate([inner, shared[pairs], shared[~pairs], [-1]])
    where = np.full(scale.shape[1] + 1, len(order) - 1)  # the last is that of -1
    where[order[len(inner) : -1]] = np.arange(len(inner), len(order) - 1)
    rim = where[rim]
    place = np.argsort(rim.ravel(), kind="stable")
    start = np.searchsorted(rim.ravel()[place], np.arange(len(inner), len(order)))
    edges = int(pairs.sum())
    first, last = start[:edges], start[1 : edges + 1]
    pair = np.stack([place[first], np.where(last - first == 2, place[last - 1], rim.size)], axis=1)
    return Groups(
        slopes(cells_.degree, dtype),
        filled(side_by_side(cells_.metric, 0, dtype), dtype),
        rim.astype(np.int32, order="C"),
        pair.astype(np.int32, order="C"),
        (start[edges:] - start[edges]).astype(np.int32),
        place[start[edges] :].astype(np.int32),
        filled(np.where(order < 0, 0, scale[:, order]), dtype),
        order.astype(np.int32),
    )


def side_by_side(values: np.ndarray, rest: float, dtype: np.dtype) -> np.ndarray:
    """(groups, ..., lanes) values (elements, ...), filled up with `rest`: a group has as many as a vector's lanes."""
    lanes, count = LANES // dtype.itemsize, len(values)
    whole = np.full((-(-count // lanes) * lanes, *values.shape[1:]), rest, values.dtype)
    whole[:count] = values
    return np.moveaxis(whole.reshape(-1, lanes, *values.shape[1:]), 1, -1)


def lying(unknown: np.ndarray, size: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`node`, `start` and `place` of an absorbing layer for unknowns (elements, points), -1 for none of `size`."""
    node = side_by_side(np.where(unknown < 0, size, unknown), size, dtype).astype(np.int32, order="C")
    place = np.argsort(node.ravel(), kind="stable").astype(np.int32)
    return node, np.searchsorted(node.ravel()[place], np.arange(size + 1)).astype(np.int32), place


def slopes(degree: int, dtype: np.dtype) -> np.ndarray:
    """Derivatives along an edge of length 1 that send a constant to zero exactly, rounded or not."""
    exact = differentiation(degree)
    return np.array(annihilating(exact.T).T if dtype == np.float32 else exact, dtype, order="C")
