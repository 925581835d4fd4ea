"""The jamming diagram of bidisperse spheres: phi_J, bulk modulus and who carries, against X_S, for a few size ratios.

Each point is the mean over packings from different starts (stepwise compression, then decompression), with
its standard deviation. A sweep that is cut short goes on where it stopped. It writes the packings' measurements and the
means, a table and the figure to benchmarks/results/jamming.

    OMP_NUM_THREADS=1 python benchmarks/jamming.py [--quick] [--size-ratios 0.73 0.4] [--workers 1]
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wavesim.granular.diagram import generate_diagram, points
from wavesim.granular.diagram_figure import draw
from wavesim.granular.jamming import Compression
from wavesim.granular.mixture import Mixture

RESULTS = Path(__file__).parent / "results" / "jamming"


@dataclass(frozen=True)
class Sweep:
    """The points of one size ratio: the smaller the small ones, the more of them it takes, and the more time."""

    particles: int
    seeds: int
    pressure: float
    fractions: tuple[float, ...]


SWEEPS = {
    0.73: Sweep(500, 3, 1e-5, (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9, 1.0)),
    0.4: Sweep(800, 3, 1e-5, (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9, 1.0)),
    0.22: Sweep(2000, 2, 1e-4, (0.05, 0.1, 0.15, 0.2, 0.25, 0.3)),
    0.15: Sweep(4000, 2, 1e-4, (0.05, 0.1, 0.15)),
}
QUICK = {0.73: Sweep(100, 1, 1e-5, (0.0, 0.5))}


def with_spread(row: dict[str, Any], name: str, digits: int) -> str:
    """The mean, with its standard deviation over seeds where there are several."""
    if row.get(name) is None:
        return ""
    spread = row[f"{name}_deviation"]
    return f"{row[name]:.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}")


def table(rows: list[dict[str, Any]]) -> str:
    """One line a mixture."""
    heads = "size ratio|X_S|N|large|packings|failed|phi_J|without rattlers|K|LL|LS|SS|Z|small that carry|bracket|s"
    lines = [f"| {heads.replace('|', ' | ')} |", "|" + "---|" * (heads.count("|") + 1)]
    for row in rows:
        mixture = Mixture(row["particles"], row["size_ratio"], row["small_fraction"], row["dim"])
        cells = [f"{row['size_ratio']:.2f}", f"{row['small_fraction']:.2f}", f"{row['particles']}"]
        cells += [f"{row['particles'] - mixture.small}", f"{row['packings']}", f"{row['failed']}"]
        cells += [with_spread(row, name, 4) for name in ("phi_j", "phi_j_carrying")]
        cells += [with_spread(row, name, 3) for name in ("bulk_modulus", "LL", "LS", "SS", "coordination")]
        cells += [with_spread(row, "carrying_small", 3)]
        cells += [f"{row['bracket']:.0e}", f"{row['seconds']:.0f}"] if row["packings"] else ["", ""]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two small mixtures, one packing each")
    parser.add_argument("--size-ratios", type=float, nargs="*", default=[0.73, 0.4], choices=list(SWEEPS))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    sweeps = QUICK if arguments.quick else {ratio: SWEEPS[ratio] for ratio in arguments.size_ratios}
    rows = []
    for ratio, sweep in sweeps.items():
        mixtures, protocol = points((ratio,), sweep.fractions, sweep.particles, 3), Compression(pressure=sweep.pressure)
        out = arguments.out / f"{ratio:g}"
        rows += generate_diagram(mixtures, sweep.seeds, out, 0, arguments.workers, protocol=protocol)
    draw(rows, arguments.out / "diagram.png")
    lines = [
        f"{platform.machine()}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}, load {os.getloadavg()[1]:.1f}, "
        "seed 0; ± standard deviation over packings; K and its parts in k_n / d of the large ones, at pressures of "
        + ", ".join(f"{sweep.pressure:g} (size ratio {ratio:g})" for ratio, sweep in sweeps.items())
        + "; "
        "the bracket is between the last jammed state and the first unjammed one.",
        "",
        table(rows),
    ]
    (arguments.out / "diagram.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
