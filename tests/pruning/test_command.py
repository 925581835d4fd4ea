"""`wavesim prune` as a user meets it: one command to a smaller forecaster that the window opens, and what it says."""

from __future__ import annotations

import pytest
from pruning_cases import weights_of

from wavesim.config import PruningConfig
from wavesim.pruning.report import why_not
from wavesim.pruning.store import read_rows
from wavesim.surrogate import load
from wavesim.viz.runs import open_run

SMALLER = "[pruning]\nmultiple = 2\neta = 0.5\nrounds = 1\niterations = 2\n"


@pytest.fixture
def prune(here, standing_waves, tmp_path):
    """The command on a model, with settings that are quick; what it wrote to the terminal."""
    (tmp_path / "quick.toml").write_text(SMALLER)

    def call(model, out, *options):
        given = ("--data", standing_waves, "--out", out, "--config", tmp_path / "quick.toml", *options)
        code, said, complaint = here("prune", model, *given)
        return code, said + complaint

    return call


def test_one_command_gives_a_smaller_forecaster_that_the_window_opens(prune, trained, standing_waves, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "waves").symlink_to(standing_waves)
    out = run / "models" / "pruned.safetensors"
    code, said = prune(trained["one-way"], out)
    assert code == 0, said
    dense, small = load(trained["one-way"]), load(out)
    assert small.weights() < dense.weights() and small.macs((12, 12))["frame"] < dense.macs((12, 12))["frame"]
    with open_run(run, live=False) as session:
        assert list(session.models) == ["pruned"]
        session.settle()
        before = session.forecast.copy()
        session.advance()
        session.settle()
        assert session.frames == 1 and (session.forecast != before).any()


def test_a_second_call_says_that_the_first_was_whole(prune, trained, tmp_path):
    out = tmp_path / "out.safetensors"
    assert "whole already" not in prune(trained["one-way"], out)[1]
    before = weights_of(out)["stem.weight"]
    code, said = prune(trained["one-way"], out)
    assert code == 0 and f"{out}: was whole already, and stays as it is" in " ".join(said.split())
    assert (weights_of(out)["stem.weight"] == before).all()
    code, said = prune(trained["one-way"], out, "--iterations", 3)
    assert code == 2 and "pruning.iterations 2 there, 3 now" in said


@pytest.mark.parametrize("method", ["sap", "structured-sap"])
def test_a_budget_that_an_index_does_not_come_to_is_told_with_what_to_raise(prune, trained, tmp_path, method):
    out = tmp_path / "out.safetensors"
    code, said = prune(trained["one-way"], out, "--method", method, "--density", 0.3)
    rows = read_rows(out)
    left, units = rows[-1]["survivors"], rows[0]["survivors"]
    assert code == 0 and 0.35 < left / units < 0.9
    assert f"{left / units:.2g} of {units} units or weights are left, not the 0.3 asked for" in said
    assert "raise rounds, gamma (now 1) or eta (now 0.5)" in said


def test_a_budget_that_is_met_is_not_talked_about(prune, trained, tmp_path):
    for method in ("lottery-ticket", "sap"):
        code, said = prune(trained["one-way"], tmp_path / f"{method}.safetensors", "--method", method, "--density", 0.6)
        assert code == 0 and "asked for" not in said


def test_what_small_tensors_keep_is_told_with_what_to_lower():
    config = PruningConfig(method="lottery-ticket", density=0.1, multiple=8)
    ends = [{"density": 1.0, "parameters": 96, "survivors": 96}, {"density": 0.3, "parameters": 96, "survivors": 26}]
    rows = [{**end, "counts": dict.fromkeys("abc", 32), "pq_index_groups": dict.fromkeys("abc", 0.1)} for end in ends]
    assert "of each of 3 groups 8 stay; lower multiple" in (why_not(rows, config) or "")


def test_settings_say_nothing_of_the_restart_and_a_file_may(prune, trained, here, tmp_path):
    assert "# restart is not set" in here("settings")[1]
    code, said = prune(trained["one-way"], tmp_path / "out.safetensors", "--restart", "rewnd")
    assert code == 2 and "restart" in said
