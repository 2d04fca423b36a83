"""Averages of scores over training sets, and what they risk."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from biasvar.learning.classes import FINER_NODES, TwoClassProblem
from biasvar.learning.labels import TwoClasses
from biasvar.montecarlo.linear_algebra import matmul

Array = NDArray[np.float64]
ROUNDING = 1e-13  # of a risk, by which rules with more and fewer nodes may differ


class Charges(Protocol):
    """What a centre asks of its loss."""

    @property
    def growth(self) -> float:
        """Return with which power it grows with the score."""

    def averaged(self, scores: Array) -> Array:
        """Return what of scores is averaged."""

    def at_centre(self, p: Array, centre: Array) -> Array:
        """Return the loss of an average where P(y = +1) is p."""

    def bend(self, p: Array, centre: Array) -> Array:
        """Return its second derivative along the average."""

    def bayes(self, p: Array) -> Array:
        """Return the least loss."""

    def excess_bound(self, excess: float) -> float:
        """Return what an excess risk bounds the excess 0-1 risk by."""


@dataclass(frozen=True)
class Centre:
    """Averages of scores over training sets, on a law with known class probabilities.

    Parameters
    ----------
    problem : TwoClassProblem
        The law.
    noise : float
        Probability that a label is flipped.
    loss : MarginLoss
        What is charged.
    """

    problem: TwoClassProblem
    noise: float
    loss: Charges

    @cached_property
    def p(self) -> Array:
        """P(y = +1) at the test points."""
        return self.problem.probability(self.noise)

    @property
    def weights(self) -> Array:
        """Probabilities of the test points."""
        return self.problem.test.weights

    @cached_property
    def bayes_x(self) -> Array:
        """Least loss at x."""
        return self.loss.bayes(self.p)

    @cached_property
    def bayes(self) -> float:
        """Bayes risk."""
        return float(matmul(self.weights, self.bayes_x))

    def risk(self, centres: Array) -> Array:
        """Return the risks of centres (rows, points)."""
        return np.asarray((self.loss.at_centre(self.p, centres) * self.weights).sum(axis=1))

    def excess_of(self, scores: Array) -> float:
        """Return the excess risk of one score, known at the test points."""
        return float(self.risk(self.loss.averaged(scores)[None])[0]) - self.bayes

    def rule_error(self, centre: Array) -> float:
        """Return how far off the risk of a centre is where the loss bends between test points, in one dimension."""
        if self.problem.panels is None:
            return 0.0
        p = TwoClasses.flipped(self.problem.finer_f, self.noise)
        finer = self.loss.at_centre(p, self.problem.panels.refined(centre, FINER_NODES))
        here, there = (
            matmul(self.weights, self.loss.at_centre(self.p, centre)),
            matmul(self.problem.finer.weights, finer),
        )
        error = abs(float(here - there))
        return error if error > ROUNDING * abs(there) else 0.0

    def numbers(self, centres: Array) -> dict[str, Array]:
        """Return smooth nonlinear functions of centres (rows, points), a number per row."""
        return {"risk": self.risk(centres)}

    def steps(self, centres: Array) -> dict[str, Array]:
        """Return functions of centres (rows, points) that jump where votes change, a number per row."""
        return {}

    def scaled(self, deviations: Array, centre: Array) -> Array:
        """Scale deviations (rows, points) from a centre so that their squares add up to what they add to its risk."""
        return deviations * np.sqrt(np.maximum(self.weights * self.loss.bend(self.p, centre) / 2, 0))

    def undecided(self, centre: Array, error: Array) -> float:
        """Return the share of risk at places where it is not known which way the centre goes."""
        return 0.0

    @property
    def tolerated(self) -> float:
        """Which share of the excess risk may be :meth:`undecided`."""
        return 0.0

    @property
    def doubtful(self) -> bool:
        """Whether half of what is undecided is an error at least."""
        return False
