"""One training on several processes of this machine, each with its share of every batch (data parallelism).

Every process holds the whole network; the gradients' mean over the processes is that of the whole batch, because the
shares are of one size (Li et al., PVLDB 13 (2020) 3005-3018). `batch` counts the windows of all of them: the curve
stays, to rounding, that of one process. Not so with batch norms, which classic-unet has: each sees its own share.
"""

from __future__ import annotations

import os
import pickle
import socket
import traceback
from collections.abc import Callable
from queue import Empty
from typing import Any

import torch

from wavesim.errors import WavesimError
from wavesim.processes import THREADS, Spawn, follow_parent
from wavesim.surrogate.logs import Progress


def side_by_side(work: Callable[..., None], ranks: int, job: Any, progress: Progress | None) -> None:
    """Call work(job, tell) in `ranks` processes that know of each other; tell(...) reaches `progress` here.

    Raises:
        WavesimError: of any of the processes, which ends them all; or one of them was killed.
    """
    context = Spawn()
    queue = context.Queue()
    port = _free_port()
    copy = pickle.dumps(job)  # a tensor in itself would have its memory shared among the processes
    processes = [context.Process(target=_one, args=(work, copy, rank, ranks, port, queue)) for rank in range(ranks)]
    try:
        for process in processes:
            process.start()
        while any(process.is_alive() for process in processes) or not queue.empty():
            try:
                kind, *content = queue.get(timeout=0.1)
            except Empty:
                if any(process.exitcode for process in processes):
                    break
                continue
            if kind == "refused":
                raise WavesimError(content[0])
            if kind == "failed":
                raise RuntimeError(f"a process of the training failed:\n{content[0]}")
            if progress:
                progress(*content)
    finally:
        for process in processes:
            if process.is_alive():
                process.kill()  # Lightning takes a request to end for one to end after the step, which may never end
        for process in processes:
            if process.pid is not None:  # it was started
                process.join()
    if any(process.exitcode for process in processes):
        raise WavesimError(
            'a process of the training ended abruptly: in a script, keep the call under `if __name__ == "__main__":`; '
            "or memory ran out: use fewer devices. Called again, it goes on from the last validation"
        )


class _Tell:
    """Sends what a training reports to the process that began it."""

    def __init__(self, queue: Any):
        self.queue = queue

    def __call__(self, *content: Any) -> None:
        self.queue.put(("progress", *content))


def _one(work: Callable[..., None], job: bytes, rank: int, ranks: int, port: int, queue: Any) -> None:
    follow_parent()
    # As Lightning's own environment wants it told.
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0", "LOCAL_RANK": str(rank)}
    if not any(name in os.environ for name in THREADS):
        torch.set_num_threads(max((os.cpu_count() or 1) // ranks, 1))
    try:
        work(pickle.loads(job), _Tell(queue))
    except WavesimError as error:
        queue.put(("refused", str(error)))
    except BaseException:
        queue.put(("failed", traceback.format_exc()))


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
