"""Where the nodes of the spectral elements lie, and how a field on them reaches a uniform grid.

On a rectangle of tensor-product elements the nodes are tensor products too, so a field is an array (y, x) of nodal
values, flattened with x fastest, and the matrix of cell averages is the Kronecker product of two small ones,

    S = S_y (x) S_x,     S_x[i, j] = (1 / |cell i|) * integral over cell i of l_j,

l_j being the nodal polynomials; at single places it is their product, row by row.

Elements may lie beyond the sides of the rectangle (an absorbing layer); the grid covers the rectangle alone.
The integrals are exact: a cell is split where an element ends, and each piece has as many Gauss points as it takes.

Reference: Canuto, Hussaini, Quarteroni, Zang, Spectral Methods: Fundamentals in Single Domains (2006), section 2.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from wavesim.errors import WavesimError
from wavesim.fem.arguments import require_degree, require_positive, require_whole
from wavesim.fem.extent import Extent


@dataclass(frozen=True)
class Nodes:
    """Gauss-Lobatto-Legendre nodes of the rectangle [0, Lx] x [0, Ly].

    elements: (nx, ny) elements along each axis; degree: of their polynomials; lengths: (Lx, Ly), nondimensional;
    margins: elements beyond the left, right, bottom and top side.

    Raises:
        WavesimError: numbers of elements that are not whole, a degree outside 1 to 9, a length that is not positive.
    """

    elements: tuple[int, int]
    degree: int
    lengths: tuple[float, float] = (1.0, 1.0)
    margins: tuple[int, int, int, int] = (0, 0, 0, 0)

    def __post_init__(self) -> None:
        for elements, length in zip(self.elements, self.lengths, strict=True):
            require_whole("elements", elements)
            require_positive("length", length)
        require_degree(self.degree)

    @property
    def x(self) -> np.ndarray:
        """(x,) coordinates of the columns of nodes."""
        return self.axes[0].line

    @property
    def y(self) -> np.ndarray:
        """(y,) coordinates of the rows of nodes."""
        return self.axes[1].line

    @property
    def shape(self) -> tuple[int, int]:
        """(y, x): the number of rows and of columns."""
        return self.y.size, self.x.size

    @property
    def axes(self) -> tuple[Axis, Axis]:
        """The elements along x and along y."""
        left, right, bottom, top = self.margins
        return (
            Axis(self.elements[0], self.degree, self.lengths[0], left, right),
            Axis(self.elements[1], self.degree, self.lengths[1], bottom, top),
        )

    @property
    def extent(self) -> Extent:
        """The rectangle, and how wide its margins are."""
        width, height = (length / count for length, count in zip(self.lengths, self.elements, strict=True))
        left, right, bottom, top = self.margins
        return Extent((0.0, 0.0), self.lengths, (left * width, right * width, bottom * height, top * height))


@dataclass(frozen=True)
class Axis:
    """`elements` of a degree along [0, length], `before` and `after` them as many more of the same size."""

    elements: int
    degree: int
    length: float
    before: int = 0
    after: int = 0

    @property
    def total(self) -> int:
        """The number of all elements."""
        return self.before + self.elements + self.after

    @property
    def ends(self) -> tuple[float, float]:
        """Where the first element begins and the last one ends."""
        size = self.length / self.elements
        return -self.before * size, (self.elements + self.after) * size

    @property
    def line(self) -> np.ndarray:
        """(nodes,) coordinates of the nodes."""
        first, last = -self.before, self.elements + self.after
        inside = np.arange(first, last)[:, None] + lobatto(self.degree)[:-1]
        return np.append(inside.ravel(), last) * (self.length / self.elements)

    @property
    def element_points(self) -> np.ndarray:
        """(total, degree + 1) the nodes of each element, pulled into it by a billionth, where a jump has one side."""
        first, last = -self.before, self.elements + self.after
        inside = 0.5 + (1 - 1e-9) * (lobatto(self.degree) - 0.5)
        return (np.arange(first, last)[:, None] + inside) * (self.length / self.elements)

    def control_cells(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(places,) where the interval begins that the quadrature lets an element's point stand for, and its size.

        Raises:
            WavesimError: a place (pulled into its element) that is not a point of it.
        """
        points, scaled = lobatto(self.degree), places * (self.elements / self.length)
        element = np.floor(scaled)
        apart = np.abs(scaled[:, None] - element[:, None] - points)
        number = apart.argmin(axis=1)
        if (apart[np.arange(len(number)), number] > 1e-6).any():
            raise WavesimError(
                f"a place is no point of {self.elements} elements of degree {self.degree}: give its mesh"
            )
        legendre = np.polynomial.legendre.Legendre.basis(self.degree)(2 * points - 1)
        weights = 1 / (self.degree * (self.degree + 1) * legendre**2)
        begin = element + (np.cumsum(weights) - weights)[number]
        return begin * (self.length / self.elements), weights[number] * (self.length / self.elements)


