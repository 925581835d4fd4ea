"""A packing as a mesh of quadrilaterals whose edges follow the disks: tag 1 inside of them, 0 outside.

    window      the disks that the unit square sees, by a declared rule at its walls
    outline     vertices on circles and walls, and a block of cells across each narrow gap
    regions     what lies between, each with an even number of edges around it
    fill        quadrilaterals in a region; in a disk there is a ring of them along the circle first
    relax       all vertices moved for the largest time step
    arcs        edges on circles bent

Where grains touch, the gap that `radius_scale` leaves sets the time step. Everything follows from the input alone.

Reference: Remacle et al., Int. J. Numer. Meth. Engng 89 (2012) 1102-1119, on quadrilaterals by joining triangles.
"""

from __future__ import annotations

import numpy as np

from wavesim.errors import WavesimError
from wavesim.fem.arcs import bent, interfaces
from wavesim.fem.curves import RING
from wavesim.fem.fill import fill
from wavesim.fem.mesh import Mesh
from wavesim.fem.outline import Outline
from wavesim.fem.packing_mesh import SquarePacking
from wavesim.fem.regions import Region, regions
from wavesim.fem.relax import ALONG_X, ALONG_Y, FIXED, FREE, ON_CIRCLE, Relaxation
from wavesim.fem.sampling import lobatto
from wavesim.fem.window import seen

SMALL = 16  # vertices around a cut disk, up to which its cells need no ring along the circle
TOUCH = 1e-3  # of the distance of two centres: as far apart as grains still touch
NARROWEST = 0.01  # gap between disks, in radii of the smaller one


def conforming(
    packing: SquarePacking,
    radius_scale: float = 0.95,
    element_size: float = 0.03,
    wave_speed: float = 2.0,
    curved: bool = True,
    neck: float = 0.0,
) -> Mesh:
    """The unit square with the disks of a periodic packing, cut by the walls as window.py says.

    Args:
        radius_scale: multiplies the radii, which opens gaps where grains touch. element_size: edge length where nothing
            asks for shorter ones. wave_speed: in the grains over that in the background; the faster of the two is given
            the larger elements. curved: whether edges on circles are bent, to degree 4. neck: the width of straight
            necks of grain, in radii of the smaller disk, that join those that touch; none where a wall is in the way.
    Raises:
        WavesimError: values out of range, grains that overlap or leave no gap, gmsh is not installed, or no mesh.
    """
    if not 0 < element_size <= 0.25:
        raise WavesimError(f"element_size {element_size} must be above 0 and at most 0.25 of the square's side")
    if not wave_speed > 0:
        raise WavesimError(f"wave_speed {wave_speed} must be positive")
    if not 0 <= neck <= 0.5:
        raise WavesimError(f"neck {neck} must be from 0, which leaves contacts open, to 0.5 of the smaller radius")
    disks = seen(packing.positions, packing.radii, radius_scale)
    _check(disks, radius_scale)
    outline = Outline(disks, element_size, _bridged(disks, radius_scale, neck) if neck else {})
    return _meshed(outline, np.array([1.0, wave_speed]) / max(1.0, wave_speed), curved)


def _meshed(outline: Outline, speeds: np.ndarray, curved: bool) -> Mesh:
    quads: list[tuple[int, ...]] = list(outline.blocks)
    tags = [int(k in outline.necks) for k in range(len(quads))]
    rims: list[tuple[int, ...]] = []
    circles: list[np.ndarray] = []
    owners: list[int] = []
    for region in regions(outline):
        whole = region.owner >= 0 and all(region.arc)
        if region.owner >= 0 and (whole or len(region.vertices) > SMALL):
            ring, core = _ring(outline, region)
            quads += ring
            tags += [1] * len(ring)
            rims.append(core)
            circles.append(np.full(len(core), -1))
        else:
            rims.append(region.vertices)
            circles.append(np.array([outline.circle_of[k] for k in region.vertices]))
        owners.append(region.owner)
    polygons = [np.array([outline.points[k] for k in rim]) for rim in rims]
    speed = speeds[(np.array(owners) >= 0).astype(int)]
    filled = fill(polygons, circles, outline.disks, speed, outline.element_size)
    for rim, filling, disk in zip(rims, filled, owners, strict=True):
        number = np.concatenate([rim, [outline.add(point) for point in filling.points]]).astype(int)
        quads += [tuple(quad) for quad in number[filling.quads]]
        tags += [int(disk >= 0)] * len(filling.quads)
    return _finished(outline, *_lined(outline, np.array(quads), np.array(tags)), speeds, curved)


