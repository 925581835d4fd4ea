"""A plane pulse at normal incidence in a stack of layers along x, as the finite sum of all its bounces.

Layer j fills edges[j] < x < edges[j+1], the outermost being open or ending at walls. Every copy of the pulse is

    A f(-c (t - delay - d / c_j)),      d: distance from the edge that it came in by,      c: of the layer it started in

and, at layer i, leaves R A behind and sends T A on, R = (Zi - Zj) / (Zi + Zj), T = 1 + R; R = +1 at rigid, -1 at soft
walls. Copies that come in by the same edge at the same time are added, so that their number stays small.
Reference: Brekhovskikh and Godin, Acoustics of Layered Media I (1990), section 2.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .images import REFLECTION
from .matter import Fields, Matter, spread
from .profiles import Profile


@dataclass(frozen=True)
class LayeredWave:
    """A pulse that travels towards +x in layer `start` and at t = 0 is f(x - origin) of `profile`.

    edges: (layers + 1,) increasing; the outermost are where the walls stand, or -inf, inf with "open" sides.
    matters: (layers,). At t = 0 the pulse should lie within layer `start`. Fields do not depend on y.
    """

    profile: Profile
    edges: Sequence[float]
    matters: Sequence[Matter]
    sides: tuple[str, str] = ("open", "open")
    start: int = 0
    origin: float = 0.0

    def fields(self, x: np.ndarray, y: np.ndarray, t: np.ndarray | float) -> Fields:
        """(p, p_t)."""
        x, y, t = spread(x, y, t)
        c = self.matters[self.start].wave_speed
        layer = self._layer(x)
        p, p_t = np.zeros((2, *np.broadcast_shapes(x.shape, t.shape)))
        for (j, side, delay), amplitude in self._copies(float(np.max(t))).items():
            here = layer == j
            distance = np.where(here, side * (x - self._entry(j, side)), 0.0)
            z = -c * (t - delay - distance / self.matters[j].wave_speed)
            p += np.where(here, amplitude * self.profile.value(z), 0.0)
            p_t += np.where(here, -c * amplitude * self.profile.slope(z), 0.0)
        return p, p_t

    def bulk_modulus(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """kappa at (x, y), which broadcast."""
        return np.array([m.bulk_modulus for m in self.matters])[self._layer(x + 0 * y)]

    def density(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """rho at (x, y)."""
        return np.array([m.density for m in self.matters])[self._layer(x + 0 * y)]

    def _layer(self, x: np.ndarray) -> np.ndarray:
        return np.searchsorted(np.asarray(self.edges, float)[1:-1], x, side="right")

    def _entry(self, j: int, side: int) -> float:
        """Where waves travelling in direction `side` come into layer j; from an open side only the first one comes."""
        edge = self.edges[j + (side < 0)]
        return self.origin if np.isinf(edge) else edge

    def _copies(self, end: float) -> dict[tuple[int, int, float], float]:
        """Amplitudes by (layer, direction of travel, delay) of all copies that count before the time `end`."""
        c = self.matters[self.start].wave_speed
        waiting = {(self.start, 1, (self._entry(self.start, 1) - self.origin) / c): 1.0}
        copies: dict[tuple[int, int, float], float] = {}
        while waiting:
            # The earliest is complete: what could still be added to it would have come in before.
            j, side, delay = key = min(waiting, key=lambda one: one[2])
            copies[key] = amplitude = waiting.pop(key)
            k, far = j + side, self.edges[j + (side > 0)]
            if np.isinf(far):
                continue
            arrival = round(delay + abs(far - self._entry(j, side)) / self.matters[j].wave_speed, 12)
            if arrival > end + self.profile.last / c:
                continue
            if 0 <= k < len(self.matters):
                z, z_next = self.matters[j].impedance, self.matters[k].impedance
                reflection = (z_next - z) / (z_next + z)
                onward = (k, side, arrival)
                waiting[onward] = waiting.get(onward, 0.0) + (1 + reflection) * amplitude
            else:
                reflection = float(REFLECTION[self.sides[side > 0]])
            back = (j, -side, arrival)
            waiting[back] = waiting.get(back, 0.0) + reflection * amplitude
        return copies
