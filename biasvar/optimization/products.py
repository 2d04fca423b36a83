"""Products of matrices whose sums are added up in one order, so that they have the same bits on every CPU.

BLAS picks its kernels, and with them the order of its sums, by the CPU that it finds.
"""

import numpy as np
from numpy.typing import NDArray

from biasvar.compiling import njit

Array = NDArray[np.float64]


def times(left: Array, right: Array) -> Array:
    """Return a matrix (m, p) times another (p, K), or times a vector (p,).

    Each number is a sum in the order of p, whatever stands beside it.

    Examples
    --------
    >>> times(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([10.0, 1.0])).tolist()
    [12.0, 34.0]
    """
    if right.ndim == 1:
        return times(left, right[:, None])[:, 0]
    out = np.empty((len(left), right.shape[1]))
    product(np.ascontiguousarray(right, dtype=float), out, np.ascontiguousarray(left, dtype=float))
    return out


def dots(left: Array, right: Array) -> Array:
    """Return sums of products over the last axis, which is added up in its order.

    Examples
    --------
    >>> dots(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([10.0, 1.0])).tolist()
    [12.0, 34.0]
    """
    total = left[..., 0] * right[..., 0]
    for d in range(1, left.shape[-1]):
        total = total + left[..., d] * right[..., d]
    return np.asarray(total)


def solved(matrices: Array, right: Array) -> Array:
    """Return what symmetric positive definite matrices (..., n, n) give the right sides (..., n), by Gauss' method.

    Examples
    --------
    >>> solved(np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([3.0, 3.0])).tolist()
    [1.0, 1.0]
    """
    a, x = np.array(matrices), np.array(np.broadcast_to(right, matrices.shape[:-1]))
    size = a.shape[-1]
    for i in range(size):
        for j in range(i + 1, size):
            share = a[..., j, i] / a[..., i, i]
            a[..., j, :] -= share[..., None] * a[..., i, :]
            x[..., j] -= share * x[..., i]
    for i in reversed(range(size)):
        for j in range(i + 1, size):
            x[..., i] -= a[..., i, j] * x[..., j]
        x[..., i] /= a[..., i, i]
    return x


@njit(cache=True, nogil=True, error_model="numpy")
def product(right, out, left):  # type: ignore[no-untyped-def]
    """Put left @ right into ``out``."""
    rows, columns = left.shape
    whole = columns - columns % 4
    for i in range(rows):
        for k in range(right.shape[1]):
            out[i, k] = 0.0
        # Four terms of each sum at a time, so that it is read and written less often.
        for j in range(0, whole, 4):
            a, b, c, d = left[i, j], left[i, j + 1], left[i, j + 2], left[i, j + 3]
            for k in range(right.shape[1]):
                total = out[i, k] + a * right[j, k] + b * right[j + 1, k]
                out[i, k] = total + c * right[j + 2, k] + d * right[j + 3, k]
        for j in range(whole, columns):
            for k in range(right.shape[1]):
                out[i, k] += left[i, j] * right[j, k]
