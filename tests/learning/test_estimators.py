"""Whatever scikit-learn makes a regressor of is a hypothesis set, can be written down, and is made again from that."""

import json

import numpy as np
import pytest
import yaml
from helpers import small_study
from scipy import stats
from sklearn import config_context
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import RandomForestRegressor, StackingRegressor, VotingRegressor
from sklearn.feature_selection import f_regression
from sklearn.frozen import FrozenEstimator
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.linear_model import LassoCV, LinearRegression, Ridge, RidgeCV
from sklearn.metrics import make_scorer, mean_absolute_error
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    LeaveOneOut,
    PredefinedSplit,
    RandomizedSearchCV,
    RepeatedKFold,
    ShuffleSplit,
)
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, PolynomialFeatures, StandardScaler
from sklearn.tree import DecisionTreeRegressor, ExtraTreeRegressor
from sklearn.utils import all_estimators

import biasvar as bv
from biasvar.errors import StudyError
from biasvar.learning.hypotheses.specs import described, rebuilt
from biasvar.studies import components

DRAWS = np.random.default_rng(0)
X, AT = DRAWS.uniform(0, 1, (3, 24, 2)), DRAWS.uniform(0, 1, (3, 5, 2))
Y = 2 + np.sin(3 * X.sum(axis=-1)) + 0.1 * DRAWS.standard_normal((3, 24))
ODD_FOLDS = np.arange(24) % 3


def gaussian(distances):
    return np.exp(-(distances**2))


class Deciding(RegressorMixin, BaseEstimator):
    """An estimator of a user's own, whose parameters are whatever it is given."""

    def __init__(self, how=None):
        self.how = how

    def fit(self, x, y):
        self.mean_ = y.mean()
        return self

    def predict(self, x):
        return np.full(len(x), self.mean_)


DETERMINISTIC = [
    GridSearchCV(Ridge(), {"alpha": [0.1, 1.0, 10.0]}),
    GridSearchCV(Ridge(), {"alpha": np.logspace(-3, 3, 7)}, cv=KFold(4), scoring="neg_mean_absolute_error"),
    GridSearchCV(
        make_pipeline(PolynomialFeatures(), Ridge()), [{"ridge__alpha": [1]}, {"polynomialfeatures__degree": (1, 3)}]
    ),
    GridSearchCV(make_pipeline(MinMaxScaler(), Ridge()), {"minmaxscaler__feature_range": [(0, 1), (-2, 2)]}, cv=3),
    GridSearchCV(Ridge(), {"alpha": [0.1, 10]}, cv=PredefinedSplit(ODD_FOLDS)),
    GridSearchCV(Deciding(), {"how": [{1: 2}, {(1, 2): "a"}, {"a:b": None}, {"array": 3}, np.array([1, 2], "int16")]}),
    RidgeCV(alphas=np.logspace(-3, 3, 7)),
    RidgeCV(alphas=(0.1, 1.0)),
    LassoCV(cv=LeaveOneOut(), alphas=np.array([0.01, 0.1])),
    TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1),
    make_pipeline(FunctionTransformer(np.sin), LinearRegression()),
    make_pipeline(FunctionTransformer(np.round, kw_args={"decimals": 1}), Ridge()),
    make_pipeline(ColumnTransformer([("first", StandardScaler(), [0])], remainder="passthrough"), Ridge()),
    KNeighborsRegressor(4, weights=gaussian),
    StackingRegressor(
        [("ridge", Ridge()), ("near", KNeighborsRegressor(3))], final_estimator=LinearRegression(), cv=KFold(3)
    ),
    VotingRegressor([("ridge", Ridge()), ("near", KNeighborsRegressor(3))], weights=np.array([0.2, 0.8])),
    GaussianProcessRegressor(2.0 * RBF(np.array([0.5, 1.0]), (1e-2, 1e2)) + WhiteKernel(0.1), optimizer=None),
    Deciding(np.float64),
    Deciding(float("nan")),
]
RANDOM = [
    RandomizedSearchCV(Ridge(), {"alpha": stats.loguniform(1e-3, 1e2)}, n_iter=4, cv=3),
    RandomizedSearchCV(
        DecisionTreeRegressor(splitter="random"),
        [{"max_depth": stats.randint(1, high=5)}, {"min_impurity_decrease": stats.uniform(0, scale=0.01)}],
        n_iter=4,
        cv=ShuffleSplit(3),
    ),
    GridSearchCV(Ridge(), {"alpha": [1e-3, 0.1, 1, 10]}, cv=KFold(3, shuffle=True)),
    GridSearchCV(Ridge(), {"alpha": [1e-3, 0.1, 1, 10]}, cv=RepeatedKFold(n_splits=3, n_repeats=2)),
    LassoCV(cv=KFold(3, shuffle=True), selection="random"),
    # Estimators that only the grid knows.
    GridSearchCV(
        make_pipeline(StandardScaler(), Ridge()),
        {"ridge": [ExtraTreeRegressor(max_depth=2), make_pipeline(ExtraTreeRegressor(max_depth=3))]},
        cv=3,
    ),
    GridSearchCV(Ridge(), {"alpha": [1e-3, 10]}, cv=3, refit=True, error_score="raise"),
    StackingRegressor([("forest", RandomForestRegressor(2)), ("ridge", Ridge())], cv=KFold(3, shuffle=True)),
]


