"""Functions and hypothesis sets of the user's: edited, missing on workers, spoiling, failing."""

import contextlib
import sys
import threading

import numpy as np
import pytest
import xarray as xr
from helpers import Moody, Noisy, small_study

import biasvar as bv
from biasvar.errors import RunError, StudyChangedError, StudyError

MODULE = """
def f(x):
    return {factor} * x

class Mean:
    factor = {factor}

    def fit_predict(self, x, y, at, rng):
        return self.factor * y.mean(axis=1)[:, None] + 0 * at
"""


@pytest.mark.parametrize("what", ["target", "hypotheses"])
def test_an_edited_function_of_the_same_name_is_noticed(what, store, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    use = {"target": {"target": "edited:f"}, "hypotheses": {"hypotheses": {"m": "edited:Mean"}}}[what]
    for factor in (1, 3):
        (tmp_path / "edited.py").write_text("#" * factor + MODULE.format(factor=factor))
        monkeypatch.delitem(sys.modules, "edited", raising=False)
        if factor == 1:
            bv.run(small_study(**use, n_train=[5]), store, scheduler="synchronous")
        else:
            with pytest.raises(StudyChangedError, match=what):
                bv.run(small_study(**use, n_train=[5]), store, scheduler="synchronous")


@pytest.mark.parametrize("use", [{"target": "unheard:f"}, {"hypotheses": {"m": "unheard:Mean"}}], ids=["target", "set"])
def test_a_module_that_workers_lack_is_told(use, client, store, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "unheard.py").write_text(MODULE.format(factor=1))
    with pytest.raises(StudyError, match="No module named 'unheard'"):
        bv.run(small_study(**use, n_train=[5]), store, scheduler=client)
    assert bv.run(small_study(**use, n_train=[5]), store, scheduler="synchronous").status.values.any()


def test_a_study_that_cannot_be_pickled_is_told(client, store):
    lock = threading.Lock()

    def target(x):
        with lock:
            return x

    with pytest.raises(StudyError, match="cannot be pickled"):
        bv.run(small_study(target=target), store, scheduler=client)
    assert bv.run(small_study(target=target), store, scheduler="threads").replicates.values.all()


class Spoiler:
    """Write into whatever it is given."""

    def fit_predict(self, x, y, at, rng):
        for array in (x, y):
            with contextlib.suppress(ValueError):
                array -= 100.0
        at -= 100.0
        return np.repeat(y.mean(axis=1, keepdims=True), at.shape[1], axis=1)


def test_a_set_that_writes_into_its_arguments_spoils_no_other(tmp_path):
    alone, together = {"near": bv.NearestNeighbors(2)}, {"bad": Spoiler(), "near": bv.NearestNeighbors(2)}
    one = bv.run(small_study(hypotheses=alone, n_train=[5]), tmp_path / "a.zarr")
    two = bv.run(small_study(hypotheses=together, n_train=[5]), tmp_path / "b.zarr")
    xr.testing.assert_equal(one.expected_risk, two.expected_risk.sel(hypothesis=["near"]))
    mean = bv.run(small_study(hypotheses={"mean": Noisy()}, n_train=[5]), tmp_path / "c.zarr")
    np.testing.assert_array_equal(two.empirical_risk.sel(hypothesis="bad"), mean.empirical_risk.sel(hypothesis="mean"))


class Broken:
    def fit_predict(self, x, y, at, rng):
        raise self.error


def test_the_machines_faults_are_not_remembered_as_the_sets(store):
    broken = Broken()
    broken.error = OSError("the disk is gone")
    study = small_study(hypotheses={"b": broken}, n_train=[5])
    with pytest.raises(OSError, match="the disk is gone"):  # already when its cost is tried out
        bv.run(study, store)
    assert "records" not in str(list(store.glob("blocks/*/*/count/c/*")))


def test_a_hook_that_raises_leaves_the_store_as_it_was(store, study):
    class Talkative(Noisy):
        def tail_index(self, inputs, n_train):
            raise RuntimeError("no idea")

    before = bv.run(study, store)
    sets = {"H0": bv.Polynomial(0), "H1": bv.Polynomial(1), "t": Talkative()}
    with pytest.raises(StudyError, match=r"hypotheses.t: RuntimeError: no idea"):
        bv.run(small_study(hypotheses=sets), store)
    xr.testing.assert_equal(bv.open(store).load().bias2, before.bias2)


def test_failed_cells_are_told_once_or_raised(store):
    study = small_study(hypotheses={"H0": bv.Polynomial(0), "H5": bv.Polynomial(5)}, n_train=[3])
    with pytest.warns(bv.BiasvarWarning, match="study small: 2 of 4 cells failed, the first at hypothesis=H5") as told:
        bv.run(study, store)
    assert len(told) == 1
    with pytest.raises(RunError, match="2 of 4 cells failed"):
        bv.run(study, store, strict=True)


def test_a_failing_set_fails_alone_and_says_why(store):
    summary = bv.run(small_study(hypotheses={"H0": bv.Polynomial(0), "moody": Moody()}, n_train=[5]), store)
    moody, sound = (summary.sel(hypothesis=h, n_train=5, noise=0.5) for h in ("moody", "H0"))
    assert moody.status.item() == "failed"
    assert "not in the mood" in moody.status_reason.item()
    assert np.isnan(moody.expected_risk)
    assert sound.status.item() == "ok"
    assert bv.verify(store).ok


def test_too_few_points_fail_in_words(store):
    summary = bv.run(small_study(hypotheses={"H3": bv.Polynomial(3)}, n_train=[3]), store)
    assert summary.status.values.ravel().tolist() == ["failed", "failed"]
    assert "4 coefficients" in summary.status_reason.values.ravel()[0]
