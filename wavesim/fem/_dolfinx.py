"""Spectral elements by dolfinx, and its only importer: a mesh's nodes, and the derivatives at its elements' points.

On quadrilaterals with Lagrange polynomials phi of degree p on Gauss-Lobatto-Legendre (GLL) nodes, and GLL quadrature
of degree 2p - 1 on the same points, with the discontinuous polynomials psi of each element on them, dolfinx assembles

    E[q, i] = integral of psi_q phi_i,        G_a[q, i] = integral of psi_q d_a phi_i     (a = x, y).

By collocation E has one entry a row: the weight of point q, at its node. Then D_a = diag(weights)^-1 G_a. On triangles
the degree is 1, and the quadrature is that of the vertices.

What leaves this file is a `Space`: scipy and numpy, on a rectangle in the node order of `sampling.Nodes` (y, x, with x
fastest). dolfinx renamed much at 0.7 and nothing that is used here since: one switch covers 0.5.2 to 0.11.

Reference: Komatitsch and Vilotte, Bull. Seismol. Soc. Am. 88 (1998) 368-392.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

# Before dolfinx: the other order crashes where dolfinx is linked with another HDF5 than h5py's wheel (Debian 12).
import h5py  # noqa: F401
import numpy as np
from scipy import sparse
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from wavesim.errors import WavesimError, missing_engine
from wavesim.fem.locate import reference
from wavesim.fem.mesh import Mesh
from wavesim.fem.sampling import Nodes, lobatto
from wavesim.fem.space import Space

try:
    import dolfinx
    import ufl
    from dolfinx import fem, mesh
    from mpi4py import MPI
except ImportError as error:
    raise missing_engine("dolfinx", "the finite-element solver", "fem", error) from error

VERSION = tuple(int(part) for part in dolfinx.__version__.split(".")[:2])
BEFORE_0_7 = VERSION < (0, 7)


@lru_cache(maxsize=4)
def space(nodes: Nodes) -> Space:
    """The space of a rectangle, kept for the next medium.

    Raises:
        WavesimError: dolfinx cannot compile a form, or places its nodes elsewhere than at the GLL points.
    """
    along_x, along_y = nodes.axes
    corners = [np.array(corner) for corner in zip(along_x.ends, along_y.ends, strict=True)]
    with _compiling():
        domain = mesh.create_rectangle(
            MPI.COMM_SELF, corners, (along_x.total, along_y.total), cell_type=mesh.CellType.quadrilateral
        )
        raw = _assembled(domain, nodes.degree, "GLL")
    order = _lexicographic(raw.points, nodes)
    # The elements' points in the order of their lines too, so that a medium is evaluated on an open grid.
    columns = _nearest(along_x.element_points.ravel(), raw.element_points[:, 0])
    rows = _nearest(along_y.element_points.ravel(), raw.element_points[:, 1])
    lines = np.argsort(rows * along_x.element_points.size + columns)
    number = np.empty_like(order)
    number[order] = np.arange(order.size)
    return Space(
        points=raw.points[order],
        element_points=raw.element_points[lines],
        weights=raw.weights[lines],
        node_of=number[raw.node_of[lines]],
        gradient=_sorted(d[lines][:, order] for d in raw.gradient),
        tags=raw.tags[lines],
        degree=nodes.degree,
        nodes=nodes,
    )


def mesh_space(mesh_: Mesh, degree: int) -> Space:
    """The space of any mesh; triangles have degree 1. Its nodes are numbered near each other.

    The element points of a quadrilateral lie along its first edge first (s fastest, then t, of locate.py). A curved
    cell is the straight one with its nodes moved: what dolfinx derives on the one, the chain rule brings to the other.

    Raises:
        WavesimError: triangles of a higher degree; a cell that is folded; dolfinx cannot compile a form or leaves the
            GLL points.
    """
    corners = mesh_.cells.shape[1]
    if corners == 3 and degree != 1:
        raise WavesimError(
            f"degree {degree} on triangles: their lumped elements are of degree 1; mesh with quadrilaterals"
        )
    with _compiling():
        raw = _assembled(_domain(mesh_), degree, "GLL" if corners == 4 else "vertex")
    per_cell = (degree + 1) ** 2 if corners == 4 else 3
    groups = raw.element_points.reshape(-1, per_cell, 2)
    # dolfinx has sorted the cells and turned them: found again by their centres, and their points by s and t.
    middle = mesh_.points[mesh_.cells].mean(axis=1)
    cell = cKDTree(middle).query(groups.mean(axis=1))[1]
    if not np.array_equal(np.sort(cell), np.arange(len(middle))):
        raise WavesimError("two cells of the mesh have one centre, or none: cells overlap or are degenerate")
    s, t = reference(np.repeat(mesh_.points[mesh_.cells[cell]], per_cell, axis=0), raw.element_points)
    if corners == 4:
        line = lobatto(degree)
        place = _nearest(line, t) * (degree + 1) + _nearest(line, s)
    else:
        place = np.where(s > 0.5, 1, np.where(t > 0.5, 2, 0))
    lines = np.argsort(np.repeat(cell, per_cell) * per_cell + place)
    node_of = raw.node_of[lines]
    pattern = sparse.csr_matrix((np.ones(node_of.size), node_of, np.arange(0, node_of.size + 1, per_cell)))
    order = csgraph.reverse_cuthill_mckee((pattern.T @ pattern).tocsr(), symmetric_mode=True)
    number = np.empty_like(order)
    number[order] = np.arange(order.size)
    straight = Space(
        points=raw.points[order],
        element_points=raw.element_points[lines],
        weights=raw.weights[lines],
        node_of=number[node_of],
        gradient=_sorted(d[lines][:, order] for d in raw.gradient),
        tags=np.repeat(mesh_.tags, per_cell),
        degree=degree,
        mesh=mesh_,
    )
    if not mesh_.curved:
        return straight
    points = np.empty_like(straight.points)
    points[straight.node_of] = mesh_.positions(degree).reshape(-1, 2)
    return straight.moved(points)


def _domain(mesh_: Mesh) -> Any:
    """dolfinx's mesh of ours, on this process alone."""
    name = "quadrilateral" if mesh_.cells.shape[1] == 4 else "triangle"
    cells = np.ascontiguousarray(mesh_.cells[:, [0, 1, 3, 2]] if name == "quadrilateral" else mesh_.cells, np.int64)
    if BEFORE_0_7:
        element: Any = ufl.VectorElement("Lagrange", ufl.Cell(name, geometric_dimension=2), 1)
        return mesh.create_mesh(MPI.COMM_SELF, cells, mesh_.points, ufl.Mesh(element))
    import basix.ufl

    element = basix.ufl.element("Lagrange", name, 1, shape=(2,))
    if VERSION < (0, 10):
        return mesh.create_mesh(MPI.COMM_SELF, cells, mesh_.points, element)
    return mesh.create_mesh(MPI.COMM_SELF, cells, element, mesh_.points)


