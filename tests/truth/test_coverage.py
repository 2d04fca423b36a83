"""Whether 95 % intervals cover 95 %: many studies that differ in their seed only, against truth known otherwise.

Each cell is one binomial test at an error rate of 1e-4 under the randomness of the seeds. Two-sided, but for numbers of
which it is said that intervals may be too wide: squared biases that are zero or nearly, and losses with heavy tails,
where allowance is made for what most samples lack. Truth is closed form, or Gauss-Legendre quadrature over training
points.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import xarray as xr
from helpers import line_through, sine, sine_slope, two_point_study
from scipy import stats

import biasvar as bv
from biasvar.studies.blocks import run_in_memory

LEVEL, ALPHA = 0.95, 1e-4
SIGMA = 0.5  # every study here has noise 0 and this
NODES = 16  # test points along x, the same for truth and study
ROUNDING = 1e-13  # intervals narrower than rounding are told apart below
SMALLEST = {"replicates": 256, "block_size": 16}
ORDINARY = {"replicates": 2048, "block_size": 64}
RISKS = ("bias2", "variance", "expected_risk", "empirical_risk", "generalization_gap")
CURVES = ("mean_prediction", "bias2_x", "variance_x")

pytestmark = pytest.mark.slow


# Truth, as {variable: value at noise 0 and SIGMA}


def risks(bias2, variance, gain, training, training_gain):
    """Put together what fits make of the target alone, and what they make of unit noise."""
    noise2 = np.array([0.0, SIGMA**2])
    out = {"bias2": bias2 + 0 * noise2, "variance": variance + noise2 * gain}
    out["expected_risk"] = noise2 + out["bias2"] + out["variance"]
    out["empirical_risk"] = training + noise2 * training_gain
    out["generalization_gap"] = out["expected_risk"] - out["empirical_risk"]
    return out


def by_quadrature(weights):
    """Find the truth of a smoother on two points of a sine: weights(x, at) has shape (points of x, at, 2)."""
    (a, w_a), (b, w_b) = (np.polynomial.legendre.leggauss(order) for order in (60, 61))  # no node in common
    x = np.stack(np.meshgrid(a, b, indexing="ij"), axis=-1).reshape(-1, 2)
    density = np.outer(w_a, w_b).reshape(-1) / 4
    at, w = np.polynomial.legendre.leggauss(NODES)
    smoother, labels = weights(x, np.broadcast_to(at, (len(x), NODES))), sine(x)
    fits = np.einsum("kmn,kn->km", smoother, labels)
    hat = weights(x, x)
    mean = density @ fits
    bias2, variance = (mean - sine(at)) ** 2, density @ (fits - mean) ** 2
    gain = density @ (smoother**2).sum(axis=2)
    residual = labels - np.einsum("kmn,kn->km", hat, labels)
    out = risks(
        w / 2 @ bias2,
        w / 2 @ variance,
        w / 2 @ gain,
        density @ (residual**2).mean(axis=1),
        density @ ((np.eye(2) - hat) ** 2).sum(axis=(1, 2)) / 2,
    )
    noise2 = np.array([[0.0], [SIGMA**2]])
    return out | {
        "mean_prediction": mean + 0 * noise2,
        "bias2_x": bias2 + 0 * noise2,
        "variance_x": variance + noise2 * gain,
    }


def ridge_line(penalty):
    def weights(x, at):
        centred = x - x.mean(axis=1, keepdims=True)
        slope = centred / ((centred**2).sum(axis=1, keepdims=True) + penalty)
        return 0.5 + (at - x.mean(axis=1, keepdims=True))[..., None] * slope[:, None, :]

    return weights


def gaussian(bandwidth):
    def weights(x, at):
        density = stats.norm.pdf(at[..., None], x[:, None, :], bandwidth)
        return density / density.sum(axis=2, keepdims=True)

    return weights


def constant(x, at):
    return np.full((*at.shape, 2), 0.5)


def line(x, at):
    return (at[..., None] - x[:, None, ::-1]) / (x - x[:, ::-1])[:, None, :]


def line_without_noise():
    """With noisy labels a line through two points has no risk. Its bias needs more digits than differences give."""
    out = by_quadrature(line)
    bias2, variance = line_through(sine, sine_slope)
    return {name: np.where([True, False], value.T, np.nan).T for name, value in out.items()} | risks(
        bias2, variance, np.nan, 0.0, 0.0
    )


# Sets of which nothing is known but how to fit


class Sampled:
    """A smoother that hides its weights."""

    def __init__(self, hypothesis):
        self.hypothesis = hypothesis

    def fit_predict(self, x, y, at, rng):
        return np.einsum("kmn,kn->km", self.hypothesis.weights(x, at), y)


class Line:
    """Least squares of a line."""

    def fit_predict(self, x, y, at, rng):
        centre, level = x.mean(axis=1, keepdims=True), y.mean(axis=1, keepdims=True)
        slope = ((x - centre) * y).sum(axis=1, keepdims=True) / ((x - centre) ** 2).sum(axis=1, keepdims=True)
        return level + slope * (at - centre)


# Cases


@dataclass(frozen=True)
class Case:
    """A study but for its seed, and the truth of each of its sets."""

    fields: dict[str, Any]
    truth: Callable[[], Iterable[dict[str, Any]]]
    seeds: int = 250
    variables: tuple[str, ...] = RISKS
    too_wide: tuple[str, ...] = ("bias2", "bias2_x")  # variables or sets whose intervals may be wider than they need be
    given: float = 0.98  # in how many studies an interval must be given: a false alarm about tails takes it away
    hypotheses: dict[str, Any] = field(default_factory=dict)

    def study(self, seed):
        fields = {"noise": [0.0, SIGMA], "test_points": NODES, **self.fields}
        return two_point_study(hypotheses=self.hypotheses, seed=seed, **fields)


TWO_POINTS = {
    "H0": bv.Polynomial(0),
    "H1": bv.Polynomial(1),
    "ridge": bv.Ridge(1, 0.5),
    "kernel": bv.KernelSmoother(0.5),
    "sampled": Sampled(bv.KernelSmoother(0.5)),
}


def two_points():
    kernel = by_quadrature(gaussian(0.5))
    return [by_quadrature(constant), line_without_noise(), by_quadrature(ridge_line(0.5)), kernel, kernel]


def lines_and_constants():
    return two_points()[:2]


def normal_line(n):
    gain = 1 / n + (1 + 1 / n) / (n - 3)  # E 1/S_xx = 1/(n - 3)
    return risks(0.0, 0.0, gain, 0.0, (n - 2) / n)


def left_out(n, p, square):
    """Features that are left out act as noise of their own size."""
    gain = p / (n - p - 1)
    return risks(square, square * gain, gain, square * (n - p) / n, (n - p) / n)


def minimum_norm(n, p, square):
    """The fit is a random projection of the coefficients."""
    return risks((1 - n / p) ** 2 * square, n / p * (1 - n / p) * square, n / (p - n - 1), 0.0, 0.0)


LINE_STUDY = {"target": bv.PolynomialTarget([0.3, 1.0]), "inputs": bv.Normal(), "test_points": None}
BOTH_LINES = {"H1": bv.Polynomial(1), "sampled": Line()}
SPACE = {"inputs": bv.Normal(dim=12), "target": bv.Linear([0.3] * 12), "n_train": 4, "test_points": 256}

CASES = {}
for sampler in ("sobol", "random"):
    for name, size in (("smallest", SMALLEST), ("ordinary", ORDINARY)):
        CASES[f"two points, {name}, {sampler}"] = Case(
            {**size, "sampler": sampler},
            two_points,
            variables=(*RISKS, *CURVES, "excess_risk_difference"),
            too_wide=("bias2", "bias2_x", "sampled"),
            hypotheses=TWO_POINTS,
        )
    CASES[f"no bias, smallest, {sampler}"] = Case(
        {**LINE_STUDY, **SMALLEST, "n_train": 10, "sampler": sampler},
        lambda: [normal_line(10)] * 2,
        given=0.9,  # 48 losses cannot tell a tail index of 4.5 from 2 without fail
        too_wide=("bias2", "H1", "sampled"),
        hypotheses=BOTH_LINES,
    )
    CASES[f"hardly a variance, {sampler}"] = Case(
        {**LINE_STUDY, **ORDINARY, "n_train": 6, "sampler": sampler},  # tail index 2.5
        lambda: [normal_line(6)],
        too_wide=("bias2", "H1"),
        hypotheses={"H1": bv.Polynomial(1)},
    )
    CASES[f"minimum norm, smallest, {sampler}"] = Case(
        {**SPACE, **SMALLEST, "sampler": sampler},
        lambda: [minimum_norm(4, 12, 1.08)],
        variables=("bias2", "variance", "expected_risk", "generalization_gap"),
        too_wide=(),
        hypotheses={"p12": bv.LeastSquares(12)},
    )
CASES["no bias, ordinary"] = Case(
    {**LINE_STUDY, **ORDINARY, "n_train": 10},
    lambda: [normal_line(10)] * 2,
    seeds=200,
    too_wide=("bias2", "H1", "sampled"),
    hypotheses=BOTH_LINES,
)
CASES["single replicates"] = Case(
    {**LINE_STUDY, "n_train": 10, "replicates": 256, "block_size": 1},
    lambda: [normal_line(10)],
    seeds=100,
    too_wide=("bias2", "H1"),
    hypotheses={"H1": bv.Polynomial(1)},
)
CASES["fixed design, smallest"] = Case(
    {**LINE_STUDY, **SMALLEST, "inputs": bv.FixedDesign(np.linspace(-1, 1, 6)), "n_train": 6},
    lambda: [risks(0.0, 0.0, 1 / 3, 0.0, 2 / 3)],
    too_wide=("bias2", "sampled"),
    hypotheses={"sampled": Line()},
)
CASES["features left out"] = Case(
    {
        **ORDINARY,
        "target": bv.Linear([1.0, 0.7]),
        "inputs": bv.Normal(dim=2),
        "n_train": 8,
        "test_points": None,
    },
    lambda: [left_out(8, 1, 0.49)],
    too_wide=(),
    hypotheses={"p1": bv.LeastSquares(1)},
)
for log2_size, seeds in ((9, 250), (10, 250), (11, 125), (12, 125)):
    CASES[f"lattice, 2^{log2_size}"] = Case(
        {"block_size": 2**log2_size, "replicates": 16 * 2**log2_size},
        lines_and_constants,
        seeds=seeds,
        hypotheses={"H0": bv.Polynomial(0), "H1": bv.Polynomial(1)},
    )


def summaries(name):
    case = CASES[name]
    each = [run_in_memory(case.study(seed)) for seed in range(case.seeds)]
    joined = xr.concat(each, "seed", data_vars="all", coords="minimal", compat="override", join="override")
    return joined.squeeze("n_train")


def truth_of(case, variable):
    if variable != "excess_risk_difference":
        return np.array([truth[variable] for truth in case.truth()])
    excess = np.array([truth["bias2"] + truth["variance"] for truth in case.truth()])
    return excess[:, None] - excess[None, :]


def cells(case, variable):
    """Number the cells of which the truth is known; along x, a few points serve."""
    truth = truth_of(case, variable)
    for index in np.argwhere(np.isfinite(truth)).tolist():
        mirrored = variable == "excess_risk_difference" and index[0] <= index[1]
        if not mirrored and not (variable in CURVES and index[-1] not in (0, 4, 8, 11)):
            yield tuple(index), float(truth[tuple(index)])


def complaint(low, high, truth, one_sided, least_given):
    """Say what is wrong with many intervals for one number, if anything is."""
    given = ~np.isnan(low)
    tolerance = ROUNDING * (1 + abs(truth))
    if stats.binomtest(int(given.sum()), len(low), least_given, alternative="less").pvalue < ALPHA:
        return f"given in {given.sum()} of {len(low)}"
    low, high = low[given], high[given]
    exact = np.median(high - low) < 10 * tolerance
    covered = int(((low - tolerance <= truth) & (truth <= high + tolerance)).sum())
    alternative = "less" if one_sided or exact else "two-sided"
    if stats.binomtest(covered, len(low), LEVEL, alternative=alternative).pvalue < ALPHA:
        return f"covered {covered} of {len(low)}"
    # Wider than need be, but not by much: half the median width is some two standard deviations.
    if not exact and np.median(high - low) / 2 > 4.4 * np.std((low + high) / 2):
        return f"too wide: {np.median(high - low) / 2:.3g} for estimates that vary by {np.std((low + high) / 2):.3g}"
    return None


@pytest.mark.parametrize("name", CASES)
def test_intervals_cover(name):
    case, result = CASES[name], summaries(name)
    labels, complaints = list(case.hypotheses), {}
    for variable in case.variables:
        bounds = bv.confidence_interval(result, variable, LEVEL)
        dims = ("seed", *(dim for dim in ("hypothesis", "versus", "noise", "x") if dim in result[variable].dims))
        low, high = (bounds[side].transpose(*dims).values for side in ("low", "high"))
        for index, truth in cells(case, variable):
            here, label = (slice(None), *index), labels[index[0]]
            one_sided = bool({variable, label} & set(case.too_wide))
            if found := complaint(low[here], high[here], truth, one_sided, case.given):
                complaints[variable, label, *index[1:]] = found
    assert not complaints


def test_errors_are_not_below_rounding():
    # Lattice averages of smooth functions are exact but for rounding, which is 1e-16 of one half here.
    covered = 0
    for seed in range(20):
        result = run_in_memory(CASES["lattice, 2^12"].study(seed)).sel(hypothesis="H0", noise=0.0)
        bounds = bv.confidence_interval(result, "bias2", LEVEL)
        covered += bool(bounds.low <= 0.5 <= bounds.high)
    assert covered >= 14  # fewer of 20 have probability 3e-4 at 95 %


def test_sampled_test_points_leave_few_degrees_of_freedom():
    # Sixteen sets of test points make up the error of a bias that training sets do not vary.
    case = CASES["features left out"]
    result = run_in_memory(case.study(0)).squeeze().sel(noise=0.0)
    bounds = bv.confidence_interval(result, "bias2", LEVEL)
    assert result.block_count == 32
    assert (bounds.high - bounds.low) / 2 > 0.99 * stats.t.ppf(0.975, 15) * result.bias2_se


def test_truth_by_quadrature_agrees_with_truth_by_hand():
    truth = by_quadrature(constant)
    assert truth["bias2"] == pytest.approx([0.5, 0.5], abs=1e-12)
    assert truth["variance"] == pytest.approx([0.25, 0.25 + SIGMA**2 / 2], abs=1e-12)
    assert truth["empirical_risk"] == pytest.approx([0.25, 0.25 + SIGMA**2 / 2], abs=1e-12)
    lines = by_quadrature(line)
    assert (lines["bias2"][0], lines["variance"][0]) == pytest.approx(line_through(sine, sine_slope), abs=1e-9)
