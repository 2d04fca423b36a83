"""The driver is killed, again and again, and given the same command each time."""

import random
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from .pieces import ROOT, STUDY, biasvar, check, dask_scheduler, dask_worker, stored_chunks, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

KILLS = 20


def wait_for_another_chunk(store, driver):
    before = stored_chunks(store)
    wait_for(lambda: stored_chunks(store) > before or not driver.alive, "another chunk")


def test_a_driver_that_is_killed_at_twenty_random_moments_ends_with_the_same_bits(processes, store, reference):
    file = processes.folder / "scheduler.json"
    processes.start("scheduler", dask_scheduler("--host", "127.0.0.1", "--port", 0, "--scheduler-file", file))
    for name in ("w1", "w2"):
        scratch = processes.folder / name
        processes.start(
            name, dask_worker("--host", "127.0.0.1", "--scheduler-file", file, "--local-directory", scratch)
        )
    wait_for(file.exists, "the scheduler's file")
    command = biasvar("run", *STUDY, "--store", store, "--scheduler-file", file)
    chance, killed = random.Random(20), 0
    for number in range(KILLS):
        driver = processes.start("driver", command)
        if number % 2:
            wait_for_another_chunk(store, driver)  # a busy machine may take longer than the seconds to start
        with suppress(subprocess.TimeoutExpired):
            driver.popen.wait(timeout=chance.uniform(0.2, 3))
        killed += driver.alive
        driver.kill()
    assert stored_chunks(store) >= KILLS // 2
    last = processes.start("driver", command)
    assert last.exit_code() == 0, last.text
    assert killed >= KILLS // 2  # the others came after the end
    check(store, reference)


def test_torture():
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "tests.torture", "--kills", "12", "--seed", "4"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    print(done.stdout, f"{time.monotonic() - start:.0f} s")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "12 kills" in done.stdout.splitlines()[-1]
    assert " 0 wrong" in done.stdout.splitlines()[-1]