def by_name(estimators):
    return [pytest.param(each, id=f"{i}-{type(each).__name__}") for i, each in enumerate(estimators)]


def fitted(hypothesis, seed=1):
    return hypothesis.fit_predict(X, Y, AT, np.random.default_rng(seed))


def rewritten(hypothesis):
    """The set as it comes back from a store's JSON, and from YAML."""
    text = json.dumps(components.describe(hypothesis, components.HYPOTHESES))
    again = components.build(json.loads(text), components.HYPOTHESES, "hypotheses")
    from_yaml = components.build(yaml.safe_load(yaml.safe_dump(json.loads(text))), components.HYPOTHESES, "hypotheses")
    assert from_yaml == again == hypothesis
    assert hash(from_yaml) == hash(again) == hash(hypothesis)
    assert json.dumps(components.describe(again, components.HYPOTHESES)) == text
    return again


@pytest.mark.parametrize("estimator", by_name(DETERMINISTIC))
def test_fits_are_those_of_scikit_learn(estimator):
    found = fitted(bv.Estimator(estimator))
    wanted = [clone(estimator).fit(x, y).predict(at) for x, y, at in zip(X, Y, AT, strict=True)]
    np.testing.assert_array_equal(found, np.reshape(wanted, found.shape))


@pytest.mark.parametrize("estimator", by_name(DETERMINISTIC + RANDOM))
def test_an_estimator_is_made_again_from_what_is_written_of_it(estimator):
    hypothesis = bv.Estimator(estimator)
    again = rewritten(hypothesis)
    assert json.dumps(again.spec) == json.dumps(hypothesis.spec) == json.dumps(bv.Estimator(again.prototype).spec)
    np.testing.assert_array_equal(fitted(again), fitted(hypothesis))


@pytest.mark.parametrize("estimator", by_name(RANDOM))
def test_the_study_seeds_all_that_is_random(estimator, monkeypatch):
    hypothesis = bv.Estimator(estimator)
    one = fitted(hypothesis)
    # Whatever is not seeded draws from here.
    monkeypatch.setattr("numpy.random.mtrand._rand", None)
    np.testing.assert_array_equal(fitted(hypothesis), one)
    assert estimator.get_params().get("random_state") is None  # theirs is left as it was


def test_other_seeds_give_other_fits():
    for estimator in RANDOM[:2]:
        assert not np.array_equal(fitted(bv.Estimator(estimator), 1), fitted(bv.Estimator(estimator), 2))


def test_the_seeds_of_splitters_are_those_of_the_study():
    cv = KFold(3, shuffle=True)
    found = fitted(bv.Estimator(GridSearchCV(Ridge(), {"alpha": [1e-3, 0.1, 1, 10]}, cv=cv)), 5)
    seeds = np.random.default_rng(5).integers(0, 2**31 - 1, size=(3, 2))  # of the ridge, of the splitter
    for k in range(3):
        search = GridSearchCV(
            Ridge(), {"alpha": [1e-3, 0.1, 1, 10]}, cv=KFold(3, shuffle=True, random_state=int(seeds[k, 1]))
        )
        np.testing.assert_array_equal(found[k], search.fit(X[k], Y[k]).predict(AT[k]))
    assert cv.random_state is None


def test_changing_an_estimator_later_changes_no_study():
    ridge = Ridge(alpha=100.0)
    hypothesis = bv.Estimator(ridge)
    before = fitted(hypothesis)
    ridge.set_params(alpha=1e-6)
    np.testing.assert_array_equal(fitted(bv.Estimator(hypothesis.spec)), before)
    np.testing.assert_array_equal(fitted(hypothesis), before)


def test_an_output_format_is_kept_by_every_clone():
    scaler = StandardScaler().set_output(transform="pandas")
    pytest.importorskip("pandas")
    assert fitted(bv.Estimator(make_pipeline(scaler, Ridge()))).shape == (3, 5)