def _lined(outline: Outline, quads: np.ndarray, tags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quads and tags with a lining in each that has two edges in a row on one circle or wall: one quad and four around.

    The corner between such edges is flat, however the vertices move.
    """
    arcs, corners = interfaces(quads, tags, np.array(outline.circle_of)), np.array(outline.points)[quads]
    walls = np.concatenate([corners == 0, corners == 1], axis=2)  # (quads, corners, wall)
    on_wall = (walls & np.roll(walls, 1, axis=1) & np.roll(walls, -1, axis=1)).any(axis=2)
    flat = np.flatnonzero((on_wall | ((arcs >= 0) & (arcs == np.roll(arcs, 1, axis=1)))).any(axis=1))
    made = []
    for quad, places in zip(quads[flat], corners[flat], strict=True):
        inner = [outline.add(place) for place in (places + places.mean(axis=0)) / 2]
        around = [(quad[k], quad[(k + 1) % 4], inner[(k + 1) % 4], inner[k]) for k in range(4)]
        made += [tuple(inner), *around]
    kept = np.setdiff1d(np.arange(len(quads)), flat)
    return np.array([*quads[kept], *made]), np.concatenate([tags[kept], np.repeat(tags[flat], 5)])


def _bridged(disks: np.ndarray, radius_scale: float, neck: float) -> dict[tuple[int, int], float]:
    """The width of the neck of each pair of disks that touched before their radii were scaled."""
    found = {}
    for i, (x, y, radius) in enumerate(disks):
        reach = (radius + disks[i + 1 :, 2]) / radius_scale
        touch = np.hypot(disks[i + 1 :, 0] - x, disks[i + 1 :, 1] - y) < reach * (1 + TOUCH)
        for j in i + 1 + np.flatnonzero(touch):
            found[i, int(j)] = neck * min(radius, disks[j, 2])
    return found


def _check(disks: np.ndarray, radius_scale: float) -> None:
    for k, (x, y, radius) in enumerate(disks[:-1]):
        others = disks[k + 1 :]
        gap = np.hypot(others[:, 0] - x, others[:, 1] - y) - others[:, 2] - radius
        if (gap < NARROWEST * np.minimum(radius, others[:, 2])).any():
            raise WavesimError(
                f"disks near ({x:.3g}, {y:.3g}) are {gap.min():.2g} apart, less than a hundredth of a radius: use a "
                f"radius_scale below {radius_scale:g}"
            )


def _ring(outline: Outline, region: Region) -> tuple[list[tuple[int, ...]], tuple[int, ...]]:
    """The cells along a disk's circle, and the rim of what is left of it."""
    x, y, _ = outline.disks[region.owner]
    ends = [k for k, vertex in enumerate(region.vertices) if vertex in outline.ring_end]
    hub = np.array([x, y])
    if ends:  # towards the middle of the wall's part, or the corner: the ring's ends stay on the walls
        a, b = (outline.points[region.vertices[k]] for k in ends)
        corner = np.round(hub)
        hub = (a + b) / 2 if (a == b).any() else corner
    n = len(region.vertices)
    inner: dict[int, int] = {}
    for k, vertex in enumerate(region.vertices):
        if region.arc[k] or region.arc[k - 1]:
            given = outline.ring_end.get(vertex)
            place = hub + RING * (outline.points[vertex] - hub)
            inner[vertex] = outline.add(place) if given is None else given
    pairs = [(region.vertices[k], region.vertices[(k + 1) % n]) for k in range(n) if region.arc[k]]
    core = [inner.get(vertex, vertex) for vertex in region.vertices]
    core = [vertex for k, vertex in enumerate(core) if vertex != core[k - 1]]
    return [(a, b, inner[b], inner[a]) for a, b in pairs], tuple(core)


def _finished(outline: Outline, quads: np.ndarray, tags: np.ndarray, speeds: np.ndarray, curved: bool) -> Mesh:
    points, circle_of = np.array(outline.points), np.array(outline.circle_of)
    kinds = [
        FREE if curve is None else ON_CIRCLE if curve >= 0 else (ALONG_Y, ALONG_X)[(-1 - curve) % 2]
        for curve in outline.curve
    ]
    motion = np.array(kinds)
    motion[list(outline.fixed)] = FIXED
    straight = np.full(quads.shape, -1)
    arcs = interfaces(quads, tags, circle_of) if curved else straight
    for follow, schedule in ((straight, ((1, 60), (2, 60))), (arcs, ((1, 20), (2, 60), (4, 80)))):
        moving = Relaxation(points, motion, circle_of, outline.disks, quads, follow, speeds[tags], outline.element_size)
        points = moving.run(schedule)
    if not curved:
        return Mesh(points, quads, tags)
    mesh = Mesh(points, quads, tags, bent(points, quads, tags, outline.disks, circle_of))
    if len(folded := np.flatnonzero(jacobians(mesh).min(axis=1) <= 0)):
        x, y = points[quads[folded[0]]].mean(axis=0)
        raise WavesimError(
            f"{len(folded)} cells are folded by their arcs, the first near ({x:.4g}, {y:.4g}): use another element_size"
        )
    return mesh


def jacobians(mesh: Mesh) -> np.ndarray:
    """(cells, 25) of the map from the unit square, at its GLL points of degree 4."""
    places = mesh.positions(4).reshape(len(mesh.cells), 5, 5, 2)
    line = lobatto(4)
    ones = np.vander(line, 5, increasing=True)
    powers = np.column_stack([np.zeros(5), *(k * line ** (k - 1) for k in range(1, 5))])
    slope = powers @ np.linalg.inv(ones)
    along_s = np.einsum("ij,ctjx->ctix", slope, places)
    along_t = np.einsum("ij,cjsx->cisx", slope, places)
    return (along_s[..., 0] * along_t[..., 1] - along_s[..., 1] * along_t[..., 0]).reshape(len(places), -1)
