"""Coefficients of a coarse grid by static problems on a mesh that follows the grains: local homogenisation.

With p_x and p_y the static fields of homogenisation.py, which a drop of pressure along x and along y sets up in the
whole structure, and <.> the average over the control cell of an element's point (raster.py),

    1/kappa -> <1/kappa>,        1/rho -> R   with   R <grad p_a> = <(1/rho) grad p_a>,   a = x, y:

the tensor that lets the same flux through. It is made symmetric, and its eigenvalues are held between the least and
the largest 1/rho of the medium. Where the structure is layers, R is that of raster.py.

Reference: Durlofsky, Water Resour. Res. 27 (1991) 699-708; Chen et al., Adv. Water Resour. 26 (2003) 1041-1060.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from wavesim.errors import WavesimError
from wavesim.fem.boundary import Sides
from wavesim.fem.homogenisation import straight_fields
from wavesim.fem.medium import Materials
from wavesim.fem.mesh import Mesh
from wavesim.fem.raster import Averages
from wavesim.fem.sampling import Nodes, differentiation, lagrange
from wavesim.fem.space import Space

POINTS = 4  # of the mesh's quadrature along the shortest edge of a control cell, at least
AT_ONCE = 64  # elements of the mesh


def upscaled(medium: Materials, mesh: Mesh, nodes: Nodes, degree: int = 4) -> Averages:
    """What `assemble(..., nodes, ...)` takes for a medium whose grains `mesh` follows, between rigid walls.

    Args:
        nodes: of the coarse grid, whose rectangle `mesh` fills. degree: of the static problems' elements.
    Raises:
        WavesimError: dolfinx is not installed; a tag without a value.
    """
    from wavesim.fem import _dolfinx

    space = _dolfinx.mesh_space(mesh, degree)
    fields = straight_fields(space, space.stiffness(space.evaluate(medium.density)), Sides())
    sums = np.zeros((_cells(nodes), 10))  # area, 1/kappa, and (x, y) of grad p_x, grad p_y, and of their fluxes
    for places, summands in _pieces(space, fields, medium, _finest(nodes)):
        number = _control_cell(nodes, places)
        for k, values in enumerate(summands):
            sums[:, k] += np.bincount(number, values, minlength=len(sums))
    if not (sums[:, 0] > 0).all():
        raise WavesimError(f"control cells of {nodes.elements} elements hold no part of the mesh: fill the rectangle")
    slopes, fluxes = (sums[:, first : first + 4].reshape(-1, 2, 2) for first in (2, 6))  # (cell, a, x or y)
    tensor = np.swapaxes(np.linalg.solve(slopes, fluxes), 1, 2)
    values, axes = np.linalg.eigh((tensor + np.swapaxes(tensor, 1, 2)) / 2)
    values = np.clip(values, 1 / max(medium.density), 1 / min(medium.density))
    tensor = np.einsum("cik,ck,cjk->ijc", axes, values, axes)
    return Averages(nodes, sums[:, 0] / sums[:, 1], tensor)


def _pieces(
    space: Space, fields: np.ndarray, medium: Materials, finest: float
) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Places (points, 2) in some of the mesh's elements, and there what is summed, times the area of each point."""
    assert space.mesh is not None
    degree, node_of = space.degree, space.node_of.reshape(len(space.mesh.cells), -1)
    corners = space.mesh.points[space.mesh.cells]
    longest = np.abs(corners - np.roll(corners, -1, axis=1)).max()
    parts = int(np.ceil(POINTS * longest / finest))
    along = lagrange(degree, (np.arange(parts) + 0.5) / parts)
    slope = along @ differentiation(degree)
    basis, by_s, by_t = np.kron(along, along), np.kron(along, slope), np.kron(slope, along)
    for some in np.array_split(np.arange(len(node_of)), -(-len(node_of) // AT_ONCE)):
        points, field = space.points[node_of[some]], np.moveaxis(fields[:, node_of[some]], 0, -1)
        (x_s, y_s), (x_t, y_t) = (np.moveaxis(d @ points, -1, 0) for d in (by_s, by_t))
        (p_s, q_s), (p_t, q_t) = (np.moveaxis(d @ field, -1, 0) for d in (by_s, by_t))
        stretch = x_s * y_t - x_t * y_s
        area = stretch / parts**2
        slopes = [
            part / stretch * area
            for s, t in ((p_s, p_t), (q_s, q_t))
            for part in (s * y_t - t * y_s, t * x_s - s * x_t)
        ]
        tags = np.broadcast_to(space.mesh.tags[some, None], area.shape)
        lightness, softness = (1 / np.array(of)[tags] for of in (medium.density, medium.bulk_modulus))
        summands = [area, softness * area, *slopes, *(lightness * slope for slope in slopes)]
        yield (basis @ points).reshape(-1, 2), [values.ravel() for values in summands]


def _cells(nodes: Nodes) -> int:
    return int(np.prod([axis.element_points.size for axis in nodes.axes]))


def _finest(nodes: Nodes) -> float:
    return float(min(np.diff(_ends(nodes, k)).min() for k in (0, 1)))


def _ends(nodes: Nodes, k: int) -> np.ndarray:
    """(points + 1,) where the control cells of an axis' element points end, the first end being 0."""
    axis = nodes.axes[k]
    begin, size = axis.control_cells(axis.element_points.ravel())
    return np.append(begin, begin[-1] + size[-1])


def _control_cell(nodes: Nodes, places: np.ndarray) -> np.ndarray:
    """(places,) the number of the control cell that holds each, x fastest, as the space's element points are."""
    along_x, along_y = (
        np.clip(np.searchsorted(_ends(nodes, k), places[:, k], "right") - 1, 0, nodes.axes[k].element_points.size - 1)
        for k in (0, 1)
    )
    return along_y * nodes.axes[0].element_points.size + along_x
