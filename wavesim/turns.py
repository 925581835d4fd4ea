"""Milliseconds of what is done in turns in one process: what else the machine does then meets all of them alike.

Each has TURNS turns of BURST runs; the smallest time counts, the median stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from time import perf_counter
from typing import TypeVar

import numpy as np

from wavesim.surrogate.loops import CompiledForecaster
from wavesim.surrogate.models import Forecaster
from wavesim.surrogate.rollout import Stepper, init, step

TURNS, BURST = 15, 4
Key = TypeVar("Key", bound=Hashable)


def in_turns(
    works: Mapping[Key, tuple[Callable[[], None], int]],
    turns: int = TURNS,
    burst: int = BURST,
    clock: Callable[[], float] | None = None,
) -> dict[Key, tuple[float, float]]:
    """Smallest and median milliseconds of a call of each; a run is so many calls as stand with it, and is timed whole.

    Frames that are forecast together are made by the first of as many calls.

    Args:
        clock: seconds, by default of the wall; those of the processor (time.process_time) where runs on one thread are
            longer than the turns that the machine gives to others.
    """
    clock = clock or perf_counter
    seconds: dict[Key, list[float]] = {key: [] for key in works}
    for _ in range(turns):
        for key, (work, calls) in works.items():
            for _ in range(burst):
                begin = clock()
                for _ in range(calls):
                    work()
                seconds[key].append((clock() - begin) / calls)
    return {key: (1e3 * min(taken), 1e3 * float(np.median(taken))) for key, taken in seconds.items()}


def forecasting(model: Forecaster | Stepper, state: np.ndarray, medium: np.ndarray) -> Callable[[], None]:
    """A forecast from a state (2, y, x) in a medium (2, y, x), one frame further at each call."""
    current = init(model, state, medium)

    def advance() -> None:
        nonlocal current
        current = step(model, current)

    return advance


def forecasting_all(
    model: CompiledForecaster, state: np.ndarray, medium: np.ndarray, frames: int, room: np.ndarray
) -> Callable[[], None]:
    """The same forecast of so many frames at each call, by one call of the compiled loops.

    room: where it is written, as much as it takes, (numbers,) float32; whose turns it is in may share it.
    """
    begin = init(model, state, medium)
    shape = (len(begin.state), frames, *begin.state.shape[1:])
    out = room[: math.prod(shape)].reshape(shape)

    def forecast() -> None:
        model.advance(begin.state, begin.context, out, frames)

    return forecast
