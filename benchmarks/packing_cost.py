"""What a frame of waves through a resolved packing costs at a given error: conforming meshes and averages on a grid.

The same disks (window.py) on both roads. A spread source, smooth in time, sets the waves off: an initial pulse over
interfaces where rho jumps would make kinks that no mesh resolves well (--pulse, for comparison). Once it is silent,
errors are taken, of single precision: relative L2 of pressure, averaged over 64 x 64 cells, at half and at the whole
time asked for, against a conforming run of a higher degree in double precision. What that one is worth is said by the
degree below it and, for the hardest contrast, by degree 4 on cells of half the size (refine.py). A frame is 1/32 of a
crossing of the background; milliseconds are the processor's, of one thread, least of all frames. What the declared
gap does to waves is another question (packing_choice.py).

    OMP_NUM_THREADS=1 python benchmarks/packing_cost.py [--quick] [--packings data/sample/packings.h5] [--parts FOLDER]

Each table that is finished is kept in the folder; a second call goes on where the first stopped.
"""

from __future__ import annotations

import argparse
import platform
import time
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from wavesim.fem import Materials, Pulse, Ricker, SpreadSource, stepper
from wavesim.fem.conforming_mesh import conforming
from wavesim.fem.mesh import Mesh
from wavesim.fem.packing_mesh import SquarePacking, read
from wavesim.fem.raster import Raster
from wavesim.fem.refine import refined
from wavesim.fem.sampling import Nodes
from wavesim.fem.simulation import assemble
from wavesim.fem.window import seen
from wavesim.metrics import relative_l2

ROOT = Path(__file__).parents[1]
GRID, FRAME = (64, 64), 1 / 32
PULSE = Pulse((0.37, 0.58), 0.05)
SOURCE = SpreadSource(PULSE, Ricker(6.0))
SILENT = 16  # frames, until the source has ended (1e-8 of its peak)
CONTRASTS = ((4.0, 1.0), (9.0, 1.0), (20.0, 5.0))


@dataclass(frozen=True)
class Run:
    """pressure: (2, y, x) at half and at the end; steps: a frame; milliseconds: a frame."""

    pressure: np.ndarray
    unknowns: int
    steps: int
    milliseconds: float


