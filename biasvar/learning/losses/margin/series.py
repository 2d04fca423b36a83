"""What is collected of the records of one cell: losses by block, and the centre without each block."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from biasvar.learning.losses.margin.centres import Centre
from biasvar.learning.record import Record
from biasvar.learning.reduction import Reduction, Series
from biasvar.montecarlo.intervals import MAX_PAIRED_BLOCKS, second_order_variance
from biasvar.montecarlo.moments import RunningMean, add_in_order
from biasvar.montecarlo.tails import Tail

Array = NDArray[np.float64]
UNDECIDED = 0.1  # of the excess risk
UNTOLD = "so few training sets do not tell which class their majority votes for: bias and variance have no value"


@dataclass(frozen=True, kw_only=True)
class MarginSeries(Series):
    """One cell; ``loss`` is that of each block, averaged over x and test labels."""

    centre: Array  # (points,): average
    centre_error: Array  # (points,): its standard error
    loss_x: Array  # (points,): expected loss
    loss_spread: Array  # (points,): sum over blocks of squared deviations from it
    per_block: dict[str, Array]  # training loss and shares, (blocks,)
    full: dict[str, float]  # nonlinear numbers of the average
    left_out: dict[str, Array]  # the same without each block, (blocks,)
    deviations: Array  # (blocks,): what each block's deviation adds to the centre's risk
    rule_error: float  # how far off the centre's risk is for want of test points
    second_order: float  # variance of the bias were it zero
    kw_deviations: Array  # (blocks,)
    kw_second_order: float
    infinite: bool  # whether some losses are
    undecided: str  # why it is not known which class the majority votes for; empty if it is


class MarginReduction(Reduction):
    """Reduce each block to its losses, and to what the centre's risk is without it."""

    def __init__(self, centre: Centre, record: Record, average: RunningMean) -> None:
        self.of, self.record, self.blocks = centre, record, average.count
        self.average = record.unpack(average.mean)
        self.spread = {name: np.zeros(len(centre.p)) for name in ("centre", "loss")}
        self.series: dict[str, list[Array]] = {}
        self.left_out: dict[str, list[Array]] = {}
        self.heads: list[Array] = []
        self.borders: set[int] = set()

    @np.errstate(over="ignore", invalid="ignore")  # what is infinite is told
    def add(self, rows: Array) -> None:
        """Take in records of further blocks."""
        parts, weights = self.record.unpack(rows), self.of.weights
        for name in self.spread:
            self.spread[name] = add_in_order(self.spread[name], (parts[name] - self.average[name]) ** 2)
        others = (self.blocks * self.average["centre"] - parts["centre"]) / (self.blocks - 1)
        for name, values in {"risk": self.of.risk(others), **self.of.numbers(others)}.items():
            self.left_out.setdefault(name, []).append(values)
        self.borders.update(self.of.borders(others).tolist())
        deviations = parts["centre"] - self.average["centre"]
        if sum(len(part) for part in self.heads) < MAX_PAIRED_BLOCKS:
            self.heads.append(parts["centre"].copy())
        for name, values in {
            "loss": (parts["loss"] * weights).sum(axis=1),
            "deviations": (self.of.scaled(deviations, self.average["centre"]) ** 2).sum(axis=1),
            "kw_deviations": (deviations**2 * weights).sum(axis=1),
            **{name: parts[name] for name in ("training_loss", "interpolated", "one_class", "largest_loss")},
        }.items():
            self.series.setdefault(name, []).append(values.copy())

    @np.errstate(over="ignore", invalid="ignore")
    def finish(self, block_size: int) -> MarginSeries:
        """Return what was collected."""
        series = {name: np.concatenate(parts) for name, parts in self.series.items()}
        head = np.concatenate(self.heads)[:MAX_PAIRED_BLOCKS]
        head = head - head.mean(axis=0)
        centre, whole = self.average["centre"], self.average["centre"][None]
        full = {"risk": self.of.risk(whole), **self.of.numbers(whole)}
        error = np.sqrt(self.spread["centre"] / (self.blocks * (self.blocks - 1)))
        stakes = self.of.undecided(centre, error)
        excess = float(series["loss"].mean()) - self.of.bayes
        undecided = len(self.borders) > 1 or stakes > UNDECIDED * max(excess, 0.0)
        scaled = self.of.scaled(head, centre)
        largest = series.pop("largest_loss")
        return MarginSeries(
            loss=series.pop("loss"),
            loss_tail=Tail.of(largest, block_size),
            gain_tail=Tail.of(np.zeros_like(largest), block_size),
            centre=centre,
            centre_error=error,
            loss_x=self.average["loss"],
            loss_spread=self.spread["loss"],
            full={name: float(value[0]) for name, value in full.items()},
            left_out={name: np.concatenate(parts) for name, parts in self.left_out.items()},
            deviations=series.pop("deviations"),
            rule_error=self.of.rule_error(centre),
            second_order=max(second_order_variance(scaled, self.blocks), (stakes / 2) ** 2),
            kw_deviations=series.pop("kw_deviations"),
            kw_second_order=second_order_variance(head * np.sqrt(self.of.weights), self.blocks),
            per_block=series,
            infinite=bool(np.isnan(self.average["loss"]).any()),
            undecided=UNTOLD if undecided else "",
        )
