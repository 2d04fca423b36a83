"""Runs that start their own worker processes on this machine."""

from urllib.request import urlopen

import pytest

import biasvar as bv
from biasvar.execution.clusters import LocalWorkers

from .pieces import STUDY, biasvar, check, wait_for_chunks

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]


def test_workers_of_its_own_give_the_same_bits_and_listen_to_this_machine_alone(processes, store, reference):
    driver = processes.start(
        "driver", biasvar("run", *STUDY, "--store", store, "--workers", 2, "--memory-limit", "1GiB")
    )
    wait_for_chunks(store, 5, driver)
    assert processes.listening() == {"127.0.0.1"}
    assert driver.exit_code() == 0, driver.text
    check(store, reference)
    assert processes.all() == []


def test_prometheus_sees_chunks_and_seconds_by_what_is_simulated(store):
    pytest.importorskip("prometheus_client", reason="needs the extra 'cluster'")
    study = bv.load("two-point-sine", ["replicates=16384", "block_size=1024"])
    with LocalWorkers(1).client() as client:
        bv.run(study, store, scheduler=client, blocks_per_chunk=2)
        with urlopen(client.dashboard_link.replace("/status", "/metrics"), timeout=30) as answer:
            lines = answer.read().decode().splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines)
    for group in study.groups():
        name = f'task_prefix_name="{group.task_name}"'
        assert float(values[f'dask_scheduler_prefix_state_totals_total{{state="memory",{name}}}']) == 8
        assert float(values[f"dask_scheduler_tasks_compute_seconds_total{{{name}}}"]) > 0
