"""The best ways to cut a polygon into quadrilaterals, by dynamic programming over its diagonals.

A part with corners i < .. < j stands on its base (i, j); what lies behind its other sides is cut in the best way that
is known already: with the cost of a part w and V(i, i + 1) = 0,

    V(i, j) = min over parts (i, a, .., j) of  w(i, a, .., j) + V(i, a) + .. + V(.., j).

The cost is the sum over the part's quadrilaterals and their corners of T^2 (relax.py), with new points in the middle.
Edges along arcs count with their tangents, so that no cell is left with two edges on one circle or wall.

Reference: Klincsek, Annals of Discrete Math. 9 (1980) 121-123.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import cast

import numpy as np

from wavesim.fem.relax import corners

SOFT = 0.05  # of an area, below which a cell counts as nearly flat


@dataclass(frozen=True)
class Cut:
    """points: (n, 2), those of the polygon first; quads: (q, 4); cost: V of the whole."""

    points: np.ndarray
    quads: np.ndarray
    cost: float


def cut_fine(polygon: np.ndarray, turns: np.ndarray, largest: int) -> Cut:
    """Along diagonals between any of its vertices, into cells and stars of 6 to `largest` edges around a new point.

    Args:
        polygon: (2 n, 2), counter-clockwise, in element sizes. turns: (2 n,) from each edge to its
            tangent at its start.
    """
    n = len(polygon)
    parts: list[tuple[int, ...]] = []
    costs: list[float] = []
    stars: list[int] = []
    for k in range(4, min(largest, n) + 1, 2):
        chosen = _alternating(n, k)
        edges = np.where(np.roll(chosen, -1, axis=1) == (chosen + 1) % n, turns[chosen], 0.0)
        if k == 4:
            ways = [(_cost(polygon[chosen], edges), np.zeros(len(chosen), int))]
        else:
            centre = polygon[chosen].mean(axis=1)
            ways = [(_star(polygon[chosen], edges, centre, phase), np.full(len(chosen), phase)) for phase in (0, 1)]
        cost = np.stack([one for one, _ in ways])
        best = cost.argmin(axis=0)
        parts += map(tuple, cast("list[list[int]]", chosen.tolist()))
        costs += cost.min(axis=0).tolist()
        stars += best.tolist()
    used, total = _optimum(n, parts, np.array(costs))
    points, quads = list(polygon), []
    for number in used:
        part = list(parts[number])
        if len(part) == 4:
            quads.append(part)
            continue
        corner = part[stars[number] :: 2]
        middle = part[1 - stars[number] :: 2]
        if stars[number]:
            middle = [*middle[1:], middle[0]]
        quads += [[len(points), middle[m - 1], corner[m], middle[m]] for m in range(len(corner))]
        points.append(polygon[part].mean(axis=0))
    return Cut(np.array(points), np.array(quads), total)


def cut_coarse(polygon: np.ndarray, turns: np.ndarray, phase: int, largest: int) -> list[list[int]]:
    """Parts, of 3 to `largest` corners, of the polygon of every other vertex; diagonals get a point in the middle.

    Returns the parts' corners, numbered in the coarse polygon, whose first one is vertex `phase`.
    """
    rolled, turned = np.roll(polygon, -phase, axis=0), np.roll(turns, -phase)
    coarse, n = rolled[::2], len(polygon) // 2
    parts: list[tuple[int, ...]] = []
    costs: list[float] = []
    for k in range(3, min(largest, n) + 1):
        chosen = np.array(list(combinations(range(n), k)))
        after = np.roll(chosen, -1, axis=1)
        on_rim = after == (chosen + 1) % n
        middle = np.where(on_rim[..., None], rolled[2 * chosen + 1], (coarse[chosen] + coarse[after]) / 2)
        around = np.stack([coarse[chosen], middle], axis=2).reshape(len(chosen), 2 * k, 2)
        edges = np.stack([turned[2 * chosen], turned[2 * chosen + 1]], axis=2) * on_rim[..., None]
        parts += map(tuple, cast("list[list[int]]", chosen.tolist()))
        costs += list(_star(around, edges.reshape(len(chosen), -1), middle.mean(axis=1), 0))
    used, _ = _optimum(n, parts, np.array(costs))
    return [list(parts[k]) for k in used]


def _alternating(n: int, k: int) -> np.ndarray:
    """(ways, k) all k of n vertices in turn whose numbers are even and odd in turn."""
    # 2 c_m + m and 2 c_m + m + 1 with c_0 <= c_1 <= .. have that property.
    found = []
    for first in (0, 1):
        most = (n - 1 - first - (k - 1)) // 2
        if most >= 0:
            chosen = np.array(list(combinations(range(most + k), k))) - np.arange(k)
            found.append(2 * chosen + np.arange(k) + first)
    return np.concatenate(found)


def _star(around: np.ndarray, edges: np.ndarray, centre: np.ndarray, phase: int) -> np.ndarray:
    """(parts,) the cost of stars; around: (parts, 2 k, 2), of which the even ones are corners at phase 0."""
    k = around.shape[1] // 2
    total = np.zeros(len(around))
    for m in range(phase, 2 * k, 2):
        quad = np.stack([centre, around[:, m - 1], around[:, m], around[:, (m + 1) % (2 * k)]], axis=1)
        zero = np.zeros(len(around))
        total += _cost(quad, np.stack([zero, edges[:, m - 1], edges[:, m], zero], axis=1))
    return total


def _cost(quads: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """(q,) sums of T^2; turns: (q, 4) of each edge at its start, and the other way at its end."""
    cross, mean = corners(quads, np.stack([turns, -np.roll(turns, 1, axis=1)]))
    area = (cross + np.sqrt(cross**2 + 4 * SOFT**2)) / 2
    return ((mean / area**2) ** 2).sum(axis=1)


def _optimum(n: int, parts: list[tuple[int, ...]], costs: np.ndarray) -> tuple[list[int], float]:
    """Which parts make the best cut of a polygon of n corners, and its V."""
    at: dict[tuple[int, int], list[int]] = {}
    for number, part in enumerate(parts):
        at.setdefault((part[0], part[-1]), []).append(number)
    value = np.full((n, n), np.inf)
    value[np.arange(n - 1), np.arange(1, n)] = 0.0
    best = np.zeros((n, n), int)
    for base in sorted(at, key=lambda ends: ends[1] - ends[0]):
        numbers = at[base]
        total = [costs[k] + sum(value[a, b] for a, b in zip(parts[k], parts[k][1:], strict=False)) for k in numbers]
        best[base] = numbers[int(np.argmin(total))]
        value[base] = min(total)
    used, left = [], [(0, n - 1)]
    while left:
        number = int(best[left.pop()])
        used.append(number)
        left += [(a, b) for a, b in zip(parts[number], parts[number][1:], strict=False) if b - a > 1]
    return used, float(value[0, n - 1])
