"""Closed-form truth, through whole studies.

Where the truth is exact, results must agree to rounding; where Monte Carlo is left, within four of its own standard
errors, unless a tighter bound is stated. With 64 blocks or more, four Student standard errors have a false-alarm rate
of at most 2e-4 a comparison under the seed's randomness.
"""

import numpy as np
import pytest
import xarray as xr
from helpers import line_through, sine, sine_slope, two_point_study
from sklearn.linear_model import LinearRegression

import biasvar as bv


def computed(**changes):
    result = bv.lazy(two_point_study(**changes)).compute(scheduler="synchronous")
    return result.squeeze([dim for dim in ("n_train", "noise") if result.sizes[dim] == 1])


def within(actual, error, expected, errors=4, rounding=1e-12):
    assert np.all(np.isfinite(error))
    np.testing.assert_array_less(np.abs(actual - expected), errors * error + rounding * (1 + np.abs(expected)))


def close(actual, expected, rtol=0.0, atol=0.0):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)


# Two points


@pytest.fixture(scope="module")
def two_points():
    return computed(replicates=2**17, block_size=2**12)


@pytest.mark.parametrize(
    ("hypothesis", "bias2", "variance"), [("H0", 0.5, 0.25), ("H1", *line_through(sine, sine_slope))]
)
def test_two_points_of_a_sine(two_points, hypothesis, bias2, variance):
    cell = two_points.sel(hypothesis=hypothesis)
    assert cell.status == "ok"
    assert cell.replicates == 2**17
    # The bound of the study's own promise, and the study's own errors. Rounding is of the size of an epsilon.
    for name, expected in (("bias2", bias2), ("variance", variance), ("expected_risk", bias2 + variance)):
        assert abs(cell[name] - expected) < 1e-6
        within(cell[name], cell[f"{name}_se"], expected, errors=5)


def test_the_quadrature_itself_gives_the_known_digits():
    assert line_through(sine, sine_slope) == pytest.approx((0.206716840, 1.676282395), abs=1e-9)


def test_two_points_of_a_sine_along_x(two_points):
    x = two_points.x.values
    constant, line = (two_points.sel(hypothesis=label) for label in ("H0", "H1"))
    np.testing.assert_allclose(constant.mean_prediction, 0, atol=1e-6)
    np.testing.assert_allclose(constant.variance_x, 0.25, atol=1e-6)
    np.testing.assert_allclose(constant.bias2_x, sine(x) ** 2, atol=1e-6)
    slope = line.mean_prediction / x
    np.testing.assert_allclose(slope, slope[0], atol=1e-6)
    np.testing.assert_allclose(two_points.target, sine(x), atol=1e-14)


def test_best_in_class_of_a_sine(two_points):
    # The projection of sin(pi x) on lines is 3 x / pi.
    np.testing.assert_allclose(two_points.best_in_class.sel(hypothesis="H1"), 3 / np.pi * two_points.x, atol=1e-12)
    expected = {"H0": 0.5, "H1": 0.5 - 3 / np.pi**2}
    for label, error in expected.items():
        cell = two_points.sel(hypothesis=label)
        close(cell.approximation_error, error, atol=1e-12)
        close(cell.best_in_class_risk, error, atol=1e-12)
        close(cell.estimation_error, cell.expected_risk - error, atol=1e-12)


def test_difference_between_lines_and_constants(two_points):
    expected = sum(line_through(sine, sine_slope)) - 0.75
    cell = two_points.sel(hypothesis="H1", versus="H0")
    within(cell.excess_risk_difference, cell.excess_risk_difference_se, expected, errors=5)
    assert cell.excess_risk_difference_se < 1e-6


