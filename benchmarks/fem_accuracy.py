"""Seconds to a given error: our elements, deepwave and devito, each at the best of its settings.

(1/kappa) p_tt = lap p + s on the unit square between pressure-release walls, ten wavelengths across, for one crossing
of the background, time 1: a packet exp(-r^2 / 2 W^2) cos(2 pi s / 0.1) at rest, W = 0.04, s along the diagonal; or,
because a packet over interfaces makes kinks, a Ricker wavelet of frequency 10 in one point, whose peak is at time 0.15.

    smooth    kappa = exp(g), g a sum of random cosines, between 0.5 and 2; packet
    circle    kappa 1/4 in a disk of radius 0.2: waves half as long; our cells follow it; packet
    packing   64 disks with kappa 4; our cells follow them, or have averages; wavelet in one of them, until time 1.15
    blended   the same disks, blended over 0.03, the demo's interfaces; packet

In disks finite differences see 1/kappa averaged over their cells (4 x 4 points), else kappa itself. Error:
relative L2 of the pressure at 40,000 places, against our own run at a finer mesh and degree, whose rounding is 1e-5;
the smallest error of each code is given. Seconds of the processor for the steps alone, the least of three: neither
assembly nor compilation, float32, one thread. Settings: ours degree 2 to 8, order 4 in time; deepwave order 4 and 8,
devito 8 and 12 in space, with steps of 1, 1/3 and 1/9 of about the limit (both are of order 2 in time), 60 to 800
points. Names of cases as arguments choose them.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from scipy.interpolate import RectBivariateSpline
from truth_convergence import relaxed_disks

from wavesim.fem import Nodes, PointSource, Ricker, Sides, assemble, packing, stepper
from wavesim.fem.arcs import on_circles
from wavesim.fem.conforming_mesh import conforming
from wavesim.fem.medium import Materials, Medium
from wavesim.fem.mesh import Mesh
from wavesim.fem.packing_mesh import SquarePacking
from wavesim.fem.raster import Raster
from wavesim.fem.window import seen

sys.path.append(str(Path(__file__).parents[1] / "tests" / "fem"))
os.environ.setdefault("DEVITO_LOGGING", "ERROR")
from exact.meshes import disk_in_square

WIDTH, WAVELENGTH, START = 0.04, 0.1, (0.22, 0.22)
PLACES = (np.arange(200) + 0.5) / 200
TARGETS = (0.1, 0.01, 0.001)
WAVELET, BEGUN = Ricker(1 / WAVELENGTH), 0.3  # from when on the wavelet is below 1e-8 of its peak
SCALE = 0.9  # of the disks' radii


def packet(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """p at time 0."""
    dx, dy = x - START[0], y - START[1]
    along = (dx + dy) / np.sqrt(2)
    return np.exp(-(dx**2 + dy**2) / (2 * WIDTH**2)) * np.cos(2 * np.pi * along / WAVELENGTH)


Road = Callable[[Callable, int, int], tuple[Nodes | Mesh, Medium | Materials | Raster]]


@dataclass(frozen=True)
class Case:
    """bulk_modulus(x, y), at most `largest`, which jumps or not. mesh: of n and degree, with its medium; runs: n by
    degree, and `finest`, what the truth is computed with; others: more meshes and runs. source: in which place, or a
    packet."""

    bulk_modulus: Callable[[np.ndarray, np.ndarray], np.ndarray]
    runs: dict[int, tuple[int, ...]]
    finest: tuple[int, int]
    largest: float
    mesh: Road
    jumps: bool = False
    source: tuple[float, float] | None = None
    others: tuple[tuple[Road, dict[int, tuple[int, ...]]], ...] = ()

    @property
    def end(self) -> float:
        """Time of the comparison."""
        return 1.0 if self.source is None else 1.15


def smooth(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A sum of 30 cosines, at least 0.15 long."""
    random = np.random.default_rng(0)
    total = np.zeros(np.broadcast_shapes(x.shape, y.shape))
    for _ in range(30):
        angle, k, phase = random.uniform(0, 2 * np.pi), random.uniform(6, 40), random.uniform(0, 2 * np.pi)
        total += np.cos(k * (np.cos(angle) * x + np.sin(angle) * y) + phase)
    return np.exp(np.log(2) * np.tanh(total / 5))


