"""The driver: fill the store, summarise, and go on until the study says that it is enough.

What is stored is the only truth. The driver asks the store which chunks are missing, has them simulated on any Dask
scheduler, reads all blocks back in index order and checks them; a damaged chunk is simulated again. A scheduler that is
lost meanwhile is found again, or replaced, and what it did is in the store.
"""

import multiprocessing
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from biasvar.errors import BiasvarWarning, DamagedChunkError, RunError, StoreError, StudyError
from biasvar.execution import plan as planning
from biasvar.execution import settings
from biasvar.execution.blocks import StoredBlocks, Workers
from biasvar.execution.computing import computing
from biasvar.execution.graph import Job, PackedStudy, Tasks, failed_block
from biasvar.execution.live import Broadcast
from biasvar.execution.lock import Hold
from biasvar.execution.progress import Progress, Report, shown
from biasvar.execution.reading import damaged_chunks
from biasvar.execution.records import Records
from biasvar.execution.schedulers import BATCH, ClusterLost, Executor, Setback, check
from biasvar.execution.settings import LONGEST_WAIT, count, seconds
from biasvar.execution.store import Store
from biasvar.studies.base import Chunk, Group, Summary, failed_cells
from biasvar.studies.study import Study, check_is_study

TELL_SECONDS = 2.0  # between what is told to those who watch the store
MAX_REPAIRS = 3


S = TypeVar("S", bound=Summary)


def run(
    study: Study[S],
    store: str | PathLike[str],
    *,
    scheduler: object = None,
    blocks_per_chunk: int | None = None,
    retry_failed: bool = False,
    progress: bool | Report | None = None,
    strict: bool = False,
) -> S:
    """Run a study into a Zarr store, or finish, extend or repair what is there.

    Parameters
    ----------
    study : RiskStudy or OptimizerStudy
        What to run.
    store : path-like or str
        Where to: a path, ``s3://bucket/key`` or ``memory://name``. A new one is made; a store of the same study is
        resumed: what is stored is not simulated again.
    scheduler : str or distributed.Client, optional
        ``"synchronous"``, ``"threads"``, ``"processes"``, the address of a Dask scheduler, or a Client. By
        default the active Client, else Dask's configured scheduler, else this process for a small study and a
        LocalCluster for a large one. A scheduler that is lost meanwhile is looked for again at the same address.
    blocks_per_chunk : int, optional
        Blocks that one task simulates, about two seconds' worth unless given. Changes no result.
    retry_failed : bool, optional
        Simulate again what a user's function failed at before; its code must be what it was.
    progress : bool or callable, optional
        By default a bar on a terminal and in a notebook, and a line now and then elsewhere, on standard error. True: a
        bar wherever that is. False: none, only messages such as the address of a dashboard. A callable is called with
        a ``Progress`` when a task has finished, and at the end, when all are done.
    strict : bool
        Raise, at the end, where cells failed or a goal of the study was missed, instead of warning.

    Returns
    -------
    xarray.Dataset or xarray.DataTree
        The labelled summary (a tree for an optimizer study): what :func:`open` and :func:`xarray.open_zarr` read. The
        standard error of ``<name>`` is ``<name>_se``; what is no estimate has none, such as ``target`` and ``status``.

    Raises
    ------
    StoreError
        If the store is something else, cannot be written, is held by another run, or holds another study.
    StudyError
        If the study cannot be run as stated, or the scheduler is unknown.
    SchedulerError
        If the scheduler does not answer.
    RunError
        If the cluster is lost again and again, or the machine fails; what is done is kept. With ``strict`` also if
        cells failed or goals were missed; the summary is stored all the same.

    Warns
    -----
    BiasvarWarning
        If cells failed, or goals such as ``precision`` were missed: once per run, in one line.

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
    with shown(progress) as report:
        summary, missed = _run(study, Store(store), scheduler, blocks_per_chunk, retry_failed, _Voice(report))
    if shortcomings := [text for text in (failed_cells(summary), *missed) if text]:
        told = f"study {study.name}: {'; '.join(shortcomings)}"
        if strict:
            raise RunError(f"{told}; the summary is stored in {store}")
        warnings.warn(f"{told} (strict=True has this raised)", BiasvarWarning, stacklevel=2)
    return summary


def _run(
    study: Study[S], target: Store, scheduler: object, blocks_per_chunk: int | None, retry_failed: bool, voice: "_Voice"
) -> tuple[S, list[str]]:
    """Run a study whose arguments are sound; return its summary and the goals that it missed."""
    executor = Executor(scheduler, voice.say, {"study": study.name, "store": str(target.location)})
    if executor.remote and not target.location.shared:
        raise StudyError(
            f"store {target.location}: other processes cannot reach it; use scheduler='threads', or a path"
        )
    target.check_place()
    with target.location.hold(voice.say) as hold:
        study.to_json()  # before any code of the user's runs, which may change it
        planning.check_bytes(study.name, study.groups(), study.blocks_needed())
        target.check(study)
        with computing:
            study.call_user_code()
        with executor:
            if target.exists() and (why := target.superseded(study)):
                voice.say(why)
            target.claim(study)
            target.remove_partial_files()
            voice.progress.name, voice.progress.called = study.headline_name, study.headline_cells
            driver = _Driver(study, target, executor, hold, blocks_per_chunk, voice)
            if retry_failed:
                driver.discard_failures()
            blocks = study.blocks_needed()
            while True:
                driver.fill(blocks)
                summary = cast(S, driver.summarise(blocks))
                wanted = study.blocks_needed(summary)
                following = {problem: max(number, blocks[problem]) for problem, number in wanted.items()}
                if following == blocks:
                    break
                blocks = following
            driver.broadcast.tell(executor.client, voice.progress, blocks, complete=True)
        voice.report(voice.progress)  # also where nothing was left to do: the last call says that all is done
        hold.check()
        return cast(S, target.write_summary(study, cast(Summary, summary))), study.unmet_goals(summary)


def _check_arguments(study: object, scheduler: object, blocks_per_chunk: object) -> None:
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        # A worker process is importing the user's script: it would run the study again, and so on without end.
        sys.exit("biasvar: worker processes import your script; put its call of run under: if __name__ == '__main__':")
    check_is_study(study)
    settings.check()
    if blocks_per_chunk is not None and not (isinstance(blocks_per_chunk, int) and blocks_per_chunk > 0):
        raise StudyError(f"blocks_per_chunk: expected a positive integer, got {blocks_per_chunk!r}")
    check(scheduler)


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

    Examples
    --------
    >>> import tempfile
    >>> import biasvar as bv
    >>> study = bv.RiskStudy(
    ...     name="mean", target=bv.Sine(), inputs=bv.Uniform(-1, 1), hypotheses={"H0": bv.Polynomial(0)}, n_train=[4],
    ...     replicates=256, block_size=16,
    ... )
    >>> folder = tempfile.TemporaryDirectory()
    >>> _ = bv.run(study, f"{folder.name}/mean.zarr", progress=False)
    >>> bv.open(f"{folder.name}/mean.zarr").status.values.ravel().tolist()
    ['ok']
    >>> folder.cleanup()
    """
    return Store(store).summary()


