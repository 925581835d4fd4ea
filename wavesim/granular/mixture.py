"""What a packing is made of: two species of disks (or spheres), mixed by area (volume).

With X_S the concentration of the small ones and delta their diameter over that of the large ones, the numbers are in
    N_S / N_L = X_S / ((1 - X_S) delta^D)

Units: the large diameter is 1, also where all particles are small.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import numpy as np

from wavesim.errors import WavesimError
from wavesim.granular.packing import LARGE, SHORTEST_BOX, SMALL, ball_volume

BYTES = {
    2: 6_000,
    3: 40_000,
}  # a particle at the least: of 20,000 disks and of 4000 spheres, for factors of the Hessian


@dataclass(frozen=True)
class Mixture:
    """particles: in all; size_ratio: small over large diameter; small_fraction: area (volume) concentration X_S of the
    small ones, 0 and 1 for one species alone, None for as many small as large; dim: 2 or 3.

    Raises:
        WavesimError: values out of range, a species without a particle, too few particles for a periodic box, or more
            than fit in memory.
    """

    particles: int
    size_ratio: float
    small_fraction: float | None = None
    dim: int = 2

    def __post_init__(self) -> None:
        if self.dim not in (2, 3):
            raise WavesimError(f"dim {self.dim} is neither 2 (disks) nor 3 (spheres)")
        if self.particles < 2:
            raise WavesimError(f"{self.particles} particles are no mixture: give at least 16, better 64")
        if self.particles * BYTES[self.dim] > memory():
            raise WavesimError(
                f"{self.particles} particles take at least {self.particles * BYTES[self.dim] / 1e9:.3g} GB, and this "
                f"machine has {memory() / 1e9:.3g} GB: use at most {int(memory() / BYTES[self.dim])}"
            )
        if not 0 < self.size_ratio <= 1:
            raise WavesimError(f"size_ratio {self.size_ratio} is not in (0, 1]: it is small over large diameter")
        if self.small_fraction is not None and not 0 <= self.small_fraction <= 1:
            raise WavesimError(f"small_fraction {self.small_fraction} is not between 0 and 1")
        if self.small_fraction not in (0, 1) and not 0 < self.small < self.particles:
            species = "small" if self.small == 0 else "large"
            raise WavesimError(
                f"small_fraction {self.small_fraction} at size ratio {self.size_ratio:.4g} leaves {self.particles} "
                f"particles without a {species} one: use more particles, or more of the {species} species"
            )
        side = self.side(1.0) / (2 * self.radii().max())
        if side < SHORTEST_BOX:
            needed = math.ceil(self.particles * (SHORTEST_BOX / side) ** self.dim)
            raise WavesimError(
                f"{self.particles} particles at size ratio {self.size_ratio:.4g} fill a box of {side:.3g} large "
                f"diameters, and periodic images need {SHORTEST_BOX:g}: use at least {needed} particles"
            )

    @property
    def small(self) -> int:
        """The number of small particles that comes nearest to the concentration."""
        if self.small_fraction is None:
            return self.particles // 2
        if self.small_fraction == 1:
            return self.particles
        ratio = self.small_fraction / ((1 - self.small_fraction) * self.size_ratio**self.dim)
        return round(self.particles * ratio / (1 + ratio))

    def species(self) -> np.ndarray:
        """(N,) the small ones first."""
        return np.where(np.arange(self.particles) < self.small, SMALL, LARGE)

    def radii(self) -> np.ndarray:
        """(N,) in the large diameter."""
        return np.where(self.species() == SMALL, self.size_ratio / 2, 0.5)

    def side(self, phi: float) -> float:
        """Side of the box that they fill to the packing fraction `phi`."""
        return float((ball_volume(self.dim) * np.sum(self.radii() ** self.dim) / phi) ** (1 / self.dim))


def memory() -> float:
    """Bytes of this machine's memory; infinite where it does not tell."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return math.inf
