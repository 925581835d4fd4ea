"""Whether a forecaster fits a dataset: frame interval, sides, and the grid of an exported one.

A forecaster steps by one frame interval, so that interval, in cells, must be its own.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from wavesim.dataset import WaveDataset
from wavesim.errors import WavesimError

if TYPE_CHECKING:
    from wavesim.surrogate import Forecaster, OnnxForecaster


def check_fits(path: str | Path, model: Forecaster | OnnxForecaster, data: WaveDataset) -> None:
    """Refuse a forecaster, read from `path` or exported there, that was made for other data than `data`.

    Raises:
        WavesimError: its frame interval over cell size, or its sides, are others; of an exported one: its grid.
    """
    from wavesim.surrogate import OnnxForecaster
    from wavesim.surrogate.train import courant_of  # torch takes seconds to import: only who forecasts pays for it

    if isinstance(model, OnnxForecaster):
        courant, sides, grid = model.facts.courant, model.facts.sides, model.facts.grid
    else:
        courant, sides, grid = model.courant, model.config.sides, data.grid
    if not math.isclose(courant, courant_of(data), rel_tol=1e-4):
        raise WavesimError(
            f"{path} was trained on frames of {courant:.3f} cells (frame interval over cell size), {data.root} has "
            f"{courant_of(data):.3f}; give data of its ratio, or train a forecaster on this dataset"
        )
    if sides != data.sides:
        raise WavesimError(
            f"{path} was trained between sides (left, right, bottom, top) {', '.join(sides)}, {data.root} has "
            f"{', '.join(data.sides)}; train a forecaster on this dataset"
        )
    if grid != data.grid:
        raise WavesimError(
            f"{path} was exported for a grid of {grid[1]} x {grid[0]} cells, {data.root} has "
            f"{data.grid[1]} x {data.grid[0]}; export the forecaster for that grid"
        )
