"""The structured step: the coarse step's differences, corrected by a network that is there with its exact adjoint.

    A = kappa B'B,    B = (I + N(m)) B_0,    B_0 = sqrt(w / 2 kappa) D
D are the differences to the four neighbours and w the coarse step's weights of them (coarse.py), so that kappa B_0'B_0
is its operator. N is a cascade of one-way filters, gated by what an encoder has seen of the medium:
    N = H (I + W_L g_L) ... (I + W_1 g_1) S,    N' = S' (I + g_1 W_1') ... (I + g_L W_L') H'
Each filter's adjoint is the transposed convolution and then the adjoint of its padding, which takes what lies beyond a
wall back to where it was mirrored from: <Nx, y> = <x, N'y> to rounding, at every side. With H = 0, where training
begins, the step is the coarse one; any H leaves A symmetric and semidefinite (learned.py says what follows).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn import functional as F

from wavesim.config import ForecasterConfig
from wavesim.surrogate.coarse import FACES
from wavesim.surrogate.learned import LearnedStep
from wavesim.surrogate.networks.gated import Gated
from wavesim.surrogate.networks.network import Seen
from wavesim.surrogate.obstacles import without_obstacles
from wavesim.surrogate.sides import MEDIUM, within


class StrainNetwork(Gated):
    """The gated network from scaled differences to their corrections, and back. They are no states: neither even nor
    odd at a wall, and continued as the medium is."""

    continuation = MEDIUM

    @staticmethod
    def channels(config: ForecasterConfig) -> tuple[int, int]:
        return len(FACES), len(FACES)

    def adjoint(self, fields: torch.Tensor, seen: Seen) -> torch.Tensor:
        """N' y of fields (batch, 4, y, x)."""
        hidden = F.conv2d(fields, self.head.weight.transpose(0, 1))
        for gate, spatial in zip(reversed(seen), reversed(self.filters_of(self.filters)), strict=True):
            hidden = hidden + gate * spatial.adjoint(hidden)
        return F.conv2d(hidden, self.stem.weight.transpose(0, 1))


class StructuredStep(LearnedStep):
    """The stencil: the four roots of B_0, damping if any, kappa, and the gates."""

    compiles = False

    def __init__(self, config: ForecasterConfig, courant: float):
        super().__init__(courant, config.substeps, config.sides)
        self.network = StrainNetwork(config)

    @property
    def least(self) -> int:  # type: ignore[override]
        return self.network.least

    def stencil(self, medium: torch.Tensor) -> torch.Tensor:
        coarse, kappa = super().stencil(medium), medium[:, :1]
        roots = torch.sqrt(coarse[:, : self.links] / (2 * kappa))
        gates = self.network.encode(without_obstacles(medium))
        return torch.cat((roots, coarse[:, self.links :], kappa, *gates), dim=1)

    def both_ways(self) -> Iterable[nn.Module]:
        return self.network.filters

    def strained(self, pressure: torch.Tensor, stencil: torch.Tensor) -> torch.Tensor:
        """B p, (batch, 4, y, x)."""
        scaled = stencil[:, : self.links] * torch.cat(self.strain(pressure), dim=1)
        return scaled + self.network(scaled, self._gates(stencil))

    def acceleration(self, pressure: torch.Tensor, stencil: torch.Tensor) -> torch.Tensor:
        if torch.is_autocast_enabled(pressure.device.type):  # in half precision the adjoint is none
            with torch.autocast(pressure.device.type, enabled=False):
                return self.acceleration(pressure, stencil)
        strained = self.strained(pressure, stencil)
        stress = stencil[:, : self.links] * (strained + self.network.adjoint(strained, self._gates(stencil)))
        return self.kappa(stencil) * self._divergence(stress)

    def energy(self, state: torch.Tensor, stencil: torch.Tensor, medium: torch.Tensor) -> torch.Tensor:
        strain = self.strained(state[:, :1], stencil).square().sum(dim=(1, 2, 3), keepdim=True)
        return ((state[:, 1:] ** 2 / self.kappa(stencil)).sum(dim=(1, 2, 3), keepdim=True) + strain) / 2

    def macs(self, grid: tuple[int, int]) -> tuple[int, int]:
        """N and the differences run forward and back in every acceleration."""
        coarse, (network, encode) = super().macs(grid)[0], self.network.macs(grid)
        both = 2 * network + grid[0] * grid[1] * (4 + 4)
        return coarse + (self.substeps + 1) * both, encode

    def _divergence(self, stress: torch.Tensor) -> torch.Tensor:
        """-D' of (batch, 4, y, x): what each face takes from its cell it gives to the neighbour, or to its image."""
        taken = F.pad(stress.sum(dim=1, keepdim=True), (1, 1, 1, 1))
        for given, (_, (y, x)) in zip(stress.split(1, dim=1), FACES, strict=True):
            taken = taken - F.pad(given, (x, 2 - x, y, 2 - y))
        return taken[..., 1:-1, 1:-1] if self.closed else within(taken, 1, self.beyond)

    def _gates(self, stencil: torch.Tensor) -> Seen:
        return stencil[:, self.links + self.absorbs + 1 :].split(self.network.config.width, dim=1)
