"""How wrong a forecast may be, told without the truth: a bound on its relative L2, frame by frame.

A forecaster's frames f_0, f_1, ... are compared with one frame of the coarse solver S from the frame before, the defect

    d_s = f_s - S f_(s-1)        D_t = sqrt( sum over s <= t of E(d_s) ) / |f_0|        F_t = |p_t| / |f_0|

E is the energy of the wave on the grid (coarse.py), which the exact step keeps: there errors of single frames add up
as they are. |f_0| is the norm of the initial state, |p_t| that of the forecast pressure, by which an error is divided.
The bound of lead time t is

    e_t <= q_t s_t,      s_t = D_t^a_t F_t^b_t,

with a_t and b_t from a regression of log e_t on some of the calibrating media, and q_t the conformal quantile
(conformal.py) of e_t / s_t on the others: see wavesim.calibrate. On unseen media e_t exceeds it with a probability of
1 - level, whatever the scale is good for: that decides only how sharp the bound is.

What was compared, as the mean bound over the mean error at a coverage of 90 %, for the demo's compressed and pruned
forecasters (64 packings, two pulses each) and for a classical one of sharp grains (16 packings, four): one number for
each lead time 1.34, 1.33, 1.34; D_t / F_t 1.37, 1.37, 1.30; this 1.21, 1.18, 1.18. Mean speed and contrast of the
medium take at most 0.03 off that, wavenumber bands of the forecast nothing, and of a few media they make nonsense. Nor
does S on twice as fine a grid, at eight times the cost, take anything off.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wavesim.config import ForecasterConfig
from wavesim.dataset import WaveDataset
from wavesim.errors import WavesimError
from wavesim.media import waves_of
from wavesim.provenance import write_json
from wavesim.settings import differences
from wavesim.surrogate.coarse import CoarseStep
from wavesim.surrogate.loops import CompiledForecaster, in_loops
from wavesim.surrogate.models import Forecaster
from wavesim.surrogate.sides import Sides

FORMAT = "wavesim band 1"
LEAST = 1e-7  # of defects and norms over |f_0|: single precision holds no less


@dataclass(frozen=True)
class Bounded:
    """A forecast with its bound. bound: of the present frame's relative L2; None beyond the calibrated lead times.

    substeps: of the coarse step, in this medium; workspace: of the compiled loops, or none where these do not know the
    sides, or take fewer sub-steps."""

    state: torch.Tensor
    medium: torch.Tensor
    stencil: torch.Tensor
    substeps: int
    workspace: Any
    size: float
    squares: float = 0.0
    frame: int = 0
    bound: float | None = 0.0


@dataclass(frozen=True)
class Band:
    """Bounds that hold with the probability `level`, for waves like those that they were calibrated on.

    quantiles, exponents: q_t and (a_t, b_t), a line for each lead time, the first being one frame. media: how many
    calibrated, and fitted: how many the exponents are from; keys: all of them. forecaster: its fingerprint, by
    checkpoint.py; trained_on: the hash of its training's data, or none. waves: what the calibrating ones were.
    """

    level: float
    quantiles: tuple[float, ...]
    exponents: tuple[tuple[float, float], ...]
    media: int
    fitted: int
    keys: tuple[str, ...]
    forecaster: str
    trained_on: str | None
    courant: float
    substeps: int
    sides: Sides
    grid: tuple[int, int]
    data: str
    waves: Mapping[str, Any]

    def __str__(self) -> str:
        return (
            f"a band of {self.level:.4g} over {len(self.quantiles)} frames, calibrated on {self.media} media of "
            f"{self.data} (its scale fitted on {self.fitted} others)"
        )

    @cached_property
    def coarse(self) -> CoarseStep:
        """The solver that forecasts are compared with."""
        return CoarseStep(self.courant, self.substeps, self.sides)

    @cached_property
    def _loops(self) -> CompiledForecaster | None:
        """The same solver in compiled loops, in a tenth of the time, where they know it."""
        solver = in_loops(
            Forecaster(ForecasterConfig(ranks=(), substeps=self.substeps, sides=self.sides), self.courant)
        )
        return solver if isinstance(solver, CompiledForecaster) else None

    def init(self, state: Any, medium: Any) -> Bounded:
        """Start from the state (2, y, x) that a forecast starts from, in a medium (2, y, x).

        Raises:
            WavesimError: another grid than the calibrating one.
        """
        start, through = _field(state), _field(medium)
        if {tuple(start.shape[-2:]), tuple(through.shape[-2:])} != {self.grid}:
            raise WavesimError(
                f"the band is of a grid of {self.grid[1]} x {self.grid[0]} cells, the state has "
                f"{start.shape[-1]} x {start.shape[-2]}: calibrate one on waves of that grid"
            )
        stencil = self.coarse.stencil(through)
        substeps = _stable(self.coarse, stencil)
        # What is compared with a forecast is not scaled back: the budget is without end.
        loops, endless = self._loops if substeps == self.substeps else None, float(np.finfo(np.float32).max)
        workspace = loops.start(start.numpy(), through.numpy(), endless) if loops else None
        return Bounded(start, through, stencil, substeps, workspace, _norm(start))

    def step(self, current: Bounded, state: Any) -> Bounded:
        """The bound of the frame (2, y, x) that was forecast next: one coarse step, and no call of the network."""
        after = _field(state)
        with torch.no_grad():
            if self._loops and current.workspace:
                expected = torch.from_numpy(self._loops.advance(current.state.numpy(), current.workspace)[:, 0])
            else:
                expected = self.coarse(current.state, current.stencil, current.substeps)
            squares = current.squares + float(self.coarse.energy(after - expected, current.stencil, current.medium))
        frame, bound = current.frame + 1, None
        if frame <= len(self.quantiles):
            logs = _logs(math.sqrt(squares) / current.size, _norm(after[:, :1]) / current.size)
            bound = self.quantiles[frame - 1] * math.exp(float(np.dot(self.exponents[frame - 1], logs)))
        return replace(current, state=after, squares=squares, frame=frame, bound=bound)

    def altered(self, current: Bounded, state: Any) -> Bounded:
        """The same forecast, whose present state someone has changed, as by a pulse: that is no defect of it."""
        return replace(current, state=_field(state))

    def of(self, states: np.ndarray, medium: np.ndarray) -> np.ndarray:
        """The bounds (time,) of a forecast (time + 1, 2, y, x), its initial state included, as far as they go."""
        current, bounds = self.init(states[0], medium), []
        for state in states[1 : len(self.quantiles) + 1]:
            current = self.step(current, state)
            bounds.append(current.bound)
        return np.array(bounds, float)

    def require(self, forecaster: str, data: WaveDataset) -> None:
        """Refuse another forecaster than the one that was calibrated, by its fingerprint, or other waves.

        Raises:
            WavesimError: which of them it is; other waves are those of another grid, interval, sides or settings.
        """
        from wavesim.surrogate.data import courant_of  # it takes the trainer along

        if forecaster != self.forecaster:
            raise WavesimError(
                f"the band is of the forecaster {self.forecaster}, this one is {forecaster}: calibrate it again"
            )
        told = {"grid": list(self.grid), "interval in cells": round(self.courant, 4), "sides": list(self.sides)}
        here = {"grid": list(data.grid), "interval in cells": round(courant_of(data), 4), "sides": list(data.sides)}
        differ = differences({**told, **self.waves}, {**here, **waves_of(data)})
        if differ:
            raise WavesimError(
                f"the band was calibrated on other waves than those of {data.root} ({', '.join(differ)}): calibrate "
                "one on waves like these"
            )

    def save(self, path: str | Path) -> Path:
        """Write it as JSON, whole or not at all."""
        write_json(path, {"format": FORMAT, **asdict(self)})
        return Path(path)


def features(coarse: CoarseStep, states: np.ndarray, medium: np.ndarray) -> np.ndarray:
    """log D_t and log F_t, (time, 2), of a forecast (time + 1, 2, y, x) with its initial state."""
    fields, medium_ = torch.from_numpy(states), torch.from_numpy(medium[None])
    stencil = coarse.stencil(medium_)
    with torch.no_grad():
        apart = fields[1:] - coarse(fields[:-1], stencil, _stable(coarse, stencil))
        squares = coarse.energy(apart, stencil, medium_)[:, 0, 0, 0].double().cumsum(0).numpy()
    pressures = np.sqrt(np.sum(np.square(states[1:, 0], dtype=float), axis=(1, 2)))
    size = _norm(fields[:1])
    return np.stack(_logs(np.sqrt(squares) / size, pressures / size), axis=-1)


def _stable(coarse: CoarseStep, stencil: torch.Tensor) -> int:
    """Sub-steps of the coarse step in a medium: more in one that is stiffer than all that calibrated."""
    return max(coarse.substeps, int(coarse.stable_with(coarse.bound(stencil).max())))


def _field(values: Any) -> torch.Tensor:
    """(1, 2, y, x), a copy: whoever forecasts may write the frame after next in its place."""
    return torch.from_numpy(np.array(values, np.float32).reshape(1, *np.shape(values)[-3:]))


def _logs(defect: Any, pressure: Any) -> tuple[Any, Any]:
    return np.log(np.maximum(defect, LEAST)), np.log(np.maximum(pressure, LEAST))


def _norm(field: torch.Tensor) -> float:
    return max(float(torch.linalg.vector_norm(field, dtype=torch.float64)), float(np.finfo(np.float32).tiny))


def band_file(model: str | Path) -> Path:
    """Where the band of a model's file lies: beside it, as NAME.band.json."""
    return Path(model).with_suffix(".band.json")


def load_band(path: str | Path) -> Band:
    """Read a band.

    Raises:
        WavesimError: no such file, or not one of a band.
    """
    path = Path(path)
    if not path.is_file():
        raise WavesimError(f"{path} does not exist; `wavesim calibrate` makes the band of a model")
    try:
        content = json.loads(path.read_text())
        if content.pop("format") != FORMAT:
            raise ValueError(f"its format is not '{FORMAT}'")
        content["exponents"] = tuple((float(a), float(b)) for a, b in content["exponents"])
        band = Band(**{**content, **{key: tuple(content[key]) for key in ("quantiles", "keys", "sides", "grid")}})
        if not 0 < len(band.quantiles) == len(band.exponents):
            raise ValueError("its quantiles and exponents are not of the same frames")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise WavesimError(f"{path} is not a band of a model ({error}); calibrate it again") from error
    return band
