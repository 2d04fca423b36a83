"""One contract for every hypothesis set: the record of a block holds the moments of somebody else's fits.

The other fits are scikit-learn's and numpy's, one training set at a time; a set that is linear in the labels is known
by its fits to unit labels, so that the noise it passes on is known as well.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.ensemble import BaggingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures
from sklearn.tree import DecisionTreeRegressor

import biasvar as bv
from biasvar.errors import StudyError
from biasvar.learning import hypotheses
from biasvar.learning.decomposition import Problem
from biasvar.learning.hypotheses.smoothers import _squared_distances
from biasvar.learning.losses import Cell
from biasvar.learning.losses.squared import Squared
from biasvar.learning.simulation import simulate_block
from biasvar.montecarlo.draws import Block, Purpose, Stream
from biasvar.montecarlo.moments import TAIL_SIZE
from biasvar.studies.blocks import run_in_memory
from biasvar.studies.public import public_classes

LINE, NORMAL, PLANE, SPACE = bv.Uniform(-1, 1), bv.Normal(0.3, 2), bv.Uniform(-1, 1, dim=2), bv.Normal(dim=12)
DESIGN = bv.FixedDesign([-0.9, -0.3, 0.1, 0.35, 0.8, 1.0])


# Other people's fits: (training inputs, labels, where to predict, seeds) -> predictions, for one training set


def polyfit(degree):
    return lambda x, y, at, seeds: np.polynomial.Polynomial.fit(x, y, degree)(at)


def scikit(estimator):
    def fit(x, y, at, seeds):
        model = clone(estimator).set_params(**seeds)
        return model.fit(x.reshape(len(x), -1), y).predict(at.reshape(len(at), -1))

    return fit


def polynomials(degree, dim, model):
    return scikit(make_pipeline(PolynomialFeatures(degree, include_bias=False), model)) if degree else mean_of_labels


def mean_of_labels(x, y, at, seeds):
    return np.full(len(at), y.mean())


def lstsq(features):
    def fit(x, y, at, seeds):
        x, at = (a.reshape(len(a), -1)[:, :features] for a in (x, at))
        return at @ np.linalg.lstsq(x, y, rcond=None)[0]

    return fit


def kernel_smoother(bandwidth):
    def fit(x, y, at, seeds):
        x, at = x.reshape(len(x), -1), at.reshape(len(at), -1)
        density = stats.norm.pdf(at[:, None], x[None], bandwidth).prod(axis=2)
        return density @ y / density.sum(axis=1)

    return fit


def ridge_by_hand(degree, penalty):
    def fit(x, y, at, seeds):
        phi, psi = (np.vander(a, degree + 1, increasing=True) for a in (x, at))
        gram = phi.T @ phi + penalty * np.diag(np.arange(degree + 1) > 0)
        return psi @ np.linalg.solve(gram, phi.T @ y)

    return fit


def nearest(x, y, at, seeds):
    return y[np.abs(at[:, None] - x).argmin(axis=1)]


def interp(x, y, at, seeds):
    order = np.argsort(x)
    return np.interp(at, x[order], y[order])


@dataclass(frozen=True)
class Member:
    """A hypothesis set, where it is fitted, and the same fit by other people."""

    hypothesis: Any
    fit: Callable[..., Any]
    inputs: Any = LINE
    n_train: int = 6
    seeds: tuple[str, ...] = ()

    def __str__(self):
        kind = type(self.hypothesis).__name__
        return f"{kind}-{getattr(self.hypothesis, 'degree', '')}-n{self.n_train}-d{self.inputs.dim}"


TREE = DecisionTreeRegressor(max_depth=2, max_features=1, splitter="random")
BAGGING = BaggingRegressor(DecisionTreeRegressor(splitter="random"), n_estimators=3)

MEMBERS = [
    Member(bv.Polynomial(0), mean_of_labels),
    Member(bv.Polynomial(1), polyfit(1), n_train=2),
    Member(bv.Polynomial(1), polyfit(1), NORMAL),
    Member(bv.Polynomial(4), polyfit(4), n_train=9),
    Member(bv.Polynomial(3), polyfit(3), DESIGN),
    Member(bv.Polynomial(2), polynomials(2, 2, LinearRegression()), PLANE, n_train=10),
    Member(bv.Ridge(0, 2.0), mean_of_labels),
    Member(bv.Ridge(3, 0.5), polynomials(3, 1, SklearnRidge(0.5)), NORMAL),
    Member(bv.Ridge(5, 0.01), polynomials(5, 1, SklearnRidge(0.01)), n_train=4),  # more coefficients than points
    Member(bv.Ridge(2, 0.1), polynomials(2, 2, SklearnRidge(0.1)), PLANE),
    Member(bv.LeastSquares(1), lstsq(1), NORMAL),
    Member(bv.LeastSquares(4), lstsq(4), SPACE),
    Member(bv.LeastSquares(6), lstsq(6), SPACE),  # p = n
    Member(bv.LeastSquares(7), lstsq(7), SPACE),  # minimum norm
    Member(bv.LeastSquares(12), lstsq(12), SPACE),
    Member(bv.NearestNeighbors(1), scikit(KNeighborsRegressor(1))),
    Member(bv.NearestNeighbors(3), scikit(KNeighborsRegressor(3)), PLANE),
    Member(bv.NearestNeighbors(6), mean_of_labels, SPACE),
    Member(bv.KernelSmoother(0.4), kernel_smoother(0.4)),
    Member(bv.KernelSmoother(0.8), kernel_smoother(0.8), PLANE),
    Member(bv.Interpolator(), interp),
    Member(bv.Interpolator(), interp, DESIGN),
    Member(bv.Interpolator(), mean_of_labels, n_train=1),
    Member(bv.Constant(0.7), lambda x, y, at, seeds: np.full(len(at), 0.7)),
    Member(bv.Estimator(LinearRegression()), scikit(LinearRegression()), PLANE),
    Member(bv.Estimator(TREE), scikit(TREE), PLANE, 12, ("random_state",)),
    Member(bv.Estimator(BAGGING), scikit(BAGGING), LINE, 12, ("estimator__random_state", "random_state")),
]
SAMPLED = [member for member in MEMBERS if isinstance(member.hypothesis, hypotheses.Predictor)]
LINEAR = [member for member in MEMBERS if not isinstance(member.hypothesis, hypotheses.Predictor)]


def cell(hypothesis, inputs, noise):
    own = hypotheses.adapted(hypothesis, "set")
    return Cell(own, own.fit(inputs), noise, Squared())


def target(x):
    return np.cos(2 * x) + 0.5 * x


def target_in_space(x):
    return np.cos(2 * x[..., 0]) - x[..., -1]


def problem_of(member):
    return Problem.of(target if member.inputs.dim == 1 else target_in_space, member.inputs, 48, 0)


def block_of(member, size=12, sampler="random"):
    return Block(sampler, Stream(0, "contract", 0), member.inputs.uniforms_per_set(member.n_train), size)


def simulated(member, noise, block):
    outcomes = simulate_block(
        problem_of(member), [cell(member.hypothesis, member.inputs, noise)], member.n_train, block
    )
    assert outcomes[0].failure == ""
    problem = problem_of(member)
    return Squared().record(len(problem.f)).unpack(outcomes[0].record)


def drawn(member, block):
    """Training inputs with the replicate first, and target values there."""
    uniforms, _ = block.uniforms()
    x = np.swapaxes(member.inputs.inputs_from(uniforms, member.n_train), 0, 1)
    return x, problem_of(member).target(x)


def other_fits(member, block, labels_of):
    """Fit each training set by other people's code; labels_of(replicate) has shape (n, columns)."""
    test, (x, _) = problem_of(member).test, drawn(member, block)
    states = block.stream.generator(Purpose.ESTIMATOR).integers(0, 2**31 - 1, (block.size, len(member.seeds)))
    out = []
    for k, training in enumerate(x):
        at, seeds = np.concatenate([test.x, training]), dict(zip(member.seeds, states[k].tolist(), strict=True))
        out.append(np.transpose([member.fit(training, y, at, seeds) for y in labels_of(k).T]))
    return np.array(out)  # (replicates, test and training points, columns)


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-9 * (1 + np.nanmax(np.abs(expected))))


