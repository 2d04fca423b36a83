"""One contract for every objective; minima against closed forms, scipy and scikit-learn; sets, splits and repeats."""

import json
import pickle
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import sympy
from scipy import optimize, special
from sklearn.linear_model import LinearRegression, LogisticRegression

from biasvar.errors import MissingDependencyError, StudyError
from biasvar.montecarlo.elementary import softpluses_of_minus
from biasvar.optimization.objectives import Objective, adapted
from biasvar.optimization.objectives.beale import Beale
from biasvar.optimization.objectives.empirical import EmpiricalRisk
from biasvar.optimization.objectives.examples import NAMED, Array, Examples, held_out_mask, load, repeated
from biasvar.optimization.objectives.functions import LogSumExp, Quadratic, Rosenbrock, Saddle
from biasvar.optimization.objectives.models import MLP
from biasvar.optimization.stable import sigmoid_of_minus


def risk(loss):
    """Make empirical risks with a loss: of X and y, or of a named set."""
    return lambda *pair, data=None, **fields: EmpiricalRisk(
        data=data if data is not None else pair, loss=loss, **fields
    )


def network(x, y, width, **fields):
    return EmpiricalRisk(data=(x, y), loss="squared", model=MLP(width=width), **fields)


def is_network(objective):
    return isinstance(objective, EmpiricalRisk) and objective.model != "linear"


squared, logistic, softmax = risk("squared"), risk("logistic"), risk("softmax")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 3))
REAL = X @ [1.0, -2.0, 0.5] + RNG.normal(size=24)
TWO = np.where(X[:, 0] + RNG.normal(size=24) > 0, "spam", "ham")
THREE = np.argmax(X + RNG.normal(size=(24, 3)), axis=1)
ROOT = RNG.normal(size=(4, 4))
ROWS = RNG.normal(size=(12, 4))

PLAIN = [
    pytest.param(Quadratic(eigenvalues=[1.0, 10.0, 0.0]), id="quadratic"),
    pytest.param(Quadratic(matrix=ROOT @ ROOT.T), id="quadratic matrix"),
    pytest.param(Quadratic(eigenvalues=[1.0, 10.0], angle=30), id="quadratic, turned"),
    pytest.param(Saddle([2.0, -1.0, 0.0]), id="saddle"),
    pytest.param(Beale(), id="beale"),
    pytest.param(LogSumExp(ROWS, RNG.normal(size=12)), id="log-sum-exp"),
    pytest.param(Rosenbrock(), id="rosenbrock"),
    pytest.param(Rosenbrock(5), id="rosenbrock in space"),
]
LOSSES = [
    pytest.param(squared(X, REAL), id="least squares"),
    pytest.param(squared(X, REAL, held_out=0.25), id="least squares, split"),
    pytest.param(squared(X, REAL, penalty=0.3), id="least squares, penalty"),
    pytest.param(logistic(X, TWO), id="logistic"),
    pytest.param(logistic(X, TWO, penalty=0.3, held_out=0.25), id="logistic, penalty, split"),
    pytest.param(softmax(X, THREE), id="softmax"),
    pytest.param(softmax(X, THREE, penalty=0.3, held_out=0.25), id="softmax, penalty, split"),
    pytest.param(network(X, REAL, width=4), id="mlp"),
    pytest.param(EmpiricalRisk(data=(X, TWO), loss="logistic", model=MLP(3)), id="mlp of two classes"),
    pytest.param(network(X, REAL, width=4, penalty=0.3, held_out=0.25), id="mlp, penalty, split"),
]
ALL = PLAIN + LOSSES
SPLIT = [member for member in LOSSES if member.values[0].held_out]


def points(objective, *shape, seed=1):
    return np.random.default_rng(seed).normal(size=(*shape, objective.dim))


def central(function, at, direction, step=1e-5):
    return (function(at + step * direction) - function(at - step * direction)) / (2 * step)


# The contract


