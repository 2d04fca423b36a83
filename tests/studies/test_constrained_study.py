"""Constraints as a field of a study: what is recorded, said, written, extended and refused."""

import json

import numpy as np
import pytest
import yaml

import biasvar as bv
from biasvar.errors import StudyChangedError, StudyError
from biasvar.studies.catalog import from_json
from biasvar.views import tables

YAML = """
kind: optimizer
name: portfolio
objectives: {portfolio: {Quadratic: {eigenvalues: [1, 100]}}}
constraints: {portfolio: {Simplex: {dim: 2}}}
optimizers:
  sgd: {SGD: {learning_rate: [0.001, 0.005]}}
  adam: {Adam: {learning_rate: 0.02}}
steps: 400
replicates: 3
"""


def portfolio(**changes):
    fields = {
        "name": "portfolio",
        "objectives": {"portfolio": bv.Quadratic(eigenvalues=[1, 100])},
        "constraints": {"portfolio": bv.Simplex(dim=2)},
        "optimizers": {"sgd": bv.SGD([0.001, 0.005]), "adam": bv.Adam(0.02)},
        "steps": 400,
        "replicates": 3,
    }
    return bv.OptimizerStudy(**{**fields, **changes})


class Signs:
    """A user's rule that does not say in which norm its steps are."""

    linear = False

    def __init__(self, learning_rate=0.01):
        self.learning_rate = learning_rate

    def init(self, theta):
        return ()

    def update(self, theta, gradient, state, step, *, learning_rate):
        return theta - learning_rate * np.sign(gradient), ()


class Scaled(Signs):
    """The same as plain descent, in a norm of its own: the ravine's."""

    def update(self, theta, gradient, state, step, *, learning_rate):
        return theta - learning_rate * gradient / np.array([[1.0], [100.0]]), ()

    def metric(self, state, *, learning_rate):
        return np.array([[1.0], [100.0]]) * np.ones_like(learning_rate)


class Disc:
    """A user's set: the unit disc about (1, 1), by the plain nearest point."""

    dim = 2

    def contains(self, theta):
        return ((theta - 1) ** 2).sum(axis=-1) <= 1 + 1e-12

    def project(self, theta):
        away = theta - 1
        return 1 + away / np.maximum(np.sqrt((away**2).sum(axis=-1, keepdims=True)), 1)


class Shares(Disc):
    """A user's set that knows weights and how far it reaches: shares of a whole, of two parameters."""

    def contains(self, theta):
        return (theta >= 0).all(axis=-1) & (np.abs(theta.sum(axis=-1) - 1) < 1e-12)

    def project(self, theta, weights=None):
        w = np.ones_like(theta) if weights is None else np.broadcast_to(weights, theta.shape)
        excess = (theta.sum(axis=-1, keepdims=True) - 1) / (1 / w).sum(axis=-1, keepdims=True)
        first = np.clip((theta - excess / w)[..., :1], 0, 1)
        return np.concatenate([first, 1 - first], axis=-1)

    def support(self, direction):
        return direction.max(axis=-1)


def simulated(study):
    return bv.lazy(study).compute(scheduler="synchronous")


# What is recorded


def test_the_gap_and_the_least_value_within_are_known(store):
    tree = bv.run(portfolio(tolerance=1e-6), store)
    node = tree["portfolio/sgd"].to_dataset().isel(step=-1, batch_size=0)
    np.testing.assert_allclose(node.objective, 50 / 101, atol=1e-9)
    assert (node.gap < 1e-4).all()
    assert (node.distance < 1e-6).all()
    assert (node.outcome == "converged").all()
    assert node.gradient_norm.attrs["long_name"].endswith("to the nearest point of the set")
    assert (node.gradient_norm < 1e-6).all()
    assert "gap" not in simulated(portfolio(constraints={}))["portfolio/sgd"]
    assert "gap" not in simulated(portfolio(record=["objective"]))["portfolio/sgd"]


def test_a_set_without_ends_has_no_finite_gap_and_one_that_does_not_say_none():
    tree = simulated(portfolio(constraints={"portfolio": bv.Box(0.1, dim=2)}))
    assert float(tree["portfolio/sgd"].gap[0, 0, 0]) > 0
    assert np.isinf(
        simulated(portfolio(constraints={"portfolio": bv.Halfspace([-1, -2], -1)}))["portfolio/sgd"].gap
    ).any()
    assert np.isnan(simulated(portfolio(constraints={"portfolio": Disc()}))["portfolio/sgd"].gap).all()


