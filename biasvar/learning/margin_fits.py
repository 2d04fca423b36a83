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
from biasvar.montecarlo.elementary import exp, log

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
WHOLE_STEPS = 20
STEPS = 200
SHARPEST = 0.05  # half of what the third derivative of log(1 + exp(-m)) is at most
LANES = 128  # training sets that are fitted side by side
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
def _newton(features, labels, code, penalty, out):  # type: ignore[no-untyped-def]
    """Fit to all training sets, LANES at a time: one that has arrived stays where it is while others go on.

    Whole steps lead to the minimum of logistic loss in half as many steps as damped ones, but no proof says that they
    must: sets that have not arrived after some go on by steps whose descent is certain.
    """
    p, n, size = features.shape
    signed, margin, move = np.empty((n, p, LANES)), np.empty((n, LANES)), np.empty((n, LANES))
    c, step, gradient = np.empty((p, LANES)), np.empty((p, LANES)), np.empty((p, LANES))
    hessian = np.empty((p, p, LANES))
    value, goal, length, alive = np.empty(LANES), np.empty(LANES), np.empty(LANES), np.empty(LANES)
    whole, near = WHOLE_STEPS if code == LOGISTIC else 0, np.sqrt(TOLERANCE / (SHARPEST * n))
    for start in range(0, size, LANES):
        _load(features, labels, start, signed, goal)
        _fill(margin, 0.0)
        _fill(c, 0.0)
        for k in range(LANES):
            alive[k] = 1.0
        for taken in range(whole + STEPS):
            _bend(code, penalty, signed, margin, c, gradient, hessian, value)
            _stop_where_flat(gradient, goal, alive)
            if not alive.any():
                break
            _factor(hessian)
            _solve(hessian, gradient, step)
            _along(signed, step, move)
            for k in range(LANES):
                length[k] = alive[k]
            if taken < whole:
                _stop_where_near(move, near, alive)
            elif code <= EXPONENTIAL:
                _damp(move, length)
            if code == SQUARED_HINGE:
                _halve(margin, move, c, step, penalty, value, length)
            _go(length, step, c)
            if not alive.any():
                break
            _go(length, move, margin)
        _store(c, start, out)


# Loops over lanes of whole rows: of indices that may be negative, and of slices that are assigned to, no loop is SIMD.


@njit(cache=True, nogil=True, error_model="numpy")
def _fill(rows, value):  # type: ignore[no-untyped-def]
    for i in range(rows.shape[0]):
        row = rows[i]
        for k in range(LANES):
            row[k] = value


@njit(cache=True, nogil=True, error_model="numpy")
def _load(features, labels, start, signed, goal):  # type: ignore[no-untyped-def]
    """Copy features times labels, and what gradients are to fall below; lanes too many repeat the last one."""
    n, p, size = signed.shape[0], signed.shape[1], features.shape[2]
    for k in range(LANES):
        goal[k] = 0.0
    for i in range(n):
        for j in range(p):
            row = signed[i, j]
            for k in range(LANES):
                at = min(start + k, size - 1)
                row[k] = labels[i, at] * features[j, i, at]
                goal[k] += abs(row[k])
    for k in range(LANES):
        goal[k] = TOLERANCE * max(goal[k] / n, 1e-3)


@njit(cache=True, nogil=True, error_model="numpy")
def _store(c, start, out):  # type: ignore[no-untyped-def]
    for j in range(out.shape[0]):
        for k in range(min(LANES, out.shape[1] - start)):
            out[j, start + k] = c[j, k]


@njit(cache=True, nogil=True, error_model="numpy")
def _bend(code, penalty, signed, margin, c, gradient, hessian, value):  # type: ignore[no-untyped-def]
    """Fill in the gradient, the lower triangle of the Hessian, and the objective where a line is searched."""
    n, p = signed.shape[0], signed.shape[1]
    slope, bend, bent = np.empty(LANES), np.empty(LANES), np.empty(LANES)
    for k in range(LANES):
        value[k] = 0.0
    for a in range(p):
        coefficient, down = c[a], gradient[a]
        for k in range(LANES):
            down[k] = penalty * coefficient[k]
            value[k] += penalty / 2 * coefficient[k] * coefficient[k]
        for b in range(a + 1):
            entry = hessian[a, b]
            for k in range(LANES):
                entry[k] = penalty if a == b else 0.0
    for i in range(n):
        _differentiate(code, margin[i], slope, bend, value)
        for a in range(p):
            mine, down = signed[i, a], gradient[a]
            for k in range(LANES):
                down[k] += slope[k] * mine[k]
                bent[k] = bend[k] * mine[k]
            for b in range(a + 1):
                other, entry = signed[i, b], hessian[a, b]
                for k in range(LANES):
                    entry[k] += bent[k] * other[k]


