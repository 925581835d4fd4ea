"""What does it gain to share one domain out? Milliseconds a product and memory a process, up to a process a core.

Strong: the same domain for all; weak: a domain as large as there are processes. The smallest of sixty times counts,
because others may use the machine; the memory is the largest that a process has used, assembly included.

    python benchmarks/several_ranks.py [--quick] > benchmarks/results/several_ranks.md
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np

from wavesim.fem import Nodes, Pulse, assemble, distributed, start, stepper
from wavesim.fem.medium import Medium
from wavesim.fem.mpi import communicator, launcher
from wavesim.processes import LAUNCHERS

MEDIUM = Medium(lambda x, y: 1 + 0.5 * np.sin(5 * x + 3 * y), lambda x, y: 1 + 0.3 * np.cos(4 * x * y))
PULSE, GRID, REPEATS = Pulse((0.4, 0.3), 0.05), (64, 64), 60


def measure(across: int, up: int, alone: bool) -> None:
    """Print what `across` x `up` elements of degree 4 take here, as JSON: by simulation.py alone, or shared out."""
    nodes, interval = Nodes((across, up), 4, (across / up, 1.0)), 0.25 / up
    begin = time.perf_counter()
    if alone:
        single = assemble(MEDIUM, nodes, interval, GRID)
        state, steps = start(single, PULSE), single.operator.steps
        advance, rank = (lambda: stepper.advance(single.operator, state)), 0
    else:
        comm = communicator()
        shared = distributed.assemble(MEDIUM, nodes, interval, GRID, comm=comm)
        first, steps, rank = distributed.start(shared, PULSE), shared.operator.steps, comm.rank
        advance = lambda: distributed.advance(shared, first)  # noqa: E731
    assembly, times = time.perf_counter() - begin, []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        advance()
        times.append((time.perf_counter() - begin) / (2 * steps) * 1e3)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    memory = memory if alone else max(comm.allgather(memory))
    if rank == 0:
        unknowns = nodes.shape[0] * nodes.shape[1]
        print(json.dumps({"ms": times, "MiB": memory, "assembly": assembly, "unknowns": unknowns}))


def asked(ranks: int, across: int, up: int) -> dict[str, Any]:
    """The same, measured by `ranks` processes; 0: one, without MPI."""
    own = {key: value for key, value in os.environ.items() if not key.startswith(LAUNCHERS)}
    own |= {"OMP_NUM_THREADS": "1", "HWLOC_HIDE_ERRORS": "2", "UCX_LOG_LEVEL": "fatal"}
    start_with = [*launcher(), "-n", str(ranks)] if ranks else []
    command = [*start_with, sys.executable, __file__, "--measure", str(across), str(up), str(int(ranks == 0))]
    done = subprocess.run(command, env=own, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a sixteenth of the elements")
    parser.add_argument("--measure", nargs=3, type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        return measure(*given.measure[:2], alone=bool(given.measure[2]))
    n = 32 if given.quick else 128
    many = [ranks for ranks in (2, 4, 8) if ranks <= (os.cpu_count() or 1)]
    rows = [("strong", ranks, n, n) for ranks in (0, 1, *many)] + [("weak", ranks, n * ranks, n) for ranks in many]
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}, degree 4, order 4, float64; ",
        end="",
    )
    print(f"others kept {os.getloadavg()[0]:.1f} cores busy when it began\n")
    print(
        "| scaling | processes | elements | unknowns | ms a product | median | Munknowns/s | MiB each | assembly, s |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for kind, ranks, across, up in rows:
        run = asked(ranks, across, up)
        best, median, unknowns = min(run["ms"]), np.median(run["ms"]), run["unknowns"]
        print(
            f"| {kind} | {ranks or '1, no MPI'} | {across} x {up} | {unknowns:,} | {best:.2f} | {median:.2f} "
            f"| {unknowns / best / 1e3:.0f} | {run['MiB']:.0f} | {run['assembly']:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
