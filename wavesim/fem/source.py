"""What sets the waves off: initial fields of pressure, and sources at points or spread.

    pulse    p(x, y, 0) = a exp( -((x - x0)^2 + (y - y0)^2) / (2 width^2) ),   p_t = 0
    ring     p(x, y, 0) = a exp( -(|x - x0| - r)^2 / (2 width^2) ),            p_t = 0
    packet   p(x, y, t) = a exp( -s^2 / (2 width^2) ) cos(2 pi s / wavelength),  s = n.(x - x0) - c t
    mode     p(x, y, t) = cos(m pi x / Lx) cos(n pi y / Ly) cos(omega t),      omega^2 = c^2 pi^2 (m^2/Lx^2 + n^2/Ly^2)
    source   s(x, y, t) = delta(x - x0) f(t) or g(x, y) f(t),  f a Ricker wavelet or any function
    burst    s(x, y, t) = g(x, y) f(t),  g the pulse above and f a Ricker wavelet

The mode solves the wave equation between rigid walls in a uniform medium of wave speed c. Nondimensional throughout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wavesim.errors import WavesimError
from wavesim.fem.arguments import require_positive


@dataclass(frozen=True)
class Pulse:
    """A Gaussian of pressure around `center` (x, y); `width` is its standard deviation."""

    center: tuple[float, float]
    width: float
    amplitude: float = 1.0

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Pressure at (x, y), which broadcast."""
        square = (x - self.center[0]) ** 2 + (y - self.center[1]) ** 2
        return self.amplitude * np.exp(-square / (2 * self.width**2))


@dataclass(frozen=True)
class StandingMode:
    """The mode with `numbers` (m, n) half waves along x and y of a rectangle with sides `lengths`."""

    numbers: tuple[int, int]
    lengths: tuple[float, float] = (1.0, 1.0)
    wave_speed: float = 1.0

    @property
    def frequency(self) -> float:
        """omega, in radians per unit of time."""
        return self.wave_speed * np.pi * float(np.hypot(*np.divide(self.numbers, self.lengths)))

    def pressure(self, x: np.ndarray, y: np.ndarray, time: float) -> np.ndarray:
        """p at (x, y), which broadcast."""
        return self._shape(x, y) * np.cos(self.frequency * time)

    def rate(self, x: np.ndarray, y: np.ndarray, time: float) -> np.ndarray:
        """p_t at (x, y)."""
        return -self.frequency * self._shape(x, y) * np.sin(self.frequency * time)

    def _shape(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        m, n = np.pi * np.divide(self.numbers, self.lengths)
        return np.cos(m * x) * np.cos(n * y)


@dataclass(frozen=True)
class Ring:
    """A Gaussian of pressure across a circle around `center` (x, y): `radius`, and `width`, its standard deviation."""

    center: tuple[float, float]
    radius: float
    width: float
    amplitude: float = 1.0

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Pressure at (x, y), which broadcast."""
        distance = np.hypot(x - self.center[0], y - self.center[1]) - self.radius
        return self.amplitude * np.exp(-(distance**2) / (2 * self.width**2))


@dataclass(frozen=True)
class PlanePacket:
    """A plane wave packet on its way, as above; `rate` is its p_t.

    center: (x, y) of its crest at time 0; angle: of its way n against the x axis, in radians; wave_speed: c.
    """

    center: tuple[float, float]
    angle: float
    wavelength: float
    width: float
    amplitude: float = 1.0
    wave_speed: float = 1.0

    def pressure(self, x: np.ndarray, y: np.ndarray, time: float = 0.0) -> np.ndarray:
        """p at (x, y), which broadcast."""
        s = self._ahead(x, y, time)
        return self.amplitude * np.exp(-(s**2) / (2 * self.width**2)) * np.cos(2 * np.pi * s / self.wavelength)

    __call__ = pressure

    def rate(self, x: np.ndarray, y: np.ndarray, time: float = 0.0) -> np.ndarray:
        """p_t at (x, y)."""
        s, k = self._ahead(x, y, time), 2 * np.pi / self.wavelength
        slope = s / self.width**2 * np.cos(k * s) + k * np.sin(k * s)
        return self.wave_speed * self.amplitude * np.exp(-(s**2) / (2 * self.width**2)) * slope

    def _ahead(self, x: np.ndarray, y: np.ndarray, time: float) -> np.ndarray:
        along = np.cos(self.angle) * (x - self.center[0]) + np.sin(self.angle) * (y - self.center[1])
        return along - self.wave_speed * time


@dataclass(frozen=True)
class Ricker:
    """f(t) = amplitude (1 - 2 a) exp(-a), a = (pi frequency (t - delay))^2: the second derivative of a Gaussian.

    delay: of its peak, by default 1.5 / frequency, where it starts at 1e-8 of its peak.

    Raises:
        WavesimError: a frequency that is not positive.
    """

    frequency: float
    delay: float | None = None
    amplitude: float = 1.0

    def __post_init__(self) -> None:
        require_positive("frequency of a wavelet", self.frequency)

    def __call__(self, time: float) -> float:
        """f at a time."""
        delay = 1.5 / self.frequency if self.delay is None else self.delay
        a = (np.pi * self.frequency * (time - delay)) ** 2
        return float(self.amplitude * (1 - 2 * a) * np.exp(-a))


@dataclass(frozen=True)
class PointSource:
    """s(x, y, t) = delta(x - place) signal(t), with any function of time; it should start at 0."""

    place: tuple[float, float]
    signal: Callable[[float], float]


@dataclass(frozen=True)
class SpreadSource:
    """s(x, y, t) = shape(x, y) signal(t), with any functions.

    An initial pulse that lies over an interface where rho jumps has a flux that does not fit there, and sets off kinks
    that every mesh resolves badly; what a signal smooth in time sets off is smooth in each material.
    """

    shape: Callable[[np.ndarray, np.ndarray], np.ndarray]
    signal: Callable[[float], float]


@dataclass(frozen=True)
class Burst:
    """A spread source of Gaussian shape about `center` (x, y) and of a Ricker wavelet in time, over at `duration`.

    width: standard deviation in space. amplitude: what p / kappa would rise to at the center if no wave left it, the
    wavelet being the second derivative of a Gaussian with this peak.

    Raises:
        WavesimError: a width or a frequency that is not positive.
    """

    center: tuple[float, float]
    width: float
    frequency: float
    amplitude: float = 1.0

    def __post_init__(self) -> None:
        require_positive("width of a burst", self.width)
        require_positive("frequency of a burst", self.frequency)

    @property
    def duration(self) -> float:
        """When the wavelet is at 1e-8 of its peak again, as at the start."""
        return 3 / self.frequency

    @property
    def source(self) -> SpreadSource:
        """s(x, y, t)."""
        curvature = -2 * (np.pi * self.frequency) ** 2 * self.amplitude
        return SpreadSource(Pulse(self.center, self.width), Ricker(self.frequency, amplitude=curvature))


def random_pulse(
    width: float,
    generator: np.random.Generator,
    amplitude: float = 1.0,
    lengths: tuple[float, float] = (1.0, 1.0),
) -> Pulse:
    """A pulse anywhere in the rectangle [0, Lx] x [0, Ly] that is at least three widths away from its sides.

    Raises:
        WavesimError: the rectangle has no such place.
    """
    room = min(lengths) / 6
    if not 0 < width < room:
        raise WavesimError(f"pulse_width {width} leaves no place three widths from the walls; use one below {room:.3f}")
    x, y = generator.uniform(3 * width, np.array(lengths) - 3 * width)
    return Pulse((float(x), float(y)), width, amplitude)
