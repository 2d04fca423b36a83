"""The driver: fill the store, summarise, and go on until the study says that it is enough.

What is stored is the only truth. The driver asks the store which chunks are missing, has them simulated on any Dask
scheduler, reads all blocks back in index order and checks them; a damaged chunk is simulated again.
"""

import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from biasvar.errors import DamagedChunkError, StoreError, StudyError
from biasvar.execution import plan as planning
from biasvar.execution.graph import Parcel, Tasks
from biasvar.execution.lock import exclusive
from biasvar.execution.records import Records
from biasvar.execution.schedulers import Compute, check, choose
from biasvar.execution.store import Store
from biasvar.execution.threads import one_blas_thread
from biasvar.execution.verify import damaged_chunks
from biasvar.studies.base import Chunk, Group, Study, Summary

WAVE = 4096  # tasks that the scheduler is given at a time, so that it never holds millions
MAX_REPAIRS = 3
KEEP_BYTES = 1 << 25  # of one group's records; larger groups are read once a pass, so that memory stays flat


@dataclass
class Progress:
    """How far a run is: chunks, seconds, and the largest standard error so far of any cell's headline number."""

    done: int = 0
    total: int = 0
    seconds: float = 0.0
    messages: list[str] = field(default_factory=list)
    _cells: dict[Group, NDArray[np.float64]] = field(default_factory=dict)

    def add(self, group: Group, token: NDArray[np.float64]) -> None:
        """Take in the token of a finished task: count, mean and squared deviations of every cell."""
        self.done += 1
        count, mean, squares = token.T
        n, m, s = self._cells.get(group, np.zeros((3, len(token))))
        total, shift = n + count, mean - m
        self._cells[group] = np.stack([total, m + shift * count / total, s + squares + shift**2 * n * count / total])

    @property
    def worst_error(self) -> float:
        """Largest standard error among the cells seen in this run; NaN while there is none."""
        errors = [np.sqrt(s / (n * (n - 1))) for n, _, s in self._cells.values() if n[0] > 1]
        known = [float(np.nanmax(error)) for error in errors if not np.isnan(error).all()]
        return max(known, default=np.nan)

    @property
    def seconds_left(self) -> float:
        """Seconds that the rest takes at this run's pace."""
        return self.seconds * (self.total - self.done) / self.done if self.done else np.nan


Report = Callable[[Progress], None]
S = TypeVar("S", bound=Summary)


def run(
    study: Study[S],
    store: str | PathLike[str],
    *,
    scheduler: Any = None,
    blocks_per_chunk: int | None = None,
    progress: Report | None = None,
) -> S:
    """Run a study into a Zarr store, or finish, extend or repair what is there.

    Parameters
    ----------
    study : RiskStudy or OptimizerStudy
        What to run.
    store : path-like
        Where to. A new path is made; a store of the same study is resumed: what is stored is not simulated again.
    scheduler : str or distributed.Client, optional
        ``"synchronous"``, ``"threads"``, ``"processes"``, the address of a Dask scheduler, or a Client. By
        default the active Client, else Dask's configured scheduler, else this process for a small study and a
        LocalCluster for a large one.
    blocks_per_chunk : int, optional
        Blocks that one task simulates, about a second's worth unless given. Changes no result.
    progress : callable, optional
        Called with a :class:`Progress` when a task has finished; by default only its messages, such as the address
        of a dashboard, are printed.

    Returns
    -------
    xarray.Dataset or xarray.DataTree
        The labelled summary (a tree for an optimizer study), every variable with ``<name>_se``: what :func:`open` and
        :func:`xarray.open_zarr` read.

    Raises
    ------
    StoreError
        If the store is something else, cannot be written, is held by another run, or holds another study.
    StudyError
        If the target fails, or the scheduler is unknown or does not answer.

    Examples
    --------
    >>> import biasvar as bv, tempfile
    >>> study = bv.RiskStudy(
    ...     name="constant", target=bv.Sine(), inputs=bv.Uniform(-1, 1), hypotheses={"H0": bv.Polynomial(0)},
    ...     n_train=[2], replicates=2**14, block_size=2**10,
    ... )
    >>> summary = bv.run(study, tempfile.mkdtemp() + "/h0.zarr")
    >>> round(float(summary.variance.sel(hypothesis="H0", n_train=2, noise=0.0)), 4)
    0.25
    """
    _check_arguments(study, scheduler, blocks_per_chunk)
    target = Store(store)
    with exclusive(target.path):
        study.to_json()  # before anything of a user's runs, and may change
        target.check(study)
        with one_blas_thread:
            study.rehearse()
        target.adopt(study)
        target.sweep()
        driver = _Driver(study, target, scheduler, blocks_per_chunk, progress or _tell)
        blocks = study.planned_blocks()
        while True:
            driver.fill(blocks)
            summary = driver.summarise(blocks)
            following = study.planned_blocks(summary)
            if following == blocks:
                break
            blocks = following
        for message in study.shortfalls(summary):
            driver.say(message)
        return cast(S, target.write_summary(study, summary))


