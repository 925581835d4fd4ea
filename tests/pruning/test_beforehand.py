"""What cannot be done is refused before anything is trained or written; what is whole stays as it is."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from pruning_cases import SMALL, TRAINING, Killed, assert_equal, weights_of
from safetensors.torch import save_file
from torch import nn

from wavesim.config import ForecasterConfig, PruningConfig
from wavesim.errors import WavesimError
from wavesim.pruning import METHODS, prune
from wavesim.pruning.beginnings import beginning_of
from wavesim.pruning.plans import require_prunable
from wavesim.pruning.store import lifetimes_beside, read_lifetimes, read_rows, rows_beside
from wavesim.surrogate import Forecaster, load, save
from wavesim.surrogate.checkpoint import read_header
from wavesim.surrogate.train import train

SHORT = PruningConfig(method="lottery-ticket", density=0.5, rounds=2, iterations=2, multiple=2)


def never(*_):
    raise AssertionError("something is trained")


def refused(message, *arguments, **changes):
    """That a call is refused in a line, untrained."""
    with pytest.raises(WavesimError, match=message) as caught:
        prune(*arguments, progress=never, **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"density": 1e-6}, "give at least"),
        ({"density": 0.02, "rounds": 5, "multiple": 8}, "give at least"),  # the last round alone asks for too much
        ({"method": "sap", "density": 1e-6}, "give at least"),
        ({"method": "structured-sap", "density": 1e-6}, "give at least"),
        ({"method": "structured-sap", "scope": "global"}, "scope = 'layer'"),
        ({"method": "structured-greg", "scope": "global"}, "scope = 'layer'"),
        ({"method": "granet-st", "scope": "layer"}, "scope = 'global'"),
        ({"method": "espn", "density": 1e-6}, "give at least"),
        ({"method": "greg-2", "density": 1e-6}, "give at least"),
        ({"method": "random", "like": Path("none.safetensors")}, "does not exist"),
        ({"method": "autosparse", "density": 0.5}, "needs a regressor"),
        ({"rewind_to": 99}, "not before the end of the training"),
        ({"restart": "fine-tune", "rewind_to": 2}, "rewind_to 2 means nothing .* restart = 'fine-tune'.*set restart ="),
        ({"method": "structured-sap", "rewind_to": 2}, "'structured-sap' with restart = 'fine-tune'"),  # by itself
    ],
)
def test_a_refused_call_leaves_nothing_and_does_not_stand_in_the_way(
    trained, standing_waves, tmp_path, changes, message
):
    out = tmp_path / "out.safetensors"
    refused(message, trained["one-way"], standing_waves, SHORT.model_copy(update=changes), TRAINING, out)
    assert not list(tmp_path.iterdir())


def test_a_control_of_more_rounds_than_what_it_is_like_is_refused_at_once(trained, standing_waves, tmp_path):
    like = tmp_path / "like.safetensors"
    prune(trained["one-way"], standing_waves, SHORT, TRAINING, like)
    before = sorted(tmp_path.iterdir())
    longer = SHORT.model_copy(update={"method": "random", "like": like, "rounds": 3})
    refused("pruned in 2 rounds", trained["one-way"], standing_waves, longer, TRAINING, tmp_path / "out.safetensors")
    other = longer.model_copy(update={"rounds": 2})
    refused("another network", trained["classical"], standing_waves, other, TRAINING, tmp_path / "out.safetensors")
    assert sorted(tmp_path.iterdir()) == before


def test_what_a_result_is_made_from_is_not_overwritten(trained, regressor, standing_waves, tmp_path):
    like = tmp_path / "like.safetensors"
    prune(trained["one-way"], standing_waves, SHORT, TRAINING, like)
    rows = rows_beside(like).read_bytes()
    control = SHORT.model_copy(update={"method": "random", "like": like})
    for out in (like, tmp_path / "like.pruned", tmp_path / "." / "like.safetensors"):
        refused("overwrite the model whose counts", trained["one-way"], standing_waves, control, TRAINING, out)
    learned = SHORT.model_copy(update={"method": "autosparse", "regressor": regressor})
    refused("overwrite the regressor", trained["one-way"], standing_waves, learned, TRAINING, regressor)
    assert rows_beside(like).read_bytes() == rows


def test_a_second_call_returns_what_is_whole(trained, standing_waves, tmp_path):
    out = tmp_path / "out.safetensors"
    rows = prune(trained["one-way"], standing_waves, SHORT, TRAINING, out, seed=3)
    before, moved = out.read_bytes(), shutil.copytree(standing_waves, tmp_path / "moved")
    published = SHORT.model_copy(update={"restart": "rewind"})  # what it was by itself
    for data, settings in ((standing_waves, SHORT), (moved, SHORT), (standing_waves, published)):
        assert prune(trained["one-way"], data, settings, TRAINING, out, seed=3, progress=never) == rows
    assert out.read_bytes() == before


def test_another_result_is_not_overwritten(trained, standing_waves, tmp_path):
    out = tmp_path / "out.safetensors"
    prune(trained["one-way"], standing_waves, SHORT, TRAINING, out)
    before = out.read_bytes()
    longer, other = SHORT.model_copy(update={"iterations": 3}), tmp_path / "other"
    shutil.copytree(standing_waves, other)
    (other / "data" / "train" / "more.hdf5").write_bytes(next((other / "data" / "train").iterdir()).read_bytes())
    refused(
        r"pruning\.iterations 2 there, 3 now.*give another --out",
        *(trained["one-way"], standing_waves, longer, TRAINING, out),
    )
    refused("seed 0 there, 1 now", trained["one-way"], standing_waves, SHORT, TRAINING, out, seed=1)
    refused("pruned_from", trained["classical"], standing_waves, SHORT, TRAINING, out)
    refused("data .* there", trained["one-way"], other, SHORT, TRAINING, out)
    assert out.read_bytes() == before
    alone = save(load(trained["one-way"]), tmp_path / "alone.safetensors")
    refused("no result of a pruning", trained["one-way"], standing_waves, SHORT, TRAINING, alone)


def test_a_result_of_a_version_that_told_less_still_counts(trained, standing_waves, tmp_path):
    """Before: no sources, and every restart from the settings."""
    out = tmp_path / "out.safetensors"
    rows = prune(trained["one-way"], standing_waves, SHORT, TRAINING, out)
    about = read_header(out)["about"]
    older = {key: about[key] for key in ("pruning", "training", "seed", "pruned_from", "validation_error")}
    assert older["pruning"]["restart"] == "rewind"
    save(load(out), out, older)
    assert prune(trained["one-way"], standing_waves, SHORT, TRAINING, out, progress=never) == rows


def test_each_method_restarts_as_it_was_published_unless_the_settings_say(trained, standing_waves, tmp_path):
    published = {name for name, method in METHODS.items() if method.restart == "rewind"}
    gone_on = {"structured-sap", "one-shot", "greg-1", "greg-2", "structured-greg", "structured-greg-2",
               "structured-random"}  # fmt: skip
    assert published == METHODS.keys() - gone_on
    found = {}
    for restart in (None, "rewind", "fine-tune"):
        out = tmp_path / f"{restart}.safetensors"
        prune(trained["one-way"], standing_waves, SHORT.model_copy(update={"restart": restart}), TRAINING, out)
        assert read_header(out)["about"]["pruning"]["restart"] == (restart or "rewind")
        assert read_lifetimes(out)[1]["restart"] == (restart or "rewind")
        found[restart] = weights_of(out)
    assert_equal(found[None], found["rewind"])
    assert not torch.equal(found[None]["stem.weight"], found["fine-tune"]["stem.weight"])


def test_a_rewind_into_the_training_takes_the_data_of_that_training(trained, standing_waves, tmp_path):
    other = shutil.copytree(standing_waves, tmp_path / "other")
    (other / "data" / "train" / "more.hdf5").write_bytes(next((other / "data" / "train").iterdir()).read_bytes())
    out, into = tmp_path / "out.safetensors", SHORT.model_copy(update={"rewind_to": 2, "rounds": 1})
    refused(r"another dataset \(hash .*or rewind_to 0", trained["one-way"], other, into, TRAINING, out)
    assert not out.exists() and not (tmp_path / ".out.pruning").exists()
    prune(trained["one-way"], other, into.model_copy(update={"rewind_to": 0}), TRAINING, out)
    assert beginning_of(trained["one-way"]).data == read_header(trained["one-way"])["about"]["data"]["hash"]


@pytest.mark.parametrize("content", ["half", "garbage", "classes", "a list", "a changed one"])
def test_a_broken_half_done_run_is_refused_and_stays(trained, standing_waves, tmp_path, content):
    out, run = tmp_path / "out.safetensors", tmp_path / ".out.pruning" / "run.pt"

    def kill(*_):
        raise Killed

    with pytest.raises(Killed):
        prune(trained["one-way"], standing_waves, SHORT, TRAINING, out, progress=kill)
    whole = run.read_bytes()
    if content == "half":
        run.write_bytes(whole[: len(whole) // 2])
    elif content == "garbage":
        run.write_bytes(b"not a run" * 100)
    elif content == "classes":
        run.write_bytes(pickle.dumps(nn.Linear(2, 2), protocol=2))
    elif content == "a list":
        torch.save([1, 2], run)
    else:
        torch.save({**torch.load(run, weights_only=True), "networks": {}}, run)
    left = run.read_bytes()
    refused(
        r"run\.pt .*delete .* to begin anew, or give another --out",
        *(trained["one-way"], standing_waves, SHORT, TRAINING, out),
    )
    assert run.read_bytes() == left


def test_broken_lifetimes_are_refused(history, tmp_path):
    out = tmp_path / "out.safetensors"
    lifetimes, header = read_lifetimes(history)
    path = lifetimes_beside(out)
    for content in (lifetimes_beside(history).read_bytes()[:-9], b"", b"not lifetimes" * 10):
        path.write_bytes(content)
        with pytest.raises(WavesimError, match="not a whole file of lifetimes"):
            read_lifetimes(out)
    for told in ({}, {"format": header["format"]}, {**header, "format": "wavesim lifetimes 1"}):
        save_file(lifetimes, path, metadata=told)
        with pytest.raises(WavesimError, match="another version of wavesim"):
            read_lifetimes(out)


@pytest.mark.parametrize("lines", ["", '{"round": 0}\n', '3\n{"counts": {}}\n', '{"counts": {}}\n{"round": 1}\n'])
def test_rows_of_an_older_version_are_refused(tmp_path, lines):
    rows_beside(tmp_path / "out.safetensors").write_text(lines)
    with pytest.raises(WavesimError, match="older version"):
        read_rows(tmp_path / "out.safetensors")


def test_shared_and_frozen_weights_are_refused(make_forecaster):
    shared, frozen = make_forecaster("classical"), make_forecaster("classical")
    shared.network.filters[1].weight = shared.network.filters[0].weight
    with pytest.raises(WavesimError, match=r"filters\.0\.weight and filters\.1\.weight share their weights"):
        require_prunable(shared)
    frozen.network.head.weight.requires_grad_(False)
    with pytest.raises(WavesimError, match=r"head\.weight is frozen"):
        require_prunable(frozen)
    require_prunable(make_forecaster("classical"))


def test_a_forecaster_without_weights_is_refused():
    with pytest.raises(WavesimError, match="no weights to prune"):
        require_prunable(Forecaster(ForecasterConfig(ranks=(), substeps=2), 1.0))


@pytest.mark.parametrize(
    ("network", "method", "message"),
    [
        ("unet", "structured-sap", "is not cut in units"),
        ("unet", "structured-greg", "is not cut in units"),
        ("fno", "structured-sap", "is not cut in units"),
        ("fno", "espn", "is no plain tensor"),
        ("fno", "autosparse", "is complex"),
    ],
)
def test_a_method_that_does_not_fit_the_network_is_refused(
    standing_waves, regressor, tmp_path, network, method, message
):
    if network == "fno":
        pytest.importorskip("neuralop")
    config = ForecasterConfig(network=network, **{**SMALL, "width": 8})
    still = TRAINING.model_copy(update={"iterations": 1, "unrolls": (1,), "shares": (1.0,)})
    model = train(config, still, standing_waves, tmp_path / "model.safetensors")
    settings = SHORT.model_copy(update={"method": method, "regressor": regressor, "restart": METHODS[method].restart})
    settings = settings.model_copy(update={"rewind_to": int(method == "autosparse")})
    refused(message, model, standing_waves, settings, still, tmp_path / "out.safetensors")
    assert not (tmp_path / ".out.pruning").exists()


def test_a_network_that_is_not_cut_is_told_the_methods_that_fit_it_and_they_do(standing_waves, tmp_path):
    config = ForecasterConfig(network="effective", **SMALL)
    still = TRAINING.model_copy(update={"iterations": 1, "unrolls": (1,), "shares": (1.0,)})
    model = train(config, still, standing_waves, tmp_path / "model.safetensors")
    default = PruningConfig(iterations=1)
    with pytest.raises(WavesimError, match="is not cut in units") as caught:
        prune(model, standing_waves, default, still, tmp_path / "out.safetensors", progress=never)
    said = str(caught.value).rpartition(": ")[2].split(", ")
    assert set(said) == {name for name, method in METHODS.items() if method.cuts_weights}
    for method in ("sap", "one-shot", "greg-1"):
        out = tmp_path / f"{method}.safetensors"
        rows = prune(model, standing_waves, SHORT.model_copy(update={"method": method, "rounds": 1}), still, out)
        assert method in said and load(out).config == config and rows[-1]["stored_bytes"] < rows[0]["stored_bytes"]


def test_rows_beside_a_whole_result_are_those_that_are_returned(trained, standing_waves, tmp_path):
    out = tmp_path / "out.safetensors"
    rows = prune(trained["one-way"], standing_waves, SHORT, TRAINING, out)
    assert [json.loads(line) for line in rows_beside(out).open()] == rows
    rows_beside(out).unlink()
    refused("does not exist", trained["one-way"], standing_waves, SHORT, TRAINING, out)
