"""Quadrilaterals that fill a polygon whose number of edges, 2 n, is even.

Three ways are tried. Its own vertices can be enough: diagonals cut it into cells, and into stars of cells around a new
point (cut.py); so it is in narrow regions. Or every other vertex makes a coarse polygon of n corners, which is cut by
diagonals (cut.py), or with points inside by Gmsh; each coarse cell with k corners becomes k quadrilaterals around its
centre, which meet at the middles of the coarse edges. The vertices left out are the middles of the rim. What is best is
found by moving the inner vertices of each try for the largest time step (relax.py).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from wavesim.errors import WavesimError, missing_engine
from wavesim.fem.cut import cut_coarse, cut_fine
from wavesim.fem.mesh import twice_area
from wavesim.fem.relax import FIXED, FREE, Relaxation, arc_angles, hardest

STARS = {24: 6, 14: 8, 10: 10}  # vertices of a polygon: edges of the largest star
COARSE = {16: 4, 12: 6}  # corners of a coarse polygon: corners of the largest cell
ROUND = 12  # vertices from which Gmsh is asked for points inside
SIDE = np.deg2rad(140)  # an angle above does not end a side
MINUTES = 10  # after which Gmsh is given up: it needs a second
STRAIGHT = np.deg2rad(158)  # an angle above is not left to one cell, because its two edges may lie on one circle


@dataclass(frozen=True)
class Filling:
    """points: (new, 2), numbered after the rim's; quads: (q, 4); hardest: the largest T."""

    points: np.ndarray
    quads: np.ndarray
    hardest: float


def fill(
    polygons: Sequence[np.ndarray], circle_of: Sequence[np.ndarray], disks: np.ndarray, speeds: np.ndarray, unit: float
) -> list[Filling]:
    """The best filling of each polygon (2 n, 2), counter-clockwise.

    Args:
        circle_of: of each polygon, (2 n,) the disk whose circle a vertex is on, or -1; edges between two vertices of
            one circle are its arcs. disks: (disks, 3) of x, y and radius. speeds: (polygons,) over the largest.
            unit: of length in T, and the size of cells.
    Raises:
        WavesimError: Gmsh is needed and not installed, or a polygon cannot be filled.
    """
    tries: list[tuple[int, np.ndarray, np.ndarray]] = []  # polygon, points (rim first), quads
    arcs = [np.where(on == np.roll(on, -1), on, -1) for on in circle_of]
    for number, (polygon, arc) in enumerate(zip(polygons, arcs, strict=True)):
        tries += [(number, *way) for way in _cuts(polygon, _turns(polygon, arc, disks), unit)]
    tries += _by_gmsh(polygons, [k for k, polygon in enumerate(polygons) if len(polygon) >= ROUND], unit)
    rims = [len(polygons[k]) for k, _, _ in tries]
    offsets = np.cumsum([0] + [len(points) for _, points, _ in tries])
    quads = np.concatenate([quads + offset for (_, _, quads), offset in zip(tries, offsets, strict=False)])
    points = np.concatenate([points for _, points, _ in tries])
    motion, follower, arc = np.full(len(points), FREE), np.full(len(points), -1), np.full(len(points), -1)
    for (number, _, _), rim, offset in zip(tries, rims, offsets, strict=False):
        own = slice(offset, offset + rim)
        motion[own], follower[own], arc[own] = FIXED, offset + np.roll(np.arange(rim), -1), arcs[number]
    along = np.where(np.roll(quads, -1, axis=1) == follower[quads], arc[quads], -1)
    owner = np.repeat(np.arange(len(tries)), [len(quads) for _, _, quads in tries])
    speed = speeds[np.array([k for k, _, _ in tries])[owner]]
    still = Relaxation(points, motion, arc, disks, quads, along, speed, unit, group=owner)
    points = still.run(((1, 25), (2, 15)), untangling=15)
    worst = np.full(len(tries), -np.inf)
    np.maximum.at(worst, owner, hardest(still.slopes, points, speed, unit))
    best: dict[int, Filling] = {}
    for k, (number, _, made) in enumerate(tries):
        if number not in best or worst[k] < best[number].hardest:
            best[number] = Filling(points[offsets[k] + rims[k] : offsets[k + 1]], made, float(worst[k]))
    if bad := [k for k in range(len(polygons)) if k not in best]:
        x, y = polygons[bad[0]].mean(axis=0)
        raise WavesimError(f"no cells fill the region near ({x:.3g}, {y:.3g}): use another element_size or shift")
    return [best[k] for k in range(len(polygons))]


