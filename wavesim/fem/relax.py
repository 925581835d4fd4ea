"""Vertices moved for the largest stable time step: those on circles and walls along them.

With the cell x(s, t), s and t from 0 to 1 (arcs.py), and the wave speed c over the largest, lengths in element sizes,

    T = c^2 (|x_s|^2 + |x_t|^2) / (2 |x_s x x_t|^2)

bounds the square of the highest frequency at a place up to a factor of the degree; the square of one element size with
c = 1 has T = 1. The sum of T^p and of a shape term, 0.2 ((|x_s|^2 + |x_t|^2) / (2 x_s x x_t))^2, is made small with
p = 1, 2, 4 in turn, over the corners of cells, and where an edge is an arc over the places with s and t in 0, 1/2, 1.

As complex numbers, the arc of angle D from z_0 to z_1 is z_0 + (z_1 - z_0) (exp(i l D) - 1) / (exp(i D) - 1), l from 0
to 1: with D kept as at a stage's start, x_s and x_t are complex matrices times the vertices.
While a cell is folded, x_s x x_t is replaced by (x_s x x_t + sqrt((x_s x x_t)^2 + 4 delta^2)) / 2.

Reference: Knupp, Int. J. Numer. Meth. Engng 48 (2000) 401; Escobar et al., Comput. Meth. Appl. Mech. Engng 192 (2003).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, minimize

SHAPE = 0.2
SLIDE = 0.25  # of the shortest edge at a vertex on a circle or a wall: as far as it may go; a long arc folds cells
FIXED, FREE, ON_CIRCLE, ALONG_X, ALONG_Y = range(5)


@dataclass(frozen=True)
class Slopes:
    """x_s and x_t of vertices, as matrices (places, n) of complex numbers; cell: (places,) the cell of each."""

    along: sparse.csr_matrix
    up: sparse.csr_matrix
    cell: np.ndarray

    def products(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """x_s, x_t, x_s x x_t and (|x_s|^2 + |x_t|^2) / 2 at each place, for points (n, 2)."""
        z = points.view(complex).ravel()
        a, b = self.along @ z, self.up @ z
        return a, b, (a.conj() * b).imag, (abs(a) ** 2 + abs(b) ** 2) / 2


def slopes(points: np.ndarray, quads: np.ndarray, angles: np.ndarray) -> Slopes:
    """Of cells (q, 4) whose edges are arcs of angles (q, 4), positive where they turn left; 0 is a straight edge."""
    bent = (angles != 0).any(axis=1)
    corner, middle = np.array([0.0, 1.0]), np.array([0.0, 0.5, 1.0])
    rows, columns, values, cells = [], [], [], []
    count = 0
    for some, line in ((np.flatnonzero(~bent), corner), (np.flatnonzero(bent), middle)):
        t, s = (part.ravel() for part in np.meshgrid(line, line, indexing="ij"))
        pair = _coefficients(angles[some], s, t)  # (x_s and x_t, cells, places, 4)
        places = len(some) * len(s)
        rows.append(np.repeat(count + np.arange(places), 4))
        columns.append(np.repeat(quads[some], len(s), axis=0).ravel())
        values.append(pair.reshape(2, -1))
        cells.append(np.repeat(some, len(s)))
        count += places
    row, column = np.concatenate(rows), np.concatenate(columns)
    along, up = (
        sparse.csr_matrix((value, (row, column)), shape=(count, len(points)))
        for value in np.concatenate(values, axis=1)
    )
    return Slopes(along, up, np.concatenate(cells))


def _coefficients(angles: np.ndarray, s: np.ndarray, t: np.ndarray) -> np.ndarray:
    """(2, cells, places, 4) of the corners in x_s and x_t: bilinear, and the edges' d_k = delta_k (z_k+1 - z_k)."""
    straight = np.array(
        [np.stack([t - 1, 1 - t, t, -t], axis=-1), np.stack([s - 1, -s, s, 1 - s], axis=-1)], dtype=complex
    )
    made = np.repeat(straight[:, None], len(angles), axis=1)
    # Of each edge: its place and the direction of s or t along it; its share, and the slope of that across.
    edges = (
        (0, s, (1 - t, 0 * s), (0 * s - 1)),
        (1, t, (0 * s, s), (0 * s + 1)),
        (2, 1 - s, (-t, 0 * s), (0 * s + 1)),
        (3, 1 - t, (0 * s, s - 1), (0 * s - 1)),
    )
    for k, place, shares, across in edges:
        turn = np.where(angles[:, k] == 0, 1.0, angles[:, k])[:, None]
        full = np.exp(1j * turn) - 1
        delta = (np.exp(1j * turn * place) - 1) / full - place
        slope = 1j * turn * np.exp(1j * turn * place) / full - 1
        for axis, share in enumerate(shares):
            change = slope * share + (delta * across if axis != k % 2 else 0.0)
            change = np.where(angles[:, k, None] == 0, 0.0, change)
            made[axis, :, :, (k + 1) % 4] += change
            made[axis, :, :, k] -= change
    return made


