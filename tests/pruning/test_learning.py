"""A regressor of lifetimes learns what there is to learn and nothing else; its method cuts by it, before training."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from pruning_cases import TRAINING
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scipy.stats import spearmanr
from torch.utils.data import DataLoader
from typer.testing import CliRunner

from wavesim.cli import app
from wavesim.config import PruningConfig
from wavesim.errors import WavesimError
from wavesim.info import info_text
from wavesim.pruning import prune
from wavesim.pruning.beginnings import beginning_of
from wavesim.pruning.features import gradients
from wavesim.pruning.learning import examples, learn, rank_correlation, ranked
from wavesim.pruning.regressor import Regressor, fitted, read_regressor, write_regressor
from wavesim.pruning.scores import prunable
from wavesim.pruning.store import lifetimes_beside, read_lifetimes
from wavesim.surrogate import load
from wavesim.surrogate.data import Windows
from wavesim.viz.runs import find_models
from wavesim.well_dataset import open_split

ONCE = PruningConfig(method="autosparse", restart="rewind", rewind_to=1, density=0.5, iterations=2, multiple=2)
STILL = TRAINING.model_copy(update={"learning_rate": 1e-9})


def drawn(count, seed):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, 2)))


def known(features):
    """Large weights live long, those that the gradient makes larger longer; between 0 and 1."""
    theta, g = features.unbind(-1)
    return torch.sigmoid(theta.abs() - 0.5 * torch.tanh(theta * g))


def of_magnitude():
    """A regressor whose scores rise with |theta| alone: gelu(a x) + gelu(-a x) does, and gelu above zero."""
    regressor = Regressor()
    with torch.no_grad():
        for weight in regressor.parameters():
            weight.zero_()
        first, _, second, _, last = regressor.layers
        first.weight[0, 0], first.weight[1, 0] = 1.0, -1.0
        second.weight[0, :2] = 1.0
        last.weight[0, 0] = 1.0
    return regressor


def test_a_known_function_is_recovered_in_rank_on_weights_not_seen():
    learned, unseen = fitted(drawn(3000, 0), known(drawn(3000, 0)), seed=0), drawn(2000, 1)
    assert rank_correlation(learned.scores(unseen), known(unseen)) > 0.97
    assert rank_correlation(unseen[:, 0].abs(), known(unseen)) < 0.95  # magnitude alone is not the answer


def test_noise_teaches_nothing():
    noise = torch.from_numpy(np.random.default_rng(2).random(5000))
    learned = fitted(drawn(3000, 0), noise[:3000], seed=0)
    assert abs(rank_correlation(learned.scores(drawn(2000, 1)), noise[3000:])) < 0.07  # three standard deviations


def test_a_constant_score_ranks_nothing():
    assert rank_correlation(torch.ones(9), torch.arange(9.0)) == 0


def test_gradients_are_those_of_the_loss(make_forecaster):
    """Against central differences of mean |forecast - truth|^2 / |truth|^2 over one frame, in double precision."""
    model, rng = make_forecaster().double(), np.random.default_rng(0)
    batches = [
        (torch.from_numpy(rng.normal(size=(2, 2, 2, 8, 8))), torch.from_numpy(1 + 0.2 * rng.random((2, 2, 8, 8))))
        for _ in range(2)
    ]

    @torch.no_grad()
    def loss():
        total = 0.0
        for states, media in batches:
            error = model(states[:, 0], model.encode(media)) - states[:, 1]
            total += float((error.square().sum((1, 2, 3)) / states[:, 1].square().sum((1, 2, 3))).mean())
        return total

    found = gradients(model, TRAINING, batches)
    assert found.keys() == prunable(model).keys()
    for name, weight in prunable(model).items():
        place = tuple(int(rng.integers(size)) for size in weight.shape)
        kept, step, values = weight[place].item(), 1e-5, []
        for change in (step, -step, 0):
            with torch.no_grad():
                weight[place] = kept + change
            values.append(loss())
        assert float(found[name][place]) == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4, abs=1e-9)


def test_features_have_the_scale_of_their_layer_and_lifetimes_that_of_their_history(history, standing_waves):
    header, lifetimes = read_lifetimes(history)[1], read_lifetimes(history)[0]
    tensors = examples(history, standing_waves, 0)
    assert header["rewind_to"] == "2" and len(tensors) == len(lifetimes)
    assert min(float(t.lifetimes.min()) for t in tensors) == 0 and max(float(t.lifetimes.max()) for t in tensors) == 1
    for tensor, (name, left) in zip(tensors, lifetimes.items(), strict=True):
        assert tensor.layer == name.rpartition(".")[0]
        torch.testing.assert_close(tensor.lifetimes, left.flatten().double() / 3)  # the strongest see all three rounds
        assert float(tensor.features[:, 1].square().mean()) == pytest.approx(1)
    inward = next(t for t, name in zip(tensors, lifetimes, strict=True) if name == "filters.0.inward")
    assert 0.1 < float(inward.features[:, 0].abs().mean()) < 3


def test_a_folder_that_holds_lifetimes_is_still_one_of_models(history):
    assert {path.suffix for path in history.parent.iterdir()} == {".safetensors", ".lifetimes", ".jsonl"}
    assert f"{history.parent}: a forecaster;" in info_text(history.parent)


def test_a_regressor_beside_the_models_that_it_learned_from_is_none_of_them(history, regressor, tmp_path):
    for path in (history, regressor):
        shutil.copy(path, tmp_path)
    assert list(find_models(tmp_path)) == ["history"]
    assert "broken" not in info_text(tmp_path)


def test_before_any_step_only_the_last_layer_has_a_gradient(trained, standing_waves, tmp_path):
    """It starts at zero. After a single step all have one."""
    before, windows = beginning_of(trained["one-way"]), Windows(open_split(standing_waves, "train"), 2, 0)
    moved = []
    for steps in (0, 1):
        found = gradients(
            before.later(steps, standing_waves, tmp_path), TRAINING, DataLoader(windows, batch_sampler=[[0, 1]])
        )
        moved.append({name for name, gradient in found.items() if gradient.any()})
    assert moved == [{"head.weight"}, set(prunable(before.initial()))]


def test_learning_is_a_function_of_its_seed_and_tells_what_it_held_out(history, standing_waves, tmp_path):
    torch.manual_seed(int(np.random.default_rng().integers(1000)))  # the surroundings do not matter
    rows = [learn([history], standing_waves, tmp_path / name, seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))]
    assert rows[0] == rows[1] != rows[2]
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != (tmp_path / "c").read_bytes()
    (row,), (_, about) = rows[0], read_regressor(tmp_path / "a")
    assert row["held out"] == "layers" and row["weights"] == sum(v.numel() for v in read_lifetimes(history)[0].values())
    assert all(-1 <= row[scorer] <= 1 for scorer in ("regressor", "|theta|", "|g theta|"))
    assert about["held_out"] == [row] and [source["method"] for source in about["sources"]] == ["lottery-ticket"]


def test_another_pruning_is_ranked_by_what_was_learned(history, standing_waves, tmp_path):
    """Scores that rise with |theta| rank as |theta| does, but for ties in single precision."""
    path = tmp_path / "magnitude.safetensors"
    write_regressor(path, of_magnitude(), {})
    row = ranked(path, history, standing_waves)
    assert row["regressor"] == pytest.approx(row["|theta|"], abs=1e-4) and row["|theta|"] != 0
    sums, weights = 0.0, 0
    for tensor in examples(history, standing_waves, 0):
        if len(tensor.lifetimes.unique()) > 1:
            sums += len(tensor.lifetimes) * spearmanr(tensor.features[:, 0].abs(), tensor.lifetimes)[0]
            weights += len(tensor.lifetimes)
    assert row["|theta|"] == pytest.approx(sums / weights) and row["weights"] == weights


def test_of_several_models_each_is_held_out(history, trained, standing_waves, tmp_path):
    other = tmp_path / "other.safetensors"
    config = PruningConfig(method="one-shot-dense", rewind_to=1, rounds=2, iterations=2, multiple=2)
    prune(trained["classical"], standing_waves, config, TRAINING, other)
    rows = learn([history, other], standing_waves, tmp_path / "r.safetensors")
    sizes = [sum(v.numel() for v in read_lifetimes(path)[0].values()) for path in (history, other)]
    assert [row["held out"] for row in rows] == ["layers", "the model of history", "the model of other"]
    assert [row["weights"] for row in rows] == [sum(sizes), *sizes]


def test_a_regressor_of_magnitude_cuts_the_smallest_weights_of_the_beginning_and_trains_from_there(
    trained, standing_waves, tmp_path
):
    write_regressor(tmp_path / "r.safetensors", of_magnitude(), {})
    config = ONCE.model_copy(update={"regressor": tmp_path / "r.safetensors"})
    prune(trained["one-way"], standing_waves, config, STILL, tmp_path / "out.safetensors")
    lifetimes, _ = read_lifetimes(tmp_path / "out.safetensors")
    weights = load(tmp_path / "out.safetensors").network.state_dict()
    early = beginning_of(trained["one-way"]).later(1, standing_waves, tmp_path / "early")
    for name, weight in prunable(early).items():
        kept, size = lifetimes[name] == 1, weight.detach().abs()
        assert int(kept.sum()) == round(0.5 * kept.numel())
        assert float(size[kept].min()) >= float(size[~kept].max()) - 1e-6
        if weights[name].shape == kept.shape:  # no unit of it died
            torch.testing.assert_close(weights[name], weight.detach() * kept, atol=1e-6, rtol=0)


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_the_shuffle_keeps_the_counts_of_each_layer_and_not_the_weights(
    regressor, trained, standing_waves, tmp_path, scope
):
    rows, kept = {}, {}
    for method in ("autosparse", "autosparse-shuffled"):
        out = tmp_path / f"{method}.safetensors"
        config = ONCE.model_copy(update={"method": method, "regressor": regressor, "scope": scope, "rewind_to": 2})
        rows[method] = prune(trained["one-way"], standing_waves, config, TRAINING, out)
        kept[method] = read_lifetimes(out)[0]
    one, other = rows.values()
    assert one[-1]["counts"] == other[-1]["counts"] != one[0]["counts"]
    largest = max(kept["autosparse"], key=lambda name: kept["autosparse"][name].numel())
    assert not torch.equal(kept["autosparse"][largest], kept["autosparse-shuffled"][largest])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"restart": "fine-tune", "rewind_to": 0}, "prunes before training, .* set restart = 'rewind'"),
        ({"regressor": None}, "needs a regressor: .* `wavesim learn-pruning` made"),
        ({"rewind_to": 0}, "with rewind_to 0 these are zero .* set rewind_to to 1 or more"),
        ({"method": "autosparse-shuffled", "rewind_to": 0}, "set rewind_to to 1 or more"),
    ],
)
def test_what_the_method_cannot_do_is_refused(regressor, trained, standing_waves, tmp_path, change, message):
    config = ONCE.model_copy(update={"regressor": regressor, **change})
    with pytest.raises(WavesimError, match=message) as caught:
        prune(trained["one-way"], standing_waves, config, TRAINING, tmp_path / "out.safetensors")
    assert "\n" not in str(caught.value) and not (tmp_path / "out.safetensors").exists()


def test_files_that_are_no_regressor_are_refused(regressor, trained, tmp_path):
    with pytest.raises(WavesimError, match=r"does not exist; `wavesim learn-pruning` makes"):
        read_regressor(tmp_path / "none.safetensors")
    with pytest.raises(WavesimError, match="no regressor of this version"):
        read_regressor(trained["one-way"])
    with safe_open(regressor, "pt") as file:
        header = file.metadata()
    weights, changed = load_file(regressor), tmp_path / "changed.safetensors"
    name = "layers.0.weight"
    for weight in (weights[name][:-1].clone(), weights[name] * torch.nan):
        save_file({**weights, name: weight}, changed, metadata=header)
        with pytest.raises(WavesimError, match="does not hold a regressor's weights, all finite"):
            read_regressor(changed)
    changed.write_bytes(regressor.read_bytes()[:-9])
    with pytest.raises(WavesimError, match="not a whole safetensors file"):
        read_regressor(changed)


def changed_history(history, folder, **changes):
    """A copy whose lifetimes have another header, or, under their names, other values."""
    out = folder / "changed.safetensors"
    lifetimes, header = read_lifetimes(history)
    values = {name: changes.pop(name) for name in list(changes) if name in lifetimes}
    save_file({**lifetimes, **values}, lifetimes_beside(out), metadata={**header, **changes})
    return out


def test_histories_that_teach_nothing_are_refused(history, standing_waves, tmp_path):
    def refused(out, message, data=standing_waves):
        with pytest.raises(WavesimError, match=message) as caught:
            learn(out, data, tmp_path / "r.safetensors")
        assert "\n" not in str(caught.value) and not (tmp_path / "r.safetensors").exists()

    refused([history, history], "given twice")
    refused([tmp_path / "none.safetensors"], "does not exist")
    for changes in ({"restart": "fine-tune"}, {"beginning": ""}):
        refused([changed_history(history, tmp_path, **changes)], "tells nothing of weights before training")
    refused([changed_history(history, tmp_path, rewind_to="0")], "weights before any step, .* rewind_to 1 or more")
    refused([changed_history(history, tmp_path, format="wavesim lifetimes 1")], "another version of wavesim")
    gates = read_lifetimes(history)[0]["gates.weight"]
    refused([changed_history(history, tmp_path, **{"gates.weight": gates[:-1].clone()})], "does not fit the network")
    same = {name: torch.ones_like(values) for name, values in read_lifetimes(history)[0].items()}
    refused([changed_history(history, tmp_path, **same)], "every weight was left in 1 rounds")
    beginning = json.loads(read_lifetimes(history)[1]["beginning"])
    late = changed_history(history, tmp_path, rewind_to=str(beginning["training"]["iterations"]))
    refused([late], "is not before the end of the training")
    other = shutil.copytree(standing_waves, tmp_path / "other")
    (other / "data" / "train" / "more.hdf5").write_bytes(next((other / "data" / "train").iterdir()).read_bytes())
    refused([history], "is of another dataset than", other)


def test_the_command_learns_and_tells_rank_correlations(history, standing_waves, tmp_path):
    out = tmp_path / "r.safetensors"
    result = CliRunner().invoke(app, ["learn-pruning", str(history), "--data", str(standing_waves), "--out", str(out)])
    assert result.exit_code == 0, result.output
    head, row = result.stdout.splitlines()
    assert head.split() == ["held", "out", "weights", "regressor", "|theta|", "|g", "theta|"]
    assert row.split()[0] == "layers" and len(row.split()) == 5
    read_regressor(out)
