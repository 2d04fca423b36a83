"""What any loss comes to whose label noise is simulated: expected and empirical risk, of averaged records."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasvar.learning.decomposition import Problem
from biasvar.learning.measures import Averages, Curve, Measure
from biasvar.learning.record import Record
from biasvar.learning.reduction import Collected, Reduction, Series
from biasvar.montecarlo.moments import Average, added
from biasvar.montecarlo.tails import NO_TAIL, Tail

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LossSeries(Series):
    """One cell: ``loss`` is that of each block, averaged over x and test labels."""

    mean: Array  # (points,): average prediction
    mean_spread: Array  # (points,): sum over blocks of squared deviations from it
    loss_x: Array  # (points,): expected loss
    loss_spread: Array  # (points,): sum over blocks of squared deviations from it
    training: Array  # (blocks,)


class LossReduction(Reduction):
    """Reduce each block to its mean loss and training loss."""

    def __init__(self, problem: Problem, record: Record, average: Average, block_size: int) -> None:
        super().__init__(record, average, block_size)
        self.problem = problem

    def collect(self, rows: Array, first: int) -> Collected:
        """Collect the losses of some blocks, and how far from the averages they lie."""
        parts = self.record.unpack(rows)
        return Collected(
            {name: added((parts[name] - self.average[name]) ** 2) for name in ("mean", "loss")},
            {
                "loss": (parts["loss"] * self.problem.test.weights).sum(axis=1),
                "training": parts["training_loss"].copy(),
            },
            {"loss": self.tops(parts["largest_loss"])},
        )

    def finish(self, found: Collected) -> LossSeries:
        """Return what was collected of all blocks as series."""
        loss = found.series["loss"]
        return LossSeries(
            loss=loss,
            loss_tail=Tail.of(found.tops["loss"], float(loss.mean())),
            gain_tail=NO_TAIL,
            mean=self.average["mean"],
            mean_spread=found.sums["mean"],
            loss_x=self.average["loss"],
            loss_spread=found.sums["loss"],
            training=found.series["training"],
        )


@dataclass(frozen=True)
class LossAverages(Averages):
    """One cell, at the noise level at which it was simulated."""

    problem: Problem
    series: Any
    quadrature_error: float
    extremes: float

    @property
    def blocks(self) -> int:
        """How many blocks are averaged."""
        return int(self.series.blocks)

    def along_x_error(self, spread: Array) -> Array:
        """Return the standard error of an average at x whose blocks deviate by this sum of squares."""
        return np.asarray(np.sqrt(spread / (self.blocks * (self.blocks - 1))))


MEASURES: tuple[Measure, ...] = (
    Measure(
        "expected_risk",
        "expected risk: mean loss on new examples",
        "expected risk",
        value=lambda a: float(a.series.loss.mean()),
        influence=lambda a: a.series.loss,
        along_x=lambda a: a.series.loss_x,
        unit="loss",
        spoiled="with_the_loss",
        column=1,
        paired=True,
        compared_by="expected_risk_difference",
    ),
    Measure(
        "empirical_risk",
        "empirical risk: mean loss on the training set",
        "training error",
        value=lambda a: float(a.series.training.mean()),
        influence=lambda a: a.series.training,
        unit="loss",
        column=2,
    ),
    Measure(
        "generalization_gap",
        "generalization gap: expected risk - empirical risk",
        "generalization gap",
        value=lambda a: float((a.series.loss - a.series.training).mean()),
        influence=lambda a: a.series.loss - a.series.training,
        along_x=lambda a: a.series.loss_x,
        unit="loss",
        spoiled="with_the_loss",
    ),
)

RISK_X = Curve(
    "risk_x",
    "expected risk at x",
    "expected risk",
    value=lambda a: a.series.loss_x,
    error=lambda a: a.along_x_error(a.series.loss_spread),
    unit="loss",
    spoiled="with_the_loss",
)

CURVES: tuple[Curve, ...] = (
    Curve(
        "mean_prediction",
        "average prediction at x",
        "mean prediction",
        value=lambda a: a.series.mean,
        error=lambda a: a.along_x_error(a.series.mean_spread),
        unit="y",
    ),
    RISK_X,
)
