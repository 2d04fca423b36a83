"""Sets fitted by a stopped update rule: against the plain loop, quadrature and the minimum that it stops before."""

from itertools import islice

import numpy as np
import pytest
from numpy.polynomial.legendre import leggauss

import biasvar as bv
from biasvar.errors import StudyError
from biasvar.learning.decomposition import Problem
from biasvar.learning.fits import is_linear, predictions
from biasvar.learning.hypotheses.base import TailIndex
from biasvar.learning.losses.squared import Squared
from biasvar.montecarlo.tails import IndexEstimate, Tail
from biasvar.optimization.batches import shuffled_batches
from biasvar.optimization.rules.base import descend
from biasvar.studies.blocks import run_in_memory
from biasvar.studies.catalog import from_json

LINE = bv.Uniform(-1, 1)
LINEAR = [
    bv.SGD(0.2),
    bv.SGD(0.2, schedule=bv.InverseSqrt()),
    bv.Momentum(0.1, momentum=0.5),
    bv.Nesterov(0.1, momentum=0.8),
]


def training_sets(sets=4, n=6, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (sets, n))
    return x, np.sin(np.pi * x) + 0.3 * rng.standard_normal((sets, n))


def by_the_loop(model, rule, steps, x, y, at, batches=None):
    """Descend on one training set at a time, all examples or some (K, b) a step, and predict."""
    found = []
    for k, (own_x, own_y, place) in enumerate(zip(x, y, at, strict=True)):
        phi = model.basis.evaluate(own_x, model.size)
        penalty = np.full(model.size, model.penalty)
        penalty[0] = 0
        seen = iter([slice(None)] * steps if batches is None else [batch[k] for batch in batches])

        def gradient(c, phi=phi, own_y=own_y, penalty=penalty, seen=seen):
            some = next(seen)
            missed = phi[:, some].T @ c - own_y[some, None]
            return phi[:, some] @ missed / len(missed) + penalty[:, None] * c / len(own_y)

        c = descend(rule, gradient, np.zeros(model.size), steps)[-1, :, 0]
        found.append(c @ model.basis.evaluate(place, model.size))
    return np.stack(found)


@pytest.mark.parametrize("rule", LINEAR, ids=repr)
@pytest.mark.parametrize("fitted", [bv.Polynomial(3), bv.Ridge(2, 0.5)], ids=repr)
def test_linear_rules_make_weights_of_labels(rule, fitted):
    x, y = training_sets()
    at = np.linspace(-1, 1, 5) * np.ones((4, 1))
    weights = bv.Descended(fitted, rule, steps=30).fit(LINE).weights(x, at)
    expected = by_the_loop(fitted.linear_model(LINE), rule, 30, x, y, at)
    assert np.allclose((weights @ y[..., None])[..., 0], expected, atol=1e-12)


@pytest.mark.parametrize("rule", [bv.Adam(0.05), bv.RMSProp(0.02), bv.AdaGrad(0.3), bv.Lion(0.01)], ids=repr)
def test_other_rules_are_trained(rule):
    x, y = training_sets()
    at = np.linspace(-1, 1, 5) * np.ones((4, 1))
    basis, size, train = vars(bv.Descended(bv.Polynomial(2), rule, steps=40).fit(LINE)).values()
    coefficients = train(basis.evaluate(x.T, size), y.T)
    found = np.einsum("pk,pkm->km", coefficients, basis.evaluate(at, size))
    assert np.allclose(found, by_the_loop(bv.Polynomial(2).linear_model(LINE), rule, 40, x, y, at), atol=1e-12)


class Averaging:
    """A user's linear rule: descend, and return the mean of where one has been."""

    linear = True

    def init(self, theta):
        return np.zeros_like(theta), np.zeros(theta.shape[1])

    def update(self, theta, gradient, state, step, learning_rate):
        point, _ = state
        point = point - learning_rate * gradient
        return theta + (point - theta) / step, (point, np.zeros(theta.shape[1]))

    def lookahead(self, theta, state, learning_rate):
        return state[0]

    hyperparameters = {"learning_rate": (0.2,)}  # noqa: RUF012


@pytest.mark.parametrize("size", [1, 4, 6])
@pytest.mark.parametrize("rule", [*LINEAR, Averaging(), bv.Adam(0.05)], ids=lambda rule: type(rule).__name__)
@pytest.mark.parametrize("fitted", [bv.Polynomial(3), bv.Ridge(2, 0.5)], ids=repr)
def test_batches_make_what_a_plain_loop_over_them_makes(fitted, rule, size):
    x, y = training_sets()
    at = np.linspace(-1, 1, 5) * np.ones((4, 1))
    fit = bv.Descended(fitted, rule, steps=25, batch_size=size).fit(LINE)
    found = predictions(fit, x, y, at, np.random.default_rng(3))
    batches = list(islice(shuffled_batches(np.random.default_rng(3), 4, 6, size), 25))
    expected = by_the_loop(fitted.linear_model(LINE), rule, 25, x, y, at, batches)
    assert np.allclose(found, expected, atol=1e-12)
    assert is_linear(fit) == (not isinstance(rule, bv.Adam))


