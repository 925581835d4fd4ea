"""A mesh of straight-sided quadrilaterals or triangles in the plane, its quality and its files.

At a corner with edges a, b the scaled Jacobian is a x b / (|a| |b|), the sine of the angle: 1 in a rectangle, 0 where
the corner is flat, negative where the cell is folded. An explicit time step is proportional to the smallest height,
a x b / max(|a|, |b|), over the wave speed.

Files go through meshio: .msh (Gmsh 2.2), .vtu and .xdmf, each in one file.

Reference: Knupp, SIAM J. Sci. Comput. 23 (2001) 193-218.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from wavesim.errors import WavesimError
from wavesim.provenance import whole_file

CELLS = {4: "quad", 3: "triangle"}
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    ".msh": ("gmsh22", {"binary": False}),
    ".vtu": ("vtu", {}),
    ".xdmf": ("xdmf", {"data_format": "XML"}),
}
TAGS = {".msh": "gmsh:physical", ".vtu": "tags", ".xdmf": "tags"}


@dataclass(frozen=True, eq=False)
class Mesh:
    """Cells that cover a domain of the plane; immutable, and equal to itself alone.

    Args:
        points: (points, 2), x first, nondimensional.
        cells: (cells, 4 or 3) numbers of corners, in turn; those that run clockwise are turned round.
        tags: (cells,) what each cell consists of, from 0, the background; by default, or empty, all 0.
        circles: (circles, 3) of x, y and radius; circle_of: (points,) the circle that a point lies on, or -1. An edge
            between cells of different tags whose two ends lie on one circle is a chord of it.
    Raises:
        WavesimError: shapes that do not fit, a number of a point that is not there, a point in no cell, values that are
            not finite, a cell that is flat, folded or not convex, or an edge of more than two cells.
    """

    points: np.ndarray
    cells: np.ndarray
    tags: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    circles: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    circle_of: np.ndarray = field(default_factory=lambda: np.zeros(0, int))

    def __post_init__(self) -> None:
        points, cells = np.array(self.points, float), np.array(self.cells)
        if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
            raise WavesimError(f"a mesh's points of shape {points.shape} should be (points, 2) and finite")
        if cells.ndim != 2 or cells.shape[1] not in CELLS or not len(cells) or cells.dtype.kind not in "iu":
            raise WavesimError(f"cells {cells.shape} of {cells.dtype} should be (cells, 4) or (cells, 3) of integers")
        if cells.min() < 0 or cells.max() >= len(points):
            raise WavesimError(f"cells name the points {cells.min()} to {cells.max()}, there are {len(points)} from 0")
        if len(unused := np.setdiff1d(np.arange(len(points)), cells)):
            raise WavesimError(f"{len(unused)} points are in no cell, the first is {unused[0]}: leave them out")
        tags = np.array(self.tags) if np.size(self.tags) else np.zeros(len(cells), int)
        if tags.shape != (len(cells),) or tags.dtype.kind not in "iu" or tags.min() < 0:
            raise WavesimError(f"tags {tags.shape} of {tags.dtype} should be ({len(cells)},) integers from 0")
        circle_of = np.array(self.circle_of) if np.size(self.circle_of) else np.full(len(points), -1)
        circles = np.array(self.circles, float).reshape(-1, 3)
        if circle_of.shape != (len(points),) or circle_of.max() >= len(circles):
            raise WavesimError(f"circle_of {circle_of.shape} should name one of {len(circles)} circles or -1 a point")
        cells = cells.astype(np.int64)
        clockwise = twice_area(*(points[cells[:, k]] for k in range(3)))
        if cells.shape[1] == 4:
            clockwise = clockwise + twice_area(*(points[cells[:, k]] for k in (0, 2, 3)))
        cells[clockwise < 0] = cells[clockwise < 0][:, ::-1]
        for name, value in (("points", points), ("cells", cells), ("tags", tags.astype(np.int64))):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "circles", circles)
        object.__setattr__(self, "circle_of", circle_of)
        if len(bad := np.flatnonzero(~(self.scaled_jacobians() > 0))):
            x, y = points[cells[bad[0]]].mean(axis=0)
            raise WavesimError(f"{len(bad)} cells are flat, folded or not convex, the first near ({x:.4g}, {y:.4g})")
        if self._edges()[1].max() > 2:
            raise WavesimError("an edge belongs to more than two cells; remove the cells that lie over others")

    @property
    def areas(self) -> np.ndarray:
        """(cells,)"""
        x, y = np.moveaxis(self.points[self.cells], 2, 0)
        return (x * np.roll(y, -1, axis=1) - y * np.roll(x, -1, axis=1)).sum(axis=1) / 2

    @property
    def rim(self) -> np.ndarray:
        """(edges, 2) numbers of the ends of the edges that belong to one cell."""
        edges, count = self._edges()
        return edges[count == 1]

    def scaled_jacobians(self) -> np.ndarray:
        """(cells,) of the worst corner of each."""
        cross, after, before = self._corners()
        with np.errstate(invalid="ignore", divide="ignore"):
            return (cross / (after * before)).min(axis=1)

    def heights(self) -> np.ndarray:
        """(cells,) of the worst corner of each, nondimensional."""
        cross, after, before = self._corners()
        return (cross / np.maximum(after, before)).min(axis=1)

    def quality(self, element_size: float, wave_speeds: Sequence[float] = (1.0,)) -> Quality:
        """How good the worst cells are; wave_speeds: by tag, the last for all that follow."""
        corners = self.points[self.cells]
        cross, after, before = self._corners()
        speed = np.array(wave_speeds, float)[np.minimum(self.tags, len(wave_speeds) - 1)]
        sines = cross / (after * before)
        cosines = ((np.roll(corners, -1, axis=1) - corners) * (np.roll(corners, 1, axis=1) - corners)).sum(axis=2)
        return Quality(
            scaled_jacobian=float(sines.min()),
            smallest_angle=float(np.rad2deg(np.arctan2(cross, cosines)).min()),
            smallest_edge=float(after.min()) / element_size,
            time_step=float((self.heights() / speed).min() / (element_size / max(wave_speeds))),
        )

    def _corners(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cross product of the two edges at each corner, and the lengths of both, each (cells, corners)."""
        corners = self.points[self.cells]
        after, before = np.roll(corners, -1, axis=1) - corners, np.roll(corners, 1, axis=1) - corners
        cross = after[..., 0] * before[..., 1] - after[..., 1] * before[..., 0]
        return cross, np.hypot(*np.moveaxis(after, 2, 0)), np.hypot(*np.moveaxis(before, 2, 0))

    def _edges(self) -> tuple[np.ndarray, np.ndarray]:
        """(edges, 2) numbers of the ends, the smaller first, and (edges,) the number of cells that share it."""
        edges = np.sort(np.stack([self.cells, np.roll(self.cells, -1, axis=1)], axis=2).reshape(-1, 2), axis=1)
        keys, count = np.unique(edges @ [len(self.points), 1], return_counts=True)
        return np.column_stack(np.divmod(keys, len(self.points))), count


