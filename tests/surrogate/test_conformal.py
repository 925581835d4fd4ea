"""The conformal rank against the definition, and its coverage against the theorem, by simulation and in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from wavesim.errors import WavesimError
from wavesim.provenance import generator
from wavesim.surrogate.conformal import clopper_pearson, quantiles, rank


@pytest.mark.parametrize(
    ("scores", "level", "expected"),
    [(9, 0.9, 9), (10, 0.9, 10), (19, 0.9, 18), (99, 0.9, 90), (199, 0.9, 180), (200, 0.9, 181), (19, 0.95, 19),
     (3, 0.5, 2), (99, 0.99, 99)],
)  # fmt: skip
def test_the_rank_is_that_of_the_formula_worked_by_hand(scores, level, expected):
    assert rank(scores, level) == expected


@pytest.mark.parametrize(("scores", "level", "least"), [(8, 0.9, 9), (18, 0.95, 19), (98, 0.99, 99), (0, 0.5, 1)])
def test_too_few_media_for_the_level_are_refused_with_how_many_it_takes(scores, level, least):
    with pytest.raises(WavesimError, match=rf"{scores} media are too few .* it takes {least} or more"):
        rank(scores, level)
    assert rank(least, level) == least


@pytest.mark.parametrize("draw", ["normal", "exponential", "cauchy"])
@pytest.mark.parametrize(("scores", "level"), [(9, 0.9), (19, 0.9), (25, 0.8), (60, 0.9)])
def test_the_coverage_of_a_next_score_is_between_the_level_and_one_place_more(draw, scores, level):
    """Whatever the distribution; k/(n+1) exactly, which is the rank's own probability."""
    random = generator(3, draw, scores)
    trials = 40_000
    drawn = {"normal": random.standard_normal, "exponential": random.standard_exponential,
             "cauchy": random.standard_cauchy}[draw]((scores + 1, trials))  # fmt: skip
    covered = float(np.mean(drawn[-1] <= quantiles(drawn[:-1], level)))
    exact = math.ceil(round((scores + 1) * level, 9)) / (scores + 1)
    assert abs(covered - exact) < 4 * math.sqrt(level * (1 - level) / trials)
    assert level - 0.006 < covered < level + 1 / (scores + 1) + 0.006


def test_exchangeable_scores_that_depend_on_each_other_are_covered_too():
    """A common shift of all scores of a trial: exchangeable, and far from independent."""
    random = generator(5, "shift")
    drawn = random.standard_normal((20, 40_000)) + 10 * random.standard_normal((1, 40_000))
    assert np.mean(drawn[-1] <= quantiles(drawn[:-1], 0.9)) == pytest.approx(0.9, abs=0.006)


def test_the_coverage_of_one_calibration_has_the_beta_distribution():
    """Of uniform scores the coverage is the quantile itself: an order statistic, Beta(k, n + 1 - k)."""
    found = quantiles(generator(1, "beta").uniform(size=(200, 4000)), 0.9)
    expected = stats.beta(181, 20)
    assert found.mean() == pytest.approx(expected.mean(), abs=0.002)
    assert found.std() == pytest.approx(0.021, abs=0.001)
    assert stats.kstest(found, expected.cdf).pvalue > 0.01


@given(
    st.lists(st.floats(0, 1e6), min_size=9, max_size=40),
    st.integers(-20, 20),
)
def test_a_scale_of_the_scores_is_a_scale_of_the_bound_and_so_many_lie_below_it(values, power):
    scores = np.array(values)
    bound = quantiles(scores, 0.9)
    assert quantiles(scores * 2.0**power, 0.9) == bound * 2.0**power
    assert (scores <= bound).sum() >= rank(len(values), 0.9) > (scores < bound).sum()


def test_each_lead_time_has_a_quantile_of_its_own():
    scores = generator(2, "leads").uniform(size=(30, 4))
    np.testing.assert_array_equal(quantiles(scores, 0.9), [np.sort(scores[:, t])[27] for t in range(4)])


@pytest.mark.parametrize(("covered", "of"), [(0, 20), (20, 20), (18, 20), (360, 400)])
def test_the_interval_is_where_the_binomial_tails_are_a_fortieth_each(covered, of):
    low, high = clopper_pearson(covered, of)
    assert (low == 0) == (covered == 0) and (high == 1) == (covered == of)
    if covered:
        assert stats.binom.sf(covered - 1, of, low) == pytest.approx(0.025)
    if covered < of:
        assert stats.binom.cdf(covered, of, high) == pytest.approx(0.025)
