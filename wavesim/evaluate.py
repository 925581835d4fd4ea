"""Forecasters against the FE truth, at their cost, with the best FE run of equal error in the same table.

Every forecaster rolls out whole test trajectories from one initial state. Beside them stand the floor, persistence
(the initial state for ever), the coarse step that the forecasters start from, alone, and a ladder of FE runs from
coarse to fine (the same spectral elements as the truth, fewer of them), because a forecast is worth its cost only
where no FE run is as good for less. Errors are those of wavesim.metrics; milliseconds are one trajectory on one thread,
minimum and median over interleaved repetitions.
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
from wavesim.config import WavesConfig
from wavesim.dataset import WaveDataset
from wavesim.errors import WavesimError
from wavesim.metrics import correlation, correlation_time, relative_l2, vrmse
from wavesim.surrogate import Forecaster, OnnxForecaster, export_onnx, init, load, rollout, step
from wavesim.surrogate.train import courant_of

# Elements along a side of the ladder's runs, all of degree 4: 33 to 129 nodes.
LADDER = (8, 12, 16, 20, 24, 28, 32)
FIRST_FRAMES = 10


@dataclass(frozen=True)
class Row:
    """One line of the table. errors, deviations, mass_norm: (trajectory, time); the rest as in `HEADINGS`."""

    name: str
    kind: str  # forecaster, coarse, fe, truth, persistence
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
    models: Mapping[str, Path], data: str | Path, out: Path, ladder: bool = True, progress: bool = True
) -> dict[str, Any]:
    """Errors and costs of `models` (name -> .safetensors) over the test split of `data`.

    Exports each model to ONNX under OUT/NAME.*.onnx and times it there.

    Returns:
        {"rows": [Row as dict], "frame_interval", "frames", "trajectories", "cpu", ...}, ready for JSON.
    Raises:
        WavesimError: no test split, or a model made for another frame interval.
    """
    test = WaveDataset(data, "test")
    every = range(len(test))
    truth = np.stack([test.window(i, 0, test.frames) for i in every])
    media = np.stack([test.medium(i) for i in every])
    initial, future = truth[:, 0], truth[:, 1:, 0]
    forecasters = {name: load(path) for name, path in models.items()}
    for name, model in forecasters.items():
        if not np.isclose(model.courant, courant_of(test), rtol=1e-4):
            raise WavesimError(
                f"{models[name]} was trained on frames of {model.courant:.3f} cells, {data} has {courant_of(test):.3f}"
            )

    def row(name: str, kind: str, forecast: np.ndarray, chosen: Any = slice(None), **costs: Any) -> Row:
        true, kappa = future[chosen], media[chosen][:, None, 0]
        errors = relative_l2(forecast, true)
        crossing = min(round(1 / test.frame_interval), errors.shape[1]) - 1
        return Row(
            name=name,
            kind=kind,
            errors=np.round(errors, 5).tolist(),
            vrmse=float(vrmse(forecast, true)[:, : crossing + 1].mean()),
            first_frames=float(errors[:, :FIRST_FRAMES].mean()),
            one_crossing=float(errors[:, crossing].mean()),
            last_frame=float(errors[:, -1].mean()),
            mass_norm=float(relative_l2(forecast, true, 1 / kappa)[:, : crossing + 1].mean()),
            correlation_time=float(correlation_time(correlation(forecast, true), test.frame_interval).mean()),
            **costs,
        )

    rows = [row("persistence", "persistence", np.broadcast_to(initial[:, None, 0], future.shape))]
    forecasters = {"coarse step": _coarse_alone(next(iter(forecasters.values()))), **forecasters}
    runners: dict[str, Forecaster | OnnxForecaster] = {}
    out.mkdir(parents=True, exist_ok=True)
    for name, model in forecasters.items():
        export_onnx(model, out / name.replace(" ", "-"), test.grid)
        runners[name] = OnnxForecaster(out / name.replace(" ", "-"))
    times = _milliseconds_a_frame(runners, initial[0], media[0])
    for name, model in forecasters.items():
        forecast = rollout(model, initial, media, test.frames - 1)[:, :, 0]
        learned = name in models
        rows.append(
            row(
                name,
                "forecaster" if learned else "coarse",
                forecast,
                parameters=sum(p.numel() for p in model.parameters()) if learned else None,
                stored_bytes=models[name].stat().st_size if learned else None,
                macs=model.macs(test.grid)["frame"],
                milliseconds=times[name][0],
                milliseconds_median=times[name][1],
            )
        )
    if ladder and find_spec("dolfinx"):
        rows += _ladder(test, row, progress)
        rows = [_with_equal_fe(r, rows) for r in rows]
    return {
        "rows": [asdict(r) for r in rows],
        "frame_interval": test.frame_interval,
        "frames": test.frames - 1,
        "trajectories": len(test),
        "grid": list(test.grid),
        "first_frames": FIRST_FRAMES,
        "ladder": bool(ladder and find_spec("dolfinx")),
    }


def _coarse_alone(model: Forecaster) -> Forecaster:
    """The step that `model` corrects, without the correction."""
    return Forecaster(model.config.model_copy(update={"ranks": ()}), model.courant).eval()


def _milliseconds_a_frame(
    runners: Mapping[str, OnnxForecaster | Forecaster], state: np.ndarray, medium: np.ndarray, repeats: int = 60
) -> dict[str, tuple[float, float]]:
    """Minimum and median over interleaved repetitions, at batch 1."""
    states = {name: init(runner, state, medium) for name, runner in runners.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(repeats):
        for name, runner in runners.items():
            start = time.perf_counter()
            states[name] = step(runner, states[name])
            seconds[name].append(time.perf_counter() - start)
    return {name: (1e3 * min(s), 1e3 * float(np.median(s))) for name, s in seconds.items()}


def _ladder(test: WaveDataset, row: Callable[..., Row], progress: bool) -> list[Row]:
    """FE runs of test trajectories, one of each packing, from coarse to the truth's own resolution."""
    first = [i for i in range(len(test)) if i == 0 or test.packing(i) != test.packing(i - 1)]
    config = WavesConfig.model_validate(test.about(0)["config"])
    steps = [n for n in LADDER if n < config.elements] + [config.elements]
    rows = []
    with processes.pool(1) as pool:
        for elements in tqdm(steps, desc="FE ladder", disable=None if progress else True):
            places = [(str(test._index[i][0]), test._index[i][1]) for i in first]
            runs = list(pool.map(_rerun, *zip(*places, strict=True), [elements] * len(first)))
            fields = np.stack([states[1:, 0] for states, _, _ in runs])
            milliseconds = [ms for _, ms, _ in runs]
            side = elements * config.degree + 1
            truth = elements == config.elements
            rows.append(
                row(
                    f"FE {side} x {side}" + (" (truth)" if truth else ""),
                    "truth" if truth else "fe",
                    fields,
                    first,
                    milliseconds=min(milliseconds),
                    milliseconds_median=float(np.median(milliseconds)),
                )
            )
    return rows


