"""Classification studies as studies: what they accept, extend and give back, and the flags that scores deserve."""

import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import biasvar as bv
from biasvar.errors import BiasvarError, StudyError
from biasvar.studies.blocks import run_in_memory
from biasvar.studies.catalog import from_json
from tests.helpers import command


def small(**changes):
    fields = {
        "name": "small",
        "inputs": bv.GaussianClasses(means=[-1, 1], prior=0.4),
        "hypotheses": {"logistic": bv.LinearClassifier(1), "line": bv.Polynomial(1)},
        "losses": ["zero_one", "logistic"],
        "n_train": [5],
        "replicates": 16 * 32,
        "block_size": 32,
    }
    return bv.ClassificationStudy(**{**fields, **changes})


@pytest.mark.slow
def test_the_same_bits_on_any_scheduler_and_extended_along_every_axis(tmp_path):
    whole = small(
        n_train=[5, 8],
        noise=[0.0, 0.2],
        losses=["zero_one", "logistic", "hinge"],
        hypotheses={"logistic": bv.LinearClassifier(1), "line": bv.Polynomial(1), "3-NN": bv.NearestNeighbors(3)},
        replicates=16 * 64,
    )
    digests = set()
    for scheduler in ("synchronous", "threads", "processes"):
        bv.run(whole, tmp_path / f"{scheduler}.zarr", scheduler=scheduler, progress=False)
        digests.add(bv.digest(tmp_path / f"{scheduler}.zarr"))
    store = tmp_path / "grown.zarr"
    bv.run(small(), store, scheduler="synchronous", progress=False)
    for axis in ("n_train", "noise", "losses", "hypotheses", "replicates"):
        grown = bv.load(store).replace(**{axis: getattr(whole, axis)})
        bv.run(grown, store, scheduler="synchronous", progress=False)
    digests.add(bv.digest(store))
    assert len(digests) == 1
    assert bv.verify(store).ok


