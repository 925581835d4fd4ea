"""One simulation, from medium and pulse to the frames on the grid.

    problem(config, medium) -> Problem        mesh, K, M, time step, sampling matrix: once a medium
    start(problem, pulse) -> WaveState        the pulse at rest
    next_frame(problem, state) -> WaveState   one frame interval later, in whole steps
    sample(problem, state) -> fields          (channel, y, x) of (p, p_t) as averages over the grid's cells

`simulate` runs them from the first frame to the last. All in float64; the walls are rigid, which costs nothing: it is
what the weak form does by itself.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from wavesim.config import WavesConfig
from wavesim.errors import WavesimError
from wavesim.fem import stepper
from wavesim.fem.medium import Medium
from wavesim.fem.sampling import Nodes, cell_averages
from wavesim.fem.source import Pulse

# The field's energy swings by a few percent about the conserved one when the highest waves that a coarse mesh can
# carry are set off; an unstable run multiplies it at every step. Anything in between tells them apart.
LARGEST_GROWTH = 1.1


@dataclass(frozen=True)
class Problem:
    """A medium on a mesh, ready to step. sampling: (cells, nodes); grid: (y, x) cells; interval: between frames."""

    nodes: Nodes
    operator: stepper.Operator
    sampling: sparse.csr_matrix
    grid: tuple[int, int]
    interval: float


@dataclass(frozen=True)
class Simulation:
    """pressure, pressure_rate: (time, y, x), averages over cells; energy: (time,) of the whole field.

    milliseconds_per_frame counts the stepping and the sampling, not the assembly.
    """

    pressure: np.ndarray
    pressure_rate: np.ndarray
    energy: np.ndarray
    steps_per_frame: int
    unknowns: int
    milliseconds_per_frame: float


def problem(config: WavesConfig, medium: Medium, elements: int | None = None, degree: int | None = None) -> Problem:
    """Assemble a medium on the unit square; `elements` a side and `degree` default to the config's.

    Raises:
        WavesimError: dolfinx is not installed.
    """
    # Inside the function, so that the package is there without dolfinx.
    from wavesim.fem import _dolfinx

    elements, degree = elements or config.elements, degree or config.degree
    space = _dolfinx.space(Nodes((elements, elements), degree))
    x, y = space.nodes.x[None, :], space.nodes.y[:, None]
    stiffness, mass = space.stiffness(medium.density(x, y)), space.mass(medium.bulk_modulus(x, y))
    grid = (config.grid, config.grid)
    operator = stepper.operator(stiffness, mass, config.frame_interval, order=config.time_order)
    return Problem(space.nodes, operator, cell_averages(space.nodes, grid), grid, config.frame_interval)


def start(problem: Problem, pulse: Pulse) -> stepper.WaveState:
    """The pulse at rest, at the nodes."""
    return stepper.init(problem.operator, at_nodes(problem, pulse))


def at_nodes(problem: Problem, pulse: Pulse) -> np.ndarray:
    """(nodes,) values of a pulse."""
    return pulse(problem.nodes.x[None, :], problem.nodes.y[:, None]).ravel()


def next_frame(problem: Problem, state: stepper.WaveState) -> stepper.WaveState:
    """The state one frame interval later."""
    return stepper.advance(problem.operator, state)


def sample(problem: Problem, frame: stepper.Frame) -> np.ndarray:
    """(channel, y, x) of (p, p_t): averages over the grid's cells."""
    fields = (frame.pressure, frame.pressure_rate)
    return np.stack([(problem.sampling @ field).reshape(problem.grid) for field in fields])


def simulate(
    config: WavesConfig, medium: Medium, pulse: Pulse, elements: int | None = None, degree: int | None = None
) -> Simulation:
    """All frames of one trajectory.

    Raises:
        WavesimError: dolfinx is not installed, or the energy grows: an unstable run is never returned.
    """
    ready = problem(config, medium, elements, degree)
    state = start(ready, pulse)
    fields = np.empty((2, config.frames, *ready.grid))
    energy = np.empty(config.frames)
    begin = time.perf_counter()
    for k in range(config.frames):
        state = next_frame(ready, state) if k else state
        frame = stepper.frame(ready.operator, state)
        fields[:, k], energy[k] = sample(ready, frame), frame.energy
        check_growth(energy[k], energy[0], k)
    milliseconds = (time.perf_counter() - begin) * 1e3 / max(config.frames - 1, 1)
    return Simulation(fields[0], fields[1], energy, ready.operator.steps, ready.operator.mass.size, milliseconds)


def check_growth(energy: float, initial: float, frame: int) -> None:
    """Stop an unstable run before it turns into numbers that are none.

    Raises:
        WavesimError: the energy is more than 10 % above the initial one, or not a number.
    """
    if not energy <= LARGEST_GROWTH * initial:  # also when it is not a number
        raise WavesimError(
            f"the energy at frame {frame} is {energy / initial:.3g} times the initial one, above the allowed "
            f"{LARGEST_GROWTH}: the run is unstable; use a smaller frame_interval, or another degree"
        )