def test_ones_own_set_serves_as_ours_does():
    own = simulated(portfolio(constraints={"portfolio": Shares()}))
    ours = simulated(portfolio())
    for rule in ("sgd", "adam"):
        for name in ("objective", "gap", "gradient_norm"):
            np.testing.assert_allclose(own[f"portfolio/{rule}"][name], ours[f"portfolio/{rule}"][name], atol=1e-11)


def test_a_rules_own_norm_is_the_one_that_nearest_points_are_taken_in():
    tree = simulated(
        portfolio(optimizers={"scaled": Scaled(0.5), "signs": Signs(0.01)}, initial={"portfolio": [0.5, 0.5]})
    )
    assert float(tree["portfolio/scaled"].objective.squeeze()[-1]) == pytest.approx(50 / 101, abs=1e-12)
    assert float(tree["portfolio/signs"].objective.squeeze()[-1]) == pytest.approx(12.625)


# What is said


def test_the_table_says_which_starts_were_outside_and_which_norms_are_foreign():
    study = portfolio(optimizers={"sgd": bv.SGD(0.005), "signs": Signs(), "scaled": Scaled(0.5), "lion": bv.Lion(0.01)})
    lines = tables.results(simulated(study)).splitlines()
    said = [line for line in lines if line.startswith("portfolio: ")]
    euclidean = "the rule has no metric: projected by Euclidean distance, it may settle away from the minimum"
    assert said == [
        "portfolio: kept in Simplex(dim=2, total=1.0)",
        "portfolio: 3 of 3 starts were outside, and begin at the nearest point of the set",
        f"portfolio: signs: {euclidean}",
        f"portfolio: lion: {euclidean}",
    ]
    inside = portfolio(initial={"portfolio": [0.25, 0.75]})
    assert "outside" not in tables.results(simulated(inside))


def test_of_a_box_no_norm_is_foreign_and_of_a_set_without_weights_every_other_one():
    study = portfolio(optimizers={"signs": Signs(), "adam": bv.Adam(0.1)})
    assert "metric" not in tables.results(simulated(study.replace(constraints={"portfolio": bv.Box(1, 2, dim=2)})))
    said = tables.results(simulated(study.replace(constraints={"portfolio": Disc()})))
    assert "portfolio: kept in Disc\n" in said
    assert "adam: project(theta) of the set takes no weights: projected by Euclidean" in said


def test_starts_outside_begin_at_the_nearest_point():
    study = portfolio(initial={"portfolio": [3.0, 0.0]}, record=["objective", "parameters"], record_steps=[0, 400])
    assert study.initial_point("portfolio", 0).tolist() == [1, 0]
    assert simulated(study)["portfolio/sgd"].parameters.sel(step=0).values.reshape(-1, 2).tolist() == [[1, 0]] * 6


# How it is written, and extended


def test_yaml_python_and_json_are_one_study():
    study = portfolio()
    fields = yaml.safe_load(YAML)
    assert from_json(fields, {}) == study
    assert study.to_json()["constraints"] == {"portfolio": {"Simplex": {"dim": 2, "total": 1.0}}}
    assert from_json(json.loads(json.dumps(study.to_json())), study.supplement()) == study
    assert "constraints" not in portfolio(constraints={}).to_json()
    bounded = portfolio(constraints={"portfolio": bv.Box(0, [1, None])})
    assert from_json(bounded.to_json(), bounded.supplement()) == bounded


def test_a_constraint_is_fixed_for_its_objective(store):
    study = portfolio(steps=20)
    bv.run(study, store)
    more = study.replace(
        objectives={**study.objectives, "other": bv.Quadratic(eigenvalues=[1, 2])},
        constraints={**study.constraints, "other": bv.Ball(0.1, dim=2)},
    )
    tree = bv.run(more, store)
    np.testing.assert_array_equal(tree["portfolio/sgd"].objective, simulated(study)["portfolio/sgd"].objective)
    with pytest.raises(StudyChangedError, match="constraints: the store has portfolio, which the study lacks"):
        bv.run(study.replace(constraints={}), store)
    with pytest.raises(StudyChangedError, match=r"constraints.portfolio: the store has .*'total': 1.0.*2.0"):
        bv.run(more.replace(constraints={**more.constraints, "portfolio": bv.Simplex(2, 2.0)}), store)


def test_an_objective_of_a_store_cannot_be_constrained_later(store):
    bv.run(portfolio(steps=20, constraints={}), store)
    with pytest.raises(StudyChangedError, match=r"constraints.portfolio: the store has none, the study Simplex"):
        bv.run(portfolio(steps=20), store)


