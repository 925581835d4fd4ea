"""A packing as a mesh of quadrilaterals whose edges follow the disks: tag 1 inside of them, 0 outside.

    window      the disks that the unit square sees, by a declared rule at its walls
    outline     vertices on circles and walls, and a block of cells across each narrow gap
    regions     what lies between, each with an even number of edges around it
    fill        quadrilaterals in a region; in a disk there is a ring of them along the circle first
    relax       all vertices moved for the largest time step
    arcs        edges on circles bent; those few that would fold a cell stay straight

Where grains touch, the gap that `radius_scale` leaves sets the time step. Everything follows from the input alone.

Reference: Remacle et al., Int. J. Numer. Meth. Engng 89 (2012) 1102-1119, on quadrilaterals by joining triangles.
"""

from __future__ import annotations

import numpy as np

from wavesim.errors import WavesimError
from wavesim.fem.arcs import interfaces, on_circles
from wavesim.fem.fill import fill
from wavesim.fem.mesh import Mesh
from wavesim.fem.outline import RING, Outline
from wavesim.fem.packing_mesh import SquarePacking
from wavesim.fem.regions import Region, regions
from wavesim.fem.relax import ALONG_X, ALONG_Y, FIXED, FREE, ON_CIRCLE, Relaxation
from wavesim.fem.sampling import lobatto
from wavesim.fem.window import seen

TRIES = (
    1.0,
    0.94,
    1.06,
    0.88,
    1.12,
    0.82,
    1.18,
    0.76,
)  # of the element size: where a region cannot be meshed, the next one is taken
ENOUGH = 3  # meshes, of which the one is taken that loses least area to edges that stay chords,
NEGLIGIBLE = 2e-4  # unless this little is lost
SMALL = 16  # vertices around a cut disk, up to which its cells need no ring along the circle
STRAIGHTENED = 8  # rounds, after which all cells stay straight
NARROWEST = 0.01  # gap between disks, in radii of the smaller one


def conforming(
    packing: SquarePacking,
    radius_scale: float = 0.95,
    element_size: float = 0.03,
    wave_speed: float = 2.0,
    curved: bool = True,
) -> Mesh:
    """The unit square with the disks of a periodic packing, cut by the walls as window.py says.

    Args:
        radius_scale: multiplies the radii, which opens gaps where grains touch. element_size: edge length where nothing
            asks for shorter ones. wave_speed: in the grains over that in the background; the faster of the two is given
            the larger elements. curved: whether edges on circles are bent, to degree 4.
    Raises:
        WavesimError: values out of range, grains that overlap or leave no gap, gmsh is not installed, or no mesh.
    """
    if not 0 < element_size <= 0.25:
        raise WavesimError(f"element_size {element_size} must be above 0 and at most 0.25 of the square's side")
    if not wave_speed > 0:
        raise WavesimError(f"wave_speed {wave_speed} must be positive")
    disks = seen(packing.positions, packing.radii, radius_scale)
    _check(disks, radius_scale)
    speeds = np.array([1.0, wave_speed]) / max(1.0, wave_speed)
    made: list[tuple[float, Mesh]] = []
    for size in element_size * np.array(TRIES):
        try:
            made.append(_meshed(disks, float(size), speeds, curved))
        except WavesimError as error:
            if "gmsh is not installed" in str(error):
                raise
            reason = error
        if made and (len(made) == ENOUGH or not curved or made[-1][0] < NEGLIGIBLE):
            break
    if not made:
        tried = f"{min(TRIES) * element_size:.3g} to {max(TRIES) * element_size:.3g}"
        raise WavesimError(
            f"no mesh was found for element sizes of {tried} ({reason}); use another element_size or radius_scale"
        ) from reason
    return min(made, key=lambda one: one[0])[1]


def _meshed(disks: np.ndarray, element_size: float, speeds: np.ndarray, curved: bool) -> tuple[float, Mesh]:
    """A mesh, and the area between circles and those edges that stay chords."""
    outline = Outline(disks, element_size)
    quads: list[tuple[int, ...]] = list(outline.blocks)
    tags = [0] * len(outline.blocks)
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
    for rim, filling, disk in zip(rims, fill(polygons, circles, disks, speed, element_size), owners, strict=True):
        number = np.concatenate([rim, [outline.add(point) for point in filling.points]]).astype(int)
        quads += [tuple(quad) for quad in number[filling.quads]]
        tags += [int(disk >= 0)] * len(filling.quads)
    return _finished(outline, np.array(quads), np.array(tags), speeds, curved)


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


def _finished(
    outline: Outline, quads: np.ndarray, tags: np.ndarray, speeds: np.ndarray, curved: bool
) -> tuple[float, Mesh]:
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
    mesh = Mesh(points, quads, tags)
    for _ in range(STRAIGHTENED if curved else 0):
        bent_mesh = on_circles(mesh, outline.disks, circle_of)
        folded = _jacobians(bent_mesh).min(axis=1) <= 0
        if not folded.any():
            whole = on_circles(mesh, outline.disks, np.array(outline.circle_of))
            return _grain_area(whole) - _grain_area(bent_mesh), bent_mesh
        first = np.argmax(
            circle_of[mesh.cells[folded]] >= 0, axis=1
        )  # two edges meet at each vertex: the least to give up
        circle_of[mesh.cells[folded][np.arange(len(first)), first]] = -1
    return np.inf, mesh


def _grain_area(mesh: Mesh) -> float:
    """Of the cells with tag 1, by Green's formula around each."""
    own = mesh.positions(4)[mesh.tags == 1].reshape(-1, 5, 5, 2)
    rim = np.concatenate([own[:, 0, :-1], own[:, :-1, -1], own[:, -1, :0:-1], own[:, :0:-1, 0]], axis=1)
    (x, y), (next_x, next_y) = np.moveaxis(rim, 2, 0), np.moveaxis(np.roll(rim, -1, axis=1), 2, 0)
    return float((x * next_y - y * next_x).sum() / 2)


def _jacobians(mesh: Mesh) -> np.ndarray:
    """(cells, 25) of the map from the unit square, at its GLL points of degree 4."""
    places = mesh.positions(4).reshape(len(mesh.cells), 5, 5, 2)
    line = lobatto(4)
    ones = np.vander(line, 5, increasing=True)
    powers = np.column_stack([np.zeros(5), *(k * line ** (k - 1) for k in range(1, 5))])
    slope = powers @ np.linalg.inv(ones)
    along_s = np.einsum("ij,ctjx->ctix", slope, places)
    along_t = np.einsum("ij,cjsx->cisx", slope, places)
    return (along_s[..., 0] * along_t[..., 1] - along_s[..., 1] * along_t[..., 0]).reshape(len(places), -1)