def arc_angles(points: np.ndarray, quads: np.ndarray, arcs: np.ndarray, circles: np.ndarray) -> np.ndarray:
    """(q, 4) of the edges; arcs: (q, 4) the number of the circle that each is an arc of, or -1; circles: (m, 3)."""
    made, sides = np.zeros(arcs.shape), quads.shape[1]
    cell, edge = np.nonzero(arcs >= 0)
    centre = circles[arcs[cell, edge], :2].copy().view(complex).ravel()
    first, last = (points[quads[cell, (edge + k) % sides]].view(complex).ravel() - centre for k in (0, 1))
    made[cell, edge] = np.angle(last / first)
    return made


@dataclass
class Relaxation:
    """points: (n, 2); motion: (n,) of the kinds above; circle_of: (n,) the circle that a vertex is on, or -1; circles:
    (m, 3) of x, y and radius; quads: (q, 4); arcs: (q, 4) the circle that each edge follows, or -1; speeds: (q,) over
    the largest; size: the unit of length; group: (q,) meshes that share no vertex, by default one."""

    points: np.ndarray
    motion: np.ndarray
    circle_of: np.ndarray
    circles: np.ndarray
    quads: np.ndarray
    arcs: np.ndarray
    speeds: np.ndarray
    size: float
    group: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    delta: float = field(default=1e-3, init=False)
    power: int = field(default=1, init=False)

    def __post_init__(self) -> None:
        self.free, self.round = (np.flatnonzero(self.motion == kind) for kind in (FREE, ON_CIRCLE))
        self.wall = np.flatnonzero(self.motion >= ALONG_X)
        self.axis = self.motion[self.wall] - ALONG_X
        self.own = self.circles[self.circle_of[self.round]]
        offset = self.points[self.round] - self.own[:, :2]
        self.angles = np.arctan2(offset[:, 1], offset[:, 0])
        self.group = self.group if self.group.size else np.zeros(len(self.quads), int)
        self._take(self.points)
        self.reach = self._reach()

    def _take(self, points: np.ndarray) -> None:
        """The arcs as they are with these points."""
        angles = arc_angles(points, self.quads, self.arcs, self.circles)
        self.slopes = slopes(points, self.quads, angles)
        self.square = (self.speeds**2)[self.slopes.cell]
        self.whose = self.group[self.slopes.cell]

    def _reach(self) -> np.ndarray:
        """How far each variable may go."""
        edges = np.roll(self.points[self.quads], -1, axis=1) - self.points[self.quads]
        length = np.hypot(edges[..., 0], edges[..., 1])
        shortest = np.full(len(self.points), np.inf)
        for ends in (self.quads, np.roll(self.quads, -1, axis=1)):
            np.minimum.at(shortest, ends.ravel(), length.ravel())
        sliding = SLIDE * shortest[np.concatenate([self.round, self.wall])] / self.size
        return np.concatenate([np.full(2 * len(self.free), np.inf), sliding])

    def place(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """points (n, 2) after moves x, and the angles of those on circles."""
        free, around, along = np.split(x * self.size, np.cumsum([2 * len(self.free), len(self.round)]))
        points = self.points.copy()
        points[self.free] += free.reshape(-1, 2)
        angles = self.angles + around / self.own[:, 2]
        points[self.round] = self.own[:, :2] + self.own[:, 2:] * np.column_stack([np.cos(angles), np.sin(angles)])
        points[self.wall, self.axis] += along
        return points, angles

    def objective(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """The logarithm of the sum above, added over the groups, and its gradient."""
        points, angles = self.place(x)
        a, b, cross, mean = self.slopes.products(points / self.size)
        root = np.sqrt(cross**2 + 4 * self.delta**2)
        area = (cross + root) / 2
        shape = mean / area
        powers = (self.square * mean / area**2) ** self.power
        total = np.bincount(self.whose, powers + SHAPE * shape**2)
        by_mean = self.power * powers / mean + 2 * SHAPE * shape / area
        by_cross = -(self.power * powers + SHAPE * shape**2) / area * (1 + cross / root)
        scale = 1 / total[self.whose]
        # d cross / da = -i b and d cross / db = i a, as complex numbers.
        by_a, by_b = scale * (by_mean * a - 1j * by_cross * b), scale * (by_mean * b + 1j * by_cross * a)
        back = self.slopes.along.conj().T @ by_a + self.slopes.up.conj().T @ by_b
        gradient = back.view(float).reshape(-1, 2)
        on = gradient[self.round]
        around = on[:, 1] * np.cos(angles) - on[:, 0] * np.sin(angles)
        parts = [gradient[self.free].ravel(), around, gradient[self.wall, self.axis]]
        return float(np.log(total).sum()), np.concatenate(parts)

    def run(self, schedule: tuple[tuple[int, int], ...], untangling: int = 40) -> np.ndarray:
        """points (n, 2); schedule: (p, steps) in turn; untangling: steps of each stage while a cell is folded."""
        x = np.zeros(2 * len(self.free) + len(self.round) + len(self.wall))
        for delta in (0.2, 0.1, 0.05, 0.02, 0.01):
            if self.slopes.products(self.place(x)[0] / self.size)[2].min() > 1e-3:
                break
            self.delta, self.power = delta, 1
            x = self._minimum(x, untangling)
        self.delta = 1e-3
        for self.power, steps in schedule:
            x = self._minimum(x, steps)
        return self.place(x)[0]

    def _minimum(self, x: np.ndarray, steps: int) -> np.ndarray:
        self._take(self.place(x)[0])
        options = {"maxiter": steps, "maxfun": 2 * steps, "maxcor": 12, "ftol": 1e-9, "gtol": 1e-9}
        return minimize(
            self.objective, x, jac=True, method="L-BFGS-B", bounds=Bounds(-self.reach, self.reach), options=options
        ).x


def hardest(slopes_: Slopes, points: np.ndarray, speeds: np.ndarray, size: float) -> np.ndarray:
    """(q,) the largest T in each quadrilateral; infinite where it is folded."""
    _, _, cross, mean = slopes_.products(points / size)
    square = (speeds**2)[slopes_.cell]
    step = np.where(cross > 1e-9, square * mean / np.maximum(cross, 1e-9) ** 2, np.inf)
    worst = np.zeros(len(speeds))
    np.maximum.at(worst, slopes_.cell, step)
    return worst


def corners(cells: np.ndarray, turn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of cells (q, 4, 2), with their edges a and b at each corner turned: a x b, and (|a|^2 + |b|^2) / 2."""
    z = np.ascontiguousarray(cells).view(complex)[..., 0]
    a = (np.roll(z, -1, axis=1) - z) * np.exp(1j * turn[0])
    b = (np.roll(z, 1, axis=1) - z) * np.exp(1j * turn[1])
    return (a.conj() * b).imag, (abs(a) ** 2 + abs(b) ** 2) / 2
