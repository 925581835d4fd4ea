"""The vertices that a conforming mesh of disks has on circles and walls, and the cells between near neighbours.

Two circles of radii a, b whose gap is g are w(t) = g + t^2 (1/a + 1/b) / 2 + ... apart at the distance t beside their
line of centres. There a block of cells spans the gap, its corners in pairs that face each other: at t = -s/2 and s/2,
and further out while w < 0.8 s. A slanted edge across a narrow gap would cost more of the time step than the gap does.

Near a wall a block may begin at the vertices that circles have on it. A neck of grain material is a block whose middle
cell has a given width and belongs to the grains.

What remains of each curve (curves.py) is cut into runs of equal edges, whose number is chosen later (regions.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

import numpy as np

from wavesim.errors import WavesimError
from wavesim.fem.curves import NEAR, WALLS, Curves, turn
from wavesim.fem.mesh import twice_area

TALL = 0.8  # and the block is made longer while its next cells are lower than this part of their length
ASIDE = 0.15  # of the element size: how near its sides may come to a third disk
SHARE = 0.3  # of the angle between two neighbours that the block of one may take


@dataclass(frozen=True)
class Run:
    """Part of a curve, or the side of a block, from one given vertex to another, counter-clockwise on circles.

    wanted: its best number of edges; inner: vertices between, of a block's side; fixed: the number is not to change;
    of_block: it bounds a block.
    """

    curve: int | None
    first: int
    last: int
    start: float
    end: float
    wanted: float
    fixed: bool = False
    of_block: bool = False
    inner: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Station:
    """A line across a gap: two curves, parameters and places on them; vertices: those that are there already."""

    curves: tuple[int, int]
    parameters: tuple[float, float]
    ends: tuple[np.ndarray, np.ndarray]
    vertices: tuple[int | None, int | None] = (None, None)


class Outline(Curves):
    """blocks: list of cells, four vertices each; necks: which of them are grain; runs.

    Args:
        disks: (disks, 3) of x, y and radius. bridged: of each pair of disks that a neck is to join, its width.
    """

    def __init__(
        self, disks: np.ndarray, element_size: float, bridged: Mapping[tuple[int, int], float] = MappingProxyType({})
    ):
        super().__init__(disks, element_size)
        self.blocks: list[tuple[int, int, int, int]] = []
        self.necks: list[int] = []
        self.runs: list[Run] = []
        self._bridged = bridged
        self._lines: list[tuple[np.ndarray, np.ndarray]] = []
        self._span_gaps()
        self._cut_runs()

    def _contacts(self) -> list[tuple[float, int, int, float, float]]:
        """(gap, disk, disk or wall, angle on the first, angle on the second), the narrowest first, in free sight."""
        found, centres, radii = [], self.disks[:, :2], self.disks[:, 2]
        for i in range(len(radii)):
            towards = centres[i + 1 :] - centres[i]
            gaps = np.hypot(*towards.T) - radii[i + 1 :] - radii[i]
            for step in np.flatnonzero(gaps < 6 * self.element_size):
                angle = np.arctan2(towards[step, 1], towards[step, 0])
                found.append((gaps[step], i, i + 1 + int(step), angle, angle + np.pi))
            for wall in WALLS:
                axis, end = (-1 - wall) % 2, (-1 - wall) // 2
                gap = (centres[i, axis] - end) * (1 - 2 * end) - radii[i]
                if 0 < gap < 6 * self.element_size and 0 < centres[i, 1 - axis] < 1:
                    outward = np.eye(2)[axis] * (2 * end - 1)
                    found.append((gap, i, wall, np.arctan2(outward[1], outward[0]), centres[i, 1 - axis]))
        return sorted(contact for contact in found if self._sees(*contact[:4]))

    def _sees(self, gap: float, i: int, j: int, angle: float) -> bool:
        """Whether no third disk stands in the gap."""
        start, direction = self.position(i, angle), np.array([np.cos(angle), np.sin(angle)])
        along = np.clip((self.disks[:, :2] - start) @ direction, 0, gap)
        distance = np.hypot(*(start + along[:, None] * direction - self.disks[:, :2]).T) - self.disks[:, 2]
        distance[[i, j] if j >= 0 else [i]] = np.inf
        return bool((distance > gap / 4).all())

    def _span_gaps(self) -> None:
        """Blocks across all narrow gaps, and as many others as it takes to hold all disks and walls together."""
        contacts = self._contacts()
        angles: dict[int, list[float]] = defaultdict(list)
        for gap, i, j, here, there in contacts:
            if gap < NEAR * self.element_size:
                angles[i].append(here)
                angles[j].append(there)
        group = {disk: -1 if self._crossings[disk] else disk for disk in range(len(self.disks))} | dict.fromkeys(
            WALLS, -1
        )
        for gap, i, j, here, there in contacts:
            if gap < NEAR * self.element_size or group[i] != group[j]:
                rooms = [self._room(angles[k], angle) for k, angle in ((i, here), (j, there)) if k >= 0]
                if self._block(gap, i, j, here, there, rooms):
                    old, new = group[i], group[j]
                    group = {k: new if g == old else g for k, g in group.items()}
        if len(set(group.values())) > 1:
            raise WavesimError(
                f"disk {max(k for k in group if group[k] != group[-1])} has no neighbour in sight: "
                "use a larger element_size, or another shift of the packing"
            )

    def _block(self, gap: float, i: int, j: int, here: float, there: float, rooms: list[float]) -> bool:
        """The cells across one gap; False if there is no place for them."""
        stations: list[_Station | None] = []
        for t in self._stations(gap, i, j, rooms):
            first = here + np.arcsin(t / self.disks[i, 2])
            start = self.position(i, first)
            second = there - np.arcsin(t / self.disks[j, 2]) if j >= 0 else start[(-j) % 2]
            station = _Station((i, j), (first, second), (start, self.position(j, second)))
            free = self._clear(i, first, start) and self._clear(j, second, station.ends[1])
            stations.append(station if free and not self._crossed(station) else None)
        if j >= 0:
            self._end_at_walls(stations, here, there)
        cells = [k for k, (a, b) in enumerate(pairwise(stations)) if a and b]
        if not cells:
            return False
        used = {k: station for k, station in enumerate(stations) if station and (k in cells or k - 1 in cells)}
        widths = [float(np.hypot(*(station.ends[1] - station.ends[0]))) for station in used.values()]
        across = max(1, round(widths[0] / self.element_size))
        if any(None not in station.vertices for station in used.values()):
            across = 1
        chains: dict[int, list[int]] = {}
        for k, station in used.items():
            self._lines.append(station.ends)
            first, last = (
                self._given(curve, parameter) if vertex is None else vertex
                for curve, parameter, vertex in zip(station.curves, station.parameters, station.vertices, strict=True)
            )
            start, end = station.ends
            chains[k] = [first, *(self.add(start + (end - start) * m / across) for m in range(1, across)), last]
        for k in cells:
            before, after = chains[k], chains[k + 1]
            self._facing[before[0], after[0]] = 1
            self._facing[after[-1], before[-1]] = 1
            if j < 0:
                self._facing[before[-1], after[-1]] = 1
            if k == len(stations) // 2 - 1 and (i, j) in self._bridged:
                self.necks += range(len(self.blocks), len(self.blocks) + len(before) - 1)
                self.fixed |= {*before, *after}
            self.blocks += [(before[m], before[m + 1], after[m + 1], after[m]) for m in range(len(before) - 1)]
        for k, chain in chains.items():
            if None not in used[k].vertices:  # the wall's own edge
                self._facing[chain[0], chain[1]] = self._facing[chain[1], chain[0]] = 1
            elif (k in cells) != (k - 1 in cells):
                side = Run(None, chain[0], chain[-1], 0, 1, len(chain) - 1, True, True, tuple(chain[1:-1]))
                self.runs.append(side)
        return True

    def _crossed(self, station: _Station) -> bool:
        """Whether another station, or a third disk, is in the way."""
        start, end = station.ends
        along = np.clip((self.disks[:, :2] - start) @ (end - start) / ((end - start) @ (end - start)), 0, 1)
        away = np.hypot(*(start + along[:, None] * (end - start) - self.disks[:, :2]).T) - self.disks[:, 2]
        away[[curve for curve in station.curves if curve >= 0]] = np.inf
        return bool((away < ASIDE * self.element_size).any()) or any(_cross(start, end, *line) for line in self._lines)

    def _end_at_walls(self, stations: list[_Station | None], here: float, there: float) -> None:
        """Where a station had no place because a circle meets a wall, the next one begins at that vertex.

        Faced by the vertex of the other circle on the same wall if nothing is between them, else by a new one.
        """
        have = [k for k, station in enumerate(stations) if station]
        for k, beside in ((have[0] - 1, have[0]), (have[-1] + 1, have[-1])) if have else ():
            last = stations[beside]
            if not 0 <= k < len(stations) or last is None:
                continue
            ahead = k - beside
            met = [
                self._ahead(curve, parameter, way)
                for curve, parameter, way in zip(last.curves, last.parameters, (ahead, -ahead), strict=True)
            ]
            if all(met):
                (a, first), (b, second) = (one for one in met if one)
                if self._wall_between(a, b):
                    ends = self.points[a], self.points[b]
                    stations[k] = _Station(last.curves, (first, second), ends, (a, b))
                continue
            for side, one in enumerate(met):
                if not one:
                    continue
                vertex, parameter = one
                straight = (here, there)
                t = self.disks[last.curves[side], 2] * np.sin(turn(parameter - straight[side]))
                other = last.curves[1 - side]
                if abs(t) >= 0.65 * self.disks[other, 2]:
                    continue
                facing = straight[1 - side] - np.arcsin(t / self.disks[other, 2])
                place = self.position(other, facing)
                parts = ((last.curves[side], parameter, self.points[vertex], vertex), (other, facing, place, None))
                curves, parameters, ends, vertices = zip(*(parts if side == 0 else parts[::-1]), strict=True)
                station = _Station(curves, parameters, ends, vertices)
                if self._clear(other, facing, place) and not self._crossed(station):
                    stations[k] = station
                    break

    def _stations(self, gap: float, i: int, j: int, rooms: list[float]) -> list[float]:
        """The distances t."""
        radii = [self.disks[k, 2] for k in (i, j) if k >= 0]
        half = min(self.size[k] if k >= 0 else self.element_size for k in (i, j)) / 2
        farthest = np.inf
        for radius, room in zip(radii, rooms, strict=True):
            half = min(half, radius * np.sin(min(SHARE * room, 0.6)))
            farthest = min(farthest, radius * np.sin(min(1.2 * SHARE * room, 0.65)))
        if (i, j) in self._bridged:
            half = self._bridged[i, j] / 2
        at = [half]
        while at[-1] + 2 * half <= farthest:
            width = gap + sum(radius - np.sqrt(radius**2 - at[-1] ** 2) for radius in radii)
            if width >= TALL * 2 * half:
                break
            at.append(at[-1] + 2 * half)
        return [-t for t in at[::-1]] + at

    def _room(self, angles: list[float], angle: float) -> float:
        """The angle to the nearest other contact on the same circle."""
        return min((away for other in angles if (away := abs(turn(other - angle))) > 1e-9), default=np.pi)

    def _cut_runs(self) -> None:
        for disk in range(len(self.disks)):
            on = sorted(self._on[disk])
            for (start, first), (end, last) in zip(on, [*on[1:], (on[0][0] + 2 * np.pi, on[0][1])], strict=True):
                if _inside(self.position(disk, (start + end) / 2)):
                    self._add_run(disk, first, last, start, end, (end - start) * self.disks[disk, 2] / self.size[disk])
        for wall in WALLS:
            for (start, first), (end, last) in pairwise(sorted(self._on[wall])):
                self._add_run(wall, first, last, start, end, (end - start) / self.element_size)

    def _add_run(self, curve: int, first: int, last: int, start: float, end: float, wanted: float) -> None:
        count = self._facing.get((first, last))
        of_block = count is not None and self.ring_end.get(first) != last and self.ring_end.get(last) != first
        self.runs.append(Run(curve, first, last, start, end, count or wanted, count is not None, of_block))


def _inside(point: np.ndarray) -> bool:
    return bool(((point > 0) & (point < 1)).all())


def _cross(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> bool:
    return bool(twice_area(a, b, c) * twice_area(a, b, d) < 0 and twice_area(c, d, a) * twice_area(c, d, b) < 0)