def run(
    medium: Materials | Raster,
    mesh: Mesh | Nodes,
    degree: int,
    frames: int,
    dtype: type = np.float64,
    pulse: bool = False,
) -> Run:
    """So many frames after the source, or of the initial pulse."""
    problem = assemble(medium, mesh, FRAME, GRID, degree=degree, dtype=dtype, sources=[] if pulse else [SOURCE])
    operator = problem.operator
    start = problem.at_unknowns(PULSE)
    state = stepper.init(operator, start if pulse else np.zeros_like(start))
    for _ in range(0 if pulse else SILENT):
        state = stepper.advance(operator, state)
    operator = replace(operator, drive=None)
    pressure, times = [], []
    for frame in range(1, frames + 1):
        begin = time.process_time()
        state = stepper.advance(operator, state)
        times.append(time.process_time() - begin)
        if frame in (frames // 2, frames):
            pressure.append((problem.sampling @ state.pressure).reshape(GRID))
    milliseconds = 1e3 * float(np.min(times))
    return Run(np.array(pressure), problem.operator.mass.size, problem.operator.steps, milliseconds)


def errors(pressure: np.ndarray, truth: np.ndarray) -> list[float]:
    """At half and at the end."""
    return [float(relative_l2(a, b)) for a, b in zip(pressure, truth, strict=True)]


def table(packing: SquarePacking, contrast: tuple[float, float], mesh: Mesh, arguments: argparse.Namespace) -> None:
    """Both roads for one contrast, and what each needs for 10, 3 and 1 %."""
    frames, materials = arguments.frames, Materials((1.0, contrast[0]), (1.0, contrast[1]))
    pulse = arguments.pulse
    truth, below = (run(materials, mesh, arguments.reference - k, frames, pulse=pulse) for k in (0, 1))
    own = errors(below.pressure, truth.pressure)
    print(f"\n### (kappa, rho) = {contrast}, size ratio {packing.size_ratio:.2f}, {len(packing.radii)} grains\n")
    print(
        f"Reference: degree {arguments.reference}, {truth.unknowns} unknowns, {truth.steps} steps a frame; the degree ",
        end="",
    )
    print(f"below differs by {own[0]:.2%} and {own[1]:.2%}", end="")
    if contrast == CONTRASTS[-1] and not arguments.quick:
        finer = run(materials, refined(mesh), 4, frames, pulse=pulse)
        half, end = errors(finer.pressure, truth.pressure)
        print(f", degree 4 on four times the cells ({finer.unknowns} unknowns) by {half:.2%} and {end:.2%}", end="")
    print(".\n")
    print("| road | mesh | degree | unknowns | steps | half | end | ms a frame, float64 | float32 |")
    print("|---|---|---|---|---|---|---|---|---|")
    disks = seen(packing.positions, packing.radii, 0.95)
    found: dict[str, list[tuple[float, float]]] = {"conforming": [], "raster": []}
    cases = [("conforming", f"{len(mesh.cells)} cells", mesh, degree) for degree in arguments.degrees]
    cases += [("raster", f"{n} x {n}", Nodes((n, n), degree), degree) for n in arguments.rasters for degree in (2, 4)]
    for road, name, on, degree in cases:
        medium = materials if isinstance(on, Mesh) else Raster(disks, *contrast, on)
        single = run(medium, on, degree, frames, np.float32, pulse=pulse)
        double = run(medium, on, degree, 2, pulse=True)  # for its time alone
        half, end = errors(single.pressure, truth.pressure)
        found[road].append((end, single.milliseconds))
        print(f"| {road} | {name} | {degree} | {double.unknowns} | {double.steps} | {half:.2%} | {end:.2%} ", end="")
        print(f"| {double.milliseconds:.1f} | {single.milliseconds:.1f} |", flush=True)
    print("\n| error at the end | conforming, ms a frame | raster, ms a frame |\n|---|---|---|")
    for level in (0.10, 0.03, 0.01):
        costs = [min((ms for error, ms in found[road] if error <= level), default=None) for road in found]
        print(f"| {level:.0%} | " + " | ".join("not reached" if c is None else f"{c:.1f}" for c in costs) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one contrast, few runs, an eighth of a crossing")
    parser.add_argument("--pulse", action="store_true", help="an initial pulse in place of the source")
    parser.add_argument("--packings", type=Path, default=ROOT / "data/sample/packings.h5")
    parser.add_argument("--numbers", type=int, nargs="*", default=[0, 1], help="which packings of the file")
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--reference", type=int, default=6, help="degree")
    parser.add_argument("--size", type=float, default=0.03, help="element size")
    parser.add_argument("--parts", type=Path, help="folder of finished tables")
    parser.add_argument("--contrasts", type=int, default=len(CONTRASTS), help="how many, hardest first")
    arguments = parser.parse_args()
    arguments.degrees, arguments.rasters = (2, 3, 4), (32, 48, 64, 96, 192)
    if arguments.quick:
        arguments.numbers, arguments.frames, arguments.reference, arguments.contrasts = [0], 2, 3, 1
        arguments.degrees, arguments.rasters = (2,), (24,)
    print(
        f"{platform.processor() or platform.machine()}, one thread, ",
        end="",
    )
    print(f"{time.strftime('%Y-%m-%d')}; {arguments.packings.name}, packings {arguments.numbers}, ", end="")
    print(
        "initial pulse of width 0.05, " if arguments.pulse else "source of width 0.05, Ricker of frequency 6, ", end=""
    )
    print(f"{arguments.frames} frames of {FRAME}, radius_scale 0.95, element_size {arguments.size}; nothing is drawn.")
    packings = read(arguments.packings)
    with TemporaryDirectory() as passing:
        folder = arguments.parts or Path(passing)
        folder.mkdir(parents=True, exist_ok=True)
        for number in arguments.numbers:
            mesh = conforming(packings[number], 0.95, arguments.size)
            for contrast in CONTRASTS[::-1][: arguments.contrasts]:
                part = folder / f"{number}_{contrast[0]:g}_{contrast[1]:g}.md"
                if not part.exists():
                    with redirect_stdout(StringIO()) as text:
                        table(packings[number], contrast, mesh, arguments)
                    part.write_text(text.getvalue())
                print(part.read_text(), end="", flush=True)


if __name__ == "__main__":
    main()
