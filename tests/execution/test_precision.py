"""Blocks are added until the precision that was asked for is reached, or cannot be."""

import numpy as np
import pytest
from helpers import simulated_blocks, small_study

import biasvar as bv
from biasvar.errors import RunError, StudyChangedError
from biasvar.execution.store import Store


def test_precision_adds_blocks_until_it_is_reached(store, tmp_path):
    goal = {"expected_risk": 2e-3}
    study = small_study(replicates=None, precision=goal, max_replicates=2**18, noise=[0.0])
    summary = bv.run(study, store)
    assert (summary.expected_risk_se <= goal["expected_risk"]).all()
    replicates = summary.replicates.sel(noise=0.0)
    assert (replicates.sel(n_train=10) < replicates.sel(n_train=2)).all()  # each size has what it needs
    bv.run(study, tmp_path / "other.zarr", scheduler="threads", blocks_per_chunk=3)
    assert bv.digest(store) == bv.digest(tmp_path / "other.zarr")


def test_tighter_precision_extends(store, monkeypatch):
    more = {"replicates": None, "max_replicates": 2**18, "noise": [0.0], "n_train": [10]}
    loose = small_study(precision={"expected_risk": 1e-3}, **more)
    tight = small_study(precision={"expected_risk": 5e-4}, **more)
    first = bv.run(loose, store)
    seen = simulated_blocks(monkeypatch, tight, store)
    assert min(block for _, block in seen) >= int(first.replicates.max()) // 64 > 16
    with pytest.raises(StudyChangedError, match="precision"):
        bv.run(loose, store)


def test_precision_gives_up_at_max_replicates_and_ignores_what_has_no_error(store):
    study = small_study(replicates=None, precision={"expected_risk": 1e-9}, max_replicates=2**11, n_train=[2])
    summary = bv.run(study, store)
    assert (summary.replicates == 2**11).all()
    infinite = small_study(
        replicates=None, precision={"variance": 1e-9}, noise=[0.5], n_train=[2], hypotheses={"H1": bv.Polynomial(1)}
    )
    assert int(bv.run(infinite, store.with_name("b.zarr")).replicates.max()) == 16 * 64


class Late:
    """Fail in few blocks: with this seed in none of the first sixteen."""

    def fit_predict(self, x, y, at, rng):
        if x[0, 0] > 0.9:
            raise RuntimeError("too far right")
        return np.zeros(at.shape[:2])


def test_precision_is_not_sought_where_everything_fails(store):
    few = small_study(
        replicates=None,
        precision={"bias2": 1e-9},
        max_replicates=2**12,
        hypotheses={"H3": bv.Polynomial(3)},
        n_train=[3, 10],
        noise=[0.0],
    )
    status = bv.run(few, store).status.squeeze()
    assert status.sel(n_train=3).item() == "failed"
    assert status.sel(n_train=10).item() == "ok"
    late = small_study(
        replicates=None,
        precision={"empirical_risk": 1e-9},
        max_replicates=2**12,
        hypotheses={"late": Late()},
        n_train=[5],
        noise=[0.0],
        seed=6,
    )
    place = store.with_name("late.zarr")
    assert set(bv.run(late, place).status.values.ravel()) == {"failed"}
    assert sum(records.blocks for records in Store(place).groups().values()) > 16  # it went on before it failed
    assert bv.verify(place).ok


def test_precision_that_is_not_reached_is_told_once_or_raised(store):
    study = small_study(replicates=None, precision={"bias2": 1e-12}, max_replicates=2**11)
    with pytest.warns(bv.BiasvarWarning, match="precision not reached: the largest standard error of bias2 is") as told:
        summary = bv.run(study, store)
    assert len(told) == 1
    with pytest.raises(RunError, match="precision not reached"):
        bv.run(study, store, strict=True)
    assert bv.open(store).equals(summary)
