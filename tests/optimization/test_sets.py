"""One contract for every set: nearest points against conditions of optimality and scipy, support, points at random."""

import pickle

import numpy as np
import pytest
from scipy import optimize, stats

import biasvar as bv
from biasvar.errors import StudyError
from biasvar.optimization.sets import ConvexSet, adapted
from biasvar.studies.catalog import from_json

RNG = np.random.default_rng(0)
ROWS, RIGHT = RNG.normal(size=(2, 4)), RNG.normal(size=2)


class Disc:
    """A user's own: the unit disc about the origin, by the plain nearest point."""

    dim = 4

    def contains(self, theta):
        return (theta**2).sum(axis=-1) <= 1 + 1e-12

    def project(self, theta):
        length = np.sqrt((theta**2).sum(axis=-1, keepdims=True))
        return theta / np.maximum(length, 1)

    def support(self, direction):
        return np.sqrt((direction**2).sum(axis=-1))


SETS = {
    "box": bv.Box(-0.5, [0.5, 1.0, 2.0, 0.1]),
    "orthant": bv.Box(0, dim=4),
    "ball": bv.Ball(0.7, center=[1.0, 0.0, -1.0, 0.5]),
    "simplex": bv.Simplex(dim=4),
    "portfolio": bv.Simplex(dim=4, total=2.5),
    "halfspace": bv.Halfspace([1.0, -2.0, 0.5, 1.0], 0.3),
    "affine": bv.Affine(ROWS.tolist(), RIGHT.tolist()),
    "affine, a row twice": bv.Affine([*ROWS.tolist(), ROWS[0].tolist()], [*RIGHT.tolist(), RIGHT[0]]),
    "own": adapted(Disc()),
}
OURS = [name for name in SETS if name != "own"]
BOUNDED = ["box", "ball", "simplex", "portfolio"]


def points(count=200, scale=2.0, seed=1):
    return scale * np.random.default_rng(seed).normal(size=(count, 4))


def weights(count=200, seed=2):
    return np.exp(np.random.default_rng(seed).normal(scale=2.0, size=(count, 4)))


@pytest.mark.parametrize("name", SETS)
def test_the_nearest_point_is_in_the_set_and_stays_where_it_is(name):
    near = SETS[name].project(points())
    assert SETS[name].contains(near).all()
    assert not SETS[name].contains(points()).all()
    np.testing.assert_allclose(SETS[name].project(near), near, atol=1e-12)
    assert near.shape == points().shape
    assert SETS[name].project(points()[0]).shape == (4,)


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_nearest_point_fulfils_the_conditions_of_optimality(name, weighted):
    """x is nearest to y if and only if <W (y - x), s - x> <= 0 for all s: the support in that direction is at x."""
    one, y = SETS[name], points()
    w = weights() if weighted else np.ones_like(y)
    x = one.project(y, w if weighted else None)
    assert one.contains(x).all()
    force = w * (y - x)
    size = np.abs(force).sum(axis=1) * np.abs(x).max()
    if name in BOUNDED:
        reach = one.support(force)
    elif name == "orthant":
        assert (force <= 1e-12 * size[:, None]).all()
        reach = np.zeros(len(y))
    elif name == "halfspace":
        # A multiple of the normal, and no negative one.
        normal = np.array(one.normal)
        multiple = force @ normal / (normal @ normal)
        assert (multiple >= -1e-12).all()
        np.testing.assert_allclose(force, multiple[:, None] * normal, atol=1e-9 * size.max())
        reach = multiple * one.offset
    else:
        # A combination of the rows.
        factors = np.linalg.lstsq(ROWS.T, force.T, rcond=None)[0]
        np.testing.assert_allclose(ROWS.T @ factors, force.T, atol=1e-9 * size.max())
        reach = factors.T @ RIGHT
    np.testing.assert_allclose(reach, (force * x).sum(axis=1), atol=1e-10 * size.max())


@pytest.mark.parametrize("name", ["box", "ball", "simplex", "portfolio", "halfspace", "affine"])
def test_no_solver_of_scipy_finds_a_nearer_point(name):
    conditions = {
        "box": [{"type": "ineq", "fun": lambda x: np.r_[x + 0.5, [0.5, 1.0, 2.0, 0.1] - x]}],
        "ball": [{"type": "ineq", "fun": lambda x: 0.49 - ((x - [1.0, 0.0, -1.0, 0.5]) ** 2).sum()}],
        "simplex": [{"type": "eq", "fun": lambda x: x.sum() - 1}, {"type": "ineq", "fun": lambda x: x}],
        "portfolio": [{"type": "eq", "fun": lambda x: x.sum() - 2.5}, {"type": "ineq", "fun": lambda x: x}],
        "halfspace": [{"type": "ineq", "fun": lambda x: 0.3 - x @ [1.0, -2.0, 0.5, 1.0]}],
        "affine": [{"type": "eq", "fun": lambda x: ROWS @ x - RIGHT}],
    }
    for y, w in zip(points(5), np.sqrt(weights(5)), strict=True):
        near = SETS[name].project(y, w)
        start = SETS[name].project(y)
        found = optimize.minimize(
            lambda x, y=y, w=w: (w * (x - y) ** 2).sum(),
            start,
            jac=lambda x, y=y, w=w: 2 * w * (x - y),
            constraints=conditions[name],
            method="SLSQP",
            options={"ftol": 1e-15, "maxiter": 500},
        )
        assert (w * (near - y) ** 2).sum() <= found.fun * (1 + 1e-7)
        np.testing.assert_allclose(near, found.x, atol=1e-3)


