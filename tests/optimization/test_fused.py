"""Descents that are compiled as a whole have the bits of single steps; what cannot be compiled says why."""

from dataclasses import replace

import numpy as np
import pytest

import biasvar as bv
from biasvar.optimization import rules, sets
from biasvar.optimization.descent import Descent, Outcome
from biasvar.optimization.fused import why_stepwise
from biasvar.optimization.objectives import adapted
from biasvar.optimization.objectives.columnwise import Columnwise
from biasvar.optimization.objectives.constrained import constrained
from biasvar.optimization.rules.elementwise import Elementwise
from biasvar.optimization.trajectories import Begun, run
from biasvar.studies.public import public_classes

OBJECTIVES = [
    bv.Quadratic([1, 100, 3]),
    bv.Quadratic(matrix=[[2, 1, 0], [1, 2, 1], [0, 1, 2]]),
    bv.Quadratic([1, 100], angle=30),
    bv.Saddle([1, -1, 2]),
    bv.LogSumExp([[1, 2], [-1, 0], [0, -1]], [0, 1, -1]),
    bv.Rosenbrock(dim=3),
    bv.Beale(),
]
RULES = [
    bv.SGD(),
    bv.Momentum(),
    bv.Nesterov(),
    bv.Lion(weight_decay=0.1),
    bv.AdaGrad(),
    bv.RMSProp(),
    bv.RMSProp(epsilon_inside=True),
    bv.RMSPropNesterov(),
    bv.RMSPropNesterov(epsilon_inside=True),
    bv.AdaDelta(),
    bv.Adam(),
    bv.AdamW(),
    bv.AMSGrad(),
    bv.NAdam(),
]
SETS = [
    bv.Box(-0.9, [0.5, 2.0, None]),
    bv.Ball(0.4, center=[0.1, 0.5, 0.3]),
    bv.Simplex(dim=3),
    bv.Halfspace([1.0, -1.0, 2.0], -0.5),
]
RATES = np.geomspace(1e-3, 10, 70)
ALL_PAIRS = [
    # One of each with all of the others: each pair is compiled.
    pytest.param(rule, objective, marks=[] if rule is RULES[10] or objective is OBJECTIVES[0] else pytest.mark.slow)
    for rule in RULES
    for objective in OBJECTIVES
]
ALL_WITHIN = [
    pytest.param(rule, within, marks=[] if rule is RULES[10] or within is SETS[1] else pytest.mark.slow)
    for rule in RULES
    for within in SETS
]


def test_all_rules_and_all_slopes_are_here():
    assert {type(rule) for rule in RULES} == set(public_classes("optimization.rules", Elementwise).values())
    assert {type(each) for each in OBJECTIVES} == set(public_classes("optimization.objectives", Columnwise).values())
    assert {type(each) for each in SETS} == set(public_classes("optimization.sets", sets.Columnwise).values())


def descended(descent, rates=RATES, begun=None):
    known = {name: values[0] for name, values in descent.rule.hyperparameters.items()}
    hyper = {name: rates if name == "learning_rate" else np.full(len(rates), value) for name, value in known.items()}
    return run(descent, np.linspace(-1.2, 0.9, descent.dim), hyper, None, begun)


def stepwise(descent):
    """Return the same descent, taken a step at a time."""
    made = replace(descent)
    vars(made)["stepwise"] = "a test asks for it"
    return made


@pytest.mark.parametrize(("rule", "objective"), ALL_PAIRS, ids=repr)
def test_many_steps_in_one_call_have_the_bits_of_single_ones(rule, objective):
    rule = replace(rule, schedule=bv.StepDecay(0.5, every=40))
    looks = (0, 1, 2, 3, 7, 20, 77, 150, 300)
    descent = Descent(objective, rule, objective.dim, 300, looks, tolerance=1e-3, parameters=True, keep_state=True)
    assert descent.stepwise == ""
    whole, single = descended(descent), descended(stepwise(descent))
    assert whole.records.tobytes() == single.records.tobytes()
    assert whole.failures == single.failures
    outcomes = descent.unpack(whole.records)[1]
    assert (outcomes == Outcome.RUNNING).any()


