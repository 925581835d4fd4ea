"""A scheduler of dask's in place of processes of one's own: same results, workers that are killed, what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import h5py
import jobs
import numpy as np
import pytest
from typer.testing import CliRunner

from wavesim import processes
from wavesim.cli import app
from wavesim.config import WavesConfig
from wavesim.errors import WavesimError
from wavesim.fem import generate_waves
from wavesim.processes import pool

distributed = pytest.importorskip("distributed", reason="the extra `dask` is not installed")

# Long enough that a worker can be killed in the middle of a job.
CONFIG = WavesConfig(grid=16, frames=150, pulses=2, pulse_width=0.1, interface_width=0.08, elements=32, verified=1)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two workers, which find this folder's jobs; each has a nanny that starts it again."""
    import dask

    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    with (
        dask.config.set({"distributed.nanny.pre-spawn-environ.PYTHONPATH": paths}),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address=":0",
            local_directory=str(tmp_path_factory.mktemp("dask")),
            silence_logs=60,
        ) as cluster,
    ):
        yield cluster


@pytest.fixture(scope="module")
def packings(tmp_path_factory):
    path = tmp_path_factory.mktemp("packings") / "packings.h5"
    random = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for k in range(6):
            group = file.create_group(f"{k:06d}")
            group["positions"] = random.uniform(0, 4, (8, 2))
            group["radii"] = np.where(np.arange(8) % 2, 0.5, 0.3)
            group["box"] = [4.0, 4.0]
            group.attrs.update(size_ratio=0.6, complete=True)
    return path


def contents(out):
    return {path.relative_to(out): path.read_bytes() for path in sorted(out.rglob("*.hdf5"))}


def test_jobs_run_in_the_workers_on_one_thread_each(cluster):
    address = cluster.scheduler_address
    with pool(1, address) as executor:
        assert [executor.submit(jobs.square, k).result(60) for k in range(4)] == [0, 1, 4, 9]
        threads, number = executor.submit(jobs.limits).result(60)
        with pytest.raises(WavesimError, match="a job's own error"):
            executor.submit(jobs.refuse).result(60)
    assert threads == "1" and number in {nanny.pid for nanny in cluster.workers.values()}


def test_the_shards_are_those_of_one_process_though_a_worker_is_killed(cluster, packings, tmp_path):
    generate_waves(CONFIG, packings, tmp_path / "alone", seed=3, workers=1, progress=False)
    out, killed = tmp_path / "cluster", []

    def kill_one():
        with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
            while not killed:
                pids = client.run(os.getpid)
                busy = [worker for worker, tasks in client.processing().items() if tasks]
                if busy and list(out.glob("data/*/*.hdf5")):  # after the first file, in the middle of another
                    killed.append(pids[busy[0]])
                    os.kill(killed[0], signal.SIGKILL)
                time.sleep(0.01)

    thread = threading.Thread(target=kill_one, daemon=True)
    thread.start()
    generate_waves(CONFIG, packings, out, seed=3, progress=False, scheduler=cluster.scheduler_address)
    thread.join(30)
    assert killed and killed[0] not in {nanny.pid for nanny in cluster.workers.values()}
    assert len(contents(tmp_path / "alone")) == 6
    assert contents(out) == contents(tmp_path / "alone")


def test_a_job_whose_worker_is_killed_is_done_by_another(cluster, tmp_path):
    with pool(1, cluster.scheduler_address) as executor:
        assert executor.submit(jobs.die_once, str(tmp_path / "mark")).result(60) > 0
    assert (tmp_path / "mark").exists()


def test_a_job_that_kills_every_worker_is_one_line(cluster, monkeypatch):
    monkeypatch.setattr(cluster.scheduler, "allowed_failures", 0)
    with pytest.raises(WavesimError, match=r"one job ended 1 workers of tcp://.* abruptly"):
        with pool(1, cluster.scheduler_address) as executor:
            executor.submit(jobs.die).result(60)


def test_a_scheduler_that_ends_is_one_line(tmp_path):
    options = ["--no-dashboard", "--scheduler-file", str(tmp_path / "address")]
    own = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    quiet = {"env": own, "cwd": tmp_path, "stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    ended = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", *options]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--nthreads", "1", *options]
    with subprocess.Popen(ended, **quiet) as scheduler, subprocess.Popen(worker, **quiet) as of_it:
        try:
            while not (tmp_path / "address").exists():
                assert scheduler.poll() is None and of_it.poll() is None
                time.sleep(0.1)
            address = json.loads((tmp_path / "address").read_text())["address"]
            with pytest.raises(WavesimError, match=f"the scheduler at {address} is gone"):
                with pool(1, address) as executor:
                    job = executor.submit(time.sleep, 60)
                    scheduler.kill()
                    job.result(60)
        finally:
            scheduler.kill()
            of_it.terminate()


def test_workers_of_several_threads_and_a_scheduler_without_any_are_refused(monkeypatch):
    monkeypatch.setattr(processes, "PATIENCE", 1)
    settings = {"threads_per_worker": 2, "processes": False, "dashboard_address": ":0"}
    with distributed.LocalCluster(n_workers=1, **settings) as many:
        with pytest.raises(WavesimError, match=r"runs 2 jobs at a time.*--nthreads 1"):
            with pool(1, many.scheduler_address):
                pass
    with distributed.LocalCluster(n_workers=0, **settings) as none:
        with pytest.raises(WavesimError, match="has no workers"):
            with pool(1, none.scheduler_address):
                pass


def test_a_scheduler_that_does_not_answer_is_one_line_on_the_command_line(packings, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "PATIENCE", 1)
    for address in ("tcp://127.0.0.1:9", "nonsense://x"):
        arguments = ["generate", "waves", "--packings", str(packings), "--out", str(tmp_path / "out")]
        result = CliRunner().invoke(app, [*arguments, "--scheduler", address])
        assert isinstance(result.exception, WavesimError) and "\n" not in str(result.exception)
        assert f"no scheduler answers at {address}" in str(result.exception)


def test_without_dask_the_way_to_install_it_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(WavesimError, match=r"pip install 'wavesim\[dask\]'"):
        with pool(1, "tcp://127.0.0.1:8786"):
            pass