def test_two_points_of_a_parabola():
    # With lines: slope a + b, intercept -a b. With constants: the mean of a^2 and b^2.
    result = computed(target=bv.PolynomialTarget([0, 0, 1]), replicates=2**15, block_size=2**10)
    quadrature = line_through(np.square, lambda x: 2 * x)
    assert quadrature == pytest.approx((1 / 5, 1 / 3), abs=1e-12)  # E x^4 = 1/5; (2/3) (1/3) + 1/9
    expected = {"H0": (4 / 45, 2 / 45), "H1": quadrature}
    for label, (bias2, variance) in expected.items():
        cell = result.sel(hypothesis=label)
        # A lattice averages smooth functions almost exactly.
        close(cell.bias2, bias2, atol=1e-9)
        close(cell.variance, variance, atol=1e-9)


def test_a_line_through_two_points_has_no_risk_once_labels_are_noisy():
    cell = computed(noise=0.5, replicates=2**13).sel(hypothesis="H1")
    assert cell.status == "infinite"
    assert "0.5" in str(cell.status_reason.values)
    for name in ("expected_risk", "variance", "excess_risk", "estimation_error", "generalization_gap"):
        assert cell[name] == np.inf
        assert np.isnan(cell[f"{name}_se"])
    assert np.isfinite(cell.bias2)
    assert np.isfinite(cell.bias2_se)


# Polynomials


def polynomial_target(degree):
    return bv.PolynomialTarget([0.5, -1.0, 2.0, 1.5][: degree + 1])


@pytest.mark.parametrize("sampler", ["sobol", "random"])
def test_polynomials_on_a_target_in_their_class(sampler):
    hypotheses = {f"H{degree}": bv.Polynomial(degree) for degree in range(4)}
    sigma = 0.7
    for degree in range(4):
        result = computed(
            target=polynomial_target(degree),
            hypotheses={label: h for label, h in hypotheses.items() if h.degree >= degree},
            n_train=[20, 100],
            noise=[0.0, sigma],
            sampler=sampler,
        )
        np.testing.assert_allclose(result.bias2, 0, atol=1e-20)
        np.testing.assert_allclose(result.variance.sel(noise=0.0), 0, atol=1e-20)
        np.testing.assert_allclose(result.empirical_risk.sel(noise=0.0), 0, atol=1e-20)
        for label in result.hypothesis.values:
            for n in (20, 100):
                cell = result.sel(hypothesis=label, n_train=n, noise=sigma)
                size = hypotheses[label].degree + 1
                close(cell.empirical_risk, sigma**2 * (n - size) / n, rtol=1e-12)
                expected, error = ols_noise_gain(size, n)
                within(cell.variance, np.hypot(cell.variance_se, sigma**2 * error), sigma**2 * expected)


_gains = {}


def ols_noise_gain(size, n, replicates=4000):
    """E tr((Phi'Phi)^-1) for n uniform points and Legendre polynomials, by plain Monte Carlo; exact for size 1."""
    if size == 1:
        return 1 / n, 0.0
    if (size, n) not in _gains:
        x = np.random.default_rng(99).uniform(-1, 1, (replicates, n))
        phi = np.polynomial.legendre.legvander(x, size - 1) * np.sqrt(2 * np.arange(size) + 1)
        traces = (np.linalg.pinv(phi) ** 2).sum(axis=(1, 2))
        _gains[size, n] = traces.mean(), traces.std() / np.sqrt(replicates)
    return _gains[size, n]


