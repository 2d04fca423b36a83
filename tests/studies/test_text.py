"""Studies in YAML: what is read, in which short forms, and what is refused because it may mean something else."""

import io

import pytest
import yaml
from helpers import small_study

import biasvar as bv
from biasvar.errors import StudyError
from biasvar.studies import components
from biasvar.studies.text import read_yaml

STUDY = """\
name: small
target: Sine
inputs: {Uniform: [-1, 1]}
hypotheses:
  H0: {Polynomial: 0}
  H1: {Polynomial: [1]}
n_train: [2, 10]
noise: [0.0, 0.5]
replicates: 1024
block_size: 64
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (STUDY + "n_train: 5\n", "line 11: 'n_train' is given twice, first in line 7; keep one"),
        (STUDY.replace("H1", "H0"), "line 6: 'H0' is given twice, first in line 5"),
        (STUDY.replace("Sine", "{Sine: {frequency: 1, frequency: 2}}"), "line 2: 'frequency' is given twice"),
        (STUDY.replace("H1", '"H0"'), "'H0' is given twice"),
        (STUDY.replace("[2, 10]", "010"), "line 7: YAML takes 010 for 8; write 8, or 10 if that is meant"),
        (STUDY.replace("[2, 10]", "[2, 0_10]"), "line 7: YAML takes 0_10 for 8"),
        (STUDY.replace("1024", "1:30"), "line 9: YAML takes 1:30 for 90; write 90, or quote it as text"),
        (STUDY.replace("[2, 10]", "089"), "n_train"),
        (STUDY.replace("[2, 10]", "[" * 3000 + "]" * 3000), "line 7: is nested more than 64 deep"),
        (STUDY.replace("Sine", "{a: " * 3000 + "1" + "}" * 3000), "line 2: is nested more than 64 deep"),
        (STUDY.replace("[2, 10]", "[2, 10"), "is not YAML"),
        ("- a\n- b\n", "expected fields such as 'name: ...', got list"),
    ],
)
def test_text_that_may_mean_something_else_is_refused_in_one_line(text, words, tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(StudyError) as caught:
        bv.load(path)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"study {path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("hypotheses={H0: {Polynomial: 0}, H0: {Polynomial: 1}}", "'H0' is given twice"),
        ("n_train=010", "YAML takes 010 for 8; write 8, or 10"),
        ("n_train=" + "[" * 3000 + "]" * 3000, "nested more than 64 deep"),
        ("n_train=[", "is not YAML"),
    ],
)
def test_so_is_such_a_change(change, words):
    with pytest.raises(StudyError) as caught:
        bv.load("two-point-sine", [change])
    assert words in str(caught.value)
    assert str(caught.value).startswith("--set ")
    assert "\n" not in str(caught.value)


def test_what_is_plain_is_read():
    assert read_yaml("{a: 0, b: -1, c: 0.5, d: 1e-4, e: '010', f: 1_000, g: 0x1F, h: -0, i: 10}") == {
        "a": 0,
        "b": -1,
        "c": 0.5,
        "d": 1e-4,
        "e": "010",
        "f": 1000,
        "g": 31,
        "h": 0,
        "i": 10,
    }
    # A key of its own stands before one that is merged in: that is what merging is for.
    assert read_yaml("{base: &b {x: 1, y: 2}, one: {<<: *b, x: 3}}")["one"] == {"x": 3, "y": 2}


def test_short_forms_are_those_of_python(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    assert bv.load(path) == small_study()


@pytest.mark.parametrize(
    ("written", "known", "component"),
    [
        ({"Uniform": [-1, 1, 3]}, components.INPUTS, bv.Uniform(-1, 1, 3)),
        ({"FixedDesign": [0.0, 0.5]}, components.INPUTS, bv.FixedDesign([0.0, 0.5])),
        ({"Linear": [1, 2]}, components.TARGETS, bv.Linear([1, 2])),
        ({"Sine": 2}, components.TARGETS, bv.Sine(2)),
        ({"Ridge": [3, 0.1]}, components.HYPOTHESES, bv.Ridge(3, 0.1)),
        ({"Quadratic": [1, 100]}, components.OBJECTIVES, bv.Quadratic([1, 100])),
        ({"Quadratic": {"eigenvalues": [1, 40], "angle": 30}}, components.OBJECTIVES, bv.Quadratic([1, 40], angle=30)),
        ({"Saddle": [1, -0.1]}, components.OBJECTIVES, bv.Saddle([1, -0.1])),
        ("Saddle", components.OBJECTIVES, bv.Saddle()),
        ("Beale", components.OBJECTIVES, bv.Beale()),
        ({"SGD": [0.1, 0.2]}, components.OPTIMIZERS, bv.SGD([0.1, 0.2])),
        ({"SGD": {"learning_rate": {"logspace": [0.01, 1, 3]}}}, components.OPTIMIZERS, bv.SGD([0.01, 0.1, 1])),
        (
            {"Adam": {"learning_rate": 0.1, "schedule": {"StepDecay": [0.5, 10]}}},
            components.OPTIMIZERS,
            bv.Adam(0.1, schedule=bv.StepDecay(0.5, 10)),
        ),
    ],
    ids=str,
)
def test_fields_may_be_given_in_their_order(written, known, component):
    assert components.build(yaml.safe_load(yaml.safe_dump(written)), known, "here") == component


@pytest.mark.parametrize(
    ("spec", "known", "words"),
    [
        ({"Uniform": [-1, 1, 1, 4]}, components.INPUTS, "here.Uniform: got 4 values for low, high, dim"),
        ({"Interpolator": 3}, components.HYPOTHESES, "here.Interpolator: got 1 values for no fields"),
        ({"Uniform": "wide"}, components.INPUTS, "here.Uniform.low"),
        ({"SGD": {"learning_rate": {"logspace": [0, 1]}}}, components.OPTIMIZERS, "expected \\[low, high, count\\]"),
        ({"SGD": {"schedule": {"Cosin": {}}}}, components.OPTIMIZERS, "here.SGD.schedule: unknown name 'Cosin'"),
        ({"module:Name": 3}, components.TARGETS, "write them as {field: value}"),
    ],
    ids=str,
)
def test_fields_in_order_that_do_not_fit_are_refused(spec, known, words):
    with pytest.raises(StudyError, match=words):
        components.build(spec, known, "here")


def test_a_study_is_read_from_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(STUDY))
    assert bv.load("-", ["seed=3"]) == small_study(seed=3)
    monkeypatch.setattr("sys.stdin", io.StringIO("["))
    with pytest.raises(StudyError, match="study -: is not YAML"):
        bv.load("-")


def test_a_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "study.yaml").write_text(STUDY)
    assert bv.load("~/study.yaml") == small_study()
