"""The coarse explicit step that a forecaster starts from: finite volumes on the forecast's own grid.

With cell values kappa, rho and the state (p, v), v = dt p_t, in units of the frame interval dt and the cell size h:
    a(p) = C^2 kappa sum over the four faces of (p_neighbour - p) 2 / (rho + rho_neighbour),    C = dt / h
    velocity Verlet with n sub-steps of 1/n:  v += a/(2n),  p += v/n,  v += a/(2n)
2 / (rho + rho_n) is 1/<rho>, the average along a face's normal. The scheme is linear in the state, reversible, and
conserves its own energy (LeVeque, Finite Volume Methods, 2002, section 9). A face in a side of the domain:
    rigid       carries nothing
    soft        p_neighbour = -p, so that p = 0 at the face
    periodic    its neighbour is at the other end
    absorbing   dp/dn = -p_t / c, what an outgoing wave at normal incidence has: a -= d v with d = C sqrt(kappa/rho)
The damping d acts in the middle of each kick, v (1 - d/2n) / (1 + d/2n), and takes energy away at every sub-step.
A cell of infinite density is a rigid obstacle, whose faces carry nothing (obstacles.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from wavesim.errors import WavesimError
from wavesim.surrogate import step_gradients
from wavesim.surrogate.layers.padding import continued
from wavesim.surrogate.sides import MEDIUM, STATE, Sides, around, padding

FACES = (("right", (1, 2)), ("left", (1, 0)), ("top", (2, 1)), ("bottom", (0, 1)))
"""The faces of a cell, in the order of the stencil, and where the neighbour behind each is in 3 x 3 cells."""
Substeps = int | torch.Tensor
"""Of a frame: in every medium, or (batch, 1, 1, 1) in each."""
Share = float | torch.Tensor
EDGES = {"right": (..., -1), "left": (..., 0), "top": (..., -1, slice(None)), "bottom": (..., 0, slice(None))}


class CoarseStep(nn.Module):
    """`substeps` explicit sub-steps a frame at Courant number `courant` = frame interval / cell size (c = 1)."""

    links = len(FACES)  # to neighbours
    least = 2  # cells along a side

    def __init__(self, courant: float, substeps: int, sides: Sides = ("rigid",) * 4):
        super().__init__()
        self.courant, self.substeps = courant, substeps
        self.sides = dict(zip(("left", "right", "bottom", "top"), sides, strict=True))
        self.beyond, self.medium_beyond = padding(sides, STATE), padding(sides, MEDIUM)
        self.images = self.beyond  # that links read
        self.absorbs = "absorbing" in sides
        # Where all sides carry nothing, what lies behind them is not read.
        self.closed = not {"soft", "periodic"} & set(sides)

    def stencil(self, medium: torch.Tensor) -> torch.Tensor:
        """Weights of the four faces, (batch, 4, y, x), of a medium (batch, 2, y, x); the damping as a fifth, if any."""
        kappa, rho = medium[:, :1], medium[:, 1:]
        weights = kappa * self.conductance(rho)
        for face, (name, _) in enumerate(FACES):
            if self.sides[name] in ("rigid", "absorbing"):
                weights[:, face][EDGES[name]] = 0
        return torch.cat((weights, self.damping(medium)), dim=1) if self.absorbs else weights

    def damping(self, medium: torch.Tensor) -> torch.Tensor:
        """d, (batch, 1, y, x)."""
        damping = torch.zeros_like(medium[:, :1])
        for name, edge in EDGES.items():
            if self.sides[name] == "absorbing":
                damping[edge] += self.courant * torch.sqrt(medium[:, :1] / medium[:, 1:])[edge]
        return damping

    def conductance(self, rho: torch.Tensor) -> torch.Tensor:
        """C^2 2 / (rho + rho_neighbour) of the four faces, (batch, 4, y, x); also in sides that carry nothing."""
        neighbours = around(rho, 1, self.medium_beyond)
        height, width = rho.shape[-2:]
        faces = [neighbours[..., y : y + height, x : x + width] for _, (y, x) in FACES]
        return torch.cat([2 * self.courant**2 / (rho + other) for other in faces], dim=1)

    def check(self, stencil: torch.Tensor) -> None:
        """Refuse a medium in which the sub-steps are unstable (Gershgorin's bound on the largest eigenvalue).

        Raises:
            WavesimError: with the number of sub-steps that is enough.
        """
        largest = self.bound(stencil).max()
        needed = int(self.stable_with(largest))
        if 0 < self.substeps < needed:
            raise WavesimError(
                f"substeps {self.substeps} is unstable in this medium; it takes at least {needed} "
                f"(wave speed up to {math.sqrt(largest / 8) / self.courant:.2f} cells a background cell)"
            )

    @staticmethod
    def bound(stencil: torch.Tensor) -> torch.Tensor:
        """Of the largest eigenvalue in each medium, (batch,): Gershgorin's."""
        return 2 * stencil[:, :4].sum(dim=1).amax(dim=(1, 2))

    @staticmethod
    def stable_with(largest: torch.Tensor) -> torch.Tensor:
        """The least sub-steps n that are stable with a largest eigenvalue, which is below 4 n^2; of the same shape."""
        return (torch.floor(largest.double().sqrt() / 2) + 1).to(largest)

    def images_beyond(self) -> tuple[int, ...]:
        """What pressure is read behind the low and the high side along y, then along x, as the loops in C have it."""
        return tuple(step_gradients.BEYOND[side] for axis in self.images for side in axis)

    def substeps_in(self, stencil: torch.Tensor, medium: torch.Tensor) -> Substeps:
        """The sub-steps that a frame takes in these media."""
        return self.substeps

    def strain(self, pressure: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Differences to the neighbours behind FACES, (batch, 1, y, x) each; anything at a side that carries nothing.

        Slices and not a convolution with four kernels, with which a pass forward and back takes four times as long on
        64 x 64 cells and six times on 128 x 128 (benchmarks/training_step.py).
        """
        if self.closed:
            along_x, along_y = F.pad(pressure, (1, 1)), F.pad(pressure, (0, 0, 1, 1))
        else:
            along_x = continued(pressure, 1, -1, self.beyond[1])
            along_y = continued(pressure, 1, -2, self.beyond[0])
        over_x, over_y = along_x.diff(dim=-1), along_y.diff(dim=-2)
        return over_x[..., 1:], -over_x[..., :-1], over_y[..., 1:, :], -over_y[..., :-1, :]

    def acceleration(self, pressure: torch.Tensor, stencil: torch.Tensor) -> torch.Tensor:
        """a(p), (batch, 1, y, x), without damping."""
        flows = [w * d for w, d in zip(stencil[:, : self.links].split(1, dim=1), self.strain(pressure), strict=True)]
        return sum(flows[1:], start=flows[0])

    def forward(self, state: torch.Tensor, stencil: torch.Tensor, substeps: Substeps | None = None) -> torch.Tensor:
        """The state (batch, 2, y, x) one frame later; the same state where there are no sub-steps."""
        substeps = self.substeps if substeps is None else substeps
        most = substeps if isinstance(substeps, int) else int(substeps.max())
        if most == 0:
            return state
        damping = stencil[:, self.links : self.links + 1] if self.absorbs else None
        if step_gradients.able(state, stencil, self.links):
            each = torch.full((len(state),), substeps) if isinstance(substeps, int) else substeps.flatten()
            return step_gradients.frame(state, stencil[:, : self.links], damping, each, self.images_beyond())
        pressure, rate = state[:, :1], state[:, 1:]
        # Each kick is a half before the drift, explicit in the damping, and a half after it, implicit.
        half = 1 / (2 * substeps)
        rate = rate if damping is None else rate * (1 - half * damping)
        rate = rate + half * self.acceleration(pressure, stencil)
        for substep in range(most):
            before, after = halves(substeps, substep)
            pressure = pressure + 2 * before * rate
            kick = self.acceleration(pressure, stencil)
            if damping is None:
                rate = rate + (before + after) * kick
                continue
            rate = (rate + before * kick) / (1 + before * damping)
            rate = rate * (1 - after * damping) + after * kick
        return torch.cat((pressure, rate), dim=1)

    def energy(self, state: torch.Tensor, stencil: torch.Tensor, medium: torch.Tensor) -> torch.Tensor:
        """dt^2 times the wave's energy in cell units, (batch, 1, 1, 1): 1/2 sum v^2/kappa + 1/2 sum over faces."""
        # Every inner face is seen from both sides, and a soft one from one side with twice the difference to it,
        # half a cell away: hence the quarter.
        strain = torch.cat(self.strain(state[:, :1]), dim=1) ** 2 * stencil[:, : self.links]
        density = (state[:, 1:] ** 2 / 2 + strain.sum(dim=1, keepdim=True) / 4) / medium[:, :1]
        return density.sum(dim=(1, 2, 3), keepdim=True)

    def macs(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Multiply-accumulates on a grid (y, x): of a frame, and of `stencil`, where nothing is counted."""
        acceleration = 4 + 4 + 1  # differences, stencil, kick
        return grid[0] * grid[1] * ((self.substeps + 1) * acceleration + self.substeps) if self.substeps else 0, 0


def halves(substeps: Substeps, substep: int) -> tuple[Share, Share]:
    """Half of a sub-step's length, and half of the next one's: nothing in media that have taken all of theirs."""
    if isinstance(substeps, int):
        return 1 / (2 * substeps), (substep + 1 < substeps) / (2 * substeps)
    return (substep < substeps) / (2 * substeps), (substep + 1 < substeps) / (2 * substeps)


def substeps_in_all(courant: float, sides: Sides, media: Iterable[np.ndarray]) -> int:
    """Sub-steps with which the coarse step is stable in media (2, y, x)."""
    step = CoarseStep(courant, 1, sides)
    bounds = (step.bound(step.stencil(torch.from_numpy(medium[None]))) for medium in media)
    return max(int(step.stable_with(bound)) for bound in bounds)
