"""Stating a study: validation, canonical form, components by name."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import yaml
from helpers import small_study
from sklearn.tree import DecisionTreeRegressor

import biasvar as bv
from biasvar.errors import MissingDependencyError, StudyError
from biasvar.studies import components
from biasvar.studies.blocks import run_in_memory


def parabola(x):
    return x**2


class Mean:
    def __init__(self, factor=1.0):
        self.factor = factor

    def fit_predict(self, x, y, at, rng):
        return np.repeat(self.factor * y.mean(axis=1, keepdims=True), at.shape[1], axis=1)


COMPONENTS = [
    (components.INPUTS, bv.Uniform(-1, 1, dim=2)),
    (components.INPUTS, bv.Normal(0, 2)),
    (components.INPUTS, bv.FixedDesign([0.0, 0.5])),
    (components.INPUTS, bv.FixedDesign([[0.0, 1.0], [0.5, 2.0]])),
    (components.TARGETS, bv.Sine(2)),
    (components.TARGETS, bv.PolynomialTarget([1, 2])),
    (components.TARGETS, bv.Linear([1, 2])),
    (components.TARGETS, bv.Step()),
    (components.HYPOTHESES, bv.Polynomial(3)),
    (components.HYPOTHESES, bv.Ridge(3, 0.1)),
    (components.HYPOTHESES, bv.LeastSquares(2)),
    (components.HYPOTHESES, bv.NearestNeighbors(2)),
    (components.HYPOTHESES, bv.KernelSmoother(0.5)),
    (components.HYPOTHESES, bv.Constant(1)),
    (components.HYPOTHESES, bv.Interpolator()),
    (components.HYPOTHESES, bv.Estimator({"sklearn.tree:DecisionTreeRegressor": {"max_depth": 2}})),
]


@pytest.mark.parametrize(("known", "component"), COMPONENTS, ids=lambda c: repr(c) if not isinstance(c, dict) else "")
def test_components_survive_yaml_json_and_pickle(known, component):
    written = components.describe(component, known)
    for text in (yaml.safe_load(yaml.safe_dump(written)), json.loads(json.dumps(written))):
        assert components.build(text, known, "here") == component
    assert pickle.loads(pickle.dumps(component)) == component
    assert hash(component) == hash(pickle.loads(pickle.dumps(component)))


def test_a_study_survives_pickle_and_its_json_is_canonical():
    study = small_study()
    assert pickle.loads(pickle.dumps(study)).to_json() == study.to_json()
    assert json.loads(json.dumps(study.to_json())) == study.to_json()
    assert small_study(description="words").to_json() == study.to_json()


def test_scalars_sequences_and_numpy_are_taken_alike():
    for n_train in ((2, 10), np.array([2, 10]), range(2, 11, 8)):
        assert small_study(n_train=n_train).n_train == (2, 10)
    assert small_study(n_train=np.int64(5), noise=0.5).noise == (0.5,)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_train": "2"}, "n_train"),
        ({"n_train": []}, "n_train"),
        ({"noise": [0.1, 0.1]}, "twice"),
        ({"noise": [float("nan")]}, "noise"),
        ({"target": 3}, "target: expected a vectorised callable, got 3"),
        ({"inputs": "Uniform"}, "inputs.Uniform.low: is missing"),
        ({"inputs": 3}, "inputs: expected a law"),
        ({"hypotheses": {"a/b": bv.Polynomial(0)}}, "a/b"),
        ({"hypotheses": {"H": object()}}, "no weights"),
        ({"hypotheses": {"H": DecisionTreeRegressor()}}, r"write Estimator\(DecisionTreeRegressor\(\)\)"),
        ({"hypotheses": {"H": {"Polynomial": {}, "Ridge": {}}}}, "expected one name"),
        ({"inputs": bv.FixedDesign([0.0, 1.0])}, r"set n_train to \[2\]"),
        ({"n_train": [20_000]}, "sampler='random'"),
        ({"target": lambda x: x[:3]}, r"shape \(3,\)"),
        ({"target": lambda x: np.full_like(x, np.inf)}, "not finite"),
        ({"replicates": 1000}, "at least 1024"),
        ({"precision": {"bias2": 0.1}}, "give one of the two"),
        ({"max_replicates": 2**20}, "goes with precision"),
        ({"colour": "red"}, "colour: unknown field"),
        ({"block_size": 64.5}, "block_size"),
        ({"noise": [0.0, 1e150]}, r"noise: reaches 1e\+150.* larger units"),
        ({"noise": 1e300}, r"noise: reaches 1e\+300"),
        ({"target": lambda x: 1e100 * x}, "target: reaches 9.*e.99"),
        ({"target": lambda x: 1e200 * x}, "target: reaches 9.*e.199"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line(changes, words):
    with pytest.raises(StudyError, match=words) as caught:
        small_study(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"test_points": 1}, "test_points: 2 coefficients .* 1 distinct test points; ask for 2 or more"),
        ({"inputs": bv.Uniform(1e15, 1e15 + 4)}, r"inputs: Uniform\(.* so little spread around 1e\+15"),
        ({"hypotheses": {"P": bv.Polynomial(200)}, "n_train": 300}, "64 nodes, so lower the degree"),
    ],
)
def test_test_points_that_tell_no_coefficients_apart_are_refused_before_the_run(changes, words, tmp_path):
    with pytest.raises(StudyError, match=words):
        bv.run(small_study(**changes), tmp_path / "store.zarr")


@pytest.mark.parametrize("scale", [1e-70, 1e70])
def test_the_largest_and_smallest_units_of_y_give_the_same_study(scale):
    # A power of two would give the same bits; a power of ten the same digits.
    plain, scaled = (
        run_in_memory(small_study(target=bv.PolynomialTarget([0, 0, s]), noise=[0.0, s], n_train=10))
        for s in (1.0, scale)
    )
    for name in ("bias2", "bias2_se", "variance", "variance_se", "expected_risk_se", "empirical_risk_se"):
        np.testing.assert_allclose(scaled[name].values / scale**2, plain[name].values, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(scaled.variance_x_se.values / scale**2, plain.variance_x_se.values, rtol=1e-9)


def test_missing_fields_are_named():
    with pytest.raises(StudyError, match="target: is missing"):
        bv.RiskStudy(name="x")


def test_users_functions_and_objects_are_told_apart():
    one, same = small_study(target=parabola), small_study(target=parabola)
    assert one.to_json() == same.to_json()
    assert small_study(target=lambda x: x**2 + 0).to_json() != one.to_json()
    for constant in (1.0, 2.0):
        assert (
            small_study(target=lambda x, c=constant: c * x).to_json()
            == small_study(target=lambda x, c=constant: c * x).to_json()
        )
    one, other = (small_study(hypotheses={"m": Mean(factor)}).to_json()["hypotheses"] for factor in (1.0, 2.0))
    assert one != other
    assert one == small_study(hypotheses={"m": Mean(1.0)}).to_json()["hypotheses"]


def test_the_same_function_has_the_same_fingerprint_in_another_process():
    code = (
        "from biasvar.studies.components import fingerprint\n"
        "k = {1, 'a', 2.5}\n"
        "def f(x, s=frozenset(['u', 'v', 'w'])):\n    return [x for _ in k if x in {'p', 'q', 'r'}]\n"
        "print(fingerprint(f))"
    )
    prints = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": str(seed)}
        ).stdout
        for seed in (1, 2, 3)
    }
    assert len(prints) == 1


def test_an_imported_component_is_not_imported_before_it_is_used():
    study = {"hypotheses": {"lazy": "this.module.does:not_exist"}}
    built = small_study(**study)
    assert built.hypotheses["lazy"].reference == "this.module.does:not_exist"
    with pytest.raises(StudyError, match="cannot be imported"):
        built.groups()


def test_an_estimator_is_described_by_what_differs_from_its_defaults():
    from sklearn.ensemble import BaggingRegressor
    from sklearn.tree import DecisionTreeRegressor

    bagging = bv.Estimator(BaggingRegressor(DecisionTreeRegressor(max_depth=3), n_estimators=5))
    assert bagging.spec == {
        "sklearn.ensemble:BaggingRegressor": {
            "estimator": {"sklearn.tree:DecisionTreeRegressor": {"max_depth": 3}},
            "n_estimators": 5,
        }
    }
    assert bv.Estimator(bagging.spec) == bagging


def test_a_missing_optional_library_is_told_with_the_way_out(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'biasvar\[estimators\]'"):
        _ = bv.Estimator({"sklearn.tree:DecisionTreeRegressor": None}).prototype


@pytest.mark.parametrize("name", sorted(bv.bundled()))
def test_bundled_studies_load_and_say_what_they_are(name):
    study = bv.load(name)
    assert study.name == name
    assert study.description


def test_set_replaces_nested_fields_and_the_counterpart_of_replicates():
    study = bv.load("two-point-sine", ["hypotheses.H3.Polynomial.degree=3", "precision={bias2: 0.001}", "target=Step"])
    assert study.hypotheses["H3"] == bv.Polynomial(3)
    assert study.replicates is None
    assert study.target == bv.Step()


@pytest.mark.timeout(60)  # it took for ever to walk through all that ours lead to
def test_a_users_part_that_leads_to_ours_is_soon_known():
    class Doubled(bv.Squared):
        measures = bv.Squared.measures

        def value(self, labels, predictions):
            return 2 * (labels - predictions) ** 2

    class Halved(Doubled):
        def value(self, labels, predictions):
            return 0.5 * (labels - predictions) ** 2

    one, same, other = (small_study(loss=loss).to_json()["loss"] for loss in (Doubled(), Doubled(), Halved()))
    assert one == same
    assert one != other


def test_an_attribute_is_not_the_global_of_its_name():
    def fingerprint(mean):
        space = {"mean": mean}
        exec("def f(x):\n    return x.mean()", space)
        return components.fingerprint(space["f"])

    assert fingerprint(1) == fingerprint(2)