def _turns(polygon: np.ndarray, arcs: np.ndarray, disks: np.ndarray) -> np.ndarray:
    """(2 n,) from each edge to the tangent at its start of the arc outside of which the polygon lies, or 0."""
    after = np.roll(np.arange(len(polygon)), -1)
    return -arc_angles(polygon, np.column_stack([np.arange(len(polygon)), after]), arcs[:, None], disks)[:, 0] / 2


def _cuts(polygon: np.ndarray, turns: np.ndarray, unit: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Points and cells, by diagonals alone."""
    n = len(polygon)
    star, cell = (
        max((size for most, size in sizes.items() if m <= most), default=0)
        for m, sizes in ((n, STARS), (n // 2, COARSE))
    )
    if star:
        cut = cut_fine(polygon / unit, turns, star)
        yield cut.points * unit, cut.quads
        yield from _peeled(polygon / unit, turns, star, unit)
    if n == 4 and _angles(polygon).max() > SIDE:  # a frame of cells: two at each corner
        inner = polygon.mean(axis=0) + (polygon - polygon.mean(axis=0)) / 2
        yield (
            np.vstack([polygon, inner]),
            np.array([*((k, (k + 1) % 4, (k + 1) % 4 + 4, k + 4) for k in range(4)), (4, 5, 6, 7)]),
        )
    for phase in (0, 1) if cell and n > 4 else ():
        cells = cut_coarse(polygon / unit, turns, phase, cell)
        yield _split(polygon, phase, np.roll(polygon, -phase, axis=0)[::2], cells)


def _peeled(polygon: np.ndarray, turns: np.ndarray, star: int, unit: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A row of cells along one side of the polygon, and the best cut of what is left; lengths in units."""
    n = len(polygon)
    angles = _angles(polygon) - turns - np.roll(turns, 1)
    ends = np.flatnonzero(angles < SIDE)
    for first, last in zip(ends, np.roll(ends, -1), strict=True):
        edges = int(last - first) % n or n
        if not 2 <= edges <= n - 2 or n == 4:
            continue
        side = (first + np.arange(edges + 1)) % n
        before, after = int(first - 1) % n, int(last + 1) % n
        share = np.arange(1, edges)[:, None] / edges
        beyond = polygon[before] + share * (polygon[after] - polygon[before])
        if before == after:  # the row begins and ends at one vertex
            beyond = (polygon[side[1:-1]] + beyond) / 2
        points = np.vstack([polygon, beyond])
        row = [before, *range(n, n + edges - 1), after]
        rest = np.array([*row, *((after + 1 + np.arange(n - edges - 3)) % n)] if before != after else row[:-1])
        turned = np.concatenate([np.zeros(edges), turns[rest[edges:]]])
        cut = cut_fine(points[rest], turned, star)
        number = np.concatenate([rest, len(points) + np.arange(len(cut.points) - len(rest))])
        cells = [(side[k], side[k + 1], row[k + 1], row[k]) for k in range(edges)]
        yield np.vstack([points, cut.points[len(rest) :]]) * unit, np.vstack([cells, number[cut.quads]])


def _split(polygon: np.ndarray, phase: int, coarse: np.ndarray, cells: Sequence) -> tuple[np.ndarray, np.ndarray]:
    """Points, those of the polygon first, and the quadrilaterals of coarse cells, whose corners begin with `coarse`."""
    n, half = len(polygon), len(polygon) // 2
    number = [(2 * k + phase) % n for k in range(half)] + [n + k for k in range(len(coarse) - half)]
    points = [*polygon, *coarse[half:]]
    middle = {(k, (k + 1) % half): (2 * k + 1 + phase) % n for k in range(half)}
    quads = []
    for cell in cells:
        sides = []
        for a, b in zip(cell, [*cell[1:], cell[0]], strict=True):
            side = middle.get((a, b), middle.get((b, a)))
            if side is None:
                side = middle[a, b] = len(points)
                points.append((coarse[a] + coarse[b]) / 2)
            sides.append(side)
        centre = len(points)
        points.append(np.mean([points[k] for k in sides], axis=0))
        quads += [(centre, sides[k - 1], number[corner], sides[k]) for k, corner in enumerate(cell)]
    return np.array(points), np.array(quads)


def _by_gmsh(polygons: Sequence[np.ndarray], wanted: list[int], size: float) -> list:
    if not wanted:
        return []
    if find_spec("gmsh") is None:
        raise missing_engine("gmsh", "meshing this packing", "mesh")
    tasks = [(k, phase, np.roll(polygons[k], -phase, axis=0)[::2]) for k in wanted for phase in (0, 1)]
    tasks = [task for task in tasks if not crosses_itself(task[2])]  # Gmsh would split its edges for ever
    if not tasks:
        return []
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "polygons.npz", Path(folder) / "cells.npz"
        lengths, sizes = [len(coarse) for _, _, coarse in tasks], [2 * size] * len(tasks)
        np.savez(source, points=np.concatenate([coarse for _, _, coarse in tasks]), lengths=lengths, sizes=sizes)
        command = [sys.executable, "-m", "wavesim.fem._gmsh", str(source), str(target)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60 * MINUTES)
        except subprocess.TimeoutExpired as error:
            raise WavesimError(f"gmsh did not end in {MINUTES} minutes; use another element_size") from error
        if done.returncode or not target.is_file():
            raise WavesimError(
                f"gmsh could not mesh the packing ({done.stderr.strip()[-200:]}); use another element_size"
            )
        with np.load(target) as found:
            ends, cells, owners = np.cumsum(found["counts"]), found["cells"], found["owners"]
            points = np.split(found["points"], ends[:-1])
    tries = []
    for task, (k, phase, _) in enumerate(tasks):
        mine = [[int(c) for c in cell if c >= 0] for cell in cells[owners == task]]
        if mine:
            straight = np.flatnonzero(np.roll(_angles(polygons[k]), -phase)[::2] > STRAIGHT)
            coarse, mine = _shared(points[task], mine, straight)
            tries.append((k, *_split(polygons[k], phase, coarse, mine)))
    return tries


def crosses_itself(polygon: np.ndarray) -> bool:
    """Whether two edges of a polygon (n, 2) cross: each then has the ends of the other on either side."""
    after = np.roll(polygon, -1, axis=0)
    side = twice_area(polygon[:, None], after[:, None], polygon)  # (edge, vertex)
    cut = side * np.roll(side, -1, axis=1) < 0
    return bool((cut & cut.T).any())


def _shared(points: np.ndarray, cells: list[list[int]], straight: np.ndarray) -> tuple[np.ndarray, list[list[int]]]:
    """Coarse points and cells, none of which holds a corner of `straight` alone: such a cell would be flat or folded.

    It is cut from that corner; a triangle together with its neighbour on the other side. Where this would leave another
    such corner alone, the two are cut around a new point.
    """
    for corner in map(int, straight):
        held = [cell for cell in cells if corner in cell]
        if len(held) > 1:
            continue
        at = held[0].index(corner)
        whole, gone = [*held[0][at:], *held[0][:at]], held
        if len(whole) == 3:
            _, first, last = whole
            beyond = next((c for c in cells if c is not held[0] and {first, last} <= set(c)), None)
            if beyond is None:
                continue
            at = beyond.index(first)
            whole, gone = [corner, *beyond[at:], *beyond[:at]], [held[0], beyond]
        cells = [cell for cell in cells if not any(cell is other for other in gone)]
        left = {k for k in whole[1:] if k in straight and not any(k in cell for cell in cells)}
        if left - {whole[2]}:
            pairs = pairwise([*whole, corner])
            cells += [[a, b, len(points)] for a, b in pairs]
            points = np.vstack([points, points[whole].mean(axis=0)])
        else:
            cells += [whole[:3], [corner, *whole[2:]]]
    return points, cells


def _angles(polygon: np.ndarray) -> np.ndarray:
    after, before = np.roll(polygon, -1, axis=0) - polygon, np.roll(polygon, 1, axis=0) - polygon
    return (np.arctan2(before[:, 1], before[:, 0]) - np.arctan2(after[:, 1], after[:, 0])) % (2 * np.pi)