def _rerun(path: str, trajectory: int, elements: int) -> tuple[np.ndarray, float, int]:
    from wavesim.fem import rerun

    return rerun(Path(path), trajectory, elements=elements)


def _with_equal_fe(row: Row, rows: list[Row]) -> Row:
    """Name the cheapest FE run that is at least as good over the first crossing's end."""
    if row.kind not in ("forecaster", "coarse"):
        return row
    as_good = [r for r in rows if r.kind in ("fe", "truth") and r.one_crossing <= row.one_crossing]
    best = min(as_good, key=lambda r: r.milliseconds or np.inf)
    return replace(row, equal_fe=best.name)


def _equal(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    if row["equal_fe"] is None:
        return ""
    return next(f"{r['name']}, {r['milliseconds']:.2f} ms" for r in rows if r["name"] == row["equal_fe"])


HEADINGS = (
    "", "rel. L2, first 10 frames", "one crossing", "last frame", "VRMSE", "correlation > 0.9 until",
    "parameters", "stored", "MMAC a frame", "ms a frame", "cheapest FE run as good",
)  # fmt: skip


def table(results: Mapping[str, Any]) -> list[list[str]]:
    """The table's cells as text, one list a row, under `HEADINGS`."""

    def number(value: float | None, form: str) -> str:
        return "" if value is None else form.format(value)

    return [
        [
            row["name"],
            number(row["first_frames"], "{:.3f}"),
            number(row["one_crossing"], "{:.3f}"),
            number(row["last_frame"], "{:.3f}"),
            number(row["vrmse"], "{:.3f}"),
            number(row["correlation_time"], "{:.2f} crossings"),
            number(row["parameters"], "{:,}"),
            number(row["stored_bytes"] and row["stored_bytes"] / 1e3, "{:.1f} kB"),
            number(row["macs"] and row["macs"] / 1e6, "{:.2f}"),
            number(row["milliseconds"], "{:.2f}"),
            _equal(row, results["rows"]),
        ]
        for row in results["rows"]
    ]


def markdown(results: Mapping[str, Any]) -> str:
    """The table in Markdown."""
    lines = [HEADINGS, ["---"] + ["---:"] * (len(HEADINGS) - 2) + ["---"], *table(results)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
