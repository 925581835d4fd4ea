"""ESPN: every weight gets a gate that a penalty closes, and what is still open when enough are closed stays.

    min over w and c of  L(c w) + alpha |c|_1,    c = 1 at first,
until the share of |c| > 0.01 in each group of the scope is at most the density, or the iterations are over. The largest
|c| stay; where they are closed alike, the largest |w|. Then restart = "rewind" takes their mask alone, "fine-tune" the
weights c w. Cho, Joshi and Hegde, ESPN: extremely sparse pruned networks, arXiv 2006.15741. Published with the scope
"global", and with a count of c > 0.01, though |c| says what stays.

Where ours differs: a subgradient in Adam would have closed gates jump around zero by a whole learning rate, which is
about the 0.01 that counts as open. So the penalty takes its proximal step in Adam's own metric (Yun et al., arXiv
2007.07484), which has the same minima and ends at zero:
    c <- sign(c) max(|c| - eta_t alpha_t / sqrt(v), 0),    v Adam's mean of squares of dL/dc, eta_t the learning rate
And the published alpha was found by trial for each network and density (8e-5 to 1e-3); here it grows until enough gates
are closed,
    alpha_t = 75 / (eta T) (t / T)^3 mean of sqrt(v) over all gates,    eta the peak of eta_t, T the iterations
by which a gate whose gradient is as large as the mean, but has no direction, closes at half of the iterations. sqrt(v)
spans decades: growing as t / T, the penalty closed 30 % of the gates of a small network in 3 of 40 steps. A group that
has few enough open gates is pressed no more, and no step closes one that would have to stay: what stays is open.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import lightning
import torch
from torch import nn
from torch.nn.utils import parametrize

from wavesim.errors import WavesimError
from wavesim.pruning.hooks import LastCounts
from wavesim.pruning.method import Fit, Method
from wavesim.pruning.parts import as_shown, density_now, equal_shares
from wavesim.pruning.plans import network
from wavesim.pruning.quotas import Survivors, in_groups_with, to_density
from wavesim.pruning.run import Run
from wavesim.pruning.scores import Scores, magnitude
from wavesim.surrogate import Forecaster

OPEN = 0.01
STEEPNESS = 75.0
TIE = 1e-9  # times |w| is added to |c|


class Gate(nn.Module):
    """w -> c w."""

    def __init__(self, opened: torch.Tensor):
        super().__init__()
        self.c = nn.Parameter(opened.clone())

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return self.c * weight


def gated(model: Forecaster, opened: Mapping[str, torch.Tensor]) -> dict[str, Gate]:
    """Give weights of a forecaster gates, open where `opened` says.

    Raises:
        WavesimError: a weight that takes no gate.
    """
    gates = {name: Gate(values) for name, values in opened.items()}
    for name, gate in gates.items():
        layer, _, weight = name.rpartition(".")
        try:
            parametrize.register_parametrization(network(model).get_submodule(layer), weight, gate)
        except TypeError as error:  # the factorised tensors of tensorly, which make classes of their own
            raise WavesimError(f"{name} is no plain tensor and takes no gate; prune this network by 'sap'") from error
    return gates


def absorbed(model: Forecaster) -> dict[str, torch.Tensor]:
    """The weights c w by their plain names; the gates are gone."""
    for layer in model.modules():
        for weight in list(getattr(layer, "parametrizations", ())):
            parametrize.remove_parametrizations(layer, weight)
    return model.state_dict()


def alpha_at(step: int, iterations: int, learning_rate: float, strength: float) -> float:
    """alpha_t; `strength` is the mean of sqrt(v)."""
    return STEEPNESS / (learning_rate * iterations) * (step / iterations) ** 3 * strength


def strengths(gates: Mapping[str, Gate], optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """sqrt(v) of every gate, v without its bias towards zero."""
    decay = optimizer.param_groups[0]["betas"][1]
    states = {name: optimizer.state[gate.c] for name, gate in gates.items()}
    return {name: (state["exp_avg_sq"] / (1 - decay ** state["step"].item())).sqrt() for name, state in states.items()}


def sizes(gates: Mapping[str, Gate]) -> Scores:
    """|c|."""
    return {name: gate.c.detach().abs().double().cpu() for name, gate in gates.items()}


@torch.no_grad()
def closed(
    gates: Mapping[str, Gate],
    optimizer: torch.optim.Optimizer,
    alpha: float,
    spared: Callable[[Scores], Survivors] | None = None,
) -> None:
    """The proximal step above, after a step of the optimiser.

    Args:
        spared: from |c| as the step would have it, below zero where it goes beyond, to what it leaves as it is.
    """
    group, before = optimizer.param_groups[0], sizes(gates)
    thresholds = {name: group["lr"] * alpha / (s + group["eps"]) for name, s in strengths(gates, optimizer).items()}
    after = {name: size - thresholds[name].cpu() for name, size in before.items()}
    alone = spared(after) if spared else {}
    for name, gate in gates.items():
        stepped = gate.c.sign() * (gate.c.abs() - thresholds[name]).clamp_min(0)
        gate.c.copy_(torch.where(alone[name].to(stepped.device), gate.c, stepped) if spared else stepped)


class Closing(LastCounts):
    """The penalty above on the gates, until no more of them are open than would stay.

    Args:
        stays: from scores of the gates to what a cut would leave of them. scope: as in quotas.py.
    """

    def __init__(self, gates: Mapping[str, Gate], stays: Callable[[Scores], Survivors], scope: str):
        self.gates, self.stays, self.scope = gates, stays, scope

    def pressed(self) -> Survivors:
        """Groups in which more gates are open than would stay."""
        now = sizes(self.gates)
        left = self.stays(now)
        return in_groups_with({name: (size > OPEN) & ~left[name] for name, size in now.items()}, self.scope)

    def spared(self, after: Scores) -> Survivors:
        """Other groups, and what would have to stay and would be closed."""
        pressed, now = self.pressed(), sizes(self.gates)
        open_first = {name: size.atan() + 4 * (now[name] > OPEN) for name, size in after.items()}
        left = self.stays(open_first)
        return {name: ~pressed[name] | (left[name] & (size <= OPEN)) for name, size in after.items()}

    def enough(self) -> bool:
        """Whether no group is pressed any more."""
        return not any(bool(flags.any()) for flags in self.pressed().values())

    def on_train_start(self, trainer: lightning.Trainer, module: Any) -> None:
        trainer.should_stop = self.enough()  # of a training that was killed after its end

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, *_: Any) -> None:
        optimizer, config = trainer.optimizers[0], module.config
        strength = torch.cat([values.flatten() for values in strengths(self.gates, optimizer).values()]).mean().item()
        alpha = alpha_at(trainer.global_step, config.iterations, config.learning_rate, strength)
        closed(self.gates, optimizer, alpha, self.spared)
        trainer.should_stop = trainer.should_stop or self.enough()

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Any) -> None:
        super().on_train_epoch_end(trainer, module)
        step, config = trainer.global_step, module.config
        if trainer.should_stop and step % config.validate_every and step < config.iterations:
            module.validate()  # which the module does at its own times alone


def with_gates(run: Run, train: Fit) -> Run:
    """The run after gates were closed and absorbed; their |c| are its scores."""
    density, model = density_now(run), copy.deepcopy(run.model)
    if density == 1:
        return run

    def stays(scores: Scores) -> Survivors:
        return to_density(scores, run.survivors, run.settings, density)

    gates = gated(model, {name: left.float() for name, left in run.survivors.items()})
    closing = Closing(gates, stays, run.settings.scope)
    closing.pressed()  # a budget that cannot be met is refused before anything is trained
    train(model, [closing])
    weights = magnitude(run.model)
    scores = {name: gate.c.detach().abs().double() + TIE * weights[name] for name, gate in gates.items()}
    run.model.load_state_dict(absorbed(model))
    return replace(run, scores=scores)


ESPN = Method("espn", "arXiv 2006.15741", score=as_shown, quota=equal_shares, restart="rewind", approach=with_gates)
