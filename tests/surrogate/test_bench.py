"""Every runtime gives the forecast of the torch network, to its precision; the time table names them all."""

from __future__ import annotations

import shutil
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from wavesim.bench import bench, measured
from wavesim.cli import main
from wavesim.config import ForecasterConfig
from wavesim.errors import WavesimError
from wavesim.surrogate import Forecaster, load, rollout, save
from wavesim.surrogate.runtimes import OpenVinoForecaster, steppers
from wavesim.turns import in_turns

DATA = Path(__file__).parents[2] / "data"
MODEL = DATA / "models" / "demo" / "pruned.safetensors"
APART = {"float32": 1e-4, "bfloat16": 0.02, "int8": 0.03}  # after 4 frames of a compact pulse


@pytest.fixture(scope="module")
def waves() -> tuple[np.ndarray, np.ndarray]:
    """A pulse beside a stiff disk, on 32 x 32 cells."""
    x = (np.arange(32) + 0.5) / 32
    pulse = np.exp(-((x - 0.3) ** 2 + (x[:, None] - 0.5) ** 2) / (2 * 0.08**2))
    medium = np.ones((2, 32, 32), np.float32)
    medium[:, (x - 0.7) ** 2 + (x[:, None] - 0.5) ** 2 < 0.03] = np.array([[4.0], [2.0]])
    return np.stack((pulse, 0 * pulse)).astype(np.float32), medium


def test_every_runtime_forecasts_what_torch_does(waves, tmp_path):
    state, medium = waves
    model = load(MODEL)
    expected = rollout(model, state, medium, 4)
    found = steppers(model, tmp_path / "m", (32, 32), (state[None], medium[None]))
    assert {runtime for runtime, _ in found} >= {"torch", "onnxruntime", "compiled"}
    for (runtime, precision), one in found.items():
        apart = np.linalg.norm(rollout(one, state, medium, 4) - expected) / np.linalg.norm(expected)
        assert apart < APART[precision], (runtime, precision, apart)
        assert precision == "float32" or apart > 1e-6, (runtime, precision)  # it does compute in another precision
    if ("openvino", "int8") in found:  # the same integers in both, which round a tie now and then to either side
        one, other = (rollout(found[runtime, "int8"], state, medium, 1) for runtime in ("onnxruntime", "openvino"))
        assert np.linalg.norm(other - one) < 0.5 * np.linalg.norm(one - expected[:1])


def test_a_forecaster_that_is_not_exported_runs_in_torch(tmp_path):
    alone = Forecaster(ForecasterConfig(ranks=(), conserve_energy=False), 1.0)
    assert steppers(alone, tmp_path / "m", (32, 32)) == {("torch", "float32"): alone}


def test_frames_that_are_forecast_together_share_the_time_of_their_call(waves, monkeypatch):
    """By a clock that a call moves by 6 ms, and nothing else."""
    model = Forecaster(ForecasterConfig(ranks=(), bundle=3), 1.0)
    now, whole = [0.0], model.bundle

    def call(*given):
        now[0] += 6e-3
        return whole(*given)

    monkeypatch.setattr(model, "bundle", call)
    monkeypatch.setattr("wavesim.turns.perf_counter", lambda: now[0])
    (row,) = measured({("torch", "float32"): model}, *waves, frames=3)
    assert (row.milliseconds, row.milliseconds_median) == (pytest.approx(2), pytest.approx(2))


def test_the_command_lists_runtimes_fastest_first(capsys, monkeypatch):
    monkeypatch.setattr("wavesim.bench.in_turns", partial(in_turns, turns=2))
    monkeypatch.setattr(sys, "argv", ["wavesim", "bench", str(MODEL), "--grid", "32", "--frames", "3"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    lines = capsys.readouterr().out.splitlines()[1:]
    assert {line.split()[0] for line in lines} >= {"torch", "onnxruntime", "compiled"}
    times = [float(line.split()[2]) for line in lines]
    assert times == sorted(times) and times[0] > 0


def test_int8_is_calibrated_on_what_trains_and_measured_on_the_test(modes, tmp_path):
    data = tmp_path / "modes"
    shutil.copytree(modes, data)
    with pytest.raises(WavesimError, match="test"):
        bench(MODEL, data)
    shutil.copytree(data / "data" / "valid", data / "data" / "test")
    torch.manual_seed(0)
    model = Forecaster(ForecasterConfig(width=8, ranks=(4,), encoder_width=4, encoder_ranks=(2, 2)), 2.0)
    torch.nn.init.normal_(model.network.head.weight, std=0.05)
    rows = bench(save(model, tmp_path / "m.safetensors"), data, frames=3)
    by = {(row.runtime, row.precision): row for row in rows}
    assert by["torch", "float32"].first_frame == 0
    larger = bench(tmp_path / "m.safetensors", data, frames=1, repeat=2)
    assert {(row.runtime, row.precision) for row in larger} == by.keys()
    assert by["onnxruntime", "float32"].last_frame < 1e-5 < by["onnxruntime", "int8"].last_frame < 0.5


@pytest.mark.skipif(find_spec("openvino") is not None, reason="OpenVINO is here")
def test_a_missing_runtime_is_named_with_its_extra(tmp_path):
    with pytest.raises(WavesimError, match=r"OpenVINO is not installed: pip install 'wavesim\[fast\]'"):
        OpenVinoForecaster(tmp_path / "m")


def test_the_smallest_and_the_median_are_by_the_clock_that_is_given():
    """One call takes 1, 3, 5 and 7 seconds by it, the other nothing."""
    now, took = 0.0, iter((1.0, 3.0, 5.0, 7.0))

    def work() -> None:
        nonlocal now
        now += next(took)

    found = in_turns({"slow": (work, 1), "still": (lambda: None, 1)}, turns=2, burst=2, clock=lambda: now)
    assert found == {"slow": (1000.0, 4000.0), "still": (0.0, 0.0)}
