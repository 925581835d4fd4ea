"""The rows of B = h^2 M^-1 K in single precision, so that constants stay and waves keep their speed.

Where many unknowns share these numbers, what they are off does not average out. Two sums decide what rounding does to a
smooth field u:

    of a row,  sum_j B_ij               nothing in exact numbers: what is left of it pushes a constant the same way
                                        everywhere at every step
    of all,    sum_ij u_i M_i B_ij u_j  by Rayleigh's quotient the square of the wave speed: 1e-6 off is a thousandth of
                                        a wavelength after two thousand

Multiples of one unit, below 2^24 of them, add up without rounding, and the largest entry of a row takes up what their
sum is off: the first is exact. For the second entries are rounded up or down in many ways, equal ones alike, and the
way that changes the speed least is kept.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

TRIALS = 512  # at most; the best leaves 1e-8 to 1e-7
ENTRIES = 3e6  # rounded in all trials: a second
FIELDS, STEPS, TIMES = 8, 60, 4  # of averaging over time: what is left are waves of five elements and more


def single(matrix: sparse.csr_matrix, mass: np.ndarray) -> sparse.csr_matrix:
    """The matrix in single precision; mass (unknowns,) times its rows is symmetric. No row may be empty."""
    exact = matrix.astype(float)
    if not _repeats(exact) or 2 * exact.nnz > ENTRIES:
        return _rounded(exact).astype(np.float32)
    smooth = _smooth(exact)

    def stiffness(matrix: sparse.csr_matrix) -> float:
        return float(np.sum(mass @ (smooth * (matrix @ smooth))))

    true = stiffness(exact)
    trials = (_rounded(exact, trial) for trial in range(int(min(ENTRIES / exact.nnz, TRIALS))))
    return min(trials, key=lambda rounded: abs(stiffness(rounded) - true)).astype(np.float32)


def annihilating(columns: np.ndarray) -> np.ndarray:
    """Columns (entries, n) in single precision: those that sum to nothing still do, exactly."""
    entries, n = columns.shape
    place = np.tile(np.arange(entries), n), np.arange(0, columns.size + 1, entries)
    rows = sparse.csr_matrix((columns.T.ravel(), *place), (n, entries))
    return _rounded(rows).data.reshape(n, entries).T.astype(np.float32)


def _rounded(matrix: sparse.csr_matrix, trial: int = 0) -> sparse.csr_matrix:
    """The rows in multiples of a unit each, to the nearest; in other trials to one of the two nearest."""
    value, start = matrix.data, matrix.indptr[:-1]
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    size = np.maximum.reduceat(np.abs(value), start)
    unit = 2.0 ** (np.ceil(np.log2(size)) - 24)
    up = 0.5 + 0.4 * np.sin(100 * trial * value / size[row])
    rounded = np.floor(value / unit[row] + up) * unit[row]
    off = np.where(np.abs(np.add.reduceat(value, start)) < 1e-10 * size, np.add.reduceat(rounded, start), 0)
    largest = np.flatnonzero(np.abs(value) == size[row])
    rounded[largest[np.unique(row[largest], return_index=True)[1]]] -= off
    return sparse.csr_matrix((rounded, matrix.indices, matrix.indptr), matrix.shape)


def _repeats(matrix: sparse.csr_matrix) -> bool:
    """Whether most rows are like others, as in a uniform medium on equal elements."""
    diagonal = matrix.diagonal()
    return 4 * len(np.unique(np.round(diagonal / diagonal.max(), 12))) < len(diagonal)


def _smooth(matrix: sparse.csr_matrix) -> np.ndarray:
    """(unknowns, fields) The long waves of random fields: those move as waves and are averaged over time."""
    field = np.random.default_rng(0).standard_normal((matrix.shape[0], FIELDS))
    largest = abs(matrix).sum(axis=1).max()
    for _ in range(TIMES):
        mean, increment = np.zeros_like(field), -2 / largest * (matrix @ field)
        for weight in np.cos(np.linspace(0, np.pi / 2, STEPS)) ** 2:
            mean += weight * field
            field = field + increment
            increment -= 4 / largest * (matrix @ field)
        field = mean / STEPS
    return field