class Routed(Deciding):
    """Predicts whether it was asked to take weights."""

    def fit(self, x, y, sample_weight=None):
        self.mean_ = float(self.get_metadata_routing().fit.requests["sample_weight"] or 0)
        return self


def test_what_was_asked_of_an_estimator_is_asked_of_every_clone():
    with config_context(enable_metadata_routing=True):
        np.testing.assert_array_equal(fitted(bv.Estimator(Routed().set_fit_request(sample_weight=True))), 1)
        np.testing.assert_array_equal(fitted(bv.Estimator(Routed())), 0)


@pytest.mark.parametrize("spec", [{"max_depth": 3}, None])
def test_both_forms_in_yaml_say_the_same(spec):
    short = {"Estimator": {"sklearn.tree:DecisionTreeRegressor": spec}}
    long = {"Estimator": {"estimator": {"sklearn.tree:DecisionTreeRegressor": spec}}}
    one, other = small_study(hypotheses={"tree": short}), small_study(hypotheses={"tree": long})
    assert one.to_json() == other.to_json()
    assert one.hypotheses["tree"] == bv.Estimator(DecisionTreeRegressor(**(spec or {})))
    assert bv.Estimator("sklearn.tree:DecisionTreeRegressor") == bv.Estimator(DecisionTreeRegressor())


def test_keys_of_mappings_may_be_numbers_in_yaml_too():
    spec = yaml.safe_load("'test_estimators:Deciding': {how: {1: 2, b: {array: [1, 2]}}}")
    how = bv.Estimator(json.loads(json.dumps(bv.Estimator(spec).spec))).prototype.how
    assert list(how) == [1, "b"]
    np.testing.assert_array_equal(how["b"], [1, 2])


def local():
    def inner(x):
        return x

    return inner


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: KNeighborsRegressor(weights=lambda d: d),
            r"KNeighborsRegressor\.weights: function .*<lambda>' has no name",
        ),
        (lambda: KNeighborsRegressor(weights=local()), "define it at the top of a module and import it from there"),
        (lambda: RandomForestRegressor(random_state=np.random.RandomState(0)), "pass an integer or leave it None"),
        (lambda: Deciding(np.random.default_rng(0)), r"Deciding\.how: a Generator cannot be written"),
        (lambda: GridSearchCV(Ridge(), {"alpha": [object()]}), r"GridSearchCV\.param_grid\['alpha'\]: <object"),
        (
            lambda: GridSearchCV(Ridge(), {}, scoring=make_scorer(mean_absolute_error)),
            r"GridSearchCV\.scoring: .* cannot be",
        ),
        (lambda: GridSearchCV(Ridge(), {}, cv=iter([])), r"GridSearchCV\.cv: .* cannot be written"),
        (lambda: RidgeCV(alphas=np.array([1, None])), "an array of object cannot be written"),
        (
            lambda: RidgeCV(alphas=np.empty((0, 3))),
            r"an array of shape \(0, 3\), with nothing in it, cannot be written",
        ),
        (
            lambda: FrozenEstimator(Ridge().fit(X[0], Y[0])),
            "has seen data already; pass an estimator that is fitted anew",
        ),
        (lambda: make_pipeline(FrozenEstimator(Ridge())), "has seen data already"),
        (lambda: Ridge, r"is a class; pass an estimator, Ridge\(\)"),
        (lambda: StandardScaler(), "no fit, predict and get_params"),
        (lambda: None, "expected one 'module:Class'"),
        (lambda: {"sklearn.tree:DecisionTreeRegressor": 3}, "expected parameters, got 3"),
        (lambda: {"sklearn.tree:DecisionTreeRegressor": {}, "sklearn.svm:SVR": {}}, "expected one 'module:Class'"),
    ],
)
def test_what_cannot_be_written_is_refused_with_the_way_out(make, message):
    with pytest.raises(StudyError, match=message) as caught:
        bv.Estimator(make())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"sklearn.tree:Oak": {}}, "has no class 'Oak'"),
        ({"no.such.module:Oak": {}}, "cannot import module"),
        ({"sklearn.tree:DecisionTreeRegressor": {"depth": 3}}, "unexpected keyword argument 'depth'"),
        ({"sklearn.neighbors:KNeighborsRegressor": {"weights": {"import": "numpy:no_such"}}}, "'no_such'"),
        ({"sklearn.preprocessing:StandardScaler": {}}, "no fit, predict and get_params"),
        (
            {"sklearn.linear_model:Ridge": {"alpha": {"sklearn.model_selection:KFold": {"n_splits": 1}}}},
            "KFold: k-fold",
        ),
    ],
)
def test_what_cannot_be_made_is_a_study_error(spec, message):
    with pytest.raises(StudyError, match=message):
        _ = bv.Estimator(spec).prototype


