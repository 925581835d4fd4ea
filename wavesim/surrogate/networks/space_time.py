"""The gated network over the frames of one call as a block of space and time: kernels of three axes.

    h_0 = B f,    h_l = h_(l-1) + W_l ( g_l(m) h_(l-1) ),    correction_j = H h_L(t_j),    j = 1, ..., n
f are the state and the n coarse frames that follow it, one after the other along a third axis; W_l are filters over
(time, y, x) of one family: 3-way kernels where it is classical, three one-way filters where it is one-way. Beyond the
first and the last frame of the block there is silence. The gates are those of `gated.py`, the same for all frames.
"""

from __future__ import annotations

import torch

from wavesim.config import ForecasterConfig
from wavesim.surrogate.networks.gated import Gated
from wavesim.surrogate.networks.network import Seen, in_training_order


class SpaceTime(Gated):
    """One filter and one set of gates for each of `config.ranks`; n is `config.bundle`."""

    dim = 3

    @staticmethod
    def channels(config: ForecasterConfig) -> tuple[int, int]:
        return 2, 2

    def forward(self, fields: torch.Tensor, seen: Seen) -> torch.Tensor:
        block = fields.unflatten(1, (-1, 2)).transpose(1, 2)
        hidden = self.filtered(self.stem(in_training_order(block)), tuple(gate[:, :, None] for gate in seen))
        return self.head(hidden[:, :, 1:]).transpose(1, 2).flatten(1, 2)

    def macs(self, grid: tuple[int, int]) -> tuple[int, int]:
        cells, gates = grid[0] * grid[1], self.config.width * len(self.filters)
        frames = 1 + self.config.bundle
        call = cells * (frames * (self.stem.weight.numel() + gates) + self.config.bundle * self.head.weight.numel())
        call += sum(filtered.macs((frames, *grid)) for filtered in self.filters_of(self.filters))
        return call, cells * self.gates.weight.numel() + self.look.macs(grid) + self.look_further.macs(grid)
