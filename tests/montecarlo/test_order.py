"""Order statistics: their law, their order, and what may look at it."""

import numpy as np
import pytest
from numpy.polynomial import legendre
from scipy import stats

import biasvar as bv
from biasvar.montecarlo.draws import Block, Stream
from biasvar.montecarlo.order import order_statistics
from biasvar.studies.blocks import run_in_memory

ALPHA = 1e-4
Z = stats.norm.isf(ALPHA / 2)


def ordered(n, size, seed=0):
    u = np.random.default_rng(seed).random((n, size))
    order_statistics(u, np.random.default_rng(seed + 1).permutation(n))
    return u


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 31])
def test_ranks_have_the_law_of_order_statistics(n):
    u = ordered(n, 3001)
    ranks = np.argsort(np.argsort(u, axis=0), axis=0)
    assert (ranks == ranks[:, :1]).all()
    for rank, row in zip(ranks[:, 0], u, strict=True):
        assert stats.kstest(row, stats.beta(rank + 1, n - rank).cdf).pvalue > ALPHA
    assert u.min() >= 2.0**-53
    assert u.max() <= 1 - 2.0**-53


@pytest.mark.parametrize("n", [3, 6])
def test_sets_have_the_law_of_independent_uniforms(n):
    # The joint law: sums, products and spacings as those of plain draws.
    ours, plain = ordered(n, 20000), np.random.default_rng(9).random((n, 20000))
    for summary in (
        lambda u: u.sum(axis=0),
        lambda u: u.prod(axis=0),
        lambda u: np.diff(np.sort(u, axis=0), axis=0).min(axis=0),
        lambda u: np.diff(np.sort(u, axis=0), axis=0)[n // 2],
    ):
        assert stats.ks_2samp(summary(ours), summary(plain)).pvalue > ALPHA


def test_bits_do_not_depend_on_where_a_replicate_stands():
    u = np.random.default_rng(0).random((7, 1000))
    whole, part = u.copy(), u[:, 300:811].copy()
    order_statistics(whole, np.arange(7)[::-1].copy())
    order_statistics(part, np.arange(7)[::-1].copy())
    assert np.array_equal(whole[:, 300:811], part)


def test_blocks_deal_ranks_to_rows_at_random():
    first = [Block("sobol", Stream(seed, "a", 0), 5, 16, exchangeable=True).uniforms()[0] for seed in range(600)]
    ranks = np.argsort(np.argsort([u[:, 0] for u in first], axis=1), axis=1)
    for row in ranks.T:
        assert stats.chisquare(np.bincount(row, minlength=5)).pvalue > ALPHA
    # And each row alone is uniform, so that whatever looks at one row is unbiased.
    assert stats.kstest([u[4, 0] for u in first], "uniform").pvalue > ALPHA
    assert stats.kstest([u[0, 7] for u in first], "uniform").pvalue > ALPHA


@pytest.mark.parametrize(
    ("sampler", "count", "turned"), [("sobol", 3, True), ("sobol", 2, False), ("random", 3, False)]
)
def test_which_blocks_are_ordered(sampler, count, turned):
    plain, block = (Block(sampler, Stream(0, "a", 0), count, 64, exchangeable=each) for each in (False, True))
    assert np.array_equal(plain.uniforms()[0], block.uniforms()[0]) is not turned
    assert np.array_equal(plain.label_uniforms(4), block.label_uniforms(4))


def test_laws_say_whether_they_are_exchangeable():
    assert bv.Uniform(0, 1).exchangeable
    assert bv.Normal().exchangeable
    assert bv.GaussianClasses((-1.0, 1.0)).exchangeable
    assert not bv.Normal(dim=2).exchangeable
    assert not bv.FixedDesign([0.0, 1.0]).exchangeable


class ChosenOnTheLastRows:
    """A constant or a line, whichever is nearer to the labels of the last two rows: order matters to it."""

    def fit_predict(self, x, y, at, rng):
        head, tail, known = x[:, :-2], x[:, -2:], y[:, :-2]
        centre, level = head.mean(axis=1, keepdims=True), known.mean(axis=1, keepdims=True)
        off = head - centre
        slope = np.clip((off * known).sum(axis=1, keepdims=True) / (off**2).sum(axis=1, keepdims=True), -1, 1)
        missed = [((level + b * (tail - centre) - y[:, -2:]) ** 2).sum(axis=1) for b in (0 * slope, slope)]
        return level + np.where(missed[1] < missed[0], slope[:, 0], 0.0)[:, None] * (at - centre)


def test_a_set_that_validates_on_the_last_rows_sees_no_order():
    def study(sampler):
        return bv.RiskStudy(
            name="order",
            target=bv.Sine(),
            inputs=bv.Uniform(-1, 1),
            hypotheses={"chosen": ChosenOnTheLastRows()},
            n_train=6,
            replicates=2**16,
            block_size=2**7,
            sampler=sampler,
        )

    ours, plain = (run_in_memory(study(sampler)).squeeze() for sampler in ("sobol", "random"))
    for name in ("expected_risk", "bias2", "empirical_risk"):
        spread = np.hypot(ours[f"{name}_se"], plain[f"{name}_se"])
        assert abs(ours[name] - plain[name]) < 4 * spread, name
        assert spread < 0.05 * plain[name]


@pytest.mark.slow
@pytest.mark.parametrize(("degree", "gain"), [(1, 2), (2, 10)])
def test_order_statistics_make_low_degrees_precise(degree, gain):
    def variance(exchangeable):
        means = []
        for seed in range(48):
            block = Block("sobol", Stream(seed, "gain", 0), 8, 2**10, exchangeable)
            x = 2 * block.uniforms()[0].T - 1
            fits = [legendre.legfit(each, np.sin(np.pi * each), degree) for each in x]
            means.append(np.square(fits).sum(axis=1).mean())
        return np.var(means)

    assert variance(False) > gain * variance(True)
