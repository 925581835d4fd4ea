"""What sets the waves off: a Gaussian pulse of pressure at rest, and standing modes that have an exact solution.

    pulse   p(x, y, 0) = a exp( -((x - x0)^2 + (y - y0)^2) / (2 width^2) ),   p_t = 0
    mode    p(x, y, t) = cos(m pi x / Lx) cos(n pi y / Ly) cos(omega t),      omega^2 = c^2 pi^2 (m^2/Lx^2 + n^2/Ly^2)

The mode solves the wave equation between rigid walls in a uniform medium of wave speed c. Nondimensional throughout.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wavesim.errors import WavesimError


@dataclass(frozen=True)
class Pulse:
    """A Gaussian of pressure around `center` (x, y); `width` is its standard deviation."""

    center: tuple[float, float]
    width: float
    amplitude: float = 1.0

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Pressure at (x, y), which broadcast."""
        square = (x - self.center[0]) ** 2 + (y - self.center[1]) ** 2
        return self.amplitude * np.exp(-square / (2 * self.width**2))


@dataclass(frozen=True)
class StandingMode:
    """The mode with `numbers` (m, n) half waves along x and y of a rectangle with sides `lengths`."""

    numbers: tuple[int, int]
    lengths: tuple[float, float] = (1.0, 1.0)
    wave_speed: float = 1.0

    @property
    def frequency(self) -> float:
        """omega, in radians per unit of time."""
        return self.wave_speed * np.pi * float(np.hypot(*np.divide(self.numbers, self.lengths)))

    def pressure(self, x: np.ndarray, y: np.ndarray, time: float) -> np.ndarray:
        """p at (x, y), which broadcast."""
        return self._shape(x, y) * np.cos(self.frequency * time)

    def rate(self, x: np.ndarray, y: np.ndarray, time: float) -> np.ndarray:
        """p_t at (x, y)."""
        return -self.frequency * self._shape(x, y) * np.sin(self.frequency * time)

    def _shape(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        m, n = np.pi * np.divide(self.numbers, self.lengths)
        return np.cos(m * x) * np.cos(n * y)


def random_pulse(width: float, generator: np.random.Generator, amplitude: float = 1.0) -> Pulse:
    """A pulse anywhere in the unit square that is at least three widths away from the walls.

    Raises:
        WavesimError: the square has no such place.
    """
    if not 0 < width < 1 / 6:
        raise WavesimError(f"pulse_width {width} leaves no place three widths from the walls; use one below 0.166")
    x, y = generator.uniform(3 * width, 1 - 3 * width, size=2)
    return Pulse((float(x), float(y)), width, amplitude)
