"""Models: scores of examples, for K points theta at once, and how these depend on theta.

Parameters arrive as columns (D, K); scores are (m, K), or (m, classes, K) where there is one per class.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np

from biasvar.errors import StudyError
from biasvar.fields import PositiveInt, component
from biasvar.montecarlo.elementary import tanhs
from biasvar.montecarlo.linear_algebra import matmul
from biasvar.optimization.objectives.base import Array, Described

OfScores = Callable[[Array], Array]
OfScoresAndDirections = Callable[[Array, Array], Array]


class Model(ABC):
    """A function of examples and parameters."""

    #: Whether scores are linear in theta.
    is_linear = False

    @abstractmethod
    def dim(self, features: int, scores: int) -> int:
        """Return how many parameters give so many scores of examples with so many features.

        Raises
        ------
        StudyError
            If the model cannot give as many.
        """

    @abstractmethod
    def numbers(self, scores: int) -> int:
        """Return how many numbers are computed of an example and a column: what a block of examples is sized by."""

    @abstractmethod
    def scores(self, theta: Array, x: Array) -> Array:
        """Return the scores of examples x (m, p)."""

    @abstractmethod
    def slope(self, theta: Array, x: Array, loss_slope: OfScores) -> Array:
        """Return the gradient (D, K) of a loss whose derivative by scores is given."""

    @abstractmethod
    def curvature(
        self, theta: Array, v: Array, x: Array, loss_slope: OfScores, loss_curvature: OfScoresAndDirections
    ) -> Array:
        """Return the Hessian of a loss times v (D, K), given its first and second derivative by scores."""


class LinearModel(Model):
    """x' theta, or x' Theta with a column per class: theta is Theta (features, classes) row by row."""

    is_linear = True

    def dim(self, features: int, scores: int) -> int:
        """Return one per feature and score."""
        return features * scores

    def numbers(self, scores: int) -> int:
        """Return the scores."""
        return scores

    def scores(self, theta: Array, x: Array) -> Array:
        """Return products: one of matrices, for all columns."""
        features = x.shape[1]
        out = matmul(x, theta.reshape(features, -1))
        return out if len(theta) == features else out.reshape(len(x), len(theta) // features, -1)

    def slope(self, theta: Array, x: Array, loss_slope: OfScores) -> Array:
        """Return X' times the slope of the loss."""
        errors = loss_slope(self.scores(theta, x))
        out = matmul(x.T, errors.reshape(len(x), -1))
        return out.reshape(theta.shape)

    def curvature(
        self, theta: Array, v: Array, x: Array, loss_slope: OfScores, loss_curvature: OfScoresAndDirections
    ) -> Array:
        """Return X' times the curvature of the loss along X v."""
        bent = loss_curvature(self.scores(theta, x), self.scores(v, x))
        out = matmul(x.T, bent.reshape(len(x), -1))
        return out.reshape(v.shape)


@component
class MLP(Described, Model):
    """A hidden layer: f(x) = w2' tanh(W1' x + b1) + b2.

    ``theta`` is W1 (features, width) row by row, b1, w2 and b2. At theta = 0 all slopes but that of b2 vanish: start
    elsewhere.

    Parameters
    ----------
    width : int
        Number of hidden units.

    References
    ----------
    B. A. Pearlmutter, Fast exact multiplication by the Hessian, 1994.

    Examples
    --------
    >>> MLP(width=3).dim(features=1, scores=1)
    10
    """

    width: PositiveInt = 8

    def dim(self, features: int, scores: int) -> int:
        """Return the number of weights of both layers, with biases."""
        if scores != 1:
            raise StudyError("model: MLP has one output, and loss='softmax' wants one per class; take loss='logistic'")
        return (features + 2) * self.width + 1

    def numbers(self, scores: int) -> int:
        """Return the width."""
        return self.width

    def scores(self, theta: Array, x: Array) -> Array:
        """Return f(x)."""
        return self._output(self._hidden(theta, x), theta)

    def slope(self, theta: Array, x: Array, loss_slope: OfScores) -> Array:
        """Return the gradient, backwards through the layers."""
        hidden = self._hidden(theta, x)
        errors = loss_slope(self._output(hidden, theta))
        output = (hidden * errors[:, None]).sum(axis=0)
        hidden *= hidden
        back = np.subtract(1, hidden, out=hidden)
        back *= self._layers(theta)[2]
        back *= errors[:, None]
        return _stacked(x, back, output, errors)

    def curvature(
        self, theta: Array, v: Array, x: Array, loss_slope: OfScores, loss_curvature: OfScoresAndDirections
    ) -> Array:
        """Differentiate every step of the gradient in the direction v."""
        w2, dw2 = self._layers(theta)[2], self._layers(v)[2]
        hidden = self._hidden(theta, x)
        scores = self._output(hidden, theta)
        bend = 1 - hidden * hidden
        dhidden = bend * self._inner(v, x)
        derrors = loss_curvature(scores.copy(), (dhidden * w2).sum(axis=1) + self._output(hidden, v))
        errors = loss_slope(scores)
        dback = -2 * hidden * dhidden * (errors[:, None] * w2) + bend * (errors[:, None] * dw2 + derrors[:, None] * w2)
        doutput = (dhidden * errors[:, None] + hidden * derrors[:, None]).sum(axis=0)
        return _stacked(x, dback, doutput, derrors)

    def _layers(self, theta: Array) -> tuple[Array, ...]:
        """Cut columns (D, K) into W1 (p, width K), b1 (width, K), w2 (width, K), b2 (K,)."""
        width = self.width
        inner = len(theta) - 2 * width - 1
        w1, b1, w2, b2 = np.split(theta, [inner, inner + width, inner + 2 * width])
        return w1.reshape(inner // width, -1), b1, w2, b2[0]

    def _inner(self, theta: Array, x: Array) -> Array:
        w1, b1, *_ = self._layers(theta)
        z = matmul(x, w1).reshape(len(x), *b1.shape)
        z += b1
        return z

    def _hidden(self, theta: Array, x: Array) -> Array:
        """Return the hidden layer, shape (m, width, K)."""
        return tanhs(self._inner(theta, x))

    def _output(self, hidden: Array, theta: Array) -> Array:
        *_, w2, b2 = self._layers(theta)
        out: Array = (hidden * w2).sum(axis=1) + b2
        return out


def _stacked(x: Array, back: Array, output: Array, errors: Array) -> Array:
    """Put the slopes of W1, b1, w2 and b2 under one another, as columns (D, K)."""
    columns = back.shape[2]
    inner = matmul(x.T, back.reshape(len(x), -1)).reshape(-1, columns)
    return np.concatenate([inner, back.sum(axis=0), output, errors.sum(axis=0)[None]])
