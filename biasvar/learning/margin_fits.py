"""Fits that minimise a penalised convex loss of margins, one per replicate: Newton's method, or its dual for hinges.

Minimised is sum_i phi(m_i) + penalty/2 |c|^2 over c, with margins m_i = y_i <c, features of x_i>: strongly convex, so
that there is exactly one fit to any training set, of one class or separable though it be.

References
----------
T. Sun and Q. Tran-Dinh, Generalized self-concordant functions, 2019 (the damped step, whose descent is certain).
C.-J. Hsieh and others, A dual coordinate descent method for large-scale linear SVM, 2008.
"""

import numpy as np
from numpy.typing import NDArray

from biasvar.compiling import njit
from biasvar.montecarlo.elementary import exp

Array = NDArray[np.float64]

LOGISTIC, EXPONENTIAL, SQUARED, SQUARED_HINGE, HINGE = range(5)
CODES = {
    "logistic": LOGISTIC,
    "exponential": EXPONENTIAL,
    "squared": SQUARED,
    "squared_hinge": SQUARED_HINGE,
    "hinge": HINGE,
}
TOLERANCE = 1e-9  # of the gradient, per unit of the sum of absolute features
STEPS = 200
SWEEPS = 200_000


def minimise(loss: str, penalty: float, features: Array, labels: Array) -> Array:
    """Fit coefficients to each training set.

    Parameters
    ----------
    loss : str
        One of ``CODES``.
    penalty : float
        Positive.
    features : ndarray of shape (p, n, K)
        Features of the training inputs.
    labels : ndarray of shape (n, K)
        Labels, -1 and +1.

    Returns
    -------
    ndarray of shape (p, K)
        Coefficients.

    Examples
    --------
    >>> c = minimise("squared", 1.0, np.ones((1, 3, 1)), np.array([[1.0], [1.0], [-1.0]]))
    >>> float(c[0, 0])  # 2 sum_i (1 - y_i c) y_i = c
    0.2857142857142857
    """
    coefficients = np.empty((len(features), features.shape[2]))
    fit = _hinge if loss == "hinge" else _newton
    fit(np.ascontiguousarray(features), labels, CODES[loss], penalty, coefficients)
    return coefficients


@njit(cache=True, nogil=True, error_model="numpy")
def _newton(features, labels, code, penalty, out):  # type: ignore[no-untyped-def]  # noqa: C901
    p, n, size = features.shape
    signed = np.empty((n, p))
    c, step, gradient = np.empty(p), np.empty(p), np.empty(p)
    hessian = np.empty((p, p))
    margin, move = np.empty(n), np.empty(n)
    for k in range(size):
        total = 0.0
        for i in range(n):
            margin[i] = 0.0
            for j in range(p):
                signed[i, j] = labels[i, k] * features[j, i, k]
                total += abs(signed[i, j])
        for j in range(p):
            c[j] = 0.0
        for _ in range(STEPS):
            for a in range(p):
                gradient[a] = penalty * c[a]
                for b in range(a + 1):
                    hessian[a, b] = penalty if a == b else 0.0
            value = 0.0
            for i in range(n):
                slope, curvature, charge = _derivatives(code, margin[i])
                value += charge
                for a in range(p):
                    gradient[a] += slope * signed[i, a]
                    bent = curvature * signed[i, a]
                    for b in range(a + 1):
                        hessian[a, b] += bent * signed[i, b]
            largest = 0.0
            for a in range(p):
                value += penalty / 2 * c[a] * c[a]
                largest = max(largest, abs(gradient[a]))
            if largest <= TOLERANCE * max(total / n, 1e-3):
                break
            _solve(hessian, gradient, step)
            furthest = 0.0
            for i in range(n):
                move[i] = 0.0
                for a in range(p):
                    move[i] += signed[i, a] * step[a]
                furthest = max(furthest, abs(move[i]))
            length = 1.0
            if code <= EXPONENTIAL and furthest > 0.0:
                length = np.log1p(furthest) / furthest
            if code == SQUARED_HINGE:
                length = _halved(margin, move, c, step, penalty, value)
            for a in range(p):
                c[a] += length * step[a]
            for i in range(n):
                margin[i] += length * move[i]
        for j in range(p):
            out[j, k] = c[j]


@njit(cache=True, nogil=True, error_model="numpy")
def _derivatives(code, m):  # type: ignore[no-untyped-def]
    """Return the loss's slope and curvature at a margin, and, where a line is searched, its value."""
    if code == LOGISTIC:
        wrong = 1.0 / (1.0 + exp(m))
        return -wrong, wrong * (1.0 - wrong), 0.0
    if code == EXPONENTIAL:
        charge = exp(-m)
        return -charge, charge, 0.0
    if code == SQUARED:
        return 2.0 * (m - 1.0), 2.0, 0.0
    if m < 1.0:
        return 2.0 * (m - 1.0), 2.0, (m - 1.0) ** 2
    return 0.0, 0.0, 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _halved(margin, move, c, step, penalty, value):  # type: ignore[no-untyped-def]
    """Return the first length of 1, 1/2, 1/4, ... at which squared hinges and penalty are not larger than before."""
    length = 1.0
    for _ in range(60):
        after = 0.0
        for i in range(len(margin)):
            short = 1.0 - margin[i] - length * move[i]
            if short > 0.0:
                after += short * short
        for a in range(len(c)):
            after += penalty / 2 * (c[a] + length * step[a]) ** 2
        if after <= value:
            break
        length *= 0.5
    return length


@njit(cache=True, nogil=True, error_model="numpy")
def _solve(hessian, gradient, step):  # type: ignore[no-untyped-def]
    """Solve hessian step = -gradient, by Cholesky; the lower triangle is overwritten."""
    p = len(gradient)
    for a in range(p):
        for b in range(a + 1):
            rest = hessian[a, b]
            for j in range(b):
                rest -= hessian[a, j] * hessian[b, j]
            hessian[a, b] = np.sqrt(rest) if a == b else rest / hessian[b, b]
    for a in range(p):
        rest = -gradient[a]
        for b in range(a):
            rest -= hessian[a, b] * step[b]
        step[a] = rest / hessian[a, a]
    for a in range(p - 1, -1, -1):
        rest = step[a]
        for b in range(a + 1, p):
            rest -= hessian[b, a] * step[b]
        step[a] = rest / hessian[a, a]


@njit(cache=True, nogil=True, error_model="numpy")
def _hinge(features, labels, code, penalty, out):  # type: ignore[no-untyped-def]  # noqa: C901
    """Go round the dual variables, each in [0, 1/penalty] and best given the others, until none would move."""
    p, n, size = features.shape
    signed, square, dual, c = np.empty((n, p)), np.empty(n), np.empty(n), np.empty(p)
    for k in range(size):
        for j in range(p):
            c[j] = 0.0
        for i in range(n):
            dual[i], square[i] = 0.0, 0.0
            for j in range(p):
                signed[i, j] = labels[i, k] * features[j, i, k]
                square[i] += signed[i, j] ** 2
        for _ in range(SWEEPS):
            worst = 0.0
            for i in range(n):
                if square[i] == 0.0:
                    continue
                short = -1.0
                for j in range(p):
                    short += signed[i, j] * c[j]
                new = min(max(dual[i] - short / square[i], 0.0), 1.0 / penalty)
                change = new - dual[i]
                if change != 0.0:
                    worst = max(worst, abs(change) * np.sqrt(square[i]))
                    dual[i] = new
                    for j in range(p):
                        c[j] += change * signed[i, j]
            if worst <= TOLERANCE:
                break
        for j in range(p):
            out[j, k] = c[j]
