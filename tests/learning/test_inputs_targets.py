"""One contract for every law of inputs, one for every target; quadrature and features against numpy and scipy.

Statistical tests have a false-alarm rate of at most 1e-4 each under the seeds' randomness.
"""

from math import factorial

import numpy as np
import pytest
from helpers import two_point_study
from scipy import stats
from sklearn.preprocessing import PolynomialFeatures

import biasvar as bv
from biasvar.errors import StudyError, TargetError
from biasvar.learning import targets
from biasvar.learning.bases import Coordinates, Monomials, OrthonormalPolynomials
from biasvar.learning.decomposition import Problem
from biasvar.learning.inputs import Inputs
from biasvar.learning.quadrature import (
    TestPoints,
    adaptive_averages,
    hermite_rule,
    legendre_rule,
    orthonormal_recurrence,
)
from biasvar.studies.blocks import run_in_memory
from biasvar.views.tables import cell_table

Z = stats.norm.isf(1e-4 / 2)


# Inputs

GRID = np.array([-1.5, -0.5, 0.0, 2.0])
PLANE = np.array([[0.0, 1.0], [2.0, -1.0], [0.5, 0.5]])

# Each law with the same law by scipy, one coordinate; None for a design that is not random.
LAWS = [
    pytest.param(bv.Uniform(-1, 1), stats.uniform(-1, 2), id="uniform"),
    pytest.param(bv.Uniform(2, 5, dim=3), stats.uniform(2, 3), id="uniform in space"),
    pytest.param(bv.Normal(), stats.norm(), id="normal"),
    pytest.param(bv.Normal(1.5, 0.5, dim=2), stats.norm(1.5, 0.5), id="normal in the plane"),
    pytest.param(bv.FixedDesign(GRID), None, id="design"),
    pytest.param(bv.FixedDesign(PLANE), None, id="design in the plane"),
]
RANDOM = [law for law in LAWS if law.values[1] is not None]


def n_train_for(law):
    return len(law.points) if isinstance(law, bv.FixedDesign) else 4


def placed(law, size=64, seed=0):
    n = n_train_for(law)
    return law.inputs_from(np.random.default_rng(seed).random((law.uniforms_per_set(n), size)), n)


@pytest.mark.parametrize(("law", "scipy_law"), LAWS)
def test_inputs_have_one_shape(law, scipy_law):
    x, n = placed(law, 8), n_train_for(law)
    assert isinstance(law, Inputs)
    assert x.shape == ((n, 8) if law.dim == 1 else (n, 8, law.dim))
    assert x.flags.c_contiguous
    test = law.test_points(None, (), 0)
    assert test.x.shape == (len(test.weights),) + ((law.dim,) if law.dim > 1 else ())
    assert test.weights.sum() == pytest.approx(1, abs=1e-13)
    assert (test.weights > 0).all()
    assert law.marginal().dim == 1


@pytest.mark.parametrize(("law", "scipy_law"), RANDOM)
def test_inputs_follow_their_law(law, scipy_law):
    x = placed(law, 2000).reshape(-1, law.dim)
    for coordinate in x.T:
        assert stats.kstest(coordinate, scipy_law.cdf).pvalue > 1e-4


@pytest.mark.parametrize(("law", "scipy_law"), RANDOM)
def test_inputs_are_quantiles_of_their_own_uniforms(law, scipy_law):
    uniforms = np.random.default_rng(0).random((3 * law.dim, 5))
    x = law.inputs_from(uniforms, 3).reshape(3, 5, law.dim)
    for point in range(3):
        for axis in range(law.dim):
            np.testing.assert_allclose(x[point, :, axis], scipy_law.ppf(uniforms[point * law.dim + axis]), rtol=1e-12)


@pytest.mark.parametrize("law", [bv.FixedDesign(GRID), bv.FixedDesign(PLANE)], ids=["line", "plane"])
def test_a_fixed_design_is_its_points(law):
    points = np.array(law.points)
    for replicate in np.swapaxes(placed(law, 3), 0, 1):
        assert np.array_equal(replicate, points)
    test = law.test_points(99, (0.3,), 0)
    assert np.array_equal(test.x, points)
    assert np.allclose(test.weights, 1 / len(points))
    with pytest.raises(StudyError, match=f"{len(points)} points"):
        law.uniforms_per_set(len(points) + 1)


