"""What losses of scores come to: Bayes risk, bias and variance around a centre, of averaged records.

Averages over training sets are noisy by block, and bias is what a nonlinear function makes of them: its standard error
is that of the jackknife, each block left out in turn; where the function is a step, averages are drawn anew.

References
----------
G. James, Variance and bias for general loss functions, 2003.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from biasvar.learning.decomposition import Best
from biasvar.learning.losses.margin.centres import Centre
from biasvar.learning.losses.margin.series import Number
from biasvar.learning.losses.simulated import RISK_X, LossAverages
from biasvar.learning.measures import LESS_BIAS, LESS_SPREAD, NEARER, Curve, Measure, Part
from biasvar.montecarlo.intervals import square_shift, standard_error
from biasvar.montecarlo.proportions import share_error

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MarginAverages(LossAverages):
    """One cell under one loss."""

    of: Centre
    best: Best | None

    def test_points_error(self, curve: Array) -> float:
        """Return what test points leave of a risk's error, where the loss bends between them too."""
        return float(np.hypot(super().test_points_error(curve), self.series.rule_error))

    @property
    def remark(self) -> str:
        """What is to be said of the numbers, beside their tails."""
        return str(self.series.undecided)

    @property
    def second_order(self) -> float:
        """Variance of the bias that is left when it is zero."""
        return float(self.series.second_order)

    @cached_property
    def mean_loss(self) -> float:
        """Expected risk."""
        return np.inf if self.series.infinite else float(self.series.loss.mean())

    def number(self, name: str) -> Number:
        """Return a nonlinear number of the centre, freed of what a finite number of blocks adds; or the loss."""
        found: Number = self.series.numbers[name]
        return found

    @cached_property
    def bias(self) -> float:
        """Risk of the centre less Bayes risk; NaN where the majority's vote is not known."""
        return np.nan if self.series.undecided or self.series.infinite else self.number("risk").value - self.of.bayes

    @cached_property
    def bias_influence(self) -> Array:
        """What each block contributes to the bias."""
        influence = self.number("risk").influence
        return np.full_like(influence, np.nan) if self.series.infinite else influence

    @property
    def bias_extremes(self) -> float:
        """What blocks do not show of the bias's error: as many times what they show, as of the loss.

        A set of rare scores moves the average of scores by its share, and its loss by what it costs.
        """
        return float(standard_error(self.bias_influence)) * self.unseen(self.number("loss").influence)

    @property
    def bias_x(self) -> Array:
        """Bias at x."""
        return self.of.loss.at_centre(self.of.p, self.series.centre) - self.of.bayes_x

    @property
    def biased_x(self) -> Array:
        """What variance takes off at x, where the vote is not Bayes'."""
        p, share = self.of.p, self.series.centre
        return np.where((share > 0.5) == (p > 0.5), 0.0, np.abs(2 * p - 1) * np.minimum(share, 1 - share))

    @property
    def excess_x(self) -> Array:
        """Excess risk at x."""
        return np.asarray(self.series.loss_x - self.of.bayes_x)

    @cached_property
    def biased(self) -> float:
        """What variance takes off where the vote is not Bayes'."""
        return np.nan if self.series.undecided else self.number("biased").value

    @property
    def best_excess(self) -> float:
        """Excess risk of the best that fits can do."""
        return np.nan if self.best is None else self.best.excess_risk

    @property
    def approximation(self) -> float:
        """Excess risk of the best in class under this loss."""
        return np.nan if self.best is None else self.best.approximation

    @property
    def best_error(self) -> float:
        """Standard error of what is known of the best in class."""
        return np.nan if self.best is None else float(np.hypot(self.best.standard_error, self.quadrature_error))

    @property
    def excess_bound(self) -> float:
        """What the excess risk bounds the excess 0-1 risk by."""
        return self.of.loss.excess_bound(max(self.mean_loss - self.of.bayes, 0.0))

    @property
    def excess_bound_error(self) -> float:
        """Its standard error: how far the bound moves with the excess risk."""
        if self.series.infinite:
            return np.nan
        excess, error = max(self.mean_loss - self.of.bayes, 0.0), EXCESS_RISK.standard_error(self)
        return self.of.loss.excess_bound(excess + error) - self.of.loss.excess_bound(excess)


EXCESS_RISK = Measure(
    "excess_risk",
    "excess risk: bias + variance",
    "excess risk",
    value=lambda a: a.mean_loss - a.of.bayes,
    influence=lambda a: a.series.loss,
    along_x=lambda a: a.excess_x,
    unit="loss",
    spoiled="with_the_loss",
)


