"""A random medium: bulk modulus, and density where asked, log-normal with a given correlation length.

    log kappa = log kappa_0 + s g(x, y)

g is a Gaussian random field of mean 0 and variance 1; s, the contrast, is the standard deviation of log kappa, so that
of log c is s/2 where rho is uniform. With r^2 = (dx / l_x)^2 + (dy / l_y)^2 its covariance is

    "gaussian"      C(r) = exp(-r^2 / 2),   spectrum S(q) ~ exp(-q^2 / 2)        smooth
    "exponential"   C(r) = exp(-r),         spectrum S(q) ~ (1 + q^2)^(-3/2)     rough

where q = (l_x k_x, l_y k_y). g is a Fourier series with independent normal coefficients xi (row, column),

    g(x, y) = sum over m, n of  sigma_mn xi_mn f_m(y) f_n(x),     f: cos(k x), k >= 0, and sin(k x), k > 0,

k in steps of 2 pi / P, sigma^2 ~ S for |q| <= Q and normalised to variance 1. Its covariance is thus that above, summed
over images a period P away and without the waves shorter than 2 pi l / Q, and nothing depends on where g is asked.
P = L + 6 l and Q = 6 ("gaussian") leave 1e-7 of either. The exponential spectrum ends slowly: P = L + 10 l leaves 5e-5
of the images, and Q = 30 drops waves shorter than l/5, which carry 1/sqrt(1 + Q^2) = 3.3 % of the variance.

Reference: Shinozuka and Deodatis, Appl. Mech. Rev. 44 (1991) 191-204; spectra: Rasmussen and Williams, Gaussian
Processes for Machine Learning (2006), section 4.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from wavesim.errors import WavesimError
from wavesim.fem.arguments import require_positive
from wavesim.fem.media.fields import by_columns_and_rows, checked
from wavesim.fem.medium import Field, Medium, uniform

Covariance = Literal["gaussian", "exponential"]
REACH = {"gaussian": 6.0, "exponential": 10.0}  # (P - L) / l
CUTOFF = {"gaussian": 6.0, "exponential": 30.0}  # Q
MOST_WAVES = 2000  # along an axis; their coefficients are 128 MB
CHUNK = 4096  # scattered points at a time


@dataclass(frozen=True, eq=False)
class Series:
    """A Fourier series g(x, y): `coefficients` (row, column) of f_row(y) f_column(x), cosines first and then sines.

    wave_numbers: k >= 0 of the columns, along x, and of the rows, along y; nondimensional.
    """

    wave_numbers: tuple[np.ndarray, np.ndarray]
    coefficients: np.ndarray

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """g at (x, y), which broadcast: the same at a place, to rounding, whatever the other points."""
        return by_columns_and_rows(self._grid, self._points, x, y)

    def _grid(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return _waves(self.wave_numbers[1], y) @ self.coefficients @ _waves(self.wave_numbers[0], x).T

    def _points(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        values = np.empty(x.size)
        for first in range(0, x.size, CHUNK):
            part = slice(first, first + CHUNK)
            along_x, along_y = (_waves(k, at[part]) for k, at in zip(self.wave_numbers, (x, y), strict=True))
            values[part] = np.einsum("ij,ij->i", along_y @ self.coefficients, along_x)
        return values


def random_field(
    generator: np.random.Generator,
    correlation_length: float | tuple[float, float],
    contrast: float,
    covariance: Covariance = "gaussian",
    *,
    bulk_modulus: float = 1.0,
    density: float = 1.0,
    density_contrast: float = 0.0,
    density_correlation: float = 0.0,
    limit: float = np.inf,
    lengths: tuple[float, float] = (1.0, 1.0),
) -> Medium:
    """A realisation on [0, Lx] x [0, Ly]; beyond, it goes on and repeats after P. Nondimensional.

    An open grid of 256 x 256 at correlation length 0.05 took 1 ms ("gaussian") and 5 ms ("exponential") on one core;
    as many scattered points take 0.15 s and 1 s.

    Args:
        generator: of `provenance.generator`; the medium is a function of its state and of the settings alone.
        correlation_length: l above, of both axes or (l_x, l_y). contrast: s above, of log kappa.
        bulk_modulus, density: the medians of kappa and rho.
        density_contrast: the standard deviation of log rho; at 0, rho is uniform.
        density_correlation: of log rho with log kappa, from -1 to 1.
        limit: |g| is cut off there, so that kappa stays within exp(-s limit) and exp(s limit) of its median.
        lengths: (Lx, Ly) of the domain.
    Raises:
        WavesimError: a setting out of its range, or a correlation length too short for the domain.
    """
    require_positive("bulk_modulus of a random field", bulk_modulus)
    require_positive("density of a random field", density)
    for name, value in (("contrast", contrast), ("density_contrast", density_contrast)):
        if not 0 <= value < np.inf:
            raise WavesimError(f"{name} {value} of a random field must be 0 or positive; it is that of a logarithm")
    if not -1 <= density_correlation <= 1:
        raise WavesimError(f"density_correlation {density_correlation} must lie between -1 and 1")
    if not limit > 0:
        raise WavesimError(f"limit {limit} of a random field must be positive (in standard deviations; inf: none)")
    *wave_numbers, deviations = spectrum(covariance, correlation_length, lengths)

    def lognormal(name: str, median: float, spread: float, xi: np.ndarray) -> Field:
        series = Series((wave_numbers[0], wave_numbers[1]), deviations * xi)
        return checked(name, lambda x, y: median * np.exp(spread * np.clip(series(x, y), -limit, limit)))

    xi = generator.standard_normal(deviations.shape)
    kappa = lognormal("bulk_modulus of a random field", bulk_modulus, contrast, xi)
    if density_contrast == 0:
        return Medium(kappa, uniform(density=density).density)
    other = generator.standard_normal(deviations.shape)
    xi = density_correlation * xi + np.sqrt(1 - density_correlation**2) * other
    return Medium(kappa, lognormal("density of a random field", density, density_contrast, xi))


def spectrum(
    covariance: Covariance,
    correlation_length: float | tuple[float, float],
    lengths: tuple[float, float] = (1.0, 1.0),
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """k along x and along y, each from 0 on, and sigma (row, column) of the products of waves, for a variance of 1.

    The sine of k has the sigma of its cosine, which makes the covariance sum sigma^2 cos(k_x dx) cos(k_y dy) over the
    cosines alone.

    Raises:
        WavesimError: no such covariance, a length that is not positive, or too many waves.
    """
    if covariance not in REACH:
        raise WavesimError(f"covariance {covariance!r} must be one of {', '.join(map(repr, REACH))}")
    scales = np.broadcast_to(np.asarray(correlation_length, dtype=np.float64), 2)
    require_positive("correlation_length", *scales)
    require_positive("length of the domain", *lengths)
    reach, cutoff = REACH[covariance], CUTOFF[covariance]
    wave_numbers = []
    for scale, length in zip(scales, lengths, strict=True):
        spacing = 2 * np.pi / (length + reach * scale)
        waves = cutoff / (scale * spacing)
        if waves > MOST_WAVES:
            least = length / (2 * np.pi * MOST_WAVES / cutoff - reach)
            raise WavesimError(
                f"correlation_length {scale} takes {waves:.0f} waves over the length {length}, and {MOST_WAVES} are "
                f"allowed; use {least:.2g} or more"
            )
        wave_numbers.append(spacing * np.arange(int(waves) + 1))
    k_x, k_y = wave_numbers
    q2 = (scales[1] * k_y[:, None]) ** 2 + (scales[0] * k_x) ** 2
    density = np.exp(-q2 / 2) if covariance == "gaussian" else (1 + q2) ** -1.5
    # Each k > 0 stands for -k as well.
    variance = np.where(q2 <= cutoff**2, density, 0) * np.where(k_y > 0, 2, 1)[:, None] * np.where(k_x > 0, 2, 1)
    deviation = np.sqrt(variance / variance.sum())
    rows, columns = (np.concatenate([np.arange(k.size), np.arange(1, k.size)]) for k in (k_y, k_x))
    return k_x, k_y, deviation[np.ix_(rows, columns)]


def _waves(wave_numbers: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(point, wave) cosines of all k and then sines of all k > 0, at points (point,)."""
    phase = at[:, None] * wave_numbers
    return np.concatenate([np.cos(phase), np.sin(phase[:, 1:])], axis=1)