def top(values):
    return np.concatenate([np.full(max(TAIL_SIZE - len(values), 0), np.nan), np.sort(values)[-TAIL_SIZE:]])


def check_linear(member, block):
    """Compare a record with the moments of fits to unit labels."""
    problem, n = problem_of(member), member.n_train
    points, at_weights = len(problem.f), problem.test.weights
    _, weights = block.uniforms()
    _, f = drawn(member, block)
    maps = other_fits(member, block, lambda k: np.eye(n))
    fitted = np.einsum("kmn,kn->km", maps, f)
    at_test, residual = fitted[:, :points], f - fitted[:, points:]
    gain = (maps[:, :points] ** 2).sum(axis=2)
    leftover = np.eye(n) - maps[:, points:]

    record = simulated(member, None, block)
    close(record["mean"], weights @ at_test)
    close(record["variance"], weights @ (at_test - weights @ at_test) ** 2)
    close(record["noise_gain"], weights @ gain)
    close(record["training_error"], weights @ (residual**2).mean(axis=1))
    close(record["training_noise_gain"], weights @ (leftover**2).sum(axis=(1, 2)) / n)
    close(record["largest_noise_gain"], top(gain @ at_weights))
    if (
        member.inputs.dim == 1
    ):  # elsewhere test points are sampled, and losses in coefficient space leave out a constant
        close(record["largest_loss"], top(((at_test - problem_best(member, problem)) ** 2) @ at_weights))


