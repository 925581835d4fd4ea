"""Finite elements as a competitor: the same trajectory at another resolution, with nothing done that a race forbids.

Single precision, the pressure alone, sampled once a frame: no energies, no rates. The medium is taken at the nodes;
averages over the nodes' control volumes, harmonic or arithmetic, were worse on every rung but the coarsest.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from wavesim.fem import stepper
from wavesim.fem.stored import prepare, recall


@dataclass(frozen=True)
class Rung:
    """A trajectory of a dataset, ready to run. start: its state at time 0; sampling: (cells, nodes); grid: (y, x)."""

    operator: stepper.Operator
    start: stepper.WaveState
    sampling: sparse.csr_matrix
    grid: tuple[int, int]

    def frame(self, state: stepper.WaveState) -> tuple[stepper.WaveState, np.ndarray]:
        """One frame interval later: the state, and the pressure (y, x) averaged over the grid's cells."""
        state = stepper.advance(self.operator, state)
        return state, (self.sampling @ state.pressure).reshape(self.grid)


def rung(shard: str | Path, row: int, elements: int | None, degree: int) -> Rung:
    """Set up the trajectory `row` of a file on `elements` along x of a degree; none where the file holds its mesh.

    Raises:
        WavesimError: no such trajectory, or dolfinx is not installed.
    """
    _, _, ready, state = prepare(shard, row, elements, degree, dtype=np.float32)
    return Rung(ready.operator, state, ready.sampling, ready.grid)


def pressure(shard: str | Path, row: int, elements: int | None, degree: int) -> np.ndarray:
    """(time, y, x) pressure of all frames, the initial one not included."""
    ready = rung(shard, row, elements, degree)
    state, fields = ready.start, []
    for _ in range(recall(shard, row)[0].frames - 1):
        state, field = ready.frame(state)
        fields.append(field)
    return np.stack(fields)
