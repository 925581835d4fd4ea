"""Shapes of pulses.

    Gaussian   f = A e^(-s^2/2),      Ricker   f = A (1 - s^2) e^(-s^2/2),      s = (z - center) / width
    F(k) = integral of f(z) e^(-ikz) dz,                   entire in k
    f+(z) = (1/pi) integral_0^inf of F(k) e^(ikz) dk,      f = Re f+ on the real axis; regular above it

The analytic signal f+ of the Gaussian is the Faddeeva function w(s / sqrt 2), and w' = -2 z w + 2i / sqrt(pi).
A Ricker wavelet of peak frequency f0 has the width 1 / (sqrt(2) pi f0).
Reference: Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 7.1.3 and 7.1.20.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import wofz

Function = Callable[[np.ndarray], np.ndarray]

# Beyond 9 widths a Gaussian is below 3e-18 of its peak, beyond 9.5 / width its transform (Ricker: 3e-18) as well.
WIDTHS, WAVENUMBERS = 9.0, 9.5


@dataclass(frozen=True)
class Profile:
    """f and f' as functions of a real argument; f is zero outside of [first, last], to 1e-17 of its largest value.

    transform: F(k), negligible for |k| > largest_wavenumber. analytic, analytic_slope: f+ and its derivative. Only the
    round inclusion needs the transform, and only total reflection the analytic signal.
    """

    value: Function
    slope: Function
    first: float = -np.inf
    last: float = np.inf
    transform: Function | None = None
    largest_wavenumber: float = np.inf
    analytic: Function | None = None
    analytic_slope: Function | None = None


def gaussian(width: float, center: float = 0.0, amplitude: float = 1.0) -> Profile:
    """A e^(-s^2/2)."""

    def value(z: np.ndarray) -> np.ndarray:
        return amplitude * np.exp(-(((z - center) / width) ** 2) / 2)

    def transform(k: np.ndarray) -> np.ndarray:
        return amplitude * width * np.sqrt(2 * np.pi) * np.exp(-((k * width) ** 2) / 2 - 1j * k * center)

    def faddeeva(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        z = (z - center) / (width * np.sqrt(2))
        w = wofz(z)
        return w, -2 * z * w + 2j / np.sqrt(np.pi)

    return Profile(
        value,
        lambda z: -(z - center) / width**2 * value(z),
        center - WIDTHS * width,
        center + WIDTHS * width,
        transform,
        WAVENUMBERS / width,
        lambda z: amplitude * faddeeva(z)[0],
        lambda z: amplitude * faddeeva(z)[1] / (width * np.sqrt(2)),
    )


def ricker(width: float, center: float = 0.0, amplitude: float = 1.0) -> Profile:
    """A (1 - s^2) e^(-s^2/2): minus the second derivative of the Gaussian, times width^2."""
    bell = gaussian(width, center, amplitude)
    assert bell.transform is not None

    def signal(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        z = (z - center) / (width * np.sqrt(2))
        w = wofz(z)
        first = -2 * z * w + 2j / np.sqrt(np.pi)
        return w + z * first, 2 * first - 2 * z * (w + z * first)

    def slope(z: np.ndarray) -> np.ndarray:
        s = (z - center) / width
        return (s**3 - 3 * s) / width * bell.value(z)

    transform = bell.transform
    return Profile(
        lambda z: (1 - ((z - center) / width) ** 2) * bell.value(z),
        slope,
        bell.first,
        bell.last,
        lambda k: (k * width) ** 2 * transform(k),
        bell.largest_wavenumber,
        lambda z: amplitude * signal(z)[0],
        lambda z: amplitude * signal(z)[1] / (width * np.sqrt(2)),
    )