def test_functions_of_the_script_that_runs_are_refused():
    import __main__

    __main__.weights = eval("lambda distances: distances", vars(__main__))
    __main__.weights.__qualname__ = "weights"
    try:
        with pytest.raises(StudyError, match="function 'weights' is defined in the script that runs"):
            bv.Estimator(KNeighborsRegressor(weights=__main__.weights))
    finally:
        del __main__.weights


@pytest.mark.parametrize(
    "value",
    [
        [1, "a", None, True, 0.1, float("inf")],
        {"a": [1, {"b": (2, 3)}]},
        {1: "a", (2, 3): [4], None: {}},
        {"import": 3},
        {"m:f": {"x": 1}},
        {"array": 1, "dtype": 2},
        np.array([[1.5, np.pi], [np.inf, 1e-300]]),
        np.array([1, 2], dtype="int16"),
        np.array([], dtype="float32"),
        np.array(["a", "bc"]),
        np.array(3.0),
        np.array([True, False]),
        np.log1p,
        np.mean,
        np.float32,
        mean_absolute_error,
        KFold(3, shuffle=True, random_state=4),
        RepeatedKFold(n_splits=3, n_repeats=7, random_state=1),
    ],
    # A function's own repr holds its address, which is another in each process of pytest-xdist.
    ids=lambda value: getattr(value, "__name__", repr(value)),
)
def test_values_come_back_from_json_as_they_were(value):
    again = rebuilt(json.loads(json.dumps(described(value))))
    assert type(again) is type(value)
    assert repr(again) == repr(value)
    if isinstance(value, np.ndarray):
        assert again.dtype == value.dtype
        np.testing.assert_array_equal(again, value)


# All of scikit-learn

#: What an estimator needs beside its defaults, to be fitted to a vector of labels or to be quick.
ARGUMENTS = {
    "IsotonicRegression": {"out_of_bounds": "clip"},
    "CCA": {"n_components": 1},
    "PLSCanonical": {"n_components": 1},
    "MultiOutputRegressor": {"estimator": Ridge()},
    "RegressorChain": {"estimator": Ridge()},
    "StackingRegressor": {"estimators": [("a", Ridge()), ("b", KNeighborsRegressor(2))]},
    "VotingRegressor": {"estimators": [("a", Ridge()), ("b", KNeighborsRegressor(2))]},
    "MLPRegressor": {"hidden_layer_sizes": (4,), "max_iter": 20},
    "GridSearchCV": {"estimator": Ridge(), "param_grid": {"alpha": [1, 2]}},
    "RandomForestRegressor": {"n_estimators": 3},
    "ExtraTreesRegressor": {"n_estimators": 3},
    "GradientBoostingRegressor": {"n_estimators": 3},
    "HistGradientBoostingRegressor": {"max_iter": 3},
    "AdaBoostRegressor": {"n_estimators": 3},
    "BaggingRegressor": {"n_estimators": 3},
    "RANSACRegressor": {"max_trials": 5},
    "RadiusNeighborsRegressor": {"radius": 5.0},
    "QuantileRegressor": {"solver": "highs"},
    # Transformers, before a linear regression.
    "ColumnTransformer": {"transformers": [("a", StandardScaler(), [0])]},
    "FeatureUnion": {"transformer_list": [("a", StandardScaler()), ("b", MinMaxScaler((0, 2)))]},
    "SelectFromModel": {"estimator": Ridge()},
    "RFE": {"estimator": Ridge()},
    "RFECV": {"estimator": Ridge(), "cv": 3},
    "SequentialFeatureSelector": {"estimator": Ridge(), "cv": 3},
    "SparseCoder": {"dictionary": np.eye(2)},
    "SelectKBest": {"score_func": f_regression, "k": 1},
    "SelectPercentile": {"score_func": f_regression, "percentile": 100},
    "SelectFdr": {"score_func": f_regression, "alpha": 1.0},
    "SelectFpr": {"score_func": f_regression, "alpha": 1.0},
    "SelectFwe": {"score_func": f_regression, "alpha": 1.0},
    "GenericUnivariateSelect": {"score_func": f_regression, "mode": "k_best", "param": 1},
    "MissingIndicator": {"features": "all"},
    "OneHotEncoder": {"handle_unknown": "ignore"},
    "OrdinalEncoder": {"handle_unknown": "use_encoded_value", "unknown_value": -1},
    "PLSSVD": {"n_components": 1},
    "StackingClassifier": {"estimators": [("a", Ridge())]},
    "SplineTransformer": {"n_knots": 3},
    "KBinsDiscretizer": {"n_bins": 2, "quantile_method": "averaged_inverted_cdf"},
    "QuantileTransformer": {"n_quantiles": 8},
    "GaussianRandomProjection": {"n_components": 2},
    "SparseRandomProjection": {"n_components": 2},
    "RandomTreesEmbedding": {"n_estimators": 3},
    "BernoulliRBM": {"n_components": 4, "n_iter": 2},
    "LocallyLinearEmbedding": {"n_components": 1},
    "Isomap": {"n_components": 1},
    "DictionaryLearning": {"max_iter": 3},
    "MiniBatchDictionaryLearning": {"max_iter": 3},
    "SparsePCA": {"max_iter": 3},
    "MiniBatchSparsePCA": {"max_iter": 3},
    "TruncatedSVD": {"n_components": 1},
    "KernelPCA": {"n_components": 2},
    "Nystroem": {"n_components": 4},
    "KMeans": {"n_clusters": 2},
    "MiniBatchKMeans": {"n_clusters": 2},
    "BisectingKMeans": {"n_clusters": 2},
    "Birch": {"n_clusters": 2},
    "VotingClassifier": {"estimators": [("a", Ridge())]},
}
#: What cannot be a hypothesis set of numbers, and the words that say why.
UNFIT = {
    "MultiTaskElasticNet": "use ElasticNet",
    "MultiTaskElasticNetCV": "use ElasticNetCV",
    "MultiTaskLasso": "For mono-task outputs",
    "MultiTaskLassoCV": "use LassoCV",
    "MultiOutputRegressor": "at least two dimensions",
    "RegressorChain": "tuple index out of range",
}


