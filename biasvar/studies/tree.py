"""How blocks are reduced: leaf by leaf, and leaves joined in a tree that the blocks' indices alone decide.

A leaf is ``LEAF`` consecutive blocks, a branch is ``FAN`` neighbouring leaves or branches. Sums depend on the order in
which they are made, and this one is always the same: whoever reads the blocks, however they are chunked, and whether
one process joins all of them or many join a branch each.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol, Self, TypeVar

from biasvar.studies.base import Chunk, Reducer

LEAF = 64
FAN = 8


class Part(Protocol):
    """What some consecutive blocks come to."""

    @classmethod
    def joined(cls, parts: Sequence[Any]) -> Self:
        """Return what the blocks of several parts, which follow each other, come to."""


P = TypeVar("P", bound=Part)


def leaves_of(blocks: int) -> int:
    """Return how many leaves so many blocks have."""
    return -(-blocks // LEAF)


def branches_of(blocks: int, level: int) -> list[range]:
    """Return the blocks of each branch of a level; those of level 0 are leaves."""
    size = LEAF * FAN**level
    return [range(first, min(first + size, blocks)) for first in range(0, blocks, size)]


def reduced(chunks: Iterable[Chunk], reduce: Reducer, blocks: range) -> Any:
    """Return what the blocks of a branch come to.

    Parameters
    ----------
    chunks : iterable of Chunk
        They, in index order and however chunked.
    reduce : callable
        What is made of a leaf and the index of its first block.
    blocks : range
        Their indices; the first one begins a leaf.

    Examples
    --------
    >>> import numpy as np
    >>> chunks = [Chunk(np.ones((1, size, 1)), np.full((1, size), "", object)) for size in (50, 100)]
    >>> reduced(chunks, lambda leaf, first: leaf.part(0, 1), range(150)).blocks
    3
    """
    found = (reduce(leaf, first) for leaf, first in zip(_leaves(chunks), blocks[::LEAF], strict=True))
    return joined(found, leaves_of(len(blocks)))


def joined(parts: Iterable[P], count: int) -> P:
    """Join ``count`` neighbours, those of one level, until one is left; few are in memory at a time."""
    while count > 1:
        parts, count = _neighbours(parts), -(-count // FAN)
    (whole,) = parts
    return whole


def _neighbours(parts: Iterable[P]) -> Iterator[P]:
    """Join ``FAN`` parts at a time."""
    rest = iter(parts)
    while few := list(islice(rest, FAN)):
        yield few[0] if len(few) == 1 else few[0].joined(few)


def _leaves(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """Cut consecutive blocks into leaves, each in memory of its own: one layout, one order of NumPy's sums."""
    waiting: list[Chunk] = []
    room = LEAF
    for chunk in chunks:
        start = 0
        while chunk.blocks - start >= room:
            yield Chunk.joined([*waiting, chunk.part(start, start + room)])
            start, waiting, room = start + room, [], LEAF
        if start < chunk.blocks:
            waiting.append(chunk.part(start, chunk.blocks))
            room -= chunk.blocks - start
    if waiting:
        yield Chunk.joined(waiting)