def check_sampled(member, block, noise):
    """Compare a record with the moments of fits to the very same labels."""
    problem = problem_of(member)
    points = len(problem.f)
    _, weights = block.uniforms()
    _, f = drawn(member, block)
    labels = f + noise * block.normals(member.n_train).T
    fitted = other_fits(member, block, lambda k: labels[k][:, None])[..., 0]
    at_test = fitted[:, :points]

    record = simulated(member, noise, block)
    close(record["mean"], weights @ at_test)
    close(record["variance"], weights @ (at_test - weights @ at_test) ** 2)
    close(record["training_error"], weights @ ((labels - fitted[:, points:]) ** 2).mean(axis=1))
    close(record["largest_loss"], top((at_test - problem.f) ** 2 @ problem.test.weights))
    assert not record["noise_gain"].any()
    assert record["training_noise_gain"] == 0


def problem_best(member, problem):
    """What losses are measured from: the best in class for sets in coefficient space, the target for others."""
    if not isinstance(member.hypothesis, hypotheses.LeastSquaresSet):
        return problem.f
    columns = np.vander(problem.test.x, getattr(member.hypothesis, "degree", 0) + 1)
    if isinstance(member.hypothesis, bv.LeastSquares):
        columns = problem.test.x[:, None]
    root = np.sqrt(problem.test.weights)
    return columns @ np.linalg.lstsq(columns * root[:, None], problem.f * root, rcond=None)[0]


@pytest.mark.parametrize("sampler", ["sobol", "random"])
@pytest.mark.parametrize("member", LINEAR, ids=str)
def test_a_linear_sets_record_holds_the_moments_of_other_peoples_fits(member, sampler):
    check_linear(member, block_of(member, 16, sampler))


@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize("member", SAMPLED, ids=str)
def test_a_sampled_sets_record_holds_the_moments_of_other_peoples_fits(member, noise):
    check_sampled(member, block_of(member), noise)


