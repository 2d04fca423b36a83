"""Clocks that jump, by libfaketime: nothing that is stored, nor who may store it, depends on what time it is."""

import signal
import time
from pathlib import Path

import pytest

from .pieces import SMALL_STUDY, biasvar, check, wait_for_chunks

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]


@pytest.fixture
def clock(tmp_path):
    """A clock that a test can set: environment for processes, and the file that says how far it is off."""
    libraries = list(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not libraries:
        pytest.fail("libfaketime is not installed; install it with: apt-get install libfaketime")
    offset = tmp_path / "offset"
    offset.write_text("+0\n")
    environment = {
        "LD_PRELOAD": str(libraries[0]),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    return environment, offset


def test_a_run_does_not_mind_a_clock_that_jumps(clock, processes, store, small_reference):
    environment, offset = clock
    command = biasvar("run", *SMALL_STUDY, "--store", store, "--workers", 2)
    driver = processes.start("driver", command, **environment)
    for chunks, jump in ((4, "+3d\n"), (8, "-2d\n"), (12, "+90s\n")):
        wait_for_chunks(store, chunks, driver)
        offset.write_text(jump)
        time.sleep(1)
    second = processes.run(command, 120)  # a clock that is right, beside one that is not
    assert second.returncode == 2
    assert "is running on it" in second.stderr
    assert driver.exit_code(900) == 0, driver.text
    check(store, small_reference)


def test_a_killed_run_from_another_day_is_resumed(clock, processes, store, small_reference):
    environment, offset = clock
    offset.write_text("+400d\n")
    command = biasvar("run", *SMALL_STUDY, "--store", store, "--scheduler", "synchronous")
    driver = processes.start("driver", command, **environment)
    wait_for_chunks(store, 3, driver)
    driver.signal(signal.SIGKILL)
    driver.exit_code(60)
    assert processes.run(command, 600).returncode == 0
    check(store, small_reference)
