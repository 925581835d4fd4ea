"""The dataset card that lies beside the data: what it is, how it was made, how large, how far it can be trusted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wavesim.config import WavesConfig, WaveSettings
from wavesim.dataset import SPLITS, Trajectory, WaveDataset, open_shard
from wavesim.preset_config import PresetConfig, ResolvedConfig
from wavesim.provenance import whole_file

PICTURE = "picture.png"
TITLES = {
    "packing": "Waves through bidisperse packings",
    "cavity": "Waves in a cavity",
    "layers": "Waves through layers",
    "random": "Waves through a random medium",
    "lens": "Waves through a Luneburg lens",
}
PACKINGS = """The medium is a jammed packing of disks of two sizes, different in every file; each
trajectory runs through its own cut of it (a periodic shift and a symmetry of the square)."""
RESOLVED = """The medium is a jammed packing of disks of two sizes, different in every file, with sharp
surfaces. A source of each trajectory's own sets the waves off; the frames begin when it is over, so that the first one
determines all others."""
TEXT = """# {title}

![wave speed, and the pressure of one trajectory at four times]({picture})

Pressure waves, `(1/kappa) p_tt = div((1/rho) grad p)`, nondimensional (background kappa = rho = 1). {medium}

{table}

Layout: The Well's HDF5 (`data/SPLIT/NAME.hdf5`, `stats.yaml`). Fields: `pressure`, `pressure_rate` (p_t) in time;
`bulk_modulus` (1 / mean of 1/kappa over the cell), `density` (mean), `speed_of_sound` constant. Scalars in time:
`energy` of the whole field, and `unresolved_share`, |p - P p| / |p| in L2, P p being the average over each cell: what
the grid cannot hold. Everything that made a file stands in its root attribute `wavesim` (JSON); timings stand in
`run.jsonl`, and `sha256sum -c checksums.txt` tells whether the files are whole.
"""
IMPORTED = """# Waves of The Well: {name}

![wave speed, and the pressure of one trajectory at four times]({picture})

Pressure waves, `(1/kappa) p_tt = div((1/rho) grad p)`, imported by `wavesim import`; lengths and times as they were.

{table}

Layout: The Well's HDF5 (`data/SPLIT/NAME.hdf5`). Of their fields `pressure` and `density` are kept; `bulk_modulus` is
rho c^2, and `pressure_rate` is -kappa div v by differences of fourth order between cells, where the original has the
velocity v. The solver's own error is not known here. `sha256sum -c checksums.txt` tells whether the files are whole.
"""


def write_card(out: Path, config: WaveSettings, seed: int, summary: dict[str, Any]) -> None:
    """Write the card of a dataset and its picture, with the `summary` of `generate_waves`."""
    error = "not measured (verified = 0)"
    if summary["truth_error"]:
        pressure, rate = summary["truth_error"]["pressure"], summary["truth_error"]["pressure_rate"]
        on = " on the same mesh" if isinstance(config, ResolvedConfig) and config.road == "conforming" else ""
        error = (
            f"relative L2 against degree {config.degree + 1}{on}: pressure {pressure['mean']:.2%} on average and "
            f"{pressure['last']:.2%} at the last frame, rate {rate['mean']:.2%} and {rate['last']:.2%} "
            f"({summary['verified']} trajectories)"
        )
    domain = config.domain
    height, width = domain.cells
    table = {
        "trajectories": ", ".join(f"{count} {name}" for name, count in summary["trajectories"].items()),
        "split": "by medium: no medium is in two splits",
        "frames": f"{config.frames}, every {config.frame_interval:g} (one crossing of the background takes 1)",
        "domain": f"{domain.lengths[0]:g} x {domain.lengths[1]:g}; left, right, bottom, top: {', '.join(domain.sides)}",
        "grid": f"{width} x {height} averages over equal cells, float32",
        **_medium_rows(config),
        **_start_row(config),
        "solver": f"{_elements(config)} of degree {config.degree}, order {config.time_order} in time, "
        f"{config.precision} precision" + (f", by torch on {config.device}" if config.device else ""),
        "truth's own error": error,
        "share that the grid cannot hold": f"{summary['unresolved_share']:.2%} of the pressure in L2, on average",
        "seed": str(seed),
    }
    preset, medium = "packing", RESOLVED if isinstance(config, ResolvedConfig) else PACKINGS
    if isinstance(config, PresetConfig):
        preset, medium = config.preset, f"{type(config).__doc__} Each trajectory has a medium of its own."
    text = TEXT.format(title=TITLES[preset], picture=PICTURE, medium=medium, table=_as_table(table))
    _write(out, text, _shown(out, summary["trajectories"]))


def write_imported_card(out: Path, trajectories: Mapping[str, int]) -> None:
    """Write the card of a dataset whose files came from The Well's, and its picture."""
    data = _shown(out, trajectories)
    sources: dict[str, str] = {}
    for split in trajectories:
        for path in WaveDataset(out, split).paths:
            with open_shard(path) as file:
                about = json.loads(file.attrs["wavesim"])
                sides = sorted(file["boundary_conditions"])
            if "imported" in about:
                sources[about["imported"]["file"]] = about["imported"]["sha256"]
    table = {
        "trajectories": ", ".join(f"{count} {name}" for name, count in trajectories.items()),
        "frames": f"{data.frames}, every {data.frame_interval:g}",
        "domain": f"{data.lengths[0]:g} x {data.lengths[1]:g}; sides: {', '.join(sides)}",
        "grid": f"{data.grid[1]} x {data.grid[0]} cells, float32",
        **{f"from {name}": f"SHA-256 {value}" for name, value in sources.items()},
    }
    _write(out, IMPORTED.format(name=data.about(0)["dataset"], picture=PICTURE, table=_as_table(table)), data)


