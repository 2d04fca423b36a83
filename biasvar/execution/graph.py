"""A study as Dask tasks: each simulates its chunk and writes it, and only a small token travels back."""

import pickle
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, lru_cache
from typing import Any

import cloudpickle
import dask.array as da
import numpy as np
from dask.base import DaskMethodsMixin, tokenize
from dask.delayed import Delayed, delayed
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray

from biasvar.errors import MACHINE_FAULTS, StoreUnreachableError, StudyError, sentence
from biasvar.execution.backends import Location
from biasvar.execution.records import UNREADABLE, Records
from biasvar.execution.settings import count
from biasvar.execution.threads import one_blas_thread
from biasvar.studies.base import Begun, BlockRecords, Chunk, Group
from biasvar.studies.study import Study

#: Groups of earlier editions of a study, and how many units of work each has done.
Earlier = tuple[tuple[Group, int], ...]


class PackedStudy:
    """A study as tasks carry it.

    Another process receives bytes and unpacks them once for all its tasks. What a user's study raises while it is
    unpacked (a module that a worker lacks, say) is then the task's error; in a message from the scheduler it would end
    the worker.

    Raises
    ------
    StudyError
        If the study has to leave the process and cannot be pickled.
    """

    def __init__(self, study: Study[Any]) -> None:
        self._study = study

    @cached_property
    def node(self) -> Delayed:
        """The study as one key of graphs, of which a worker gets a copy once, however large its data are."""
        # A fresh token: a scheduler that still remembers a failed key would return its old error.
        node: Delayed = delayed(self, name=f"study-{_fresh()}", traverse=False)
        return node

    def study(self) -> Study[Any]:
        """Return the study."""
        return self._study

    @cached_property
    def content(self) -> bytes:
        """The study in bytes."""
        try:
            return bytes(cloudpickle.dumps(self._study))
        except Exception as error:  # whatever a user's object raises
            raise StudyError(
                f"study {self._study.name}: cannot be pickled for other processes: {error}; "
                "use scheduler='threads', or make what it holds picklable"
            ) from error

    def __reduce__(self) -> Any:
        return _ReceivedStudy, (self.content,)