def test_an_epoch_of_single_examples_shows_each_once():
    x, y = training_sets(sets=1, n=5)
    fit = bv.Descended(bv.Polynomial(0), bv.SGD(0.1), steps=5, batch_size=1).fit(LINE)
    found = predictions(fit, x, y, np.zeros((1, 1)), np.random.default_rng(3))[0, 0]
    order = np.random.default_rng(3).permuted(np.arange(5)[None], axis=1)[0]
    expected = 0.0
    for label in y[0, order]:
        expected -= 0.1 * (expected - label)
    assert found == pytest.approx(expected, abs=1e-14)


def two_points_by_quadrature(rate, steps):
    """Excess risk of a line descended on two points of a sine: without noise, and what unit noise adds."""
    x, w = leggauss(120)
    w = w / 2
    one, two = np.meshgrid(x, x, indexing="ij")
    phi = np.stack([np.ones((2, *one.shape)), np.sqrt(3) * np.stack([one, two])])
    values, vectors = np.linalg.eigh(np.einsum("inab,jnab->abij", phi, phi) / 2)
    reached = sum(rate * (1 - rate * values) ** k for k in range(steps))
    maps = np.einsum("abij,abj,abkj,knab->abin", vectors, reached, vectors, phi) / 2
    fits = np.einsum("abin,nab->abi", maps, np.stack([np.sin(np.pi * one), np.sin(np.pi * two)]))
    best = np.array([0.0, np.sqrt(3) / np.pi])
    both = np.outer(w, w)
    signal = float((both * ((fits - best) ** 2).sum(axis=-1)).sum()) + 0.5 - float(best @ best)
    return signal, float((both * (maps**2).sum(axis=(-1, -2))).sum())


def test_two_noisy_points_and_a_stopped_line_have_a_finite_risk():
    signal, gain = two_points_by_quadrature(0.2, 100)
    assert (signal, gain) == pytest.approx((0.708665, 2.180184), abs=3e-5)
    study = bv.RiskStudy(
        name="stopped",
        target=bv.Sine(),
        inputs=LINE,
        hypotheses={"line": bv.Polynomial(1), "stopped": bv.Descended(bv.Polynomial(1), bv.SGD(0.2), steps=100)},
        n_train=[2],
        noise=[0.0, 1.0],
        replicates=2**14,
        block_size=2**10,
    )
    summary = run_in_memory(study).squeeze()
    assert summary.status.sel(hypothesis="line", noise=1.0) == "infinite"
    stopped = summary.sel(hypothesis="stopped")
    assert (stopped.status == "ok").all()
    # Each fails by chance once in 15,000.
    for noise, truth in ((0.0, signal), (1.0, signal + gain)):
        cell = stopped.sel(noise=noise)
        assert abs(cell.excess_risk - truth) < 4 * cell.excess_risk_se


class Losses:
    """A series whose largest losses show a tail."""

    def __init__(self, index):
        self.loss_tail = self.gain_tail = Tail(1.0, 10, 0.0, index)


def test_batches_in_risk_studies_are_the_sums_that_they_make():
    # A mean of two labels after three single examples: an epoch in random order, and the first example of another.
    r, noise = 0.3, 0.7
    early, late = r * (1 - r) ** 2, r * (1 - r)
    squares = ((early + r) ** 2 + late**2 + early**2 + (late + r) ** 2) / 2
    study = bv.RiskStudy(
        name="online",
        target=bv.Sine(),
        inputs=LINE,
        hypotheses={"mean": bv.Descended(bv.Polynomial(0), bv.SGD(r), steps=3, batch_size=1)},
        n_train=[2],
        noise=[0.0, noise],
        replicates=2**13,
        block_size=2**8,
    )
    summary = run_in_memory(study).squeeze()
    for level in (0.0, noise):
        cell = summary.sel(noise=level)
        # The sine's mean square is one half. Each fails by chance once in 15,000.
        assert abs(cell.variance - squares * (0.5 + level**2)) < 4 * cell.variance_se
        assert abs(cell.expected_risk - (level**2 + 0.5 + squares * (0.5 + level**2))) < 4 * cell.expected_risk_se


@pytest.mark.parametrize("schedule", [bv.InverseSqrt(warmup=3), bv.StepDecay(0.5, every=20)], ids=repr)
def test_scheduled_descents_of_tradeoff_studies_are_these(schedule):
    rule = bv.Momentum(0.1, momentum=0.5, schedule=schedule)
    fields = {"name": "s", "target": bv.Sine(), "inputs": LINE, "n_train": [10], "noise": [0.5]}
    fields |= {"replicates": 256, "block_size": 16}
    tradeoff = bv.TradeoffStudy(model=bv.Polynomial(2), optimizers={"r": rule}, budgets=[100, 400], **fields)
    sets = {str(steps): bv.Descended(bv.Polynomial(2), rule, steps=steps) for steps in (10, 40)}
    found = run_in_memory(tradeoff)["r"].dataset.squeeze()
    plain = run_in_memory(bv.RiskStudy(hypotheses=sets, **fields)).squeeze()
    assert found.steps.values.tolist() == [10, 40]
    assert np.allclose(found.excess_risk, plain.excess_risk, rtol=1e-9, atol=0)


