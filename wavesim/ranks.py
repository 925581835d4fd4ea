"""One job on several processes that MPI's launcher starts together; what the first of them returns comes back.

Every process imports the job and computes it, and takes its share of the work by MPI. They end with the process that
asked for them, however that ends, and all of them with the first that fails.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from wavesim.errors import WavesimError
from wavesim.processes import LAUNCHERS, single_threaded
from wavesim.provenance import whole_file


def together(launcher: Callable[[], Sequence[str]], serve: str, ranks: int, job: Callable[..., Any], *more: Any) -> Any:
    """What `serve` makes of a job in the first of `ranks` processes, of one thread each.

    Args:
        launcher: of the MPI library that the job uses, and what it must be told.
        serve: "module:name" of a function of a folder and the number of processes that calls `served`.
        job: a function that the processes can import, or functools.partial of one. more: what else `serve` needs.
    Raises:
        WavesimError: fewer ranks than one; a job that cannot be imported; what it raises; a process that was killed.
    """
    if ranks < 1:
        raise WavesimError(f"ranks {ranks} is not allowed: use 1 or more, at most one a processor core")
    function = job.func if isinstance(job, partial) else job
    try:
        if getattr(function, "__module__", None) == "__main__":
            raise pickle.PicklingError("it belongs to the script that is running")
        pickled = pickle.dumps((job, *more))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise WavesimError(f"{function} cannot be imported by other processes ({error}): put it in a module") from error
    module, _, name = serve.partition(":")
    program = f"import sys; from {module} import {name}; {name}(*sys.argv[1:])"
    with tempfile.TemporaryDirectory() as folder, single_threaded():
        (Path(folder) / "job").write_bytes(pickled)
        environment = {key: value for key, value in os.environ.items() if not key.startswith(LAUNCHERS)}
        # MPI asks hwloc and UCX, which complain aloud where /sys is not mounted.
        environment = {"HWLOC_HIDE_ERRORS": "2", "UCX_LOG_LEVEL": "fatal", **environment}
        with subprocess.Popen(
            [*launcher(), "-n", str(ranks), sys.executable, "-c", program, folder, str(ranks)],
            env=environment,
            stdin=subprocess.PIPE,  # ends when this process does, and the others with it: see `served`
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
        for reason in Path(folder).glob("error.*"):
            raise pickle.loads(reason.read_bytes())
        done = Path(folder) / "done"
        if process.returncode != 0 or not done.exists():
            last = " ".join(said.split())[-600:]
            raise WavesimError(f"the {ranks} processes ended abruptly (exit code {process.returncode}): {last}")
        return pickle.loads(done.read_bytes())


def served(folder: str, rank: Callable[[], int], compute: Callable[..., Any]) -> None:
    """One of the processes: compute, and leave what comes of it, or the reason why nothing does, in the folder.

    Args:
        rank: of this process, 0 for the first. compute: of the job and what else `together` was given.
    """
    number = None
    try:
        number = rank()
        if number == 0:
            threading.Thread(target=_end_with_launcher, daemon=True).start()
        result = compute(*pickle.loads((Path(folder) / "job").read_bytes()))
        if number == 0:
            _write(Path(folder) / "done", result)
    except Exception as error:
        known = type(error).__module__.startswith("wavesim.")
        _write(Path(folder) / f"error.{number}", error if known else WavesimError(f"{type(error).__name__}: {error}"))
        os._exit(2)  # the launcher ends the others


def _write(path: Path, result: object) -> None:
    with whole_file(path) as part:
        part.write_bytes(pickle.dumps(result))


def _end_with_launcher() -> None:
    while os.read(0, 1):  # not sys.stdin, whose lock would be held when the interpreter ends
        pass
    os._exit(1)
