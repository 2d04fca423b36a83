"""A place that refuses, or does not answer, is told in one line, and nothing is lost."""

import errno
import os
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from helpers import SECRET, numbers, small_study

import biasvar as bv
from biasvar.errors import StoreError, StoreUnreachableError
from biasvar.execution.backends import file as files
from biasvar.execution.backends import s3 as object_stores
from biasvar.execution.status import store_status


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
        with pytest.raises(kind, match=words) as refused:
            LOOKS[look](f"s3://studies/refused-{next(numbers)}")
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
        bv.open(f"s3://studies/lacking-{next(numbers)}")
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
    real, written = os.replace, []

    def refuse(draft, path):
        if len(written) == 40:
            raise OSError(code, os.strerror(code))
        written.append(path)
        real(draft, path)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(StoreError, match=f"store {store}: cannot be written: {os.strerror(code)}") as refused:
        bv.run(small_study(), store, scheduler="synchronous", blocks_per_chunk=2)
    assert "\n" not in str(refused.value)
    assert not list(store.rglob("*.partial"))
    monkeypatch.setattr(os, "replace", real)
    bv.run(small_study(), store, scheduler="synchronous")
    assert bv.digest(store) == reference


def test_a_disk_that_does_not_answer_has_lost_nothing(store, reference, monkeypatch):
    bv.run(small_study(), store, scheduler="synchronous")

    def fail(path, mode):
        if "records/c" in path:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return open(path, mode)

    monkeypatch.setattr(files, "open", fail, raising=False)
    for look in (bv.verify, bv.digest, LOOKS["run"]):
        with pytest.raises(StoreUnreachableError, match="cannot be read: Input/output error"):
            look(store)
    monkeypatch.undo()
    assert bv.verify(store).problems == ("the summary is not written yet",)
    bv.run(small_study(), store, scheduler="synchronous")
    assert bv.digest(store) == reference
