"""Sources in time steps: what they add to an increment.

Sources a(t) = M^-1 b(t) = G f(t) add to a step h, by the series of stepper.py (with a_tt from differences of f),

    h^2 a (order 2)   or   h^2 (a - B a / 12 + (a+ - 2 a + a-) / 12) (order 4).

The energy E of the field changes by E' = (p_t, a)_M <= sqrt(2 E) |a|_M, so that sources add to sqrt(E) at most the
integral of |a|_M / sqrt(2): a run with more than that is unstable.
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

    def gram(self, mass: np.ndarray) -> np.ndarray:
        """(signals, signals) of the products (., .)_M of h^2 G; mass: (unknowns[, batch]), the largest of a batch."""
        largest = mass if mass.ndim == 1 else mass.max(axis=1)
        level = sparse.csr_matrix(self.level, dtype=float)
        return (level.T @ sparse.diags(largest) @ level).toarray()

    def given(self, gram: np.ndarray, first: int, last: int) -> Any:
        """What the sources can add to sqrt(E) from one step to another, ([batch,])."""
        total: Any = 0.0
        for k in range(first, last + 1):
            now = np.asarray(self.signal(k * self.time_step), float)
            total = total + np.sqrt(np.maximum(np.sum(now * (gram @ now), axis=0), 0.0))
        return total / (np.sqrt(2) * self.time_step)


def drive(force: Force, product: Callable[[Any], Any], h: float, order: int, dtype: type) -> Drive:
    """A force in steps h; product: B times the matrix (unknowns, signals)."""
    level, curve = force.shape * h**2, None
    if order == 4:
        level, curve = level - product(level) / 12, (level / 12).astype(dtype)
    return Drive(lambda time: np.asarray(force.signal(time), dtype), level.astype(dtype), curve, h)
