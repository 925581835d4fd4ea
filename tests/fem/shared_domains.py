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
from wavesim.fem import Materials, Nodes, Pulse, Sides, distributed, uniform
from wavesim.fem.distributed import Case
from wavesim.fem.medium import Medium
from wavesim.fem.mpi import communicator

FRAMES, GRID, PULSE = 5, (7, 11), Pulse((0.4, 0.35), 0.08)
SMOOTH = Medium(lambda x, y: 1 + 0.5 * np.sin(5 * x + 3 * y), lambda x, y: 1 + 0.3 * np.cos(4 * x * y))
TWO = Materials((1.0, 4.0), (1.0, 2.0))
FLAT = Nodes((9, 5), 4, (1.0, 0.6))
CASES = {
    "rectangle": Case(SMOOTH, FLAT, 0.1, GRID, PULSE),
    "soft sides, order 2": Case(SMOOTH, FLAT, 0.1, GRID, PULSE, Sides("soft", "rigid", "rigid", "soft"), order=2),
    "mesh of two materials": Case(TWO, distorted(6), 0.1, GRID, PULSE, Sides(top="soft"), degree=3),
    "curved cells": Case(uniform(), warped(6, degree=3), 0.1, GRID, PULSE, degree=5),
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

    problem = distributed.assemble(SMOOTH, FLAT, 0.1, GRID)
    found["own nodes"] = comm.gather(len(problem.points))
    stiffness = problem.stepping.copy()
    mass = stiffness.createVecLeft()
    mass.array[:] = problem.mass
    stiffness.diagonalScale(L=mass)
    found["largest eigenvalue"] = distributed.largest_eigenvalue(stiffness, mass) / problem.time_step**2
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
