"""The race of solvers and forecasters runs from one command, and its solvers are what they are said to be."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))  # last: no script takes the name of a package

import pareto  # noqa: E402
import pareto_cases  # noqa: E402
import pareto_forecasters  # noqa: E402
import pareto_panels  # noqa: E402
import pareto_tensor  # noqa: E402
from pareto_cases import QUICK, SCENARIOS, Scale, cases  # noqa: E402
from pareto_forecasters import Model  # noqa: E402
from pareto_solvers import Solver, averaged, errors_of, medium_on, solvers  # noqa: E402
from pareto_tensor import tensor_step  # noqa: E402
from pareto_truth import Truth, truth_of  # noqa: E402

from wavesim.config import ForecasterConfig  # noqa: E402
from wavesim.fem.plan import split  # noqa: E402
from wavesim.provenance import read_lines, write_lines  # noqa: E402
from wavesim.surrogate import Forecaster, rollout, save  # noqa: E402
from wavesim.surrogate.coarse import CoarseStep  # noqa: E402
from wavesim.surrogate.loops import CompiledForecaster  # noqa: E402
from wavesim.turns import forecasting_all  # noqa: E402

HARDEST = SCENARIOS[2]


def test_packings_that_are_given_are_unseen_in_every_panel(tmp_path, monkeypatch):
    """Whatever else a scenario changes: forecasters have trained on the others."""
    packings = [replace(packing, name=f"{k:06d}") for k in range(16) for packing in pareto_cases.lattices()[:1]]
    monkeypatch.setattr(pareto_cases, "read", lambda _: packings)
    monkeypatch.setattr(pareto_cases, "packings_of", lambda *_: tmp_path)
    for scenario in SCENARIOS:
        splits = split([packing.size_ratio for packing in packings], scenario.config(Scale()))
        found = [int(case.packing.name) for case in cases(scenario, Scale(), tmp_path, tmp_path, 16, 1, 0)]
        assert {splits[k] for k in found} == ({"test"} if scenario.usual else {"train", "valid", "test"})
        (trial,) = cases(scenario, Scale(), tmp_path, tmp_path, 1, 1, 0, "valid")
        assert int(trial.packing.name) not in found and (
            not scenario.usual or splits[int(trial.packing.name)] == "valid"
        )


def test_the_tensor_step_is_the_coarse_step_where_the_density_is_uniform(tmp_path):
    """There the tensor is the identity; 1/kappa is averaged over the same cells."""
    (case,) = cases(replace(HARDEST, density=1.0), QUICK, None, tmp_path, 1, 1, 0)
    medium = torch.from_numpy(medium_on(case, 16)[None])
    plain, step = CoarseStep(case.config.frame_interval * 16, 9), tensor_step(case, 16, 0).coarse
    field = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    expected = plain.acceleration(field, plain.stencil(medium))
    torch.testing.assert_close(step.acceleration(field, step.stencil(medium)), expected, rtol=1e-4, atol=1e-4)


def test_the_tensor_step_has_the_tensor_of_layers_where_an_edge_runs_through_its_cells(tmp_path, monkeypatch):
    """The edge of a disk so large that it is straight, inclined by 30 degrees: with s the share of a square that lies
    behind it, R = n n^T / (1 - s + s rho) + (1 - n n^T) (1 - s + s / rho)."""
    (case,) = cases(HARDEST, QUICK, None, tmp_path, 1, 1, 0)
    (n_x, n_y), radius, cells, rho = np.array([np.cos(np.pi / 6), 0.5]), 1e6, 24, case.config.density
    disk = np.array([[0.5 - radius * n_x, 0.5 - radius * n_y, radius]])
    monkeypatch.setattr(pareto_tensor, "seen", lambda *_: disk)
    step = tensor_step(case, cells, 0).coarse
    inner = np.arange(cells - 1)
    middle = np.arange(cells) + 0.5
    scale = (case.config.frame_interval * cells) ** 2
    for found, x, y, parts in (
        (step.faces[0, 0, :, :-1], inner + 1, middle, (n_x**2, n_y**2)),
        (step.faces[0, 2, :-1], middle, inner + 1, (n_y**2, n_x**2)),
        (step.corners[0, 0, :-1, :-1], inner + 1, inner + 1, (n_x * n_y, -n_x * n_y)),
    ):
        points = (np.arange(101) + 0.5) / 101 - 0.5
        x_, y_ = (x[None, :, None, None] + points) / cells, (y[:, None, None, None] + points[:, None]) / cells
        share = ((x_ - 0.5) * n_x + (y_ - 0.5) * n_y < 0).mean(axis=(2, 3))
        expected = parts[0] / (1 - share + share * rho) + parts[1] * (1 - share + share / rho)
        assert 0.2 < np.mean((share > 0) & (share < 1)) * cells / 2 < 2
        np.testing.assert_allclose(found / scale, expected, atol=0.03)  # 8 x 8 points a square


def test_the_spread_that_suits_the_step_leaves_an_error_of_fourth_order(tmp_path):
    """Along an axis that is 1 - mu^2, with mu^2 = (1 / (cells tau))^2; 1 leaves leapfrog's own, of second order."""
    (case,) = cases(replace(HARDEST, bulk_modulus=1.0, density=1.0), QUICK, None, tmp_path, 1, 1, 0)
    time, errors = np.arange(1, 9) / 8, {}
    for cells, substeps in ((16, 5), (32, 10)):
        for name, spread in (("suits", 1 - (cells / 8 / substeps) ** 2), ("published", 1.0)):
            model = tensor_step(case, cells, spread)
            model.coarse.granted = lambda medium, n=substeps: torch.full_like(medium[:, :1, :1, :1], n)
            wave = np.cos(3 * np.pi * (np.arange(cells) + 0.5) / cells) * np.ones((cells, 1))
            state = np.stack((wave, 0 * wave))[None].astype(np.float32)
            found = rollout(model, state, np.ones((1, 2, cells, cells), np.float32), 8)[0, :, 0]
            errors[name, cells] = abs(found - np.cos(3 * np.pi * time)[:, None, None] * wave).max()
    assert (
        12 < errors["suits", 16] / errors["suits", 32] < 20
        and 3 < errors["published", 16] / errors["published", 32] < 5
    )
    assert errors["suits", 32] < errors["published", 32] / 10