@pytest.mark.parametrize("law", [bv.Uniform(-1, 1), bv.Uniform(2, 5), bv.Normal(), bv.Normal(1.5, 0.5)], ids=repr)
@pytest.mark.parametrize("count", [4, 16])
def test_quadrature_integrates_monomials(law, count):
    test = law.test_points(count, (), 0)
    reference = (
        stats.norm(law.mean, law.std) if isinstance(law, bv.Normal) else stats.uniform(law.low, law.high - law.low)
    )
    assert len(test.x) == count
    assert test.replicates == 1
    for power in range(2 * count if count == 4 else 12):
        expected = reference.moment(power) if power else 1.0
        assert test.weights @ test.x**power == pytest.approx(expected, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize(("law", "probability"), [(bv.Uniform(-1, 3), 0.375), (bv.Normal(1, 2), stats.norm.cdf(-0.25))])
def test_quadrature_is_split_at_breakpoints(law, probability):
    test = law.test_points(16, (0.5, -99.0, 99.0), 0)
    assert test.weights @ (test.x < 0.5) == pytest.approx(probability, rel=1e-9)


@pytest.mark.parametrize("law", [bv.Uniform(2, 5, dim=3), bv.Normal(1.5, 0.5, dim=2)], ids=repr)
def test_sampled_test_points_average_moments_within_their_spread(law):
    test = law.test_points(2048, (), 0)
    scipy_law = (
        stats.norm(law.mean, law.std) if isinstance(law, bv.Normal) else stats.uniform(law.low, law.high - law.low)
    )
    assert (len(test.x), test.replicates) == (2048, 16)
    for values, expected in (
        (test.x[:, 0], scipy_law.mean()),
        (test.x[:, 0] * test.x[:, 1], scipy_law.mean() ** 2),
        (test.x[:, -1] ** 2, scipy_law.moment(2)),
    ):
        sets = np.array([values[test.replicate == r].mean() for r in range(16)])
        assert test.weights @ values == pytest.approx(values.mean())
        assert abs(sets.mean() - expected) < stats.t.isf(1e-4 / 2, 15) * stats.sem(sets)


def test_sampled_test_points_follow_the_seed():
    law = bv.Uniform(0, 1, dim=2)
    first, again, other = (law.test_points(256, (), seed).x for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bv.Uniform(1, 1), "low must be below high"),
        (lambda: bv.Normal(0, 0), "greater than 0"),
        (lambda: bv.Uniform(0, 1, dim=0), "greater than 0"),
        (lambda: bv.FixedDesign([]), "at least 1"),
        (lambda: bv.FixedDesign([[1.0, 2.0], [1.0]]), "same number of coordinates"),
        (lambda: bv.Normal("0"), "valid number"),
        (lambda: bv.Uniform(0, np.inf), "finite"),
    ],
)
def test_impossible_laws_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Rules and features


@pytest.mark.parametrize("size", [1, 5, 64])
def test_rules_are_numpys(size):
    x, w = legendre_rule(-1, 1, size)
    nodes, weights = np.polynomial.legendre.leggauss(size)
    np.testing.assert_allclose(x, nodes, atol=1e-14)
    np.testing.assert_allclose(w, weights / 2, rtol=1e-11)
    x, w = hermite_rule(0, 1, size)
    nodes, weights = np.polynomial.hermite_e.hermegauss(size)
    np.testing.assert_allclose(x, nodes, atol=1e-12)
    np.testing.assert_allclose(w, weights / weights.sum(), rtol=1e-9, atol=1e-300)


def legendre(x, degree):
    return np.sqrt(2 * degree + 1) * np.polynomial.Legendre.basis(degree)(x)


def hermite(x, degree):
    return np.polynomial.HermiteE.basis(degree)(x) / np.sqrt(factorial(degree))


@pytest.mark.parametrize(("law", "expected"), [(bv.Uniform(-1, 1), legendre), (bv.Normal(), hermite)])
def test_orthonormal_polynomials_are_the_classical_ones(law, expected):
    x = np.linspace(-0.9, 0.9, 7)
    features = OrthonormalPolynomials(law, 8).evaluate(x, 9)
    for degree, feature in enumerate(features):
        np.testing.assert_allclose(feature, expected(x, degree), rtol=1e-9, atol=1e-11)


