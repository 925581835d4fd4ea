"""The jamming diagram of spheres and disks of two sizes: phi_J, bulk modulus and who carries, against X_S.

Each point is the mean over packings from different starts, with its standard deviation; they come to jamming as the
command line makes them, or, in the sweeps called above and below, from the other side. A sweep that is cut short goes
on where it stopped. It writes the packings' measurements and the means, a table and the figures to results/jamming.

    OMP_NUM_THREADS=1 python benchmarks/jamming.py [--quick] [--sweeps 0.73 0.4 disks-0.71] [--workers 1]
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from wavesim.granular.diagram import generate_diagram, summarise
from wavesim.granular.diagram_figure import draw
from wavesim.granular.jamming import Compression, Protocol
from wavesim.granular.meeting import meeting
from wavesim.granular.mixture import Mixture
from wavesim.granular.moduli import STRAINS
from wavesim.granular.unloading import Unloading, usual

RESULTS = Path(__file__).parent / "results" / "jamming"


@dataclass(frozen=True)
class Sweep:
    """One size ratio: the number of particles for each concentration of `fractions`. come: from above jamming, from
    below, or, where it is not said, as `usual`; steps: of FIRE for a state at most, from above."""

    size_ratio: float
    fractions: dict[float, int]
    seeds: int = 3
    dim: int = 3
    come: Literal["above", "below"] | None = None
    steps: int = 200_000

    def mixtures(self) -> list[Mixture]:
        return [Mixture(n, self.size_ratio, fraction, self.dim) for fraction, n in self.fractions.items()]

    def protocol(self) -> Protocol | None:
        return {
            "above": Unloading(steps=self.steps),
            "below": Compression(pressure=1e-3, start_pressure=1e-2),
            None: None,
        }[self.come]


def holding(size_ratio: float, large: int, fractions: tuple[float, ...]) -> dict[float, int]:
    """The particles, in three dimensions, that hold so many large ones, for each concentration."""
    return {x: round(large * (1 + x / (1 - x) / size_ratio**3)) for x in fractions}


TWELVE = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
LOW = (0.05, 0.1, 0.15, 0.18, 0.2, 0.22, 0.25, 0.3)  # around X*_S
MIXED = dict.fromkeys(TWELVE[1:-1], 1000)  # equal disks crystallise
HALF = 1 / (1 + 1.4**2)  # X_S of as many small as large disks at 1 : 1.4, the mixture of most of the literature
SWEEPS = {
    "0.73": Sweep(0.73, dict.fromkeys(TWELVE, 2000)),
    "0.4": Sweep(0.4, dict.fromkeys(TWELVE, 2000)),
    "0.22": Sweep(0.22, {0.0: 1000} | holding(0.22, 100, (*LOW, 0.4)) | {0.6: 8000, 1.0: 1000}),
    "0.15": Sweep(0.15, {0.0: 1000} | holding(0.15, 100, (*LOW, 0.4)) | {0.6: 25_000, 1.0: 1000}),
    "0.4-above": Sweep(0.4, holding(0.4, 100, (0.05, 0.1, 0.2, 0.3)), come="above"),
    "0.15-40-above": Sweep(0.15, holding(0.15, 40, LOW), come="above", steps=60_000),
    "0.22-below": Sweep(0.22, holding(0.22, 100, LOW[:3]), come="below"),
    "0.15-below": Sweep(0.15, holding(0.15, 100, LOW[:3]), come="below"),
    "disks-0.71": Sweep(1 / 1.4, MIXED, dim=2),
    "disks-0.4": Sweep(0.4, MIXED, dim=2),
    "disks-half-1000": Sweep(1 / 1.4, {HALF: 1000}, dim=2),
    "disks-half-4000": Sweep(1 / 1.4, {HALF: 4000}, dim=2),
}
QUICK = {
    "0.73": Sweep(0.73, dict.fromkeys((0.0, 0.5), 100), 1),
    "disks-0.71": Sweep(1 / 1.4, {0.5: 64}, 1, 2),
}


def with_spread(row: dict[str, Any], name: str, digits: int) -> str:
    """The mean, with its standard deviation over seeds where there are several."""
    if row.get(name) is None:
        return ""
    spread = row[f"{name}_deviation"]
    return f"{row[name]:.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}")


def small(row: dict[str, Any], name: str) -> str:
    """A mean, or the largest, in powers of ten."""
    return "" if row.get(name) is None else f"{row[name]:.1e}"


def _mixture(row: dict[str, Any]) -> Mixture:
    return Mixture(row["particles"], row["size_ratio"], row["small_fraction"], row["dim"])


def table(rows: list[dict[str, Any]]) -> str:
    """One line a mixture."""
    heads = (
        "sweep|X_S|N|large|packings|others|failed|phi_J|without rattlers|p|K|LL|LS|SS|K by strain / K|Z|"
        "small that carry|apart|bracket|outside|s"
    )
    lines = [f"| {heads.replace('|', ' | ')} |", "|" + "---|" * (heads.count("|") + 1)]
    for row in rows:
        mixture = _mixture(row)
        cells = [row["sweep"], f"{row['small_fraction']:.2f}", f"{row['particles']}"]
        cells += [f"{row['particles'] - mixture.small}", f"{row['packings']}"]
        cells += [f"{row['others'] or ''}", f"{row['failed'] or ''}"]
        cells += [with_spread(row, name, 4) for name in ("phi_j", "phi_j_carrying")] + [small(row, "pressure")]
        cells += [with_spread(row, name, 3) for name in ("bulk_modulus", "LL", "LS", "SS")]
        cells += [by_strain(row)]
        cells += [with_spread(row, name, 3) for name in ("coordination", "carrying_small")]
        cells += [small(row, name) for name in ("apart", "bracket", "outside")]
        cells += [f"{row['seconds']:.0f}" if row["packings"] else ""]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def by_strain(row: dict[str, Any]) -> str:
    """K by strain over K, the strain where it is not the usual one, and what relaxing before has changed of K."""
    if "strain_ratio" not in row:
        return "gives way" if "gives_way" in row else ""
    at = f" at {row['strain']:.0e}" if row["strain"] < STRAINS[0] else ""
    return f"{row['strain_ratio']:.4f}{at}" + (
        f", K {row['relaxed'] - 1:+.1%}" if abs(row["relaxed"] - 1) > 5e-4 else ""
    )


def second_table(rows: list[dict[str, Any]]) -> list[str]:
    """The second transition, a line a mixture that was unloaded from above, and where its line ends.

    phi_J2 by the extrapolated pressure of the small ones, the last state in which half of them carry, the range of phi
    over which a fifth to four fifths of them join, pressure, K and their share in that last state, and
    K_path = phi dp/dphi where their contacts carry a pressure of 0.01, and K_all where all contacts carry one of 0.006.
    """
    unloaded = [row for row in rows if row["packings"]]
    if not unloaded:
        return []
    heads = (
        "sweep|X_S|large|packings|with a second|phi_J|carry|K|phi_J2|last state|join over|p_2|K_2|carry_2|K_path|K_all"
    )
    lines = ["", f"| {heads.replace('|', ' | ')} |", "|" + "---|" * (heads.count("|") + 1)]
    for row in unloaded:
        mixture = _mixture(row)
        cells = [row["sweep"], f"{row['small_fraction']:.2f}", f"{row['particles'] - mixture.small}"]
        cells += [f"{row['packings']}", f"{row['second']}", with_spread(row, "phi_j", 3)]
        cells += [with_spread(row, name, 2) for name in ("carrying_small", "bulk_modulus")]
        cells += [with_spread(row, name, 3) for name in ("phi_j2", "phi_j2_jammed", "phi_j2_width")]
        cells += [small(row, "pressure_2")]
        names = ("bulk_modulus_2", "carrying_small_2", "bulk_modulus_path", "bulk_modulus_equal")
        cells += [with_spread(row, name, 2) for name in names]
        lines.append("| " + " | ".join(cells) + " |")
    for sweep in dict.fromkeys(row["sweep"] for row in unloaded):
        found = meeting([row for row in unloaded if row["sweep"] == sweep])
        if found is not None:
            words = ", ".join(
                f"{name} {'not known' if value is None else f'{value:.3f}'}" for name, value in asdict(found).items()
            )
            lines += ["", f"X*_S in {sweep}: {words}."]
    return lines


def contacts_table(rows: list[dict[str, Any]]) -> list[str]:
    """Contacts by kind, of the particles that carry."""
    names = [f"contacts_{kind}" for kind in ("LL", "LS", "SL", "SS")]
    lines = ["", "| sweep | X_S | LL | LS | SL | SS |", "|" + "---|" * 6]
    for row in rows:
        if any(name in row for name in names):
            cells = [row["sweep"], f"{row['small_fraction']:.2f}"]
            lines.append("| " + " | ".join(cells + [with_spread(row, name, 2) for name in names]) + " |")
    return lines if len(lines) > 3 else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few small mixtures, one packing each")
    parser.add_argument("--sweeps", nargs="*", default=list(SWEEPS), choices=list(SWEEPS))
    parser.add_argument("--finished", action="store_true", help="only show the points that are there")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    sweeps = QUICK if arguments.quick else {name: SWEEPS[name] for name in arguments.sweeps}
    rows, unloaded, drawn = [], [], []
    for name, sweep in sweeps.items():
        mixtures, protocol, out = sweep.mixtures(), sweep.protocol(), arguments.out / name
        if not arguments.finished:
            generate_diagram(mixtures, sweep.seeds, out, 0, arguments.workers, protocol=protocol)
        known = [row for row in summarise(mixtures, sweep.seeds, out, 0, protocol) if row["packings"] or row["failed"]]
        own = [{**row, "sweep": name} for row in known]
        if not any((row["size_ratio"], row["dim"]) == (sweep.size_ratio, sweep.dim) for row in rows):
            drawn += own  # one sweep of a size ratio makes a line
        rows += own
        unloaded += [row for row in own if isinstance(protocol or usual(_mixture(row)), Unloading)]
    for dim, name in ((2, "disks.png"), (3, "spheres.png")):
        chosen = [row for row in drawn if row["dim"] == dim]
        if chosen:
            draw(chosen, arguments.out / name)
    lines = [
        f"{platform.machine()}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}, load {os.getloadavg()[1]:.1f}, "
        "seed 0; ± standard deviation over packings; of two kinds, over the larger, and others counts the smaller; "
        "K and its parts in k_n / d^(D-2), at the pressure p, the mean of the last states; K by strain of one packing, "
        f"over a change of {STRAINS[0]:g} of its pressure (1e-3 where it is older), or less where both sides differ, "
        "and what relaxing before has changed of K; "
        "apart is how far phi_J by K and phi_J by the last two pressures differ at most; "
        "the bracket, the widest of them, is from the last jammed state to the first one that carries nothing, and "
        "outside is how far phi_J by K or by the last two pressures lies from it at most; blank where packings were "
        "made before these were measured, and of many mixtures they are of one packing of three.",
        "",
        table(rows),
        *second_table(unloaded),
        *contacts_table(rows),
    ]
    (arguments.out / "diagram.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
