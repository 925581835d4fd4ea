"""A mesh of quadrilaterals or triangles in the plane, and its quality. Quadrilaterals may be curved (`shape`).

At a corner with edges a, b the scaled Jacobian is a x b / (|a| |b|), the sine of the angle: 1 in a rectangle, 0 where
the corner is flat, negative where the cell is folded. An explicit time step is proportional to the smallest height,
a x b / max(|a|, |b|), over the wave speed.

A curved cell is the image of the unit square under the polynomials of degree g in s and t that take the positions
`shape` at its Gauss-Lobatto-Legendre (GLL) points; elements of degree p follow it at their own points.

Reference: Knupp, SIAM J. Sci. Comput. 23 (2001) 193-218.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isqrt

import numpy as np

from wavesim.errors import WavesimError
from wavesim.fem.extent import Extent
from wavesim.fem.sampling import differentiation, lagrange, lobatto

CORNERS = (4, 3)


@dataclass(frozen=True, eq=False)
class Mesh:
    """Cells that cover a domain of the plane; immutable, and equal to itself alone.

    Args:
        points: (points, 2), x first, nondimensional.
        cells: (cells, 4 or 3) numbers of corners, in turn; those that run clockwise are turned round.
        tags: (cells,) what each cell consists of, from 0, the background; by default, or empty, all 0.
        shape: (cells, (g + 1)^2, 2) positions of the GLL points of degree g of each quadrilateral, its first edge first
            (s fastest); empty where all cells are straight.
        margins: how wide the absorbing layers are beyond the left, right, bottom and top side of the rectangle that is
            asked for (margins.py).
    Raises:
        WavesimError: shapes that do not fit, a number of a point that is not there, a point in no cell, values that are
            not finite, a cell that is flat, folded or not convex, an edge of more than two cells, or curved cells that
            do not meet.
    """

    points: np.ndarray
    cells: np.ndarray
    tags: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    shape: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 2)))
    margins: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        points, cells = np.array(self.points, float), np.array(self.cells)
        if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
            raise WavesimError(f"a mesh's points of shape {points.shape} should be (points, 2) and finite")
        if cells.ndim != 2 or cells.shape[1] not in CORNERS or not len(cells) or cells.dtype.kind not in "iu":
            raise WavesimError(f"cells {cells.shape} of {cells.dtype} should be (cells, 4) or (cells, 3) of integers")
        if cells.min() < 0 or cells.max() >= len(points):
            raise WavesimError(f"cells name the points {cells.min()} to {cells.max()}, there are {len(points)} from 0")
        if len(unused := np.setdiff1d(np.arange(len(points)), cells)):
            raise WavesimError(f"{len(unused)} points are in no cell, the first is {unused[0]}: leave them out")
        tags = np.array(self.tags) if np.size(self.tags) else np.zeros(len(cells), int)
        if tags.shape != (len(cells),) or tags.dtype.kind not in "iu" or tags.min() < 0:
            raise WavesimError(f"tags {tags.shape} of {tags.dtype} should be ({len(cells)},) integers from 0")
        cells = cells.astype(np.int64)
        clockwise = twice_area(*(points[cells[:, k]] for k in range(3)))
        if cells.shape[1] == 4:
            clockwise = clockwise + twice_area(*(points[cells[:, k]] for k in (0, 2, 3)))
        cells[clockwise < 0] = cells[clockwise < 0][:, ::-1]
        shape = _turned(np.array(self.shape, float), points, cells, clockwise < 0)
        for name, value in (("points", points), ("cells", cells), ("tags", tags.astype(np.int64)), ("shape", shape)):
            object.__setattr__(self, name, value)
        if len(bad := np.flatnonzero(~(self.scaled_jacobians() > 0))):
            x, y = points[cells[bad[0]]].mean(axis=0)
            raise WavesimError(f"{len(bad)} cells are flat, folded or not convex, the first near ({x:.4g}, {y:.4g})")
        if self._edges()[1].max() > 2:
            raise WavesimError("an edge belongs to more than two cells; remove the cells that lie over others")
        if self.curved:
            self._check_curves()

    @property
    def curved(self) -> bool:
        """Whether cells have a shape of their own."""
        return self.shape.size > 0

    def positions(self, degree: int) -> np.ndarray:
        """(cells, (degree + 1)^2, 2) of the GLL points of that degree in each quadrilateral, s fastest."""
        line = lobatto(degree)
        own = self.shape if self.curved else self.points[self.cells[:, [0, 1, 3, 2]]]
        along = lagrange(isqrt(own.shape[1]) - 1, line)
        return np.einsum("qk,cka->cqa", np.kron(along, along), own)

    def _check_curves(self) -> None:
        side = isqrt(self.shape.shape[1])
        square = self.shape.reshape(-1, side, side, 2)
        edges = np.stack([square[:, 0], square[:, :, -1], square[:, -1, ::-1], square[:, ::-1, 0]], axis=1)
        ends = np.stack([self.cells, np.roll(self.cells, -1, axis=1)], axis=2)
        edges = np.where((ends[..., 0] > ends[..., 1])[..., None, None], edges[:, :, ::-1], edges).reshape(-1, side, 2)
        key = np.unique(np.sort(ends, axis=2).reshape(-1, 2) @ [len(self.points), 1], return_inverse=True)[1].ravel()
        first = np.zeros((key.max() + 1, side, 2))
        first[key] = edges
        if len(apart := np.flatnonzero(np.abs(edges - first[key]).max(axis=(1, 2)) > 1e-9 * np.ptp(self.points))):
            x, y = edges[apart[0]].mean(axis=0)
            raise WavesimError(f"two curved cells do not meet along their edge near ({x:.4g}, {y:.4g})")

    @property
    def extent(self) -> Extent:
        """The rectangle around the mesh, less its margins."""
        (left, bottom), (right, top) = self.points.min(axis=0).tolist(), self.points.max(axis=0).tolist()
        west, east, south, north = self.margins
        return Extent((left + west, bottom + south), (right - east, top - north), self.margins)

    @property
    def beyond(self) -> np.ndarray:
        """(cells,) whether each lies in the margins."""
        middles = self.points[self.cells].mean(axis=1)
        return self.extent.beyond(middles) if any(self.margins) else np.zeros(len(middles), bool)

    @property
    def areas(self) -> np.ndarray:
        """(cells,) between the straight lines through the corners."""
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
        """Cross product of the two edges at each corner, and the lengths of both, each (cells, corners).

        Those of a curved cell as long as they begin: its derivatives there.
        """
        if self.curved:
            side = isqrt(self.shape.shape[1])
            square, slope = self.shape.reshape(-1, side, side, 2), differentiation(side - 1)
            along = np.einsum("ij,ctjx->ctix", slope, square)[:, [0, 0, -1, -1], [0, -1, -1, 0]]
            up = np.einsum("ij,cjsx->cisx", slope, square)[:, [0, 0, -1, -1], [0, -1, -1, 0]]
            after = np.stack([along[:, 0], up[:, 1], -along[:, 2], -up[:, 3]], axis=1)
            before = np.stack([up[:, 0], -along[:, 1], -up[:, 2], along[:, 3]], axis=1)
        else:
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


def _turned(shape: np.ndarray, points: np.ndarray, cells: np.ndarray, turned: np.ndarray) -> np.ndarray:
    """The shape of cells some of which were turned round, checked against their corners."""
    if not shape.size:
        return np.zeros((0, 0, 2))
    side = isqrt(shape.shape[1]) if shape.ndim == 3 else 0
    if shape.shape != (len(cells), side**2, 2) or not 3 <= side <= 9 or cells.shape[1] != 4:
        raise WavesimError(
            f"shape {shape.shape} should be ({len(cells)}, (g + 1)^2, 2) with g from 2 to 8, of quadrilaterals"
        )
    square = shape.reshape(-1, side, side, 2)
    square[turned] = square[turned][:, ::-1]
    corners = square[:, [0, 0, -1, -1], [0, -1, -1, 0]]
    if not np.allclose(corners, points[cells], rtol=0, atol=1e-9 * np.ptp(points)):
        raise WavesimError("the shape of a cell does not begin and end at its corners")
    return shape


def twice_area(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Twice the area of triangles with corners (..., 2), positive where they run counter-clockwise."""
    return (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (c[..., 0] - a[..., 0])
