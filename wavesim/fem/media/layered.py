"""Layers separated by parallel lines.

With n = (cos a, sin a) the direction across the layers, layer k lies where b_k <= n . (x, y) < b_(k+1), b_0 = -infinity
and b_last = infinity. Its share, from the shares of the half planes above its two bounds (`blend`), is

    s_k = h(b_k - n . (x, y)) - h(b_(k+1) - n . (x, y)),     1/kappa = sum s_k / kappa_k,     rho = sum s_k rho_k,

so that every layer keeps its thickness whatever the interface's width.

Reference: Brekhovskikh, Waves in Layered Media, 2nd ed. (1980).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from wavesim.errors import WavesimError
from wavesim.fem.arguments import require_positive
from wavesim.fem.media.blend import require_width, share
from wavesim.fem.medium import Medium


def layered(
    bounds: Sequence[float],
    bulk_moduli: Sequence[float],
    densities: Sequence[float],
    direction: Literal["x", "y"] | float = "x",
    interface_width: float = 0.0,
) -> Medium:
    """Layers one after the other along a direction; a point on a bound belongs to the layer beyond it.

    Args:
        bounds: (layers - 1,) increasing distances from the origin along the direction, nondimensional like all below.
        bulk_moduli, densities: (layers,). interface_width: 0 for sharp interfaces.
        direction: across the layers: "x" (the lines are vertical), "y", or an angle from x towards y in radians.
    Raises:
        WavesimError: numbers of layers that do not fit, bounds that do not increase, or a value that is not positive.
    """
    places = np.array(bounds, dtype=np.float64).reshape(-1)
    if not len(bulk_moduli) == len(densities) == places.size + 1:
        raise WavesimError(
            f"{len(bulk_moduli)} bulk_moduli and {len(densities)} densities for {places.size} bounds; "
            f"there must be {places.size + 1} of each, one more than bounds"
        )
    if not (np.isfinite(places).all() and (np.diff(places) > 0).all()):
        raise WavesimError(f"bounds {places.tolist()} of layers must be finite and increase")
    if isinstance(direction, str) and direction not in ("x", "y"):
        raise WavesimError(f"direction {direction!r} of layers must be 'x', 'y' or an angle in radians")
    require_positive("bulk_modulus of a layer", *bulk_moduli)
    require_positive("density of a layer", *densities)
    require_width(interface_width)

    def mixed(values: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        # Along an axis one coordinate decides: n values on an open grid, not n^2.
        if isinstance(direction, str):
            along = np.asarray(x if direction == "x" else y)
        else:
            along = np.cos(direction) * x + np.sin(direction) * y
        total, above = np.zeros(along.shape), np.ones(along.shape)
        for value, place in zip(values[:-1], places, strict=True):
            beyond = share(place - along, interface_width)
            total, above = total + (above - beyond) * value, beyond
        return np.array(np.broadcast_to(total + above * values[-1], np.broadcast_shapes(np.shape(x), np.shape(y))))

    compressibilities, masses = 1 / np.array(bulk_moduli, np.float64), np.array(densities, np.float64)
    return Medium(lambda x, y: 1 / mixed(compressibilities, x, y), lambda x, y: mixed(masses, x, y))
