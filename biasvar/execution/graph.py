"""A study as Dask tasks: each simulates its chunk and writes it, and only a small token travels back."""

import pickle
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property, lru_cache
from secrets import token_hex
from typing import Any, Protocol

import cloudpickle
import numpy as np
from numpy.typing import NDArray

from biasvar.errors import MACHINE_FAULTS, StoreUnreachableError, StudyError, sentence
from biasvar.execution.backends import Location
from biasvar.execution.computing import computing
from biasvar.execution.records import UNREADABLE, Records
from biasvar.execution.settings import count
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
        #: The study is one key of graphs: a fresh one, for a scheduler may still remember another's error.
        self.key = f"study-{token_hex(16)}"

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


class Work(Protocol):
    """What the tasks of one group have in common, beside the study."""

    @property
    def group(self) -> Group:
        """Whose blocks it is about."""

    @property
    def layer(self) -> str:
        """What the keys of the tasks begin with."""

    def do(self, study: Study[Any], index: int) -> Any:
        """Do one task, and return what travels back."""


def fresh_layer(name: str) -> str:
    """Return what keys begin with, no two the same: a scheduler that remembers a failed one would return its error."""
    return f"{name}-{token_hex(16)}"


@dataclass(frozen=True)
class Job:
    """To simulate chunks of a group, and to write them.

    Parameters
    ----------
    group
        What tasks simulate.
    store
        Where to.
    layer
        What their keys begin with.
    begun
        Chunks that hold something already.
    earlier
        Groups of earlier editions to go on with.
    """

    group: Group
    store: Location
    layer: str
    begun: frozenset[int] = frozenset()
    earlier: Earlier = ()

    @classmethod
    def of(cls, store: Location, records: Records, earlier: Earlier = ()) -> "Job":
        """Return what tasks have in common that simulate chunks of a group from now on."""
        return cls(records.group, store, fresh_layer(records.group.task_name), records.begun(), earlier)

    def do(self, study: Study[Any], index: int) -> NDArray[np.float64]:
        """Simulate and write one chunk."""
        return simulate_chunk(study, self, index)


class Tasks:
    """Some work on one group as a Dask collection: one task per chunk, say, and two keys for what tasks share.

    A worker gets a copy of those once, however large the study's data and however many the group's cells are.

    Parameters
    ----------
    packed
        The study that the tasks carry.
    job
        What to do.
    indices
        Of which chunks, say.
    graph
        The graph with its results, once it is persisted.
    """

    def __init__(
        self, packed: PackedStudy, job: Work, indices: Sequence[int], graph: Mapping[Any, Any] | None = None
    ) -> None:
        self.packed, self.job, self._indices, self._persisted = packed, job, indices, graph

    def batches(self, size: int) -> Iterator["Tasks"]:
        """Yield the same tasks, ``size`` at a time."""
        for first in range(0, len(self._indices), size):
            yield Tasks(self.packed, self.job, self._indices[first : first + size])

    #: There is nothing to fuse or to cull.
    __dask_optimize__ = None

    def __dask_graph__(self) -> Mapping[Any, Any]:
        if self._persisted is not None:
            return self._persisted
        study, job = self.packed.key, f"job-{self.job.layer}"
        tasks = {key: (_do, study, job, key[1]) for key in self.__dask_keys__()}
        return {study: self.packed, job: self.job, **tasks}

    def __dask_keys__(self) -> list[Any]:
        return [(self.job.layer, index) for index in self._indices]

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return ("Tasks", self.job.layer, tuple(self._indices))

    def __dask_postcompute__(self) -> Any:
        return list, ()

    def __dask_postpersist__(self) -> Any:
        return self._rebuild, ()

    def _rebuild(self, graph: Mapping[Any, Any], rename: object = None) -> "Tasks":
        return Tasks(self.packed, self.job, self._indices, graph)


def _do(packed: PackedStudy, job: Work, index: int) -> Any:
    with computing:
        return job.do(packed.study(), index)


def simulate_chunk(study: Study[Any], job: Job, chunk: int) -> NDArray[np.float64]:
    """Simulate and write one chunk: what each task of a job does.

    Returns
    -------
    ndarray of shape (cells, 3)
        Count, mean and sum of squared deviations of each cell's headline number over the chunk's blocks: all that
        travels back.
    """
    group = job.group
    stored = opened(job.store, group, job.layer)
    (records, failures), sound = stored.recover(chunk) if chunk in job.begun else stored.blank(chunk)
    first, tracebacks = chunk * stored.chunk_size, [""] * len(sound)
    with metered("simulate"):
        for position in np.flatnonzero(~sound):
            block = first + int(position)
            outcome = _simulate_block(study, group, block, _begun(job, block))
            records[:, position], failures[:, position] = outcome.records, outcome.failures
            tracebacks[position] = outcome.traceback
    with metered("store"):
        stored.write(chunk, Chunk(records, failures), study.block_size, tracebacks)
    headline = study.headline(group, records)
    mean = headline.mean(axis=1)
    blocks = np.full(len(mean), float(headline.shape[1]))
    return np.stack([blocks, mean, ((headline - mean[:, None]) ** 2).sum(axis=1)], axis=1)


@lru_cache(maxsize=8)
def opened(store: Location, group: Group, layer: str) -> Records:
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


def _begun(job: Job, block: int) -> list[Begun]:
    """Return what earlier editions hold of a block, as it was written."""
    found = []
    for group, work in job.earlier:
        try:
            records = opened(job.store, group, job.layer)
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


def metered(what: str) -> AbstractContextManager[Any]:
    """Time a part of a task for the dashboard's fine performance metrics, where there is a dashboard."""
    if "distributed" not in sys.modules:
        return nullcontext()
    from distributed.metrics import context_meter

    meter: AbstractContextManager[Any] = context_meter.meter(what)
    return meter
