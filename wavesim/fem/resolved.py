"""Waves through packings whose grains have sharp surfaces: from a packing to frames on a grid.

    meshed      curved quadrilaterals that follow the grains (conforming_mesh.py): one mesh for all waves through them;
                or a raster of equal squares with averages (raster.py)
    medium      kappa and rho by the same disks (window.py), sharp, whose cell averages the files hold
    ready       the mesh assembled, stepped until the bursts are over, and the state then: frame 0
    frames      all frames from there on, of each burst; all go through K in one batch

Where rho jumps, an initial pulse sets off kinks that no mesh resolves well; what a burst, smooth in time, has set off
is smooth in each material. Bursts start at -duration, rounded up to whole frames, and from frame 0 on there are none:
what is left of them then is 1e-8 of their peak. So p and p_t of frame 0 determine all that follows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from wavesim.errors import WavesimError
from wavesim.fem import stepper
from wavesim.fem.boundary import Sides
from wavesim.fem.conforming_mesh import conforming
from wavesim.fem.media import Circle, inclusions
from wavesim.fem.medium import Materials, Medium
from wavesim.fem.mesh import Mesh
from wavesim.fem.packing_mesh import SquarePacking, one
from wavesim.fem.raster import Averages, Raster
from wavesim.fem.roads import from_packing
from wavesim.fem.sampling import Nodes
from wavesim.fem.simulation import DTYPES, Problem, Simulation, assemble, run
from wavesim.fem.source import Burst
from wavesim.fem.stepper import WaveState
from wavesim.fem.window import seen
from wavesim.preset_config import ResolvedConfig


def waves_through(
    packing: SquarePacking | str | Path, burst: Burst, config: ResolvedConfig | None = None, number: int = 0
) -> Simulation:
    """Waves that a burst sets off in a packing whose grains have sharp surfaces.

    Args:
        packing: of the unit square, or packings.h5, of which the one of that `number` is taken.
        burst: place, width and frequency of the source. config: contrast, radius_scale, frames, grid and the rest;
            by default those of the preset `packing`.
    Returns:
        the frames from the burst's end on.
    Raises:
        WavesimError: no such packing, one that cannot be meshed, a burst outside of it; gmsh or dolfinx is not
            installed.
    """
    config = config or ResolvedConfig()
    if not all(0 <= place <= 1 for place in burst.center):
        raise WavesimError(f"center {burst.center} of the burst lies outside of the packing's square; use 0 to 1")
    return frames(config, ground(one(packing, number), config), [burst])[0]


def ground(packing: SquarePacking, config: ResolvedConfig) -> Mesh | Raster:
    """What waves run on, by the config's road.

    Raises:
        WavesimError: it cannot be meshed, or gmsh is not installed, which the raster does without.
    """
    if config.road == "conforming":
        return meshed(packing, config)
    grains = (config.bulk_modulus, config.density, config.radius_scale)
    raster, _ = from_packing(packing, 0, "raster", *grains, config.element_size, config.degree)
    assert isinstance(raster, Raster)
    return raster


def meshed(packing: SquarePacking, config: ResolvedConfig) -> Mesh:
    """The mesh of a packing.

    Raises:
        WavesimError: it cannot be meshed, or gmsh is not installed.
    """
    wave_speed = math.sqrt(config.bulk_modulus / config.density)
    try:
        return conforming(packing, config.radius_scale, config.element_size, wave_speed)
    except WavesimError as error:
        raise WavesimError(f"packing {packing.name}: {error}") from error


def medium(config: ResolvedConfig, positions: np.ndarray, radii: np.ndarray) -> Medium:
    """kappa and rho of the disks that the mesh of a packing with these centres and radii follows."""
    return inclusions(
        [
            Circle((x, y), radius, bulk_modulus=config.bulk_modulus, density=config.density)
            for x, y, radius in seen(positions, radii, config.radius_scale)
        ]
    )


def materials(config: ResolvedConfig) -> Materials:
    """Background and grains, by the tags of a packing's mesh."""
    return Materials((1.0, config.bulk_modulus), (1.0, config.density))


def silent_frames(config: ResolvedConfig, bursts: Sequence[Burst]) -> int:
    """The frames that bursts take until all are over."""
    return math.ceil(max(burst.duration for burst in bursts) / config.frame_interval - 1e-9)


def problem_of(
    config: ResolvedConfig,
    mesh: Mesh | Nodes,
    bursts: Sequence[Burst],
    degree: int | None = None,
    steps: int | None = None,
    dtype: type | None = None,
    averages: Raster | Averages | None = None,
) -> Problem:
    """The problem with its sources, each of a simulation of its own.

    Args:
        degree, dtype: default to the config's. steps: a frame; default: the fewest. averages: the medium on a
            rectangle's nodes; without them the mesh follows the grains.
    """
    return assemble(
        averages or materials(config),
        mesh,
        config.frame_interval,
        config.domain.cells,
        Sides(*config.sides),
        config.layer,
        sources=[burst.source for burst in bursts],
        order=config.time_order,
        steps=steps,
        dtype=dtype or DTYPES[config.precision],
        degree=degree or config.degree,
        device=config.device,
        apart=True,
    )


def after_bursts(config: ResolvedConfig, problem: Problem, bursts: Sequence[Burst]) -> tuple[Problem, WaveState]:
    """The problem without its sources, and the state (unknowns, bursts) at frame 0."""
    operator = problem.operator
    state = stepper.init(operator, np.zeros((len(operator.mass), len(bursts))))
    for _ in range(silent_frames(config, bursts)):
        state = stepper.advance(operator, state)
    return replace(problem, operator=replace(operator, drive=None)), state


def ready(
    config: ResolvedConfig,
    mesh: Mesh | Raster,
    bursts: Sequence[Burst],
    degree: int | None = None,
    steps: int | None = None,
    dtype: type | None = None,
) -> tuple[Problem, WaveState]:
    """As `after_bursts`, on the mesh that follows the grains or on a raster; arguments as for `problem_of`."""
    if isinstance(mesh, Raster):
        nodes = replace(mesh.nodes, degree=degree or config.degree)
        averages = replace(mesh, nodes=nodes)
        return after_bursts(config, problem_of(config, nodes, bursts, nodes.degree, steps, dtype, averages), bursts)
    return after_bursts(config, problem_of(config, mesh, bursts, degree, steps, dtype), bursts)


def frames(
    config: ResolvedConfig,
    mesh: Mesh | Raster,
    bursts: Sequence[Burst],
    degree: int | None = None,
    steps: int | None = None,
) -> list[Simulation]:
    """All frames of the waves that each burst sets off; as `ready`.

    Raises:
        WavesimError: dolfinx is not installed, or the energy grows.
    """
    return run(*ready(config, mesh, bursts, degree, steps), config.frames)
