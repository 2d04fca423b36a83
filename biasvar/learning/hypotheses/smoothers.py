"""Local averages: predictions are weighted means of the labels nearby."""

import numpy as np
from numpy.typing import NDArray

from biasvar.compiling import njit
from biasvar.fields import PositiveInt, PositiveReal, component
from biasvar.learning.hypotheses.base import BOUNDED, LinearSmoother, TailIndex
from biasvar.learning.inputs import Inputs
from biasvar.montecarlo.elementary import exps


@component
class NearestNeighbors(LinearSmoother):
    """Average the labels of the ``k`` nearest training points (ties: the earlier point).

    Its noise variance is sigma^2 / k exactly.

    References
    ----------
    T. Hastie, R. Tibshirani, J. Friedman, The Elements of Statistical Learning, 2009, equation 7.10.

    Examples
    --------
    >>> NearestNeighbors(2).weights(np.array([[0.0, 1.0, 5.0]]), np.array([[4.0]])).tolist()
    [[[0.0, 0.5, 0.5]]]
    """

    k: PositiveInt

    def weights(self, x: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return 1/k for the nearest points, else 0, shape (K, m, n)."""
        weights: NDArray[np.float64] = _nearest(_squared_distances(x, at), self.k)
        return weights

    def why_unfit(self, inputs: Inputs, n_train: int) -> str | None:
        """Say when there are fewer points than neighbours."""
        if self.k > n_train:
            return f"k={self.k} neighbours need n_train of at least {self.k}, got {n_train}"
        return None

    def tail_index(self, inputs: Inputs, n_train: int) -> TailIndex:
        """Return infinite indices: predictions are averages of labels."""
        return BOUNDED


@component
class KernelSmoother(LinearSmoother):
    """Average the labels with Gaussian weights of standard deviation ``bandwidth`` (Nadaraya and Watson).

    References
    ----------
    T. Hastie, R. Tibshirani, J. Friedman, The Elements of Statistical Learning, 2009, section 6.1.

    Examples
    --------
    >>> KernelSmoother(1.0).weights(np.array([[-1.0, 1.0]]), np.array([[0.0]])).tolist()
    [[[0.5, 0.5]]]
    """

    bandwidth: PositiveReal

    def weights(self, x: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return normalised Gaussian weights, shape (K, m, n)."""
        distances = _squared_distances(x, at)
        # Relative to the nearest point: far from all data the weights would underflow to 0 / 0.
        distances -= distances.min(axis=2, keepdims=True)
        weights: NDArray[np.float64] = exps(distances / (-2 * self.bandwidth**2))
        weights /= weights.sum(axis=2, keepdims=True)
        return weights

    def tail_index(self, inputs: Inputs, n_train: int) -> TailIndex:
        """Return infinite indices: predictions are averages of labels."""
        return BOUNDED


def _squared_distances(x: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return |at_i - x_j|^2, shape (K, m, n), coordinate by coordinate."""
    if x.ndim == 2:
        return (at[:, :, None] - x[:, None, :]) ** 2
    distances: NDArray[np.float64] = _summed_squares(np.ascontiguousarray(x.swapaxes(1, 2)), at)
    return distances


@njit(cache=True, nogil=True, error_model="numpy")
def _summed_squares(columns, at):  # type: ignore[no-untyped-def]
    replicates, dim, n = columns.shape
    m = at.shape[1]
    out = np.zeros((replicates, m, n))
    for r in range(replicates):
        for i in range(m):
            for axis in range(dim):
                place = at[r, i, axis]
                # Over points, not axes: sums of many points go side by side, each in the order of its axes.
                for j in range(n):
                    out[r, i, j] += (place - columns[r, axis, j]) ** 2
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _nearest(distances, k):  # type: ignore[no-untyped-def]
    replicates, m, n = distances.shape
    out = np.zeros((replicates, m, n))
    best = np.empty(k)
    index = np.empty(k, np.int64)
    for r in range(replicates):
        for i in range(m):
            filled = 0
            for j in range(n):
                d = distances[r, i, j]
                if filled == k and d >= best[k - 1]:
                    continue
                place = filled if filled < k else k - 1
                while place > 0 and best[place - 1] > d:
                    best[place], index[place] = best[place - 1], index[place - 1]
                    place -= 1
                best[place], index[place] = d, j
                filled = min(filled + 1, k)
            for j in range(k):
                out[r, i, index[j]] = 1.0 / k
    return out
