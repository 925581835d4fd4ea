"""What a frame of a model takes in every runtime and precision of this machine, and what error that costs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wavesim.errors import WavesimError
from wavesim.fits import check_fits
from wavesim.metrics import relative_l2
from wavesim.surrogate import Forecaster, OnnxForecaster, load, rollout
from wavesim.surrogate.checkpoint import fingerprint_of
from wavesim.surrogate.effective import EffectiveStep
from wavesim.surrogate.loops import CompiledForecaster, DoubleBuffered
from wavesim.surrogate.rollout import Stepper
from wavesim.surrogate.runtimes import Precision, Steppers, steppers
from wavesim.turns import forecasting, in_turns
from wavesim.unit_check import check_units
from wavesim.well_dataset import open_split

CALIBRATED = 8  # trajectories that int8 takes its ranges from


@dataclass(frozen=True)
class Measured:
    """One runtime in one precision: milliseconds a frame, smallest and median, one thread and one trajectory; relative
    L2 of the pressure between its forecast and that of torch after one frame and after the last."""

    runtime: str
    precision: Precision
    milliseconds: float
    milliseconds_median: float
    first_frame: float
    last_frame: float


def measured(
    found: Steppers,
    state: np.ndarray,
    medium: np.ndarray,
    frames: int = 32,
) -> list[Measured]:
    """Times in turns, and errors over a forecast from `state` (2, y, x) in `medium` (2, y, x), fastest first, of those
    that forecast in this medium."""
    exact = rollout(found["torch", "float32"], state, medium, frames)[:, 0]
    works, errors = {}, {}
    together = found["torch", "float32"].config.bundle  # type: ignore[union-attr]
    for key, model in found.items():
        try:
            forecast = rollout(model, state, medium, frames)
        except WavesimError:  # graphs have the sub-steps of their export, which may be too few for this medium
            continue
        apart = relative_l2(forecast[:, 0], exact)
        errors[key] = float(apart[0]), float(apart[-1])
        works[key] = forecasting(model, state, medium), together
    rows = [Measured(*key, *taken, *errors[key]) for key, taken in in_turns(works).items()]
    return sorted(rows, key=lambda row: row.milliseconds)


@dataclass(frozen=True)
class Fastest:
    """A forecaster in the runtime that is fastest here, of those that are ready to run, in single precision.

    milliseconds: a frame, by runtime, fastest first. why_not: what keeps it from the others, or nothing.
    """

    runtime: str
    stepper: Forecaster | Stepper
    milliseconds: dict[str, float]
    why_not: str


def fastest(model: Forecaster, state: np.ndarray, medium: np.ndarray, graphs: Path | None = None) -> Fastest:
    """The forecaster in torch, in compiled loops, or in ONNX Runtime where its graphs are there already: by a few
    frames of each from `state` (2, y, x) in `medium`. Each frame stands until the one after next.

    An export takes 13 to 16 s on one core: whoever opens a window does not wait for it. Loops are faster than ONNX
    Runtime with classical filters and `cp`, and slower with most other families, which they run as dense kernels
    (docs/compression.md); U-Nets and bundles of frames they do not know.

    Args:
        graphs: where `wavesim export` would have left them, a name without suffix.
    """
    makers: dict[str, Callable[[], Stepper]] = {"compiled loops": lambda: DoubleBuffered(CompiledForecaster(model))}
    if graphs and any(graphs.with_name(f"{graphs.name}.{part}.onnx").is_file() for part in ("start", "frame")):
        makers["ONNX Runtime"] = lambda: _exported(model, graphs, (state.shape[-2], state.shape[-1]))
    found: dict[str, Forecaster | Stepper] = {"torch": model}
    why_not = []
    for name, make in makers.items():
        try:
            found[name] = make()
        except WavesimError as error:
            why_not.append(str(error))
    works = {name: (forecasting(one, state, medium), model.config.bundle) for name, one in found.items()}
    times = sorted(in_turns(works, turns=3, burst=2).items(), key=lambda item: item[1])
    chosen = times[0][0]
    return Fastest(chosen, found[chosen], {name: least for name, (least, _) in times}, "; ".join(why_not))


def _exported(model: Forecaster, graphs: Path, grid: tuple[int, int]) -> OnnxForecaster:
    """The forecaster's own graphs. Raises WavesimError for others, for another grid, batch or step, and for none."""
    found = OnnxForecaster(graphs)
    facts, again = found.facts, "`wavesim export` makes them anew"
    if isinstance(model.coarse, EffectiveStep):
        raise WavesimError("graphs of a learned step have the sub-steps of one medium, and stay unused here")
    if facts.fingerprint != fingerprint_of(model):
        raise WavesimError(f"the graphs beside it are of another forecaster; {again}")
    if (facts.grid, facts.batch) != (grid, 1):
        y, x = facts.grid
        raise WavesimError(
            f"the graphs beside it are for a grid of {x} x {y} cells and batches of {facts.batch}, not for {grid[1]} x "
            f"{grid[0]} and 1; {again}"
        )
    return found


def bench(
    path: str | Path, data: str | Path | None = None, grid: int = 128, frames: int = 32, repeat: int = 1
) -> list[Measured]:
    """A model's file in every runtime that is here, fastest first.

    Args:
        data: a dataset, whose first test trajectory is forecast on its own grid, int8 being calibrated on the first of
            those that train; without one, a pulse in a uniform medium on `grid` x `grid` cells, and no int8.
        repeat: cells along each axis that each of the dataset's cells stands for, for times on larger grids.
    Raises:
        WavesimError: no such model or dataset, or a model made for other data.
    """
    model, ranges = load(path), None
    if data is not None:
        test = open_split(data, "test")
        check_fits(path, model, test)
        check_units(test)
        state, medium = (_finer(part, repeat) for part in (test.window(0, 0, 1)[0], test.medium(0)))
        frames, ranges = min(frames, test.frames - 1), calibration(data, repeat)
    else:
        x = (np.arange(grid) + 0.5) / grid - 0.5
        pulse = np.exp(-(x**2 + x[:, None] ** 2) / (2 * 0.05**2))
        state, medium = np.stack((pulse, 0 * pulse)).astype(np.float32), np.ones((2, grid, grid), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        found = steppers(model, Path(folder) / "model", (state.shape[-2], state.shape[-1]), ranges)
        return measured(found, state, medium, frames)


def calibration(data: str | Path, repeat: int = 1) -> tuple[np.ndarray, np.ndarray] | None:
    """States and media of the first trajectories that train, their cells repeated; None where none do."""
    if not (Path(data) / "data" / "train").is_dir():
        return None
    train = open_split(data, "train")
    chosen = range(min(CALIBRATED, len(train)))
    states, media = ([train.window(i, 0, 1)[0] for i in chosen], [train.medium(i) for i in chosen])
    return _finer(np.stack(states), repeat), _finer(np.stack(media), repeat)


def _finer(field: np.ndarray, repeat: int) -> np.ndarray:
    return field.repeat(repeat, axis=-1).repeat(repeat, axis=-2)
