"""One simulation, from medium and pulse to the frames on the grid.

    assemble(medium, nodes, interval, grid, ...) -> Problem     mesh, K, M, time step, sampling matrix: once a medium
    start(problem, pressure, rate) -> WaveState                 initial fields (x, y) -> p and p_t
    next_frame(problem, state) -> WaveState                     one frame interval later, in whole steps
    sample(problem, frame) -> fields                            (channel, y, x) of (p, p_t), averages over cells
    listen(problem, state, places, frames) -> Traces            pressure at places, at every step

`simulate` runs a dataset's trajectory from the first frame to the last. All in float64; a side that is said nothing of
is a rigid wall, which costs nothing: it is what the weak form does by itself.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from wavesim.config import WaveSettings
from wavesim.errors import WavesimError
from wavesim.fem import absorbing, stepper, unresolved
from wavesim.fem.arguments import require_degree, require_times
from wavesim.fem.boundary import Sides, first_nodes, require_waves, unknowns
from wavesim.fem.budget import Budget, energy_of_rounding
from wavesim.fem.cells import cells
from wavesim.fem.margins import with_margins
from wavesim.fem.medium import Field, Materials, Medium
from wavesim.fem.mesh import Mesh
from wavesim.fem.raster import Averages, Raster
from wavesim.fem.sampling import Nodes
from wavesim.fem.source import PointSource, Pulse, SpreadSource
from wavesim.fem.space import Space
from wavesim.preset_config import ResolvedConfig

RIGID = Sides()
DTYPES = {"single": np.float32, "double": np.float64}


@dataclass(frozen=True)
class Problem:
    """A medium on a mesh, ready to step.

    prolongation: (nodes, unknowns); sampling: (cells, unknowns); grid: (y, x) cells; interval: between frames.
    """

    space: Space
    prolongation: sparse.csr_matrix
    operator: stepper.Operator
    sampling: sparse.csr_matrix
    grid: tuple[int, int]
    interval: float

    def at_unknowns(self, field: Field) -> np.ndarray:
        """(unknowns,) values of field(x, y)."""
        x, y = self.space.points[first_nodes(self.prolongation)].T
        return np.broadcast_to(np.asarray(field(x, y), float), x.shape)

    def at(self, places: np.ndarray) -> sparse.csr_matrix:
        """The matrix (places, unknowns) to the values at places (places, 2), x first."""
        return self.space.at(places) @ self.prolongation


@dataclass(frozen=True)
class Traces:
    """What receivers heard. times: (steps,); pressure: (steps, receiver)."""

    times: np.ndarray
    pressure: np.ndarray


@dataclass(frozen=True)
class Simulation:
    """pressure, pressure_rate: (time, y, x), averages over cells; energy: (time,) of the whole field.

    unresolved_share: (time,) of the pressure, see unresolved.py. milliseconds_per_frame counts the stepping and the
    sampling, not the assembly.
    """

    pressure: np.ndarray
    pressure_rate: np.ndarray
    energy: np.ndarray
    unresolved_share: np.ndarray
    steps_per_frame: int
    unknowns: int
    milliseconds_per_frame: float


def assemble(
    medium: Medium | Materials | Raster | Averages,
    mesh: Nodes | Mesh,
    interval: float,
    grid: tuple[int, int],
    sides: Sides = RIGID,
    layer: int = 0,
    sources: Sequence[PointSource | SpreadSource] = (),
    order: int = 4,
    steps: int | None = None,
    dtype: type = np.float64,
    degree: int = 4,
    device: str | None = None,
    apart: bool = False,
) -> Problem:
    """Assemble a medium on a mesh.

    Args:
        medium: functions of place, values by the mesh's tags, or averages. mesh: the nodes of a rectangle, without its
            absorbing layer, or any mesh, whose elements get `degree`; with absorbing sides, one of quadrilaterals that
            fills a rectangle. interval: between frames. grid: (y, x) cells.
        layer: elements that an absorbing side is given, best about one wavelength of them (three of degree 4 reflect
            5e-4 of a wave so long); in them the medium goes on as it is at the side.
        sources: of volume. order: of the time steps, 2 or 4. steps: a frame; default: the fewest.
        dtype: of the fields; single precision steps faster. device: of torch ("cuda"), which then steps.
        apart: whether each source is of a simulation of its own, in a batch of as many.
    Raises:
        WavesimError: dolfinx is not installed; a value of the medium that is not positive; a step that is not stable;
            absorbing sides without a layer, or of a mesh that can have none; an interval, steps, order or degree that
            there are not.
    """
    require_times(interval, steps, order)
    require_degree(degree)
    # Inside the function, so that the package is there without dolfinx.
    from wavesim.fem import _dolfinx

    medium, mesh = with_margins(medium, mesh, sides, layer)
    space = _dolfinx.space(mesh) if isinstance(mesh, Nodes) else _dolfinx.mesh_space(mesh, degree)
    prolongation = require_waves(unknowns(space.points, sides))
    bulk_modulus, density = values(medium, space)
    stiffness = (prolongation.T @ space.stiffness(density) @ prolongation).tocsr()
    mass = prolongation.T @ space.mass(bulk_modulus)
    force = _force(space, prolongation, mass, sources, apart) if sources else None
    return Problem(
        space,
        prolongation,
        stepper.operator(
            stiffness,
            mass,
            interval,
            steps,
            order,
            dtype,
            force,
            absorbing.of_space(space, prolongation, mass, bulk_modulus, density, dtype),
            device,
            cells(space, density, prolongation),
        ),
        (space.cell_averages(grid) @ prolongation).astype(dtype),
        grid,
        interval,
    )


def values(medium: Medium | Materials | Raster | Averages, space: Space) -> tuple[np.ndarray, np.ndarray]:
    """(element points,) bulk modulus and density, or of averages (2, 2, element points) of 1/rho.

    Raises:
        WavesimError: a value that is not positive and finite, or a tag without a value.
    """
    if isinstance(medium, Raster | Averages):
        return medium.evaluate(space.element_points)
    return space.evaluate(medium.bulk_modulus), space.evaluate(medium.density)


def _force(
    space: Space,
    prolongation: sparse.csr_matrix,
    mass: np.ndarray,
    sources: Sequence[PointSource | SpreadSource],
    apart: bool,
) -> stepper.Force:
    loads = prolongation.T @ sparse.hstack([_load(space, source) for source in sources])
    shape = (sparse.diags(1 / mass) @ loads).tocsr()

    def signal(time: float) -> np.ndarray:
        values = np.array([source.signal(time) for source in sources])
        return np.diag(values) if apart else values

    spread = any(isinstance(source, SpreadSource) for source in sources)
    return stepper.Force(shape.toarray() if spread else shape, signal)


def _load(space: Space, source: PointSource | SpreadSource) -> sparse.spmatrix:
    """(nodes, 1) of the integrals of a source's shape times each node's function."""
    if isinstance(source, PointSource):
        return space.at(np.array([source.place])).T
    shape = source.shape(*space.element_points.T)
    return sparse.csr_matrix(space.sum_at_nodes(space.weights * shape)[:, None])


def problem(
    config: WaveSettings,
    medium: Medium,
    elements: int | None = None,
    degree: int | None = None,
    steps: int | None = None,
    dtype: type | None = None,
) -> Problem:
    """Assemble a medium on a config's domain; `elements` along x, `degree` and `dtype` default to the config's, and
    `steps` a frame to the fewest.

    Raises:
        WavesimError: as `assemble`.
    """
    domain, (nodes, layer) = config.domain, mesh_of(config, elements, degree)
    return assemble(
        medium,
        nodes,
        config.frame_interval,
        domain.cells,
        Sides(*domain.sides),
        layer,
        order=config.time_order,
        steps=steps,
        dtype=dtype or DTYPES[config.precision],
        device=config.device,
    )


def mesh_of(config: WaveSettings, elements: int | None = None, degree: int | None = None) -> tuple[Nodes, int]:
    """The nodes of a config's domain, and the elements of an absorbing side's layer.

    With other `elements` along x, those along y and the layer keep their shares.

    Raises:
        WavesimError: settings of another mesh than a rectangle's own.
    """
    domain = config.domain
    if isinstance(config, ResolvedConfig) or domain.elements is None:
        raise WavesimError(
            "resolved packings have a mesh of their own; use waves_through, or the preset packing-smooth"
        )
    along_x, along_y = domain.elements
    ratio = (elements or along_x) / along_x
    across = (elements or along_x, max(1, round(along_y * ratio)))
    return Nodes(across, degree or config.degree, domain.lengths), math.ceil(domain.layer * ratio)


def start(problem: Problem, pressure: Field, pressure_rate: Field | None = None) -> stepper.WaveState:
    """The state at time 0: pressure (x, y), and its rate p_t (x, y); at rest where there is none.

    Raises:
        WavesimError: a value that is not finite.
    """
    fields = [problem.at_unknowns(field) for field in (pressure, pressure_rate) if field is not None]
    for field in fields:
        if not np.isfinite(field).all():
            raise WavesimError(f"the field at time 0 is {field[~np.isfinite(field)][0]} somewhere: give finite values")
    return stepper.init(problem.operator, *fields)


def next_frame(problem: Problem, state: stepper.WaveState) -> stepper.WaveState:
    """The state one frame interval later."""
    return stepper.advance(problem.operator, state)


def sample(problem: Problem, frame: stepper.Frame) -> np.ndarray:
    """(channel, y, x) of (p, p_t): averages over the grid's cells."""
    fields = (frame.pressure, frame.pressure_rate)
    return np.stack([(problem.sampling @ field).reshape(problem.grid) for field in fields])


