"""Trajectories fail alone, are told from those that diverge, and have the bits that they have in any company."""

import numpy as np
import pytest

import biasvar as bv
from biasvar.errors import StudyError
from biasvar.optimization import columns, rehearsal, rules, trajectories
from biasvar.optimization.descent import Descent, Outcome
from biasvar.optimization.objectives import adapted
from biasvar.optimization.trajectories import run

RATES = np.geomspace(1e-3, 100, 40)


class Bowl:
    dim = 3

    def value(self, theta):
        return (theta**2).sum(axis=-1)

    def gradient(self, theta, batch=None):
        return 2 * theta


class Explodes(Bowl):
    """Raises where any theta is large, in the value, the gradient or both."""

    def __init__(self, *where):
        self.where = where

    def value(self, theta):
        self.check("value", theta)
        return super().value(theta)

    def gradient(self, theta, batch=None):
        self.check("gradient", theta)
        return super().gradient(theta)

    def check(self, what, theta):
        if what in self.where and (np.abs(theta) > 50).any():
            raise RuntimeError("boom")


class Undefined(Bowl):
    """A gradient of NaN, or a value of NaN, left of zero."""

    def __init__(self, what):
        self.what = what

    def value(self, theta):
        return np.where((theta < 0).any(axis=-1) & (self.what == "value"), np.nan, super().value(theta))

    def gradient(self, theta, batch=None):
        return np.where((theta < 0) & (self.what == "gradient"), np.nan, 2 * theta)


def go(objective, rates, rule=None, steps=50, record_steps=(0, 1, 7, 50)):
    rule, objective = rule or bv.SGD(), adapted(objective)
    hyper = {"learning_rate": rates} | {
        name: np.full(len(rates), values[0]) for name, values in rule.hyperparameters.items() if name != "learning_rate"
    }
    descent = Descent(objective, rule, objective.dim, steps, record_steps)
    found = run(descent, np.array([1.0, 2.0, 3.0])[: objective.dim], hyper, None)
    return (*descent.unpack(found.records), found)


@pytest.mark.parametrize("rule", [bv.SGD(), bv.Momentum(), bv.Nesterov(), bv.Adam()], ids=repr)
@pytest.mark.parametrize("where", [("value",), ("gradient",), ("value", "gradient")])
def test_what_raises_fails_alone_and_the_others_keep_their_bits(where, rule):
    looks, outcomes, _, found = go(Explodes(*where), RATES, rule)
    plain, sound, _, _ = go(Bowl(), RATES, rule)
    failed = outcomes == Outcome.FAILED
    assert 0 < failed.sum() < len(RATES)
    assert {reason for reason, bad in zip(found.failures, failed, strict=True) if bad} == {"RuntimeError: boom"}
    assert not any(np.array(found.failures)[~failed])
    assert np.isnan(looks[failed]).all()
    np.testing.assert_array_equal(looks[~failed], plain[~failed])
    np.testing.assert_array_equal(outcomes[~failed], sound[~failed])
    assert "boom" in found.traceback
    # It is the culprits that fail, and no others: each fails alone as well, and only those.
    alone = [go(Explodes(*where), RATES[[i]], rule)[1][0] == Outcome.FAILED for i in range(len(RATES))]
    np.testing.assert_array_equal(failed, alone)


def test_a_matrix_product_keeps_its_bits_beside_what_raises():
    rng = np.random.default_rng(0)
    data = rng.standard_normal((40, 30)), rng.integers(0, 2, 40).astype(float)
    loss = bv.EmpiricalRisk(data=data, loss="logistic")

    class Some:
        dim = loss.dim

        def value(self, theta):
            return loss.value(theta)

        def gradient(self, theta, batch=None):
            if (np.abs(theta) > 30).any():
                raise RuntimeError("boom")
            return loss.gradient(theta, batch)

    rates, start = np.geomspace(0.1, 1e4, 90), np.ones(loss.dim)
    some, every = (
        run(Descent(each, bv.SGD(), loss.dim, 40, (1, 40)), start, {"learning_rate": rates}, None)
        for each in (adapted(Some()), loss)
    )
    sound = np.array([not reason for reason in some.failures])
    assert 0 < sound.sum() < 90
    np.testing.assert_array_equal(some.records[sound], every.records[sound])


def test_growth_is_divergence_also_where_nothing_is_finite_at_the_next_look():
    for objective in (Bowl(), bv.Rosenbrock(2), bv.Quadratic(eigenvalues=[1, 100])):
        _, outcomes, stops, found = go(
            objective, np.array([1e-5, 3.0, 1e5, 1e200, 1e300]), steps=2000, record_steps=(1, 2000)
        )
        assert outcomes.tolist() == [Outcome.RUNNING, *[Outcome.DIVERGED] * 4]
        assert not any(found.failures)
        assert (stops[1:] <= 2000).all()


def test_a_gradient_that_is_nan_without_growth_fails_and_says_where():
    _, outcomes, _, found = go(Undefined("gradient"), np.array([0.1, 0.7]))
    assert outcomes.tolist() == [Outcome.RUNNING, Outcome.FAILED]
    # theta (1 - 2 * 0.7) after the first step
    assert found.failures == ("", "gradient is not finite at theta=[-0.4 -0.8 -1.2]")
    assert not found.traceback


def test_a_value_that_is_nan_fails_and_says_where():
    _, outcomes, _, found = go(Undefined("value"), np.array([0.1, 0.7]), record_steps=(1, 50))
    assert outcomes.tolist() == [Outcome.RUNNING, Outcome.FAILED]
    assert found.failures[1] == "objective is not finite at theta=[-0.4 -0.8 -1.2]"