# Smooth sets of one or two random numbers lie on a lattice: weights differ from replicate to replicate.
ON_LATTICES = [
    Member(bv.Polynomial(0), polyfit(0), n_train=1),
    Member(bv.Polynomial(1), polyfit(1), n_train=2),
    Member(bv.Polynomial(1), polyfit(1), NORMAL, n_train=2),
    Member(bv.Ridge(2, 0.5), ridge_by_hand(2, 0.5), n_train=2),
]


class Smooth:
    """The target, which says that it is smooth."""

    smooth = True

    def __call__(self, x):
        return target(x)


@pytest.mark.parametrize("member", ON_LATTICES, ids=str)
def test_moments_are_weighted_as_replicates_are(member, monkeypatch):
    smooth = Problem.of(Smooth(), member.inputs, 48, 0)
    monkeypatch.setitem(globals(), "problem_of", lambda member: smooth)
    own = cell(member.hypothesis, member.inputs, None)
    assert Squared().is_smooth(smooth, own, member.n_train)
    check_linear(member, replace(block_of(member, 512, "sobol"), smooth=True))


@pytest.mark.parametrize(
    ("hypothesis", "inputs", "of"),
    [
        (bv.Polynomial(1), LINE, target),  # does not say that it is smooth
        (bv.Polynomial(1), LINE, bv.Step()),
        (bv.LeastSquares(1), LINE, bv.Sine()),  # through the origin, and so not an average of interpolants
        (bv.Polynomial(1), DESIGN, bv.Sine()),
        (bv.Estimator(LinearRegression()), LINE, bv.Sine()),
    ],
)
def test_lattices_are_only_for_smooth_sets_with_tails_known_by_theory(hypothesis, inputs, of):
    problem = Problem.of(of, inputs, 48, 0)
    assert not Squared().is_smooth(problem, cell(hypothesis, inputs, None), 2)


def test_every_set_is_a_member():
    public = public_classes("learning.hypotheses", hypotheses.HypothesisSet)
    # Scores of classes and stopped descents have their own truth: test_classification.py and test_descended.py.
    apart = {bv.LinearClassifier, bv.Discriminant, bv.Histogram, bv.Descended}
    assert {type(member.hypothesis) for member in MEMBERS} | apart == set(public.values())


# Whoever else is there


COMPANY = [
    *(bv.Polynomial(degree) for degree in range(6)),
    *(bv.Ridge(degree, penalty) for degree in (1, 4) for penalty in (0.1, 1.0)),
    bv.NearestNeighbors(2),
    bv.KernelSmoother(0.5),
    bv.Interpolator(),
    bv.Constant(),
    bv.Estimator(TREE),
]


def cells_of(sets, inputs=LINE):
    levels = {True: (0.0, 0.5), False: (None,)}
    return [cell(s, inputs, noise) for s in sets for noise in levels[isinstance(s, hypotheses.Predictor)]]


def records(cells, inputs, n_train, size, sampler):
    problem = Problem.of(target if inputs.dim == 1 else target_in_space, inputs, None, 0)
    block = Block(sampler, Stream(0, "company", 0), inputs.uniforms_per_set(n_train), size)
    return [outcome.record.tobytes() for outcome in simulate_block(problem, cells, n_train, block)]


@pytest.mark.parametrize("sampler", ["sobol", "random"])
@pytest.mark.parametrize("inputs", [LINE, NORMAL], ids=repr)
def test_a_record_has_the_same_bits_in_any_company(inputs, sampler):
    cells = cells_of(COMPANY, inputs)
    together = records(cells, inputs, 8, 64, sampler)
    assert records(cells[::-1], inputs, 8, 64, sampler) == together[::-1]
    for each, record in zip(cells, together, strict=True):
        assert records([each], inputs, 8, 64, sampler) == [record]


