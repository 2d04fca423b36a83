"""Moments, jackknife errors and intervals, against numpy, scipy and brute force.

Statistical tests have a false-alarm rate of at most 1e-4 each under the seeds' randomness, unless they say otherwise.
"""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from biasvar.montecarlo import intervals, moments

reals = st.floats(-1e6, 1e6, allow_subnormal=False)


def rows(least=1, most=40, points=3):
    return hnp.arrays(float, st.tuples(st.integers(least, most), st.integers(1, points)), elements=reals)


@st.composite
def weighted(draw):
    values = draw(rows())
    weights = draw(hnp.arrays(float, values.shape[1], elements=st.floats(0.01, 1)))
    return values, weights / weights.sum()


# Averages


@given(values=rows(), data=st.data())
def test_an_average_of_averages_is_the_mean(values, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=6)))
    parts = [moments.Average.of(part) for part in np.split(values, cuts) if len(part)]
    whole = moments.Average.joined(parts)
    assert whole.count == len(values)
    np.testing.assert_allclose(whole.mean, values.mean(axis=0), rtol=1e-12, atol=1e-14 * np.abs(values).max())


def test_an_average_does_not_lose_what_is_small_beside_all_rows():
    values = 1e9 + np.array([[0.0], [1e-4], [2e-4], [3e-4]])
    whole = moments.Average.joined([moments.Average.of(values[:1]), moments.Average.of(values[1:])])
    assert whole.mean - 1e9 == pytest.approx((values - 1e9).mean(), abs=2e-7)


def test_an_average_does_not_keep_its_rows():
    values = np.ones((1, 2))
    found = moments.Average.of(values)
    values[:] = 7
    assert found.mean.tolist() == [1, 1]


@given(case=weighted())
def test_weighted_moments_are_numpys(case):
    values, weights = case
    scale = np.abs(values).max() + 1
    mean = moments.weighted_mean(values, weights)
    variance = moments.weighted_variance(values, mean, weights)
    covariance = moments.weighted_covariance(values, mean, weights)
    expected = np.atleast_2d(np.cov(values, aweights=weights, ddof=0))
    np.testing.assert_allclose(mean, np.average(values, axis=1, weights=weights), atol=1e-12 * scale)
    np.testing.assert_allclose(covariance, expected, rtol=1e-9, atol=1e-12 * scale**2)
    np.testing.assert_allclose(variance, np.diag(expected), rtol=1e-9, atol=1e-12 * scale**2)


def test_weighted_variance_survives_a_large_mean():
    values = 1e9 + np.array([[0.0, 1.0, 2.0, 3.0]])
    weights = np.full(4, 0.25)
    assert moments.weighted_variance(values, moments.weighted_mean(values, weights), weights) == pytest.approx([1.25])


@given(
    values=hnp.arrays(float, st.integers(0, 60), elements=st.floats(-100, 100) | st.sampled_from([0.0, 1.0])),
    count=st.integers(1, 20),
)
def test_largest_is_the_end_of_a_sort(values, count):
    kept = np.sort(values)[-count:]
    expected = np.concatenate([np.full(count - len(kept), np.nan), kept])
    np.testing.assert_array_equal(moments.largest(values, count), expected)


# Squared means: the estimate, its jackknife and its variance


def norms(blocks):
    """What the square of a mean of vectors (B, points) is estimated from."""
    mean = blocks.mean(axis=0)
    deviations = blocks - mean
    return mean @ mean, deviations @ mean, (deviations**2).sum(axis=1)


def corrected_square(blocks):
    mean_square, _, deviations = norms(blocks)
    return intervals.unbiased_square(mean_square, deviations)


def test_unbiased_square_is_unbiased_over_all_samples():
    # Every way to draw four blocks from a law on three points, so that the expectation is a finite sum.
    law, probabilities = np.array([[0.0, 1.0], [2.0, -1.0], [5.0, 3.0]]), np.array([0.5, 0.3, 0.2])
    total = 0.0
    for draws in product(range(3), repeat=4):
        total += probabilities[list(draws)].prod() * corrected_square(law[list(draws)])
    mean = probabilities @ law
    assert total == pytest.approx(mean @ mean, rel=1e-12)


@given(blocks=rows(least=3, most=12))
def test_square_influence_is_the_leave_one_out_jackknife(blocks):
    count = len(blocks)
    left_out = np.array([corrected_square(np.delete(blocks, b, axis=0)) for b in range(count)])
    pseudo = count * corrected_square(blocks) - (count - 1) * left_out
    _, products, deviations = norms(blocks)
    scale = count**2 * (np.abs(blocks).max() + 1e-9) ** 2
    np.testing.assert_allclose(
        intervals.square_influence(products, deviations), pseudo - pseudo.mean(), atol=1e-12 * scale
    )


def square_and_variance(blocks):
    mean_square, products, deviations = norms(blocks)
    second_order = intervals.second_order_variance(blocks - blocks.mean(axis=0), len(blocks))
    influence = intervals.square_influence(products, deviations)
    return intervals.unbiased_square(mean_square, deviations), intervals.square_variance(influence, second_order)


@pytest.mark.parametrize("blocks", [16, 64])
def test_variance_of_a_square_is_true_where_the_mean_is_large(blocks):
    # Averages over 4000 samples: each side of the comparison is known to 3 %, so 12 % is four standard errors.
    rng = np.random.default_rng(blocks)
    samples = rng.normal(1.0, [0.5, 1.0, 2.0], (4000, blocks, 3))
    estimates, variances = np.transpose([square_and_variance(sample) for sample in samples])
    assert np.mean(variances) == pytest.approx(np.var(estimates), rel=0.12)


@pytest.mark.parametrize("blocks", [16, 64])
def test_variance_of_a_square_is_not_too_small_where_the_mean_is_zero(blocks):
    rng = np.random.default_rng(blocks)
    scales = np.array([0.5, 1.0, 2.0])
    samples = rng.normal(0.0, scales, (4000, blocks, 3))
    estimates, variances = np.transpose([square_and_variance(sample) for sample in samples])
    exact = 2 * (scales**4).sum() / (blocks * (blocks - 1))
    assert np.var(estimates) == pytest.approx(exact, rel=0.2)  # the heavy right tail of a chi-square
    assert np.mean(variances) > 0.9 * exact


def test_second_order_variance_is_estimated_without_much_bias():
    rng = np.random.default_rng(0)
    scales = np.array([0.5, 1.0, 2.0])
    samples = rng.normal(0.0, scales, (3000, 32, 3))
    estimates = [intervals.second_order_variance(s - s.mean(axis=0), 32) for s in samples]
    assert np.mean(estimates) == pytest.approx(2 * (scales**4).sum() / (32 * 31), rel=0.07)


@given(blocks=hnp.arrays(float, st.tuples(st.integers(1, 3), st.integers(2, 30)), elements=reals))
def test_standard_error_is_scipys(blocks):
    expected = stats.sem(blocks, axis=-1)
    np.testing.assert_allclose(intervals.standard_error(blocks), expected, rtol=1e-10, atol=1e-9)


@given(
    estimate=reals,
    error=st.floats(1e-6, 1e3),
    blocks=st.integers(2, 10_000),
    level=st.sampled_from([0.5, 0.9, 0.95, 0.999]),
)
def test_interval_is_students(estimate, error, blocks, level):
    expected = stats.t.interval(level, blocks - 1, loc=estimate, scale=error)
    np.testing.assert_allclose(intervals.interval(estimate, error, blocks, level), expected, rtol=1e-7, atol=1e-9)
