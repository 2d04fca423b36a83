"""The way back from a store to the study that it holds."""

import json
import sys

import numpy as np
import pytest
from helpers import command, small_study

import biasvar as bv
from biasvar.errors import StoreError, StudyError
from biasvar.execution.store import Store
from biasvar.studies.base import nodes_of
from biasvar.studies.catalog import from_json

USERS = """\
import numpy as np
from dataclasses import dataclass

def bump(x):
    return np.exp(-x**2)

def half(step, steps):
    return 0.5

class Mean:
    def __init__(self, factor=1.0):
        self.factor = factor

    def fit_predict(self, x, y, at, rng):
        return np.repeat(self.factor * y.mean(axis=1, keepdims=True), at.shape[1], axis=1)

@dataclass(frozen=True)
class Bowl:
    scale: float = 1.0
    dim = 2

    def value(self, theta):
        return self.scale * (theta**2).sum(axis=-1)

    def gradient(self, theta, batch=None):
        return 2 * self.scale * theta
"""


@pytest.fixture
def users(tmp_path, monkeypatch):
    """A user's module, which is gone again after the test."""
    (tmp_path / "lecture_users.py").write_text(USERS)
    monkeypatch.syspath_prepend(tmp_path)
    import lecture_users

    yield lecture_users
    del sys.modules["lecture_users"]


def descents(**changes):
    fields = {
        "name": "descents",
        "objectives": {"bowl": bv.Quadratic([1, 10])},
        "optimizers": {"sgd": bv.SGD([0.01, 0.1])},
        "steps": 20,
        "replicates": 2,
    }
    return bv.OptimizerStudy(**{**fields, **changes})


def through_text(study):
    return from_json(
        json.loads(json.dumps(study.to_json(), sort_keys=True)), json.loads(json.dumps(study.supplement()))
    )


@pytest.mark.parametrize("name", sorted(bv.bundled()))
def test_bundled_studies_come_back_from_their_json(name):
    study = bv.load(name)
    assert through_text(study) == study
    assert through_text(study).layout().identical(study.layout())  # so labels are in their order too
    assert json.dumps(through_text(study).to_json(), sort_keys=True) == json.dumps(study.to_json(), sort_keys=True)


def test_all_that_is_ours_comes_back_from_json():
    for study in (
        small_study(replicates=None, precision={"bias2": 0.1}, sampler="random", test_points=16),
        small_study(
            target=np.sin, hypotheses={"t": bv.Estimator({"sklearn.tree:DecisionTreeRegressor": {"max_depth": 2}})}
        ),
        small_study(inputs=bv.FixedDesign([[0.0, 1.0], [1.0, 2.0]]), target=bv.Linear([1, 2]), n_train=2),
        descents(
            objectives={"d": bv.EmpiricalRisk(data="diabetes", loss="squared", model=bv.MLP(3), held_out=0.25)},
            optimizers={
                "a": bv.Adam(bv.logspace(0.01, 1, 3), schedule=bv.Cosine(0.1)),
                "r": bv.RMSProp(epsilon_inside=True),
            },
            batch_size=[None, 8],
            initial={"d": bv.Uniform(-1, 1)},
            targets={"d": [1.0, 0.5]},
            record_steps=[0, 5],
        ),
        descents(initial={"bowl": [1.0, 2.0]}, record=["objective", "parameters"], tolerance=0.1, order="fixed"),
    ):
        assert through_text(study) == study


def test_what_is_a_users_in_a_module_comes_back(users):
    for study in (
        small_study(target=users.bump, hypotheses={"m": users.Mean(2.0), "n": "lecture_users:Mean"}),
        small_study(target="lecture_users:bump", hypotheses={"m": {"lecture_users:Mean": {"factor": 3.0}}}),
        descents(
            objectives={"b": users.Bowl(3.0)},
            optimizers={"s": bv.SGD(0.1, schedule=users.half), "t": {"SGD": {"schedule": "lecture_users:half"}}},
        ),
    ):
        assert through_text(study) == study


def test_a_study_comes_back_from_its_store_and_resumes_with_no_work(tmp_path, users):
    study, store = small_study(target=users.bump, hypotheses={"m": users.Mean(2.0)}), tmp_path / "s.zarr"
    summary = bv.run(study, store)
    digest, loaded, calls = bv.digest(store), bv.load(store), []
    assert loaded == study
    assert loaded.to_json() == study.to_json()
    again = bv.run(loaded, store, progress=lambda progress: calls.append(progress.total))
    assert sum(calls) == 0
    assert bv.digest(store) == digest
    assert again.identical(summary)
    longer = bv.load(str(store), ["replicates=2048"])
    assert longer == study.replace(replicates=2048)
    bv.run(longer, store)
    assert bv.load(store) == longer


