"""The loop: deterministic, resumable, the identity at no budget; what is cut stays cut; rows that say what happened."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from pruning_cases import FAMILIES, SMALL, TRAINING, Killed, assert_equal, timeless, weights_of
from safetensors.torch import load_file

from wavesim.config import ForecasterConfig, PruningConfig
from wavesim.dataset import WaveDataset
from wavesim.errors import WavesimError
from wavesim.pruning import kept, prune
from wavesim.pruning.beginnings import beginning_of
from wavesim.pruning.hooks import Freeze
from wavesim.pruning.plans import Mask, units
from wavesim.pruning.report import nothing_cut, why_not
from wavesim.pruning.run import Job
from wavesim.surrogate import Forecaster, load, rollout, save
from wavesim.surrogate.train import fit, train

BY_WEIGHT = PruningConfig(method="sap", eta=0.2, rounds=2, iterations=6)
BY_UNIT = PruningConfig(method="structured-sap", eta=0.3, rounds=2, iterations=6, multiple=4)


def kill_at(iteration):
    def progress(now, total, error):
        if now == iteration:
            raise Killed

    return progress


def test_nothing_cut_is_told_with_what_to_change(trained, standing_waves, tmp_path):
    nothing = PruningConfig(method="sap", gamma=1e-12, rounds=1, iterations=2)
    rows = prune(trained["one-way"], standing_waves, nothing, TRAINING, tmp_path / "same.safetensors")
    assert "let none of " in (nothing_cut(rows, nothing) or "")
    whole = nothing.model_copy(update={"method": "lottery-ticket", "density": 1.0})
    assert "density 1 leaves all" in (nothing_cut(rows, whole) or "")


def test_a_cut_too_small_for_a_multiple_is_told_with_what_to_change(trained, standing_waves, tmp_path):
    coarse = BY_UNIT.model_copy(update={"multiple": 6, "rounds": 1, "eta": 0.1})
    out = tmp_path / "same.safetensors"
    rows = prune(trained["one-way"], standing_waves, coarse, TRAINING, out)
    assert_equal(weights_of(out), weights_of(trained["one-way"]))
    why = nothing_cut(rows, coarse) or ""
    assert "by a multiple of 6; lower multiple, or raise rounds or eta (now 0.1)" in why and "\n" not in why


@pytest.mark.parametrize("family", FAMILIES)
def test_units_are_cut_round_by_round(trained, standing_waves, tmp_path, family):
    before = units(load(trained[family]))
    rows = prune(trained[family], standing_waves, BY_UNIT, TRAINING, tmp_path / "small.safetensors")
    after = units(load(tmp_path / "small.safetensors"))
    assert all(after[group] % BY_UNIT.multiple == 0 or after[group] == before[group] for group in before)
    assert nothing_cut(rows, BY_UNIT) is None
    assert after["width"] < before["width"] and after["encoder_width"] < before["encoder_width"]
    for smaller, larger in zip(rows[1:], rows[:-1], strict=True):
        for key in ("parameters", "nonzero", "stored_bytes", "macs_per_frame", "density"):
            assert smaller[key] <= larger[key]
    assert rows[-1]["macs_per_frame"] == load(tmp_path / "small.safetensors").macs((12, 12))["frame"]
    assert [json.loads(line) for line in (tmp_path / "small.rounds.jsonl").open()] == rows
    assert [row["round"] for row in rows] == [0, 1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.rounds.jsonl", "small.safetensors"]


@pytest.mark.parametrize("restart", ["rewind", "fine-tune"])
def test_weights_are_cut_as_the_index_says(trained, standing_waves, tmp_path, restart):
    """In global scope with p, q = 1/2, 1 the share that stays is (1 - I) / (1 + eta)^2 of the round before."""
    config = BY_WEIGHT.model_copy(update={"scope": "global", "restart": restart, "multiple": 1})
    rows = prune(trained["one-way"], standing_waves, config, TRAINING, tmp_path / "sparse.safetensors")
    for now, then in zip(rows[1:], rows[:-1], strict=True):
        expected = then["survivors"] * (1 - then["pq_index"]) / (1 + config.eta) ** 2
        assert 0 <= now["survivors"] - math.ceil(expected) <= 1  # one more where the head would have been emptied
        biases = 8 + 32
        assert now["nonzero"] <= now["survivors"] + biases
    result = load(tmp_path / "sparse.safetensors")
    assert sum(int(weight.count_nonzero()) for weight in result.parameters()) == rows[-1]["nonzero"]
    assert rows[-1]["density"] == rows[-1]["nonzero"] / rows[0]["nonzero"]
    assert rows[-1]["stored_bytes"] < rows[0]["stored_bytes"]


def errors_of(path, data, split):
    """Relative L2 errors of the pressure, (frame, trajectory), by rollouts of what the file holds."""
    model, waves = load(path), WaveDataset(data, split)
    found = []
    for index in range(len(waves)):
        truth = waves.window(index, 0, waves.frames)
        forecast = rollout(model, truth[0], waves.medium(index), waves.frames - 1)
        found.append(
            [np.linalg.norm(f[0] - t[0]) / np.linalg.norm(t[0]) for f, t in zip(forecast, truth[1:], strict=True)]
        )
    return np.array(found).T


def test_the_result_is_the_last_round_within_the_error_and_that_one_is_tested(
    trained, standing_waves, tmp_path, monkeypatch
):
    """Validation errors are given here, two a round: before it is retrained, and after."""
    found = iter([0.1, 9, 0.09, 9, 0.13, 9, 0.105, 9, 0.12, 9, 0.111])
    real = Job.errors
    given = lambda job, model, split="valid": (1.0, next(found)) if split == "valid" else real(job, model, split)  # noqa: E731
    monkeypatch.setattr(Job, "errors", given)
    config = PruningConfig(method="lottery-ticket", density=0.2, rounds=8, iterations=2, within=1.1)
    out, networks = tmp_path / "within.safetensors", tmp_path / "networks"
    rows = prune(trained["one-way"], standing_waves, config, TRAINING, out, networks=networks)
    assert [row["validation_error"] for row in rows] == [0.1, 0.09, 0.13, 0.105, 0.12, 0.111]
    assert ["test_error" in row for row in rows] == [False, False, False, True, False, False]
    assert sorted(path.name for path in networks.iterdir()) == [f"round_{k}.safetensors" for k in range(6)]
    assert out.read_bytes() == (networks / "round_3.safetensors").read_bytes()
    assert sum(int(weight.count_nonzero()) for weight in load(out).parameters()) == rows[3]["nonzero"]
    assert rows[3]["test_error"] == pytest.approx(errors_of(out, standing_waves, "test").mean(), rel=1e-4)
    assert rows[3]["test_error"] != pytest.approx(errors_of(out, standing_waves, "valid").mean(), rel=1e-2)
    assert "the result is round 3, the last one within 1.1 times" in (why_not(rows, config) or "")

    found = iter([0.1, 9, 0.12, 9, 0.13])
    out = tmp_path / "none.safetensors"
    rows = prune(trained["one-way"], standing_waves, config, TRAINING, out)
    assert len(rows) == 3
    assert_equal(weights_of(out), weights_of(trained["one-way"]))
    assert "no round is within 1.1 times" in (why_not(rows, config) or "") and "has 1.2 times" in why_not(rows, config)


def test_a_result_of_half_precision_is_stored_and_judged_as_such(trained, standing_waves, tmp_path):
    config, out = BY_WEIGHT.model_copy(update={"half": True}), tmp_path / "half.safetensors"
    rows = prune(trained["one-way"], standing_waves, config, TRAINING, out)
    stored, nonzero = load_file(out), rows[-1]["nonzero"]
    assert stored["values"].dtype == torch.float16 and stored["values"].shape == (nonzero,)
    assert 0 < rows[-1]["stored_bytes"] - math.ceil(rows[-1]["parameters"] / 8) - 2 * nonzero < 170
    assert all(torch.equal(weight, weight.half().float()) for weight in weights_of(out).values())
    assert rows[-1]["validation_error"] == pytest.approx(errors_of(out, standing_waves, "valid").mean(), rel=1e-4)
    whole = prune(trained["one-way"], standing_waves, BY_WEIGHT, TRAINING, tmp_path / "whole.safetensors")
    assert rows[0]["validation_error"] == whole[0]["validation_error"]  # as it came
    assert rows[-1]["validation_error"] == pytest.approx(whole[-1]["validation_error"], rel=0.01)


def test_masked_weights_stay_exactly_zero_through_further_training(trained, standing_waves, tmp_path):
    model = load(trained["one-way"])
    rng = torch.Generator().manual_seed(0)
    masked = {name: torch.rand(weight.shape, generator=rng) < 0.5 for name, weight in model.network.named_parameters()}
    before = {name: weight.clone() for name, weight in model.network.state_dict().items()}
    with torch.no_grad():
        for name, kept in masked.items():
            model.network.get_parameter(name)[~kept] = 0
    fit(model, standing_waves, TRAINING, 0, tmp_path, callbacks=[Freeze(Mask(masked))])
    for name, kept in masked.items():
        weight = model.network.get_parameter(name).detach()
        assert not weight[~kept].any()
        assert (weight[kept] != before[name][kept]).any()  # what is left does learn


@pytest.mark.parametrize("config", [BY_WEIGHT, BY_UNIT], ids=lambda config: config.method)
def test_a_killed_run_goes_on_to_the_same_result(trained, standing_waves, tmp_path, config):
    config = config.model_copy(update={"restart": "rewind"})
    whole = prune(trained["one-way"], standing_waves, config, TRAINING, tmp_path / "whole.safetensors", seed=3)
    out = tmp_path / "killed.safetensors"
    for iteration in (3, 9):  # inside of the first round, inside of the second
        with pytest.raises(Killed):
            prune(trained["one-way"], standing_waves, config, TRAINING, out, seed=3, progress=kill_at(iteration))
        assert not out.exists()
    seen = []
    rows = prune(
        trained["one-way"], standing_waves, config, TRAINING, out, seed=3, progress=lambda now, *_: seen.append(now)
    )
    assert seen == list(range(7, 13))  # the first round is not done again
    assert timeless(rows) == timeless(whole)
    assert_equal(weights_of(out), weights_of(tmp_path / "whole.safetensors"))


def test_a_kill_between_the_last_round_and_its_row_costs_no_row(trained, standing_waves, tmp_path, monkeypatch):
    out = tmp_path / "killed.safetensors"
    keep = kept.keep

    def keep_and_die(run):
        keep(run)
        if len(run.rows) == BY_UNIT.rounds + 1:
            raise Killed

    monkeypatch.setattr(kept, "keep", keep_and_die)
    with pytest.raises(Killed):
        prune(trained["one-way"], standing_waves, BY_UNIT, TRAINING, out)
    monkeypatch.undo()
    rows = prune(trained["one-way"], standing_waves, BY_UNIT, TRAINING, out)
    assert [json.loads(line) for line in (tmp_path / "killed.rounds.jsonl").open()] == rows
    assert [row["round"] for row in rows] == [0, 1, 2]


def test_what_another_run_left_is_refused_and_stays(trained, standing_waves, tmp_path):
    out = tmp_path / "pruned.safetensors"
    with pytest.raises(Killed):
        prune(trained["one-way"], standing_waves, BY_UNIT, TRAINING, out, progress=kill_at(9))
    with pytest.raises(WavesimError, match=r"other settings, model, data or seed; .* delete .*\.pruned\.pruning"):
        prune(trained["one-way"], standing_waves, BY_UNIT, TRAINING, out, seed=1)
    seen = []
    prune(trained["one-way"], standing_waves, BY_UNIT, TRAINING, out, progress=lambda now, *_: seen.append(now))
    assert seen == list(range(7, 13))  # the round that was whole is not lost


def test_what_an_older_version_left_is_refused_and_stays(trained, standing_waves, tmp_path):
    folder = tmp_path / ".pruned.pruning"
    folder.mkdir()
    torch.save({"settings": "0123456789ab", "rows": []}, folder / "run.pt")
    with pytest.raises(WavesimError, match="another version of wavesim"):
        prune(trained["one-way"], standing_waves, BY_UNIT, TRAINING, tmp_path / "pruned.safetensors")
    assert (folder / "run.pt").exists()


def test_same_seed_same_result_and_another_seed_another(trained, standing_waves, tmp_path):
    config = BY_UNIT.model_copy(update={"rounds": 1})
    for name, seed in {"a": 0, "b": 0, "c": 1}.items():
        torch.manual_seed(int(np.random.default_rng().integers(1000)))  # the surroundings do not matter
        prune(trained["one-way"], standing_waves, config, TRAINING, tmp_path / f"{name}.safetensors", seed)
    a, b, c = (weights_of(tmp_path / f"{name}.safetensors") for name in "abc")
    assert_equal(a, b)
    assert not torch.equal(a["stem.weight"], c["stem.weight"])


def test_a_rewind_goes_to_the_weights_before_training(standing_waves, tmp_path):
    """Training that hardly moves leaves them in its file."""
    still = TRAINING.model_copy(update={"learning_rate": 1e-9, "iterations": 2})
    path = train(ForecasterConfig(**SMALL), still, standing_waves, tmp_path / "still.safetensors", seed=5)
    found = beginning_of(path).initial().network.state_dict()
    for name, weight in weights_of(path).items():
        torch.testing.assert_close(found[name], weight, atol=1e-7, rtol=0)
    assert found["stem.weight"].std() > 0.1


def test_a_rewind_without_a_beginning_is_refused(trained, standing_waves, tmp_path, make_forecaster):
    unknown = save(make_forecaster(), tmp_path / "unknown.safetensors")
    config = BY_UNIT.model_copy(update={"restart": "rewind", "rounds": 1})
    with pytest.raises(WavesimError, match="restart = 'fine-tune'"):
        prune(unknown, standing_waves, config, TRAINING, tmp_path / "out.safetensors")
    pruned = tmp_path / "pruned.safetensors"
    prune(trained["one-way"], standing_waves, config, TRAINING, pruned)
    with pytest.raises(WavesimError, match="restart = 'fine-tune'"):
        prune(pruned, standing_waves, config, TRAINING, tmp_path / "out.safetensors")


def test_a_forecaster_is_not_overwritten_by_its_pruned_self(trained, standing_waves):
    with pytest.raises(WavesimError, match="another name"):
        prune(trained["one-way"], standing_waves, BY_UNIT, TRAINING, trained["one-way"])


def test_a_file_with_weights_that_are_not_finite_is_refused(standing_waves, tmp_path, make_forecaster):
    model: Forecaster = make_forecaster()
    with torch.no_grad():
        model.network.stem.weight[0] = float("nan")
    path = save(model, tmp_path / "broken.safetensors")
    with pytest.raises(WavesimError, match="not finite"):
        prune(path, standing_waves, BY_UNIT, TRAINING, tmp_path / "out.safetensors")


def test_exponents_without_an_index_are_refused_by_the_settings():
    with pytest.raises(ValueError, match="must be below q"):
        PruningConfig(p=1, q=1)
