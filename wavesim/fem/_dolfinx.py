"""Spectral elements by dolfinx: the stiffness matrix and the nodal weights of a rectangle. Its only importer.

On quadrilaterals with Lagrange polynomials of degree p on Gauss-Lobatto-Legendre (GLL) nodes, and GLL quadrature of
degree 2p - 1 on the same nodes (collocation),

    K[i, j] = integral of (1/rho) grad phi_i . grad phi_j      (1/rho: its nodal values)
    w[i]    = integral of phi_i,   so that   M[i, i] = w[i] / kappa[i]   is the whole mass matrix.

What leaves this file is scipy and numpy, in the node order of `sampling.Nodes` (y, x, with x fastest). dolfinx renamed
much at 0.7 and nothing that is used here since: one switch covers 0.5.2 to 0.11.

Reference: Komatitsch and Vilotte, Bull. Seismol. Soc. Am. 88 (1998) 368-392.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

# Before dolfinx: the other order crashes where dolfinx is linked with another HDF5 than h5py's wheel (Debian 12).
import h5py  # noqa: F401
import numpy as np
from scipy import sparse

from wavesim.errors import WavesimError, missing_engine
from wavesim.fem.sampling import Nodes

try:
    import dolfinx
    import ufl
    from dolfinx import fem, mesh
    from mpi4py import MPI
except ImportError as error:
    raise missing_engine("dolfinx", "the finite-element solver", "fem", error) from error

BEFORE_0_7 = tuple(int(part) for part in dolfinx.__version__.split(".")[:2]) < (0, 7)


class Space:
    """A spectral-element space on a rectangle; its forms are compiled once and assembled for each medium.

    Raises:
        WavesimError: dolfinx cannot compile a form, or places its nodes elsewhere than at the GLL points.
    """

    def __init__(self, nodes: Nodes):
        self.nodes = nodes
        corners = [np.zeros(2), np.array(nodes.lengths)]
        make_space: Any = fem.FunctionSpace if BEFORE_0_7 else fem.functionspace  # type: ignore[attr-defined]
        with _compiling():
            domain = mesh.create_rectangle(
                MPI.COMM_SELF, corners, nodes.elements, cell_type=mesh.CellType.quadrilateral
            )
            space = make_space(domain, ("Lagrange", nodes.degree))
            self._reciprocal_density = fem.Function(space)
            dx = ufl.dx(domain, metadata={"quadrature_rule": "GLL", "quadrature_degree": 2 * nodes.degree - 1})
            u, v = ufl.TrialFunction(space), ufl.TestFunction(space)
            self._stiffness = fem.form(self._reciprocal_density * ufl.dot(ufl.grad(u), ufl.grad(v)) * dx)
            weights = fem.form(v * dx)
        self._order = _lexicographic(space.tabulate_dof_coordinates(), nodes)
        self.weights = fem.assemble_vector(weights).array[self._order]

    def stiffness(self, density: np.ndarray) -> sparse.csr_matrix:
        """K (nodes, nodes) for density (y, x) at the nodes; entries that vanish by the quadrature are dropped."""
        self._reciprocal_density.x.array[self._order] = 1 / density.ravel()
        matrix: Any = fem.assemble_matrix(self._stiffness)
        matrix.finalize() if BEFORE_0_7 else matrix.scatter_reverse()
        # Copied, because dolfinx's own arrays may not be written (0.9).
        stiffness = sparse.csr_matrix((matrix.data, matrix.indices, matrix.indptr), copy=True)
        # Two thirds of the pattern at degree 4: on rectangles the derivatives along x and y do not mix.
        stiffness.data[np.abs(stiffness.data) < 1e-13 * np.abs(stiffness.data).max()] = 0
        stiffness.eliminate_zeros()
        stiffness = stiffness[self._order][:, self._order]
        stiffness.sort_indices()
        return stiffness

    def mass(self, bulk_modulus: np.ndarray) -> np.ndarray:
        """M (nodes,), the diagonal mass matrix of 1/kappa, for bulk_modulus (y, x) at the nodes."""
        return self.weights / bulk_modulus.ravel()


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


@lru_cache(maxsize=4)
def space(nodes: Nodes) -> Space:
    """The space of `nodes`, kept for the next medium: its mesh and forms cost more than one assembly."""
    return Space(nodes)


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
