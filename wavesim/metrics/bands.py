"""Errors in three bands of the wavenumber: long, middle and short waves.

A field is written in the modes that fit its sides, orthonormal ones, so that squares add up (Parseval): between rigid
walls cosines, even about them (DCT-II), between soft ones sines (DST-II), between one of each quarter waves (DCT-IV,
DST-IV), and Fourier modes where it is periodic. An absorbing side has no modes of its own and counts as rigid. With
k = |(k_x, k_y)| in radians a cell, a band's error is

    sqrt( sum over the band of |f_k - p_k|^2 / sum over all of |p_k|^2 ),

and the squares of the three sum to that of the relative L2.

References: Canuto, Hussaini, Quarteroni, Zang, Spectral Methods (2006), section 2; The Well, benchmark/metrics, which
has three bands as well, between other limits.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

from wavesim.metrics.sides import RIGID, Sides, along

BANDS = ("long", "middle", "short")
# Longer than 24 cells, 24 to 12, and shorter than 12, where an explicit step disperses most. Of the squares of the
# demo's 24 test trajectories (pulses of width 3.2 cells) they hold 0.56, 0.35 and 0.09.
LIMITS = (24.0, 12.0)


def band_squares(field: np.ndarray, sides: Sides = RIGID, limits: tuple[float, float] = LIMITS) -> np.ndarray:
    """The sums of squares in each band, (..., 3), of fields (..., y, x); together the sum over the cells.

    Args:
        limits: wavelengths between the bands, in cells, the longer first.
    """
    modes = np.asarray(field, float)
    numbers = []
    for axis, ends in zip((-2, -1), along(sides), strict=True):
        modes, k = _transform(modes, axis, ends)
        numbers.append(k)
    wavenumber = np.hypot(numbers[0][:, None], numbers[1][None, :])
    band = sum((wavenumber > 2 * np.pi / limit).astype(int) for limit in limits)
    squares = np.abs(modes) ** 2
    return np.stack([np.sum(squares, axis=(-2, -1), where=band == b) for b in range(len(BANDS))], axis=-1)


def _transform(field: np.ndarray, axis: int, ends: tuple[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """The field in orthonormal modes along an axis, and their wavenumbers in radians a cell."""
    cells = field.shape[axis]
    number = np.arange(cells)
    if ends[0] == "periodic":
        return fft.fft(field, axis=axis, norm="ortho"), np.abs(2 * np.pi * fft.fftfreq(cells))
    first, last = (kind == "soft" for kind in ends)
    if first != last:  # quarter waves; of those that are 0 on the left, the mirror image
        mirrored = np.flip(field, axis) if first else field
        return fft.dct(mirrored, 4, axis=axis, norm="ortho"), np.pi * (number + 0.5) / cells
    if not first:
        return fft.dct(field, 2, axis=axis, norm="ortho"), np.pi * number / cells
    # The sine of mode m is, with every other sign changed, the cosine of mode `cells` - m. (SciPy 1.10 scales the wrong
    # one of its own sines.)
    signs = np.moveaxis(np.where(number % 2, -1.0, 1.0)[None, :], -1, axis)
    return fft.dct(signs * field, 2, axis=axis, norm="ortho"), np.pi * (cells - number) / cells


def band_errors(
    forecast: np.ndarray, truth: np.ndarray, sides: Sides = RIGID, limits: tuple[float, float] = LIMITS
) -> np.ndarray:
    """The error in each band over the whole truth, (..., 3), of fields (..., y, x)."""
    truth = np.asarray(truth, float)
    error = band_squares(np.asarray(forecast, float) - truth, sides, limits)
    return np.sqrt(error / np.sum(truth**2, axis=(-2, -1))[..., None])
