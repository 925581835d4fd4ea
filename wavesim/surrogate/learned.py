"""What the steps with a learned operator have in common, all of it from the form of the operator alone.

    p_tt = -A p,    A = kappa B'B,    so that A is symmetric and semidefinite with the weight 1/kappa
Superposition, scaling and time reversal hold for every B, and B annihilates a pressure that is the same everywhere.
Velocity Verlet with n sub-steps conserves, to rounding, the scheme's own energy
    E = 1/2 |u|^2 + 1/2 <p, A (p + u/n)>,    u = v + a(p)/(2n),
with damping E falls (Hairer, Lubich and Wanner, Geometric Numerical Integration, 2006, section IX). E is positive, and
bounds the state for ever, where the largest eigenvalue of A is below 4 n^2. That is bounded once for each medium, and a
medium that is too stiff for the settings' sub-steps gets more: nothing is scaled, so that no wave is slowed. The same
in training: what is learned is the step that forecasts, its error in time included, and the loss stays finite whatever
the weights do on their way.
"""

from __future__ import annotations

import torch

from wavesim.surrogate.coarse import CoarseStep, Substeps

# Twelve vectors and the residual come to within -0.5 and +2.5 % of the largest eigenvalue on 64 x 64 cells of contrast
# (20, 5); forty of the power iteration were up to 6 % below it.
VECTORS, MARGIN = 12, 1.05


class LearnedStep(CoarseStep):
    """A step whose stencil has kappa behind its links and its damping, and whatever its acceleration needs after it."""

    def kappa(self, stencil: torch.Tensor) -> torch.Tensor:
        """(batch, 1, y, x)."""
        place = self.links + self.absorbs
        return stencil[:, place : place + 1]

    def check(self, stencil: torch.Tensor) -> None:
        """No medium is refused: a stiff one takes more sub-steps."""

    @torch.no_grad()
    def largest(self, stencil: torch.Tensor, enough: float | torch.Tensor = 0.0) -> torch.Tensor:
        """A bound of the largest eigenvalue of A from above, (batch,): Lanczos's, its residual included.

        Args:
            enough: a bound, or (batch, 1, 1, 1), up to which no better one is looked for.
        Source: Zhou and Li, Linear Algebra and its Applications 435 (2011), 480.
        """
        kappa = self.kappa(stencil)
        noise = torch.randn(kappa.shape[-2:], generator=torch.Generator().manual_seed(0)).to(stencil)
        field, before = noise.expand_as(kappa), torch.zeros_like(kappa)
        field, beta = field / _norm(field, kappa), torch.zeros_like(kappa[:, :, :1, :1])
        tridiagonal = kappa.new_zeros(len(kappa), VECTORS, VECTORS)
        for k in range(VECTORS):
            image = -self.acceleration(field, stencil) - beta * before
            alpha = (field * image / kappa).sum(dim=(1, 2, 3), keepdim=True)
            image = image - alpha * field
            beta = _norm(image, kappa)
            tridiagonal[:, k, k] = alpha.flatten()
            if k + 1 < VECTORS:
                tridiagonal[:, k, k + 1] = tridiagonal[:, k + 1, k] = beta.flatten()
            # Where few cells have few modes, nothing is left after as many vectors.
            field, before = image / beta.clamp_min(torch.finfo(beta.dtype).tiny), field
        values, vectors = torch.linalg.eigh(tridiagonal)
        return MARGIN * (values[:, -1] + beta.flatten() * vectors[:, -1, -1].abs())

    def granted(self, medium: torch.Tensor) -> torch.Tensor:
        """Sub-steps that a frame takes at least in each of these media, (batch, 1, 1, 1)."""
        return torch.full_like(medium[:, :1, :1, :1], self.substeps)

    def substeps_in(self, stencil: torch.Tensor, medium: torch.Tensor) -> Substeps:
        """Those that are granted, or as many as each medium is stable in; at export the settings'."""
        if torch.compiler.is_exporting():
            return self.substeps
        granted = self.granted(medium)
        largest = self.largest(stencil, enough=3.999 * granted**2).view_as(granted)
        each = torch.maximum(granted, self.stable_with(largest))
        most = int(each.max())
        return most if int(each.min()) == most else each

    def scheme_energy(self, state: torch.Tensor, stencil: torch.Tensor, substeps: Substeps) -> torch.Tensor:
        """E above, (batch, 1, 1, 1)."""
        pressure, rate = state[:, :1], state[:, 1:]
        acceleration = self.acceleration(pressure, stencil)
        damping = stencil[:, self.links : self.links + 1] / (2 * substeps) if self.absorbs else 0.0
        rate = rate * (1 - damping) + acceleration / (2 * substeps)
        density = rate.square() - (pressure + rate / substeps) * acceleration
        return (density / (2 * self.kappa(stencil))).sum(dim=(1, 2, 3), keepdim=True)


def _norm(field: torch.Tensor, kappa: torch.Tensor) -> torch.Tensor:
    """(batch, 1, 1, 1), with the weight 1/kappa."""
    return (field.square() / kappa).sum(dim=(1, 2, 3), keepdim=True).sqrt()