def _shown(out: Path, trajectories: Mapping[str, int]) -> WaveDataset:
    return WaveDataset(out, next(name for name in reversed(SPLITS) if name in trajectories))


def _write(out: Path, text: str, shown: WaveDataset) -> None:
    with whole_file(out / PICTURE) as part:
        draw(part, shown.trajectory(0))
    with whole_file(out / "README.md") as part:
        part.write_text(text)


def _medium_rows(config: WaveSettings) -> dict[str, str]:
    if isinstance(config, WavesConfig | ResolvedConfig):
        sharp, kappa, rho = "sharp, followed by the mesh", f"{config.bulk_modulus:g}", f"{config.density:g}"
        if isinstance(config, ResolvedConfig):
            sharp = sharp if config.road == "conforming" else "sharp, in averages around each of the elements' points"
            kappa, rho = _range(config.bulk_moduli) or kappa, _range(config.densities) or rho
        return {
            "grains": f"kappa x{kappa}, rho x{rho}, radii x{config.radius_scale:g}",
            "interfaces": f"smooth, {config.interface_width:g} wide" if isinstance(config, WavesConfig) else sharp,
        }
    own = [key for key in type(config).model_fields if key not in PresetConfig.model_fields]
    given = {key: value for key in own if (value := getattr(config, key)) is not None}
    return {key.replace("_", " "): str(value).strip("()") for key, value in given.items()}


def _range(pair: tuple[float, float] | None) -> str:
    return "" if pair is None else f"{pair[0]:g} to {pair[1]:g}"


def _start_row(config: WaveSettings) -> dict[str, str]:
    if isinstance(config, ResolvedConfig):
        return {
            "source": f"Gaussian in space, standard deviation {config.pulse_width:g}, a Ricker wavelet of frequency "
            f"{config.frequency:g} in time; at 1e-8 of its peak, or less, when the frames begin"
        }
    return {"pulse": f"Gaussian, standard deviation {config.pulse_width:g}, amplitude 1, at rest"}


def _elements(config: WaveSettings) -> str:
    if config.domain.elements is None:
        assert isinstance(config, ResolvedConfig)
        return f"curved spectral elements of size {config.element_size:g} along the grains' surfaces"
    columns, rows = config.domain.elements
    return f"{columns} x {rows} spectral elements"


def _as_table(rows: Mapping[str, str]) -> str:
    return "\n".join(("| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())))


def draw(path: Path, trajectory: Trajectory) -> None:
    """A picture of a trajectory: the wave speed, and the pressure at four times on one scale."""
    from matplotlib.figure import Figure  # slow to import, and only who writes a card needs it

    frames = np.linspace(0, len(trajectory.state) - 1, 4).astype(int)
    pressure = trajectory.state[frames, 0]
    speed = np.sqrt(trajectory.medium[0] / trajectory.medium[1])
    extent = (0, trajectory.lengths[0], 0, trajectory.lengths[1])
    largest = float(np.abs(pressure[1:]).max()) or 1.0
    figure = Figure(figsize=(12.5, 2.9 * max(0.5, min(2.0, extent[3] / extent[1]))), layout="constrained")
    axes = figure.subplots(1, 5)
    shown = axes[0].imshow(speed, origin="lower", extent=extent, cmap="cividis")
    figure.colorbar(shown, ax=axes[0], shrink=0.8)
    axes[0].set_title("wave speed")
    for axis, frame, field in zip(axes[1:], frames, pressure, strict=True):
        axis.imshow(field, origin="lower", extent=extent, cmap="RdBu_r", vmin=-largest, vmax=largest)
        axis.set_title(f"pressure, t = {frame * trajectory.frame_interval:.3g}")
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
    figure.savefig(path, dpi=100, metadata={"Software": None})
