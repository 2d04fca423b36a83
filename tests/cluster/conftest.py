"""Real schedulers, hosts and certificates, and what a study's results are to be on all of them."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

import biasvar as bv

from . import pieces

collect_ignore = ["certificates.py"]  # it needs a library that only these tests need
SLURM = {"slurmctld": "slurmctld", "slurmd": "slurmd", "srun": "slurm-client", "munged": "munge"}  # program, package


@pytest.fixture
def processes(tmp_path):
    """Processes of one test."""
    started = pieces.Processes(tmp_path)
    yield started
    started.end()


def _digest(folder, study):
    store = folder / "reference.zarr"
    command = pieces.biasvar("run", *study, "--scheduler", "synchronous", "--store", store)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=pieces.PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return bv.digest(store)


@pytest.fixture(scope="session")
def reference(tmp_path_factory):
    """Digest of the medium study, run in one process."""
    return _digest(tmp_path_factory.mktemp("reference"), pieces.STUDY)


@pytest.fixture(scope="session")
def small_reference(tmp_path_factory):
    """Digest of the small study, run in one process."""
    return _digest(tmp_path_factory.mktemp("small"), pieces.SMALL_STUDY)


class Slurm:
    """A SLURM of two nodes."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}

    def __call__(self, *command):
        """Run one of its commands; return what it says."""
        environment = {**os.environ, **self.environment}
        words = [str(word) for word in command]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
        return done.stdout.strip()

    def jobs(self, form="%A"):
        """Return a word for each job in the queue, its number by default."""
        return self("squeue", "-h", "-o", form).split()

    def job(self, number, field):
        """Return what SLURM knows of a job."""
        known = dict(word.split("=", 1) for word in self("scontrol", "show", "job", number).split() if "=" in word)
        return known[field]

    def clear(self):
        """Cancel all jobs, and wait until the nodes are free."""
        for job in self.jobs():
            self("scancel", job)
        pieces.wait_for(lambda: not self.jobs(), "an empty queue")


@pytest.fixture(scope="session")
def _slurm():
    for program, package in SLURM.items():
        pieces.require(program, package)
    pieces.require_root()
    folder = Path(tempfile.mkdtemp(prefix="biasvar-slurm-"))
    folder.chmod(0o755)  # munge wants a socket that all can reach, which pytest's own folders are not
    try:
        subprocess.run([pieces.SANDBOX / "slurm-up.sh", folder, str(pieces.free_port(3))], check=True, timeout=300)
        yield Slurm(folder)
    finally:
        subprocess.run([pieces.SANDBOX / "slurm-down.sh", folder], check=True, timeout=300)
        shutil.rmtree(folder)


@pytest.fixture
def slurm(_slurm):
    """A SLURM of two nodes with two cores each and nothing to do."""
    yield _slurm
    _slurm.clear()


class Hosts:
    """Hosts with a network of their own."""

    NAMES = ("sched", "w1", "w2", "w3", "client")

    def __init__(self, prefix):
        self.prefix = prefix

    def on(self, host, command):
        """Return a command that runs on a host."""
        return ["ip", "netns", "exec", f"{self.prefix}-{host}", *command]

    def address(self, host):
        """Return a host's address."""
        return f"10.231.7.{10 + self.NAMES.index(host)}"

    def cut(self, host):
        """Cut a host's cable: nothing arrives any more, and no one is told."""
        self._set(host, 0)

    def mend(self, host):
        """Mend a host's cable."""
        self._set(host, 3)

    def _set(self, host, state):
        command = ["bridge", "link", "set", "dev", host, "state", str(state)]
        subprocess.run(self.on("switch", command), check=True, timeout=60)


@pytest.fixture(scope="module")
def hosts():
    """Separate hosts: for a scheduler, three workers and a client."""
    pieces.require("ip", "iproute2")
    pieces.require("bridge", "iproute2")
    pieces.require_root()
    prefix = f"biasvar{os.getpid()}"
    try:
        subprocess.run([pieces.SANDBOX / "hosts-up.sh", prefix, *Hosts.NAMES], check=True, timeout=60)
        yield Hosts(prefix)
    finally:
        subprocess.run([pieces.SANDBOX / "hosts-down.sh", prefix, *Hosts.NAMES], check=True, timeout=60)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """Two authorities, ``own`` and ``foreign``, with certificates for a scheduler, a worker and a client each."""
    from .certificates import make_certificates

    folder = tmp_path_factory.mktemp("certificates")
    for authority in ("own", "foreign"):
        make_certificates(folder / authority, ("scheduler", "worker", "client"))
    return folder
