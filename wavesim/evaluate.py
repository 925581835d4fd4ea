"""Forecasters against the FE truth, at their cost, with the best FE run of equal error in the same table.

Every forecaster rolls out whole test trajectories from one initial state. Beside them stand the floor, persistence
(the initial state for ever), the coarse step that the forecasters start from, alone, and a ladder of FE runs of degrees
2, 3 and 4 from a third to two thirds of the truth's nodes, because a forecast is worth its cost only where no FE run is
as good for less. The ladder runs in single precision and computes nothing but the pressure; it is compared on the same
trajectories, one of each test packing.

Errors are those of wavesim.metrics. Milliseconds a frame are those of one trajectory on one thread: all runs take turns
in one process, some frames each; the smallest time counts, the median stands beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from wavesim import processes
from wavesim.dataset import WaveDataset
from wavesim.fits import check_fits
from wavesim.metrics import correlation, correlation_time, relative_l2, vrmse
from wavesim.surrogate import Forecaster, OnnxForecaster, export_onnx, init, load, rollout, step

# The ladder's degrees, and its nodes along a side over the truth's. Degrees 2 and 3 are the cheapest at 5 to 50 %.
DEGREES = (2, 3, 4)
SHARES = (1 / 3, 5 / 12, 1 / 2, 7 / 12, 2 / 3)
FIRST_FRAMES = 10
TURNS, BURST = 15, 4  # each run is timed in so many turns of so many frames

Run = tuple[str, int | None, int]  # name, elements along x or those of the file's own mesh, degree


@dataclass(frozen=True)
class Row:
    """One line of the table; kind: persistence, coarse, forecaster, fe or truth.

    trajectories: (n) numbers of the test trajectories that were run; errors: (n, time) relative L2. first_frames,
    one_crossing, last_frame: its means over the first frames, at one crossing, at the end; vrmse, mass_norm: means over
    the first crossing; correlation_time: in crossings. milliseconds: a frame, smallest; equal_fe: the cheapest FE run
    that is as good after one crossing.
    """

    name: str
    kind: str
    trajectories: list[int]
    errors: list[list[float]]
    vrmse: float
    first_frames: float
    one_crossing: float
    last_frame: float
    mass_norm: float
    correlation_time: float
    parameters: int | None = None
    stored_bytes: int | None = None
    macs: int | None = None
    milliseconds: float | None = None
    milliseconds_median: float | None = None
    equal_fe: str | None = None


def evaluate(
    models: Mapping[str, Path],
    data: str | Path,
    out: Path,
    ladder: bool = True,
    workers: int = 2,
    progress: bool = True,
) -> dict[str, Any]:
    """Errors and costs of `models` (name -> .safetensors) over the test split of `data`.

    Exports each model to ONNX under OUT/NAME.*.onnx and times it there.

    Returns:
        {"rows": [Row as dict], "frame_interval", "frames", "trajectories", "grid", "first_frames", "ladder",
        "truth_error": {"pressure" or "pressure_rate": {"mean", "last"}}, as far as the test files state it}, ready for
        JSON.
    Raises:
        WavesimError: no test split, or a model made for another frame interval.
    """
    test = WaveDataset(data, "test")
    forecasters = {name: load(path) for name, path in models.items()}
    for name, model in forecasters.items():
        check_fits(models[name], model, test)
    forecasters = {"coarse step": _coarse_alone(next(iter(forecasters.values()))), **forecasters}
    out.mkdir(parents=True, exist_ok=True)
    graphs = {name: out / name.replace(" ", "-") for name in forecasters}
    for name, model in forecasters.items():
        export_onnx(model, graphs[name], test.grid)
    runs = _ladder(test) if ladder and find_spec("dolfinx") else []
    with processes.pool(1) as pool:
        times: dict[str, Any] = pool.submit(_milliseconds, test, graphs, runs).result()

    measure = _Measure(test)
    still = np.broadcast_to(measure.states[:, 0, None, 0], measure.future.shape)
    rows = [measure.row("persistence", "persistence", still)]
    for name, model in forecasters.items():
        learned = name in models
        rows.append(
            measure.row(
                name,
                "forecaster" if learned else "coarse",
                rollout(model, measure.states[:, 0], measure.media, test.frames - 1)[:, :, 0],
                parameters=sum(p.numel() for p in model.parameters()) if learned else None,
                stored_bytes=models[name].stat().st_size if learned else None,
                macs=model.macs(test.grid)["frame"],
                **times[name],
            )
        )
    chosen = [i for i in range(len(test)) if i == 0 or test.packing(i) != test.packing(i - 1)]
    with processes.pool(workers) as pool:
        for run in tqdm(runs, desc="FE ladder", disable=None if progress else True):
            truth = run is runs[-1]
            jobs = [] if truth else [pool.submit(_fe_pressure, test, i, run) for i in chosen]
            fields = measure.future[chosen] if truth else np.stack([job.result() for job in jobs])
            rows.append(measure.row(run[0], "truth" if truth else "fe", fields, chosen, **times[run[0]]))
    return {
        "rows": [asdict(_with_equal_fe(row, rows, measure.crossing) if runs else row) for row in rows],
        "frame_interval": test.frame_interval,
        "frames": test.frames - 1,
        "trajectories": len(test),
        "grid": list(test.grid),
        "first_frames": FIRST_FRAMES,
        "ladder": bool(runs),
        "truth_error": _truth_error(test),
    }


class _Measure:
    """The whole test split: states (trajectory, time, 2, y, x), media (trajectory, 2, y, x), and errors against it."""

    def __init__(self, test: WaveDataset):
        self.states = np.stack([test.window(i, 0, test.frames) for i in range(len(test))])
        self.media = np.stack([test.medium(i) for i in range(len(test))])
        self.future = self.states[:, 1:, 0]
        self.interval = test.frame_interval
        self.crossing = min(round(1 / test.frame_interval), test.frames - 1) - 1

    def row(self, name: str, kind: str, forecast: np.ndarray, chosen: Sequence[int] | None = None, **costs: Any) -> Row:
        """The row of a forecast (trajectory, time, y, x) of the `chosen` trajectories, by default of all."""
        chosen = list(range(len(self.states))) if chosen is None else list(chosen)
        truth, kappa, crossing = self.future[chosen], self.media[chosen][:, None, 0], self.crossing
        errors = relative_l2(forecast, truth)
        return Row(
            name=name,
            kind=kind,
            trajectories=chosen,
            errors=[[round(float(error), 5) for error in line] for line in errors],
            vrmse=float(vrmse(forecast, truth)[:, : crossing + 1].mean()),
            first_frames=float(errors[:, :FIRST_FRAMES].mean()),
            one_crossing=float(errors[:, crossing].mean()),
            last_frame=float(errors[:, -1].mean()),
            mass_norm=float(relative_l2(forecast, truth, 1 / kappa)[:, : crossing + 1].mean()),
            correlation_time=float(correlation_time(correlation(forecast, truth), self.interval).mean()),
            **costs,
        )


def _truth_error(test: WaveDataset) -> dict[str, dict[str, float]]:
    """Mean over the frames, and last, of the truth's own relative L2, over the test trajectories that state it."""
    files = {test.packing(i): test.about(i).get("truth_error", []) for i in range(len(test))}
    stated = [entry for entries in files.values() for entry in entries]
    return {
        field: {"mean": float(curve.mean()), "last": float(curve[-1])}
        for field in ("pressure", "pressure_rate")
        if stated and (curve := np.mean([entry[field] for entry in stated], axis=0)).size
    }


