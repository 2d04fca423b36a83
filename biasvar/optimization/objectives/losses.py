"""Losses of scores: what an empirical risk averages, with its first and second derivatives.

Scores are what a model gives, shape (m, K) for m examples and K points theta, or (m, classes, K). Everything is summed
over examples; whoever asks takes the mean.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasvar.errors import StudyError
from biasvar.montecarlo.elementary import softpluses_of_minus
from biasvar.optimization.objectives.base import Array
from biasvar.optimization.objectives.examples import Examples
from biasvar.optimization.stable import log_sum_exp, sigmoid_of_minus, softmax, spread_times

#: What a loss makes of labels: a column of numbers or signs, or numbers of classes.
Targets = NDArray[Any]


class Loss(ABC):
    """A convex loss of scores, given labels."""

    #: Whether only the product of score and label counts, a sign: a linear model takes it into its examples.
    of_margins = False
    #: Whether the second derivative is one.
    is_quadratic = False
    #: Whether curvatures are divided by the number of examples before these are summed, not after: it is the same but
    #: for the last bit, which stores keep.
    averages_first = False
    #: A sum of losses below which every example is on its own side: without penalty nothing is least then.
    separated = -np.inf

    @abstractmethod
    def check(self, examples: Examples) -> None:
        """Refuse labels that the loss cannot have, without reading a named set."""

    def scores(self, examples: Examples) -> int:
        """Return how many scores an example has: one, unless there is one per class."""
        return 1

    @abstractmethod
    def targets(self, examples: Examples, y: NDArray[Any]) -> NDArray[Any]:
        """Turn labels y (m,) into what the loss computes with, the first axis examples."""

    def directions(self, examples: Examples) -> Array:
        """Return a basis (scores, r) of the scores of an example that the loss tells apart."""
        return np.eye(self.scores(examples))

    @abstractmethod
    def total(self, scores: Array, targets: Targets) -> Array:
        """Return the sum of losses over examples, shape (K,); may overwrite the scores."""

    @abstractmethod
    def slope(self, scores: Array, targets: Targets, count: int) -> Array:
        """Return the derivative by each score, divided by ``count``; may overwrite the scores."""

    @abstractmethod
    def curvature(self, scores: Array, directions: Array, targets: Targets) -> Array:
        """Return the second derivative times directions, of their shape; may overwrite both."""


class Squared(Loss):
    """Half the square of score less label."""

    is_quadratic = True

    def check(self, examples: Examples) -> None:
        """Refuse text."""
        if examples.has_text:
            raise StudyError(f"y: expected numbers, got text such as {str(examples.y.values[0])!r}")

    def targets(self, examples: Examples, y: NDArray[Any]) -> NDArray[Any]:
        """Return labels as a column."""
        return y[:, None]

    def total(self, scores: Array, targets: Targets) -> Array:
        """Return half the sum of squared residuals."""
        scores -= targets
        scores *= scores
        half: Array = scores.sum(axis=0) / 2
        return half

    def slope(self, scores: Array, targets: Targets, count: int) -> Array:
        """Return residuals."""
        scores -= targets
        scores /= count
        return scores

    def curvature(self, scores: Array, directions: Array, targets: Targets) -> Array:
        """Return the directions."""
        return directions


class Logistic(Loss):
    """log(1 + exp(-s z)) of the score z and a sign s: 1 for the label that sorts second, -1 for the first."""

    of_margins = True
    separated = float(np.log(2))

    def check(self, examples: Examples) -> None:
        """Refuse other than two classes."""
        if examples.classes != 2:
            raise StudyError(f"y: expected two classes, got {_told(examples)}; loss='softmax' takes any number")

    def targets(self, examples: Examples, y: NDArray[Any]) -> NDArray[Any]:
        """Return signs as a column."""
        return np.where(y == examples.labels()[1], 1.0, -1.0)[:, None]

    def total(self, scores: Array, targets: Targets) -> Array:
        """Return the sum of log(1 + exp(-s z))."""
        total: Array = softpluses_of_minus(_signed(scores, targets)).sum(axis=0)
        return total

    def slope(self, scores: Array, targets: Targets, count: int) -> Array:
        """Return -s / (1 + exp(s z))."""
        return _signed(sigmoid_of_minus(_signed(scores, targets), -1 / count), targets)

    def curvature(self, scores: Array, directions: Array, targets: Targets) -> Array:
        """Return p (1 - p) times the directions, p the probability of the other class."""
        wrong = sigmoid_of_minus(_signed(scores, targets))
        wrong -= wrong * wrong
        directions *= wrong
        return directions


class Softmax(Loss):
    """-log softmax(z)_y of scores z, one per class; adding the same to all changes nothing."""

    averages_first = True
    separated = float(np.log(2))

    def check(self, examples: Examples) -> None:
        """Refuse fewer than two classes."""
        if (examples.classes or 0) < 2:
            raise StudyError(f"y: expected two or more classes, got {_told(examples)}")

    def scores(self, examples: Examples) -> int:
        """Return the number of classes."""
        return examples.classes or 0

    def targets(self, examples: Examples, y: NDArray[Any]) -> NDArray[Any]:
        """Return the numbers of the classes in their sorted order."""
        return np.searchsorted(examples.labels(), y)

    def directions(self, examples: Examples) -> Array:
        """Return contrasts between classes."""
        # Imported late, as it takes as long as a small study.
        from scipy.linalg import helmert

        return np.asarray(helmert(self.scores(examples)).T, dtype=float)

    def total(self, scores: Array, targets: Targets) -> Array:
        """Return the sum of log sum exp z less the score of the own class."""
        own = scores[np.arange(len(targets)), targets]
        total: Array = (log_sum_exp(scores) - own).sum(axis=0)
        return total

    def slope(self, scores: Array, targets: Targets, count: int) -> Array:
        """Return the shares, less one at the own class."""
        shares = softmax(scores)
        shares[np.arange(len(targets)), targets] -= 1
        shares /= count
        return shares

    def curvature(self, scores: Array, directions: Array, targets: Targets) -> Array:
        """Return shares times the directions less their mean by these shares."""
        return spread_times(softmax(scores), directions)


#: Losses by the name that they have in an empirical risk.
LOSSES: dict[str, Loss] = {"squared": Squared(), "logistic": Logistic(), "softmax": Softmax()}


def _signed(scores: Array, signs: Targets | None) -> Array:
    """Multiply by signs, in place; None where the examples have taken them in."""
    if signs is not None:
        scores *= signs
    return scores


def _told(examples: Examples) -> str:
    """Say what classes there are instead of those expected."""
    classes = examples.classes
    return (
        str(classes) if examples.name is None else f"those of {examples.name!r}, {classes or 'which are real numbers'}"
    )
