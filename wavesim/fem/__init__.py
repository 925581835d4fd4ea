"""The truth: spectral elements for (1/kappa) p_tt = div((1/rho) grad p) + s.

Names are imported when they are first used, and dolfinx when something is first assembled: the package can be imported
where dolfinx is not installed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wavesim.fem.arcs import on_circles
    from wavesim.fem.boundary import Sides
    from wavesim.fem.conforming_mesh import conforming
    from wavesim.fem.homogenisation import Effective, effective
    from wavesim.fem.live import LiveSolver
    from wavesim.fem.media import (
        Diagram,
        Mixtures,
        from_modulus,
        graded,
        image,
        inclusions,
        jammed,
        layered,
        luneburg,
        of_speed,
        picture,
        random_field,
        read_diagram,
    )
    from wavesim.fem.medium import Materials, Medium, packing, uniform
    from wavesim.fem.mesh import Mesh
    from wavesim.fem.mesh_files import read_mesh, write_mesh
    from wavesim.fem.raster import Raster
    from wavesim.fem.raytracing import focus, rays
    from wavesim.fem.resolved import waves_through
    from wavesim.fem.roads import from_packing
    from wavesim.fem.sampling import Nodes
    from wavesim.fem.simulation import Problem, Simulation, Traces, assemble, listen, simulate, start
    from wavesim.fem.source import (
        Burst,
        PlanePacket,
        PointSource,
        Pulse,
        Ricker,
        Ring,
        SpreadSource,
        StandingMode,
        random_pulse,
    )
    from wavesim.fem.stored import recall, rerun
    from wavesim.fem.waves import generate_dataset, generate_waves

__all__ = [
    "Burst",
    "Diagram",
    "Effective",
    "LiveSolver",
    "Materials",
    "Medium",
    "Mesh",
    "Mixtures",
    "Nodes",
    "PlanePacket",
    "PointSource",
    "Problem",
    "Pulse",
    "Raster",
    "Ricker",
    "Ring",
    "Sides",
    "Simulation",
    "SpreadSource",
    "StandingMode",
    "Traces",
    "assemble",
    "conforming",
    "effective",
    "focus",
    "from_modulus",
    "from_packing",
    "generate_dataset",
    "generate_waves",
    "graded",
    "image",
    "inclusions",
    "jammed",
    "layered",
    "listen",
    "luneburg",
    "of_speed",
    "on_circles",
    "packing",
    "picture",
    "random_field",
    "random_pulse",
    "rays",
    "read_diagram",
    "read_mesh",
    "recall",
    "rerun",
    "simulate",
    "start",
    "uniform",
    "waves_through",
    "write_mesh",
]

_HOME = {
    **dict.fromkeys(("on_circles",), "arcs"),
    **dict.fromkeys(("conforming",), "conforming_mesh"),
    **dict.fromkeys(("Raster",), "raster"),
    **dict.fromkeys(("focus", "rays"), "raytracing"),
    **dict.fromkeys(("waves_through",), "resolved"),
    **dict.fromkeys(("Sides",), "boundary"),
    **dict.fromkeys(("Effective", "effective"), "homogenisation"),
    **dict.fromkeys(("from_packing",), "roads"),
    **dict.fromkeys(("LiveSolver",), "live"),
    **dict.fromkeys(
        (
            "Diagram",
            "Mixtures",
            "from_modulus",
            "graded",
            "image",
            "inclusions",
            "jammed",
            "layered",
            "luneburg",
            "of_speed",
            "picture",
            "random_field",
            "read_diagram",
        ),
        "media",
    ),
    **dict.fromkeys(("Materials", "Medium", "packing", "uniform"), "medium"),
    **dict.fromkeys(("Mesh",), "mesh"),
    **dict.fromkeys(("read_mesh", "write_mesh"), "mesh_files"),
    **dict.fromkeys(("Nodes",), "sampling"),
    **dict.fromkeys(("Problem", "Simulation", "Traces", "assemble", "listen", "simulate", "start"), "simulation"),
    **dict.fromkeys(
        (
            "Burst",
            "PlanePacket",
            "PointSource",
            "Pulse",
            "Ricker",
            "Ring",
            "SpreadSource",
            "StandingMode",
            "random_pulse",
        ),
        "source",
    ),
    **dict.fromkeys(("recall", "rerun"), "stored"),
    **dict.fromkeys(("generate_dataset", "generate_waves"), "waves"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