def test_a_frame_may_be_several_of_the_races(tmp_path):
    """The coarse step of frames twice as long and of twice the sub-steps is the same step."""
    (case,) = cases(HARDEST, QUICK, None, tmp_path, 1, 2, 0)
    rng, shape = np.random.default_rng(0), (2, 2, QUICK.grid, QUICK.grid)
    frames = rng.random((2, QUICK.frames, QUICK.grid, QUICK.grid))
    known = Truth(None, 3, frames, None, {QUICK.grid: rng.random(shape).astype(np.float32)}, {})
    found = {}
    for each in (1, 2, 8):
        model = Forecaster(ForecasterConfig(ranks=(), substeps=20 * each), 2.0 * each)
        given = Model(save(model, tmp_path / f"{each}.safetensors"), "coarse", "", None, {})
        found[each] = pareto_forecasters.errors_of(case, known, given)
        if each < 8:
            runs = pareto_forecasters.frames_of(case, known, given, 1, tmp_path, np.empty(10**6, np.float32))
            assert {runtime: run[2] for runtime, run in runs.items()} == {"PyTorch": each, "compiled loops": 8}
    for key in ("half", "one"):
        np.testing.assert_allclose(found[1]["state"][key], found[2]["state"][key], rtol=1e-5)
    assert found[2]["state"]["vrmse"] == {} and "half a crossing" in found[8]["refused"]


