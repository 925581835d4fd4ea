"""Domains that several processes share, and what each number of processes makes of them; started by a launcher.

python shared_domains.py OUT.npz
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import numpy as np
from exact.meshes import distorted, warped

from wavesim.errors import WavesimError
from wavesim.fem import (
    Materials,
    Mesh,
    Nodes,
    PointSource,
    Pulse,
    Raster,
    Ricker,
    Sides,
    SpreadSource,
    distributed,
    distributed_matrix,
    uniform,
)
from wavesim.fem.distributed import Case
from wavesim.fem.medium import Medium
from wavesim.fem.mpi import communicator

FRAMES, GRID, PULSE = 5, (7, 11), Pulse((0.4, 0.35), 0.08)
NARROW = Pulse((0.45, 0.4), 0.05)  # next to nothing at the sides: there a node and its image would differ
SMOOTH = Medium(lambda x, y: 1 + 0.5 * np.sin(5 * x + 3 * y), lambda x, y: 1 + 0.3 * np.cos(4 * x * y))
TWO = Materials((1.0, 4.0), (1.0, 2.0))
FLAT = Nodes((9, 5), 4, (1.0, 0.6))
ROUND = Sides("periodic", "periodic", "soft", "rigid")
SOURCES = (PointSource((0.31, 0.42), Ricker(2.0, 0.2)), SpreadSource(Pulse((0.7, 0.3), 0.1), np.sin))
RECEIVERS = np.array([[0.2, 0.3], [0.0, 0.25], [0.93, 0.41]])
DISKS = np.array([[0.3, 0.3, 0.2], [0.7, 0.6, 0.25]])


def facing(n):
    """n x n cells whose corners on opposite sides face each other."""
    mesh = distorted(n, 0.0)
    inner = np.all((mesh.points > 1e-9) & (mesh.points < 1 - 1e-9), axis=1) & (np.abs(mesh.points[:, 0] - 0.5) > 1e-9)
    moved = np.random.default_rng(2).uniform(-0.2 / n, 0.2 / n, mesh.points.shape)
    return Mesh(mesh.points + moved * inner[:, None], mesh.cells, mesh.tags)


CASES = {
    "rectangle": Case(SMOOTH, FLAT, 0.1, GRID, PULSE),
    "soft sides, order 2": Case(SMOOTH, FLAT, 0.1, GRID, PULSE, Sides("soft", "rigid", "rigid", "soft"), order=2),
    "mesh of two materials": Case(TWO, distorted(6), 0.1, GRID, PULSE, Sides(top="soft"), degree=3),
    "curved cells": Case(uniform(), warped(6, degree=3), 0.1, GRID, PULSE, degree=5),
    "periodic": Case(SMOOTH, FLAT, 0.1, GRID, PULSE, Sides.all("periodic")),
    "periodic mesh": Case(TWO, facing(6), 0.1, GRID, NARROW, ROUND, degree=3, receivers=RECEIVERS),
    "sources": Case(SMOOTH, FLAT, 0.1, GRID, PULSE, sources=SOURCES, receivers=RECEIVERS),
    "sources in a periodic mesh": Case(TWO, facing(6), 0.1, GRID, NARROW, ROUND, order=2, degree=3, sources=SOURCES),
    "averages": Case(Raster(DISKS, 9.0, 3.0, Nodes((8, 8), 3)), Nodes((8, 8), 3), 0.1, GRID, PULSE),
    "absorbing": Case(SMOOTH, FLAT, 0.1, GRID, PULSE, Sides.all("absorbing"), layer=2, receivers=RECEIVERS),
    "absorbing, order 2": Case(
        SMOOTH, FLAT, 0.1, GRID, PULSE, Sides("absorbing", "soft", "periodic", "periodic"), 2, layer=3, sources=SOURCES
    ),
    "absorbing, mesh": Case(
        TWO, distorted(6), 0.1, GRID, PULSE, Sides.all("absorbing"), degree=3, layer=2, receivers=RECEIVERS
    ),
    "absorbing, curved": Case(
        SMOOTH, warped(6, degree=3), 0.1, GRID, PULSE, Sides("absorbing", "soft", "absorbing", "rigid"), layer=2
    ),
    "absorbing, averages": Case(
        Raster(DISKS, 9.0, 3.0, Nodes((8, 8), 3)), Nodes((8, 8), 3), 0.1, GRID, PULSE, Sides.all("absorbing"), layer=2
    ),
    "triangles, steps given": Case(SMOOTH, distorted(8, cells="triangles"), 0.1, GRID, PULSE, degree=1, steps=9),
}


def compute(path):
    comm = communicator()
    found = {"processes": comm.size}
    for name, case in CASES.items():
        run = distributed.simulate(case, FRAMES)
        if run is not None:
            found |= {f"{name}/fields": np.stack([run.pressure, run.pressure_rate]), f"{name}/energy": run.energy}
            found |= {f"{name}/steps": run.steps_per_frame, f"{name}/unknowns": run.unknowns}
            found |= {f"{name}/times": run.times, f"{name}/heard": run.heard}

    problem = distributed.assemble(SMOOTH, FLAT, 0.1, GRID)
    found["own nodes"] = comm.gather(len(problem.points))
    stiffness = problem.operator.stepping.copy()
    mass = stiffness.createVecLeft()
    mass.array[:] = problem.operator.mass
    stiffness.diagonalScale(L=mass)
    found["largest eigenvalue"] = distributed_matrix.largest_eigenvalue(stiffness, mass) / problem.operator.time_step**2
    state = distributed.start(problem, PULSE)
    found["discrete energy"] = []
    for _ in range(4):
        found["discrete energy"].append(distributed.frame(problem, state).discrete_energy)
        for _ in range(10):
            state = distributed.advance(problem, state)

    large = distributed.assemble(SMOOTH, Nodes((32, 32), 4), 0.002, GRID)
    state, memory = distributed.start(large, PULSE), []
    for _ in range(30):
        state = distributed.advance(large, state)
        distributed.sample(large, distributed.frame(large, state))
        memory.append(int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20)
    found["growth"] = comm.gather(memory[-1] - memory[9])

    # On one process of several the value is not positive: all must hear of it.
    holed = Medium(lambda x, y: np.where((x > 0.9) & (y > 0.5), -1.0, 1.0 + 0 * y), SMOOTH.density)
    for name, medium, mesh in (("holed", holed, FLAT), ("crowded", SMOOTH, Nodes((1, 1), 2))):
        try:
            distributed.assemble(medium, mesh, 0.1, GRID)
            found[name] = ["accepted"]
        except WavesimError as error:
            found[name] = comm.gather(str(error))
    if comm.rank == 0:
        np.savez(path, **found)


if __name__ == "__main__":
    compute(sys.argv[1])
