"""How much of a finite-element field a grid cannot hold.

With c a cell, |c| its area and <p>_c the average of p over it, the grid holds P p = sum_c <p>_c 1_c, constant in each
cell. P is the orthogonal projection in L2, so that over the rectangle without its absorbing layer

    share = |p - P p| / |p| = sqrt( 1 - sum_c |c| <p>_c^2 / |p|^2 ),      |p|^2 = p^T N p,

with N the mass matrix of the elements by Gauss's quadrature, which is exact for the polynomials. On a rectangle's own
mesh N = N_y (x) N_x; in quadrilaterals of any other, with the derivatives of its map x(s, t), a polynomial as p is,

    N[i, j] = sum over elements and points q of w_q det(dx/d(s, t))_q phi_i(q) phi_j(q).

Reference: Canuto, Hussaini, Quarteroni, Zang, Spectral Methods: Fundamentals in Single Domains (2006), section 2.3.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import sparse

from wavesim.fem.sampling import Axis, Nodes, differentiation, lagrange
from wavesim.fem.space import Space


def norm(space: Space) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Two matrices (nodes, nodes) with |p|^2 the product of what they make of p."""
    if space.nodes is not None:
        return _of_rectangle(space.nodes)
    return _of_quadrilaterals(space), sparse.identity(space.size, format="csr")


@lru_cache(maxsize=4)
def _of_rectangle(nodes: Nodes) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """N_y (x) I and I (x) N_x of the rectangle without the elements beyond its sides.

    Both are symmetric and they commute: a third of N's entries.
    """
    along_x, along_y = (_along(axis) for axis in nodes.axes)
    rows, columns = nodes.shape
    return (
        sparse.kron(along_y, sparse.identity(columns), format="csr"),
        sparse.kron(sparse.identity(rows), along_x, format="csr"),
    )


def _of_quadrilaterals(space: Space) -> sparse.csr_matrix:
    assert space.mesh is not None and space.mesh.cells.shape[1] == 4
    degree = space.degree
    node_of = space.node_of.reshape(-1, (degree + 1) ** 2)[~space.mesh.beyond]
    points, weights = np.polynomial.legendre.leggauss(2 * degree)  # phi_i phi_j det is of degree 4 p - 1 along a line
    along = lagrange(degree, (points + 1) / 2)
    slope = along @ differentiation(degree)
    basis, by_s, by_t = (np.kron(t, s) for t, s in ((along, along), (along, slope), (slope, along)))
    (x_s, y_s), (x_t, y_t) = (np.moveaxis(d @ space.points[node_of], -1, 0) for d in (by_s, by_t))
    stretch = (x_s * y_t - x_t * y_s) * np.kron(weights, weights) / 4
    pairs = (basis[:, :, None] * basis[:, None, :]).reshape(len(basis), -1)
    row, column = np.repeat(node_of, node_of.shape[1], axis=1), np.tile(node_of, node_of.shape[1])
    values = (stretch @ pairs).ravel()
    return sparse.csr_matrix((values, (row.ravel(), column.ravel())), shape=(space.size, space.size))


def share(square: np.ndarray, averages: np.ndarray, lengths: tuple[float, float]) -> np.ndarray:
    """The share above, ([batch,]); 0 for a field of zeros.

    Args:
        square: |p|^2, ([batch,]). averages: over equal cells of the rectangle, (cells[, batch]); lengths: (Lx, Ly).
    """
    area = lengths[0] * lengths[1] / len(averages)
    held = area * np.sum(np.square(averages, dtype=np.float64), axis=0)
    return np.sqrt(np.clip(1 - np.divide(held, square, out=np.ones_like(held), where=square > 0), 0, 1))


def _along(axis: Axis) -> sparse.csr_matrix:
    points, weights = np.polynomial.legendre.leggauss(axis.degree + 1)
    basis = lagrange(axis.degree, (points + 1) / 2)
    element = np.einsum("q,qi,qj->ij", weights / 2, basis, basis) * (axis.length / axis.elements)
    size = axis.total * axis.degree + 1
    first = (axis.before + np.arange(axis.elements))[:, None, None] * axis.degree
    row, column = (first + index for index in np.mgrid[: axis.degree + 1, : axis.degree + 1][:, None])
    values = np.broadcast_to(element, row.shape)
    return sparse.csr_matrix((values.ravel(), (row.ravel(), column.ravel())), shape=(size, size))
