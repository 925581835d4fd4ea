"""Sources in time steps: what they add to an increment.

Sources a(t) = M^-1 b(t) = G f(t) add to a step h, by the series of stepper.py (with a_tt from differences of f),

    h^2 a (order 2)   or   h^2 (a - B a / 12 + (a+ - 2 a + a-) / 12) (order 4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse


@dataclass(frozen=True)
class Force:
    """A source's acceleration a(t) = G f(t). shape: G (unknowns, signals); signal: f(time), (signals[, batch])."""

    shape: sparse.csr_matrix | np.ndarray
    signal: Callable[[float], np.ndarray]


@dataclass(frozen=True)
class Drive:
    """A force in steps h: increment h^2 (a - B a / 12 + (a+ - 2 a + a-) / 12) and lead h^2 a_t / 6, to the order."""

    signal: Callable[[float], Any]
    level: sparse.csr_matrix | np.ndarray
    curve: sparse.csr_matrix | np.ndarray | None
    time_step: float

    def increment(self, steps: int) -> Any:
        """What the sources add at a step, (unknowns[, batch])."""
        now = self.signal(steps * self.time_step)
        if self.curve is None:
            return self.level @ now
        after, before = (self.signal((steps + k) * self.time_step) for k in (1, -1))
        return self.level @ now + self.curve @ (after - 2 * now + before)

    def lead(self, steps: int) -> Any:
        """What the centred difference is ahead of p_t by the sources, times the time step."""
        if self.curve is None:
            return 0.0
        after, before = (self.signal((steps + k) * self.time_step) for k in (1, -1))
        return self.curve @ (after - before)


def drive(force: Force, product: Callable[[Any], Any], h: float, order: int, dtype: type) -> Drive:
    """A force in steps h; product: B times the matrix (unknowns, signals)."""
    level, curve = force.shape * h**2, None
    if order == 4:
        level, curve = level - product(level) / 12, (level / 12).astype(dtype)
    return Drive(lambda time: np.asarray(force.signal(time), dtype), level.astype(dtype), curve, h)
