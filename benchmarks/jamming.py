"""The jamming diagram of bidisperse spheres: phi_J, bulk modulus and who carries, against X_S, for a few size ratios.

Each point is the mean over packings from different starts (stepwise compression, then decompression to p = 1e-5), with
its standard deviation. A sweep that is cut short goes on where it stopped. It writes the packings' measurements and the
means, a table and the figure to benchmarks/results/jamming.

    OMP_NUM_THREADS=1 python benchmarks/jamming.py [--quick] [--size-ratios 0.73 0.4] [--seeds 3] [--workers 1]
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from pathlib import Path
from typing import Any

from wavesim.granular.diagram import generate_diagram, points
from wavesim.granular.diagram_figure import draw
from wavesim.granular.mixture import Mixture

RESULTS = Path(__file__).parent / "results" / "jamming"
PARTICLES = {0.73: 500, 0.4: 800, 0.22: 2000, 0.15: 6000}  # the smaller the small ones, the more it takes
FRACTIONS = {
    0.73: (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9, 1.0),
    0.4: (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9, 1.0),
    0.22: (0.05, 0.1, 0.15, 0.2, 0.25, 0.3),
    0.15: (0.05, 0.1, 0.15, 0.2, 0.25, 0.3),
}


def mixtures(arguments: argparse.Namespace) -> list[Mixture]:
    """The points of the diagram, few and small for a quick look."""
    if arguments.quick:
        return points((0.73,), (0.0, 0.5), 100, arguments.dim)
    return [
        mixture
        for ratio in arguments.size_ratios
        for mixture in points(
            (ratio,), arguments.fractions or FRACTIONS[ratio], arguments.particles or PARTICLES[ratio], arguments.dim
        )
    ]


def with_spread(row: dict[str, Any], name: str, digits: int) -> str:
    """The mean, with its standard deviation over seeds where there are several."""
    if row.get(name) is None:
        return ""
    spread = row[f"{name}_deviation"]
    return f"{row[name]:.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}")


def table(rows: list[dict[str, Any]]) -> str:
    """One line a mixture."""
    heads = (
        "size ratio",
        "X_S",
        "N",
        "large",
        "packings",
        "failed",
        "phi_J",
        "without rattlers",
        "K",
        "LL",
        "LS",
        "SS",
    )
    heads += ("Z", "small that carry", "s")
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in rows:
        mixture = Mixture(row["particles"], row["size_ratio"], row["small_fraction"], row["dim"])
        cells = [f"{row['size_ratio']:.2f}", f"{row['small_fraction']:.2f}", f"{row['particles']}"]
        cells += [f"{row['particles'] - mixture.small}", f"{row['packings']}", f"{row['failed']}"]
        cells += [with_spread(row, name, 4) for name in ("phi_j", "phi_j_carrying")]
        cells += [with_spread(row, name, 3) for name in ("bulk_modulus", "LL", "LS", "SS", "coordination")]
        cells += [with_spread(row, "carrying_small", 3), f"{row['seconds']:.0f}" if "seconds" in row else ""]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two small mixtures, one packing each")
    parser.add_argument("--size-ratios", type=float, nargs="*", default=[0.73, 0.4])
    parser.add_argument("--fractions", type=float, nargs="*", help="X_S; default: those of the size ratio")
    parser.add_argument("--particles", type=int, help="default: as many as the size ratio needs")
    parser.add_argument("--dim", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3, help="packings of each mixture")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.seeds = 1
    rows = generate_diagram(mixtures(arguments), arguments.seeds, arguments.out, 0, arguments.workers)
    draw(rows, arguments.out / "diagram.png")
    lines = [
        f"{platform.machine()}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}, load {os.getloadavg()[1]:.1f}, "
        "seed 0; ± standard deviation over packings; K and its parts in k_n / d, large spheres, at p = 1e-5 k_n / d; "
        f"phi_J is bracketed to {max((row.get('bracket', 0.0) for row in rows), default=0):.0e}.",
        "",
        table(rows),
    ]
    (arguments.out / "diagram.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
