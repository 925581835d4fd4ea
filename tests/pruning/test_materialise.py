"""A materialised forecaster is small, plain, and forecasts what the masked one does, which takes another path."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from wavesim.config import PruningConfig
from wavesim.errors import WavesimError
from wavesim.pruning import METHODS, materialise
from wavesim.pruning.plans import Keep, Mask, units
from wavesim.pruning.quotas import everything
from wavesim.pruning.report import cost
from wavesim.pruning.run import Run
from wavesim.pruning.scores import magnitude
from wavesim.surrogate import OnnxForecaster, export_onnx, load, rollout, save
from wavesim.surrogate.checkpoint import stored_bytes

GRIDS = ((12, 12), (9, 14))
FAMILIES = ("one-way", "classical")


def forecasts(model, grid):
    """Three frames and the gates, in a medium that varies."""
    rng = np.random.default_rng(grid[1])
    state = rng.normal(size=(2, *grid)).astype(np.float32)
    medium = np.stack([rng.uniform(0.5, 1.0, grid), rng.uniform(1.0, 2.0, grid)]).astype(np.float32)
    return rollout(model, state, medium, 3)


def assert_same_forecast(one, other):
    for grid in GRIDS:
        expected = forecasts(other, grid)
        assert np.abs(forecasts(one, grid) - expected).max() < 1e-5 * np.abs(expected).max()


def with_zeros(model, **zeroed):
    """A copy with zeros written by hand; `zeroed` maps parameter names ('__' for '.') to index expressions."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for name, where in zeroed.items():
            model.network.get_parameter(name.replace("__", "."))[where] = 0
    return model


@pytest.mark.parametrize("convolution", FAMILIES)
@pytest.mark.parametrize("method", ["sap", "structured-sap"])
def test_pruned_equals_masked(make_forecaster, convolution, method):
    model = make_forecaster(convolution)
    config = PruningConfig(method=method, multiple=4, eta=0.6)
    method = METHODS[method]
    first = Run(SimpleNamespace(pruning=config, seed=0), model, {}, model, None, None)
    scores = method.score(first)
    row = {"counts": {name: values.numel() for name, values in scores.items()}}
    run = replace(first, survivors=everything(scores), rows=(row,))
    plan = method.plan(run, scores, method.quota(run, scores))
    masked = copy.deepcopy(model)
    with torch.no_grad():
        if isinstance(plan, Mask):
            for name, kept in plan.weights.items():
                masked.network.get_parameter(name)[~kept] = 0
        else:
            silence(masked, plan)
    smaller = materialise(model, plan)
    assert np.abs(forecasts(smaller, GRIDS[0]) - forecasts(model, GRIDS[0])).max() > 1e-3  # the cut is felt
    assert_same_forecast(smaller, masked)
    if isinstance(plan, Keep):
        assert cost(smaller, GRIDS[0])["macs_per_frame"] < 0.8 * cost(model, GRIDS[0])["macs_per_frame"]


def silence(model, plan):
    """Nobody reads the units that the plan leaves out: written layer by layer, without the table of axes."""
    gone = {
        group: [i for i in range(size) if i not in plan.units[group].tolist()] for group, size in units(model).items()
    }
    model.network.head.weight[:, gone["width"]] = 0
    model.network.gates.weight[:, gone["encoder_width"]] = 0
    for name, layer in model.network.named_modules():
        reads = "encoder_width" if name == "look_further" else "width"
        if name.startswith("filters.") or name == "look_further":
            weight = layer.weight if hasattr(layer, "weight") else layer.inward
            weight[:, gone[reads]] = 0
        if f"{name}.rank" in gone:
            layer.outward[:, gone[f"{name}.rank"]] = 0


