"""Records of a group: what is kept, discarded and recovered, in every place."""

import numpy as np
import pytest
from helpers import KilledError, small_study

from biasvar.execution.backends import Location
from biasvar.execution.store import Store
from biasvar.studies.base import Chunk


@pytest.fixture
def records(place):
    study = small_study()
    store, (group, *_) = Store(place), study.groups()
    store.claim(study)
    return store.create(group, 12, 4, study.record_coordinates(group))


def content(records, failure=""):
    shape = (len(records.group.cells), 4)
    failures = np.full(shape, "", dtype=object)
    failures[0, 2] = failure
    return Chunk(np.ones((*shape, records.group.record_size)), failures)


def read(records, chunk):
    (found,) = records.read_all(records.blocks_of(chunk))
    return found


def test_failures_and_tracebacks_are_kept_listed_and_forgotten(records):
    assert records.failed() == []
    for chunk, failure in enumerate(["", "boom", ""]):
        records.write(chunk, content(records, failure), 64, ["", "", failure and "Traceback: boom", ""])
    assert records.missing() == []
    assert records.failed() == [1]
    assert records.tracebacks(1) == ["", "", "Traceback: boom", ""]
    assert records.tracebacks(0) == [""] * 4
    records.discard(1)
    assert records.missing() == [1]
    assert records.recover(1)[1].all()  # a failure is a result too
    records.discard(1, entirely=True)
    assert not records.recover(1)[1].any()
    assert records.failed() == []
    records.write(1, content(records), 64)
    assert records.tracebacks(1) == [""] * 4
    assert (read(records, 1).failures == "").all()


def test_a_chunk_that_failed_and_then_did_not_is_sound(records):
    records.write(0, content(records, "only now and then"), 64)
    records.discard(0)
    records.write(0, content(records), 64)
    assert (read(records, 0).failures == "").all()
    assert records.failed() == []


@pytest.mark.parametrize("kept", range(5))
def test_what_a_killed_forgetting_leaves_is_sound_or_simulated_again(records, kept, monkeypatch):
    records.write(0, content(records, "boom"), 64, ["", "", "trace", ""])
    done = []
    delete = Location.delete

    def killed(self, key):
        if len(done) == kept:
            raise KilledError
        done.append(key)
        delete(self, key)

    monkeypatch.setattr(Location, "delete", killed)
    try:
        records.discard(0, entirely=True)
    except KilledError:
        pass
    else:
        assert kept == 4
    monkeypatch.setattr(Location, "delete", delete)
    if kept == 0:
        assert read(records, 0).failures[0, 2] == "boom"
        return
    (found, sound) = records.recover(0)
    assert [bool(s) for s in sound] == [kept < 4, kept < 4, kept < 3, kept < 4]
    assert sound[2] == (found.failures[0, 2] == "boom")
