"""Best configurations, sensitivities and profiles, against brute force over subsets and replicates."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import rankdata

from biasvar.optimization import tuning
from biasvar.optimization.tuning import best, expected_best, left_out_means, mean_and_error, sensitivity

losses = hnp.arrays(
    float,
    st.tuples(st.integers(1, 6), st.integers(2, 5)),
    elements=st.floats(0, 10).map(lambda value: round(value, 3)) | st.just(np.inf),
)


@given(values=losses)
def test_left_out_means_leave_one_out(values):
    expected = np.stack([np.delete(values, r, axis=1).mean(axis=1) for r in range(values.shape[1])], axis=1)
    np.testing.assert_allclose(left_out_means(values), expected, rtol=1e-12, atol=1e-12)


@given(values=losses, data=st.data())
def test_expected_best_is_the_average_over_all_subsets(values, data):
    draws = data.draw(st.integers(1, len(values)))
    others = left_out_means(values)
    each = []
    for r in range(values.shape[1]):
        ranked = np.argsort(others[:, r], kind="stable")
        place = {configuration: rank for rank, configuration in enumerate(ranked)}
        chosen = [min(subset, key=place.get) for subset in combinations(range(len(values)), draws)]
        each.append(np.mean(values[chosen, r]))
    found, error = expected_best(values, [draws])
    np.testing.assert_allclose(found[0], np.mean(each), rtol=1e-9)
    if np.isfinite(each).all():
        np.testing.assert_allclose(error[0], np.std(each, ddof=1) / np.sqrt(len(each)), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("count", [1, 5, 10_000])
def test_draw_weights_are_probabilities(count):
    for draws in {1, min(3, count), count}:
        weights = tuning.draw_weights(count, draws)
        assert weights.sum() == pytest.approx(1)
        assert (np.diff(weights) <= 0).all()
    assert tuning.draw_weights(count, count)[0] == pytest.approx(1)


def test_the_best_is_judged_without_the_luck_that_chose_it():
    # A hundred equal configurations: the lowest mean is too good to be true, the judged one is not.
    values = np.random.default_rng(0).standard_exponential((100, 16))
    found, error = expected_best(values, [100])
    assert values.mean(axis=1).min() < 0.6
    assert abs(found[0] - 1) < 4 * error[0]


def test_the_best_says_how_sure_it_is():
    rng = np.random.default_rng(1)
    clear = np.array([[1.0], [2.0], [3.0]]) + 0.01 * rng.standard_normal((3, 8))
    assert best(clear) == (0, 1.0)
    assert np.isnan(best(clear[:, :1])[1])
    assert best(rng.standard_exponential((50, 8)))[1] < 1


def test_errors_are_those_of_a_mean():
    mean, error = mean_and_error(np.array([[1.0, 2.0, 6.0], [2.0, 2.0, 2.0], [1.0, np.inf, 2.0]]))
    np.testing.assert_allclose(mean, [3, 2, np.inf])
    np.testing.assert_allclose(error, [np.sqrt(7 / 3), 0, np.nan])
    assert np.isnan(mean_and_error(np.ones((2, 1)))[1]).all()


def test_sensitivity_finds_the_axis_that_matters():
    a, b, c = np.meshgrid(np.arange(5), np.arange(4), np.arange(3), indexing="ij")
    rng = np.random.default_rng(2)
    noise = 1e-6 * rng.standard_normal((60, 8))
    found, error = sensitivity(np.exp(a + 0 * b + 0 * c).reshape(-1, 1) + noise, (5, 4, 3))
    assert found[0, 0] > 0.9
    assert (found[:, 1:] < 0.1).all()
    assert (error < 0.1).all()


def test_sensitivity_tells_an_interaction():
    # Exclusive or: neither axis alone explains anything, both together all.
    found, _ = sensitivity(np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]), (2, 2))
    np.testing.assert_allclose(found, [[0, 0], [1, 1]], atol=1e-12)


def test_nothing_matters_where_all_is_equal():
    assert np.isnan(sensitivity(np.ones((4, 3)), (2, 2))[0]).all()


def test_sensitivity_errors_are_of_the_right_size():
    # The jackknife of ranks against the spread of 200 studies, within a factor of two.
    rng = np.random.default_rng(3)
    base = np.array([0.0, 1.0])[:, None] + np.array([0.0, 0.7, 1.4])[None, :]
    found, errors = zip(
        *(sensitivity(base.reshape(-1, 1) + rng.standard_normal((6, 12)), (2, 3)) for _ in range(200)), strict=True
    )
    ratio = np.sqrt(np.mean(np.square(errors), axis=0)) / np.std(found, axis=0)
    assert ((ratio > 0.5) & (ratio < 2)).all(), ratio


def test_left_out_means_survive_one_huge_loss():
    np.testing.assert_allclose(left_out_means(np.array([[1e11, 1e-9, 3e-9, 2e-9]]))[0, 0], 2e-9, rtol=1e-12)


@given(
    hnp.arrays(
        float, st.tuples(st.integers(1, 3), st.integers(1, 7)), elements=st.sampled_from([0, 1, 2, np.inf, np.nan])
    ),
    st.lists(st.sampled_from([-1.0, 0.0, 1.5]), min_size=1, max_size=3, unique=True),
)
def test_arrivals_are_those_of_a_plain_loop(values, goals):
    steps = np.arange(values.shape[1]) ** 2.0
    first, stay = tuning.arrivals(values, np.array(goals), steps)
    for row, firsts, stays in zip(values, first, stay, strict=True):
        for goal, one, other in zip(goals, firsts, stays, strict=True):
            assert one == next((step for step, value in zip(steps, row, strict=True) if value <= goal), np.inf)
            after = np.inf
            for i in reversed(range(len(row))):
                if not row[i] <= goal:
                    break
                after = steps[i]
            assert other == after


def test_profile_of_a_target_that_costs_nothing():
    found = tuning.performance_profile(np.array([[0.0, 0.0, 3.0, np.inf]]), np.array([1.0, 1e6]))
    assert found.tolist() == [[1, 1], [1, 1], [0, 0], [0, 0]]


def test_profile_counts_failures_of_all():
    costs = np.array([[1.0, 4.0], [np.inf, 2.0], [np.inf, np.inf]])
    found = tuning.performance_profile(costs, np.array([1.0, 3.0, 4.0]))
    np.testing.assert_allclose(found, [[1 / 3, 1 / 3, 1 / 3], [1 / 3, 1 / 3, 2 / 3]])


@given(hnp.arrays(float, st.integers(1, 9), elements=st.sampled_from([-1.0, 0.0, 0.5, 2.0, np.inf])))
def test_ranks_are_scipys(values):
    assert np.array_equal(tuning.mean_ranks(values), rankdata(values))
