"""Places for stores: a local path, memory, and an object store on this machine."""

import os
import socket
import subprocess
import sys
import urllib.request

import dask
import pytest
from helpers import SECRET, new_place, small_study, until

import biasvar as bv

PLACES = ["local", "memory", "s3"]


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
    until(lambda: answers(bucket))
    yield f"http://127.0.0.1:{port}"
    running.kill()
    running.wait()


def answers(request):
    try:
        urllib.request.urlopen(request).close()
    except OSError:
        return False
    return True


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


@pytest.fixture(params=PLACES)
def place(request):
    return new_place(request.param, request)


@pytest.fixture
def bucket_place(request):
    return new_place("s3", request)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    path = tmp_path_factory.mktemp("reference") / "store.zarr"
    bv.run(small_study(), path, scheduler="synchronous")
    return bv.digest(path)


@pytest.fixture
def short_lease():
    with dask.config.set({"biasvar.lease": "1.5s"}):
        yield


@pytest.fixture(scope="module")
def client():
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        yield client
