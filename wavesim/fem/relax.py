"""Vertices moved for the largest stable time step: those on circles and walls along them.

At each corner of a quadrilateral with edges a, b and wave speed c (over the largest), lengths in element sizes,

    T = c^2 (|a|^2 + |b|^2) / (2 |a x b|^2)

bounds the square of the highest frequency up to a factor of the degree; the square of one element size with c = 1 has
T = 1. The sum of T^p and of a shape term, 0.2 ((|a|^2 + |b|^2) / (2 a x b))^2, is made small with p = 1, 2, 4 in turn.
Cells with an edge on a circle count twice, as they are and with its tangents for a and b at its ends; from the chord to
the tangent they are turned by as much as at the stage's start.
While a cell is folded, a x b is replaced by (a x b + sqrt((a x b)^2 + 4 delta^2)) / 2.

Reference: Knupp, Int. J. Numer. Meth. Engng 48 (2000) 401; Escobar et al., Comput. Meth. Appl. Mech. Engng 192 (2003).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import Bounds, minimize

SHAPE = 0.2
SLIDE = 0.25  # of the shortest edge at a vertex on a circle or a wall: as far as it may go; a long arc folds cells
FIXED, FREE, ON_CIRCLE, ALONG_X, ALONG_Y = range(5)


@dataclass
class Relaxation:
    """points: (n, 2); motion: (n,) of the kinds above; circles: (n, 3), that of a vertex on one; quads: (q, 4);
    speeds: (q,) over the largest; size: the unit of length; circle_of: (n,) the circle that a vertex is on, or -1:
    edges between two vertices of one circle are its arcs; group: (q,) meshes that share no vertex, by default one."""

    points: np.ndarray
    motion: np.ndarray
    circles: np.ndarray
    quads: np.ndarray
    speeds: np.ndarray
    size: float
    circle_of: np.ndarray | None = None
    group: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    delta: float = field(default=1e-3, init=False)
    power: int = field(default=1, init=False)
    straight: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.free, self.round = (np.flatnonzero(self.motion == kind) for kind in (FREE, ON_CIRCLE))
        self.wall = np.flatnonzero(self.motion >= ALONG_X)
        self.axis = self.motion[self.wall] - ALONG_X
        offset = self.points[self.round] - self.circles[self.round, :2]
        self.angles = np.arctan2(offset[:, 1], offset[:, 0])
        if self.circle_of is not None:
            on = self.circle_of[self.quads]
            bent = ((on >= 0) & (on == np.roll(on, 1, axis=1))).any(axis=1)
            self.straight = 0
            cross = corners(self.points[self.quads] / self.size, self._turns(self.points))[2]
            bent &= cross.min(axis=1) > 0.01  # one that its arc folds already would fold others
            self.straight = len(self.quads)
            self.quads = np.concatenate([self.quads, self.quads[bent]])
            self.speeds = np.concatenate([self.speeds, self.speeds[bent]])
        self.turn = self._turns(self.points)
        self.reach = self._reach()
        self.group = self.group if self.group.size else np.zeros(len(self.quads), int)

    def _reach(self) -> np.ndarray:
        """How far each variable may go."""
        a, b, _, _ = corners(self.points[self.quads])
        shortest = np.full(len(self.points), np.inf)
        for edges in (a, b):
            np.minimum.at(shortest, self.quads.ravel(), np.hypot(edges[..., 0], edges[..., 1]).ravel())
        sliding = SLIDE * shortest[np.concatenate([self.round, self.wall])] / self.size
        return np.concatenate([np.full(2 * len(self.free), np.inf), sliding])

    def place(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """points (n, 2) after moves x, and the angles of those on circles."""
        free, around, along = np.split(x * self.size, np.cumsum([2 * len(self.free), len(self.round)]))
        points, circles = self.points.copy(), self.circles[self.round]
        points[self.free] += free.reshape(-1, 2)
        angles = self.angles + around / circles[:, 2]
        points[self.round] = circles[:, :2] + circles[:, 2:] * np.column_stack([np.cos(angles), np.sin(angles)])
        points[self.wall, self.axis] += along
        return points, angles

    def objective(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """The logarithm of the sum above, added over the groups, and its gradient."""
        points, angles = self.place(x)
        a, b, cross, mean = corners(points[self.quads] / self.size, self.turn)
        root = np.sqrt(cross**2 + 4 * self.delta**2)
        area = (cross + root) / 2
        shape = mean / area
        powers = ((self.speeds**2)[:, None] * mean / area**2) ** self.power
        total = np.bincount(self.group, (powers + SHAPE * shape**2).sum(axis=1))
        by_mean = self.power * powers / mean + 2 * SHAPE * shape / area
        by_cross = -(self.power * powers + SHAPE * shape**2) / area * (1 + cross / root)
        by_a = by_mean[..., None] * a + by_cross[..., None] * np.stack([b[..., 1], -b[..., 0]], axis=-1)
        by_b = by_mean[..., None] * b + by_cross[..., None] * np.stack([-a[..., 1], a[..., 0]], axis=-1)
        by_a, by_b = _rotated(by_a, -self.turn[0]), _rotated(by_b, -self.turn[1])
        by_corner = np.roll(by_a, 1, axis=1) + np.roll(by_b, -1, axis=1) - by_a - by_b
        by_corner = by_corner / total[self.group, None, None]
        flat = self.quads.ravel()
        gradient = np.column_stack([np.bincount(flat, by_corner[..., k].ravel(), len(points)) for k in (0, 1)])
        on = gradient[self.round]
        around = on[:, 1] * np.cos(angles) - on[:, 0] * np.sin(angles)
        parts = [gradient[self.free].ravel(), around, gradient[self.wall, self.axis]]
        return float(np.log(total).sum()), np.concatenate(parts)

    def run(self, schedule: tuple[tuple[int, int], ...], untangling: int = 40) -> np.ndarray:
        """points (n, 2); schedule: (p, steps) in turn; untangling: steps of each stage while a cell is folded."""
        x = np.zeros(2 * len(self.free) + len(self.round) + len(self.wall))
        for delta in (0.2, 0.1, 0.05, 0.02, 0.01):
            if corners(self.place(x)[0][self.quads] / self.size, self.turn)[2].min() > 1e-3:
                break
            self.delta, self.power = delta, 1
            x = self._minimum(x, untangling)
        self.delta = 1e-3
        for self.power, steps in schedule:
            x = self._minimum(x, steps)
        return self.place(x)[0]

    def _turns(self, points: np.ndarray) -> np.ndarray:
        """(2, q, 4) from the chord to the arc, of a and of b at each corner."""
        if self.circle_of is None:
            return np.zeros((2, *self.quads.shape))
        on, offset = self.circle_of[self.quads], points - self.circles[:, :2]
        angle = np.arctan2(offset[:, 1], offset[:, 0])[self.quads]
        turns = []
        for step in (-1, 1):
            across = (np.roll(angle, step, axis=1) - angle + np.pi) % (2 * np.pi) - np.pi
            turned = (np.arange(len(on)) >= self.straight)[:, None]
            turns.append(np.where(turned & (on >= 0) & (np.roll(on, step, axis=1) == on), -across / 2, 0.0))
        return np.stack(turns)

    def _minimum(self, x: np.ndarray, steps: int) -> np.ndarray:
        self.turn = self._turns(self.place(x)[0])
        options = {"maxiter": steps, "maxfun": 2 * steps, "maxcor": 12, "ftol": 1e-9, "gtol": 1e-9}
        return minimize(
            self.objective, x, jac=True, method="L-BFGS-B", bounds=Bounds(-self.reach, self.reach), options=options
        ).x


def corners(cells: np.ndarray, turn: np.ndarray | float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of cells (q, 4, 2): the edges a and b at each corner, turned, then a x b and the mean of their squares."""
    a, b = np.roll(cells, -1, axis=1) - cells, np.roll(cells, 1, axis=1) - cells
    if isinstance(turn, np.ndarray):
        a, b = _rotated(a, turn[0]), _rotated(b, turn[1])
    cross = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return a, b, cross, ((a**2).sum(axis=-1) + (b**2).sum(axis=-1)) / 2


def _rotated(vectors: np.ndarray, angle: np.ndarray) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    x, y = vectors[..., 0], vectors[..., 1]
    return np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)


def hardest(
    points: np.ndarray, quads: np.ndarray, speeds: np.ndarray, size: float, turn: np.ndarray | float = 0.0
) -> np.ndarray:
    """(q,) the largest T of each quadrilateral's corners, their edges turned; infinite where it is folded."""
    _, _, cross, mean = corners(points[quads] / size, turn)
    with np.errstate(divide="ignore", over="ignore"):
        step = np.where(cross > 1e-9, (speeds**2)[:, None] * mean / np.maximum(cross, 1e-9) ** 2, np.inf)
    return step.max(axis=1)
