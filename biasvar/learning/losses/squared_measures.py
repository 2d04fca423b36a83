"""What squared loss comes to: noise, squared bias, variance and their kin, of averaged records.

References
----------
S. Geman, E. Bienenstock, R. Doursat, Neural networks and the bias/variance dilemma, 1992.
L. Bottou and O. Bousquet, The tradeoffs of large scale learning, 2008 (approximation and estimation error).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from biasvar.learning.decomposition import Best, Problem
from biasvar.learning.measures import LESS_BIAS, LESS_SPREAD, LESS_THROUGH, NEARER, Averages, Curve, Measure, Part
from biasvar.learning.record import Record
from biasvar.learning.reduction import Collected, Reduction, Series, head
from biasvar.montecarlo.intervals import (
    MAX_PAIRED_BLOCKS,
    second_order_variance,
    square_influence,
    square_shift,
    unbiased_square,
)
from biasvar.montecarlo.linear_algebra import matmul
from biasvar.montecarlo.moments import Average, added
from biasvar.montecarlo.tails import Tail

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SquaredSeries(Series):
    """One cell under squared loss; ``loss`` is that of fits to labels without noise, averaged over test noise too."""

    mean: Array  # (points,): average prediction
    loss_x: Array  # (points,): E (m - f)^2
    gain_x: Array  # (points,): E sum_i S_i^2
    spread_x: Array  # (3, points): sums over blocks for the errors along x
    gain: Array  # (blocks,)
    training: Array  # (blocks,)
    training_gain: Array  # (blocks,)
    products: Array  # (blocks,): <E m - f, d_b>
    deviations: Array  # (blocks,): |d_b|^2
    deviation_x: Array  # (points,): sum_b d_b(x)^2
    second_order: float  # variance of |E m - f|^2 were the bias zero


class SquaredReduction(Reduction):
    """Reduce each block to its loss, gain and training error, and how far its mean lies from the average one."""

    #: Of a squared error, relative to the target's square: smaller ones are rounding errors, and have no tail.
    smallest: ClassVar[float] = 1e-20

    def __init__(self, problem: Problem, record: Record, average: Average, block_size: int) -> None:
        super().__init__(record, average, block_size)
        self.problem = problem
        self.bias = self.average["mean"] - problem.f
        self.negligible = self.smallest * float(matmul(problem.test.weights, problem.f**2))

    def collect(self, rows: Array, first: int) -> Collected:
        """Collect the losses of some blocks, and how far from the averages they lie."""
        weights, average = self.problem.test.weights, self.average
        parts = self.record.unpack(rows)
        deviation = parts["mean"] - average["mean"]
        loss_x = (parts["mean"] - self.problem.f) ** 2 + parts["variance"]
        # (m - f)^2 less what the square of the overall bias has of each block: the block's influence on the variance.
        influence = loss_x - (self.bias**2 + average["variance"]) - 2 * self.bias * deviation
        gain = parts["noise_gain"] - average["noise_gain"]
        return Collected(
            {
                "loss_x": added(loss_x / self.blocks),
                "deviation_x": added(deviation**2),
                "spread_x": added(np.stack([influence**2, influence * gain, gain**2], axis=1)),
            },
            {
                "loss": (loss_x * weights).sum(axis=1),
                "gain": (parts["noise_gain"] * weights).sum(axis=1),
                "training": parts["training_error"].copy(),
                "training_gain": parts["training_noise_gain"].copy(),
                "products": (deviation * (weights * self.bias)).sum(axis=1),
                "deviations": (deviation**2 * weights).sum(axis=1),
                "head": head(parts["mean"], first, MAX_PAIRED_BLOCKS),
            },
            {
                "loss": self.tops(np.where(parts["largest_loss"] > self.negligible, parts["largest_loss"], 0.0)),
                "gain": self.tops(parts["largest_noise_gain"]),
            },
        )

    def finish(self, found: Collected) -> SquaredSeries:
        """Return what was collected of all blocks as series."""
        series = dict(found.series)
        first_means = series.pop("head")
        scaled = (first_means - first_means.mean(axis=0)) * np.sqrt(self.problem.test.weights)
        return SquaredSeries(
            mean=self.average["mean"],
            gain_x=self.average["noise_gain"],
            second_order=second_order_variance(scaled, self.blocks),
            loss_tail=Tail.of(found.tops["loss"], float(series["loss"].mean())),
            gain_tail=Tail.of(found.tops["gain"], float(series["gain"].mean())),
            **found.sums,
            **series,
        )


@dataclass(frozen=True)
class SquaredAverages(Averages):
    """One cell at one noise level; where noise was simulated, the level at which it was."""

    problem: Problem
    series: SquaredSeries
    noise: float
    best: Best | None
    quadrature_error: float
    extremes: float

    @property
    def blocks(self) -> int:
        """How many blocks are averaged."""
        return self.series.blocks

    @property
    def second_order(self) -> float:
        """Variance of the squared bias were the bias zero."""
        return self.series.second_order

    @property
    def irreducible(self) -> float:
        """Variance of the label noise."""
        return self.noise**2

    @cached_property
    def excess(self) -> Array:
        """Excess risk of each block."""
        return self.series.loss + self.irreducible * self.series.gain

    @cached_property
    def excess_x(self) -> Array:
        """Excess risk at x."""
        return self.series.loss_x + self.irreducible * self.series.gain_x

    @cached_property
    def training(self) -> Array:
        """Training error of each block."""
        return self.series.training + self.irreducible * self.series.training_gain

    @cached_property
    def bias(self) -> Array:
        """Average prediction less the target, at x."""
        return self.series.mean - self.problem.f

    @cached_property
    def bias2(self) -> float:
        """Squared bias, freed of what a finite number of blocks adds."""
        return unbiased_square(float(matmul(self.problem.test.weights, self.bias**2)), self.series.deviations)

    @cached_property
    def bias2_influence(self) -> Array:
        """What each block contributes to the squared bias."""
        return square_influence(self.series.products, self.series.deviations)

    @cached_property
    def mean_error2(self) -> Array:
        """Squared standard error of the average prediction at x."""
        return self.series.deviation_x / (self.blocks * (self.blocks - 1))

    @cached_property
    def bias2_x(self) -> Array:
        """Squared bias at x."""
        return self.bias**2 - self.mean_error2

    @property
    def bias2_x_error(self) -> Array:
        """Standard error of the squared bias at x."""
        square = np.maximum(4 * self.bias**2 * self.mean_error2 - 2 * self.mean_error2**2, 2 * self.mean_error2**2)
        return np.asarray(np.sqrt(square))

    @property
    def variance_x(self) -> Array:
        """Variance at x."""
        return self.excess_x - self.bias2_x

    @property
    def variance_x_error(self) -> Array:
        """Standard error of the variance at x; extremes are taken to add in the same proportion everywhere."""
        one, two, three = self.series.spread_x
        level = self.irreducible
        spread2 = (one + 2 * level * two + level**2 * three) / (self.blocks * (self.blocks - 1))
        error = np.sqrt(np.maximum(spread2, 0) + 2 * self.mean_error2**2) * np.hypot(1, self.unseen(self.excess))
        return np.asarray(error)

    @property
    def approximation(self) -> float:
        """Excess risk of the best in class; NaN where that is not known."""
        return np.nan if self.best is None else self.best.excess_risk

    @property
    def approximation_se(self) -> float:
        """Its standard error."""
        if self.best is None:
            return np.nan
        error = float(np.hypot(self.best.standard_error, self.quadrature_error))
        return error + self.rounding(abs(self.approximation))

    @property
    def estimation_x(self) -> Array:
        """Excess risk at x over that of the best in class."""
        if self.best is None:
            return np.full_like(self.excess_x, np.nan)
        return self.excess_x - (self.best.values - self.problem.f) ** 2


def _of_excess(averages: SquaredAverages) -> Array:
    return averages.excess


def _of_excess_x(averages: SquaredAverages) -> Array:
    return averages.excess_x


MEASURES: tuple[Measure, ...] = (
    Measure(
        "irreducible_risk",
        "irreducible risk: variance of the label noise",
        "noise²",
        value=lambda a: a.irreducible,
        error=lambda a: 0.0,
        known=lambda noise: noise**2,
        column=3,
        part=Part("expected_risk", "less noise in the labels, and nothing else,"),
    ),
    Measure(
        "bias2",
        "squared bias of the average fit, averaged over x",
        "bias2",
        value=lambda a: a.bias2,
        influence=lambda a: a.bias2_influence,
        along_x=lambda a: a.bias2_x,
        square=True,
        shift=lambda a: square_shift(a.series.deviations, a.second_order),
        spoiled="with_the_signal",
        column=1,
        of_target="value",
        part=Part("expected_risk", LESS_BIAS, floor="approximation_error", nearer=NEARER),
    ),
    Measure(
        "variance",
        "variance of the fit over training sets, averaged over x",
        "variance",
        value=lambda a: float(a.excess.mean()) - a.bias2,
        influence=lambda a: (a.excess - a.excess.mean()) - a.bias2_influence,
        along_x=lambda a: a.variance_x,
        square=True,
        spoiled="with_the_loss",
        column=2,
        part=Part("expected_risk", LESS_SPREAD, zero="empirical_risk", through=LESS_THROUGH),
    ),
    Measure(
        "excess_risk",
        "excess risk: squared bias + variance",
        "excess risk",
        value=lambda a: float(a.excess.mean()),
        influence=_of_excess,
        along_x=_of_excess_x,
        spoiled="with_the_loss",
        paired=True,
        of_target="value",
    ),
    Measure(
        "expected_risk",
        "expected risk: noise + squared bias + variance",
        "expected risk",
        value=lambda a: a.irreducible + float(a.excess.mean()),
        influence=_of_excess,
        along_x=_of_excess_x,
        spoiled="with_the_loss",
        column=4,
        compared_by="excess_risk_difference",
        of_target="value",
    ),
    Measure(
        "empirical_risk",
        "empirical risk: expected mean squared training error",
        "training error",
        value=lambda a: float(a.training.mean()),
        influence=lambda a: a.training,
        column=5,
        of_target="error",
    ),
    Measure(
        "generalization_gap",
        "generalization gap: expected risk - empirical risk",
        "generalization gap",
        value=lambda a: a.irreducible + float((a.excess - a.training).mean()),
        influence=lambda a: a.excess - a.training,
        along_x=_of_excess_x,
        spoiled="with_the_loss",
        of_target="value",
    ),
    Measure(
        "approximation_error",
        "approximation error: excess risk of the best in class",
        "approximation error",
        value=lambda a: a.approximation,
        error=lambda a: a.approximation_se,
        of_target="value",
    ),
    Measure(
        "best_in_class_risk",
        "expected risk of the best in class",
        "best in class",
        value=lambda a: a.irreducible + a.approximation,
        error=lambda a: a.approximation_se,
        of_target="value",
    ),
    Measure(
        "estimation_error",
        "estimation error: expected risk - risk of the best in class",
        "estimation error",
        value=lambda a: float(a.excess.mean()) - a.approximation,
        influence=_of_excess,
        along_x=lambda a: a.estimation_x,
        spoiled="with_the_loss",
        of_target="value",
    ),
)

CURVES: tuple[Curve, ...] = (
    Curve(
        "mean_prediction",
        "average prediction at x",
        "mean prediction",
        value=lambda a: a.series.mean,
        error=lambda a: np.sqrt(a.mean_error2),
        unit="y",
        spoiled="with_the_signal",
    ),
    Curve(
        "bias2_x",
        "squared bias at x",
        "bias2",
        value=lambda a: a.bias2_x,
        error=lambda a: a.bias2_x_error,
        shift_error="mean_prediction_se",
        spoiled="with_the_signal",
    ),
    Curve(
        "variance_x",
        "variance of the prediction at x",
        "variance",
        value=lambda a: a.variance_x,
        error=lambda a: a.variance_x_error,
        spoiled="with_the_loss",
    ),
)
