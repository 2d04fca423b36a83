"""Where tasks run: in this process, on a Dask scheduler that runs already, or on a cluster of our own.

A scheduler is disposable. What is lost with one is told as :class:`ClusterLost`; the store knows what is left to do.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager, suppress
from queue import Empty, SimpleQueue
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from dask import config
from dask.base import annotate
from dask.callbacks import Callback

from biasvar.errors import BiasvarError, RunError, SchedulerError, StoreUnreachableError, StudyError
from biasvar.execution.addresses import AN_ADDRESS, Address, Borrowed, checked_address
from biasvar.execution.clusters import GUARD, LocalWorkers
from biasvar.execution.connection import Connection
from biasvar.execution.dashboard import add_page
from biasvar.execution.graph import Tasks
from biasvar.studies.base import Group

if TYPE_CHECKING:
    from distributed import Client, Future

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
CLUSTER_SECONDS = 10.0  # below, starting worker processes costs more than they save
WINDOW = 4096  # tasks that a scheduler is given at a time, so that it never holds millions
BATCH = 1024  # tasks that are submitted together
POLL_SECONDS = 1.0
GATHER_SECONDS = 30.0
#: The machine's faults, not the study's: the same chunk may well be simulated later.
FAULTS = (OSError, MemoryError, StoreUnreachableError)
Done = Callable[[Group, Any], None]  # told the group and the result of each finished task


class ClusterLost(Exception):  # noqa: N818  # it is caught before any user sees it
    """Tell that tasks cannot go on where they are; what is not in the store yet is to be computed anew."""


class Setback(NamedTuple):
    """A chunk that was not simulated through no fault of its study."""

    group: Group
    chunk: int
    error: BaseException

    @property
    def words(self) -> str:
        """What went wrong."""
        return _words(self.error)

    @property
    def killed(self) -> bool:
        """Tell whether its workers ended while they were on it, again and again."""
        return type(self.error).__name__ == "KilledWorker"


class Executor:
    """Where the tasks of one run are computed: found, found again when it is lost, and left at the end.

    Parameters
    ----------
    scheduler : str, distributed.Client, Connection or None
        ``"synchronous"``, ``"threads"``, ``"processes"``, the address of a Dask scheduler, or a Client. None: the
        active Client, else Dask's configured scheduler, else this process for small studies and a LocalCluster for
        large ones.
    say : callable
        Told what the user should know, such as the dashboard's address.
    about : mapping
        What the tasks are for: annotations that the scheduler shows. ``study`` names their span.

    Raises
    ------
    SchedulerError
        From ``with``, if a scheduler that should be there does not answer.
    """

    def __init__(self, scheduler: object, say: Callable[[str], None], about: Mapping[str, str]) -> None:
        check(scheduler)
        self._where, self._say, self._about = _resolve(scheduler), say, dict(about)
        self._client: Any = None
        self._connection = ExitStack()
        self._greeted = False

    def __enter__(self) -> "Executor":
        if self._where is not None and not isinstance(self._where, str | LocalWorkers):
            self._connect()  # before anything is written: the address may be wrong
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    @property
    def remote(self) -> bool:
        """Tell whether tasks run in other processes, which do not share this one's memory."""
        return self._where not in (None, "synchronous", "threads")

    @property
    def chosen(self) -> bool:
        """Tell whether it is known already where to compute, however much there is to do."""
        return self._where is not None

    def settle(self, seconds: float, *, here: bool) -> bool:
        """Choose, if nothing was chosen yet, for so many seconds of work; tell whether it is a cluster.

        Parameters
        ----------
        seconds : float
            About how long the tasks take on one core.
        here : bool
            True if they have to stay in this process.
        """
        if self._where is None and (here or seconds < CLUSTER_SECONDS):
            return False
        self._where = self._where or LocalWorkers()
        return not isinstance(self._where, str)

    def compute(self, batches: Iterable[Tasks], done: Done, seconds: float = 0.0) -> list[Setback]:
        """Compute tasks and hand each result to a callback; return the setbacks.

        Raises
        ------
        ClusterLost
            If the rest has to be computed elsewhere, or later.
        BiasvarError
            What a task says on purpose.
        """
        if self._where is None or isinstance(self._where, str):
            _compute_here(self._where or ("synchronous" if seconds < 1 else "threads"), batches, done)
            return []
        try:
            if self._client is None:
                self._connect()
            from distributed import span

            # Annotations of a graph are lost when it is optimised; those around its submission are not.
            with span(self._about["study"]), annotate(biasvar=self._about):
                return _Window(self._client, done, self._where, self._say).compute(batches)
        except (SchedulerError, ClusterLost) as error:
            self._leave()
            raise ClusterLost(str(error)) from error

    @property
    def client(self) -> Any:
        """The Client that tasks are handed to now, or None."""
        return self._client

    def _connect(self) -> None:
        assert self._where is not None
        assert not isinstance(self._where, str)
        self._client = self._connection.enter_context(self._where.client())
        address = add_page(self._client)
        if not isinstance(self._where, Borrowed) and not self._greeted:
            self._greeted = True
            self._say(f"dashboard: {address}")

    def _leave(self) -> None:
        self._client = None
        with suppress(OSError, TimeoutError):  # of a scheduler that is gone already
            self._connection.close()


