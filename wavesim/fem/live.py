"""The FE solver in a process of its own, for a window that must go on drawing while it computes.

The trajectory of a stored file is started afresh from its initial state; `request` asks for the next frame and returns
at once, `result` collects it, and `step` does both. A pulse that is added while a frame is under way joins the wave at
the end of that frame. The wave equation is linear: a pulse at rest is added to the state as its own initial state.
"""

from __future__ import annotations

import time
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from wavesim import processes
from wavesim.errors import WavesimError, missing_engine
from wavesim.fem import simulation, stepper
from wavesim.fem.budget import check_growth
from wavesim.fem.source import Pulse
from wavesim.fem.stored import prepare


class LiveSolver:
    """A running simulation in a second process; use it in a `with` block, or call `close`.

    medium: (channel, y, x) float32 of (kappa, rho); state: (channel, y, x) float32 of (p, dt p_t), the last collected;
    degree: of the polynomials.

    Example:
        with LiveSolver("data/test/packing_000003.hdf5", row=0) as solver:
            state, milliseconds = solver.step()

    Raises:
        WavesimError: no such trajectory, dolfinx missing or broken; later on from `result`: an unstable run, a process
            that died.
    """

    def __init__(self, shard: str | Path, row: int, elements: int | None = None, degree: int | None = None):
        if find_spec("dolfinx") is None:
            raise missing_engine("dolfinx", "the live solver", "fem")
        context = processes.Spawn()
        self._connection, theirs = context.Pipe()
        arguments = (theirs, str(shard), row, elements, degree)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        with processes.single_threaded():
            self._process.start()
        theirs.close()  # so that the end of the process is an end of file here
        self._pending = False
        self._pulses: list[Pulse] = []
        self.degree: int
        self.medium: np.ndarray
        self.state: np.ndarray
        try:
            self.degree, self.medium, self.state = self._receive()
        except BaseException:
            self.close()
            raise

    def step(self) -> tuple[np.ndarray, float]:
        """The next frame: state (channel, y, x) float32, and the milliseconds that computing it took."""
        self.request()
        collected = self.result()
        assert collected is not None  # without a timeout, result waits
        return collected

    def request(self) -> None:
        """Ask for the next frame, unless one is already under way."""
        if not self._pending:
            self._send(None)
            self._pending = True

    def result(self, timeout: float | None = None) -> tuple[np.ndarray, float] | None:
        """The frame asked for, as in `step`; None if it is not ready within `timeout` seconds (left out: wait)."""
        if not self._pending:
            raise WavesimError("no frame is under way: call request() before result()")
        if timeout is not None and not self._connection.poll(timeout):
            return None
        self._pending = False
        self.state, milliseconds = self._receive()
        self._add_pulses()
        return self.state, milliseconds

    def add_pulse(self, x: float, y: float, width: float, amplitude: float = 1.0) -> None:
        """Add a Gaussian pulse of pressure, at rest; `state` has it at once, or with the frame that is under way."""
        if not width > 0:
            raise WavesimError(f"width {width} of a pulse must be positive")
        self._pulses.append(Pulse((x, y), width, amplitude))
        if not self._pending:
            self._add_pulses()

    def close(self) -> None:
        """End the process; a frame under way is dropped."""
        self._connection.close()
        self._process.join(timeout=5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def __enter__(self) -> LiveSolver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _add_pulses(self) -> None:
        while self._pulses:
            self._send(self._pulses.pop(0))
            self.state, _ = self._receive()

    def _send(self, message: Pulse | None) -> None:
        try:
            self._connection.send(message)
        except OSError as error:
            raise self._died() from error

    def _receive(self) -> Any:
        try:
            answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._died() from error
        if isinstance(answer, WavesimError):
            raise answer
        return answer

    def _died(self) -> WavesimError:
        self._process.join(timeout=1)
        remedy = "start a new LiveSolver" if hasattr(self, "state") else "see how `python -c 'import dolfinx'` ends"
        return WavesimError(f"the solver's process has ended (exit code {self._process.exitcode}); {remedy}")


def _serve(connection: Connection, shard: str, row: int, elements: int | None, degree: int | None) -> None:
    """The second process: answer until the other end of the pipe is closed."""
    processes.follow_parent()
    try:
        _answer(connection, shard, row, elements, degree)
    except (EOFError, ConnectionError):
        pass  # the other end was closed
    except WavesimError as error:
        connection.send(error)
    except Exception as error:
        connection.send(WavesimError(f"the solver's process failed: {type(error).__name__}: {error}"))


def _answer(connection: Connection, shard: str, row: int, elements: int | None, degree: int | None) -> None:
    config, medium, problem, state = prepare(shard, row, elements, degree)
    first = stepper.frame(problem.operator, state)
    allowed = float(first.energy)
    # Pressure as it is, the rate scaled by the frame interval: the state of the rest of the project.
    scale = np.array([1.0, config.frame_interval])[:, None, None]

    def channels(frame: stepper.Frame) -> np.ndarray:
        return (simulation.sample(problem, frame) * scale).astype(np.float32)

    degree = config.degree if degree is None else degree
    connection.send((degree, medium.cells(problem.grid).astype(np.float32), channels(first)))
    frames = 0
    while True:
        added: Pulse | None = connection.recv()  # None asks for the next frame
        begin = time.perf_counter()
        if added is None:
            state, frames = simulation.next_frame(problem, state), frames + 1
        else:
            state = stepper.superposed(state, simulation.start(problem, added))
        frame = stepper.frame(problem.operator, state)
        fields = channels(frame)
        milliseconds = (time.perf_counter() - begin) * 1e3
        if added is None:
            check_growth(float(frame.energy), allowed, frames)
        else:
            allowed = float(frame.energy)
        connection.send((fields, milliseconds))
