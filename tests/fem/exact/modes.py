"""Standing modes of rectangles, and a plane wave that travels through a periodic one, in uniform matter.

    mode    p = A cos(kx x - ax) cos(ky y - ay) cos(omega t - b)       wave   p = A cos(kx x + ky y - omega t - b)
    omega = c sqrt(kx^2 + ky^2)

With the number m of an axis of length L and the sides at 0 and L:
    rigid, rigid   k = m pi / L, a = 0               soft, soft   k = m pi / L, a = pi/2
    rigid, soft    k = (m - 1/2) pi / L, a = 0       soft, rigid  k = (m - 1/2) pi / L, a = pi/2
    periodic       k = 2 m pi / L, any a
Reference: Morse and Ingard, Theoretical Acoustics (1968), section 9.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wavesim.errors import WavesimError

from .images import Sides
from .matter import BACKGROUND, Fields, Matter, spread

RIGID: Sides = ("rigid", "rigid")
SOFT: Sides = ("soft", "soft")
PERIODIC: Sides = ("periodic", "periodic")


def half_waves(sides: Sides, number: int) -> tuple[float, bool]:
    """k L / pi, and whether the shape is a sine: the rule above.

    Raises:
        WavesimError: sides that are not in the table, or a number whose mode is zero everywhere.
    """
    table = {RIGID: (0, 0.0), SOFT: (1, 0.0), ("rigid", "soft"): (1, 0.5), ("soft", "rigid"): (1, 0.5)}
    if sides == PERIODIC:
        return 2.0 * number, False
    if sides not in table or number < table[sides][0]:
        raise WavesimError(f"no mode number {number} between sides {sides}; see the table in exact/modes.py")
    return number - table[sides][1], sides[0] == "soft"


@dataclass(frozen=True)
class Mode:
    """The standing mode with `numbers` along x and y. phases: (ax, ay) of periodic axes, and b."""

    numbers: tuple[int, int]
    x_sides: Sides = RIGID
    y_sides: Sides = RIGID
    lengths: tuple[float, float] = (1.0, 1.0)
    matter: Matter = BACKGROUND
    amplitude: float = 1.0
    phases: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def wavenumbers(self) -> tuple[float, float]:
        """(kx, ky)."""
        (m, _), (n, _) = half_waves(self.x_sides, self.numbers[0]), half_waves(self.y_sides, self.numbers[1])
        return m * np.pi / self.lengths[0], n * np.pi / self.lengths[1]

    @property
    def frequency(self) -> float:
        """omega, in radians per unit of time."""
        return self.matter.wave_speed * float(np.hypot(*self.wavenumbers))

    def fields(self, x: np.ndarray, y: np.ndarray, t: np.ndarray | float) -> Fields:
        """(p, p_t)."""
        x, y, t = spread(x, y, t)
        shape = self.amplitude * np.ones(x.shape)
        for place, k, sides, number, phase in zip(
            (x, y), self.wavenumbers, (self.x_sides, self.y_sides), self.numbers, self.phases[:2], strict=True
        ):
            sine = half_waves(sides, number)[1]
            shape = shape * (np.sin(k * place) if sine else np.cos(k * place - (phase if sides == PERIODIC else 0)))
        angle = self.frequency * t - self.phases[2]
        return shape * np.cos(angle), -self.frequency * shape * np.sin(angle)


@dataclass(frozen=True)
class PlaneWave:
    """The travelling wave with `numbers` whole waves along the periodic x and y; negative ones travel back."""

    numbers: tuple[int, int]
    lengths: tuple[float, float] = (1.0, 1.0)
    matter: Matter = BACKGROUND
    amplitude: float = 1.0
    phase: float = 0.0

    @property
    def wavenumbers(self) -> tuple[float, float]:
        """(kx, ky)."""
        m, n = self.numbers
        return 2 * np.pi * m / self.lengths[0], 2 * np.pi * n / self.lengths[1]

    @property
    def frequency(self) -> float:
        """omega, in radians per unit of time."""
        return self.matter.wave_speed * float(np.hypot(*self.wavenumbers))

    def fields(self, x: np.ndarray, y: np.ndarray, t: np.ndarray | float) -> Fields:
        """(p, p_t)."""
        x, y, t = spread(x, y, t)
        kx, ky = self.wavenumbers
        angle = kx * x + ky * y - self.frequency * t - self.phase
        return self.amplitude * np.cos(angle), self.amplitude * self.frequency * np.sin(angle)
