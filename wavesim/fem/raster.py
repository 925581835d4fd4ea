"""Disks on a mesh that does not follow them: each element point has the averages over a square about it.

With s the share of grain in the square, <.> the average over it and n the normal of the nearest circle,

    1/kappa -> <1/kappa>,        1/rho -> n n^T / <rho> + (1 - n n^T) <1/rho>:

along n the layers' inertias act one after the other, along the tangent side by side.

Reference: Moczo et al., Bull. Seismol. Soc. Am. 92 (2002) 3042-3066; Muir et al., Geophysics 57 (1992) 1189-1193.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PARTS = 8  # points a side of a square


@dataclass(frozen=True, eq=False)
class Raster:
    """disks: (disks, 3) of x, y and radius (window.seen); bulk_modulus, density: inside of them, 1 outside; width: of
    the squares, nondimensional: the mean distance of an element's nodes, its size over its degree."""

    disks: np.ndarray
    bulk_modulus: float
    density: float
    width: float

    def evaluate(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """kappa (places,) and the tensor 1/rho (2, 2, places) at places (places, 2)."""
        distance, nearest = self._distance(places)
        share = (distance < 0).astype(float)
        near = np.flatnonzero(np.abs(distance) < self.width / np.sqrt(2))
        line = ((np.arange(PARTS) + 0.5) / PARTS - 0.5) * self.width
        offsets = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
        inside = np.concatenate(
            [self._distance((places[part, None] + offsets).reshape(-1, 2))[0] < 0 for part in np.array_split(near, 16)]
        )
        share[near] = inside.reshape(-1, PARTS**2).mean(axis=1)
        normal = (places - self.disks[nearest, :2]).T
        normal = normal / np.maximum(np.hypot(*normal), 1e-300)
        across = 1 / (1 - share + share * self.density)
        along = 1 - share + share / self.density
        outer = normal[:, None] * normal[None]
        tensor = outer * across + (np.eye(2)[..., None] - outer) * along
        return 1 / (1 - share + share / self.bulk_modulus), tensor

    def _distance(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(places,) from the nearest circle, negative inside of it, and the number of that one."""
        best, nearest = np.full(len(places), np.inf), np.zeros(len(places), int)
        for number, (x, y, radius) in enumerate(self.disks):
            distance = np.hypot(places[:, 0] - x, places[:, 1] - y) - radius
            closer = distance < best
            best[closer], nearest[closer] = distance[closer], number
        return best, nearest
