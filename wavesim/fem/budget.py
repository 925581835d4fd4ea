"""The energy that a run may have: what it began with, and what its sources can have added (drive.py).

The energy E of the field swings by a few percent about the conserved one when the highest waves that a coarse mesh can
carry are set off; an unstable run multiplies it at every step. Anything in between tells them apart.
"""

from __future__ import annotations

import numpy as np

from wavesim.errors import WavesimError
from wavesim.fem.drive import Drive

LARGEST_GROWTH = 1.1


class Budget:
    """Of a run, or of each in a batch, from a state with this energy ([batch,]) after so many steps on.

    gram: drive.gram(mass), where there is a drive.
    """

    def __init__(
        self, energy: np.ndarray | float, steps: int, drive: Drive | None = None, gram: np.ndarray | None = None
    ) -> None:
        self.root, self.steps, self.drive, self.gram = np.sqrt(energy), steps, drive, gram

    def check(self, energy: np.ndarray | float, steps: int, frame: int) -> None:
        """Raises WavesimError where the energy ([batch,]) after so many steps is above it; `frame` is named."""
        if self.drive is not None and self.gram is not None:
            self.root = self.root + self.drive.given(self.gram, self.steps, steps)
        self.steps = steps
        for one, allowed in zip(np.atleast_1d(energy), np.atleast_1d(self.root) ** 2, strict=True):
            check_growth(float(one), float(allowed), frame)


def check_growth(energy: float, allowed: float, frame: int) -> None:
    """Stop an unstable run before it turns into numbers that are none.

    Args:
        allowed: the initial energy, and what sources can have added.
    Raises:
        WavesimError: the energy is more than 10 % above that, or not a number.
    """
    if not energy <= LARGEST_GROWTH * allowed:  # also when it is not a number
        raise WavesimError(
            f"the energy at frame {frame} is {energy:.3g}, more than {LARGEST_GROWTH} times the {allowed:.3g} that the "
            "run began with or was given: it is unstable; use a smaller frame_interval, or another degree"
        )
