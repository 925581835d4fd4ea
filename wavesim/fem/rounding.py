"""The rows of B = h^2 M^-1 K in single precision, so that constants stay and waves keep their speed.

Where many unknowns share these numbers, what they are off does not average out. Two sums decide what rounding does to
long waves:

    of a row,  sum_j B_ij               nothing in exact numbers: what is left of it pushes a constant the same way
                                        everywhere at every step
    of all,    sum_ij u_i M_i B_ij u_j  for a mode u of B, by Rayleigh's quotient, its frequency's square: 1e-6 off is a
                                        thousandth of a wavelength after two thousand

Multiples of one unit, below 2^24 of them, add up without rounding, and the largest entry of a row takes up what their
sum is off: the first is exact. For the second entries are rounded up or down in many ways, equal ones alike, and the
way is kept that moves the lowest modes least.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse import linalg

TRIALS = 512  # at most; the best leaves 5e-8 to 3e-7 where the nearest leave 2e-7 to 2e-6
ENTRIES = 1e6  # rounded in all trials
LARGEST = 2e5  # entries of a matrix, whose modes take two seconds; four times as many take seven
MODES = 40  # at most, of the lowest quarter
DENSE = 500  # unknowns, up to which all modes are computed


def single(matrix: sparse.csr_matrix, mass: np.ndarray) -> sparse.csr_matrix:
    """The matrix in single precision; mass (unknowns,) times its rows is symmetric. No row may be empty."""
    exact = matrix.astype(float)
    if not _repeats(exact) or exact.nnz > LARGEST:
        return _rounded(exact).astype(np.float32)
    modes, squares = _lowest(exact, mass)

    def off(rounded: sparse.csr_matrix) -> float:
        moved = np.einsum("ik,i,ik->k", modes, mass, rounded @ modes) / squares - 1
        return float(np.abs(moved).max(initial=0.0))

    trials = (_rounded(exact, trial) for trial in range(int(min(ENTRIES / exact.nnz, TRIALS))))
    return min(trials, key=off).astype(np.float32)


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
    sums = np.maximum(size, np.add.reduceat(np.abs(value), start) / 2)  # no part of a row adds up to more
    unit = 2.0 ** (np.floor(np.log2(1.000001 * sums)) + 1 - 24)
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


def _lowest(matrix: sparse.csr_matrix, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(unknowns, modes) the lowest modes that are no constant, and (modes,) the squares of their frequencies."""
    root = np.sqrt(mass)
    symmetric = sparse.diags(root) @ matrix @ sparse.diags(1 / root)
    symmetric = ((symmetric + symmetric.T) / 2).tocsc()
    largest = float(abs(symmetric).sum(axis=1).max())
    count = min(MODES, len(mass) // 4 + 1)
    if len(mass) <= DENSE:
        squares, vectors = np.linalg.eigh(symmetric.toarray())
        squares, vectors = squares[:count], vectors[:, :count]
    else:
        start = np.random.default_rng(0).standard_normal(len(mass))
        squares, vectors = linalg.eigsh(symmetric, k=count, sigma=-1e-6 * largest, v0=start)
    found = squares > 1e-9 * largest
    return vectors[:, found] / root[:, None], squares[found]
