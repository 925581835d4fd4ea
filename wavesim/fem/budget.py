"""The energy that a run may have: what it began with, and what its sources can have added (drive.py).

The energy E of the field swings by a few percent about the conserved one when the highest waves that a coarse mesh can
carry are set off; an unstable run multiplies it at every step. Anything in between tells them apart. In a thin
absorbing layer, where f takes part, what is counted rises by up to two thirds before it fades. A constant has no
energy, and what rounding makes of p.Kp then is no growth.
"""

from __future__ import annotations

import numpy as np

from wavesim.errors import WavesimError
from wavesim.fem.drive import Drive

LARGEST_GROWTH = 1.1
WITH_LAYER = 4.0
ROUNDING = 100  # times epsilon p.Mp / h^2


def energy_of_rounding(pressure: np.ndarray, mass: np.ndarray, time_step: float) -> np.ndarray:
    """What rounding of p ([unknowns,] [batch]) can make of its energy; mass: alike, or (unknowns,)."""
    mass = mass if mass.ndim == pressure.ndim else mass[:, None]
    return ROUNDING * np.finfo(pressure.dtype).eps * np.sum(mass * pressure.astype(float) ** 2, axis=0) / time_step**2


class Budget:
    """Of a run, or of each in a batch, from a state with this energy ([batch,]) after so many steps on.

    gram: drive.gram(mass), where there is a drive. rounding: of the energy. layer: whether there is one that absorbs.
    """

    def __init__(
        self,
        energy: np.ndarray | float,
        steps: int,
        drive: Drive | None = None,
        gram: np.ndarray | None = None,
        rounding: np.ndarray | float = 0.0,
        layer: bool = False,
    ) -> None:
        self.root, self.steps, self.drive, self.gram = np.sqrt(np.maximum(energy, 0)), steps, drive, gram
        self.rounding, self.growth = rounding, WITH_LAYER if layer else LARGEST_GROWTH

    def check(self, energy: np.ndarray | float, steps: int, frame: int) -> None:
        """Raises WavesimError where the energy ([batch,]) after so many steps is above it; `frame` is named."""
        if self.drive is not None and self.gram is not None:
            self.root = self.root + self.drive.given(self.gram, self.steps, steps)
        self.steps = steps
        beyond = np.atleast_1d(energy) - np.atleast_1d(self.rounding)
        for one, allowed in zip(beyond, np.atleast_1d(self.root) ** 2, strict=True):
            check_growth(float(one), float(allowed), frame, self.growth)


def check_growth(energy: float, allowed: float, frame: int, growth: float = LARGEST_GROWTH) -> None:
    """Stop an unstable run before it turns into numbers that are none.

    Args:
        allowed: the initial energy, and what sources can have added. growth: over that.
    Raises:
        WavesimError: the energy is more, or not a number.
    """
    if not energy <= growth * allowed:  # also when it is not a number
        raise WavesimError(
            f"the energy at frame {frame} is {energy:.3g}, more than {growth} times the {allowed:.3g} that the "
            "run began with or was given: it is unstable; use a smaller frame_interval, or another degree"
        )
