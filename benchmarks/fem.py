"""How fast are the time steps? Prints tables, and writes them to benchmarks/results/fem.md.

Unit: unknowns x operator products a second, of which a fourth-order step has two; one thread, float32, seconds of the
processor (others may use the machine). All rows of a table are timed in turns; given are the fastest and the median
round, and ratios round by round.

    naive       the dolfinx tutorial's way: implicit Newmark, kappa in the form, its right-hand side assembled at every
                step, the matrix factorised before
    deepwave    its compiled finite differences of order 4 (pip install wavesim[bench]); the same uniform medium
    own K       packings of different density, where each simulation has a matrix of its own

    OMP_NUM_THREADS=1 python benchmarks/fem.py [--quick] [--out FILE]
"""

from __future__ import annotations

import argparse
import platform
import time
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import fem_accuracy
import fem_summary
import numpy as np
import roofline
from timing import Turn, timed
from truth_convergence import relaxed_disks

from wavesim.fem import Nodes, _dolfinx, packing, stepper
from wavesim.fem.medium import Medium
from wavesim.provenance import versions

SEED = 0
RESULTS = Path(__file__).with_name("results") / "fem.md"


disks = cache(lambda: relaxed_disks(1 / 1.4))


def grains(index: int, density: float) -> Medium:
    """The packing seen through another window for each simulation."""
    positions, radii = disks()
    return packing((positions + 0.13 * index) % 1, radii, 4.0, density, 0.03, radius_scale=0.9)


