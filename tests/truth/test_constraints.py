"""Descents within sets against closed forms and scipy: minima, the gap that bounds J - J*, and the norm that it takes.

No test here is statistical: all descents are on exact gradients.
"""

import numpy as np
import pytest
from scipy import optimize

import biasvar as bv

RULES = {
    "sgd": bv.SGD(0.015),
    "momentum": bv.Momentum(0.004),
    "nesterov": bv.Nesterov(0.004),
    "adagrad": bv.AdaGrad(0.2),
    "rmsprop": bv.RMSProp(0.02, schedule=bv.Cosine()),
    "adam": bv.Adam(0.05),
}
ROWS = 2 * np.random.default_rng(0).normal(size=(8, 4))
OBJECTIVES = {
    "bowl": bv.Quadratic(eigenvalues=[1.0, 4.0, 9.0, 100.0]),
    "log_sum_exp": bv.LogSumExp(A=ROWS.tolist(), b=[0.0] * 8),
}
SETS = {
    "simplex": bv.Simplex(dim=4),
    "ball": bv.Ball(0.7, center=[1.0, 0.5, -0.5, 0.8]),
    "box": bv.Box([0.2, -0.1, -1.0, 0.3], [0.5, 1.0, -0.4, 2.0]),
}
PROBLEMS = {f"{name}-{label}": (OBJECTIVES[name], SETS[label]) for name in OBJECTIVES for label in SETS}


def least(objective, within):
    """The least value within a set, by scipy."""
    conditions = {
        bv.Simplex: [{"type": "eq", "fun": lambda x: x.sum() - 1}, {"type": "ineq", "fun": lambda x: x}],
        bv.Ball: [{"type": "ineq", "fun": lambda x: within.radius**2 - ((x - np.array(within.center)) ** 2).sum()}],
    }
    bounds = None
    if isinstance(within, bv.Box):
        bounds = list(zip(within.low, within.high, strict=True))
    found = optimize.minimize(
        lambda x: float(objective.value(x)),
        within.project(np.full(4, 0.25)),
        jac=lambda x: objective.gradient(x),
        bounds=bounds,
        constraints=conditions.get(type(within), []),
        method="SLSQP",
        options={"ftol": 1e-16, "maxiter": 1000},
    )
    return found.fun


@pytest.fixture(scope="module")
def tree():
    study = bv.OptimizerStudy(
        name="constrained",
        objectives={label: objective for label, (objective, _) in PROBLEMS.items()},
        constraints={label: one for label, (_, one) in PROBLEMS.items()},
        optimizers=RULES,
        steps=3000,
        replicates=1,
    )
    return bv.lazy(study).compute(scheduler="synchronous")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("label", PROBLEMS)
def test_every_rule_comes_to_the_least_value_within_the_set(tree, label, rule):
    node, (objective, within) = tree[f"{label}/{rule}"].to_dataset().squeeze(), PROBLEMS[label]
    value = float(node.objective[-1])
    assert value == pytest.approx(least(objective, within), abs=1e-9)
    assert float(node.gap[-1]) < 1e-9
    assert float(node.gradient_norm[-1]) < 1e-6


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("label", PROBLEMS)
def test_the_gap_bounds_how_far_the_value_is_above_the_least_at_every_look(tree, label, rule):
    node = tree[f"{label}/{rule}"].to_dataset().squeeze()
    above = node.objective - float(tree[f"{label}/sgd"].objective.squeeze()[-1])
    assert (node.gap >= above - 1e-12 * (1 + abs(node.objective))).all()
    assert (node.gap >= 0).all()