def _share(name: str, label: str) -> Measure:
    return Measure(
        name,
        label,
        name.replace("_", " "),
        value=lambda a: float(a.series.per_block[name].mean()),
        error=lambda a: share_error(a.series.per_block[name], a.series.replicates),
        unit="1",
    )


MEASURES: tuple[Measure, ...] = (
    Measure(
        "bayes_risk",
        "Bayes risk: the least risk of any rule",
        "Bayes risk",
        value=lambda a: a.of.bayes,
        along_x=lambda a: a.of.bayes_x,
        unit="loss",
        column=1,
        part=Part("expected_risk", ""),
    ),
    Measure(
        "bias",
        "bias: what the average over all training sets risks above Bayes risk",
        "bias",
        value=lambda a: a.bias,
        influence=lambda a: a.bias_influence,
        along_x=lambda a: a.bias_x,
        unit="loss",
        square=True,
        extremes=lambda a: a.bias_extremes,
        shift=lambda a: square_shift(a.series.deviations, a.second_order),
        spoiled="with_the_loss",
        column=2,
        part=Part("expected_risk", LESS_BIAS, floor="approximation_error", nearer=f"another surrogate, {NEARER}"),
    ),
    Measure(
        "variance",
        "variance: what that average would gain",
        "variance",
        value=lambda a: a.mean_loss - a.of.bayes - a.bias,
        influence=lambda a: a.number("loss").influence - a.bias_influence,
        along_x=lambda a: a.excess_x - a.bias_x,
        unit="loss",
        square=True,
        spoiled="with_the_loss",
        column=3,
        part=Part("expected_risk", LESS_SPREAD),
    ),
    EXCESS_RISK,
    Measure(
        "expected_risk",
        "expected risk: Bayes risk + bias + variance",
        "expected risk",
        value=lambda a: a.mean_loss,
        influence=lambda a: a.series.loss,
        along_x=lambda a: a.series.loss_x,
        unit="loss",
        spoiled="with_the_loss",
        column=4,
        paired=True,
        compared_by="expected_risk_difference",
    ),
    Measure(
        "empirical_risk",
        "empirical risk: mean loss on the training set",
        "training error",
        value=lambda a: float(a.series.per_block["training_loss"].mean()),
        influence=lambda a: a.series.per_block["training_loss"],
        unit="loss",
        column=5,
    ),
    Measure(
        "generalization_gap",
        "generalization gap: expected risk - empirical risk",
        "generalization gap",
        value=lambda a: a.mean_loss - float(a.series.per_block["training_loss"].mean()),
        influence=lambda a: a.series.loss - a.series.per_block["training_loss"],
        along_x=lambda a: a.series.loss_x,
        unit="loss",
        spoiled="with_the_loss",
    ),
    Measure(
        "approximation_error",
        "approximation error: excess risk of the best in class under this loss",
        "approximation error",
        value=lambda a: a.approximation,
        error=lambda a: a.best_error if np.isfinite(a.approximation) else np.nan,
        unit="loss",
    ),
    Measure(
        "surrogate_error",
        "surrogate error: what the best in class under the loss that fits minimise risks above the best under this one",
        "surrogate error",
        value=lambda a: a.best_excess - a.approximation,
        error=lambda a: a.best_error if np.isfinite(a.approximation) else np.nan,
        unit="loss",
    ),
    Measure(
        "best_in_class_risk",
        "expected risk of the best in class under the loss that fits minimise",
        "best in class",
        value=lambda a: a.of.bayes + a.best_excess,
        error=lambda a: a.best_error,
        unit="loss",
    ),
    Measure(
        "estimation_error",
        "estimation error: expected risk - risk of that best in class",
        "estimation error",
        value=lambda a: a.mean_loss - a.of.bayes - a.best_excess,
        influence=lambda a: a.series.loss,
        along_x=lambda a: a.excess_x,
        unit="loss",
        spoiled="with_the_loss",
    ),
    Measure(
        "excess_bound",
        "bound of the excess 0-1 risk by the excess risk: psi^-1",
        "bound of 0-1 excess",
        value=lambda a: a.excess_bound,
        error=lambda a: a.excess_bound_error,
        unit="1",
        spoiled="with_the_loss",
    ),
    _share("interpolated", "share of training sets whose labels are all met"),
    _share("one_class", "share of training sets of one class"),
)


CURVES: tuple[Curve, ...] = (
    Curve(
        "centre",
        "average at x: of scores; for 0-1 loss the share of votes for +1, for Brier's of probabilities",
        "average",
        value=lambda a: a.series.centre,
        error=lambda a: a.series.centre_error,
        unit="",
    ),
    RISK_X,
)
