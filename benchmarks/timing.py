"""Rates of what is done in turns, in seconds of the processor: others may use the machine."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

Turn = tuple[float, Callable[[], object]]  # how much work, and what does it


def timed(turns: dict[str, Turn], rounds: int) -> dict[str, np.ndarray]:
    """Rates (rounds,) of each, taken in turns."""
    rates: dict[str, list[float]] = {name: [] for name in turns}
    for k in range(rounds + 1):
        for name, (work, run) in turns.items():
            begin = time.process_time()
            run()
            if k:  # the first round warms up
                rates[name].append(work / (time.process_time() - begin))
    return {name: np.array(values) for name, values in rates.items()}
