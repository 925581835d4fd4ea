"""How often the band of a forecaster holds: over media, at each lead time, with the interval of Clopper and Pearson."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wavesim.dataset import WaveDataset
from wavesim.errors import WavesimError
from wavesim.media import media_of
from wavesim.surrogate import Forecaster
from wavesim.surrogate.band import Band, band_file, load_band
from wavesim.surrogate.checkpoint import fingerprint_of
from wavesim.surrogate.conformal import clopper_pearson


class Coverage:
    """Holds the bounds of one forecaster's band beside its errors, on the first trajectory of each medium of a split.

    Raises:
        WavesimError: the band is of another forecaster, or of other waves.
    """

    def __init__(self, band: Band, model: Forecaster, data: WaveDataset):
        band.require(fingerprint_of(model), data)
        self.band, media = band, media_of(data)
        self.first = {numbers[0] for numbers in media.values()}
        self.seen = len(media.keys() & set(band.keys))
        self.errors: list[np.ndarray] = []
        self.bounds: list[np.ndarray] = []

    def add(self, index: int, states: np.ndarray, medium: np.ndarray, errors: np.ndarray) -> None:
        """A forecast (time + 1, 2, y, x) of trajectory `index`, its initial state included, and its errors (time,)."""
        if index in self.first:
            self.bounds.append(self.band.of(states, medium))
            self.errors.append(errors[: len(self.bounds[-1])])

    def result(self) -> dict[str, Any]:
        """What evaluate tells; see `summary`."""
        return summary(self.band, np.stack(self.errors), np.stack(self.bounds), self.seen)


def summary(band: Band, errors: np.ndarray, bounds: np.ndarray, seen: int = 0) -> dict[str, Any]:
    """Coverage of errors (medium, time) by bounds of the same shape, ready for JSON.

    Args:
        seen: how many of these media calibrated the band or fitted its scale; of them coverage says nothing.
    Returns:
        level, calibrated (media), data, tested (media), seen; by lead time: coverage and interval (none where media
        were seen), bound and error, means over the media.
    """
    covered = (errors <= bounds).sum(axis=0)
    pairs = [clopper_pearson(int(count), len(errors)) for count in covered]
    return {
        "level": band.level,
        "calibrated": band.media,
        "data": band.data,
        "tested": len(errors),
        "seen": seen,
        "coverage": None if seen else [round(float(count) / len(errors), 5) for count in covered],
        "interval": None if seen else [[round(low, 5), round(high, 5)] for low, high in pairs],
        "bound": [float(f"{value:.5g}") for value in bounds.mean(axis=0)],
        "error": [float(f"{value:.5g}") for value in errors.mean(axis=0)],
    }


def coverages(
    models: Mapping[str, Path], forecasters: Mapping[str, Forecaster], data: WaveDataset
) -> tuple[dict[str, Coverage], dict[str, str]]:
    """The coverage of each model that has a band beside it, by name; or why it is not one for these waves."""
    found, why = {}, {}
    for name, path in models.items():
        if not band_file(path).is_file():
            continue
        try:
            found[name] = Coverage(load_band(band_file(path)), forecasters[name], data)
        except WavesimError as error:
            why[f"the band of {name}"] = str(error)
    return found, why
