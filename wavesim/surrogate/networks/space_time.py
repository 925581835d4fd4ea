"""The gated network over the frames of one call as a block of space and time: kernels of three axes.

    h_0 = B f,    h_l = h_(l-1) + W_l ( g_l(m) h_(l-1) ),    correction_j = H h_L(t_j),    j = 1, ..., n
f are the state and the n coarse frames that follow it, one after the other along a third axis; W_l are filters over
(time, y, x) of one family: 3-way kernels where it is classical, three one-way filters where it is one-way. Beyond the
first and the last frame of the block there is silence. The gates are those of `gated.py`, the same for all frames.
"""

from __future__ import annotations

import torch
from torch import nn

from wavesim.config import ForecasterConfig
from wavesim.surrogate.networks.network import GatedByMedium, Seen


class SpaceTime(GatedByMedium):
    """One filter and one set of gates for each of `config.ranks`; n is `config.bundle`."""

    head: nn.Conv3d

    def __init__(self, config: ForecasterConfig):
        super().__init__(config)
        width, ranks = config.width, config.ranks
        self.stem = nn.Conv3d(2, width, 1, bias=False)
        self.filters = nn.ModuleList(self.filter(width, width, rank, dim=3) for rank in ranks)
        self.head = nn.Conv3d(width, 2, 1, bias=False)
        nn.init.zeros_(self.head.weight)
        self.make_look()
        self.gates = nn.Conv2d(config.encoder_width, width * len(ranks), 1)

    @property
    def least(self) -> int:
        return self.config.kernel_size // 2

    def encode(self, medium: torch.Tensor) -> Seen:
        return (1 + self.gates(self.look_at(medium)),)

    def forward(self, fields: torch.Tensor, seen: Seen) -> torch.Tensor:
        hidden = self.stem(fields.unflatten(1, (-1, 2)).transpose(1, 2))
        for gate, filtered in zip(seen[0].split(self.config.width, dim=1), self.filters, strict=True):
            hidden = hidden + filtered(gate[:, :, None] * hidden)
        return self.head(hidden[:, :, 1:]).transpose(1, 2).flatten(1, 2)

    def macs(self, grid: tuple[int, int]) -> tuple[int, int]:
        cells, gates = grid[0] * grid[1], self.config.width * len(self.filters)
        frames = 1 + self.config.bundle
        call = cells * (frames * (self.stem.weight.numel() + gates) + self.config.bundle * self.head.weight.numel())
        call += sum(filtered.macs((frames, *grid)) for filtered in self.filters_of(self.filters))
        return call, cells * self.gates.weight.numel() + self.look.macs(grid) + self.look_further.macs(grid)
