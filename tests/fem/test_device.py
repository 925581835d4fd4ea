"""Datasets whose steps torch takes: the fields of the compiled loops to rounding, and files that say who made them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from wavesim.cli import app
from wavesim.config import WavesConfig
from wavesim.dataset import WaveDataset
from wavesim.errors import WavesimError
from wavesim.fem import Nodes, PointSource, Pulse, Ricker, assemble, generate_dataset, packing, simulate, stepper
from wavesim.fem.batch import simulate_all
from wavesim.fem.source import SpreadSource
from wavesim.fem.stored import draw_preset
from wavesim.preset_config import LayersConfig, LensConfig, RandomConfig
from wavesim.verify import verify

SMALL = {"lengths": (1.5, 1.0), "grid": (24, 16), "elements": (9, 6), "frames": 6, "frame_interval": 0.05,
         "pulse_width": 0.1, "layer": 2, "shard": 2, "radii": (0.2, 0.3), "correlation_length": 0.3}  # fmt: skip
GRAINS = packing(np.array([[0.2, 0.3], [0.7, 0.6]]), np.array([0.2, 0.25]), 20.0, 5.0, 0.1)


def small(kind, **settings):
    return kind(**{key: value for key, value in SMALL.items() if key in kind.model_fields}, **settings)


@pytest.fixture(scope="module")
def lens(tmp_path_factory):
    out = tmp_path_factory.mktemp("lens")
    return out, generate_dataset(small(LensConfig, device="cpu"), out, 5, seed=5, workers=1, progress=False)


@pytest.mark.parametrize("kind", [RandomConfig, LayersConfig, LensConfig])
def test_a_device_makes_the_fields_of_the_compiled_loops_to_single_precision(kind):
    drawn = [draw_preset(small(kind), 5, k) for k in range(2)]
    by_torch, by_loops = (
        np.stack([run.pressure for run in simulate_all(small(kind, device=device), *zip(*drawn, strict=True))])
        for device in ("cpu", None)
    )
    assert 0 < np.linalg.norm(by_torch - by_loops) < 1e-5 * np.linalg.norm(by_loops)


def test_packings_in_double_precision_agree_to_its_rounding():
    config = WavesConfig(grid=16, frames=4, pulse_width=0.1, interface_width=0.08, elements=8, degree=3)
    runs = [
        simulate(config.model_copy(update={"device": device}), GRAINS, Pulse((0.4, 0.5), 0.1)).pressure
        for device in (None, "cpu")
    ]
    assert np.abs(runs[0] - runs[1]).max() < 1e-12


def test_sources_of_a_simulation_each_step_together_on_a_device():
    signal, states = Ricker(3.0, 0.1), []
    sources = [PointSource((0.5, 0.4), signal), SpreadSource(Pulse((0.9, 0.2), 0.1), signal)]
    for device in (None, "cpu"):
        operator = assemble(
            GRAINS, Nodes((7, 5), 4, (1.4, 0.9)), 0.2, (4, 4), sources=sources, apart=True, device=device
        ).operator
        states.append(stepper.advance(operator, stepper.init(operator, np.zeros((operator.mass.size, 2)))))
    for one, other in zip(states[0].pressure.T, states[1].pressure.T, strict=True):
        assert np.abs(one - other).max() < 1e-12 * np.abs(one).max()


def test_a_dataset_says_which_device_made_it_and_is_run_again_without_it(lens):
    out, _ = lens
    assert json.loads((out / "settings.json").read_text())["config"]["device"] == "cpu"
    assert all(json.loads(line)["device"] == "cpu" for line in (out / "run.jsonl").read_text().splitlines())
    assert WaveDataset(out, "test").about(0)["config"]["device"] == "cpu"
    assert "single precision, by torch on cpu" in (out / "README.md").read_text()
    assert "run again" in verify(out, 1)[0]
    with pytest.raises(WavesimError, match=r"other settings \(device cpu there, none now\)"):
        generate_dataset(small(LensConfig), out, 5, seed=5, workers=1, progress=False)


@pytest.mark.parametrize(("device", "says"), [("cuda:7", "cuda:7 is not available on this machine; use cpu"),
                                              ("gpu", "unknown device 'gpu'; devices: cpu, cuda")])  # fmt: skip
def test_a_device_that_is_not_there_is_one_line_and_leaves_no_folder(device, says, tmp_path):
    result = CliRunner().invoke(app, ["generate", "waves", "random", "--out", str(tmp_path / "x"), "--device", device])
    assert isinstance(result.exception, WavesimError)
    assert says in str(result.exception) and "\n" not in str(result.exception)
    assert not (tmp_path / "x").exists()
