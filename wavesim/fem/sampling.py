"""Where the nodes of the spectral elements lie, and how a field on them reaches a uniform grid.

On a rectangle of tensor-product elements the nodes are tensor products too, so a field is an array (y, x) of nodal
values, flattened with x fastest, and a sampling matrix is the Kronecker product of two small ones, S = S_y (x) S_x:

    S_x[i, j] = (1 / |cell i|) * integral over cell i of l_j     cell averages of the nodal polynomials l_j
    S_x[i, j] = l_j(centre of cell i)                            point values

The integrals are exact: a cell is split where an element ends, and each piece has as many Gauss points as it takes.

Reference: Canuto, Hussaini, Quarteroni, Zang, Spectral Methods: Fundamentals in Single Domains (2006), section 2.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse


@dataclass(frozen=True)
class Nodes:
    """Gauss-Lobatto-Legendre nodes of the rectangle [0, Lx] x [0, Ly].

    elements: (nx, ny) elements along each axis; degree: of their polynomials; lengths: (Lx, Ly), nondimensional.
    """

    elements: tuple[int, int]
    degree: int
    lengths: tuple[float, float] = (1.0, 1.0)

    @property
    def x(self) -> np.ndarray:
        """(x,) coordinates of the columns of nodes."""
        return _line(self.elements[0], self.degree, self.lengths[0])

    @property
    def y(self) -> np.ndarray:
        """(y,) coordinates of the rows of nodes."""
        return _line(self.elements[1], self.degree, self.lengths[1])

    @property
    def shape(self) -> tuple[int, int]:
        """(y, x): the number of rows and of columns."""
        return self.elements[1] * self.degree + 1, self.elements[0] * self.degree + 1


def cell_averages(nodes: Nodes, grid: tuple[int, int]) -> sparse.csr_matrix:
    """The matrix (cells, nodes) from a nodal field to its averages over grid = (y, x) equal cells, both flattened."""
    rows = _averages(nodes.elements[1], nodes.degree, grid[0])
    columns = _averages(nodes.elements[0], nodes.degree, grid[1])
    return sparse.kron(rows, columns, format="csr")


def point_values(nodes: Nodes, grid: tuple[int, int]) -> sparse.csr_matrix:
    """The matrix (cells, nodes) from a nodal field to its values at the centres of grid = (y, x) equal cells."""
    rows = _values(nodes.elements[1], nodes.degree, grid[0])
    columns = _values(nodes.elements[0], nodes.degree, grid[1])
    return sparse.kron(rows, columns, format="csr")


def cell_centres(cells: int, length: float = 1.0) -> np.ndarray:
    """(cells,) centres of equal cells on [0, length]."""
    return (np.arange(cells) + 0.5) * (length / cells)


def lobatto(degree: int) -> np.ndarray:
    """(degree + 1,) Gauss-Lobatto-Legendre points on [0, 1]: the ends, and the extrema of a Legendre polynomial."""
    extrema = np.polynomial.legendre.Legendre.basis(degree).deriv().roots()
    return (np.concatenate([[-1.0], np.sort(extrema.real), [1.0]]) + 1) / 2


def lagrange(degree: int, points: np.ndarray) -> np.ndarray:
    """(points, degree + 1) values of the nodal polynomials of one element at points (points,) of [0, 1]."""
    nodes = lobatto(degree)
    basis = np.ones((points.size, degree + 1))
    for j in range(degree + 1):
        for k in range(degree + 1):
            if k != j:
                basis[:, j] *= (points - nodes[k]) / (nodes[j] - nodes[k])
    return basis


def _line(elements: int, degree: int, length: float) -> np.ndarray:
    inside = np.arange(elements)[:, None] + lobatto(degree)[:-1]
    return np.append(inside.ravel(), elements) * (length / elements)


def _values(elements: int, degree: int, cells: int) -> sparse.csr_matrix:
    centres = cell_centres(cells, elements)
    element = np.minimum(centres.astype(int), elements - 1)
    return _scatter(np.arange(cells), element, lagrange(degree, centres - element), (cells, elements))


def _averages(elements: int, degree: int, cells: int) -> sparse.csr_matrix:
    # Lengths in units of 1 / (elements * cells), so that the breaks are integers and equal ones are recognised.
    breaks = np.union1d(np.arange(elements + 1) * cells, np.arange(cells + 1) * elements)
    start, length = breaks[:-1], np.diff(breaks)
    cell, element = start // elements, start // cells
    points, weights = np.polynomial.legendre.leggauss(degree // 2 + 1)
    inside = (start[:, None] + length[:, None] * (points + 1) / 2) / cells - element[:, None]
    basis = lagrange(degree, inside.ravel()).reshape(*inside.shape, degree + 1)
    average = np.einsum("q,iqj->ij", weights / 2, basis) * (length / elements)[:, None]
    return _scatter(cell, element, average, (cells, elements))


def _scatter(cell: np.ndarray, element: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> sparse.csr_matrix:
    """Sum the rows `values` (pieces, degree + 1) into the matrix (cells, nodes), each at its cell and element."""
    degree = values.shape[1] - 1
    columns = element[:, None] * degree + np.arange(degree + 1)
    rows = np.broadcast_to(cell[:, None], columns.shape)
    size = (shape[0], shape[1] * degree + 1)
    return sparse.csr_matrix((values.ravel(), (rows.ravel(), columns.ravel())), shape=size)
