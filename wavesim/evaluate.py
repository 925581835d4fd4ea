"""Forecasters against the FE truth, at their cost, with the best FE run of equal error in the same table.

Every forecaster rolls out whole test trajectories from one initial state. Beside them stand persistence (the initial
state for ever), the coarse step that the forecasters start from, alone, and a ladder of cheaper FE runs (costs.py),
because a forecast is worth its cost only where no FE run is as good for less. The ladder is compared on the same
trajectories, one of each test packing. Errors are those of wavesim.metrics, floors those of floors.py; trajectories are
read one by one, The Well's acoustic files where they lie.

A forecaster that grows without bound is stopped, named with its trajectory and frame, and has no row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from wavesim import costs, metrics, processes
from wavesim.coverage import coverages
from wavesim.curves import Curves, Places, curves_of, mean, mean_heard, traces_of
from wavesim.dataset import WaveDataset
from wavesim.errors import WavesimError
from wavesim.fits import check_fits
from wavesim.floors import floors, truth_error
from wavesim.surrogate import Forecaster, load, rollout
from wavesim.surrogate.coarse import substeps_in_all
from wavesim.surrogate.rollout import UnboundedError
from wavesim.unit_check import check_units
from wavesim.well_dataset import open_split

FIRST_FRAMES = 10


@dataclass(frozen=True)
class Row:
    """One line of the table; kind: persistence, coarse, forecaster, fe or truth.

    trajectories: (n) numbers of the test trajectories that were run; errors: (n, time) relative L2. first_frames,
    one_crossing, last_frame: its means over the first frames, at one crossing, at the end; vrmse, mass_norm: means over
    the first crossing; correlation_time: in crossings. milliseconds: a frame, smallest, in the fastest runtime;
    equal_fe: the cheapest FE run that is as good after one crossing.

    vrmse_windows: means over The Well's windows of frames. energy_norm and bands: at one crossing; energy_drift: the
    mean size of E(t)/E(0) - 1 at the end. arrival_lag: in frames, late or early; lateness: the same with its sign;
    envelope_misfit, phase_misfit: means over receivers. symmetries: defects at one crossing. curves: means over the
    trajectories, (time,). band: how often the bound on the error holds that needs no truth (coverage.py).
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
    runtime: str | None = None
    equal_fe: str | None = None
    vrmse_windows: dict[str, float] = field(default_factory=dict)
    energy_norm: float | None = None
    energy_drift: float | None = None
    bands: dict[str, float] = field(default_factory=dict)
    arrival_lag: float | None = None
    lateness: float | None = None
    envelope_misfit: float | None = None
    phase_misfit: float | None = None
    symmetries: dict[str, float] | None = None
    curves: dict[str, list[float]] = field(default_factory=dict)
    band: dict[str, Any] | None = None


