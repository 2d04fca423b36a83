"""Exponentials and logarithms that neither overflow nor lose digits."""

import numpy as np
from numpy.typing import NDArray

from biasvar.compiling import njit
from biasvar.montecarlo.elementary import exp, exps, log


def log_sum_exp(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log sum exp z over the middle of three axes, without overflow; overwrites z."""
    out = np.empty((z.shape[0], z.shape[2]))
    _log_sum_exp(z, out)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _log_sum_exp(z, out):  # type: ignore[no-untyped-def]
    for i in range(z.shape[0]):
        top, total = _exponentials(z[i])
        for k in range(len(total)):
            out[i, k] = log(total[k]) + top[k]


def softmax(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return exp z over its sum along the middle of three axes, without overflow; overwrites z."""
    _softmax(z)
    return z


@njit(cache=True, nogil=True, error_model="numpy")
def _softmax(z):  # type: ignore[no-untyped-def]
    for i in range(z.shape[0]):
        _, total = _exponentials(z[i])
        for j in range(z.shape[1]):
            for k in range(z.shape[2]):
                z[i, j, k] /= total[k]


@njit(cache=True, nogil=True, error_model="numpy")
def _exponentials(z):  # type: ignore[no-untyped-def]
    """Put exp(z - top) in the place of z; return the tops of columns, and sums."""
    top, total = z[0].copy(), np.zeros(z.shape[1])
    for j in range(1, z.shape[0]):
        for k in range(z.shape[1]):
            top[k] = max(top[k], z[j, k])
    for j in range(z.shape[0]):
        for k in range(z.shape[1]):
            z[j, k] = exp(z[j, k] - top[k])
            total[k] += z[j, k]
    return top, total


def spread_times(shares: NDArray[np.float64], directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return shares p times v less the mean of v by these shares, over the middle of three axes; overwrites v."""
    _spread_times(np.broadcast_to(shares, directions.shape), directions)
    return directions


@njit(cache=True, nogil=True, error_model="numpy")
def _spread_times(shares, directions):  # type: ignore[no-untyped-def]
    for i in range(shares.shape[0]):
        mean = np.zeros(shares.shape[2])
        for j in range(shares.shape[1]):
            for k in range(shares.shape[2]):
                mean[k] += shares[i, j, k] * directions[i, j, k]
        for j in range(shares.shape[1]):
            for k in range(shares.shape[2]):
                directions[i, j, k] = shares[i, j, k] * (directions[i, j, k] - mean[k])


def sigmoid_of_minus(z: NDArray[np.float64], scale: float = 1.0) -> NDArray[np.float64]:
    """Return scale / (1 + exp(z)), which neither overflows nor loses digits.

    Examples
    --------
    >>> sigmoid_of_minus(np.array([-800.0, 0.0, 800.0])).tolist()
    [1.0, 0.5, 0.0]
    """
    # One over infinity is the zero that is meant.
    return np.asarray(scale / (1 + exps(z)))
