"""How to connect to a Dask scheduler, and to connect again when it is lost."""

import gc
import json
import logging
import os
import shutil
import signal
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dask
from dask.utils import parse_bytes

from biasvar.errors import MissingDependencyError, SchedulerError, StudyError
from biasvar.execution.settings import count, seconds

GUARD = "in a script, the call of run must stand under: if __name__ == '__main__':"
AN_ADDRESS = "tcp://127.0.0.1:8786"
PROTOCOLS = ("tcp", "tls", "ws", "wss", "ucx", "inproc")
WORKERS_PER_CORE = 32  # more of them only take each other's memory
LEAST_MEMORY = "256MiB"  # that a worker takes before it simulates anything
#: What a Client may raise that is refused or finds no one: a bad certificate is an OSError, none at all a TypeError.
_UNANSWERED = (OSError, TimeoutError, ValueError, TypeError, RuntimeError)
POLL_SECONDS = 0.2
#: What each job asks for where neither an option nor Dask's settings say.
_JOB_DEFAULTS: dict[str, Any] = {"cores": 1, "processes": 1, "memory": "2GiB"}


class Connection(ABC):
    """How to (re)connect to a Dask scheduler."""

    @property
    def patience(self) -> float:
        """Seconds for which a run waits while there are no workers."""
        return seconds("no-workers-timeout")

    @property
    def refusal(self) -> str:
        """Why the last worker that was asked for did not come, as far as that was said."""
        return ""

    def check(self) -> None:
        """Refuse, before anything is written, what cannot be connected to; a StudyError says why."""
        return

    @abstractmethod
    def client(self) -> AbstractContextManager[Any]:
        """Return a context that is a connected Client.

        Raises
        ------
        SchedulerError
            From ``with``, if no one answers.
        """


@dataclass(frozen=True)
class Address(Connection):
    """A scheduler that runs already, by its address."""

    address: str
    security: Any = None

    @contextmanager
    def client(self) -> Iterator[Any]:
        """Connect, for the time of a ``with``."""
        with _connect(lambda: self.address, self.security) as client:
            yield client


@dataclass(frozen=True)
class SchedulerFile(Connection):
    """A scheduler that runs already, or soon, by the file that it writes its address to."""

    path: Path
    security: Any = None

    @contextmanager
    def client(self) -> Iterator[Any]:
        """Connect, for the time of a ``with``."""
        with _connect(self._address, self.security) as client:
            yield client

    def _address(self) -> str:
        try:
            found = json.loads(self.path.read_text())["address"]
        except (OSError, ValueError, KeyError, TypeError) as error:  # not there yet, or half written
            raise SchedulerError(
                f"scheduler file {self.path}: no address in it ({type(error).__name__}); "
                f"start one with: dask scheduler --scheduler-file {self.path}"
            ) from error
        try:
            return checked_address(found)
        except StudyError as error:
            raise StudyError(f"scheduler file {self.path}: {error}") from error


def checked_address(value: Any) -> str:
    """Return the address of a Dask scheduler, with its protocol.

    Raises
    ------
    StudyError
        If it is none: without a host or a port, or of something else, such as the dashboard.

    Examples
    --------
    >>> checked_address("127.0.0.1:8786")
    'tcp://127.0.0.1:8786'
    """
    if not isinstance(value, str):
        raise StudyError(f"scheduler: expected an address such as {AN_ADDRESS}, got {value!r}")
    address = value if "://" in value else f"tcp://{value}"
    try:
        parts = urlsplit(address)
        complete = bool(parts.hostname and parts.port)
    except ValueError:  # a port that is no number, or too large
        complete = False
    if parts.scheme in ("http", "https"):
        raise StudyError(
            f"scheduler {value}: is the address of a dashboard; give the scheduler's own, such as {AN_ADDRESS}"
        )
    if parts.scheme not in PROTOCOLS:
        raise StudyError(f"scheduler {value}: unknown protocol {parts.scheme!r}; use one of {', '.join(PROTOCOLS)}")
    if not complete and parts.scheme != "inproc":
        raise StudyError(f"scheduler {value}: expected a host and a port, as in {AN_ADDRESS}")
    return address


#: Dask settings that cut its own CPU use on small machines.
_LEAN = {
    # Dask has workers give each array's memory back to the system at once, which doubles the time of our tasks.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
    # Fifty times a second in each process, Dask looks whether its event loop is late, and twice at the disks.
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "2s",
}


