"""The three bands: single modes fall where their wavelength says, and the squares of all add up to the whole."""

import numpy as np
import pytest

from wavesim.metrics import LIMITS, band_errors, band_squares, relative_l2

CELLS = (36, 60)
KINDS = ("rigid", "soft", "periodic", "absorbing", "mixed", "mixed-back")


def ends(kind: str) -> tuple[str, str]:
    return {"mixed": ("rigid", "soft"), "mixed-back": ("soft", "rigid")}.get(kind, (kind, kind))


def wave(kind: str, wavenumber_index: int, cells: int) -> tuple[np.ndarray, float]:
    """A mode between two sides, and its wavenumber in radians a cell."""
    place = np.arange(cells) + 0.5
    if kind == "periodic":
        k = 2 * np.pi * wavenumber_index / cells
        return np.cos(k * place + 0.3), k
    half = 0.5 if kind.startswith("mixed") else 0.0
    k = np.pi * (wavenumber_index + half) / cells
    return (np.sin if kind in ("soft", "mixed-back") else np.cos)(k * place), k


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [1, 4, 9, 14])
def test_a_mode_is_in_the_band_of_its_wavelength_alone(kind: str, number: int) -> None:
    (x, k_x), (y, k_y) = wave(kind, number, CELLS[1]), wave(kind, 2, CELLS[0])
    wavelength = 2 * np.pi / np.hypot(k_x, k_y)
    field = np.outer(y, x)
    squares = band_squares(field, (*ends(kind), *ends(kind)))
    expected = np.zeros(3)
    expected[sum(wavelength < limit for limit in LIMITS)] = np.sum(field**2)
    np.testing.assert_allclose(squares, expected, atol=1e-10)


def test_the_modes_above_fill_all_three_bands() -> None:
    lengths = [2 * np.pi / np.hypot(wave("rigid", n, 60)[1], wave("rigid", 2, 36)[1]) for n in (1, 4, 9, 14)]
    assert {sum(length < limit for limit in LIMITS) for length in lengths} == {0, 1, 2}


@pytest.mark.parametrize("along_x", KINDS)
@pytest.mark.parametrize("along_y", KINDS)
def test_the_squares_of_the_bands_sum_to_the_whole(along_x: str, along_y: str) -> None:
    rng = np.random.default_rng(1)
    truth, forecast = rng.normal(size=(2, 2, 3, *CELLS))
    sides = (*ends(along_x), *ends(along_y))
    errors = band_errors(forecast, truth, sides)
    assert errors.shape == (2, 3, 3) and (errors > 0).all()
    np.testing.assert_allclose(np.sqrt(np.sum(errors**2, axis=-1)), relative_l2(forecast, truth), rtol=1e-12)
    np.testing.assert_allclose(band_squares(truth, sides).sum(axis=-1), np.sum(truth**2, axis=(-2, -1)), rtol=1e-12)


def test_a_forecast_that_lacks_its_short_waves_errs_in_the_short_band_alone() -> None:
    x, y = np.meshgrid(np.arange(CELLS[1]) + 0.5, np.arange(CELLS[0]) + 0.5)
    long, short = np.cos(2 * np.pi * x / 60), 0.5 * np.cos(2 * np.pi * y / 6)
    np.testing.assert_allclose(band_errors(long, long + short), [0, 0, np.sqrt(0.2)], atol=1e-12)
    half_lost = band_errors(0.5 * long + short, long + short)
    np.testing.assert_allclose(half_lost, [0.5 * np.sqrt(0.8), 0, 0], atol=1e-12)


def test_other_limits_move_the_bands() -> None:
    x = np.cos(2 * np.pi * (np.arange(60) + 0.5) / 20)[None, :] * np.ones((36, 1))  # 20 cells long
    whole = np.sum(x**2)
    np.testing.assert_allclose(band_squares(x), [0, whole, 0], atol=1e-9)
    np.testing.assert_allclose(band_squares(x, limits=(19.0, 5.0)), [whole, 0, 0], atol=1e-9)
    np.testing.assert_allclose(band_squares(x, limits=(50.0, 21.0)), [0, 0, whole], atol=1e-9)
