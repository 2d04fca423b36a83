"""Update rules do what theorems say: best rates and limits of stability on quadratics, and where Adam goes wrong."""

from math import sqrt

import numpy as np
import pytest

from biasvar.optimization.rules import descend
from biasvar.optimization.rules.adam import Adam, AMSGrad
from biasvar.optimization.rules.momentum import SGD, Momentum, Nesterov

CONDITION = 100.0
CURVATURES = np.array([[1.0], [CONDITION]])  # of a quadratic f = sum(curvature theta^2) / 2


def quadratic(theta):
    return CURVATURES * theta


def rate(rule, steps):
    """Factor by which a step shrinks theta, from the second half of twice ``steps``."""
    size = abs(descend(rule, quadratic, [1.0, 1.0], 2 * steps)).max(axis=(1, 2))
    return (size[-1] / size[steps]) ** (1 / steps)


def test_gradient_descent_with_its_best_rate_shrinks_by_k_minus_1_over_k_plus_1():
    best = 2 / (1 + CONDITION)
    assert rate(SGD(best), 300) == pytest.approx((CONDITION - 1) / (CONDITION + 1), rel=1e-9)
    for other in (0.98, 1.01):
        assert rate(SGD(other * best), 300) > (CONDITION - 1) / (CONDITION + 1) + 1e-4


def test_heavy_ball_with_its_best_rate_and_momentum_shrinks_by_root_k_minus_1_over_root_k_plus_1():
    # B. Polyak, Some methods of speeding up the convergence of iteration methods, 1964, theorem 9.
    root = sqrt(CONDITION)
    best = (root - 1) / (root + 1)
    learning_rate, momentum = 4 / (1 + root) ** 2, best**2
    # Both curvatures have double roots, so that errors are t best^t: 2^(1/500) between 500 and 1000 steps.
    assert rate(Momentum(learning_rate, momentum), 500) == pytest.approx(best * 2**0.002, rel=1e-4)
    for other, another in ((0.95, 1), (1.05, 1), (1, 0.95), (1, 1.05)):
        assert rate(Momentum(other * learning_rate, another * momentum), 500) > best * 1.005


LIMITS = {SGD: lambda a: 2.0, Momentum: lambda a: 2 * (1 + a), Nesterov: lambda a: 2 * (1 + a) / (1 + 2 * a)}


@pytest.mark.parametrize(
    ("kind", "a"), [(SGD, None), *((kind, a) for kind in (Momentum, Nesterov) for a in (0, 0.3, 0.9))]
)
def test_rules_converge_just_below_a_limit_and_diverge_just_above(kind, a):
    # Roots of z^2 - (1 + a - e L) z + a (heavy ball) or z^2 - (1 + a) (1 - e L) z + a (1 - e L) (Nesterov) reach -1.
    curvature = 8.0
    rates = [LIMITS[kind](a) / curvature * factor for factor in (0.99, 1.01)]
    rule = kind(rates) if a is None else kind(rates, momentum=a)
    below, above = descend(rule, lambda theta: curvature * theta, [[1.0, 1.0]], 1000)[-1, 0]
    assert abs(below) < 1e-4
    assert abs(above) > 1e4


def online(rule, steps=3000, constant=3.0):
    """Follow Reddi's linear losses on [-1, 1]: slope C at every third step, else -1; the best point is -1."""
    theta = np.zeros((1, 1))
    state, hyper = rule.init(theta), {name: np.array(values) for name, values in rule.hyperparameters.items()}
    regrets = []
    for t in range(1, steps + 1):
        slope = np.full((1, 1), constant if t % 3 == 1 else -1.0)
        regrets.append((slope * (theta + 1)).item())
        now = hyper | {"learning_rate": hyper["learning_rate"] / np.sqrt(t)}
        theta, state = rule.update(theta, slope, state, t, **now)
        theta = np.clip(theta, -1, 1)
    return theta.item(), np.mean(regrets[-1200:])


def test_adam_converges_to_the_worst_point_where_amsgrad_finds_the_best():
    # S. Reddi, S. Kale, S. Kumar, On the convergence of Adam and beyond, 2018, section 3 and theorem 1: beta1 = 0,
    # beta2 = 1 / (1 + C^2), learning rate alpha / sqrt(t) with alpha < sqrt(1 - beta2); the losses are deterministic.
    fields = {"learning_rate": 0.5, "beta1": 0, "beta2": 1 / 10, "epsilon": 0}
    theta, regret = online(Adam(**fields))
    assert theta > 0.95
    assert regret == pytest.approx(2 / 3, abs=0.05)  # (C - 2) / 3 for each unit of distance from -1
    theta, regret = online(AMSGrad(**fields))
    assert theta < -0.95
    assert abs(regret) < 0.05


def test_a_long_memory_saves_adam_in_the_same_example():
    # The remedy that theorem 1 leaves: beta2 near 1, as the slope C is not yet forgotten when it comes again.
    theta, regret = online(Adam(0.5, beta1=0, beta2=0.99, epsilon=0))
    assert theta < -0.95
    assert abs(regret) < 0.05
