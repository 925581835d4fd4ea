"""Jobs for worker processes, which import them by name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from wavesim.errors import WavesimError


def square(number):
    return number**2


def limits():
    return os.environ["OMP_NUM_THREADS"], os.getpid()


def die_once(mark):
    """Its worker is killed in the middle of the job, the first time."""
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def refuse():
    raise WavesimError("a job's own error")


def starve():
    raise MemoryError


def linger(begun, cleaned):
    """For a minute, unless it is stopped; it says when it has begun, and removes what it has half-written."""
    try:
        Path(begun).touch()
        for _ in range(6000):
            time.sleep(0.01)
    finally:
        Path(cleaned).touch()