def disk(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """1/4 in the disk."""
    return np.where(np.hypot(x - 0.5, y - 0.5) < 0.2, 0.25, 1.0)


@lru_cache(maxsize=1)
def disks() -> SquarePacking:
    return SquarePacking("relaxed", *relaxed_disks(1 / 1.4), 1 / 1.4)


@lru_cache(maxsize=1)
def grains() -> Medium:
    return packing(disks().positions, disks().radii, 4.0, 1.0, 0.03, radius_scale=SCALE)


def sharp(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """4 in the disks."""
    inside = np.zeros(np.broadcast_shapes(x.shape, y.shape), bool)
    for at_x, at_y, radius in seen(disks().positions, disks().radii, SCALE):
        inside |= np.hypot(x - at_x, y - at_y) < radius
    return np.where(inside, 4.0, 1.0)


def plain(bulk_modulus: Callable, n: int, degree: int) -> tuple[Nodes, Medium]:
    """n x n elements."""
    return Nodes((n, n), degree), Medium(bulk_modulus, lambda x, y: np.ones(np.broadcast_shapes(x.shape, y.shape)))


def around(bulk_modulus: Callable, n: int, degree: int) -> tuple[Mesh, Materials]:
    """Cells that follow the circle."""
    return on_circles(*disk_in_square(n), degree), Materials((1.0, 0.25), (1.0, 1.0))


@lru_cache(maxsize=4)
def between(n: int) -> Mesh:
    return conforming(disks(), SCALE, 1 / n, wave_speed=2.0)


def along(bulk_modulus: Callable, n: int, degree: int) -> tuple[Mesh, Materials]:
    """Cells that follow all disks, 1/n long."""
    return between(n), Materials((1.0, 4.0), (1.0, 1.0))


def averaged(bulk_modulus: Callable, n: int, degree: int) -> tuple[Nodes, Raster]:
    """n x n elements, with averages of the disks."""
    nodes = Nodes((n, n), degree)
    return nodes, Raster(seen(disks().positions, disks().radii, SCALE), 4.0, 1.0, nodes)


def middle_of_a_grain() -> tuple[float, float]:
    """The point deepest in one that all grids have, twentieths of the side."""
    x, y = np.meshgrid(np.arange(5, 16) / 20, np.arange(5, 16) / 20)
    around = seen(disks().positions, disks().radii, SCALE)
    depth = np.min([np.hypot(x - at_x, y - at_y) - radius for at_x, at_y, radius in around], axis=0)
    k = np.argmin(depth)
    return float(x.flat[k]), float(y.flat[k])


SQUARE = {2: (48, 64, 96, 128), 4: (12, 16, 20, 24, 32, 40, 48, 64), 6: (8, 10, 12, 14, 16, 20, 24, 32)}
KINKED = {2: (*SQUARE[2], 192, 256), 4: (*SQUARE[4], 80, 96, 128), 6: (*SQUARE[6], 40, 48, 64)}
ROUND = {4: (12, 16, 20, 24, 28, 32), 6: (8, 10, 12, 16, 20), 8: (6, 8, 10, 12)}
RASTERS = {2: (64, 96, 128, 192), 3: (48, 64, 96, 128), 4: (32, 48, 64, 96, 128)}
PACKED = {degree: (25, 33, 50) for degree in (3, 4, 5)}
CASES = {
    "smooth": Case(smooth, SQUARE, (40, 8), 2.0, plain),
    "circle": Case(disk, ROUND, (20, 8), 1.0, around, jumps=True),
    "packing": Case(sharp, PACKED, (50, 7), 4.0, along, True, middle_of_a_grain(), ((averaged, RASTERS),)),
    "blended": Case(lambda x, y: grains().bulk_modulus(x, y), KINKED, (96, 8), 4.0, plain),
}


def seconds(run: Callable[[], np.ndarray], repeat: int = 3) -> tuple[float, np.ndarray]:
    """The least time of three, and what came out."""
    times = []
    for _ in range(repeat):
        begin = time.process_time()
        result = run()
        times.append(time.process_time() - begin)
    return min(times), result


def ours(case: Case, n: int, degree: int, order: int = 4, slower: float = 1, repeat: int = 3, road: Road | None = None):
    """(seconds, p at the places, unknowns, steps) of a run."""
    mesh, medium = (road or case.mesh)(case.bulk_modulus, n, degree)

    def over(time: float, source: bool, steps: int | None = None):
        sources = [PointSource(case.source, WAVELET)] if source and case.source else []
        return assemble(medium, mesh, time, (8, 8), Sides.all("soft"), 0, sources, order, steps, np.float32, degree)

    problem = over(1.0, False)
    if slower > 1:
        problem = over(1.0, False, int(slower * problem.operator.steps))
    steps = problem.operator.steps
    if case.source:  # in steps of the same length while the wavelet lasts, and after
        lasting = over(BEGUN, True, int(np.ceil(steps * BEGUN)))
        problem = over(case.end - BEGUN, False, int(np.ceil(steps * (case.end - BEGUN))))
        steps = lasting.operator.steps + problem.operator.steps

    def run() -> np.ndarray:
        if not case.source:
            return stepper.advance(
                problem.operator, stepper.init(problem.operator, problem.at_unknowns(packet))
            ).pressure
        begun = stepper.advance(lasting.operator, stepper.init(lasting.operator, 0 * lasting.operator.mass))
        frame = stepper.frame(lasting.operator, begun)
        return stepper.advance(
            problem.operator, stepper.init(problem.operator, frame.pressure, frame.pressure_rate)
        ).pressure

    took, end = seconds(run, repeat)
    x, y = np.meshgrid(PLACES, PLACES)
    return took, (problem.at(np.column_stack([x.ravel(), y.ravel()])) @ end).reshape(x.shape), end.size, steps


def on_grid(case: Case, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The line of n + 1 intervals' inner nodes, kappa and p there, arrays (x, y)."""
    line = np.arange(1, n) / n
    m = 4 if case.jumps else 1
    parts = (np.add.outer(line, (np.arange(m) - (m - 1) / 2) / (m * n))).ravel()
    slow = 1 / case.bulk_modulus(parts[:, None], parts[None])
    kappa = 1 / slow.reshape(n - 1, m, n - 1, m).mean(axis=(1, 3))
    return line, kappa, packet(line[:, None], line[None]) * (case.source is None)


def at_places(line: np.ndarray, field: np.ndarray) -> np.ndarray:
    """(y, x) at the places, by splines of degree 5 through the grid and the walls."""
    line = np.concatenate([[0], line, [1]])
    return RectBivariateSpline(line, line, np.pad(np.asarray(field, float), 1), kx=5, ky=5)(PLACES, PLACES).T


def by_deepwave(case: Case, n: int, order: int, steps: int):
    """The same by deepwave, whose free surface lies one node outside of its grid."""
    import deepwave
    import torch

    torch.set_num_threads(1)
    line, kappa, p = on_grid(case, n)
    h, dt = 1 / n, case.end / steps
    before = torch.tensor((p + dt**2 / 2 * kappa * laplacian(p, h)).astype(np.float32))[None]
    speed, now = torch.tensor(np.sqrt(kappa).astype(np.float32)), torch.tensor(p.astype(np.float32))[None]
    source: dict[str, torch.Tensor] = {}
    if case.source:
        signal = np.array([WAVELET(k * dt) for k in range(steps)], np.float32)
        node = np.round(np.array(case.source) * n).astype(int) - 1
        source = {
            "source_amplitudes": torch.tensor(-signal / h**2)[None, None],
            "source_locations": torch.tensor(node)[None, None],
        }

    def run() -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return deepwave.scalar(
                speed, h, dt, nt=None if source else steps, wavefield_0=now, wavefield_m1=before, boundary="free",
                pml_width=0, accuracy=order, pml_freq=10.0, origin=[0, 0], max_vel=float(speed.max()), **source,
            )[0][0].numpy()  # fmt: skip

    took, end = seconds(run)
    return took, at_places(line, end)


def laplacian(p: np.ndarray, h: float) -> np.ndarray:
    """Of order 8, of a field that vanishes near the walls."""
    q, weights = np.pad(p, 4), (-205 / 72, 8 / 5, -1 / 5, 8 / 315, -1 / 560)
    n, total = len(p), 2 * weights[0] * p
    for k in range(1, 5):
        for s in (-k, k):
            total = total + weights[k] * (q[4 + s : 4 + s + n, 4 : 4 + n] + q[4 : 4 + n, 4 + s : 4 + s + n])
    return total / h**2


@lru_cache
def compiled(n: int, order: int, source: tuple[float, float] | None, samples: int):
    """devito's operator with the walls as odd images, and the place of a source."""
    import devito

    devito.configuration["log-level"] = "ERROR"
    grid = devito.Grid((n + 1, n + 1), (1.0, 1.0), dtype=np.float32)
    u = devito.TimeFunction(name="u", grid=grid, time_order=2, space_order=order)
    m = devito.Function(name="m", grid=grid, space_order=0)
    (x, y), t = grid.dimensions, grid.stepping_dim
    later = 2 * u - u.backward + t.spacing**2 * m * u.laplace
    walls = [devito.Eq(u[t + 1, a, y], 0) for a in (0, n)] + [devito.Eq(u[t + 1, x, a], 0) for a in (0, n)]
    for k in range(1, order // 2 + 1):
        for out, back in ((-k, k), (n + k, n - k)):
            walls.append(devito.Eq(u[t + 1, out, y], -u[t + 1, back, y]))
            walls.append(devito.Eq(u[t + 1, x, out], -u[t + 1, x, back]))
    equations = [devito.Eq(u.forward, later, subdomain=grid.interior)]
    wavelet = None
    if source:
        wavelet = devito.SparseTimeFunction(name="s", grid=grid, npoint=1, nt=samples)
        wavelet.coordinates.data[:] = source
        equations += wavelet.inject(u.forward, wavelet * t.spacing**2)
    return u, m, wavelet, devito.Operator([*equations, *walls])


def by_devito(case: Case, n: int, order: int, steps: int):
    """The same by devito."""
    line, kappa, p = on_grid(case, n)
    u, m, wavelet, operator = compiled(n, order, case.source, steps if case.source else 0)
    h, dt = 1 / n, case.end / steps
    if wavelet is not None:
        at_x, at_y = np.round(np.array(case.source) * n).astype(int) - 1
        wavelet.data[:, 0] = [kappa[at_x, at_y] * n**2 * WAVELET(k * dt) for k in range(steps)]
    m.data[:] = 1
    m.data[1:n, 1:n] = kappa

    def run() -> np.ndarray:
        u.data_with_halo[:] = 0
        u.data[0, 1:n, 1:n] = p
        u.data[2, 1:n, 1:n] = p + dt**2 / 2 * kappa * laplacian(p, h)
        operator.apply(time_m=0, time_M=steps - 1, dt=np.float32(dt))
        return np.array(u.data[steps % 3, 1:n, 1:n])

    took, end = seconds(run)
    return took, at_places(line, end)


def runs(case: Case, name: str, truth: np.ndarray, quick: bool) -> Iterator[tuple[float, float, str]]:
    """(error, seconds, settings) of all settings of one code."""

    def error(found: np.ndarray) -> float:
        return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))

    if name == "ours":
        roads = ((case.mesh, case.runs), *case.others)
        choices = [(road, sizes[degree], degree, k) for road, sizes in roads for degree in sizes for k in (1.0, 1.5)]
        for road, sizes, degree, slower in choices[:: 3 if quick else 1]:
            for n in sizes[3 if quick else 0 :]:
                took, found, unknowns, steps = ours(case, n, degree, 4, slower, road=road)
                on_grid = "averages, " if road is averaged else ""
                yield error(found), took, f"{on_grid}degree {degree}, {unknowns} unknowns, order 4, {steps} steps"
                if quick or error(found) < TARGETS[-1]:
                    break
        return
    solve = {"deepwave": by_deepwave, "devito": by_devito}[name]
    for order in {"deepwave": (4, 8), "devito": (8, 12)}[name][: 1 if quick else None]:
        for slower in (1,) if quick else (1, 3, 9):
            for n in (60,) if quick else (60, 80, 100, 140, 200, 280, 400, 560, 800):
                steps = int(np.ceil(slower * n * np.sqrt(case.largest) * 1.75 * case.end))
                took, found = solve(case, n, order, steps)
                if np.isfinite(found).all():
                    yield error(found), took, f"order {order}, {n} x {n}, {steps} steps"
                if n * n * steps > 7e8 or error(found) < TARGETS[-1]:
                    break


def tables(quick: bool = False) -> Iterator[str]:
    """Lines of the tables."""
    peers = [name for name in ("deepwave", "devito") if find_spec(name)]
    for title, case in list(CASES.items())[: 1 if quick else None]:
        truth = ours(case, *((16, 8) if quick else case.finest), slower=1 if quick else 2, repeat=1)[1]
        every = {name: sorted(runs(case, name, truth, quick)) for name in ("ours", *peers)}
        yield f"### {title}\n"
        yield "| error | " + " | ".join(f"{name}, ms" for name in every) + " | best peer / ours | settings |"
        yield "|" + "---|" * (len(every) + 3)
        for target in TARGETS:
            best = {
                name: min((run for run in found if run[0] <= target), key=lambda run: run[1], default=None)
                for name, found in every.items()
            }
            cells = ["-" if run is None else f"{run[1] * 1e3:.2f}" for run in best.values()]
            theirs = [run[1] for name, run in best.items() if run and name != "ours"]
            mine = best["ours"]
            ratio = f"{min(theirs) / mine[1]:.2f}" if theirs and mine else "-"
            said = "; ".join(f"{name}: {run[2]}" for name, run in best.items() if run)
            yield f"| {target:g} | {' | '.join(cells)} | {ratio} | {said} |"
        closest = ", ".join(f"{name} {found[0][0]:.1e} ({found[0][2]})" for name, found in every.items() if found)
        yield f"\nSmallest errors: {closest}.\n"


if __name__ == "__main__":
    CASES = {name: case for name, case in CASES.items() if name in sys.argv} or CASES
    for line in tables("--quick" in sys.argv):
        print(line, flush=True)
