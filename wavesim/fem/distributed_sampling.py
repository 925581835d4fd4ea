"""One process's share of what is sampled of a field that several processes hold: their sum is the whole.

A rectangle's node counts where it belongs, an element of any other mesh where it belongs, with the nodes on its rim.
Shares are of values (held,), see distributed_nodes.py.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse

from wavesim.fem import locate, sampling
from wavesim.fem.mesh import Mesh
from wavesim.fem.sampling import Nodes, line_averages
from wavesim.fem.space import Part


def averages(
    mesh: Nodes | Mesh, grid: tuple[int, int], part: Part, prolongation: sparse.csr_matrix
) -> Callable[[np.ndarray], np.ndarray]:
    """From (held,) to the share (cells,) of the averages over grid = (y, x) cells.

    Exact on a rectangle: S_y U S_x^T with `line_averages` S and U (y, x) its nodal values; by Gauss points elsewhere.
    """
    if isinstance(mesh, Mesh):
        cells, node_of = _whole(mesh, part)
        everywhere = locate.cell_averages(cells, part.space.degree, node_of, part.space.size + 1, grid, mesh.extent)
        matrix = (everywhere[:, :-1] @ prolongation).tocsr()
        return lambda values: matrix @ values
    nodes, own = mesh, prolongation[: part.owned]
    along_x, along_y = (line_averages(axis, cells) for axis, cells in zip(nodes.axes, grid[::-1], strict=True))
    place = _lattice(nodes, part)

    def share(values: np.ndarray) -> np.ndarray:
        field = sparse.csr_matrix((own @ values, place), shape=nodes.shape)
        return (along_y @ field @ along_x.T).toarray().ravel()

    return share


def at(mesh: Nodes | Mesh, places: np.ndarray, part: Part, prolongation: sparse.csr_matrix) -> sparse.csr_matrix:
    """The matrix (places, held) to the share of the values at places (places, 2), x first.

    Raises:
        WavesimError: a place outside the mesh.
    """
    if isinstance(mesh, Mesh):
        cells, node_of = _whole(mesh, part)
        values = locate.at(cells, part.space.degree, node_of, part.space.size + 1, places)[:, :-1]
        return (values @ prolongation).tocsr()
    rows, columns = _lattice(mesh, part)
    values = sampling.at(mesh, places)[:, rows * mesh.shape[1] + columns]
    return (values @ prolongation[: part.owned]).tocsr()


def _whole(mesh: Mesh, part: Part) -> tuple[np.ndarray, np.ndarray]:
    """All cells, and their nodes as this process knows them: one more stands for all those in cells of others."""
    space = part.space
    node_of = np.full((len(mesh.cells), space.node_of.size // len(part.cells)), space.size)
    node_of[part.cells] = space.node_of.reshape(len(part.cells), -1)
    curved = mesh.curved and space.degree > 1
    return mesh.positions(space.degree) if curved else mesh.points[mesh.cells], node_of


def _lattice(nodes: Nodes, part: Part) -> tuple[np.ndarray, np.ndarray]:
    """(rows, columns) of the own nodes of a rectangle."""
    columns, rows = (
        np.searchsorted((line[1:] + line[:-1]) / 2, places)
        for line, places in zip((nodes.x, nodes.y), part.space.points[: part.owned].T, strict=True)
    )
    return rows, columns
