"""The metrics against closed forms and against The Well's own implementation."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from the_well.benchmark.metrics.spatial import VRMSE

from wavesim.metrics import correlation, correlation_time, relative_l2, rounding, vrmse, windowed


@pytest.fixture
def truth() -> np.ndarray:
    """(trajectory, time, y, x) of unequal lengths."""
    return np.random.default_rng(3).normal(loc=0.3, size=(2, 3, 40, 56))


@pytest.mark.parametrize("a", [-1.0, 0.0, 0.75, 1.0, 3.5])
def test_a_scaled_field_has_the_error_of_its_scale(truth, a):
    weight = 1 + np.random.default_rng(0).random((40, 56))
    np.testing.assert_allclose(relative_l2(a * truth, truth), np.full((2, 3), abs(a - 1)), atol=1e-14)
    np.testing.assert_allclose(relative_l2(a * truth, truth, weight), np.full((2, 3), abs(a - 1)), atol=1e-14)


def test_the_mass_norm_plays_down_errors_in_stiff_cells():
    truth, bulk_modulus = np.ones((4, 6)), np.ones((4, 6))
    bulk_modulus[:, 3:] = 20.0
    forecast = truth.copy()
    forecast[:, 3:] += 0.5
    assert relative_l2(forecast, truth) == pytest.approx(0.5 * np.sqrt(1 / 2))
    assert relative_l2(forecast, truth, 1 / bulk_modulus) == pytest.approx(0.5 * np.sqrt(0.05 / 1.05))


def test_the_error_of_each_frame_stands_alone(truth):
    forecast = truth.copy()
    forecast[1, 2] *= 2
    expected = np.zeros((2, 3))
    expected[1, 2] = 1
    np.testing.assert_allclose(relative_l2(forecast, truth), expected, atol=1e-14)


def test_single_precision_fields_are_summed_in_double():
    truth = np.full((512, 512), 0.1, np.float32)
    assert relative_l2(truth * np.float32(2), truth) == pytest.approx(1, abs=1e-12)


def test_the_vrmse_of_the_mean_is_one(truth):
    mean = np.broadcast_to(truth.mean(axis=(-2, -1), keepdims=True), truth.shape)
    np.testing.assert_allclose(vrmse(mean, truth), 1, rtol=1e-6)
    np.testing.assert_allclose(vrmse(truth, truth), 0)


def test_the_vrmse_of_a_constant_truth_is_held_by_epsilon():
    constant = np.full((8, 8), 2.0)
    assert vrmse(constant + 1, constant) == pytest.approx(1 / np.sqrt(1e-7))
    assert vrmse(constant + 1, constant, epsilon=1.0) == pytest.approx(1)


def test_the_vrmse_is_the_wells_up_to_its_unbiased_variance(truth):
    forecast = truth + 0.4 * np.random.default_rng(5).normal(size=truth.shape)
    theirs = VRMSE()(
        torch.from_numpy(forecast)[..., None], torch.from_numpy(truth)[..., None], SimpleNamespace(n_spatial_dims=2)
    )
    cells = 40 * 56
    np.testing.assert_allclose(vrmse(forecast, truth) * np.sqrt(1 - 1 / cells), theirs[..., 0].numpy(), rtol=1e-6)


@pytest.mark.parametrize("shift", [0.0, 0.3, np.pi / 2, 2.0, np.pi])
def test_shifted_sines_correlate_with_the_cosine_of_the_shift(shift):
    x = 2 * np.pi * np.arange(64) / 64
    truth = np.broadcast_to(np.sin(3 * x), (5, 64))
    forecast = 7 * np.broadcast_to(np.sin(3 * x + shift), (5, 64)) - 2  # neither scale nor offset counts
    assert correlation(forecast, truth) == pytest.approx(np.cos(shift), abs=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, -3e8, np.nan, np.inf])
def test_a_constant_or_broken_forecast_correlates_with_nothing(truth, value):
    constant = np.full(truth.shape, value)
    np.testing.assert_array_equal(correlation(constant, truth), np.zeros((2, 3)))
    np.testing.assert_array_equal(correlation(truth, constant), np.zeros((2, 3)))
    np.testing.assert_array_equal(correlation(constant, constant), np.zeros((2, 3)))


def test_one_broken_cell_breaks_its_own_frame_alone(truth):
    forecast = truth.copy()
    forecast[0, 1, 5, 5] = np.nan
    expected = np.ones((2, 3))
    expected[0, 1] = 0
    np.testing.assert_allclose(correlation(forecast, truth), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("curve", "frames"),
    [
        ([1.0, 0.99, 0.95, 0.89, 0.5], 3),  # the fourth frame is the first to fall
        ([0.8, 0.99, 0.99, 0.99, 0.99], 0),
        ([0.99, 0.8, 0.99, 0.99, 0.99], 1),  # recovering afterwards does not count
        ([0.9, 0.9, 0.9, 0.9, 0.9], 5),  # at the threshold is not under it: it never falls
        ([1.0, 1.0, 1.0, 1.0, 0.0], 4),
        ([1.0, 1.0, np.nan, 1.0, 1.0], 2),
    ],
)
def test_the_correlation_time_ends_before_the_first_fall(curve, frames):
    assert correlation_time(np.array(curve), frame_interval=1 / 32) == frames / 32


def test_the_correlation_time_keeps_the_other_axes_and_takes_a_threshold():
    curves = np.array([[0.99, 0.95, 0.85], [0.85, 0.75, 0.7], [1.0, 1.0, 1.0]])
    np.testing.assert_allclose(correlation_time(curves, 0.5), [1.0, 0.0, 1.5])
    np.testing.assert_allclose(correlation_time(curves, 0.5, threshold=0.8), [1.5, 0.5, 1.5])


def test_the_windows_are_the_wells_counted_from_the_first_forecast_frame():
    curves = np.stack([np.arange(1.0, 101.0), np.ones(100)])  # the value of a frame is its number
    means = {name: mean.tolist() for name, mean in windowed(curves).items()}
    assert means == {"1": [1, 1], "6-12": [9, 1], "13-30": [21.5, 1], "31-100": [65.5, 1]}


def test_a_window_that_outlasts_the_curve_is_shorter_and_one_after_it_is_left_out():
    assert {name: float(mean) for name, mean in windowed(np.arange(1.0, 14.0)).items()} == {
        "1": 1.0,
        "6-12": 9.0,
        "13": 13.0,
    }


def test_rounding_is_what_single_precision_loses(truth):
    expected = relative_l2(truth.astype(np.float32), truth)
    np.testing.assert_allclose(rounding(truth), expected, rtol=0.05)  # 2240 cells: 1.5 % of scatter
    # Between 1 and 2 the ulp is 2^-23 throughout.
    assert rounding(np.full((4, 4), 1.5, np.float32)) == pytest.approx(2.0**-23 / np.sqrt(12) / 1.5)
