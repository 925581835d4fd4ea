"""What the exact solution has and a forecast may lack: superposition, scaling, reciprocity. No truth is needed.

F maps an initial state (p, dt p_t) to the states of later frames, in one medium. The exact one is linear:

    superposition    |F(u1 + u2) - F(u1) - F(u2)| / |F(u1 + u2)|
    homogeneity      |F(a u) - a F(u)| / |F(a u)|

Reciprocity: (1/kappa) p_tt = -K p, with K = -div( (1/rho) grad ) symmetric, and from rest p(t) = cos(t sqrt(A)) p(0),
A = kappa K. A is self-adjoint in <f, g> = sum over cells of f g / kappa, because <f, A g> = sum of f K g, and so is
each function of it. Hence what g hears of f is what f hears of g:

    r_fg(t) = <g, p(t) from f> = r_gf(t)
    reciprocity      sqrt( 2 sum (r_fg - r_gf)^2 / sum (r_fg^2 + r_gf^2) ),    sums over time

The ear has to be weighted by 1/kappa: a unit of pressure in a stiff grain is less of a source. It holds between rigid,
soft and periodic sides, and between absorbing ones where f and g stay away from their layers.

Reference: Strutt (Lord Rayleigh), The Theory of Sound, volume 2 (1878), section 294.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from wavesim.errors import WavesimError

# From an initial state (2, y, x) to the states (time, 2, y, x) of the frames after it.
Forecast = Callable[[np.ndarray], np.ndarray]


def superposition_defect(forecast: Forecast, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(time,) of two initial states (2, y, x)."""
    together = forecast(first + second)
    return _defect(together, forecast(first).astype(float) + forecast(second))


def homogeneity_defect(forecast: Forecast, state: np.ndarray, factor: float = 3.0) -> np.ndarray:
    """(time,) of an initial state (2, y, x). A power of two would cost no rounding, and not be a test of it."""
    return _defect(forecast(np.asarray(factor * state, state.dtype)), factor * forecast(state).astype(float))


def _defect(whole: np.ndarray, parts: np.ndarray) -> np.ndarray:
    def norm(values: np.ndarray) -> np.ndarray:
        return np.sqrt(np.sum(np.asarray(values, float) ** 2, axis=(1, 2, 3)))

    return norm(whole - parts) / norm(whole)


def reciprocity_defect(forecast: Forecast, bulk_modulus: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    """The defect above of two initial pressures (y, x), released from rest, that hear each other.

    Raises:
        WavesimError: one pressure given twice, which is 0 for every step.
    """
    if np.array_equal(one, other):
        raise WavesimError("reciprocity of a pulse with itself says nothing: give two pulses in different places")
    heard = [
        np.sum(ear / bulk_modulus * forecast(np.stack([pressure, np.zeros_like(pressure)]))[:, 0], axis=(-2, -1))
        for pressure, ear in ((one, other), (other, one))
    ]
    a, b = np.asarray(heard, float)
    return float(np.sqrt(np.sum((a - b) ** 2) / (np.sum(a**2 + b**2) / 2)))


def bump(grid: tuple[int, int], place: tuple[float, float], width: float = 3.0) -> np.ndarray:
    """(y, x) float32 exp(-d^2 / (2 width^2)), d in cells from a place (x, y) in shares of the sides."""
    height, cells = grid
    y = np.arange(height)[:, None] + 0.5 - place[1] * height
    x = np.arange(cells)[None, :] + 0.5 - place[0] * cells
    return np.exp(-(x**2 + y**2) / (2 * width**2)).astype(np.float32)
