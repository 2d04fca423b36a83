"""The scheduler, or all of its workers, or the driver, ends in the middle of a run."""

import signal
import time

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
    stored_chunks,
    wait_for,
    wait_for_chunks,
)

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

LOOPBACK = ("--interface", "lo")


class Cluster:
    """A scheduler and two workers on loopback, each started anew when it ends, and a driver."""

    def __init__(self, processes, store):
        self.processes, self.store = processes, store
        self.port = free_port()
        self.address = f"tcp://127.0.0.1:{self.port}"

    def start_scheduler(self, *where):
        command = dask_scheduler(*LOOPBACK, *(where or ("--port", self.port)))
        return self.processes.start("scheduler", for_ever(command))

    def start_worker(self, name, *where):
        scratch = ("--local-directory", self.processes.folder / name, "--death-timeout", 15)
        command = dask_worker(*(where or (self.address,)), *LOOPBACK, *scratch)
        return self.processes.start(name, for_ever(command))

    def start_driver(self, *where, name="driver", study=SMALL_STUDY, **environment):
        command = biasvar("run", *study, "--store", self.store, *(where or ("--scheduler", self.address)))
        return self.processes.start(name, command, **environment)

    def kill(self, words):
        """Kill -9 the one process whose command line has these words, and not the loop around it."""
        (victim,) = [process for process in self.processes.named(words) if process.name() != "bash"]
        victim.kill()


@pytest.fixture
def cluster(processes, store):
    return Cluster(processes, store)


@pytest.mark.parametrize(("by", "study"), [("file", STUDY), ("address", SMALL_STUDY)])
def test_a_scheduler_that_is_killed_and_comes_back_is_used_again(cluster, by, study, store, request):
    expected = request.getfixturevalue("reference" if study is STUDY else "small_reference")
    file = cluster.processes.folder / "scheduler.json"
    where = ("--scheduler-file", file) if by == "file" else ()
    cluster.start_scheduler(*where, *(("--port", 0) if by == "file" else ()))
    workers = [cluster.start_worker(name, *where) for name in ("w1", "w2")]
    driver = cluster.start_driver(*where, study=study)
    wait_for_chunks(store, 6, driver)
    cluster.kill("dask scheduler")
    assert driver.exit_code() == 0, driver.text
    assert "the scheduler was lost" in driver.text
    assert "Traceback" not in driver.text
    assert all(worker.alive for worker in workers)
    check(store, expected)


def test_workers_that_are_all_gone_and_come_back_go_on(cluster, store, small_reference):
    cluster.start_scheduler()
    first = [cluster.start_worker(name) for name in ("w1", "w2")]
    driver = cluster.start_driver()
    wait_for_chunks(store, 6, driver)
    for worker in first:
        worker.kill()
    time.sleep(10)
    second = [cluster.start_worker(name) for name in ("w3", "w4")]
    assert driver.exit_code() == 0, driver.text
    assert all(worker.alive for worker in second)
    check(store, small_reference)


def test_a_scheduler_that_never_comes_back_ends_the_run_which_can_be_resumed(cluster, store, small_reference):
    scheduler = cluster.start_scheduler()
    cluster.start_worker("w1")
    driver = cluster.start_driver(DASK_BIASVAR__ATTEMPTS="2", DASK_BIASVAR__CONNECT_TIMEOUT="2s")
    kept = wait_for_chunks(store, 6, driver)
    scheduler.kill()
    assert driver.exit_code() == 3, driver.text
    last = driver.text.strip().splitlines()[-1]
    assert last.startswith("biasvar: "), driver.text
    assert "what is done is kept" in last
    assert "Traceback" not in driver.text
    assert bv.verify(store).problems

    cluster.start_scheduler()
    again = cluster.start_driver(name="again")
    assert again.exit_code() == 0, again.text
    assert stored_chunks(store) >= kept
    check(store, small_reference)


def test_a_driver_that_is_told_to_end_releases_its_store(cluster, store, small_reference):
    cluster.start_scheduler()
    cluster.start_worker("w1")
    cluster.start_worker("w2")
    driver = cluster.start_driver()
    wait_for_chunks(store, 6, driver)
    driver.signal(signal.SIGTERM)
    assert driver.exit_code() == 3, driver.text
    assert "the same command goes on" in driver.text
    status = cluster.processes.run(biasvar("status", store))
    assert "is running on it" not in status.stdout
    again = cluster.start_driver(name="again")
    assert again.exit_code() == 0, again.text
    check(store, small_reference)


def test_a_worker_that_is_told_to_end_leaves_gracefully(cluster, store, small_reference):
    cluster.start_scheduler()
    command = dask_worker(cluster.address, *LOOPBACK, "--local-directory", cluster.processes.folder / "leaver")
    leaver = cluster.processes.start("leaver", command)
    cluster.start_worker("stayer")
    driver = cluster.start_driver()
    wait_for(lambda: "Starting established connection" in leaver.text, "the worker", leaver)
    wait_for_chunks(store, 6, driver)
    leaver.signal(signal.SIGTERM)
    assert leaver.exit_code() == 0, leaver.text
    assert "Closing worker gracefully" in leaver.text
    assert driver.exit_code() == 0, driver.text
    check(store, small_reference)
