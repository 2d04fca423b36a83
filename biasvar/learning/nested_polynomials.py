"""Least squares of polynomials in one variable: all degrees at once, with their moments, on tiles that fit the cache.

On each training set the polynomials w_0, w_1, ... that are orthogonal on its points come from one another by three
terms (Stieltjes' procedure), so that a degree costs one pass over the n points, whatever its number. Their coefficients
in polynomials psi that are orthonormal under the test points obey the same recurrence, in which psi's own takes the
place of x: they are the columns of R^-1 up to scale. There is no root, one division a degree, and no Gram matrix.

References
----------
W. Gautschi, Orthogonal Polynomials: Computation and Approximation, 2004, sections 2.2 and 1.5.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from biasvar.compiling import njit
from biasvar.learning.quadrature import TestPoints, orthonormal_recurrence
from biasvar.montecarlo.linear_algebra import matmul
from biasvar.montecarlo.moments import TAIL_SIZE, keep_largest, kept

Array = NDArray[np.float64]
MAX_SIZE = 12  # coefficients; with more, Gram-Schmidt loses fewer digits
LANES = 64  # replicates side by side: enough for SIMD, few enough for the cache
ORTHONORMAL = 1e-12


@dataclass(frozen=True)
class Polynomials:
    """Polynomials psi that are orthonormal under the test points, as many as rounding leaves so.

    Parameters
    ----------
    recurrence : ndarray of shape (size, 3)
        Rows (alpha_k, beta_k, beta_{k+1}) of x psi_k = beta_{k+1} psi_{k+1} + alpha_k psi_k + beta_k psi_{k-1}.
    values : ndarray of shape (size, points)
        psi at the test points.

    Examples
    --------
    >>> import biasvar as bv
    >>> psi = Polynomials.under(bv.Uniform(-1, 1).test_points(None, (), 0))
    >>> psi.size, psi.recurrence[0].round(6).tolist()  # psi_1 = sqrt(3) x
    (12, [0.0, 0.0, 0.57735])
    """

    recurrence: Array
    values: Array

    @classmethod
    def under(cls, test: TestPoints) -> "Polynomials":
        """Make them under one-dimensional test points."""
        rows = orthonormal_recurrence(test.x, test.weights, MAX_SIZE)
        values = np.zeros((MAX_SIZE, len(test.x)))
        values[0] = 1.0
        for k, (alpha, beta, scale) in enumerate(rows[:-1]):
            values[k + 1] = ((test.x - alpha) * values[k] - beta * values[max(k - 1, 0)]) / scale
        far = np.abs(matmul(values * test.weights, values.T) - np.eye(MAX_SIZE)) > ORTHONORMAL
        spoiled = np.flatnonzero(np.tril(far).any(axis=1))
        size = int(spoiled[0]) if len(spoiled) else MAX_SIZE
        return cls(rows[:size], values[:size])

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.values)


@dataclass(frozen=True)
class NestedMoments:
    """Weighted moments of the fits of one degree to all replicates of a block, in coefficients of psi.

    Parameters
    ----------
    mean : ndarray of shape (p,)
        Mean of the coefficients.
    covariance : ndarray of shape (p, p)
        Covariance of the coefficients.
    noise : ndarray of shape (p, p)
        Mean of W W', which maps unit label noise to coefficients.
    residual : float
        Mean squared training residual without label noise.
    largest_loss, largest_gain : ndarray of shape (TAIL_SIZE,)
        The largest ``|c - c*|^2`` and ``tr W W'`` of replicates, ascending.
    """

    mean: Array
    covariance: Array
    noise: Array
    residual: float
    largest_loss: Array
    largest_gain: Array


def fit_degrees(
    polynomials: Polynomials, best: Array, sizes: Sequence[int], tiles: Iterable[tuple[Array, Array, Array]]
) -> dict[int, NestedMoments]:
    """Fit the first p polynomials for every p in ``sizes``, and take the moments of the coefficients.

    Parameters
    ----------
    polynomials : Polynomials
        What is fitted; at least as many as the largest size.
    best : ndarray of shape (size,)
        Coefficients of the best in class, about which second moments are summed.
    sizes : sequence of int
        Numbers of coefficients, each at most n.
    tiles : iterable of tuple
        Training inputs x and target values f, both of shape (n, K), and weights (K,) of the replicates.

    Returns
    -------
    dict of int to NestedMoments
        By size.
    """
    wanted = np.zeros(max(sizes), np.bool_)
    wanted[[size - 1 for size in sizes]] = True
    most = len(wanted)
    pairs = most * (most + 1) * (most + 2) // 6
    sums, products = np.zeros((most * (most + 1) // 2, LANES)), np.zeros((pairs, LANES))
    maps, residuals = np.zeros((pairs, LANES)), np.zeros((most, LANES))
    tops = np.full((2 * most, TAIL_SIZE), -np.inf)
    recurrence = polynomials.recurrence[:most]
    n = 0
    for x, f, weights in tiles:
        n = len(x)
        each = np.empty((2 * most, x.shape[1]))
        _fit(x, f, weights, recurrence, best, wanted, sums, products, maps, residuals, each[:most], each[most:])
        _keep_largest(each, wanted, tops)
    off, second, noise = np.zeros((most, most)), np.zeros((most, most, most)), np.zeros((most, most, most))
    _add_lanes(sums, products, maps, off, second, noise)
    tops = kept(tops)
    return {
        p: NestedMoments(
            best[:p] + off[p - 1, :p],
            second[p - 1, :p, :p] - off[p - 1, :p, None] * off[p - 1, :p],
            noise[p - 1, :p, :p],
            float(_in_order(residuals[p - 1]) / n),
            tops[p - 1],
            tops[most + p - 1],
        )
        for p in sizes
    }


@njit(cache=True, nogil=True, error_model="numpy")
def _keep_largest(each, wanted, tops):  # type: ignore[no-untyped-def]
    """Keep the largest losses and gains of the degrees that are wanted."""
    for row in range(each.shape[0]):
        if wanted[row % wanted.size]:
            keep_largest(each[row], tops[row])


@njit(cache=True, nogil=True, error_model="numpy")
def _in_order(lanes):  # type: ignore[no-untyped-def]
    """Sum over lanes, in their order."""
    total = 0.0
    for k in range(LANES):
        total += lanes[k]
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _add_lanes(sums, products, maps, off, second, noise):  # type: ignore[no-untyped-def]
    """Fill in the sums of each degree, (p,), (p, p) and (p, p); what degrees make of noise adds up."""
    row, pair = 0, 0
    for j in range(off.shape[0]):
        for i in range(j + 1):
            off[j, i] = _in_order(sums[row])
            row += 1
            for m in range(i + 1):
                second[j, i, m] = second[j, m, i] = _in_order(products[pair])
                noise[j, i, m] = _in_order(maps[pair]) + (noise[j - 1, i, m] if i < j else 0.0)
                noise[j, m, i] = noise[j, i, m]
                pair += 1


# Loops over lanes, not slices: assigning to a slice brings along what formats an error message on shapes, which takes
# seconds to compile. What is passed on is a slice that begins at 0: of indices that may be negative no loop is SIMD.


@njit(cache=True, nogil=True, error_model="numpy")
def _fit(x, f, weights, rows, best, wanted, sums, products, maps, residuals, losses, gains):  # type: ignore[no-untyped-def]
    """Fit all degrees to x, f (n, K); add moments to sums, products, maps, residuals; fill losses, gains (most, K).

    Lower triangles are laid out row after row, degree after degree.
    """
    n, size = x.shape
    most = rows.shape[0]
    xs, rest, w = np.empty((n, LANES)), np.empty((n, LANES)), np.empty((2, n, LANES))
    weight, inverse, along = np.empty(LANES), np.empty(LANES), np.empty(LANES)
    alpha, beta = np.empty(LANES), np.ones(LANES)  # of the recurrence of w_j
    totals = np.empty((4, LANES))  # w_j w_j, w_j x w_j, w_j rest, rest rest
    a = np.empty((3, most + 1, LANES))  # coefficients in psi of w_j, for three degrees in turn
    c = np.empty((most, LANES))
    square, gain = np.empty(LANES), np.empty(LANES)
    for start in range(0, size, LANES):
        lanes = min(LANES, size - start)
        _load(x, start, lanes, rows[0, 0], xs)
        _load(f, start, lanes, 0.0, rest)
        for k in range(LANES):
            weight[k] = weights[start + k] if k < lanes else 0.0
        _begin(xs, rest, w, totals, a, c, gain)
        row, pair = 0, 0
        for j in range(most):
            scale = 1.0 / rows[j, 2]
            this, last, following = a[j % 3], a[(j + 2) % 3], a[(j + 1) % 3]
            _terms(totals, rows[j, 1], j, inverse, along, alpha, beta)
            _pass(xs, rest, w[j & 1], w[1 - (j & 1)], along, alpha, beta, scale, totals, j + 1 < most)
            _add_degree(this, j + 1, along, inverse, weight, c, gain, maps[pair:])
            if wanted[j]:
                _add_moments(c, best, weight, j + 1, sums[row:], products[pair:], square)
                for k in range(LANES):
                    residuals[j, k] += weight[k] * totals[3, k]
                for k in range(lanes):
                    losses[j, start + k] = square[k]
                    gains[j, start + k] = gain[k]
            row += j + 1
            pair += (j + 1) * (j + 2) // 2
            if j + 1 < most:
                _step(this, last, following, alpha, beta, rows, j, scale)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _load(values, start, lanes, centre, out):  # type: ignore[no-untyped-def]
    """Copy lanes of values (n, K) less a centre; lanes too many repeat the last one."""
    for i in range(values.shape[0]):
        row = values[i, start : start + lanes]
        if lanes == LANES:
            for k in range(LANES):
                out[i, k] = row[k] - centre
        else:
            for k in range(LANES):
                out[i, k] = row[min(k, lanes - 1)] - centre


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _begin(xs, rest, w, totals, a, c, gain):  # type: ignore[no-untyped-def]
    """Start from w_0 = 1, which is psi_0, and from a fit of nothing."""
    n = xs.shape[0]
    for k in range(LANES):
        gain[k] = 0.0
        totals[0, k], totals[1, k], totals[2, k] = float(n), 0.0, 0.0
    for i in range(n):
        for k in range(LANES):
            w[0, i, k], w[1, i, k] = 1.0, 0.0
            totals[1, k] += xs[i, k]
            totals[2, k] += rest[i, k]
    for i in range(a.shape[1]):
        for k in range(LANES):
            a[0, i, k], a[1, i, k], a[2, i, k] = 1.0 if i == 0 else 0.0, 0.0, 0.0
    for i in range(c.shape[0]):
        for k in range(LANES):
            c[i, k] = 0.0


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _terms(totals, step, j, inverse, along, alpha, beta):  # type: ignore[no-untyped-def]
    """Fill in the recurrence of w_j, and its coefficient in the fit; ``inverse`` is still that of w_{j-1}."""
    for k in range(LANES):
        beta[k] = step * totals[0, k] * inverse[k] if j > 0 else 0.0
        inverse[k] = 1.0 / totals[0, k]
        along[k] = totals[2, k] * inverse[k]
        alpha[k] = totals[1, k] * inverse[k]


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _pass(xs, rest, now, then, along, alpha, beta, scale, totals, further):  # type: ignore[no-untyped-def]
    """Take w_j's part from the rest, and put w_{j+1} in place of w_{j-1}, with its totals."""
    squares, firsts, inner, left = totals[0], totals[1], totals[2], totals[3]
    for k in range(LANES):
        left[k], squares[k], firsts[k], inner[k] = 0.0, 0.0, 0.0, 0.0
    if further:
        for i in range(xs.shape[0]):
            for k in range(LANES):
                r = rest[i, k] - along[k] * now[i, k]
                rest[i, k] = r
                left[k] += r * r
                v = ((xs[i, k] - alpha[k]) * now[i, k] - beta[k] * then[i, k]) * scale
                then[i, k] = v
                vv = v * v
                squares[k] += vv
                firsts[k] += xs[i, k] * vv
                inner[k] += v * r
    else:
        for i in range(xs.shape[0]):
            for k in range(LANES):
                r = rest[i, k] - along[k] * now[i, k]
                left[k] += r * r


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _add_degree(this, p, along, inverse, weight, c, gain, maps):  # type: ignore[no-untyped-def]
    """Add what w_j, of p coefficients in psi, brings to the fit and to what it makes of noise."""
    pair = 0
    for i in range(p):
        for k in range(LANES):
            c[i, k] += along[k] * this[i, k]
            gain[k] += this[i, k] * this[i, k] * inverse[k]
        for m in range(i + 1):
            for k in range(LANES):
                maps[pair + m, k] += weight[k] * inverse[k] * this[i, k] * this[m, k]
        pair += i + 1


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _add_moments(c, best, weight, p, sums, products, square):  # type: ignore[no-untyped-def]
    """Add p coefficients less the best ones, and their products, to the sums; fill in the sum of their squares."""
    for k in range(LANES):
        square[k] = 0.0
    pair = 0
    for i in range(p):
        for k in range(LANES):
            d = c[i, k] - best[i]
            sums[i, k] += weight[k] * d
            square[k] += d * d
        for m in range(i + 1):
            for k in range(LANES):
                products[pair + m, k] += weight[k] * (c[i, k] - best[i]) * (c[m, k] - best[m])
        pair += i + 1


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _step(this, last, following, alpha, beta, rows, j, scale):  # type: ignore[no-untyped-def]
    """Fill in the coefficients of w_{j+1} in psi, from those of w_j and w_{j-1}."""
    for i in range(j + 2):
        up, down, middle = rows[i, 1], rows[i, 2], rows[i, 0] - rows[0, 0]
        below = max(i - 1, 0)
        for k in range(LANES):
            v = up * this[below, k] + down * this[i + 1, k] + (middle - alpha[k]) * this[i, k] - beta[k] * last[i, k]
            following[i, k] = v * scale
    for k in range(LANES):
        following[j + 2, k] = 0.0
