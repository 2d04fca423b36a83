"""Data studies: closed forms, enumeration, identities, the same bits everywhere, what is refused."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from helpers import command
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.tree import DecisionTreeClassifier

import biasvar as bv
from biasvar.errors import StoreError, StudyError
from biasvar.learning.pair_risks import squared_parts, zero_one_parts
from biasvar.studies.blocks import run_in_memory
from biasvar.views.tables import results

X = np.random.default_rng(1).uniform(-1, 1, (60, 2))
Y = np.sin(3 * X[:, 0]) + X[:, 1] + 0.3 * np.random.default_rng(2).standard_normal(60)


def study(**changes):
    fields = {
        "name": "small",
        "data": (X, Y),
        "hypotheses": {"mean": bv.Polynomial(0), "line": bv.Polynomial(1)},
        "n_train": [6],
        "replicates": 1024,
    }
    return bv.DataStudy(**{**fields, **changes})


def test_the_mean_learner_has_its_closed_form():
    """Variance S^2 / n and bias2_plus_noise S^2, for any numbers: within 5 standard errors (1e-6 of chance each)."""
    found = run_in_memory(study(n_train=[1, 6, 14, 29])).sel(hypothesis="mean")
    square = Y.var(ddof=1)
    for value, truth in ((found.variance, square / found.n_train), (found.bias2_plus_noise, square)):
        assert (abs(value - truth) < 5 * found[f"{value.name}_se"]).all()


def enumerate_pairs(x, y, n, predict, parts):
    """All ordered pairs of disjoint training sets, each tested on all that is left: what cuts are drawn from."""
    totals = []
    for one in itertools.combinations(range(len(y)), n):
        left = [i for i in range(len(y)) if i not in one]
        for other in itertools.combinations(left, n):
            test = [i for i in left if i not in other]
            votes = [predict(x[list(chosen)], y[list(chosen)], x[test]) for chosen in (one, other)]
            totals.append([part.mean() for part in parts(y[test], *votes)])
    return np.mean(totals, axis=0)


def test_small_data_are_enumerated():
    """Squared and 0-1 loss on seven examples, against all partitions there are: 5 standard errors (1e-6 each)."""
    x, y = X[:7], Y[:7]

    def line(x, y, at):
        return LinearRegression().fit(x, y).predict(at)

    found = run_in_memory(study(data=(x[:, 0], y), hypotheses={"line": bv.Polynomial(1)}, n_train=[3])).squeeze()
    truth = enumerate_pairs(x[:, :1], y, 3, line, squared_parts)
    for name, value in zip(("bias2_plus_noise", "variance"), truth, strict=True):
        assert abs(found[name] - value) < 5 * found[f"{name}_se"]

    def tree(x, y, at):
        return DecisionTreeClassifier(max_depth=1, random_state=0).fit(x, y).predict(at)

    labels = np.array([0, 0, 1, 2, 1, 2, 0])
    stump = bv.Estimator(DecisionTreeClassifier(max_depth=1))
    three = study(data=(x[:, 0], labels), hypotheses={"tree": stump}, n_train=[3], loss="zero_one")
    found = run_in_memory(three).squeeze()
    truth = enumerate_pairs(x[:, :1], labels, 3, tree, zero_one_parts)
    for name, value in zip(("bias2_plus_noise", "variance"), truth, strict=True):
        assert abs(found[name] - value) < 5 * found[f"{name}_se"] + 1e-12


def test_the_parts_add_up_example_by_example():
    rng = np.random.default_rng(0)
    y, one, other = rng.standard_normal((3, 1000))
    squared = squared_parts(y, one, other)
    assert np.allclose(sum(squared), ((y - one) ** 2 + (y - other) ** 2) / 2, rtol=1e-13)
    y, one, other = rng.integers(0, 3, (3, 1000))
    votes = zero_one_parts(y, one, other)
    assert np.array_equal(sum(votes), ((y != one) * 1.0 + (y != other)) / 2)
    summary = run_in_memory(study())
    total = summary.bias2_plus_noise + summary.variance
    np.testing.assert_allclose(summary.expected_risk, total, rtol=1e-14)


def test_one_hot_distance_is_zero_one_loss():
    """The parts of 0-1 loss are those of Kohavi and Wolpert: half the squared loss of one-hot votes, class by class."""
    for y, one, other in itertools.product(range(3), repeat=3):
        hot = np.eye(3)
        parts = [part.sum() / 2 for part in squared_parts(hot[y], hot[one], hot[other])]
        assert np.allclose(parts, [float(part) for part in zero_one_parts(*map(np.asarray, (y, one, other)))])


def test_own_sets_and_estimators_agree():
    """The same cuts, the same fits: a line of ours and of scikit-learn, to rounding."""
    found = run_in_memory(study(hypotheses={"ours": bv.Polynomial(1), "theirs": bv.Estimator(LinearRegression())}))
    np.testing.assert_allclose(found.expected_risk[0], found.expected_risk[1], rtol=1e-10)
    assert abs(found.expected_risk_difference_se).max() < 1e-10


def test_variance_over_data_sets_is_nan_with_its_reason_where_it_cannot_be_told():
    found = run_in_memory(study(n_train=[10, 15, 29]))
    assert np.isfinite(found.expected_risk_se_data.sel(n_train=10)).all()
    for n in (15, 29):
        assert np.isnan(found.expected_risk_se_data.sel(n_train=n)).all()
        assert np.isfinite(found.expected_risk_se.sel(n_train=n)).all()
        reason = str(found.se_data_reason.sel(n_train=n, hypothesis="mean").item())
        assert f"takes {2 * (2 * n + 1)} examples" in reason
        assert "there are 60" in reason
    few = run_in_memory(study(replicates=512, block_size=32))
    assert np.isnan(few.expected_risk_se_data).all()
    assert "1024 replicates" in str(few.se_data_reason.values[0, 0])
    printed = results(found)
    assert f"mean, n_train=15, and 1 other: {found.se_data_reason.sel(n_train=15)[0].item()}" in printed
    assert printed.count("what another data set would show takes") == 2


def test_same_bits_on_any_scheduler_and_after_extensions(tmp_path):
    sets = {"mean": bv.Polynomial(0), "ridge": bv.Ridge(1, 0.1), "near": bv.NearestNeighbors(2)}
    whole = study(hypotheses=sets, n_train=[6, 10], replicates=1088)
    digests = set()
    for scheduler in ("synchronous", "threads"):
        bv.run(whole, tmp_path / f"{scheduler}.zarr", scheduler=scheduler, progress=False)
        digests.add(bv.digest(tmp_path / f"{scheduler}.zarr"))
    grown = tmp_path / "grown.zarr"
    bv.run(study(hypotheses={"mean": sets["mean"]}), grown, scheduler="synchronous", progress=False)
    bv.run(study(hypotheses=sets), grown, scheduler="synchronous", progress=False)
    bv.run(whole, grown, scheduler="synchronous", progress=False, blocks_per_chunk=3)
    xr.testing.assert_identical(bv.open(grown).drop_attrs(), bv.open(tmp_path / "threads.zarr").drop_attrs())
    assert len(digests) == 1


def test_cuts_are_added_until_the_precision_that_is_asked_for(tmp_path):
    store = tmp_path / "s.zarr"
    sets = {"mean": bv.Polynomial(0), "near": bv.NearestNeighbors(1)}
    first = run_in_memory(study(hypotheses=sets, n_train=[3, 10], replicates=1024))
    goal = {"expected_risk": float(first.expected_risk_se.max()) / 1.5}
    asked = study(hypotheses=sets, n_train=[3, 10], replicates=None, precision=goal)
    found = bv.run(asked, store, scheduler="synchronous", progress=False)
    assert (found.expected_risk_se <= goal["expected_risk"]).all()
    # Twice as many where one set had not reached it, no more where all had.
    reached = first.expected_risk_se.max("hypothesis") <= goal["expected_risk"]
    assert (found.replicates.min("hypothesis") > 1024).equals(~reached)
    plain = run_in_memory(study(hypotheses=sets, n_train=[3, 10], replicates=int(found.replicates.max())))
    most = found.replicates.max("hypothesis").idxmax("n_train")
    xr.testing.assert_equal(found.sel(n_train=most).drop_attrs(), plain.sel(n_train=most).drop_attrs())
    with pytest.raises(StudyError, match="precision: a lazy study needs replicates"):
        bv.lazy(asked)


def test_precision_gives_up_where_it_is_told_to_and_says_so(tmp_path):
    asked = study(replicates=None, precision={"variance": 1e-9}, max_replicates=1088)
    with pytest.warns(bv.BiasvarWarning, match=r"largest standard error of variance is .* after max_replicates=1088"):
        found = bv.run(asked, tmp_path / "s.zarr", scheduler="synchronous", progress=False)
    assert (found.replicates == 1088).all()


def test_other_data_are_refused(tmp_path):
    store = tmp_path / "a.zarr"
    bv.run(study(), store, scheduler="synchronous", progress=False)
    other = Y.copy()
    other[3] += 1e-9
    with pytest.raises(StoreError, match="sha256"):
        bv.run(study(data=(X, other)), store, scheduler="synchronous", progress=False)
    with pytest.raises(StudyError, match="were in memory"):
        bv.load(store)


def test_data_of_all_kinds_are_one_study(tmp_path):
    frame = pd.DataFrame(X, columns=["a", "b"]).assign(target=Y)
    frame.to_csv(tmp_path / "d.csv", index=False)
    frame.to_parquet(tmp_path / "d.parquet")
    dataset = xr.Dataset({"x": (("row", "column"), X), "target": ("row", Y)})
    dataset.to_zarr(tmp_path / "d.zarr", consolidated=False)
    given = [frame, dataset, tmp_path / "d.csv", tmp_path / "d.parquet", str(tmp_path / "d.zarr")]
    hashes = {study(data=each, label="target").to_json()["data"]["sha256"] for each in given}
    assert hashes == {study().to_json()["data"]["sha256"]}
    chosen = study(data=frame, label="target", columns=["b"])
    assert chosen.data.columns == ("b",)


def test_a_store_gives_back_a_study_of_a_file_and_refuses_a_changed_one(tmp_path):
    frame = pd.DataFrame(X, columns=["a", "b"]).assign(target=Y)
    frame.to_csv(tmp_path / "d.csv", index=False)
    given = study(data=tmp_path / "d.csv", label="target")
    bv.run(given, tmp_path / "a.zarr", scheduler="synchronous", progress=False)
    assert bv.load(tmp_path / "a.zarr") == given
    frame.assign(a=0.0).to_csv(tmp_path / "d.csv", index=False)
    with pytest.raises(StudyError, match="is not what it was"):
        bv.load(tmp_path / "a.zarr")


FRAME = pd.DataFrame({"age": [1.0, 2.0, 3.0, 4.0], "city": list("abcd"), "y": [1.0, 2.0, 3.0, 4.0]})


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"data": FRAME, "label": "y"}, "column 'city' holds 'a', which is no number; leave it out by columns="),
        ({"data": FRAME}, "label: is missing; say which column is the label, of age, city, y"),
        ({"data": FRAME, "label": "z"}, "label: 'z' is no column"),
        ({"data": FRAME, "label": "y", "columns": ["height"]}, "columns: 'height' is no column of inputs"),
        ({"data": FRAME.assign(age=[1, np.nan, 2, np.nan]), "label": "y", "columns": ["age"]}, "'age' lacks 2 of 4"),
        ({"data": FRAME.assign(y=[1, 2, None, 3]), "label": "y", "columns": ["age"]}, "column 'y' lacks 1 of 4 values"),
        ({"data": FRAME.assign(age=[1, 2, np.inf, 3]), "label": "y", "columns": ["age"]}, "'age' is inf in row 2"),
        ({"data": FRAME, "label": "city", "columns": ["age"]}, "column 'city' holds text ('a'), and squared loss"),
        ({"data": FRAME, "label": "city", "columns": ["age"], "loss": "zero_one"}, "are no classes"),
        ({"data": (X, np.ones(60)), "loss": "zero_one"}, "has one value only"),
        ({"data": (X, Y[:-1])}, "got shapes (60, 2) and (59,)"),
        ({"data": "nowhere.csv", "label": "y"}, "nowhere.csv: there is no such file"),
        ({"data": "titanic"}, "'titanic' is none of breast_cancer"),
        ({"data": 3}, "data: expected (inputs, labels), a DataFrame"),
        ({"n_train": [30]}, "take 61 examples, and there are 60; use n_train of at most 29"),
        ({"stratified": True}, "stratified: goes with loss='zero_one'"),
        ({"replicates": 100}, "replicates: 100 is too few for standard errors; use at least 1024 (16 blocks"),
        ({"replicates": 1100}, "replicates: 1100 is not a multiple of block_size=64"),
        ({"precision": {"expected_risk": 0.1}}, "precision: cannot be combined with replicates"),
        ({"replicates": None, "precision": {"bias2": 0.1}}, "unknown variable 'bias2'; choose from bias2_plus_noise"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_told_in_a_line(fields, said):
    with pytest.raises(StudyError) as caught:
        study(**fields)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sets_that_cannot_have_such_labels_are_refused(tmp_path):
    with pytest.raises(StudyError, match=r"hypotheses\.tree: it predicts classes"):
        bv.run(study(hypotheses={"tree": bv.Estimator(DecisionTreeClassifier())}), tmp_path / "a.zarr")
    three = {"data": (X, np.arange(60) % 3), "loss": "zero_one"}
    with pytest.raises(StudyError, match=r"hypotheses\.line: it predicts a number"):
        bv.run(study(**three, hypotheses={"line": bv.Estimator(LinearRegression())}), tmp_path / "a.zarr")


def test_a_set_that_cannot_be_fitted_fails_alone():
    found = run_in_memory(study(hypotheses={"mean": bv.Polynomial(0), "high": bv.Polynomial(5)}))
    assert found.status.values.ravel().tolist() == ["ok", "failed"]
    assert "21 coefficients" in str(found.status_reason.values[1, 0])
    repeated = run_in_memory(study(data=(np.repeat([0.0, 1.0], 30), Y), hypotheses={"square": bv.Polynomial(2)}))
    assert "cannot determine 3 coefficients" in str(repeated.status_reason.values[0, 0])


def test_training_sets_of_one_class_predict_it():
    labels = (np.arange(60) < 4).astype(int)  # most training sets have no example of the rare class
    logistic = bv.Estimator(LogisticRegression())
    found = run_in_memory(study(data=(X, labels), loss="zero_one", hypotheses={"logistic": logistic}, n_train=[3]))
    assert found.status.item() == "ok"
    assert 0.03 < found.expected_risk.item() < 0.2


def test_stratified_training_sets_have_the_classes_in_their_shares():
    labels = np.array(["rare"] * 12 + ["common"] * 48)
    majority = {"majority": bv.Polynomial(0)}
    fields = {"data": (X, labels), "loss": "zero_one", "hypotheses": majority, "n_train": [5]}
    cuts = study(**fields, stratified=True).cuts["n5"]
    cut = cuts.draw(np.random.default_rng(0), 8)
    chosen = cuts.training(cut, np.random.default_rng(0))
    assert ((labels[chosen] == "rare").sum(axis=2) == 1).all()
    assert np.allclose(cuts.weights.sum(axis=-1), 1)
    found = run_in_memory(study(**fields, stratified=True))
    assert np.isclose(found.expected_risk.item(), 0.2)  # always the common class, which is wrong on the other
    assert found.variance.item() == 0
    assert run_in_memory(study(**fields)).variance.item() > 0


@pytest.mark.slow
def test_the_command_line_runs_and_shows_one(tmp_path):
    (tmp_path / "s.yaml").write_text(
        "kind: data\nname: s\ndata: d.csv\nlabel: target\nhypotheses: {mean: {Polynomial: 0}}\nn_train: [6]\n"
        "replicates: 1024\n"
    )
    pd.DataFrame(X, columns=["a", "b"]).assign(target=Y).to_csv(tmp_path / "d.csv", index=False)
    done = command("run", "s.yaml", "--scheduler", "threads", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "+- data" in done.stdout
    shown = json.loads(command("show", "--json", "s.zarr", cwd=tmp_path).stdout)
    (cell,) = shown["cells"]
    assert cell["expected_risk_se_data"] > cell["expected_risk_se"] > 0
    assert "1024 replicates" in command("plan", "s.yaml", cwd=tmp_path).stdout
    (tmp_path / "bad.csv").write_text("a,target\n1,x\n2,y\n3,\n")
    done = command("run", "s.yaml", "--set", "data=bad.csv", cwd=tmp_path)
    assert done.returncode == 2
    assert "column 'target' lacks 1 of 3 values" in done.stderr
