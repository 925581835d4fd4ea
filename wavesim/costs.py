"""What a frame costs: forecasters in the fastest of their runtimes, and a ladder of FE runs to compare errors with.

The ladder: FE runs of degrees 2, 3 and 4 from a third to two thirds of the truth's nodes, in single precision, that
compute nothing but the pressure. Forecasters run in single precision too, in ONNX Runtime and in compiled loops where
these know them, in PyTorch where neither does. Milliseconds a frame are those of one trajectory on one thread: all runs
take turns in one process, some frames each; the smallest time counts, the median stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wavesim.dataset import WaveDataset
from wavesim.errors import WavesimError
from wavesim.surrogate import Forecaster, OnnxForecaster, export_onnx
from wavesim.surrogate.loops import CompiledForecaster
from wavesim.surrogate.rollout import Stepper
from wavesim.turns import forecasting, in_turns

# The ladder's degrees, and its nodes along a side over the truth's. Degrees 2 and 3 are the cheapest at 5 to 50 %.
DEGREES = (2, 3, 4)
SHARES = (1 / 3, 5 / 12, 1 / 2, 7 / 12, 2 / 3)

Run = tuple[str, int | None, int]  # name, elements along x or those of the file's own mesh, degree


def ladder_of(test: WaveDataset) -> list[Run]:
    """The FE runs, the truth's own resolution last; none where the files do not say how they were made."""
    from wavesim.fem.stored import recall

    if "trajectories" not in test.about(0):
        return []
    config = recall(*test.place(0))[0]
    if config.domain.elements is None:  # a mesh that follows grains: there is one, of any degree
        degrees = [degree for degree in DEGREES if degree < config.degree]
        truth = (f"FE degree {config.degree} on the grains' mesh, the truth", None, config.degree)
        return [*((f"FE degree {degree} on the grains' mesh", None, degree) for degree in degrees), truth]
    elements = config.domain.elements[0]
    nodes = elements * config.degree
    chosen = sorted({(degree, round(share * nodes / degree)) for degree in DEGREES for share in SHARES})
    runs = [(fe_name(elements, degree), elements, degree) for degree, elements in chosen]
    return [*runs, (f"{fe_name(elements, config.degree)}, the truth", elements, config.degree)]


def fe_name(elements: int, degree: int) -> str:
    """The name of an FE run: degree, and nodes along each side (along x, where the sides differ)."""
    side = elements * degree + 1
    return f"FE degree {degree}, {side} x {side}"


def fe_pressure(test: WaveDataset, trajectory: int, run: Run) -> np.ndarray:
    """(time, y, x) of an FE run of a trajectory, the frames after the first."""
    from wavesim.fem.ladder import pressure

    return pressure(*test.place(trajectory), elements=run[1], degree=run[2])


def milliseconds(
    test: WaveDataset, forecasters: Mapping[str, tuple[Forecaster, Path]], runs: Sequence[Run]
) -> dict[str, dict[str, Any]]:
    """Smallest and median time of a frame of the first trajectory. Runs in a process of its own, on one thread.

    Args:
        forecasters: name -> the forecaster, and where its ONNX graphs go, a path without suffix.
    Returns:
        by name: milliseconds and milliseconds_median; of a forecaster those of its fastest runtime, which is named.
    """
    state, medium = test.window(0, 0, 1)[0], test.medium(0)
    works: dict[tuple[str, str | None], tuple[Callable[[], None], int]] = {}
    for name, (model, graphs) in forecasters.items():
        for where, work in _works(model, graphs, state, medium).items():
            works[name, where] = work, model.config.bundle
    works |= {(run[0], None): (_solving(test, run), 1) for run in runs}
    found: dict[str, dict[str, Any]] = {}
    for (name, runtime), taken in sorted(in_turns(works).items(), key=lambda item: item[1]):
        times: dict[str, Any] = dict(zip(("milliseconds", "milliseconds_median"), taken, strict=True))
        found.setdefault(name, times | ({} if runtime is None else {"runtime": runtime}))
    return found


def _works(model: Forecaster, graphs: Path, state: np.ndarray, medium: np.ndarray) -> dict[str, Callable[[], None]]:
    """A frame in every runtime that knows the forecaster and takes the medium; ONNX graphs are written."""
    found: dict[str, Callable[[], None]] = {}
    makers: dict[str, Callable[[], Stepper]] = {
        "ONNX Runtime": lambda: _exported(model, graphs, state),
        "compiled loops": lambda: CompiledForecaster(model),
    }
    for name, make in makers.items():
        try:
            found[name] = forecasting(make(), state, medium)
        except WavesimError:  # graphs have the sub-steps of their export, which may be too few for this medium
            continue
    return found or {"PyTorch": forecasting(model, state, medium)}


def _exported(model: Forecaster, graphs: Path, state: np.ndarray) -> OnnxForecaster:
    export_onnx(model, graphs, (state.shape[-2], state.shape[-1]))
    return OnnxForecaster(graphs)


def _solving(test: WaveDataset, run: Run) -> Callable[[], None]:
    from wavesim.fem.ladder import rung

    ready = rung(*test.place(0), elements=run[1], degree=run[2])
    state = ready.start

    def advance() -> None:
        nonlocal state
        state, _ = ready.frame(state)

    return advance
