"""The words, tables and figures of the race follow from its numbers."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))  # last: no script takes the name of a package

import pareto_figure  # noqa: E402
import pareto_panels  # noqa: E402
import pareto_tables  # noqa: E402
from pareto_cases import SCENARIOS  # noqa: E402

HARDEST = SCENARIOS[2]
OTHER = [4.0, 1.0]


def lines_of(
    kind: str, name: str, one: float, milliseconds: float, apart: tuple[float, ...] = (), **more: object
) -> list[dict]:
    """Errors in two media, by default half as large and half as large again, and times of one and of a batch."""
    run = {"kind": kind, "name": name, "family": "raster", "trained": None, "seconds": {}, "parameters": 10, **more}
    run = {"fingerprint": "now", "degree": name, **run}  # each of a kind of its own
    about = {"scenario": HARDEST.name, "run": run}
    found = [{"kind": "model", "run": run}] if kind == "forecaster" else []
    for packing, error in zip("ab", apart or (0.5 * one, 1.5 * one), strict=True):
        errors = {"half": [one / 2], "one": [error], "vrmse": {"6-12": one / 4}}
        found.append({**about, "packing": packing, "kind": "errors", "state": errors})
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
    words = pareto_tables.sentence(panel)
    assert "the forecaster wins by 50 times (50 to 50 in its two media), at an error of 10.0 ± 5.0%" in words
    assert "data and training are paid back after 1,020 of them" in words
    dear = panel_of([truth(0.002), *SOLVERS, *lines_of("forecaster", "network", 0.35, 4.0, **PAID)])
    words = pareto_tables.sentence(dear)
    assert "the solver wins by 4 times (4 to 4 in its two media; the aim is 50), at an error of 35" in words
    assert (
        "With a new medium at each crossing (once 1 s, the solver 1 s) data and training are never paid back." in words
    )
    worse = panel_of(
        [truth(0.002), *lines_of("solver", "coarse", 1.05, 9.0), *lines_of("forecaster", "network", 1.1, 2.0)]
    )
    assert "`network` is of no use, at an error of 110.0 ± 55.0% after one" in pareto_tables.sentence(worse)


def test_a_solver_also_runs_between_two_sizes_that_were_measured():
    """Errors of the second order and costs of the third, at 10 and 40 cells: 20 cells have an error of 4 and cost 8."""
    solvers = [*lines_of("solver", "10", 0.16, 1.0, degree=2), *lines_of("solver", "40", 0.01, 64.0, degree=2)]
    worse, other = lines_of("solver", "11", 0.2, 1.3, degree=2), lines_of("solver", "other", 0.01, 30.0)
    lines = [truth(0.0001), *solvers, *worse, *other, *lines_of("forecaster", "network", 0.04, 2.0, **PAID)]
    (_, rival) = panel_of(lines).best()
    assert rival.name == "between 10 and 40" and rival.milliseconds == pytest.approx(8.0)
    exact = [*lines, *lines_of("solver", "20", 0.04, 7.0, degree=2)]
    assert panel_of(exact).best()[1].name == "20"


def test_a_size_of_two_spreads_is_one_size():
    """The line runs from 10 to 40, not from one spread of 40 to the other, which costs 60 and errs 0.05."""
    each = (("10", 0.16, 1.0, 10), ("40", 0.05, 60.0, 40), ("40, spread 0.6", 0.01, 64.0, 40))
    solvers = [
        line for name, one, cost, n in each for line in lines_of("solver", name, one, cost, degree=2, elements=n)
    ]
    (_, rival) = panel_of([truth(0.0001), *solvers, *lines_of("forecaster", "network", 0.04, 2.0, **PAID)]).best()
    assert rival.name == "between 10 and 40, spread 0.6" and rival.milliseconds == pytest.approx(8.0)


def test_milliseconds_of_one_medium_count_by_the_steps_that_all_of_them_take():
    lines = [truth(0.0001), *SOLVERS, *lines_of("forecaster", "network", 0.1, 6.0, **PAID)]
    own = [line for line in lines if line["kind"] != "model" and line.get("run", {}).get("name") == "network"]
    for line in own:
        line |= {"packing": "a"} if line["kind"] == "time" else {"steps": {"a": 6, "b": 7}[line["packing"]]}
    row = next(row for row in panel_of(lines).rows if row.name == "network")
    assert row.cost() == pytest.approx(6.5) and row.milliseconds[32] == pytest.approx((3.25, 3.25)) and row.steps == 7


def test_a_gain_is_known_to_the_jackknifes_error_over_media():
    """Solvers of errors e / 2 and 3 e / 2 in two media, a forecaster with the same in both: between two sizes, of 16
    times the error and 64 times the cost, the gain is as 64^(1/2), without one medium 64^(ln 2 / ln 16), without the
    other 64^(ln 6 / ln 16)."""
    solvers = [*lines_of("solver", "10", 0.16, 1.0, degree=2), *lines_of("solver", "40", 0.01, 64.0, degree=2)]
    for cost, words in ((2.0, "the forecaster wins by 4 times"), (6.0, "the two are even, 1.33 times")):
        panel = panel_of(
            [truth(0.0001), *solvers, *lines_of("forecaster", "network", 0.04, cost, (0.04, 0.04), **PAID)]
        )
        found = panel.known(panel.rows[-1])
        ends = 64 ** (np.log(2) / np.log(16)) / cost, 64 ** (np.log(6) / np.log(16)) / cost
        assert (found.low, found.high) == pytest.approx(ends) and found.error == 0
        assert found.over == "in its two media"
        assert words in pareto_tables.sentence(panel)


def test_what_decides_is_on_a_front_or_what_a_forecaster_is_held_against():
    """`worse` is dearer than `other` and errs as much; but the line from it to `40` is what holds against `network`."""
    kind = [*lines_of("solver", "worse", 0.16, 1.1, degree=2), *lines_of("solver", "40", 0.01, 64.0, degree=2)]
    kind += [*lines_of("solver", "other", 0.16, 1.0), *lines_of("solver", "neither", 0.17, 9.0)]
    panel = panel_of([truth(0.0001), *kind, *lines_of("forecaster", "network", 0.04, 2.0, **PAID)])
    assert {row.name for row in pareto_panels.decisive(panel, (1, 32))} == {"worse", "40", "other", "network"}


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
    for line in lines[-2:]:
        line |= {"machine": "a machine", "taken": "2026-11-24 10:00:00"}
    pareto_tables.write(lines, tmp_path / "pareto.md", 32)
    text = (tmp_path / "pareto.md").read_text()
    assert "One thread of a machine on 2026-11-24 and a machine that earlier lines do not name. Rel" in text
    assert "| network | fine | 50 | 90 | 10 | 1,020 | 1,020 |" in text
    pareto_figure.draw(lines, tmp_path, 32)
    assert (tmp_path / "pareto.png").stat().st_size > 10_000


def test_what_diverged_has_a_reason_and_no_front():
    lines = lines_of("forecaster", "wild", 0.1, 1.0)
    del lines[1]["state"]
    lines[1]["refused"] = "grew without bound by frame 9"  # in one of two media
    panel = panel_of([truth(0.002), *SOLVERS, *lines])
    assert panel.best() is None and panel.rows[-1].refused.endswith("frame 9")
    assert [row.name for row in pareto_panels.front(panel.rows, panel)] == ["coarse", "fine"]


def test_lines_of_an_earlier_file_of_the_same_name_count_no_more():
    earlier = lines_of("forecaster", "network", 0.01, 1.0, fingerprint="then")
    panel = panel_of([truth(0.002), *SOLVERS, *earlier, *lines_of("forecaster", "network", 0.2, 1.0)])
    assert panel.rows[-1].one == pytest.approx(0.2) and len(panel.rows) == 3


def test_a_batch_costs_no_more_than_its_simulations_one_by_one():
    lines = [truth(0.002), *lines_of("solver", "coarse", 0.3, 1.0)]
    lines[-1]["milliseconds"] = 7.0
    assert panel_of(lines).rows[0].cost(32) == 1.0