def test_recurrence_of_a_discrete_law():
    x, w = np.array([0.0, 1.0, 4.0]), np.array([0.2, 0.5, 0.3])
    values = [np.ones(3)]
    for alpha, beta, following in orthonormal_recurrence(x, w, 2):
        before = values[-2] if len(values) > 1 else np.zeros(3)
        values.append(((x - alpha) * values[-1] - beta * before) / following)
    np.testing.assert_allclose(np.array(values) * w @ np.transpose(values), np.eye(3), atol=1e-12)


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("degree", [0, 1, 4])
def test_monomials_are_scikit_learns_polynomial_features(dim, degree):
    x = np.random.default_rng(0).normal(size=(20, dim))
    expected = PolynomialFeatures(degree).fit_transform(x).T
    basis = Monomials(dim, degree)
    assert basis.size == len(expected)
    np.testing.assert_allclose(basis.evaluate(x[:, 0] if dim == 1 else x, basis.size), expected, rtol=1e-12)


@pytest.mark.parametrize("law", [bv.Uniform(-1, 1, dim=2), bv.Normal(0.5, 2, dim=2)], ids=repr)
def test_products_of_orthonormal_polynomials_are_orthonormal(law):
    nodes = law.marginal().test_points(12, (), 0)
    x = np.stack(np.meshgrid(nodes.x, nodes.x, indexing="ij"), axis=-1)
    basis = OrthonormalPolynomials(law, 3)
    features = basis.evaluate(x, basis.size)
    gram = np.einsum("iab,jab,a,b->ij", features, features, nodes.weights, nodes.weights)
    assert basis.size == 10
    np.testing.assert_allclose(gram, np.eye(10), atol=1e-10)


@pytest.mark.parametrize("basis", [Monomials(1, 5), OrthonormalPolynomials(bv.Uniform(-1, 1), 5)], ids=repr)
def test_smaller_bases_are_the_beginning_of_larger_ones(basis):
    x = np.random.default_rng(0).random((3, 700))
    whole = basis.evaluate(x, 6)
    for size in range(1, 7):
        assert np.array_equal(basis.evaluate(x, size), whole[:size])


def test_coordinates_are_the_inputs():
    x = np.random.default_rng(0).random((4, 5, 3))
    assert np.array_equal(Coordinates(3).evaluate(x, 2), np.moveaxis(x[..., :2], -1, 0))
    assert np.array_equal(Coordinates(1).evaluate(x[..., 0], 1)[0], x[..., 0])


# Targets


def parabola(x):
    return x**2


def saddle(x):
    return x[..., 0] * x[..., 1]


# Each target with its dimension, its value at a point and its breakpoints.
TARGETS = [
    pytest.param(bv.Sine(), 1, 0.25, np.sqrt(0.5), (), id="sine"),
    pytest.param(bv.Sine(3), 1, 0.5, -1.0, (), id="faster sine"),
    pytest.param(bv.PolynomialTarget([1, -2, 3]), 1, 2.0, 9.0, (), id="polynomial"),
    pytest.param(bv.PolynomialTarget([5]), 1, 2.0, 5.0, (), id="constant polynomial"),
    pytest.param(bv.Linear([2]), 1, 1.5, 3.0, (), id="linear"),
    pytest.param(bv.Linear([2, -1, 4]), 3, [1.0, 2.0, 3.0], 12.0, (), id="linear in space"),
    pytest.param(bv.Step(), 1, -0.1, -1.0, (0.0,), id="step"),
    pytest.param(parabola, 1, -3.0, 9.0, (), id="callable"),
    pytest.param(saddle, 2, [2.0, 5.0], 10.0, (), id="callable in the plane"),
    pytest.param(np.abs, 1, -3.0, 3.0, (), id="ufunc"),
]


