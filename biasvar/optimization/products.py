"""Products of matrices whose sums are added up in one order, so that they have the same bits on every CPU.

BLAS picks its kernels, and with them the order of its sums, by the CPU that it finds.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from biasvar.compiling import njit

Array = NDArray[np.float64]

SWEEPS = 60  # over all pairs of columns, at the most; eight or so do


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
    shape = np.shape(matrices)[:-1]
    found = np.array(np.broadcast_to(right, shape), dtype=float).reshape(-1, shape[-1])
    _eliminate(np.array(matrices, dtype=float).reshape(-1, shape[-1], shape[-1]), found)
    return found.reshape(shape)


class Singular(NamedTuple):
    """A matrix (m, p) as ``sum_i s_i u_i v_i'``, the greatest s first."""

    values: Array  # s, (p,)
    left: Array  # s_i u_i, (p, m)
    right: Array  # v_i, (p, p)


def singular(matrix: Array) -> Singular:
    """Take a matrix apart by turning pairs of its columns until all are at right angles.

    References
    ----------
    M. R. Hestenes, Inversion of matrices by biorthogonalization and related results, 1958.

    Examples
    --------
    >>> singular(np.array([[3.0, 0.0], [4.0, 0.0]])).values.tolist()
    [5.0, 0.0]
    """
    left = np.array(matrix.T, dtype=float, order="C")
    right = np.eye(len(left))
    _turn(left, right)
    values = np.sqrt(np.square(left).sum(axis=1))
    order = np.argsort(-values, kind="stable")
    return Singular(values[order], left[order], right[order])


@njit(cache=True, nogil=True, error_model="numpy")
def _turn(left, right):  # type: ignore[no-untyped-def]
    for _ in range(SWEEPS):
        turned = False
        for i in range(left.shape[0] - 1):
            for j in range(i + 1, left.shape[0]):
                a, b, c = 0.0, 0.0, 0.0
                for k in range(left.shape[1]):
                    a += left[i, k] * left[i, k]
                    b += left[j, k] * left[j, k]
                    c += left[i, k] * left[j, k]
                if c * c > 1e-32 * a * b:
                    turned = True
                    half = (b - a) / (2.0 * c)
                    tangent = (1.0 if half >= 0.0 else -1.0) / (abs(half) + np.sqrt(1.0 + half * half))
                    cosine = 1.0 / np.sqrt(1.0 + tangent * tangent)
                    sine = tangent * cosine
                    for rows in (left, right):
                        for k in range(rows.shape[1]):
                            x, y = rows[i, k], rows[j, k]
                            rows[i, k] = cosine * x - sine * y
                            rows[j, k] = sine * x + cosine * y
        if not turned:
            break


@njit(cache=True, nogil=True, error_model="numpy")
def _eliminate(matrices, right):  # type: ignore[no-untyped-def]
    size = right.shape[1]
    for m in range(len(matrices)):
        a, x = matrices[m], right[m]
        for i in range(size):
            for j in range(i + 1, size):
                share = a[j, i] / a[i, i]
                for k in range(size):
                    a[j, k] -= share * a[i, k]
                x[j] -= share * x[i]
        for i in range(size - 1, -1, -1):
            for j in range(i + 1, size):
                x[i] -= a[i, j] * x[j]
            x[i] /= a[i, i]


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
