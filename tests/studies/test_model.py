"""Studies as values: changed by making another, copied, compared, joined; and what the marks on their fields mean."""

import copy
import html
import pickle
import pydoc
import re
import traceback

import numpy as np
import pytest
from helpers import Noisy, small_study

import biasvar as bv
from biasvar.errors import StudyError
from biasvar.studies.blocks import run_in_memory
from biasvar.studies.marks import AtLeast, AtMost, Axis, Component, Fixed, Free, Labelled, Selection


def parabola(x):
    return x**2


class Weighted:
    """A set of a user's that holds an array, which == compares element by element."""

    def __init__(self, weights):
        self.weights_given = np.asarray(weights, dtype=float)

    def fit_predict(self, x, y, at, rng):
        return np.repeat(self.weights_given.sum() * y.mean(axis=1, keepdims=True), at.shape[1], axis=1)


def descents(**changes):
    fields = {
        "name": "descents",
        "objectives": {"bowl": bv.Quadratic([1, 10])},
        "optimizers": {"sgd": bv.SGD([0.01, 0.1])},
        "steps": 20,
        "replicates": 2,
    }
    return bv.OptimizerStudy(**{**fields, **changes})


def used(study):
    """A study that has been asked for all that it remembers."""
    run_in_memory(study)
    study.to_json(), study.fingerprint_values(), study.layout()
    return study


WAYS = {
    "replace": lambda study, **changes: study.replace(**changes),
    "__replace__": lambda study, **changes: study.__replace__(**changes),
    "model_copy": lambda study, **changes: study.model_copy(update=changes),
    "deep model_copy": lambda study, **changes: study.model_copy(update=changes, deep=True),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "changes",
    [
        {"target": parabola},
        {"inputs": bv.Uniform(0, 2)},
        {"hypotheses": {"H2": bv.Polynomial(2)}},
        {"noise": [0.1]},
        {"n_train": [5]},
        {"seed": 5},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_changed_study_remembers_nothing_of_the_old_one(way, changes):
    changed, afresh = WAYS[way](used(small_study()), **changes), small_study(**changes)
    assert changed.to_json() == afresh.to_json()
    assert run_in_memory(changed).identical(run_in_memory(afresh))


def test_a_changed_optimizer_study_remembers_nothing_of_the_old_one():
    changes = {"steps": 7, "optimizers": {"adam": bv.Adam([0.1])}, "initial": {"bowl": [1.0, 2.0]}}
    changed, afresh = used(descents()).replace(**changes), descents(**changes)
    assert changed == afresh
    assert changed.all_record_steps[-1] == 7
    assert run_in_memory(changed).identical(run_in_memory(afresh))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"noise": [-1.0]}, "noise"),
        ({"bogus": 3}, "bogus: unknown field"),
        ({"block_size": 100}, "not a power of two"),
        ({"hypotheses": {"a/b": bv.Polynomial(0)}}, "a/b"),
        ({"replicates": -4}, "replicates"),
        ({"replicates": 0}, "replicates"),
        ({"seed": "a"}, "seed"),
        ({"precision": {"bias2": 0.1}, "replicates": 1024}, "give one of the two"),
    ],
)
def test_a_change_is_checked_like_a_new_study(way, changes, words):
    with pytest.raises(StudyError, match=words) as caught:
        WAYS[way](small_study(), **changes)
    assert "\n" not in str(caught.value)


def test_what_stands_in_for_another_field_takes_its_place():
    precise = small_study().replace(precision={"bias2": 0.1})
    assert (precise.replicates, precise.max_replicates) == (None, 2**24)
    assert precise.replace(replicates=1024) == small_study()


@pytest.mark.parametrize("made", [copy.copy, copy.deepcopy, lambda study: pickle.loads(pickle.dumps(study))])
def test_copies_are_equal_hash_equal_and_remember_nothing(made):
    study = used(small_study(target=parabola, hypotheses={"w": Weighted([0.5, 0.5]), "n": Noisy()}))
    other = made(study)
    assert not vars(other).keys() & {"grid", "_json"}
    assert other == study
    assert hash(other) == hash(study)
    assert len({study, other, study.replace(seed=1)}) == 2
    assert other != small_study(hypotheses={"w": Weighted([0.5, 0.6]), "n": Noisy()}, target=parabola)
    assert study != "a study"


def test_words_about_a_study_make_no_difference():
    assert small_study(description="words") == small_study()
    assert descents(check=True) == descents()


def test_studies_do_not_change():
    study = small_study()
    with pytest.raises(AttributeError, match=r"study.replace\(noise="):
        study.noise = (1.0,)
    with pytest.raises(AttributeError, match="do not change"):
        del study.noise
    with pytest.raises(TypeError):
        study.hypotheses["H2"] = bv.Polynomial(2)


@pytest.mark.parametrize(
    "kind", [bv.RiskStudy, bv.ClassificationStudy, bv.OptimizerStudy, bv.DataStudy, bv.TradeoffStudy]
)
def test_help_shows_a_studys_own_members(kind):
    text = pydoc.plain(pydoc.render_doc(kind))
    assert "pydantic" not in text
    assert "replace(self" in text
    assert len(text.splitlines()) < 420
    assert "(*, name, seed=0" in text.replace("\n", " ")


def test_a_wrong_study_and_a_wrong_component_show_no_error_but_their_own():
    for make in (lambda: small_study(noise=[-1.0]), lambda: bv.Polynomial(-1)):
        with pytest.raises(StudyError) as caught:
            make()
        text = "".join(traceback.format_exception(caught.value))
        assert "pydantic" not in text.replace("pydantic/", "")
        assert "For further information" not in text


