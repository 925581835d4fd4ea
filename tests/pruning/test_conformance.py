"""What every method has to do, whatever it is made of: one suite over the whole registry.

Some of it is long for a method that trains before it cuts; all of it is small: standing waves on 12 x 12 cells.
"""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import get_args

import numpy as np
import pruning_cases
import pytest
import torch
from pruning_cases import (
    FAMILIES,
    SMALL,
    Killed,
    Seen,
    alike,
    assert_alike,
    assert_equal,
    timeless,
    watched,
    weights_of,
)

from wavesim.config import ForecasterConfig, PruningConfig
from wavesim.pruning import METHODS, prune
from wavesim.pruning.materialise import materialise
from wavesim.pruning.plans import Keep, Mask, Plan, axes, network, units
from wavesim.pruning.scores import prunable
from wavesim.pruning.store import read_lifetimes, read_rows
from wavesim.surrogate import Forecaster, export_onnx, load, rollout, save, train
from wavesim.surrogate.export import OnnxForecaster
from wavesim.surrogate.loops import in_loops

DENSITY = 0.5
GRIDS = [(12, 12), (17, 9)]
TRAINING = pruning_cases.TRAINING.model_copy(update={"validate_every": 2})  # so that a kill leaves half a training


# Of either family a mask and a cut; of the one with more kinds of tensors every method.
EACH = [*((method, "one-way") for method in METHODS), ("lottery-ticket", "classical"), ("structured-sap", "classical")]
OWN: dict[str, dict[str, object]] = {"granet-st": {"scope": "global"}}  # settings without which a method does not run


@pytest.fixture(scope="module", autouse=True)
def learned(regressor):
    OWN.update({name: {"rewind_to": 1, "regressor": regressor} for name in METHODS if "autosparse" in name})


def settings(method: str, **changes) -> PruningConfig:
    """A short pruning by one method, to half of what it scores."""
    usual = {"density": DENSITY, "iterations": 6, "multiple": 2, "gamma": 10.0, "eta": 0.5}
    return PruningConfig(method=method, **{**usual, **OWN.get(method, {}), **changes})


def fields(*grid: int):
    """A state and a medium, (2, y, x) each, in which the coarse step is stable."""
    state, medium = np.random.default_rng(0).random((2, 2, *grid)).astype(np.float32)
    return state, 1 + 0.2 * medium


def forecast(model: Forecaster, *grid: int):
    return rollout(model, *fields(*grid), 3)


@pytest.fixture(scope="module")
def pruned(trained, standing_waves, tmp_path_factory):
    """method, family -> a forecaster that was pruned to half, once for all tests."""
    folder, made = tmp_path_factory.mktemp("pruned"), {}

    def make(method: str, family: str):
        if (method, family) not in made:
            made[method, family] = folder / f"{method}_{family}.safetensors"
            with watched(method) as seen:
                prune(trained[family], standing_waves, settings(method), TRAINING, made[method, family], seed=3)
            SEEN[method, family] = seen
        return made[method, family]

    return make


SEEN: dict[tuple[str, str], Seen] = {}


def silenced(model: Forecaster, plan: Plan) -> Forecaster:
    """The dense network with zeros: in what a mask cuts, or in what reads the units that are cut out."""
    silent, sizes = copy.deepcopy(model), units(model)
    with torch.no_grad():
        for name, kept in plan.weights.items() if isinstance(plan, Mask) else ():
            network(silent).get_parameter(name)[~kept] = 0
        for name, groups in axes(model).items() if isinstance(plan, Keep) else ():
            for read in groups[1:]:
                kept = plan.units.get(read, torch.arange(sizes.get(read, 0))).tolist()
                gone = [unit for unit in range(sizes.get(read, 0)) if unit not in kept]
                network(silent).get_parameter(name)[:, gone] = 0
    return silent


def with_dead_units(model: Forecaster, plan: Plan) -> Plan:
    """The plan and, where it is a mask, nothing left of three hidden channels and one of the encoder."""
    if isinstance(plan, Keep):
        return plan
    left = {name: kept.clone() for name, kept in plan.weights.items()}
    for name, groups in axes(model).items():
        for axis, group in enumerate(groups):
            if name in left and group in ("width", "encoder_width"):
                left[name].transpose(0, axis)[:3] = False
    return Mask(left)


def test_the_settings_know_every_method():
    assert set(METHODS) == set(get_args(PruningConfig.model_fields["method"].annotation))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_says_where_it_was_published_or_that_it_was_not(method):
    assert "arXiv" in METHODS[method].reference


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", METHODS)
def test_the_budget_is_met(pruned, method, family):
    """Half of what is scored is left in every tensor of weights, and in every group of units; or in all together.

    Of single weights that are left hardly any is zero.
    """
    rows = read_rows(pruned(method, family))
    if "scope" in OWN.get(method, {}):
        assert rows[-1]["survivors"] == round(DENSITY * rows[0]["survivors"])
    else:
        for name, left in rows[-1]["counts"].items():
            assert left == pytest.approx(DENSITY * rows[0]["counts"][name], abs=1), name
    totals = [row["survivors"] for row in rows]
    assert totals == sorted(totals, reverse=True) and totals[-1] < totals[0]
    if METHODS[method].cuts_weights:
        kept = {name: int(w.count_nonzero()) for name, w in prunable(SEEN[method, family].last).items()}
        assert all(0.9 * rows[-1]["counts"][name] <= left <= rows[-1]["counts"][name] for name, left in kept.items())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", METHODS)