def test_json_and_yaml_give_the_study_back(tmp_path):
    study = small(noise=[0.0, 0.1], losses={"steps": "zero_one", "log": "logistic"})
    assert from_json(study.to_json(), study.supplement()) == study
    (tmp_path / "study.yaml").write_text(
        "name: small\nkind: classification\n"
        "inputs: {GaussianClasses: {means: [-1, 1], prior: 0.4}}\n"
        "hypotheses:\n  logistic: {LinearClassifier: 1}\n  line: {Polynomial: 1}\n"
        "losses: {steps: zero_one, log: logistic}\nn_train: [5]\nnoise: [0.0, 0.1]\nreplicates: 512\nblock_size: 32\n"
    )
    assert bv.load(tmp_path / "study.yaml") == study
    done = command("run", "study.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    cells = json.loads(done.stdout)["cells"]
    assert {(cell["loss"], cell["hypothesis"]) for cell in cells} == {
        (loss, label) for loss in ("steps", "log") for label in ("logistic", "line")
    }


class Hyperbola:
    """sqrt(1 + m^2) - m: a loss of one's own."""

    def phi(self, margins):
        return np.sqrt(1 + margins**2) - margins

    def slope(self, margins):
        return margins / np.sqrt(1 + margins**2) - 1


def test_a_loss_of_ones_own_is_two_functions():
    summary = run_in_memory(small(losses={"own": Hyperbola(), "zero_one": "zero_one"})).squeeze()
    own = summary.sel(loss="own")
    # Least of p phi(g) + (1 - p) phi(-g) over scores: 2 sqrt(p (1 - p)).
    law = bv.GaussianClasses(means=[-1, 1], prior=0.4)
    p = law.probability(summary.x.values)
    assert float(own.bayes_risk[0]) == pytest.approx(
        float(summary.x_weight.values @ (2 * np.sqrt(p * (1 - p)))), rel=1e-6
    )
    assert (summary.excess_risk.sel(loss="zero_one") <= own.excess_bound).all()


@pytest.mark.slow
def test_scores_of_scikit_learns_classifiers():
    sets = {
        "tree": bv.Estimator(DecisionTreeClassifier()),
        "svm": bv.Estimator(SVC(kernel="linear")),
        "logistic": bv.Estimator(LogisticRegression()),
        "centroid": bv.Estimator(NearestCentroid()),
    }
    summary = run_in_memory(small(hypotheses=sets, n_train=[4], losses=["zero_one", "logistic", "brier"]))
    summary = summary.squeeze()
    assert (summary.status.sel(loss="logistic") == "infinite").all()  # sets of one class are certain
    assert np.isinf(summary.expected_risk.sel(loss="logistic")).all()
    assert "scores are infinite" in summary.status_reason.sel(loss="logistic", hypothesis="tree").item()
    assert (summary.status.sel(loss=["zero_one", "brier"]) == "ok").all()
    assert np.isfinite(summary.expected_risk.sel(loss=["zero_one", "brier"])).all()
    assert (summary.interpolated.sel(loss="zero_one", hypothesis="tree") == 1).all()
    # One class in all four labels: 0.4^4 + 0.6^4; fails by chance once in 15,000.
    votes = summary.sel(loss="zero_one", hypothesis="tree")
    assert abs(votes.one_class - (0.4**4 + 0.6**4)) < 4 * votes.one_class_se


def test_our_logistic_fits_beside_scikit_learns():
    ours = {"ours": bv.LinearClassifier(1, "logistic", 1.0)}
    theirs = {"theirs": bv.Estimator(LogisticRegression(C=1.0, fit_intercept=False, tol=1e-10, max_iter=1000))}
    plane = bv.GaussianClasses(means=[[-1, 0], [1, 0]])
    for sets in (ours, theirs):
        summary = run_in_memory(small(inputs=plane, hypotheses=sets, n_train=[20], replicates=256, block_size=16))
        assert (summary.status == "ok").all()
        assert (summary.bias > -4 * summary.bias_se - 1e-3).all()


WRONG = {
    "loss": (lambda: small(losses=["zero"]), "zero_one, logistic"),
    "no loss": (lambda: small(losses=[]), "is empty"),
    "flips": (lambda: small(noise=[0.5]), "below 1/2"),
    "two laws": (lambda: small(target=bv.Logistic([0, 1])), "leave target out"),
    "no law": (lambda: small(inputs=bv.Uniform(-1, 1)), "is missing"),
    "no probability": (lambda: small(inputs=bv.Uniform(-1, 1), target=bv.Sine()), "between 0 and 1"),
    "penalty": (lambda: bv.LinearClassifier(1, penalty=0), "separable"),
    "three classes": (lambda: bv.GaussianClasses(means=[0, 1, 2]), "more than two classes are not supported yet"),
    "one class": (lambda: bv.GaussianClasses(means=[0]), "class -1 and that of class"),
    "covariance": (
        lambda: bv.GaussianClasses(means=[[0, 0], [1, 1]], covariances=[[[1, 2], [2, 1]], [[1, 0], [0, 1]]]),
        "positive definite",
    ),
    "edges": (lambda: bv.Histogram([1.0, 0.0]), "ascending"),
    "loss of labels": (lambda: small(losses=[bv.Squared()]), "phi"),
    "risk study": (
        lambda: bv.RiskStudy(
            name="r",
            target=bv.Sine(),
            inputs=bv.Uniform(-1, 1),
            hypotheses={"H": bv.Polynomial(1)},
            n_train=[5],
            loss=bv.ZeroOne(),
        ),
        "ClassificationStudy",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_in_a_line(case):
    make, words = WRONG[case]
    with pytest.raises((StudyError, BiasvarError)) as caught:
        make()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_regressor_is_a_score_and_a_classifier_needs_classes():
    summary = run_in_memory(small(hypotheses={"tree": bv.Estimator(DecisionTreeRegressor(max_depth=1))}))
    assert (summary.status.sel(loss="zero_one") == "ok").all()
    study = bv.RiskStudy(
        name="r",
        target=bv.Sine(),
        inputs=bv.Uniform(-1, 1),
        hypotheses={"tree": bv.Estimator(DecisionTreeClassifier())},
        n_train=[5],
        replicates=256,
        block_size=16,
    )
    failed = run_in_memory(study)
    assert (failed.status == "failed").all()
    assert "ask a ClassificationStudy" in str(failed.status_reason.values.reshape(-1)[0])
