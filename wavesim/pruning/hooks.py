"""What a method does while the network trains, as Lightning callbacks."""

from __future__ import annotations

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
            weight.mul_(keep.to(weight.device))
