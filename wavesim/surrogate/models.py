"""The forecaster: a coarse explicit step, corrected by a network that has seen the medium.

    s_j = S(m)^j s + N_j ( s, S s, ..., S^n s; m ),    j = 1, ..., n
s = (p, dt p_t) is the state, m the medium, S the coarse step of one frame, N the network (`networks/`), and n the
frames of one call, one by default. The network's last layer starts at zero: an untrained forecaster is the coarse step,
and one without a network stays it.

A network that is not linear in the state is given fields whose largest value is 1, and its correction is scaled back:
the exact step commutes with a change of amplitude, and so does every forecaster. Where the medium has rigid obstacles
(`obstacles.py`) there is no correction.

One network, "effective", does not correct the coarse step but takes its place, with an operator that is learned and
semidefinite for any weights (`effective.py`). Untrained it is the coarse step, too.

After each frame the state is scaled back to its energy budget whenever it exceeds it: between walls and without
sources it cannot blow up.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import nn

from wavesim.config import ForecasterConfig
from wavesim.errors import WavesimError
from wavesim.surrogate.coarse import CoarseStep, Substeps
from wavesim.surrogate.effective import EffectiveStep
from wavesim.surrogate.networks import Seen, make_network
from wavesim.surrogate.obstacles import mask, without_obstacles
from wavesim.surrogate.sides import brought_up

# The budget over the initial energy. On the forecast's grid the energy of the FE truth itself rises, by 3 % in the mean
# and at most 14.8 % over the demo's 168 trajectories that train and validate (65 frames each), because cell averages
# miss a part of the pulse at the grains' surfaces.
ENERGY_MARGIN = 1.15


class Context(NamedTuple):
    """What is known of a medium: medium (batch, 2, y, x), stencil (batch, weights, y, x), what the network has seen;
    mask: 0 in obstacles, (batch, 1, y, x); substeps: of a frame, in each medium where they differ, none: those of the
    settings."""

    medium: torch.Tensor
    stencil: torch.Tensor
    seen: Seen
    mask: torch.Tensor
    substeps: Substeps | None = None


def _step(config: ForecasterConfig, courant: float) -> CoarseStep:
    if config.ranks and config.network == "effective":
        return EffectiveStep(config, courant)
    return CoarseStep(courant, config.substeps, config.sides)


class Forecaster(nn.Module):
    """A forecaster of these settings; `courant` = frame interval / cell size is that of the data it is trained on."""

    def __init__(self, config: ForecasterConfig, courant: float):
        super().__init__()
        self.config, self.courant = config, courant
        self.coarse = _step(config, courant)
        alone = not config.ranks or isinstance(self.coarse, EffectiveStep)
        self.network = None if alone else make_network(config)

    @property
    def device(self) -> torch.device:
        """Where the weights are; the CPU where nothing is learned."""
        return next((weight.device for weight in self.parameters()), torch.device("cpu"))

    def require(self, grid: tuple[int, int]) -> None:
        """Raises WavesimError where this forecaster does not run on a grid of (y, x) cells."""
        least = max(self.coarse.least, self.network.least if self.network else 0)
        if min(grid) < least:
            raise WavesimError(
                f"a grid of {grid[1]} x {grid[0]} cells is too small for this forecaster: it takes {least} along each "
                "side"
            )
        if self.network:
            brought_up(grid, self.network.multiple, self.network.beyond)

    def encode(self, medium: torch.Tensor) -> Context:
        """Everything that depends on the medium (batch, 2, y, x) of (kappa, rho) alone; computed once for each."""
        stencil = self.coarse.stencil(medium)
        seen = self.network.encode(without_obstacles(medium)) if self.network else ()
        return Context(medium, stencil, seen, mask(medium), self.coarse.substeps_in(stencil, medium))

    def bundle(self, state: torch.Tensor, context: Context) -> torch.Tensor:
        """The next `config.bundle` frames (batch, frame, 2, y, x) of a state (batch, 2, y, x), in one call."""
        states = [state]
        for _ in range(self.config.bundle):
            states.append(self.coarse(states[-1], context.stencil, context.substeps))
        coarse = torch.stack(states[1:], dim=1)
        if self.network is None:
            return coarse
        fields = torch.cat(states, dim=1)
        if self.network.linear:
            return coarse + (context.mask * self.network(fields, context.seen)).unflatten(1, (-1, 2))
        size = state.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(torch.finfo(state.dtype).tiny)
        return coarse + (size * context.mask * self.network(fields / size, context.seen)).unflatten(1, (-1, 2))

    def forward(self, state: torch.Tensor, context: Context) -> torch.Tensor:
        """The state (batch, 2, y, x) one frame later."""
        return self.bundle(state, context)[:, 0]

    def frames(
        self, state: torch.Tensor, context: Context, budget: torch.Tensor | None = None
    ) -> Iterator[torch.Tensor]:
        """One state after the other, (batch, 2, y, x), without end, each within its energy budget where one is given.

        Frames that are bundled are forecast together from the last of the bundle before.
        """
        while True:
            for after in self.bundle(state, context).unbind(1):
                state = after if budget is None else self.conserved(after, context, budget)
                yield state

    def energy(self, state: torch.Tensor, context: Context) -> torch.Tensor:
        """The discrete energy on the forecast's grid, (batch, 1, 1, 1)."""
        return self.coarse.energy(state, context.stencil, context.medium)

    def budget(self, state: torch.Tensor, context: Context) -> torch.Tensor:
        """The energy that a forecast from this initial state may have, (batch, 1, 1, 1)."""
        return ENERGY_MARGIN * self.energy(state, context)

    def conserved(self, state: torch.Tensor, context: Context, budget: torch.Tensor) -> torch.Tensor:
        """`state`, scaled back to the energy `budget` (batch, 1, 1, 1) where it exceeds it."""
        energy = self.energy(state, context)
        share = budget / energy.clamp_min(torch.finfo(state.dtype).tiny)
        # A pressure that is the same everywhere has no energy, and no budget: it is not in excess of it.
        return state * torch.sqrt(torch.where(energy > budget, share, 1.0))

    @property
    def learned(self) -> nn.Module:
        """The part that has the weights: the network, or the step."""
        return self.network or self.coarse

    def weights(self) -> int:
        """How many real numbers training finds; a complex one, which Fourier modes have, is two."""
        return sum(p.numel() * (2 if p.is_complex() else 1) for p in self.parameters())

    def macs(self, grid: tuple[int, int]) -> dict[str, int]:
        """Multiply-accumulates on a grid (y, x): of one `frame`, and of `encode`, once a medium; from shapes alone.

        Counted in each cell: one for every weight of the network's convolutions and one for every gate's product; in
        the coarse step one for each of the four differences, for each product with the stencil, and for every update
        of pressure and rate. Left out: the energy projection, plain additions (residuals, biases), activations and
        norms, and in `encode` the stencil and the logarithm. Of bundled frames each has its share of the call.
        """
        (coarse, known), (call, encode) = self.coarse.macs(grid), self.network.macs(grid) if self.network else (0, 0)
        return {"frame": coarse + call // self.config.bundle, "encode": known + encode}
