"""A domain with its absorbing layers: medium and mesh go on straight beyond each side, as they are there.

A rectangle's own mesh gets more elements of its size, and a medium of functions is taken at the nearest place of the
rectangle. Any other mesh of quadrilaterals gets strips of rectangles, the edges of the side moved outwards; each has
the tag of the cell that its edge belongs to. Averages are taken over the part of the side that lies before (raster.py).

With e the lengths of a side's edges, a strip is sum e^2 / sum e thick: the edge that a place on the side lies on, on
average, so that short edges in narrow gaps do not make a thin layer.
"""

from __future__ import annotations

from dataclasses import replace
from math import isqrt

import numpy as np

from wavesim.errors import WavesimError
from wavesim.fem.boundary import Sides
from wavesim.fem.extent import Extent
from wavesim.fem.medium import Field, Materials, Medium
from wavesim.fem.mesh import Mesh
from wavesim.fem.raster import Averages, Raster
from wavesim.fem.sampling import Nodes

NAMES = ("left", "right", "bottom", "top")
SLACK = 1e-9  # of the rectangle's longer side, within which a point is on a side


def with_margins(
    medium: Medium | Materials | Raster | Averages, mesh: Nodes | Mesh, sides: Sides, layer: int
) -> tuple[Medium | Materials | Raster | Averages, Nodes | Mesh]:
    """Medium and mesh with `layer` elements beyond each absorbing side.

    Raises:
        WavesimError: absorbing sides without a layer, of triangles, or of a mesh that fills no rectangle.
    """
    if layer != int(layer):
        raise WavesimError(f"layer {layer} must be a whole number of elements")
    margins = sides.margins(int(layer))
    if "absorbing" in (sides.left, sides.right, sides.bottom, sides.top) and layer < 1:
        raise WavesimError(
            f"layer {layer}: an absorbing side needs at least one element, better one wavelength of them"
        )
    if not any(margins):
        return medium, mesh
    wider = replace(mesh, margins=margins) if isinstance(mesh, Nodes) else extended(mesh, margins)
    return continued(medium, mesh.extent) if isinstance(medium, Medium) else medium, wider


def continued(medium: Medium, extent: Extent) -> Medium:
    """The medium, which goes on beyond the rectangle's sides as it is there."""

    def beyond(field: Field) -> Field:
        (left, bottom), (right, top) = extent.low, extent.high
        return lambda x, y: field(np.clip(x, left, right), np.clip(y, bottom, top))

    return Medium(beyond(medium.bulk_modulus), beyond(medium.density))


def extended(mesh: Mesh, strips: tuple[int, int, int, int]) -> Mesh:
    """The mesh of a rectangle with so many strips of cells beyond its left, right, bottom and top side.

    Raises:
        WavesimError: triangles, a mesh that fills no rectangle along the axes, a side whose edges are bent.
    """
    if mesh.cells.shape[1] != 4:
        raise WavesimError("absorbing sides of a mesh of triangles are not there: mesh with quadrilaterals")
    extent, slack = mesh.extent, SLACK * max(mesh.extent.lengths)
    at_side = sides_of_rectangle(mesh, "absorbing sides are those of")
    if mesh.curved:
        _require_straight(mesh, at_side, strips)
    thick = [_typical_edge(mesh, at_side[k], 1 - k // 2) for k in range(4)]
    points, cells, tags = mesh.points, mesh.cells, mesh.tags
    for k in range(4):  # those below and above run along the ends of those at the left and right as well
        if strips[k]:
            ends = (extent.low, extent.high)[k % 2]
            outward = thick[k] * np.arange(1, strips[k] + 1) * (1 if k % 2 else -1)
            on = np.abs(points[:, k // 2] - ends[k // 2]) < slack
            points, cells, tags = _moved_out(points, cells, tags, on, k // 2, ends[k // 2] + outward)
    left, right, bottom, top = (count * edge for count, edge in zip(strips, thick, strict=True))
    wider = Mesh(points, cells, tags, margins=(left, right, bottom, top))
    if not mesh.curved:
        return wider
    straight = wider.positions(isqrt(mesh.shape.shape[1]) - 1)
    return replace(wider, shape=np.concatenate([mesh.shape, straight[len(mesh.cells) :]]))


def sides_of_rectangle(mesh: Mesh, what: str) -> np.ndarray:
    """(left, right, bottom, top; points) which points of a mesh are on a side.

    Raises:
        WavesimError: a mesh that does not fill a rectangle along the axes, beginning with `what` is of one.
    """
    extent = mesh.extent
    at_side = np.abs(extent.depths(mesh.points)) < SLACK * max(extent.lengths)
    if not at_side[:, mesh.rim].all(axis=2).any(axis=0).all():
        raise WavesimError(
            f"{what} a rectangle along the axes, and this mesh does not fill that from "
            f"({extent.low[0]:.4g}, {extent.low[1]:.4g}) to ({extent.high[0]:.4g}, {extent.high[1]:.4g}): mesh it all"
        )
    return at_side


def _moved_out(
    points: np.ndarray, cells: np.ndarray, tags: np.ndarray, on: np.ndarray, axis: int, lines: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, cells and tags with the edges between points `on` a side moved to each of `lines` (strips,) of an axis.

    New cells begin at their lower left corner and run counter-clockwise.
    """
    vertices = np.flatnonzero(on)
    places = np.repeat(points[None, vertices], len(lines), axis=0)
    places[..., axis] = lines[:, None]
    number = np.full((len(lines) + 1, len(points)), -1)
    number[0, vertices] = vertices
    number[1:, vertices] = len(points) + np.arange(len(lines) * len(vertices)).reshape(len(lines), -1)
    edges = np.stack([cells, np.roll(cells, -1, axis=1)], axis=2)
    owner, side = np.nonzero(on[edges].all(axis=2))
    ends = edges[owner, side]
    ends = np.take_along_axis(ends, points[ends, 1 - axis].argsort(axis=1), axis=1)
    near, far = number[:-1, ends], number[1:, ends]  # each (strip, edge, lower and upper end)
    low, high = (near, far) if lines[0] > points[vertices[0], axis] else (far, near)
    square = np.stack([low, high], axis=3 - axis)  # (strip, edge, y, x)
    made = square.reshape(-1, 4)[:, [0, 1, 3, 2]]
    return (
        np.concatenate([points, places.reshape(-1, 2)]),
        np.concatenate([cells, made]),
        np.concatenate([tags, np.tile(tags[owner], len(lines))]),
    )


def _typical_edge(mesh: Mesh, on: np.ndarray, along: int) -> float:
    """sum e^2 / sum e of the edges between points `on` a side."""
    edges = np.diff(np.sort(mesh.points[on, along]))
    return float((edges**2).sum() / edges.sum())


def _require_straight(mesh: Mesh, at_side: np.ndarray, strips: tuple[int, int, int, int]) -> None:
    side = isqrt(mesh.shape.shape[1])
    straight = Mesh(mesh.points, mesh.cells).positions(side - 1)
    bent = np.abs(mesh.shape - straight).max(axis=2).reshape(-1, side, side) > SLACK * max(mesh.extent.lengths)
    edges = np.stack([bent[:, 0], bent[:, :, -1], bent[:, -1], bent[:, :, 0]], axis=1).any(axis=2)
    ends = np.stack([mesh.cells, np.roll(mesh.cells, -1, axis=1)], axis=2)
    for name, on, count in zip(NAMES, at_side, strips, strict=True):
        if count and (edges & on[ends].all(axis=2)).any():
            raise WavesimError(f"the cells at the absorbing side {name} have bent edges along it; use straight ones")
