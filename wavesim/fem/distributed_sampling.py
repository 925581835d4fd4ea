"""One process's share of the cell averages of a field that several processes hold: their sum is the whole.

A rectangle's node counts where it belongs, an element of any other mesh where it belongs, with the nodes on its rim,
whose values PETSc fetches from other processes. A share is a function from (own nodes,) to (cells,).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

from wavesim.fem import locate
from wavesim.fem.mesh import Mesh
from wavesim.fem.sampling import Nodes, line_averages
from wavesim.fem.space import Part


def on_rectangle(nodes: Nodes, grid: tuple[int, int], points: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Exact: S_y U S_x^T with `line_averages` S and U (y, x) the values at points (own nodes, 2), zero elsewhere."""
    along_x, along_y = (line_averages(axis, cells) for axis, cells in zip(nodes.axes, grid[::-1], strict=True))
    columns, rows = (
        np.searchsorted((line[1:] + line[:-1]) / 2, places)
        for line, places in zip((nodes.x, nodes.y), points.T, strict=True)
    )

    def averages(field: np.ndarray) -> np.ndarray:
        own = sparse.csr_matrix((field, (rows, columns)), shape=nodes.shape)
        return (along_y @ own @ along_x.T).toarray().ravel()

    return averages


def on_mesh(mesh: Mesh, grid: tuple[int, int], part: Part, like: Any) -> Callable[[np.ndarray], np.ndarray]:
    """By Gauss points, as `locate.cell_averages`; `like`: a vector of PETSc's to work with."""
    from petsc4py import PETSc

    space = part.space
    # One node more stands for all that lie in other processes' cells.
    node_of = np.full((len(mesh.cells), space.node_of.size // len(part.cells)), space.size)
    node_of[part.cells] = space.node_of.reshape(len(part.cells), -1)
    cells = mesh.positions(space.degree) if mesh.curved else mesh.points[mesh.cells]
    matrix = locate.cell_averages(cells, space.degree, node_of, space.size + 1, grid)[:, :-1].tocsr()
    known = PETSc.Vec().createSeq(space.size)
    numbers = PETSc.IS().createGeneral(part.numbers.astype(PETSc.IntType), comm=known.comm)
    scatter = PETSc.Scatter().create(like, numbers, known, None)

    def averages(field: np.ndarray) -> np.ndarray:
        like.array[:] = field
        scatter.scatter(like, known)
        return matrix @ known.array

    return averages
