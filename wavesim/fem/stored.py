"""A stored trajectory, once more: its settings, medium and pulse from its file alone, at any resolution.

Trajectory k of a preset is drawn from generator(seed, "waves", k); trajectory k through packing j, which is a cut of it
(a shift, one of the eight symmetries of the square) and the place of a pulse, from generator(seed, "waves", j, k).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from wavesim.config import WavesConfig, WaveSettings, parse
from wavesim.dataset import open_shard
from wavesim.errors import WavesimError
from wavesim.fem import medium as media
from wavesim.fem import presets
from wavesim.fem.medium import Medium
from wavesim.fem.simulation import Simulation, simulate
from wavesim.fem.source import Pulse, random_pulse
from wavesim.preset_config import PresetConfig, preset_config
from wavesim.provenance import generator


def draw(config: WavesConfig, seed: int, packing: int, trajectory: int) -> dict[str, Any]:
    """The cut of the packing and the pulse of one trajectory: a function of (seed, packing, trajectory) alone."""
    random = generator(seed, "waves", packing, trajectory)
    shift, symmetry = random.uniform(size=2), int(random.integers(8))
    return {
        "shift": shift.tolist(),
        "symmetry": symmetry,
        "pulse": asdict(random_pulse(config.pulse_width, random)),
    }


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


def recall(shard: str | Path, row: int) -> tuple[WaveSettings, Medium, Pulse]:
    """The settings, the medium and the pulse of a stored trajectory, from its file alone.

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
    if "preset" in about["config"]:
        config = preset_config(about["config"], str(shard))
        assert isinstance(config, PresetConfig)
        return config, *draw_preset(config, about["seed"], trajectory["index"])
    settings = parse(about["config"], WavesConfig, str(shard))
    return settings, medium_of(settings, about["packing"], trajectory), Pulse(**trajectory["pulse"])


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
        WavesimError: no such trajectory, dolfinx missing, or an unstable run.
    """
    config, run = resimulate(shard, row, elements, degree)
    state = np.stack([run.pressure, run.pressure_rate * config.frame_interval], axis=1)
    return state, run.milliseconds_per_frame, run.unknowns


def resimulate(
    shard: str | Path, row: int, elements: int | None = None, degree: int | None = None
) -> tuple[WaveSettings, Simulation]:
    """The same trajectory, as `rerun`; at the file's own resolution with its own time steps."""
    config, medium, pulse = recall(shard, row)
    same = elements is None and degree is None
    steps = _about(shard)["trajectories"][row].get("steps_per_frame") if same else None
    return config, simulate(config, medium, pulse, elements, degree, steps)


def _about(shard: str | Path) -> dict[str, Any]:
    with open_shard(shard) as file:
        return json.loads(file.attrs["wavesim"])