def _assembled(domain: Any, degree: int, rule: str) -> Space:
    """The space on a mesh of dolfinx, in its own numbering."""
    make_space: Any = fem.FunctionSpace if BEFORE_0_7 else fem.functionspace  # type: ignore[attr-defined]
    continuous = make_space(domain, ("Lagrange", degree))
    each = make_space(domain, ("DQ" if rule == "GLL" else "DG", degree))
    dx = ufl.dx(domain, metadata={"quadrature_rule": rule, "quadrature_degree": max(2 * degree - 1, 1)})
    u, v = ufl.TrialFunction(continuous), ufl.TestFunction(each)
    collocation, *gradient = (_matrix(fem.form(f * v * dx)) for f in (u, u.dx(0), u.dx(1)))
    if not np.array_equal(np.diff(collocation.indptr), np.ones(collocation.shape[0])):
        raise WavesimError(
            f"dolfinx {dolfinx.__version__} does not place the nodes of degree {degree} at the points of the "
            "quadrature; use a lower degree, or a version from 0.5.2 to 0.11"
        )
    cells = each.dofmap.list
    cells = np.asarray(cells.array if BEFORE_0_7 else cells).reshape(-1, each.dofmap.dof_layout.num_dofs)
    points = each.tabulate_dof_coordinates()[:, :2].copy()
    points[cells] += 1e-9 * (points[cells].mean(axis=1, keepdims=True) - points[cells])
    by_cell = cells.ravel()
    points, collocation, gradient = points[by_cell], collocation[by_cell], [d[by_cell] for d in gradient]
    per_point = sparse.diags(1 / collocation.data)
    return Space(
        points=continuous.tabulate_dof_coordinates()[:, :2].copy(),
        element_points=points,
        weights=collocation.data,
        node_of=collocation.indices,
        gradient=_sorted(per_point @ d for d in gradient),
        tags=np.zeros(len(points), int),
        degree=degree,
    )


