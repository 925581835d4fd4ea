"""Errors of a field, frame by frame.

With truth p and forecast f on equal grid cells:
    relative L2     sqrt( sum (f - p)^2 / sum p^2 )                      the headline
    mass norm       the same, each cell weighted by 1/kappa              plays down stiff grains
    VRMSE           sqrt( mean (f - p)^2 / (var(p) + epsilon) )          The Well, benchmark/metrics
    correlation     Pearson's r over the cells
    rounding        sqrt( sum (ulp(p)^2 / 12) / sum p^2 )                what single precision cannot hold
The time until the correlation falls under 0.9 is the forecast's useful length.

Arrays are (..., y, x); every function reduces the last two axes and keeps the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CELLS = (-2, -1)
WINDOWS = ((1, 1), (6, 12), (13, 30), (31, 100))  # first and last frame, The Well's; the first forecast frame is 1


def relative_l2(forecast: np.ndarray, truth: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Relative L2 error over the cells; `weight` (..., y, x) makes it the mass norm when it is 1/kappa."""
    forecast, truth = np.asarray(forecast, float), np.asarray(truth, float)
    w = 1.0 if weight is None else np.asarray(weight, float)
    return np.sqrt(np.sum(w * (forecast - truth) ** 2, axis=CELLS) / np.sum(w * truth**2, axis=CELLS))


def vrmse(forecast: np.ndarray, truth: np.ndarray, epsilon: float = 1e-7) -> np.ndarray:
    """Root mean square error over the truth's standard deviation."""
    forecast, truth = np.asarray(forecast, float), np.asarray(truth, float)
    return np.sqrt(np.mean((forecast - truth) ** 2, axis=CELLS) / (np.var(truth, axis=CELLS) + epsilon))


def one_crossing(frame_interval: float, frames: int) -> int:
    """The frame, of 1 to `frames`, that is nearest to one crossing: of a wave of speed 1 over a side of 1."""
    return max(1, min(round(1 / frame_interval), frames))


def windowed(curves: np.ndarray, windows: Sequence[tuple[int, int]] = WINDOWS) -> dict[str, np.ndarray]:
    """Means of curves (..., time) over windows of frames, by name: "1", "6-12", ...

    A window in which the curves end is the shorter for it, and named so; one after their end is left out.
    """
    frames = np.shape(curves)[-1]
    shown = [(first, min(last, frames)) for first, last in windows if first <= frames]
    return {
        str(first) if first == last else f"{first}-{last}": np.mean(np.asarray(curves)[..., first - 1 : last], axis=-1)
        for first, last in shown
    }


def rounding(truth: np.ndarray) -> np.ndarray:
    """Relative L2 of what is lost where numbers are rounded to single precision: evenly spread over half an ulp."""
    truth = np.asarray(truth)
    ulp = np.spacing(np.abs(truth).astype(np.float32)).astype(float)
    return np.sqrt(np.sum(ulp**2 / 12, axis=CELLS) / np.sum(truth.astype(float) ** 2, axis=CELLS))


def correlation(forecast: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Pearson's correlation over the cells; 0 where either field is constant or not finite."""
    (f, f_norm), (p, p_norm) = _centred(forecast), _centred(truth)
    norm = f_norm * p_norm
    return np.divide(np.sum(f * p, axis=CELLS), norm, out=np.zeros_like(norm), where=norm > 0)


def _centred(field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The field less its mean, and the norm of that; both 0 where it is constant to rounding or not finite."""
    field = np.asarray(field, float)
    field = np.where(np.isfinite(field).all(axis=CELLS, keepdims=True), field, 0.0)
    centred = field - np.mean(field, axis=CELLS, keepdims=True)
    # The mean of equal numbers is off by an ulp or so: what is left of a constant field must not pass for a signal.
    rounding = 1e-14 * np.max(np.abs(field), axis=CELLS, keepdims=True)
    centred = np.where(np.max(np.abs(centred), axis=CELLS, keepdims=True) > rounding, centred, 0.0)
    return centred, np.sqrt(np.sum(centred * centred, axis=CELLS))


def correlation_time(correlations: np.ndarray, frame_interval: float, threshold: float = 0.9) -> np.ndarray:
    """Time of the last frame before the correlation first falls under `threshold`.

    Args:
        correlations: (..., time), frame 0 being the first forecast frame, one interval after the initial state.
    Returns:
        (...) in units of the frame interval's time; the whole length where it never falls.
    """
    below = ~(np.asarray(correlations) >= threshold)  # so that not-a-number counts as fallen
    first = np.where(below.any(axis=-1), below.argmax(axis=-1), below.shape[-1])
    return first * frame_interval
