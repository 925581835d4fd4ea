"""Start a simulation on several processes of this machine, and collect it.

    done = run(make_case, frames=50, ranks=4)                               make_case() -> distributed.Case, importable
    python -m wavesim.fem.launch CASE.py --frames 50 --ranks 4 --out RUN.npz        CASE.py sets `case`

On a cluster, start a script that calls `distributed.simulate` as the cluster has it.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from wavesim.errors import WavesimError
from wavesim.fem import distributed
from wavesim.fem.distributed import Case, Run
from wavesim.fem.mpi import communicator, launcher
from wavesim.provenance import whole_file
from wavesim.ranks import served, together


def run(case: Callable[[], Case], frames: int, ranks: int) -> Run:
    """All frames of a case, computed by `ranks` processes of one thread each.

    Args:
        case: makes the case in each process; a function that they can import, or functools.partial of one.
    Raises:
        WavesimError: dolfinx's MPI or its launcher is missing; a function that cannot be imported; whatever
            `distributed.simulate` raises; a process that was killed.
    """
    done: Run = together(launcher, "wavesim.fem.launch:serve", ranks, case, frames)
    return done


def serve(folder: str, ranks: str) -> None:
    """One of the processes."""

    def compute(case: Callable[[], Case], frames: int) -> Run | None:
        return distributed.simulate(case(), frames, communicator())

    served(folder, lambda: int(communicator(int(ranks)).rank), compute)


def case_of(path: str) -> Case:
    """What a file of Python sets as `case`.

    Raises:
        WavesimError: no such file, or it sets no case.
    """
    if not Path(path).is_file():
        raise WavesimError(f"{path} does not exist")
    case = runpy.run_path(path).get("case")
    if not isinstance(case, Case):
        raise WavesimError(f"{path} should set `case = wavesim.fem.distributed.Case(...)`")
    return case


def save(run: Run, path: Path) -> None:
    """Write a run as .npz; the file appears whole or not at all."""
    with whole_file(path) as part, part.open("wb") as file:
        np.savez(file, **asdict(run))


def load(path: Path) -> Run:
    """A run from .npz."""
    with np.load(path) as stored:
        return Run(**{key: stored[key] if stored[key].ndim else stored[key].item() for key in stored})


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m wavesim.fem.launch", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("case", help="a file of Python that sets `case`, a wavesim.fem.distributed.Case")
    parser.add_argument("--frames", type=int, required=True)
    parser.add_argument("--ranks", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--out", type=Path, required=True, help="the run, .npz")
    asked = parser.parse_args(arguments)
    try:
        case_of(asked.case)  # before any process is started
        save(run(partial(case_of, asked.case), asked.frames, asked.ranks), asked.out)
    except WavesimError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    # By its own name, which the processes can import.
    from wavesim.fem import launch

    sys.exit(launch.main())
