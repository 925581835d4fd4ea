"""One packing on several processes: LAMMPS shares its box out among those that its own MPI's launcher has started.

    state = run(partial(settled, packing), ranks=4)
    packing = run(partial(jam, mixture, rng, protocol), ranks=4)

All processes take the same decisions, because LAMMPS gives each the same pressures, forces and positions. Sums are
taken in another order than by one process: a relaxation ends in the same minimum, a whole protocol, which passes
thousands of rearrangements, in another packing of the same kind.

Only the launcher of the library that LAMMPS is linked with starts one run on several processes; under another each
would compute the whole alone. The wheel of mpich brings it; what it has started is counted. Its processes wait busily:
start no more than there are idle cores.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
from collections.abc import Callable
from typing import TypeVar

from wavesim.errors import WavesimError
from wavesim.granular import _lammps
from wavesim.ranks import served, together

Result = TypeVar("Result")
NAMES = ("mpiexec.hydra", "mpiexec", "mpiexec.mpich")


def run(job: Callable[[], Result], ranks: int) -> Result:
    """What a job that uses LAMMPS returns, computed by `ranks` processes of one thread each.

    Args:
        job: a function that they can import, or functools.partial of one.
    Raises:
        WavesimError: LAMMPS or the launcher of its MPI is missing; a job that cannot be imported; whatever the job
            raises; a process that was killed.
    """
    _lammps.require_engine()
    done: Result = together(launcher, "wavesim.granular.parallel:serve", ranks, job)
    return done


def serve(folder: str, ranks: str) -> None:
    """One of the processes."""
    _lammps.processes = int(ranks)
    served(folder, lambda: int(os.environ.get("PMI_RANK", "0")), lambda job: job())


def launcher() -> list[str]:
    """MPICH's.

    Raises:
        WavesimError: there is none.
    """
    try:
        files = importlib.metadata.files("mpich") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    found = [str(file.locate()) for name in NAMES for file in files if file.name == name]
    found += [path for name in NAMES if (path := shutil.which(name)) is not None]
    for path in found:
        said = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
        if "HYDRA" in said:
            return [path]
    raise WavesimError("LAMMPS on several processes needs MPICH's launcher: pip install 'wavesim[granular]'")
