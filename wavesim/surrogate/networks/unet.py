"""The gated network on several grids, each of half the cells along an axis: a U-Net of one-way filters.

    down    h_l = D_l h_(l-1),   h_l <- h_l + W_l a( g_l(m) h_l )         D_l strides by 2 and doubles the channels
    up      h_l <- h_l + V_l ( h_(l+1) repeated ),   h_l <- h_l + U_l a( g'_l(m) h_l )
D, W, V, U are filters of one family. Each coarse cell is repeated in its four fine ones before V filters them, which
holds linear interpolation (taps 1 2 1 over 4) and has no weight of its own; a transposed convolution of 2 x 2 would
be half of all weights. Encoder and decoder are joined by sums, not side by side, which would double what V reads.

The medium goes down the same grids on its own way, once for each medium, and gates every filter of its level. With
a = identity all is linear in the state; with a = GELU it is not, but nothing still comes from nothing.

Reference: Ronneberger, Fischer, Brox, U-Net, MICCAI 2015, for levels joined across.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from wavesim.config import ForecasterConfig
from wavesim.surrogate.layers import pointwise
from wavesim.surrogate.networks.network import GatedByMedium, Seen
from wavesim.surrogate.sides import brought_up, extended, fewest


class UNet(GatedByMedium):
    """One level for each of `config.ranks`, with `config.blocks` filters on the way down and as many on the way up."""

    head: nn.Conv2d | nn.Conv3d

    def __init__(self, config: ForecasterConfig):
        super().__init__(config)
        ranks, seen, last = config.ranks, config.encoder_width, len(config.ranks) - 1
        self.linear = config.activation == "none"
        self.multiple = 2 ** (len(ranks) - 1)
        self.widths = [config.width * 2**level for level in range(len(ranks))]
        # The lowest level has no way up.
        self.counts = [config.blocks * (1 if level == last else 2) for level in range(len(ranks))]
        levels = list(zip(self.widths, ranks, strict=True))
        coarser = list(zip(self.widths, self.widths[1:], ranks, ranks[1:], strict=False))

        self.stem = pointwise(self.channels_in, config.width)
        self.blocks = nn.ModuleList(
            nn.ModuleList(self.filter(width, width, rank) for _ in range(count))
            for (width, rank), count in zip(levels, self.counts, strict=True)
        )
        self.down = nn.ModuleList(self.filter(fine, coarse, rank, stride=2) for fine, coarse, _, rank in coarser)
        self.up = nn.ModuleList(self.filter(coarse, fine, rank) for fine, coarse, rank, _ in coarser)
        self.head = pointwise(config.width, self.channels_out)
        nn.init.zeros_(self.head.weight)
        self.make_look()
        rank = config.encoder_ranks[1]
        self.look_down = nn.ModuleList(self.filter(seen, seen, rank, stride=2, medium=True) for _ in coarser)
        self.gates = nn.ModuleList(
            pointwise(seen, width * count, bias=True) for width, count in zip(self.widths, self.counts, strict=True)
        )

    @property
    def least(self) -> int:
        return fewest(self.config.kernel_size // 2, self.multiple)

    def encode(self, medium: torch.Tensor) -> Seen:
        """The gates of each level, on its grid."""
        seen = self.look_at(extended(medium, self.multiple, self.medium_beyond))
        gates = [1 + self.gates[0](seen)]
        for down, gate in zip(self.look_down, self.gates[1:], strict=True):
            seen = F.gelu(down(seen))
            gates.append(1 + gate(seen))
        return tuple(gates)

    def forward(self, fields: torch.Tensor, seen: Seen) -> torch.Tensor:
        height, width = fields.shape[-2:]
        hidden = self.stem(extended(fields, self.multiple, self.beyond))
        passed = []
        for level in range(len(self.widths)):
            if level:
                hidden = self.down[level - 1](hidden)
            hidden = self._filtered(hidden, seen, level, range(self.config.blocks))
            passed.append(hidden)
        for level in reversed(range(len(self.down))):
            hidden = F.interpolate(hidden, scale_factor=2, mode="nearest")
            hidden = passed[level] + self.up[level](hidden)
            hidden = self._filtered(hidden, seen, level, range(self.config.blocks, self.counts[level]))
        return self.head(hidden)[..., :height, :width]

    def _filtered(self, hidden: torch.Tensor, seen: Seen, level: int, chosen: range) -> torch.Tensor:
        blocks, gates = self.filters_of(self.blocks[level]), seen[level].split(self.widths[level], dim=1)
        for block in chosen:
            gated = gates[block] * hidden
            hidden = hidden + blocks[block](gated if self.linear else F.gelu(gated))
        return hidden

    def macs(self, grid: tuple[int, int]) -> tuple[int, int]:
        fine = brought_up(grid, self.multiple, self.beyond)
        grids = [(fine[0] >> level, fine[1] >> level) for level in range(len(self.widths))]
        cells = [height * width for height, width in grids]
        call = cells[0] * (self.stem.weight.numel() + self.head.weight.numel())
        encode = self.look.macs(grids[0]) + self.look_further.macs(grids[0])
        for level, count in enumerate(self.counts):
            call += cells[level] * self.widths[level] * count
            call += sum(block.macs(grids[level]) for block in self.filters_of(self.blocks[level]))
            encode += cells[level] * self.widths[level] * count * self.config.encoder_width
        for filters in (self.down, self.up):
            call += sum(one.macs(on) for one, on in zip(self.filters_of(filters), grids, strict=False))
        encode += sum(one.macs(on) for one, on in zip(self.filters_of(self.look_down), grids, strict=False))
        return call, encode
