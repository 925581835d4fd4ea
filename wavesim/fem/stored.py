"""A stored trajectory, once more: its settings, medium and pulse from its file alone, at any resolution.

Trajectory k of a preset is drawn from generator(seed, "waves", k); trajectory k through packing j from
generator(seed, "waves", j, k): with smooth interfaces a cut of it (a shift, one of the eight symmetries of the square)
and the place of a pulse, in a resolved one the place of a burst, all through the one mesh that the file holds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from wavesim.config import WavesConfig, WaveSettings, parse
from wavesim.dataset import open_shard
from wavesim.errors import WavesimError
from wavesim.fem import medium as media
from wavesim.fem import presets, resolved
from wavesim.fem.medium import Medium
from wavesim.fem.mesh import Mesh
from wavesim.fem.packing_mesh import SquarePacking
from wavesim.fem.raster import Raster
from wavesim.fem.simulation import Problem, Simulation, problem, run, start
from wavesim.fem.source import Burst, Pulse, random_pulse
from wavesim.fem.stepper import WaveState
from wavesim.preset_config import PresetConfig, ResolvedConfig, preset_config
from wavesim.provenance import generator

MESH = ("points", "cells", "tags", "shape")


def draw(config: WavesConfig, seed: int, packing: int, trajectory: int) -> dict[str, Any]:
    """The cut of the packing and the pulse of one trajectory: a function of (seed, packing, trajectory) alone."""
    random = generator(seed, "waves", packing, trajectory)
    shift, symmetry = random.uniform(size=2), int(random.integers(8))
    return {
        "shift": shift.tolist(),
        "symmetry": symmetry,
        "pulse": asdict(random_pulse(config.pulse_width, random)),
    }


def draw_burst(config: ResolvedConfig, seed: int, packing: int, trajectory: int) -> Burst:
    """The burst of one trajectory: a function of (seed, packing, trajectory) alone."""
    place = random_pulse(config.pulse_width, generator(seed, "waves", packing, trajectory)).center
    return Burst(place, config.pulse_width, config.frequency)


def draw_preset(config: PresetConfig, seed: int, trajectory: int) -> tuple[Medium, Pulse]:
    """The medium and the pulse of one trajectory: a function of (seed, trajectory) alone."""
    return presets.draw(config, generator(seed, "waves", trajectory))


def medium_of(config: WavesConfig, packing: Mapping[str, Any], trajectory: Mapping[str, Any]) -> Medium:
    """The medium of a trajectory, from what its file says about its packing and about itself."""
    positions = media.cut(np.array(packing["positions"]), np.array(trajectory["shift"]), trajectory["symmetry"])
    radii = np.array(packing["radii"])
    return media.packing(
        positions, radii, config.bulk_modulus, config.density, config.interface_width, config.radius_scale
    )


def recall(shard: str | Path, row: int) -> tuple[WaveSettings, Medium, Pulse | Burst]:
    """The settings, the medium and what set off the waves of a stored trajectory, from its file alone.

    Raises:
        WavesimError: no such file or row, or a file that was not made by `wavesim generate waves`.
    """
    about = _about(shard)
    missing = [key for key in ("config", "trajectories") if key not in about]
    if missing or not ("packing" in about or "preset" in about["config"]):
        raise WavesimError(
            f"{shard} does not say how it was made (no {', '.join(missing) or 'packing'}): it cannot be run again"
        )
    if not 0 <= row < len(about["trajectories"]):
        raise WavesimError(f"{shard} has no trajectory {row}: it holds 0 to {len(about['trajectories']) - 1}")
    trajectory = about["trajectories"][row]
    plain = {**about["config"], "device": None}  # wherever it was made, it is run again here
    if "preset" not in plain:
        settings = parse(plain, WavesConfig, str(shard))
        return settings, medium_of(settings, about["packing"], trajectory), Pulse(**trajectory["pulse"])
    config = preset_config(plain, str(shard))
    if isinstance(config, ResolvedConfig):
        disks = (np.array(about["packing"][key]) for key in ("positions", "radii"))
        return config, resolved.medium(config, *disks), Burst(**trajectory["burst"])
    assert isinstance(config, PresetConfig)
    return config, *draw_preset(config, about["seed"], trajectory["index"])


def rerun(
    shard: str | Path, row: int, elements: int | None = None, degree: int | None = None
) -> tuple[np.ndarray, float, int]:
    """The same trajectory at another resolution, sampled on the same grid.

    Args:
        shard: a file of the dataset. row: of the trajectory in it.
        elements: along x; degree: of the polynomials; both default to those that made the file.
    Returns:
        state (time, channel, y, x) of (p, dt p_t), the milliseconds a frame took, the number of unknowns.
    Raises:
        WavesimError: no such trajectory, dolfinx missing, an unstable run, or other elements than those of the mesh
            that a resolved packing has.
    """
    config, simulation = resimulate(shard, row, elements, degree)
    state = np.stack([simulation.pressure, simulation.pressure_rate * config.frame_interval], axis=1)
    return state, simulation.milliseconds_per_frame, simulation.unknowns


def resimulate(
    shard: str | Path, row: int, elements: int | None = None, degree: int | None = None
) -> tuple[WaveSettings, Simulation]:
    """The same trajectory, as `rerun`."""
    config, _, problem_, state = prepare(shard, row, elements, degree)
    return config, run(problem_, state, config.frames)[0]


def prepare(
    shard: str | Path,
    row: int,
    elements: int | None = None,
    degree: int | None = None,
    dtype: type | None = None,
) -> tuple[WaveSettings, Medium, Problem, WaveState]:
    """The same trajectory at its first frame, ready to step; at the file's own resolution with its own time steps."""
    config, medium, first = recall(shard, row)
    same = elements is None and degree is None
    steps = _about(shard)["trajectories"][row].get("steps_per_frame") if same else None
    if isinstance(first, Burst):
        assert isinstance(config, ResolvedConfig)
        if config.road == "raster":
            if elements is not None and config.domain.elements:  # a layer keeps its width
                layer = math.ceil(config.layer * elements / config.domain.elements[0])
                config = config.model_copy(update={"element_size": 1 / elements, "layer": layer})
            mesh: Mesh | Raster = resolved.ground(_packing(shard), config)
        elif elements is not None:
            raise WavesimError(f"{shard} holds the mesh that follows its grains; choose the degree, not the elements")
        else:
            mesh = _mesh(shard)
        problem_, state = resolved.ready(config, mesh, [first], degree, steps, dtype)
        before, later = (f[:, 0] if isinstance(f, np.ndarray) else f for f in (state.before, state.later))
        alone = WaveState(state.pressure[:, 0], state.increment[:, 0], state.steps, before, later)
        return config, medium, problem_, alone
    problem_ = problem(config, medium, elements, degree, steps, dtype)
    return config, medium, problem_, start(problem_, first)


def _packing(shard: str | Path) -> SquarePacking:
    said = _about(shard)["packing"]
    return SquarePacking(**{**said, **{key: np.array(said[key]) for key in ("positions", "radii")}})


def _mesh(shard: str | Path) -> Mesh:
    with open_shard(shard) as file:
        return Mesh(*(file[f"mesh/{name}"][:] for name in MESH))


def _about(shard: str | Path) -> dict[str, Any]:
    with open_shard(shard) as file:
        return json.loads(file.attrs["wavesim"])
