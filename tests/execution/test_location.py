"""Stores by URL: one behaviour on a local disk, in an object store and in memory; locks, refusals, secrets."""

import contextlib
import errno
import itertools
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import cloudpickle
import dask
import numcodecs.pickles
import numpy as np
import pytest
import zarr
from helpers import command, small_study

import biasvar as bv
from biasvar.errors import MissingDependencyError, StoreError, StoreLockedError, StoreUnreachableError
from biasvar.execution import graph, lock
from biasvar.execution.backends import FileLocation, Location, file
from biasvar.execution.backends import s3 as object_stores
from biasvar.execution.lock import in_words
from biasvar.execution.status import store_status
from biasvar.execution.store import Store
from biasvar.studies.base import Chunk

SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"
PLACES = ["local", "memory", "s3"]
_numbers = itertools.count()


@pytest.fixture(scope="session")
def server():
    """An S3 server with a bucket."""
    pytest.importorskip("obstore", reason="obstore, which reads and writes s3://, is not installed")
    pytest.importorskip("moto", reason="moto, an S3 server for tests, is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    bucket = urllib.request.Request(f"http://127.0.0.1:{port}/studies", method="PUT")
    until(lambda: answers(bucket), 60)
    yield f"http://127.0.0.1:{port}"
    running.kill()
    running.wait()


def answers(request):
    try:
        urllib.request.urlopen(request).close()
    except OSError:
        return False
    return True


def until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def s3(server, monkeypatch):
    """The environment in which s3:// is that server."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    settings = {
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": server,
        "AWS_ALLOW_HTTP": "true",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return server


def new_place(kind, request):
    if kind == "local":
        return str(request.getfixturevalue("tmp_path") / f"store-{next(_numbers)}.zarr")
    if kind == "s3":
        request.getfixturevalue("s3")
        return f"s3://studies/of mine/store-{next(_numbers)}.zarr"
    return f"memory://store-{next(_numbers)}"


@pytest.fixture(params=PLACES)
def place(request):
    return new_place(request.param, request)


@pytest.fixture
def bucket_place(request):
    return new_place("s3", request)


# Places


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
        Location.of(f"s3://studies/without-{next(_numbers)}").exists()


# Studies


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    path = tmp_path_factory.mktemp("reference") / "store.zarr"
    bv.run(small_study(), path, scheduler="synchronous")
    return bv.digest(path)


class KilledError(Exception):
    pass


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


# Records


@pytest.fixture
def records(place):
    study = small_study()
    store, (group, *_) = Store(place), study.groups()
    store.claim(study)
    return store.create(group, 12, 4, study.statistic_coordinates(group))


def content(records, failure=""):
    shape = (len(records.group.cells), 4)
    failures = np.full(shape, "", dtype=object)
    failures[0, 2] = failure
    return Chunk(np.ones((*shape, records.group.record_size)), failures)


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
    assert (records.read(1).failures == "").all()


def test_a_chunk_that_failed_and_then_did_not_is_sound(records):
    records.write(0, content(records, "only now and then"), 64)
    records.discard(0)
    records.write(0, content(records), 64)
    assert (records.read(0).failures == "").all()
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
        assert records.read(0).failures[0, 2] == "boom"
        return
    (found, sound) = records.recover(0)
    assert [bool(s) for s in sound] == [kept < 4, kept < 4, kept < 3, kept < 4]
    assert sound[2] == (found.failures[0, 2] == "boom")


# Nothing stored is ever executed


class Payload:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def plant(folder, marker):
    """Make of a folder an array of Zarr format 2 whose codec unpickles what is stored."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "zarr.json").unlink(missing_ok=True)
    about = {"zarr_format": 2, "shape": [1], "chunks": [1], "dtype": "|O", "fill_value": "", "order": "C"}
    codecs = {"compressor": None, "filters": [{"id": "vlen-utf8"}, {"id": "pickle"}]}
    (folder / ".zarray").write_text(json.dumps(about | codecs))
    (folder / "0").write_bytes(pickle.dumps(Payload(marker)))


@pytest.mark.filterwarnings("ignore:Object at:zarr.errors.ZarrUserWarning")
@pytest.mark.parametrize("where", ["", "blocks", "bias2", "blocks/n2/H0+H1/records", "blocks/n2/H0+H1/moment"])
def test_a_store_with_a_pickle_inside_does_not_run_it(where, store, tmp_path, monkeypatch):
    # Newer versions of numcodecs have a guard of their own; what is looked at here does without.
    monkeypatch.setattr(numcodecs.pickles, "ALLOW_UNSAFE_PICKLE_DECODE", True, raising=False)
    marker = str(tmp_path / "was run")
    plant(tmp_path / "bait", marker)
    with pytest.raises((TypeError, ValueError, AttributeError)):
        zarr.open_array(tmp_path / "bait", mode="r")[:]
    Path(marker).rmdir()  # so the bait is good

    bv.run(small_study(), store, scheduler="synchronous")
    plant(store / where, marker)
    for look in (lambda at: bv.open(at).load(), bv.verify, store_status, bv.digest, LOOKS["run"]):
        with contextlib.suppress(StoreError):
            look(store)
    assert not Path(marker).exists()


# Locks


@pytest.fixture
def short_lease():
    with dask.config.set({"biasvar.lease": "1.5s"}):
        yield


def test_a_second_run_is_refused_and_the_lock_ends_with_the_run(place, short_lease):
    assert Location.of(place).holder() is None
    with Location.of(place).hold() as hold:
        start = time.monotonic()
        with pytest.raises(StoreLockedError, match=f"process {os.getpid()} of .* is running on it") as refused:
            bv.run(small_study(), place, scheduler="synchronous")
        assert time.monotonic() - start < 1.5  # a live holder shows itself in a third of its lease
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
        assert waited < 1.0
    else:
        assert 1.5 <= waited < 10
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

        until(lost, 1.5)
    assert lease.read()[0]["token"] == "another's"


def test_a_file_system_without_locks_is_told(store, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(file.fcntl, "flock", no_locks)
    with pytest.raises(StoreError, match="its file system has no locks"), Location.of(store).hold():
        pass
    assert Location.of(store).holder() is None


# Secrets


def test_no_secret_is_in_graph_store_or_output(bucket_place, s3, tmp_path):
    study, at = small_study(), Location.of(bucket_place)
    store, (group, *_) = Store(at), study.groups()
    store.claim(study)
    records = store.create(group, 16, 4, study.statistic_coordinates(group))
    records.missing()
    tasks = graph.Tasks.of(graph.PackedStudy(study), at, records, [1, 3])
    shipped = cloudpickle.dumps(tasks)
    assert bucket_place.encode() in shipped
    done = command("run", "two-point-sine", "--store", f"{bucket_place}-2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lost = command("status", "s3://no-such-bucket/key", cwd=tmp_path)
    assert (lost.returncode, len(lost.stderr.strip().splitlines())) == (2, 1)
    stored = "".join(str(Location.of(f"{bucket_place}-2").read(key)) for key in ("zarr.json", "blocks/zarr.json"))
    for text in (str(shipped), stored, done.stdout, done.stderr, lost.stderr, repr(at), repr(store)):
        assert SECRET not in text
        assert "AKIAEXAMPLE" not in text
        assert s3 not in stored


# Refusals


class Forbidding(BaseHTTPRequestHandler):
    code, body = 403, b"<Error><Code>AccessDenied</Code></Error>"

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(self.code)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815  # their names are the server's

    def log_message(self, *_):
        pass


class Failing(Forbidding):
    code, body = 503, b"<Error><Code>SlowDown</Code></Error>"


@contextmanager
def answering(handler):
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def silent():
    """A server that accepts, and then says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(100)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def nobody():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


FAULTS = {
    "forbidden": (lambda: answering(Forbidding), StoreError, r"403 Forbidden \(AccessDenied\); see to the credentials"),
    "overloaded": (lambda: answering(Failing), StoreUnreachableError, r"503 Service Unavailable \(SlowDown\) from"),
    "refusing": (nobody, StoreUnreachableError, r"http://127.0.0.1:\d+ refuses the connection"),
    "silent": (silent, StoreUnreachableError, r"no answer from http://127.0.0.1:\d+"),
}
LOOKS = {
    "run": lambda url: bv.run(small_study(), url, scheduler="synchronous"),
    "open": bv.open,
    "verify": bv.verify,
    "status": store_status,
}


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(object_stores, "REQUEST_SECONDS", 0.8)
    monkeypatch.setattr(object_stores, "RETRY_SECONDS", 0.4)


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_refuses_is_told_in_one_line(fault, look, s3, monkeypatch, quick):
    make, kind, words = FAULTS[fault]
    with make() as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint.replace("://", f"://me:{SECRET}@"))
        start = time.monotonic()
        with pytest.raises(kind, match=words) as refused:
            LOOKS[look](f"s3://studies/refused-{next(_numbers)}")
        assert time.monotonic() - start < 10
    assert type(refused.value) is kind
    assert "\n" not in str(refused.value)
    assert SECRET not in str(refused.value)


def test_silence_is_told_within_half_a_minute():
    assert object_stores.REQUEST_SECONDS <= 30
    assert object_stores.RETRY_SECONDS < object_stores.REQUEST_SECONDS  # so that silence is not waited for twice


@pytest.mark.parametrize("look", LOOKS)
def test_a_bucket_that_is_not_there_is_told(look, s3):
    with pytest.raises(StoreError, match="there is no such bucket") as refused:
        LOOKS[look]("s3://no-such-bucket/key")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (["AWS_ALLOW_HTTP"], "set AWS_ALLOW_HTTP=true"),
        (["AWS_SECRET_ACCESS_KEY"], "no credentials; set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_an_environment_that_lacks_something_is_told(missing, words, s3, monkeypatch, quick):
    for name in missing:
        monkeypatch.delenv(name)
    with pytest.raises(StoreError, match=words) as refused:
        bv.open(f"s3://studies/lacking-{next(_numbers)}")
    assert "\n" not in str(refused.value)


GONE = [("get", "records/zarr.json"), ("get", "count/c/"), ("get", "moment"), ("list_dir", "count/c")]


@pytest.mark.parametrize(("method", "part"), GONE)
def test_what_cannot_be_reached_is_not_taken_for_missing(method, part, bucket_place, reference, monkeypatch):
    from obstore.exceptions import GenericError
    from zarr.storage import ObjectStore

    bv.run(small_study(), bucket_place, scheduler="synchronous")
    real, removed = getattr(ObjectStore, method), []

    def unreachable(self, key, *rest, **options):
        if part in key:
            raise GenericError("HTTP error: kind: Connect, ConnectionRefused")
        return real(self, key, *rest, **options)

    monkeypatch.setattr(ObjectStore, method, unreachable)
    monkeypatch.setattr(ObjectStore, "delete_dir", lambda *a: removed.append(a))
    for look in (LOOKS["run"], store_status if method == "list_dir" else bv.verify):
        with pytest.raises(StoreUnreachableError, match="refuses the connection"):
            look(bucket_place)
    monkeypatch.undo()
    assert removed == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_refuses_is_told_and_nothing_is_lost(code, store, reference, monkeypatch):
    from zarr.storage import LocalStore

    real, written = LocalStore.set, []

    async def refuse(self, key, value):
        if len(written) == 40:
            raise OSError(code, os.strerror(code))
        written.append(key)
        await real(self, key, value)

    monkeypatch.setattr(LocalStore, "set", refuse)
    with pytest.raises(StoreError, match=f"store {store}: cannot be written: {os.strerror(code)}") as refused:
        bv.run(small_study(), store, scheduler="synchronous", blocks_per_chunk=2)
    assert "\n" not in str(refused.value)
    monkeypatch.setattr(LocalStore, "set", real)
    bv.run(small_study(), store, scheduler="synchronous")
    assert bv.digest(store) == reference


def test_a_disk_that_does_not_answer_has_lost_nothing(store, reference, monkeypatch):
    from zarr.storage import LocalStore

    bv.run(small_study(), store, scheduler="synchronous")
    real = LocalStore.get

    async def fail(self, key, *rest, **options):
        if "records/c" in key:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return await real(self, key, *rest, **options)

    monkeypatch.setattr(LocalStore, "get", fail)
    for look in (bv.verify, bv.digest, LOOKS["run"]):
        with pytest.raises(StoreUnreachableError, match="cannot be read: Input/output error"):
            look(store)
    monkeypatch.setattr(LocalStore, "get", real)
    assert bv.verify(store).problems == ("the summary is not written yet",)
    bv.run(small_study(), store, scheduler="synchronous")
    assert bv.digest(store) == reference