def outcome_of(estimator, dim):
    """What a block of a small study with this estimator leaves, from the object and from its JSON."""
    study = small_study(
        target=bv.Linear([3.0] * dim),
        inputs=bv.Uniform(1, 2, dim=dim),
        hypotheses={"own": bv.Estimator(estimator)},
        n_train=[12],
        noise=[0.1],
        replicates=256,
        block_size=4,
        test_points=8 if dim == 1 else 16,
    )
    text = json.dumps(study.to_json())
    again = small_study(
        **{name: value for name, value in json.loads(text).items() if name not in ("kind", "precision")}
    )
    assert json.dumps(again.to_json()) == text
    [group] = study.groups()
    first, second = (each.simulate(group, 0) for each in (study, again))
    assert first.records.tobytes() == second.records.tobytes()
    assert first.failures == second.failures
    return first.failures[0]


def made(kind):
    return kind(**ARGUMENTS.get(kind.__name__, {}))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "kind"), all_estimators("regressor"))
def test_every_regressor_runs_in_a_study_or_says_why_not(name, kind):
    failure = outcome_of(made(kind), dim=1 if name == "IsotonicRegression" else 2)
    assert UNFIT.get(name, "") in failure
    assert bool(failure) == (name in UNFIT)
    assert "\n" not in failure


#: Transformers of text, labels and the like; and those that hand on labels too.
UNFIT_TRANSFORMERS = {
    "CCA": "dim 3",
    "DictVectorizer": "no attribute 'items'",
    "FeatureHasher": "no attribute 'items'",
    "HashingVectorizer": "no attribute 'lower'",
    "IsotonicRegression": "2d array with 1 feature",
    "KernelCenterer": "must be a square matrix",
    "LabelBinarizer": "2 positional arguments but 3",
    "LabelEncoder": "2 positional arguments but 3",
    "LinearDiscriminantAnalysis": "Unknown label type",
    "MultiLabelBinarizer": "2 positional arguments but 3",
    "NeighborhoodComponentsAnalysis": "Unknown label type",
    "PLSCanonical": "dim 3",
    "PLSRegression": "dim 3",
    "PLSSVD": "dim 3",
    "PatchExtractor": "not enough values to unpack",
    "StackingClassifier": "Unknown label type",
    "TSNE": "should be transformers",
    "VotingClassifier": "Unknown label type",
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "kind"), all_estimators("transformer"))
def test_every_transformer_of_numbers_works_in_a_pipeline(name, kind):
    failure = outcome_of(make_pipeline(made(kind), LinearRegression()), dim=2)
    assert UNFIT_TRANSFORMERS.get(name, "") in failure
    assert bool(failure) == (name in UNFIT_TRANSFORMERS)
    assert "\n" not in failure