@dataclass(frozen=True)
class Quality:
    """Of a mesh's worst corner.

    scaled_jacobian: a sine. smallest_angle: degrees. smallest_edge: in element sizes. time_step: the smallest height
    over wave speed, in units of a uniform mesh's of that element size and the fastest speed.
    """

    scaled_jacobian: float
    smallest_angle: float
    smallest_edge: float
    time_step: float


def twice_area(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Twice the area of triangles with corners (..., 2), positive where they run counter-clockwise."""
    return (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (c[..., 0] - a[..., 0])


def write(mesh: Mesh, path: str | Path) -> None:
    """Points, cells and tags as .msh, .vtu or .xdmf; the file appears whole or not at all.

    Raises:
        WavesimError: another ending, or a full disk.
    """
    import meshio

    path = Path(path)
    file_format, options = FORMATS[_suffix(path)]
    tags = {TAGS[_suffix(path)]: [mesh.tags.astype(np.int32)]}
    if path.suffix == ".msh":
        tags["gmsh:geometrical"] = [mesh.tags.astype(np.int32) + 1]
    points = np.column_stack([mesh.points, np.zeros(len(mesh.points))])
    with whole_file(path) as part:
        whole = meshio.Mesh(points, [(CELLS[mesh.cells.shape[1]], mesh.cells)], cell_data=tags)
        meshio.write(part, whole, file_format=file_format, **options)


def read(path: str | Path) -> Mesh:
    """A mesh in the plane from .msh, .vtu or .xdmf: its quadrilaterals, or its triangles, and their points.

    Tags are Gmsh's physical groups, or the cell data `tags`; without either all are 0.
    Raises:
        WavesimError: no such file, another ending, a file that is not whole, none of those cells, both kinds of them,
            points outside one plane, or a mesh that is not valid.
    """
    import meshio

    path = Path(path)
    suffix = _suffix(path)
    if not path.is_file():
        raise WavesimError(f"{path} does not exist")
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            found = meshio.read(path, file_format="gmsh" if suffix == ".msh" else suffix[1:])
    except (Exception, SystemExit) as error:  # whatever one of meshio's readers stumbles over; it may even exit
        raise WavesimError(f"{path} cannot be read as a mesh ({error or 'unknown format'}); write it again") from error
    kinds = sorted({block.type for block in found.cells} & set(CELLS.values()))
    if len(kinds) != 1:
        got = " and ".join(kinds) or ", ".join(sorted({block.type for block in found.cells})) or "no cells"
        raise WavesimError(f"{path} holds {got}; a mesh is of quadrilaterals or of triangles alone")
    blocks = [k for k, block in enumerate(found.cells) if block.type == kinds[0]]
    cells = np.concatenate([found.cells[k].data for k in blocks]).astype(np.int64)
    tags = np.zeros(0, int)
    for name in ("tags", "gmsh:physical"):
        if name in found.cell_data:
            tags = np.concatenate([found.cell_data[name][k] for k in blocks]).astype(np.int64).ravel()
    used, cells = np.unique(cells, return_inverse=True)
    points = np.asarray(found.points, float)[used]
    if np.ptp(points[:, 2:], axis=0).max(initial=0) > 1e-9 * np.ptp(points[:, :2]):
        raise WavesimError(f"{path}: the points do not lie in a plane z = constant")
    return Mesh(points[:, :2], cells.reshape(-1, 4 if kinds[0] == "quad" else 3), tags)


def _suffix(path: Path) -> str:
    if path.suffix not in FORMATS:
        raise WavesimError(f"{path.name} should end in {', '.join(FORMATS)}")
    return path.suffix
