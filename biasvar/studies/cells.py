"""What summaries of cells share: two passes over a group's blocks, and what heavy tails take of the numbers."""

from collections.abc import Callable, Container, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasvar.learning.loss_tails import TARGET, LossTails
from biasvar.learning.measures import Curve, Measure
from biasvar.learning.reduction import Reduction, Series, reduce_blocks
from biasvar.montecarlo.moments import RunningMean
from biasvar.montecarlo.tails import Status
from biasvar.studies.base import BlockSource, Group

Table = dict[str, NDArray[Any]]


def read_series(
    group: Group,
    source: BlockSource,
    wanted: Container[str],
    reduction: Callable[[str, RunningMean], Reduction],
    block_size: int,
) -> tuple[dict[str, Series], dict[str, str]]:
    """Reduce one group's blocks, in two passes.

    Parameters
    ----------
    group, source : Group, BlockSource
        Which blocks, and where they are.
    wanted : container of str
        Keys of the cells that the study has.
    reduction : callable
        The second pass over a cell, by its key and the average of its records.
    block_size : int
        Replicates per block.

    Returns
    -------
    series, failures : dict of str
        By the cell's key; why it failed, if it did.
    """
    averages = {i: RunningMean() for i, key in enumerate(group.cells) if key in wanted}
    failures: dict[str, str] = {}
    for chunk in source.chunks(group):
        for i in list(averages):
            if reasons := [reason for reason in chunk.failures[i] if reason]:
                failures[group.cells[i]] = reasons[0]
                del averages[i]
            else:
                averages[i].add(chunk.records[i])
    if not averages:
        return {}, failures
    sound = list(averages)
    records = (chunk.records[sound] for chunk in source.chunks(group))
    passes = [reduction(group.cells[i], average) for i, average in averages.items()]
    reduced = reduce_blocks(passes, records, block_size)
    return {group.cells[i]: series for i, series in zip(sound, reduced, strict=True)}, failures


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