@dataclass(frozen=True)
class LocalWorkers(Connection):
    """Worker processes of our own on this machine, one thread each."""

    workers: int | None = None
    memory_limit: str = "auto"

    @contextmanager
    def client(self) -> Iterator[Any]:
        """Start the workers, for the time of a ``with``."""
        from distributed import Client, LocalCluster

        with _no_interrupts_for_children(), dask.config.set(_LEAN):
            try:
                cluster = LocalCluster(
                    n_workers=self.workers,
                    threads_per_worker=1,
                    memory_limit=self.memory_limit,
                    dashboard_address="127.0.0.1:0",
                    # Failures of tasks come back with their futures; what else workers log is of no use.
                    silence_logs=logging.CRITICAL,
                )
            except RuntimeError as error:
                raise StudyError(f"scheduler: worker processes do not start ({error}); {GUARD}") from error
            except ValueError as error:
                raise StudyError(f"workers: {error}") from error
        with cluster, Client(cluster, set_as_default=False) as client:
            yield client

    def check(self) -> None:
        """Refuse what this machine cannot hold."""
        most = WORKERS_PER_CORE * (os.cpu_count() or 1)
        if self.workers is not None and self.workers > most:
            raise StudyError(
                f"workers: {self.workers} are more than the {os.cpu_count()} cores of this machine can serve; "
                f"use at most {most}, or as many as there are cores"
            )
        if self.memory_limit == "auto":
            return
        try:
            found = parse_bytes(self.memory_limit)
        except ValueError as error:
            raise StudyError(f"memory_limit: expected bytes such as 2GiB, got {self.memory_limit!r}") from error
        if 0 < found < parse_bytes(LEAST_MEMORY):
            raise StudyError(
                f"memory_limit: {self.memory_limit} is less than a worker needs to start; use at least {LEAST_MEMORY}"
            )


