"""One domain over several processes, each of which holds its own elements: the same problem, scheme and frames.

dolfinx shares the elements out. Each process makes the K and M of its own, as in space.py; PETSc adds up what meets at
the nodes between two processes, and keeps rows of

    B = h^2 M^-1 K       and the fields p, d       (the increment form of stepper.py)

where their nodes belong. A product exchanges the values along the cuts, and nothing else. Cell averages are summed over
the processes; every function here is called by all of them, and what it samples arrives at the first one.

    assemble(medium, mesh, interval, grid, ...) -> Problem      sides are rigid or soft
    start(problem, pressure) -> State       advance(problem, state) -> State       frame(problem, state) -> Frame
    sample(problem, frame) -> (channel, y, x), or None where it does not arrive

How to start the processes: launch.py. Reference: Balay et al., PETSc/TAO Users Manual, ANL-21/39 (2022); the scheme is
stepper.py's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from scipy import sparse

from wavesim.errors import WavesimError, missing_engine
from wavesim.fem.boundary import Sides, unknowns
from wavesim.fem.distributed_sampling import on_mesh, on_rectangle
from wavesim.fem.medium import Field, Materials, Medium
from wavesim.fem.mesh import Mesh
from wavesim.fem.mpi import communicator
from wavesim.fem.sampling import Nodes
from wavesim.fem.simulation import RIGID, check_growth
from wavesim.fem.stepper import LIMITS, stable_steps

# Lanczos: a residual of 1e-3 of the eigenvalue is reached after 20 to 60 products.
LANCZOS_STEPS, LANCZOS_RESIDUAL = 200, 1e-3


@dataclass(frozen=True)
class Case:
    """What `simulate` runs: the arguments of `assemble`, and the pressure (x, y) at the start, at rest."""

    medium: Medium | Materials
    mesh: Nodes | Mesh
    interval: float
    grid: tuple[int, int]
    pressure: Field
    sides: Sides = RIGID
    order: int = 4
    steps: int | None = None
    degree: int = 4


@dataclass(frozen=True)
class Problem:
    """A medium on a mesh, ready to step on the processes of `comm`.

    stepping: B, a PETSc matrix; work: three PETSc vectors, made once, because PETSc keeps what Python drops. mass: M
    (own nodes,). points, free: (own nodes, 2), and whether the pressure is unknown there. averages: a field's share
    (cells,) of the averages over grid = (y, x) cells.
    """

    comm: Any
    stepping: Any
    work: tuple[Any, Any, Any]
    mass: np.ndarray
    points: np.ndarray
    free: np.ndarray
    averages: Callable[[np.ndarray], np.ndarray]
    grid: tuple[int, int]
    time_step: float
    steps: int
    order: int


@dataclass(frozen=True)
class State:
    """pressure: p, increment: p at the next step less p, each (own nodes,); steps: taken so far."""

    pressure: np.ndarray
    increment: np.ndarray
    steps: int = 0


@dataclass(frozen=True)
class Frame:
    """What a state is at its time. pressure, pressure_rate: (own nodes,); energies: of the whole domain."""

    pressure: np.ndarray
    pressure_rate: np.ndarray
    energy: float
    discrete_energy: float


@dataclass(frozen=True)
class Run:
    """pressure, pressure_rate: (time, y, x), averages over cells; energy: (time,) of the whole field.

    milliseconds_per_frame counts the stepping and the sampling, not the assembly.
    """

    pressure: np.ndarray
    pressure_rate: np.ndarray
    energy: np.ndarray
    steps_per_frame: int
    unknowns: int
    milliseconds_per_frame: float


def assemble(
    medium: Medium | Materials,
    mesh: Nodes | Mesh,
    interval: float,
    grid: tuple[int, int],
    sides: Sides = RIGID,
    order: int = 4,
    steps: int | None = None,
    degree: int = 4,
    comm: Any = None,
) -> Problem:
    """Assemble a medium on a mesh that the processes of `comm` share, by default all that were started together.

    Args: as `simulation.assemble`.
    Raises:
        WavesimError: dolfinx or petsc4py is not installed; sides that are periodic or absorbing; more processes than
            elements; a value of the medium that is not positive; a step that is not stable.
    """
    comm = comm or communicator()
    # Inside the function, so that the package is there without dolfinx.
    from wavesim.fem import _dolfinx

    try:
        from petsc4py import PETSc
    except ImportError as error:
        raise missing_engine("petsc4py", "one domain over several processes", "fem", error) from error
    if not np.issubdtype(PETSc.ScalarType, np.floating):
        raise WavesimError(
            "petsc4py is built for complex numbers; use the real one (PETSC_DIR, or conda's petsc=*=real*)"
        )
    if other := sorted(set(astuple(sides)) - {"rigid", "soft"}):
        raise WavesimError(f"{other[0]} sides on several processes: use rigid or soft ones, or a single process")
    part = _dolfinx.part(mesh, mesh.degree if isinstance(mesh, Nodes) else degree, comm)
    space, rows = part.space, (part.owned, None)
    density, bulk_modulus = _together(
        comm, lambda: [space.evaluate(field) for field in (medium.density, medium.bulk_modulus)]
    )
    free = _free(mesh, space.points, sides)
    # A node where the pressure is given keeps its row, empty: it starts at zero and stays there.
    only = sparse.diags(free.astype(float))
    own = (only @ space.stiffness(density) @ only).tocsr()
    own.eliminate_zeros()
    numbering = PETSc.LGMap().create(part.numbers.astype(PETSc.IntType), comm=comm)
    stiffness = PETSc.Mat().createIS((rows, rows), lgmapr=numbering, lgmapc=numbering, comm=comm)
    csr = (own.indptr.astype(PETSc.IntType), own.indices.astype(PETSc.IntType), own.data)
    piece = PETSc.Mat().createAIJ(own.shape, csr=csr, comm=PETSc.COMM_SELF)
    stiffness.setISLocalMat(piece)
    stiffness.assemble()
    stiffness.convert("aij")  # in place: sums what the processes have of a row
    piece.destroy()
    numbering.destroy()
    mass = PETSc.Vec().createMPI(rows, comm=comm)
    mass.setValues(part.numbers.astype(PETSc.IntType), space.mass(bulk_modulus), addv=PETSc.InsertMode.ADD)
    mass.assemble()

    limit = math.sqrt(LIMITS[order] / (1.05 * largest_eigenvalue(stiffness, mass)))
    steps = stable_steps(interval, limit, steps, order)
    work = (mass, mass.duplicate(), mass.duplicate())
    mass = mass.array.copy()
    work[0].array[:] = (interval / steps) ** 2 / mass
    stiffness.diagonalScale(L=work[0])
    points = space.points[: part.owned]
    averages = on_rectangle(mesh, grid, points) if isinstance(mesh, Nodes) else on_mesh(mesh, grid, part, work[0])
    return Problem(
        comm, stiffness, work, mass, points, free[: part.owned], averages, grid, interval / steps, steps, order
    )


def start(problem: Problem, pressure: Field) -> State:
    """The state at time 0: pressure (x, y) at rest."""
    p = np.where(problem.free, pressure(*problem.points.T), 0.0)
    return State(p, -_force(problem, p) / 2)


def advance(problem: Problem, state: State) -> State:
    """The state one interval later."""
    p, d = state.pressure.copy(), state.increment.copy()
    for _ in range(problem.steps):
        p += d
        d -= _force(problem, p)
    return State(p, d, state.steps + problem.steps)


def frame(problem: Problem, state: State) -> Frame:
    """Pressure, rate and energies of a state at its own time, as `stepper.frame`."""
    h, p = problem.time_step, state.pressure
    force, product = _force(problem, p).copy(), _product(problem, p).copy()
    centred = (state.increment + force / 2) / h
    rate = centred + _product(problem, centred) / 6 if problem.order == 4 else centred

    def inner(one: np.ndarray, other: np.ndarray) -> float:
        return problem.comm.allreduce(float(np.sum(problem.mass * one * other)))

    return Frame(
        p,
        rate,
        (inner(rate, rate) + inner(p, product) / h**2) / 2,
        (inner(centred, centred) + inner(p, force) / h**2) / 2 - inner(force, force) / (8 * h**2),
    )


def sample(problem: Problem, frame: Frame) -> np.ndarray | None:
    """(channel, y, x) of (p, p_t), averages over the grid's cells, at the first process; None at the others."""
    share = np.stack([problem.averages(field) for field in (frame.pressure, frame.pressure_rate)])
    total = np.empty_like(share) if problem.comm.rank == 0 else None
    problem.comm.Reduce(share, total)
    return None if total is None else total.reshape(2, *problem.grid)


