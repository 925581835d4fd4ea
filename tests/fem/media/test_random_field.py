"""Random media: moments and covariance over many realisations against closed forms, and one field on all grids.

Statistical bounds are 4.5 standard deviations of the estimator, each derived where it stands: one false alarm in
150,000.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import j0

from wavesim.errors import WavesimError
from wavesim.fem.media import random_field
from wavesim.fem.media.random_field import CUTOFF, spectrum
from wavesim.provenance import generator

SIGMAS = 4.5
LENGTH, CONTRAST = 0.2, 0.7
# 7 x 7 places, 0.75 correlation lengths apart and more.
PLACES = np.stack(np.meshgrid(np.arange(7), np.arange(7)), axis=-1).reshape(-1, 2) * 0.15
DRAWS = 4000


def exact(covariance, r):
    """C(r) of waves with |q| <= Q alone, by the two-dimensional Fourier integral: isotropic, and one at r = 0."""
    if covariance == "gaussian":
        return np.exp(-(r**2) / 2)  # the rest is exp(-18)
    cutoff = CUTOFF[covariance]
    integral = quad(lambda q: q * j0(q * r) * (1 + q * q) ** -1.5, 0, cutoff, limit=400, epsabs=1e-10)[0]
    return integral / (1 - 1 / np.sqrt(1 + cutoff**2))


@lru_cache
def logarithms(covariance):
    """(draw, place) log kappa of independent realisations, its exact covariance (place, place), and l d/dl of that."""
    draws = [
        random_field(generator(7, covariance, k), LENGTH, CONTRAST, covariance).bulk_modulus(*PLACES.T)
        for k in range(DRAWS)
    ]
    apart = np.round(np.hypot(*(PLACES[:, None] - PLACES).T) / LENGTH, 12)
    r, where = np.unique(apart, return_inverse=True)
    truth, longer, shorter = (
        CONTRAST**2 * np.array([exact(covariance, value) for value in at])[where].reshape(apart.shape)
        for at in (r, r / 1.001, r * 1.001)
    )
    return np.log(draws), truth, (longer - shorter) / 0.002


@pytest.mark.parametrize("covariance", ["gaussian", "exponential"])
def test_mean_and_covariance_over_many_realisations_are_the_closed_form(covariance):
    values, truth, _ = logarithms(covariance)
    draws = len(values)
    # The mean of N draws of variance s^2 has standard deviation s / sqrt(N).
    np.testing.assert_allclose(values.mean(axis=0), 0, rtol=0, atol=SIGMAS * CONTRAST / np.sqrt(draws))
    # The mean of products u v of normals: (C_uu C_vv + C_uv^2) / N is its variance (Isserlis).
    # There are 1225 different entries: beyond 6 deviations lies one of them in 400,000 seeds, beyond 4.5 in 120.
    deviation = np.sqrt((CONTRAST**4 + truth**2) / draws)
    assert np.all(np.abs(values.T @ values / draws - truth) < 6 * deviation)


@pytest.mark.parametrize("covariance", ["gaussian", "exponential"])
def test_whitened_by_the_exact_covariance_realisations_are_normal(covariance):
    values, truth, _ = logarithms(covariance)
    white = np.linalg.solve(np.linalg.cholesky(truth), values.T)
    # Of normals, z^2 has mean 1 and variance 2, z^3 mean 0 and variance 15, z^4 mean 3 and variance 96.
    for power, mean, variance in ((2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((white**power).mean() - mean) < SIGMAS * np.sqrt(variance / white.size)


@pytest.mark.parametrize("covariance", ["gaussian", "exponential"])
def test_the_correlation_length_over_many_realisations_is_the_one_that_was_asked_for(covariance):
    values, truth, slope = logarithms(covariance)
    # The score of log l: with W = C^-1 (dC / dlog l) C^-1, u W u / 2 has mean tr(W C) / 2 over normal u and variance
    # I = tr(W C W C) / 2, which is also how much its mean grows with log l: it is the sharpest measure that there is.
    weights = np.linalg.solve(truth, np.linalg.solve(truth, slope).T)
    information = np.trace(weights @ truth @ weights @ truth) / 2
    score = np.einsum("di,ij,dj->d", values, weights, values, optimize=True).mean() / 2 - np.trace(weights @ truth) / 2
    precision = 1 / np.sqrt(information * len(values))
    assert precision < 0.005
    assert abs(score / information) < SIGMAS * precision


@pytest.mark.parametrize(
    ("covariance", "lengths", "scale", "close"),
    [
        # Images: exp(-6^2 / 2) = 1.5e-8 from either side and cut-off exp(-6^2 / 2); near each other both may add up.
        ("gaussian", (1.0, 1.0), 0.2, 1e-7),
        ("gaussian", (2.0, 0.7), (0.3, 0.1), 1e-7),
        # Images: exp(-10) = 4.5e-5 from either side and from above; the steps of the sum at |q| = Q are below that.
        ("exponential", (1.0, 1.0), 0.2, 2e-4),
        ("exponential", (2.0, 0.7), (0.3, 0.1), 2e-4),
    ],
)
def test_the_covariance_of_the_series_is_the_closed_form_at_all_distances_in_the_domain(
    covariance, lengths, scale, close
):
    k_x, k_y, sigma = spectrum(covariance, scale, lengths)
    variance = sigma[: k_y.size, : k_x.size] ** 2
    for fraction_x, fraction_y in [(0, 0), (0.02, 0), (0, 0.05), (0.1, 0.1), (0.5, 0.2), (1, 0), (0, 1), (1, 1)]:
        dx, dy = fraction_x * lengths[0], fraction_y * lengths[1]
        r = np.hypot(*np.divide((dx, dy), scale))
        assert np.cos(k_y * dy) @ variance @ np.cos(k_x * dx) == pytest.approx(exact(covariance, r), abs=close)
        # What the cut-off takes, a part t of the variance, changes the covariance by 2 t / (1 - t) at most.
        part = 1 / np.sqrt(1 + 30**2)
        if covariance == "exponential":
            assert abs(exact(covariance, r) - np.exp(-r)) < 2 * part / (1 - part)


def test_density_has_its_own_contrast_and_its_correlation_with_the_bulk_modulus():
    draws, correlation = 4000, -0.6
    settings = {"density": 2.0, "density_contrast": 0.3, "density_correlation": correlation, "bulk_modulus": 3.0}
    media = [random_field(generator(8, k), 0.3, CONTRAST, **settings) for k in range(draws)]
    place = np.array([0.3]), np.array([0.8])
    u = np.log([medium.bulk_modulus(*place).item() for medium in media]) - np.log(3)
    v = np.log([medium.density(*place).item() for medium in media]) - np.log(2)
    truth = np.array([[CONTRAST**2, correlation * 0.3 * CONTRAST], [correlation * 0.3 * CONTRAST, 0.3**2]])
    deviation = np.sqrt((np.outer(np.diag(truth), np.diag(truth)) + truth**2) / draws)
    assert np.all(np.abs(np.stack([u, v]) @ np.stack([u, v]).T / draws - truth) < SIGMAS * deviation)
    np.testing.assert_allclose([u.mean(), v.mean()], 0, rtol=0, atol=SIGMAS * CONTRAST / np.sqrt(draws))


def test_without_a_contrast_of_its_own_the_density_is_uniform():
    medium = random_field(generator(0), 0.1, 1.0, density=2.5)
    np.testing.assert_array_equal(medium.cells((8, 8))[1], np.full((8, 8), 2.5))
    assert random_field(generator(0), 0.1, 0.0, bulk_modulus=3.0).cells((4, 4))[0] == pytest.approx(3.0)


@pytest.mark.parametrize("covariance", ["gaussian", "exponential"])
def test_a_place_has_one_value_whatever_the_grid(covariance):
    medium = random_field(generator(1), 0.1, 1.0, covariance)
    coarse, fine = np.linspace(0, 1, 17), np.linspace(0, 1, 65)
    table = medium.bulk_modulus(fine[None, :], fine[:, None])
    close = {"rtol": 1e-11, "atol": 0}  # some 10^4 terms of rounding 1e-16, of which neighbours partly cancel
    np.testing.assert_allclose(medium.bulk_modulus(coarse[None, :], coarse[:, None]), table[::4, ::4], **close)
    # As full grids, one by one, and among scattered points, which take another way through the sum.
    np.testing.assert_allclose(medium.bulk_modulus(*np.meshgrid(fine, fine)), table, **close)
    assert medium.bulk_modulus(np.array(fine[5]), np.array(fine[40])) == pytest.approx(table[40, 5], rel=1e-11)
    rows, columns = np.random.default_rng(0).integers(0, 65, (2, 9000))
    jitter = np.random.default_rng(1).uniform(0, 1e-13, 9000)
    np.testing.assert_allclose(
        medium.bulk_modulus(fine[columns] + jitter, fine[rows] + jitter), table[rows, columns], rtol=1e-9
    )


def test_the_mean_square_slope_of_one_long_field_is_that_of_its_correlation_length():
    # For a "gaussian" covariance the variance of dg/dx is 1 / l^2. Its average over the unit square varies, relative to
    # that, by 2 l^2 times the integral of ((1 - x^2) exp(-r^2 / 2))^2, which is 3 pi / 4. Differences lose h^2 / l^2.
    length = 0.025
    medium = random_field(generator(3), length, 1.0)
    x = np.linspace(0, 1, 512)
    slopes = np.gradient(np.log(medium.bulk_modulus(x[None, :], x[:, None])), x[1], axis=1)
    close = SIGMAS * np.sqrt(1.5 * np.pi) * length + (x[1] / length) ** 2
    assert (slopes**2).mean() * length**2 == pytest.approx(1, abs=close)


def test_a_realisation_is_a_function_of_its_generator_alone():
    x, y = np.linspace(0, 1, 30)[None, :], np.linspace(0, 1, 20)[:, None]
    one, same, other = (random_field(generator(4, k), 0.1, 1.0).bulk_modulus(x, y) for k in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    # Two independent fields: their logarithms differ by sqrt(2) on average, and nowhere near 0.1.
    assert np.abs(np.log(one / other)).mean() > 0.5


def test_a_limit_keeps_the_values_within_its_bounds_and_leaves_the_rest():
    free = random_field(generator(5), 0.05, 1.5, bulk_modulus=2.0).cells((64, 64), parts=1)[0]
    limited = random_field(generator(5), 0.05, 1.5, bulk_modulus=2.0, limit=1.0).cells((64, 64), parts=1)[0]
    low, high = 2 * np.exp(-1.5), 2 * np.exp(1.5)
    assert (free < low).any() and (free > high).any()
    np.testing.assert_allclose(limited, np.minimum(np.maximum(free, low), high), rtol=1e-14)


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((0.0, 1.0), {}, "correlation_length 0"),
        (((0.1, -0.1), 1.0), {}, "correlation_length -0.1"),
        ((0.1, -1.0), {}, "contrast -1"),
        ((0.1, np.nan), {}, "contrast nan"),
        ((0.1, 1.0, "matern"), {}, "covariance 'matern'"),
        ((0.1, 1.0), {"bulk_modulus": 0.0}, "bulk_modulus of a random field 0"),
        ((0.1, 1.0), {"density": -1.0}, "density of a random field -1"),
        ((0.1, 1.0), {"density_contrast": -1.0}, "density_contrast"),
        ((0.1, 1.0), {"density_correlation": 1.5}, "density_correlation"),
        ((0.1, 1.0), {"limit": 0.0}, "limit"),
        ((0.1, 1.0), {"lengths": (1.0, 0.0)}, "length of the domain"),
        ((1e-5, 1.0), {}, "use 0.00048 or more"),
    ],
)
def test_random_fields_that_cannot_be_are_refused(arguments, settings, message):
    with pytest.raises(WavesimError, match=message):
        random_field(generator(0), *arguments, **settings)


def test_the_shortest_correlation_length_that_is_named_is_allowed():
    with pytest.raises(WavesimError) as refusal:
        spectrum("gaussian", 1e-5)
    least = float(str(refusal.value).partition("use ")[2].split()[0])
    assert spectrum("gaussian", (least, 0.5))[0].size <= 2001