def check(scheduler: object) -> None:
    """Refuse what is no scheduler.

    Raises
    ------
    StudyError
        Naming what would be one.
    """
    if scheduler is None or scheduler in LOCAL or hasattr(scheduler, "persist"):
        return
    if isinstance(scheduler, Connection):
        scheduler.check()
        return
    if not (isinstance(scheduler, str) and ":" in scheduler):
        raise StudyError(
            f"scheduler: {scheduler!r} is unknown; use {', '.join(LOCAL)} or an address such as {AN_ADDRESS}"
        )
    checked_address(scheduler)


def _resolve(scheduler: object) -> str | Connection | None:
    """Return the name of a local scheduler, how to connect to another, or None where that depends on the work."""
    if scheduler is None:
        named = config.get("scheduler", None)
        scheduler = _ALIASES.get(named, named)
        check(scheduler)
    if scheduler is None:
        scheduler = _active_client() or config.get("scheduler-address", None)
    if scheduler is None or scheduler in LOCAL:
        return scheduler
    if isinstance(scheduler, str):
        return Address(checked_address(scheduler))
    return scheduler if isinstance(scheduler, Connection) else Borrowed(cast("Client", scheduler))


def _active_client() -> Any:
    if "distributed" not in sys.modules:  # no one can have made a Client
        return None
    from distributed import default_client

    try:
        return default_client()
    except ValueError:
        return None


# Local schedulers


def _compute_here(name: str, batches: Iterable[Tasks], done: Done) -> None:
    for tasks in batches:

        def finished(key: object, result: object, *_: object, tasks: Tasks = tasks) -> None:
            if isinstance(key, tuple) and key[0] == tasks.job.layer:
                done(tasks.job.group, result)

        try:
            with Callback(posttask=finished):
                # Not by dask.compute, which gives a graph of one key another key.
                _getter(name)(tasks.__dask_graph__(), tasks.__dask_keys__())
        except BrokenProcessPool as error:
            raise ClusterLost(f"worker processes ended early ({error}); {GUARD}") from error
        except FAULTS as error:
            raise ClusterLost(_words(error)) from error


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


# A distributed scheduler


