"""The running mean of the weights over the steps of a training,

    e_0 = w_0,    e_n = d e_(n-1) + (1 - d) w_n,
which lies deeper in the valley whose walls the steps bounce between (Polyak and Juditsky, SIAM J. Control Optim. 30
(1992) 838-855). The running statistics of batch norms are means already, and stay those of w_n.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class Averaged:
    """e_n of the parameters of `model` with the decay d; `mean` goes on from another's."""

    def __init__(self, model: nn.Module, decay: float, mean: dict[str, torch.Tensor] | None = None):
        self.model, self.decay = model, decay
        self.mean = {name: p.detach().clone() for name, p in model.named_parameters()}
        for name, value in (mean or {}).items():
            self.mean[name].copy_(value)

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step."""
        for name, parameter in self.model.named_parameters():
            self.mean[name].lerp_(parameter, 1 - self.decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has the mean for weights while this lasts."""
        own = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self._set(self.mean)
        try:
            yield
        finally:
            self._set(own)

    @torch.no_grad()
    def _set(self, weights: dict[str, torch.Tensor]) -> None:
        for name, parameter in self.model.named_parameters():
            parameter.copy_(weights[name])
