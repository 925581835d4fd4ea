"""What the live window does, without a pixel: truth and forecast side by side, frame by frame, and the error's history.

    truth     p_k, asked of a source that may be slow: it works in a thread of its own, so that nobody waits for it
    forecast  f_k, one call of the forecaster while the truth is being computed
    error     e_k = sqrt( sum (f_k - p_k)^2 / sum p_k^2 )
    bound     of e_k, which a forecaster's band tells without the truth, where it has one (surrogate/band.py)

A pulse dropped at (x0, y0) adds a exp(-r^2 / (2 w^2)), averaged over each cell, to the pressure of both. Commands
(start a packing, choose a forecaster, drop a pulse) wait in a queue until the frame in hand is whole, so that truth
and forecast always get them between the same two frames.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from wavesim import metrics
from wavesim.errors import WavesimError
from wavesim.viz.sources import ErrorBand, Forecaster, TruthSource, as_array, gaussian_cells

UNBOUNDED = 1000.0  # relative L2 of a forecast that has blown up
LATEST = 16  # frames whose median the milliseconds are: the first call, and a busy moment, take far longer


class Session:
    """The running comparison. Drive it by `poll` from a window's timer, or by `advance` from a script.

    Args:
        source: of the truth; models: name -> forecaster, the first being the one to begin with.
        pulse_width, pulse_amplitude: of the pulses that are dropped (width in domain sides).
        fallback: a source of the same packings that takes over for good if `source` cannot start.
        log: what there is to say of the forecasters, a line each.
        bands: name -> what bounds that forecaster's error.
    Attributes:
        truth, forecast: (2, y, x) present states; medium: (2, y, x); empty until the first packing is ready.
        errors: name -> [(time since that forecast began, relative L2)], of the packing on show.
        bounds: likewise, [(time since that forecast began, bound)], as far as its band goes.
        as_calibrated: whether the present forecast began as those that calibrate bands do, and had no pulse since: if
            not, its bound is an estimate without a probability.
        message: one line for the user, empty when there is nothing to say.
        why_recorded: why the fallback took over, empty where it did not.
    Raises:
        WavesimError: no forecaster, or no packing.
    """

    def __init__(
        self,
        source: TruthSource,
        models: Mapping[str, Forecaster],
        pulse_width: float = 0.05,
        pulse_amplitude: float = 1.0,
        fallback: TruthSource | None = None,
        log: Sequence[str] = (),
        bands: Mapping[str, ErrorBand] | None = None,
    ):
        if not models or not source.names:
            raise WavesimError(f"a session needs a forecaster and a packing; got {len(models)} and {len(source.names)}")
        self.source, self.models, self.log = source, dict(models), tuple(log)
        self.bands = dict(bands or {})
        self.pulse_width, self.pulse_amplitude = pulse_width, pulse_amplitude
        self.model_name = next(iter(self.models))
        self.packing = 0
        self.paused = self.ended = False
        self.message = self.why_recorded = ""
        self.clock = 0.0
        self.frames = 0
        self._fallback = fallback
        self._truth_spent: deque[float] = deque(maxlen=LATEST)
        self._forecast_spent: deque[float] = deque(maxlen=LATEST)
        self.errors: dict[str, list[tuple[float, float]]] = {}
        self.bounds: dict[str, list[tuple[float, float]]] = {}
        self.as_calibrated = True
        self.truth = self.forecast = self.medium = np.empty((2, 0, 0), np.float32)
        self._running: Any = None  # the forecaster's own state, at the present frame
        self._bounded: Any = None  # its band's, where it has one
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="truth")
        self._commands: deque[Callable[[], None]] = deque()
        self._awaited: tuple[Future[Any], Callable[[Any], None]] | None = None
        self.switch_packing(0)

    @property
    def ready(self) -> bool:
        """Whether there is a field to show."""
        return self.medium.size > 0

    @property
    def state(self) -> str:
        """preparing, paused, ended or running."""
        if not self.ready or self._starting:
            return "preparing"
        return "paused" if self.paused else "ended" if self.ended else "running"

    @property
    def packing_name(self) -> str:
        return self.source.names[self.packing]

    @property
    def error(self) -> float:
        """The present relative L2 error, 0 before the first forecast frame."""
        history = self.errors.get(self.model_name)
        return history[-1][1] if history else 0.0

    @property
    def bound(self) -> float | None:
        """The present bound of that error, None where there is none."""
        return self._bounded.bound if self._bounded is not None else None

    @property
    def truth_milliseconds(self) -> float:
        """What a frame of the truth takes to compute, 0 while none was."""
        return statistics.median(self._truth_spent or (0.0,))

    @property
    def forecast_milliseconds(self) -> float:
        """What a frame of the present forecaster takes, 0 before its first."""
        return statistics.median(self._forecast_spent or (0.0,))

    # Commands. Each takes effect between two frames, in the order given.

    def switch_packing(self, index: int) -> None:
        """Go to another packing, counted round, and begin there."""
        self.packing = index % len(self.source.names)
        self._begin_truth(keep_errors=False)

    def restart(self) -> None:
        """Begin the packing on show again; the other forecasters' error curves stay for comparison."""
        self._begin_truth(keep_errors=True)

    def switch_model(self, name: str) -> None:
        """Let another forecaster go on from the present truth.

        Raises:
            WavesimError: no such forecaster.
        """
        if name not in self.models:
            raise WavesimError(f"no forecaster '{name}' here; there are {', '.join(self.models)}")

        def switch() -> None:
            self.model_name = name
            self._forecast_spent.clear()
            self._begin_forecast()

        self._commands.append(switch)
        self._serve()

    def drop_pulse(self, x: float, y: float) -> None:
        """Add a Gaussian pulse at (x, y) of the unit square to truth and forecast alike."""
        if not self.source.takes_pulses:
            self.message = f"a recorded truth takes no pulse: {self.why_recorded or 'the live solver needs dolfinx'}"
            return
        width, amplitude = self.pulse_width, self.pulse_amplitude
        self._commands.append(lambda: self._await(self._added, self.source.add_pulse, x, y, width, amplitude))
        where = (x, y)

        def forecast_too() -> None:
            state = as_array(self._running.state).copy()
            state[0] += gaussian_cells((state.shape[1], state.shape[2]), *where, width, amplitude)
            # A new start, because the forecaster's energy budget has to grow by what the pulse brings in.
            self._running = self.models[self.model_name].init(state, self.medium)
            self.forecast, self.as_calibrated = state, False
            if self._bounded is not None:
                self._bounded = self.bands[self.model_name].altered(self._bounded, state)

        self._commands.append(forecast_too)
        self._serve()

    def toggle_pause(self) -> None:
        self.paused = not self.paused

    # Time.

    def poll(self, begin: bool = True) -> bool:
        """Never waits: take what has arrived and, if `begin`, set the next frame going; True when something changed."""
        changed = self._take()
        changed |= self._serve()
        if begin and self._awaited is None and self.state == "running":
            self._begin_frame()
        return changed

    def settle(self) -> None:
        """Wait until all commands given so far have taken effect."""
        while self._awaited or self._commands:
            self._wait()

    def advance(self) -> bool:
        """One frame, waiting for the truth; False when paused or at the end of the record."""
        self.settle()
        if self.paused or self.ended:
            return False
        before = self.frames
        self._begin_frame()
        self.settle()
        return self.frames > before

    def close(self) -> None:
        """Let go of the truth's source; the session is over."""
        self._commands.clear()
        self._worker.submit(self.source.close)
        self._worker.shutdown(wait=True)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # One piece of work at a time is with the truth's thread; commands that follow wait for it.

    def _await(self, then: Callable[[Any], None], work: Callable[..., Any], *arguments: Any) -> None:
        self._awaited = self._worker.submit(work, *arguments), then

    def _take(self) -> bool:
        if self._awaited is None or not self._awaited[0].done():
            return False
        (future, then), self._awaited = self._awaited, None
        then(future.result())
        return True

    def _serve(self) -> bool:
        served = False
        while self._commands and self._awaited is None:
            self._commands.popleft()()
            served = True
        return served

    def _wait(self) -> None:
        if self._awaited is not None:
            self._awaited[0].exception()  # waits; `_take` raises what there is to raise
        self._take()
        self._serve()

    def _begin_truth(self, keep_errors: bool) -> None:
        self._commands.clear()  # what was meant for the packing that is left
        self._starting = True
        self.message = ""

        def started(answer: tuple[TruthSource, tuple[np.ndarray, np.ndarray], str]) -> None:
            self.source, (truth, medium), why = answer
            if why:
                self._fallback, self.why_recorded, self.message = None, why, f"the truth is recorded, not live: {why}"
            self.truth, self.medium = as_array(truth), as_array(medium)
            self.clock, self.frames, self.ended, self._starting = 0.0, 0, False, False
            if not keep_errors:
                self.errors, self.bounds = {}, {}
            self._begin_forecast()

        index = self.packing
        self._commands.append(lambda: self._await(started, self._start, self.source, self._fallback, index))
        self._serve()

    @staticmethod
    def _start(
        source: TruthSource, fallback: TruthSource | None, index: int
    ) -> tuple[TruthSource, tuple[np.ndarray, np.ndarray], str]:
        """The source that could start, its state and medium, and why it is not the first choice."""
        try:
            return source, source.start(index), ""
        except WavesimError as error:
            if fallback is None:
                raise
            source.close()
            return fallback, fallback.start(index), str(error)

    def _begin_forecast(self) -> None:
        self._running = self.models[self.model_name].init(self.truth, self.medium)
        self.forecast, self.ended = self.truth, False
        self.errors[self.model_name], self.bounds[self.model_name] = [], []
        band = self.bands.get(self.model_name)
        self._bounded = band.init(self.truth, self.medium) if band else None
        self.as_calibrated = self.frames == 0

    def _added(self, state: np.ndarray) -> None:
        self.truth = as_array(state)

    def _begin_frame(self) -> None:
        self._await(self._arrived, self.source.step)
        begin = time.perf_counter()
        self._next = self.models[self.model_name].step(self._running)
        self._forecast_spent.append(1e3 * (time.perf_counter() - begin))
        if self._bounded is not None:
            state = as_array(self._next.state)
            self._next_bounded = self.bands[self.model_name].step(self._bounded, state)

    def _arrived(self, state: np.ndarray | None) -> None:
        if state is None:
            self.ended = True
            self.message = "the record ends here: r restarts, n goes to the next packing"
            return
        self._running = self._next
        self.truth, self.forecast = as_array(state), as_array(self._running.state)
        self.frames += 1
        self.clock = self.frames * self.source.frame_interval
        if self.source.milliseconds:
            self._truth_spent.append(self.source.milliseconds)
        history = self.errors[self.model_name]
        lead = (len(history) + 1) * self.source.frame_interval
        error = float(metrics.relative_l2(self.forecast[0], self.truth[0]))
        history.append((lead, error))
        if not error < UNBOUNDED:
            self.ended = True
            self.message = (
                f"{self.model_name} grew without bound by frame {len(history)}: r restarts, 1 2 3 take another"
            )
        if self._bounded is not None:
            self._bounded = self._next_bounded
            if self._bounded.bound is not None:
                self.bounds[self.model_name].append((lead, self._bounded.bound))
