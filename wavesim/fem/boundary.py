"""What happens at the sides of a rectangle: which nodes are unknowns.

    rigid      dp/dn = 0, a wall that does not move       does so by itself: the weak form's natural condition
    soft       p = 0, a surface free of pressure          its nodes are no unknowns
    periodic   what leaves at one side enters opposite    a node and its image are one unknown
    absorbing  nothing comes back                         a layer of more elements (absorbing.py), a rigid wall behind

All four are one matrix P (nodes, unknowns) of zeros and ones, with p = P u: then K becomes P^T K P, M the diagonal of
P^T M P, and the symmetry, the energy and the stability limit of the scheme stay what they were.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import get_args

import numpy as np
from scipy import sparse

from wavesim.config import Side
from wavesim.errors import WavesimError


@dataclass(frozen=True)
class Sides:
    """What each side of the rectangle is; opposite sides are periodic together.

    Raises:
        WavesimError: an unknown kind of side, or one that is periodic without its opposite.
    """

    left: Side = "rigid"
    right: Side = "rigid"
    bottom: Side = "rigid"
    top: Side = "rigid"

    def __post_init__(self) -> None:
        for kind in astuple(self):
            if kind not in get_args(Side):
                raise WavesimError(f"unknown side '{kind}'; allowed: {', '.join(get_args(Side))}")
        for one, other in (("left", "right"), ("bottom", "top")):
            if (getattr(self, one) == "periodic") != (getattr(self, other) == "periodic"):
                raise WavesimError(
                    f"{one} '{getattr(self, one)}', {other} '{getattr(self, other)}': both or none are periodic"
                )

    @classmethod
    def all(cls, kind: Side) -> Sides:
        """Four sides of one kind."""
        return cls(kind, kind, kind, kind)

    def margins(self, elements: int) -> tuple[int, int, int, int]:
        """`elements` beyond each absorbing side, none beyond the others."""
        left, right, bottom, top = (elements if kind == "absorbing" else 0 for kind in astuple(self))
        return left, right, bottom, top


def unknowns(points: np.ndarray, sides: Sides) -> sparse.csr_matrix:
    """P (nodes, unknowns) of the nodes at points (nodes, 2) of a rectangle, unknowns in the order of their first node.

    Raises:
        WavesimError: nodes of two periodic sides that do not face each other.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    slack = 1e-9 * (high - low).max()
    at = {
        "left": points[:, 0] < low[0] + slack,
        "right": points[:, 0] > high[0] - slack,
        "bottom": points[:, 1] < low[1] + slack,
        "top": points[:, 1] > high[1] - slack,
    }
    owner = np.arange(len(points))
    for along, one, other in ((1, "left", "right"), (0, "bottom", "top")):
        if getattr(sides, one) == "periodic":
            here, there = (np.flatnonzero(at[name]) for name in (one, other))
            here, there = (side[np.argsort(points[side, along])] for side in (here, there))
            if here.size != there.size or np.abs(points[here, along] - points[there, along]).max() > slack:
                raise WavesimError(
                    f"the nodes of the periodic sides {one} and {other}, {here.size} and {there.size}, do not face "
                    "each other: use a mesh with the same vertices on both, or other sides"
                )
            owner[there] = owner[here]
    owner = owner[owner]  # the last corner is the image of an image
    free = np.ones(len(points), bool)
    for name, nodes in at.items():
        if getattr(sides, name) == "soft":
            free[nodes] = False
    free &= free[owner]
    kept, number = np.unique(owner[free], return_inverse=True)
    rows = np.flatnonzero(free)
    return sparse.csr_matrix((np.ones(rows.size), (rows, number)), shape=(len(points), kept.size))


def require_waves(prolongation: sparse.csr_matrix) -> sparse.csr_matrix:
    """P itself. Raises WavesimError where it leaves fewer than two unknowns."""
    if prolongation.shape[1] < 2:
        raise WavesimError(
            f"the sides leave {prolongation.shape[1]} unknowns of {prolongation.shape[0]} nodes, and a wave takes two: "
            "use more elements, a higher degree or other sides"
        )
    return prolongation


def first_nodes(prolongation: sparse.csr_matrix) -> np.ndarray:
    """(unknowns,) the first node of each unknown."""
    return np.asarray(prolongation.tocsc().indices[prolongation.tocsc().indptr[:-1]])


def numbers(prolongation: sparse.csr_matrix) -> np.ndarray:
    """(nodes,) the unknown that each node is, -1 where it is none."""
    found = np.full(prolongation.shape[0], -1)
    rows = np.flatnonzero(np.diff(prolongation.indptr))
    found[rows] = prolongation.indices[prolongation.indptr[rows]]
    return found
