"""Traces and their lags, on wave packets that were moved by a known time."""

import numpy as np
import pytest

from wavesim.metrics import PLACES, arrival_lag, traces

FRAMES = np.arange(128)


def packet(arrival: float, period: float = 10.0, width: float = 9.0) -> np.ndarray:
    """A Gaussian packet of a carrier, at any time between frames."""
    t = FRAMES - arrival
    return np.exp(-(t**2) / (2 * width**2)) * np.cos(2 * np.pi * t / period)


@pytest.mark.parametrize("lag", [-20.0, -3.4, -0.5, -0.1, 0.0, 0.25, 0.5, 1.7, 12.3])
def test_a_packet_that_comes_later_has_its_delay(lag: float) -> None:
    assert arrival_lag(packet(60 + lag), packet(60)) == pytest.approx(lag, abs=0.02)


def test_the_parabola_through_a_sine_is_off_by_its_closed_form() -> None:
    """The correlation of long packets is cos(w (l - lag)): three points of it give cot(w/2) tan(w lag) / 2."""
    w, lag = 2 * np.pi / 6, 0.3
    expected = np.tan(w * lag) / (2 * np.tan(w / 2))
    assert abs(expected - lag) > 0.01  # a test of the parabola, not of the delay
    found = arrival_lag(packet(64 + lag, 6, 20), packet(64, 6, 20))
    assert found == pytest.approx(expected, abs=1e-3)


def test_neither_scale_nor_offset_moves_the_lag() -> None:
    late = 0.2 * packet(63) + 5.0  # without its mean, the offset would correlate best at lag 0
    assert arrival_lag(late, packet(60) - 2.0) == pytest.approx(3.0, abs=0.02)


def test_each_trace_has_a_lag_of_its_own_and_silence_none() -> None:
    forecast = np.stack([packet(62), packet(60), np.full(128, 0.3)])
    truth = np.stack([packet(60), packet(61.5), packet(60)])
    lags = arrival_lag(forecast, truth)
    np.testing.assert_allclose(lags[:2], [2.0, -1.5], atol=0.02)
    assert np.isnan(lags[2]) and np.isnan(arrival_lag(truth[0], np.zeros(128)))


def test_a_trace_is_the_value_of_the_cell_that_the_place_is_in() -> None:
    height, width = 4, 8
    field = np.arange(3)[:, None, None] * 1000 + np.arange(height)[:, None] * 10 + np.arange(width)
    heard = traces(field, ((0.0, 0.0), (0.99, 0.99), (0.3, 0.6), (1.0, 1.0)))
    assert heard.tolist() == [[0, 37, 22, 37], [1000, 1037, 1022, 1037], [2000, 2037, 2022, 2037]]


def test_the_places_lie_apart_and_off_the_lines_of_symmetry() -> None:
    for x, y in PLACES:
        assert 0.1 < x < 0.9 and 0.1 < y < 0.9 and 0.5 not in (x, y) and x != y
    assert len({x for x, _ in PLACES}) == len({y for _, y in PLACES}) == len(PLACES)
