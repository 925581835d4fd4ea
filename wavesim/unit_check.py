"""Whether the fields of a dataset are in units of each other.

Units are those of the equation, (1/kappa) p_tt = div( (1/rho) grad p ). In others these differ by a factor:
    rate        what p / kappa changes by       and    what p_t / kappa says of it
    medium      what p_t / kappa changes by     and    what div( (1/rho) grad p ) says, as finite volumes have it
The factor is that of least squares, over means under Gaussians as wide as a wave goes in a frame. Frames do not resolve
what is shorter, of which a field with jumps is full; and a sum of p / kappa changes by what leaves it, slowly, however
fast its grains ring.

Of an oscillation of frequency omega, with y = omega dt, the change in a frame is (2/y) tan(y/2) >= 1 of what the
trapezoidal rule says, and that in two frames is 3 sin y / (y (2 + cos y)) <= 1 of what Simpson's rule says (Cusa's
inequality). So the first factor is held against a lower bound and the second against an upper one: coarse frames move
them away from their bounds.

Measured, the lowest first factor and the highest second one: media without grains between any sides, on 16 x 16 to
128 x 128 cells, 1.00, 1.00 of the rate and 1.02, 1.37 of the medium; packings of contrast (20, 5) on 32 x 32 cells and
on 64 x 64 1.02, 1.00 and 1.04, 1.24; what begins with jumps, as the acoustic files of The Well, 1.08, 1.01 and 1.15,
0.98. Strong contrasts get a wider band: frames miss waves that are many times faster in grains than elsewhere (0.26 of
the rate at contrast (1000, 1) on 16 x 16 cells), and cells of light grains, or of sharp ones that are hardly larger
than they, do not say how these pull (0.11 to 3.2).
"""

from __future__ import annotations

import numpy as np

from wavesim.dataset import WaveDataset
from wavesim.errors import WavesimError

FRAMES = 8  # that units are judged by
MOST = 64  # trajectories, evenly spread
BAND = 0.7, 1.6  # a factor of 2 either way leaves it
WIDE = 0.1, 4.0  # of media of strong contrast
SPEEDS, DENSITIES = 4.0, 8.0  # strong: the fastest over the mean speed, the largest over the least density, and
STEPS = 1.1  # of log(kappa rho) from cell to cell, in the mean


def check_units(data: WaveDataset) -> None:
    """Refuse fields whose units are not those of each other.

    Raises:
        WavesimError: with the trajectory, and the factor that it is off; as `WaveDataset.medium`; a medium that is not
            positive.
    """
    for index in np.unique(np.linspace(0, len(data) - 1, MOST).round().astype(int)).tolist():
        _check_trajectory(data, index)


def _check_trajectory(data: WaveDataset, index: int) -> None:
    state, medium = data.window(index, 0, min(FRAMES, data.frames)).astype(float), data.medium(index).astype(float)
    where = f"{data.root}/data/{data.split}, {data.name(index)}"
    if not (medium > 0).all():
        raise WavesimError(f"{where}: bulk modulus and density must be positive in every cell")
    kappa, rho = medium
    free = np.isfinite(rho)  # of obstacles
    if not free.any():
        raise WavesimError(f"{where}: density is infinite in every cell, an obstacle that leaves no room for waves")
    speed = np.sqrt(kappa / rho)[free]
    steps = [data.frame_interval * cells / length for cells, length in zip(data.grid[::-1], data.lengths, strict=True)]
    down, along = (_means(cells, speed.mean() * step) for cells, step in zip(data.grid, steps[::-1], strict=True))
    strain, rate, pull = (
        down @ field @ along.T for field in (state[:, 0] / kappa, state[:, 1] / kappa, _pull(state[:, 0], rho, steps))
    )
    slow = speed.max() <= SPEEDS * speed.mean()
    wrong = _off(strain, rate, BAND if slow else WIDE)
    if wrong is not None:
        raise WavesimError(
            f"{where}: the pressure changes {wrong:.3g} times as fast as pressure_rate says; give p_t per unit of "
            "the file's own time"
        )
    logs = np.log(np.where(free, kappa * rho, np.nan))
    contrast = np.mean([np.nanmean(np.abs(np.diff(logs, axis=axis))) for axis in (0, 1)])
    smooth = slow and contrast <= STEPS and rho[free].max() <= DENSITIES * rho.min()
    wrong = _off(rate, pull, BAND if smooth else WIDE)
    if wrong is not None:
        raise WavesimError(
            f"{where}: p_tt is {wrong:.3g} times what kappa div((1/rho) grad p) makes it; give bulk modulus, "
            "density, lengths and times in units of each other"
        )


def _off(values: np.ndarray, slopes: np.ndarray, band: tuple[float, float]) -> float | None:
    """The factor between changes of `values` (time, ...) and what `slopes` a frame say; None where it is in the band.

    Of two frames there is no rule of Simpson: the other one stands in for it, against the upper bound of WIDE.
    """
    low, high = band
    first = _factor(values[1:] - values[:-1], (slopes[1:] + slopes[:-1]) / 2)
    second = _factor(values[2:] - values[:-2], (slopes[2:] + 4 * slopes[1:-1] + slopes[:-2]) / 3)
    if first is None:
        return None
    if second is None:
        second, high = first, WIDE[1]
    return None if low < first and second < high else (first + second) / 2


def _factor(found: np.ndarray, expected: np.ndarray) -> float | None:
    """The factor that is nearest to making `found` of `expected`; None where nothing is expected."""
    square = float(np.sum(expected**2))
    return float(np.sum(found * expected)) / square if square else None


def _means(cells: int, width: float) -> np.ndarray:
    """(mean, cell): Gaussians of this width in cells, within 1 and a sixth of them all, and as far apart."""
    width = max(min(width, cells / 6), 1.0)
    count = int(np.ceil(cells / width))
    centres = (np.arange(count) + 0.5) * cells / count
    weights = np.exp(-((np.arange(cells) + 0.5 - centres[:, None]) ** 2) / (2 * width**2))
    return weights / weights.sum(axis=1, keepdims=True)


def _pull(pressure: np.ndarray, rho: np.ndarray, steps: list[float]) -> np.ndarray:
    """dt^2 div( (1/rho) grad p ) of (time, y, x) between rigid walls; steps: dt over the cells' sides along x and y."""
    total = np.zeros_like(pressure)
    for axis, step in ((-1, steps[0]), (-2, steps[1])):
        p, r, t = (np.moveaxis(field, axis, -1) for field in (pressure, rho, total))
        flux = np.diff(p) * 2 / (r[..., 1:] + r[..., :-1]) * step**2
        t[..., :-1] += flux
        t[..., 1:] -= flux
    return total
