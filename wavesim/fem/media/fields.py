"""What every medium's fields have in common: positive, finite, and of the shape that the points broadcast to.

A medium is often asked on an open grid, x (1, n) and y (n, 1), or on points that lie on one: a field that is a product
of a part in x and a part in y is then computed once for every column and row, and not for every point.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from wavesim.errors import WavesimError
from wavesim.fem.arguments import require_positive
from wavesim.fem.medium import Field


def checked(name: str, field: Field | float) -> Field:
    """`field`, a number or a function of (x, y), as a function that gives float64 values of the points' shape.

    Raises:
        WavesimError: `field` is a number that is not positive and finite; the function that is returned raises where a
            value is not, or where the values do not have the points' shape.
    """
    if not callable(field):
        require_positive(name, field)

    def values(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        shape = np.broadcast_shapes(np.shape(x), np.shape(y))
        got = np.asarray(field(x, y) if callable(field) else field, dtype=np.float64)
        try:
            full = got if got.shape == shape else np.array(np.broadcast_to(got, shape))
        except ValueError as error:
            raise WavesimError(
                f"{name} has values of shape {got.shape} at points of shape {shape}; it must broadcast like x + y"
            ) from error
        wrong = ~((full > 0) & (full < np.inf))
        if wrong.any():
            first = np.unravel_index(np.argmax(wrong), shape)
            place = tuple(float(np.broadcast_to(axis, shape)[first]) for axis in (x, y))
            raise WavesimError(
                f"{name} {full[first]:.6g} at {place} must be positive and finite; change the field there"
            )
        return full

    return values


def by_columns_and_rows(
    grid: Callable[[np.ndarray, np.ndarray], np.ndarray],
    points: Callable[[np.ndarray, np.ndarray], np.ndarray],
    x: np.ndarray,
    y: np.ndarray,
) -> np.ndarray:
    """A field at (x, y), computed on the grid of their distinct values where that is no larger than four points each.

    Args:
        grid: from increasing x (column,) and y (row,) to values (row, column). points: from x and y (n,) to (n,).
    """
    (columns, column), (rows, row) = np.unique(x, return_inverse=True), np.unique(y, return_inverse=True)
    shape = np.broadcast_shapes(np.shape(x), np.shape(y))
    if columns.size * rows.size <= 4 * int(np.prod(shape)):
        return grid(columns, rows)[row.reshape(np.shape(y)), column.reshape(np.shape(x))]
    return points(*(np.broadcast_to(axis, shape).ravel() for axis in (x, y))).reshape(shape)
