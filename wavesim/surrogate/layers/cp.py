"""Canonical polyadic convolutions: a sum of R ranks, each with a weight of its own.

    W = sum_r lambda_r  c_r (x) F_r (x) a_r,    |c_r| = |F_r| = |a_r| = 1
a_r reads the channels, c_r writes them, F_r is what the axis filters of a rank make up: a cross where they stand side
by side, an outer product where they follow each other. lambda_r >= 0 is the size of the rank's whole contribution, zero
exactly where it contributes nothing, and unchanged when one factor grows at another's cost.

The parameters are the plain factors, and lambda is the product of their norms. As parameters of their own, times
factors that are scaled to unit norm in every pass, they learned to the same error (10.5 against 10.7 %, seeds from 9.5
to 11.8; benchmarks/layers.py), moved less from where they began, and cost a norm of each factor in every pass.

All factors of a rank start at the same norm, and all ranks at the same weight. CP kernels can degenerate into large
ranks that cancel (Phan et al., arXiv 2008.05441): decay on the product does not see that, `rank_weights` does.
"""

from __future__ import annotations

import torch

from wavesim.surrogate.layers.convolution import Convolution


class CPConvolution(Convolution):
    """1 x 1 to R channels, filters along each axis, 1 x 1 out: weights `inward`, `along_*`, `outward`."""

    @property
    def rank(self) -> int:
        return self.stages[0].channels_out

    def factors(self) -> list[torch.Tensor]:
        """What each stage holds of every rank: (rank, numbers)."""
        *reading, writing = (self.stage_kernel(stage) for stage in self.stages)
        return [taps.flatten(1) for taps in (*reading, writing.transpose(0, 1))]

    def rank_weights(self) -> torch.Tensor:
        """lambda, (rank,), differentiable; in double precision, so that no product of small norms becomes zero."""
        return torch.stack([factor.double().norm(dim=1) for factor in self.factors()]).prod(dim=0)

    def frobenius(self) -> torch.Tensor:
        """sum(W^2) from scalar products of the ranks: sum over r, s of (c_r c_s) (F_r F_s) (a_r a_s)."""
        return torch.stack([factor @ factor.T for factor in self.factors()]).prod(dim=0).sum()

    @torch.no_grad()
    def balance(self) -> None:
        """Give all factors of each rank the same norm; the kernel stays what it is."""
        norms = torch.stack([factor.norm(dim=1) for factor in self.factors()])
        target = norms.prod(dim=0) ** (1 / len(norms))
        for stage, scale in zip(self.stages, torch.where(target > 0, target / norms, 1.0), strict=True):
            for name, _ in stage.filters:
                per_rank = self.get_parameter(name).movedim(1 if stage is self.stages[-1] else 0, -1)
                per_rank.mul_(scale)

    def _to_unit_gain(self) -> None:
        weights = self.rank_weights()
        self.get_parameter("outward").movedim(1, -1).div_(weights / weights.mean())
        self.balance()
        super()._to_unit_gain()