def simulate(case: Case, frames: int, comm: Any = None) -> Run | None:
    """All frames of a case at the first process, None at the others.

    Raises:
        WavesimError: as `assemble`, or the energy grows: an unstable run is never returned.
    """
    problem = assemble(
        case.medium, case.mesh, case.interval, case.grid, case.sides, case.order, case.steps, case.degree, comm
    )
    state = start(problem, case.pressure)
    fields, energy = np.empty((2, frames, *case.grid)), np.empty(frames)
    begin = time.perf_counter()
    for k in range(frames):
        state = advance(problem, state) if k else state
        now = frame(problem, state)
        sampled, energy[k] = sample(problem, now), now.energy
        if sampled is not None:
            fields[:, k] = sampled
        check_growth(energy[k], energy[0], k)
    milliseconds = (time.perf_counter() - begin) * 1e3 / max(frames - 1, 1)
    size = problem.comm.reduce(int(problem.free.sum()))
    if problem.comm.rank != 0:
        return None
    return Run(fields[0], fields[1], energy, problem.steps, size, milliseconds)


def largest_eigenvalue(stiffness: Any, mass: Any) -> float:
    """Of M^-1 K, a PETSc matrix and vector, from below: a Ritz value of Lanczos' with a residual of 1e-3 of it."""
    made = [mass.duplicate() for _ in range(5)]
    root, vector, before, product, work = made
    root.array[:] = 1 / np.sqrt(mass.array)
    # No eigenvector is orthogonal to it, and each process has values of its own.
    vector.array[:] = np.random.default_rng(mass.comm.rank).standard_normal(vector.local_size)
    vector.normalize()
    before.set(0.0)
    diagonal: list[float] = []
    beside: list[float] = []
    while True:
        work.pointwiseMult(root, vector)
        stiffness.mult(work, product)
        product.pointwiseMult(root, product)
        diagonal.append(product.dot(vector))
        product.axpy(-diagonal[-1], vector)
        if beside:
            product.axpy(-beside[-1], before)
        last = product.norm()
        values, ritz = np.linalg.eigh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))
        if last * abs(ritz[-1, -1]) <= LANCZOS_RESIDUAL * values[-1] or len(diagonal) == LANCZOS_STEPS:
            break
        beside.append(last)
        before, vector, product = vector, product, before
        vector.scale(1 / last)
    for vector in made:
        vector.destroy()
    return float(values[-1])