@pytest.mark.parametrize(("target", "dim", "x", "value", "breakpoints"), TARGETS)
def test_targets_map_one_input_to_one_number(target, dim, x, value, breakpoints):
    point = np.array(x)
    for shape in ((), (4,), (2, 3), (5, 1, 2)):
        inputs = np.broadcast_to(point, (*shape, dim) if dim > 1 else shape).copy()
        y = targets.evaluate(target, inputs, dim)
        assert y.shape == shape
        assert y.dtype == np.float64
        np.testing.assert_allclose(y, value, rtol=1e-14)
    assert targets.breakpoints(target) == breakpoints


def test_step_is_plus_one_at_zero():
    assert bv.Step()(np.array([-1e-300, -0.0, 0.0, 1e-300])).tolist() == [-1, 1, 1, 1]


def test_whole_numbers_become_floats():
    assert targets.evaluate(lambda x: (x > 0).astype(int), np.array([-1.0, 1.0]), 1).dtype == np.float64


def broken(x):
    raise RuntimeError("out of order")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (lambda x: 1.0, r"returned shape \(\) .* expected \(3,\)"),
        (lambda x: x[:-1], r"returned shape \(2,\)"),
        (lambda x: x[:, None], r"returned shape \(3, 1\)"),
        (lambda x: np.where(x > 1, np.nan, x), r"not finite at x=2\.0: got nan"),
        (lambda x: np.where(x > 1, -np.inf, x), r"not finite at x=2\.0: got -inf"),
        (np.log, r"not finite at x=0\.0: got -inf"),
        (broken, r"raised RuntimeError .*: out of order"),
    ],
)
def test_targets_that_are_no_functions_are_refused(target, message):
    with pytest.raises(TargetError, match=message):
        targets.evaluate(target, np.array([0.0, 1.0, 2.0]), 1)


def test_targets_in_the_plane_are_told_where_they_fail():
    with pytest.raises(TargetError, match=r"not finite at x=\[2\. 0\.\]"):
        targets.evaluate(lambda x: x[..., 0] / (x[..., 1] + (x[..., 0] < 2)), np.array([[1.0, 1.0], [2.0, 0.0]]), 2)


# Test points as part of a problem


@pytest.mark.parametrize("law", [bv.Uniform(-1, 1), bv.Normal()], ids=repr)
@pytest.mark.parametrize("target", [bv.Sine(), bv.PolynomialTarget([0, 0, 1])], ids=repr)
def test_quadrature_is_exact_for_smooth_targets_and_says_so(target, law):
    assert Problem.of(target, law, None, 0).quadrature_error() == 0


@pytest.mark.parametrize(
    ("law", "moments"),
    [
        (bv.Uniform(-1, 1), [1 / 2, 1 / 4, 1 / 6]),
        (bv.Normal(), [np.sqrt(2 / np.pi), 2 * np.sqrt(2 / np.pi), 8 * np.sqrt(2 / np.pi)]),
    ],
    ids=repr,
)
def test_quadrature_is_exact_for_a_step_that_it_is_told_of(law, moments):
    # E|x|, E|x|^3 and E|x|^5: what the projection of a step on polynomials is made of.
    problem = Problem.of(bv.Step(), law, None, 0)
    assert problem.quadrature_error() == 0
    for power, expected in zip((1, 3, 5), moments, strict=True):
        assert problem.test.weights @ (problem.f * problem.test.x**power) == pytest.approx(expected, rel=1e-9)


def test_quadrature_error_is_noticed_and_large_enough():
    # A jump that the rule is not told of: 64 nodes average it to about 1e-2 only.
    problem = Problem.of(lambda x: np.where(x > 0.123, 1.0, 0.0), bv.Uniform(-1, 1), None, 0)
    actual = abs(problem.test.weights @ problem.f - (1 - 0.123) / 2)
    assert actual > 1e-4
    assert problem.quadrature_error() > 0.5 * actual


@pytest.mark.parametrize("law", [bv.Uniform(-1, 1), bv.Normal()], ids=repr)
def test_a_feature_between_the_test_points_is_part_of_the_error(law):
    def narrow(x):
        return np.exp(-(((x - 0.1234) / 0.001) ** 2))

    problem = Problem.of(narrow, law, None, 0)
    truth = 0.001 * np.sqrt(np.pi) * float(law.density(np.array([0.1234]))[0])
    missed = abs(truth - problem.f @ problem.test.weights)
    assert missed > 0.1 * truth
    assert problem.quadrature_error() > 0.99 * missed


