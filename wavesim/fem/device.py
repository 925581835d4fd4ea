"""B p and whole steps of stepper.py by torch, on any device: compressed rows, fields there and back at every call.

One call of `advance` takes a whole interval's steps, so that the way there and back is short beside them.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:  # it takes a second to import, and without a device nobody needs it
    import torch


@dataclass(frozen=True)
class OnDevice:
    """matrix: B, or h^2 K where scale = 1/M (unknowns, batch) multiplies its product; device: a name of torch's."""

    matrix: sparse.csr_matrix
    scale: np.ndarray | None
    device: str

    def product(self, field: np.ndarray) -> np.ndarray:
        """B times a field (unknowns[, batch])."""
        return self._times(self._there(field)).cpu().numpy().reshape(field.shape)

    def advance(
        self, pressure: np.ndarray, increment: np.ndarray, steps: int, order: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """p and d after so many steps."""
        p, d = self._there(pressure), self._there(increment)
        for _ in range(steps):
            p += d
            force = self._times(p)
            d -= force
            if order == 4:
                d.add_(self._times(force), alpha=1 / 12)
        return p.cpu().numpy().reshape(pressure.shape), d.cpu().numpy().reshape(pressure.shape)

    def _times(self, field: torch.Tensor) -> torch.Tensor:
        matrix, scale = self._tensors
        return matrix @ field if scale is None else (matrix @ field).mul_(scale)

    def _there(self, field: np.ndarray) -> torch.Tensor:
        """A copy (unknowns, batch) on the device."""
        import torch

        return torch.tensor(field.reshape(len(field), -1), device=self.device)

    @cached_property
    def _tensors(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        import torch

        m = self.matrix
        start, column, value = (torch.from_numpy(part) for part in (m.indptr, m.indices, m.data))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*(invariant checks|beta state)")
            matrix = torch.sparse_csr_tensor(start, column, value, m.shape).to(self.device)
        return matrix, None if self.scale is None else self._there(self.scale)
