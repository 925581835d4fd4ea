"""A field from an array or a picture, stretched over the domain: a tensor-product spline through the values.

    v(x, y) = sum c_ij B_i(y) B_j(x),     v(x_j, y_i) = values[i, j],

linear (order 1, bilinear between the values) or cubic (order 3, twice continuously differentiable, not-a-knot). Values
lie at the centres of cells, or at nodes that reach to the edges; beyond the outermost ones the field stays constant.

Reference: Dierckx, Curve and Surface Fitting with Splines (1993).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from scipy.interpolate import RectBivariateSpline

from wavesim.errors import WavesimError
from wavesim.fem.arguments import require_positive
from wavesim.fem.media.fields import by_columns_and_rows
from wavesim.fem.medium import Field


def image(
    values: np.ndarray,
    lengths: tuple[float, float] = (1.0, 1.0),
    order: Literal[1, 3] = 1,
    place: Literal["cells", "nodes"] = "cells",
) -> Field:
    """The field through an array; give it to `graded` or `from_modulus`. A cubic one may overshoot at sharp edges.

    Args:
        values: (y, x) positive and finite, row 0 at y = 0. lengths: (Lx, Ly) of the domain. Nondimensional.
        order: of the spline. place: "cells", the centres of equal cells, or "nodes", equally spaced, ends included.
    Raises:
        WavesimError: values that are not positive or too few, or a setting that does not exist.
    """
    array = np.asarray(values, dtype=np.float64)
    if order not in (1, 3) or place not in ("cells", "nodes"):
        raise WavesimError(f"order {order!r} must be 1 or 3, and place {place!r} 'cells' or 'nodes'")
    if array.ndim != 2 or min(array.shape) < order + 1:
        raise WavesimError(f"values {array.shape} of an image must be (y, x) with {order + 1} or more each way")
    require_positive("length of the domain", *lengths)
    require_positive("value of an image", float(array.min()), float(array.max()))
    lines = [_line(count, length, place) for count, length in zip(array.shape[::-1], lengths, strict=True)]
    spline = RectBivariateSpline(lines[1], lines[0], array, kx=order, ky=order)

    def field(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        x, y = np.clip(x, *lines[0][[0, -1]]), np.clip(y, *lines[1][[0, -1]])
        return by_columns_and_rows(lambda x, y: spline(y, x), lambda x, y: spline.ev(y, x), x, y)

    return field


def picture(
    path: str | Path, low: float, high: float, lengths: tuple[float, float] = (1.0, 1.0), order: Literal[1, 3] = 1
) -> Field:
    """The field of a picture's brightness, the mean of its colours: black is `low`, white is `high`, the top is y = Ly.

    Transparency is left aside; of several pictures in a file the first one counts. Floats go from 0 to 1.

    Raises:
        WavesimError: no picture that can be read, or `low` or `high` not positive.
    """
    import imageio.v3 as imageio

    require_positive("low of a picture", low)
    require_positive("high of a picture", high)
    try:
        pixels = np.asarray(imageio.imread(path, index=0))
    except Exception as error:  # each of imageio's readers has errors of its own
        raise WavesimError(f"{path} cannot be read as a picture ({error}); use PNG, JPEG or TIFF") from error
    white = np.iinfo(pixels.dtype).max if np.issubdtype(pixels.dtype, np.integer) else 1.0
    if pixels.ndim == 3:
        colours = pixels.shape[2] - (pixels.shape[2] in (2, 4))
        pixels = pixels[:, :, :colours].mean(axis=2)
    return image(low + (high - low) * (pixels[::-1] / white), lengths, order)


def _line(count: int, length: float, place: str) -> np.ndarray:
    """(count,) places of the values along an axis."""
    return (np.arange(count) + 0.5) * (length / count) if place == "cells" else np.linspace(0, length, count)
