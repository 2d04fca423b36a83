"""The blocks of a study in a store, as summaries read them: by this process, or, where there are many, by workers."""

import pickle
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from biasvar.execution.backends import Location
from biasvar.execution.graph import PackedStudy, Tasks, fresh_layer, metered, opened
from biasvar.execution.schedulers import BATCH, ClusterLost, Executor
from biasvar.execution.store import Store
from biasvar.studies import tree
from biasvar.studies.base import Chunk, Group
from biasvar.studies.study import Study

#: Of one group's records that are kept; larger groups are read once per pass, so that memory stays flat.
KEEP_BYTES = 1 << 25
#: What it takes to read and to check a chunk, and a byte of it; what to send a byte through the scheduler.
SECONDS_PER_CHUNK, SECONDS_PER_BYTE, SECONDS_PER_BYTE_SENT = 2e-4, 2e-9, 4e-9
TASK_SECONDS = 0.5  # that a task takes at least


@dataclass(frozen=True)
class Branches:
    """To reduce the blocks of a group, a branch of the tree per task.

    Parameters
    ----------
    group
        Whose blocks.
    store
        Where they are.
    layer
        What the keys of the tasks begin with.
    blocks
        How many the study needs.
    level
        The branches' level.
    known
        What is known of all blocks by an earlier pass.
    """

    group: Group
    store: Location
    layer: str
    blocks: int
    level: int
    known: object = None

    def do(self, study: Study[Any], index: int) -> tuple[int, Any]:
        """Return the index of a branch, and what its blocks come to."""
        blocks = tree.branches_of(self.blocks, self.level)[index]
        with metered("reduce"):
            chunks = opened(self.store, self.group, self.layer).read_all(blocks)
            return index, tree.reduced(chunks, study.reducer(self.group, self.known), blocks)


@dataclass(frozen=True)
class Workers:
    """Whoever has simulated a study, if that was a cluster's workers.

    Parameters
    ----------
    executor : Executor
        Where they are.
    packed : PackedStudy
        The study as tasks get it.
    """

    executor: Executor
    packed: PackedStudy

    @property
    def present(self) -> bool:
        """Tell whether there are any."""
        return self.executor.client is not None

    def reduce(self, work: Branches, count: int) -> dict[int, Any]:
        """Return what branches come to, by index; those that are lost with their workers are missing."""
        found: dict[int, Any] = {}
        with suppress(ClusterLost):
            batches = Tasks(self.packed, work, range(count)).batches(BATCH)
            self.executor.compute(batches, lambda group, result: found.update([result]))
        return found


class StoredBlocks:
    """The blocks of a study in a store, in index order and checked.

    Parameters
    ----------
    study : Study
        The study.
    store : Store
        Its store.
    blocks : mapping of str to int
        How many blocks of each problem it needs.
    workers : Workers, optional
        Who reduces what would take this process long.
    """

    def __init__(
        self, study: Study[Any], store: Store, blocks: Mapping[str, int], workers: Workers | None = None
    ) -> None:
        self.study, self.store, self.blocks, self.workers = study, store, blocks, workers
        self.records = {group: records for group, records in store.groups().items() if group.problem in blocks}
        self._kept: dict[Group, list[Chunk]] = {}

    def groups(self) -> list[Group]:
        """Return the stored groups of the study's problems."""
        return list(self.records)

    def reduced(self, group: Group, known: object = None) -> Any:
        """Return what a group's blocks come to, of as many as the study needs.

        Raises
        ------
        DamagedChunkError
            If a chunk is missing, or not as it was written.
        """
        blocks = self.blocks[group.problem]
        if not self._is_for_workers(group, blocks, known):
            return tree.reduced(self._chunks(group, blocks), self.study.reducer(group, known), range(blocks))
        work = self._work(group, blocks, self._level(group), known)
        count = len(tree.branches_of(blocks, work.level))
        found = self.workers.reduce(work, count) if self.workers else {}
        # What was lost is done here, to the same bits.
        return tree.joined((found.pop(i) if i in found else work.do(self.study, i)[1] for i in range(count)), count)

    def _is_for_workers(self, group: Group, blocks: int, known: object) -> bool:
        """Tell whether there are workers, and what blocks come to is less than what there is to read of them."""
        here = self._seconds(group, blocks)
        if self.workers is None or not self.workers.present or here < 2 * TASK_SECONDS:
            return False
        _, leaf = self._work(group, blocks, 0, known).do(self.study, 0)
        return here > 2 * SECONDS_PER_BYTE_SENT * len(pickle.dumps(leaf)) * tree.leaves_of(blocks)

    def _work(self, group: Group, blocks: int, level: int, known: object) -> Branches:
        layer = fresh_layer(f"reduce:{group.task_name}")
        return Branches(group, self.store.location, layer, blocks, level, known)

    def _chunks(self, group: Group, blocks: int) -> Iterable[Chunk]:
        if group not in self._kept and group.block_bytes * blocks <= KEEP_BYTES:
            self._kept = {group: list(self.records[group].read_all(range(blocks)))}  # there may be another pass
        return self._kept.get(group) or self.records[group].read_all(range(blocks))

    def _level(self, group: Group) -> int:
        """Return the lowest level whose branches are worth a task."""
        level = 0
        while self._seconds(group, tree.LEAF * tree.FAN**level) < TASK_SECONDS:
            level += 1
        return level

    def _seconds(self, group: Group, blocks: int) -> float:
        """Return about how long it takes to read and to check so many blocks."""
        chunks = blocks / self.records[group].chunk_size
        return SECONDS_PER_CHUNK * chunks + SECONDS_PER_BYTE * group.block_bytes * blocks
