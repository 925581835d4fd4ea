"""What a mesh and an assembly may be asked for: whole numbers, positive ones, and the degrees and orders there are."""

from __future__ import annotations

import math
import numbers
from typing import Any

from wavesim.errors import WavesimError

DEGREES = range(1, 10)  # datasets go to 8, and are verified one degree higher
ORDERS = (2, 4)


def require_whole(name: str, value: Any, least: int = 1) -> None:
    """Raises WavesimError unless `value` is a whole number of `least` or more."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise WavesimError(f"{name} {value!r} must be a whole number, {least} or more")


def require_degree(degree: Any) -> None:
    """Raises WavesimError unless elements can have the degree."""
    require_whole("degree", degree)
    if degree not in DEGREES:
        raise WavesimError(f"degree {degree} is not one of {DEGREES[0]} to {DEGREES[-1]}; use more elements instead")


def require_positive(name: str, *values: float) -> None:
    """Raises WavesimError unless all values are positive and finite."""
    for value in values:
        if not 0 < value < math.inf:
            raise WavesimError(f"{name} {value} must be positive and finite")


def require_times(interval: float, steps: int | None, order: int) -> None:
    """Raises WavesimError unless frames can be an interval apart, in so many steps of the order."""
    require_positive("frame interval", interval)
    if steps is not None:
        require_whole("steps", steps)
    if order not in ORDERS:
        raise WavesimError(f"order {order} of the time steps is not one of 2, leapfrog, and 4, modified equation")