@pytest.mark.parametrize("place", [0.137, -0.9, 1 / 3])
def test_adaptive_panels_find_a_jump(place):
    averages, errors = adaptive_averages(
        lambda x: np.stack([(x > place) * 1.0, np.abs(x - place)]),
        lambda x: np.full(x.shape, 0.5),
        np.linspace(-1, 1, 5),
    )
    np.testing.assert_allclose(averages, [(1 - place) / 2, (1 + place**2) / 2], atol=1e-12)
    assert (errors < 1e-12).all()


def test_adaptive_panels_give_up_what_no_panel_resolves():
    noise = np.random.default_rng(0)
    averages, errors = adaptive_averages(lambda x: noise.random((1, x.size)), np.ones_like, np.linspace(0, 1, 257))
    assert abs(averages[0] - 0.5) < 5 * errors[0]


def test_a_table_says_where_test_points_limit_the_precision():
    study = {"hypotheses": {"H0": bv.Polynomial(0)}, "n_train": 30, "replicates": 1024, "block_size": 64}
    jump = run_in_memory(two_point_study(target=lambda x: (x > 0.137) * 1.0, **study))
    assert jump.quadrature_error.item() > 0.9 * jump.expected_risk_se.item()
    assert "H0, n_train=30, noise=0: most of the standard error is that of the test points" in cell_table(jump)
    smooth = run_in_memory(two_point_study(**study))
    assert smooth.quadrature_error.item() == 0
    assert "test points" not in cell_table(smooth)
    sampled = run_in_memory(two_point_study(target=bv.Linear([1, 1]), inputs=bv.Normal(dim=2), **study))
    assert 0 < sampled.quadrature_error.item() <= sampled.expected_risk_se.item()


class Dice:
    """A law of a user's on five places, one of them twice as likely."""

    dim, exchangeable = 1, True
    places = np.array([-1.0, -0.5, 0.0, 0.0, 0.5, 1.0])

    def uniforms_per_set(self, n_train):
        return n_train

    def inputs_from(self, uniforms, n_train):
        return self.places[np.minimum((uniforms * 6).astype(int), 5)]

    def test_points(self, count, breakpoints, seed):
        return TestPoints.deterministic(self.places, np.full(6, 1 / 6))


def test_places_may_be_drawn_more_than_once():
    fields = {"name": "atoms", "replicates": 2048, "block_size": 64}
    mean = run_in_memory(
        bv.RiskStudy(
            target=bv.Sine(), inputs=Dice(), hypotheses={"H0": bv.Polynomial(0)}, n_train=[5], noise=[0.5], **fields
        )
    ).squeeze()
    # The sine is -1, 1 and four times 0. It fails by chance once in 15,000.
    assert abs(mean.expected_risk - (0.25 + 1 / 3 + (1 / 3 + 0.25) / 5)) < 4 * mean.expected_risk_se
    twice = {"inputs": bv.FixedDesign([-1, -1, 0, 0, 1, 1]), "n_train": [6]}
    sets = {"line": bv.Polynomial(1), "parabola": bv.Polynomial(2), "nearest": bv.NearestNeighbors(1)}
    risks = run_in_memory(bv.RiskStudy(target=bv.Sine(), hypotheses=sets, noise=[0.5], **twice, **fields)).squeeze()
    # Noise, and what of it the span of the set takes in: 2, 3 and, of the first of each two labels, 6 of 6.
    assert np.allclose(risks.expected_risk, 0.25 * (1 + np.array([2, 3, 6]) / 6), atol=1e-12)
    classes = run_in_memory(
        bv.ClassificationStudy(
            target=bv.Logistic([0, 2]),
            hypotheses={"nearest": bv.NearestNeighbors(1)},
            losses=["zero_one", "squared"],
            **twice,
            **fields,
        )
    ).squeeze()
    p = 1 / (1 + np.exp(-2 * np.array([-1, 0, 1])))
    assert abs(classes.bayes_risk.sel(loss="zero_one") - np.minimum(p, 1 - p).mean()) < 1e-12
    risk = classes.sel(loss="zero_one")
    assert abs(risk.expected_risk - (2 * p * (1 - p)).mean()) < 4 * risk.expected_risk_se
