"""What packings cost: steps a second against plain LAMMPS, how neighbours are found, and one point of the diagram.

- Steps: an input script for LAMMPS and the relaxation that all protocols use take the same number of steps of FIRE from
  the same state, in turns; particle-steps a second of this process's processor time, medians. Same engine, same
  settings: what differs is everything that the protocol adds.
- Neighbours: the same, found with one grid of cells (bin) or one for each species (multi).
- A point: from a random start to phi_J, its bulk modulus and its bracket; seconds on the wall and of the processor.

The last points, 6000 spheres of size ratio 0.15 before and beyond X*_S, take half an hour: --long. It writes
benchmarks/results/granular.md.

    OMP_NUM_THREADS=1 python benchmarks/granular.py [--quick] [--long]
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from wavesim.granular._lammps import LARGEST_MOVE, SKIN, TIMESTEP, Engine, Pace, _library
from wavesim.granular.jamming import Compression, NotJammedError, Protocol, descended, relaxed
from wavesim.granular.measures import measured
from wavesim.granular.mixture import Mixture
from wavesim.granular.packing import Packing, packing_fraction
from wavesim.granular.unloading import Unloading, usual
from wavesim.provenance import generator, whole_file

RESULTS = Path(__file__).parent / "results" / "granular.md"
SEED, ROUNDS = 0, 3
DENSE = {2: 0.86, 3: 0.68}  # packing fraction of the states, some contacts above jamming; 0.82 for size ratio 0.15
DISKS, SPHERES, SMALL_ONES = Mixture(1000, 1 / 1.4), Mixture(2000, 0.73, 0.5, 3), Mixture(6000, 0.15, 0.18, 3)
JOINT = Mixture(6000, 0.15, 0.25, 3)  # beyond X*_S: small ones carry too
QUICK = (Mixture(100, 1 / 1.4), Mixture(150, 0.73, 0.5, 3), Mixture(1500, 0.15, 0.18, 3))
SCRIPT = """units lj
dimension {dim}
atom_style atomic
atom_modify map array sort 1000 0
boundary p p p
read_data {data}
mass 1 1
mass 2 {large_mass}
pair_style harmonic/cut
pair_coeff 1 1 0.5 {small}
pair_coeff 1 2 0.5 {mixed}
pair_coeff 2 2 0.5 1.0
{plane}neighbor {skin} {neighbours}
comm_modify mode {communication}
neigh_modify every 1 delay 0 check yes
timestep {timestep}
min_style fire
min_modify integrator verlet norm max dmax {largest_move} tmax {longest_step}
minimize 0 0 {steps} {steps}
"""


def pressed(mixture: Mixture, pace: Pace) -> Packing:
    """A state above jamming that is on its way to equilibrium."""
    side = mixture.side(0.82 if mixture.size_ratio < 0.3 else DENSE[mixture.dim])
    places = generator(SEED, "benchmark").uniform(0, side, (mixture.particles, mixture.dim))
    start = Packing(places, mixture.radii(), mixture.species(), np.full(mixture.dim, side))
    with Engine(start.positions, start.radii, start.species, start.box, pace) as engine:
        engine.relax(0.0, 500)
        return replace(start, positions=engine.state().positions)


def by_script(packing: Packing, pace: Pace, steps: int) -> None:
    """LAMMPS as its manual has it: a data file and a script."""
    small = float(packing.radii.min())
    sides = [*packing.box.tolist(), 1.0][:3]
    with tempfile.TemporaryDirectory() as folder:
        rows = [f"{k + 1} {kind + 1} {' '.join(map(repr, [*place, 0.0][:3]))}"
                for k, (kind, place) in enumerate(zip(packing.species.tolist(), packing.positions.tolist(),
                                                      strict=True))]  # fmt: skip
        bounds = "\n".join(f"{0 if k < packing.dim else -0.5} {side if k < packing.dim else 0.5!r} {axis}lo {axis}hi"
                           for k, (axis, side) in enumerate(zip("xyz", sides, strict=True)))  # fmt: skip
        data, script = Path(folder) / "start.data", Path(folder) / "script"
        data.write_text(f"start\n\n{len(rows)} atoms\n2 atom types\n{bounds}\n\nAtoms # atomic\n\n" + "\n".join(rows))
        script.write_text(SCRIPT.format(
            dim=packing.dim, data=data, large_mass=pace.large_mass, small=2 * small, mixed=small + 0.5,
            plane="fix plane all enforce2d\n" if packing.dim == 2 else "", skin=SKIN * 2 * small,
            neighbours=pace.neighbours, communication="multi" if pace.neighbours == "multi" else "single",
            timestep=TIMESTEP, largest_move=LARGEST_MOVE * 2 * small, longest_step=pace.longest_step, steps=steps,
        ))  # fmt: skip
        lammps = _library()(cmdargs=["-log", "none", "-screen", "none", "-nocite"])
        lammps.file(str(script))
        lammps.close()


def by_protocol(packing: Packing, pace: Pace, steps: int) -> None:
    """The relaxation of every protocol, with its looks at the pressure, two at least; a tolerance of 0 is never met."""
    protocol = Protocol(tolerance=0.0, steps=steps, stretch=min(steps // 2, Protocol().stretch))
    with Engine(packing.positions, packing.radii, packing.species, packing.box, pace) as engine:
        try:
            relaxed(engine, packing.radii, protocol, lost=0.0)
        except NotJammedError:
            return
    raise RuntimeError("forces of exactly 0")


def rates(packing: Packing, moves: int, ways: list[tuple[Callable[[Packing, Pace, int], None], Pace]]) -> list[float]:
    """Millions of particle-steps a second of each way, medians of interleaved rounds of `moves` particle-steps."""
    seconds: list[list[float]] = [[] for _ in ways]
    steps = moves // len(packing.radii)
    for _ in range(ROUNDS):
        for (way, pace), own in zip(ways, seconds, strict=True):
            begin = time.process_time()
            way(packing, pace, steps)
            own.append(time.process_time() - begin)
    return [len(packing.radii) * steps / 1e6 / float(np.median(own)) for own in seconds]


def point(mixture: Mixture, protocol: Protocol) -> str:
    """A row of the last table: phi_J and K, and what tests phi_J by the last state that is jammed."""
    begin, times = time.perf_counter(), [time.process_time()]
    passed = descended(mixture, generator(SEED, "benchmark", "point"), protocol)
    times.append(time.process_time())
    try:
        row = measured(passed[-1], protocol)
        probes = str(row["probes"])
    except NotJammedError:
        probes = "none found"
    times.append(time.process_time())
    taken = " | ".join(f"{seconds:.1f}" for seconds in (*np.diff(times), time.perf_counter() - begin))
    modulus = passed[-1].bulk_modulus
    found = f"{passed[-1].phi_j:.4f} | {modulus:.3f} | {len(passed)} | {probes}"
    return f"| {named(mixture)} | {protocol.name} | {found} | {taken} |"


def named(mixture: Mixture) -> str:
    what = "disks" if mixture.dim == 2 else "spheres"
    return f"{mixture.particles} {what}, {mixture.size_ratio:.2f}, {mixture.small / mixture.particles:.1%} small"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few particles, few steps")
    parser.add_argument("--long", action="store_true", help="also the points of size ratio 0.15, half an hour")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    disks, spheres, small_ones = QUICK if given.quick else (DISKS, SPHERES, SMALL_ONES)
    moves = 1_000_000 if given.quick else 20_000_000  # of a particle, in each measurement

    lines = ["| state | phi | plain LAMMPS | the protocol's relaxation | ratio |", "|" + "---|" * 5]
    for mixture in (disks, spheres, small_ones):
        protocol = Unloading() if mixture is small_ones else Compression()
        pace = protocol.pace(mixture.size_ratio, mixture.dim)
        packing = pressed(mixture, pace)
        plain, ours = rates(packing, moves, [(by_script, pace), (by_protocol, pace)])
        phi = packing_fraction(packing.radii, packing.box)
        lines.append(f"| {named(mixture)} | {phi:.2f} | {plain:.1f} | {ours:.1f} | {ours / plain:.2f} |")

    lines += ["", "| state | bin | multi | ratio |", "|" + "---|" * 4]
    for mixture in (spheres, small_ones):
        paces = [replace(Unloading().pace(mixture.size_ratio, 3), neighbours=how) for how in ("bin", "multi")]
        one, each = rates(pressed(mixture, paces[0]), moves, [(by_protocol, pace) for pace in paces])
        lines.append(f"| {named(mixture)} | {one:.1f} | {each:.1f} | {each / one:.2f} |")

    lines += [
        "",
        "| one point | protocol | phi_J | K | states | probes | s, phi_J and K | s, bracket of phi_J | s on the wall |",
        "|" + "---|" * 9,
    ]
    lines += [point(disks, Protocol()), point(disks, Compression()), point(spheres, Compression())]
    if given.long:
        lines += [point(small_ones, usual(small_ones)), point(JOINT, usual(JOINT))]

    head = (
        f"{platform.machine()}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}, load {os.getloadavg()[1]:.1f}, "
        f"seed {SEED}, one process, one thread. Millions of particle-steps a second of processor time, "
        f"medians of {ROUNDS}; size ratio and share of small ones by number as given; K in k_n / d^(D-2). Seconds of "
        "the processor but the last."
    )
    with whole_file(given.out) as part:
        part.write_text("\n".join([head, "", *lines, ""]))
    print(given.out.read_text())


if __name__ == "__main__":
    main()
