"""GReg: the penalty in closed form, on weights that nothing else moves, and against a loss that pulls them back."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pruning_cases import TRAINING

from wavesim.config import PruningConfig
from wavesim.pruning.materialise import apply
from wavesim.pruning.methods.greg import PRESSURE, Growing, penalty
from wavesim.pruning.plans import Keep, Mask, left_by, network, units
from wavesim.pruning.quotas import everything, to_density
from wavesim.pruning.scores import magnitude, prunable
from wavesim.surrogate import load, rollout
from wavesim.surrogate.train import fit

HALF = PruningConfig(density=0.5, multiple=1)


def largest(model):
    scores = magnitude(model)
    return Mask(to_density(scores, everything(scores), HALF, 0.5))


def trained_with(growing, path, data, folder, **changes):
    """The weights before and after a training of that callback's length."""
    model = load(path)
    before = {name: weight.detach().clone() for name, weight in prunable(model).items()}
    update = {"iterations": growing.iterations, "unrolls": (1,), "shares": (1.0,), **changes}
    fit(model, data, TRAINING.model_copy(update=update), 0, folder, callbacks=[growing])
    return before, {name: weight.detach() for name, weight in prunable(model).items()}


def test_the_penalty_grows_to_one_and_holds():
    assert [penalty(step, 90, 0) for step in (0, 10, 25, 50, 90)] == pytest.approx([0, 0.2, 0.5, 1, 1])
    assert [penalty(step, 180, 45) for step in (0, 9, 45, 100, 180)] == pytest.approx([0, 0.002, 0.01, 1, 1])
    assert penalty(50, 180, 45) == pytest.approx(0.01 + 0.99 * 5 / 55)


@pytest.mark.parametrize("iterations", [90, 400, 90_000])
def test_the_penalty_is_as_strong_as_published_however_few_the_steps(iterations):
    """There, of w' = -1e-3 lambda w, lambda growing over 50,000 steps and holding for 40,000: exponents 25 and 40."""
    pressed = [PRESSURE / iterations * penalty(step, iterations, 0) for step in range(1, iterations + 1)]
    grown = round(iterations * 5 / 9)
    assert sum(pressed[:grown]) == pytest.approx(25, rel=0.03)
    assert sum(pressed[grown:]) == pytest.approx(40, rel=0.03)


def test_what_nothing_else_moves_shrinks_by_the_product_of_the_penalties(trained, standing_waves, tmp_path):
    growing = Growing(largest, 18, 0)
    before, after = trained_with(growing, trained["one-way"], standing_waves, tmp_path, learning_rate=1e-12)
    factor = math.prod(1 + 90 / 18 * min(step / 10, 1) for step in range(1, 19))
    for name, left in growing.plan.weights.items():
        torch.testing.assert_close(after[name], torch.where(left, before[name], before[name] / factor))


def test_before_the_pick_all_shrink_alike_and_after_it_what_stays_is_free(trained, standing_waves, tmp_path):
    growing = Growing(largest, 12, 4)
    before, after = trained_with(growing, trained["one-way"], standing_waves, tmp_path, learning_rate=1e-12)
    uniform = math.prod(1 + 90 / 12 * 0.01 * step / 4 for step in range(1, 5))
    for name, left in growing.plan.weights.items():
        torch.testing.assert_close(after[name][left], before[name][left] / uniform)
        assert (after[name][~left].abs() <= before[name][~left].abs() / 20).all()


@pytest.mark.parametrize("first", [0, 10])
def test_what_is_picked_falls_by_more_than_a_hundred_times_against_the_loss(trained, standing_waves, tmp_path, first):
    growing = Growing(largest, 40, first)
    before, after = trained_with(growing, trained["one-way"], standing_waves, tmp_path)
    picked = torch.cat([~left.flatten() for left in growing.plan.weights.values()])
    start, end = (torch.cat([weight.abs().flatten() for weight in found.values()]) for found in (before, after))
    assert start[picked].mean() > 100 * end[picked].mean()
    assert end[~picked].mean() > 0.5 * start[~picked].mean()


@pytest.mark.parametrize("family", ["one-way", "classical"])
def test_pressed_to_zero_the_weights_of_units_forecast_as_without_the_units(make_forecaster, family):
    model, rng = make_forecaster(family), torch.Generator().manual_seed(0)
    keep = Keep(
        {group: torch.randperm(size, generator=rng)[: size // 2].sort().values for group, size in units(model).items()}
    )
    smaller = apply(model, keep)
    with torch.no_grad():
        for name, left in left_by(model, keep).weights.items():
            network(model).get_parameter(name).mul_(left)
    fields = np.random.default_rng(0).random((2, 2, 12, 12)).astype(np.float32)
    state, medium = fields[0], 1 + 0.2 * fields[1]
    np.testing.assert_allclose(rollout(model, state, medium, 3), rollout(smaller, state, medium, 3), atol=1e-5)
