"""What scores cost, averaged over labels: along x, and of each training set."""

import numpy as np
from numpy.typing import NDArray

from biasvar.compiling import njit
from biasvar.montecarlo.moments import LANES

Array = NDArray[np.float64]


def expected_losses(of_plus: Array, of_minus: Array, p: Array, at: Array, sets: Array) -> tuple[Array, Array]:
    """Average losses over labels and training sets, and over labels and x, in one pass.

    Parameters
    ----------
    of_plus, of_minus : ndarray of shape (points, K)
        Losses of the scores if the label is +1, and if it is -1.
    p : ndarray of shape (points,)
        P(y = +1).
    at, sets : ndarray of shape (points,) and (K,)
        Weights of the test points and of the training sets.

    Returns
    -------
    ndarray of shape (points,), ndarray of shape (K,)
        Expected loss at each point, and of each training set; not finite where a loss is not.

    Examples
    --------
    >>> half = np.array([0.5, 0.5])
    >>> along_x, each = expected_losses(np.eye(2), 1 - np.eye(2), np.array([1.0, 0.0]), half, half)
    >>> along_x.tolist(), each.tolist()
    ([0.5, 0.5], [1.0, 0.0])
    """
    along_x, each = np.empty(len(p)), np.zeros(len(sets))
    _charge(np.ascontiguousarray(of_plus), np.ascontiguousarray(of_minus), p, at, sets, along_x, each)
    return along_x, each


@njit(cache=True, nogil=True, error_model="numpy")
def _charge(of_plus, of_minus, p, at, sets, along_x, each):  # type: ignore[no-untyped-def]
    sums = np.empty(LANES)
    whole = each.size // LANES * LANES
    for i in range(p.size):
        plus, minus = p[i], 1.0 - p[i]
        for k in range(LANES):
            sums[k] = 0.0
        for start in range(0, whole, LANES):
            a, b = of_plus[i, start : start + LANES], of_minus[i, start : start + LANES]
            weights, charged = sets[start : start + LANES], each[start : start + LANES]
            for k in range(LANES):
                loss = plus * a[k] + minus * b[k]
                sums[k] += weights[k] * loss
                charged[k] += at[i] * loss
        for k in range(each.size - whole):
            loss = plus * of_plus[i, whole + k] + minus * of_minus[i, whole + k]
            sums[k] += sets[whole + k] * loss
            each[whole + k] += at[i] * loss
        total = 0.0
        for k in range(LANES):
            total += sums[k]
        along_x[i] = total
