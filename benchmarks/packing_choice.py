"""What the declared geometry of contacts does to waves: the gap that scaled radii leave, or necks that bridge it.

Grains of a jammed packing touch, and a mesh needs them apart, or joined by necks of some width. Waves through each
geometry, on conforming meshes of degree 4, after a spread source that is smooth in time (packing_cost.py); relative L2
of pressure, averaged over 64 x 64 cells, against the default, radius_scale 0.95 with open contacts, after half and one
crossing of the background. Below it, degree 4 against degree 5 says how much of a difference is the mesh's.

    OMP_NUM_THREADS=1 python benchmarks/packing_choice.py [--quick] [--packings data/sample/packings.h5]
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path

import numpy as np
from packing_cost import CONTRASTS, FRAME, PULSE, ROOT, Run, errors, run

from wavesim.fem import Materials
from wavesim.fem.conforming_mesh import conforming
from wavesim.fem.mesh import Mesh
from wavesim.fem.packing_mesh import read

SCALES = (0.90, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.985)
NECKS = (0.1, 0.2, 0.4)
DEFAULT = (0.95, 0.0)
SIZE = 0.03
SINGLE = np.float32  # its rounding is a hundredth of the smallest difference


def row(name: str, mesh: Mesh, runs: list[Run], against: list[Run]) -> str:
    """One geometry, or one degree, against another, for each contrast."""
    cells = [name, str(len(mesh.cells)), str(max(one.steps for one in runs))]
    for one, other in zip(runs, against, strict=True):
        cells += [f"{error:.2%}" for error in errors(one.pressure, other.pressure)]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three geometries, two frames")
    parser.add_argument("--packings", type=Path, default=ROOT / "data/sample/packings.h5")
    parser.add_argument("--numbers", type=int, nargs="*", default=[0, 1], help="which packings of the file")
    arguments = parser.parse_args()
    geometries = [(scale, 0.0) for scale in SCALES] + [(0.95, neck) for neck in NECKS] + [(0.98, NECKS[-1])]
    frames, degree, contrasts = 32, 4, CONTRASTS
    if arguments.quick:
        geometries, frames, degree, contrasts, arguments.numbers = (
            [(0.9, 0.0), DEFAULT, (0.95, 0.4)],
            2,
            2,
            CONTRASTS[:1],
            [0],
        )
    packings = read(arguments.packings)
    print(
        f"{platform.processor() or platform.machine()}, {time.strftime('%Y-%m-%d')}; {arguments.packings.name}, ",
        end="",
    )
    print(f"source of width {PULSE.width} and frequency 6, {frames} frames of {FRAME}, element_size {SIZE}.")
    for number in arguments.numbers:
        packing = packings[number]
        print(f"\n### Size ratio {packing.size_ratio:.2f}, {len(packing.radii)} grains: against radius_scale 0.95\n")
        print("| geometry | cells | steps a frame |" + "".join(f" {c}: half | one |" for c in contrasts))
        print("|---|---|---|" + "---|---|" * len(contrasts))
        meshes = {DEFAULT: conforming(packing, DEFAULT[0], SIZE)}
        media = [Materials((1.0, kappa), (1.0, rho)) for kappa, rho in contrasts]
        default = [run(medium, meshes[DEFAULT], degree, frames, SINGLE) for medium in media]
        for scale, neck in geometries:
            mesh = meshes.get((scale, neck)) or conforming(packing, scale, SIZE, neck=neck)
            runs = (
                default if (scale, neck) == DEFAULT else [run(medium, mesh, degree, frames, SINGLE) for medium in media]
            )
            name = f"{scale}" + (f", necks of {neck} radii" if neck else "")
            print(row(name, mesh, runs, default), flush=True)
        for scale, neck in (DEFAULT, geometries[-1]):
            mesh = meshes.get((scale, neck)) or conforming(packing, scale, SIZE, neck=neck)
            higher = [run(medium, mesh, degree + 1, frames, SINGLE) for medium in media]
            lower = (
                default if (scale, neck) == DEFAULT else [run(medium, mesh, degree, frames, SINGLE) for medium in media]
            )
            name = f"degree {degree} against {degree + 1}, {scale}" + (f", necks of {neck}" if neck else "")
            print(row(name, mesh, lower, higher), flush=True)


if __name__ == "__main__":
    main()
