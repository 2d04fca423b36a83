"""Intervals of data studies cover the law's numbers, over many data sets drawn from a known law."""

from functools import cache

import numpy as np
import pytest
from scipy import stats

import biasvar as bv
from biasvar.studies.blocks import run_in_memory

pytestmark = pytest.mark.slow

SETS = {"mean": bv.Polynomial(0), "line": bv.Polynomial(1), "1-NN": bv.NearestNeighbors(1)}
EXAMPLES, N_TRAIN, SIGMA = 100, 10, 0.3
DATA_SETS, LEAST = 160, 0.88


def found(seed):
    """Study one data set of a noisy sine."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, EXAMPLES)
    y = np.sin(np.pi * x) + SIGMA * rng.standard_normal(EXAMPLES)
    study = bv.DataStudy(name="coverage", data=(x, y), hypotheses=SETS, n_train=N_TRAIN, replicates=1024, seed=seed)
    return run_in_memory(study).squeeze()


@cache
def results():
    return [found(seed) for seed in range(DATA_SETS)]


@cache
def law():
    """Return the law's numbers, by a risk study whose errors are some thousandths of the width of intervals."""
    study = bv.RiskStudy(
        name="law",
        target=bv.Sine(),
        inputs=bv.Uniform(-1, 1),
        hypotheses=SETS,
        n_train=N_TRAIN,
        noise=SIGMA,
        replicates=2**17,
        block_size=2**12,
    )
    cells = run_in_memory(study).squeeze()
    return {
        "expected_risk": cells.expected_risk,
        "variance": cells.variance,
        "bias2_plus_noise": cells.bias2 + SIGMA**2,
        "expected_risk_difference": cells.excess_risk_difference,
    }


def shares(name, **options):
    """Return how many intervals there are of each number, and how many of them cover the law's."""
    truth = law()[name]
    bounds = [bv.confidence_interval(each, name, **options) for each in results()]
    low, high = (np.array([b[side].transpose(*truth.dims).values for b in bounds]) for side in ("low", "high"))
    apart = ~np.eye(len(SETS), dtype=bool) if truth.ndim == 2 else np.ones(truth.shape, dtype=bool)
    covered = (low <= truth.values) & (truth.values <= high)
    return (~np.isnan(low)).sum(axis=0)[apart], covered.sum(axis=0)[apart]


@pytest.mark.parametrize("name", ["expected_risk", "variance", "bias2_plus_noise", "expected_risk_difference"])
def test_intervals_cover_the_law_over_data_sets(name):
    """At least 88 % of those that are given: if each covers with probability 95 %, all hold but for 1e-3 each."""
    given, covered = shares(name)
    assert stats.binom.cdf(np.ceil(LEAST * DATA_SETS) - 1, DATA_SETS, 0.95) < 1e-3
    assert (covered >= LEAST * given).all(), (given, covered)
    if name.startswith("expected_risk"):
        assert (given >= 0.95 * DATA_SETS).all()


@pytest.mark.parametrize("name", ["expected_risk", "variance", "bias2_plus_noise", "expected_risk_difference"])
def test_intervals_of_the_cuts_are_no_intervals_of_the_law(name):
    """They are for the average over all cuts of one data set: they hold the law's number in less than half of them."""
    given, covered = shares(name, error=f"{name}_se")
    assert (given == DATA_SETS).all()
    assert (covered < DATA_SETS / 2).all()


def test_there_is_no_interval_where_another_data_set_cannot_be_told():
    study = bv.DataStudy(
        name="large", data=(np.arange(20.0), np.arange(20.0) ** 2), hypotheses=SETS, n_train=[2, 9], replicates=1024
    )
    summary = run_in_memory(study).sel(n_train=9)
    bounds = bv.confidence_interval(summary, "expected_risk")
    assert bounds.attrs["error"] == "expected_risk_se_data"
    assert np.isnan(bounds.low).all()
    assert np.isfinite(bv.confidence_interval(summary, "expected_risk", error="expected_risk_se").low).all()