def listen(problem: Problem, state: stepper.WaveState, places: np.ndarray, frames: int) -> Traces:
    """The pressure at places (receiver, 2) from `state` on, at every step of so many frame intervals.

    Raises:
        WavesimError: a place outside the mesh; the energy grows.
    """
    receivers, operator = problem.at(places), problem.operator
    heard = np.empty((frames * operator.steps + 1, receivers.shape[0]))
    heard[0] = receivers @ state.pressure
    budget = _budget(operator, state)
    for k in range(1, len(heard)):
        state = stepper.step(operator, state)
        heard[k] = receivers @ state.pressure
        if k % operator.steps == 0:
            state = stepper.corrected(operator, state)
            budget.check(stepper.frame(operator, state).energy, state.steps, k // operator.steps)
    first = state.steps - len(heard) + 1
    return Traces((first + np.arange(len(heard))) * operator.time_step, heard)


def simulate(
    config: WaveSettings,
    medium: Medium,
    pulse: Pulse,
    elements: int | None = None,
    degree: int | None = None,
    steps: int | None = None,
) -> Simulation:
    """All frames of one trajectory; `elements`, `degree` and `steps` as for `problem`.

    Raises:
        WavesimError: dolfinx is not installed, or the energy grows: an unstable run is never returned.
    """
    ready = problem(config, medium, elements, degree, steps)
    return run(ready, start(ready, pulse), config.frames)[0]


def run(ready: Problem, state: stepper.WaveState, frames: int) -> list[Simulation]:
    """All frames from a state on, of one trajectory or of each in a batch.

    Raises:
        WavesimError: the energy of one grows.
    """
    batch, dtype = state.pressure[0].size, state.pressure.dtype
    fields = np.empty((2, batch, frames, *ready.grid), dtype)
    energy, share = np.empty((2, batch, frames))
    lengths, (one_part, other_part) = ready.space.lengths, unresolved.norm(ready.space)
    one_part, other_part = one_part.astype(dtype), other_part.astype(dtype)
    prolongation = ready.prolongation.astype(dtype)
    spent, budget = 0.0, _budget(ready.operator, state)
    for k in range(frames):
        begin = time.perf_counter()
        state = next_frame(ready, state) if k else state
        frame = stepper.frame(ready.operator, state)
        # One after another: a sparse product with a row is faster than with a batch, by a quarter.
        pressure, rate = (np.ascontiguousarray(np.atleast_2d(f.T)) for f in (frame.pressure, frame.pressure_rate))
        for channel, rows in enumerate((pressure, rate)):
            fields[channel, :, k] = [(ready.sampling @ row).reshape(ready.grid) for row in rows]
        spent += time.perf_counter() - begin
        nodal = [prolongation @ row for row in pressure]
        square = [np.einsum("i,i->", one_part @ row, other_part @ row, dtype=np.float64) for row in nodal]
        share[:, k] = unresolved.share(np.array(square), fields[0, :, k].reshape(batch, -1).T, lengths)
        energy[:, k] = frame.energy
        budget.check(frame.energy, state.steps, k)
    milliseconds = spent * 1e3 / max(frames - 1, 1) / batch
    operator = ready.operator
    return [
        Simulation(fields[0, i], fields[1, i], energy[i], share[i], operator.steps, len(operator.mass), milliseconds)
        for i in range(batch)
    ]


def _budget(operator: stepper.Operator, state: stepper.WaveState) -> Budget:
    drive, energy = operator.drive, stepper.frame(operator, state).energy
    gram = None if drive is None else drive.gram(operator.mass)
    blurred = energy_of_rounding(state.pressure, operator.mass, operator.time_step)
    return Budget(energy, state.steps, drive, gram, blurred, operator.layer is not None)