@pytest.mark.parametrize("size", [1024, 8192])
@pytest.mark.parametrize("n_train", [12, 100])
def test_a_polynomials_record_has_the_same_bits_in_any_company(n_train, size):
    # Large blocks are cut in tiles whose size depends on the highest degree.
    cells = cells_of([bv.Polynomial(degree) for degree in (0, 1, 2, 5, 9)])
    together = records(cells, LINE, n_train, size, "sobol")
    for each, record in zip(cells, together, strict=True):
        assert records([each], LINE, n_train, size, "sobol") == [record]


def test_least_squares_records_have_the_same_bits_in_any_company():
    cells = cells_of([bv.LeastSquares(k) for k in (1, 3, 7, 8, 9, 12)], SPACE)
    together = records(cells, SPACE, 8, 256, "sobol")
    for each, record in zip(cells, together, strict=True):
        assert records([each], SPACE, 8, 256, "sobol") == [record]


# Noise integrated or simulated


class Simulated:
    """A set of which nothing is known but how to fit it: predictions are maps(x, at) y."""

    def __init__(self, maps):
        self.maps = maps

    def fit_predict(self, x, y, at, rng):
        return np.einsum("kmn,kn->km", self.maps(x, at), y)


def powers(degree, penalty=0.0):
    def maps(x, at):
        phi, psi = (np.stack([a**power for power in range(degree + 1)], axis=-1) for a in (x, at))
        if not penalty:
            return psi @ np.linalg.pinv(phi)
        gram = np.swapaxes(phi, 1, 2) @ phi + penalty * np.diag(np.arange(degree + 1) > 0)
        return psi @ np.linalg.solve(gram, np.swapaxes(phi, 1, 2))

    return maps


def coordinates(features):
    return lambda x, at: at[..., :features] @ np.linalg.pinv(x[..., :features])


TWINS = {
    "constant": (bv.Polynomial(0), powers(0), LINE, 3),
    "line": (bv.Polynomial(1), powers(1), NORMAL, 12),
    "parabola": (bv.Polynomial(2), powers(2), LINE, 20),
    "ridge": (bv.Ridge(2, 0.3), powers(2, 0.3), LINE, 5),
    "p < n": (bv.LeastSquares(2), coordinates(2), SPACE, 9),
    "p > n": (bv.LeastSquares(12), coordinates(12), SPACE, 3),
    "neighbours": (bv.NearestNeighbors(2), bv.NearestNeighbors(2).weights, PLANE, 7),
    "kernel": (bv.KernelSmoother(0.5), bv.KernelSmoother(0.5).weights, LINE, 5),
    "join": (bv.Interpolator(), bv.Interpolator().weights, DESIGN, 6),
}


def twin_study(name):
    hypothesis, maps, inputs, n_train = TWINS[name]
    study = bv.RiskStudy(
        name="twins",
        target=target if inputs.dim == 1 else target_in_space,
        inputs=inputs,
        hypotheses={"integrated": hypothesis, "simulated": Simulated(maps)},
        n_train=n_train,
        noise=[0.0, 0.7],
        replicates=4096,
        block_size=64,
        test_points=32,
    )
    return run_in_memory(study).squeeze("n_train")


@pytest.mark.parametrize("name", TWINS)
def test_integrated_noise_agrees_with_simulated_noise(name):
    # Four standard errors from 64 blocks: a false alarm has probability 2e-4 a comparison.
    result = twin_study(name)
    one, other = (result.sel(hypothesis=label) for label in ("integrated", "simulated"))
    assert (result.status == "ok").all()
    for variable in ("bias2", "variance", "expected_risk", "empirical_risk", "generalization_gap"):
        error = np.hypot(one[f"{variable}_se"], other[f"{variable}_se"])
        assert (abs(one[variable] - other[variable]) <= 4 * error + 1e-12).all(), variable
    paired = one.sel(versus="simulated")
    assert (abs(paired.excess_risk_difference) <= 4 * paired.excess_risk_difference_se + 1e-12).all()