def evaluate(
    models: Mapping[str, Path],
    data: str | Path,
    out: Path,
    ladder: bool = True,
    workers: int = 2,
    progress: bool = True,
    receivers: Places = metrics.PLACES,
) -> dict[str, Any]:
    """Errors and costs of `models` (name -> .safetensors) over the test split of `data`.

    Exports each model that conserves energy to ONNX under OUT/NAME.*.onnx and times it there.

    Args:
        receivers: places (x, y) in shares of the domain's sides.
    Returns:
        {"rows": [Row as dict], "frame_interval", in crossings, "crossing", its time, "untold": {measure: why there is
        none}, "frames", "trajectories", "grid", "first_frames", "ladder",
        "truth_error": {"pressure" or "pressure_rate": {"mean", "last"}}, as far as the test files state it; "floors":
        {name: (time,)}, "truth_drift": (time,) of E(t)/E(0) - 1, "band_limits", "receivers", "traces": what one
        receiver heard of the first trajectory, "stopped": {name: {"trajectory", "frame"}}}, ready for JSON.
    Raises:
        WavesimError: no test split, one in units that do not fit each other, or a model made for other data.
    """
    test = open_split(data, "test")
    forecasters = {name: load(path) for name, path in models.items()}
    for name, model in forecasters.items():
        check_fits(models[name], model, test)
    check_units(test)
    forecasters = {"coarse step": _coarse_alone(next(iter(forecasters.values())), test), **forecasters}
    out.mkdir(parents=True, exist_ok=True)
    runs = costs.ladder_of(test) if ladder and find_spec("dolfinx") else []
    places = {name: (model, out / name.replace(" ", "-")) for name, model in forecasters.items()}
    with processes.pool(1) as pool:
        times = pool.submit(costs.milliseconds, test, places, runs).result()

    judge = _Judge(test, receivers)
    bands, not_theirs = coverages(models, forecasters, test)
    stopped: dict[str, dict[str, Any]] = {}
    for i in range(len(test)):
        truth = judge.read(i)
        judge.add("persistence", i, np.repeat(truth.state[:1], test.frames - 1, axis=0))
        for name in [name for name in forecasters if name not in stopped]:
            try:
                forecast = rollout(forecasters[name], truth.state[0], truth.medium, test.frames - 1)
            except UnboundedError as grown:
                stopped[name] = {"trajectory": truth.name, "frame": grown.frame}
                continue
            judge.add(name, i, forecast)
            if name in bands:
                whole = np.concatenate([truth.state[:1], forecast])
                bands[name].add(i, whole, truth.medium, judge.found[name][i].relative_l2)
    rows = [judge.row("persistence", "persistence")]
    for name, model in forecasters.items():
        symmetries = None if name in stopped else _symmetries(model, test, judge.crossing)
        if isinstance(symmetries, UnboundedError):
            where = f"a pulse or a sum of states in the medium of {test.name(0)}"
            stopped[name] = {"trajectory": where, "frame": symmetries.frame}
        if name in stopped:
            continue
        learned = name in models
        rows.append(
            judge.row(
                name,
                "forecaster" if learned else "coarse",
                parameters=model.weights() if learned else None,
                stored_bytes=models[name].stat().st_size if learned else None,
                macs=model.macs(test.grid)["frame"],
                symmetries=symmetries,
                band=bands[name].result() if name in bands else None,
                **times.get(name, {}),
            )
        )
    chosen = [i for i in range(len(test)) if i == 0 or test.packing(i) != test.packing(i - 1)]
    with processes.pool(workers) as pool:
        for run in tqdm(runs, desc="FE ladder", disable=None if progress else True):
            own = run is runs[-1]
            jobs = [] if own else [pool.submit(costs.fe_pressure, test, i, run) for i in chosen]
            for k, i in enumerate(chosen):
                truth = judge.read(i)
                judge.add(run[0], i, truth.state[1:] if own else jobs[k].result()[:, None])
            rows.append(judge.row(run[0], "truth" if own else "fe", **times[run[0]]))
    floor = {name: _rounded(curve) for name, curve in floors(test).items()}
    return {
        "rows": [asdict(_with_equal_fe(row, rows, judge.crossing) if runs else row) for row in rows],
        "frame_interval": test.frame_interval / judge.crossing_time,
        "crossing": judge.crossing_time,
        "untold": _untold(floor, ladder, runs) | not_theirs,
        "frames": test.frames - 1,
        "trajectories": len(test),
        "grid": list(test.grid),
        "first_frames": min(FIRST_FRAMES, test.frames - 1),
        "ladder": bool(runs),
        "truth_error": truth_error(test),
        "floors": floor,
        "truth_drift": _rounded(np.mean(judge.truth_drifts, axis=0)),
        "band_limits": list(metrics.LIMITS),
        "receivers": [list(place) for place in receivers],
        "traces": judge.traces,
        "stopped": stopped,
    }


def crossing_time(test: WaveDataset) -> float:
    """The time of one crossing: 1 in our units, in which the background's wave speed and side are 1.

    What others made has units of its own, and no background: there it is Lx <sqrt(rho/kappa)>, what a wave takes along
    x through a medium of the mean slowness of the test media.
    """
    if "imported" not in test.about(0):
        return 1.0
    media = (test.medium(i).astype(float) for i in range(len(test)))
    return test.lengths[0] * float(np.mean([np.mean(np.sqrt(rho / kappa)) for kappa, rho in media]))


def _untold(floors: Mapping[str, Any], ladder: bool, runs: Sequence[costs.Run]) -> dict[str, str]:
    """Which measures there are none of, and why."""
    silent = "the files do not say how the waves were computed"
    found = {}
    if ladder and not runs:
        found["the FE run of equal error"] = silent if find_spec("dolfinx") else "dolfinx is not here"
    if "truth" not in floors:
        found["the truth's own error"] = "the files do not state it"
    if "grid" not in floors:
        found["the share of the field that the grid cannot hold"] = "the files do not state it"
    return found