@pytest.mark.parametrize("convolution", FAMILIES)
def test_channels_that_nothing_produces_or_nothing_reads_are_cut_out(make_forecaster, convolution):
    model = make_forecaster(convolution)
    reads, makes = ("weight", "weight") if convolution == "classical" else ("inward", "outward")
    unread = {f"filters__{layer}__{reads}": (slice(None), [2, 9]) for layer in range(2)}
    model = with_zeros(model, **unread, head__weight=(slice(None), [2, 9]))
    unmade = {f"filters__{layer}__{makes}": [4] for layer in range(2)}
    model = with_zeros(model, **unmade, stem__weight=[4])
    smaller = materialise(model, Mask({}))
    assert smaller.config == model.config.model_copy(update={"width": 13})
    assert_same_forecast(smaller, model)


@pytest.mark.parametrize(
    "zeroed",
    [
        {"filters__1__inward": [3]},
        {"filters__1__outward": (slice(None), 3)},
        {"filters__1__along_x": [3], "filters__1__along_y": [3]},
    ],
    ids=["inward", "outward", "both axes"],
)
def test_ranks_without_a_part_are_cut_out(make_forecaster, zeroed):
    model = with_zeros(make_forecaster(), **zeroed)
    smaller = materialise(model, Mask({}))
    assert smaller.config == model.config.model_copy(update={"ranks": (8, 7)})
    assert_same_forecast(smaller, model)


def test_a_rank_with_one_axis_left_stays(make_forecaster):
    model = with_zeros(make_forecaster(), filters__1__along_x=[3])
    assert materialise(model, Mask({})).config == model.config


@pytest.mark.parametrize("convolution", FAMILIES)
@pytest.mark.parametrize("bias", ["bias", "no bias"])
@pytest.mark.parametrize("read_again", ["read by the second layer", "read by the gates alone"])
def test_a_constant_encoder_channel_goes_where_its_constant_has_a_place(make_forecaster, convolution, bias, read_again):
    reads, makes = ("weight", "weight") if convolution == "classical" else ("inward", "outward")
    model = with_zeros(make_forecaster(convolution), **{f"look__{makes}": [5], f"look_further__{makes}": [5]})
    if bias == "no bias":
        model = with_zeros(model, look_bias=[5])
    if read_again == "read by the gates alone":
        model = with_zeros(model, **{f"look_further__{reads}": (slice(None), 5)})
    stays = bias == "bias" and read_again == "read by the second layer"
    smaller = materialise(model, Mask({}))
    assert smaller.config.encoder_width == (8 if stays else 7)
    assert_same_forecast(smaller, model)


def test_death_spreads_from_unit_to_unit(make_forecaster):
    """A dead rank was all that made a channel, which was all that another rank read, which was all that made ..."""
    model = make_forecaster()
    with torch.no_grad():
        model.network.filters[0].inward[3] = 0
        for channel, (layer, rank) in {4: (0, 3), 5: (1, 2)}.items():
            model.network.stem.weight[channel] = 0
            for other in model.network.filters:
                other.outward[channel] = 0
            model.network.filters[layer].outward[channel, rank] = 1
        model.network.filters[1].inward[2] = 0
        model.network.filters[1].inward[2, 4] = 1
    smaller = materialise(model, Mask({}))
    assert smaller.config == model.config.model_copy(update={"width": 14, "ranks": (7, 7)})
    assert_same_forecast(smaller, model)


def test_a_layer_that_is_dead_altogether_keeps_one_dead_unit(make_forecaster):
    model = with_zeros(make_forecaster(), filters__0__along_x=slice(None), filters__0__along_y=slice(None))
    model = with_zeros(model, gates__weight=slice(None), look_further__inward=slice(None))
    smaller = materialise(model, Mask({}))
    assert smaller.config == model.config.model_copy(
        update={"ranks": (1, 8), "encoder_width": 1, "encoder_ranks": (4, 1)}
    )
    assert_same_forecast(smaller, model)


