"""Workers of our own, for the time of a run: processes on this machine, or SLURM jobs."""

import logging
import os
import shutil
import signal
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dask
from dask.utils import parse_bytes

from biasvar.errors import MissingDependencyError, SchedulerError, StudyError
from biasvar.execution.connection import Connection
from biasvar.execution.settings import count, seconds

if TYPE_CHECKING:
    from dask_jobqueue.slurm import SLURMCluster
    from distributed import Security

GUARD = "in a script, the call of run must stand under: if __name__ == '__main__':"


LOOPBACK = "127.0.0.1"
WORKERS_PER_CORE = 32  # more of them only take each other's memory
LEAST_MEMORY = "256MiB"  # that a worker takes before it simulates anything

#: What each job asks for where neither an option nor Dask's settings say.
_JOB_DEFAULTS: dict[str, Any] = {"cores": 1, "processes": 1, "memory": "2GiB"}


#: Dask settings that cut its own CPU use on small machines.
_LEAN = {
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
                    dashboard_address=f"{LOOPBACK}:0",
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
    security: "Security | None" = None
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

    def _cluster(self, kind: type["SLURMCluster"]) -> "SLURMCluster":
        configured = dask.config.get("jobqueue.slurm", {})
        given = {"queue": self.queue, "walltime": self.walltime, "memory": self.memory, "interface": self.interface}
        options = {name: value for name, value in given.items() if value is not None}
        options |= {name: value for name, value in _JOB_DEFAULTS.items() if not (configured | options).get(name)}
        # Without an interface Dask would listen on all; what jobs on other nodes can reach is this host's own address.
        where = {} if options.get("interface") or configured.get("interface") else {"host": _own_address()}
        # A worker's web server would listen on all, whatever the interface.
        ours = ["--preload", "biasvar.execution.worker", "--dashboard-address", f"{LOOPBACK}:0"]
        try:
            return _found_on_loopback(kind)(
                job_cls=_telling(kind.job_cls, self._refused),
                nanny=False,
                worker_extra_args=[*(configured.get("worker-extra-args") or []), *ours],
                job_extra_directives=[*(configured.get("job-extra-directives") or []), "--no-requeue"],
                scheduler_options={"dashboard_address": f"{LOOPBACK}:0"} | where,
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
def _closing(cluster: "SLURMCluster") -> Iterator[Any]:
    """Close a cluster at the end, also one whose jobs were never taken: Dask asserts that they had begun."""
    try:
        yield cluster
    finally:
        with suppress(AssertionError):
            cluster.close()


def _found_on_loopback(cluster: type["SLURMCluster"]) -> type["SLURMCluster"]:
    """Return a kind of cluster that says where its dashboard is: Dask says it is where the scheduler listens."""

    class Found(cluster):  # type: ignore[misc, valid-type]
        @property
        def dashboard_link(self) -> str:
            from distributed.utils import format_dashboard_link

            return str(format_dashboard_link(LOOPBACK, self.scheduler_info["services"]["dashboard"]))

    return Found


def _telling(job: Any, refused: deque[str]) -> Any:
    """Return a kind of job that says why it was not taken: dask-jobqueue only logs that, and asks again for ever."""

    # A class that is known when jobs are asked for only, so that types cannot follow.
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