def _product(problem: Problem, field: np.ndarray) -> np.ndarray:
    """B times a field, in the second work vector: good until the next product."""
    given, product, _ = problem.work
    given.array[:] = field
    problem.stepping.mult(given, product)
    return product.array


def _force(problem: Problem, pressure: np.ndarray) -> np.ndarray:
    """B' p, in the second work vector: good until the next product."""
    force = _product(problem, pressure)
    if problem.order == 4:
        _, product, twice = problem.work
        problem.stepping.mult(product, twice)
        force -= twice.array / 12
    return force


def _free(mesh: Nodes | Mesh, points: np.ndarray, sides: Sides) -> np.ndarray:
    """(nodes,) whether the pressure is unknown at points (nodes, 2), some of the mesh's nodes."""
    corners = np.array([(0.0, 0.0), mesh.lengths]) if isinstance(mesh, Nodes) else mesh.points
    low, high = corners.min(axis=0), corners.max(axis=0)
    whole = unknowns(np.vstack([points, low, high]), sides)  # the sides are where the whole mesh ends
    return np.diff(whole.indptr)[:-2] > 0


def _together(comm: Any, compute: Callable[[], Any]) -> Any:
    """What a process computes alone; an error of one is raised by all, so that none waits for another in vain.

    Raises:
        WavesimError: that of the first process with one.
    """
    result, error = None, None
    try:
        result = compute()
    except WavesimError as caught:
        error = caught
    for other in comm.allgather(error):
        if other is not None:
            raise other
    return result
