"""The race of solvers and forecasters runs from one command, and its words follow from its numbers."""

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
import pareto_figure  # noqa: E402
import pareto_panels  # noqa: E402
import pareto_tables  # noqa: E402
import pareto_tensor  # noqa: E402
from pareto_cases import QUICK, SCENARIOS, Scale, cases  # noqa: E402
from pareto_solvers import Solver, averaged, errors_of, medium_on, solvers  # noqa: E402
from pareto_tensor import tensor_step  # noqa: E402
from pareto_truth import truth_of  # noqa: E402

from wavesim.fem.plan import split  # noqa: E402
from wavesim.provenance import read_lines  # noqa: E402
from wavesim.surrogate.coarse import CoarseStep  # noqa: E402

HARDEST = SCENARIOS[2]
OTHER = [4.0, 1.0]


def lines_of(kind: str, name: str, one: float, milliseconds: float, **more: object) -> list[dict]:
    """Errors in two media, and times of one simulation and of a batch."""
    run = {"kind": kind, "name": name, "family": "raster", "trained": None, "seconds": {}, "parameters": 10, **more}
    run = {"fingerprint": "now", "degree": name, **run}  # each of a kind of its own
    about = {"scenario": HARDEST.name, "run": run}
    found = [{"kind": "model", "run": run}] if kind == "forecaster" else []
    found += [
        {**about, "kind": "errors", "state": {"half": [one / 2], "one": [share * one], "vrmse": {"6-12": one / 4}}}
        for share in (0.5, 1.5)
    ]
    for batch, taken in ((1, milliseconds), (32, milliseconds / 2)):
        times = {"batch": batch, "milliseconds": taken, "median": taken, "runtime": "solver", "seconds": {"a": 1.0}}
        found.append({**about, "kind": "time", **times})
    return found


def truth(one: float) -> dict:
    numbers = {"degree": 5, "cells": 2000, "steps": 60, "meshing": 3.0, "assembly": 2.0}
    return {"kind": "truth", "scenario": HARDEST.name, "half": one / 2, "one": one, **numbers}


SOLVERS = [*lines_of("solver", "coarse", 0.3, 1.0), *lines_of("solver", "fine", 0.04, 100.0)]
PAID = {"trained": [20.0, 5.0], "seconds": {"data": 90.0, "training": 10.0}}


def panel_of(lines: list[dict]) -> pareto_tables.Panel:
    (found,) = pareto_tables.panels(lines)
    return found


def test_the_solver_of_equal_error_is_the_cheapest_that_is_as_good():
    panel = panel_of([truth(0.002), *SOLVERS, *lines_of("forecaster", "network", 0.1, 2.0, **PAID)])
    (ours, theirs) = panel.best()
    assert (ours.name, theirs.name) == ("network", "fine")
    assert "the forecaster wins by 50 times, at an error of 10.0% after one" in pareto_tables.sentence(panel)
    dear = panel_of([truth(0.002), *SOLVERS, *lines_of("forecaster", "network", 0.35, 4.0, **PAID)])
    assert "the solver wins by 4 times, at an error of 35.0%" in pareto_tables.sentence(dear)
    worse = panel_of(
        [truth(0.002), *lines_of("solver", "coarse", 1.05, 9.0), *lines_of("forecaster", "network", 1.1, 2.0)]
    )
    assert "`network` is of no use, at an error of 110.0% after one" in pareto_tables.sentence(worse)


def test_a_solver_also_runs_between_two_sizes_that_were_measured():
    """Errors of the second order and costs of the third, at 10 and 40 cells: 20 cells have an error of 4 and cost 8."""
    solvers = [*lines_of("solver", "10", 0.16, 1.0, degree=2), *lines_of("solver", "40", 0.01, 64.0, degree=2)]
    worse, other = lines_of("solver", "11", 0.2, 1.3, degree=2), lines_of("solver", "other", 0.01, 30.0)
    lines = [truth(0.0001), *solvers, *worse, *other, *lines_of("forecaster", "network", 0.04, 2.0, **PAID)]
    (_, rival) = panel_of(lines).best()
    assert rival.name == "between 10 and 40" and rival.milliseconds == pytest.approx(8.0)
    exact = [*lines, *lines_of("solver", "20", 0.04, 7.0, degree=2)]
    assert panel_of(exact).best()[1].name == "20"


