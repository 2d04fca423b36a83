"""Where tasks run: in this process, on a Dask scheduler that is already there, or on a cluster of our own."""

import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

import dask
from dask.base import compute as compute_all
from dask.callbacks import Callback

from biasvar.errors import StudyError
from biasvar.execution.graph import Tasks

LOCAL = ("synchronous", "threads", "processes")
#: Dask's other names for local schedulers, and for the active Client.
_ALIASES = {
    "sync": "synchronous",
    "single-threaded": "synchronous",
    "threading": "threads",
    "multiprocessing": "processes",
    "distributed": None,
    "dask.distributed": None,
}
GUARD = "in a script, the call of run must stand under: if __name__ == '__main__':"
CLUSTER_SECONDS = 10.0  # below, starting worker processes costs more than they save
Done = Callable[[str, Any], None]  # told the layer and the result of each finished task
Compute = Callable[[Sequence[Tasks], Done], None]


@contextmanager
def choose(scheduler: Any, seconds: float, announce: Callable[[str], None]) -> Iterator[Compute]:
    """Yield a function that computes tasks and hands each result to a callback.

    Parameters
    ----------
    scheduler : str, distributed.Client or None
        ``"synchronous"``, ``"threads"``, ``"processes"``, the address of a Dask scheduler, or a Client. None: the
        active Client, else Dask's configured scheduler, else this process for small studies and a LocalCluster for
        large ones.
    seconds : float
        About how long the study takes on one core.
    announce : callable
        Told the dashboard's address where there is one.
    """
    if scheduler is None:
        scheduler = dask.config.get("scheduler", None)
        scheduler = _ALIASES.get(scheduler, scheduler)
    client = _active_client() if scheduler is None else scheduler if hasattr(scheduler, "persist") else None
    if client is not None:
        yield _on_client(client)
    elif scheduler is None and seconds < CLUSTER_SECONDS:
        yield _local("synchronous" if seconds < 1 else "threads")
    elif scheduler is None:
        with _own_cluster() as own:
            announce(f"dashboard: {own.dashboard_link}")
            yield _on_client(own)
    elif scheduler in LOCAL:
        yield _local(scheduler)
    else:
        with _connect(scheduler) as connected:
            announce(f"dashboard: {connected.dashboard_link}")
            yield _on_client(connected)


def check(scheduler: Any) -> None:
    """Refuse what is no scheduler.

    Raises
    ------
    StudyError
        Naming what would be one.
    """
    if scheduler is None or scheduler in LOCAL or hasattr(scheduler, "persist"):
        return
    if not (isinstance(scheduler, str) and "://" in scheduler):
        raise StudyError(
            f"scheduler: {scheduler!r} is unknown; use {', '.join(LOCAL)} or an address such as tcp://127.0.0.1:8786"
        )


def _local(name: str) -> Compute:
    def compute(tasks: Sequence[Tasks], done: Done) -> None:
        layers = {task.layer for task in tasks}

        def finished(key: Any, result: Any, *_: Any) -> None:
            if isinstance(key, tuple) and key[0] in layers:
                done(key[0], result)

        try:
            with Callback(posttask=finished):
                compute_all(*tasks, scheduler=_getter(name))
        except BrokenProcessPool as error:
            raise StudyError(f"scheduler: worker processes ended early; {GUARD}") from error

    return compute


def _getter(name: str) -> Any:
    """Return the function behind a local scheduler's name; given the name, Dask would import distributed."""
    if name == "threads":
        from dask import threaded

        return threaded.get
    if name == "processes":
        from dask import multiprocessing

        return multiprocessing.get
    from dask.local import get_sync

    return get_sync


def _on_client(client: Any) -> Compute:
    from distributed import as_completed, futures_of

    def compute(tasks: Sequence[Tasks], done: Done) -> None:
        for task in tasks:
            _ = task.parcel.content  # what cannot be pickled is told here in our words
        futures = [future for task in tasks for future in futures_of(client.persist(task))]
        try:
            for future in as_completed(futures):
                done(future.key[0], future.result())
                future.release()
        except BaseException:
            client.cancel(futures)
            raise

    return compute


def _active_client() -> Any:
    if "distributed" not in sys.modules:  # no one can have made a Client
        return None
    from distributed import default_client

    try:
        return default_client()
    except ValueError:
        return None


@contextmanager
def _own_cluster() -> Iterator[Any]:
    from distributed import Client, LocalCluster

    with _no_interrupts_for_children():
        # Failures of tasks come back with their futures; what workers log of an ending cluster is of no use.
        try:
            cluster = LocalCluster(threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL)
        except RuntimeError as error:
            raise StudyError(f"scheduler: worker processes do not start ({error}); {GUARD}") from error
    with cluster, Client(cluster) as client:
        yield client


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


@contextmanager
def _connect(address: str) -> Iterator[Any]:
    from distributed import Client

    try:
        client = Client(address, timeout="10s")
    except (OSError, TimeoutError, ValueError) as error:
        raise StudyError(f"scheduler: no Dask scheduler answers at {address}: {error}; is it running?") from error
    with client:
        yield client
