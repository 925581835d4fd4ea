"""A forecast in time: `init` and `step`, the same shape as the FE stepper, and `rollout` for whole trajectories.

    model = load("compressed.safetensors")
    forecast = rollout(model, state, medium, frames=64)
    forecast = rollout(model, WaveDataset("runs/waves", "test").trajectory(0))
A trajectory says how far apart its frames are, and a forecaster of another interval is refused; bare arrays do not.
`model` is a Forecaster or an exported one (`export.OnnxForecaster`): both encode a medium once and step with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch

from wavesim.dataset import Trajectory
from wavesim.errors import WavesimError
from wavesim.surrogate.loops import CompiledForecaster
from wavesim.surrogate.models import Forecaster
from wavesim.surrogate.obstacles import mask, without_obstacles

Array = np.ndarray | torch.Tensor
# A state this many times as large as the first, in the root of its sum of squares, has blown up. Those of the truth
# grow 1.33 times at most over the demo's 144 training trajectories.
GROWTH = 1000.0


class UnboundedError(WavesimError):
    """A forecast that grew without bound. frame: the first that did; member: which of the batch."""

    def __init__(self, frame: int, member: int):
        super().__init__(
            f"the forecast grew without bound: at frame {frame} it is not finite, or more than {GROWTH:g} times as "
            "large as it began; train on longer unrolls, or set conserve_energy"
        )
        self.frame, self.member = frame, member


class Stepper(Protocol):
    """What a rollout needs of a forecaster that is not a torch module.

    advance: the frames of one call, (batch, frame, 2, y, x)."""

    def start(self, state: np.ndarray, medium: np.ndarray) -> Any: ...
    def advance(self, state: np.ndarray, context: Any) -> np.ndarray: ...


@dataclass(frozen=True)
class ForecastState:
    """The running forecast. state: (batch, 2, y, x); context: what is known of the medium; budget: (batch, 1, 1, 1);
    ahead: states of the frames that were forecast together with this one and come after it."""

    state: Any
    context: Any
    budget: Any
    frame: int = 0
    ahead: tuple[Any, ...] = ()


def init(model: Forecaster | Stepper, state: Array, medium: Array) -> ForecastState:
    """Start a forecast from a state (2, y, x) or (batch, 2, y, x) of (p, dt p_t) in a medium of (kappa, rho).

    A cell of infinite density is a rigid obstacle: nothing starts and nothing enters there (obstacles.py).

    Raises:
        WavesimError: shapes that do not fit, values that are not finite, a medium that is not positive, or one in
            which the coarse step is unstable.
    """
    state, medium = _batched(state, "state"), _batched(medium, "medium")
    if state.shape[-2:] != medium.shape[-2:] or len(medium) not in (1, len(state)):
        raise WavesimError(f"state {tuple(state.shape)} and medium {tuple(medium.shape)} must share grid and batch")
    for values, what in ((state, "state"), (medium[:, :1], "medium"), (without_obstacles(medium), "medium")):
        if not torch.isfinite(values).all():
            raise WavesimError(f"{what} holds values that are not finite")
    if not (medium > 0).all():
        raise WavesimError("the medium's bulk modulus and density must be positive in every cell")
    state = mask(medium) * state
    if not isinstance(model, Forecaster):
        return ForecastState(state.numpy(), model.start(state.numpy(), medium.numpy()), None)
    model.require((state.shape[-2], state.shape[-1]))
    device = model.device
    state, medium = state.to(device), medium.to(device)
    with torch.no_grad():
        context = model.encode(medium)
        model.coarse.check(context.stencil)
        return ForecastState(state, context, model.budget(state, context))


def step(model: Forecaster | Stepper, current: ForecastState) -> ForecastState:
    """The forecast one frame later."""
    ahead = current.ahead or _called(model, current)
    return replace(current, state=ahead[0], frame=current.frame + 1, ahead=ahead[1:])


def _called(model: Forecaster | Stepper, current: ForecastState) -> tuple[Any, ...]:
    """The states of the frames that one call forecasts."""
    if not isinstance(model, Forecaster):
        return tuple(model.advance(current.state, current.context).swapaxes(0, 1))
    budget = current.budget if model.config.conserve_energy else None
    with torch.no_grad():
        return tuple(islice(model.frames(current.state, current.context, budget), model.config.bundle))


def rollout(
    model: Forecaster | Stepper, state: Array | Trajectory, medium: Array | None = None, frames: int | None = None
) -> np.ndarray:
    """Forecast `frames` frames from one initial state.

    Args:
        state: (2, y, x) or (batch, 2, y, x); medium likewise. Or a trajectory alone: its first state, in its medium.
        frames: how many to forecast; of a trajectory, by default, all after the first.
    Returns:
        (time, 2, y, x) or (batch, time, 2, y, x) float32, the initial state not included.
    Raises:
        WavesimError: as `init`, no frames, or a trajectory of another frame interval or other sides than the
            forecaster's.
            UnboundedError: a forecast that grew without bound, with its frame.
    """
    if isinstance(state, Trajectory):
        _require_interval(model, state)
        _require_sides(model, state)
        frames = len(state.state) - 1 if frames is None else frames
        return rollout(model, state.state[0], state.medium if medium is None else medium, frames)
    if medium is None or frames is None:
        raise WavesimError("a bare state says no medium and no number of frames: give both, or a whole trajectory")
    if frames < 1:
        raise WavesimError(f"frames is {frames}: a forecast has 1 or more")
    current = init(model, state, medium)
    largest = GROWTH * _size(_numbers(current.state))
    if isinstance(model, CompiledForecaster):  # all frames in one call
        forecast = model.advance(current.state, current.context, frames=frames)
        for frame, values in enumerate(forecast.swapaxes(0, 1), 1):
            _require_bounded(values, largest, frame)
        return forecast[0] if np.ndim(state) == 3 else forecast
    steps = []
    for frame in range(1, frames + 1):
        current = step(model, current)
        steps.append(_require_bounded(_numbers(current.state), largest, frame))
    forecast = np.stack(steps, axis=1)
    return forecast[0] if np.ndim(state) == 3 else forecast


def _require_bounded(values: np.ndarray, largest: np.ndarray, frame: int) -> np.ndarray:
    """The states (batch, 2, y, x) of a frame. Raises UnboundedError where one is larger, or no number."""
    grown = ~(_size(values) <= largest)
    if grown.any():
        raise UnboundedError(frame, int(grown.argmax()))
    return values


def _require_interval(model: Forecaster | Stepper, trajectory: Trajectory) -> None:
    """Raises WavesimError where a frame is another time to the forecaster than to the trajectory, in cells."""
    mine, cell = getattr(model, "courant", None), trajectory.lengths[0] / trajectory.state.shape[-1]
    theirs = trajectory.frame_interval / cell
    if mine is not None and not math.isclose(mine, theirs, rel_tol=1e-4):
        raise WavesimError(
            f"the forecaster was trained on frames of {mine:.3f} cells (frame interval over cell size), trajectory "
            f"{trajectory.name} has {theirs:.3f}: train one on such data, or make data with frame_interval "
            f"{mine * cell:.5g}"
        )


def _require_sides(model: Forecaster | Stepper, trajectory: Trajectory) -> None:
    """Raises WavesimError where the trajectory runs between other sides than the forecaster was made for."""
    mine = model.config.sides if isinstance(model, Forecaster) else getattr(model, "sides", None)
    theirs = trajectory.sides
    if mine is not None and theirs is not None and mine != theirs:
        raise WavesimError(
            f"trajectory {trajectory.name} runs between the sides {', '.join(theirs)} (left, right, bottom, "
            f"top), the forecaster was made for {', '.join(mine)}: train one on such data"
        )


def _numbers(states: Array) -> np.ndarray:
    """As an array, from whichever device."""
    return states if isinstance(states, np.ndarray) else states.cpu().numpy()


def _size(states: np.ndarray) -> np.ndarray:
    """(batch,) of states (batch, 2, y, x)."""
    return np.sqrt(np.sum(np.square(states, dtype=float), axis=(1, 2, 3)))


def _batched(values: Array, what: str) -> torch.Tensor:
    given = torch.as_tensor(values)
    tensor = given.to(torch.float32)
    if (tensor.isinf() & ~given.isinf()).any():
        raise WavesimError(f"{what} holds values that single precision does not; its largest is 3.4e38")
    if tensor.ndim == 3:
        tensor = tensor[None]
    if tensor.ndim != 4 or tensor.shape[1] != 2:
        raise WavesimError(f"{what} has shape {tuple(np.shape(values))}; expected (2, y, x) or (batch, 2, y, x)")
    return tensor.contiguous()
