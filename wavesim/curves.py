"""All measures of one forecast of one trajectory, and their means over trajectories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wavesim import metrics
from wavesim.dataset import Trajectory

Places = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Curves:
    """Of the frames after the initial state, (time,); see wavesim.metrics. bands: (time, 3).

    The energy's are None where a forecast has no rate. lag (in frames), envelope and phase: (receiver,).
    """

    relative_l2: np.ndarray
    mass_norm: np.ndarray
    vrmse: np.ndarray
    correlation: np.ndarray
    bands: np.ndarray
    energy_norm: np.ndarray | None
    energy_drift: np.ndarray | None
    lag: np.ndarray
    envelope: np.ndarray
    phase: np.ndarray


def curves_of(
    forecast: np.ndarray, truth: Trajectory, sides: tuple[str, str, str, str], courant: float, places: Places
) -> Curves:
    """Measure a forecast (time, 1 or 2, y, x) of the frames after the first, of p or of (p, dt p_t).

    Args:
        sides: left, right, bottom, top. courant: frame interval / cell size. places: of the receivers (x, y), in
            shares of the domain's sides.
    """
    pressure, exact = forecast[:, 0], truth.state[1:, 0]
    norm = drift = None
    if forecast.shape[1] == 2:
        norm = metrics.energy_norm_error(forecast, truth.state[1:], truth.medium, courant, sides)
        whole = np.concatenate([truth.state[:1], forecast])
        drift = metrics.energy_drift(whole, truth.medium, courant, sides)[1:]
    heard = traces_of(pressure, truth, places), traces_of(exact, truth, places)
    return Curves(
        metrics.relative_l2(pressure, exact),
        metrics.relative_l2(pressure, exact, 1 / truth.medium[0]),
        metrics.vrmse(pressure, exact),
        metrics.correlation(pressure, exact),
        metrics.band_errors(pressure, exact, sides),
        norm,
        drift,
        metrics.arrival_lag(*heard),
        *metrics.envelope_and_phase_misfit(*heard),
    )


def traces_of(pressure: np.ndarray, truth: Trajectory, places: Places) -> np.ndarray:
    """(receiver, time) what receivers hear of the initial state and of pressures (time, y, x) after it."""
    return metrics.traces(np.concatenate([truth.state[:1, 0], pressure]), places).T


def mean(values: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """The mean over trajectories of one measure of each; None where one has none of it."""
    found = [value for value in values if value is not None]
    return np.mean(found, axis=0) if len(found) == len(values) else None


def mean_heard(values: Sequence[np.ndarray]) -> float | None:
    """The mean over trajectories and receivers; None where none of them heard anything."""
    found = np.concatenate(values)
    found = found[np.isfinite(found)]
    return float(found.mean()) if found.size else None
