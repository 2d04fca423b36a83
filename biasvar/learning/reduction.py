"""From the records of all blocks of one cell to what its measures need. Arrays only.

Averages come first and the nonlinear step last. Whoever reads the blocks averages their records in a first pass; in a
second each block is reduced to a few numbers, so that memory does not grow with the number of replicates but for these.
Both passes go leaf by leaf, and what leaves come to is joined: ``biasvar.studies.tree``.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from biasvar.learning.record import Record
from biasvar.montecarlo.moments import Average, added
from biasvar.montecarlo.tails import Tail, Tops

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Series:
    """One cell, noise level not yet chosen: curves along x, and numbers per block."""

    loss: Array  # (blocks,): mean loss over replicates and x
    loss_tail: Tail
    gain_tail: Tail  # of what unit label noise adds, where that is integrated

    @property
    def blocks(self) -> int:
        """Number of blocks behind the numbers."""
        return len(self.loss)


@dataclass(frozen=True)
class Collected:
    """What the second pass collects of some consecutive blocks of one cell.

    Parameters
    ----------
    sums : mapping of str to ndarray
        Sums over the blocks.
    series : mapping of str to ndarray of shape (blocks, ...)
        Numbers per block, or of those of the blocks that there is something to keep of.
    tops : mapping of str to Tops
        The largest losses.
    """

    sums: Mapping[str, Array]
    series: Mapping[str, Array]
    tops: Mapping[str, Tops]

    @classmethod
    def joined(cls, parts: Sequence["Collected"]) -> "Collected":
        """Join what was collected of blocks that follow each other."""
        return cls(
            {name: added(np.stack([part.sums[name] for part in parts])) for name in parts[0].sums},
            {name: np.concatenate([part.series[name] for part in parts]) for name in parts[0].series},
            {name: Tops.joined([part.tops[name] for part in parts]) for name in parts[0].tops},
        )


class Reduction(ABC):
    """The second pass over one cell's blocks: what depends on the overall average.

    Parameters
    ----------
    record : Record
        What a block's record holds.
    average : Average
        The average of all records.
    block_size : int
        Replicates per block.
    """

    def __init__(self, record: Record, average: Average, block_size: int) -> None:
        self.record, self.average = record, record.unpack(average.mean)
        self.blocks, self.block_size = average.count, block_size

    def tops(self, largest: Array) -> Tops:
        """Return the largest losses of some blocks, (blocks, m), as what is said of all blocks' tail needs them."""
        return Tops.of(largest, self.block_size, self.blocks * self.block_size)

    @abstractmethod
    def collect(self, rows: Array, first: int) -> Collected:
        """Collect what is needed of records (blocks, record size), of which ``first`` is the first block's index."""

    @abstractmethod
    def finish(self, found: Collected) -> Series:
        """Return what was collected of all blocks as series."""


def head(rows: Array, first: int, count: int) -> Array:
    """Return those of some blocks' rows that are of the first ``count`` blocks of all."""
    return rows[: max(0, count - first)].copy()
