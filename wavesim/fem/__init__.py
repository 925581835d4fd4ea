"""The truth: spectral elements for (1/kappa) p_tt = div((1/rho) grad p) between rigid walls.

Names are imported when they are first used, and dolfinx when something is first assembled: the package can be imported
where dolfinx is not installed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wavesim.fem.live import LiveSolver
    from wavesim.fem.medium import Medium, packing, uniform
    from wavesim.fem.simulation import Simulation, simulate
    from wavesim.fem.source import Pulse, StandingMode, random_pulse
    from wavesim.fem.waves import generate_waves, recall, rerun

__all__ = [
    "LiveSolver",
    "Medium",
    "Pulse",
    "Simulation",
    "StandingMode",
    "generate_waves",
    "packing",
    "random_pulse",
    "recall",
    "rerun",
    "simulate",
    "uniform",
]

_HOME = {
    "LiveSolver": "live",
    **dict.fromkeys(("Medium", "packing", "uniform"), "medium"),
    **dict.fromkeys(("Simulation", "simulate"), "simulation"),
    **dict.fromkeys(("Pulse", "StandingMode", "random_pulse"), "source"),
    **dict.fromkeys(("generate_waves", "recall", "rerun"), "waves"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
