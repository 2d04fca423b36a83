"""A backend of one class, which touches nothing in the package: studies run, resume, grow and are verified on it."""

import os
from typing import ClassVar

import pytest
from helpers import small_study
from zarr.storage import ObjectStore

import biasvar as bv
from biasvar.errors import StoreError, StoreLockedError, StudyError
from biasvar.execution.backends import BACKENDS, Location
from biasvar.execution.backends.base import Refusal
from biasvar.execution.lock import in_words
from biasvar.execution.status import store_status

pytestmark = pytest.mark.usefixtures("toys")


class OutOfOrderError(Exception):
    """What the toy's medium says, in a class of its own."""


class Toy(Location):
    """Objects in a client's memory; no other process sees them."""

    scheme, example, shared = "toy", "toy://NAME", False
    clients: ClassVar = {}

    @classmethod
    def parse(cls, rest):
        if not rest.isidentifier():
            raise StoreError("store toy://...: expected a name, as in toy://bear")
        return rest

    def open_zarr(self):
        from obstore.store import MemoryStore

        return ObjectStore(self.clients.setdefault(self.place, MemoryStore()))

    def explain(self, error, *, writing):
        if isinstance(error, OutOfOrderError):
            return Refusal("the toy is out of order", "wind it up", passing=False)
        return super().explain(error, writing=writing)


class KilledError(Exception):
    pass


@pytest.fixture
def toys(monkeypatch):
    monkeypatch.setitem(BACKENDS, "toy", Toy)
    monkeypatch.setattr(Toy, "clients", {})


def killed_after(chunks):
    def told(progress):
        if progress.done == chunks:
            raise KilledError

    return told


@pytest.mark.slow
def test_a_study_runs_resumes_grows_and_is_verified_on_it(tmp_path):
    study, more = small_study(), small_study(replicates=32 * 64)
    with pytest.raises(KilledError):
        bv.run(study, "toy://bear", scheduler="synchronous", blocks_per_chunk=4, progress=killed_after(3))
    state = store_status("toy://bear")
    assert not state.complete
    assert state.done == 3
    assert not bv.verify("toy://bear").ok
    seen = []
    bv.run(study, "toy://bear", scheduler="threads", progress=lambda progress: seen.append(progress.total))
    assert seen[-1] == state.chunks - 3
    assert bv.verify("toy://bear").ok
    for one in (study, more):
        summary = bv.run(one, "toy://bear", scheduler="threads")
        bv.run(one, tmp_path / "x.zarr", scheduler="synchronous")
        assert bv.digest("toy://bear") == bv.digest(tmp_path / "x.zarr")
        assert bv.open("toy://bear").load().identical(summary.load())


def test_a_damaged_chunk_on_it_is_found_and_repaired():
    at = Location.of("toy://bear")
    bv.run(small_study(), at, scheduler="synchronous")
    at.write("blocks/n2/H0+H1/records/c/0/0/0", b"torn")
    assert "blocks/n2/H0+H1" in str(bv.verify(at))
    bv.run(small_study(), at, scheduler="synchronous", progress=lambda progress: None)
    assert bv.verify(at).ok


def test_its_default_lock_holds_one_run_at_a_time():
    at = Location.of("toy://bear")
    with at.hold() as hold:
        hold.tell({"done": 1})
        hold.check()
        assert f"process {os.getpid()} of" in in_words(at.holder())
        assert at.holder()["progress"] == {"done": 1}
        with pytest.raises(StoreLockedError, match=f"process {os.getpid()} of"):
            bv.run(small_study(), "toy://bear", scheduler="synchronous")
    assert at.holder() is None


def test_other_processes_are_not_sent_to_it():
    with pytest.raises(StudyError, match="cannot reach it"):
        bv.run(small_study(), "toy://bear", scheduler="processes")


def test_its_errors_are_told_in_a_line(monkeypatch):
    async def out_of_order(*_, **__):
        raise OutOfOrderError("secret=hunter2")

    monkeypatch.setattr(ObjectStore, "get", out_of_order)
    at = Location.of("toy://bear")
    with pytest.raises(
        StoreError, match="store toy://bear: cannot be read: the toy is out of order; wind it up"
    ) as told:
        at.read("zarr.json")
    assert told.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("toy://", "expected a name, as in toy://bear"),
        ("toy://me:hunter2@host", "expected no credentials"),
        ("bear://x", r"expected a local path, s3://BUCKET/KEY, memory://NAME or toy://NAME"),
    ],
)
def test_urls_are_refused_by_name_and_not_quoted(url, words):
    with pytest.raises(StoreError, match=words) as told:
        Location.of(url)
    assert "hunter2" not in str(told.value)


def test_a_shared_place_needs_a_lock_that_others_see():
    with pytest.raises(TypeError, match="expected hold and holder, or shared = False"):
        type("Disk", (Toy,), {"shared": True})


@pytest.mark.parametrize("scheme", ["file", "s3", "memory"])
def test_every_backend_names_its_scheme(scheme):
    assert BACKENDS[scheme].scheme == scheme
    assert BACKENDS[scheme].example
