"""Processes that compute one thing each on one thread: fresh interpreters, which share nothing with their parent.

Threads of numerical libraries are a loss here: two threads that wait for one core were up to 45 times slower than one,
and simulations are independent, so they run side by side in processes instead: of this machine, or of the machines of a
cluster of dask's, whose workers see the same files. There a job that loses its worker is given to another.

Reference: Rocklin, Proc. 14th Python in Science Conference (2015) 126-132, for dask.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

from wavesim.errors import WavesimError, missing_engine

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
LAUNCHERS = ("OMPI_", "PMI_", "PMIX_")  # how the variables begin by which MPI tells a process its part in a run
PATIENCE = 5  # seconds for an answer of a scheduler, and for a job to stop once it is told to


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
def undivided() -> Iterator[None]:
    """What is inside is done as a whole: SIGINT and SIGTERM that come meanwhile take effect after it."""
    if threading.current_thread() is not threading.main_thread():
        yield  # where signals have no handlers
        return
    came: list[tuple[Any, ...]] = []
    before = {
        number: signal.signal(number, lambda *received: came.append(received))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0][0])


class _WholeProcess(SpawnProcess):
    """One whose start is not cut short: it would find half of its orders, and say so with a traceback."""

    def start(self) -> None:
        with undivided():
            super().start()


class Spawn(SpawnContext):
    """Fresh interpreters, started as a whole or not at all."""

    Process = _WholeProcess


class _WholePool(ProcessPoolExecutor):
    """One whose processes and the thread that waits for them start together.

    An exit between the two would wait for nobody, and take away the locks that the new processes are about to open.
    """

    def submit(self, *job: Any, **named: Any) -> Future[Any]:
        with undivided():
            return super().submit(*job, **named)


@contextmanager
def pool(workers: int, scheduler: str | None = None) -> Iterator[Executor]:
    """A pool of single-threaded processes; on an error or an interrupt what runs is stopped, the rest dropped.

    Args:
        workers: processes of this machine. scheduler: address of a scheduler of dask's, whose workers do it instead.
    Raises:
        WavesimError: fewer workers than one, a worker that was killed, or memory that ran out; a scheduler that does
            not answer, or has no workers, or workers of more threads than one.
    """
    if scheduler is not None:
        with _cluster(scheduler) as cluster:
            yield cluster
        return
    if workers < 1:
        raise WavesimError(f"workers {workers} is not allowed: use 1 or more, at most one a processor core")
    context = Spawn()
    told, stop = context.Pipe(duplex=False)
    with (
        told, stop, single_threaded(),
        _WholePool(workers, mp_context=context, initializer=follow_parent, initargs=(told,)) as executor,
    ):  # fmt: skip
        try:
            yield executor
        except BrokenProcessPool as error:
            raise WavesimError(
                'a worker process ended abruptly: in a script, keep the call under `if __name__ == "__main__":`; or '
                "memory ran out: use fewer workers. What is whole is kept"
            ) from error
        except BaseException as error:
            stop.close()
            executor.shutdown(cancel_futures=True)
            if isinstance(error, MemoryError):
                raise WavesimError(
                    "memory ran out: use fewer workers, or ask for less; what is whole is kept"
                ) from error
            raise


@contextmanager
def _cluster(address: str) -> Iterator[Executor]:
    """The workers of a scheduler of dask's."""
    try:
        from distributed import Client, KilledWorker
    except ImportError as error:
        raise missing_engine("distributed", "a scheduler of dask's", "dask", error) from error
    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise WavesimError(
            f"no scheduler answers at {address} within {PATIENCE} s ({error}): start one with `dask scheduler`"
        ) from error
    with client:
        _check_workers(client, address)
        executor = client.get_executor(pure=False)
        try:
            yield executor
        except KilledWorker as error:
            raise WavesimError(
                f"one job ended {error.allowed_failures + 1} workers of {address} abruptly, probably for want of "
                "memory: use fewer workers a machine. What is whole is kept"
            ) from error
        except CancelledError as error:
            raise WavesimError(f"the scheduler at {address} is gone; what is whole is kept, call again") from error
        finally:
            executor.shutdown(wait=False)


def _check_workers(client: Any, address: str) -> None:
    remedy = "start them with `dask worker ADDRESS --nthreads 1 --nworkers N`"
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
        threads, limits = client.nthreads(), client.run(_thread_limits)
    except TimeoutError as error:
        raise WavesimError(f"the scheduler at {address} has no workers: {remedy}") from error
    except ImportError as error:
        raise WavesimError(
            f"the workers of {address} lack what a job needs ({error}): install wavesim there"
        ) from error
    for worker, limit in limits.items():
        if threads[worker] != 1 or set(limit.values()) != {"1"}:
            raise WavesimError(
                f"worker {worker} of {address} runs {threads[worker]} jobs at a time, with the limits {limit}: "
                f"a job needs a process of its own, and one thread; {remedy}"
            )


def _thread_limits() -> dict[str, str | None]:
    """What this process allows numerical libraries."""
    return {name: os.environ.get(name) for name in THREADS}


def follow_parent(told: Connection | None = None) -> None:
    """Leave interrupts to the parent, and end with it: a killed parent must not leave its workers behind.

    Args:
        told: a pipe whose other end the parent closes to stop the job that is running.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if told is not None and told.poll():
        os._exit(1)  # told before the first job: an exception here would be the pool's to complain about
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel, told), daemon=True).start()


def _end_with(sentinel: int, told: Connection | None) -> None:
    """End when the parent has; or once told to, after the job had a moment to remove what it has half-written."""
    if sentinel not in wait([sentinel] if told is None else [sentinel, told]):
        main = ctypes.c_ulong(threading.main_thread().ident or 0)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(main, ctypes.py_object(SystemExit))
        time.sleep(PATIENCE)
    os._exit(1)