@dataclass(frozen=True)
class Slurm(Connection):
    """Workers that are SLURM jobs, by dask-jobqueue; what is not given comes from Dask's ``jobqueue.slurm`` settings.

    Jobs that are lost are asked for anew. They are not requeued by SLURM as well, for then both would come.
    """

    jobs: int | None = None
    queue: str | None = None
    walltime: str | None = None
    memory: str | None = None
    interface: str | None = None
    security: Any = None
    _refused: deque[str] = field(default_factory=lambda: deque(maxlen=1), repr=False, compare=False)

    @property
    def patience(self) -> float:
        """Seconds that a run waits while there are no workers: its jobs may be queued for hours."""
        return seconds("queue-timeout")

    @property
    def refusal(self) -> str:
        """What sbatch said of the last job that it did not take."""
        return self._refused[-1] if self._refused else ""

    def check(self) -> None:
        """Refuse a machine that cannot submit jobs."""
        if shutil.which("sbatch") is None:
            raise StudyError("cluster slurm: there is no sbatch here; start the run where jobs are submitted from")

    @contextmanager
    def client(self) -> Iterator[Any]:
        """Submit the jobs, for the time of a ``with``."""
        try:
            with _signals_kept():
                from dask_jobqueue.slurm import SLURMCluster
        except ImportError as error:
            raise MissingDependencyError("dask-jobqueue", "cluster") from error
        from distributed import Client

        # A preempted job takes the blame for all chunks that were its own: a few such must not end them.
        with (
            dask.config.set({"distributed.scheduler.allowed-failures": 20}),
            _closing(self._cluster(SLURMCluster)) as cluster,
        ):
            jobs = self.jobs or count("jobs")
            cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs, interval="2s")
            with Client(cluster, set_as_default=False) as client:
                yield client

    def _cluster(self, kind: Any) -> Any:
        configured = dask.config.get("jobqueue.slurm", {})
        given = {"queue": self.queue, "walltime": self.walltime, "memory": self.memory, "interface": self.interface}
        options = {name: value for name, value in given.items() if value is not None}
        options |= {name: value for name, value in _JOB_DEFAULTS.items() if not (configured | options).get(name)}
        # Without an interface Dask would listen on all; what jobs on other nodes can reach is this host's own address.
        where = {} if options.get("interface") or configured.get("interface") else {"host": _own_address()}
        # A worker's web server would listen on all, whatever the interface.
        ours = ["--preload", "biasvar.execution.worker", "--dashboard-address", "127.0.0.1:0"]
        try:
            return kind(
                job_cls=_telling(kind.job_cls, self._refused),
                nanny=False,
                worker_extra_args=[*(configured.get("worker-extra-args") or []), *ours],
                job_extra_directives=[*(configured.get("job-extra-directives") or []), "--no-requeue"],
                scheduler_options={"dashboard_address": "127.0.0.1:0"} | where,
                security=self.security,
                protocol="tls://" if self.security else None,
                silence_logs="critical",
                **options,
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise SchedulerError(f"cluster slurm: {error}; see Dask's jobqueue.slurm settings") from error


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Keep what happens on Ctrl-C: once imported, dask-jobqueue would end the process as if all were done."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in kept.items():
                signal.signal(number, handler)


@contextmanager
def _closing(cluster: Any) -> Iterator[Any]:
    """Close a cluster at the end, also one whose jobs were never taken: Dask asserts that they had begun."""
    try:
        yield cluster
    finally:
        with suppress(AssertionError):
            cluster.close()


def _telling(job: Any, refused: deque[str]) -> Any:
    """Return a kind of job that says why it was not taken: dask-jobqueue only logs that, and asks again for ever."""

    class Telling(job):  # type: ignore[misc]
        async def _submit_job(self, script: str) -> str:
            try:
                accepted = await super()._submit_job(script)
            except (OSError, RuntimeError) as error:
                refused.append(next(reversed([line for line in str(error).splitlines() if line.strip()]), repr(error)))
                raise
            refused.clear()
            return accepted  # type: ignore[no-any-return]

    return Telling


class Borrowed(Connection):
    """A user's own Client, and once that has lost its scheduler, a new one to the same address."""

    def __init__(self, client: Any) -> None:
        self._own, self._address, self._security = client, client.scheduler.address, client.security

    @contextmanager
    def client(self) -> Iterator[Any]:
        """Take the user's Client the first time, and connect anew from then on."""
        if self._own is not None:
            own, self._own = self._own, None
            yield own
            return
        with _connect(lambda: str(self._address), self._security) as client:
            yield client


def security(ca_file: Path | None, cert: Path | None, key: Path | None) -> Any:
    """Return what a TLS connection needs; None if no file is given.

    Raises
    ------
    StudyError
        If a file is missing, or cannot be read.
    """
    files = {"--tls-ca-file": ca_file, "--tls-cert": cert, "--tls-key": key}
    if not any(files.values()):
        return None
    for option, file in files.items():
        if file is None:
            raise StudyError(f"{option}: is missing; TLS needs all of {', '.join(files)}")
        if not os.access(file, os.R_OK):
            raise StudyError(f"{option}: {file} cannot be read")
    from distributed import Security

    return Security(
        tls_ca_file=str(ca_file),
        tls_client_cert=str(cert),
        tls_client_key=str(key),
        tls_scheduler_cert=str(cert),
        tls_scheduler_key=str(key),
        tls_worker_cert=str(cert),
        tls_worker_key=str(key),
        require_encryption=True,
    )


@contextmanager
def _connect(address_now: Callable[[], str], security: Any) -> Iterator[Any]:
    from distributed import Client

    timeout = seconds("connect-timeout")
    address = _found(address_now, timeout)
    _check_certificate(address, security)
    try:
        client = Client(address, timeout=timeout, security=security, set_as_default=False)
    except _UNANSWERED as error:
        gc.collect()  # for the same reason: let it be now, and not while the next one starts
        raise _unanswered(address, error) from error
    with _quiet_log():
        try:
            yield client
        finally:
            client.close(timeout=timeout)


def _check_certificate(address: str, security: Any) -> None:
    """Refuse TLS without a certificate here: a Client would, too, but hang when it is collected."""
    from distributed import Security

    if not address.startswith("tls://"):
        return
    if (security or Security()).get_connection_args("client")["ssl_context"] is None:
        raise SchedulerError(
            f"scheduler {address}: TLS needs a certificate; give --tls-ca-file, --tls-cert and --tls-key, or set "
            "distributed.comm.tls in Dask's configuration"
        )


@contextmanager
def _quiet_log() -> Iterator[None]:
    """Keep the client from logging a traceback when its scheduler is lost: the run tells that in a line."""
    logs = [logging.getLogger(f"distributed.{name}") for name in ("batched", "client", "comm", "core")]
    before = [log.level for log in logs]
    try:
        for log in logs:
            log.setLevel(logging.CRITICAL)
        yield
    finally:
        for log, level in zip(logs, before, strict=True):
            log.setLevel(level)


def _found(address_now: Callable[[], str], timeout: float) -> str:
    """Wait until someone listens at an address, which may change: a scheduler may be starting.

    A Client that fails may hang its process when it is collected; a socket does not.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            address = address_now()
            _knock(address, max(deadline - time.monotonic(), POLL_SECONDS))
            return address
        except SchedulerError:
            if time.monotonic() > deadline:
                raise
        except OSError as error:
            if time.monotonic() > deadline:
                raise _unanswered(address, error) from error
        time.sleep(POLL_SECONDS)


def _unanswered(address: str, error: Exception) -> SchedulerError:
    what = " ".join(str(error).split()) or type(error).__name__
    return SchedulerError(f"no Dask scheduler answers at {address}: {what}; is it running?")


def _knock(address: str, timeout: float) -> None:
    parts = urlsplit(address)
    if parts.scheme in ("tcp", "tls") and parts.hostname and parts.port:
        socket.create_connection((parts.hostname, parts.port), timeout=timeout).close()


def _own_address() -> str:
    from distributed.utils import get_ip

    return str(get_ip())


@contextmanager
def _no_interrupts_for_children() -> Iterator[None]:
    """Let processes that start here ignore Ctrl-C: it is for the driver, which then ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's business
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
