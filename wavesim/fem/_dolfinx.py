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
from dataclasses import replace
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
from wavesim.fem.space import Part, Space

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
    with _compiling():
        raw = _assembled(_function_space(_rectangle(nodes), nodes.degree), nodes.degree, "GLL")
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
    rule, per_cell = _rule(mesh_, degree)
    with _compiling():
        raw = _assembled(_function_space(_domain(mesh_), degree), degree, rule)
    lines = _by_cell(raw, mesh_)
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
    return _curved(straight, mesh_)


def part(mesh_: Nodes | Mesh, degree: int, comm: MPI.Comm) -> Part:
    """What this process holds of a space that dolfinx shares out over a communicator; every process has the mesh.

    Raises:
        WavesimError: as `space` and `mesh_space`; a process that would get no element.
    """
    rule, per_cell = ("GLL", (degree + 1) ** 2) if isinstance(mesh_, Nodes) else _rule(mesh_, degree)
    with _compiling():
        domain = _rectangle(mesh_, comm) if isinstance(mesh_, Nodes) else _domain(mesh_, comm)
    owned = domain.topology.index_map(2).size_local
    if comm.allreduce(owned, MPI.MIN) == 0:
        raise WavesimError(
            f"{comm.size} processes for {comm.allreduce(owned)} elements leave one without any; use fewer processes"
        )
    with _compiling():
        continuous = _function_space(domain, degree)
        space = _assembled(continuous, degree, rule)
    numbering = continuous.dofmap.index_map
    numbers = numbering.local_to_global(np.arange(space.size, dtype=np.int32))
    cells: np.ndarray = np.zeros(0, int)
    if isinstance(mesh_, Mesh):
        cells = np.sort(np.asarray(domain.topology.original_cell_index)[:owned])
        used, corners = np.unique(mesh_.cells[cells], return_inverse=True)
        own = Mesh(
            mesh_.points[used],
            corners.reshape(len(cells), -1),
            mesh_.tags[cells],
            mesh_.shape[cells] if mesh_.curved else mesh_.shape,
        )
        lines = _by_cell(space, own)
        space = replace(
            space,
            element_points=space.element_points[lines],
            weights=space.weights[lines],
            node_of=space.node_of[lines],
            gradient=_sorted(d[lines] for d in space.gradient),
            tags=np.repeat(own.tags, per_cell),
            mesh=own,
        )
        space = _curved(space, own)
    return Part(space, numbering.size_local, numbers, cells)


def _rule(mesh_: Mesh, degree: int) -> tuple[str, int]:
    """The quadrature's name, and its points in a cell."""
    if mesh_.cells.shape[1] == 4:
        return "GLL", (degree + 1) ** 2
    if degree != 1:
        raise WavesimError(
            f"degree {degree} on triangles: their lumped elements are of degree 1; mesh with quadrilaterals"
        )
    return "vertex", 3


def _by_cell(raw: Space, mesh_: Mesh) -> np.ndarray:
    """(element points,) the order that sorts them by cell, and within each as `mesh_space` says."""
    rule, per_cell = _rule(mesh_, raw.degree)
    groups = raw.element_points.reshape(-1, per_cell, 2)
    # dolfinx has sorted the cells and turned them: found again by their centres, and their points by s and t.
    middle = mesh_.points[mesh_.cells].mean(axis=1)
    cell = cKDTree(middle).query(groups.mean(axis=1))[1]
    if not np.array_equal(np.sort(cell), np.arange(len(middle))):
        raise WavesimError("two cells of the mesh have one centre, or none: cells overlap or are degenerate")
    s, t = reference(np.repeat(mesh_.points[mesh_.cells[cell]], per_cell, axis=0), raw.element_points)
    if rule == "GLL":
        line = lobatto(raw.degree)
        place = _nearest(line, t) * line.size + _nearest(line, s)
    else:
        place = np.where(s > 0.5, 1, np.where(t > 0.5, 2, 0))
    return np.argsort(np.repeat(cell, per_cell) * per_cell + place)


def _curved(straight: Space, mesh_: Mesh) -> Space:
    """The space with its nodes on the mesh's curves."""
    if not mesh_.curved:
        return straight
    points = straight.points.copy()
    points[straight.node_of] = mesh_.positions(straight.degree).reshape(-1, 2)
    return straight.moved(points)


def _rectangle(nodes: Nodes, comm: MPI.Comm = MPI.COMM_SELF) -> Any:
    """dolfinx's mesh of a rectangle, shared out over a communicator; by default on this process alone."""
    along_x, along_y = nodes.axes
    corners = [np.array(corner) for corner in zip(along_x.ends, along_y.ends, strict=True)]
    return mesh.create_rectangle(comm, corners, (along_x.total, along_y.total), cell_type=mesh.CellType.quadrilateral)


def _domain(mesh_: Mesh, comm: MPI.Comm = MPI.COMM_SELF) -> Any:
    """dolfinx's mesh of ours, shared out over a communicator; by default on this process alone."""
    name = "quadrilateral" if mesh_.cells.shape[1] == 4 else "triangle"
    cells = np.ascontiguousarray(mesh_.cells[:, [0, 1, 3, 2]] if name == "quadrilateral" else mesh_.cells, np.int64)
    cells, points = (np.array_split(rows, comm.size)[comm.rank] for rows in (cells, mesh_.points))
    if BEFORE_0_7:
        element: Any = ufl.VectorElement("Lagrange", ufl.Cell(name, geometric_dimension=2), 1)
        return mesh.create_mesh(comm, cells, points, ufl.Mesh(element))
    import basix.ufl

    element = basix.ufl.element("Lagrange", name, 1, shape=(2,))
    if VERSION < (0, 10):
        return mesh.create_mesh(comm, cells, points, element)
    return mesh.create_mesh(comm, cells, element, points)


def _function_space(domain: Any, degree: int, family: str = "Lagrange") -> Any:
    """dolfinx's space of polynomials on its mesh."""
    make_space: Any = fem.FunctionSpace if BEFORE_0_7 else fem.functionspace
    return make_space(domain, (family, degree))


def _assembled(continuous: Any, degree: int, rule: str) -> Space:
    """The space of this process's own elements, in dolfinx's numbering of all nodes that the process knows."""
    domain = continuous.mesh
    each = _function_space(domain, degree, "DQ" if rule == "GLL" else "DG")
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
    cells = cells[: domain.topology.index_map(2).size_local]
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
    along_rows, along_columns = (space.dofmap.index_map for space in form.function_spaces)
    rows, columns = along_rows.size_local, along_columns.size_local + along_columns.num_ghosts
    start = matrix.indptr[: rows + 1]
    # Copied, because dolfinx's own arrays may not be written (0.9).
    made = sparse.csr_matrix(
        (matrix.data[: start[-1]], matrix.indices[: start[-1]], start), shape=(rows, columns), copy=True
    )
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
