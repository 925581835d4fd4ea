"""The solvers of pareto.py: every way to the same frames that is cheaper than the truth, in single precision.

    conforming     elements that follow the grains
    raster         a plain grid, each point with the averages over its control cell (fem/raster.py)
    upscaled       the same with coefficients of static problems on the grains' mesh (fem/upscaling.py)
    effective      a plain grid in the one uniform medium that long waves see (fem/homogenisation.py)
    volumes        the explicit coarse step of the forecasters alone, on their grid and on finer ones, in compiled loops
    tensor         the same with the tensor that the grains make of each cell (pareto_tensor.py)
    persistence    the first frame for ever

A finite-element run starts twice: from the bursts themselves, and from the truth's p and p_t at frame 0, as forecasts
do. The better start counts. A step is the largest that is stable.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from pareto_cases import Case, Scale
from pareto_tensor import tensor_step
from pareto_truth import Truth, pressures
from scipy.interpolate import make_interp_spline

from wavesim.config import ForecasterConfig
from wavesim.errors import WavesimError
from wavesim.fem import Mesh, Nodes, Pulse, Raster, effective, resolved, stepper
from wavesim.fem.boundary import first_nodes
from wavesim.fem.raster import Averages
from wavesim.fem.simulation import Problem
from wavesim.fem.upscaling import upscaled
from wavesim.fem.window import seen
from wavesim.metrics import relative_l2, vrmse, windowed
from wavesim.preset_config import ResolvedConfig
from wavesim.surrogate import Forecaster, init, rollout
from wavesim.surrogate.loops import CompiledForecaster, in_loops
from wavesim.turns import forecasting_all

CELLS = ("volumes", "tensor")  # explicit steps of cells, in the forecasters' own loops
FINER = (0.75, 0.875, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4)  # cells along a side of theirs, over those of forecasts


@dataclass(frozen=True)
class Solver:
    """elements: along a side of the unit square, of the grid's own or in the length of 1 / element_size; cells of
    `volumes` and `tensor`. order: in time; in space of `tensor`, and spread: of the fourth (pareto_tensor.py)."""

    family: str
    elements: int = 0
    degree: int = 0
    order: int = 4
    spread: float = 1.0

    @property
    def name(self) -> str:
        if self.family == "persistence":
            return self.family
        size = f"1/{self.elements}" if self.family == "conforming" else f"{self.elements} x {self.elements}"
        words = f"{self.family} {size}"
        if self.family in CELLS:
            words += "" if self.family == "volumes" else f", order {self.order}"
            return words if self.spread == 1 else f"{words}, spread {self.spread:g}"
        return f"{words}, degree {self.degree}, order {self.order}"

    def about(self) -> dict[str, Any]:
        told = {**asdict(self), "name": self.name, "kind": "solver"}
        return told if self.spread != 1 else {key: said for key, said in told.items() if key != "spread"}


def solvers(scale: Scale) -> list[Solver]:
    """All of them, the cheapest families first."""
    if scale.quick:
        found = [Solver("volumes", scale.grid), Solver("tensor", scale.grid * 5 // 4), Solver("conforming", 10, 2)]
        found += [Solver("upscaled", 4, 2)]
        return [Solver("persistence"), *found, *(Solver("raster", n, 2) for n in (4, 8))]
    sizes = [round(scale.grid * times) for times in FINER]
    found = [Solver("persistence"), *(Solver("volumes", n) for n in sizes)]
    found += [Solver("tensor", n, order=order) for order in (2, 4) for n in sizes]
    found += [Solver("effective", 16, 4)]
    found += [Solver("raster", n, 1, 2) for n in (64, 128, 192)]
    rasters = {2: (16, 24, 32, 40, 48, 64, 96, 128), 3: (16, 24, 32, 48, 64), 4: (12, 16, 24, 32, 48, 64, 96)}
    found += [Solver("raster", n, degree) for degree, sizes in rasters.items() for n in sizes]
    found += [Solver("raster", n, 2, 2) for n in (32, 48, 64, 128)]
    found += [Solver("upscaled", n, 2) for n in (16, 24, 32, 48)]
    found += [Solver("conforming", 33, degree) for degree in (2, 3, 4)]
    return [*found, Solver("conforming", 33, 2, 2), *(Solver("conforming", 20, degree) for degree in (3, 4, 5))]


@dataclass(frozen=True, eq=False)
class Ready:
    """A finite-element run, assembled. seconds: of the processor, to mesh and to assemble, once a medium."""

    case: Case
    config: ResolvedConfig
    problem: Problem
    seconds: dict[str, float]


def assembled(case: Case, solver: Solver) -> Ready:
    """A run of one of the families with elements. Raises WavesimError where there is no such mesh."""
    config = case.config.model_copy(update={"time_order": solver.order})
    count, seconds = solver.elements * case.scenario.side, {}
    mesh: Mesh | Nodes
    if solver.family == "conforming":
        averages = None
        mesh, seconds["meshing"] = case.meshed(1 / count)
    else:
        mesh = Nodes((count, count), solver.degree)
        if solver.family in ("upscaled", "effective"):
            fine, seconds["meshing"] = case.meshed(config.element_size)
        begin = time.process_time()
        averages = _averages(case, solver, mesh, fine if solver.family != "raster" else None)
        seconds["averaging"] = time.process_time() - begin
    begin = time.process_time()
    problem = resolved.problem_of(config, mesh, case.bursts, solver.degree, dtype=np.float32, averages=averages)
    return Ready(case, config, problem, {**seconds, "assembly": time.process_time() - begin})


def errors_of(case: Case, truth: Truth, solver: Solver) -> dict[str, Any]:
    """A line of errors: by start, of each burst."""
    if solver.family == "persistence":
        first = truth.states[case.config.grid][:, :1]
        return {"state": errors(np.repeat(first, case.scale.frames, axis=1), truth)}
    if solver.family in CELLS:
        model, state, medium, seconds = of_cells(case, truth, solver)
        found = rollout(in_loops(model), state, medium[None], case.scale.frames)[:, :, 0]
        coarse = averaged(found, case.config.grid)
        about = {"steps": steps_of(model, medium), "unknowns": 2 * medium[0].size, "seconds": seconds}
        return {"state": errors(coarse, truth), **about}
    ready = assembled(case, solver)
    free, state = resolved.after_bursts(ready.config, ready.problem, case.bursts)
    points = free.space.points[first_nodes(free.prolongation)]
    at_start = [truth.space.at(points) @ field for field in truth.nodal]
    starts = {"bursts": state, "state": stepper.init(free.operator, *at_start)}
    found = {name: errors(pressures(free, one, case.scale.frames), truth) for name, one in starts.items()}
    about = {"steps": free.operator.steps, "unknowns": len(free.operator.mass), "seconds": ready.seconds}
    return {**found, **about}


def errors(forecast: np.ndarray, truth: Truth) -> dict[str, Any]:
    """Of forecasts (burst, time, y, x): relative L2 at half and at one crossing, and VRMSE by windows of frames, where
    none of the truth's is left out."""
    each = truth.pressure.shape[1] // forecast.shape[1]
    met = truth.pressure[:, each - 1 :: each]
    apart, windows = relative_l2(forecast, met), windowed(vrmse(forecast, met).mean(axis=0)) if each == 1 else {}
    half, one = ([round(float(error), 6) for error in apart[:, k]] for k in (apart.shape[1] // 2 - 1, -1))
    return {"half": half, "one": one, "vrmse": {key: float(value) for key, value in windows.items()}}


def frames_of(
    case: Case, truth: Truth, solver: Solver, batches: Sequence[int], room: np.ndarray
) -> dict[int, tuple[Callable[[], None], int]]:
    """By batch, what computes so many simulations in this medium, and their averages, and how many frames at a call;
    room: as of `forecasting_all`."""
    if solver.family in CELLS:
        model, state, medium, _ = of_cells(case, truth, solver)
        states, frames = {batch: np.repeat(state[:1], batch, axis=0) for batch in batches}, case.scale.frames
        loops = CompiledForecaster(model)
        return {batch: (forecasting_all(loops, states[batch], medium[None], frames, room), frames) for batch in batches}
    ready = assembled(case, solver)
    pulse = ready.problem.at_unknowns(Pulse(case.bursts[0].center, case.bursts[0].width))
    starts = {batch: pulse if batch == 1 else np.repeat(pulse[:, None], batch, axis=1) for batch in batches}
    return {batch: (_stepping(ready.problem, start), 1) for batch, start in starts.items()}


def _stepping(problem: Problem, pressure: np.ndarray) -> Callable[[], None]:
    operator = replace(problem.operator, drive=None)
    waves = stepper.init(operator, pressure)

    def advance() -> None:
        nonlocal waves
        waves = stepper.advance(operator, waves)
        _ = problem.sampling @ waves.pressure

    return advance


def medium_on(case: Case, cells: int) -> np.ndarray:
    """(2, y, x) of kappa and rho, as a dataset on so many cells along a side has them."""
    found = resolved.medium(case.config, case.packing.positions, case.packing.radii).cells((cells, cells))
    return found.astype(np.float32)


def of_cells(case: Case, truth: Truth, solver: Solver) -> tuple[Forecaster, np.ndarray, np.ndarray, dict[str, float]]:
    """The step with the fewest sub-steps that are stable, its states (burst, 2, y, x), its medium (2, y, x), and the
    seconds of the processor that the medium takes once.

    Raises:
        WavesimError: more than 99 sub-steps.
    """
    cells = solver.elements * case.scenario.side
    state, begin = truth.states_on(cells, case.config.frame_interval), time.process_time()
    medium = medium_on(case, cells)
    if solver.family == "tensor":
        begin = time.process_time()  # it makes averages of its own
        model = tensor_step(case, cells, solver.spread if solver.order == 4 else 0.0)
        return model, state, medium, {"averaging": time.process_time() - begin}
    seconds = {"averaging": time.process_time() - begin}
    for substeps in range(1, 100):
        model = Forecaster(ForecasterConfig(ranks=(), substeps=substeps), case.config.frame_interval * cells).eval()
        try:
            init(model, state[:1], medium[None])
        except WavesimError:
            continue
        return model, state, medium, seconds
    raise WavesimError(f"the coarse step on {cells} x {cells} cells takes more than 99 sub-steps: use a lower contrast")


def steps_of(model: Forecaster, medium: np.ndarray) -> int:
    """Sub-steps of a frame in a medium (2, y, x)."""
    taken = model.encode(torch.from_numpy(medium[None])).substeps
    return model.config.substeps if taken is None else int(torch.as_tensor(taken).max())


def averaged(field: np.ndarray, cells: int) -> np.ndarray:
    """Averages over (..., y, x) cells as averages over so many along a side, which no step made.

    Axis by axis by the quintic spline through the integral up to each edge, odd beyond the walls, since the pressure is
    even beyond rigid ones: of fifth order where it is smooth, and exact where edges meet edges.
    """
    fine = field.shape[-1]
    integrals = np.vstack([np.zeros(fine), np.tri(fine)]) / fine  # of each cell alone
    even = [(2, np.zeros(fine)), (4, np.zeros(fine))]
    through = make_interp_spline(np.linspace(0, 1, fine + 1), integrals, 5, bc_type=(even, even))
    share = cells * np.diff(through(np.linspace(0, 1, cells + 1)), axis=0)
    return share @ field @ share.T


def _averages(case: Case, solver: Solver, nodes: Nodes, fine: Mesh | None) -> Raster | Averages:
    config = case.config
    if fine is None:
        disks = seen(case.packing.positions, case.packing.radii, config.radius_scale)
        return Raster(disks, config.bulk_modulus, config.density, nodes)
    grains = resolved.materials(config)
    if solver.family == "upscaled":
        return upscaled(grains, fine, nodes)
    whole = effective(grains, fine)
    points = int(np.prod([axis.element_points.size for axis in nodes.axes]))
    tensor = np.repeat(whole.inverse_density[..., None], points, axis=2)
    return Averages(nodes, np.full(points, whole.bulk_modulus), tensor)
