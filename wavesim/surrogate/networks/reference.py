"""A published network in the place of ours, with the same inputs: state, coarse frames and the medium's logarithm.

    correction = body( s, S s, ..., log kappa, log rho )
What changes from the published networks, so that all are compared on the same terms: their convolutions go on beyond a
side as ours do, where they had zeros; and the last layer starts at zero. They see the medium at every call: nothing of
it can be computed once.
"""

from __future__ import annotations

import torch
from torch import nn

from wavesim.config import ForecasterConfig
from wavesim.surrogate.networks.network import Network, Seen
from wavesim.surrogate.sides import Padding, around, brought_up, extended


class Body(nn.Module):
    """A reference network from channels to channels, on sizes that are multiples of `multiple`; ends in `head`."""

    head: nn.Module
    multiple = 1
    least = 1

    def extended(self, field: torch.Tensor, beyond: Padding) -> torch.Tensor:
        """A field (batch, channel, y, x) on the grid that the network runs on."""
        return extended(field, self.multiple, beyond)

    def within(self, field: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        """What came of it on the grid (y, x) before."""
        return field[..., : grid[0], : grid[1]]

    def macs(self, grid: tuple[int, int]) -> int:
        """Multiply-accumulates on a grid (y, x) of such sizes."""
        raise NotImplementedError


class Reference(Network):
    """The network around a body; `body(channels_in, channels_out, config, beyond)` makes it."""

    linear = False

    def __init__(self, config: ForecasterConfig, body: type[Body]):
        super().__init__(config)
        self.body = body(self.channels_in + 2, self.channels_out, config, self.beyond)  # type: ignore[call-arg]
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    @property
    def multiple(self) -> int:  # type: ignore[override]
        return self.body.multiple

    @property
    def head(self) -> nn.Module:  # type: ignore[override]
        return self.body.head

    @property
    def least(self) -> int:
        return self.body.least

    def encode(self, medium: torch.Tensor) -> Seen:
        return (self.body.extended(medium.log(), self.medium_beyond),)

    def forward(self, fields: torch.Tensor, seen: Seen) -> torch.Tensor:
        height, width = fields.shape[-2:]
        whole = self.body.extended(fields, self.beyond)
        correction = self.body(torch.cat((whole, seen[0].expand(len(whole), -1, -1, -1)), dim=1))
        return self.body.within(correction, (height, width))

    def macs(self, grid: tuple[int, int]) -> tuple[int, int]:
        return self.body.macs(brought_up(grid, self.multiple, self.beyond)), 0


class SidedConv2d(nn.Conv2d):
    """A convolution of odd size on the same grid, by the sides of the domain where it reads beyond them."""

    def __init__(self, channels_in: int, channels_out: int, kernel_size: int, beyond: Padding, **settings: object):
        super().__init__(channels_in, channels_out, kernel_size, **settings)  # type: ignore[arg-type]
        self.beyond = beyond

    def forward(self, field: torch.Tensor) -> torch.Tensor:
        return super().forward(around(field, self.kernel_size[0] // 2, self.beyond))


def weights(*modules: nn.Module) -> int:
    """Numbers in the kernels of some convolutions: multiply-accumulates for each cell that they are applied at."""
    return sum(
        part.weight.numel()
        for module in modules
        for part in module.modules()
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d)
    )
