"""The coarse explicit step that a forecaster starts from: finite volumes on the forecast's own grid.

With cell values kappa, rho and the state (p, v), v = dt p_t, in units of the frame interval dt and the cell size h:
    a(p) = C^2 kappa sum over the four faces of (p_neighbour - p) 2 / (rho + rho_neighbour),    C = dt / h
    velocity Verlet with n sub-steps of 1/n:  v += a/(2n),  p += v/n,  v += a/(2n)
A face to a rigid wall carries nothing. 2 / (rho + rho_n) is 1/<rho>, the average along a face's normal. The scheme is
linear in the state, reversible, and conserves its own energy (LeVeque, Finite Volume Methods, 2002, section 9).
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from wavesim.errors import WavesimError


class CoarseStep(nn.Module):
    """`substeps` explicit sub-steps a frame at Courant number `courant` = frame interval / cell size (c = 1)."""

    differences: torch.Tensor

    def __init__(self, courant: float, substeps: int):
        super().__init__()
        self.courant, self.substeps = courant, substeps
        kernel = torch.zeros(4, 1, 3, 3)
        kernel[:, 0, 1, 1] = -1
        for face, (y, x) in enumerate(((1, 2), (1, 0), (2, 1), (0, 1))):
            kernel[face, 0, y, x] = 1
        self.register_buffer("differences", kernel, persistent=False)

    def stencil(self, medium: torch.Tensor) -> torch.Tensor:
        """Weights of the four faces, (batch, 4, y, x), of a medium (batch, 2, y, x); 0 at walls."""
        kappa, rho = medium[:, :1], medium[:, 1:]
        neighbour = F.pad(rho, (1, 1, 1, 1), mode="replicate")
        faces = (
            neighbour[..., 1:-1, 2:],
            neighbour[..., 1:-1, :-2],
            neighbour[..., 2:, 1:-1],
            neighbour[..., :-2, 1:-1],
        )
        weights = torch.cat([2 * self.courant**2 * kappa / (rho + other) for other in faces], dim=1)
        weights[:, 0, :, -1] = 0
        weights[:, 1, :, 0] = 0
        weights[:, 2, -1, :] = 0
        weights[:, 3, 0, :] = 0
        return weights

    def check(self, stencil: torch.Tensor) -> None:
        """Refuse a medium in which the sub-steps are unstable (Gershgorin's bound on the largest eigenvalue).

        Raises:
            WavesimError: with the number of sub-steps that is enough.
        """
        largest = 2 * float(stencil.sum(dim=1).max())
        needed = math.floor(math.sqrt(largest) / 2) + 1
        if 0 < self.substeps < needed:
            raise WavesimError(
                f"substeps {self.substeps} is unstable in this medium; it takes at least {needed} "
                f"(wave speed up to {math.sqrt(largest / 8) / self.courant:.2f} cells a background cell)"
            )

    def acceleration(self, pressure: torch.Tensor, stencil: torch.Tensor) -> torch.Tensor:
        """a(p), (batch, 1, y, x); where the zero padding enters, the stencil is 0."""
        if torch.is_autocast_enabled(pressure.device.type):  # half precision has no digits for differences
            with torch.autocast(pressure.device.type, enabled=False):
                return self.acceleration(pressure, stencil)
        return (F.conv2d(pressure, self.differences, padding=1) * stencil).sum(dim=1, keepdim=True)

    def forward(self, state: torch.Tensor, stencil: torch.Tensor) -> torch.Tensor:
        """The state (batch, 2, y, x) one frame later; the same state where there are no sub-steps."""
        if self.substeps == 0:
            return state
        share = 1 / self.substeps
        pressure, rate = state[:, :1], state[:, 1:]
        rate = rate + share / 2 * self.acceleration(pressure, stencil)
        for substep in range(self.substeps):
            pressure = pressure + share * rate
            last = substep == self.substeps - 1
            rate = rate + (share / 2 if last else share) * self.acceleration(pressure, stencil)
        return torch.cat((pressure, rate), dim=1)

    def energy(self, state: torch.Tensor, stencil: torch.Tensor, medium: torch.Tensor) -> torch.Tensor:
        """dt^2 times the wave's energy in cell units, (batch, 1, 1, 1): 1/2 sum v^2/kappa + 1/2 sum over faces."""
        # Every inner face is seen from both sides, hence the quarter.
        strain = F.conv2d(state[:, :1], self.differences, padding=1) ** 2 * stencil
        density = (state[:, 1:] ** 2 / 2 + strain.sum(dim=1, keepdim=True) / 4) / medium[:, :1]
        return density.sum(dim=(1, 2, 3), keepdim=True)