def test_a_store_without_origins_is_as_good_where_all_is_ours(tmp_path):
    store = tmp_path / "s.zarr"
    bv.run(small_study(), store)
    for path in (store / "zarr.json", store / "blocks" / "zarr.json"):
        metadata = json.loads(path.read_text())
        del metadata["attributes"]["supplement"]
        path.write_text(json.dumps(metadata))
    assert bv.load(store) == small_study()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"target": lambda x: x}, "target: .*<lambda>.* is of a script or a session"),
        (
            {
                "hypotheses": {
                    "p": bv.Polynomial(0),
                    "inner": type("Inner", (), {"fit_predict": lambda self, x, y, at, rng: at})(),
                }
            },
            "hypotheses.inner: .*Inner",
        ),
    ],
)
def test_what_is_of_a_script_is_named_with_the_way_out(fields, words):
    with pytest.raises(StudyError, match=words) as caught:
        through_text(small_study(**fields))
    assert "from its YAML file or script" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_so_are_arrays():
    study = descents(objectives={"mine": bv.EmpiricalRisk(data=([[1.0], [2.0]], [1.0, 2.0]), loss="squared")})
    with pytest.raises(StudyError, match=r"objectives.mine.EmpiricalRisk.*X: an array"):
        through_text(study)


def test_code_that_has_changed_is_refused(tmp_path, users):
    study, store = small_study(target=users.bump), tmp_path / "s.zarr"
    bv.run(study, store)
    users.bump.__code__ = (lambda x: x**2).__code__
    with pytest.raises(StudyError, match=r"target: .*bump.* is not what it was when the store was made"):
        bv.load(store)


def test_a_module_that_is_gone_is_named(tmp_path, users, monkeypatch):
    study = small_study(target=users.bump)
    stored, supplement = study.to_json(), study.supplement()
    monkeypatch.setitem(sys.modules, "lecture_users", None)
    with pytest.raises(StudyError, match="'lecture_users:bump' cannot be imported"):
        from_json(stored, supplement)


def test_places_that_hold_no_store_are_told_apart(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="does not exist"):
        bv.load(tmp_path / "none.zarr")
    (tmp_path / "folder" / "file").touch()
    with pytest.raises(StoreError, match="is not a biasvar store"):
        bv.load(tmp_path / "folder")
    with pytest.raises(StudyError, match="'nonsense': is no file, store or bundled study"):
        bv.load("nonsense")


def test_a_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    bv.run(small_study(), "~/s.zarr")
    assert (tmp_path / "s.zarr").is_dir()
    assert not (tmp_path / "~").exists()
    assert bv.load("~/s.zarr") == small_study()
    assert Store("~/s.zarr").location.path == tmp_path / "s.zarr"


@pytest.mark.slow
def test_the_command_line_resumes_plans_and_says_the_way(tmp_path):
    (tmp_path / "lecture.py").write_text(USERS)
    changes = ["--set", "replicates=1024", "--set", "block_size=64", "--set", "target=lecture:bump"]
    first = command("run", "two-point-sine", *changes, "--store", "s.zarr", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    digest = bv.digest(tmp_path / "s.zarr")
    resumed = command("run", "--resume", "s.zarr", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert bv.digest(tmp_path / "s.zarr") == digest
    planned = command("plan", "s.zarr", cwd=tmp_path)
    assert planned.returncode == 0, planned.stderr
    assert "2048 replicates" in planned.stdout
    for arguments, words in (
        (("run", "s.zarr"), "biasvar run --resume s.zarr"),
        (("run",), "which study?"),
        (("run", "extremes", "--resume", "s.zarr"), "give no STUDY"),
        (("run", "--resume", "none.zarr"), "does not exist"),
    ):
        refused = command(*arguments, cwd=tmp_path)
        assert refused.returncode == 2
        assert words in refused.stderr
        assert len(refused.stderr.strip().splitlines()) == 1
    piped = command("run", "-", "--store", "~/t.zarr", cwd=tmp_path, input=STUDY, env=home(tmp_path))
    assert piped.returncode == 0, piped.stderr
    assert bv.load(tmp_path / "t.zarr").hypotheses == {"H0": bv.Polynomial(0)}


STUDY = """\
name: piped
target: Sine
inputs: {Uniform: [-1, 1]}
hypotheses: {H0: {Polynomial: 0}}
n_train: 2
replicates: 1024
block_size: 64
"""


def home(path):
    import os

    return {**os.environ, "HOME": str(path)}


@pytest.mark.parametrize("study", [small_study(), descents()], ids=lambda study: study.kind)
def test_variables_are_in_the_order_of_the_run(study, store):
    found, opened = nodes_of(bv.run(study, store)), nodes_of(bv.open(store))
    assert [list(node.data_vars) for node in opened.values()] == [list(node.data_vars) for node in found.values()]
    assert all(found[path].identical(node) for path, node in opened.items())


@pytest.mark.parametrize("keep_state", [False, True])
def test_looks_that_were_not_stated_follow_the_steps(keep_state):
    study = descents(steps=30, keep_state=keep_state)
    longer = from_json(study.to_json(), study.supplement(), ["steps=500"])
    assert longer.all_record_steps == study.replace(steps=500).all_record_steps
    stated = study.replace(record_steps=[3, 10])
    assert from_json(stated.to_json(), stated.supplement(), ["steps=500"]).all_record_steps == (3, 10, 30, 500)
