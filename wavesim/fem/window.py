"""The disks that the unit square sees of a periodic packing, and what its walls do to them.

A wall that only grazes a disk would leave slivers on one of its sides. With d the distance of a disk's centre from a
wall, positive inside of the square, and r its radius, the rule is

    d <= -(1 - CAP) r             left out: less than a cap of height CAP r would stick in
    (1 - CAP) r < d < r + gap     shrunk to r = d - gap: it stands clear of the wall
    in between                    cut by the wall: a rigid one is a mirror, beyond an absorbing one they go straight on

with gap = 2 (1 / radius_scale - 1) r, what touching disks of that size have between them. A disk that two walls cut
holds their corner, CAP r inside, and 2 CAP r of both; otherwise it is shrunk to stand clear of the wall that it cuts
less deeply. What is left of less than half its radius is left out. Shrunk is only the image at the wall, and disks
never grow: they overlap nowhere if they did not before.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from wavesim.errors import WavesimError

CAP = 0.35
SMALLEST = 0.5


def seen(positions: np.ndarray, radii: np.ndarray, radius_scale: float = 0.95) -> np.ndarray:
    """(disks, 3) of x, y and radius: what the unit square sees, the images of one grain one after the other.

    Args:
        positions: (grain, 2) centres, x first, in the periodic unit square. radii: (grain,). radius_scale: multiplies
            the radii; below 1 it opens gaps where grains touch.
    Raises:
        WavesimError: shapes that do not fit, values out of range.
    """
    positions, radii = np.asarray(positions, float), np.asarray(radii, float)
    if positions.ndim != 2 or positions.shape != (radii.size, 2) or not len(radii):
        raise WavesimError(f"positions {positions.shape} and radii {radii.shape} should be (grains, 2) and (grains,)")
    if not (np.isfinite(positions).all() and (radii > 0).all() and (radii < 0.5).all()):
        raise WavesimError("positions must be finite, and radii between 0 and half of the square's side")
    if not 0 < radius_scale <= 1:
        raise WavesimError(f"radius_scale {radius_scale} must be above 0 and at most 1; use 0.94 to 0.97")
    disks = []
    for position, radius in zip(positions % 1.0, radii * radius_scale, strict=True):
        for shift in product((-1, 0, 1), repeat=2):
            centre = position + shift
            fitted = _fitted(centre, radius, 2 * (1 / radius_scale - 1))
            if fitted is not None:
                disks.append((*centre, fitted))
    return np.array(disks).reshape(-1, 3)


def _fitted(centre: np.ndarray, radius: float, gap: float) -> float | None:
    """The radius of a disk by the rule above, or None where it is left out."""
    full = radius
    inward = np.concatenate([centre, 1 - centre])  # from x = 0, y = 0, x = 1, y = 1
    clear = True
    while clear:
        clear = False
        if radius < SMALLEST * full or (inward <= -(1 - CAP) * radius).any():
            return None
        grazed = inward[(inward > (1 - CAP) * radius) & (inward < (1 + gap) * radius * (1 - 1e-12))]
        cut = np.sort(inward[np.abs(inward) < (1 - CAP) * radius])
        if len(grazed):
            radius, clear = grazed.min() / (1 + gap), True
        elif len(cut) > 1 and not _holds_corner(cut, radius):
            if cut[1] <= 0:
                return None
            radius, clear = cut[1] / (1 + gap), True
    return radius


def _holds_corner(inward: np.ndarray, radius: float) -> bool:
    """Whether a disk that two walls cut holds their corner well inside, and enough of both walls."""
    along = inward[::-1] + np.sqrt(radius**2 - inward**2)
    return bool(np.hypot(*inward) < (1 - CAP) * radius and along.min() > 2 * CAP * radius)
