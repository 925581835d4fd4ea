"""Granular matter as long waves see it: by its mixture, through the jamming diagram, and not grain by grain.

    kappa = K(size ratio, X_S) / K_0,     rho = phi_J(size ratio, X_S) / phi_0

with K and phi_J measured on packings (`granular.diagram`), linear in between, first in the concentration of small
particles X_S, then in the size ratio; K_0 and phi_0 are those of a mixture that is the background, kappa = rho = 1.
Grains of one material, many to a wavelength: the shear modulus, and that K grows with pressure, are left out.

Reference: Petit, Kumar, Luding, Sperl, arXiv:2103.02557.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wavesim.errors import WavesimError
from wavesim.fem.medium import Field, Medium

KEYS = ("size_ratio", "small_fraction", "bulk_modulus", "phi_j")


@dataclass(frozen=True, eq=False)
class Diagram:
    """size_ratios: (ratios,) ascending; of each, (points,) of small_fractions ascending, bulk_moduli and phi_j."""

    size_ratios: np.ndarray
    small_fractions: list[np.ndarray]
    bulk_moduli: list[np.ndarray]
    phi_j: list[np.ndarray]

    def at(self, size_ratio: np.ndarray, small_fraction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """K and phi_J at mixtures of any shape.

        Raises:
            WavesimError: a mixture outside of what was measured.
        """
        ratio, fraction = np.broadcast_arrays(np.asarray(size_ratio, float), np.asarray(small_fraction, float))
        low = max(own[0] for own in self.small_fractions)
        high = min(own[-1] for own in self.small_fractions)
        for name, values, a, b in (
            ("size ratio", ratio, self.size_ratios[0], self.size_ratios[-1]),
            ("concentration of small particles", fraction, low, high),
        ):
            outside = ~((values >= a) & (values <= b))  # a value that is no number is outside too
            if outside.any():
                raise WavesimError(
                    f"{name} {values[outside].flat[0]:.4g} is outside of the diagram, {a:.4g} to {b:.4g}: stay within, "
                    "or measure more mixtures"
                )
        above = np.clip(np.searchsorted(self.size_ratios, ratio), 1, max(1, len(self.size_ratios) - 1))
        known = [
            np.stack([np.interp(fraction, x, y) for x, y in zip(self.small_fractions, values, strict=True)])
            for values in (self.bulk_moduli, self.phi_j)
        ]
        if len(self.size_ratios) == 1:
            return known[0][0], known[1][0]
        part = (ratio - self.size_ratios[above - 1]) / (self.size_ratios[above] - self.size_ratios[above - 1])
        below, beyond = ([np.take_along_axis(one, k[None], 0)[0] for one in known] for k in (above - 1, above))
        bulk, phi = ((1 - part) * a + part * b for a, b in zip(below, beyond, strict=True))
        return bulk, phi


def read_diagram(path: str | Path) -> Diagram:
    """The diagram.json that a sweep over mixtures wrote.

    Raises:
        WavesimError: no such file, no JSON, or rows without what is needed.
    """
    try:
        rows = json.loads(Path(path).read_text())["rows"]
        whole = [[float(row[key]) for key in KEYS] for row in rows if all(row.get(key) is not None for key in KEYS)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WavesimError(f"{path} is no jamming diagram ({error!r}); benchmarks/jamming.py writes one") from error
    if not whole:
        raise WavesimError(f"{path} has no mixture with {', '.join(KEYS)}; let the sweep go on")
    table = np.array(sorted(whole))
    ratios = np.unique(table[:, 0])
    parts = [table[table[:, 0] == ratio] for ratio in ratios]
    return Diagram(ratios, *([part[:, k] for part in parts] for k in (1, 2, 3)))


def jammed(
    diagram: Diagram,
    small_fraction: Field | float,
    size_ratio: Field | float,
    background: tuple[float, float],
) -> Medium:
    """Matter whose mixture changes from place to place, as functions of (x, y) or numbers say.

    Args:
        background: (size_ratio, small_fraction) of the mixture where kappa = rho = 1.
    Raises:
        WavesimError: a background outside of the diagram. The medium raises where its mixture is.
    """
    units = [float(value) for value in diagram.at(*(np.array(value) for value in background))]

    def of(which: int) -> Field:
        def values(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            mixture = [field(x, y) if callable(field) else field for field in (size_ratio, small_fraction)]
            shape = np.broadcast_shapes(np.shape(x), np.shape(y))
            return np.array(np.broadcast_to(diagram.at(*map(np.asarray, mixture))[which] / units[which], shape))

        return values

    return Medium(of(0), of(1))
