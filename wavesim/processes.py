"""Processes that compute one thing each on one thread: fresh interpreters, which share nothing with their parent.

Threads of numerical libraries are a loss here: two threads that wait for one core were up to 45 times slower than one,
and simulations are independent, so they run side by side in processes instead.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait

from wavesim.errors import WavesimError

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
LAUNCHERS = ("OMPI_", "PMI_", "PMIX_")  # how the variables begin by which MPI tells a process its part in a run


@contextmanager
def single_threaded() -> Iterator[None]:
    """Processes started inside inherit a limit of one thread; libraries read it when they are first imported."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of single-threaded processes; on an error or an interrupt what has not begun is dropped.

    Raises:
        WavesimError: fewer workers than one, or a worker that was killed.
    """
    if workers < 1:
        raise WavesimError(f"workers {workers} is not allowed: use 1 or more, at most one a processor core")
    context = multiprocessing.get_context("spawn")
    with single_threaded(), ProcessPoolExecutor(workers, mp_context=context, initializer=follow_parent) as executor:
        try:
            yield executor
        except BrokenProcessPool as error:
            raise WavesimError(
                'a worker process ended abruptly: in a script, keep the call under `if __name__ == "__main__":`; or '
                "memory ran out: use fewer workers. What is whole is kept"
            ) from error
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise


def follow_parent() -> None:
    """Leave interrupts to the parent, and end with it: a killed parent must not leave its workers behind."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
