"""Nested polynomials by three terms: against 60 digits, and against Gram-Schmidt on thousands of training sets."""

import mpmath
import numpy as np
import pytest
from numpy.polynomial import legendre

import biasvar as bv
from biasvar.learning.decomposition import Problem
from biasvar.learning.least_squares import Projection, fit_nested
from biasvar.learning.nested_polynomials import MAX_SIZE, Polynomials, fit_degrees

EPSILON = 2.0**-52
LINE = Problem.of(bv.Sine(), bv.Uniform(-1, 1), None, 0)


def training_inputs(kind, n, rng):
    x = np.sort(rng.uniform(-1, 1, n))
    if kind == "clustered":
        x[: n // 2] = x[0] + 1e-3 * rng.random(n // 2)
    if kind == "nearly singular":
        x[1] = x[0] + 1e-6
    return rng.permutation(x)


def exactly(x, f, p):
    """Coefficients, noise gain, mean squared residual and condition number, by normal equations in 60 digits."""
    with mpmath.workdps(60):
        design = mpmath.matrix(len(x), p)
        for i, at in enumerate(map(mpmath.mpf, x.tolist())):
            one, other = mpmath.mpf(1), at
            for d in range(p):
                design[i, d] = one * mpmath.sqrt(2 * d + 1)
                one, other = other, ((2 * d + 3) * at * other - (d + 1) * one) / (d + 2)
        y = mpmath.matrix(f.tolist())
        gram = design.T * design
        inverse = mpmath.inverse(gram)
        c = inverse * (design.T * y)
        residual = sum(v * v for v in y - design * c) / len(x)
        gain = sum(inverse[i, i] for i in range(p))
        return c, gain, residual, float(mpmath.sqrt(gain * sum(gram[i, i] for i in range(p))))


@pytest.mark.parametrize("kind", ["uniform", "clustered", "nearly singular"])
@pytest.mark.parametrize(("n", "p"), [(2, 2), (6, 3), (6, 6), (12, 6), (30, 6), (12, 12), (13, 12), (30, 12)])
def test_fits_are_as_right_as_rounded_inputs_allow(n, p, kind):
    rng = np.random.default_rng(n + p)
    best = np.zeros(MAX_SIZE)
    for _ in range(6):
        x = training_inputs(kind, n, rng)
        f = np.sin(np.pi * x)
        found = fit_degrees(LINE.polynomials, best, [p], [(x[:, None], f[:, None], np.ones(1))])[p]
        c, gain, residual, kappa = exactly(x, f, p)
        error = mpmath.norm(mpmath.matrix(found.mean.tolist()) - c) / mpmath.norm(c)
        assert error < 20 * EPSILON * kappa
        assert abs(np.trace(found.noise) / gain - 1) < 20 * EPSILON * kappa
        assert found.largest_gain[-1] == pytest.approx(float(gain), rel=20 * EPSILON * kappa)
        assert abs(found.residual - residual) < 20 * EPSILON * (f**2).mean()


def by_gram_schmidt(problem, x, f, weights, sizes):
    hypothesis = bv.Polynomial(max(sizes) - 1)
    model = hypothesis.linear_model(problem.inputs)
    projection = Projection.of(model.basis.evaluate(problem.test.x, model.size), problem.test.weights)
    return projection.orthonormal, fit_nested(model.basis, sizes, projection, x, f, weights)


@pytest.mark.parametrize("size", [1, 31, 32, 33, 1000])
@pytest.mark.parametrize("inputs", [bv.Uniform(-1, 1), bv.Uniform(1000, 1003), bv.Normal(2.0, 0.1)], ids=repr)
def test_moments_are_those_of_gram_schmidt(inputs, size):
    rng = np.random.default_rng(size)
    sizes, n = [1, 3, 4], 9
    problem = Problem.of(lambda x: np.cos(x - 2), inputs, 40, 0)
    x = inputs.inputs_from(rng.random((n, size)), n)
    f, weights = problem.evaluate(x), rng.random(size) * 2 / size
    best = problem.polynomials.values @ (problem.test.weights * problem.f)
    cuts = [slice(0, size // 3), slice(size // 3, size)]
    moments = fit_degrees(problem.polynomials, best, sizes, [(x[:, cut], f[:, cut], weights[cut]) for cut in cuts])
    psi, fits = by_gram_schmidt(problem, x, f, weights, sizes)
    for p, other in zip(sizes, fits, strict=True):
        ours = moments[p]
        signs = np.sign((psi[:p] * problem.polynomials.values[:p]).sum(axis=1))
        coefficients = signs[:, None] * other.coefficients
        off = coefficients - best[:p, None]
        assert ours.mean == pytest.approx(best[:p] + off @ weights, rel=1e-8, abs=1e-10)
        second = (off * weights) @ off.T
        expected = second - np.outer(off @ weights, off @ weights)
        assert ours.covariance == pytest.approx(expected, rel=1e-6, abs=1e-8 * np.abs(second).max())
        assert ours.noise == pytest.approx(np.outer(signs, signs) * other.covariance, rel=1e-6, abs=1e-9)
        assert ours.residual == pytest.approx(other.residual @ weights, rel=1e-6)
        top = np.sort((off**2).sum(axis=0))[-16:]
        assert ours.largest_loss[-len(top) :] == pytest.approx(top, rel=1e-6)
        assert np.isnan(ours.largest_loss[: -len(top)]).all()


def test_polynomials_under_the_uniform_law_are_legendres():
    test = LINE.test
    expected = legendre.legvander(test.x, MAX_SIZE - 1) * np.sqrt(2 * np.arange(MAX_SIZE) + 1)
    assert LINE.polynomials.values == pytest.approx(expected.T, abs=1e-12)


@pytest.mark.parametrize("points", [1, 2, 5, 11, 40])
def test_there_are_no_more_polynomials_than_points(points):
    test = bv.Uniform(-1, 1).test_points(points, (), 0)
    polynomials = Polynomials.under(test)
    assert polynomials.size == min(points, MAX_SIZE)
    gram = (polynomials.values * test.weights) @ polynomials.values.T
    assert gram == pytest.approx(np.eye(polynomials.size), abs=1e-12)


def test_a_repeated_input_is_told():
    # Two equal points determine no line: what divides by nothing is not finite.
    x, f = np.full((2, 1), 0.3), np.ones((2, 1))
    found = fit_degrees(LINE.polynomials, np.zeros(MAX_SIZE), [1, 2], [(x, f, np.ones(1))])
    assert np.isfinite(found[1].mean).all()
    assert not np.isfinite(found[2].mean).all()
