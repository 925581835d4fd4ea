"""Media that change from place to place as a function says: by wave speed, by moduli, and the Luneburg lens.

    c = sqrt(kappa / rho),     kappa = rho c^2

The Luneburg lens of radius R has the refractive index n = 1/c = sqrt(2 - (r/R)^2), at its rim that of the background:
it gathers parallel rays at the point of the rim that lies opposite, all at one time.

Reference: Luneburg, Mathematical Theory of Optics (1964).
"""

from __future__ import annotations

import numpy as np

from wavesim.fem.arguments import require_positive
from wavesim.fem.media.fields import checked
from wavesim.fem.medium import Field, Medium


def graded(wave_speed: Field | float, density: Field | float = 1.0) -> Medium:
    """The medium with this wave speed and density: numbers, functions of (x, y), or an `image` or `picture`.

    All is nondimensional. A function is given x and y that broadcast; its values must broadcast to their common shape.

    Raises:
        WavesimError: a number that is not positive. The medium raises where a function's value is not positive.
    """
    speed, mass = checked("wave_speed", wave_speed), checked("density", density)
    return Medium(lambda x, y: mass(x, y) * speed(x, y) ** 2, mass)


def from_modulus(bulk_modulus: Field | float, density: Field | float = 1.0) -> Medium:
    """The medium with this bulk modulus and density, given as to `graded`.

    Raises:
        WavesimError: as `graded`.
    """
    return Medium(checked("bulk_modulus", bulk_modulus), checked("density", density))


def luneburg(center: tuple[float, float] = (0.5, 0.5), radius: float = 0.25) -> Medium:
    """A Luneburg lens in the background kappa = rho = 1; its density is that of the background.

    Raises:
        WavesimError: a radius that is not positive.
    """
    square = luneburg_index_squared(center, radius)
    return from_modulus(lambda x, y: 1 / square(x, y))


def luneburg_index_squared(center: tuple[float, float], radius: float) -> Field:
    """n^2 of a Luneburg lens at (x, y), for a lens of any matter with the wave speed 1/n; 1 outside of it.

    Raises:
        WavesimError: a radius that is not positive.
    """
    require_positive("radius of a lens", radius)

    def index_squared(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        square = ((x - center[0]) ** 2 + (y - center[1]) ** 2) / radius**2
        return 2 - np.minimum(square, 1)

    return index_squared
