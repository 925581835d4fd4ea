"""What a forecaster of apriori.py costs: milliseconds of a frame and of a training step, and memory, all in turns.

frame               ONNX Runtime, and the compiled loops where they know the network; PyTorch where neither does
training step       forward and back in batches of 4, in bfloat16 and in float32, over the study's unrolls by their
                    shares: a step is linear in the unroll, and those of 1 and of 8 frames are timed
training memory     what autograd keeps of one frame of one trajectory, in both
prediction memory   the most that PyTorch holds at once in a frame, weights and context not counted; and what the
                    compiled loops hold for one trajectory, weights and gates included
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from wavesim.config import ForecasterConfig
from wavesim.errors import WavesimError
from wavesim.provenance import settings_hash, write_json
from wavesim.surrogate import Forecaster, OnnxForecaster, export_onnx, init
from wavesim.surrogate.loops import CompiledForecaster
from wavesim.surrogate.train import keep_freed_memory
from wavesim.turns import forecasting, in_turns

Precise = Callable[[], torch.autocast]
TURNS, BURST = 10, 3
TRAINING_TURNS, TRAINING_BURST = 5, 2
BATCH = 4
UNROLLS, SHARES = (1, 2, 4, 8), (0.2, 0.2, 0.25, 0.35)


def costs(
    forecasters: dict[str, ForecasterConfig], grid: int, out: Path, finished: bool = False
) -> dict[str, dict[str, float]]:
    """By name; kept in OUT/costs.json, where those that are there with these settings are not measured again."""
    path = out / "costs.json"
    known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    schedule = [UNROLLS, SHARES]
    settings = {name: settings_hash([config.model_dump(), grid, schedule]) for name, config in forecasters.items()}
    missing = {
        name: config for name, config in forecasters.items() if known.get(name, {}).get("settings") != settings[name]
    }
    if finished or not missing:
        return known
    keep_freed_memory()  # as training does
    with tempfile.TemporaryDirectory() as folder:
        known |= _measured(missing, grid, Path(folder))
    for name in missing:
        known[name]["settings"] = settings[name]
    out.mkdir(parents=True, exist_ok=True)
    write_json(path, known)
    return known


def _trained_in(precision: str) -> Precise:
    """A context for each pass forward, as training takes it."""
    return lambda: torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")


TRAINED = {"training": _trained_in("bfloat16"), "training_float32": _trained_in("float32")}


def _measured(forecasters: dict[str, ForecasterConfig], grid: int, folder: Path) -> dict[str, dict[str, float]]:
    x = (np.arange(grid) + 0.5) / grid - 0.5
    pulse = np.exp(-(x**2 + x[:, None] ** 2) / (2 * 0.05**2))
    state = np.stack((pulse, 0 * pulse)).astype(np.float32)
    medium = np.ones((2, grid, grid), np.float32)
    found: dict[str, dict[str, float]] = {}
    timed: dict[tuple[str, str], tuple[Callable[[], None], int]] = {}  # what is done, and its calls that make a run
    trained: dict[tuple[str, str, int], tuple[Callable[[], None], int]] = {}  # and the unroll
    for number, (name, config) in enumerate(forecasters.items()):
        torch.manual_seed(0)
        model = Forecaster(config, grid / 32).eval()
        if model.network:
            torch.nn.init.normal_(model.network.head.weight, std=1e-3)
        found[name] = {
            "parameters": model.weights(),
            "macs": model.macs((grid, grid))["frame"],
            "prediction_bytes": _most(model, state, medium),
        }
        for kind, precise in TRAINED.items():
            found[name][f"{kind}_bytes"] = _kept(model, state, medium, precise)
            for unroll in (UNROLLS[0], UNROLLS[-1]):
                trained[name, kind, unroll] = _training(model, state, medium, precise, unroll), 1
        timed[name, "torch_milliseconds"] = forecasting(model, state, medium), config.bundle
        try:
            export_onnx(model, folder / str(number), (grid, grid))
            graph = OnnxForecaster(folder / str(number))
            timed[name, "onnx_milliseconds"] = forecasting(graph, state, medium), config.bundle
            loops = CompiledForecaster(model)
            timed[name, "compiled_milliseconds"] = forecasting(loops, state, medium), config.bundle
            (held,) = loops.start(state[None], medium[None])
            found[name]["compiled_bytes"] = sum(part.nbytes for part in held.arrays if isinstance(part, np.ndarray))
        except WavesimError:  # a network that the one or the other does not know
            pass
    for (name, kind), taken in in_turns(timed, TURNS, BURST).items():
        found[name][kind], found[name][f"{kind}_median"] = taken
    steps = in_turns(trained, TRAINING_TURNS, TRAINING_BURST)
    for name in forecasters:
        for kind in TRAINED:
            first, last = (np.array(steps[name, kind, unroll]) for unroll in (UNROLLS[0], UNROLLS[-1]))
            least, median = of_a_training(first, last)
            found[name] |= {f"{kind}_milliseconds": float(least), f"{kind}_milliseconds_median": float(median)}
    return found


def of_a_training(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Milliseconds of the mean step, by those of the shortest and of the longest unroll."""
    frames = np.array(UNROLLS)
    return first + (last - first) * (np.dot(frames, SHARES) - frames[0]) / (frames[-1] - frames[0])


def _training(
    model: Forecaster, state: np.ndarray, medium: np.ndarray, precise: Precise, unroll: int
) -> Callable[[], None]:
    states, media = (torch.from_numpy(part).expand(BATCH, -1, -1, -1).clone() for part in (state, medium))

    def work() -> None:
        with precise():
            context, forecast, loss = model.encode(media), states, torch.zeros(())
            for _ in range(unroll):
                forecast = model(forecast, context)
                loss = loss + (forecast - states).square().sum()
        loss.backward()
        model.zero_grad()

    return work


def _kept(model: Forecaster, state: np.ndarray, medium: np.ndarray, precise: Precise) -> int:
    """Bytes that autograd keeps of a frame, parameters and what is kept twice counted once or not."""
    own = {p.untyped_storage().data_ptr() for p in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), precise():
        forecast = model(torch.from_numpy(state[None]), model.encode(torch.from_numpy(medium[None])))
    del forecast
    return sum(kept.values())


def _most(model: Forecaster, state: np.ndarray, medium: np.ndarray) -> int:
    """Bytes: the highest sum of what a frame has taken and not yet given back."""
    begun = init(model, state, medium)
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        model(begun.state, begun.context)
    changes = [
        (event.start_ns(), event.nbytes())
        for event in seen.profiler.kineto_results.events()
        if event.name() == "[memory]"
    ]
    return int(max(np.cumsum([size for _, size in sorted(changes)], dtype=np.int64), default=0))
