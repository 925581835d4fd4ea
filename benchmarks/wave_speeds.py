"""Wave speeds of granular matter, measured and foretold; prints and writes benchmarks/results/wave_speeds.md.

Pulses through jammed packings by Newton's equations, against their moduli; a long pulse through resolved grains,
against their effective medium; the brightest place behind a lens of mixtures, against its rays.

    OMP_NUM_THREADS=1 python benchmarks/wave_speeds.py [--quick] [--out FILE]
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from pathlib import Path

import numpy as np

from wavesim import fem, processes
from wavesim.fem.packing_mesh import one
from wavesim.granular import Mixture, Packing, pulse_speeds
from wavesim.granular.jamming import Protocol, jam
from wavesim.granular.moduli import wave_speeds
from wavesim.provenance import generator

HERE = Path(__file__).parent
SAMPLE, DIAGRAM = (HERE.parent / "data" / name for name in ("sample/packings.h5", "diagram.json"))
DISKS, SPHERES = (Mixture(2000, 1 / 1.4), 4.0), (Mixture(3000, 0.7, 0.5, 3), 10.0)
PULSES = [
    ("disks 1 : 1.4", *DISKS, "P", 30.0, (1e-3, 3e-3, 1e-2, 3e-2)),
    ("spheres 0.7 : 1", *SPHERES, "P", 20.0, (1e-3, 1e-2)),
    ("disks 1 : 1.4", Mixture(4000, 1 / 1.4), 6.0, "S", 50.0, (1e-2,)),
]
CONTRASTS, WIDTHS = [(20.0, 5.0), (20.0, 1.0), (1.0, 5.0), (4.0, 1.0)], (0.5, 0.8)
WAVELENGTHS = (0.1, 0.05)
PLANES = (0.0, 1 / 3, 2 / 3)


def header(*heads: str) -> list[str]:
    """The first two lines of a table."""
    return ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]


def jammed(mixture: Mixture, elongation: float, pressure: float, seed: int) -> Packing:
    """In a long box, at about this pressure. Runs in a process of its own."""
    protocol = Protocol(pressure=pressure, start_pressure=pressure, tolerance=1e-7)
    return jam(mixture, generator(seed, "speeds"), protocol, elongation)


def pulses(seeds: int) -> list[str]:
    """The table of pulses: measured over foretold."""
    rows = header("", "N", "box", "wave", "length / d", "p", "by K and G", "along the box: mean", "least", "most")
    for name, mixture, elongation, kind, wavelength, pressures in PULSES:
        for pressure in pressures:
            with processes.pool(1) as pool:
                jobs = [pool.submit(jammed, mixture, elongation, pressure, seed) for seed in range(seeds)]
                packings = [job.result() for job in jobs]
            found = [pulse_speeds(packings, wavelength, kind, plane) for plane in PLANES]
            speed = np.array([[one.speed for one in row] for row in found])
            own = speed / np.array([[one.expected for one in row] for row in found])
            mean = speed / np.array([wave_speeds(packing)["PS".index(kind)] for packing in packings])
            p = np.mean([packing.pressure for packing in packings])
            rows.append(
                f"| {name} | {mixture.particles} | {elongation:g} : 1 | {kind} | {wavelength:g} | {p:.1e} | "
                f"{mean.mean():.3f} | {own.mean():.3f} | {own.min():.3f} | {own.max():.3f} |"
            )
    return rows


def long_waves(contrasts: list[tuple[float, float]], widths: tuple[float, ...]) -> list[str]:
    """The table of a long pulse through four squares of 64 grains, by averages on a grid."""
    rows = header("kappa", "rho", "length / d", "effective speed", "measured over it", "sqrt(mean kappa / mean rho)")
    radii = one(SAMPLE).radii
    share = np.pi * np.sum((0.95 * radii) ** 2)
    for contrast in contrasts:
        medium, nodes = fem.from_packing(SAMPLE, 0, "raster", *contrast, element_size=0.06)
        images = [medium.disks * [(-1) ** k, 1, 1] + [2 * ((k + 1) // 2), 0, 0] for k in range(4)]
        long = fem.Nodes((4 * nodes.elements[0], nodes.elements[1]), nodes.degree, (4.0, 1.0))
        strip = fem.Raster(np.concatenate(images), *contrast, long)
        speed = fem.effective(medium, nodes).wave_speed[0]
        naive = np.sqrt((1 + (contrast[0] - 1) * share) / (1 + (contrast[1] - 1) * share))
        for width in widths:
            problem = fem.assemble(strip, long, 0.05, (4, 4))
            state = fem.start(problem, lambda x, y, w=width: np.exp(-(x**2) / (2 * w**2)) + 0 * y)
            end = np.column_stack([np.full(8, 4 - 1e-9), (np.arange(8) + 0.5) / 8])
            heard = fem.listen(problem, state, end, int(5 / speed / 0.05))
            pressure = heard.pressure.mean(axis=1)
            top = int(np.argmax(pressure))
            near = slice(top - 5, top + 6)
            bent, sloped, _ = np.polyfit(heard.times[near] - heard.times[top], pressure[near], 2)
            ratio = 4 / (heard.times[top] - sloped / (2 * bent)) / speed
            across = np.pi * width / radii.max()
            rows.append(
                f"| {contrast[0]:g} | {contrast[1]:g} | {across:.0f} | {speed:.3f} | {ratio:.4f} | {naive:.3f} |"
            )
    return rows


def focus(wavelengths: tuple[float, ...]) -> list[str]:
    """The table of the lens: where it is brightest, against where its rays meet."""
    from wavesim.fem.simulation import next_frame, sample
    from wavesim.fem.stepper import frame, init

    mixtures = fem.Mixtures.between(fem.read_diagram(DIAGRAM), 0.4, (0.1, 0.9))
    center, radius, lengths, cells = np.array([0.75, 0.5]), 0.4, (1.4, 1.0), (200, 280)

    def wanted(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (2 - np.minimum(((x - center[0]) ** 2 + (y - center[1]) ** 2) / radius**2, 1)) ** -0.5

    lens = fem.of_speed(mixtures, wanted)
    heights = 0.5 + radius * np.linspace(-0.95, 0.95, 31)
    _, meeting = fem.focus(fem.rays(lens, np.column_stack([0 * heights, heights]), 0.0, np.linspace(0, 1.6, 321)))
    rows = header("wavelength / radius", "rays meet", "brightest", "apart, in wavelengths", "over the median")
    for wavelength in wavelengths:
        nodes = fem.Nodes((round(5.6 / wavelength), round(4 / wavelength)), 4, lengths)
        sides = fem.Sides("absorbing", "absorbing")
        problem = fem.assemble(lens, nodes, 0.01, cells, sides, layer=8, dtype=np.float32)
        packet = fem.PlanePacket((0.15, 0.5), 0.0, wavelength, 0.05)
        state = init(problem.operator, *(problem.at_unknowns(field) for field in (packet.pressure, packet.rate)))
        exposure = np.zeros(cells)
        for _ in range(170):
            state = next_frame(problem, state)
            exposure += sample(problem, frame(problem.operator, state))[0] ** 2
        row, column = np.unravel_index(np.argmax(exposure), cells)
        place = np.array([column + 0.5, row + 0.5]) / 200
        rows.append(
            f"| {wavelength / radius:g} | {meeting[0]:.3f}, {meeting[1]:.3f} | {place[0]:.3f}, {place[1]:.3f} | "
            f"{np.linalg.norm(place - meeting) / wavelength:.2f} | {exposure.max() / np.median(exposure):.0f} |"
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4, help="packings of each kind")
    parser.add_argument("--quick", action="store_true", help="one row of each table but the last")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "wave_speeds.md")
    arguments = parser.parse_args()
    begin = time.perf_counter()
    few = 1 if arguments.quick else None
    parts = [["A long pulse through resolved grains:"], long_waves(CONTRASTS[:few], WIDTHS[:few])]
    parts += [["A lens of mixtures:"], focus(WAVELENGTHS[:few])]
    if not arguments.quick:
        parts += [["Pulses by Newton's equations over the speeds foretold:"], pulses(arguments.seeds)]
    head = (
        f"{platform.machine()}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}, "
        f"{time.perf_counter() - begin:.0f} s; seeds 0 to {arguments.seeds - 1}, planes at 0, 1/3 and 2/3 of the box"
    )
    text = "\n\n".join([head, *("\n".join(part) for part in parts)]) + "\n"
    arguments.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
