"""Perfect lattices of equal particles of diameter 1, whose pressure and bulk modulus are closed forms."""

from __future__ import annotations

import numpy as np

from wavesim.granular import Packing
from wavesim.granular.packing import LARGE


def triangular(spacing: float, columns: int = 6, rows: int = 6) -> Packing:
    """Disks, six contacts each where `spacing` is below 1; `rows` must be even."""
    i, j = np.meshgrid(np.arange(columns), np.arange(rows), indexing="ij")
    positions = np.stack([i + 0.5 * (j % 2), j * np.sqrt(3) / 2], axis=-1).reshape(-1, 2) * spacing
    return equal(positions, np.array([columns, rows * np.sqrt(3) / 2]) * spacing)


def square(spacing: float, side: int = 6) -> Packing:
    """Disks, four contacts each where `spacing` is below 1: balanced, but rows slide and buckle under load."""
    i, j = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    return equal(np.stack([i, j], axis=-1).reshape(-1, 2) * spacing, np.full(2, side * spacing))


def face_centred_cubic(spacing: float, cells: int = 3) -> Packing:
    """Spheres, twelve contacts each where `spacing`, the distance of neighbours, is below 1."""
    basis = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
    corners = np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    side = np.sqrt(2) * spacing
    return equal((corners + basis).reshape(-1, 3) * side, np.full(3, cells * side))


def equal(positions: np.ndarray, box: np.ndarray) -> Packing:
    count = len(positions)
    return Packing(positions, np.full(count, 0.5), np.full(count, LARGE), box)
