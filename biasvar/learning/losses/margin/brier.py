"""Brier's loss: what a score's probability is off by, squared."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from biasvar.fields import component
from biasvar.learning.losses.margin.base import MarginLoss
from biasvar.montecarlo.elementary import sigmoids

Array = NDArray[np.float64]


@component
class Brier(MarginLoss):
    """Charge (1 - q)^2, q the probability 1 / (1 + exp(-m)) that the score gives to the label; the centre averages q.

    Examples
    --------
    >>> Brier().phi(np.array([0.0])).tolist()
    [0.25]
    """

    growth: ClassVar[float] = 0.0

    def phi(self, margins: Array) -> Array:
        """Return (1 - q)^2."""
        return sigmoids(-margins) ** 2

    def averaged(self, scores: Array) -> Array:
        """Return probabilities of class +1."""
        return sigmoids(scores)

    def at_centre(self, p: Array, centre: Array) -> Array:
        """Return the loss of a probability."""
        return p * (1 - centre) ** 2 + (1 - p) * centre**2

    def bend(self, p: Array, centre: Array) -> Array:
        """Return 2."""
        return np.full_like(centre, 2.0)

    def bayes(self, p: Array) -> Array:
        """Return the variance of a Bernoulli number."""
        return p * (1 - p)

    def psi(self, theta: float) -> float:
        """Return theta^2 / 4: what a probability of one half pays more than the right one."""
        return theta**2 / 4
