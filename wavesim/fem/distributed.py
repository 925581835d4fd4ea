"""One domain over several processes, each of which holds its own elements: the same problem, scheme and frames.

dolfinx shares the elements out. Each process makes the K and M of its own, as in space.py; PETSc adds up what meets at
the unknowns between two processes, and keeps rows of

    B = h^2 M^-1 K       and the fields p, d       (the steps of march.py)

where their nodes belong. A product exchanges the values along the cuts; f of an absorbing layer stays with the
elements. What is sampled is summed over the processes; every function here is called by all of them, and what it
samples arrives at the first one.

    assemble(medium, mesh, interval, grid, ...) -> Problem
    start(problem, pressure) -> WaveState     advance(problem, state) -> WaveState     frame(problem, state) -> Frame
    sample(problem, frame) -> (channel, y, x), or None where it does not arrive

How to start the processes: launch.py. Reference: Balay et al., PETSc/TAO Users Manual, ANL-21/39 (2022); the scheme is
stepper.py's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from wavesim.errors import WavesimError
from wavesim.fem import absorbing, distributed_sampling, stepper
from wavesim.fem.absorbing import Layer
from wavesim.fem.arguments import require_degree, require_times
from wavesim.fem.boundary import Sides, require_unknowns
from wavesim.fem.budget import Budget, energy_of_rounding
from wavesim.fem.distributed_matrix import SharedOperator, largest_eigenvalue, summed
from wavesim.fem.distributed_nodes import Held, OfFetched, Summed, held, petsc
from wavesim.fem.drive import Drive, Force
from wavesim.fem.drive import drive as in_steps
from wavesim.fem.extent import Extent
from wavesim.fem.margins import with_margins
from wavesim.fem.medium import Field, Materials, Medium
from wavesim.fem.mesh import Mesh
from wavesim.fem.mpi import communicator
from wavesim.fem.raster import Averages, Raster
from wavesim.fem.sampling import Nodes
from wavesim.fem.simulation import RIGID, values
from wavesim.fem.source import PointSource, SpreadSource
from wavesim.fem.space import Part
from wavesim.fem.stepper import LIMITS, Frame, WaveState, stable_steps


@dataclass(frozen=True)
class Case:
    """What `simulate` runs: the arguments of `assemble`, the pressure (x, y) at the start, at rest, and receivers.

    receivers: (receivers, 2) places, x first, where the pressure is heard at every step.
    """

    medium: Medium | Materials | Raster | Averages
    mesh: Nodes | Mesh
    interval: float
    grid: tuple[int, int]
    pressure: Field
    sides: Sides = RIGID
    order: int = 4
    steps: int | None = None
    degree: int = 4
    layer: int = 0
    sources: Sequence[PointSource | SpreadSource] = ()
    receivers: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))


@dataclass(frozen=True)
class Problem:
    """A medium on a mesh, ready to step on the processes of `comm`.

    operator: of fields (own rows,), with M = 1 in rows without an unknown. averages: from values (held,) to a share
    (cells,) of the averages over grid = (y, x) cells.
    """

    comm: Any
    mesh: Nodes | Mesh
    part: Part
    held: Held
    operator: SharedOperator
    averages: Callable[[np.ndarray], np.ndarray]
    grid: tuple[int, int]

    @property
    def points(self) -> np.ndarray:
        """(own rows, 2) places of the own nodes."""
        return self.part.space.points[: self.part.owned]


@dataclass(frozen=True)
class Run:
    """pressure, pressure_rate: (time, y, x), averages over cells; energy: (time,) of the whole field.

    heard: (steps, receiver), the pressure at the receivers at `times` (steps,). milliseconds_per_frame counts the
    stepping and the sampling, not the assembly.
    """

    pressure: np.ndarray
    pressure_rate: np.ndarray
    energy: np.ndarray
    steps_per_frame: int
    unknowns: int
    milliseconds_per_frame: float
    times: np.ndarray
    heard: np.ndarray


def assemble(
    medium: Medium | Materials | Raster | Averages,
    mesh: Nodes | Mesh,
    interval: float,
    grid: tuple[int, int],
    sides: Sides = RIGID,
    order: int = 4,
    steps: int | None = None,
    degree: int = 4,
    layer: int = 0,
    sources: Sequence[PointSource | SpreadSource] = (),
    comm: Any = None,
) -> Problem:
    """Assemble a medium on a mesh that the processes of `comm` share, by default all that were started together.

    Args: as `simulation.assemble`.
    Raises:
        WavesimError: dolfinx or petsc4py is not installed; more processes than elements; and as `simulation.assemble`.
    """
    comm = comm or communicator()
    require_times(interval, steps, order)
    require_degree(degree)
    # Inside the function, so that the package is there without dolfinx.
    from wavesim.fem import _dolfinx

    petsc()
    medium, mesh = with_margins(medium, mesh, sides, layer)
    part = _dolfinx.part(mesh, mesh.degree if isinstance(mesh, Nodes) else degree, comm)
    bulk_modulus, density = _together(comm, lambda: values(medium, part.space))
    shared = held(part, sides, comm)
    require_unknowns(comm.allreduce(int(shared.free.sum())))
    prolongation = shared.prolongation
    stiffness = summed(prolongation.T @ part.space.stiffness(density) @ prolongation, shared)
    mass = np.where(shared.free, shared.add(prolongation.T @ part.space.mass(bulk_modulus)), 1.0)
    work = (shared.like.duplicate(), shared.like.duplicate())
    work[0].array[:] = mass
    limit = math.sqrt(LIMITS[order] / (1.05 * largest_eigenvalue(stiffness, work[0])))
    steps = stable_steps(interval, limit, steps, order)
    h = interval / steps
    work[0].array[:] = h**2 / mass
    stiffness.diagonalScale(L=work[0])
    operator = SharedOperator(stiffness, mass, h, steps, order, work=work)
    if any(mesh.margins):
        operator = replace(operator, layer=_layer(comm, part, shared, mesh.extent, mass, bulk_modulus, density, h))
    if sources:
        operator = replace(operator, drive=_drive(sources, mesh, part, shared, operator))
    averages = distributed_sampling.averages(mesh, grid, part, prolongation)
    return Problem(comm, mesh, part, shared, operator, averages, grid)


def start(problem: Problem, pressure: Field) -> WaveState:
    """The state at time 0: pressure (x, y) at rest."""
    return stepper.init(problem.operator, np.where(problem.held.free, pressure(*problem.points.T), 0.0))


def advance(problem: Problem, state: WaveState) -> WaveState:
    """The state one interval later."""
    return stepper.advance(problem.operator, state)


def frame(problem: Problem, state: WaveState) -> Frame:
    """Pressure, rate (own rows,) and the whole domain's energies at the state's time, as `stepper.frame`."""
    own = stepper.frame(problem.operator, state)
    whole = (problem.comm.allreduce(float(energy)) for energy in (own.energy, own.discrete_energy))
    return Frame(own.pressure, own.pressure_rate, *(np.array(energy) for energy in whole))


def sample(problem: Problem, frame: Frame) -> np.ndarray | None:
    """(channel, y, x) of (p, p_t), averages over the grid's cells, at the first process; None at the others."""
    fields = (frame.pressure, frame.pressure_rate)
    total = _summed_at_first(problem.comm, np.stack([problem.averages(problem.held.fetch(field)) for field in fields]))
    return None if total is None else total.reshape(2, *problem.grid)