@pytest.mark.parametrize("name", ["constant", "p > n"])
def test_the_same_fits_of_the_same_training_sets_differ_by_nothing(name):
    paired = twin_study(name).sel(hypothesis="integrated", versus="simulated", noise=0.0)
    assert abs(paired.excess_risk_difference) < 1e-12
    assert paired.excess_risk_difference_se < 1e-12


# Sets that cannot be fitted


@pytest.mark.parametrize(
    ("hypothesis", "inputs", "n_train", "message"),
    [
        (bv.Polynomial(3), LINE, 3, "4 coefficients"),
        (bv.Polynomial(2), PLANE, 5, "6 coefficients"),
        (bv.LeastSquares(3), PLANE, 9, "more than the 2 coordinates"),
        (bv.NearestNeighbors(4), LINE, 3, "at least 4"),
        (bv.Interpolator(), PLANE, 9, "one-dimensional"),
    ],
)
def test_sets_say_why_they_cannot_be_fitted(hypothesis, inputs, n_train, message):
    assert message in hypothesis.why_unfit(inputs, n_train)


@pytest.mark.parametrize("member", MEMBERS, ids=str)
def test_sets_do_not_refuse_what_they_can_do(member):
    assert member.hypothesis.why_unfit(member.inputs, member.n_train) is None


class Raises:
    def fit_predict(self, x, y, at, rng):
        raise ZeroDivisionError("by design")


class WrongShape:
    def weights(self, x, at):
        return np.zeros((len(x), 1, x.shape[1]))


class NotFinite:
    def fit_predict(self, x, y, at, rng):
        return np.full((len(y), at.shape[1]), np.inf)


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [(Raises(), "ZeroDivisionError: by design"), (WrongShape(), "expected (8, 12, 4)"), (NotFinite(), "not finite")],
)
def test_a_set_that_fails_says_so_and_disturbs_no_other(bad, sentence):
    problem = Problem.of(target, LINE, 8, 0)
    block = Block("sobol", Stream(0, "failing", 0), 4, 8)
    sound = cell(bv.Polynomial(1), LINE, None)
    failed, outcome = simulate_block(problem, [cell(bad, LINE, 0.0), sound], 4, block)
    (alone,) = simulate_block(problem, [sound], 4, block)
    assert sentence in failed.failure
    assert np.isnan(failed.record).all()
    assert outcome.failure == ""
    assert outcome.record.tobytes() == alone.record.tobytes()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bv.Polynomial(-1), "greater than or equal to 0"),
        (lambda: bv.Polynomial(1.5), "valid integer"),
        (lambda: bv.Ridge(1, 0.0), "greater than 0"),
        (lambda: bv.NearestNeighbors(0), "greater than 0"),
        (lambda: bv.KernelSmoother(-1), "greater than 0"),
        (lambda: bv.Estimator(3), "no fit, predict and get_params"),
        (lambda: bv.Estimator({"sklearn.tree": {}}), "module:Class"),
    ],
)
def test_impossible_sets_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_estimator_that_does_not_exist_is_a_study_error():
    with pytest.raises(StudyError, match="has no class 'Forrest'"):
        _ = bv.Estimator({"sklearn.ensemble:Forrest": {}}).prototype


@pytest.mark.parametrize("dim", [2, 3, 30])
def test_squared_distances_are_sums_coordinate_by_coordinate_to_the_last_bit(dim):
    rng = np.random.default_rng(0)
    x, at = rng.standard_normal((2, 5, 9, dim))
    total = np.zeros((5, 9, 9))
    for axis in range(dim):
        total += (at[:, :, None, axis] - x[:, None, :, axis]) ** 2
    assert np.array_equal(_squared_distances(x, at), total)
    shared = np.broadcast_to(at[:1], at.shape)
    assert np.array_equal(_squared_distances(x, shared)[0], total[0])
