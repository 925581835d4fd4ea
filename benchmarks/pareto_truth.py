"""The truth of a case of pareto.py: a conforming run, refined in h and p until its own error is small enough.

Its own error is the larger of two, after half a crossing and after one, of the first burst: against the degree above it
in double precision, and against its degree on four times the cells. While the one after a crossing is above the
scenario's tolerance, degree and mesh take the next of LEVELS. Errors are those of the averages over the grid's cells.

A truth is kept in the folder, with its nodal state at frame 0, from which other solvers may start.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pareto_cases import Case

from wavesim.errors import WavesimError
from wavesim.fem import Mesh, resolved, stepper
from wavesim.fem.refine import refined
from wavesim.fem.simulation import Problem
from wavesim.fem.space import Space
from wavesim.fem.stepper import WaveState
from wavesim.fem.stored import MESH
from wavesim.metrics import relative_l2
from wavesim.provenance import whole_file

LEVELS = ((0, 0), (1, 0), (0, 1), (1, 1))  # degrees above the first, and how often the mesh is cut in four


@dataclass(frozen=True, eq=False)
class Truth:
    """mesh, degree: of the run; pressure: (burst, time, y, x), the frames after the first; nodal: (2, nodes, burst) p
    and p_t at frame 0; states: cells along a side -> (burst, 2, y, x) of (p, dt p_t) then, of grids asked for so far.
    about: its own error at half and at one crossing, seconds to mesh and to assemble, unknowns, steps a frame."""

    mesh: Mesh
    degree: int
    pressure: np.ndarray
    nodal: np.ndarray
    states: dict[int, np.ndarray]
    about: dict[str, Any]

    @cached_property
    def space(self) -> Space:
        """Of its run; dolfinx assembles it anew."""
        from wavesim.fem import _dolfinx

        return _dolfinx.mesh_space(self.mesh, self.degree)

    def states_on(self, cells: int, frame_interval: float) -> np.ndarray:
        """(burst, 2, y, x) of (p, dt p_t) at frame 0, averages over so many cells along a side."""
        if cells not in self.states:
            fields = [(self.space.cell_averages((cells, cells)) @ part).T for part in self.nodal]
            grids = [part.reshape(-1, cells, cells) for part in fields]
            self.states[cells] = np.stack([grids[0], frame_interval * grids[1]], axis=1).astype(np.float32)
        return self.states[cells]


def truth_of(case: Case, folder: Path, known: dict[str, Any] | None) -> Truth:
    """The truth of a case: that of its file where `known` tells what the file's error is, or computed anew."""
    path = folder / f"{case.key}.npz"
    if known is not None and path.exists():
        with np.load(path) as file:
            mesh = Mesh(*(file[name] for name in MESH))
            states = {case.config.grid: file[f"state{case.config.grid}"]}
            return Truth(mesh, known["degree"], file["pressure"], file["nodal"], states, known)
    mesh, meshing = case.meshed(case.config.element_size)
    for higher, cuts in LEVELS:
        degree, fine = case.scale.degree + higher, refined(mesh) if cuts else mesh
        truth = _run(case, fine, degree)
        own = [_distance(case, truth, *other) for other in ((fine, degree + 1, np.float64), (refined(fine), degree))]
        half, one = (max(pair) for pair in zip(*own, strict=True))
        if one <= case.scenario.tolerance or case.scale.quick:
            truth.about.update(half=half, one=one, degree=degree, cuts=cuts, meshing=meshing)
            arrays = {name: getattr(fine, name) for name in MESH} | {f"state{n}": s for n, s in truth.states.items()}
            with whole_file(path) as part:
                np.savez(part, pressure=truth.pressure, nodal=truth.nodal, **arrays)
            return truth
    raise WavesimError(
        f"{case.scenario.name}, packing {case.packing.name}: the truth's own error is {one:.2%} at degree {degree} on "
        f"{len(fine.cells)} cells, and {case.scenario.tolerance:.1%} is asked for: give a smaller element_size"
    )


def unchecked(case: Case) -> Truth:
    """The first level, whose own error is not known: enough to choose settings by."""
    return _run(case, case.meshed(case.config.element_size)[0], case.scale.degree)


def pressures(problem: Problem, state: WaveState, frames: int) -> np.ndarray:
    """(burst, time, y, x) of so many frames after a state (unknowns, burst)."""
    found = []
    for _ in range(frames):
        state = stepper.advance(problem.operator, state)
        found.append((problem.sampling @ state.pressure).T.reshape(-1, *problem.grid))
    return np.stack(found, axis=1)


def _run(case: Case, mesh: Mesh, degree: int) -> Truth:
    config = case.config
    begin = time.process_time()
    problem = resolved.problem_of(config, mesh, case.bursts, degree)
    assembly = time.process_time() - begin
    problem, state = resolved.after_bursts(config, problem, case.bursts)
    first = stepper.frame(problem.operator, state)
    operator = problem.operator
    about = {"unknowns": len(operator.mass), "steps": operator.steps, "cells": len(mesh.cells), "assembly": assembly}
    nodal = np.stack([problem.prolongation @ field for field in (first.pressure, first.pressure_rate)])
    n = config.grid
    fields = [(problem.sampling @ field).T.reshape(-1, n, n) for field in (first.pressure, first.pressure_rate)]
    states = {n: np.stack([fields[0], config.frame_interval * fields[1]], axis=1).astype(np.float32)}
    found = pressures(problem, state, case.scale.frames)
    return Truth(mesh, degree, found, nodal.astype(np.float32), states, about)


def _distance(case: Case, truth: Truth, mesh: Mesh, degree: int, dtype: type = np.float32) -> list[float]:
    """Relative L2 at half and at one crossing between the truth and another run of the first burst."""
    bursts = case.bursts[:1]
    problem = resolved.problem_of(case.config, mesh, bursts, degree, dtype=dtype)
    other = pressures(*resolved.after_bursts(case.config, problem, bursts), case.scale.frames)
    apart = relative_l2(truth.pressure[0], other[0])
    return [float(apart[case.scale.frames // 2 - 1]), float(apart[-1])]
