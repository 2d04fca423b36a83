"""Runs over separate hosts whose network breaks."""

import time

import pytest

from .pieces import STUDY, biasvar, check, dask_scheduler, dask_worker, for_ever, wait_for_chunks

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

WORKERS = ("w1", "w2", "w3")


def test_a_host_that_is_cut_off_is_done_without_until_it_is_back(processes, hosts, store, reference):
    address = f"tcp://{hosts.address('sched')}:8786"
    options = ("--interface", "eth0", "--port", 8786)
    scheduler = processes.start("scheduler", hosts.on("sched", dask_scheduler(*options)))
    for host in WORKERS:
        scratch = ("--interface", "eth0", "--local-directory", processes.folder / host)
        processes.start(host, hosts.on(host, for_ever(dask_worker(address, *scratch))))
    command = biasvar("run", *STUDY, "--store", store, "--scheduler", address)
    driver = processes.start("driver", hosts.on("client", command))
    wait_for_chunks(store, 8, driver)

    hosts.cut("w1")
    hosts.cut("w2")
    time.sleep(8)
    hosts.mend("w2")
    assert driver.exit_code() == 0, driver.text
    check(store, reference)
    assert members(hosts, scheduler.text) == {"w2", "w3"}


def members(hosts, log):
    """Return the hosts whose workers a scheduler had at the end of its log."""
    told = {host: [line for line in log.splitlines() if f"tcp://{hosts.address(host)}:" in line] for host in WORKERS}
    return {
        host
        for host, lines in told.items()
        if sum("Register worker" in line for line in lines) > sum("Remove worker" in line for line in lines)
    }