def newmark(degree: int, side: int, steps: int) -> Turn:
    """The tutorial's way, on side x side intervals between nodes."""
    import dolfinx.fem.petsc as assembly  # after h5py, which _dolfinx sees to
    from petsc4py import PETSc

    before, fem, mesh, ufl, comm = (
        _dolfinx.BEFORE_0_7,
        _dolfinx.fem,
        _dolfinx.mesh,
        _dolfinx.ufl,
        _dolfinx.MPI.COMM_SELF,
    )
    domain = mesh.create_unit_square(comm, *(side // degree,) * 2, cell_type=mesh.CellType.quadrilateral)
    space = (fem.FunctionSpace if before else fem.functionspace)(domain, ("Lagrange", degree))
    u, v, x = ufl.TrialFunction(space), ufl.TestFunction(space), ufl.SpatialCoordinate(domain)
    now, old = fem.Function(space), fem.Function(space)
    now.interpolate(lambda x: np.exp(-((x[0] - 0.4) ** 2 + (x[1] - 0.5) ** 2) / 0.005))
    old.x.array[:] = now.x.array
    bulk_modulus, h = 1 + 0.5 * ufl.sin(6 * x[0]) * ufl.cos(4 * x[1]), 0.5 / side
    past = 2 * now - old
    with _dolfinx._compiling():
        left = fem.form(u * v / bulk_modulus * ufl.dx + h**2 / 4 * ufl.dot(ufl.grad(u), ufl.grad(v)) * ufl.dx)
        slope = ufl.dot(ufl.grad(2 * now + old), ufl.grad(v))
        right = fem.form(past * v / bulk_modulus * ufl.dx - h**2 / 4 * slope * ufl.dx)
    matrix = assembly.assemble_matrix(left)
    matrix.assemble()
    solver = PETSc.KSP().create(comm)
    solver.setOperators(matrix)
    solver.setType("preonly")
    solver.getPC().setType("lu")
    solver.setUp()
    load, new = matrix.createVecRight(), matrix.createVecRight()

    def run() -> None:
        for _ in range(steps):
            with load.localForm() as local:
                local.set(0)
            assembly.assemble_vector(load, right)
            solver.solve(load, new)
            old.x.array[:] = now.x.array
            now.x.array[:] = new.array

    return now.x.array.size * steps, run


def ours(degree: int, side: int, batch: int, work: float, density: float = 1.0) -> Turn:
    """Fourth-order steps; media of uniform density share K, others are stepped one by one."""
    space = _dolfinx.space(Nodes((side // degree,) * 2, degree))
    media = [grains(k, density) for k in range(batch)]
    masses = np.stack([space.mass(space.evaluate(medium.bulk_modulus)) for medium in media], axis=1)
    if density == 1.0:
        stiffness = space.stiffness(np.ones(space.weights.size))
        operators = [stepper.operator(stiffness, masses if batch > 1 else masses[:, 0], 1.0, dtype=np.float32)]
    else:
        parts = [space.stiffness(space.evaluate(medium.density)) for medium in media]
        operators = [
            stepper.operator(part, mass, 1.0, dtype=np.float32) for part, mass in zip(parts, masses.T, strict=True)
        ]
    x, y = space.points.T
    pulse = np.exp(-((x - 0.4) ** 2 + (y - 0.5) ** 2) / 0.005)
    shape = (space.size, batch) if density == 1.0 and batch > 1 else (space.size,)
    states = [
        stepper.init(one, np.broadcast_to(pulse.reshape(-1, *[1] * (len(shape) - 1)), shape)) for one in operators
    ]
    steps = max(1, round(work / (2 * space.size * batch)))

    def run() -> None:
        for one, state in zip(operators, states, strict=True):
            one.loops.advance(state.pressure, state.increment, steps, 4)

    return 2.0 * space.size * batch * steps, run


def deepwave_order_4(side: int, batch: int, work: float) -> Turn | None:
    """deepwave's scalar propagator between free surfaces, uniform medium."""
    try:
        import deepwave
        import torch
    except ImportError:
        return None
    torch.set_num_threads(1)
    line = torch.linspace(0, 1, side)
    pulse = torch.exp(-((line[:, None] - 0.4) ** 2 + (line - 0.5) ** 2) / 0.005).repeat(batch, 1, 1)
    steps = max(1, round(work / (side**2 * batch)))

    def run() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            deepwave.scalar(
                torch.ones(side, side), 1 / side, 0.5 / side, nt=steps, wavefield_0=pulse, wavefield_m1=pulse,
                boundary="free", pml_width=0, accuracy=4, max_vel=1.0, pml_freq=10.0, origin=[0, 0],
            )  # fmt: skip

    return float(side**2 * batch * steps), run


def table(title: str, rates: dict[str, np.ndarray], over: str | None = None, aims: dict[str, float] | None = None):
    """Lines of a table: the fastest and the median round, and the ratio over one of the rows."""
    yield f"| {title} | fastest, M/s | median, M/s | over {over or '-'}: median (least) | aim |"
    yield "|---|---|---|---|---|"
    for name, values in rates.items():
        ratio = values / rates[over] if over in rates and name != over else None
        said = "" if ratio is None else f"{np.median(ratio):.3g} ({ratio.min():.3g})"
        aim = (aims or {}).get(name)
        yield f"| {name} | {values.max() / 1e6:.3g} | {np.median(values) / 1e6:.3g} | {said} | {aim or ''} |"
    yield ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="one small size, two rounds, no seconds to an error: for a test"
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    quick = arguments.quick
    rounds, work, lines = (2, 2e6, []) if quick else (5, 5e7, [])

    def say(more: Sequence[str] | object) -> None:
        for line in more:  # type: ignore[attr-defined]
            print(line, flush=True)
            lines.append(line)

    about = ", ".join(f"{k} {v}" for k, v in versions("fenics-dolfinx", "deepwave", "devito", "torch").items())
    say(["# Speed of the finite elements", "", f"{processor()}, {time.strftime('%Y-%m-%d')}, seed {SEED}, {about}", ""])
    say(line for line in (__doc__ or "").split("\n\n")[1:3])
    for side in (32,) if quick else (128, 256):
        for degree, aim in ((1, 1000), (4, 400)):
            turns = {
                "naive": newmark(degree, side, 2 if quick else 5),
                "ours, single": ours(degree, side, 1, work),
                "ours, batch of 32": ours(degree, side, 32, work),
                "ours, own K": ours(degree, side, 4, work, density=2.0),
            }
            aims = {"ours, single": 250.0, "ours, batch of 32": float(aim)}
            say(["", f"## {side} x {side}, degree {degree}", ""])
            say(table("steps", timed(turns, rounds), "naive", aims))
        for batch in (1, 8, 32):
            peer = deepwave_order_4(side, batch, work)
            if peer is None:
                say([f"deepwave is not installed: no comparison at {side} x {side}", ""])
                break
            turns = {"deepwave": peer} | {f"ours, degree {p}": ours(p, side, batch, work) for p in (1, 2, 4)}
            say(table(f"{side} x {side}, batch of {batch}", timed(turns, rounds), "deepwave", {"ours, degree 4": 1.0}))
    say(["## Roofline, degree 4, one simulation", "", *(roofline.__doc__ or "").split("\n"), ""])
    say(roofline.rows((33, 65) if quick else (97, 317, 1001, 3161), rounds, work))
    if not quick:
        say(["## Seconds to a given error", "", *(fem_accuracy.__doc__ or "").split("\n")[2:], ""])
        say(fem_accuracy.tables())
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text("\n".join(lines) + "\n")
    if arguments.out == RESULTS:
        fem_summary.write()


def processor() -> str:
    """The machine's processor, by name where Linux says it."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
