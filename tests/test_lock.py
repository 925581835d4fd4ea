"""One process at a time in a folder, and no lock without its process."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from wavesim.errors import WavesimError
from wavesim.lock import sole_user

pytest.importorskip("fcntl")
HOLDER = """
import subprocess, sys, time
from pathlib import Path
from wavesim.lock import sole_user

with sole_user(Path(sys.argv[1])):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    print(child.pid, flush=True)
    time.sleep(60)
"""


@contextmanager
def at_work(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock, with a process of its own, which outlives it."""
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    try:
        yield holder
    finally:
        holder.kill()
        holder.wait()
        os.kill(child, signal.SIGKILL)


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    with at_work(tmp_path / "run") as holder:
        for _ in range(2):
            with pytest.raises(WavesimError, match=rf"another process \({holder.pid}\) is at work in .*give another"):
                with sole_user(tmp_path / "run"):
                    pass
        holder.kill()
        holder.wait()
        with sole_user(tmp_path / "run"):  # at once, though the file and a child of the killed are still there
            pass


def test_the_lock_is_given_back_at_the_end_and_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), sole_user(tmp_path):
        raise KeyError
    for _ in range(2):
        with sole_user(tmp_path), pytest.raises(WavesimError, match="at work"), sole_user(tmp_path):
            pass


def test_a_second_dataset_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    from wavesim.fem import generate_dataset
    from wavesim.preset_config import CavityConfig

    with at_work(tmp_path / "waves"), pytest.raises(WavesimError, match="is at work"):
        generate_dataset(CavityConfig(shard=1), tmp_path / "waves", 3, seed=0, progress=False)
    assert [path.name for path in (tmp_path / "waves").iterdir()] == [".lock"]


def test_a_second_demo_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    from wavesim.cli import settings
    from wavesim.demo import run_demo

    with at_work(tmp_path / "run"), pytest.raises(WavesimError, match="is at work"):
        run_demo(tmp_path / "run", settings("quick"), seed=0, progress=False)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