def _matrix(form: Any) -> sparse.csr_matrix:
    """A form's matrix; entries that vanish by the quadrature are dropped."""
    matrix: Any = fem.assemble_matrix(form)
    matrix.finalize() if BEFORE_0_7 else matrix.scatter_reverse()
    # Copied, because dolfinx's own arrays may not be written (0.9).
    shape = (form.function_spaces[0].dofmap.index_map.size_local, form.function_spaces[1].dofmap.index_map.size_local)
    made = sparse.csr_matrix((matrix.data, matrix.indices, matrix.indptr), shape=shape, copy=True)
    made.data[np.abs(made.data) < 1e-13 * np.abs(made.data).max()] = 0
    made.eliminate_zeros()
    return made


def _sorted(matrices: Iterable[sparse.spmatrix]) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    along_x, along_y = (sparse.csr_matrix(matrix) for matrix in matrices)
    along_x.sort_indices()
    along_y.sort_indices()
    return along_x, along_y


@contextmanager
def _compiling() -> Iterator[None]:
    """Compile in silence (the build tools tell the root logger everything), and say what may be wrong if it fails."""
    root = logging.getLogger()
    level, handlers, disabled = root.level, root.handlers[:], root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    except Exception as error:  # whatever a C compiler that is missing, or a full disk, makes the build tools raise
        raise WavesimError(
            f"dolfinx could not compile its forms ({error}): it needs a C compiler, and a cache without the lock "
            "that a killed compilation leaves behind (by default in ~/.cache/fenics; it can be emptied)"
        ) from error
    finally:
        logging.disable(disabled)
        root.setLevel(level)
        root.handlers[:] = handlers


def _lexicographic(coordinates: np.ndarray, nodes: Nodes) -> np.ndarray:
    """(nodes,) number that dolfinx gives to the node in row y, column x, flattened."""
    columns, rows = _nearest(nodes.x, coordinates[:, 0]), _nearest(nodes.y, coordinates[:, 1])
    order = np.full(nodes.shape, -1)
    order[rows, columns] = np.arange(len(coordinates))
    placed = np.column_stack([nodes.x[columns], nodes.y[rows]])
    if (order < 0).any() or not np.allclose(placed, coordinates[:, :2], rtol=0, atol=1e-9 * max(nodes.lengths)):
        raise WavesimError(
            f"dolfinx {dolfinx.__version__} does not place the nodes of degree {nodes.degree} at the GLL points; "
            "use a lower degree, or a version from 0.5.2 to 0.11"
        )
    return order.ravel()


def _nearest(line: np.ndarray, positions: np.ndarray) -> np.ndarray:
    return np.searchsorted((line[1:] + line[:-1]) / 2, positions)
