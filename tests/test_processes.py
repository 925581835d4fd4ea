"""A pool of processes of this machine: what an interrupt or an error stops, and what is told when memory runs out."""

from __future__ import annotations

import subprocess
import sys
import time

import jobs
import pytest

from wavesim.errors import WavesimError
from wavesim.processes import pool


@pytest.mark.parametrize("reason", [KeyboardInterrupt, WavesimError])
def test_an_interrupt_or_an_error_stops_the_job_that_runs_and_lets_it_clean_up(reason, tmp_path):
    begun, cleaned = tmp_path / "begun", tmp_path / "cleaned"
    with pytest.raises(reason), pool(1) as executor:
        executor.submit(jobs.linger, begun, cleaned)
        deadline = time.monotonic() + 60
        while not begun.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        interrupted = time.monotonic()
        raise reason
    assert time.monotonic() - interrupted < 20 and cleaned.exists()


def test_memory_that_runs_out_is_told_with_its_remedy():
    with pytest.raises(WavesimError, match="memory ran out: use fewer workers"), pool(1) as executor:
        executor.submit(jobs.starve).result()


def test_a_request_to_end_while_processes_start_is_answered_without_a_word(tmp_path):
    """The signal comes right after the first process is made, while it still reads its orders."""
    script = tmp_path / "ends.py"
    script.write_text("""
import os, signal, sys
from wavesim import processes

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    plain = processes.SpawnProcess.start

    def start(process):
        plain(process)
        os.kill(os.getpid(), signal.SIGTERM)

    processes.SpawnProcess.start = start
    with processes.pool(2) as pool:
        list(pool.map(abs, range(4)))
""")
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (143, "", "")
