"""Stores by URL: one behaviour on a local disk, in an object store and in memory."""

import itertools
import pickle
import sys
import threading
from pathlib import Path

import dask
import pytest
from helpers import SECRET, KilledError, numbers, small_study

import biasvar as bv
from biasvar.errors import MissingDependencyError, StoreError
from biasvar.execution import graph
from biasvar.execution.backends import Location
from biasvar.execution.status import store_status


def test_every_place_keeps_the_contract(place):
    at = Location.of(place)
    assert not at.exists()
    assert at.children() == []
    assert at.read("zarr.json") is None
    at.delete("zarr.json")
    at.delete_tree("blocks")
    at.write("zarr.json", b"{}")
    at.write("blocks/n2/H0+H1~1/zarr.json", b"one")
    at.write("blocks/n2/H0+H1~1/zarr.json", b"two")
    at.write("blocks/n10/x/c/0/1", b"\x00\xff" * 1000)
    assert at.exists()
    assert at.read("blocks/n2/H0+H1~1/zarr.json") == b"two"
    assert at.read("blocks/n10/x/c/0/1") == b"\x00\xff" * 1000
    assert at.read("blocks") is None
    assert at.read("zarr.json/below") is None
    assert at.children() == ["blocks", "zarr.json"]
    assert at.children("blocks") == ["n10", "n2"]
    assert at.children("blocks/n") == []
    assert at.children("zarr.json") == []
    at.delete("zarr.json")
    at.delete_tree("blocks/n2")
    assert at.children() == ["blocks"]
    assert at.children("blocks") == ["n10"]
    at.delete_tree("blocks")
    assert not at.exists()


def test_a_place_travels_as_its_url(place):
    at = Location.of(place)
    at.write("key", b"here")
    far = pickle.loads(pickle.dumps(at))
    assert far == at
    assert str(far) == place
    assert hash(far) == hash(at)
    assert far.read("key") == b"here"
    assert Location.of(at) is at
    assert Location.of(str(at)) == at
    assert at.shared != place.startswith("memory:")
    assert dask.base.tokenize(at) == dask.base.tokenize(far)


def test_a_reader_sees_old_or_new_and_never_a_mixture(place):
    at, ended = Location.of(place), threading.Event()
    at.write("key", b"a" * 100_000)

    def rewrite():
        for text in itertools.cycle((b"b", b"a")):
            at.write("key", text * 100_000)
            if ended.is_set():
                return

    writer = threading.Thread(target=rewrite)
    writer.start()
    seen = [at.read("key") for _ in range(50)]
    ended.set()
    writer.join()
    assert {len(text) for text in seen} == {100_000}
    assert all(len(set(text)) == 1 for text in seen)


def test_a_folder_may_be_named_by_a_file_url_and_looking_makes_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(Location.of("file:///a/b%20c")) == "/a/b c"
    assert str(Location.of("x.zarr")) == str(tmp_path / "x.zarr")
    assert Location.of(Path("x.zarr")) == Location.of(f"file://{tmp_path}/x.zarr")
    at = Location.of("x.zarr")
    assert (at.exists(), at.read("zarr.json"), at.children()) == (False, None, [])
    with pytest.raises(StoreError, match="does not exist"):
        store_status("x.zarr")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("gs://bucket/key", "expected a local path, s3://BUCKET/KEY or memory://NAME"),
        ("https://host/path", "expected a local path"),
        ("s3://bucket", "expected s3://BUCKET/KEY"),
        ("s3:///key", "expected s3://BUCKET/KEY"),
        ("s3://bucket/../key", "expected s3://BUCKET/KEY"),
        (f"s3://AKIA:{SECRET}@bucket/key", "no credentials in the URL"),
        (f"s3://AKIA:{SECRET}/bucket/key", "expected s3://BUCKET/KEY"),
        (f"s3://bucket/key?secret={SECRET}", "no credentials in the URL"),
        (f"gs://{SECRET}/key", "expected a local path"),
        (f"file://me:{SECRET}@host/x", "an absolute path"),
        ("memory://", "expected a name"),
        (Path("s3://bucket/key"), "a Path cannot hold a URL"),
        (7, "expected a path or a URL, got 7"),
    ],
)
def test_a_url_that_serves_for_nothing_is_refused_and_no_secret_said(url, words):
    with pytest.raises(StoreError, match=words) as refused:
        Location.of(url)
    assert SECRET not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_library_is_named(s3, monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(MissingDependencyError, match=r"obstore is not installed.*biasvar\[s3\]"):
        Location.of(f"s3://studies/without-{next(numbers)}").exists()


def test_a_study_runs_resumes_and_is_the_same_everywhere(place, reference, monkeypatch):
    write, written = graph.Records.write, []

    def stop_at_third(self, chunk, *rest):
        if len(written) == 3:
            raise KilledError
        written.append(chunk)
        write(self, chunk, *rest)

    monkeypatch.setattr(graph.Records, "write", stop_at_third)
    with pytest.raises(KilledError):
        bv.run(small_study(), place, scheduler="synchronous", blocks_per_chunk=4)
    monkeypatch.setattr(graph.Records, "write", write)
    state = store_status(place)
    assert (state.complete, state.done, state.chunks) == (False, 3, 8)
    with pytest.raises(StoreError, match="has not finished"):
        bv.open(place)
    summary = bv.run(small_study(), place, scheduler="synchronous")
    assert bv.verify(place).ok
    assert bv.digest(place) == reference
    assert bv.open(place).load().bias2.equals(summary.bias2)
    assert store_status(place).complete


def test_a_study_is_extended_everywhere(place, tmp_path):
    small, wider = small_study(n_train=[2]), small_study(n_train=[2, 5], replicates=24 * 64)
    bv.run(small, place, scheduler="synchronous", blocks_per_chunk=5)
    bv.run(wider, place, scheduler="threads")
    bv.run(wider, tmp_path / "fresh.zarr", scheduler="synchronous")
    assert bv.digest(place) == bv.digest(tmp_path / "fresh.zarr")


DAMAGE = [
    "zarr.json",
    "bias2/zarr.json",
    "blocks/n2/H0+H1/records/zarr.json",
    "blocks/n10/H0+H1/count/c/1",
    "blocks/n10/H0+H1/records/c/0/0/0",
]


@pytest.mark.parametrize("harm", ["delete", "garbage"])
def test_damage_in_an_object_store_is_found_and_repaired(harm, bucket_place, reference):
    at = Location.of(bucket_place)
    bv.run(small_study(), bucket_place, scheduler="synchronous", blocks_per_chunk=8)
    for key in DAMAGE:
        assert at.read(key)
        if harm == "delete":
            at.delete(key)
        else:
            at.write(key, b"\x07" * 40)
    assert len(bv.verify(bucket_place).problems) == 6
    bv.run(small_study(), bucket_place, scheduler="synchronous", blocks_per_chunk=8)
    assert bv.verify(bucket_place).ok
    assert bv.digest(bucket_place) == reference


def test_something_else_in_a_bucket_is_refused_and_left_alone(bucket_place):
    at = Location.of(bucket_place)
    at.write("thesis.tex", b"years of work")
    with pytest.raises(StoreError, match="not a biasvar store"):
        bv.run(small_study(), bucket_place, scheduler="synchronous")
    assert at.children() == ["thesis.tex"]
