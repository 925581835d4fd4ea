"""K of a rectangle of elements as diagonals, and as a sum of products where the density is uniform.

With sides along the axes and quadrature at the nodes, a node is coupled to those of its row and of its column alone, at
most w = degree places away (cyclically, where sides are periodic): 4 w + 1 diagonals. Where the density is uniform too,

    K = Kx (x) My + Mx (x) Ky,     M^-1 K = s (Mx^-1 Kx (x) 1 + 1 (x) My^-1 Ky),     s = (Mx (x) My) / M,

so that all media share two small matrices, and only s is read with a field. Both forms are found in K itself, whatever
its walls and layers.

Reference: Deville, Fischer, Mund, High-Order Methods for Incompressible Fluid Flow (2002), section 4.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from wavesim.fem.rounding import single

WIDEST = 8  # places: the largest degree
LANES = 64  # bytes of a vector: rows are filled up to whole ones
SAME = 1e-12  # of the largest entry: rounding in the assembly of K, 1e-14 with 200 elements a side


@dataclass(frozen=True)
class Diagonals:
    """M^-1 K, times h^2, on a grid of rows x columns.

    along: (2 w + 1, columns), or (rows, 2 w + 1, columns) where each row has its own; across: (rows, 2 w + 1), or
    (rows, 2 w + 1, columns); coupled: (rows, 2 w + 1), which rows a row needs. scale: s, 1/M or one, (1 or batch, rows,
    columns). Columns are filled up with zeros to whole vectors. cyclic: whether the last row is coupled to the first.
    """

    along: np.ndarray
    across: np.ndarray
    coupled: np.ndarray
    scale: np.ndarray
    cyclic: bool


def find(matrix: sparse.csr_matrix, scale: np.ndarray | None, mass: np.ndarray, dtype: np.dtype) -> Diagonals | None:
    """The diagonals of B = matrix, or h^2 K = matrix where scale = 1/M, or None if it is not that of a rectangle.

    Double precision keeps K's own entries; single precision shares them where they are a sum of products.
    """
    n, matrix = matrix.shape[0], matrix.multiply(abs(matrix) > SAME * np.abs(matrix.data).max()).tocsr()
    entries = matrix.tocoo()
    row, column = entries.row.astype(int), entries.col.astype(int)
    for columns in np.unique(column[row == 0])[1:].tolist():
        rows, rest = divmod(n, columns)
        if rest:
            continue
        (j, i), (other_j, other_i) = divmod(row, columns), divmod(column, columns)
        dj, di = _cyclic(other_j - j, rows), _cyclic(other_i - i, columns)
        width = int(max(np.abs(dj).max(), np.abs(di).max()))
        if width <= min(WIDEST, (rows - 1) // 2, (columns - 1) // 2) and not np.any((dj != 0) & (di != 0)):
            break
    else:
        return None
    coupled = np.zeros((rows, 2 * width + 1), np.int8)
    coupled[j[dj != 0], (dj + width)[dj != 0]] = 1
    cyclic = bool(np.any(np.abs(other_j - j) > width))
    shape, common = (-1, rows, columns), np.ones((rows, columns))
    if scale is not None:
        common = scale.T.reshape(shape)
    if dtype == np.float32:
        symmetric = (sparse.diags(mass) @ matrix).tocsr() if scale is None else matrix
        if factors := _products(symmetric, rows, columns, width):
            along, across, mass_x, mass_y = factors
            coupled[:, width] = 1  # the diagonal has a part of each
            share = mass_y[:, None] * mass_x * (1 / mass.T).reshape(shape)
            level = share.flat[0]  # s is one in a uniform medium, which is not rounded
            along, across = _rounded(along * level, mass_x), _rounded(across * level, mass_y)
            share = filled(share / level, dtype)
            return Diagonals(filled(along, dtype), np.ascontiguousarray(across.T), coupled, share, cyclic)
        matrix = single(matrix, mass if scale is None else np.ones(len(mass)))
    value, bands = matrix.data, np.zeros((2, 2 * width + 1, rows, columns))
    bands[0, (di + width)[dj == 0], j[dj == 0], i[dj == 0]] = value[dj == 0]
    bands[1, (dj + width)[dj != 0], j[dj != 0], i[dj != 0]] = value[dj != 0]
    along, across = (filled(band.swapaxes(0, 1), dtype) for band in bands)
    return Diagonals(along, across, coupled, filled(common.reshape(shape), dtype), cyclic)


def repeated(along: np.ndarray) -> tuple[int, int, np.ndarray | None]:
    """Between which columns all vectors of along (2 w + 1, columns) are the same, and that one, (2 w + 1, a vector).

    Whole blocks of four vectors, at least two; (0, 0, None) where there are none. Elements of one width repeat, if a
    vector holds whole ones: their numbers then stay in registers, where a long row's would leave the nearest cache.
    """
    lanes = LANES // along.itemsize
    if along.ndim == 2:
        vectors = along[:, : along.shape[1] // (4 * lanes) * 4 * lanes].reshape(len(along), -1, 4, lanes)
        if vectors.shape[1] > 3:
            middle = vectors[:, vectors.shape[1] // 2, :1]
            same = np.flatnonzero((vectors == middle[:, None]).all(axis=(0, 2, 3)))
            if len(same) > 1 and len(same) == same[-1] - same[0] + 1:
                return 4 * lanes * int(same[0]), 4 * lanes * int(same[-1] + 1), filled(middle[:, 0], along.dtype)
    return 0, 0, None


def filled(rows: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The same in whole vectors, which begin where the processor likes them to: twice as fast."""
    lanes = LANES // dtype.itemsize
    shape = (*rows.shape[:-1], -(-rows.shape[-1] // lanes) * lanes)
    memory = np.zeros(int(np.prod(shape)) + lanes, dtype)
    begin = -memory.ctypes.data % LANES // dtype.itemsize
    filled = memory[begin : begin + memory.size - lanes].reshape(shape)
    filled[..., : rows.shape[-1]] = rows
    return filled


def _cyclic(offset: np.ndarray, size: int) -> np.ndarray:
    """The shortest way round."""
    return (offset + size // 2) % size - size // 2


def _products(
    stiffness: sparse.csr_matrix, rows: int, columns: int, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
    """Kx (diagonal, columns), Ky (diagonal, rows), Mx (columns,) and My (rows,), if K is such a sum."""
    # One row and one column tell: in the middle, because walls that hold the pressure leave no constant beside them.
    j, i = rows // 2, columns // 2
    row, column = j * columns + np.arange(columns), np.arange(rows) * columns + i

    def at(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.asarray(stiffness[a, b], float).ravel()

    # Up to factors that cancel: Mx[i] = My[j] = 1.
    mass_y, mass_x = at(column, column + 1), at(row, row + columns)
    if not (mass_y.all() and mass_x.all()):
        return None
    mass_y, mass_x = mass_y / mass_y[j], mass_x / mass_x[i]
    along, across = np.zeros((2 * width + 1, columns)), np.zeros((2 * width + 1, rows))
    for k in range(2 * width + 1):
        if k != width:
            along[k] = at(row, j * columns + (np.arange(columns) + k - width) % columns)
            across[k] = at(column, (column + (k - width) * columns) % (rows * columns))
    # The diagonal is divided so that a constant has no slope along the row.
    along[width, i] = -along[:, i].sum()
    diagonal = stiffness.diagonal()
    across[width] = diagonal[column] - along[width, i] * mass_y
    along[width] = diagonal[row] - across[width, j] * mass_x
    along_x, along_y = _cyclic_matrix(along), _cyclic_matrix(across)
    sum_of_products = sparse.kron(sparse.diags(mass_y), along_x) + sparse.kron(along_y, sparse.diags(mass_x))
    if abs(sum_of_products - stiffness).max() > SAME * np.abs(stiffness.data).max():
        return None
    return along, across, mass_x, mass_y


def _rounded(bands: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """The diagonals (2 w + 1, n) of M^-1 K from those of K, in single precision."""
    width, matrix = len(bands) // 2, single(_cyclic_matrix(bands / mass), mass).tocoo()
    rounded = np.zeros(bands.shape, np.float32)
    rounded[_cyclic(matrix.col - matrix.row, bands.shape[1]) + width, matrix.row] = matrix.data
    return rounded


def _cyclic_matrix(bands: np.ndarray) -> sparse.csr_matrix:
    """The matrix with these diagonals (2 w + 1, n), closed to a cycle."""
    width, n = len(bands) // 2, bands.shape[1]
    row = np.broadcast_to(np.arange(n), bands.shape)
    column = (row + np.arange(-width, width + 1)[:, None]) % n
    return sparse.csr_matrix((bands.ravel(), (row.ravel(), column.ravel())))
