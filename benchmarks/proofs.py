"""What the proofs measure: the solver's errors against exact solutions, as tables (docs/truth.md shows them).

The very functions that the tests assert on (tests/fem), run over more cases. Written to benchmarks/results/proofs.md.

    OMP_NUM_THREADS=1 python benchmarks/proofs.py [--quick] [--out FILE]
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "fem"))

from exact.interface import InterfaceWave
from exact.matter import Matter
from exact.profiles import gaussian
from test_absorbing import reflected
from test_curved import scattered_error
from test_interfaces import CONTRASTS, error_of
from test_stepper import MEDIUM, single_precision_error
from test_wave_equation import errors_of

from wavesim.fem import StandingMode, uniform
from wavesim.fem.sampling import Nodes

IN_SPACE = ((1, 32), (2, 16), (3, 8), (4, 6), (5, 6), (6, 4))


def rates(quick: bool) -> Iterator[str]:
    """Of a standing mode, over-integrated, 0.8 periods on; the mesh is refined once."""
    mode = StandingMode((2, 1), lengths=(1.2, 0.9))
    duration = 0.8 * 2 * np.pi / mode.frequency
    yield "| degree | elements a side | relative L2 of p | of p_t | order of p | of p_t |"
    yield "|---:|---:|---:|---:|---:|---:|"
    for degree, finest in IN_SPACE[: 3 if quick else 6]:
        steps = 120 if degree < 5 else 300
        pairs = [errors_of(mode, Nodes((n, n), degree, (1.2, 0.9)), duration, steps) for n in (finest // 2, finest)]
        orders = np.log2(np.divide(*pairs))
        yield f"| {degree} | {finest} | {pairs[1][0]:.1e} | {pairs[1][1]:.1e} | {orders[0]:.2f} | {orders[1]:.2f} |"


def interfaces(quick: bool) -> Iterator[str]:
    """Of a plane pulse on a plane interface: largest error over the largest pressure, degree 4, 40 elements a side."""
    angles = (0, 35) if quick else (0, 12, 35, 60)
    yield "| (kappa, rho) | " + " | ".join(f"{angle} degrees" for angle in angles) + " |"
    yield "|---|" + "---:|" * len(angles)
    for second in CONTRASTS[: 2 if quick else None]:
        cells = []
        for angle in angles:
            reach = 0.1 * max(second.wave_speed, 1.0) + 0.15
            places = np.random.default_rng(0).uniform((reach, reach), (1.2 - reach, 1 - reach), (400, 2))
            wave = InterfaceWave(gaussian(0.05, center=-0.08), second, angle=np.radians(angle), point=(0.6, 0.5))
            cells.append(f"{error_of(wave, (48, 40), 0.1, places, (1.2, 1.0)):.1e}")
        yield f"| ({second.bulk_modulus:g}, {second.density:g}) | " + " | ".join(cells) + " |"


def circles(quick: bool) -> Iterator[str]:
    """Of a plane pulse on a disk that the mesh follows, relative L2 within 1.3 radii; beside it, on chords."""
    yield "| (kappa, rho) | degree | coarse | twice as fine | order | chords, twice as fine |"
    yield "|---|---:|---:|---:|---:|---:|"
    for matter in (Matter(4.0, 2.0), Matter(20.0, 5.0))[: 1 if quick else 2]:
        for degree, n in ((2, 6), (3, 4), (4, 3), (5, 3))[: 1 if quick else 4]:
            coarse, fine = (scattered_error(k, degree, matter=matter) for k in (n, 2 * n))
            chords = scattered_error(2 * n, degree, bend=False, matter=matter)
            name = f"({matter.bulk_modulus:g}, {matter.density:g})"
            yield f"| {name} | {degree} | {coarse:.1e} | {fine:.1e} | {np.log2(coarse / fine):.2f} | {chords:.1e} |"


def absorbed(quick: bool) -> Iterator[str]:
    """Amplitude that comes back from an absorbing layer of one wavelength, degree 4."""
    angles = (0, 60) if quick else (0, 30, 45, 60, 75)
    yield "| elements a wavelength | " + " | ".join(f"{angle} degrees" for angle in angles) + " |"
    yield "|---:|" + "---:|" * len(angles)
    for elements in (3,) if quick else (2, 3, 4):
        cells = [f"{reflected(np.radians(angle), elements):.1e}" for angle in angles]
        yield f"| {elements} | " + " | ".join(cells) + " |"


def single_precision(quick: bool) -> Iterator[str]:
    """Of a pulse after 5,000 of the largest steps, 10 x 10 elements of degree 4, off double precision."""
    yield "| medium | left side | crossings | loops | torch |"
    yield "|---|---|---:|---:|---:|"
    for name, medium, left in (
        ("uniform", uniform(), "rigid"),
        ("uniform", uniform(), "soft"),
        ("three grains, kappa 20, rho 5", MEDIUM, "rigid"),
    ):
        steps = 100 if quick else 5000
        (crossings, loops), (_, torch) = (single_precision_error(medium, left, on, steps) for on in (None, "cpu"))
        yield f"| {name} | {left} | {crossings:.0f} | {loops:.1e} | {torch:.1e} |"


TABLES = {
    "Order in space": rates,
    "Fresnel's formulas": interfaces,
    "The Bessel series of a disk": circles,
    "The absorbing layer": absorbed,
    "Single precision": single_precision,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer cases")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "proofs.md")
    arguments = parser.parse_args()
    lines = [f"{platform.machine()}, {time.strftime('%Y-%m-%d')}, float64 but for the last table"]
    for title, table in TABLES.items():
        lines += ["", f"### {title}", "", str(table.__doc__), "", *table(arguments.quick)]
    arguments.out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