# What is refused


class Empty(Disc):
    def contains(self, theta):
        return np.zeros(theta.shape[:-1], bool)


class Bare:
    dim = 2

    def contains(self, theta):
        return (theta > 0).all(axis=-1)


class Wanders(Disc):
    def project(self, theta):
        return theta * 0.5

    def contains(self, theta):
        return np.ones(theta.shape[:-1], bool)


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        ({"other": bv.Simplex(dim=2)}, "constraints: 'other' is no objective; choose from portfolio"),
        (
            {"portfolio": bv.Simplex(dim=3)},
            "constraints.portfolio: has 3 parameters, and the objective 2; give a set with dim=2",
        ),
        (
            {"portfolio": Bare()},
            r"constraints.portfolio: .*Bare.* has no project\(theta\), the nearest point of the set",
        ),
        ({"portfolio": 3}, r"constraints.portfolio: 3 has no contains\(theta\)"),
        (
            {"portfolio": [bv.Halfspace([1, 0], 1), bv.Halfspace([0, 1], 1)]},
            "constraints.portfolio: got 2 sets, expected one: the nearest point of an intersection, such as a "
            "polyhedron, takes a solver of quadratic programs; give one",
        ),
        (
            {"portfolio": {"Box": {"low": 1, "high": 0, "dim": 2}}},
            "constraints.portfolio.Box: is empty: low is 1 and high 0",
        ),
        (
            {"portfolio": {"Ball": {"radius": -1, "dim": 2}}},
            "constraints.portfolio.Ball.radius: input should be .* got -1",
        ),
        (
            {"portfolio": {"Cone": {"dim": 2}}},
            "constraints.portfolio: unknown name 'Cone'; choose one of Affine, Halfspace",
        ),
    ],
)
def test_what_cannot_be_kept_in_is_refused_in_a_line(constraints, message):
    with pytest.raises(StudyError, match=message) as caught:
        portfolio(constraints=constraints)
    assert "\n" not in str(caught.value)


class Short(Shares):
    def support(self, direction):
        return direction.min(axis=-1)


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (Empty(), r"constraints.portfolio: does not contain .*, which project returned as a nearest point"),
        (Short(), "constraints.portfolio.support: returned .* expected the greatest <s, direction> of all points s"),
        (Wanders(), r"constraints.portfolio.project: moves points that it returned"),
    ],
)
def test_a_set_that_contradicts_itself_is_refused_before_anything_runs(one, message, store):
    with pytest.raises(StudyError, match=message):
        bv.run(portfolio(constraints={"portfolio": one}), store)


class Crooked(Scaled):
    def __init__(self, weights):
        super().__init__(0.1)
        self._weights = weights

    @property
    def hyperparameters(self):
        return {"learning_rate": (0.1,)}

    def metric(self, state, *, learning_rate):
        return np.asarray(self._weights)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            [1.0, 2.0],
            r"optimizers.own.metric: expected weights as real numbers of shape \(2, 2\), got float64 of shape",
        ),
        ([[1.0, 1.0], [-1.0, 2.0]], "optimizers.own.metric: has the weight -1, expected none below 0"),
    ],
)
def test_a_metric_that_is_none_is_refused_before_anything_runs(weights, message, store):
    with pytest.raises(StudyError, match=message):
        bv.run(portfolio(optimizers={"own": Crooked(weights)}), store)


def test_derivatives_are_compared_within_the_set():
    """Outside, this objective has no value: starts are drawn there, and projected."""
    study = portfolio(objectives={"portfolio": Wall()}, constraints={"portfolio": bv.Box(1, 3, dim=2)})
    found = study.check_derivatives()["portfolio"]
    assert found.verdict.sel(what="gradient") == "agrees"


class Wall:
    dim = 2

    def value(self, theta):
        with np.errstate(invalid="ignore", divide="ignore"):
            return -np.log(theta).sum(axis=-1)

    def gradient(self, theta):
        return -1 / theta


def test_an_objective_that_is_infinite_within_its_set_is_refused(store):
    study = portfolio(
        objectives={"portfolio": Wall()},
        constraints={"portfolio": bv.Box(-1, 1, dim=2)},
        initial={"portfolio": [-1, -1]},
    )
    with pytest.raises(StudyError, match=r"objectives.portfolio: value or gradient is not finite at theta="):
        bv.run(study, store)
