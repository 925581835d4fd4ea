"""Start a simulation on several processes of this machine, and collect it.

    done = run(make_case, frames=50, ranks=4)                               make_case() -> distributed.Case, importable
    python -m wavesim.fem.launch CASE.py --frames 50 --ranks 4 --out RUN.npz        CASE.py sets `case`

On a cluster, start a script that calls `distributed.simulate` as the cluster has it.
"""

from __future__ import annotations

import argparse
import os
import pickle
import runpy
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from wavesim.errors import WavesimError
from wavesim.fem import distributed
from wavesim.fem.distributed import Case, Run
from wavesim.fem.mpi import communicator, launcher
from wavesim.processes import LAUNCHERS, single_threaded
from wavesim.provenance import whole_file

RANK = "import sys; from wavesim.fem.launch import serve; serve(*sys.argv[1:])"


def run(case: Callable[[], Case], frames: int, ranks: int) -> Run:
    """All frames of a case, computed by `ranks` processes of one thread each.

    Args:
        case: makes the case in each process; a function that they can import, or functools.partial of one.
    Raises:
        WavesimError: dolfinx's MPI or its launcher is missing; a function that cannot be imported; whatever
            `distributed.simulate` raises; a process that was killed.
    """
    if ranks < 1:
        raise WavesimError(f"ranks {ranks} is not allowed: use 1 or more, at most one a processor core")
    function = case.func if isinstance(case, partial) else case
    try:
        if getattr(function, "__module__", None) == "__main__":
            raise pickle.PicklingError("it belongs to the script that is running")
        pickled = pickle.dumps(case)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise WavesimError(f"{function} cannot be imported by other processes ({error}): put it in a module") from error
    command = [*launcher(), "-n", str(ranks), sys.executable, "-c", RANK]
    with tempfile.TemporaryDirectory() as name, single_threaded():
        folder = Path(name)
        (folder / "case").write_bytes(pickled)
        environment = {key: value for key, value in os.environ.items() if not key.startswith(LAUNCHERS)}
        # Both libraries ask hwloc and UCX, which complain aloud where /sys is not mounted.
        environment = {"HWLOC_HIDE_ERRORS": "2", "UCX_LOG_LEVEL": "fatal", **environment}
        with subprocess.Popen(
            [*command, name, str(ranks), str(frames)],
            env=environment,
            stdin=subprocess.PIPE,  # ends when this process does, and the others with it: see `serve`
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                assert process.stderr is not None
                said = process.stderr.read()
            except BaseException:
                process.terminate()
                raise
        for reason in folder.glob("error.*"):
            raise WavesimError(reason.read_text(encoding="utf-8"))
        if process.returncode != 0 or not (folder / "run.npz").exists():
            last = " ".join(said.split())[-600:]
            raise WavesimError(f"the {ranks} processes ended abruptly (exit code {process.returncode}): {last}")
        return load(folder / "run.npz")


def serve(name: str, ranks: str, frames: str) -> None:
    """One of the processes: compute, and leave the run, or the reason why there is none, in the folder."""
    folder, rank = Path(name), "0"
    try:
        comm = communicator(int(ranks))
        rank = str(comm.rank)
        if comm.rank == 0:
            threading.Thread(target=_end_with_launcher, daemon=True).start()
        done = distributed.simulate(pickle.loads((folder / "case").read_bytes())(), int(frames), comm)
        if done is not None:
            save(done, folder / "run.npz")
    except Exception as error:
        reason = str(error) if isinstance(error, WavesimError) else f"{type(error).__name__}: {error}"
        with whole_file(folder / f"error.{rank}") as part:
            part.write_text(reason, encoding="utf-8")
        os._exit(2)  # the launcher ends the others


def _end_with_launcher() -> None:
    while os.read(0, 1):  # not sys.stdin, whose lock would be held when the interpreter ends
        pass
    os._exit(1)


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
