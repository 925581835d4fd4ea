"""The solver in its own process: the same frames as a simulation, pulses that add up, and errors that arrive here."""

from __future__ import annotations

import os
import signal
import sys
import time

import numpy as np
import pytest

from wavesim.config import WavesConfig
from wavesim.dataset import Shard, write_shard
from wavesim.errors import WavesimError
from wavesim.fem import LiveSolver, Pulse, rerun, simulate
from wavesim.fem.sampling import cell_centres
from wavesim.fem.stored import medium_of

CONFIG = WavesConfig(grid=16, frames=5, pulses=1, pulse_width=0.1, interface_width=0.1, elements=8, degree=3)
PACKING = {"name": "0", "positions": [[0.3, 0.2], [0.7, 0.6]], "radii": [0.2, 0.25], "size_ratio": 0.8}
TRAJECTORY = {"shift": [0.1, 0.2], "symmetry": 4, "pulse": {"center": [0.4, 0.6], "width": 0.1, "amplitude": 1.0}}
MEDIUM = medium_of(CONFIG, PACKING, TRAJECTORY)


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    """A file that knows how it was made; its fields are never read."""
    path = tmp_path_factory.mktemp("live") / "packing_000000.hdf5"
    about = {"config": CONFIG.model_dump(mode="json"), "packing": PACKING, "trajectories": [TRAJECTORY]}
    zero, one, axis = np.zeros((1, 5, 16, 16)), np.ones((1, 16, 16)), cell_centres(16)
    write_shard(path, Shard(zero, zero, one, one, np.arange(5) / 32, axis, axis, {}, about))
    return path


def test_live_frames_equal_those_of_a_simulation(shard):
    state, _, _ = rerun(shard, 0)
    with LiveSolver(shard, 0) as solver:
        assert solver.degree == CONFIG.degree
        np.testing.assert_allclose(solver.medium, MEDIUM.cells((16, 16)), rtol=1e-6)
        np.testing.assert_allclose(solver.state, state[0], rtol=1e-5, atol=1e-7)
        for k in range(1, 5):
            frame, milliseconds = solver.step()
            assert frame.dtype == np.float32 and milliseconds > 0
            np.testing.assert_allclose(frame, state[k], rtol=1e-5, atol=1e-7)
            assert solver.state is frame


def test_a_request_returns_at_once_and_its_result_comes_later(shard):
    state, _, _ = rerun(shard, 0)
    with LiveSolver(shard, 0) as solver:
        with pytest.raises(WavesimError, match=r"request\(\)"):
            solver.result()
        solver.request()
        solver.request()  # one frame is under way: no second
        collected, deadline = None, time.monotonic() + 30
        while collected is None and time.monotonic() < deadline:
            collected = solver.result(timeout=0)
        assert collected is not None
        np.testing.assert_allclose(collected[0], state[1], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(solver.step()[0], state[2], rtol=1e-5, atol=1e-7)


def test_an_added_pulse_is_superposed_on_the_running_wave(shard):
    state, _, _ = rerun(shard, 0)
    alone = simulate(CONFIG, MEDIUM, Pulse((0.3, 0.7), 0.12, -0.5))
    with LiveSolver(shard, 0) as solver:
        solver.step()
        solver.add_pulse(0.3, 0.7, width=0.12, amplitude=-0.5)
        np.testing.assert_allclose(solver.state[0], state[1, 0] + alone.pressure[0], atol=1e-6)
        solver.step()
        frame, _ = solver.step()
        # One that comes while a frame is under way is in the state that this frame brings.
        solver.request()
        solver.add_pulse(0.6, 0.5, width=0.1)
        later, _ = solver.result()
    np.testing.assert_allclose(frame[0], state[3, 0] + alone.pressure[2], atol=1e-6)
    np.testing.assert_allclose(
        later[0],
        state[4, 0] + alone.pressure[3] + simulate(CONFIG, MEDIUM, Pulse((0.6, 0.5), 0.1)).pressure[0],
        atol=1e-6,
    )
    np.testing.assert_allclose(frame[1], state[3, 1] + alone.pressure_rate[2] / 32, atol=1e-6)


def test_errors_of_the_second_process_are_raised_in_the_first(shard, tmp_path):
    with pytest.raises(WavesimError, match="no trajectory 3"):
        LiveSolver(shard, 3)
    with pytest.raises(WavesimError, match="does not exist"):
        LiveSolver(tmp_path / "none.hdf5", 0)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("raise ImportError('libmpi.so.40: cannot open it')", r"is installed but cannot .*ImportError: libmpi\.so\.40"),
        ("import a_part_of_it", "is installed but cannot be imported .*No module named 'a_part_of_it'"),
        ("import os; os._exit(3)", r"has ended \(exit code 3\); see how `python -c 'import dolfinx'` ends"),
        ("raise RuntimeError('another ABI')", "RuntimeError: another ABI"),
    ],
)
def test_a_dolfinx_that_is_there_but_broken_is_not_called_missing(shard, tmp_path, monkeypatch, fault, says):
    (tmp_path / "dolfinx").mkdir()
    (tmp_path / "dolfinx" / "__init__.py").write_text(fault)
    monkeypatch.syspath_prepend(tmp_path)  # the second process takes it over
    with pytest.raises(WavesimError, match=says) as caught:
        LiveSolver(shard, 0)
    assert "not installed" not in str(caught.value)


def test_a_dolfinx_that_is_missing_is_told_before_a_process_is_started(shard, monkeypatch):
    monkeypatch.setitem(sys.modules, "dolfinx", None)
    with pytest.raises(WavesimError, match=r"dolfinx is not installed, .* `make setup`"):
        LiveSolver(shard, 0)


def test_a_process_that_died_is_reported_and_closing_is_clean(shard):
    with LiveSolver(shard, 0) as solver:
        process = solver._process
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(WavesimError, match="has ended"):
            solver.step()
    with LiveSolver(shard, 0) as solver:
        solver.request()
        process = solver._process
    assert not process.is_alive()