@pytest.mark.parametrize("n", [2, 3, 10, 100])
@pytest.mark.parametrize("sampler", ["sobol", "random"])
def test_constants_have_the_variance_of_a_mean(n, sampler):
    sigmas = np.array([0.0, 0.5, 2.0])
    result = computed(hypotheses={"H0": bv.Polynomial(0)}, n_train=n, noise=sigmas, sampler=sampler).squeeze()
    within(result.bias2, result.bias2_se, 0.5)
    within(result.variance, result.variance_se, (0.5 + sigmas**2) / n)
    within(result.empirical_risk, result.empirical_risk_se, (0.5 + sigmas**2) * (n - 1) / n)
    noise_part = result.variance - result.variance[0]
    np.testing.assert_allclose(noise_part, sigmas**2 / n, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("points", [np.linspace(-1, 1, 8), np.array([-1.0, -0.9, -0.85, 0.0, 0.1, 0.3, 0.7, 2.0])])
@pytest.mark.parametrize("degree", [0, 1, 3, 7])
def test_least_squares_on_a_fixed_design_has_variance_sigma2_p_over_n(points, degree):
    n, sigma, p = len(points), 0.3, degree + 1
    result = computed(
        inputs=bv.FixedDesign(points),
        hypotheses={"H": bv.Polynomial(degree)},
        n_train=n,
        noise=sigma,
        replicates=256,
        block_size=16,
    ).squeeze()
    fitted = np.polynomial.Polynomial.fit(points, sine(points), degree)(points)
    assert result.status == "ok"
    close(result.variance, sigma**2 * p / n, rtol=1e-9)
    close(result.bias2, np.mean((fitted - sine(points)) ** 2), rtol=1e-9, atol=1e-15)
    close(result.empirical_risk, result.bias2 + sigma**2 * (n - p) / n, rtol=1e-9, atol=1e-15)
    assert result.variance_se < 1e-12


def test_lines_on_normal_inputs():
    # E 1/S_xx = 1 / (n - 3) for n normal inputs, so that the noise gain of a line is 1/n + (1 + 1/n) / (n - 3).
    sigma, sizes = 0.5, np.array([8, 12, 40])
    result = computed(
        target=bv.Linear([1.5]),
        inputs=bv.Normal(),
        hypotheses={"H1": bv.Polynomial(1)},
        n_train=sizes,
        noise=sigma,
        replicates=2**14,
        block_size=2**8,
    ).squeeze()
    within(result.variance, result.variance_se, sigma**2 * (1 / sizes + (1 + 1 / sizes) / (sizes - 3)))
    np.testing.assert_allclose(result.bias2, 0, atol=1e-20)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_status_of_polynomials_with_noisy_labels(degree):
    sizes = [2 * degree, 2 * degree + 1, 2 * degree + 2, 4 * degree + 1, 4 * degree + 2]
    result = computed(
        hypotheses={"H": bv.Polynomial(degree)}, n_train=sizes, noise=[0.0, 0.5], replicates=256, block_size=16
    ).squeeze()
    expected = ["infinite", "infinite", "se_unreliable", "se_unreliable", "ok"]
    assert result.status.sel(noise=0.5).values.tolist() == expected
    assert result.status.sel(noise=0.0).values.tolist() == ["ok"] * 5  # averages of slopes of a smooth target
    np.testing.assert_allclose(result.tail_index.sel(noise=0.5), (np.array(sizes) - 1) / (2 * degree))
    noisy = result.sel(noise=0.5)
    for name in ("expected_risk", "variance", "excess_risk", "generalization_gap"):
        assert np.isinf(noisy[name]).values.tolist() == [True, True, False, False, False]
        assert np.isnan(noisy[f"{name}_se"]).values.tolist() == [True, True, True, True, False]
    for name in ("bias2", "empirical_risk", "mean_prediction"):
        assert np.isfinite(result[name]).all()
        assert np.isfinite(result[f"{name}_se"]).all()
    assert (noisy.status_reason.values[:4] != "").all()


def test_a_difference_with_an_infinite_risk_is_no_number():
    result = computed(noise=0.5, replicates=256, block_size=16)
    assert np.isnan(result.excess_risk_difference.sel(hypothesis="H0", versus="H1"))
    assert np.isnan(result.excess_risk_difference_se.sel(hypothesis="H0", versus="H1"))
    assert result.excess_risk_difference.sel(hypothesis="H0", versus="H0") == 0


def test_a_smooth_callable_is_as_good_as_a_named_target():
    named, own = (
        computed(target=target, n_train=10, replicates=2**16, block_size=2**12) for target in (bv.Sine(), sine)
    )
    assert named.status.values.tolist() == ["ok", "ok"]
    assert own.status.values.tolist() == ["ok", "ok"]
    np.testing.assert_allclose(own.expected_risk, named.expected_risk, rtol=1e-13)


# Least squares on normal inputs, both sides of p = n


def isotropic(n, p, dim, sampler="sobol", coefficient=0.3, sigma=0.5, **changes):
    beta = np.full(dim, coefficient)
    return computed(
        target=bv.Linear(beta),
        inputs=bv.Normal(dim=dim),
        hypotheses={"p": bv.LeastSquares(p)},
        n_train=n,
        noise=[0.0, sigma],
        replicates=2**13,
        block_size=2**7,
        sampler=sampler,
        **changes,
    ).squeeze()


@pytest.mark.parametrize("sampler", ["sobol", "random"])
@pytest.mark.parametrize(("n", "p"), [(10, 2), (12, 5), (30, 10)])
def test_least_squares_with_fewer_features_than_points(n, p, sampler):
    result = isotropic(n, p, p, sampler)
    added = result.variance.sel(noise=0.5) - result.variance.sel(noise=0.0)
    within(added, result.variance_se.sel(noise=0.5), 0.25 * p / (n - p - 1))
    np.testing.assert_allclose(result.bias2, 0, atol=1e-20)
    np.testing.assert_allclose(result.empirical_risk, [0, 0.25 * (n - p) / n], atol=1e-12)


@pytest.mark.parametrize("sampler", ["sobol", "random"])
@pytest.mark.parametrize(("n", "p"), [(3, 9), (5, 16)])
def test_least_squares_of_minimum_norm(n, p, sampler):
    # The fit is a random projection of the coefficients, with mean n/p of them.
    result = isotropic(n, p, p, sampler)
    noisy, silent = result.sel(noise=0.5), result.sel(noise=0.0)
    square = 0.09 * p
    within(noisy.variance - silent.variance, noisy.variance_se, 0.25 * n / (p - n - 1))
    within(silent.bias2, silent.bias2_se, (1 - n / p) ** 2 * square)
    within(silent.variance, silent.variance_se, n / p * (1 - n / p) * square)
    within(silent.excess_risk, silent.excess_risk_se, (1 - n / p) * square)
    np.testing.assert_allclose(result.empirical_risk, 0, atol=1e-15)


@pytest.mark.parametrize(("n", "p", "dim"), [(10, 2, 4), (14, 4, 5)])
def test_least_squares_with_features_left_out(n, p, dim):
    # What is left out acts as noise of its own size, tau^2.
    result = isotropic(n, p, dim)
    tau2, gain = 0.09 * (dim - p), p / (n - p - 1)
    within(result.bias2, result.bias2_se, tau2)
    within(result.variance, result.variance_se, (tau2 + np.array([0.0, 0.25])) * gain)
    within(result.empirical_risk, result.empirical_risk_se, (tau2 + np.array([0.0, 0.25])) * (n - p) / n)
    within(result.approximation_error, result.approximation_error_se, tau2)


@pytest.mark.parametrize(
    ("n", "p", "status"),
    [
        (8, 4, "ok"),
        (8, 5, "se_unreliable"),
        (8, 6, "se_unreliable"),
        (8, 7, "infinite"),
        (8, 8, "infinite"),
        (8, 9, "infinite"),
        (8, 10, "se_unreliable"),
        (8, 11, "se_unreliable"),
        (8, 12, "ok"),
    ],
)
def test_status_of_least_squares_near_p_equal_to_n(n, p, status):
    # P(gain > t) falls like t^-(|n - p| + 1)/2: the mean gain p / (n - p - 1) exists from n - p = 2 on.
    result = isotropic(n, p, p, test_points=64)
    assert result.status.sel(noise=0.5) == status
    assert result.tail_index.sel(noise=0.5) == (abs(n - p) + 1) / 2


# Averages of labels


@pytest.mark.parametrize("inputs", [bv.Uniform(-1, 1), bv.Normal(dim=2)], ids=["line", "plane"])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_nearest_neighbours_pass_on_sigma2_over_k_of_the_noise(inputs, k):
    sigma, n = 0.6, 5
    result = computed(
        target=bv.Sine() if inputs.dim == 1 else bv.Linear([1.0, -1.0]),
        inputs=inputs,
        hypotheses={"kNN": bv.NearestNeighbors(k)},
        n_train=n,
        noise=[0.0, sigma],
        replicates=512,
        block_size=32,
        test_points=64,
    ).squeeze()
    added = result.sel(noise=sigma) - result.sel(noise=0.0)[["variance", "empirical_risk", "bias2"]]
    close(added.variance, sigma**2 / k, rtol=1e-12)
    assert added.bias2 == 0
    # Each training point is one of its own k neighbours: (1 - 1/k)^2 + (k - 1) / k^2.
    close(added.empirical_risk, sigma**2 * (1 - 1 / k), rtol=1e-12, atol=1e-15)


def test_all_points_as_neighbours_are_a_constant():
    result = computed(hypotheses={"all": bv.NearestNeighbors(6), "H0": bv.Polynomial(0)}, n_train=6, noise=0.4)
    all_points, constant = (result.sel(hypothesis=label) for label in ("all", "H0"))
    for name in ("bias2", "variance", "expected_risk", "empirical_risk"):
        close(all_points[name], float(constant[name]), rtol=1e-10)


def test_one_nearest_neighbour_of_two():
    # f(x) = x on [0, 1], the nearer of two points: a one-dimensional integral for each x, by quadrature in pieces.
    nodes, weights = np.polynomial.legendre.leggauss(400)
    x, w = (nodes + 1) / 2, weights / 2
    ordered = np.abs(x[:, None] - x[None, :])  # distance of a point at x[1] from x[0]
    # The farther point lies anywhere at least as far away: probability 1 - |{t: |t - x| < d}|.
    farther = 1 - (np.minimum(x[:, None] + ordered, 1) - np.maximum(x[:, None] - ordered, 0))
    mean = 2 * (w * x * farther).sum(axis=1)
    square = 2 * (w * x**2 * farther).sum(axis=1)
    bias2, variance = w @ (mean - x) ** 2, w @ (square - mean**2)
    result = computed(
        target=bv.Linear([1.0]), inputs=bv.Uniform(0, 1), hypotheses={"1NN": bv.NearestNeighbors(1)}, replicates=2**15
    ).squeeze()
    within(result.bias2, result.bias2_se, bias2, rounding=1e-4)  # quadrature across kinks, ours and the test points'
    within(result.variance, result.variance_se, variance, rounding=1e-4)


def test_interpolator_believes_every_label():
    points, sigma = np.linspace(-1, 1, 7), 0.6
    result = computed(
        inputs=bv.FixedDesign(points),
        hypotheses={"all": bv.Interpolator()},
        n_train=7,
        noise=[0, sigma],
        replicates=256,
        block_size=16,
    ).squeeze()
    np.testing.assert_allclose(result.bias2, 0, atol=1e-30)
    np.testing.assert_allclose(result.variance, [0, sigma**2], rtol=1e-12, atol=1e-30)
    np.testing.assert_allclose(result.expected_risk, [0, 2 * sigma**2], rtol=1e-12, atol=1e-30)
    np.testing.assert_allclose(result.empirical_risk, 0, atol=1e-30)


def test_constant_ignores_every_label():
    result = computed(hypotheses={"one": bv.Constant(1.0)}, n_train=3, noise=[0, 0.5], replicates=256, block_size=16)
    result = result.squeeze()
    np.testing.assert_allclose(result.bias2, 1.5, rtol=1e-12)  # E (sin - 1)^2
    np.testing.assert_allclose(result.variance, 0, atol=1e-15)
    np.testing.assert_allclose(result.variance_se, 0, atol=1e-12)
    np.testing.assert_allclose(result.approximation_error, 1.5, rtol=1e-12)
    np.testing.assert_allclose(result.estimation_error, 0, atol=1e-12)
    within(result.empirical_risk, result.empirical_risk_se, [1.5, 1.75])


# Sets that are sampled


class MeanOfLabels:
    def fit_predict(self, x, y, at, rng):
        return np.repeat(y.mean(axis=1, keepdims=True), at.shape[1], axis=1)


def test_a_users_own_set():
    sigmas = np.array([0.0, 0.5])
    result = computed(hypotheses={"mean": MeanOfLabels()}, n_train=4, noise=sigmas).squeeze()
    within(result.bias2, result.bias2_se, 0.5)
    within(result.variance, result.variance_se, (0.5 + sigmas**2) / 4)
    within(result.empirical_risk, result.empirical_risk_se, (0.5 + sigmas**2) * 3 / 4)


def test_an_estimator():
    n, sigma = 12, 0.5
    result = computed(
        target=bv.Linear([1.5]),
        inputs=bv.Normal(),
        hypotheses={"ours": bv.Polynomial(1), "theirs": bv.Estimator(LinearRegression())},
        n_train=n,
        noise=sigma,
        replicates=1024,
        block_size=16,
    )
    theirs = result.sel(hypothesis="theirs")
    within(theirs.bias2, theirs.bias2_se, 0)
    within(theirs.variance, theirs.variance_se, sigma**2 * (1 / n + (1 + 1 / n) / (n - 3)))
    within(theirs.empirical_risk, theirs.empirical_risk_se, sigma**2 * (n - 2) / n)
    difference = theirs.sel(versus="ours")
    within(difference.excess_risk_difference, difference.excess_risk_difference_se, 0)
    assert np.isnan(theirs.approximation_error)  # what spans it is not known


# Identities


@pytest.fixture(scope="module")
def many_cells():
    hypotheses = {
        "H2": bv.Polynomial(2),
        "ridge": bv.Ridge(3, 0.1),
        "kNN": bv.NearestNeighbors(2),
        "kernel": bv.KernelSmoother(0.3),
        "join": bv.Interpolator(),
        "zero": bv.Constant(),
        "mean": MeanOfLabels(),
    }
    return computed(hypotheses=hypotheses, n_train=[12, 15], noise=[0.0, 0.3], replicates=512, block_size=32)


def same(one, other):
    xr.testing.assert_allclose((one - other) / (1 + abs(one)), 0 * one, atol=1e-13)


def test_risk_is_noise_plus_bias2_plus_variance(many_cells):
    r = many_cells
    same(r.irreducible_risk, r.noise**2)
    same(r.excess_risk, r.bias2 + r.variance)
    same(r.expected_risk, r.irreducible_risk + r.bias2 + r.variance)
    same(r.generalization_gap, r.expected_risk - r.empirical_risk)
    known = r.sel(hypothesis=["H2", "ridge", "zero"])
    same(known.best_in_class_risk, known.irreducible_risk + known.approximation_error)
    same(known.estimation_error, known.expected_risk - known.best_in_class_risk)
    assert not r.irreducible_risk_se.any()


def test_risks_are_averages_of_curves_along_x(many_cells):
    r = many_cells
    same((r.bias2_x * r.x_weight).sum("x"), r.bias2)
    same((r.variance_x * r.x_weight).sum("x"), r.variance)


def test_differences_are_differences(many_cells):
    r = many_cells
    same(r.excess_risk_difference, r.excess_risk - r.excess_risk.rename(hypothesis="versus"))
    assert (r.excess_risk_difference_se >= 0).all()


def test_approximation_error_is_the_least_bias(many_cells):
    # No average fit is closer to the target than the closest member of a set that is closed under averages.
    known = many_cells.sel(hypothesis=["H2", "ridge", "zero"])
    assert (known.bias2 >= known.approximation_error - 4 * known.bias2_se - 1e-12).all()
