"""Whose MPI it is that dolfinx uses, and how many processes it sees.

Only the launcher of that very library starts one program on several processes. Any other starts as many separate ones:
the wheel of mpich, for one, puts its own mpirun into the environment's bin, beside a dolfinx that is linked with Open
MPI. So the launcher is looked for where mpi4py lives, and asked whose it is; and what it has started is counted.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from wavesim.errors import WavesimError, missing_engine

# By library: the names of its launcher, what that says of itself, and what it is told. Binding would put the processes
# of two runs on the same cores; a process that waits must give way where others want its core (two processes beside
# eight others on two cores: 4 to 7 s a run, against 20 to 41).
KNOWN = {
    "Open MPI": (
        ("mpirun.openmpi", "mpirun", "mpiexec"),
        ("Open MPI", "OpenRTE"),
        ("--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1"),
    ),
    "MPICH": (("mpiexec.hydra", "mpiexec.mpich", "mpiexec", "mpirun"), ("HYDRA",), ()),
}
# Asked in a process of its own: MPI that has started here leaves variables on which a launcher stumbles.
ASK = (
    "import mpi4py; mpi4py.rc.initialize = False; from mpi4py import MPI; "
    "print(mpi4py.__file__); print(MPI.Get_library_version())"
)
# How Open MPI's and MPICH's launchers tell a process how many there are.
STARTED = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE")


def communicator(processes: int | None = None) -> Any:
    """MPI's, of all processes that were started together: as many as said, or as the launcher says.

    Raises:
        WavesimError: mpi4py is not installed; MPI sees another number, because the launcher belongs to another library.
    """
    try:
        # Here too, h5py before what may load another HDF5.
        import h5py  # noqa: F401
        from mpi4py import MPI
    except ImportError as error:
        raise missing_engine("mpi4py", "one domain over several processes", "fem", error) from error
    started = [int(os.environ[name]) for name in STARTED if name in os.environ]
    expected = processes or max(started, default=MPI.COMM_WORLD.size)
    if MPI.COMM_WORLD.size != expected:
        library = MPI.Get_library_version().partition(",")[0].split("\n")[0]
        raise WavesimError(
            f"{expected} processes were started, and each of them sees {MPI.COMM_WORLD.size}: the launcher "
            f"is not that of {library}, which dolfinx uses; start with `python -m wavesim.fem.launch`, which finds it"
        )
    return MPI.COMM_WORLD


def launcher() -> list[str]:
    """The launcher of dolfinx's MPI, and what it must be told.

    Raises:
        WavesimError: mpi4py is missing, its library is neither Open MPI nor MPICH, or has no launcher here.
    """
    asked = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True)
    if asked.returncode != 0:
        raise missing_engine("mpi4py", "one domain over several processes", "fem")
    home, _, library = asked.stdout.partition("\n")
    for family, (names, signs, options) in KNOWN.items():
        if family not in library:
            continue
        folders = [parent / "bin" for parent in Path(home).parents]
        folders += [Path(folder) for folder in os.get_exec_path()]
        for path in (folder / name for folder in folders for name in names):
            if os.access(path, os.X_OK):
                version = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
                if any(sign in version for sign in signs):
                    as_root = ["--allow-run-as-root"] if family == "Open MPI" and os.geteuid() == 0 else []
                    return [str(path), *options, *as_root]
        raise WavesimError(
            f"dolfinx uses {family}, and none of {', '.join(names)} here is its own: install it (Debian: openmpi-bin)"
        )
    raise WavesimError(
        f"dolfinx uses an MPI that is not known here ({' '.join(library.split())[:60]}): start a script that calls "
        "wavesim.fem.distributed.simulate with its own launcher"
    )
