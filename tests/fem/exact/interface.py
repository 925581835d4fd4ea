"""A plane pulse of any shape on a plane interface, at any angle.

Matter 1 fills n . (r - r0) < 0, matter 2 the rest. With the distances d = n . (r - r0) and e along the interface,

    incident      f(zeta),         zeta = d cos a + e sin a - c1 t
    reflected     R f(zeta_r),     zeta_r = -d cos a + e sin a - c1 t
    transmitted   T f(zeta_t),     zeta_t = d (c1 / c2) cos b + e sin a - c1 t,     sin b = (c2 / c1) sin a

    R = (q1 - q2) / (q1 + q2),     T = 2 q1 / (q1 + q2),     q1 = cos a / Z1,     q2 = cos b / Z2

which keep p and (1/rho) dp/dn continuous. Beyond the critical angle cos b = i sqrt(sin^2 b - 1), for fields
e^(-i omega t) with omega > 0, and f is replaced by its analytic signal: p = Re(R f+(zeta_r)) and Re(T f+(zeta_t)).
Reference: Brekhovskikh and Godin, Acoustics of Layered Media I (1990), section 2.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wavesim.errors import WavesimError

from .matter import BACKGROUND, Fields, Matter, spread
from .profiles import Function, Profile


def fresnel(first: Matter, second: Matter, angle: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """(R, T) of pressure, complex, for a wave in `first` at `angle` (radians) from the normal; |angle| < pi/2."""
    sine = second.wave_speed / first.wave_speed * np.sin(angle)
    q1 = np.cos(angle) / first.impedance
    q2 = np.sqrt(np.asarray(1 - sine**2, complex)) / second.impedance
    return (q1 - q2) / (q1 + q2), 2 * q1 / (q1 + q2)


@dataclass(frozen=True)
class InterfaceWave:
    """The pulse f of `profile` in `first`, hitting the plane through `point` whose normal has the angle `normal`.

    angle: of incidence, radians from the normal, positive towards the left of it. At t = 0 what f has at -z lies the
    distance z before the interface's `point`: give a Gaussian a negative center.
    """

    profile: Profile
    second: Matter
    first: Matter = BACKGROUND
    angle: float = 0.0
    point: tuple[float, float] = (0.0, 0.0)
    normal: float = 0.0

    def fields(self, x: np.ndarray, y: np.ndarray, t: np.ndarray | float) -> Fields:
        """(p, p_t).

        Raises:
            WavesimError: total reflection of a profile without an analytic signal.
        """
        x, y, t = spread(x, y, t)
        across, along = self._axes(x, y)
        c1, c2 = self.first.wave_speed, self.second.wave_speed
        reflection, transmission = (complex(one) for one in fresnel(self.first, self.second, self.angle))
        inward = c1 / c2 * np.sqrt(complex(1 - (c2 / c1 * np.sin(self.angle)) ** 2))
        total = inward.imag > 0
        f, slope = self.profile.value, self.profile.slope
        if total:
            if self.profile.analytic is None or self.profile.analytic_slope is None:
                raise WavesimError(f"total reflection at angle {self.angle} needs a profile with an analytic signal")
            f, slope = self.profile.analytic, self.profile.analytic_slope
        else:
            reflection, transmission, inward = reflection.real, transmission.real, inward.real

        phase = along * np.sin(self.angle) - c1 * t
        before = across < 0
        incoming = np.where(before, across, 0) * np.cos(self.angle)
        beyond = np.where(before, 0, across)  # f+ must not be asked below the real axis

        def field(wave: Function, real: Function) -> np.ndarray:
            first = real(phase + incoming) + np.real(reflection * wave(phase - incoming))
            return np.where(before, first, np.real(transmission * wave(phase + inward * beyond)))

        return field(f, self.profile.value), -c1 * field(slope, self.profile.slope)

    def bulk_modulus(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """kappa at (x, y), which broadcast; on the interface that of `second`."""
        return np.where(self._axes(x, y)[0] < 0, self.first.bulk_modulus, self.second.bulk_modulus)

    def density(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """rho at (x, y)."""
        return np.where(self._axes(x, y)[0] < 0, self.first.density, self.second.density)

    def _axes(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distances (d, e) across and along the interface."""
        x, y = x - self.point[0], y - self.point[1]
        cos, sin = np.cos(self.normal), np.sin(self.normal)
        return x * cos + y * sin, y * cos - x * sin
