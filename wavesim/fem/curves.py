"""The circles and walls of an outline, and the vertices on them.

Curve k >= 0 is the circle of disk k, with the angle as its parameter; the walls x = 0, y = 0, x = 1, y = 1 are -1, -2,
-3, -4, with the free coordinate as theirs.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

WALLS = (-1, -2, -3, -4)
CIRCLE_EDGES = 8  # at least, around a whole disk
NEAR = 1.4  # gaps below this part of the element size are spanned by a block
RING = 0.6  # radius at which the ring of cells along a circle ends (conforming_mesh.py), in radii


class Curves:
    """points: list of (2,); curve: list, the curve that a vertex may slide along, or None where it is fixed or free;
    circle_of: list, the circle that a vertex is on, or -1; fixed: vertices that do not slide; ring_end: the vertex on
    the wall at which the ring of a cut disk ends, by the vertex where its circle meets that wall; size: of the edges
    on each circle."""

    def __init__(self, disks: np.ndarray, element_size: float):
        self.disks, self.element_size = disks, element_size
        self.size = np.minimum(element_size, 2 * np.pi * disks[:, 2] / CIRCLE_EDGES)
        self.points: list[np.ndarray] = []
        self.curve: list[int | None] = []
        self.fixed: set[int] = set()
        self.circle_of: list[int] = []
        self.ring_end: dict[int, int] = {}
        self._on: dict[int, list[tuple[float, int]]] = defaultdict(list)
        self._crossings: dict[int, dict[int, list[int]]] = defaultdict(dict)  # disk: wall: vertices
        self._facing: dict[tuple[int, int], int] = {}  # ends of a run: its fixed number of edges
        self._meet_walls()

    def position(self, curve: int, parameter: float) -> np.ndarray:
        """(2,) the point of a curve."""
        if curve >= 0:
            x, y, radius = self.disks[curve]
            return np.array([x + radius * np.cos(parameter), y + radius * np.sin(parameter)])
        axis, end = (-1 - curve) % 2, float((-1 - curve) // 2)
        return np.array([end, parameter] if axis == 0 else [parameter, end])

    def add(self, point: np.ndarray, circle: int = -1) -> int:
        """The number of a new vertex."""
        self.points.append(point)
        self.curve.append(None)
        self.circle_of.append(circle)
        return len(self.points) - 1

    def add_on(self, curve: int, parameter: float) -> int:
        """The number of a new vertex that may slide along a curve."""
        vertex = self.add(self.position(curve, parameter), max(curve, -1))
        self.curve[vertex] = curve
        return vertex

    def _given(self, curve: int, parameter: float) -> int:
        vertex = self.add_on(curve, parameter)
        self._on[curve].append((parameter % (2 * np.pi) if curve >= 0 else parameter, vertex))
        return vertex

    def _meet_walls(self) -> None:
        for x, y in ((0, 0), (0, 1), (1, 0), (1, 1)):
            corner = self.add(np.array([x, y], float))
            self.fixed.add(corner)
            self._on[-1 - 2 * x].append((float(y), corner))
            self._on[-2 - 2 * y].append((float(x), corner))
        for disk, (*centre, radius) in enumerate(self.disks):
            for wall in WALLS:
                axis, end = (-1 - wall) % 2, (-1 - wall) // 2
                away = end - centre[axis]
                if abs(away) >= radius:
                    continue
                half = np.sqrt(radius**2 - away**2)
                low, high = (np.clip(centre[1 - axis] + side * half, 0, 1) for side in (-1, 1))
                if low == high:
                    continue
                hub = low if low == 0 else high if high == 1 else (low + high) / 2  # what the ring shrinks towards
                self._crossings[disk][wall] = []
                for along in (low, high):
                    if 0 < along < 1:
                        offset = along - centre[1 - axis]
                        angle = np.arctan2(offset, away) if axis == 0 else np.arctan2(away, offset)
                        vertex = self.add(self.position(wall, along), disk)
                        self.fixed.add(vertex)
                        self._on[disk].append((angle % (2 * np.pi), vertex))
                        self._on[wall].append((along, vertex))
                        self._crossings[disk][wall].append(vertex)
                        self.ring_end[vertex] = self._given(wall, hub + RING * (along - hub))
                        self._facing[vertex, self.ring_end[vertex]] = self._facing[self.ring_end[vertex], vertex] = 1

    def _clear(self, curve: int, parameter: float, point: np.ndarray) -> bool:
        """Whether a vertex on a curve is inside of the square, and not too near to where the curve meets another."""
        if curve < 0:
            away = [abs(parameter - other) for other, _ in self._on[curve]]
            return 0 < parameter < 1 and min(away) > 0.3 * self.element_size
        met = [vertex for vertices in self._crossings[curve].values() for vertex in vertices]
        away = [float(np.hypot(*(self.points[vertex] - point))) for vertex in met]
        return bool(((point > 0) & (point < 1)).all()) and min(away, default=1.0) > 0.3 * self.size[curve]

    def _ahead(self, disk: int, parameter: float, way: int) -> tuple[int, float] | None:
        """The next vertex of a circle on a wall, and its angle, at most two edges ahead."""
        on = {vertex: angle for angle, vertex in self._on[disk]}
        met = [vertex for vertices in self._crossings[disk].values() for vertex in vertices]
        ways = [(way * turn(on[vertex] - parameter), vertex) for vertex in met]
        near = [(away, vertex) for away, vertex in ways if 0 < away < 2 * self.size[disk] / self.disks[disk, 2]]
        return (min(near)[1], on[min(near)[1]]) if near else None

    def _wall_between(self, a: int, b: int) -> bool:
        """Whether one short edge of a wall can join two vertices."""
        if (a, b) in self._facing or np.hypot(*(self.points[a] - self.points[b])) > NEAR * self.element_size:
            return False
        for wall in WALLS:
            on = [vertex for _, vertex in sorted(self._on[wall])]
            if a in on and b in on:
                return abs(on.index(a) - on.index(b)) == 1
        return False


def turn(angle: float) -> float:
    """The same angle between -pi and pi."""
    return (angle + np.pi) % (2 * np.pi) - np.pi
