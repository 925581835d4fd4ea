"""How good conforming meshes of packings are, and whether few bad elements set their time step.

A mesh of each of the first packings of a file. Steps of degree 4 make a 32nd of a crossing at (kappa, rho) = (20, 5):
with all elements; without the hundredth of them that is worst by the largest eigenvalue of its own M^-1 K; and as many
as the median element would ask for. Shorter steps in that hundredth alone would gain at most the ratio of the first
two. Area: of the grains; beside it that of the polygons through their vertices.

    OMP_NUM_THREADS=1 python benchmarks/packing_meshes.py [--packings data/sample/packings.h5] [--count 16]
"""

from __future__ import annotations

import argparse
import math
import platform
import time
from pathlib import Path

import numpy as np
from scipy import sparse

from wavesim.fem import Materials, stepper
from wavesim.fem._dolfinx import mesh_space
from wavesim.fem.cells import cells
from wavesim.fem.conforming_mesh import conforming
from wavesim.fem.mesh import Mesh
from wavesim.fem.packing_mesh import read
from wavesim.fem.sampling import differentiation
from wavesim.fem.space import Space
from wavesim.fem.stepper import LIMITS

ROOT = Path(__file__).parents[1]
FRAME, DEGREE, SPEED = 1 / 32, 4, 2.0
GRAIN = Materials((1.0, 20.0), (1.0, 5.0))
WORST = 0.01


def steps(mesh: Mesh) -> tuple[int, Space]:
    """A frame, and the space."""
    space = mesh_space(mesh, DEGREE)
    stiffness = space.stiffness(space.evaluate(GRAIN.density))
    limit = stepper.largest_time_step(stiffness, space.mass(space.evaluate(GRAIN.bulk_modulus)))
    return stepper.stable_steps(FRAME, limit, None, 4), space


def eigenvalues(space: Space) -> np.ndarray:
    """(elements,) the largest of each element's own M^-1 K."""
    own = cells(space, space.evaluate(GRAIN.density), sparse.eye(space.size, format="csr"))
    assert own is not None
    line, slope = np.eye(DEGREE + 1), differentiation(DEGREE)
    along, up = np.kron(line, slope), np.kron(slope, line)
    g_ss, g_st, g_tt = np.moveaxis(own.metric, 2, 0)[..., None]
    stiffness = along.T @ (g_ss * along + g_st * up) + up.T @ (g_st * along + g_tt * up)
    root = np.sqrt(space.evaluate(GRAIN.bulk_modulus) / space.weights).reshape(len(stiffness), -1)
    return np.linalg.eigvalsh(root[:, :, None] * stiffness * root[:, None, :])[:, -1]


def without(mesh: Mesh, left_out: np.ndarray) -> Mesh:
    """The mesh without some of its cells."""
    stay = np.setdiff1d(np.arange(len(mesh.cells)), left_out)
    used, cells = np.unique(mesh.cells[stay], return_inverse=True)
    return Mesh(mesh.points[used], cells.reshape(-1, 4), mesh.tags[stay], mesh.shape[stay])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packings", type=Path, default=ROOT / "data/sample/packings.h5")
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--size", type=float, default=0.03, help="element size")
    parser.add_argument("--scale", type=float, default=0.95, help="radius_scale")
    arguments = parser.parse_args()
    print(
        f"{platform.processor() or platform.machine()}, {time.strftime('%Y-%m-%d')}; {arguments.packings.name}, ",
        end="",
    )
    print(f"radius_scale {arguments.scale}, element_size {arguments.size}, degree {DEGREE}.\n")
    print(
        "| packing | size ratio | grains | cells | unknowns | smallest angle | smallest edge | area | steps a frame ",
        end="",
    )
    print("| without the worst 1 % | median element | seconds to mesh |\n" + "|---" * 12 + "|")
    for number, packing in enumerate(read(arguments.packings)[: arguments.count]):
        begin = time.process_time()
        mesh = conforming(packing, arguments.scale, arguments.size, SPEED)
        seconds = time.process_time() - begin
        (needed, space), quality = steps(mesh), mesh.quality(arguments.size, (1.0, SPEED))
        largest = eigenvalues(space)
        worst = np.argsort(-largest)[: math.ceil(WORST * len(largest))]
        median = FRAME * math.sqrt(float(np.median(largest)) / LIMITS[4])
        grain = space.weights[space.tags == 1].sum()
        chords = mesh.areas[mesh.tags == 1].sum()
        print(f"| {number} | {packing.size_ratio:.2f} | {len(packing.radii)} | {len(mesh.cells)} ", end="")
        print(
            f"| {space.size} | {quality.smallest_angle:.0f} degrees | {quality.smallest_edge:.2f} ",
            end="",
        )
        print(f"| {grain:.4f} ({chords:.4f} on chords) | {needed} ", end="")
        print(f"| {steps(without(mesh, worst))[0]} | {median:.0f} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
