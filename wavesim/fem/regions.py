"""The regions that an outline's runs enclose, and how many edges each run gets.

A region can be filled with quadrilaterals only if an even number of edges is around it. Each run starts from the best
number; along the edges of a spanning tree of the regions, cheapest to change first, numbers are then made one more or
one less where the subtree behind holds an odd number of odd regions. What lies outside of the square takes the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from wavesim.errors import WavesimError
from wavesim.fem.outline import Outline, Run

LONGEST = 1.1  # angle of an edge on a circle: a longer arc leaves no room for cells where it is narrow


@dataclass(frozen=True)
class Region:
    """vertices: around it, counter-clockwise, an even number; owner: the disk whose part it is, or -1; arc: whether
    the edge from each vertex to the next is on the owner's circle."""

    vertices: tuple[int, ...]
    owner: int
    arc: tuple[bool, ...]


def regions(outline: Outline) -> list[Region]:
    """What is left of the square beside the blocks, its rims cut into edges; the outline is given their vertices.

    Raises:
        WavesimError: a region cannot be given an even number of edges.
    """
    faces = _faces(outline)
    counts = _counts(outline, faces)
    inner = []
    for run, count in zip(outline.runs, counts, strict=True):
        if run.curve is None:
            inner.append(run.inner)
        else:
            between = np.linspace(run.start, run.end, count + 1)[1:-1]
            inner.append(tuple(outline.add_on(run.curve, parameter) for parameter in between))
    made = []
    for face in faces:
        if all(outline.runs[half // 2].of_block for half in face):
            continue
        curves = [(outline.runs[half // 2].curve, half % 2 == 0) for half in face]
        owner = max((curve for curve, forwards in curves if curve is not None and forwards), default=-1)
        vertices: list[int] = []
        arc: list[bool] = []
        for half in face:
            run = outline.runs[half // 2]
            line = [run.first, *inner[half // 2], run.last][:: 1 if half % 2 == 0 else -1]
            vertices += line[:-1]
            arc += [run.curve is not None and run.curve >= 0] * (len(line) - 1)
        made.append(Region(tuple(vertices), max(owner, -1), tuple(arc)))
    return made


def _faces(outline: Outline) -> list[list[int]]:
    """The half-edges (run 2 h forwards, 2 h + 1 backwards) around each region, which is on their left."""
    leaving: dict[int, list[tuple[float, int]]] = {}
    for number, run in enumerate(outline.runs):
        first, last = outline.points[run.first], outline.points[run.last]
        if run.curve is not None and run.curve >= 0:
            angles = run.start + np.pi / 2, run.end - np.pi / 2
        else:
            ahead = np.arctan2(*(last - first)[::-1])
            angles = ahead, ahead + np.pi
        for half, (vertex, angle) in enumerate(zip((run.first, run.last), angles, strict=True)):
            leaving.setdefault(vertex, []).append((angle % (2 * np.pi), 2 * number + half))
    following = {}
    for out in leaving.values():
        halves = [half for _, half in sorted(out)]
        for k, half in enumerate(halves):
            following[half ^ 1] = halves[k - 1]
    faces = []
    while following:
        half, after = following.popitem()
        face = [half]
        while after != face[0]:
            face.append(after)
            after = following.pop(after)
        if _area(outline, face) > 0:
            faces.append(face)
    return faces


def _area(outline: Outline, face: list[int]) -> float:
    points = []
    for half in face:
        run = outline.runs[half // 2]
        line = [outline.points[run.first]]
        if run.curve is not None:
            line += [outline.position(run.curve, p) for p in np.linspace(run.start, run.end, 9)[1:-1]]
        line.append(outline.points[run.last])
        points += line[:: 1 if half % 2 == 0 else -1][:-1]
    x, y = np.array(points).T
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum())


def _least(run: Run) -> int:
    return max(1, int(np.ceil((run.end - run.start) / LONGEST)))


def _counts(outline: Outline, faces: list[list[int]]) -> list[int]:
    runs = outline.runs
    least = [1 if run.fixed or run.curve is None or run.curve < 0 else _least(run) for run in runs]
    counts = [max(few, round(run.wanted)) for run, few in zip(runs, least, strict=True)]
    outside = len(faces)
    beside = np.full((len(runs), 2), outside)
    for number, face in enumerate(faces):
        for half in face:
            beside[half // 2, half % 2] = number
    change, cost = [], []
    for run, few, count in zip(runs, least, counts, strict=True):
        ways = [c for c in (count - 1, count + 1) if c >= few]
        costs = {c: abs(np.log(c / run.wanted)) - abs(np.log(count / run.wanted)) for c in ways}
        change.append(min(costs, key=lambda c: costs[c]))
        cost.append(costs[change[-1]] + 1)  # positive, as the sparse matrix needs
    free = [k for k, run in enumerate(runs) if not run.fixed and beside[k, 0] != beside[k, 1]]
    by_pair: dict[tuple[int, int], int] = {}
    for k in sorted(free, key=lambda k: -cost[k]):
        by_pair[int(beside[k].min()), int(beside[k].max())] = k
    pairs = np.array(list(by_pair)).reshape(-1, 2)
    weights = [cost[k] for k in by_pair.values()]
    tree = csgraph.minimum_spanning_tree(sparse.coo_matrix((weights, pairs.T), shape=(outside + 1,) * 2).tocsr())
    order, parent = csgraph.breadth_first_order(tree + tree.T, outside, directed=False)
    odd = [sum(counts[half // 2] for half in face) % 2 for face in faces] + [0]
    if any(odd[face] for face in set(range(outside)) - set(order.tolist())):
        raise WavesimError("a gap between disks cannot be meshed: use another element_size or shift of the packing")
    for face in order[:0:-1]:
        if odd[face]:
            k = by_pair[int(min(face, parent[face])), int(max(face, parent[face]))]
            counts[k] = change[k]
            odd[face], odd[parent[face]] = 0, 1 - odd[parent[face]]
    return counts
