"""GReg: growing regularisation. What is to go is pressed towards zero, ever more, before it is cut.

    w <- w / (1 + s lambda(t)) after every step of the optimiser, for all w that are to go
    greg-1    what is to go is picked at once, by |w|; lambda grows from 0 to 1 over the first 5/9 of the steps, and
              holds
    greg-2    lambda grows from 0 to 0.01 for all weights over the first quarter: those that matter less to the loss
              give way further. Then the pick; the others are left to the loss alone, and lambda goes on to 1 as above
    structured-greg, structured-greg-2    as these, by the importance of units; pressed are, before the pick, all
              weights, and then those of the units that will be cut out
Wang et al., Neural pruning via growing regularization, ICLR 2021, arXiv 2012.09243. Published: lambda grows by 1e-4
every 5 steps to 1 (50,000 steps) and holds for 40,000, sooner where kept weights are in the mean 1000 times as large;
before the pick by 1e-5. Where ours differs:
    - a penalty lambda |w|^2 / 2 in the gradient does nothing more for a larger lambda where Adam divides the gradient
      by its size: what is pressed would go to zero by one learning rate a step, and then around it. So it acts on the
      weight alone, past Adam and the clipping, as decay does in arXiv 1711.05101; and as the proximal step of that
      penalty, which is stable for every s lambda
    - s = 90 / T stands for the published learning rate of 1e-3 where there were 90,000 steps and here are T: what is
      pressed shrinks by some exp(25) while lambda grows, and some exp(40) while it holds, as published, whatever T
    - lambda grows at every step, and does not wait for the ratio of 1000, which it comes to anyway
    - the pick comes after a quarter of the steps, not a twentieth, which would be a dozen of a low learning rate
    - kept weights lose their 0.01 at once, not at the published rate, which takes 1 % of the time of growth
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import lightning
import torch

from wavesim.pruning.hooks import LastCounts
from wavesim.pruning.method import Fit, Method
from wavesim.pruning.parts import as_shown, density_now, equal_shares, require_layer_scope, rounded_up
from wavesim.pruning.plans import Keep, Mask, Plan, left_by, network
from wavesim.pruning.quotas import Survivors, to_density
from wavesim.pruning.run import Run
from wavesim.pruning.scores import Scores, importance, magnitude
from wavesim.surrogate import Forecaster

GROWTH = 5 / 9
PRESSURE = 90.0  # learning rate times steps
PICK, PICK_LIMIT = 0.25, 0.01


def penalty(step: int, iterations: int, first: int) -> float:
    """lambda(t) after `step` steps, the pick coming after the `first`; 1 from GROWTH of the iterations on."""
    if step <= first:
        return PICK_LIMIT * step / first if first else 0.0
    low = PICK_LIMIT if first else 0.0
    return min(low + (1 - low) * (step - first) / (GROWTH * iterations - first), 1.0)


class Growing(LastCounts):
    """The penalty above on all that `plan` does not leave; before the pick, on all weights that are scored."""

    def __init__(self, pick: Callable[[Forecaster], Plan], iterations: int, first: int):
        self.pick, self.iterations, self.first = pick, iterations, first
        self.plan: Plan | None = None

    def on_train_batch_start(self, trainer: lightning.Trainer, module: Any, *_: Any) -> None:
        if self.plan is None and trainer.global_step >= self.first:
            self.plan = self.pick(copy.deepcopy(module.model).cpu())

    @torch.no_grad()
    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, *_: Any) -> None:
        now = PRESSURE / self.iterations * penalty(trainer.global_step, self.iterations, self.first)
        if self.plan is None:
            scored = magnitude(module.model)
            left = Mask({name: torch.zeros_like(values, dtype=torch.bool) for name, values in scored.items()})
        else:
            left = left_by(module.model, self.plan)
        for name, stays in left.weights.items():
            weight = network(module.model).get_parameter(name)
            weight.div_(1 + now * (~stays).to(weight))

    def state_dict(self) -> dict[str, Any]:
        return {name: dict(left) for name, left in vars(self.plan).items()} if self.plan else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if state_dict:
            self.plan = Mask(**state_dict) if "weights" in state_dict else Keep(**state_dict)


def weights_to_keep(run: Run, model: Forecaster) -> Plan:
    """The largest |w|."""
    return Mask(equal_shares(run, magnitude(model)))


def units_to_keep(run: Run, model: Forecaster) -> Plan:
    """The most important units, up to a multiple."""
    scores = importance(model)
    return rounded_up(run, scores, units_by_density(run, scores))


def units_by_density(run: Run, scores: Scores) -> Survivors:
    """The share `density` of each group of units.

    Raises:
        WavesimError: another scope than "layer", or a density below what has to stay.
    """
    require_layer_scope(run)
    return to_density(scores, run.survivors, run.settings, density_now(run), run.rows[0]["counts"])


def pressed(run: Run, train: Fit, pick: Callable[[Run, Forecaster], Plan], share: float) -> Run:
    """The run after the training above; the pick decides what is cut."""
    pick(run, run.model)  # a budget that cannot be met is refused before anything is trained
    if density_now(run) == 1:
        return run
    growing = Growing(partial(pick, run), run.settings.iterations, round(share * run.settings.iterations))
    train(run.model, [growing])
    plan = growing.plan
    if isinstance(plan, Mask):
        scores, left = magnitude(run.model), dict(plan.weights)
    else:
        assert plan is not None
        scores = importance(run.model)
        left = {group: torch.zeros_like(values, dtype=torch.bool) for group, values in scores.items()}
        for group, kept in plan.units.items():
            left[group][kept] = True
    return replace(run, scores={name: left[name] * (1 + values) for name, values in scores.items()})


def as_picked(run: Run) -> Scores:
    """What the pick says; importance before it and after the cut."""
    return run.scores or importance(run.model)


GREG_1 = Method(
    "greg-1",
    "arXiv 2012.09243",
    score=as_shown,
    quota=equal_shares,
    restart="fine-tune",
    approach=partial(pressed, pick=weights_to_keep, share=0.0),
)
GREG_2 = replace(GREG_1, name="greg-2", approach=partial(pressed, pick=weights_to_keep, share=PICK))
STRUCTURED_GREG = Method(
    "structured-greg",
    "arXiv 2012.09243",
    score=as_picked,
    quota=units_by_density,
    restart="fine-tune",
    plan=rounded_up,
    approach=partial(pressed, pick=units_to_keep, share=0.0),
    cuts_weights=False,
)
STRUCTURED_GREG_2 = replace(
    STRUCTURED_GREG, name="structured-greg-2", approach=partial(pressed, pick=units_to_keep, share=PICK)
)