def test_forecasts_share_the_room_that_they_are_written_to(tmp_path):
    room, medium = np.empty(10**5, np.float32), np.ones((1, 2, 16, 16), np.float32)
    states = np.random.default_rng(0).random((3, 2, 16, 16), np.float32)
    model = CompiledForecaster(Forecaster(ForecasterConfig(ranks=(), substeps=4), 2.0))
    for some in (states[:1], states):
        forecasting_all(model, some, medium, 5, room)()
        np.testing.assert_array_equal(
            room[: 10 * some.size // 2].reshape(-1, 5, 2, 16, 16), rollout(model, some, medium, 5)
        )


def test_averages_over_other_cells_keep_the_whole_and_err_by_the_fifth_order():
    """Of a mode between rigid walls, to cells that are larger and smaller; where edges meet edges, by nothing."""
    field = np.random.default_rng(0).random((3, 10, 10))
    np.testing.assert_allclose(averaged(field, 5), field.reshape(3, 5, 2, 5, 2).mean(axis=(2, 4)))
    np.testing.assert_allclose(averaged(field, 8).mean(axis=(1, 2)), field.mean(axis=(1, 2)))

    def mode(cells: int) -> np.ndarray:
        x, y = (cells * np.diff(np.sin(k * np.pi * np.linspace(0, 1, cells + 1))) / (k * np.pi) for k in (5, 3))
        return y[:, None] * x

    for share in (4 / 5, 4 / 3):
        errors = [
            abs(averaged(mode(cells), round(share * cells)) - mode(round(share * cells))).max() for cells in (60, 120)
        ]
        assert 25 < errors[0] / errors[1] < 45 and errors[1] < 2e-9


def test_a_domain_twice_as_large_has_frames_and_waves_of_the_same_cells():
    small, large = (replace(HARDEST, side=side).config(Scale()) for side in (1, 2))
    for one in ("pulse_width", "element_size"):
        assert getattr(large, one) == getattr(small, one) / 2
    assert large.frequency == 2 * small.frequency  # periods a crossing of what is half as long
    assert large.frame_interval * large.grid == small.frame_interval * small.grid
    assert len({one.name for one in solvers(Scale())}) == len(solvers(Scale()))


def test_the_truths_own_mesh_and_degree_are_the_truth_from_either_start(tmp_path):
    """Which shows that both starts are what the truth has at its first frame, and that frames meet frames."""
    pytest.importorskip("dolfinx")
    pytest.importorskip("gmsh", reason="the extra `mesh` is not installed")
    (case,) = cases(HARDEST, QUICK, None, tmp_path, 1, 2, 0)
    found = truth_of(case, tmp_path, None)
    own = errors_of(case, found, Solver("conforming", round(1 / QUICK.elements), QUICK.degree))
    assert max(own["bursts"]["one"]) < 1e-5 and max(own["state"]["one"]) < 1e-3
    again = truth_of(case, tmp_path, found.about)
    np.testing.assert_array_equal(again.pressure, found.pressure)


def test_what_is_shipped_races_without_the_libraries_that_are_not_installed(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "neuralop", None)  # an import of it fails
    names = {path.stem for path in pareto.shipped()}
    assert {"effective", "classical", "classic-unet"} <= names and "fno" not in names
    assert "fno does not race: neuralop" in capsys.readouterr().out


def test_the_race_runs_and_is_not_run_twice(tmp_path, monkeypatch):
    pytest.importorskip("dolfinx")
    pytest.importorskip("gmsh", reason="the extra `mesh` is not installed")
    options = ["--quick", "--media", "1", "--bursts", "1", "--scenarios", HARDEST.name]
    options += ["--folder", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "benchmarks/pareto.py"), *options]
    done = subprocess.run([*command, "--models"], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    seen = [read_lines(tmp_path / "out/runs.jsonl")]
    for more in ([], ["--finished"]):  # here, where all is imported
        model = ["--models", str(ROOT / "data/models/demo/pruned.safetensors")]
        monkeypatch.setattr(sys, "argv", ["pareto.py", *options, *model, *more])
        pareto.main()
        seen.append(read_lines(tmp_path / "out/runs.jsonl"))
    before, after = ([line for line in lines if line["kind"] != "time"] for lines in seen[:2])
    assert after[: len(before)] == before and seen[2] == seen[1]
    assert [(line["kind"], line["run"]["name"]) for line in after[len(before) :]] == [
        ("model", "pruned"), ("errors", "pruned")]  # fmt: skip
    times = [line for line in seen[1] if line["kind"] == "time"]
    last = {line["taken"] for line in times if line["run"]["name"] == "pruned"}
    (panel,) = pareto_panels.panels(seen[1])
    assert {row.taken[1] for row in pareto_panels.decisive(panel, (1, QUICK.several))} == last and len(last) == 1
    assert len(times) == 2 * len([row for row in panel.rows if row.cost() > 0])  # none twice
    tried = {line["packing"] for line in seen[0] if line["kind"] == "trial"}
    assert len(tried) == 1 and not tried & {line["packing"] for line in seen[0] if line["kind"] == "errors"}
    write_lines(
        tmp_path / "out/runs.jsonl",
        [line if line["kind"] != "time" else {**line, "machine": "another"} for line in after],
    )
    (tmp_path / "out/pareto.md").unlink()
    monkeypatch.setattr(sys, "argv", ["pareto.py", *options, "--models", "--finished"])
    pareto.main()
    monkeypatch.setattr(sys, "argv", ["pareto.py", *options, "--finished", "--seed", "7"])
    with pytest.raises(SystemExit, match="nothing is drawn"):
        pareto.main()
    assert "pruned" in (tmp_path / "out/pareto.md").read_text() and (tmp_path / "out/pareto.png").exists()
    error = {line["run"]["name"]: line["bursts"]["one"][0] for line in seen[0] if "bursts" in line}
    assert error["raster 8 x 8, degree 2, order 4"] < error["raster 4 x 4, degree 2, order 4"]
