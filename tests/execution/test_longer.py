"""Optimizer studies with more steps than their store: simulated anew beside what is stored, which goes last."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
from helpers import ROOT, messages

import biasvar as bv
from biasvar.errors import RunError, StoreError, StudyChangedError
from biasvar.execution.backends import Location
from biasvar.execution.status import store_status
from biasvar.studies.base import nodes_of

X = np.array([[1.0, 2.0], [0.5, -1.0], [-1.5, 0.3], [2.0, 1.0], [-0.2, -0.7], [0.9, 0.1], [1.1, -2.0]])
Y = np.array([0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0])
AGAIN = "steps: 30 in the store, 50 now: descents are simulated again, from the start"


def descents(**changes):
    fields = {
        "name": "descents",
        "objectives": {"loss": bv.EmpiricalRisk(data=(X, Y), loss="logistic", penalty=0.1)},
        "optimizers": {
            "sgd": bv.SGD(learning_rate=[0.03, 0.3], schedule=bv.Cosine()),
            "adam": bv.Adam(learning_rate=0.1),
        },
        "batch_size": [None, 3],
        "steps": 30,
        "replicates": 3,
        "record": ["objective", "parameters"],
    }
    return bv.OptimizerStudy(**{**fields, **changes})


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """What a run of all steps at once comes to."""
    path = tmp_path_factory.mktemp("reference") / "long.zarr"
    bv.run(descents(steps=50), path, scheduler="synchronous")
    return path


def assert_like(reference, store):
    assert bv.digest(store) == bv.digest(reference)
    assert bv.verify(store).ok
    assert store_status(store).complete
    assert group_paths(store) == group_paths(reference)
    found, wanted = nodes_of(bv.open(store).load()), nodes_of(bv.open(reference).load())
    assert all(found[path].equals(node) for path, node in wanted.items())


def group_paths(store):
    return sorted(str(path.relative_to(store)) for path in store.glob("blocks/*/*") if path.is_dir())


@pytest.mark.parametrize(
    ("scheduler", "chunk"), [("synchronous", 1), ("threads", 2), pytest.param("processes", 2, marks=pytest.mark.slow)]
)
def test_more_steps_have_the_bits_of_one_run_and_it_is_said(scheduler, chunk, store, reference):
    bv.run(descents(), store, scheduler="synchronous")
    longer = descents(steps=50)
    assert messages(longer, store, scheduler=scheduler, blocks_per_chunk=chunk) == [AGAIN]
    assert_like(reference, store)
    assert messages(longer, store) == []


def test_looks_may_be_others_with_more_steps_only(store, tmp_path):
    bv.run(descents(record_steps=[1, 10]), store)
    with pytest.raises(StudyChangedError, match="record_steps"):
        bv.run(descents(record_steps=[1, 10, 20]), store)
    longer = descents(record_steps=[10, 40], steps=50)
    bv.run(longer, store)
    assert bv.open(store)["loss/sgd"].step.values.tolist() == [10, 40, 50]
    bv.run(longer, tmp_path / "fresh.zarr")
    assert bv.digest(store) == bv.digest(tmp_path / "fresh.zarr")


def test_fewer_steps_are_refused(reference):
    with pytest.raises(StudyChangedError, match="steps: the store has 50, the study only 30"):
        bv.run(descents(), reference)


def test_more_steps_and_more_replicates_and_rates_at_once(store, tmp_path):
    bv.run(descents(), store)
    more = descents(
        steps=50, replicates=4, optimizers={**descents().optimizers, "momentum": bv.Momentum(learning_rate=0.1)}
    )
    bv.run(more, store)
    bv.run(more, tmp_path / "fresh.zarr")
    assert_like(tmp_path / "fresh.zarr", store)


# Kills

DRIVER = """
import os, signal, sys
sys.path[:0] = [{tests!r}, {tests!r} + "/execution"]
import biasvar as bv
from biasvar.execution.backends.file import FileLocation
from biasvar.execution.store import Store
from test_longer import descents

def die(*args):
    os.kill(os.getpid(), signal.SIGKILL)

when, deleted, delete_tree = sys.argv[2], [], FileLocation.delete_tree

def delete(self, prefix):
    delete_tree(self, prefix)
    if prefix.startswith("blocks/"):
        deleted.append(prefix)
        if when == "while it removes" and len(deleted) == 4:
            die()

def seen(progress):
    if when == f"after {{progress.done}}":
        die()

FileLocation.delete_tree = delete
if when == "before the summary":
    Store.write_summary = die
if when == "after the summary":
    Store._remove_superseded = die