class _Judge:
    """Holds the curves of every run, by name and trajectory; reads the trajectories one at a time.

    truth_drifts: of each trajectory that was read once, (time,). traces: what the first receiver hears of the first.
    """

    def __init__(self, test: WaveDataset, receivers: Places):
        self.test, self.receivers = test, receivers
        self.crossing_time = crossing_time(test)
        self.crossing = metrics.one_crossing(test.frame_interval / self.crossing_time, test.frames - 1) - 1
        self.courant = test.frame_interval / (test.lengths[0] / test.grid[1])
        self.found: dict[str, dict[int, Curves]] = {}
        self.truth_drifts: list[np.ndarray] = []
        self.traces: dict[str, Any] = {}

    def read(self, index: int) -> Any:
        """The trajectory that the next forecasts are of."""
        self.truth = self.test.trajectory(index)
        heard = self.truth.state[1:, 0].any(axis=(1, 2))
        if not heard.all():
            raise WavesimError(
                f"{self.test.root}/data/test, {self.truth.name}: the pressure of frame {heard.argmin() + 1} is zero "
                "throughout, against which no error is relative; leave such frames or trajectories out"
            )
        if index == len(self.truth_drifts):
            drift = metrics.energy_drift(self.truth.state, self.truth.medium, self.courant, self.test.sides)
            self.truth_drifts.append(drift[1:])
        if not self.traces:
            heard = traces_of(self.truth.state[1:, 0], self.truth, self.receivers[:1])[0]
            self.traces = {"trajectory": self.truth.name, "place": list(self.receivers[0]), "truth": _rounded(heard)}
            self.traces["forecasts"] = {}
        return self.truth

    def add(self, name: str, index: int, forecast: np.ndarray) -> None:
        """Measure a forecast (time, 1 or 2, y, x) of the trajectory that was read last, `index`."""
        measured = curves_of(forecast, self.truth, self.test.sides, self.courant, self.receivers)
        self.found.setdefault(name, {})[index] = measured
        if index == 0:
            heard = traces_of(forecast[:, 0], self.truth, self.receivers[:1])[0]
            self.traces["forecasts"][name] = _rounded(heard)

    def row(self, name: str, kind: str, **costs: Any) -> Row:
        """The row of all forecasts of a name."""
        found = self.found[name]
        every, crossing = list(found.values()), self.crossing
        errors = np.stack([one.relative_l2 for one in every])
        means: dict[str, np.ndarray | None] = {
            key: mean([getattr(one, key) for one in every])
            for key in ("relative_l2", "mass_norm", "vrmse", "correlation", "energy_norm", "energy_drift")
        }
        bands = np.mean([one.bands for one in every], axis=0)
        means |= dict(zip(metrics.BANDS, bands.T, strict=True))
        vrmse, norm = means["vrmse"], means["energy_norm"]
        drifts = [abs(one.energy_drift[-1]) for one in every if one.energy_drift is not None]
        correlations = np.stack([one.correlation for one in every])
        interval = self.test.frame_interval / self.crossing_time
        return Row(
            name=name,
            kind=kind,
            trajectories=list(found),
            errors=[[round(float(error), 5) for error in line] for line in errors],
            vrmse=float(np.mean(vrmse[: crossing + 1])),  # type: ignore[index]
            first_frames=float(errors[:, :FIRST_FRAMES].mean()),
            one_crossing=float(errors[:, crossing].mean()),
            last_frame=float(errors[:, -1].mean()),
            mass_norm=float(np.mean(means["mass_norm"][: crossing + 1])),  # type: ignore[index]
            correlation_time=float(metrics.correlation_time(correlations, interval).mean()),
            vrmse_windows={key: float(value) for key, value in metrics.windowed(vrmse).items()},  # type: ignore[arg-type]
            energy_norm=None if norm is None else float(norm[crossing]),
            energy_drift=float(np.mean(drifts)) if drifts else None,
            bands={key: float(value) for key, value in zip(metrics.BANDS, bands[crossing], strict=True)},
            arrival_lag=mean_heard([np.abs(one.lag) for one in every]),
            lateness=mean_heard([one.lag for one in every]),
            envelope_misfit=mean_heard([one.envelope for one in every]),
            phase_misfit=mean_heard([one.phase for one in every]),
            curves={key: _rounded(curve) for key, curve in means.items() if curve is not None},
            **costs,
        )


def _symmetries(model: Forecaster, test: WaveDataset, crossing: int) -> dict[str, float] | UnboundedError:
    """Defects at one crossing, in the first medium: of the first states of two trajectories, and of two pulses.

    The pulses are always in the same two places: receivers may be one, or wherever they are of use.
    """
    medium, first = test.medium(0), test.window(0, 0, 1)[0]
    second = test.window(1, 0, 1)[0] if len(test) > 1 else first[..., ::-1].copy()

    def forecast(state: np.ndarray) -> np.ndarray:
        return rollout(model, state, medium, crossing + 1)

    pulses = [metrics.bump(test.grid, place) for place in (metrics.PLACES[0], metrics.PLACES[-1])]
    try:
        return {
            "superposition": float(metrics.superposition_defect(forecast, first, second)[-1]),
            "homogeneity": float(metrics.homogeneity_defect(forecast, first)[-1]),
            "reciprocity": metrics.reciprocity_defect(forecast, medium[0], pulses[0], pulses[1]),
        }
    except UnboundedError as grown:
        return grown


def _coarse_alone(model: Forecaster, test: WaveDataset) -> Forecaster:
    """The step that `model` corrects, without the correction; with more sub-steps where it is stable with no fewer."""
    needed = substeps_in_all(model.courant, model.config.sides, (test.medium(i) for i in range(len(test))))
    changes = {"ranks": (), "substeps": max(model.config.substeps, needed)}
    return Forecaster(model.config.model_copy(update=changes), model.courant).eval()


def _rounded(curve: np.ndarray) -> list[float]:
    return [float(f"{value:.5g}") for value in curve]


def _with_equal_fe(row: Row, rows: Sequence[Row], crossing: int) -> Row:
    """Name the cheapest FE run that is as good at one crossing, over the trajectories that both have run."""
    if row.kind not in ("forecaster", "coarse"):
        return row

    def error(of: Row, over: Sequence[int]) -> float:
        return float(np.mean([of.errors[of.trajectories.index(i)][crossing] for i in over]))

    fe = [other for other in rows if other.kind in ("fe", "truth")]
    as_good = [other for other in fe if error(other, other.trajectories) <= error(row, other.trajectories)]
    return replace(row, equal_fe=min(as_good, key=lambda other: other.milliseconds or np.inf).name)
