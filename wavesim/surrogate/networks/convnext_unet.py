"""Reference: a U-Net of ConvNeXt blocks.

    block     h + gamma * P2 gelu( P1 norm( D h ) )    D 7 x 7 depthwise, P1 1 x 1 to four times the channels, P2 back
    down      blocks, norm, 2 x 2 convolution of stride 2 to twice the channels; at the bottom one more block
    up        the encoder's channels beside it and 1 x 1 back (not at the bottom), blocks, norm, transposed 2 x 2
Norms are over the channels of a cell. 42 channels at first, four levels and `blocks` = 2 in The Well, whose own norm
before resampling divides by the length of the channels' vector and leaves its bias unused.

References: Liu et al., A ConvNet for the 2020s, CVPR 2022; Ohana et al., The Well, NeurIPS 2024.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from wavesim.config import ForecasterConfig
from wavesim.surrogate.networks.reference import Body, SidedConv2d, weights
from wavesim.surrogate.sides import Padding, fewest

LAYER_SCALE = 1e-6  # gamma at the start, as published


class ConvNextUNet(Body):
    """As many levels below the first as there are `config.ranks`, whose values mean nothing here."""

    def __init__(self, channels_in: int, channels_out: int, config: ForecasterConfig, beyond: Padding):
        super().__init__()
        widths = [config.width * 2**level for level in range(len(config.ranks) + 1)]
        pairs = list(pairwise(widths))

        def blocks(width: int) -> nn.Sequential:
            return nn.Sequential(*(_Block(width, beyond) for _ in range(config.blocks)))

        self.stem = SidedConv2d(channels_in, widths[0], 3, beyond)
        self.encoder = nn.ModuleList(blocks(fine) for fine, _ in pairs)
        self.down = nn.ModuleList(
            nn.Sequential(_ChannelNorm(fine), nn.Conv2d(fine, coarse, 2, stride=2)) for fine, coarse in pairs
        )
        self.bottom = _Block(widths[-1], beyond)
        self.merge = nn.ModuleList(nn.Conv2d(2 * coarse, coarse, 1) for _, coarse in pairs[:-1])
        self.decoder = nn.ModuleList(blocks(coarse) for _, coarse in pairs)
        self.up = nn.ModuleList(
            nn.Sequential(_ChannelNorm(coarse), nn.ConvTranspose2d(coarse, fine, 2, stride=2)) for fine, coarse in pairs
        )
        self.head = SidedConv2d(widths[0], channels_out, 3, beyond)
        self.multiple = 2 ** len(pairs)
        self.least = fewest(3, self.multiple)

    def forward(self, field: torch.Tensor) -> torch.Tensor:
        """(batch, channel, y, x), y and x multiples of `multiple`."""
        hidden, passed = self.stem(field), []
        for blocks, down in zip(self.encoder, self.down, strict=True):
            passed.append(hidden)
            hidden = down(blocks(hidden))
        hidden = self.bottom(hidden)
        for level in reversed(range(len(self.up))):
            if level < len(self.merge):
                hidden = self.merge[level](torch.cat((hidden, passed[level + 1]), dim=1))
            hidden = self.up[level](self.decoder[level](hidden))
        return self.head(hidden)

    def macs(self, grid: tuple[int, int]) -> int:
        cells, levels = grid[0] * grid[1], len(self.up)
        count = cells * weights(self.stem, self.head) + cells // 4**levels * weights(self.bottom)
        for level in range(levels):
            below = weights(self.down[level], self.decoder[level], self.up[level])
            below += weights(self.merge[level]) if level < len(self.merge) else 0
            count += cells // 4**level * weights(self.encoder[level]) + cells // 4 ** (level + 1) * below
        return count


class _ChannelNorm(nn.LayerNorm):
    """(batch, channel, y, x), normalised over the channels of each cell."""

    def __init__(self, channels: int):
        super().__init__(channels, eps=1e-6)

    def forward(self, field: torch.Tensor) -> torch.Tensor:
        return super().forward(field.movedim(1, -1)).movedim(-1, 1)


class _Block(nn.Module):
    def __init__(self, width: int, beyond: Padding):
        super().__init__()
        self.depthwise = SidedConv2d(width, width, 7, beyond, groups=width)
        self.norm = _ChannelNorm(width)
        self.widen, self.narrow = nn.Conv2d(width, 4 * width, 1), nn.Conv2d(4 * width, width, 1)
        self.gamma = nn.Parameter(torch.full((width, 1, 1), LAYER_SCALE))

    def forward(self, field: torch.Tensor) -> torch.Tensor:
        inner = self.widen(self.norm(self.depthwise(field)))
        return field + self.gamma * self.narrow(F.gelu(inner))
