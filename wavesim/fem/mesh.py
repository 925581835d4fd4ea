"""A mesh of straight-sided quadrilaterals or triangles in the plane, with a tag on each cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mesh:
    """points: (points, 2), x first; cells: (cells, 4 or 3) numbers of corners, counter-clockwise; tags: (cells,)."""

    points: np.ndarray
    cells: np.ndarray
    tags: np.ndarray