def cell_averages(nodes: Nodes, grid: tuple[int, int]) -> sparse.csr_matrix:
    """The matrix (cells, nodes) from a nodal field to its averages over grid = (y, x) equal cells, both flattened."""
    rows, columns = line_averages(nodes.axes[1], grid[0]), line_averages(nodes.axes[0], grid[1])
    return sparse.kron(rows, columns, format="csr")


def at(nodes: Nodes, places: np.ndarray) -> sparse.csr_matrix:
    """The matrix (places, nodes) from a nodal field to its values at places (places, 2), x first.

    Raises:
        WavesimError: a place outside the mesh.
    """
    places = np.atleast_2d(np.asarray(places, float))
    along = []
    for k, axis in enumerate(nodes.axes):
        begin, end = axis.ends
        slack = 1e-12 * (end - begin)
        if outside := [tuple(map(float, p)) for p in places if not begin - slack <= p[k] <= end + slack]:
            raise WavesimError(f"{outside[0]} lies outside the mesh, whose {'xy'[k]} goes from {begin:g} to {end:g}")
        along.append(_values(axis, places[:, k]))
    columns, rows = along
    # Row by row, the Kronecker product of the two lines.
    per_row = np.einsum("pi,pj->pij", *(m.data.reshape(len(places), -1) for m in (rows, columns)))
    numbers = rows.indices.reshape(len(places), -1, 1) * nodes.shape[1] + columns.indices.reshape(len(places), 1, -1)
    start = np.arange(len(places) + 1) * per_row[0].size
    return sparse.csr_matrix(
        (per_row.ravel(), numbers.ravel(), start), shape=(len(places), rows.shape[1] * columns.shape[1])
    )


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


def differentiation(degree: int) -> np.ndarray:
    """(degree + 1, degree + 1) slope of each nodal polynomial (column) at each node (row) of an element of length 1."""
    nodes = lobatto(degree)
    apart = nodes[:, None] - nodes + np.eye(degree + 1)
    weight = apart.prod(axis=1)
    slopes = weight[:, None] / weight / apart
    np.fill_diagonal(slopes, 0)
    np.fill_diagonal(slopes, -slopes.sum(axis=1))
    return slopes


def _values(axis: Axis, places: np.ndarray) -> sparse.csr_matrix:
    scaled = places * (axis.elements / axis.length)
    element = np.clip(np.floor(scaled).astype(int), -axis.before, axis.elements + axis.after - 1)
    return _scatter(np.arange(places.size), element, lagrange(axis.degree, scaled - element), axis, places.size)


def line_averages(axis: Axis, cells: int) -> sparse.csr_matrix:
    """The matrix (cells, nodes) from a nodal field along an axis to its averages over equal cells."""
    # Lengths in units of 1 / (elements * cells), so that the breaks are integers and equal ones are recognised.
    elements, degree = axis.elements, axis.degree
    breaks = np.union1d(np.arange(elements + 1) * cells, np.arange(cells + 1) * elements)
    start, length = breaks[:-1], np.diff(breaks)
    cell, element = start // elements, start // cells
    points, weights = np.polynomial.legendre.leggauss(degree // 2 + 1)
    inside = (start[:, None] + length[:, None] * (points + 1) / 2) / cells - element[:, None]
    basis = lagrange(degree, inside.ravel()).reshape(*inside.shape, degree + 1)
    average = np.einsum("q,iqj->ij", weights / 2, basis) * (length / elements)[:, None]
    return _scatter(cell, element, average, axis, cells)


def _scatter(cell: np.ndarray, element: np.ndarray, values: np.ndarray, axis: Axis, rows: int) -> sparse.csr_matrix:
    """Sum the lines `values` (pieces, degree + 1) into the matrix (rows, nodes), each at its cell and element."""
    columns = (element + axis.before)[:, None] * axis.degree + np.arange(axis.degree + 1)
    numbers = np.broadcast_to(cell[:, None], columns.shape)
    size = (rows, axis.total * axis.degree + 1)
    return sparse.csr_matrix((values.ravel(), (numbers.ravel(), columns.ravel())), shape=size)
