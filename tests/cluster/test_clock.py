"""Clocks that jump: nothing that is stored, nor who may store it, depends on what time it is."""

import signal
import subprocess
import sys
import time

import pytest

from .pieces import SANDBOX, SMALL_STUDY, biasvar, check, require, wait_for_chunks

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

DAY = 86400


@pytest.fixture
def clock(tmp_path):
    """A clock that a test can set: environment for processes, and the file that says how many seconds it is off."""
    require("gcc", "gcc libc6-dev")
    offset, library = tmp_path / "offset", tmp_path / "clock.so"
    command = ["gcc", "-shared", "-fPIC", "-O2", "-o", library, SANDBOX / "clock.c", "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    return {"LD_PRELOAD": str(library), "CLOCK_OFFSET": str(offset)}, offset


def test_the_clock_of_the_tests_is_wrong(clock, processes):
    environment, offset = clock
    offset.write_text(str(400 * DAY))
    code = "import time, datetime; print(time.time(), datetime.datetime.now().timestamp(), time.monotonic())"
    done = processes.run([sys.executable, "-c", code], **environment)
    told, dated, monotonic = map(float, done.stdout.split())
    assert told - time.time() == pytest.approx(400 * DAY, abs=60)
    assert dated - time.time() == pytest.approx(400 * DAY, abs=60)
    assert monotonic == pytest.approx(time.monotonic(), abs=60)


def test_a_run_does_not_mind_a_clock_that_jumps(clock, processes, store, small_reference):
    environment, offset = clock
    command = biasvar("run", *SMALL_STUDY, "--store", store, "--workers", 2)
    driver = processes.start("driver", command, **environment)
    for chunks, jump in ((4, 3 * DAY), (8, -2 * DAY), (12, 90)):
        wait_for_chunks(store, chunks, driver)
        offset.write_text(str(jump))
        time.sleep(1)
    second = processes.run(command)  # a clock that is right, beside one that is not
    assert second.returncode == 2
    assert "is running on it" in second.stderr
    assert driver.exit_code() == 0, driver.text
    check(store, small_reference)


def test_a_killed_run_from_another_day_is_resumed(clock, processes, store, small_reference):
    environment, offset = clock
    offset.write_text(str(400 * DAY))
    command = biasvar("run", *SMALL_STUDY, "--store", store, "--scheduler", "synchronous")
    driver = processes.start("driver", command, **environment)
    wait_for_chunks(store, 3, driver)
    driver.signal(signal.SIGKILL)
    driver.exit_code()
    assert processes.run(command).returncode == 0
    check(store, small_reference)
