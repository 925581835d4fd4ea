"""Waves through granular matter, computed exactly once and forecast ever after.

import wavesim
model = wavesim.load("data/models/demo/compressed.safetensors")
forecast = wavesim.rollout(model, state, medium, frames=64)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from wavesim.dataset import WaveDataset
    from wavesim.errors import WavesimError
    from wavesim.surrogate import Forecaster, OnnxForecaster, export_onnx, init, load, rollout, save, step
    from wavesim.units import Scale

_HOME = {
    "Forecaster": "surrogate",
    "OnnxForecaster": "surrogate",
    "Scale": "units",
    "WaveDataset": "dataset",
    "WavesimError": "errors",
    "export_onnx": "surrogate",
    "init": "surrogate",
    "load": "surrogate",
    "rollout": "surrogate",
    "save": "surrogate",
    "step": "surrogate",
}

__all__ = [
    "Forecaster",
    "OnnxForecaster",
    "Scale",
    "WaveDataset",
    "WavesimError",
    "export_onnx",
    "init",
    "load",
    "rollout",
    "save",
    "step",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: torch is not loaded by `import wavesim`."""
    if name in _HOME:
        return getattr(import_module(f"wavesim.{_HOME[name]}"), name)
    raise AttributeError(f"module 'wavesim' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
