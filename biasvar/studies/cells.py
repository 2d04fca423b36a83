"""What summaries of cells share: two passes over a group's blocks, and what heavy tails take of the numbers."""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasvar.learning.loss_tails import TARGET, LossTails
from biasvar.learning.measures import Curve, Measure
from biasvar.learning.reduction import Collected, Reduction, Series
from biasvar.montecarlo.moments import Average
from biasvar.montecarlo.tails import Status
from biasvar.studies.base import BlockSource, Chunk, Group, Reducer, first_failure

Table = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Known:
    """What the first pass over a group's blocks comes to.

    Parameters
    ----------
    average : Average
        Average record of each cell, (cells, record size); NaN for those that failed.
    failures : tuple of str
        By cell, why it failed first; empty if it did not.
    """

    average: Average
    failures: tuple[str, ...]

    @classmethod
    def of(cls, blocks: Chunk) -> "Known":
        """Average the records of some blocks."""
        return cls(Average.of(blocks.records.swapaxes(0, 1)), tuple(map(first_failure, blocks.failures)))

    @classmethod
    def joined(cls, parts: Sequence["Known"]) -> "Known":
        """Average what several averages are of."""
        failures = map(first_failure, zip(*(part.failures for part in parts), strict=True))
        return cls(Average.joined([part.average for part in parts]), tuple(failures))

    def cell(self, i: int) -> Average:
        """Return the average of one cell's records."""
        return Average(self.average.count, self.average.first[i], self.average.total[i])


@dataclass(frozen=True)
class Cells:
    """What the second pass over a group's blocks comes to, by the keys of cells that did not fail."""

    found: Mapping[str, Collected]

    @classmethod
    def joined(cls, parts: Sequence["Cells"]) -> "Cells":
        """Join what was collected of blocks that follow each other."""
        return cls({key: Collected.joined([part.found[key] for part in parts]) for key in parts[0].found})


@dataclass(frozen=True)
class Passes:
    """The two passes over a group's blocks: averages, and what depends on them.

    Parameters
    ----------
    group : Group
        Whose blocks.
    wanted : container of str
        Keys of the cells that the study has.
    reduction : callable
        The second pass over a cell, by its key and the average of its records.
    """

    group: Group
    wanted: Container[str]
    reduction: Callable[[str, Average], Reduction]

    def reducer(self, known: object) -> Reducer:
        """Return the first pass, or, where the averages are known, the second."""
        if not isinstance(known, Known):
            return lambda blocks, first: Known.of(blocks)
        second = self._second(known)
        return lambda blocks, first: Cells(
            {self.group.cells[i]: reduction.collect(blocks.records[i], first) for i, reduction in second.items()}
        )

    def read(self, source: BlockSource) -> tuple[dict[str, Series], dict[str, str]]:
        """Return the series of cells, and why others failed, by their keys."""
        known: Known = source.reduced(self.group)
        failures = {key: why for key, why in zip(self.group.cells, known.failures, strict=True) if why}
        if not (second := self._second(known)):
            return {}, failures
        cells: Cells = source.reduced(self.group, known)
        named = {self.group.cells[i]: reduction for i, reduction in second.items()}
        return {key: each.finish(cells.found[key]) for key, each in named.items()}, failures

    def _second(self, known: Known) -> dict[int, Reduction]:
        sound = [i for i, key in enumerate(self.group.cells) if key in self.wanted and not known.failures[i]]
        return {i: self.reduction(self.group.cells[i], known.cell(i)) for i in sound}


def extremes_of(tails: LossTails, series: Series, noise: float, replicates: int) -> float:
    """Return the standard error of a mean loss that blocks do not show, from its tails and those of what noise adds."""
    of_signal = tails.signal.standard_error(series.loss_tail, replicates)
    return float(np.hypot(of_signal, noise**2 * tails.noise.standard_error(series.gain_tail, replicates)))


def strike(
    table: Table, at: tuple[int, ...], tails: LossTails, numbers: Sequence[Measure | Curve], moved: bool
) -> None:
    """Take away the numbers and standard errors that do not exist; ``moved`` is whether blocks differ."""
    of_target = tails.signal.source == TARGET
    for each in numbers:
        value, error = table[each.name], table[f"{each.name}_se"]
        spoiled = each.spoiled == "with_the_loss" and (moved or not of_target)
        spoiled = spoiled or (of_target and each.of_target == "value")
        if spoiled or (of_target and each.of_target == "error"):
            error[at] = np.nan
        if spoiled and tails.status is Status.INFINITE and not np.isnan(value[at]).all():
            value[at] = np.inf
        if each.spoiled == "with_the_signal" and tails.signal.status is not Status.OK:
            error[at] = np.nan
