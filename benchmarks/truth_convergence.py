"""How fine must the spectral elements be for waves through packings? Prints a table of errors and times.

Every run is compared with one on 128 x 128 elements of degree 6 (--quick: 64 x 64 of degree 6), through packings of
64 disks that are relaxed here from random places, at the area fraction that a jammed packing has.

    OMP_NUM_THREADS=1 python benchmarks/truth_convergence.py [--quick]
"""

from __future__ import annotations

import argparse
import platform
import time

import numpy as np

from wavesim.config import WavesConfig
from wavesim.fem import Medium, Pulse, packing, simulate
from wavesim.metrics import relative_l2
from wavesim.provenance import generator

SEED = 0
RESOLUTIONS = ((32, 4), (48, 4), (56, 4), (64, 4), (48, 5), (80, 4))
QUICK = ((24, 4), (32, 4), (48, 4))


def relaxed_disks(size_ratio: float, number: int = 64, area_fraction: float = 0.84) -> tuple[np.ndarray, np.ndarray]:
    """Positions (grain, 2) and radii (grain,) of disks in the periodic unit square, pushed apart where they overlap."""
    radii = np.where(np.arange(number) < number // 2, size_ratio, 1.0)
    radii *= np.sqrt(area_fraction / np.sum(np.pi * radii**2))
    positions = generator(SEED, "disks", number).uniform(size=(number, 2))
    for _ in range(3000):
        apart = positions[:, None] - positions[None]
        apart -= np.round(apart)
        distance = np.sqrt((apart**2).sum(-1)) + np.eye(number)
        overlap = np.maximum(0, radii[:, None] + radii[None] - distance) * (1 - np.eye(number))
        positions = (positions + 0.3 * np.einsum("ij,ijk->ik", overlap / distance, apart)) % 1.0
    return positions, radii


def medium(config: WavesConfig, size_ratio: float) -> Medium:
    """The packing as a medium with the config's contrast and interfaces."""
    positions, radii = relaxed_disks(size_ratio)
    return packing(
        positions, radii, config.bulk_modulus, config.density, config.interface_width, radius_scale=config.radius_scale
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and coarser runs, half a crossing")
    quick = parser.parse_args().quick
    config = WavesConfig(frames=17 if quick else 33)
    finest = (64, 6) if quick else (128, 6)
    pulse = Pulse((0.37, 0.58), config.pulse_width)
    print(
        f"{platform.machine()}, {time.strftime('%Y-%m-%d')}, seed {SEED}, reference {finest[0]}^2 x degree {finest[1]}"
    )
    print(f"kappa x{config.bulk_modulus:g}, rho x{config.density:g}, interface {config.interface_width:g}, ", end="")
    print(f"radii x{config.radius_scale:g}, pulse {config.pulse_width:g}, frame {config.frames - 1}\n")
    print("| size ratio | elements | degree | unknowns | steps a frame | pressure | rate | ms a frame |")
    print("|---|---|---|---|---|---|---|---|")
    for size_ratio in (1 / 1.4, 1 / 3):
        through = medium(config, size_ratio)
        truth = simulate(config, through, pulse, *finest)
        for elements, degree in QUICK if quick else RESOLUTIONS:
            run = simulate(config, through, pulse, elements, degree)
            pressure = relative_l2(run.pressure[-1], truth.pressure[-1])
            rate = relative_l2(run.pressure_rate[-1], truth.pressure_rate[-1])
            print(
                f"| {size_ratio:.3f} | {elements} | {degree} | {run.unknowns} | {run.steps_per_frame} "
                f"| {pressure:.2%} | {rate:.2%} | {run.milliseconds_per_frame:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
