"""The jamming diagram of mixtures as numbers between its points, and the mixture that has a wanted wave speed.

K(size ratio, X_S) and phi_J(size ratio, X_S), measured on packings (`granular.diagram`), are linear in between, first
in the concentration of small particles X_S, then in the size ratio. Long waves run at sqrt(K / phi_J), so that at one
size ratio, between X_i and X_j, the speed c is that of

    X_S = X_i + (X_j - X_i) (c^2 phi_i - K_i) / (K_j - K_i - c^2 (phi_j - phi_i)).

K is in units of k_n / d^(D-2), with d the large diameter and k_n the springs' constant, hence speeds in those of
sqrt(k_n / d^(D-2) / rho), rho of the grains. The shear modulus is left out: 1 % of K or less at pressures of 1e-5, but
up to 8 % of it, 5 % of the speed, at those of 1e-3 to which size ratios below 0.3 are unloaded.

Reference: Petit, Kumar, Luding, Sperl, arXiv:2103.02557.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wavesim.errors import WavesimError

NAMES = {2: "disks", 3: "spheres"}
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
        _require_within("size ratio", ratio, self.size_ratios[0], self.size_ratios[-1])
        above = np.minimum(np.searchsorted(self.size_ratios, ratio), len(self.size_ratios) - 1)
        below = np.maximum(above - 1, 0)
        part = np.ones(ratio.shape)
        between = self.size_ratios[above] > self.size_ratios[below]
        part[between] = ((ratio - self.size_ratios[below]) / np.diff(self.size_ratios, append=np.inf)[below])[between]
        first, last = (np.array([own[end] for own in self.small_fractions]) for end in (0, -1))
        # A mixture of one of the ratios needs that one alone.
        low = np.maximum(first[np.where(part == 1, above, below)], first[np.where(part == 0, below, above)])
        high = np.minimum(last[np.where(part == 1, above, below)], last[np.where(part == 0, below, above)])
        _require_within("concentration of small particles", fraction, low, high)
        found = []
        for values in (self.bulk_moduli, self.phi_j):
            known = np.stack([np.interp(fraction, x, y) for x, y in zip(self.small_fractions, values, strict=True)])
            beneath, beyond = (np.take_along_axis(known, k[None], 0)[0] for k in (below, above))
            found.append((1 - part) * beneath + part * beyond)
        return found[0], found[1]

    def of(self, size_ratio: float) -> Diagram:
        """The part of it with one size ratio: what was measured there, or between the two next to it.

        Raises:
            WavesimError: a size ratio outside of what was measured, or between two without a concentration in common.
        """
        ratio = np.array(size_ratio, float)
        _require_within("size ratio", ratio, self.size_ratios[0], self.size_ratios[-1])
        above = int(np.searchsorted(self.size_ratios, ratio))
        beside = [above] if self.size_ratios[above] == ratio else [above - 1, above]
        low, high = (pick(self.small_fractions[k][end] for k in beside) for pick, end in ((max, 0), (min, -1)))
        all_of_them = np.unique(np.concatenate([self.small_fractions[k] for k in beside]))
        fractions = all_of_them[(all_of_them >= low) & (all_of_them <= high)]
        if not len(fractions):
            raise WavesimError(
                f"the size ratios next to {size_ratio:.4g} were not measured at the same concentrations: use one of "
                f"{', '.join(f'{one:.4g}' for one in self.size_ratios)}"
            )
        bulk, phi = self.at(ratio, fractions)
        return Diagram(ratio[None], [fractions], [bulk], [phi])


def _require_within(name: str, values: np.ndarray, low: np.ndarray | float, high: np.ndarray | float) -> None:
    values, low, high = np.broadcast_arrays(values, low, high)
    outside = ~((values >= low) & (values <= high))  # a value that is no number is outside too
    if outside.any():
        value, a, b = (one[outside].flat[0] for one in (values, low, high))
        raise WavesimError(
            f"{name} {value:.4g} is outside of the diagram, {a:.4g} to {b:.4g}: stay within, or measure more mixtures"
        )


def read_diagram(path: str | Path, dim: int = 3) -> Diagram:
    """The diagram.json that a sweep over mixtures wrote, or its folder; or data/diagram.json.

    Args:
        dim: 3, of spheres, or 2, of disks.
    Raises:
        WavesimError: no such file, no JSON, rows without what is needed, or two of one mixture.
    """
    path = Path(path) / "diagram.json" if Path(path).is_dir() else Path(path)
    if not path.is_file():
        raise WavesimError(
            f"{path} does not exist; `wavesim generate diagram` makes one, the project's data/diagram.json is another: "
            "give the whole path"
        )
    try:
        rows = json.loads(path.read_text())["rows"]
        measured = [row for row in rows if row.get("dim", dim) == dim and all(row.get(k) is not None for k in KEYS)]
        whole = [[float(row[key]) for key in KEYS] for row in measured]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WavesimError(f"{path} is no jamming diagram ({error!r}); `wavesim generate diagram` makes one") from error
    if not whole and (others := {row.get("dim", dim) for row in rows} - {dim}):
        raise WavesimError(
            f"{path} is of {', '.join(NAMES.get(other, f'dim {other}') for other in sorted(others))} alone, and "
            f"{NAMES[dim]} are asked for: give a diagram made by `wavesim generate diagram --dim {dim}`"
        )
    if not whole:
        raise WavesimError(f"{path} has no mixture of dim {dim} with {', '.join(KEYS)}; let the sweep go on")
    table = np.array(sorted(whole))
    twice = (np.diff(table[:, :2], axis=0) == 0).all(axis=1)
    if twice.any():
        ratio, fraction = table[:-1][twice][0, :2]
        raise WavesimError(f"{path} has two rows of size ratio {ratio:.4g} and X_S {fraction:.4g}; remove one of them")
    ratios = np.unique(table[:, 0])
    parts = [table[table[:, 0] == ratio] for ratio in ratios]
    return Diagram(ratios, *([part[:, k] for part in parts] for k in (1, 2, 3)))


@dataclass(frozen=True, eq=False)
class Mixtures:
    """Mixtures of one size ratio from one concentration of small particles to another, and their speeds.

    small_fractions: (points,) ascending; bulk_moduli, phi_j: (points,). Units as in `jammed`. The speed must rise all
    the way, or fall all the way, so that one speed is of one mixture.

    Raises:
        WavesimError: it does not, or the concentrations do not ascend.
    """

    size_ratio: float
    small_fractions: np.ndarray
    bulk_moduli: np.ndarray
    phi_j: np.ndarray

    def __post_init__(self) -> None:
        steps = np.diff(self.speeds)
        if not (np.diff(self.small_fractions) > 0).all():
            raise WavesimError(f"small_fractions {self.small_fractions.tolist()} must go from less to more")
        if not len(steps) or not ((steps > 0).all() or (steps < 0).all()):
            turns = self.small_fractions[1:-1][np.sign(steps[1:]) != np.sign(steps[:-1])]
            raise WavesimError(
                f"from X_S {self.small_fractions[0]:.4g} to {self.small_fractions[-1]:.4g} at size ratio "
                f"{self.size_ratio:.4g} the wave speed does not rise or fall all the way"
                + (f" (it turns at {', '.join(f'{x:.4g}' for x in turns)})" if len(turns) else "")
                + ": one speed must be of one mixture, use another range"
            )

    @classmethod
    def between(cls, diagram: Diagram, size_ratio: float, small_fractions: tuple[float, float]) -> Mixtures:
        """Those of a diagram with X_S from one value to another.

        Raises:
            WavesimError: a range that was not measured, or in which the speed turns.
        """
        own = diagram.of(size_ratio)
        inside = own.small_fractions[0]
        low, high = small_fractions
        inside = np.concatenate([[low], inside[(inside > low) & (inside < high)], [high]])
        return cls(size_ratio, inside, *own.at(np.array(size_ratio), inside))

    @property
    def speeds(self) -> np.ndarray:
        """(points,) sqrt(K / phi_J)."""
        return np.sqrt(self.bulk_moduli / self.phi_j)

    @property
    def fastest(self) -> float:
        """The concentration with the largest wave speed."""
        return float(self.small_fractions[np.argmax(self.speeds)])

    def of_speed(self, speed: np.ndarray) -> np.ndarray:
        """X_S of speeds of any shape, in units of the fastest.

        Raises:
            WavesimError: a speed that no mixture has.
        """
        order = np.argsort(self.speeds)
        known, x, bulk, phi = (one[order] for one in (self.speeds, self.small_fractions, self.bulk_moduli, self.phi_j))
        wanted = np.asarray(speed, float) * known[-1]
        outside = ~((wanted >= known[0] * (1 - 1e-12)) & (wanted <= known[-1] * (1 + 1e-12)))
        if outside.any():
            raise WavesimError(
                f"no mixture has the wave speed {np.asarray(speed)[outside].flat[0]:.4g} of the fastest; X_S from "
                f"{self.small_fractions[0]:.4g} to {self.small_fractions[-1]:.4g} at size ratio {self.size_ratio:.4g} "
                f"has {known[0] / known[-1]:.4g} to 1: use a weaker lens, or a wider range"
            )
        k = np.clip(np.searchsorted(known, wanted), 1, len(known) - 1)
        square = wanted**2
        part = (square * phi[k - 1] - bulk[k - 1]) / (bulk[k] - bulk[k - 1] - square * (phi[k] - phi[k - 1]))
        return x[k - 1] + np.clip(part, 0, 1) * (x[k] - x[k - 1])