bv.run(descents(steps=50), sys.argv[1], scheduler="synchronous", blocks_per_chunk=1, progress=seen)
"""


@pytest.mark.slow
@pytest.mark.parametrize("when", ["after 1", "after 4", "before the summary", "after the summary", "while it removes"])
def test_an_extension_that_is_killed_goes_on(when, store, reference):
    bv.run(descents(), store, scheduler="synchronous")
    before = group_paths(store)
    script = DRIVER.format(tests=str(ROOT / "tests"))
    killed = subprocess.run([sys.executable, "-c", script, str(store), when], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    if when == "while it removes":
        assert len(set(before) & set(group_paths(store))) > 0
    else:
        # What is stored goes when the new summary is there, not before.
        assert set(before) <= set(group_paths(store))
    if when in ("after the summary", "while it removes"):
        assert bv.digest(store) == bv.digest(reference)
        assert bv.verify(store).ok
    else:
        assert not store_status(store).complete
        assert "the summary is not written yet" in bv.verify(store).problems
    assert messages(descents(steps=50), store, scheduler="threads") == []
    assert_like(reference, store)


# Stores of before


@pytest.fixture
def of_before(store, monkeypatch):
    """A store whose groups and root say nothing of editions."""
    with monkeypatch.context() as patched:
        patched.setattr(bv.OptimizerStudy, "editions", {f"loss~{name}": "" for name in ("sgd", "adam")})
        bv.run(descents(), store, scheduler="synchronous")
    at = Location.of(store)
    for path in store.glob("blocks/*/*/zarr.json"):
        metadata = json.loads(path.read_text())
        assert metadata["attributes"].pop("edition") == ""
        at.write(str(path.relative_to(store)), json.dumps(metadata).encode())
    for key in ("zarr.json", "blocks/zarr.json"):
        metadata = json.loads(at.read(key))
        assert json.loads(metadata["attributes"].pop("editions")) == {}
        at.write(key, json.dumps(metadata).encode())
    return store


def test_stores_of_before_are_gone_on_with(of_before, monkeypatch):
    paths, seen = group_paths(of_before), []
    simulate = bv.OptimizerStudy.simulate
    monkeypatch.setattr(
        bv.OptimizerStudy, "simulate", lambda self, group, block: seen.append(block) or simulate(self, group, block)
    )
    for _ in range(2):
        bv.run(descents(), of_before, scheduler="synchronous")
        assert (seen, group_paths(of_before)) == ([], paths)
    bv.run(descents(replicates=4), of_before, scheduler="synchronous")
    assert set(seen) == {3}
    assert group_paths(of_before) == paths
    assert bv.verify(of_before).ok


def test_stores_of_before_take_more_steps(of_before, reference):
    assert messages(descents(steps=50), of_before) == [AGAIN]
    assert_like(reference, of_before)


def test_another_layout_of_as_many_steps_is_refused(store, monkeypatch):
    bv.run(descents(), store)
    ours = bv.OptimizerStudy.record_coordinates
    monkeypatch.setattr(
        bv.OptimizerStudy, "record_coordinates", lambda *a: {name: values[::-1] for name, values in ours(*a).items()}
    )
    with pytest.raises(StoreError, match="number 0 of a record"):
        bv.run(descents(), store)


# Merges


def test_of_longer_and_shorter_descents_a_merge_takes_the_longer(tmp_path, reference):
    short, merged = tmp_path / "short.zarr", tmp_path / "merged.zarr"
    bv.run(descents(), short)
    bv.merge([short, reference], merged, study=descents(steps=50))
    assert_like(reference, merged)


def test_of_stores_alone_a_merge_finds_the_longer_study(tmp_path):
    short = descents(objectives={"bowl": bv.Quadratic([1, 10])}, batch_size=None, optimizers={"sgd": bv.SGD([0.1])})
    long = short.replace(steps=50)
    bv.run(short, tmp_path / "short.zarr")
    bv.run(long, tmp_path / "long.zarr")
    bv.merge([tmp_path / "short.zarr", tmp_path / "long.zarr"], tmp_path / "merged.zarr")
    assert_like(tmp_path / "long.zarr", tmp_path / "merged.zarr")


def test_what_only_a_shorter_store_has_is_left_to_a_run(tmp_path, reference):
    short, merged = tmp_path / "short.zarr", tmp_path / "merged.zarr"
    bv.run(descents(), short)
    only = tmp_path / "only.zarr"
    bv.run(descents(steps=50, optimizers={"adam": bv.Adam(learning_rate=0.1)}), only)
    with pytest.raises(RunError, match="0 chunks and 4 cells are whole in none"):
        bv.merge([short, only], merged, study=descents(steps=50))
    bv.run(descents(steps=50), merged)
    assert_like(reference, merged)


def test_groups_of_another_edition_lie_elsewhere():
    short, long = (descents(steps=steps).groups() for steps in (30, 50))
    assert {group.path for group in short}.isdisjoint(group.path for group in long)
    assert [group.cells for group in short] == [group.cells for group in long]
