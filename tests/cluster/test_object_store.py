"""A store in S3, on a server of this machine: workers die, the server falls silent, two runs want it."""

import signal
import sys
import time
from urllib.request import urlopen

import pytest

import biasvar as bv

from .pieces import (
    SMALL_STUDY,
    STUDY,
    biasvar,
    check,
    dask_scheduler,
    dask_worker,
    for_ever,
    free_port,
    wait_for,
)

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

BUCKET = "studies"


@pytest.fixture
def server(processes, monkeypatch):
    """An S3 server with an empty bucket; all that is started from here on, and this process, know its address."""
    import boto3

    port = free_port()
    address = f"http://127.0.0.1:{port}"
    process = processes.start("s3", [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)])
    environment = {
        "AWS_ACCESS_KEY_ID": "visible-only-in-the-environment",
        "AWS_SECRET_ACCESS_KEY": "secret-of-this-test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": address,
        "AWS_ALLOW_HTTP": "true",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    processes.environment |= environment

    def answers():
        try:
            return urlopen(address, timeout=1).status == 200
        except OSError:
            return False

    wait_for(answers, 60, "the S3 server", process)
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    return process


@pytest.fixture
def cluster(processes, server):
    """A scheduler and two workers; the options that lead a driver to them."""
    file = processes.folder / "scheduler.json"
    processes.start("scheduler", dask_scheduler("--host", "127.0.0.1", "--port", 0, "--scheduler-file", file))
    for name in ("w1", "w2"):
        where = ("--host", "127.0.0.1", "--scheduler-file", file, "--local-directory", processes.folder / name)
        processes.start(name, for_ever(dask_worker("--name", name, *where)))
    wait_for(file.exists, 60, "the scheduler's file")
    return "--scheduler-file", file


def chunks(store):
    try:
        return bv.execution.verify.status(store).done
    except bv.errors.StoreError:  # there is none yet
        return 0


def test_a_store_in_s3_has_the_same_bits_though_a_worker_is_killed(cluster, processes, reference):
    store = f"s3://{BUCKET}/learning-curves.zarr"
    driver = processes.start("driver", biasvar("run", *STUDY, "--store", store, *cluster))
    wait_for(lambda: chunks(store) > 20, 300, "a fifth of the study", driver)
    (victim,) = [process for process in processes.named("--name w1") if process.name() != "bash"]
    victim.kill()
    assert driver.exit_code(900) == 0, driver.text
    check(store, reference)
    for log in processes.folder.glob("*.log"):
        if log.stem != "s3":
            assert "secret-of-this-test" not in log.read_text(), log.name


def test_a_server_that_falls_silent_is_waited_for(cluster, processes, server, small_reference):
    store = f"s3://{BUCKET}/silent.zarr"
    driver = processes.start("driver", biasvar("run", *SMALL_STUDY, "--store", store, *cluster))
    wait_for(lambda: chunks(store) > 4, 300, "a few chunks", driver)
    server.signal(signal.SIGSTOP)
    time.sleep(40)  # longer than a request may take
    server.signal(signal.SIGCONT)
    assert driver.exit_code(900) == 0, driver.text
    check(store, small_reference)


def test_one_run_at_a_time_and_a_killed_one_is_taken_over(cluster, processes, server, small_reference):
    store = f"s3://{BUCKET}/shared.zarr"
    command = biasvar("run", *SMALL_STUDY, "--store", store, *cluster)
    lease = {"DASK_BIASVAR__LEASE": "6s"}
    first = processes.start("first", command, **lease)
    wait_for(lambda: chunks(store) > 3, 300, "a few chunks", first)
    second = processes.run(command, 120, **lease)
    assert second.returncode == 2
    assert "is running on it" in second.stderr
    first.signal(signal.SIGKILL)
    first.exit_code(60)
    third = processes.run(command, 600, **lease)
    assert third.returncode == 0, third.stderr
    check(store, small_reference)
