"""Runs that start their own worker processes on this machine."""

import pytest

from .pieces import STUDY, biasvar, check, wait_for_chunks

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]


def test_workers_of_its_own_give_the_same_bits_and_listen_to_this_machine_alone(processes, store, reference):
    driver = processes.start(
        "driver", biasvar("run", *STUDY, "--store", store, "--workers", 2, "--memory-limit", "1GiB")
    )
    wait_for_chunks(store, 5, driver)
    assert processes.listening() == {"127.0.0.1"}
    assert driver.exit_code(900) == 0, driver.text
    check(store, reference)
    assert processes.all() == []
