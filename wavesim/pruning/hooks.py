"""What methods share of what happens while a network trains, as Lightning callbacks."""

from __future__ import annotations

import math
from typing import Any

import lightning
import torch

from wavesim.pruning.plans import Mask, network


class Freeze(lightning.Callback):
    """Masked weights stay exactly zero: w <- m w after every optimiser step, dL/dw <- m dL/dw before it."""

    def __init__(self, mask: Mask):
        self.mask = mask

    def on_after_backward(self, trainer: lightning.Trainer, module: Any) -> None:
        # Before the clipping of the gradient: what is cut must not use up the norm of what is left.
        for name, keep in self.mask.weights.items():
            gradient = network(module.model).get_parameter(name).grad
            if gradient is not None:
                gradient.mul_(keep.to(gradient.device))

    @torch.no_grad()
    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, *_: Any) -> None:
        for name, keep in self.mask.weights.items():
            weight = network(module.model).get_parameter(name)
            weight.masked_fill_(~keep.to(weight.device), 0)


class LastCounts(lightning.Callback):
    """The weights that a training keeps are those of its last validation, not of its best.

    For an approach that changes the network as it goes on: earlier weights are not what it came to.
    """

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Any) -> None:  # comes before the module validates
        module.best_error = math.inf


class StopAfter(lightning.Callback):
    """End a training after so many of its optimiser steps, the schedule of the learning rate being that of all."""

    def __init__(self, steps: int):
        self.steps = steps

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        trainer.should_stop = trainer.should_stop or trainer.global_step >= self.steps
