"""What is collected of the records of one cell: losses by block, and what each block does to the centre's risk."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from biasvar.learning.losses.margin.centres import Centre
from biasvar.learning.record import Record
from biasvar.learning.reduction import Collected, Reduction, Series, head
from biasvar.montecarlo.intervals import MAX_PAIRED_BLOCKS, jackknife, other_averages, second_order_variance
from biasvar.montecarlo.moments import Average, added
from biasvar.montecarlo.tails import NO_TAIL, Tail

Array = NDArray[np.float64]
PER_BLOCK = ("training_loss", "interpolated", "one_class")
UNTOLD = "so few training sets do not tell which class their majority votes for: bias and variance have no value"


class Number(NamedTuple):
    """A number, and what each block contributes to it, or each draw of other blocks."""

    value: float
    influence: Array


@dataclass(frozen=True, kw_only=True)
class MarginSeries(Series):
    """One cell; ``loss`` is that of each block, averaged over x and test labels."""

    centre: Array  # (points,): average
    centre_error: Array  # (points,): its standard error
    loss_x: Array  # (points,): expected loss
    loss_spread: Array  # (points,): sum over blocks of squared deviations from it
    per_block: dict[str, Array]  # training loss and shares, (blocks,)
    numbers: dict[str, Number]  # the loss, and nonlinear numbers of the average
    deviations: Array  # (blocks,): what each block's deviation adds to the centre's risk
    rule_error: float  # how far off the centre's risk is for want of test points
    second_order: float  # variance of the bias were it zero
    kw_deviations: Array  # (blocks,)
    kw_second_order: float
    replicates: int  # training sets behind it
    infinite: bool  # whether some losses are
    undecided: str  # why it is not known which class the majority votes for; empty if it is


class MarginReduction(Reduction):
    """Reduce each block to its losses, and to what the centre's risk is without it."""

    def __init__(self, centre: Centre, record: Record, average: Average, block_size: int) -> None:
        super().__init__(record, average, block_size)
        self.of = centre

    @np.errstate(over="ignore", invalid="ignore")  # what is infinite is told
    def collect(self, rows: Array, first: int) -> Collected:
        """Collect the losses of some blocks, how far from the averages they lie, and the risks without each."""
        parts, weights = self.record.unpack(rows), self.of.weights
        deviations = parts["centre"] - self.average["centre"]
        others = (self.blocks * self.average["centre"] - parts["centre"]) / (self.blocks - 1)
        return Collected(
            {name: added((parts[name] - self.average[name]) ** 2) for name in ("centre", "loss")},
            {
                "loss": (parts["loss"] * weights).sum(axis=1),
                "deviations": (self.of.scaled(deviations, self.average["centre"]) ** 2).sum(axis=1),
                "kw_deviations": (deviations**2 * weights).sum(axis=1),
                "head": head(parts["centre"], first, MAX_PAIRED_BLOCKS),
                **{name: parts[name].copy() for name in PER_BLOCK},
                **{f"{name} without": values for name, values in self.of.numbers(others).items()},
            },
            {"loss": self.tops(parts["largest_loss"])},
        )

    @np.errstate(over="ignore", invalid="ignore")
    def finish(self, found: Collected) -> MarginSeries:
        """Return what was collected of all blocks as series."""
        series = found.series
        head = series["head"] - series["head"].mean(axis=0)
        centre, whole = self.average["centre"], self.average["centre"][None]
        loss = series["loss"]
        numbers = {"loss": Number(float(loss.mean()), loss - loss.mean())}
        for name, (value,) in self.of.numbers(whole).items():
            numbers[name] = Number(*jackknife(float(value), series[f"{name} without"]))
        if steps := self.of.steps(whole):
            numbers |= self._drawn(steps, head, loss)
        error = np.sqrt(found.sums["centre"] / (self.blocks * (self.blocks - 1)))
        stakes = self.of.undecided(centre, error)
        excess = float(loss.mean()) - self.of.bayes
        undecided = stakes > self.of.tolerated * max(excess, 0.0)
        scaled = self.of.scaled(head, centre)
        return MarginSeries(
            loss=loss,
            loss_tail=Tail.of(found.tops["loss"], float(loss.mean())),
            gain_tail=NO_TAIL,
            centre=centre,
            centre_error=error,
            loss_x=self.average["loss"],
            loss_spread=found.sums["loss"],
            numbers=numbers,
            deviations=series["deviations"],
            rule_error=self.of.rule_error(centre),
            second_order=max(second_order_variance(scaled, self.blocks), (stakes / 2) ** 2 * self.of.doubtful),
            kw_deviations=series["kw_deviations"],
            kw_second_order=second_order_variance(head * np.sqrt(self.of.weights), self.blocks),
            per_block={name: series[name] for name in PER_BLOCK},
            replicates=self.blocks * self.block_size,
            infinite=bool(np.isnan(self.average["loss"]).any()),
            undecided=UNTOLD if undecided else "",
        )

    def _drawn(self, full: dict[str, Array], head: Array, loss: Array) -> dict[str, Number]:
        """Return what is a step by draws of other averages, and the loss of the same draws."""
        beside = loss[: len(head)] - loss[: len(head)].mean()
        moved = other_averages(np.column_stack([head, beside]), self.blocks)
        numbers = {"loss": Number(float(loss.mean()), _as_blocks(moved[:, -1]))}
        for name, drawn in self.of.steps(self.average["centre"] + moved[:, :-1]).items():
            numbers[name] = Number(float(2 * full[name][0] - drawn.mean()), _as_blocks(drawn))
        return numbers


def _as_blocks(drawn: Array) -> Array:
    """Scale draws of an average as if each were a block of it."""
    return np.asarray(np.sqrt(len(drawn)) * (drawn - drawn.mean()))
