"""The rectangle that waves are wanted in, and the absorbing layers beyond its sides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Extent:
    """The rectangle from low to high, x first; margins: widths of the layers beyond its left, right, bottom and top."""

    low: tuple[float, float]
    high: tuple[float, float]
    margins: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    @property
    def lengths(self) -> tuple[float, float]:
        """(Lx, Ly) of the rectangle."""
        return self.high[0] - self.low[0], self.high[1] - self.low[1]

    def depths(self, points: np.ndarray) -> np.ndarray:
        """(4, points) how far points (points, 2) lie beyond the left, right, bottom and top side, negative inside."""
        x, y = np.asarray(points).T
        return np.stack([self.low[0] - x, x - self.high[0], self.low[1] - y, y - self.high[1]])

    def beyond(self, points: np.ndarray) -> np.ndarray:
        """(points,) whether each of points (points, 2) lies outside of the rectangle."""
        return np.asarray((self.depths(points) > 0).any(axis=0))
