"""B p and whole steps by torch, on any device: compressed rows, fields there and back at every call.

One call takes a whole interval's steps, with a layer and sources too, so that the way there and back is short beside
them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from wavesim.errors import WavesimError
from wavesim.fem import march
from wavesim.fem.absorbing import Layer
from wavesim.fem.drive import Drive
from wavesim.fem.march import Motion


@dataclass(frozen=True)
class OnDevice:
    """matrix: B, or h^2 K where scale = 1/M (unknowns, batch) multiplies its product; device: a name of torch's."""

    matrix: sparse.csr_matrix
    scale: np.ndarray | None
    device: str
    layer: Layer | None = None
    drive: Drive | None = None

    def product(self, field: np.ndarray) -> np.ndarray:
        """B times a field (unknowns[, batch])."""
        with self._told():
            return self._times(self._there(field)).cpu().numpy().reshape(field.shape)

    def advance(
        self, pressure: np.ndarray, increment: np.ndarray, steps: int, order: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """p and d after so many steps, where there is neither a layer nor a source."""
        motion = self.march(Motion(pressure, increment), steps, order, 0)
        return motion.pressure, motion.increment

    def march(self, motion: Motion, steps: int, order: int, taken: int) -> Motion:
        """The motion after so many steps; `taken` have been before.

        Raises:
            WavesimError: the device lacks what a step takes (sparse matrices, double precision, memory).
        """
        with self._told():
            there = Motion(*(self._there(field) for field in motion.parts))
            there = march.advance(self._times, there, steps, order, self._layer, self._drive, taken)
            pairs = zip(there.parts, motion.parts, strict=True)
            return Motion(*(now.cpu().numpy().reshape(np.shape(before)) for now, before in pairs))

    def _times(self, field: Any) -> Any:
        product = self._matrix @ field
        return product if self._scale is None else product.mul_(self._scale)

    def _there(self, values: Any) -> Any:
        """A copy on the device: of a matrix, or of values (n[, batch]) as (n, batch)."""
        import torch  # a second, and without a device nobody needs it

        if not sparse.issparse(values):
            values = np.asarray(values, self.matrix.dtype)
            return torch.tensor(values.reshape(len(values) if values.ndim else 1, -1), device=self.device)
        start, column, value = (torch.from_numpy(part) for part in (values.indptr, values.indices, values.data))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*(invariant checks|beta state)")
            return torch.sparse_csr_tensor(start, column, value, values.shape).to(self.device)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (NotImplementedError, RuntimeError, TypeError) as error:
            reason = str(error).split("\n")[0]
            raise WavesimError(f"torch takes no steps on {self.device} ({reason}): leave the device out") from error

    @cached_property
    def _matrix(self) -> Any:
        return self._there(self.matrix)

    @cached_property
    def _scale(self) -> Any:
        return None if self.scale is None else self._there(self.scale)

    @cached_property
    def _layer(self) -> Layer | None:
        names = ("keep", "kick", "pull", "scale", "derivative", "push", "decay", "gain")
        return self.layer and replace(self.layer, **{name: self._there(getattr(self.layer, name)) for name in names})

    @cached_property
    def _drive(self) -> Drive | None:
        drive = self.drive
        if drive is None:
            return None
        level, curve = self._there(drive.level), None if drive.curve is None else self._there(drive.curve)
        return replace(drive, signal=lambda time: self._there(drive.signal(time)), level=level, curve=curve)