class _Window:
    """Tasks that a scheduler holds: at most WINDOW at a time, refilled as they finish."""

    def __init__(self, client: "Client", done: Done, connection: Connection, say: Callable[[str], None]) -> None:
        self.client, self.done, self.connection, self.say = client, done, connection, say
        self.waiting: dict[Any, tuple[Any, Group]] = {}
        self.finished: SimpleQueue[Any] = SimpleQueue()
        self.setbacks: list[Setback] = []

    def compute(self, batches: Iterable[Tasks]) -> list[Setback]:
        """Compute everything; return what met with a setback."""
        try:
            for tasks in batches:
                _ = tasks.packed.content  # what cannot be pickled is told here in our words
                with _losses():
                    self._submit(tasks)
                while len(self.waiting) > WINDOW - BATCH:
                    self._take()
            while self.waiting:
                self._take()
        except BaseException:
            self._abandon()
            raise
        return self.setbacks

    def _abandon(self) -> None:
        """Let the scheduler forget what is left, if it is there: the client may be a user's, and live on."""
        if self.client.status == "running":
            with suppress(OSError, RuntimeError, CancelledError):
                self.client.cancel([future for future, _ in self.waiting.values()])

    def _submit(self, tasks: Tasks) -> None:
        from distributed import futures_of

        # Dask warns of large graphs, for data may be in them again and again: here they are one key of all tasks.
        with config.set({"distributed.admin.large-graph-warning-threshold": "1 PiB"}):
            submitted = futures_of(self.client.persist(tasks))
        for future in submitted:
            self.waiting[future.key] = future, tasks.job.group
            future.add_done_callback(self.finished.put)

    def _take(self) -> None:
        """Take in whatever has finished; wait until something has."""
        with _losses():
            arrived = self._arrived()
            results = self._gather([future for future in arrived if future.status == "finished"])
        for future in arrived:
            _, group = self.waiting.pop(future.key)
            result = results.get(future.key)
            if result is None:
                self.setbacks.append(Setback(group, future.key[1], _error_of(future)))
            else:
                self.done(group, result)
            future.release()

    def _arrived(self) -> list[Any]:
        """Return finished futures, at least one; watch the workers while there are none.

        Raises
        ------
        ClusterLost
            If there have been no workers for too long.
        """
        patience = self.connection.patience
        alone_since, told = None, False
        while True:
            with suppress(Empty):
                arrived = [self.finished.get(timeout=POLL_SECONDS)]
                while not self.finished.empty():
                    arrived.append(self.finished.get())
                return arrived
            if self.client.status != "running":
                raise ClusterLost(f"the scheduler was lost (the client is {self.client.status})")
            if self.client.scheduler_info()["workers"]:
                alone_since = None
                continue
            alone_since = monotonic() if alone_since is None else alone_since
            if monotonic() - alone_since > patience:
                raise ClusterLost(f"no workers for {patience:.0f} s{self._why()}")
            if not told and monotonic() - alone_since > min(5.0, patience / 2):
                told = True
                self.say(f"no workers; waiting for them{self._why()}")

    def _why(self) -> str:
        return f" ({self.connection.refusal})" if self.connection.refusal else ""

    def _gather(self, futures: Sequence["Future[object]"]) -> dict[Any, Any]:
        """Fetch results; None where one was lost with its worker meanwhile."""
        if not futures:
            return {}
        wanted = {future.key: future for future in futures}
        try:
            found: dict[Any, Any] = self.client.sync(
                lambda: self.client.gather(wanted, errors="skip", asynchronous=True), callback_timeout=GATHER_SECONDS
            )
        except TimeoutError as error:  # what is lost with the last workers a client waits for until others come
            raise ClusterLost(f"the results of {len(wanted)} chunks do not come; their workers are gone") from error
        return found


@contextmanager
def _losses() -> Iterator[None]:
    """Turn all that a client may say when its scheduler is gone into one thing."""
    from distributed.client import ClosedClientError

    try:
        yield
    except (OSError, TimeoutError, CancelledError, ClosedClientError, RuntimeError) as error:
        raise ClusterLost(f"the scheduler was lost ({_words(error)})") from error


def _error_of(future: "Future[object]") -> BaseException:
    """Return why a chunk was not simulated, if that was no fault of the study's.

    Raises
    ------
    ClusterLost
        If it was the cluster.
    BiasvarError
        What the task says on purpose.
    RunError
        If workers cannot run tasks at all.
    """
    error: BaseException = future.exception() if future.status == "error" else CancelledError(future.status)
    kind = type(error).__name__
    if isinstance(error, CancelledError) or kind in ("NoWorkerError", "NoValidWorkerError"):
        raise ClusterLost(f"the scheduler was lost ({_words(error)})")
    if kind == "KilledWorker" or isinstance(error, FAULTS):
        return error
    if isinstance(error, BiasvarError):
        raise error
    raise RunError(f"workers cannot simulate: {_words(error)}; have they the same versions of all packages?") from error


def _words(error: BaseException) -> str:
    kind = "" if isinstance(error, BiasvarError) else f"{type(error).__name__}: "
    return " ".join(f"{kind}{error}".split())
