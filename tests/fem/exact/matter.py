"""One material, and how places and times broadcast.

c = sqrt(kappa / rho),      Z = rho c = sqrt(kappa rho)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Fields = tuple[np.ndarray, np.ndarray]


class Matter(NamedTuple):
    """Bulk modulus kappa and density rho, nondimensional; the background by default."""

    bulk_modulus: float = 1.0
    density: float = 1.0

    @property
    def wave_speed(self) -> float:
        """c."""
        return float(np.sqrt(self.bulk_modulus / self.density))

    @property
    def impedance(self) -> float:
        """Z."""
        return float(np.sqrt(self.bulk_modulus * self.density))


BACKGROUND = Matter()


def spread(x: np.ndarray, y: np.ndarray, t: np.ndarray | float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x and y of their common shape S, and t as () or (time, 1, ..., 1), so that formulas in them broadcast."""
    x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
    t = np.asarray(t, float)
    return x, y, t.reshape(t.shape + (1,) * x.ndim) if t.ndim else t
