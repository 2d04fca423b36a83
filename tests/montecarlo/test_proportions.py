"""Exact limits of proportions against scipy's, and how often they cover."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from biasvar.montecarlo.proportions import clopper_pearson, trials_for


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_limits_are_those_of_scipy(level):
    for trials in (1, 2, 17, 1000):
        hits = np.unique(np.linspace(0, trials, 9).astype(int))
        low, high = clopper_pearson(hits, np.full(len(hits), trials), level)
        known = [binomtest(int(k), trials).proportion_ci(level, method="exact") for k in hits]
        assert np.allclose(low, [each.low for each in known], rtol=1e-9, atol=0)
        assert np.allclose(high, [each.high for each in known], rtol=1e-9, atol=0)


def test_they_cover_whatever_the_probability():
    hits = np.arange(101)
    low, high = clopper_pearson(hits, np.full(101, 100))
    for p in np.linspace(0.001, 0.999, 499):
        assert binom.pmf(hits, 100, p)[(low <= p) & (p <= high)].sum() >= 0.95


def test_without_trials_nothing_is_known():
    low, high = clopper_pearson(np.array(0), np.array(0))
    assert (low, high) == (0, 1)


@pytest.mark.parametrize("limit", [0.3, 1e-2, 1e-5])
def test_as_many_trials_as_it_takes(limit):
    count = trials_for(limit)
    assert clopper_pearson(0, count)[1] <= limit < clopper_pearson(0, count - 1)[1]