@pytest.mark.parametrize("objective", ALL)
def test_shapes_are_those_of_the_points(objective):
    assert isinstance(objective, Objective)
    for shape in [(), (1,), (5,), (2, 3)]:
        theta = points(objective, *shape)
        assert np.shape(objective.value(theta)) == shape
        assert objective.gradient(theta).shape == theta.shape
        assert objective.hessian_product(theta, theta).shape == theta.shape


@pytest.mark.parametrize("objective", ALL)
def test_points_do_not_depend_on_one_another_or_on_memory_order(objective):
    theta, v = points(objective, 2, 7), points(objective, 2, 7, seed=2)
    flat, flat_v = theta.reshape(14, -1), v.reshape(14, -1)
    alone = [
        (objective.value(t), objective.gradient(t), objective.hessian_product(t, w))
        for t, w in zip(flat, flat_v, strict=True)
    ]
    values, gradients, products = (np.array(each) for each in zip(*alone, strict=True))
    for order in "CF":
        t, w = np.array(flat, order=order), np.array(flat_v, order=order)
        np.testing.assert_allclose(objective.value(t), values, rtol=1e-12)
        np.testing.assert_allclose(objective.gradient(t), gradients, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(objective.hessian_product(t, w), products, rtol=1e-11, atol=1e-12)
        assert np.array_equal(t, flat), "theta was overwritten"
    np.testing.assert_allclose(objective.value(theta).reshape(14), values, rtol=1e-12)
    np.testing.assert_allclose(objective.gradient(theta).reshape(14, -1), gradients, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("objective", ALL)
def test_trajectories_keep_their_memory_order(objective):
    kept = np.ascontiguousarray(points(objective, 6).T)
    assert objective.gradient(kept.T).flags.f_contiguous
    assert objective.hessian_product(kept.T, kept.T).flags.f_contiguous


@pytest.mark.parametrize("objective", ALL)
def test_gradient_is_the_slope_of_the_value(objective):
    theta = points(objective, 4)
    for axis in np.eye(objective.dim):
        slope = central(objective.value, theta, axis)
        np.testing.assert_allclose(objective.gradient(theta) @ axis, slope, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("objective", ALL)
def test_hessian_product_is_the_slope_of_the_gradient(objective):
    theta, v = points(objective, 4), points(objective, 4, seed=2)
    product = objective.hessian_product(theta, v)
    np.testing.assert_allclose(product, central(objective.gradient, theta, v), rtol=1e-6, atol=1e-6)
    many = objective.hessian_product(theta[0], v)  # one point, many directions
    np.testing.assert_allclose(many, [objective.hessian_product(theta[0], w) for w in v], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("objective", ALL)
def test_minimum_is_where_scipy_finds_it(objective):
    if is_network(objective) or isinstance(objective, Saddle):
        assert objective.minimum is None
        assert objective.minimizer is None
        return
    start = 0.5 * points(objective)
    found = optimize.minimize(objective.value, start, jac=objective.gradient, method="BFGS", options={"gtol": 1e-7})
    assert objective.minimum == pytest.approx(found.fun, abs=1e-9)
    assert objective.minimum == objective.value(objective.minimizer)
    assert np.abs(objective.gradient(objective.minimizer)).max() < 1e-10


@pytest.mark.parametrize("objective", ALL)
def test_objectives_are_values(objective):
    fields = objective.to_fields()
    assert json.loads(json.dumps(fields)) == fields
    _ = objective.minimum  # kept in the pickle, like the fields and unlike the rest
    copy = pickle.loads(pickle.dumps(objective))
    theta = points(objective, 3)
    assert copy == objective
    assert hash(copy) == hash(objective)
    assert repr(copy) == repr(objective)
    assert len(repr(objective)) < 200
    assert copy.to_fields() == fields
    assert np.array_equal(copy.value(theta), objective.value(theta))
    assert "_training" not in objective.__getstate__()
    with pytest.raises(AttributeError, match="cannot assign"):
        objective.dim = 3 if isinstance(objective, Rosenbrock) else None


@pytest.mark.parametrize("objective", ALL)
def test_points_of_another_dimension_are_refused(objective):
    theta = np.zeros((2, objective.dim + 1))
    for call in (objective.value, objective.gradient, lambda t: objective.hessian_product(t, t)):
        with pytest.raises(StudyError, match=rf"theta: expected shape \(\.\.\., {objective.dim}\)"):
            call(theta)


@pytest.mark.parametrize("objective", PLAIN)
def test_objectives_without_data_have_no_batches(objective):
    assert objective.examples is None
    with pytest.raises(StudyError, match="no examples"):
        objective.gradient(points(objective), batch=np.array([0]))


# Losses


@pytest.mark.parametrize("loss", LOSSES)
def test_batches_average_to_the_whole_gradient(loss):
    theta = points(loss, 5)
    order = np.random.default_rng(3).permutation(loss.examples)
    batches = [loss.gradient(theta, batch) for batch in order.reshape(3, -1)]
    np.testing.assert_allclose(np.mean(batches, axis=0), loss.gradient(theta), rtol=1e-11, atol=1e-13)
    assert np.std(batches, axis=0).max() > 1e-3
    assert loss.gradient(np.asfortranarray(theta), order[:4]).flags.f_contiguous


@pytest.mark.parametrize("loss", LOSSES)
def test_batches_are_of_training_examples_in_order(loss):
    theta = points(loss)
    x, y = loss.training_examples
    assert len(y) == loss.examples == (18 if loss.held_out else 24)
    assert set(y) == set(loss.data.y.values[~held_out_mask(24, loss.held_out)])
    fields = {"penalty": loss.penalty}
    for batch in (np.arange(9, 18), np.array([2, 2, 5, 1, 0, 3, 9, 11])):  # every class is in either
        alone = EmpiricalRisk(data=(x[batch], y[batch]), loss=loss.loss, model=loss.model, **fields)
        np.testing.assert_allclose(loss.gradient(theta, batch), alone.gradient(theta), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("loss", SPLIT)
def test_risk_is_the_loss_on_every_fourth_example_without_penalty(loss):
    aside = np.arange(24) % 4 == 3
    theta = points(loss, 2, 3)
    held_out = loss.data.X.values[aside], loss.data.y.values[aside]
    other = EmpiricalRisk(data=held_out, loss=loss.loss, model=loss.model)
    assert loss.has_held_out
    np.testing.assert_allclose(loss.risk(theta), other.value(theta), rtol=1e-12)
    training = EmpiricalRisk(data=loss.training_examples, loss=loss.loss, model=loss.model)
    penalty = loss.penalty / 2 * np.square(theta).sum(axis=-1)
    np.testing.assert_allclose(loss.value(theta), training.value(theta) + penalty, rtol=1e-12)
    assert not training.has_held_out
    with pytest.raises(StudyError, match=r"give held_out=0\.25"):
        training.risk(theta)


def test_values_are_those_of_the_formulas():
    theta = points(logistic(X, TWO))
    z = X @ theta
    assert logistic(X, TWO).value(theta) == pytest.approx(np.log1p(np.exp(np.where(TWO == "spam", -z, z))).mean())
    weights = points(softmax(X, THREE))
    shares = special.log_softmax(X @ weights.reshape(3, 3), axis=1)
    assert softmax(X, THREE).value(weights) == pytest.approx(-shares[np.arange(24), THREE].mean())
    net = network(X, REAL, width=2)
    parts = points(net)
    outputs = np.tanh(X @ parts[:6].reshape(3, 2) + parts[6:8]) @ parts[8:10] + parts[10]
    assert net.value(parts) == pytest.approx(np.square(outputs - REAL).mean() / 2)
    soft = LogSumExp(ROWS, ROWS[:, 0])
    assert soft.value(ROWS[0]) == pytest.approx(special.logsumexp(ROWS @ ROWS[0] + ROWS[:, 0]))
    assert Rosenbrock(4).value(ROWS[0]) == pytest.approx(optimize.rosen(ROWS[0]))
    np.testing.assert_allclose(Rosenbrock(4).gradient(ROWS[0]), optimize.rosen_der(ROWS[0]))
    np.testing.assert_allclose(
        Rosenbrock(4).hessian_product(ROWS[0], ROWS[1]), optimize.rosen_hess_prod(ROWS[0], ROWS[1])
    )


X_, Y_ = sympy.symbols("x y")
SYMBOLS = {
    "saddle": (Saddle([3, -0.5]), (3 * X_**2 - Y_**2 / 2) / 2),
    "beale": (Beale(), sum((c - X_ * (1 - Y_**i)) ** 2 for i, c in [(1, 1.5), (2, 2.25), (3, 2.625)])),
    "quadratic, turned": (
        Quadratic([1, 40], angle=30),
        # A step along (cos, sin) costs 1, one along (-sin, cos) 40.
        ((X_ * sympy.cos(sympy.pi / 6) + Y_ * sympy.sin(sympy.pi / 6)) ** 2) / 2
        + 40 * ((Y_ * sympy.cos(sympy.pi / 6) - X_ * sympy.sin(sympy.pi / 6)) ** 2) / 2,
    ),
}


@pytest.mark.parametrize("name", SYMBOLS)
def test_derivatives_are_those_that_sympy_takes(name):
    objective, formula = SYMBOLS[name]
    theta, v = 3 * points(objective, 40), points(objective, 40, seed=2)
    of = (X_, Y_)
    value = sympy.lambdify(of, formula)(*theta.T)
    gradient = np.stack([sympy.lambdify(of, formula.diff(x))(*theta.T) for x in of], axis=-1)
    hessian = [[np.broadcast_to(sympy.lambdify(of, formula.diff(x, y))(*theta.T), 40) for y in of] for x in of]
    np.testing.assert_allclose(objective.value(theta), value, rtol=1e-10)
    np.testing.assert_allclose(objective.gradient(theta), gradient, rtol=1e-10, atol=1e-9)
    product = np.einsum("ijk,kj->ki", np.array(hessian), v)
    np.testing.assert_allclose(objective.hessian_product(theta, v), product, rtol=1e-9, atol=1e-8)


def test_far_out_beale_falls_to_a_value_above_its_least():
    # With s = x (y - 1) and y to 1 the residuals are 1.5 + s, 2.25 + 2 s and 2.625 + 3 s.
    found = optimize.minimize_scalar(lambda s: sum((c + i * s) ** 2 for i, c in [(1, 1.5), (2, 2.25), (3, 2.625)]))
    x = -1e9
    assert Beale().value(np.array([x, 1 + found.x / x])) == pytest.approx(found.fun, rel=1e-6)
    assert found.fun == pytest.approx(0.452, abs=1e-3)


@pytest.mark.parametrize("angle", [0, 30, -75, 90, 400])
def test_turned_quadratics_are_those_of_turned_points(angle):
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    rotation = np.array([[cosine, -sine], [sine, cosine]])
    straight, turned = Quadratic([1, 40]), Quadratic([1, 40], angle=angle)
    theta = points(straight, 9)
    np.testing.assert_allclose(turned.value(theta @ rotation.T), straight.value(theta), rtol=1e-12)
    np.testing.assert_allclose(turned.gradient(theta @ rotation.T), straight.gradient(theta) @ rotation.T, atol=1e-11)
    assert turned.to_fields() == {"eigenvalues": [1, 40], "angle": angle}


def test_what_rounding_leaves_of_symmetry_is_taken_away():
    rotation = np.linalg.qr(np.random.default_rng(4).normal(size=(8, 8)))[0]
    product = rotation @ np.diag(np.geomspace(1, 1e4, 8)) @ rotation.T
    assert not np.array_equal(product, product.T)
    objective = Quadratic(matrix=product)
    identity = np.eye(8)
    assert np.array_equal(objective.gradient(identity), objective.gradient(identity).T)
    np.testing.assert_allclose(objective.gradient(identity), product, rtol=0, atol=1e-8)


def test_softmax_of_two_classes_is_logistic():
    theta = points(logistic(X, TWO), 4)
    both = np.stack([-theta / 2, theta / 2], axis=-1).reshape(4, 6)
    np.testing.assert_allclose(softmax(X, TWO).value(both), logistic(X, TWO).value(theta), rtol=1e-12)


def test_least_squares_is_fitted_in_closed_form():
    loss = squared(data="diabetes")
    x, y = loss.training_examples
    np.testing.assert_allclose(loss.minimizer, LinearRegression(fit_intercept=False).fit(x, y).coef_, rtol=1e-10)
    wide = squared(X[:2], REAL[:2])  # more features than examples: the fit of least norm
    np.testing.assert_allclose(wide.minimizer, np.linalg.pinv(X[:2]) @ REAL[:2], rtol=1e-10)


@pytest.mark.parametrize("make", [logistic, softmax])
@pytest.mark.parametrize("penalty", [0.0, 0.01])
def test_classifiers_are_fitted_as_scikit_learn_fits_them(make, penalty):
    loss = make(data="breast_cancer", penalty=penalty)
    x, y = loss.training_examples
    # A softmax of two classes with penalty on both is a logistic loss of their difference with half of it.
    weight = penalty / 2 if make is softmax else penalty
    inverse = 1 / (weight * len(y)) if penalty else np.inf
    model = LogisticRegression(C=inverse, fit_intercept=False, tol=1e-10, solver="newton-cholesky", max_iter=200)
    coefficients = model.fit(x, y).coef_[0]
    theta = loss.minimizer if make is logistic else np.diff(loss.minimizer.reshape(30, 2), axis=1)[:, 0]
    np.testing.assert_allclose(theta, coefficients, rtol=1e-5, atol=1e-6)


def test_minimizers_have_least_norm():
    doubled = logistic(np.hstack([X, X]), TWO)
    np.testing.assert_allclose(doubled.minimizer, np.tile(logistic(X, TWO).minimizer, 2) / 2, rtol=1e-9)
    assert doubled.minimum == pytest.approx(logistic(X, TWO).minimum, abs=1e-14)
    classes = softmax(X, THREE).minimizer.reshape(3, 3)
    np.testing.assert_allclose(classes.sum(axis=1), 0, atol=1e-12)
    assert LogSumExp([[1, 1], [-1, -1]], [0, 1]).minimizer == pytest.approx([0.25, 0.25])


# Unattained: classes apart, apart but for ties, one class only; a slope that never ends.
@pytest.mark.parametrize(
    "objective",
    [
        pytest.param(logistic([[1.0], [-2.0]], [1, 0]), id="separable"),
        pytest.param(logistic([[1e6, 1], [-2e6, 1], [3e6, 1]], [1, 0, 1]), id="separable, large"),
        pytest.param(logistic([[1, 0], [-1, 0], [0, 1], [0, 1]], [1, 0, 1, 0]), id="nearly separable"),
        pytest.param(logistic(X[:4], ["a", "a", "a", "b"], held_out=0.25), id="one class in training"),
        pytest.param(softmax(data="iris"), id="three classes apart"),
        pytest.param(LogSumExp([[1], [2]], [0, 0]), id="slope"),
        pytest.param(LogSumExp([[0], [1]], [0, 0]), id="slope that flattens"),
        pytest.param(LogSumExp([[1, 0], [-1, 0], [0, 1]], [0, 0, 0]), id="slope in one direction"),
    ],
)
def test_minima_that_are_not_attained_are_none(objective):
    assert objective.minimizer is None
    assert objective.minimum is None


def test_a_penalty_brings_the_minimum_back():
    loss = logistic([[1.0], [-2.0]], [1, 0], penalty=1e-6)
    assert abs(loss.gradient(loss.minimizer)[0]) < 1e-12
    assert loss.minimizer[0] > 5


def test_far_out_losses_are_finite_and_precise():
    far = np.array([[-1e4], [1e4]])
    loss = logistic([[1.0]] * 3, [0, 1, 1])
    np.testing.assert_allclose(loss.value(far), [2e4 / 3, 1e4 / 3], rtol=1e-14)
    np.testing.assert_allclose(loss.gradient(far)[:, 0], [-2 / 3, 1 / 3], rtol=1e-14)
    many = softmax([[1.0]] * 3, [0, 1, 2])
    assert many.value(np.array([1e4, 0.0, 0.0])) == pytest.approx(2e4 / 3)
    assert LogSumExp([[1], [-1]], [0, 0]).value(np.array([-1e5])) == 1e5
    z = np.linspace(-60, 60, 241)
    np.testing.assert_allclose(softpluses_of_minus(z.copy()), np.logaddexp(0, -z), rtol=1e-15)
    np.testing.assert_allclose(sigmoid_of_minus(z.copy()), special.expit(-z), rtol=1e-15)


# Sets


@pytest.mark.parametrize("name", NAMED)
def test_named_sets_are_standardised_by_their_training_examples(name):
    loss = squared(data=name, held_out=0.2)
    x, y = loss.training_examples
    raw, labels = load(name)
    assert loss.examples == len(y) == len(labels) - len(labels) // 5
    assert loss.to_fields() == {
        "data": {"Examples": {"name": name}},
        "loss": "squared",
        "model": "linear",
        "penalty": 0.0,
        "held_out": 0.2,
    }
    varying = raw[~held_out_mask(len(raw), 0.2)].std(axis=0) > 0
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-10)
    np.testing.assert_allclose(x.std(axis=0), varying, atol=1e-10)
    if NAMED[name] is None:
        assert (y.mean(), y.std()) == pytest.approx((0, 1))
    else:
        assert set(labels) == set(range(NAMED[name]))
        assert softmax(data=name).dim == raw.shape[1] * NAMED[name]
    assert np.isfinite(loss.risk(np.zeros(loss.dim)))


def test_reading_a_set_waits_until_it_is_needed():
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from biasvar.errors import MissingDependencyError\n"
        "from biasvar import EmpiricalRisk\n"
        "loss = EmpiricalRisk(data='breast_cancer', loss='logistic')\n"
        "try:\n    loss.dim\n"
        "except MissingDependencyError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert str(MissingDependencyError("scikit-learn", "estimators")) == done.stdout.strip()


@pytest.mark.parametrize(("examples", "fraction"), [(100, 0.25), (100, 0.29), (37, 0.1), (10, 0.5), (9, 0.75)])
def test_held_out_examples_are_spread_evenly(examples, fraction):
    where = np.flatnonzero(held_out_mask(examples, fraction))
    assert len(where) == int(examples * fraction + 1e-9)
    assert set(np.diff(where)) <= {int(1 / fraction), int(1 / fraction) + 1}


@pytest.mark.parametrize("data", [(X, TWO), "breast_cancer", Examples(X, TWO)], ids=type)
def test_repeated_sets_have_the_same_loss(data):
    once = logistic(data=data)
    loss = logistic(data=repeated(data, times=3))
    theta = points(loss, 4)
    assert loss.examples == 3 * once.examples
    np.testing.assert_allclose(loss.value(theta), once.value(theta), rtol=1e-12)
    batch = np.arange(5)
    for lap in range(3):
        again = loss.gradient(theta, batch + lap * once.examples)
        assert np.array_equal(again, once.gradient(theta, batch))


def test_repeated_is_ten_times_unless_told():
    x, y = repeated("diabetes")
    assert x.shape == (4420, 10)
    once = squared(data="diabetes")
    assert squared(x, y).minimum == pytest.approx(once.minimum, rel=1e-12)


def test_arrays_are_copied_and_read_only():
    x = X.copy()
    loss = squared(x, REAL)
    x[0] = 99
    assert np.array_equal(np.asarray(loss.data.X), X)
    for held in (loss.data.X, pickle.loads(pickle.dumps(loss)).data.X):
        with pytest.raises(ValueError, match="read-only"):
            held.values[0] = 1


def test_equality_is_of_content():
    assert squared(X, REAL) == squared(X.tolist(), REAL)
    assert squared(X, REAL) != squared(X + 1e-12, REAL)
    assert logistic(X, TWO) != logistic(X, TWO, penalty=1)
    assert logistic(X, TWO) == logistic(X, TWO.astype(object))
    assert Array(np.zeros((2, 3))) != Array(np.zeros((3, 2)))
    assert logistic(X, TWO).to_fields()["data"]["Examples"]["X"] == {"shape": [24, 3], "sha256": Array(X).sha256}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Quadratic(), "expected eigenvalues or matrix, got neither"),
        (lambda: Quadratic([1], [[1]]), "expected eigenvalues or matrix, got both"),
        (lambda: Quadratic([1, -2]), "eigenvalues: expected none below 0, got -2"),
        (lambda: Quadratic([1, np.nan]), "finite"),
        (lambda: Quadratic(matrix=[[1, 2], [3, 1]]), "not symmetric"),
        (lambda: Quadratic(matrix=[[1, 2, 3], [2, 1, 3]]), "not symmetric"),
        (lambda: Quadratic(matrix=[[1, 2], [2]]), r"rows of matrix of one length, got lengths \[1, 2\]"),
        (lambda: Quadratic(matrix=[[0, 1], [1, 0]]), "eigenvalue -1"),
        (lambda: Quadratic(matrix=[[1, 1e-9], [0, 1]]), "not symmetric"),
        (lambda: Quadratic([1, 2, 3], angle=30), "angle: turns two eigenvalues, got 3; leave it out"),
        (lambda: Quadratic(matrix=[[1, 0], [0, 2]], angle=30), "angle: turns two eigenvalues, got a matrix"),
        (lambda: Quadratic([1, 2], angle=np.inf), "finite"),
        (lambda: Saddle([1, 2]), r"expected some below and some above 0, got \[1.0, 2.0\]"),
        (lambda: Saddle([-1]), "expected some below and some above 0"),
        (lambda: LogSumExp([[1, 2], [3]], [0, 0]), "expected rows of A of one length"),
        (lambda: LogSumExp([[1], [2]], [0]), "1 numbers for 2 rows"),
        (lambda: Rosenbrock(1), "greater than or equal to 2"),
        (lambda: Examples(), "got neither"),
        (lambda: Examples(X, REAL, "iris"), "got both"),
        (lambda: Examples(X), "expected X and y together"),
        (lambda: squared(REAL, REAL), r"expected X of shape \(examples, features\), got \(24,\)"),
        (lambda: squared(X, X), r"expected y of shape \(examples,\)"),
        (lambda: squared(X, REAL[:5]), "5 labels for 24 examples"),
        (lambda: squared(X * np.nan, REAL), r"expected X to be finite, got nan at \(0, 0\)"),
        (lambda: squared(X, REAL * np.nan), r"expected y to be finite, got nan at \(0,\)"),
        (lambda: squared(X * 1j, REAL), "expected X to be numbers, got complex128"),
        (lambda: squared([["a"]], [1]), "expected X to be numbers"),
        (lambda: squared(X, TWO), "expected numbers, got text"),
        (lambda: squared(data="titanic"), "unknown set 'titanic'; choose one of breast_cancer, diabetes, "),
        (lambda: squared(X, REAL, held_out=1.0), "less than 1"),
        (lambda: squared(X, REAL, held_out=-0.1), "greater than or equal to 0"),
        (lambda: squared(X, REAL, held_out=0.01), "0.01 of 24 examples holds out none"),
        (lambda: squared(X[:1], REAL[:1], held_out=0.5), "holds out none"),
        (lambda: logistic(X, THREE), "expected two classes, got 3"),
        (lambda: logistic(data="iris"), "expected two classes, got those of 'iris', 3"),
        (lambda: logistic(X, TWO, penalty=-1), "greater than or equal to 0"),
        (lambda: softmax(X, np.ones(24)), "two or more classes, got 1"),
        (lambda: softmax(data="diabetes"), "'diabetes', which are real numbers"),
        (lambda: network(X, REAL, width=0), "width: input should be greater than 0"),
        (lambda: repeated((X, REAL), times=0), "times: expected a number of repetitions"),
        (lambda: repeated((X, REAL[:5])), "5 labels for 24 examples"),
        (lambda: squared(X), "data: expected a pair"),
        (
            lambda: EmpiricalRisk(data=(X, REAL), loss="hinge"),
            "loss: input should be 'squared', 'logistic' or 'softmax'",
        ),
        (lambda: EmpiricalRisk(data=(X, REAL), loss="squared", model="cubic"), "model"),
        (lambda: EmpiricalRisk(data=(X, THREE), loss="softmax", model=MLP(4)), "MLP has one output"),
        (lambda: repeated(X), "data: expected a pair"),
        (lambda: repeated((REAL, REAL)), "expected X of shape"),
        (lambda: squared([[1.0], [2.0, 3.0]], [1, 2]), "rows of X of one length"),
        (lambda: logistic(X[:2], [None, 1]), "expected y to be numbers or text, got object"),
        (lambda: repeated("titanic"), "unknown set 'titanic'"),
    ],
)
def test_impossible_objectives_are_refused_in_a_line(make, message):
    with pytest.raises(StudyError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


# A user's own


class Plain:
    """A bowl as a user may write it: no base class, no registration, nothing optional."""

    dim = 3

    def value(self, theta):
        return np.cosh(theta).sum(axis=-1)

    def gradient(self, theta):
        return np.sinh(theta)


class Rich(Plain):
    """The same with all that may be offered; two examples, which are the same."""

    examples, has_held_out, elementwise, minimizer, minimum = 2, True, True, [0, 0, 0], 3

    def gradient(self, theta, batch=None):
        return np.sinh(theta)

    def hessian_product(self, theta, v):
        return np.cosh(theta) * v

    def risk(self, theta):
        return self.value(theta)


@pytest.mark.parametrize("own", [Plain(), Rich()], ids=["plain", "rich"])
def test_a_users_objective_is_one_of_ours(own):
    objective, theta, v = adapted(own), points(own, 4), points(own, 4, seed=2)
    assert isinstance(objective, Objective)
    assert objective.dim == 3
    np.testing.assert_array_equal(objective.value(theta), own.value(theta))
    np.testing.assert_array_equal(objective.gradient(theta), own.gradient(theta))
    np.testing.assert_allclose(objective.hessian_product(theta, v), np.cosh(theta) * v, rtol=1e-8)
    np.testing.assert_allclose(objective.hessian_product(theta[0], v), np.cosh(theta[0]) * v, rtol=1e-8)
    assert not objective.hessian_product(theta, 0 * v).any()


def test_what_a_user_leaves_out_has_its_default():
    plain, rich = adapted(Plain()), adapted(Rich())
    assert (plain.examples, plain.minimizer, plain.minimum) == (None, None, None)
    assert (plain.has_held_out, plain.elementwise) == (False, False)
    assert (rich.examples, rich.has_held_out, rich.elementwise, rich.minimum) == (2, True, True, 3.0)
    assert rich.minimizer.tolist() == [0.0, 0.0, 0.0]
    assert rich.risk(np.zeros(3)) == 3
    assert not rich.gradient(np.zeros(3), np.array([0])).any()
    nowhere = adapted(SimpleNamespace(value=len, gradient=len))
    with pytest.raises(StudyError, match="has no dim; give it one, or say where it starts"):
        _ = nowhere.dim


@pytest.mark.parametrize("objective", ALL)
def test_ours_are_taken_as_they_are(objective):
    assert adapted(objective) is objective


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, r"3 has no value\(theta\) and gradient\(theta\)"),
        (Plain, "has no value"),
        (SimpleNamespace(value=len, gradient=3), "has no value"),
        (SimpleNamespace(value=len, gradient=len, dim="3"), "dim is '3', expected a positive integer"),
        (SimpleNamespace(value=len, gradient=len, examples=0), "examples is 0, expected a positive integer"),
        (SimpleNamespace(value=len, gradient=len, has_held_out=True), r"no risk\(theta\)"),
    ],
)
def test_what_is_no_objective_is_refused_in_a_line(given, message):
    with pytest.raises(StudyError, match=message) as caught:
        adapted(given)
    assert "\n" not in str(caught.value)
