"""Gauss's rules: exact for polynomials, and nodes and weights against 40 digits and scipy's."""

import mpmath
import numpy as np
import pytest
from scipy.special import roots_hermitenorm, roots_legendre

from biasvar.montecarlo.gauss import hermite_nodes, legendre_nodes

SIZES = [1, 2, 3, 5, 16, 33, 64, 256]
MOMENTS = {legendre_nodes: lambda k: 2 / (k + 1), hermite_nodes: lambda k: float(mpmath.fac2(k - 1))}


@pytest.mark.parametrize("rule", MOMENTS)
@pytest.mark.parametrize("size", SIZES)
def test_rules_are_exact_up_to_twice_their_size_and_symmetric(rule, size):
    nodes, weights = rule(size)
    assert (np.diff(nodes) > 0).all()
    assert (nodes == -nodes[::-1]).all()
    assert (weights == weights[::-1]).all()
    for k in range(0, min(2 * size, 40), 2):
        assert weights @ nodes**k == pytest.approx(MOMENTS[rule](k), rel=1e-13)


@pytest.mark.parametrize("size", SIZES[1:])
def test_nodes_and_weights_of_the_uniform_law_are_right_to_twelve_digits(size):
    nodes, weights = legendre_nodes(size)
    with mpmath.workdps(40):
        for i in {size // 2, 3 * size // 4, size - 1}:
            x = mpmath.mpf(float(nodes[i]))
            for _ in range(4):
                slope = size * (x * mpmath.legendre(size, x) - mpmath.legendre(size - 1, x)) / (x * x - 1)
                x -= mpmath.legendre(size, x) / slope
            assert abs(nodes[i] - x) < 3e-16
            slope = size * (x * mpmath.legendre(size, x) - mpmath.legendre(size - 1, x)) / (x * x - 1)
            assert weights[i] == pytest.approx(float(2 / ((1 - x * x) * slope**2)), rel=1e-11)


@pytest.mark.parametrize("size", [*SIZES, 600])
def test_they_are_those_of_scipy(size):
    for mine, theirs in ((legendre_nodes, roots_legendre), (hermite_nodes, roots_hermitenorm)):
        nodes, weights = mine(size)
        other_nodes, other_weights = theirs(size)
        np.testing.assert_allclose(nodes, other_nodes, atol=1e-15 * max(1, abs(other_nodes).max()) * 4)
        # Scipy's weights at the ends of large rules are right to eight digits.
        np.testing.assert_allclose(
            weights, other_weights / (other_weights.sum() / weights.sum()), rtol=1e-8, atol=1e-290
        )


def test_weights_far_out_vanish_without_overflow():
    nodes, weights = hermite_nodes(2000)
    assert nodes[-1] > 80
    assert weights[-1] == 0
    assert np.isfinite(weights).all()
    assert weights.sum() == pytest.approx(1, rel=1e-13)
