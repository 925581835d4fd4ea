"""A spectral-element space as plain arrays: K and M of any medium on it.

The quadrature's points are the nodes of each element (collocation). With the derivatives D_a (a = x, y) at the points
of the elements, their weights w, and R = 1/rho, a number or a symmetric tensor at each point,

    K = sum_ab D_a^T diag(w R_ab) D_b,        M[i, i] = sum over the points q that are node i of w[q] / kappa[q].

Nodes may be moved to X (isoparametric elements): with F_ab = d_b X_a at a point, D_a becomes sum_b (F^-1)_ba D_b, and w
becomes w det F.

dolfinx is asked once a mesh; a medium then costs two sparse products. It is evaluated at the elements' points, each
pulled into its element by a billionth, so that it may jump from one element to the next.

Reference: Komatitsch and Vilotte, Bull. Seismol. Soc. Am. 88 (1998) 368-392.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from wavesim.errors import WavesimError
from wavesim.fem import locate, sampling
from wavesim.fem.extent import Extent
from wavesim.fem.mesh import Mesh
from wavesim.fem.sampling import Nodes


@dataclass(frozen=True)
class Space:
    """Nodes and points of the elements of a mesh, and the derivatives between them.

    points: (nodes, 2), x first. element_points: (element points, 2), pulled into their elements. weights: (element
    points,) of the quadrature. node_of: (element points,) the node that each one is. gradient: (D_x, D_y), each
    (element points, nodes). tags: (element points,) of their cells. nodes: of a rectangle; mesh: of any other domain.
    """

    points: np.ndarray
    element_points: np.ndarray
    weights: np.ndarray
    node_of: np.ndarray
    gradient: tuple[sparse.csr_matrix, sparse.csr_matrix]
    tags: np.ndarray
    degree: int
    nodes: Nodes | None = None
    mesh: Mesh | None = None

    @property
    def size(self) -> int:
        """The number of nodes."""
        return len(self.points)

    @property
    def lengths(self) -> tuple[float, float]:
        """(Lx, Ly) of the rectangle that a grid covers: without absorbing layers, or around the mesh."""
        return self.extent.lengths

    @property
    def extent(self) -> Extent:
        """The rectangle that a grid covers, and its margins."""
        domain = self.nodes or self.mesh
        assert domain is not None
        return domain.extent

    @property
    def elements(self) -> np.ndarray:
        """(elements, (degree + 1)^2) the element points of each, s fastest; on a rectangle s runs along x."""
        along = self.degree + 1
        if self.nodes is None:
            return np.arange(self.weights.size).reshape(-1, along**2)
        columns, rows = (axis.total for axis in self.nodes.axes)  # whose points lie on an open grid
        lines = np.arange(self.weights.size).reshape(rows, along, columns, along)
        return lines.swapaxes(1, 2).reshape(-1, along**2)

    def moved(self, points: np.ndarray) -> Space:
        """The space whose nodes lie at points (nodes, 2): isoparametric images of this one's elements.

        Raises:
            WavesimError: an element that is folded.
        """
        (xx, xy), (yx, yy) = ([d @ points[:, a] for d in self.gradient] for a in range(2))
        stretch = xx * yy - xy * yx
        if len(bad := np.flatnonzero(~(stretch > 0))):
            x, y = points[self.node_of[bad[0]]]
            raise WavesimError(
                f"the element at ({x:.4g}, {y:.4g}) is folded; use smaller cells or a lower degree there"
            )
        along_x, along_y = self.gradient
        inside = points[self.node_of].reshape(-1, (self.degree + 1) ** 2, 2)
        inside = inside + 1e-9 * (inside.mean(axis=1, keepdims=True) - inside)
        return replace(
            self,
            points=points,
            element_points=inside.reshape(-1, 2),
            weights=self.weights * stretch,
            gradient=(
                (sparse.diags(yy / stretch) @ along_x - sparse.diags(yx / stretch) @ along_y).tocsr(),
                (sparse.diags(xx / stretch) @ along_y - sparse.diags(xy / stretch) @ along_x).tocsr(),
            ),
        )

    def at(self, places: np.ndarray) -> sparse.csr_matrix:
        """The matrix (places, nodes) from a nodal field to its values at places (places, 2), x first.

        Raises:
            WavesimError: a place outside the mesh.
        """
        if self.nodes is not None:
            return sampling.at(self.nodes, places)
        return locate.at(self._cells, self.degree, self._node_of, self.size, places)

    def cell_averages(self, grid: tuple[int, int]) -> sparse.csr_matrix:
        """The matrix (cells, nodes) from a nodal field to its averages over grid = (y, x) equal cells.

        Exact on a rectangle's own mesh; by 16 Gauss points a cell on any other.
        """
        if self.nodes is not None:
            return sampling.cell_averages(self.nodes, grid)
        return locate.cell_averages(self._cells, self.degree, self._node_of, self.size, grid, self.extent)

    @property
    def _node_of(self) -> np.ndarray:
        assert self.mesh is not None
        return self.node_of.reshape(len(self.mesh.cells), -1)

    @property
    def _cells(self) -> np.ndarray:
        """(cells, 3 or 4, 2) corners of straight cells, or (cells, (degree + 1)^2, 2) points of curved ones."""
        assert self.mesh is not None
        curved = self.mesh.curved and self.degree > 1
        return self.points[self._node_of] if curved else self.mesh.points[self.mesh.cells]

    def evaluate(self, field: Callable[[np.ndarray, np.ndarray], np.ndarray] | tuple[float, ...]) -> np.ndarray:
        """(element points,) values of field(x, y), or of a tuple of values by cell tag.

        Raises:
            WavesimError: a value that is not positive and finite, or a tag without a value.
        """
        if isinstance(field, tuple):
            if self.tags.max() >= len(field):
                raise WavesimError(f"the mesh has tags up to {self.tags.max()}, the medium has {len(field)} values")
            values = np.array(field, float)[self.tags]
        elif self.nodes is None:
            values = field(self.element_points[:, 0], self.element_points[:, 1])
        else:  # on the lines of an open grid, which costs a medium much less
            x, y = (axis.element_points.ravel() for axis in self.nodes.axes)
            values = np.broadcast_to(field(x[None, :], y[:, None]), (y.size, x.size)).ravel()
        values = np.broadcast_to(np.asarray(values, float), self.weights.shape)
        if len(bad := np.flatnonzero(~(np.isfinite(values) & (values > 0)))):
            x, y = self.element_points[bad[0]]
            raise WavesimError(
                f"a medium's value at ({x:.4g}, {y:.4g}) is {values[bad[0]]}; kappa and rho must be positive and finite"
            )
        return values

    def stiffness(self, density: np.ndarray) -> sparse.csr_matrix:
        """K (nodes, nodes) for density (element points,), or for the tensor 1/rho as (2, 2, element points)."""
        if density.ndim == 1:
            terms = [(d, 1 / density, d) for d in self.gradient]
        else:
            pairs = [(a, b) for a in range(2) for b in range(2) if np.any(density[a, b])]
            terms = [(self.gradient[a], density[a, b], self.gradient[b]) for a, b in pairs]
        stiffness = sum(left.T @ sparse.diags(self.weights * value) @ right for left, value, right in terms)
        stiffness = sparse.csr_matrix(stiffness)
        stiffness.sort_indices()
        return stiffness

    def mass(self, bulk_modulus: np.ndarray) -> np.ndarray:
        """M (nodes,), the diagonal mass matrix of 1/kappa, for bulk_modulus (element points,)."""
        return self.sum_at_nodes(self.weights / bulk_modulus)

    def sum_at_nodes(self, values: np.ndarray) -> np.ndarray:
        """(nodes,) sums of values (element points,) over the elements that share a node."""
        return np.bincount(self.node_of, values, minlength=len(self.points))


@dataclass(frozen=True)
class Part:
    """What one of several processes holds of a space: its own elements, and the nodes that it knows.

    space: its first `owned` nodes are the process's own; the mesh of a Mesh's space consists of its cells alone.
    numbers: (nodes,) among those of all processes, the own ones in turn. cells: (elements,) which of a Mesh's they are.
    """

    space: Space
    owned: int
    numbers: np.ndarray
    cells: np.ndarray
