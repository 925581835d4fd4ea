"""What a session runs: a truth, which is the FE solver, live, or a dataset that it wrote, played back; and forecasters.

Both truths show one trajectory of each packing of a dataset's split: it is the packing that decides how the wave runs.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from wavesim.dataset import WaveDataset
from wavesim.errors import WavesimError
from wavesim.fits import check_fits


class TruthSource(Protocol):
    """Where the truth comes from. label: its name on the screen; engine: what computes it; names: of the packings it
    has; milliseconds: of the last frame, 0 until one is computed. States are (2, y, x) of (p, dt p_t), media (2, y, x)
    of (kappa, rho)."""

    label: str
    engine: str
    names: tuple[str, ...]
    takes_pulses: bool
    frame_interval: float
    milliseconds: float

    def start(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Initial state and medium of packing `index`."""

    def step(self) -> np.ndarray | None:
        """The state one frame later, or None where the record ends."""

    def add_pulse(self, x: float, y: float, width: float, amplitude: float) -> np.ndarray:
        """The present state with a Gaussian added to its pressure."""

    def close(self) -> None:
        """Let go of files and processes."""


class Forecaster(Protocol):
    """`init(state, medium) -> s` and `step(s) -> s`, with the state (2, y, x) or (1, 2, y, x) in `s.state`.

    A state need stand no longer than until the step after next: forecasters may write each over the last but one.
    engine: what computes it, for who reads its milliseconds.
    """

    @property
    def engine(self) -> str: ...

    def init(self, state: np.ndarray, medium: np.ndarray) -> Any: ...

    def step(self, s: Any) -> Any: ...


class ErrorBand(Protocol):
    """What bounds the error of a forecaster without the truth: `init` and `step` beside the forecaster's own, `altered`
    where its state is changed from outside. bound: of the present error, with the probability `level`, or None."""

    @property
    def level(self) -> float: ...

    def init(self, state: np.ndarray, medium: np.ndarray) -> Any: ...

    def step(self, current: Any, state: np.ndarray) -> Any: ...

    def altered(self, current: Any, state: np.ndarray) -> Any: ...


def as_array(state: Any) -> np.ndarray:
    """(2, y, x) float32 of a state that may be a torch tensor and may carry a batch axis of one."""
    return np.asarray(state, np.float32).reshape(np.shape(state)[-3:])


def gaussian_cells(grid: tuple[int, int], x: float, y: float, width: float, amplitude: float) -> np.ndarray:
    """(y, x) float32: a Gaussian around (x, y), averaged over the cells of a `grid` (y, x) of the unit square."""

    def averages(cells: int, centre: float) -> np.ndarray:
        edges = [math.erf((i / cells - centre) / (math.sqrt(2.0) * width)) for i in range(cells + 1)]
        return width * math.sqrt(math.pi / 2) * cells * np.diff(edges)

    return (amplitude * np.outer(averages(grid[0], y), averages(grid[1], x))).astype(np.float32)


class _FirstTrajectories:
    """The first trajectory through each packing of a dataset."""

    milliseconds = 0.0

    def __init__(self, data: WaveDataset):
        self._data = data
        first: dict[str, int] = {}
        for index in range(len(data)):
            first.setdefault(data.packing(index), index)
        self.names, self._indices = tuple(first), tuple(first.values())
        self.frame_interval = data.frame_interval


class RecordedTruth(_FirstTrajectories):
    """Plays trajectories of a dataset. It needs no dolfinx; a pulse cannot be added to what is already computed."""

    label, engine, takes_pulses = "FE truth, recorded", "recorded", False

    def start(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        self._played = self._data.window(self._indices[index], 0, self._data.frames)
        self._frame = 0
        return self._played[0], self._data.medium(self._indices[index])

    def step(self) -> np.ndarray | None:
        if self._frame + 1 == len(self._played):
            return None
        self._frame += 1
        return self._played[self._frame]

    def add_pulse(self, x: float, y: float, width: float, amplitude: float) -> np.ndarray:
        raise WavesimError("a recorded truth takes no pulse: the live solver needs dolfinx")

    def close(self) -> None:
        """Nothing is held open between frames."""


class LiveTruth(_FirstTrajectories):
    """The FE solver in a process of its own, on the media of a dataset; it never ends and takes pulses."""

    label, engine, takes_pulses = "FE truth, live", "one thread", True
    _solver: Any = None

    def start(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        from wavesim.fem import LiveSolver

        self.close()
        stem, row = self._data.name(self._indices[index]).rsplit(":", 1)
        shard = self._data.root / "data" / self._data.split / f"{stem}.hdf5"
        self._solver = LiveSolver(shard, int(row))
        self.engine = f"degree {self._solver.degree}, one thread"
        return self._solver.state, self._solver.medium

    def step(self) -> np.ndarray:
        state, self.milliseconds = self._solver.step()
        return state

    def add_pulse(self, x: float, y: float, width: float, amplitude: float) -> np.ndarray:
        self._solver.add_pulse(x, y, width, amplitude)
        return self._solver.state

    def close(self) -> None:
        if self._solver is not None:
            self._solver.close()
            self._solver = None


class SavedForecaster:
    """A forecaster read from its .safetensors file, for the waves of a dataset, in the runtime that is fastest here.

    Attributes:
        log: one line that says which runtime runs, what a frame takes in each, and what keeps it from the others.
        band: what bounds its error, from the file beside it, or None.
    Raises:
        WavesimError: not the file of a forecaster, or of one for another frame interval.
    """

    def __init__(self, path: Path, data: WaveDataset):
        import torch  # it takes seconds to import: only who forecasts pays for it

        from wavesim import surrogate
        from wavesim.bench import fastest
        from wavesim.surrogate.band import band_file, load_band
        from wavesim.surrogate.checkpoint import fingerprint_of

        self._surrogate = surrogate
        model = surrogate.load(path)
        check_fits(path, model, data)
        chosen = fastest(model, data.window(0, 0, 1)[0], data.medium(0), path.with_suffix(""))
        self._stepper = chosen.stepper
        threads = torch.get_num_threads() if chosen.runtime == "torch" else 1
        self.engine = f"{chosen.runtime}, {'one thread' if threads == 1 else f'{threads} threads'}"
        times = ", ".join(f"{name} {taken:.2f}" for name, taken in chosen.milliseconds.items())
        self.log = f"runs in {chosen.runtime} (milliseconds a frame here: {times})"
        self.log += f"; {chosen.why_not}" if chosen.why_not else ""
        self.band: ErrorBand | None = None
        if band_file(path).is_file():
            try:
                found = load_band(band_file(path))
                found.require(fingerprint_of(model), data)
                self.band = found
                self.log += f"; {found}"
            except WavesimError as error:
                self.log += f"; no band: {error}"

    def init(self, state: np.ndarray, medium: np.ndarray) -> Any:
        return self._surrogate.init(self._stepper, state, medium)

    def step(self, s: Any) -> Any:
        return self._surrogate.step(self._stepper, s)
