"""Whether a forecaster fits a dataset: it steps by one frame interval, so that interval, in cells, must be its own."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from wavesim.dataset import WaveDataset
from wavesim.errors import WavesimError

if TYPE_CHECKING:
    from wavesim.surrogate import Forecaster


def check_fits(path: str | Path, model: Forecaster, data: WaveDataset) -> None:
    """Refuse a forecaster, read from `path`, whose frame interval over cell size is not that of `data`.

    Raises:
        WavesimError: it was trained on other frames.
    """
    from wavesim.surrogate.train import courant_of  # torch takes seconds to import: only who forecasts pays for it

    if not math.isclose(model.courant, courant_of(data), rel_tol=1e-4):
        raise WavesimError(
            f"{path} was trained on frames of {model.courant:.3f} cells, {data.root} has {courant_of(data):.3f}; "
            "train a forecaster on this dataset"
        )
