"""A scheduler that talks TLS only: who has a certificate of its authority is let in, and no one else."""

import pytest

from .pieces import biasvar, check, dask_scheduler, dask_worker, free_port, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]


def files(folder, role, ca=None):
    """Return the options that name a role's certificate, and the authority it trusts."""
    return (
        *("--tls-ca-file", (ca or folder) / "ca.pem"),
        *("--tls-cert", folder / f"{role}.pem"),
        *("--tls-key", folder / f"{role}.key"),
    )


@pytest.fixture
def address(processes, certificates):
    """A TLS scheduler with one worker."""
    port = free_port()
    own = certificates / "own"
    options = ("--host", "127.0.0.1", "--port", port, "--protocol", "tls")
    scheduler = processes.start("scheduler", dask_scheduler(*options, *files(own, "scheduler")))
    address = f"tls://127.0.0.1:{port}"
    processes.start("worker", dask_worker(address, "--interface", "lo", *files(own, "worker")))
    wait_for(lambda: "Register worker" in scheduler.text, "a worker", scheduler)
    return address


def run(store, address, *options):
    return biasvar("run", "two-point-sine", "--store", store, "--scheduler", address, *options)


def test_who_has_a_certificate_runs_and_a_foreign_worker_gets_nothing(processes, certificates, address, tmp_path):
    own, foreign = certificates / "own", certificates / "foreign"
    command = dask_worker(address, "--interface", "lo", "--death-timeout", 10, *files(foreign, "worker"))
    stranger = processes.start("stranger", command)
    done = processes.run(run(tmp_path / "tls.zarr", address, *files(own, "client")))
    assert done.returncode == 0, done.stderr
    alone = processes.run(run(tmp_path / "alone.zarr", "synchronous"))
    digest = processes.run(biasvar("digest", tmp_path / "alone.zarr")).stdout.split()[0]
    assert alone.returncode == 0, alone.stderr
    check(tmp_path / "tls.zarr", digest)
    assert stranger.exit_code() != 0
    assert (processes.folder / "scheduler.log").read_text().count("Register worker") == 1


WRONG = {
    "no certificate": lambda own, foreign: (),
    "a certificate and authority of another cluster": lambda own, foreign: files(foreign, "client"),
    "a certificate of another authority": lambda own, foreign: files(foreign, "client", ca=own),
}


@pytest.mark.parametrize("certificate", [*WRONG, "plain"])
def test_others_are_refused_in_one_line(processes, certificates, address, store, certificate):
    if certificate == "plain":
        where, options = address.replace("tls://", "tcp://"), ()
    else:
        where, options = address, WRONG[certificate](certificates / "own", certificates / "foreign")
    done = processes.run(run(store, where, *options))
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("biasvar: ")
    assert len(done.stderr.splitlines()) == 1
    assert where in done.stderr
    assert not store.exists()
