"""From the records of all blocks of one cell to what its measures need. Arrays only.

Averages come first and the nonlinear step last. Whoever reads the blocks averages their records in a first pass; in a
second each block is reduced to a few numbers, so that memory does not grow with the number of replicates but for these.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from biasvar.montecarlo.tails import Tail

Array = NDArray[np.float64]
Blocks = Iterable[Array]  # chunks (cells, blocks, record size) in index order


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


class Reduction(ABC):
    """The second pass over one cell's blocks: what depends on the overall average."""

    @abstractmethod
    def add(self, rows: Array) -> None:
        """Take in records (blocks, record size), the next in index order."""

    @abstractmethod
    def finish(self, block_size: int) -> Series:
        """Return what was collected."""


def reduce_blocks(passes: Sequence[Reduction], chunks: Blocks, block_size: int) -> list[Series]:
    """Pass over the blocks of a group of cells; return one :class:`Series` per cell."""
    for chunk in chunks:
        for second, rows in zip(passes, chunk, strict=True):
            second.add(rows)
    return [second.finish(block_size) for second in passes]
