"""Exponentials and logarithms that neither overflow nor lose digits."""

import numpy as np
from numpy.typing import NDArray

from biasvar.montecarlo.elementary import exps, logs


def log_sum_exp(z: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Return log sum exp z over an axis, without overflow; overwrites z."""
    top = z.max(axis=axis, keepdims=True)
    z -= top
    total = np.asarray(exps(z).sum(axis=axis))
    return np.asarray(logs(total) + top.squeeze(axis))


def softmax(z: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Return exp z over its sum along an axis, without overflow; overwrites z."""
    z -= z.max(axis=axis, keepdims=True)
    shares = exps(z)
    shares /= shares.sum(axis=axis, keepdims=True)
    return shares


def sigmoid_of_minus(z: NDArray[np.float64], scale: float = 1.0) -> NDArray[np.float64]:
    """Return scale / (1 + exp(z)), which neither overflows nor loses digits.

    Examples
    --------
    >>> sigmoid_of_minus(np.array([-800.0, 0.0, 800.0])).tolist()
    [1.0, 0.5, 0.0]
    """
    # One over infinity is the zero that is meant.
    return np.asarray(scale / (1 + exps(z)))
