"""Mirror images of a point in the rectangle [0, Lx] x [0, Ly], one for each path that the sides reflect.

With the reflection coefficients R0, R1 = +1 (rigid), -1 (soft) of the sides at 0 and L, the images of x0 are

    x0 + 2 m L   with sign (R0 R1)^m,        -x0 + 2 m L   with sign R1 (R0 R1)^(m-1),        m = ..., -1, 0, 1, ...

and x0 + m L, all with sign 1, between periodic sides. An open side reflects nothing.
Reference: Morse and Ingard, Theoretical Acoustics (1968), section 9.5.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from wavesim.errors import WavesimError

Sides = tuple[str, str]
REFLECTION = {"rigid": 1, "soft": -1}


def images(
    place: tuple[float, float], x_sides: Sides, y_sides: Sides, lengths: tuple[float, float], reach: float
) -> tuple[np.ndarray, np.ndarray]:
    """(image, 2) places and (image,) signs of all images within `reach` of any point of the rectangle.

    Raises:
        WavesimError: a side that is neither rigid, soft, periodic nor open, or one periodic side without the other.
    """
    along = [_along(*one, reach) for one in zip(place, lengths, (x_sides, y_sides), strict=True)]
    pairs = [((x, y), a * b) for (x, a), (y, b) in product(*along)]
    if not pairs:
        return np.empty((0, 2)), np.empty(0)
    return np.array([p for p, _ in pairs]), np.array([s for _, s in pairs], float)


def _along(place: float, length: float, sides: Sides, reach: float) -> list[tuple[float, int]]:
    """The images along one axis that are within reach of [0, length]."""
    if sides == ("open", "open"):
        return [(place, 1)]
    count = int(np.ceil(reach / length)) + 2
    turns = range(-count, count + 1)
    if sides == ("periodic", "periodic"):
        found = [(place + m * length, 1) for m in turns]
    elif set(sides) <= {"rigid", "soft"}:
        low, high = (REFLECTION[side] for side in sides)
        found = [(place + 2 * m * length, (low * high) ** abs(m)) for m in turns]
        found += [(-place + 2 * m * length, high * (low * high) ** abs(m - 1)) for m in turns]
    elif set(sides) <= {"rigid", "soft", "open"}:  # one wall
        wall, sign = (0.0, REFLECTION[sides[0]]) if sides[1] == "open" else (length, REFLECTION[sides[1]])
        found = [(place, 1), (2 * wall - place, sign)]
    else:
        raise WavesimError(f"sides {sides}: each is rigid, soft or open, or both are periodic")
    return [(x, sign) for x, sign in found if -reach <= x <= length + reach]
