"""What a store holds is not simulated again; what it cannot be extended by is refused."""

import numpy as np
import pytest
from helpers import Noisy, simulated_blocks, small_study

import biasvar as bv
from biasvar.errors import StudyChangedError


def test_a_finished_store_is_not_simulated_again(study, store, monkeypatch):
    bv.run(study, store)
    assert simulated_blocks(monkeypatch, study, store) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"replicates": 24 * 64}, {("n2/H0+H1", b) for b in range(16, 24)} | {("n10/H0+H1", b) for b in range(16, 24)}),
        ({"noise": [0.0, 0.1, 0.5]}, set()),  # noise is integrated: nothing is new
        ({"n_train": [2, 5, 10]}, {("n5/H0+H1", b) for b in range(16)}),
        (
            {
                "hypotheses": {"H0": bv.Polynomial(0), "H1": bv.Polynomial(1), "H2": bv.Polynomial(2)},
                "n_train": [2, 10],
            },
            {(f"n{n}/H2", b) for n in (2, 10) for b in range(16)},
        ),
    ],
    ids=["replicates", "noise", "n_train", "hypotheses"],
)
def test_extension_simulates_only_what_is_new_and_equals_a_fresh_run(changes, expected, study, tmp_path, monkeypatch):
    grown, fresh = tmp_path / "grown.zarr", tmp_path / "fresh.zarr"
    before = bv.run(study, grown, blocks_per_chunk=5)  # 16 blocks: the last chunk is not full
    seen = simulated_blocks(monkeypatch, small_study(**changes), grown)
    assert set(seen) == expected
    assert len(seen) == len(expected)
    after = bv.open(grown)
    bv.run(small_study(**changes), fresh)
    assert bv.digest(grown) == bv.digest(fresh)
    if "replicates" not in changes:
        old = after.sel(hypothesis=before.hypothesis, n_train=before.n_train, noise=before.noise)
        np.testing.assert_array_equal(old.bias2.values, before.bias2.values)


def test_extension_of_simulated_noise_adds_only_the_new_level(store, tmp_path, monkeypatch):
    base = {"hypotheses": {"mean": Noisy(), "H0": bv.Polynomial(0)}, "n_train": [5]}
    bv.run(small_study(**base), store)
    wider = small_study(**base, noise=[0.0, 0.25, 0.5])
    assert {path for path, _ in simulated_blocks(monkeypatch, wider, store)} == {"n5/mean@0.25"}
    bv.run(wider, tmp_path / "fresh.zarr")
    assert bv.digest(store) == bv.digest(tmp_path / "fresh.zarr")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 1}, "seed: the store has 0, the study 1"),
        ({"target": bv.Sine(2)}, "target"),
        ({"n_train": [2]}, r"n_train: the store has \[10\]"),
        ({"noise": [0.0]}, r"noise: the store has \[0.5\]"),
        ({"hypotheses": {"H0": bv.Polynomial(0)}}, "hypotheses: the store has H1"),
        ({"hypotheses": {"H0": bv.Polynomial(0), "H1": bv.Polynomial(2)}, "n_train": [2, 10]}, "hypotheses.H1"),
        ({"replicates": 16 * 128, "block_size": 128}, "block_size"),
        ({"sampler": "random"}, "sampler"),
        ({"replicates": None, "precision": {"bias2": 1.0}}, "replicates: the store has 1024, the study None"),
    ],
)
def test_a_changed_study_is_refused_with_the_difference(changes, words, study, store):
    bv.run(study, store)
    before = bv.digest(store)
    with pytest.raises(StudyChangedError, match=words):
        bv.run(small_study(**changes), store)
    assert bv.verify(store).ok
    assert bv.digest(store) == before


def test_fewer_replicates_are_refused(store):
    bv.run(small_study(replicates=24 * 64), store)
    with pytest.raises(StudyChangedError, match="only 1024"):
        bv.run(small_study(), store)


def test_names_that_look_alike_do_not_collide(store):
    constant = {label: bv.Polynomial(0) for label in ("a", "b")}
    bv.run(small_study(hypotheses=constant, n_train=[5]), store)
    more = constant | {
        "a+b": bv.Polynomial(1),
        "zarr.json": bv.Polynomial(2),
        "x.partial": bv.Constant(1),
        "c" * 300: bv.Ridge(1, 1),
    }
    summary = bv.run(small_study(hypotheses=more, n_train=[5]), store)
    assert "failed" not in summary.status.values
    assert bv.run(small_study(hypotheses=more, n_train=[5]), store).equals(summary)
    assert bv.verify(store).ok