class _ReceivedStudy:
    """A packed study in another process."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    @cached_property
    def _study(self) -> Study[Any]:
        study: Study[Any] = pickle.loads(self._content)
        return study

    def study(self) -> Study[Any]:
        return self._study

    def __reduce__(self) -> Any:
        return _ReceivedStudy, (self._content,)

    def __sizeof__(self) -> int:
        # By which Dask judges whether to move it.
        return len(self._content)


def _fresh() -> str:
    return f"{np.random.default_rng().integers(2**62):x}"


class Tasks(DaskMethodsMixin):
    """Some chunks of one group as a Dask collection: one task each, all other tasks of the layer are culled.

    Parameters
    ----------
    packed
        The study that the tasks carry.
    group
        What they simulate.
    graph, layer, keys
        The graph of all the group's chunks, its one layer, and the keys that are wanted.
    """

    def __init__(
        self, packed: PackedStudy, group: Group, graph: Mapping[Any, Any], layer: str, keys: Iterable[object]
    ) -> None:
        self.packed, self.group = packed, group
        self._graph, self.layer, self._keys = graph, layer, list(keys)

    @classmethod
    def of(
        cls, packed: PackedStudy, store: Location, records: Records, chunks: Iterable[int], earlier: Earlier = ()
    ) -> "Tasks":
        """Lay out the tasks that simulate some chunks of a group of the study into ``store``.

        They go on with what these chunks hold already, and with what groups of earlier editions hold.
        """
        group = records.group
        # A fresh token per call: a scheduler that still remembers a failed key would return its old error.
        layer = f"{group.task_name}-{tokenize(group.path, str(store), _fresh())}"
        array = da.map_blocks(
            simulate_chunk,
            chunks=((1,) * records.chunks,),
            dtype="f8",
            meta=np.empty(0),
            name=layer,
            packed=packed.node,
            group=group,
            store=store,
            layer=layer,
            begun=records.begun(),
            earlier=earlier,
        )
        return cls(packed, group, array.dask, layer, [(layer, chunk) for chunk in chunks])

    def batches(self, size: int) -> Iterator["Tasks"]:
        """Yield the same tasks, ``size`` at a time, out of one graph: Dask never forgets how long each graph was."""
        for first in range(0, len(self._keys), size):
            yield Tasks(self.packed, self.group, self._graph, self.layer, self._keys[first : first + size])

    def __dask_graph__(self) -> Any:
        return self._graph

    def __dask_keys__(self) -> list[Any]:
        return self._keys

    def __dask_layers__(self) -> tuple[str, ...]:
        return (self.layer,)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return ("Tasks", self.layer, tuple(self._keys))

    __dask_optimize__ = staticmethod(da.optimization.optimize)
    __dask_scheduler__ = staticmethod(da.Array.__dask_scheduler__)

    def __dask_postcompute__(self) -> Any:
        return list, ()

    def __dask_postpersist__(self) -> Any:
        return self._rebuild, ()

    def _rebuild(self, graph: Mapping[Any, Any], rename: object = None) -> "Tasks":
        if not isinstance(graph, HighLevelGraph):
            graph = HighLevelGraph.from_collections(self.layer, graph, ())
        return Tasks(self.packed, self.group, graph, self.layer, self._keys)


def simulate_chunk(
    block_id: tuple[int, ...] | None = None,
    packed: PackedStudy | None = None,
    group: Group | None = None,
    store: Location | None = None,
    layer: str = "",
    begun: frozenset[int] = frozenset(),
    earlier: Earlier = (),
) -> NDArray[np.float64]:
    """Simulate and write one chunk: what each task of a layer does.

    Returns
    -------
    ndarray of shape (cells, 3)
        Count, mean and sum of squared deviations of each cell's headline number over the chunk's blocks: all that
        travels back.
    """
    if block_id is None or packed is None or group is None or store is None:
        return np.zeros((1, 3))  # Dask asks what a result looks like, with no arguments
    study, chunk = packed.study(), block_id[0]
    stored = _opened(store, group, layer)
    (records, failures), sound = stored.recover(chunk) if chunk in begun else stored.blank(chunk)
    first, tracebacks = chunk * stored.chunk_size, [""] * len(sound)
    with one_blas_thread, _metered("simulate"):
        for position in np.flatnonzero(~sound):
            block = first + int(position)
            outcome = _simulate_block(study, group, block, _begun(store, earlier, block, layer))
            records[:, position], failures[:, position] = outcome.records, outcome.failures
            tracebacks[position] = outcome.traceback
    with _metered("store"):
        stored.write(chunk, Chunk(records, failures), study.block_size, tracebacks)
    headline = study.headline(group, records)
    mean = headline.mean(axis=1)
    blocks = np.full(len(mean), float(headline.shape[1]))
    return np.stack([blocks, mean, ((headline - mean[:, None]) ** 2).sum(axis=1)], axis=1)


@lru_cache(maxsize=8)
def _opened(store: Location, group: Group, layer: str) -> Records:
    """Open a group's arrays, once for all tasks of a layer, during which the driver changes none of them.

    Raises
    ------
    StoreUnreachableError
        If they are not there: a network file system may show them later.
    """
    try:
        return Records(store, group)
    except UNREADABLE as error:
        raise StoreUnreachableError(
            f"store {store}: metadata of blocks/{group.path} is missing or damaged ({type(error).__name__})"
        ) from error


def _begun(store: Location, earlier: Earlier, block: int, layer: str) -> list[Begun]:
    """Return what earlier editions hold of a block, as it was written."""
    found = []
    for group, work in earlier:
        try:
            records = _opened(store, group, layer)
        except StoreUnreachableError:  # then the block is simulated from the start
            continue
        content, sound, _, _ = records.sound(range(block, block + 1))
        if rows := [i for i in range(len(group.cells)) if sound[i].any()]:
            cells, failures = ([part[i] for i in rows] for part in (group.cells, content.failures[:, 0]))
            found.append(Begun(work, tuple(cells), content.records[rows, 0], tuple(failures)))
    return found


def _simulate_block(study: Study[Any], group: Group, block: int, begun: list[Begun]) -> BlockRecords:
    """Simulate a block; if a user's code raises, a few times, and then say so in its place."""
    for _ in range(count("tries")):
        try:
            outcome = study.go_on(group, block, begun) if begun else study.simulate(group, block)
        except MACHINE_FAULTS:
            raise  # the machine's fault, not the block's: nothing to remember
        except Exception as error:  # whatever a user's function raises: the block fails, and the others go on
            outcome = failed_block(group, sentence(error), "".join(traceback.format_exception(error)))
        if not outcome.traceback:
            break
    return outcome


def failed_block(group: Group, reason: str, trace: str) -> BlockRecords:
    """Return what stands for a block that could not be simulated."""
    cells = len(group.cells)
    return BlockRecords(np.full((cells, group.record_size), np.nan), (reason,) * cells, trace)


def _metered(what: str) -> AbstractContextManager[Any]:
    """Time a part of a task for the dashboard's fine performance metrics, where there is a dashboard."""
    if "distributed" not in sys.modules:
        return nullcontext()
    from distributed.metrics import context_meter

    meter: AbstractContextManager[Any] = context_meter.meter(what)
    return meter
