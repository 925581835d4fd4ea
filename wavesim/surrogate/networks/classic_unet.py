"""Reference: the U-Net of PDE benchmarks, dense throughout.

    block     twice: 3 x 3 convolution without bias, batch norm, tanh
    down      largest of 2 x 2 cells, then a block with twice the channels
    up        transposed 2 x 2 convolution to half the channels, the encoder's beside it, then a block
    head      1 x 1
Four levels below the first; 48 channels at first in The Well, 32 in PDEBench. It was published in three pooled levels
with ReLU; tanh and batch norm are what the two benchmarks have.

References: Ronneberger, Fischer, Brox, MICCAI 2015; Takamoto et al., PDEBench, NeurIPS 2022; Ohana et al., The Well,
NeurIPS 2024.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from wavesim.config import ForecasterConfig
from wavesim.surrogate.networks.reference import Body, SidedConv2d, weights
from wavesim.surrogate.sides import Padding, fewest


class ClassicUNet(Body):
    """As many levels below the first as there are `config.ranks`, whose values mean nothing here."""

    def __init__(self, channels_in: int, channels_out: int, config: ForecasterConfig, beyond: Padding):
        super().__init__()
        widths = [config.width * 2**level for level in range(len(config.ranks) + 1)]
        pairs = list(pairwise(widths))
        self.first = _block(channels_in, widths[0], beyond)
        self.down = nn.ModuleList(_block(fine, coarse, beyond) for fine, coarse in pairs)
        self.up = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in pairs)
        self.merge = nn.ModuleList(_block(2 * fine, fine, beyond) for fine, _ in pairs)
        self.head = nn.Conv2d(widths[0], channels_out, 1)
        self.multiple = 2 ** len(pairs)
        self.least = fewest(1, self.multiple)

    def forward(self, field: torch.Tensor) -> torch.Tensor:
        """(batch, channel, y, x), y and x multiples of `multiple`."""
        passed = [self.first(field)]
        for down in self.down:
            passed.append(down(F.max_pool2d(passed[-1], 2)))
        hidden = passed.pop()
        for up, merge in zip(reversed(self.up), reversed(self.merge), strict=True):
            hidden = merge(torch.cat((up(hidden), passed.pop()), dim=1))
        return self.head(hidden)

    def macs(self, grid: tuple[int, int]) -> int:
        cells = grid[0] * grid[1]
        count = cells * weights(self.first, self.head)
        for level, (down, up, merge) in enumerate(zip(self.down, self.up, self.merge, strict=True)):
            # Every coarse cell meets all weights of the transposed convolution.
            count += cells // 4 ** (level + 1) * weights(down, up) + cells // 4**level * weights(merge)
        return count


def _block(channels_in: int, channels_out: int, beyond: Padding) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before in (channels_in, channels_out):
        layers += [SidedConv2d(before, channels_out, 3, beyond, bias=False), nn.BatchNorm2d(channels_out), nn.Tanh()]
    return nn.Sequential(*layers)
