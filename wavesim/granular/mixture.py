"""What a packing is made of: two species of disks (or spheres), mixed by area (volume).

With X_S the concentration of the small ones and delta their diameter over that of the large ones, the numbers are in
    N_S / N_L = X_S / ((1 - X_S) delta^D)

Units: the large diameter is 1, also where all particles are small.
"""

from __future__ import annotations

import math
import os
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

from wavesim.errors import WavesimError
from wavesim.granular.packing import LARGE, SHORTEST_BOX, SMALL, ball_volume

# Of the factors of the Hessian, most of what a packing takes: bytes a particle of a thousand, and the power of the
# number with which they grow. Measured of 300 to 8000 spheres (6.2 to 61 kB); 20,000 disks have 6 kB.
BYTES, GROWTH = {2: 3_600, 3: 13_000}, {2: 0.17, 3: 0.7}
SMALLEST = 0.1  # size ratio; nothing smaller was tried
LEAST = 8  # particles of a species that is there at all: rounding to whole ones then changes it by a sixteenth at most
MOST = 10**15  # particles, that are looked through for enough


class TooFewError(WavesimError):
    """Particles; `enough` would do."""

    def __init__(self, why: str, enough: int, besides: str = ""):
        super().__init__(f"{why}: use at least {enough} particles{besides}")
        self.enough = enough


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
        self.require_memory()
        if not SMALLEST <= self.size_ratio <= 1:
            raise WavesimError(
                f"size_ratio {self.size_ratio:g} is not in [{SMALLEST}, 1]: it is small over large diameter"
            )
        if self.small_fraction is not None and not 0 <= self.small_fraction <= 1:
            raise WavesimError(f"small_fraction {self.small_fraction} is not between 0 and 1")
        species, few = min((("small", self.small), ("large", self.particles - self.small)), key=lambda one: one[1])
        if self.small_fraction not in (0, 1) and few < LEAST:
            if self.small_fraction is None:
                raise TooFewError(
                    f"{self.particles} particles, half of them small, are too few, {LEAST} of each species keep near "
                    "to X_S", self._enough(),
                )  # fmt: skip
            left = f"with {few} {species} one{'s' * (few > 1)}" if few else f"without a {species} one"
            raise TooFewError(
                f"small_fraction {self.small_fraction} at size ratio {self.size_ratio:.4g} leaves {self.particles} "
                f"particles {left}, and at least {LEAST} keep near to X_S", self._enough(),
                f", or more of the {species} species",
            )  # fmt: skip
        if not self._holds(self.particles):
            side = self.side(1.0) / (2 * self.radii().max())
            raise TooFewError(
                f"{self.particles} particles at size ratio {self.size_ratio:.4g} fill a box of {side:.3g} large "
                f"diameters, and periodic images need {SHORTEST_BOX:g}", self._enough(),
            )  # fmt: skip

    @property
    def small(self) -> int:
        """The number of small particles that comes nearest to the concentration."""
        return self._small(self.particles)

    @property
    def concentration(self) -> float:
        """X_S, as it was asked for; where as many small as large ones were, the one that they make."""
        if self.small_fraction is not None:
            return self.small_fraction
        areas = self.radii() ** self.dim
        return float(areas[: self.small].sum() / areas.sum())

    def require_memory(self, workers: int = 1) -> None:
        """Raises WavesimError where as many packings of it as there are workers do not fit in this machine's memory."""
        thousand, power = workers * 1000 * BYTES[self.dim], 1 + GROWTH[self.dim]
        needed = thousand * (self.particles / 1000) ** power
        if needed > memory():
            sizes = (f"{round(size / 1e9, 1):,.10g} GB" for size in (needed, memory()))
            fewer = f", or fewer workers than {workers}" if workers > 1 else ""
            raise WavesimError(
                f"{self.particles} particles take about {next(sizes)}, and this machine has {next(sizes)}: use at most "
                f"{int(1000 * (memory() / thousand) ** (1 / power))}{fewer}"
            )

    def species(self) -> np.ndarray:
        """(N,) the small ones first."""
        return np.where(np.arange(self.particles) < self.small, SMALL, LARGE)

    def radii(self) -> np.ndarray:
        """(N,) in the large diameter."""
        return np.where(self.species() == SMALL, self.size_ratio / 2, 0.5)

    def side(self, phi: float) -> float:
        """Side of the box that they fill to the packing fraction `phi`."""
        return float((ball_volume(self.dim) * np.sum(self.radii() ** self.dim) / phi) ** (1 / self.dim))

    def _small(self, particles: int) -> int:
        """The number of small ones among so many particles."""
        if self.small_fraction is None:
            return particles // 2
        if self.small_fraction == 1:
            return particles
        ratio = self.small_fraction / ((1 - self.small_fraction) * self.size_ratio**self.dim)
        return round(particles * ratio / (1 + ratio))

    def _holds(self, particles: int) -> bool:
        """Whether so many fill a box that is long enough, with enough of each species; if so, then more do."""
        small = self._small(particles)
        if self.small_fraction not in (0, 1) and min(small, particles - small) < LEAST:
            return False
        largest = 1.0 if small < particles else self.size_ratio
        volume = ball_volume(self.dim) * (small * self.size_ratio**self.dim + particles - small) / 2**self.dim
        return float(volume ** (1 / self.dim)) >= SHORTEST_BOX * largest

    def _enough(self) -> int:
        """The least number of particles of which there is such a mixture."""
        return bisect_left(range(MOST), True, key=self._holds)


def memory() -> float:
    """Bytes of this machine's memory; infinite where it does not tell."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return math.inf
