"""What can be known of a weight before training: the weight and its gradient, each on the scale of its own layer.

    theta sqrt(fan_in),    g / rms(g),    g = sum over batches of d loss / d theta
Where the gradient of a layer is zero throughout, so is its second feature. In an untrained forecaster that is every
layer but the last: the last one starts at zero and lets no gradient pass. A few optimiser steps later all layers have
one, after a single step already (7 networks tried): so what is learned, and what is scored, is of rewind_to 1 or more.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable

import torch

from wavesim.config import TrainingConfig
from wavesim.errors import WavesimError
from wavesim.pruning.run import Run
from wavesim.pruning.scores import prunable
from wavesim.surrogate import Forecaster
from wavesim.surrogate.unrolled import Unrolled

BATCHES = 16


def features(run: Run) -> dict[str, torch.Tensor]:
    """Name of a weight -> the two features of each of its entries, (*shape, 2), where restarts begin.

    Raises:
        WavesimError: nobody knows that network, or it has complex weights.
    """
    run.beginning()
    assert run.early is not None  # there is one wherever there is a beginning
    weights = prunable(run.early)
    for name in (name for name, weight in weights.items() if weight.is_complex()):
        raise WavesimError(f"{name} is complex, and has no sign to learn from; prune this network by 'sap'")
    found = {}
    for name, gradient in gradients(run.early, run.job.training, run.batches(BATCHES)).items():
        weight, size = weights[name].detach().double(), gradient.square().mean().sqrt()
        scaled = gradient / size if size > 0 else gradient
        found[name] = torch.stack((weight * math.sqrt(weight[0].numel()), scaled), dim=-1)
    return found


def gradients(
    model: Forecaster, training: TrainingConfig, batches: Iterable[tuple[torch.Tensor, torch.Tensor]]
) -> dict[str, torch.Tensor]:
    """Of the loss that training begins with, summed over batches: name of a prunable weight -> its shape, float64."""
    model = copy.deepcopy(model).train()
    loss = Unrolled(model, training, (torch.empty(0), torch.empty(0)))  # nothing is validated
    for number, batch in enumerate(batches):
        loss.training_step(batch, number).backward()
    return {
        name: torch.zeros_like(weight, dtype=torch.double) if weight.grad is None else weight.grad.double()
        for name, weight in prunable(model).items()
    }
