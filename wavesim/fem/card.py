"""The dataset card that lies beside the data: what it is, how it was made, how large, and how far it can be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wavesim.config import WavesConfig
from wavesim.provenance import whole_file

TEMPLATE = """# Waves through bidisperse packings

Pressure waves in the unit square between rigid walls, `(1/kappa) p_tt = div((1/rho) grad p)`, nondimensional
(background kappa = rho = 1). The medium is a jammed packing of disks of two sizes, different in every file; each
trajectory runs through its own cut of it (a periodic shift and a symmetry of the square) from its own Gaussian pulse.

| | |
|---|---|
| trajectories | {trajectories} |
| packings | split by packing: no packing is in two splits, and every size ratio is in all three |
| frames | {config.frames}, every {config.frame_interval:g} (one crossing of the background takes 1) |
| grid | {config.grid} x {config.grid} averages over equal cells, float32 |
| grains | kappa x{config.bulk_modulus:g}, rho x{config.density:g}, radii x{config.radius_scale:g} |
| interfaces | smooth, {config.interface_width:g} wide |
| pulse | Gaussian, standard deviation {config.pulse_width:g}, amplitude 1, at rest |
| solver | {config.elements}^2 spectral elements of degree {config.degree}, order {config.time_order} in time |
| truth's own error | {error} |
| seed | {seed} |

Layout: The Well's HDF5 (`data/SPLIT/packing_NAME.hdf5`, `stats.yaml`). Fields: `pressure`, `pressure_rate` (p_t) in
time; `bulk_modulus` (1 / mean of 1/kappa over the cell), `density` (mean), `speed_of_sound` constant. Everything that
made a file stands in its root attribute `wavesim` (JSON); timings stand in `run.jsonl`.
"""


def write_card(path: Path, config: WavesConfig, seed: int, summary: dict[str, Any]) -> None:
    """Write the card of a dataset with the `summary` of `generate_waves`."""
    error = "not measured (verified = 0)"
    if summary["truth_error"]:
        pressure, rate = summary["truth_error"]["pressure"], summary["truth_error"]["pressure_rate"]
        error = (
            f"relative L2 against degree {config.degree + 1}: pressure {pressure['mean']:.2%} on average and "
            f"{pressure['last']:.2%} at the last frame, rate {rate['mean']:.2%} and {rate['last']:.2%} "
            f"({config.verified} test trajectories)"
        )
    counts = ", ".join(f"{count} {name}" for name, count in summary["trajectories"].items())
    text = TEMPLATE.format(config=config, trajectories=counts, error=error, seed=seed)
    with whole_file(path) as part:
        part.write_text(text)
