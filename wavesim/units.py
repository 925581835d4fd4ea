"""From the project's nondimensional numbers to SI and back.

    length = L,  wave_speed = c = sqrt(K / rho),  time = L / c,  frequency = c / L

with three scales: the domain's side L [m], the background's density rho [kg/m^3] and bulk modulus K [Pa]. In these
units the background has wave speed 1 and is crossed in time 1. The wave equation is linear, so the pressure's scale
is free: `amplitude` [Pa] is whatever a pressure of 1 is to mean.

Example: water (K = 2.25e9 Pa, rho = 1000 kg/m^3, c = 1500 m/s) over L = 0.3 m has the time scale 0.2 ms.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np

from wavesim.errors import WavesimError

Value = TypeVar("Value", float, np.ndarray)


@dataclass(frozen=True)
class Scale:
    """What 1 stands for in SI. length: the domain's side [m]; density [kg/m^3] and bulk_modulus [Pa]: the background's;
    amplitude: the pressure [Pa] that a nondimensional 1 stands for.

    Raises:
        WavesimError: a scale that is not positive and finite.
    """

    length: float
    density: float
    bulk_modulus: float
    amplitude: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not _is_positive(value):
                raise WavesimError(f"{field.name} {value!r} is not a scale: give a positive, finite number in SI units")

    @property
    def wave_speed(self) -> float:
        """Wave speed of the background [m/s]."""
        return math.sqrt(self.bulk_modulus / self.density)

    @property
    def time(self) -> float:
        """Time [s] in which a wave crosses the domain through the background."""
        return self.length / self.wave_speed

    def to_si(self, quantity: str, value: Value) -> Value:
        """A nondimensional `value`, a number or an array of any shape, in SI units.

        Args:
            quantity: length, time, frequency, density, bulk_modulus, wave_speed, pressure or pressure_rate.
        Raises:
            WavesimError: another quantity (the nearest valid name is given).
        """
        return value * self._unit(quantity)

    def from_si(self, quantity: str, value: Value) -> Value:
        """The inverse of `to_si`: `value` in SI units, made nondimensional."""
        return value / self._unit(quantity)

    def _unit(self, quantity: str) -> float:
        units = {
            "length": self.length,
            "time": self.time,
            "frequency": 1 / self.time,
            "density": self.density,
            "bulk_modulus": self.bulk_modulus,
            "wave_speed": self.wave_speed,
            "pressure": self.amplitude,
            "pressure_rate": self.amplitude / self.time,
        }
        if quantity not in units:
            near = difflib.get_close_matches(quantity, units, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"valid quantities: {', '.join(units)}"
            raise WavesimError(f"unknown quantity '{quantity}'; {hint}")
        return units[quantity]


def _is_positive(value: Any) -> bool:
    try:
        return math.isfinite(value) and value > 0
    except (TypeError, OverflowError):  # no number, or one that no float holds
        return False
