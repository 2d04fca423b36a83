"""At most one run per store, in every place, whatever clocks, kills and servers do."""

import errno
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers import KilledError, new_place, small_study, until

import biasvar as bv
from biasvar.errors import StoreError, StoreLockedError
from biasvar.execution import lock
from biasvar.execution.backends import FileLocation, Location, file
from biasvar.execution.backends import s3 as object_stores
from biasvar.execution.lock import in_words


def test_a_second_run_is_refused_and_the_lock_ends_with_the_run(place, short_lease):
    assert Location.of(place).holder() is None
    with Location.of(place).hold() as hold:
        with pytest.raises(StoreLockedError, match=f"process {os.getpid()} of .* is running on it") as refused:
            bv.run(small_study(), place, scheduler="synchronous")
        assert "\n" not in str(refused.value)
        found = Location.of(place).holder()
        assert found["pid"] == os.getpid()
        assert {"host", "user", "since", "progress"} <= set(found)
        assert f"process {os.getpid()} of" in in_words(found)
        hold.check()
    assert Location.of(place).holder() is None
    assert in_words(None) == ""
    with pytest.raises(KilledError), Location.of(place).hold():
        raise KilledError
    bv.run(small_study(), place, scheduler="synchronous")
    if isinstance(Location.of(place), FileLocation):
        assert not Location.of(place).path.with_name(f".{Path(place).name}.lock").exists()


def test_a_holder_tells_how_far_it_is(place, short_lease):
    with Location.of(place).hold() as hold:
        for done in (100_000, 7):  # a shorter text than the one before
            hold.tell({"done": done, "worst": None})
            until(lambda done=done: Location.of(place).holder()["progress"] == {"done": done, "worst": None})
    assert Location.of(place).holder() is None


HOLDER = """
import sys, time
import dask
from biasvar.errors import StoreLockedError
from biasvar.execution.backends import Location
dask.config.set({"biasvar.lease": "1.5s"})
with Location.of(sys.argv[1]).hold() as hold:
    print("held", flush=True)
    try:
        while True:
            hold.check()
            time.sleep(0.05)
    except StoreLockedError as error:
        print(error, flush=True)
"""


@contextmanager
def another_holder(place):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, place], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_a_live_holder_elsewhere_is_respected_and_a_killed_one_followed(kind, request, short_lease):
    place = new_place(kind, request)
    with another_holder(place) as process:
        with pytest.raises(StoreLockedError, match=f"process {process.pid} of"), Location.of(place).hold():
            pass
        assert Location.of(place).holder()["pid"] == process.pid
        process.kill()
        process.wait()
        start, said = time.monotonic(), []
        with Location.of(place).hold(said.append) as hold:
            assert Location.of(place).holder()["pid"] == os.getpid()
            hold.check()
        waited = time.monotonic() - start
    if kind == "local":
        assert said == []
    else:
        assert waited >= 1.5  # the dead one's lease
        assert len(said) == 1
        assert f"process {process.pid} of" in said[0]
        assert "waiting" in said[0]


def test_a_holder_that_slept_too_long_finds_out(bucket_place, short_lease):
    with another_holder(bucket_place) as process:
        process.send_signal(signal.SIGSTOP)
        with Location.of(bucket_place).hold():
            process.send_signal(signal.SIGCONT)
            line = process.stdout.readline()
            assert f"process {os.getpid()} of" in line
            assert "has taken it over" in line
            until(lambda: process.poll() is not None)
            assert Location.of(bucket_place).holder()["pid"] == os.getpid()  # it did not take away what is not its own


def test_no_clock_that_jumps_gives_a_lock_away(bucket_place, short_lease, monkeypatch):
    jumps = itertools.count(0, 86_400)
    monkeypatch.setattr(time, "time", lambda: float(next(jumps)))
    with Location.of(bucket_place).hold(), pytest.raises(StoreLockedError), Location.of(bucket_place).hold():
        pass


class Careless:
    """A server that lets every conditional write through."""

    def __init__(self, place, real=object_stores.object_store):
        self._real = real(place)
        self.get, self.delete = self._real.get, self._real.delete

    def put(self, key, data, mode=None):
        return self._real.put(key, data)


def test_where_conditions_are_ignored_the_loser_notices_soon(bucket_place, short_lease, monkeypatch):
    monkeypatch.setattr(object_stores, "object_store", Careless)
    with Location.of(bucket_place).hold() as first:
        lease = object_stores._Lease(Location.of(bucket_place))
        assert lease.write(lock.me() | {"token": "another's", "lease": 1.5, "renewals": 0}, None)

        def lost():
            try:
                first.check()
            except StoreLockedError:
                return True
            return False

        until(lost)
    assert lease.read()[0]["token"] == "another's"


def test_a_file_system_without_locks_is_told(store, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(file.fcntl, "flock", no_locks)
    with pytest.raises(StoreError, match="its file system has no locks"), Location.of(store).hold():
        pass
    assert Location.of(store).holder() is None


def test_a_link_to_a_held_store_is_held_too(study, store):
    bv.run(study, store)
    link = store.with_name("link.zarr")
    link.symlink_to(store)
    with Location.of(store).hold(), pytest.raises(StoreLockedError):
        bv.run(study, link)


def test_a_second_run_is_refused_and_told_who_holds_the_store(study, store):
    with Location.of(store).hold():
        with pytest.raises(StoreLockedError, match=f"process {os.getpid()} of"):
            bv.run(study, store)
        assert Location.of(store).holder()["pid"] == os.getpid()
    assert Location.of(store).holder() is None
    bv.run(study, store)


def test_only_one_of_many_gets_the_lock(store):
    inside, most, refused = [], [], []

    def contend():
        for _ in range(50):
            try:
                with Location.of(store).hold():
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
            except StoreLockedError:
                refused.append(1)

    threads = [threading.Thread(target=contend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(most) + len(refused) == 400
