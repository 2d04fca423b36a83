"""Blocks in memory, and the serial executor: what every other way to run a study must equal bit for bit."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from biasvar.studies import tree
from biasvar.studies.base import Chunk, Group, Summary
from biasvar.studies.study import Study

S = TypeVar("S", bound=Summary)


class Memory:
    """The blocks of a study, in memory, in index order.

    Parameters
    ----------
    study : Study
        Which study.
    parts : mapping of Group to sequence of Chunk
        Each group's chunks.
    """

    def __init__(self, study: Study[Any], parts: Mapping[Group, Sequence[Chunk]]) -> None:
        self._study, self._parts = study, parts

    def groups(self) -> list[Group]:
        """Return all groups."""
        return list(self._parts)

    def reduced(self, group: Group, known: object = None) -> Any:
        """Return what a group's blocks come to."""
        chunks = self._parts[group]
        blocks = range(sum(chunk.blocks for chunk in chunks))
        return tree.reduced(chunks, self._study.reducer(group, known), blocks)


def simulate_blocks(study: Study[Any], group: Group, blocks: Iterable[int]) -> Chunk:
    """Simulate some blocks of a group, one after another; what a user's function raises is raised."""
    outcomes = [study.simulate(group, block) for block in blocks]
    records = np.stack([outcome.records for outcome in outcomes], axis=1)
    return Chunk(records, np.array([outcome.failures for outcome in outcomes], dtype=object).T)


def run_in_memory(study: Study[S]) -> S:
    """Run a study in this process, one block after another, without Dask and without a store.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.RiskStudy(
    ...     name="constant", target=bv.Sine(), inputs=bv.Uniform(-1, 1), hypotheses={"H0": bv.Polynomial(0)},
    ...     n_train=[2], replicates=2**14, block_size=2**10,
    ... )
    >>> run_in_memory(study).equals(bv.lazy(study).compute())
    True
    """
    blocks = study.blocks_needed()
    while True:
        parts = {group: [simulate_blocks(study, group, range(blocks[group.problem]))] for group in study.groups()}
        summary = study.summarise(Memory(study, parts))
        following = {problem: max(number, blocks[problem]) for problem, number in study.blocks_needed(summary).items()}
        if following == blocks:
            return summary
        blocks = following
