"""The forecasters of pareto.py: files of models, their errors, and their frames in the fastest runtime that knows them.

Timed are a frame in PyTorch, the whole forecast by one call of the compiled loops where these know the network, and a
frame in ONNX Runtime where they do not, in single precision. What a model cost is read beside it where it is told: the
seconds of its training in the log of its run (`wavesim train`), those of its data, packings included, in the dataset
whose hash its file states. A frame may be several of the race's.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pareto_cases import Case
from pareto_solvers import errors, medium_on, steps_of
from pareto_truth import Truth

from wavesim.dataset import WaveDataset
from wavesim.errors import WavesimError
from wavesim.provenance import file_hash, read_lines
from wavesim.surrogate import Forecaster, OnnxForecaster, export_onnx, init, load, rollout
from wavesim.surrogate.checkpoint import read_header
from wavesim.surrogate.data import data_hash
from wavesim.surrogate.loops import CompiledForecaster, in_loops
from wavesim.surrogate.rollout import UnboundedError
from wavesim.turns import forecasting, forecasting_all


@dataclass(frozen=True)
class Model:
    """A file of a forecaster. trained: [kappa, rho] of the grains that it was trained on, where that is known, each a
    number or its [least, most]; seconds: of its training, and of the data's generation (by one process), where they
    are."""

    path: Path
    name: str
    fingerprint: str
    trained: list[Any] | None
    seconds: dict[str, float]

    def about(self) -> dict[str, Any]:
        model = load(self.path)
        told = {
            "trained": self.trained,
            "seconds": self.seconds,
            "parameters": model.weights(),
            "fingerprint": self.fingerprint,
        }
        return {**told, "name": self.name, "kind": "forecaster", "family": model.config.kind}


def models(paths: Sequence[Path], data: Sequence[Path], training: float | None, packings: Path | None) -> list[Model]:
    """Those of the files, by their names, a second of a name by its folder's too; `training`: seconds of each whose
    folder does not tell them; `packings`: that the data went through."""
    made = read_lines(packings.with_name("packings.jsonl")) if packings else []
    known = {data_hash(root, [WaveDataset(root, part) for part in ("train", "valid")]): root for root in data}
    found = []
    for path in paths:
        taken = {other.name for other in found}
        name = f"{path.parent.name}/{path.stem}" if path.stem in taken else path.stem
        root = known.get(read_header(path)["about"].get("data", {}).get("hash", ""))
        spent = _training(path) or training
        seconds = {"training": spent} if spent else {}
        trained = None
        if root is not None:
            config = WaveDataset(root, "train").about(0)["config"]
            pairs = ("bulk_modulus", "bulk_moduli"), ("density", "densities")
            trained = [config.get(several) or config[one] for one, several in pairs]
            lines = [line for line in read_lines(root / "run.jsonl") if line["split"] != "test"]
            through = {line["file"].removeprefix("packing_") for line in lines}
            seconds["data"] = sum(line["seconds"] for line in lines)
            seconds["data"] += sum(line["seconds"] for line in made if line["name"] in through)
        found.append(Model(path, name, file_hash(path)[:12], trained, seconds))
    return found


def errors_of(case: Case, truth: Truth, given: Model) -> dict[str, Any]:
    """A line of errors, or of why there are none.

    Raises:
        WavesimError: the coarse step is unstable in this medium.
    """
    model, grid = load(given.path), case.config.grid
    each = _frames_of(model, case)
    if not each:
        return {"refused": f"made for frames of {model.courant:.3g} cells: half a crossing is no whole number of them"}
    try:
        state, frames = _state(truth, grid, each), case.scale.frames // each
        found = rollout(in_loops(model), state, medium_on(case, grid)[None], frames)
    except UnboundedError as grown:
        return {"refused": f"grew without bound by frame {grown.frame}"}
    return {"state": errors(found[:, :, 0], truth), "steps": steps_of(model, medium_on(case, grid))}


def _frames_of(model: Forecaster, case: Case) -> int:
    """How many of the race's frames one of the model's is; 0 where it has none at half a crossing."""
    shares = model.courant / (case.config.frame_interval * case.config.grid)
    each = round(shares)
    return each if each and abs(shares - each) < 1e-4 * each and case.scale.frames // 2 % each == 0 else 0


def _state(truth: Truth, grid: int, each: int) -> np.ndarray:
    """(burst, 2, y, x) of (p, dt p_t) at frame 0, for frames that are so many of the race's."""
    return truth.states[grid] * np.array([1, each], np.float32)[:, None, None]


def frames_of(
    case: Case, truth: Truth, given: Model, batch: int, graphs: Path, room: np.ndarray
) -> dict[str, tuple[Callable[[], None], int, int]]:
    """By runtime, what forecasts a batch of simulations in this medium, how many calls make a run, and how many of the
    race's frames a call makes; room: as of `forecasting_all`."""
    model, grid, frames = load(given.path), case.config.grid, case.scale.frames
    each = _frames_of(model, case)
    states = np.repeat(_state(truth, grid, each)[:1], batch, axis=0)
    medium, bundle = medium_on(case, grid)[None], model.config.bundle
    found = {"PyTorch": (forecasting(model, states, medium), bundle, each)}
    try:
        run = forecasting_all(CompiledForecaster(model), states, medium, frames // each, room)
        found["compiled loops"] = run, 1, frames
    except WavesimError:
        try:
            path = graphs / f"{given.fingerprint}-{grid}-{batch}"
            export_onnx(model, path, (grid, grid), batch)
            media = np.repeat(medium, batch, axis=0)
            found["ONNX Runtime"] = forecasting(OnnxForecaster(path), states, media), bundle, each
        except WavesimError:  # Fourier modes
            pass
    return found


def seconds_of(case: Case, truth: Truth, given: Model) -> dict[str, float]:
    """Of the processor, once a medium: averages over the grid's cells, and the encoder."""
    begin = time.process_time()
    medium = medium_on(case, case.config.grid)
    averaging = time.process_time() - begin
    model, taken = in_loops(load(given.path)), []
    for _ in range(4):
        begin = time.process_time()
        init(model, truth.states[case.config.grid][:1], medium[None])
        taken.append(time.process_time() - begin)
    return {"averaging": averaging, "encoder": min(taken)}


def _training(path: Path) -> float | None:
    """Seconds that the log of a model's run tells last, or the card of a shipped one."""
    log, card = path.parent / "log.txt", path.parent / "README.md"
    told = re.findall(r"; ([\d.]+) s$", log.read_text(), re.MULTILINE) if log.exists() else []
    if not told and card.exists():
        section = rf"^## {re.escape(path.stem)}$.*?^\| training time \| (\d+) s"
        told = re.findall(section, card.read_text(), re.MULTILINE | re.DOTALL)
    return float(told[-1]) if told else None
