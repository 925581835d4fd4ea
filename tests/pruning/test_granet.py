"""GraNet: densities after every update and at the start in closed form; what is exchanged; which weights count."""

from __future__ import annotations

import lightning
import pytest
import torch
from pruning_cases import TRAINING, weights_of

from wavesim.config import PruningConfig
from wavesim.errors import WavesimError
from wavesim.pruning import prune
from wavesim.pruning.methods.granet import Regrow, density_at, erk, exchanged, exchanged_at
from wavesim.pruning.plans import Mask
from wavesim.pruning.quotas import everything
from wavesim.pruning.scores import magnitude, prunable
from wavesim.surrogate import load
from wavesim.surrogate.train import fit

ITERATIONS, DENSITY = 20, 0.2
CONFIG = PruningConfig(method="granet", scope="global", iterations=ITERATIONS, multiple=1)


class Watched(lightning.Callback):
    """After every step: the mask's count, how many weights are not zero, whether all else is zero in Adam too."""

    def __init__(self, regrow: Regrow):
        self.regrow, self.seen = regrow, []

    def on_train_batch_end(self, trainer, module, *_):
        state, kept, alive, clean = trainer.optimizers[0].state, 0, 0, True
        for name, weight in prunable(module.model).items():
            left = self.regrow.mask.weights[name]
            kept, alive = kept + int(left.sum()), alive + int(weight.count_nonzero())
            clean &= not any(part[~left].any() for part in (weight, *(state[weight][m] for m in MOMENTS)))
        self.seen.append((kept, alive, clean))


MOMENTS = ("exp_avg", "exp_avg_sq")


@pytest.fixture
def regrown(trained, standing_waves, tmp_path):
    """A dense start, trained to a density: the model, its callback, what was seen after each step, the history."""
    model = load(trained["one-way"])
    full = everything(magnitude(model))
    regrow = Regrow(Mask(full), full, CONFIG, DENSITY)
    watched = Watched(regrow)
    training = TRAINING.model_copy(
        update={"iterations": ITERATIONS, "unrolls": (1,), "shares": (1.0,), "validate_every": 2}
    )
    history = fit(model, standing_waves, training, 0, tmp_path, callbacks=[regrow, watched]).history
    return model, regrow, watched.seen, history


def test_the_schedule_is_cubic_until_half_of_the_training():
    assert [density_at(step, 100, 1.0, 0.2) for step in (0, 25, 50, 80)] == pytest.approx([1.0, 0.3, 0.2, 0.2])
    assert density_at(25, 100, 0.5, 0.7) == 0.7  # a start below the end
    assert [exchanged_at(step, 100) for step in (0, 50, 100)] == pytest.approx([0.5, 0.2525, 0.005])


def test_the_density_after_every_update_is_that_of_the_schedule(regrown):
    """An update before each step but the first; 62.5 of them are published, there are 20 steps here."""
    model, _, seen, _ = regrown
    total = sum(weight.numel() for weight in prunable(model).values())
    for step, (kept, alive, clean) in enumerate(seen):
        expected = DENSITY + (1 - DENSITY) * max(1 - 2 * step / ITERATIONS, 0) ** 3
        assert kept == round(expected * total)
        assert clean  # what is cut is zero in the weights and in Adam's moments
        assert 0.9 * kept < alive <= kept  # and what has grown has moved, unless nothing reads it any more


def test_weights_validated_before_the_pruning_ended_do_not_count(regrown):
    model, regrow, _, history = regrown
    total = sum(weight.numel() for weight in prunable(model).values())
    errors = {record["iteration"]: record["validation_error"] for record in history}
    assert min(errors, key=errors.get) <= ITERATIONS // 2  # the denser network was better
    left = regrow.validated.weights
    assert sum(int(part.sum()) for part in left.values()) == round(DENSITY * total)
    assert not any(weight[~left[name]].any() for name, weight in prunable(model).items())


def test_the_smallest_go_and_grow_where_the_gradient_is_largest():
    scores = torch.tensor([[5.0, 1.0, 4.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
    left = scores > 0
    gradient = torch.tensor([[9.0, 0.1, 9.0, 3.0], [2.0, 8.0, 1.0, 4.0]])
    allowed = torch.ones_like(left)
    allowed[1, 1] = False
    kept, after = exchanged(left, scores, gradient, allowed, 0.5)
    assert kept.tolist() == [[True, False, True, False], [False] * 4]
    assert after.tolist() == [[True, False, True, True], [False, False, False, True]]  # one that went came back
    dense = torch.ones_like(left)
    assert exchanged(dense, scores, gradient, dense, 0.5)[0].all()  # nothing to grow, nothing goes


@pytest.mark.parametrize("density", [0.1, 0.5, 0.9])
def test_erk_densities_solve_their_equation(density):
    """Bisection on epsilon, of sum_l min(1, epsilon s_l / n_l) n_l = density sum_l n_l."""
    shapes = {"a": (16, 4, 1, 1), "b": (64, 64, 3, 3), "c": (2, 16, 1, 1), "d": (32, 32, 3, 3)}
    sums = torch.tensor([sum(shape) for shape in shapes.values()], dtype=torch.double)
    sizes = torch.tensor([torch.Size(shape).numel() for shape in shapes.values()], dtype=torch.double)
    low, high = 0.0, 1e6
    for _ in range(200):
        epsilon = (low + high) / 2
        low, high = (
            (epsilon, high) if ((epsilon * sums).minimum(sizes)).sum() < density * sizes.sum() else (low, epsilon)
        )
    assert list(erk(shapes, density).values()) == pytest.approx((epsilon * sums / sizes).clamp_max(1).tolist())


def test_a_sparse_start_takes_the_global_scope_alone(trained, standing_waves, tmp_path):
    config = PruningConfig(method="granet-st", density=0.3, iterations=2, multiple=1)
    with pytest.raises(WavesimError, match=r"'layer' means nothing to granet-st.*scope = 'global'"):
        prune(trained["one-way"], standing_waves, config, TRAINING, tmp_path / "out.safetensors")


def test_it_prunes_where_muon_takes_the_steps(trained, standing_waves, tmp_path):
    """To the same counts; of matrices that has one moment and of others two, and a step of it moves what is masked."""
    config = PruningConfig(method="granet", scope="global", density=0.3, iterations=20)
    muon = TRAINING.model_copy(update={"optimizer": "muon", "learning_rate": 0.02})
    adams, rows = (
        prune(trained["one-way"], standing_waves, config, training, tmp_path / f"{training.optimizer}.safetensors")
        for training in (TRAINING, muon)
    )
    assert rows[-1]["density"] < 0.33
    assert rows[-1]["density"] == pytest.approx(adams[-1]["density"], rel=0.02)  # less what is cut off by others
    left = sum(int(weight.count_nonzero()) for weight in weights_of(tmp_path / "muon.safetensors").values())
    assert left == rows[-1]["nonzero"]
