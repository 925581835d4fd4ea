"""What is scored, what goes in each scope, and how structured SAP rounds: on nets and scores made by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from wavesim.config import PruningConfig
from wavesim.errors import WavesimError
from wavesim.pruning.methods.structured_sap import by_layer
from wavesim.pruning.parts import rounded_up
from wavesim.pruning.pq_index import count_to_remove, pq_index
from wavesim.pruning.quotas import everything, pq_bound, surviving_scores, to_density
from wavesim.pruning.scores import importance, magnitude


def spiked(rows: int, columns: int, spikes: int, low: float, high: float) -> torch.Tensor:
    """`spikes` high entries at the start of every row, the rest rising slowly from `low`."""
    rising = low * (1 + torch.arange(rows * columns).reshape(rows, columns) / 1e6)
    rising[:, :spikes] = high
    return rising.double()


def of(config):
    """As much of a run as the parts of a method that are tested here look at."""
    return SimpleNamespace(settings=config)


def left(scores, scope, **changes):
    survivors = pq_bound(
        scores, everything(scores), PruningConfig(method="sap", scope=scope, **{"eta": 0.0, **changes})
    )
    return {name: int(kept.sum()) for name, kept in survivors.items()}


def test_scopes_take_from_where_they_should():
    """A sparse tensor of large weights beside a dense one of small weights."""
    scores = {"large": spiked(2, 20, 2, 1.0, 100.0), "small": spiked(2, 20, 20, 0.1, 0.1)}
    expected = {"large": 40 - count_to_remove(scores["large"]), "small": 40}
    assert left(scores, "layer") == expected  # what is equal is left alone, whatever its size
    everything_at_once = count_to_remove(torch.cat([scores["large"].flatten(), scores["small"].flatten()]))
    assert everything_at_once >= 40
    assert left(scores, "global", multiple=1) == {"large": 79 - everything_at_once, "small": 1}


def test_neuron_scope_looks_at_each_row_alone():
    sparse_row, flat_row = spiked(1, 20, 2, 1.0, 100.0), spiked(1, 20, 20, 0.01, 0.01)
    scores = {"weight": torch.cat((sparse_row, flat_row))}
    survivors = pq_bound(scores, everything(scores), PruningConfig(method="sap", scope="neuron", eta=0.0))["weight"]
    assert survivors.sum(dim=1).tolist() == [20 - count_to_remove(sparse_row), 20]
    assert left(scores, "layer")["weight"] == 40 - count_to_remove(scores["weight"])


def test_neuron_scope_takes_short_rows_together():
    scores = {"short": spiked(4, 15, 2, 1.0, 100.0), "long": spiked(4, 16, 2, 1.0, 100.0)}
    groups = surviving_scores(scores, everything(scores), "neuron")
    assert list(groups) == ["short", "long[0]", "long[1]", "long[2]", "long[3]"]
    assert len(groups["short"]) == 60


def test_the_smallest_survivors_go_and_the_index_is_of_survivors_alone():
    config = PruningConfig(method="sap", scope="layer", eta=0.0)
    scores = {"weight": torch.rand(10, 50, generator=torch.Generator().manual_seed(0)).double() ** 3}
    survivors, counts = everything(scores), []
    for _ in range(3):
        alive = scores["weight"][survivors["weight"]]
        expected = math.floor(len(alive) * (1 - math.ceil(len(alive) * (1 - pq_index(alive))) / len(alive)) + 1e-9)
        before, survivors = survivors["weight"], pq_bound(scores, survivors, config)
        gone = before & ~survivors["weight"]
        assert int(gone.sum()) == expected > 0
        assert scores["weight"][gone].max() < scores["weight"][survivors["weight"]].min()
        counts.append(expected)
    assert counts == sorted(counts, reverse=True)


@pytest.mark.parametrize("scope", ["global", "layer", "neuron"])
def test_no_layer_is_emptied_whatever_the_settings(scope):
    """The strongest stay: eight where there were eight, all where there were fewer."""
    scores = {"a": spiked(2, 20, 1, 1e-9, 1.0), "b": spiked(1, 3, 0, 1e-12, 0.0)}
    config = PruningConfig(method="sap", scope=scope, beta=1.0, gamma=1e6, eta=1e6)
    survivors = pq_bound(scores, everything(scores), config)
    assert int(survivors["a"].sum()) == 8 and survivors["b"].all()
    assert scores["a"][survivors["a"]].min() > scores["a"][~survivors["a"]].max()
    again = pq_bound(scores, survivors, config)
    assert all(torch.equal(again[name], survivors[name]) for name in scores)


def test_biases_are_not_scored(make_forecaster):
    model = make_forecaster()
    assert set(magnitude(model)) == {name for name, _ in model.network.named_parameters()} - {"look_bias", "gates.bias"}


def test_importance_of_a_rank_is_its_product_of_norms(make_forecaster):
    model = make_forecaster()
    layer = model.network.filters[1]
    with torch.no_grad():
        layer.inward[3], layer.outward[:, 3] = 0.5, 2.0  # norms 0.5 sqrt(16), 2 sqrt(16)
        layer.along_x[3], layer.along_y[3] = 0.0, torch.tensor([3.0, 0.0, 4.0]).reshape(1, 3, 1)
    assert importance(model)["filters.1.rank"][3] == pytest.approx(2 * 5 * 8, rel=1e-6)


@pytest.mark.parametrize("convolution", ["one-way", "classical"])
def test_importance_of_a_channel_is_what_makes_it_times_what_reads_it(make_forecaster, convolution):
    model = make_forecaster(convolution)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
        model.network.stem.weight[5] = 1.5  # norm 3 of 4 equal weights
        if convolution == "classical":
            model.network.filters[0].weight[5, 0] = 4 / 3  # norm 4 of 9 equal weights
        else:
            model.network.filters[0].outward[5, :] = math.sqrt(2)  # norm 4 of 8 equal weights
        model.network.head.weight[0, 5] = 7
    worth = importance(model)["width"]
    assert worth[5] == pytest.approx(35, rel=1e-6)
    assert worth.count_nonzero() == 1


def test_widths_are_rounded_up_and_never_lose_a_survivor():
    rng = torch.Generator().manual_seed(0)
    for units in (5, 8, 20, 32):
        scores = {"group": torch.rand(units, generator=rng).double()}
        for survivors in range(1, units + 1):
            alive = torch.zeros(units, dtype=torch.bool)
            alive[torch.randperm(units, generator=rng)[:survivors]] = True
            kept = rounded_up(of(PruningConfig(multiple=8)), scores, {"group": alive}).units["group"]
            assert set(alive.nonzero().flatten().tolist()) <= set(kept.tolist())
            assert len(kept) == units or (len(kept) % 8 == 0 and len(kept) - survivors < 8)
            dropped = torch.ones(units, dtype=torch.bool)
            dropped[kept] = False
            filler = [i for i in kept.tolist() if not alive[i]]
            assert not filler or not dropped.any() or scores["group"][filler].min() >= scores["group"][dropped].max()


def test_structured_sap_refuses_scopes_it_has_no_meaning_for():
    scores = {"width": torch.ones(8)}
    for scope in ("global", "neuron"):
        with pytest.raises(WavesimError, match="scope = 'layer'"):
            by_layer(of(PruningConfig(scope=scope)), scores)


def test_weights_that_are_not_finite_are_refused(make_forecaster):
    model = make_forecaster()
    with torch.no_grad():
        model.network.filters[0].inward[0, 0] = math.nan
    for scores in (magnitude(model), importance(model)):
        with pytest.raises(WavesimError, match="not all finite"):
            pq_bound(scores, everything(scores), PruningConfig())


def test_room_is_counted_against_what_there_was_before_units_were_cut_out():
    """A quarter of 32 units is eight, which 16 that are left have room for."""
    scores, config = {"width": torch.arange(16).double()}, PruningConfig(multiple=8)
    left = to_density(scores, everything(scores), config, 0.25, {"width": 32})
    assert int(left["width"].sum()) == 8
    with pytest.raises(WavesimError, match="leaves 4 of 16, but 8 of each"):
        to_density(scores, everything(scores), config, 0.25)


def test_the_global_scope_leaves_the_head_whole_and_others_give_up_more():
    """The head starts at zero and stays small: its weights would be the first to go."""
    scores = {"filters.weight": spiked(4, 20, 4, 1.0, 9.0), "coefficients.head.weight": spiked(2, 4, 0, 0.01, 0.01)}
    config = PruningConfig(method="lottery-ticket", scope="global", multiple=2)
    found = to_density(scores, everything(scores), config, 0.25)
    assert {name: int(kept.sum()) for name, kept in found.items()} == dict(zip(scores, (14, 8), strict=True))
    with pytest.raises(WavesimError, match="2 of each of 2 tensors and the whole head stay, 10 in all"):
        to_density(scores, everything(scores), config, 0.1)
    for scope in ("layer", "neuron"):
        other = to_density(scores, everything(scores), config.model_copy(update={"scope": scope}), 0.25)
        assert int(other["coefficients.head.weight"].sum()) == 2
