"""Descents within sets against closed forms and scipy: minima, the gap that bounds J - J*, and the norm that it takes.

No test here is statistical: all descents are on exact gradients.
"""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import optimize

import biasvar as bv
from biasvar.optimization.objectives.constrained import constrained
from biasvar.optimization.rules import descend

RULES = {
    "sgd": bv.SGD(0.015),
    "momentum": bv.Momentum(0.004),
    "nesterov": bv.Nesterov(0.004),
    "adagrad": bv.AdaGrad(0.2),
    "rmsprop": bv.RMSProp(0.02, schedule=bv.Cosine()),
    "adam": bv.Adam(0.05),
    "adadelta": bv.AdaDelta(0.3, epsilon=1e-6),
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


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("label", PROBLEMS)
def test_every_rule_comes_to_the_least_value_within_the_set(tree, label, rule):
    node, (objective, within) = tree[f"{label}/{rule}"].to_dataset().squeeze(), PROBLEMS[label]
    value = float(node.objective[-1])
    assert value == pytest.approx(least(objective, within), abs=1e-9)
    assert float(node.gap[-1]) < 1e-9
    assert float(node.gradient_norm[-1]) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("label", PROBLEMS)
def test_the_gap_bounds_how_far_the_value_is_above_the_least_at_every_look(tree, label, rule):
    node = tree[f"{label}/{rule}"].to_dataset().squeeze()
    above = node.objective - float(tree[f"{label}/sgd"].objective.squeeze()[-1])
    assert (node.gap >= above - 1e-12 * (1 + abs(node.objective))).all()
    assert (node.gap >= 0).all()


def without_norm(rule):
    """Return a rule that is projected by Euclidean distance: it does not say in which norm its steps are."""
    return SimpleNamespace(init=rule.init, update=rule.update, hyperparameters=rule.hyperparameters)


RATES = (0.001, 0.01, 0.1, 1.0)
TRAPPED = {
    "adagrad": bv.AdaGrad(RATES),
    "rmsprop": bv.RMSProp(RATES),
    "adam": bv.Adam(RATES),
    "amsgrad": bv.AMSGrad(RATES),
    "nadam": bv.NAdam(RATES),
}
RAVINE = bv.Quadratic(eigenvalues=[1, 100])
LEAST = 50 / 101  # at (100, 1) / 101


@pytest.mark.parametrize("name", TRAPPED)
def test_adaptive_rules_never_move_if_their_norm_is_taken_away(name):
    """Their first step is as long in both coordinates, which is what the Euclidean projection onto the sum undoes."""
    start, rule = np.full((2, len(RATES)), 0.5), TRAPPED[name]

    def gradient(theta):
        return RAVINE.gradient(theta.T).T

    stuck = descend(without_norm(rule), gradient, start, 2000, bv.Simplex(dim=2))
    np.testing.assert_allclose(stuck[-1], start, atol=2e-5)
    assert RAVINE.value(stuck[-1].T) - LEAST == pytest.approx(12.13, abs=0.01)
    free = descend(rule, gradient, start, 2000, bv.Simplex(dim=2))
    assert RAVINE.value(free[-1].T).min() == pytest.approx(LEAST, abs=1e-9)


def test_a_velocity_that_is_not_the_step_that_was_made_settles_elsewhere():
    rule, start = bv.Nesterov(0.005), np.full((2, 1), 0.5)
    own = SimpleNamespace(
        init=rule.init, update=rule.update, lookahead=rule.lookahead, hyperparameters=rule.hyperparameters
    )

    def gradient(theta):
        return RAVINE.gradient(theta.T).T

    for each, least in ((rule, 0.0), (own, 0.01)):
        last = descend(each, gradient, start, 2000, bv.Simplex(dim=2))[-1]
        assert RAVINE.value(last.T)[0] - LEAST >= least - 1e-12
    assert RAVINE.value(descend(rule, gradient, start, 2000, bv.Simplex(dim=2))[-1].T)[0] == pytest.approx(LEAST)


@pytest.mark.parametrize("rule", [bv.Nesterov(0.005), bv.RMSPropNesterov(0.01), bv.AdaGrad(0.1)], ids=repr)
def test_a_users_rule_with_the_members_of_ours_takes_its_path(rule):
    members = {name: getattr(rule, name) for name in ("init", "update", "metric", "moved", "hyperparameters")}
    own = SimpleNamespace(**members, **({"lookahead": rule.lookahead} if rule.looks_ahead else {}))
    if not rule.has_metric:
        del own.metric

    def gradient(theta):
        return RAVINE.gradient(theta.T).T

    start, within = np.array([[0.2], [0.9]]), bv.Ball(0.3, center=[0.5, 0.5])
    paths = [descend(each, gradient, start, 50, within) for each in (own, rule)]
    np.testing.assert_array_equal(*paths)
    assert within.contains(paths[0][:, :, 0]).all()


@pytest.mark.parametrize("one", [bv.Simplex(dim=3), bv.Ball(0.4, center=[1, 0, 0.5]), bv.Box([0.1, -1, 0.2], 2)])
def test_the_least_value_of_a_diagonal_quadratic_within_a_set_is_a_nearest_point(one):
    bowl = bv.Quadratic(eigenvalues=[1, 5, 20])
    inside = one.place(np.random.default_rng(1).random((20_000, one.uniforms_per_point)))
    problem = constrained(bowl, one)
    assert one.contains(problem.minimizer)
    assert (bowl.value(inside) >= problem.minimum - 1e-12).all()
    # First-order: no step within the set leads down.
    slope = bowl.gradient(problem.minimizer)
    assert ((inside - problem.minimizer) @ slope >= -1e-9).all()


def test_what_is_least_of_all_is_least_in_a_set_that_has_it():
    rosenbrock = bv.Rosenbrock()
    assert constrained(rosenbrock, bv.Box(0, 2, dim=2)).minimizer.tolist() == [1, 1]
    assert constrained(rosenbrock, bv.Box(2, 3, dim=2)).minimizer is None


def test_the_bundled_portfolio_is_the_one_that_scipy_finds():
    kept = ("sgd", "adam")
    study = bv.load(
        "portfolio", [f"optimizers.{name}=null" for name in bv.load("portfolio").optimizers if name not in kept]
    )
    objective = study.objectives["portfolio"]
    found = optimize.minimize(
        objective.value,
        np.full(6, 1 / 6),
        jac=objective.gradient,
        bounds=[(0, None)] * 6,
        constraints={"type": "eq", "fun": lambda x: x.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    tree = bv.lazy(study).compute(scheduler="synchronous")
    for rule in kept:
        last = tree[f"portfolio/{rule}"].to_dataset().isel(step=-1).squeeze()
        best = last.isel(learning_rate=int(last.gap.values.argmin()))
        assert float(best.gap) < 1e-9
        assert float(best.objective) == pytest.approx(found.fun, abs=1e-9)
        np.testing.assert_allclose(best.parameters, found.x, atol=1e-5)
