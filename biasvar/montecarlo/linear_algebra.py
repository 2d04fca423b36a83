"""Products and factors of many small matrices, summed in an order of their own: the same bits on every CPU.

A library of linear algebra picks its kernels by the CPU that it finds, and the order of its sums with them. Functions
are called as NumPy's are, and take stacks of matrices as those do.

References
----------
G. H. Golub, C. F. Van Loan, Matrix Computations, 4th edition, 2013 (sections 4.2, 5.2 and 8.5).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from biasvar.compiling import njit
from biasvar.montecarlo.moments import weighted_mean

Array = NDArray[np.float64]
SWEEPS = 60
ROUNDING = 2.0**-53
DEPENDENT = 2.0**-48  # of its length is left of a column that the others span


def matmul(a: NDArray[np.generic], b: NDArray[np.generic]) -> Array:
    """Return ``a @ b`` in 64 bits: of vectors, matrices, or stacks of matrices that broadcast.

    Parameters
    ----------
    a : ndarray of shape (n,) or (..., m, n)
    b : ndarray of shape (n,) or (..., n, p)

    Examples
    --------
    >>> matmul(np.array([[1, 2], [3, 4]]), np.eye(2)).tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    >>> matmul(np.ones((5, 2, 3)), np.ones(3)).shape, float(matmul(np.ones(3), np.ones(3)))
    ((5, 2), 3.0)
    """
    one, other = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if other.ndim == 1:
        return weighted_mean(one, other)
    if one.ndim == 1:
        return np.asarray(matmul(one[None], other)[..., 0, :])
    if one.shape[-1] != other.shape[-2]:
        raise ValueError(f"matmul: shapes {one.shape} and {other.shape} do not match")
    # Of two matrices alone the stack is known, which NumPy would take longer to tell than to multiply them.
    stack = np.broadcast_shapes(one.shape[:-2], other.shape[:-2]) if one.ndim + other.ndim > 4 else ()
    out = np.empty((*stack, one.shape[-2], other.shape[-1]))
    if out.size:
        _multiply(_stacked(one, stack), _stacked(other, stack), out.reshape(-1, *out.shape[-2:]))
    return out


def _stacked(matrices: Array, stack: tuple[int, ...]) -> Array:
    """Return matrices in one row, each as often as it is multiplied; one alone stands for all."""
    if matrices.ndim == 2 or matrices.shape[:-2] == (1,) * (matrices.ndim - 2):
        return np.ascontiguousarray(matrices.reshape(1, *matrices.shape[-2:]))
    whole = np.broadcast_to(matrices, (*stack, *matrices.shape[-2:]))
    return np.ascontiguousarray(whole).reshape(-1, *matrices.shape[-2:])


@njit(cache=True, nogil=True, error_model="numpy")
def _multiply(one, other, out):  # type: ignore[no-untyped-def]
    for k in range(out.shape[0]):
        left, right = one[k if one.shape[0] > 1 else 0], other[k if other.shape[0] > 1 else 0]
        if out.shape[2] > 1:
            product(right, out[k], left)
        else:
            for i in range(out.shape[1]):
                out[k, i, 0] = _dot(left[i], right)


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


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _dot(row, column):  # type: ignore[no-untyped-def]
    # Four sums side by side, for each waits for the one before.
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    whole = row.size // 4 * 4
    for j in range(0, whole, 4):
        a += row[j] * column[j, 0]
        b += row[j + 1] * column[j + 1, 0]
        c += row[j + 2] * column[j + 2, 0]
        d += row[j + 3] * column[j + 3, 0]
    for j in range(whole, row.size):
        a += row[j] * column[j, 0]
    return (a + b) + (c + d)


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


def qr(a: Array) -> tuple[Array, Array]:
    """Factorise matrices (K, m, n), m >= n, into orthonormal columns and an upper triangle: Gram and Schmidt, twice.

    A column that depends on those before it is zero in the first factor, and has a zero on the diagonal of the second.

    Examples
    --------
    >>> q, r = qr(np.array([[[3.0, 1.0], [4.0, 2.0]]]))
    >>> r.round(12).tolist(), np.allclose(q @ r, [[3, 1], [4, 2]])
    ([[[5.0, 2.2], [0.0, 0.4]]], True)
    """
    columns = np.ascontiguousarray(np.swapaxes(a, 1, 2))
    r = np.zeros((len(columns), columns.shape[1], columns.shape[1]))
    q = columns.copy()
    _orthonormalise(q, r)
    return np.swapaxes(q, 1, 2), r


@njit(cache=True, nogil=True, error_model="numpy")
def _orthonormalise(q, r):  # type: ignore[no-untyped-def]
    for k in range(q.shape[0]):
        for j in range(q.shape[1]):
            column = q[k, j]
            length = np.sqrt(_inner(column, column))
            # What the first round leaves for rounding, the second takes away.
            for _ in range(2):
                for i in range(j):
                    along = _inner(q[k, i], column)
                    r[k, i, j] += along
                    for m in range(column.size):
                        column[m] -= along * q[k, i, m]
            rest = np.sqrt(_inner(column, column))
            r[k, j, j] = rest if rest > DEPENDENT * length else 0.0
            scale = 1.0 / r[k, j, j] if r[k, j, j] > 0.0 else 0.0
            for m in range(column.size):
                column[m] *= scale


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _inner(one, other):  # type: ignore[no-untyped-def]
    total = 0.0
    for m in range(one.size):
        total += one[m] * other[m]
    return total


def solve_upper(r: Array, b: Array) -> Array:
    """Solve r x = b for upper triangles r (K, n, n) and b (K, n, p), from the last row up.

    Examples
    --------
    >>> solve_upper(np.array([[[2.0, 1.0], [0.0, 4.0]]]), np.array([[[4.0], [8.0]]])).tolist()
    [[[1.0], [2.0]]]
    """
    x = np.array(b, dtype=float, order="C")
    _substitute_upwards(np.ascontiguousarray(r, dtype=float), x)
    return x


@njit(cache=True, nogil=True, error_model="numpy")
def _substitute_upwards(r, x):  # type: ignore[no-untyped-def]
    for k in range(x.shape[0]):
        for i in range(x.shape[1] - 1, -1, -1):
            row = x[k, i]
            for j in range(i + 1, x.shape[1]):
                factor, below = r[k, i, j], x[k, j]
                for p in range(row.size):
                    row[p] -= factor * below[p]
            for p in range(row.size):
                row[p] /= r[k, i, i]


def lstsq(a: Array, b: Array) -> Array:
    """Return coefficients (n,) of the columns of a (m, n) that come nearest to b (m,); 0 for those that others span.

    Examples
    --------
    >>> lstsq(np.array([[1.0, 2.0, 0.0], [1.0, 2.0, 1.0]]), np.array([3.0, 4.0])).round(12).tolist()
    [3.0, 0.0, 1.0]
    """
    q, r = qr(np.asarray(a, dtype=float)[None])
    spanned = np.flatnonzero(np.diagonal(r[0]) == 0)
    along = matmul(q[0].T, b)
    r[0, spanned, spanned] = 1.0
    return np.asarray(solve_upper(r, along[None, :, None])[0, :, 0])


def cholesky(a: Array) -> Array:
    """Return the lower triangles whose products with their transposes are the positive matrices a (K, n, n).

    Examples
    --------
    >>> cholesky(np.array([[[4.0, 2.0], [2.0, 5.0]]])).tolist()
    [[[2.0, 0.0], [1.0, 2.0]]]
    """
    lower = np.tril(np.asarray(a, dtype=float))
    _factorise(lower)
    return lower


@njit(cache=True, nogil=True, error_model="numpy")
def _factorise(lower):  # type: ignore[no-untyped-def]
    for k in range(lower.shape[0]):
        for i in range(lower.shape[1]):
            for j in range(i + 1):
                rest = lower[k, i, j]
                for m in range(j):
                    rest -= lower[k, i, m] * lower[k, j, m]
                lower[k, i, j] = np.sqrt(rest) if i == j else rest / lower[k, j, j]


def solve_positive(a: Array, b: Array) -> Array:
    """Solve a x = b for positive matrices a (..., n, n) and b (..., n, p), by Gauss' method.

    Examples
    --------
    >>> solve_positive(np.array([[4.0, 2.0], [2.0, 5.0]]), np.array([[8.0], [12.0]])).tolist()
    [[1.0], [2.0]]
    """
    rest, x = np.array(a, dtype=float, order="C"), np.array(b, dtype=float, order="C")
    _eliminate(rest.reshape(-1, *rest.shape[-2:]), x.reshape(-1, *x.shape[-2:]))
    return x


@njit(cache=True, nogil=True, error_model="numpy")
def _eliminate(a, x):  # type: ignore[no-untyped-def]
    size = a.shape[1]
    for k in range(a.shape[0]):
        for i in range(size):
            for j in range(i + 1, size):
                share = a[k, j, i] / a[k, i, i]
                for m in range(size):
                    a[k, j, m] -= share * a[k, i, m]
                for p in range(x.shape[2]):
                    x[k, j, p] -= share * x[k, i, p]
    _substitute_upwards(a, x)


def eigh(a: Array) -> tuple[Array, Array]:
    """Return eigenvalues, ascending, and eigenvectors, in columns, of symmetric matrices (K, n, n): Jacobi's rotations.

    Examples
    --------
    >>> values, vectors = eigh(np.array([[[2.0, 1.0], [1.0, 2.0]]]))
    >>> values.round(12).tolist(), np.abs(vectors).round(6).tolist()
    ([[1.0, 3.0]], [[[0.707107, 0.707107], [0.707107, 0.707107]]])
    """
    rest = np.array(a, dtype=float, order="C")
    vectors = np.zeros_like(rest)
    vectors[:] = np.eye(rest.shape[1])
    _rotate_all(rest, vectors)
    values = np.diagonal(rest, axis1=1, axis2=2)
    order = np.argsort(values, axis=1, kind="stable")
    return np.take_along_axis(values, order, axis=1), np.take_along_axis(vectors, order[:, None], axis=2)


@njit(cache=True, nogil=True, error_model="numpy")
def _rotate_all(rest, vectors):  # type: ignore[no-untyped-def]
    n = rest.shape[1]
    for k in range(rest.shape[0]):
        for _ in range(SWEEPS):
            turned = False
            for p in range(n):
                for q in range(p + 1, n):
                    # Off the diagonal nothing is left that its neighbours on it would feel.
                    if abs(rest[k, p, q]) > ROUNDING * np.sqrt(abs(rest[k, p, p] * rest[k, q, q])):
                        _rotate(rest[k], vectors[k], p, q)
                        turned = True
            if not turned:
                break


@njit(cache=True, nogil=True, error_model="numpy")
def _rotate(rest, vectors, p, q):  # type: ignore[no-untyped-def]
    theta = (rest[q, q] - rest[p, p]) / (2.0 * rest[p, q])
    c, s = _turn_by(theta)
    for i in range(rest.shape[0]):
        one, other = rest[i, p], rest[i, q]
        rest[i, p], rest[i, q] = c * one - s * other, s * one + c * other
    for i in range(rest.shape[0]):
        one, other = rest[p, i], rest[q, i]
        rest[p, i], rest[q, i] = c * one - s * other, s * one + c * other
    for i in range(rest.shape[0]):
        one, other = vectors[i, p], vectors[i, q]
        vectors[i, p], vectors[i, q] = c * one - s * other, s * one + c * other
    rest[p, q] = rest[q, p] = 0.0


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _turn_by(cotangent):  # type: ignore[no-untyped-def]
    """Return cosine and sine of the lesser angle whose double has a cotangent."""
    tangent = (1.0 if cotangent >= 0.0 else -1.0) / (abs(cotangent) + np.sqrt(cotangent * cotangent + 1.0))
    cosine = 1.0 / np.sqrt(tangent * tangent + 1.0)
    return cosine, tangent * cosine


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
                    cosine, sine = _turn_by((b - a) / (2.0 * c))
                    for rows in (left, right):
                        for k in range(rows.shape[1]):
                            x, y = rows[i, k], rows[j, k]
                            rows[i, k] = cosine * x - sine * y
                            rows[j, k] = sine * x + cosine * y
        if not turned:
            break