def test_nothing_below_five_times_the_truths_own_error_is_claimed():
    """A forecaster better than that is no better than a solver that reaches it."""
    panel = panel_of([truth(0.01), *SOLVERS, *lines_of("forecaster", "network", 0.001, 2.0, **PAID)])
    assert panel.floor == pytest.approx(0.05)
    assert panel.best()[1].name == "fine" and "at an error of < 5.00%" in pareto_tables.sentence(panel)


def test_a_forecaster_of_another_contrast_speaks_only_where_there_is_none_of_this():
    others = lines_of("forecaster", "foreign", 0.1, 1.0, trained=OTHER)
    own = lines_of("forecaster", "own", 0.1, 4.0, **PAID)
    assert panel_of([truth(0.002), *SOLVERS, *others, *own]).best()[0].name == "own"
    assert panel_of([truth(0.002), *SOLVERS, *others]).best()[0].name == "foreign"


def test_a_forecaster_is_not_at_home_where_anything_else_is_another():
    home = {scenario.name for scenario in SCENARIOS if pareto_panels.trained_there([20.0, 5.0], scenario)}
    assert home == {"contrast (20, 5)"}


def test_a_forecaster_of_several_contrasts_is_at_home_between_them():
    named = {scenario.name: scenario for scenario in SCENARIOS}
    for trained, homes in (
        ([20.0, 5.0], {"contrast (20, 5)"}),
        ([[4.0, 25.0], [1.0, 6.0]], {f"contrast ({at})" for at in ("4, 1", "9, 1", "20, 5", "12, 3")}),
        ([9.0, [1.0, 2.0]], {"contrast (9, 1)"}),
    ):
        found = {
            name
            for name, one in named.items()
            if name.startswith("contrast") and pareto_tables.trained_there(trained, one)
        }
        assert found == homes
    row = lines_of("forecaster", "wide", 0.1, 1.0, trained=[[4.0, 25.0], [1.0, 6.0]])
    assert "wide, trained at (4 to 25, 1 to 6)" in pareto_tables._about("wide", panel_of([truth(0.002), *row]).rows[0])


def test_the_aims_are_told_as_met_or_missed():
    panel = panel_of([truth(0.002), *SOLVERS, *lines_of("forecaster", "network", 0.1, 2.0, **PAID)])
    assert pareto_tables.aims(panel) == (
        "The aims at contrast (20, 5), by `network`: 10.0% after one crossing (5%: missed), "
        "50 times cheaper (50: met), VRMSE 0.025 over frames 6-12 (0.03: met)."
    )


def test_the_summary_has_gains_and_errors():
    lines = [truth(0.002), *SOLVERS, *lines_of("forecaster", "own", 0.2, 4.0, **PAID)]
    lines += lines_of("forecaster", "foreign", 0.3, 4.0, trained=OTHER) + lines_of("forecaster", "lost", 1.2, 1.0)
    table = pareto_tables.summary(pareto_tables.panels(lines))
    assert table[0] == "| trained at | forecaster | (20, 5) |"
    assert table[2:] == [
        "| (20, 5) | `own` | **25 times, 20.0%** |",
        "| (4, 1) | `foreign` | 0.25 times, 30.0% |",
        "|  | `lost` | of no use, 120.0% |",
    ]


def test_a_forecaster_has_paid_when_its_gain_is_what_data_and_training_took(tmp_path):
    """100 s over 98 ms a crossing; in new media both cost 2 s once."""
    lines = [truth(0.002), *SOLVERS, *lines_of("forecaster", "network", 0.1, 2.0, **PAID)]
    pareto_tables.write(lines, tmp_path / "pareto.md", 32, "a machine")
    text = (tmp_path / "pareto.md").read_text()
    assert "| network | fine | 50 | 90 | 10 | 1,020 | 1,020 |" in text
    pareto_figure.draw(lines, tmp_path, 32)
    assert (tmp_path / "pareto.png").stat().st_size > 10_000


def test_what_diverged_has_a_reason_and_no_front():
    lines = lines_of("forecaster", "wild", 0.1, 1.0)
    del lines[1]["state"]
    lines[1]["refused"] = "grew without bound by frame 9"  # in one of two media
    panel = panel_of([truth(0.002), *SOLVERS, *lines])
    assert panel.best() is None and panel.rows[-1].refused.endswith("frame 9")
    assert [row.name for row in pareto_tables.front(panel.rows, panel)] == ["coarse", "fine"]


