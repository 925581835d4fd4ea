"""ESPN: the proximal step on a problem solved by hand, gates that are absorbed, and a training that ends early."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pruning_cases import TRAINING, watched

from wavesim.config import PruningConfig
from wavesim.pruning import prune
from wavesim.pruning.methods.espn import Closing, Gate, absorbed, alpha_at, closed, gated
from wavesim.pruning.quotas import to_density
from wavesim.pruning.scores import prunable
from wavesim.surrogate import load, rollout
from wavesim.surrogate.train import fit


def test_the_minimum_of_a_quadratic_is_soft_thresholded():
    """min sum h (c - y)^2 / 2 + alpha |c|: c = sign(y) max(|y| - alpha / h, 0)."""
    y = torch.tensor([1.5, 0.9, 0.3, -0.2, -1.0, 0.05])
    h = torch.tensor([1.0, 0.5, 1.0, 3.0, 0.5, 2.0])
    alpha = 0.4
    gate = Gate(torch.ones(6))
    optimizer = torch.optim.Adam(gate.parameters(), lr=0.02)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 1e-3, 2500)
    for _ in range(2500):
        optimizer.zero_grad()
        (h * (gate(torch.ones(6)) - y) ** 2 / 2).sum().backward()
        optimizer.step()
        closed({"w": gate}, optimizer, alpha)
        schedule.step()
    expected = y.sign() * (y.abs() - alpha / h).clamp_min(0)
    torch.testing.assert_close(gate.c.detach(), expected, atol=2e-3, rtol=0)
    assert (gate.c[expected == 0] == 0).all()  # not nearly


def test_the_penalty_grows_with_the_steps_and_the_gradients():
    assert alpha_at(0, 100, 0.01, 3.0) == 0
    assert alpha_at(100, 100, 0.01, 3.0) == pytest.approx(75 * 3.0)
    assert alpha_at(50, 200, 0.01, 3.0) == pytest.approx(75 * 3.0 / 2 / 4**3)


@pytest.mark.parametrize("family", ["one-way", "classical"])
def test_absorbed_gates_leave_the_forecast_as_it_is(make_forecaster, family):
    model = make_forecaster(family)
    names = list(model.state_dict())
    fields = np.random.default_rng(0).random((2, 2, 12, 12)).astype(np.float32)
    state, medium = fields[0], 1 + 0.2 * fields[1]
    plain = rollout(model, state, medium, 3)
    rng = torch.Generator().manual_seed(0)
    gated(model, {name: torch.rand(weight.shape, generator=rng) for name, weight in prunable(model).items()})
    expected = rollout(model, state, medium, 3)
    weights = absorbed(model)
    assert sorted(weights) == sorted(names)
    np.testing.assert_array_equal(rollout(model, state, medium, 3), expected)
    assert np.abs(expected - plain).max() > 1e-2


@pytest.mark.parametrize("restart", ["rewind", "fine-tune"])
@pytest.mark.parametrize("scope", ["global", "layer", "neuron"])
def test_what_stays_is_open_in_every_scope(trained, standing_waves, tmp_path, scope, restart):
    config = PruningConfig(method="espn", scope=scope, density=0.1, iterations=20, multiple=2, restart=restart)
    out = tmp_path / "out.safetensors"
    with watched("espn") as seen:
        rows = prune(trained["one-way"], standing_waves, config, TRAINING, out)
    left = sum(int(weight.count_nonzero()) for weight in prunable(seen.last).values())
    assert rows[-1]["survivors"] == pytest.approx(0.1 * rows[0]["survivors"], rel=0.25)
    assert left > 0.95 * rows[-1]["survivors"]


class Killed(Exception):
    pass


def test_training_ends_when_enough_gates_are_closed_killed_or_not(trained, standing_waves, tmp_path):
    settings = {"iterations": 40, "unrolls": (1,), "shares": (1.0,), "validate_every": 2}

    def found(folder, killed_at=np.inf):
        def progress(now, *_):
            if now == killed_at:
                raise Killed

        model = load(trained["one-way"])
        gates = gated(model, {name: torch.ones_like(weight) for name, weight in prunable(model).items()})
        config = PruningConfig(method="espn", scope="global", density=0.7, multiple=1)
        full = {name: torch.ones_like(gate.c, dtype=torch.bool) for name, gate in gates.items()}
        closing = Closing(gates, lambda scores: to_density(scores, full, config, 0.7), "global")
        training = TRAINING.model_copy(update=settings)
        history = fit(model, standing_waves, training, 0, tmp_path / folder, progress, [closing]).history
        return torch.cat([gate.c.detach().flatten() for gate in gates.values()]), history[-1]["iteration"]

    gates, last = found("whole")
    assert 3 < last < 40
    assert (gates > 0.01).float().mean() == pytest.approx(0.7, abs=0.01)
    with pytest.raises(Killed):
        found("killed", 3)
    for _ in range(2):  # the second as after a kill between the end and what the caller keeps
        again, same = found("killed")
        assert same == last and torch.equal(again, gates)
