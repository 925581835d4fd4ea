"""What a forecaster asks of the network that corrects its coarse step.

    correction = N(fields, seen),    seen = encode(medium)
fields are the state and the frames that the coarse step makes of it, the correction is added to these frames. All that
depends on the medium alone is in `seen` and is computed once for each medium.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional as F

from wavesim.config import ForecasterConfig
from wavesim.surrogate.layers import Convolution, make_conv
from wavesim.surrogate.sides import MEDIUM, STATE, padding

Seen = tuple[torch.Tensor, ...]


def in_training_order(field: torch.Tensor) -> torch.Tensor:
    """`field` (batch, channel, *grid) with its channels side by side in memory, where gradients are wanted: there
    convolutions forward and back take 0.9 of the time, and 0.6 in half precision (benchmarks/training_step.py)."""
    if not torch.is_grad_enabled():
        return field
    order = torch.channels_last if field.ndim == 4 else torch.channels_last_3d
    return field.contiguous(memory_format=order)


class Network(nn.Module):
    """One network for each of `ForecasterConfig.network`. `head` is its last layer, zero at the start."""

    linear = True  # in the fields
    exportable = True  # to ONNX
    multiple = 1  # what sizes are brought up to
    head: nn.Module

    def __init__(self, config: ForecasterConfig):
        super().__init__()
        self.config = config
        self.channels_in, self.channels_out = self.channels(config)
        self.beyond, self.medium_beyond = padding(config.sides, STATE), padding(config.sides, MEDIUM)

    @staticmethod
    def channels(config: ForecasterConfig) -> tuple[int, int]:
        """Of the fields that the network reads, and of those that it makes."""
        return 2 + 2 * config.bundle, 2 * config.bundle

    @property
    def least(self) -> int:
        """The fewest cells along a side that the network runs on."""
        raise NotImplementedError

    def encode(self, medium: torch.Tensor) -> Seen:
        """What the network needs of a medium (batch, 2, y, x) of (kappa, rho)."""
        raise NotImplementedError

    def forward(self, fields: torch.Tensor, seen: Seen) -> torch.Tensor:
        """The correction (batch, 2 m, y, x) of m frames, of fields (batch, 2 + 2 m, y, x)."""
        raise NotImplementedError

    def macs(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Multiply-accumulates on a grid (y, x): of a call, and of `encode`."""
        raise NotImplementedError


class GatedByMedium(Network):
    """A network whose filters come from one family, and the layers with which it looks at the medium.

    Two layers look at the logarithm of (kappa, rho) around each cell; the gates are made from what they see.
    """

    def make_look(self) -> None:
        wide, (first, further) = self.config.encoder_width, self.config.encoder_ranks
        self.look = self.filter(2, wide, first, medium=True)
        self.look_bias = nn.Parameter(torch.zeros(wide, 1, 1))
        self.look_further = self.filter(wide, wide, further, medium=True)

    def filter(
        self, read: int, made: int, rank: int, stride: int = 1, medium: bool = False, dim: int = 2
    ) -> Convolution:
        """A filter of the family; one that strides by 2 has a tap less, so that it lies evenly about its two cells.

        Of three axes the first is time, along which there is silence on both sides."""
        beyond: Any = self.medium_beyond if medium else self.beyond
        return make_conv(
            {"one-way": "cp"}.get(self.config.convolution, self.config.convolution),
            read,
            made,
            self.config.kernel_size - (stride - 1),
            rank=rank,
            dim=dim,
            padding=beyond if dim == 2 else ("zero", *beyond),
            stride=stride,
        )

    @staticmethod
    def filters_of(modules: nn.Module) -> list[Convolution]:
        """The filters in a list of modules."""
        return cast(list[Convolution], list(modules.children()))

    def look_at(self, medium: torch.Tensor) -> torch.Tensor:
        """(batch, encoder_width, y, x)."""
        seen = F.gelu(self.look(medium.log()) + self.look_bias)
        return seen + F.gelu(self.look_further(seen))
