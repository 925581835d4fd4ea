"""One domain on 2 and on 4 processes is the run of one process; the launcher is that of dolfinx's own MPI."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from shared_domains import CASES, FLAT, FRAMES, GRID, SMOOTH

from wavesim.errors import WavesimError
from wavesim.fem import (
    Nodes,
    Pulse,
    Sides,
    assemble,
    distributed,
    launch,
    listen,
    mpi,
    simulation,
    start,
    stepper,
    uniform,
)
from wavesim.processes import LAUNCHERS

CASE = """
import numpy as np
from wavesim.fem import Nodes, Pulse, uniform
from wavesim.fem.distributed import Case
case = Case(uniform(), Nodes(({n}, {n}), 2), 0.05, (8, 8), Pulse(({x}, 0.5), 0.1), receivers=np.array([[0.7, 0.4]]))
"""


@pytest.fixture(scope="session")
def own_launcher():
    pytest.importorskip("petsc4py", reason="petsc4py holds the matrices of several processes")
    try:
        return mpi.launcher()
    except WavesimError as error:
        pytest.skip(str(error))


def environment():
    """Of a process that no launcher has started, on one thread."""
    own = {key: value for key, value in os.environ.items() if not key.startswith(LAUNCHERS)}
    return {**own, "OMP_NUM_THREADS": "1", "HWLOC_HIDE_ERRORS": "2", "UCX_LOG_LEVEL": "fatal"}


@pytest.fixture(scope="session", params=[2, 4])
def several(request, own_launcher, tmp_path_factory):
    """What 2 and 4 processes make of the cases."""
    path = tmp_path_factory.mktemp("several") / "found.npz"
    script = [sys.executable, "-m", "mpi4py", str(Path(__file__).parent / "shared_domains.py"), str(path)]
    command = [*own_launcher, "-n", str(request.param), *script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment())
    assert done.returncode == 0, done.stdout + done.stderr
    with np.load(path) as found:
        found = dict(found)
    assert found["processes"] == request.param
    return found


def relative(found, wanted):
    return np.abs(found - wanted).max() / np.abs(wanted).max()


@pytest.mark.parametrize("name", CASES)
def test_several_processes_give_the_run_of_one(several, name):
    case = CASES[name]
    problem = assemble(
        case.medium,
        case.mesh,
        case.interval,
        GRID,
        case.sides,
        case.layer,
        case.sources,
        order=case.order,
        steps=case.steps,
        degree=case.degree,
    )
    state = start(problem, case.pressure)
    if len(case.receivers):
        heard = listen(problem, state, case.receivers, FRAMES - 1)
        assert relative(several[f"{name}/heard"], heard.pressure) < 1e-10
        np.testing.assert_allclose(several[f"{name}/times"], heard.times, rtol=1e-14)
    wanted = np.empty_like(several[f"{name}/fields"])
    for k in range(FRAMES):
        state = simulation.next_frame(problem, state) if k else state
        frame = stepper.frame(problem.operator, state)
        wanted[:, k] = simulation.sample(problem, frame)
        assert several[f"{name}/energy"][k] == pytest.approx(frame.energy, rel=1e-10)
    for found, field in zip(several[f"{name}/fields"], wanted, strict=True):
        assert relative(found, field) < 1e-10
    assert several[f"{name}/steps"] == problem.operator.steps
    assert several[f"{name}/unknowns"] == problem.operator.mass.size


def test_every_process_holds_its_share_of_the_nodes(several):
    own = several["own nodes"]
    assert own.size == several["processes"] and own.sum() == FLAT.shape[0] * FLAT.shape[1]
    assert own.max() < 1.6 * own.mean()


def test_the_stability_limit_rests_on_the_largest_eigenvalue(several):
    operator = assemble(SMOOTH, FLAT, 0.1, GRID).operator
    root = np.sqrt(operator.mass)
    symmetric = root[:, None] * operator.stepping.toarray() / root / operator.time_step**2
    largest = np.linalg.eigvalsh((symmetric + symmetric.T) / 2)[-1]
    assert 0.998 * largest < several["largest eigenvalue"] <= (1 + 1e-12) * largest


def test_the_discrete_energy_of_the_whole_domain_is_conserved(several):
    energy = several["discrete energy"]
    np.testing.assert_allclose(energy, energy[0], rtol=1e-12)


def test_memory_does_not_grow_from_frame_to_frame(several):
    """PETSc keeps vectors that Python has dropped: it would grow by 6 MiB and more."""
    assert several["growth"].max() < 3


def test_all_processes_hear_of_what_stops_one(several):
    assert len(several["holed"]) == several["processes"]
    assert all("is -1.0; kappa and rho must be positive" in text for text in several["holed"])
    assert all("for 1 elements leave one without any; use fewer" in text for text in several["crowded"])


def test_a_run_is_launched_and_kept(own_launcher, tmp_path):
    (tmp_path / "case.py").write_text(CASE.format(n=8, x=0.3))
    out = tmp_path / "run.npz"
    assert launch.main([str(tmp_path / "case.py"), "--frames", "3", "--ranks", "2", "--out", str(out)]) == 0
    run = launch.load(out)
    problem = assemble(uniform(), Nodes((8, 8), 2), 0.05, (8, 8))
    state = start(problem, Pulse((0.3, 0.5), 0.1))
    assert relative(run.heard, listen(problem, state, np.array([[0.7, 0.4]]), 2).pressure) < 1e-10
    for _ in range(2):
        state = simulation.next_frame(problem, state)
    wanted = simulation.sample(problem, stepper.frame(problem.operator, state))
    assert relative(run.pressure[2], wanted[0]) < 1e-10 and relative(run.pressure_rate[2], wanted[1]) < 1e-10
    assert (run.unknowns, run.steps_per_frame) == (17**2, problem.operator.steps)


def test_a_case_that_cannot_run_is_one_line(own_launcher, tmp_path):
    (tmp_path / "case.py").write_text(CASE.format(n=1, x=0.5))
    shell = [sys.executable, "-m", "wavesim.fem.launch", str(tmp_path / "case.py"), "--frames", "3", "--ranks", "3"]
    done = subprocess.run(
        [*shell, "--out", str(tmp_path / "run.npz")], capture_output=True, text=True, timeout=60, env=environment()
    )
    assert done.returncode == 2 and "3 processes for 1 elements" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "run.npz").exists()
    (tmp_path / "none.py").write_text("")
    with pytest.raises(WavesimError, match="should set `case"):
        launch.case_of(str(tmp_path / "none.py"))
    with pytest.raises(WavesimError, match="does not exist"):
        launch.case_of(str(tmp_path / "no.py"))


def test_processes_that_another_library_has_launched_are_refused():
    """The wheel of mpich has a launcher of its own; under it each process would compute the whole domain alone."""
    hydra = Path(sysconfig.get_path("scripts")) / "mpiexec.hydra"
    if (
        not hydra.exists()
        or "MPICH" in subprocess.run([sys.executable, "-c", mpi.ASK], capture_output=True, text=True).stdout
    ):
        pytest.skip("there is no launcher of another library beside dolfinx's MPI")
    code = "from wavesim.fem import mpi; print(mpi.communicator().size)"
    done = subprocess.run(
        [str(hydra), "-n", "2", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
    )
    assert done.returncode != 0 and done.stdout.strip() == ""
    assert "2 processes were started, and each of them sees 1" in done.stderr


def test_a_launcher_of_another_library_is_passed_over(tmp_path, monkeypatch, own_launcher):
    for name in ("mpirun", "mpiexec", "mpirun.openmpi"):
        (tmp_path / name).write_text("#!/bin/sh\necho another launcher\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert mpi.launcher() == own_launcher


def test_a_killed_parent_takes_its_processes_along(own_launcher, tmp_path):
    (tmp_path / "case.py").write_text(CASE.format(n=40, x=0.3))
    shell = [sys.executable, "-m", "wavesim.fem.launch", str(tmp_path / "case.py"), "--frames", "1000000"]
    parent = subprocess.Popen(
        [*shell, "--out", str(tmp_path / "run.npz")],
        start_new_session=True,
        env=environment(),
        stderr=subprocess.DEVNULL,
    )
    serving = "from wavesim.fem.launch import serve"
    children = wait_for(lambda: processes_of(parent.pid, serving), "no process began")
    parent.kill()
    parent.wait()
    wait_for(lambda: not processes_of(parent.pid, serving), f"{children} outlived their parent")


def test_what_several_processes_cannot_do_is_refused():
    with pytest.raises(WavesimError, match="an absorbing side needs at least one element"):
        distributed.assemble(uniform(), FLAT, 0.1, GRID, Sides(left="absorbing"))
    with pytest.raises(WavesimError, match="use at least"):
        distributed.assemble(uniform(), FLAT, 0.1, GRID, steps=1)
    with pytest.raises(WavesimError, match="put it in a module"):
        launch.run(lambda: CASES["rectangle"], 2, 2)
    with pytest.raises(WavesimError, match="ranks 0"):
        launch.run(partial(launch.case_of, "case.py"), 2, 0)


def wait_for(condition, otherwise):
    deadline = time.monotonic() + 30
    while not (found := condition()):
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.1)
    return found


def processes_of(session, text):
    """Numbers of a session's living processes with `text` in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            # After the name, which may hold anything: state, parent, group, session.
            state, _, _, own = (path / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(own) == session and state != "Z" and text in (path / "cmdline").read_text().replace("\0", " "):
                found.append(int(path.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


@pytest.mark.slow
def test_the_table_of_scaling_can_be_made_anew(own_launcher):
    script = Path(__file__).parents[2] / "benchmarks" / "several_ranks.py"
    made = subprocess.run([sys.executable, str(script), "--quick"], check=True, capture_output=True, text=True)
    assert "| strong | 1, no MPI | 32 x 32 |" in made.stdout and "| strong | 1 | 32 x 32 |" in made.stdout
