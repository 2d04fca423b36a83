"""The blocks of a study in a store, as summaries read them."""

from collections.abc import Iterator, Mapping

from biasvar.execution.store import Store
from biasvar.studies.base import Chunk, Group

#: Of one group's records that are kept; larger groups are read once per pass, so that memory stays flat.
KEEP_BYTES = 1 << 25


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
        return self.records[group].read_all(self.blocks[group.problem])

    def _bytes(self, group: Group) -> int:
        return group.block_bytes * self.blocks[group.problem]
