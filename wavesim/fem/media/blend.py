"""How one material gives way to another: sharply, or by their shares over an interface of a declared width.

With d the signed distance to a body's surface (negative inside) and w the width of the interface, the body's share is

    s(d) = (1 - tanh(2 d / w)) / 2     or, where w = 0,     s(d) = 1 for d <= 0, and 0 beyond,

and shares s_i, which sum to one, mix to 1/kappa = sum s_i / kappa_i and rho = sum s_i rho_i, as in a `packing`. Three
quarters of the change happen within w, and over a straight interface no compressibility or mass is won or lost.

Reference: Wood, A Textbook of Sound (1930), on mixtures.
"""

from __future__ import annotations

import numpy as np

from wavesim.errors import WavesimError


def share(distance: np.ndarray, width: float) -> np.ndarray:
    """s at signed distances, of any shape; all nondimensional."""
    if width == 0:
        return np.less_equal(distance, 0).astype(np.float64)
    return (1 - np.tanh(2 / width * np.asarray(distance))) / 2


def require_width(width: float) -> None:
    """Raises WavesimError unless `width` can be that of an interface."""
    if not 0 <= width < np.inf:
        raise WavesimError(f"interface_width {width} must be 0 (sharp) or positive")