@njit(cache=True, nogil=True, error_model="numpy")
def _differentiate(code, margin, slope, bend, value):  # type: ignore[no-untyped-def]
    """Fill in the loss's slope and curvature at margins; add its value where a line is searched."""
    if code == LOGISTIC:
        for k in range(LANES):
            wrong = 1.0 / (1.0 + exp(margin[k]))
            slope[k] = -wrong
            bend[k] = wrong * (1.0 - wrong)
    elif code == EXPONENTIAL:
        for k in range(LANES):
            bend[k] = exp(-margin[k])
            slope[k] = -bend[k]
    elif code == SQUARED:
        for k in range(LANES):
            slope[k] = 2.0 * (margin[k] - 1.0)
            bend[k] = 2.0
    else:
        for k in range(LANES):
            short = max(1.0 - margin[k], 0.0)
            slope[k] = -2.0 * short
            bend[k] = 2.0 if short > 0.0 else 0.0
            value[k] += short * short


@njit(cache=True, nogil=True, error_model="numpy")
def _stop_where_flat(gradient, goal, alive):  # type: ignore[no-untyped-def]
    """Let those make no more steps whose gradients are below their goals."""
    largest = np.zeros(LANES)
    for a in range(gradient.shape[0]):
        down = gradient[a]
        for k in range(LANES):
            largest[k] = max(largest[k], abs(down[k]))
    for k in range(LANES):
        alive[k] = alive[k] if largest[k] > goal[k] else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _stop_where_near(move, near, alive):  # type: ignore[no-untyped-def]
    """Let this step be the last of those whose margins it moves so little that the gradient will be below its goal.

    A whole step by which margins move m leaves of each slope of log(1 + exp(-m)) no more than ``SHARPEST`` m^2.
    """
    furthest = np.zeros(LANES)
    _reach(move, furthest)
    for k in range(LANES):
        alive[k] = alive[k] if furthest[k] > near else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _factor(hessian):  # type: ignore[no-untyped-def]
    """Overwrite the lower triangle by its Cholesky factor."""
    for a in range(hessian.shape[0]):
        for b in range(a + 1):
            rest, diagonal = hessian[a, b], hessian[b, b]
            for j in range(b):
                mine, other = hessian[a, j], hessian[b, j]
                for k in range(LANES):
                    rest[k] -= mine[k] * other[k]
            for k in range(LANES):
                rest[k] = np.sqrt(rest[k]) if a == b else rest[k] / diagonal[k]


@njit(cache=True, nogil=True, error_model="numpy")
def _solve(factor, gradient, step):  # type: ignore[no-untyped-def]
    """Solve for the step to where the gradient would be zero: twice, by the two halves of the factorised Hessian."""
    p = gradient.shape[0]
    for a in range(p):
        rest, diagonal, down = step[a], factor[a, a], gradient[a]
        for k in range(LANES):
            rest[k] = -down[k]
        for b in range(a):
            entry, other = factor[a, b], step[b]
            for k in range(LANES):
                rest[k] -= entry[k] * other[k]
        for k in range(LANES):
            rest[k] /= diagonal[k]
    for a in range(p - 1, -1, -1):
        rest, diagonal = step[a], factor[a, a]
        for b in range(a + 1, p):
            entry, other = factor[b, a], step[b]
            for k in range(LANES):
                rest[k] -= entry[k] * other[k]
        for k in range(LANES):
            rest[k] /= diagonal[k]


@njit(cache=True, nogil=True, error_model="numpy")
def _along(signed, step, move):  # type: ignore[no-untyped-def]
    """Fill in how far a whole step moves each margin."""
    for i in range(signed.shape[0]):
        moved = move[i]
        for k in range(LANES):
            moved[k] = 0.0
        for a in range(signed.shape[1]):
            feature, along = signed[i, a], step[a]
            for k in range(LANES):
                moved[k] += feature[k] * along[k]


@njit(cache=True, nogil=True, error_model="numpy")
def _reach(move, furthest):  # type: ignore[no-untyped-def]
    for i in range(move.shape[0]):
        moved = move[i]
        for k in range(LANES):
            furthest[k] = max(furthest[k], abs(moved[k]))


@njit(cache=True, nogil=True, error_model="numpy")
def _damp(move, length):  # type: ignore[no-untyped-def]
    """Shorten steps to log(1 + m) / m of them, m being how far they move a margin at most."""
    furthest = np.zeros(LANES)
    _reach(move, furthest)
    for k in range(LANES):
        m = furthest[k]
        length[k] *= log(1.0 + m) / m if m > 1e-3 else 1.0 - m / 2 + m * m / 3


@njit(cache=True, nogil=True, error_model="numpy")
def _halve(margin, move, c, step, penalty, value, length):  # type: ignore[no-untyped-def]
    """Halve each step until squared hinges and penalty are not larger than before."""
    for k in range(LANES):
        for _ in range(60):
            after = 0.0
            for a in range(c.shape[0]):
                after += penalty / 2 * (c[a, k] + length[k] * step[a, k]) ** 2
            for i in range(margin.shape[0]):
                short = max(1.0 - margin[i, k] - length[k] * move[i, k], 0.0)
                after += short * short
            if after <= value[k]:
                break
            length[k] *= 0.5


@njit(cache=True, nogil=True, error_model="numpy")
def _go(length, direction, rows):  # type: ignore[no-untyped-def]
    """Go so far along a direction."""
    for i in range(rows.shape[0]):
        row, along = rows[i], direction[i]
        for k in range(LANES):
            row[k] += length[k] * along[k]


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