def test_repr_says_what_is_not_by_default():
    assert repr(bv.load("extremes").replace(description="")).startswith("RiskStudy(name='extremes', target=Sine(")


# Marks


@pytest.mark.parametrize(
    ("mark", "stored", "extends", "differs"),
    [
        (Fixed(), 1, [1], [2, None]),
        (Free(), 1, [1, 2], []),
        (Axis(), [1, 2], [[2, 1], [1, 2, 3]], [[1, 3], []]),
        (AtLeast(), 5, [5, 6], [4, None]),
        (AtLeast(), None, [None], [4]),
        (AtMost(), {"a": 0.1}, [{"a": 0.1}, {"a": 0.05, "b": 1}], [{"a": 0.2}, {"b": 0.1}, None]),
        (Selection(decisive=("p",)), ["a", "p"], [["p"], ["p", "b"]], [["a"]]),
        (Selection(decisive=("p",)), ["a"], [["b"]], [["a", "p"]]),
        (Labelled(Fixed()), {"a": 1}, [{"a": 1}, {"a": 1, "b": 2}], [{"a": 2}, {"b": 1}]),
        (Labelled(Fixed(), all_or_none=True), {}, [{}], [{"a": 1}]),
        (
            Component({}, grid=True),
            {"SGD": {"rate": [1, 2], "schedule": None}},
            [{"SGD": {"rate": [1, 2, 3], "schedule": None}}],
            [
                {"SGD": {"rate": [1], "schedule": None}},
                {"Adam": {"rate": [1, 2], "schedule": None}},
                {"SGD": {"rate": [1, 2], "schedule": {"Cosine": {}}}},
            ],
        ),
        (Component({}), {"Sine": {"k": [1]}}, [{"Sine": {"k": [1]}}], [{"Sine": {"k": [1, 2]}}]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_marks_say_what_extends_what(mark, stored, extends, differs):
    for mine in extends:
        assert mark.errors("here", stored, mine) == []
    for mine in differs:
        assert all(error.startswith("here") for error in mark.errors("here", stored, mine))
        assert mark.errors("here", stored, mine)


@pytest.mark.parametrize(
    ("changes", "others", "both"),
    [
        ({"n_train": [2, 10]}, {"n_train": [30, 5]}, {"n_train": [2, 10, 30, 5]}),
        ({"n_train": [30]}, {"n_train": [2, 10]}, {"n_train": [2, 10, 30]}),
        ({"noise": [0.0, 0.5]}, {"noise": [0.2]}, {"noise": [0.0, 0.2, 0.5]}),
        ({"replicates": 1024}, {"replicates": 2048}, {"replicates": 2048}),
        (
            {"replicates": None, "precision": {"bias2": 0.1}},
            {"replicates": None, "precision": {"bias2": 0.2, "variance": 0.3}, "max_replicates": 2**25},
            {"replicates": None, "precision": {"bias2": 0.1, "variance": 0.3}, "max_replicates": 2**25},
        ),
        (
            {"hypotheses": {"a": bv.Polynomial(0)}},
            {"hypotheses": {"b": bv.Polynomial(1), "a": bv.Polynomial(0)}},
            {"hypotheses": {"a": bv.Polynomial(0), "b": bv.Polynomial(1)}},
        ),
    ],
)
def test_two_studies_come_to_one_that_extends_both(changes, others, both):
    one, other = small_study(**changes), small_study(**others)
    union = one.union(other)
    assert union == small_study(**both)
    assert union.extension_errors(one.to_json()) == union.extension_errors(other.to_json()) == []


def test_grids_of_hyperparameters_come_to_one():
    one = descents(optimizers={"sgd": bv.SGD([0.01, 0.1]), "adam": bv.Adam(0.1)})
    other = descents(optimizers={"sgd": bv.SGD([0.03])}, objectives={"steep": bv.Quadratic([1, 99])})
    union = one.union(other)
    assert union.optimizers["sgd"] == bv.SGD([0.01, 0.03, 0.1])
    assert list(union.objectives) == ["bowl", "steep"]
    assert union.extension_errors(one.to_json()) == union.extension_errors(other.to_json()) == []


def test_what_is_not_one_study_is_told_by_the_rules_of_extension():
    one, other = small_study(), small_study(seed=1, target=bv.Step())
    assert len(one.union(other).extension_errors(other.to_json())) == 2
    with pytest.raises(StudyError, match="kind: small is of risk, descents of optimizer"):
        one.union(descents())


def test_a_study_shows_itself_in_notebooks_as_a_table_of_its_fields():
    text = small_study(name="shown")._repr_html_()
    assert text.startswith("<table><caption>RiskStudy</caption>")
    fields = re.findall(r'<tr><td style="text-align:left">(\w+)</td><td style="text-align:left">(.*?)</td></tr>', text)
    assert dict(fields)["n_train"] == "(2, 10)"
    assert html.unescape(dict(fields)["name"]) == "'shown'"
    assert "precision" not in dict(fields)


def test_a_plan_shows_itself_in_notebooks_as_a_table_of_its_groups():
    plan = bv.plan(small_study())
    text = plan._repr_html_()
    assert text.count("<tr>") == 1 + len(plan.groups)
    assert all(f">{group.group.task_name}<" in text for group in plan.groups)
    assert html.escape(str(plan)) in text
    # Shares of the seconds: twenty full blocks in all, but for rounding.
    assert abs(text.count("\N{FULL BLOCK}") - 20) <= len(plan.groups)
