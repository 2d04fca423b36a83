"""Blocks are joined in a tree of their indices: the same bits however they are chunked and wherever it is cut."""

from math import fsum

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biasvar.learning.reduction import Collected
from biasvar.montecarlo.moments import added
from biasvar.studies import tree
from biasvar.studies.base import Chunk

MANY = tree.LEAF * tree.FAN**2 + 100


def numbers(blocks):
    """Numbers of many sizes, so that every order of sums has other bits."""
    rng = np.random.default_rng(blocks)
    return rng.normal(size=(1, blocks, 3)) * 10.0 ** rng.integers(-12, 12, (1, blocks, 3))


def chunks(values, sizes):
    start = 0
    while start < values.shape[1]:
        stop = start + next(sizes)
        part = values[:, start:stop]
        yield Chunk(part, np.full(part.shape[:2], "", object))
        start = stop


def collect(leaf, first):
    rows = leaf.records[0]
    return Collected({"sum": added(rows)}, {"each": rows[:, 0], "at": np.full(len(rows), first)}, {})


def of(values, blocks, size):
    return tree.reduced(chunks(values[:, blocks.start : blocks.stop], iter(lambda: size, 0)), collect, blocks)


def same(one, other):
    assert one.sums["sum"].tobytes() == other.sums["sum"].tobytes()
    assert one.series["each"].tobytes() == other.series["each"].tobytes()


@given(blocks=st.integers(1, 700), sizes=st.lists(st.integers(1, 300), min_size=1, max_size=5))
@settings(max_examples=50)
def test_chunks_change_no_bit(blocks, sizes):
    values = numbers(blocks)
    cycle = (size for _ in range(blocks) for size in sizes)
    same(tree.reduced(chunks(values, cycle), collect, range(blocks)), of(values, range(blocks), blocks))


@pytest.mark.parametrize("level", [0, 1, 2, 3])
@pytest.mark.parametrize("blocks", [1, tree.LEAF, tree.LEAF * tree.FAN + 1, MANY])
def test_branches_that_are_reduced_apart_change_no_bit(blocks, level):
    values = numbers(blocks)
    branches = tree.branches_of(blocks, level)
    assert [block for branch in branches for block in branch] == list(range(blocks))
    parts = (of(values, branch, 7) for branch in branches)
    same(tree.joined(parts, len(branches)), of(values, range(blocks), blocks))


def test_every_block_is_there_once_and_in_order():
    values = numbers(MANY)
    found = of(values, range(MANY), 1000)
    assert found.series["each"].tolist() == values[0, :, 0].tolist()
    assert found.series["at"].tolist() == [block // tree.LEAF * tree.LEAF for block in range(MANY)]
    for total, column in zip(found.sums["sum"], values[0].T, strict=True):
        assert total == pytest.approx(fsum(column), abs=1e-13 * np.abs(column).sum())


def test_few_parts_are_in_memory_at_a_time():
    alive = set()

    class Part:
        def __init__(self):
            alive.add(self)

        @classmethod
        def joined(cls, parts):
            alive.difference_update(parts)
            return cls()

    most = 0

    def parts(count):
        nonlocal most
        for _ in range(count):
            yield Part()
            most = max(most, len(alive))

    tree.joined(parts(tree.FAN**4), tree.FAN**4)
    assert len(alive) == 1
    assert most <= 4 * tree.FAN
