"""Whether the fields of a dataset are in units of each other.

Units are those of the equation, (1/kappa) p_tt = div( (1/rho) grad p ): fields in others are told by the factor that
the first frames are off,
    rate        p(t + dt) - p(t)       against    dt (p_t(t) + p_t(t + dt)) / 2
    medium      p_t(t + dt) - p_t(t)   against    dt kappa div( (1/rho) grad p ), as finite volumes have it
by least squares. Over the presets on 32 x 32 cells the factors are 1.07 to 1.10 and 0.67 to 1.20, over packings of
contrast (20, 5) on 64 x 64 cells 1.07 to 1.28 and 1.18 to 1.59.
"""

from __future__ import annotations

import numpy as np

from wavesim.dataset import WaveDataset
from wavesim.errors import WavesimError

FRAMES = 8  # that units are judged by
MOST = 64  # trajectories, evenly spread
LARGEST_FACTOR = 4.0


def check_units(data: WaveDataset) -> None:
    """Refuse fields whose units are not those of each other.

    Raises:
        WavesimError: with the trajectory, and the factor that it is off; as `WaveDataset.medium`; a medium that is not
            positive.
    """
    for index in np.unique(np.linspace(0, len(data) - 1, MOST).round().astype(int)).tolist():
        _check_trajectory(data, index)


def _check_trajectory(data: WaveDataset, index: int) -> None:
    state, medium = data.window(index, 0, min(FRAMES, data.frames)).astype(float), data.medium(index).astype(float)
    where = f"{data.root}/data/{data.split}, {data.name(index)}"
    if not (medium > 0).all():
        raise WavesimError(f"{where}: bulk modulus and density must be positive in every cell")
    pressure, rate = state[:, 0], state[:, 1]
    compliance = 1 / medium[0]
    wrong = _factor(np.diff(pressure, axis=0), _between(rate), compliance)
    if wrong is not None:
        raise WavesimError(
            f"{where}: the pressure changes {wrong:.3g} times as fast as pressure_rate says; give p_t per unit of "
            "the file's own time"
        )
    cell = data.lengths[0] / data.grid[1]
    pull = np.stack([_acceleration(p, medium) for p in pressure]) * (data.frame_interval / cell) ** 2
    wrong = _factor(np.diff(rate, axis=0), _between(pull), compliance)
    if wrong is not None:
        raise WavesimError(
            f"{where}: p_tt is {wrong:.3g} times what kappa div((1/rho) grad p) makes it; give bulk modulus, "
            "density, lengths and times in units of each other"
        )


def _between(values: np.ndarray) -> np.ndarray:
    return (values[1:] + values[:-1]) / 2


def _factor(found: np.ndarray, expected: np.ndarray, weight: np.ndarray) -> float | None:
    """The factor that is nearest to making `found` of `expected`, where it is far from 1; None where it is not."""
    square = float(np.sum(weight * expected**2))
    if square == 0:
        return None
    factor = float(np.sum(weight * found * expected)) / square
    return None if 1 / LARGEST_FACTOR < factor < LARGEST_FACTOR else factor


def _acceleration(pressure: np.ndarray, medium: np.ndarray) -> np.ndarray:
    """kappa div((1/rho) grad p) in units of cells, between rigid walls, (y, x)."""
    kappa, rho = medium
    total = np.zeros_like(pressure)
    for axis in (0, 1):
        p, r = np.moveaxis(pressure, axis, 0), np.moveaxis(rho, axis, 0)
        flux = np.diff(p, axis=0) * 2 / (r[1:] + r[:-1])
        np.moveaxis(total, axis, 0)[:-1] += flux
        np.moveaxis(total, axis, 0)[1:] -= flux
    return kappa * total