class Breaks(bv.SGD):
    def update(self, theta, gradient, state, step, *, learning_rate):
        theta, state = super().update(theta, gradient, state, step, learning_rate=learning_rate)
        return np.where((step == 9) & (learning_rate > 0.2), np.nan, theta), state


def test_a_rule_that_makes_nan_of_finite_gradients_fails():
    _, outcomes, _, found = go(Bowl(), np.array([0.1, 0.3]), Breaks())
    assert outcomes.tolist() == [Outcome.RUNNING, Outcome.FAILED]
    assert found.failures[1] == "theta is not finite after step 9, though all gradients were"


class Careful(bv.SGD):
    def update(self, theta, gradient, state, step, *, learning_rate):
        return super().update(theta, np.nan_to_num(gradient), state, step, learning_rate=learning_rate)


def test_a_rule_may_mend_what_is_not_finite():
    _, outcomes, _, found = go(Undefined("gradient"), np.array([0.1, 0.7]), Careful(), record_steps=(9, 50))
    # At the look itself the gradient is not finite; before, nothing had to be.
    assert outcomes.tolist() == [Outcome.RUNNING, Outcome.FAILED]
    assert found.failures[1].startswith("gradient is not finite at theta=[-0.4")


def test_what_has_stopped_is_asked_no_more():
    seen = []

    class Listens(Bowl):
        def gradient(self, theta, batch=None):
            seen.append(np.abs(theta).max())
            return 2 * theta

    go(Listens(), np.array([0.1, 3.0]), steps=2000, record_steps=tuple(range(0, 2001, 10)))
    assert max(seen[100:]) < 5  # the second is at 1e12 by step 20


def test_states_are_taken_and_put_back_by_columns():
    state = {"a": (np.arange(6.0).reshape(2, 3), 5), "b": [np.arange(3.0)]}
    part = columns.take(state, np.array([2, 0, 0]))
    np.testing.assert_array_equal(part["a"][0], [[2, 0, 0], [5, 3, 3]])
    back = columns.put(state, np.array([0, 1]), part)
    np.testing.assert_array_equal(back["a"][0], [[2, 0, 2], [5, 3, 5]])
    np.testing.assert_array_equal(back["b"][0], [2, 0, 2])


# What the rehearsal refuses


class Rule:
    def init(self, theta):
        return ()

    def update(self, theta, gradient, state, step, *, share):
        return theta * (1 - share), state


class Random(Rule):
    def update(self, theta, gradient, state, step, *, share):
        return theta * (1 - share) + np.random.standard_normal(theta.shape), state  # noqa: NPY002


class Remembers(Rule):
    speed = 0.0

    def update(self, theta, gradient, state, step, *, share):
        self.speed = self.speed + share
        return theta - self.speed * gradient, state


class Shared(Rule):
    def init(self, theta):
        return (np.zeros(7),)


class Opaque(Rule):
    def init(self, theta):
        return object()


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Random(), "optimizers.own: takes another step the second time"),
        (Remembers(), "optimizers.own: takes another step the second time"),
        (Shared(), r"optimizers.own.init: the state of 2 trajectories has an array of shape \(7,\)"),
        (Opaque(), "optimizers.own.init: the state of 2 trajectories has object"),
    ],
)
def test_rules_that_are_no_pure_functions_are_refused(rule, message):
    with pytest.raises(StudyError, match=message) as caught:
        rehearsal.rehearse_rule(
            rules.adapted(rule), "own", adapted(Bowl()), np.ones(3), {"share": np.full(2, 0.1)[0]}, 10
        )
    assert "\n" not in str(caught.value)


def test_an_objective_that_draws_random_numbers_is_refused():
    class Draws(Bowl):
        def gradient(self, theta, batch=None):
            return 2 * theta + np.random.standard_normal(theta.shape)  # noqa: NPY002

    with pytest.raises(StudyError, match=r"objectives\.o\.gradient: returns other numbers the second time"):
        rehearsal.rehearse_objective(adapted(Draws()), "objectives.o", np.ones((3, 3)))


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (lambda step, steps: float("nan"), "returned nan at step 1 of 100000"),
        (lambda step, steps: 1.0 if step < 77 else -1.0, "returned -1.0 at step 77 of 100000"),
        (lambda step, steps: 1 / (steps - step) if step < steps else float("inf"), "returned inf at step 100000"),
        (lambda step, steps: 1 / (step - 3), "returned -0.5 at step 1"),
        (lambda step, steps: abs(np.random.standard_normal()), "the second time"),  # noqa: NPY002
        (lambda step, steps: [][step], "IndexError at step 1 of 100000"),
    ],
)
def test_schedules_are_tried_at_many_steps(schedule, message):
    with pytest.raises(StudyError, match=f"^optimizers.own.schedule: .*{message}") as caught:
        rehearsal.rehearse_schedule(schedule, "own", 100_000)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("objective", [Bowl(), Explodes("gradient"), Undefined("gradient")])
def test_how_many_steps_are_taken_before_a_look_changes_no_bit(objective, monkeypatch):
    *_, usual = go(objective, RATES, bv.Momentum(), steps=400, record_steps=(0, 400))
    monkeypatch.setattr(trajectories, "SHORT", 1)
    monkeypatch.setattr(trajectories, "LONG", 1)
    *_, single = go(objective, RATES, bv.Momentum(), steps=400, record_steps=(0, 400))
    assert len(np.unique(usual.records[:, -2])) > 1
    np.testing.assert_array_equal(usual.records, single.records)
    assert usual.failures == single.failures
