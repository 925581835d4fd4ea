"""One toy run that the tests of the views share."""

from typing import NamedTuple

import numpy as np
import pytest
from viz_stubs import ToyForecaster, disks_medium, trajectory


class ToyRun(NamedTuple):
    """truth (time, y, x); forecasts: name -> (time, y, x); medium (2, y, x)."""

    truth: np.ndarray
    forecasts: dict[str, np.ndarray]
    medium: np.ndarray


@pytest.fixture(scope="session")
def toy_run() -> ToyRun:
    medium = disks_medium(32)
    states = trajectory(medium, 20)
    forecasts = {}
    for name, excess in (("classical", 0.05), ("compressed", 0.2)):
        forecaster = ToyForecaster(excess)
        s = forecaster.init(states[0], medium)
        fields = [states[0, 0]]
        for _ in range(19):
            s = forecaster.step(s)
            fields.append(s.state[0])
        forecasts[name] = np.stack(fields)
    return ToyRun(states[:, 0], forecasts, medium)
