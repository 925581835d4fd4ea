"""The forecaster: one-way and classical networks that advance a wave field by one frame, trained on FE trajectories."""

from wavesim.surrogate.checkpoint import load, save
from wavesim.surrogate.export import OnnxForecaster, export_onnx
from wavesim.surrogate.models import Forecaster
from wavesim.surrogate.rollout import ForecastState, init, rollout, step
from wavesim.surrogate.train import train

__all__ = [
    "ForecastState",
    "Forecaster",
    "OnnxForecaster",
    "export_onnx",
    "init",
    "load",
    "rollout",
    "save",
    "step",
    "train",
]
