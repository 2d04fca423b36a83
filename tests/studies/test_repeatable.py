"""Sets that no seed of the study repeats are refused before anything runs; those that are seeded pass."""

import numpy as np
import pytest
from helpers import Noisy, small_study

import biasvar as bv
from biasvar.errors import StudyError


class Shaken:
    """Adds noise of numpy's shared generator."""

    def fit_predict(self, x, y, at, rng):
        return np.repeat(y.mean(axis=1, keepdims=True), at.shape[1], axis=1) + np.random.normal()  # noqa: NPY002


class Remembers:
    """Starts from what it was fitted to before."""

    def __init__(self):
        self.fits = 0

    def fit_predict(self, x, y, at, rng):
        self.fits += 1
        return np.repeat(y.mean(axis=1, keepdims=True) / self.fits, at.shape[1], axis=1)


class Draws:
    """Draws from the generator that it gets."""

    def fit_predict(self, x, y, at, rng):
        return np.repeat(y.mean(axis=1, keepdims=True), at.shape[1], axis=1) + rng.normal()


class Raises:
    def fit_predict(self, x, y, at, rng):
        raise ValueError("by design")


@pytest.mark.parametrize("hypothesis", [Shaken(), Remembers()])
def test_a_set_that_does_not_repeat_itself_is_refused_in_a_line(hypothesis, store):
    with pytest.raises(StudyError, match=r"^hypotheses.mine: .* draw from the rng that fit_predict gets") as refused:
        bv.run(small_study(hypotheses={"mine": hypothesis}), store, scheduler="synchronous")
    assert "\n" not in str(refused.value)
    assert not store.exists()


@pytest.mark.parametrize(
    "hypothesis",
    [
        Draws(),
        Noisy(),
        Raises(),
        bv.Polynomial(1),
        bv.Estimator({"sklearn.tree:ExtraTreeRegressor": {}}),
        bv.Estimator({"sklearn.tree:DecisionTreeRegressor": {"splitter": "random", "random_state": 3}}),
    ],
    ids=["rng", "none", "raises", "by coefficients", "seeded", "seeded by its own"],
)
def test_what_is_seeded_passes(hypothesis):
    small_study(hypotheses={"mine": hypothesis}).call_user_code()


def test_it_takes_one_pair_of_small_fits():
    calls = []

    class Counts:
        def fit_predict(self, x, y, at, rng):
            calls.append(x.shape)
            return np.repeat(y.mean(axis=1, keepdims=True), at.shape[1], axis=1)

    small_study(hypotheses={"mine": Counts()}, n_train=[2, 10]).call_user_code()
    assert calls == [(2, 2)] * 2