def simulate(case: Case, frames: int, comm: Any = None) -> Run | None:
    """All frames of a case, and what its receivers hear, at the first process, None at the others.

    Raises:
        WavesimError: as `assemble`, a receiver outside the mesh, or the energy grows without sources: an unstable run
            is never returned.
    """
    problem = assemble(
        case.medium,
        case.mesh,
        case.interval,
        case.grid,
        case.sides,
        case.order,
        case.steps,
        case.degree,
        case.layer,
        case.sources,
        comm,
    )
    operator, shared, places = problem.operator, problem.held, len(case.receivers)
    if places:
        receivers = distributed_sampling.at(problem.mesh, case.receivers, problem.part, shared.prolongation)
    state = start(problem, case.pressure)
    fields, energy = np.empty((2, frames, *case.grid)), np.empty(frames)
    times = np.arange((frames - 1) * operator.steps + 1) * operator.time_step
    heard = np.empty((len(times), places))
    if places:
        heard[0] = receivers @ shared.fetch(state.pressure)
    drive = operator.drive
    gram = None if drive is None else problem.comm.allreduce(drive.gram(operator.mass))
    blurred = problem.comm.allreduce(float(energy_of_rounding(state.pressure, operator.mass, operator.time_step)))
    absorbs = any(case.sides.margins(case.layer))
    budget = Budget(frame(problem, state).energy, state.steps, drive, gram, blurred, absorbs)
    begin = time.perf_counter()
    for k in range(frames):
        if k and not places:
            state = advance(problem, state)
        for _ in range(operator.steps if k and places else 0):
            state = stepper.step(operator, state)
            heard[state.steps] = receivers @ shared.fetch(state.pressure)
        now = frame(problem, state)
        sampled, energy[k] = sample(problem, now), now.energy
        if sampled is not None:
            fields[:, k] = sampled
        budget.check(now.energy, state.steps, k)
    milliseconds = (time.perf_counter() - begin) * 1e3 / max(frames - 1, 1)
    size = problem.comm.reduce(int(shared.free.sum()))
    whole = _summed_at_first(problem.comm, heard)
    if whole is None:
        return None
    return Run(fields[0], fields[1], energy, operator.steps, size, milliseconds, times, whole)