@pytest.mark.parametrize("dim", [1, 2, 30])
def test_nearest_points_of_a_ball_are_on_the_sphere_however_unlike_weights_are(dim):
    rng = np.random.default_rng(5)
    for spread in (0.1, 3, 12):
        y = 10.0 ** rng.uniform(-3, 6, size=(2000, 1)) * rng.normal(size=(2000, dim))
        near = bv.Ball(0.7, dim=dim).project(y, np.exp(spread * rng.normal(size=y.shape)))
        outside = (y**2).sum(axis=1) > 0.49
        np.testing.assert_allclose(np.sqrt((near[outside] ** 2).sum(axis=1)), 0.7, rtol=1e-13)
        np.testing.assert_array_equal(near[~outside], y[~outside])


@pytest.mark.parametrize("name", OURS)
def test_equal_weights_are_none(name):
    np.testing.assert_allclose(
        SETS[name].project(points(), np.full((200, 4), 3.0)), SETS[name].project(points()), atol=1e-12
    )


@pytest.mark.parametrize("name", OURS)
def test_a_point_does_not_depend_on_those_beside_it(name):
    together = SETS[name].project(points(), weights())
    alone = np.stack([SETS[name].project(y, w) for y, w in zip(points(), weights(), strict=True)])
    kept = SETS[name].project(np.ascontiguousarray(points().T).T, np.ascontiguousarray(weights().T).T)
    np.testing.assert_allclose(together, alone, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(together, kept, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", OURS)
def test_what_is_not_finite_stays_so(name):
    y = np.array([np.nan, 1.0, 0.0, 0.0])
    assert np.isnan(SETS[name].project(y)).any()
    assert np.isnan(SETS[name].project(y, np.ones(4))).any()
    assert not SETS[name].contains(y)


@pytest.mark.parametrize("name", BOUNDED)
def test_support_is_the_greatest_product_with_a_point_of_the_set(name):
    one = SETS[name]
    inside = one.place(np.random.default_rng(3).random((20_000, one.uniforms_per_point)))
    for direction in points(20, seed=4):
        # The point at which it is attained is the nearest to one far out.
        attained = one.project(1e7 * direction)
        np.testing.assert_allclose(one.support(direction), attained @ direction, rtol=1e-6)
        assert (inside @ direction).max() <= one.support(direction) + 1e-12


def test_support_of_what_has_no_end_is_infinite_but_across_it():
    half, flat = SETS["halfspace"], SETS["affine"]
    normal = np.array(half.normal)
    assert half.support(2 * normal).item() == pytest.approx(0.6)
    assert half.support(-normal) == half.support(points(1)[0]) == np.inf
    assert flat.support(ROWS[0] - ROWS[1]).item() == pytest.approx(RIGHT[0] - RIGHT[1])
    assert flat.support(points(1)[0]) == np.inf
    assert SETS["orthant"].support(np.array([-1.0, 0.0, -2.0, 0.0])) == 0
    assert SETS["orthant"].support(np.array([-1.0, 0.1, -2.0, 0.0])) == np.inf


def test_points_at_random_are_uniform():
    """Kolmogorov and Smirnov's test of a number that is uniform if the points are: each fails 1 time in 1000."""
    u = np.random.default_rng(5).random((20_000, 5))
    box = SETS["box"].place(u[:, :4])
    uniform = {
        "box": (box[:, 2] + 0.5) / 2.5,
        "ball, how far out": (np.linalg.norm(SETS["ball"].place(u) - SETS["ball"].center, axis=1) / 0.7) ** 4,
        "simplex": 1 - (1 - SETS["simplex"].place(u[:, :4])[:, 1]) ** 3,
    }
    for name, numbers in uniform.items():
        assert stats.kstest(numbers, "uniform").pvalue > 1e-3, name
    away = SETS["ball"].place(u) - np.array(SETS["ball"].center)
    assert np.abs(away.mean(axis=0)).max() < 5 * 0.7 / np.sqrt(6 * 20_000)
    for name, width in (("box", 4), ("ball", 5), ("simplex", 4)):
        assert SETS[name].contains(SETS[name].place(u[:, :width])).all()


def test_a_sphere_of_radius_zero_and_extreme_weights_are_no_trouble():
    assert bv.Ball(0, dim=2).project(np.array([3.0, 4.0]), np.array([1.0, 2.0])).tolist() == [0, 0]
    ball, w = bv.Ball(1, dim=2), np.array([1e-12, 1e12])
    near = ball.project(np.array([1e6, 1e-6]), w)
    assert ball.contains(near)
    assert np.linalg.norm(near) == pytest.approx(1, abs=1e-9)


def test_a_users_own_set_has_defaults_and_is_read_for_weights():
    class Square:
        dim = 2

        def contains(self, theta):
            return (np.abs(theta) <= 1).all(axis=-1)

        def project(self, theta, weights=None):
            return np.clip(theta, -1, 1)

    own = adapted(Square())
    assert isinstance(own, ConvexSet)
    assert own.takes_weights
    assert not adapted(Disc()).takes_weights
    assert np.isnan(own.support(np.ones((3, 2)))).all()
    with pytest.raises(StudyError, match="has no uniform law of its points"):
        own.place(np.ones(2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bv.Box(0, 1), "expected bounds of one length, or dim, got no dim"),
        (lambda: bv.Box([0, 1], [1, 2, 3]), "got 2 and 3 parameters"),
        (lambda: bv.Box(1, [2, 0]), "is empty: low is 1 and high 0; exchange them"),
        (lambda: bv.Box(np.nan, 1, dim=2), "for no bound, got nan"),
        (lambda: bv.Box(low="a", high=1, dim=2), "Box.low"),
        (lambda: bv.Ball(radius=-1, dim=2), "Ball.radius: input should be greater than or equal to 0"),
        (lambda: bv.Ball(1), "expected a center, or dim, got neither"),
        (lambda: bv.Simplex(dim=3, total=0), "Simplex.total"),
        (lambda: bv.Halfspace([0, 0], 1), "normal: is zero"),
        (lambda: bv.Halfspace([[1, 0], [0, 1]], [1, 1]), "got 2 rows, a polyhedron, .* solver of quadratic"),
        (lambda: bv.Affine([[1, 1], [2, 2]], [1, 3]), "is empty: no theta solves A theta = b"),
        (lambda: bv.Affine([[0, 0]], [0]), "every row of A is zero, and keeps no parameter"),
        (lambda: bv.Affine([[1, 1], [2]], [1, 3]), r"expected rows of one length, got lengths \[1, 2\]"),
        (lambda: bv.Affine([[1, 1]], [1, 3]), "got 2 numbers for 1 rows of A"),
        (lambda: adapted([bv.Box(0, dim=2), bv.Ball(1, dim=2)]), "such as a polyhedron, takes a solver of quadratic"),
        (lambda: adapted(3), r"3 has no contains\(theta\)"),
        (lambda: bv.Ball(1, dim=2).project(np.ones(3)), r"expected shape \(\.\.\., 2\), got \(3,\)"),
        (lambda: SETS["orthant"].uniforms_per_point, "where a bound is missing"),
        (lambda: SETS["affine"].uniforms_per_point, "has no uniform law"),
        (lambda: bv.Indicator(3), r"Indicator\S*: set: 3 has no contains"),
    ],
)
def test_bad_sets_get_one_clear_line(make, message):
    with pytest.raises(StudyError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", OURS)
def test_sets_are_values(name):
    copy = pickle.loads(pickle.dumps(SETS[name]))
    assert copy == SETS[name]
    np.testing.assert_array_equal(copy.project(points()), SETS[name].project(points()))


# As objectives


@pytest.mark.parametrize("p", [0.5, 1, 1.5, 2, 3, np.inf])
def test_norms_are_those_of_numpy_and_their_derivatives_are_right(p):
    norm, theta = bv.Norm(p, 4), points()
    np.testing.assert_allclose(norm.value(theta), [np.linalg.norm(t, ord=p) for t in theta], rtol=1e-12)
    found = bv.check_derivatives(norm)
    assert set(found.verdict.sel(what=["gradient", "hessian_product", "symmetry"]).values) == {"agrees"}
    assert "wrong" not in found.verdict
    assert norm.value(np.zeros(4)) == 0
    assert not norm.gradient(np.zeros(4)).any()
    assert bv.Norm(p, 2).value(np.array([1e200, 1e200])) < np.inf


def test_an_indicator_is_zero_inside_and_infinite_outside():
    one = bv.Indicator(SETS["ball"])
    theta = np.concatenate([points(), SETS["ball"].project(points())])
    np.testing.assert_array_equal(one.value(theta), np.where(SETS["ball"].contains(theta), 0.0, np.inf))
    assert one.value(np.array(SETS["ball"].center)) == 0
    assert np.isnan(one.gradient(theta[:200])[~SETS["ball"].contains(theta[:200])]).all()


def test_they_are_written_and_read_again():
    objectives = {
        "norm": bv.Norm(1, 3),
        "largest": bv.Norm(np.inf, 3),
        "box": bv.Indicator(bv.Box(0, [1, None, 2])),
    }
    study = bv.OptimizerStudy(name="s", objectives=objectives, optimizers={"sgd": bv.SGD()}, steps=1)
    assert from_json(study.to_json(), study.supplement()) == study
    written = study.to_json()["objectives"]
    assert written["largest"] == {"Norm": {"p": "inf", "dim": 3}}
    assert written["box"] == {"Indicator": {"set": {"Box": {"low": 0.0, "high": [1.0, None, 2.0], "dim": 3}}}}
