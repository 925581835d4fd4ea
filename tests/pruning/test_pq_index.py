"""The PQ index against its closed forms, its bound against the theorem, the counts against exact fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wavesim.errors import WavesimError
from wavesim.pruning.pq_index import count_to_remove, gini_index, kept_bound, pq_index

MIDPOINTS = (np.arange(200_000) + 0.5) / 200_000
"""Levels of evenly spaced quantiles: a distribution without sampling noise."""


def half_normal() -> np.ndarray:
    from scipy.special import erfinv

    return erfinv(MIDPOINTS)


@pytest.mark.parametrize(
    ("magnitudes", "exponents", "closed_form"),
    [
        (MIDPOINTS, (0.5, 1), 1 / 9),
        (half_normal(), (0.5, 1), 1 - math.gamma(0.75) ** 2 / math.sqrt(math.pi)),
        (-np.log(MIDPOINTS), (0.5, 1), 1 - math.pi / 4),
        (MIDPOINTS, (1, 2), 1 - math.sqrt(3) / 2),
        (half_normal(), (1, 2), 1 - math.sqrt(2 / math.pi)),
        (-np.log(MIDPOINTS), (1, 2), 1 - 1 / math.sqrt(2)),
    ],
    ids=["uniform", "half-normal", "exponential", "uniform-12", "half-normal-12", "exponential-12"],
)
def test_index_of_a_distribution_is_its_closed_form(magnitudes, exponents, closed_form):
    assert pq_index(magnitudes, *exponents) == pytest.approx(closed_form, abs=2e-4)


def test_published_value_for_normal_weights():
    assert 1 - math.gamma(0.75) ** 2 / math.sqrt(math.pi) == pytest.approx(0.1528, abs=5e-5)


@pytest.mark.parametrize(("p", "q"), [(0.5, 1), (1, 2), (0.3, 1.7)])
def test_constant_has_index_zero_and_a_spike_the_largest(p, q):
    assert pq_index(np.full(50, -3.0), p, q) == pytest.approx(0, abs=1e-12)
    assert pq_index(np.eye(50)[7], p, q) == pytest.approx(1 - 50 ** (1 / q - 1 / p), abs=1e-12)


def test_half_and_one_give_a_spike_of_length_d_the_index_one_minus_one_over_d():
    assert pq_index([0, 0, 5.0, 0]) == pytest.approx(1 - 1 / 4, abs=1e-12)


@pytest.mark.parametrize("measure", [pq_index, gini_index])
def test_indices_see_neither_scale_nor_repetition_nor_order(measure):
    w = np.random.default_rng(0).standard_cauchy(101)
    for same in (1e-12 * w, -1e30 * w, np.tile(w, 7), w[::-1].copy(), torch.from_numpy(w).reshape(101, 1)):
        assert measure(same) == pytest.approx(measure(w), rel=1e-10)


@pytest.mark.parametrize("nothing", [[], [0.0, 0.0, 0.0]])
def test_nothing_has_index_zero_and_nothing_to_remove(nothing):
    assert pq_index(nothing) == gini_index(nothing) == 0
    assert kept_bound(nothing) == len(nothing)
    assert count_to_remove(nothing) == 0


def test_gini_index_of_uniform_magnitudes_is_a_third():
    assert gini_index(MIDPOINTS) == pytest.approx(1 / 3, abs=1e-5)
    assert gini_index(np.eye(50)[7]) == pytest.approx(1 - 1 / 50, abs=1e-12)


def test_half_and_one_keep_the_share_one_minus_the_index():
    w = np.random.default_rng(1).exponential(size=1000)
    assert kept_bound(w, 0.5, 1) / 1000 == pytest.approx(1 - pq_index(w, 0.5, 1), rel=1e-12)
    assert kept_bound(w, 1, 2) / 1000 == pytest.approx((1 - pq_index(w, 1, 2)) ** 2, rel=1e-12)


@given(
    seed=st.integers(0, 2**32 - 1),
    length=st.integers(1, 60),
    tail=st.floats(0.2, 8),
    p=st.floats(0.1, 2),
    above=st.floats(0.05, 2),
)
def test_no_more_is_kept_than_needed_for_the_mass(seed, length, tail, p, above):
    """The theorem: if what is removed holds eta times the l_p mass of the n that stay, then n >= r(eta)."""
    w = np.random.default_rng(seed).pareto(tail, length) + 1e-9
    mass = np.sort(w / w.max())[::-1] ** p
    for kept in range(1, length + 1):
        eta = mass[kept:].sum() / mass[:kept].sum()
        assert kept >= kept_bound(w, p, p + above, eta) * (1 - 1e-9)


def test_bound_of_a_heavy_tail_keeps_its_digits():
    """One spike among n magnitudes e: with |w|_p^p = 1 + (n - 1) e^p; 1 - I is 1e-11 here."""
    p, q, rest, length = 0.125, 2.125, 1e-40, 30
    mass_p, mass_q = (1 + (length - 1) * rest**power for power in (p, q))
    exact = (mass_p**q / mass_q**p) ** (1 / (q - p))  # n and its powers cancel
    assert kept_bound([1.0] + [rest] * (length - 1), p, q) == pytest.approx(exact, rel=1e-13)


@pytest.mark.parametrize(
    ("spikes", "length", "gamma", "beta"),
    [
        (1, 10, 1, 0.9),
        (9, 10, 1, 0.9),
        (3, 10, 1, 0.9),
        (7, 70, 1, 0.9),
        (7, 70, 1, 0.5),
        (60, 70, 3, 0.9),
        (1, 1, 1, 0.9),
    ],
)
def test_count_is_the_formula_in_exact_fractions(spikes, length, gamma, beta):
    """s equal spikes among zeros have I = 1 - s / d, so that r = s, a whole number."""
    w = np.r_[np.ones(spikes), np.zeros(length - spikes)]
    share = min(gamma * (1 - Fraction(spikes, length)), Fraction(beta).limit_denominator(10))
    assert count_to_remove(w, gamma=gamma, beta=beta) == math.floor(length * share)


def test_count_rounds_the_bound_up_and_the_removal_down():
    assert kept_bound(np.arange(1, 12.0)) == pytest.approx(10.07, abs=5e-3)
    assert count_to_remove(np.arange(1, 12.0)) == 0  # 11 of 11 stay
    w = np.arange(1, 14.0)
    assert 11 < kept_bound(w) < 12  # 12 of 13 stay
    assert count_to_remove(w) == 1
    assert count_to_remove(w, gamma=5.9) == 5
    assert count_to_remove(w, gamma=100, beta=0.4) == 5  # floor(5.2)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (([1.0, 2.0], 1, 1), "0 < p < q"),
        (([1.0, 2.0], 2, 1), "0 < p < q"),
        (([1.0, 2.0], 0, 1), "0 < p < q"),
        (([1.0, math.nan],), "not all finite"),
        (([1.0, math.inf],), "not all finite"),
        (([1.0, 2.0], 0.5, 1, -0.1), "eta -0.1"),
        (([1.0, 2.0], 0.5, 1, 0, -1), "gamma -1"),
        (([1.0, 2.0], 0.5, 1, 0, 1, 1.5), "beta 1.5"),
    ],
)
def test_what_has_no_index_is_refused(arguments, told):
    with pytest.raises(WavesimError, match=told):
        count_to_remove(*arguments)