def _layer(
    comm: Any,
    part: Part,
    shared: Held,
    extent: Extent,
    mass: np.ndarray,
    bulk_modulus: np.ndarray,
    density: np.ndarray,
    time_step: float,
) -> Layer:
    """The absorbing layer: f at the points of the process's own elements, the rest at its rows."""
    space = part.space
    elements = absorbing.inside(extent, space)
    squared_speed = absorbing.squared_speed(bulk_modulus, density, elements)
    wave_speed = np.sqrt(max(comm.allgather(float(squared_speed))))
    here = np.ones(len(shared.numbers))
    own = absorbing.layer(space, extent, elements, shared.prolongation, here, density, wave_speed, time_step)
    derivative: Any = OfFetched(own.derivative, shared)
    push: Any = Summed(own.push, shared)
    return replace(
        own,
        keep=shared.at_rows(own.keep, 1.0),
        kick=shared.at_rows(own.kick, 1.0),
        pull=shared.at_rows(own.pull, 0.0),
        scale=1 / mass,
        derivative=derivative,
        push=push,
    )


def _drive(
    sources: Sequence[PointSource | SpreadSource],
    mesh: Nodes | Mesh,
    part: Part,
    shared: Held,
    operator: SharedOperator,
) -> Drive:
    space, prolongation = part.space, shared.prolongation

    def load(source: PointSource | SpreadSource) -> np.ndarray:
        if isinstance(source, PointSource):
            values = distributed_sampling.at(mesh, np.array([source.place]), part, prolongation)
            return shared.add(values.toarray()[0])
        shape = source.shape(*space.element_points.T)
        return shared.add(prolongation.T @ space.sum_at_nodes(space.weights * shape))

    def product(fields: np.ndarray) -> np.ndarray:
        return np.stack([operator.loops.product(field) for field in fields.T], axis=1)

    shape = np.stack([load(source) / operator.mass for source in sources], axis=1)
    force = Force(shape, lambda time: np.array([source.signal(time) for source in sources]))
    return in_steps(force, product, operator.time_step, operator.order, operator.dtype)


def _summed_at_first(comm: Any, share: np.ndarray) -> np.ndarray | None:
    total = np.empty_like(share) if comm.rank == 0 else None
    comm.Reduce(share, total)
    return total


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
