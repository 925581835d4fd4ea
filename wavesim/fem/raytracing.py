"""Rays: where waves much shorter than everything else go, and where they meet.

    dx/dt = c^2 k,     dk/dt = -grad(c) / c,     |k| = 1/c,

with the slowness k along the ray. Fermat: rays of one front meet at one time, so that a focus is the mean place of them
at the time when they are nearest to each other.

Reference: Cerveny, Seismic Ray Theory (2001), section 3.1.
"""

from __future__ import annotations

import numpy as np

from wavesim.fem.medium import Medium

STEP = 1e-5  # of the differences that give grad c, in domain sides


def rays(medium: Medium, places: np.ndarray, angle: float, times: np.ndarray) -> np.ndarray:
    """(times, ray, 2) of the rays that leave places (ray, 2) at times[0], all at an angle to the x axis (radians).

    times: ascending, one step of a Runge-Kutta method of order 4 each. They are not bent back by walls.
    """

    def speed(at: np.ndarray) -> np.ndarray:
        return np.sqrt(medium.bulk_modulus(at[..., 0], at[..., 1]) / medium.density(at[..., 0], at[..., 1]))

    def rate(state: np.ndarray) -> np.ndarray:
        at, slowness = state
        beside = at + STEP * np.array([[[1, 0]], [[-1, 0]], [[0, 1]], [[0, -1]]])
        right, left, above, below = speed(beside)
        here = speed(at)[:, None]
        slope = np.column_stack([right - left, above - below]) / (2 * STEP)
        return np.stack([here**2 * slowness, -slope / here])

    at = np.asarray(places, float)
    state = np.stack([at, np.array([np.cos(angle), np.sin(angle)]) / speed(at)[:, None]])
    paths = [state[0]]
    for step in np.diff(times):
        one = rate(state)
        two = rate(state + step / 2 * one)
        three = rate(state + step / 2 * two)
        four = rate(state + step * three)
        state = state + step / 6 * (one + 2 * two + 2 * three + four)
        paths.append(state[0])
    return np.array(paths)


def focus(paths: np.ndarray) -> tuple[int, np.ndarray]:
    """The number of the time at which rays (times, ray, 2) are nearest to each other, and their mean place (2,)."""
    when = int(np.argmin(paths.var(axis=1).sum(axis=1)))
    return when, paths[when].mean(axis=0)
