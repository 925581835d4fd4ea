"""A Gaussian at rest in uniform matter, in the open or in a rectangle: the field of wavesim.fem.source.Pulse.

    p(r, 0) = A e^(-r^2 / (2 w^2)),   p_t(r, 0) = 0
    p(r, t) = A w^2 integral_0^inf of k e^(-k^2 w^2 / 2) J0(k r) cos(c k t) dk

Sides are images. The integral is cut at k w = 9, where 1e-17 is left, and done by Gauss panels of two waves.
Reference: Morse and Feshbach, Methods of Theoretical Physics I (1953), section 6.3 (Hankel transform).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import j0

from .images import Sides, images
from .matter import BACKGROUND, Fields, Matter, spread
from .profiles import WIDTHS

OPEN: Sides = ("open", "open")
CUT = 9.0
NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)
CHUNK = 200_000


@dataclass(frozen=True)
class PulseAtRest:
    """The Gaussian around `center` (x, y) with standard deviation `width`."""

    center: tuple[float, float]
    width: float
    amplitude: float = 1.0
    matter: Matter = BACKGROUND
    x_sides: Sides = OPEN
    y_sides: Sides = OPEN
    lengths: tuple[float, float] = (1.0, 1.0)

    def fields(self, x: np.ndarray, y: np.ndarray, t: np.ndarray | float) -> Fields:
        """(p, p_t), to 1e-13 of the amplitude (p_t: of amplitude c / width) for each image."""
        x, y, t = spread(x, y, t)
        shape = np.broadcast_shapes(x.shape, t.shape)
        c = self.matter.wave_speed
        far = c * np.broadcast_to(np.abs(t), shape)
        reach = float(far.max(initial=0)) + WIDTHS * self.width
        k, weight = self._rule(2 * reach)
        p, p_t = np.zeros((2, *shape))
        for (x0, y0), sign in zip(*images(self.center, self.x_sides, self.y_sides, self.lengths, reach), strict=True):
            r = np.broadcast_to(np.hypot(x - x0, y - y0), shape)
            on = np.nonzero(r < far + WIDTHS * self.width)
            step = max(CHUNK // k.size, 1)
            for first in range(0, on[0].size, step):
                part = tuple(axis[first : first + step] for axis in on)
                bessel = j0(np.multiply.outer(r[part], k)) * weight
                phase = np.multiply.outer(far[part], k)
                p[part] += sign * np.einsum("pk,pk->p", bessel, np.cos(phase))
                p_t[part] -= sign * c * np.einsum("pk,pk,k->p", bessel, np.sin(phase), k)
        return p, p_t * np.sign(np.broadcast_to(t, shape))

    def _rule(self, distance: float) -> tuple[np.ndarray, np.ndarray]:
        """Nodes (wavenumber,) and weights for integrands that oscillate like e^(ik distance)."""
        panels = int(np.ceil(CUT / self.width * distance / (4 * np.pi))) + 4
        width = CUT / self.width / panels
        k = (width * (np.arange(panels)[:, None] + (NODES + 1) / 2)).ravel()
        weight = np.tile(WEIGHTS * width / 2, panels)
        return k, self.amplitude * self.width**2 * weight * k * np.exp(-((k * self.width) ** 2) / 2)
