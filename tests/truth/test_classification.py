"""Losses of scores against enumeration, quadrature, closed forms and other people's fits."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.special import comb, expit
from sklearn.linear_model import LogisticRegression

import biasvar as bv
from biasvar.learning.classes import TwoClassProblem
from biasvar.learning.losses.margin import BY_NAME, SURROGATES
from biasvar.learning.margin_fits import minimise
from biasvar.studies.blocks import run_in_memory

SYMMETRIC = bv.GaussianClasses(means=[-1, 1])
UNEQUAL = bv.GaussianClasses(means=[-1, 1], stds=[2, 1])


def small(**changes):
    fields = {
        "name": "small",
        "inputs": UNEQUAL,
        "hypotheses": {"logistic": bv.LinearClassifier(1, "logistic", 0.1), "line": bv.Polynomial(1)},
        "losses": list(BY_NAME),
        "n_train": [6],
        "replicates": 2**12,
        "block_size": 2**7,
    }
    return bv.ClassificationStudy(**{**fields, **changes})


def problem(law):
    return TwoClassProblem.of(law.probability, law, None, 0)


@pytest.mark.parametrize(
    ("law", "loss", "slope", "intercept", "risk", "tolerance"),
    [
        (SYMMETRIC, "logistic", 2.0, 0.0, 0.356316360213, 1e-7),
        (SYMMETRIC, "squared", 0.5, 0.0, 0.5, 1e-7),
        (SYMMETRIC, "hinge", 1.43396074616, 0.0, None, 1e-3),
        (SYMMETRIC, "exponential", 1.0, 0.0, np.exp(-0.5), 1e-7),
        (UNEQUAL, "logistic", 0.856455566662, -0.111943483187, None, 1e-7),
    ],
)
def test_the_best_line_of_a_surrogate_is_the_known_one(law, loss, slope, intercept, risk, tolerance):
    known, charged = problem(law), SURROGATES[loss]
    best = charged.best_in_class(known, bv.LinearClassifier(1, loss, 1.0), 0.0)
    x = known.test.x
    near = np.abs(x) < 4
    assert np.allclose(np.polyfit(x[near], best.values[near], 1), [slope, intercept], atol=tolerance)
    if risk is not None:
        assert best.excess_risk + charged.centre(known, 0.0).bayes == pytest.approx(risk, abs=1e-9)


def test_the_four_errors_of_zero_one_loss():
    known = problem(UNEQUAL)
    centre = bv.ZeroOne().centre(known, 0.0)
    assert centre.bayes == pytest.approx(0.226694067407, abs=1e-10)
    best = bv.ZeroOne().best_in_class(known, bv.LinearClassifier(1, "logistic", 1.0), 0.0)
    assert best.excess_risk + centre.bayes == pytest.approx(0.239129983433, abs=1e-9)
    assert best.approximation + centre.bayes == pytest.approx(0.229729815875, abs=1e-9)


@pytest.mark.parametrize("loss", SURROGATES)
@pytest.mark.parametrize("penalty", [0.01, 1.0])
def test_fits_are_the_minimisers(loss, penalty):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(3, 12, 6))
    features[0] = 1
    y = np.where(rng.random((12, 6)) < 0.5, 1.0, -1.0)
    y[:, 0] = 1  # one class
    y[:, 1] = np.sign(features[1, :, 1])  # separable
    found = minimise(loss, penalty, features, y)
    for k in range(6):

        def risk(c, k=k):
            return SURROGATES[loss].phi(y[:, k] * (c @ features[:, :, k])).sum() + penalty / 2 * c @ c

        other = minimize(risk, found[:, k], method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-14})
        assert risk(found[:, k]) - other.fun < 1e-7


def test_logistic_fits_are_scikit_learns():
    rng = np.random.default_rng(1)
    for p, n, penalty in ((2, 20, 1.0), (6, 50, 0.1)):
        features = np.concatenate([np.ones((1, n, 5)), rng.normal(size=(p - 1, n, 5))])
        y = np.where(rng.random((n, 5)) < 1 / (1 + np.exp(-2 * features[1])), 1.0, -1.0)
        found = minimise("logistic", penalty, features, y)
        for k in range(5):
            theirs = LogisticRegression(C=1 / penalty, fit_intercept=False, tol=1e-10, max_iter=10_000)
            theirs.fit(features[:, :, k].T, y[:, k])
            assert np.abs(theirs.coef_[0] - found[:, k]).max() < 1e-5


@pytest.mark.parametrize("penalty", [1.0, 1e-3, 1e-7])
@pytest.mark.parametrize("shape", ["separable", "far out"])
def test_logistic_fits_are_flat_at_their_end(shape, penalty):
    rng = np.random.default_rng(0)
    y = np.where(rng.random((20, 512)) < 0.5, 1.0, -1.0)
    x = rng.standard_cauchy(size=(20, 512)) if shape == "far out" else rng.normal(size=(20, 512)) + 1.5 * y
    features = np.stack([np.ones((20, 512)), x])
    found = minimise("logistic", penalty, features, y)
    margins = y * (features * found[:, None]).sum(axis=0)
    gradient = penalty * found - (features * y * expit(-margins)).sum(axis=1)
    assert (np.abs(gradient) < 1e-8 * np.abs(features).mean(axis=1).sum(axis=0)).all()


def test_risk_is_bayes_risk_bias_and_variance_in_every_row():
    sets = {"line": bv.Polynomial(1), "knn": bv.NearestNeighbors(3)}
    summary = run_in_memory(small(noise=[0.0, 0.2], hypotheses=sets))
    total = summary.bayes_risk + summary.bias + summary.variance
    finite = np.isfinite(summary.expected_risk)
    assert finite.sum() >= 20
    assert np.allclose(total.where(finite), summary.expected_risk.where(finite), atol=1e-14, equal_nan=True)
    votes = summary.sel(loss="zero_one")
    assert np.allclose(votes.kw_noise + votes.kw_bias2 + votes.kw_variance, votes.expected_risk, atol=1e-12)
    assert np.allclose(votes.variance_unbiased - votes.variance_biased, votes.variance, atol=1e-14)


def test_psi_bounds_the_excess_zero_one_risk_in_every_row():
    summary = run_in_memory(small(n_train=[4, 12], noise=[0.0, 0.1]))
    excess = summary.excess_risk.sel(loss="zero_one", drop=True)
    bounds = summary.excess_bound.drop_sel(loss="zero_one")
    known = np.isfinite(bounds)
    assert known.sum() > 30
    assert (excess <= bounds + 1e-12).where(known, True).all()


def test_psi_bounds_the_excess_in_every_row_of_bundled_studies():
    """Replicate by replicate it holds at each x, so that fewer of them do."""
    of_scores = [name for name in bv.bundled() if bv.load(name).kind == "classification"]
    assert of_scores
    for name in of_scores:
        summary = run_in_memory(bv.load(name, ["replicates=256", "block_size=16"]))
        excess = summary.excess_risk.sel(loss="zero_one", drop=True)
        bounds = summary.excess_bound.drop_sel(loss="zero_one")
        known = np.isfinite(bounds)
        assert known.sum() >= 0.9 * bounds.size
        assert (excess <= bounds + 1e-12).where(known, True).all()


@pytest.mark.parametrize("loss", ["logistic", "hinge", "squared_hinge", "exponential", "squared", "brier"])
def test_psi_is_the_published_one(loss):
    theta = 0.4
    h = -0.7 * np.log(0.7) - 0.3 * np.log(0.3)
    published = {
        "logistic": np.log(2) - h,
        "hinge": theta,
        "squared_hinge": theta**2,
        "squared": theta**2,
        "exponential": 1 - np.sqrt(1 - theta**2),
        "brier": theta**2 / 4,
    }[loss]
    assert BY_NAME[loss].psi(theta) == pytest.approx(published, abs=1e-12)
    assert BY_NAME[loss].excess_bound(published) == pytest.approx(theta, abs=1e-9)


def histogram_truth(shares, masses, n, smoothing):
    """Enumerate the counts of each cell of a partition: what a vote there is, and what it risks."""
    risk = bayes = vote_risk = log_risk = 0.0
    for share, mass in zip(shares, masses, strict=True):
        p_vote = log_cell = 0.0
        for k in range(n + 1):
            for plus in range(k + 1):
                weight = comb(n, k) * mass**k * (1 - mass) ** (n - k)
                weight *= comb(k, plus) * share**plus * (1 - share) ** (k - plus)
                p_vote += weight * (2 * plus > k)
                odds = np.log((plus + smoothing) / (k - plus + smoothing))
                log_cell += weight * (share * np.log1p(np.exp(-odds)) + (1 - share) * np.log1p(np.exp(odds)))
        risk += mass * (share * (1 - p_vote) + (1 - share) * p_vote)
        bayes += mass * min(share, 1 - share)
        vote_risk += mass * (1 - share if p_vote > 0.5 else share)
        log_risk += mass * log_cell
    return risk, bayes, vote_risk, log_risk


class Stairs:
    """P(y = +1 | x): 0.2, 0.9 and 0.55 on thirds of [0, 3]."""

    breakpoints = (1.0, 2.0)

    def __call__(self, x):
        return np.select([x < 1, x < 2], [0.2, 0.9], 0.55)


@pytest.mark.parametrize("sampler", ["sobol", "random"])
def test_histograms_are_enumerated(sampler):
    study = small(
        inputs=bv.Uniform(0, 3),
        target=Stairs(),
        hypotheses={"cells": bv.Histogram([1.0, 2.0], smoothing=0.5)},
        losses=["zero_one", "logistic"],
        n_train=[5],
        replicates=2**13,
        sampler=sampler,
    )
    risk, bayes, vote, log_risk = histogram_truth([0.2, 0.9, 0.55], [1 / 3] * 3, 5, 0.5)
    summary = run_in_memory(study).squeeze()
    votes, logs = summary.sel(loss="zero_one"), summary.sel(loss="logistic")
    assert votes.bayes_risk == pytest.approx(bayes, abs=1e-12)
    assert votes.bias == pytest.approx(vote - bayes, abs=1e-9)
    # Each fails by chance once in 15,000.
    assert abs(votes.expected_risk - risk) < 4 * votes.expected_risk_se
    assert abs(logs.expected_risk - log_risk) < 4 * logs.expected_risk_se


def test_a_vote_that_no_training_sets_tell_has_no_bias():
    # The nearest of one example: its class is drawn with the prior, whatever x is.
    summary = run_in_memory(
        small(hypotheses={"1-NN": bv.NearestNeighbors(1)}, n_train=[1], losses=["zero_one"])
    ).squeeze()
    assert np.isnan(summary.bias)
    assert np.isnan(summary.variance)
    assert abs(summary.expected_risk - 0.5) < 4 * summary.expected_risk_se
    assert "do not tell which class" in str(summary.status_reason.item())
    assert summary.one_class == 1


def risk_by_quadrature(loss, score, kinks):
    """Integrate the loss of a score over GaussianClasses(means=[-1, 1]), piece by piece."""

    def charge(x):
        x = np.array([x])
        p, g = SYMMETRIC.probability(x), score(x)
        return float((SYMMETRIC.density(x) * (p * loss.phi(g) + (1 - p) * loss.phi(-g)))[0])

    return quad(charge, -10, 10, points=kinks, epsabs=1e-12, limit=200)[0]


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge"])
def test_the_risk_of_a_centre_is_cut_where_hinges_bend(loss):
    known = problem(SYMMETRIC)
    centre = BY_NAME[loss].centre(known, 0.0)
    scores = np.stack([1.3 * known.test.x + 0.2, np.full_like(known.test.x, 1.5), -2 * known.test.x])
    truth = [
        risk_by_quadrature(BY_NAME[loss], lambda x: 1.3 * x + 0.2, [(1 - 0.2) / 1.3, (-1 - 0.2) / 1.3]),
        risk_by_quadrature(BY_NAME[loss], lambda x: 0 * x + 1.5, [0.0]),
        risk_by_quadrature(BY_NAME[loss], lambda x: -2 * x, [-0.5, 0.5]),
    ]
    assert np.allclose(centre.risk(scores), truth, atol=1e-10)


class Bent(bv.MarginLoss):
    """A hinge that biasvar does not know to have a bend."""

    def phi(self, margins):
        return np.maximum(0.3 - margins, 0)


def test_a_bend_that_is_not_known_is_in_the_error():
    known = problem(SYMMETRIC)
    score = 1.3 * known.test.x + 0.2
    truth = risk_by_quadrature(Bent(), lambda x: 1.3 * x + 0.2, [(0.3 - 0.2) / 1.3, (-0.3 - 0.2) / 1.3])
    centre = Bent().centre(known, 0.0)
    off = abs(float(centre.risk(score[None])[0]) - truth)
    assert off > 1e-7
    assert off / 2 < centre.rule_error(score) < 2 * off
    assert BY_NAME["logistic"].centre(known, 0.0).rule_error(score) == 0
    few = {"losses": {"bent": Bent()}, "replicates": 2**8, "block_size": 2**4, "hypotheses": {"line": bv.Polynomial(1)}}
    assert run_in_memory(small(**few)).quadrature_error.item() > 0


def test_losses_beyond_all_numbers_are_infinite_and_warn_of_nothing():
    # Warnings are errors here.
    wide = bv.GaussianClasses(means=[-1, 1], stds=[10, 1])
    sets = {"quadratic": bv.Discriminant("each"), "cubic": bv.Polynomial(3), "sure": bv.Histogram([0.0], smoothing=0)}
    study = small(inputs=wide, hypotheses=sets, losses=["exponential", "zero_one"], replicates=2**9, block_size=2**5)
    summary = run_in_memory(study).squeeze()
    assert (summary.expected_risk.sel(loss="exponential") == np.inf).all()
    assert (summary.status.sel(loss="exponential") == "infinite").all()
    assert (summary.status.sel(loss="zero_one") == "ok").all()
