"""GraNet: what is left is pruned ever more while the network trains, and the smallest of it grow anew elsewhere.

    density   d(t) = d_f + (d_i - d_f) (1 - t / t_f)^3 until t_f, then d_f
    r(t)      0.005 + 0.495 (1 + cos(pi t / T)) / 2
Every `interval` steps, (1) the smallest |w| go until d(t) is left; (2) of what each tensor has left, the share r(t)
with the smallest |w| goes as well, and as many grow from zero where |dL/dw| is largest among what is cut. "granet"
starts dense, d_i = 1; "granet-st" at d_i = 0.5, shared out as Erdos-Renyi graphs with kernels (ERK) are:
    d_l = min(1, epsilon (sum of the dimensions of w_l) / (their product))
Liu et al., Sparse training via boosting pruning plasticity with neuroregeneration, NeurIPS 2021, arXiv 2106.10404.

It is the whole training, from where the restart says; published is the scope "global". t_f = T / 2
and 62.5 intervals in T: the published 1000 steps of 160 epochs of 391. Where ours differs: an update comes before the
step of the optimiser whose gradient it takes, so that what has grown moves at once; nothing is exchanged while there is
nothing to grow; no tensor is emptied; granet-st draws its first mask only at a rewind, of trained weights the largest
start.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import lightning
import torch

from wavesim.config import PruningConfig
from wavesim.errors import WavesimError
from wavesim.pruning.hooks import Freeze
from wavesim.pruning.materialise import apply
from wavesim.pruning.method import Fit, Method
from wavesim.pruning.methods.random import drawn
from wavesim.pruning.parts import as_shown, density_now, equal_shares
from wavesim.pruning.plans import Mask, network
from wavesim.pruning.quotas import Survivors, places, require_room, smallest_removed
from wavesim.pruning.run import Run
from wavesim.pruning.scores import magnitude

INTERVALS = 62.5
EXCHANGED = (0.5, 0.005)  # r at the start and at the end
START = 0.5  # d_i of granet-st
KEY = "wavesim_granet"


def density_at(step: int, iterations: int, first: float, final: float) -> float:
    """d(t); a start below the end stays."""
    return final + max(first - final, 0.0) * max(1 - 2 * step / iterations, 0.0) ** 3


def exchanged_at(step: int, iterations: int) -> float:
    """r(t)."""
    high, low = EXCHANGED
    return low + (high - low) * (1 + math.cos(math.pi * step / iterations)) / 2


def erk(shapes: Mapping[str, tuple[int, ...]], density: float) -> dict[str, float]:
    """The density of every tensor, so that `density` of all weights is left; Evci et al., arXiv 1911.11134."""
    found: dict[str, float] = {}
    room = density * sum(math.prod(shape) for shape in shapes.values())
    while len(found) < len(shapes):
        others = {name: shape for name, shape in shapes.items() if name not in found}
        epsilon = room / sum(sum(shape) for shape in others.values())
        raw = {name: epsilon * sum(shape) / math.prod(shape) for name, shape in others.items()}
        full = [name for name, value in raw.items() if value >= 1]
        found |= {name: 1.0 for name in full} if full else raw
        room -= sum(math.prod(shapes[name]) for name in full)
    return {name: found[name] for name in shapes}


class Regrow(Freeze):
    """The mask that changes as above, starting from `mask`; grows nothing that is not in `allowed`.

    validated: the mask of the best weights that were validated, which is not that of the end.
    """

    def __init__(self, mask: Mask, allowed: Survivors, config: PruningConfig, density: float):
        super().__init__(mask)
        self.allowed, self.config, self.density = allowed, config, density
        self.iterations = config.iterations
        self.interval = max(round(self.iterations / INTERVALS), 1)
        self.last_pruning = self.interval * math.ceil(self.iterations / 2 / self.interval)
        left = sum(int(part.sum()) for part in mask.weights.values())
        self.first = left / sum(part.numel() for part in mask.weights.values())
        self.validated, self.best_error = mask, math.inf

    def on_after_backward(self, trainer: lightning.Trainer, module: Any) -> None:
        if trainer.global_step and trainer.global_step % self.interval == 0:
            self.update(trainer.global_step, module, trainer.optimizers[0])
        super().on_after_backward(trainer, module)

    @torch.no_grad()
    def update(self, step: int, module: Any, optimizer: torch.optim.Optimizer) -> None:
        """Prune to d(t), and exchange r(t) of what is left."""
        weights = {name: network(module.model).get_parameter(name) for name in self.mask.weights}
        scores = {name: weight.abs().double().cpu() for name, weight in weights.items()}
        now = density_at(step, self.iterations, self.first, self.density)
        left = smallest_removed(scores, dict(self.mask.weights), self.config, lambda _, __, size: places(now, size))
        share, masks = exchanged_at(step, self.iterations), {}
        for name, weight in weights.items():
            assert weight.grad is not None
            kept, masks[name] = exchanged(left[name], scores[name], weight.grad.abs().cpu(), self.allowed[name], share)
            moments = [one for one in optimizer.state[weight].values() if torch.is_tensor(one) and one.ndim]
            held = [weight, *moments]
            if module.averaged:
                held.append(module.averaged.mean[f"network.{name}"])
            for tensor in held:
                tensor.mul_(kept.to(tensor.device))
        self.mask = Mask(masks)

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Any) -> None:  # comes before the module validates
        if not module.history or module.history[-1]["iteration"] <= self.last_pruning:
            module.best_error, module.best_weights = math.inf, None  # they were denser than they may be in the end

    def on_save_checkpoint(self, trainer: lightning.Trainer, module: Any, checkpoint: dict[str, Any]) -> None:
        if module.best_error != self.best_error:  # the validation that is being saved was the best
            self.validated, self.best_error = self.mask, module.best_error
        masks = {"mask": dict(self.mask.weights), "validated": dict(self.validated.weights)}
        checkpoint[KEY] = {**masks, "best_error": self.best_error}

    def on_load_checkpoint(self, trainer: lightning.Trainer, module: Any, checkpoint: dict[str, Any]) -> None:
        held = checkpoint[KEY]
        self.mask, self.validated, self.best_error = Mask(held["mask"]), Mask(held["validated"]), held["best_error"]


def exchanged(
    left: torch.Tensor, scores: torch.Tensor, gradient: torch.Tensor, allowed: torch.Tensor, share: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """What stays of `left` when its smallest go, and that with as many where the gradient is largest among zeros."""
    count = min(int(share * left.sum()), int((allowed & ~left).sum()))
    kept = left.clone()
    kept.view(-1)[scores.masked_fill(~left, math.inf).flatten().argsort(stable=True)[:count]] = False
    strength = gradient.masked_fill(kept | ~allowed, -1.0).flatten()
    after = kept.clone()
    after.view(-1)[strength.argsort(descending=True, stable=True)[:count]] = True
    return kept, after


def regrown(run: Run, train: Fit, start: float) -> Run:
    """The run with the network trained as above; the mask decides what is left of it."""
    settings, density, scores = run.settings, density_now(run), magnitude(run.model)
    require_room(scores, settings, density)
    mask = run.survivors
    if start < 1:
        if settings.scope != "global":
            raise WavesimError(
                f"scope '{settings.scope}' means nothing to {settings.method}, whose layers have densities of their "
                "own; set scope = 'global', or method = 'granet'"
            )
        densities = erk({name: tuple(values.shape) for name, values in scores.items()}, max(start, density))
        ranks = drawn(run) if settings.restart == "rewind" else scores
        by_layer = settings.model_copy(update={"scope": "layer"})
        mask = smallest_removed(ranks, mask, by_layer, lambda name, _, size: places(densities[name], size))
    model = apply(run.model, Mask(mask))
    grown = Regrow(Mask(mask), run.survivors, settings, density)
    train(model, [grown])
    left = grown.validated.weights
    return replace(run, model=model, scores={name: w * left[name] + left[name] for name, w in magnitude(model).items()})


GRANET = Method(
    "granet",
    "arXiv 2106.10404",
    score=as_shown,
    quota=equal_shares,
    restart="rewind",
    approach=partial(regrown, start=1.0),
    retrains=False,
)
GRANET_ST = replace(GRANET, name="granet-st", approach=partial(regrown, start=START))
