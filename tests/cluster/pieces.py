"""Pieces of clusters on this machine: processes that a test starts, waits for, and ends by their ids."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

import biasvar as bv

ROOT = Path(__file__).resolve().parents[2]
SANDBOX = Path(__file__).parent / "sandbox"
MARK = "BIASVAR_TEST_PROCESSES"  # in the environment of all that a test starts, and of what that starts
STUDY = ("learning-curves", "--set", "replicates=32768", "--set", "block_size=512")
SMALL_STUDY = ("learning-curves", "--set", "replicates=8192", "--set", "block_size=512")
PATIENCE = 1200  # seconds that a test waits for one thing at most, on a machine that has much else to do

#: Faults are noticed in seconds where a real cluster has minutes; 11 s is the least that Dask takes for TCP.
QUICK = {
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "11s",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s",
    "DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "2s",
    "DASK_BIASVAR__CONNECT_TIMEOUT": "5s",
    "PYTHONUNBUFFERED": "1",
}


def require(program, package, by="apt-get install"):
    """Fail unless a program is there, naming what to install."""
    if shutil.which(program) is None:
        pytest.fail(f"{program} is not installed; install it with: {by} {package}")


def require_root():
    """Fail unless this is root, who alone can start SLURM's daemons and make network namespaces."""
    if os.geteuid() != 0:
        pytest.fail("these tests start daemons and network namespaces; run them as root")


def biasvar(*arguments):
    """Return a command of ours."""
    return [sys.executable, "-m", "biasvar.cli", *map(str, arguments)]


def dask_scheduler(*options):
    """Return a command that starts a scheduler; its HTTP server, which cannot be had off, stays on loopback."""
    return [sys.executable, "-m", "dask", "scheduler", "--dashboard-address", "127.0.0.1:0", *map(str, options)]


def dask_worker(*options):
    """Return a command that starts a worker of one thread."""
    fixed = ["--nthreads", "1", "--no-nanny", "--preload", "biasvar.execution.worker", "--dashboard-address"]
    return [sys.executable, "-m", "dask", "worker", *fixed, "127.0.0.1:0", *map(str, options)]


def for_ever(command):
    """Return a command that starts another anew whenever that ends, as a supervisor does."""
    return ["bash", "-c", 'while :; do "$@"; sleep 0.5; done', "for_ever", *command]


def free_port(count=1):
    """Return the first of ``count`` ports in a row that no one listens on."""
    for port in range(17000, 32000, 16):
        with suppress(OSError):
            for number in range(port, port + count):
                with socket.create_server(("127.0.0.1", number)):
                    pass
            return port
    raise AssertionError("no free ports")


class Process:
    """A process group with a log of its own."""

    def __init__(self, command, log, **options):
        self.log = log
        with log.open("ab") as file:
            self.popen = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, **options
            )

    @property
    def text(self):
        """What it has said so far."""
        return self.log.read_text(errors="replace")

    @property
    def alive(self):
        """Whether it still runs."""
        return self.popen.poll() is None

    def signal(self, number):
        """Send a signal to the process alone."""
        self.popen.send_signal(number)

    def kill(self):
        """End it and its children at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()

    def exit_code(self):
        """Wait for its end."""
        wait_for(lambda: not self.alive, f"the end of {self.log.stem}", self)
        return self.popen.returncode


class Processes:
    """All processes of a test; none outlives it."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = {**os.environ, **QUICK, MARK: str(folder)}
        self._started = []

    def start(self, name, command, **environment):
        """Start a command; what it says goes to a log of that name."""
        log = self.folder / f"{name}.log"
        process = Process(command, log, cwd=self.folder, env={**self.environment, **environment})
        self._started.append(process)
        return process

    def run(self, command, **environment):
        """Run a command to its end."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def all(self):
        """Return every living process that was started here, or by one that was."""
        return [process for process in psutil.process_iter() if _environment(process).get(MARK) == str(self.folder)]

    def named(self, words):
        """Return those whose command line has these words."""
        return [process for process in self.all() if words in " ".join(_command_line(process))]

    def listening(self):
        """Return the addresses that they listen on."""
        return {
            connection.laddr.ip
            for process in self.all()
            for connection in _connections(process)
            if connection.status == psutil.CONN_LISTEN
        }

    def end(self):
        """End them all."""
        for process in self._started:
            process.kill()
        for process in self.all():
            with suppress(psutil.NoSuchProcess):
                process.kill()


def _environment(process):
    with suppress(psutil.Error, OSError):
        return process.environ()
    return {}


def _command_line(process):
    with suppress(psutil.Error):
        return process.cmdline()
    return []


def _connections(process):
    with suppress(psutil.Error):
        return process.net_connections("inet")
    return []


def wait_for(condition, what, *processes):
    """Wait until a condition holds; fail if it does not in time, or the processes end on which it hangs."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and all(process.alive for process in processes):
        if condition():
            return
        time.sleep(0.1)
    if condition():
        return
    logs = "\n".join(f"--- {process.log.stem}\n{process.text[-3000:]}" for process in processes)
    raise AssertionError(f"{what} did not come in {PATIENCE} s\n{logs}")


def stored_chunks(store):
    """Count the chunks that are done."""
    return sum(file.suffix != ".partial" for file in store.glob("blocks/*/*/count/c/*"))


def wait_for_chunks(store, number, driver):
    """Wait until so many chunks are stored, while the driver runs; return how many there are."""
    wait_for(lambda: stored_chunks(store) >= number, f"chunk {number}", driver)
    assert driver.alive, driver.text
    return stored_chunks(store)


def check(store, reference):
    """Check that a store is whole, and its results those of the reference, bit for bit."""
    assert bv.verify(store).problems == ()
    assert bv.digest(store) == reference