def _coarse_alone(model: Forecaster) -> Forecaster:
    """The step that `model` corrects, without the correction."""
    return Forecaster(model.config.model_copy(update={"ranks": ()}), model.courant).eval()


def _ladder(test: WaveDataset) -> list[Run]:
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


def _fe_pressure(test: WaveDataset, trajectory: int, run: Run) -> np.ndarray:
    from wavesim.fem.ladder import pressure

    return pressure(*test.place(trajectory), elements=run[1], degree=run[2])


def _milliseconds(test: WaveDataset, graphs: Mapping[str, Path], runs: Sequence[Run]) -> dict[str, dict[str, float]]:
    """Smallest and median time of a frame of the first trajectory. Runs in a process of its own, on one thread."""
    steps: dict[str, Callable[[], None]] = {}
    for name, path in graphs.items():
        steps[name] = _forecasting(OnnxForecaster(path), test)
    for run in runs:
        steps[run[0]] = _solving(test, run)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(TURNS):
        for name, advance in steps.items():
            for _ in range(BURST):
                start = time.perf_counter()
                advance()
                seconds[name].append(time.perf_counter() - start)
    return {
        name: {"milliseconds": 1e3 * min(taken), "milliseconds_median": 1e3 * float(np.median(taken))}
        for name, taken in seconds.items()
    }


def _forecasting(model: OnnxForecaster, test: WaveDataset) -> Callable[[], None]:
    current = init(model, test.window(0, 0, 1)[0], test.medium(0))

    def advance() -> None:
        nonlocal current
        current = step(model, current)

    return advance


def _solving(test: WaveDataset, run: Run) -> Callable[[], None]:
    from wavesim.fem.ladder import rung

    ready = rung(*test.place(0), elements=run[1], degree=run[2])
    state = ready.start

    def advance() -> None:
        nonlocal state
        state, _ = ready.frame(state)

    return advance


def _with_equal_fe(row: Row, rows: Sequence[Row], crossing: int) -> Row:
    """Name the cheapest FE run that is as good at one crossing, over the trajectories that both have run."""
    if row.kind not in ("forecaster", "coarse"):
        return row

    def error(of: Row, over: Sequence[int]) -> float:
        return float(np.mean([of.errors[of.trajectories.index(i)][crossing] for i in over]))

    fe = [other for other in rows if other.kind in ("fe", "truth")]
    as_good = [other for other in fe if error(other, other.trajectories) <= error(row, other.trajectories)]
    return replace(row, equal_fe=min(as_good, key=lambda other: other.milliseconds or np.inf).name)