def test_lines_of_an_earlier_file_of_the_same_name_count_no_more():
    earlier = lines_of("forecaster", "network", 0.01, 1.0, fingerprint="then")
    panel = panel_of([truth(0.002), *SOLVERS, *earlier, *lines_of("forecaster", "network", 0.2, 1.0)])
    assert panel.rows[-1].one == pytest.approx(0.2) and len(panel.rows) == 3


def test_packings_that_are_given_are_unseen_in_every_panel(tmp_path, monkeypatch):
    """Whatever else a scenario changes: forecasters have trained on the others."""
    packings = [replace(packing, name=f"{k:06d}") for k in range(16) for packing in pareto_cases.lattices()[:1]]
    monkeypatch.setattr(pareto_cases, "read", lambda _: packings)
    monkeypatch.setattr(pareto_cases, "_packings", lambda *_: tmp_path)
    for scenario in SCENARIOS:
        splits = split([packing.size_ratio for packing in packings], scenario.config(Scale()))
        found = [int(case.packing.name) for case in cases(scenario, Scale(), tmp_path, tmp_path, 16, 1, 0)]
        assert {splits[k] for k in found} == ({"test"} if scenario.usual else {"train", "valid", "test"})


def test_the_tensor_step_is_the_coarse_step_where_the_density_is_uniform(tmp_path):
    """There the tensor is the identity; 1/kappa is averaged over the same cells."""
    (case,) = cases(replace(HARDEST, density=1.0), QUICK, None, tmp_path, 1, 1, 0)
    medium = torch.from_numpy(medium_on(case, 16)[None])
    plain, step = CoarseStep(case.config.frame_interval * 16, 9), tensor_step(case, 16, 2).coarse
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
    step = tensor_step(case, cells, 2).coarse
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


def test_coarser_cells_hold_the_averages_of_finer_ones_also_where_these_do_not_fit():
    field = np.random.default_rng(0).random((3, 10, 10))
    np.testing.assert_allclose(averaged(field, 5), field.reshape(3, 5, 2, 5, 2).mean(axis=(2, 4)))
    uneven = averaged(field, 8)
    np.testing.assert_allclose(uneven.mean(axis=(1, 2)), field.mean(axis=(1, 2)))
    np.testing.assert_allclose(uneven[:, 0, 0], np.einsum("i,bij,j->b", (0.8, 0.2), field[:, :2, :2], (0.8, 0.2)))


def test_a_batch_costs_no_more_than_its_simulations_one_by_one():
    lines = [truth(0.002), *lines_of("solver", "coarse", 0.3, 1.0)]
    lines[-1]["milliseconds"] = 7.0
    assert panel_of(lines).rows[0].cost(32) == 1.0


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


def test_the_race_runs_and_is_not_run_twice(tmp_path, monkeypatch):
    pytest.importorskip("dolfinx")
    pytest.importorskip("gmsh", reason="the extra `mesh` is not installed")
    options = ["--quick", "--media", "1", "--bursts", "1", "--scenarios", HARDEST.name]
    options += ["--folder", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "benchmarks/pareto.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    seen = [read_lines(tmp_path / "out/runs.jsonl")]
    for more in ([], ["--finished"]):  # here, where all is imported
        model = ["--models", str(ROOT / "data/models/demo/pruned.safetensors")]
        monkeypatch.setattr(sys, "argv", ["pareto.py", *options, *model, *more])
        pareto.main()
        seen.append(read_lines(tmp_path / "out/runs.jsonl"))
    assert seen[1][: len(seen[0])] == seen[0] and seen[2] == seen[1]
    assert [(line["kind"], line["run"]["name"]) for line in seen[1][len(seen[0]) :]] == [
        ("model", "pruned"), ("errors", "pruned"), ("time", "pruned"), ("time", "pruned")]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["pareto.py", *options, "--finished", "--seed", "7"])
    with pytest.raises(SystemExit, match="nothing is drawn"):
        pareto.main()
    assert "pruned" in (tmp_path / "out/pareto.md").read_text() and (tmp_path / "out/pareto.png").exists()
    error = {line["run"]["name"]: line["bursts"]["one"][0] for line in seen[0] if "bursts" in line}
    assert error["raster 8 x 8, degree 2, order 4"] < error["raster 4 x 4, degree 2, order 4"]