def _check_arguments(study: Any, scheduler: Any, blocks_per_chunk: Any) -> None:
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        # A worker process is importing the user's script: it would run the study again, and so on without end.
        sys.exit("biasvar: worker processes import your script; put its call of run under: if __name__ == '__main__':")
    if not hasattr(study, "planned_blocks"):
        raise StudyError(f"study: expected a study, got {study!r}; load one from YAML or by name with biasvar.load")
    if blocks_per_chunk is not None and not (isinstance(blocks_per_chunk, int) and blocks_per_chunk > 0):
        raise StudyError(f"blocks_per_chunk: expected a positive integer, got {blocks_per_chunk!r}")
    check(scheduler)


def _tell(progress: Progress) -> None:
    while progress.messages:
        print(progress.messages.pop(0), file=sys.stderr)


def open(store: str | PathLike[str]) -> Summary:  # noqa: A001  # bv.open, like zarr.open
    """Open a finished store's labelled summary lazily.

    Parameters
    ----------
    store : path-like
        A store made by :func:`run`.

    Raises
    ------
    StoreError
        If it is not one, or not finished.
    """
    return Store(store).summary()


class StoredBlocks:
    """The blocks of a study in a store, in index order and checked."""

    def __init__(self, store: Store, blocks: Mapping[str, int]) -> None:
        self.blocks = blocks
        self.records = {group: records for group, records in store.groups().items() if group.problem in blocks}
        self._kept: dict[Group, list[Chunk]] = {}

    def groups(self) -> list[Group]:
        """Return the stored groups of the study's problems."""
        return list(self.records)

    def chunks(self, group: Group) -> Iterator[Chunk]:
        """Iterate over a group's blocks, as many as the study needs."""
        if group not in self._kept and self._bytes(group) <= KEEP_BYTES:
            self._kept = {group: list(self._read(group))}  # summaries pass over a group more than once
        return iter(self._kept[group]) if group in self._kept else self._read(group)

    def _read(self, group: Group) -> Iterator[Chunk]:
        stop, records = self.blocks[group.problem], self.records[group]
        for chunk in range(-(-stop // records.chunk_size)):
            yield records.read(chunk, stop)

    def _bytes(self, group: Group) -> int:
        return 8 * len(group.cells) * group.statistics * self.blocks[group.problem]


@dataclass
class _Driver:
    """One run's way between the store and a scheduler."""

    study: Study[Any]
    store: Store
    scheduler: Any
    blocks_per_chunk: int | None
    report: Report
    progress: Progress = field(default_factory=Progress)

    @cached_property
    def parcel(self) -> Parcel:
        """The study as tasks get it."""
        return Parcel(self.study)

    def fill(self, blocks: Mapping[str, int]) -> None:
        """Have all chunks simulated that are missing for so many blocks."""
        stored = self.store.groups()
        new = self.study.groups({(group.problem, cell) for group in stored for cell in group.cells})
        plan = planning.plan(self.study, new, blocks)
        seconds = plan.seconds
        pending: list[tuple[Records, int]] = []
        for records in stored.values():
            self.store.heal(records.group, self.study.statistic_coordinates(records.group))
            records.lengthen(blocks[records.group.problem])
            missing = records.missing()
            if missing:
                pending += [(records, chunk) for chunk in missing]
                cost = planning.seconds_a_block(self.study, records.group)
                seconds += cost * len(missing) * records.chunk_size
        for part in plan.groups:
            statistic = self.study.statistic_coordinates(part.group)
            records = self.store.create(part.group, part.blocks, self.blocks_per_chunk or part.chunk, statistic)
            pending += [(records, chunk) for chunk in range(records.chunks)]
        if pending:
            self.progress.total += len(pending)
            with choose(self.scheduler, seconds, self.say) as compute:
                for first in range(0, len(pending), WAVE):
                    self._simulate(pending[first : first + WAVE], compute)

    def summarise(self, blocks: Mapping[str, int]) -> Summary:
        """Summarise what is stored, with damaged chunks simulated again first."""
        for _ in range(MAX_REPAIRS):
            try:
                with one_blas_thread:
                    summary: Summary = self.study.summarise(StoredBlocks(self.store, blocks))
                    return summary
            except DamagedChunkError:
                for records, damage in damaged_chunks(self.store):
                    self.say(f"{damage}; simulating it again")
                    records.forget(damage.chunk)
                self.fill(blocks)
        raise StoreError(f"store {self.store.path}: chunks are damaged again and again; is the disk sound?")

    def _simulate(self, wave: list[tuple[Records, int]], compute: Compute) -> None:
        chunks: dict[Group, list[int]] = {}
        for records, chunk in wave:
            chunks.setdefault(records.group, []).append(chunk)
        opened = {records.group: records for records, _ in wave}
        tasks = {
            group: Tasks.of(self.parcel, self.store.path, opened[group], wanted) for group, wanted in chunks.items()
        }
        of_layer = {collection.layer: group for group, collection in tasks.items()}
        start = time.monotonic() - self.progress.seconds

        def done(layer: str, token: Any) -> None:
            self.progress.add(of_layer[layer], np.asarray(token))
            self.progress.seconds = time.monotonic() - start
            self.report(self.progress)

        compute(list(tasks.values()), done)

    def say(self, message: str) -> None:
        """Hand a line to whoever watches."""
        self.progress.messages.append(message)
        self.report(self.progress)
