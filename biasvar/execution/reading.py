"""A store read once, from its first block to its last: what checks, hashes and figures are made of."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasvar.errors import DamagedChunkError
from biasvar.execution.records import Records
from biasvar.execution.store import Store
from biasvar.studies.base import Group
from biasvar.studies.study import Study


@dataclass(frozen=True)
class Reading:
    """What there is in a store's blocks.

    Parameters
    ----------
    checksums : dict of (str, str) to bytes
        By problem and cell, the checksums of all its blocks, in order.
    headlines : dict of Group to ndarray of shape (cells, blocks)
        Each block's headline number, of a study that was given.
    damages : list of DamagedChunkError
        What is wrong, chunk by chunk; those blocks are in nothing else.
    """

    checksums: dict[tuple[str, str], bytes] = field(default_factory=dict)
    headlines: dict[Group, NDArray[np.float64]] = field(default_factory=dict)
    damages: list[DamagedChunkError] = field(default_factory=list)

    def check(self) -> None:
        """Raise what is wrong first, if anything is."""
        if self.damages:
            raise self.damages[0]


def read_through(store: Store, study: Study[Any] | None = None) -> Reading:
    """Read all blocks of a store, and each once."""
    found = Reading()
    for group, records in store.groups().items():
        sums = [np.empty((len(group.cells), 0), np.uint64)]
        headlines = [np.empty((len(group.cells), 0))]
        for part in records.read_through():
            if isinstance(part, DamagedChunkError):
                found.damages.append(part)
                continue
            content, checked = part
            sums.append(checked)
            if study is not None:
                headlines.append(study.headline(group, content.records))
        rows = zip(group.cells, np.concatenate(sums, axis=1).astype("<u8"), strict=True)
        found.checksums.update({(group.problem, cell): row.tobytes() for cell, row in rows})
        if study is not None:
            found.headlines[group] = np.concatenate(headlines, axis=1)
    return found


def damaged_chunks(store: Store) -> Iterator[tuple[Records, DamagedChunkError]]:
    """Yield every chunk that cannot be read back as it was written, and the records that it belongs to."""
    for records in store.groups().values():
        for part in records.read_through():
            if isinstance(part, DamagedChunkError):
                yield records, part
