"""The two extremes of the lecture: a set that ignores the data, and one that believes every label."""

import numpy as np
from numpy.typing import NDArray

from biasvar.fields import Real, component
from biasvar.learning.hypotheses.base import BOUNDED, LinearSmoother, Predictor, TailIndex
from biasvar.learning.inputs import Inputs


@component
class Constant(Predictor):
    """Predict ``value`` whatever the data say: variance 0, bias as it comes. The extreme of under-fitting.

    Examples
    --------
    >>> Constant(2.0).fit_predict(np.zeros((1, 3)), np.zeros((1, 3)), np.zeros((1, 2)), None).tolist()
    [[2.0, 2.0]]
    """

    value: Real = 0.0

    def fit_predict(
        self, x: NDArray[np.float64], y: NDArray[np.float64], at: NDArray[np.float64], rng: object
    ) -> NDArray[np.float64]:
        """Return ``value`` everywhere, shape (K, m)."""
        return np.full((len(y), at.shape[1]), self.value)

    def spanning_functions(self, inputs: Inputs, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return none: the set has one member, and :meth:`offset` is it."""
        return np.empty((0, len(x)))

    def offset(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the set's one member at x."""
        return np.full(len(x), self.value)

    def tail_index(self, inputs: Inputs, n_train: int) -> TailIndex:
        """Return infinite indices: nothing varies."""
        return BOUNDED


@component
class Interpolator(LinearSmoother):
    """Join the training points by straight lines, constant beyond the outermost: every label is believed.

    At its own training points it has bias 0 and variance equal to the noise, the extreme of over-fitting. For
    one-dimensional inputs; :class:`NearestNeighbors` with k=1 serves in more dimensions.

    Examples
    --------
    >>> x = np.array([[0.0, 1.0]])
    >>> Interpolator().weights(x, np.array([[0.25, 3.0]])).tolist()
    [[[0.75, 0.25], [0.0, 1.0]]]
    """

    def weights(self, x: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the weights of linear interpolation, shape (K, m, n), rows that sum to one."""
        order = np.argsort(x, axis=1, kind="stable")
        nodes = np.take_along_axis(x, order, axis=1)
        replicates, n = x.shape
        m = at.shape[1]
        right = (nodes[:, None, :] <= at[:, :, None]).sum(axis=2)  # (K, m): first node beyond
        left, right = np.clip(right - 1, 0, n - 1), np.clip(right, 0, n - 1)
        low, high = np.take_along_axis(nodes, left, axis=1), np.take_along_axis(nodes, right, axis=1)
        gap = high - low
        share = np.divide(at - low, gap, out=np.zeros((replicates, m)), where=gap > 0).clip(0, 1)
        out = np.zeros((replicates, m, n))
        rows, columns = np.arange(replicates)[:, None], np.arange(m)[None, :]
        np.add.at(out, (rows, columns, np.take_along_axis(order, left, axis=1)), 1 - share)
        np.add.at(out, (rows, columns, np.take_along_axis(order, right, axis=1)), share)
        return out

    def why_unfit(self, inputs: Inputs, n_train: int) -> str | None:
        """Say that lines join points of one coordinate only."""
        if inputs.dim > 1:
            return f"interpolation needs one-dimensional inputs, got dim={inputs.dim}; use NearestNeighbors(1)"
        return None

    def tail_index(self, inputs: Inputs, n_train: int) -> TailIndex:
        """Return infinite indices: predictions are averages of labels."""
        return BOUNDED