@pytest.mark.parametrize(("rule", "within"), ALL_WITHIN, ids=repr)
def test_many_steps_within_a_set_have_the_bits_of_single_ones(rule, within):
    rule, objective = replace(rule, schedule=bv.StepDecay(0.5, every=40)), constrained(OBJECTIVES[0], within)
    descent = Descent(objective, rule, 3, 300, (0, 1, 2, 7, 77, 300), parameters=True, keep_state=True)
    assert descent.stepwise == ""
    whole, single = descended(descent), descended(stepwise(descent))
    assert whole.records.tobytes() == single.records.tobytes()
    theta = descent.unpack(whole.records)[0][:, 1:, -3:]
    # Half of space has room to leave for infinity.
    arrived = theta[np.isfinite(theta).all(axis=-1)]
    assert len(arrived)
    assert within.contains(arrived).all()
    assert np.ptp(theta[:, -1], axis=0).max() > 0 or (theta[:, 0] != theta[:, -1]).any()


def test_what_goes_on_from_a_kept_state_has_the_bits_of_one_run():
    whole = Descent(OBJECTIVES[0], bv.Adam(), 3, 300, (0, 100, 300), keep_state=True)
    first = replace(whole, steps=100, record_steps=(0, 100))
    begun = Begun(first, descended(first).records)
    assert descended(whole, begun=begun).records.tobytes() == descended(whole).records.tobytes()


@pytest.mark.parametrize("count", [1, 64, 65, 300, 9000])
def test_a_trajectory_has_the_same_bits_in_any_company(count):
    descent = Descent(OBJECTIVES[1], bv.NAdam(), 3, 40, (0, 40), parameters=True)
    together = descended(descent, np.resize(RATES, count)).records
    assert together[:70].tobytes() == np.resize(descended(descent).records, (count, together.shape[1]))[:70].tobytes()


def test_an_overflow_is_the_same_divergence():
    descent = Descent(bv.Rosenbrock(), bv.SGD(), 2, 500, (0, 10, 500), parameters=True)
    whole, single = descended(descent), descended(stepwise(descent))
    assert whole.records.tobytes() == single.records.tobytes()
    assert (descent.unpack(whole.records)[1] == Outcome.DIVERGED).any()


class Halved(bv.Quadratic):
    def gradient(self, theta, batch=None):
        return super().gradient(theta, batch) / 2


class Shrinking(bv.SGD):
    def update(self, theta, gradient, state, step, **hyper):
        after, state = super().update(theta, gradient, state, step, **hyper)
        return 0.9 * after, state


class Elsewhere(bv.SGD):
    def lookahead(self, theta, state, **hyper):
        return theta + 1


class Apart(bv.SGD):
    def moved(self, state, before, after):
        return state


class Own:
    dim = 2

    def value(self, theta):
        return (theta**2).sum(axis=-1)

    def gradient(self, theta):
        return 2 * theta


class OwnRule:
    learning_rate = 0.1

    def init(self, theta):
        return ()

    def update(self, theta, gradient, state, step, **hyper):
        return theta - 0.1 * gradient, ()


@pytest.mark.parametrize(
    ("rule", "objective", "why"),
    [
        (bv.SGD(), constrained(bv.Quadratic([1, 2]), bv.Affine([[1, 1]], [1])), "nearest points of Affine"),
        (bv.SGD(), constrained(Halved([1, 2]), bv.Ball(1, dim=2)), "gradient of Halved"),
        (Apart(), constrained(bv.Quadratic([1, 2]), bv.Ball(1, dim=2)), "Apart is not given by its arithmetic"),
        (bv.SGD(), Own(), "gradient of _Adapted is not given as a slope"),
        (bv.SGD(), Halved([1, 2]), "gradient of Halved"),
        (bv.SGD(), bv.EmpiricalRisk(([[1.0], [2.0]], [1.0, 2.0]), "squared"), "gradient of EmpiricalRisk"),
        (OwnRule(), bv.Quadratic([1, 2]), "not given by its arithmetic"),
        (Shrinking(), bv.Quadratic([1, 2]), "Shrinking is not given by its arithmetic"),
        (Elsewhere(), bv.Quadratic([1, 2]), "Elsewhere is not given by its arithmetic"),
    ],
)
def test_what_is_taken_a_step_at_a_time_says_why(rule, objective, why):
    assert why in why_stepwise(rules.adapted(rule), adapted(objective))


def test_a_gradient_that_is_overridden_is_asked():
    usual, halved = (
        Descent(made, bv.SGD(), 2, 10, (10,), parameters=True) for made in (bv.Quadratic([1, 2]), Halved([2, 4]))
    )
    assert descended(usual).records[:, 4:6].tobytes() == descended(halved).records[:, 4:6].tobytes()


def test_a_lookahead_that_is_overridden_is_asked():
    there, here = (Descent(bv.Quadratic([1, 2]), rule, 2, 1, (1,), parameters=True) for rule in (Elsewhere(), bv.SGD()))
    assert descended(there).records.tobytes() != descended(here).records.tobytes()