def test_nothing_cut_is_the_identity(make_forecaster):
    for convolution in FAMILIES:
        model = make_forecaster(convolution)
        for plan in (Mask({}), Mask(everything(magnitude(model))), Keep({})):
            same = materialise(model, plan)
            assert same is not model and same.config == model.config
            assert all(torch.equal(weight, same.state_dict()[name]) for name, weight in model.state_dict().items())


def test_the_forecaster_that_is_pruned_is_left_alone(make_forecaster):
    model = make_forecaster()
    before = copy.deepcopy(model.state_dict())
    materialise(model, Mask({"stem.weight": torch.zeros(16, 4, 1, 1, dtype=torch.bool)}))
    materialise(model, Keep({"width": torch.arange(8)}))
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_a_plan_that_empties_a_layer_is_refused(make_forecaster):
    with pytest.raises(WavesimError, match=r"keeps nothing of filters\.0\.rank"):
        materialise(make_forecaster(), Keep({"filters.0.rank": torch.tensor([], dtype=torch.long)}))


@pytest.mark.parametrize("convolution", FAMILIES)
def test_a_file_rebuilds_the_pruned_shapes(make_forecaster, tmp_path, convolution):
    plan = {"width": torch.tensor([0, 3, 4, 15]), "encoder_width": torch.tensor([1, 2])}
    if convolution == "one-way":
        plan |= {"filters.0.rank": torch.tensor([7]), "look_further.rank": torch.tensor([0, 5])}
    smaller = materialise(make_forecaster(convolution), Keep(plan))
    again = load(save(smaller, tmp_path / "smaller.safetensors"))
    assert again.config == smaller.config
    assert (again.config.width, again.config.encoder_width) == (4, 2)
    if convolution == "one-way":
        assert (again.config.ranks, again.config.encoder_ranks) == ((1, 8), (4, 2))
    assert np.array_equal(forecasts(again, GRIDS[1]), forecasts(smaller, GRIDS[1]))


def test_onnx_runtime_agrees_with_the_pruned_forecaster(make_forecaster, tmp_path):
    keep = Keep({"width": torch.arange(1, 9), "filters.1.rank": torch.tensor([2, 5, 6])})
    smaller = materialise(make_forecaster(), keep)
    export_onnx(smaller, tmp_path / "smaller", GRIDS[1])
    assert_close = np.testing.assert_allclose
    rng = np.random.default_rng(0)
    state = rng.normal(size=(1, 2, *GRIDS[1])).astype(np.float32)
    medium = rng.uniform(0.8, 1.2, size=(1, 2, *GRIDS[1])).astype(np.float32)
    expected = rollout(smaller, state, medium, 3)
    assert_close(rollout(OnnxForecaster(tmp_path / "smaller"), state, medium, 3), expected, atol=1e-5)


def test_bytes_are_those_of_the_file_and_zeros_take_a_bit_each(make_forecaster, tmp_path):
    model = make_forecaster()
    zeros = with_zeros(model, gates__weight=slice(None))
    weights = sum(weight.numel() for weight in model.parameters())
    for one in (model, zeros):
        file = save(one, tmp_path / "model.safetensors").stat().st_size
        assert stored_bytes(one) < file < stored_bytes(one) + 1500  # the settings in the header
    names = stored_bytes(model) - 4 * weights
    assert 0 < names < 100 * len(model.network.state_dict())
    nonzero = sum(int(weight.count_nonzero()) for weight in zeros.parameters())
    assert 0 < stored_bytes(zeros) - math.ceil(weights / 8) - 4 * nonzero < 170  # two names, and where they lie


@pytest.mark.parametrize("convolution", FAMILIES)
def test_what_a_mask_cuts_leaves_no_minus_zeros_which_would_be_stored(make_forecaster, convolution):
    model = make_forecaster(convolution)
    cut = materialise(model, Mask({name: torch.zeros_like(w) > 0 for name, w in magnitude(model).items()}), 16)
    assert not any(torch.signbit(weight[weight == 0]).any() for weight in cut.parameters())
    assert any((weight == 0).any() for weight in cut.parameters())