def test_schedules_that_look_at_the_end_are_refused_where_one_pass_serves_all_budgets():
    with pytest.raises(StudyError, match="depends on the number of steps, so that one pass does not serve all budgets"):
        bv.TradeoffStudy(
            name="s",
            target=bv.Sine(),
            inputs=LINE,
            model=bv.Polynomial(1),
            n_train=[4],
            optimizers={"r": bv.SGD(0.1, schedule=bv.Cosine())},
            budgets=[100],
        )


class Opaque:
    """Nesterov's momentum, which does not say that it is linear: then labels are simulated."""

    def __init__(self, rule):
        self._rule = rule
        self.hyperparameters = rule.hyperparameters
        self.init, self.update, self.lookahead = rule.init, rule.update, rule.lookahead


def test_integrated_noise_of_batches_is_what_simulated_labels_make():
    rule = bv.Nesterov(0.1, momentum=0.8)
    study = bv.RiskStudy(
        name="online",
        target=bv.Sine(),
        inputs=LINE,
        hypotheses={
            name: bv.Descended(bv.Polynomial(2), each, steps=15, batch_size=2)
            for name, each in (("integrated", rule), ("simulated", Opaque(rule)))
        },
        n_train=[5],
        noise=[0.5],
        replicates=2**14,
        block_size=2**9,
    )
    summary = run_in_memory(study).squeeze()
    ours, theirs = (summary.sel(hypothesis=name) for name in study.hypotheses)
    # Five of them: one fails by chance once in 3,000.
    for name in ("bias2", "variance", "expected_risk", "empirical_risk", "generalization_gap"):
        assert abs(ours[name] - theirs[name]) < 4 * np.hypot(ours[f"{name}_se"], theirs[f"{name}_se"])
    assert ours.variance_se < 0.5 * theirs.variance_se


@pytest.mark.parametrize("rule", [bv.SGD(9.0), Opaque(bv.SGD(9.0))], ids=["integrated", "simulated"])
@pytest.mark.parametrize("batch_size", [None, 1])
def test_a_descent_that_diverges_says_so(rule, batch_size):
    study = bv.RiskStudy(
        name="far",
        target=bv.Sine(),
        inputs=LINE,
        hypotheses={"far": bv.Descended(bv.Polynomial(2), rule, steps=2000, batch_size=batch_size)},
        n_train=[4],
        noise=[1.0],
        replicates=256,
        block_size=16,
    )
    summary = run_in_memory(study).squeeze()
    assert summary.status == "failed"
    assert "2000 steps of" in str(summary.status_reason)
    assert "smaller learning_rate" in str(summary.status_reason)


@pytest.mark.parametrize("inputs", [LINE, bv.Normal(), bv.FixedDesign([-1.0, 0.5])], ids=repr)
def test_a_descent_near_its_end_has_a_mean_loss_however_long_its_tail(inputs):
    # A line through two noisy points has none; so many steps are a power of the data, whatever the largest losses say.
    known = bv.Descended(bv.Polynomial(1), bv.SGD(0.1), steps=10_000).tail_index(inputs, 2)
    heavy = IndexEstimate(shape=1.9, shape_se=0.05, upper_shape=1.8)
    problem = Problem.of(bv.Sine(), inputs, None, 0)
    assert Squared().tails(problem, TailIndex(), Losses(heavy), noisy=True).status == "infinite"
    assert Squared().tails(problem, known, Losses(heavy), noisy=True).status == "se_unreliable"


def test_studies_of_stopped_sets_are_given_back_and_serve_classes():
    sets = {
        "stopped": bv.Descended(bv.Polynomial(1), bv.Momentum(0.1, momentum=0.5), steps=20),
        "adam": bv.Descended(bv.Polynomial(1), bv.Adam(0.1), steps=20),
        "online": bv.Descended(bv.Polynomial(1), bv.SGD(0.1), steps=20, batch_size=1),
    }
    study = bv.ClassificationStudy(
        name="stopped",
        inputs=bv.GaussianClasses(means=[-1, 1]),
        hypotheses=sets,
        losses=["zero_one", "squared"],
        n_train=[8],
        replicates=512,
        block_size=32,
    )
    assert from_json(study.to_json(), study.supplement()) == study
    summary = run_in_memory(study)
    assert (summary.status == "ok").all()
    assert np.isfinite(summary.estimation_error).all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: bv.Descended(bv.NearestNeighbors(1), bv.SGD(0.1), 5), "linear in coefficients"),
        (lambda: bv.Descended(bv.Polynomial(1), bv.SGD([0.1, 0.2]), 5), "a grid of them is several sets"),
        (lambda: bv.Descended(bv.Polynomial(1), bv.SGD(0.1), 0), "greater than 0"),
        (lambda: bv.Descended(bv.Polynomial(1), "sgd", 5), "init"),
    ],
)
def test_what_is_wrong_is_said(make, words):
    with pytest.raises(StudyError, match=words):
        make()
