"""What receivers hear: the traces of a field at a few places, and how late those of a forecast arrive.

With a and b the traces of forecast and truth, each without its own mean over time, the lag is where

    c(l) = sum over n of a(n + l) b(n)

is largest, to a fraction of a frame by the parabola through the largest value and its two neighbours. It is positive
where the forecast is late.

Reference: Dahlen, Hung, Nolet, Geophys. J. Int. 141, 157 (2000): arrival times by cross-correlation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Shares of the sides, off the lines where low modes vanish and off each other's mirror images.
PLACES = ((0.2, 0.3), (0.7, 0.2), (0.45, 0.55), (0.25, 0.8), (0.8, 0.7))


def traces(field: np.ndarray, places: Sequence[tuple[float, float]] = PLACES) -> np.ndarray:
    """The values (..., receiver) of fields (..., y, x) in the cells at places (x, y), in shares of the sides."""
    height, width = np.shape(field)[-2:]
    x, y = np.array(places, float).T
    rows = np.clip(np.floor(y * height).astype(int), 0, height - 1)
    columns = np.clip(np.floor(x * width).astype(int), 0, width - 1)
    return np.asarray(field)[..., rows, columns]


def without_mean(trace: np.ndarray) -> np.ndarray:
    """Traces (..., time) less their own means over time, in double precision."""
    trace = np.asarray(trace, float)
    return trace - np.mean(trace, axis=-1, keepdims=True)


def arrival_lag(forecast: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The lag above in frames, (...), of traces (..., time); not a number where one of the two does not change."""
    a, b = without_mean(forecast), without_mean(truth)
    frames = a.shape[-1]
    spectrum = np.fft.rfft(a, 2 * frames) * np.conj(np.fft.rfft(b, 2 * frames))
    products = np.roll(np.fft.irfft(spectrum, 2 * frames), frames, axis=-1)  # entry l + frames is c(l)
    best = np.clip(np.argmax(products, axis=-1), 1, 2 * frames - 2)
    before, at, after = (np.take_along_axis(products, best[..., None] + step, axis=-1)[..., 0] for step in (-1, 0, 1))
    bend = before - 2 * at + after
    fraction = np.divide(before - after, 2 * bend, out=np.zeros_like(bend), where=bend < 0)
    heard = (np.ptp(a, axis=-1) > 0) & (np.ptp(b, axis=-1) > 0)
    return np.where(heard, best - frames + fraction, np.nan)
