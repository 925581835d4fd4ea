"""Quadrilaterals that fill a polygon whose number of edges, 2 n, is even.

Every other vertex makes a coarse polygon of n corners. It is cut into coarse cells, by all ways that diagonals allow
where n <= 6, by Gmsh where n is more; and each coarse cell with k corners becomes k quadrilaterals around its centre,
which meet at the middles of the coarse edges. The vertices left out are the middles of the rim. What is best is found
by moving the inner vertices of each try for the largest time step (relax.py).
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
from wavesim.fem.relax import FIXED, FREE, Relaxation, hardest

DISSECTED = 6  # corners of the largest coarse polygon that is cut in all ways
STRAIGHT = np.deg2rad(158)  # an angle above is not left to one cell, because its two edges may lie on one circle


@dataclass(frozen=True)
class Filling:
    """points: (new, 2), numbered after the rim's; quads: (q, 4); hardest: the largest T."""

    points: np.ndarray
    quads: np.ndarray
    hardest: float


def fill(polygons: Sequence[np.ndarray], speeds: np.ndarray, sizes: np.ndarray, unit: float) -> list[Filling]:
    """The best filling of each polygon (2 n, 2), counter-clockwise.

    Args:
        speeds: (polygons,) wave speeds over the largest. sizes: (polygons,) of cells. unit: of length in T.
    Raises:
        WavesimError: Gmsh is needed and not installed, or a polygon cannot be filled.
    """
    tries: list[tuple[int, np.ndarray, np.ndarray]] = []  # polygon, points (rim first), quads
    for number, polygon in enumerate(polygons):
        if len(polygon) == 4:
            tries.append((number, polygon, np.arange(4)[None]))
        elif len(polygon) <= 2 * DISSECTED:
            angles = _angles(polygon)
            for phase in (0, 1):
                coarse = np.roll(np.arange(len(polygon)), -phase)[::2]
                for cells in dissections(len(coarse)):
                    alone = np.bincount(np.concatenate(cells), minlength=len(coarse)) == 1
                    # Around the middle of a disk few cells do; narrow regions with long arcs need the others.
                    few = len(cells) <= 2 or len(coarse) < DISSECTED or angles.max() > STRAIGHT
                    if few and (angles[coarse[alone]] < STRAIGHT).all():
                        tries.append((number, *_split(polygon, phase, polygon[coarse], cells)))
    tries += _by_gmsh(polygons, {k for k in range(len(polygons))} - {k for k, _, _ in tries}, sizes)
    offsets = np.cumsum([0] + [len(points) for _, points, _ in tries])
    motion = np.concatenate([np.where(np.arange(len(p)) < len(polygons[k]), FIXED, FREE) for k, p, _ in tries])
    quads = np.concatenate([quads + offset for (_, _, quads), offset in zip(tries, offsets[:-1], strict=True)])
    owner = np.repeat(np.arange(len(tries)), [len(quads) for _, _, quads in tries])
    speed = speeds[np.array([k for k, _, _ in tries])[owner]]
    points = np.concatenate([points for _, points, _ in tries])
    still = Relaxation(points, motion, np.zeros((len(points), 3)), quads, speed, unit, group=owner)
    points = still.run(((1, 25), (2, 15)), untangling=15)
    worst = np.full(len(tries), -np.inf)
    np.maximum.at(worst, owner, hardest(points, quads, speed, unit))
    best: dict[int, Filling] = {}
    for k, (number, _, made) in enumerate(tries):
        if number not in best or worst[k] < best[number].hardest:
            new = points[offsets[k] + len(polygons[number]) : offsets[k + 1]]
            best[number] = Filling(new, made, float(worst[k]))
    if bad := [k for k in range(len(polygons)) if k not in best]:
        x, y = polygons[bad[0]].mean(axis=0)
        raise WavesimError(f"no cells fill the region near ({x:.3g}, {y:.3g}): use another element_size or shift")
    return [best[k] for k in range(len(polygons))]


def dissections(n: int) -> Iterator[list[list[int]]]:
    """All ways to cut a polygon of n corners along diagonals that do not cross, as lists of cells."""

    def parts(chain: list[int]) -> Iterator[list[list[int]]]:
        # The cell at the edge from the chain's last corner to its first, and what lies behind its other sides.
        if len(chain) == 2:
            yield []
            return
        for cell in cells(chain):
            ways: list[list[list[int]]] = [[cell]]
            for a, b in pairwise(cell):
                behind = list(parts(chain[chain.index(a) : chain.index(b) + 1]))
                ways = [way + more for way in ways for more in behind]
            yield from ways

    def cells(chain: list[int]) -> Iterator[list[int]]:
        middle = chain[1:-1]
        for bits in range(1, 1 << len(middle)):
            yield [chain[0], *(corner for k, corner in enumerate(middle) if bits >> k & 1), chain[-1]]

    yield from parts(list(range(n)))


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


def _by_gmsh(polygons: Sequence[np.ndarray], wanted: set[int], sizes: np.ndarray) -> list:
    if not wanted:
        return []
    if find_spec("gmsh") is None:
        raise missing_engine("gmsh", "meshing this packing", "mesh")
    tasks = [(k, phase, np.roll(polygons[k], -phase, axis=0)[::2]) for k in sorted(wanted) for phase in (0, 1)]
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "polygons.npz", Path(folder) / "cells.npz"
        lengths, size = [len(coarse) for _, _, coarse in tasks], [2 * sizes[k] for k, _, _ in tasks]
        np.savez(source, points=np.concatenate([coarse for _, _, coarse in tasks]), lengths=lengths, sizes=size)
        command = [sys.executable, "-m", "wavesim.fem._gmsh", str(source), str(target)]
        done = subprocess.run(command, capture_output=True, text=True)
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
            tries.append((k, *_split(polygons[k], phase, points[task], mine)))
    return tries


def _angles(polygon: np.ndarray) -> np.ndarray:
    after, before = np.roll(polygon, -1, axis=0) - polygon, np.roll(polygon, 1, axis=0) - polygon
    return (np.arctan2(before[:, 1], before[:, 0]) - np.arctan2(after[:, 1], after[:, 0])) % (2 * np.pi)
