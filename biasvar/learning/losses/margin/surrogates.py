"""Losses that fits can minimise, since they fall with the margin without a step."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from biasvar.fields import component
from biasvar.learning.losses.margin.base import SURROGATES, MarginLoss
from biasvar.learning.losses.margin.centres import Centre
from biasvar.montecarlo.elementary import exps, logs, sigmoids, softpluses_of_minus

Array = NDArray[np.float64]


@component
class LogisticLoss(MarginLoss):
    """Charge log(1 + exp(-m)), in nats.

    Examples
    --------
    >>> LogisticLoss().phi(np.array([0.0])).round(6).tolist()
    [0.693147]
    """

    surrogate: ClassVar[str] = "logistic"

    def phi(self, margins: Array) -> Array:
        """Return log(1 + exp(-m))."""
        return softpluses_of_minus(margins)

    def slope(self, margins: Array) -> Array:
        """Return -1 / (1 + exp(m))."""
        return -sigmoids(-margins)

    def curvature(self, margins: Array) -> Array:
        """Return the logistic density."""
        p = sigmoids(margins)
        return np.asarray(p * (1 - p))

    def both(self, scores: Array) -> tuple[Array, Array]:
        """Return both losses, of one logarithm."""
        of_minus = softpluses_of_minus(-scores)
        with np.errstate(invalid="ignore"):
            of_plus = of_minus - scores
        return np.where(scores == np.inf, 0.0, of_plus) if np.isinf(scores).any() else of_plus, of_minus

    def bayes(self, p: Array) -> Array:
        """Return the entropy of the label."""
        with np.errstate(invalid="ignore"):  # 0 log 0 is 0
            return np.asarray(np.nan_to_num(-p * logs(p)) + np.nan_to_num(-(1 - p) * logs(1 - p)))


@component
class SquaredMargin(MarginLoss):
    """Charge (1 - m)^2, which is (y - g)^2.

    Examples
    --------
    >>> SquaredMargin().phi(np.array([3.0])).tolist()
    [4.0]
    """

    growth: ClassVar[float] = 2.0
    surrogate: ClassVar[str] = "squared"

    def phi(self, margins: Array) -> Array:
        """Return (1 - m)^2."""
        return (1 - margins) ** 2

    def slope(self, margins: Array) -> Array:
        """Return 2 (m - 1)."""
        return 2 * (margins - 1)

    def curvature(self, margins: Array) -> Array:
        """Return 2."""
        return np.full_like(margins, 2.0)

    def bayes(self, p: Array) -> Array:
        """Return four times the variance of a Bernoulli number."""
        return 4 * p * (1 - p)


@dataclass(frozen=True)
class HingeCentre(Centre):
    """Averages of scores under max(0, 1 - m)^k: risk is integrated up to where they reach margin 1."""

    def risk(self, centres: Array) -> Array:
        """Return the risks of centres (rows, points)."""
        if (panels := self.problem.panels) is None:
            return super().risk(centres)
        total = np.zeros(len(centres))
        for sign, share in ((1, self.p), (-1, 1 - self.p)):
            short = 1 - sign * centres
            total += panels.over_positive(short, self.weights * share * short**self.loss.growth)
        return total

    def rule_error(self, centre: Array) -> float:
        """Return 0: the bend is where the rule is cut."""
        return 0.0


@component
class Hinge(MarginLoss):
    """Charge max(0, 1 - m).

    Examples
    --------
    >>> Hinge().phi(np.array([-1.0, 2.0])).tolist()
    [2.0, 0.0]
    """

    surrogate: ClassVar[str] = "hinge"
    centres: ClassVar[type[Centre]] = HingeCentre

    def phi(self, margins: Array) -> Array:
        """Return max(0, 1 - m)."""
        return np.maximum(1 - margins, 0)

    def slope(self, margins: Array) -> Array:
        """Return -1 below margin 1, else 0."""
        return np.where(margins < 1, -1.0, 0.0)

    def curvature(self, margins: Array) -> Array:
        """Return 0: it bends at one place only."""
        return np.zeros_like(margins)

    def bayes(self, p: Array) -> Array:
        """Return twice the probability of the less likely class."""
        return 2 * np.minimum(p, 1 - p)


@component
class SquaredHinge(MarginLoss):
    """Charge max(0, 1 - m)^2.

    Examples
    --------
    >>> SquaredHinge().phi(np.array([-1.0, 2.0])).tolist()
    [4.0, 0.0]
    """

    growth: ClassVar[float] = 2.0
    surrogate: ClassVar[str] = "squared_hinge"
    centres: ClassVar[type[Centre]] = HingeCentre

    def phi(self, margins: Array) -> Array:
        """Return max(0, 1 - m)^2."""
        return np.maximum(1 - margins, 0) ** 2

    def slope(self, margins: Array) -> Array:
        """Return -2 max(0, 1 - m)."""
        return -2 * np.maximum(1 - margins, 0)

    def curvature(self, margins: Array) -> Array:
        """Return 2 below margin 1, else 0."""
        return np.where(margins < 1, 2.0, 0.0)

    def bayes(self, p: Array) -> Array:
        """Return four times the variance of a Bernoulli number."""
        return 4 * p * (1 - p)


@component
class Exponential(MarginLoss):
    """Charge exp(-m).

    Examples
    --------
    >>> Exponential().phi(np.array([0.0])).tolist()
    [1.0]
    """

    growth: ClassVar[float] = np.inf
    surrogate: ClassVar[str] = "exponential"

    def phi(self, margins: Array) -> Array:
        """Return exp(-m)."""
        with np.errstate(over="ignore"):  # infinite, which is told
            return exps(-margins)

    def slope(self, margins: Array) -> Array:
        """Return -exp(-m)."""
        return -self.phi(margins)

    def curvature(self, margins: Array) -> Array:
        """Return exp(-m)."""
        return self.phi(margins)

    def bayes(self, p: Array) -> Array:
        """Return twice the standard deviation of a Bernoulli number."""
        return 2 * np.sqrt(p * (1 - p))


OURS: dict[str, MarginLoss] = {
    loss.surrogate: loss for loss in (LogisticLoss(), SquaredMargin(), Hinge(), SquaredHinge(), Exponential())
}
SURROGATES.update(OURS)
