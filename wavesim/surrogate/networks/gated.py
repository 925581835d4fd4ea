"""The network that is linear in the state and gated by the medium, on one grid throughout.

    h_0 = B f,    h_l = h_(l-1) + W_l ( g_l(m) h_(l-1) ),    correction = H h_L
f are the state and the coarse frames, W_l spatial filters of one family, g_l gates that an encoder computes once for
each medium m. The exact step is linear in the state for every m; so is this one: superposition and scaling hold to
rounding, and nothing but m passes through an activation.
"""

from __future__ import annotations

import torch
from torch import nn

from wavesim.config import ForecasterConfig
from wavesim.surrogate.layers import pointwise
from wavesim.surrogate.networks.network import GatedByMedium, Seen, in_training_order


class Gated(GatedByMedium):
    """One filter and one set of gates for each of `config.ranks`."""

    dim = 2  # axes of the filters
    head: nn.Conv2d | nn.Conv3d

    def __init__(self, config: ForecasterConfig):
        super().__init__(config)
        width, ranks = config.width, config.ranks
        self.stem = pointwise(self.channels_in, width, dim=self.dim)
        self.filters = nn.ModuleList(self.filter(width, width, rank, dim=self.dim) for rank in ranks)
        self.head = pointwise(width, self.channels_out, dim=self.dim)
        nn.init.zeros_(self.head.weight)
        self.make_look()
        self.gates = pointwise(config.encoder_width, width * len(ranks), bias=True)

    @property
    def least(self) -> int:
        return self.config.kernel_size // 2

    def encode(self, medium: torch.Tensor) -> Seen:
        """The gates of one filter after the other."""
        gates = (1 + self.gates(self.look_at(medium))).split(self.config.width, dim=1)
        return tuple(in_training_order(one) for one in gates)

    def forward(self, fields: torch.Tensor, seen: Seen) -> torch.Tensor:
        return self.head(self.filtered(self.stem(in_training_order(fields)), seen))

    def filtered(self, hidden: torch.Tensor, seen: Seen) -> torch.Tensor:
        """h_L of h_0; the gates go with it in shape."""
        for gate, spatial in zip(seen, self.filters, strict=True):
            hidden = hidden + spatial(gate * hidden)
        return hidden

    def macs(self, grid: tuple[int, int]) -> tuple[int, int]:
        cells, gates = grid[0] * grid[1], self.config.width * len(self.filters)
        pointwise = self.stem.weight.numel() + self.head.weight.numel() + gates
        call = cells * pointwise + sum(spatial.macs(grid) for spatial in self.filters_of(self.filters))
        return call, cells * self.gates.weight.numel() + self.look.macs(grid) + self.look_further.macs(grid)