def test_what_is_cut_stays_cut_through_further_training(pruned, method, family):
    """After the last training there are no more weights than the rounds left."""
    rows, model = read_rows(pruned(method, family)), load(pruned(method, family))
    assert sum(int(weight.count_nonzero()) for weight in model.parameters()) == rows[-1]["nonzero"]
    if METHODS[method].cuts_weights:
        unscored = sum(weight.numel() for name, weight in model.network.named_parameters() if weight.ndim < 4)
        assert rows[-1]["nonzero"] <= rows[-1]["survivors"] + unscored
        lifetimes, header = read_lifetimes(pruned(method, family))
        assert header["method"] == method
        last = len(rows) - 1
        assert {name: int((left == last).sum()) for name, left in lifetimes.items()} == rows[-1]["counts"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", METHODS)
def test_materialised_forecasts_as_the_dense_network_with_zeros_does(pruned, make_forecaster, method, family):
    """The first cut of each method, of a forecaster whose every weight is felt; a mask has dead units besides."""
    pruned(method, family)
    dense = make_forecaster(family)
    plan = with_dead_units(dense, SEEN[method, family].plan)
    small, masked = materialise(dense, plan), silenced(dense, plan)
    assert small.weights() < masked.weights() == dense.weights()
    for grid in GRIDS:
        expected = forecast(masked, *grid)
        np.testing.assert_allclose(forecast(small, *grid), expected, atol=1e-5 * np.abs(expected).max())
        assert np.abs(forecast(dense, *grid) - expected).max() > 1e-2 * np.abs(expected).max()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", METHODS)
def test_the_file_forecasts_as_the_last_network_with_its_zeros_does(pruned, method, family):
    written, last = load(pruned(method, family)), SEEN[method, family].last
    for grid in GRIDS:
        expected = forecast(last, *grid)
        np.testing.assert_allclose(forecast(written, *grid), expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_materialised_forecasts_as_masked_does_and_is_brought_up_to_multiples(make_forecaster, family, grid):
    """Zeros in whole rows and columns, as pruning leaves them at its end, on two grids."""
    model, rng = make_forecaster(family), torch.Generator().manual_seed(0)
    dead = torch.randperm(model.config.width, generator=rng)[:11]
    keep = {name: torch.rand(w.shape, generator=rng) < 0.6 for name, w in model.network.named_parameters()}
    keep["stem.weight"][dead] = False
    for name, kept in keep.items():
        if name.startswith("filters") and name.endswith((".outward", ".weight")):
            kept[dead] = False
    small = materialise(model, Mask(keep), multiple=4)
    masked = materialise(model, Mask(keep), multiple=model.config.width)
    assert small.config.width == 8 and masked.config.width == model.config.width  # five live: brought up to eight
    expected = forecast(silenced(model, Mask(keep)), *grid)
    for one in (small, masked):
        np.testing.assert_allclose(forecast(one, *grid), expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(("method", "family"), EACH)
def test_same_seed_same_result(pruned, trained, standing_waves, tmp_path, method, family):
    torch.manual_seed(int(np.random.default_rng().integers(1000)))  # the surroundings do not matter
    again = tmp_path / "again.safetensors"
    rows = prune(trained[family], standing_waves, settings(method), TRAINING, again, seed=3)
    assert timeless(rows) == timeless(read_rows(pruned(method, family)))
    assert_equal(weights_of(again), weights_of(pruned(method, family)))


@pytest.mark.parametrize(("method", "family"), EACH)
def test_killed_and_resumed_same_result(pruned, trained, standing_waves, tmp_path, method, family):
    out = tmp_path / "killed.safetensors"

    def call(killed_at=np.inf):
        def progress(now, *_):
            if now >= killed_at:  # a training may end before its last iteration
                raise Killed

        return prune(trained[family], standing_waves, settings(method), TRAINING, out, 3, progress)

    rows = read_rows(pruned(method, family))
    trained_last = max(now["round"] for then, now in pairwise(rows) if now["survivors"] < then["survivors"])
    each = METHODS[method].trainings * settings(method).iterations
    last = trained_last * each  # an adaptive quota may meet the budget before its last round
    for iteration in (3, last - 1):  # inside of the first training and of the last
        with pytest.raises(Killed):
            call(iteration)
        assert not out.exists()
    assert alike(timeless(call()), timeless(rows))
    assert_alike(weights_of(out), weights_of(pruned(method, family)))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", METHODS)
def test_a_whole_budget_is_the_identity(trained, standing_waves, tmp_path, family, method):
    """But for methods that train while they prune, and after that no more: these leave every weight, trained."""
    everything = settings(method, density=1.0, rounds=1, iterations=2)
    out = tmp_path / "same.safetensors"
    rows = prune(trained[family], standing_waves, everything, TRAINING, out)
    assert {row["density"] for row in rows} == {1.0}
    if METHODS[method].retrains:
        assert_equal(weights_of(out), weights_of(trained[family]))
        assert rows[0]["validation_error"] == rows[1]["validation_error"]


@pytest.mark.parametrize("method", ["granet-st", "greg-2", "espn"])
def test_what_trains_before_it_cuts_can_rewind(trained, standing_waves, tmp_path, method):
    """From the weights before training, so that the result is another; within the same budget."""
    config, out = settings(method, restart="rewind"), tmp_path / "rewound.safetensors"
    rows = prune(trained["one-way"], standing_waves, config, TRAINING, out, seed=3)
    assert rows[-1]["survivors"] == pytest.approx(DENSITY * rows[0]["survivors"], abs=len(rows[0]["counts"]))
    assert np.isfinite(rows[-1]["validation_error"])


@pytest.mark.parametrize(("method", "family"), EACH)
def test_the_result_round_trips_and_its_graphs_agree(pruned, tmp_path, method, family):
    pytest.importorskip("onnxruntime")
    model = load(pruned(method, family))
    again = load(save(model, tmp_path / "again.safetensors"))
    assert again.config == model.config
    assert_equal(again.network.state_dict(), model.network.state_dict())
    state, medium = fields(12, 12)
    export_onnx(model, tmp_path / "model", (12, 12))
    expected = rollout(model, state, medium, 4)
    for other in (OnnxForecaster(tmp_path / "model"), in_loops(model)):
        np.testing.assert_allclose(rollout(other, state, medium, 4), expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("method", METHODS)
def test_rows_say_what_happened(pruned, method):
    rows = read_rows(pruned(method, "one-way"))
    wanted = {"round", "method", "pq_index", "gini_index", "density", "survivors", "counts", "parameters", "nonzero",
              "stored_bytes", "macs_per_frame", "milliseconds", "masked_milliseconds", "one_step_error",
              "validation_error", "validation_error_before_retraining", "seconds"}  # fmt: skip
    for number, row in enumerate(rows):
        assert row["round"] == number and row["method"] == method
        assert wanted <= row.keys()
        assert 0 < row["one_step_error"] < row["validation_error"] * 10
    assert "test_error" in rows[-1] and not any("test_error" in row for row in rows[:-1])


@pytest.mark.slow
def test_every_method_beside_the_random_control(standing_waves, tmp_path):
    """At equal counts in each tensor or group of units, from the same network, with as many steps of training: what
    each method makes of knowing what to keep. Losses are shown, not hidden: no method is asked to win.
    """
    longer = TRAINING.model_copy(update={"iterations": 100, "validate_every": 20})
    dense = train(ForecasterConfig(**SMALL), longer, standing_waves, tmp_path / "dense.safetensors")
    differences = {}
    for method in (name for name in METHODS if not name.endswith("random")):
        of_random = "random" if METHODS[method].cuts_weights else "structured-random"
        density = 0.2 if METHODS[method].cuts_weights else 0.4
        config = settings(method, density=density, iterations=40)
        each = METHODS[method].trainings * config.iterations
        for seed in range(3):
            out, control = (tmp_path / f"{name}_{seed}.safetensors" for name in (method, f"like_{method}"))
            found = prune(dense, standing_waves, config, longer, out, seed)[-1]
            same = {"rounds": METHODS[method].rounds, "restart": METHODS[method].restart, "rewind_to": config.rewind_to}
            alike = settings(of_random, density=density, iterations=each, like=out, **same)
            other = prune(dense, standing_waves, alike, longer, control, seed)[-1]
            assert found["counts"] == other["counts"]
            errors = found["validation_error"], other["validation_error"]
            assert np.isfinite(errors).all()
            differences.setdefault(method, []).append(errors)
    print("\nvalidation error (method / random at equal counts), three seeds")
    for method, pairs in differences.items():
        wins = sum(one < other for one, other in pairs)
        print(f"{method:20}", *(f"{one:.4f} / {other:.4f}" for one, other in pairs), f"  better {wins} of {len(pairs)}")


def test_the_index_of_a_row_is_of_the_network_and_not_of_what_was_drawn(pruned):
    """1 - mean(|w|^(1/2))^2 / mean |w|, of the weights that are left; of the control's random numbers it would be 1/9
    cut off at its middle."""
    row, model = read_rows(pruned("random", "one-way"))[-1], load(pruned("random", "one-way"))
    for name in ("stem.weight", "head.weight"):
        left = model.network.get_parameter(name).detach().double().abs().flatten()
        left = left[left > 0].numpy()
        assert len(left) == row["counts"][name]
        assert row["pq_index_groups"][name] == pytest.approx(1 - np.sqrt(left).mean() ** 2 / left.mean(), rel=1e-5)
