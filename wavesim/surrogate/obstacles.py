"""Rigid obstacles inside the domain: cells of infinite density, which no wave enters.

    p = p_t = 0 inside,    (1/rho) dp/dn = 0 at their faces, as 2 / (rho + infinity) = 0 has it
An explicit step needs to know no more. A network sees the background, kappa = rho = 1, where an obstacle is, and what
it says there is multiplied by a mask. The bulk modulus of an obstacle is of no account.
"""

from __future__ import annotations

import torch


def mask(medium: torch.Tensor) -> torch.Tensor:
    """1 in cells that waves go through, 0 in obstacles, (batch, 1, y, x), of a medium (batch, 2, y, x)."""
    return (medium[:, 1:] != torch.inf).to(medium)


def without_obstacles(medium: torch.Tensor) -> torch.Tensor:
    """The medium (batch, 2, y, x) with the background in the place of obstacles."""
    return torch.where(medium[:, 1:] == torch.inf, 1.0, medium)