@dataclass
class _Voice:
    """How a run speaks: to whoever called it."""

    report: Report
    progress: Progress = field(default_factory=Progress)

    def enter(self, stage: str) -> None:
        """Say what is done now."""
        self.progress.stage = stage
        self.report(self.progress)

    def say(self, message: str) -> None:
        """Hand over a line."""
        self.progress.messages.append(message)
        self.report(self.progress)


@dataclass
class _Driver:
    """One run: fills the store by means of a scheduler, and summarises it."""

    study: Study[Any]
    store: Store
    executor: Executor
    hold: Hold
    blocks_per_chunk: int | None
    voice: _Voice
    _clock: float = 0.0
    _told: float = 0.0
    _planned: dict[str, int] = field(default_factory=dict)
    _kills: Counter[tuple[Group, int]] = field(default_factory=Counter)

    @cached_property
    def broadcast(self) -> Broadcast:
        """What those who look at the scheduler's dashboard are told."""
        return Broadcast(self.study, str(self.store.location))

    @cached_property
    def packed(self) -> PackedStudy:
        """The study as tasks get it."""
        return PackedStudy(self.study)

    def discard_failures(self) -> None:
        """Discard every chunk in which something failed, so that it is simulated again."""
        for records in self.store.groups().values():
            for chunk in records.failed():
                records.discard(chunk, entirely=True)

    def fill(self, blocks: Mapping[str, int]) -> None:
        """Have all chunks simulated that are missing for so many blocks."""
        self._planned = dict(blocks)
        stored = self.store.groups()
        new = self._without(stored)
        plan = planning.plan(self.study, new, blocks)
        work, pending = plan.seconds, dict[Records, list[int]]()
        for records in stored.values():
            self.store.repair_coordinates(records.group, self.study.record_coordinates(records.group))
            records.grow(blocks[records.group.problem])
            if missing := records.missing():
                pending[records] = missing
                if not self.executor.chosen:  # else it makes no difference, and takes its time
                    cost = planning.seconds_per_block(self.study, records.group)
                    work += cost * len(missing) * records.chunk_size
        for part in plan.groups:
            statistic = self.study.record_coordinates(part.group)
            records = self.store.create(part.group, part.blocks, self.blocks_per_chunk or part.chunk, statistic)
            pending[records] = list(range(records.chunks))
        if pending:
            self.voice.progress.total += sum(map(len, pending.values()))
            self.voice.enter("simulating")
            self._simulate(pending, work)

    def summarise(self, blocks: Mapping[str, int]) -> Summary:
        """Summarise what is stored, with damaged chunks simulated again first."""
        self.voice.enter("summarising")
        for _ in range(MAX_REPAIRS):
            stored = StoredBlocks(self.study, self.store, blocks, Workers(self.executor, self.packed))
            if lost := self._without(stored.groups()):
                self.voice.say(f"metadata of blocks/{lost[0].path} was lost; simulating its cells again")
                self.store.claim(self.study)
            else:
                try:
                    with computing:
                        summary: Summary = self.study.summarise(stored)
                        return summary
                except DamagedChunkError:
                    for records, damage in damaged_chunks(self.store):
                        self.voice.say(f"{damage}; simulating it again")
                        records.discard(damage.chunk)
            self.fill(blocks)
        raise StoreError(f"store {self.store.location}: chunks are damaged again and again; is the disk sound?")

    def _without(self, stored: Iterable[Group]) -> list[Group]:
        """Return the study's cells that are in none of these groups, in groups."""
        return self.study.groups({(group.problem, cell) for group in stored for cell in group.cells})

    def _simulate(self, pending: dict[Records, list[int]], work: float) -> None:
        """Have chunks simulated, on whatever is left of the cluster, until the store has them all."""
        cluster = self.executor.settle(work, here=not self.store.location.shared)
        attempts, idle = count("attempts" if cluster else "tries"), 0
        self._clock = time.monotonic() - self.voice.progress.seconds
        while pending:
            left = sum(map(len, pending.values()))
            try:
                setbacks = self.executor.compute(self._batches(pending), self._done, work)
                self._retry_killers(setbacks)
                trouble = next((setback.words for setback in setbacks if not setback.killed), "")
            except ClusterLost as error:
                setbacks, trouble = [], str(error)
            else:
                if not setbacks:
                    return
            pending = {records: missing for records in pending if (missing := records.missing())}
            missing_now = sum(map(len, pending.values()))
            self.voice.progress.behind(missing_now)
            idle = idle + 1 if missing_now == left else 0
            if pending and trouble:
                self._wait(trouble, missing_now, idle, attempts)

    def _wait(self, trouble: str, missing: int, idle: int, attempts: int) -> None:
        """Give things time to mend, more each time."""
        if idle >= attempts:
            raise RunError(
                f"{trouble}; gave up after {attempts} attempts in a row without a new chunk; "
                f"what is done is kept in {self.store.location}, and the same run goes on from there"
            )
        pause = min(seconds("retry-wait") * 2**idle, LONGEST_WAIT)
        self.voice.say(f"{trouble}; {missing} chunks are left, going on from the store in {pause:.0f} s")
        time.sleep(pause)

    def _retry_killers(self, setbacks: Iterable[Setback]) -> None:
        """Run each chunk that killed its worker alone: if it kills again, the fault is its own."""
        opened = {records.group: records for records in self.store.groups().values()}
        for setback in setbacks:
            again = [setback] if setback.killed else []
            while again:
                place = setback.group, setback.chunk
                self._kills[place] += 1
                if self._kills[place] >= count("tries"):
                    self._record_killer(opened[setback.group], setback)
                    break
                tasks = self._tasks(opened[setback.group], [setback.chunk])
                again = [one for one in self.executor.compute([tasks], self._done) if one.killed]

    def _record_killer(self, records: Records, setback: Setback) -> None:
        chunk = setback.chunk
        reason = f"the worker process ended while it simulated chunk {chunk} of blocks/{records.group.path}, every time"
        self.voice.say(f"{reason}; recorded as failed")
        one = failed_block(records.group, reason, setback.words)
        blocks = min(records.chunk_size, records.blocks - chunk * records.chunk_size)
        content = Chunk(
            np.repeat(one.records[:, None], blocks, axis=1),
            np.full((len(records.group.cells), blocks), reason, dtype=object),
        )
        records.write(chunk, content, self.study.block_size, [one.traceback] * blocks)

    def _batches(self, pending: Mapping[Records, list[int]]) -> Iterator[Tasks]:
        for records, chunks in pending.items():
            yield from self._tasks(records, chunks).batches(BATCH)

    def _tasks(self, records: Records, chunks: Sequence[int]) -> Tasks:
        group = records.group
        begun = [
            (other, self.study.work_begun(group, statistic))
            for other, statistic in self._earlier.items()
            if other.problem == group.problem and not set(other.cells).isdisjoint(group.cells)
        ]
        most_first = sorted((one for one in begun if one[1]), key=lambda one: -one[1])
        return Tasks(self.packed, Job.of(self.store.location, records, tuple(most_first)), chunks)

    @cached_property
    def _earlier(self) -> dict[Group, dict[str, NDArray[Any]]]:
        """What the store holds by earlier editions of the study."""
        return self.store.earlier()

    def _done(self, group: Group, token: object) -> None:
        progress = self.voice.progress
        progress.add(group, np.asarray(token))
        progress.seconds = time.monotonic() - self._clock
        self.hold.check()
        if time.monotonic() - self._told > TELL_SECONDS:
            self._told = time.monotonic()
            self.hold.tell(progress.to_json())
        self.broadcast.tell(self.executor.client, progress, self._planned)
        self.voice.report(progress)
