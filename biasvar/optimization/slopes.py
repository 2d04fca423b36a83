"""Slopes of functions of a number, by differences of values, with an error that can be relied upon."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

STEPS = 32  # 1, 1/2, 1/4, ...
COLUMNS = 8  # of the extrapolation
CLEAR = 32  # times what noise may do, from which on a kink is one


@dataclass(frozen=True)
class Slope:
    """The slope of a function at 0.

    Parameters
    ----------
    value : float
        The slope; the mean of the slopes to both sides where these differ.
    error : float
        How far off it may be.
    kink : float
        By how much the slopes to both sides differ; 0 unless that is more than noise.
    """

    value: float
    error: float
    kink: float


def steps() -> Array:
    """Return the steps at which :func:`slope_of` wants values: 1, 1/2, 1/4, ..."""
    return np.asarray(0.5 ** np.arange(STEPS), dtype=float)


def slope_of(above: Array, below: Array, middle: float, noise: float) -> Slope:
    """Find the slope of a function at 0 by Richardson's extrapolation of central differences.

    Entry (k, j) of the table removes the first j even powers of the step h_k from the central difference. Its error is
    said to be its change from column to column, what noise does to it, and by how much it contradicts entries of finer
    steps, beyond their own errors: where a function bends only in between, coarse steps agree with one another on a
    slope that is wrong.

    Parameters
    ----------
    above, below : ndarray of shape (STEPS,)
        Values at :func:`steps` and at their negatives. Those that are not finite are done without.
    middle : float
        The value at 0.
    noise : float
        Standard deviation of the noise in values.

    References
    ----------
    L. F. Richardson, J. A. Gaunt, The deferred approach to the limit, 1927; C. J. F. Ridders, Accurate computation of
    F'(x) and F'(x) F''(x), 1982.

    Examples
    --------
    >>> h = steps()
    >>> found = slope_of(np.sin(1 + h), np.sin(1 - h), np.sin(1), noise=1e-16)
    >>> bool(abs(found.value - np.cos(1)) < found.error < 1e-12), found.kink
    (True, 0.0)
    >>> slope_of(np.abs(h), np.abs(-h), 0.0, noise=1e-16).kink
    2.0
    """
    h = steps()
    with np.errstate(invalid="ignore", over="ignore"):
        table = _table((above - below) / (2 * h))
        error = _own_errors(table) + 3 * noise / h[:, None]
        error = np.where(np.isfinite(table) & np.isfinite(error), error, np.inf)
        error = error + _contradictions(table, error)
    k, j = np.unravel_index(np.argmin(error), error.shape)
    return Slope(float(table[k, j]), float(error[k, j]), _kink(above, below, middle, noise))


def _table(differences: Array) -> Array:
    """Return the extrapolations, shape (STEPS, COLUMNS); NaN above the diagonal."""
    table = np.full((STEPS, COLUMNS), np.nan)
    table[:, 0] = differences
    for j in range(1, COLUMNS):
        change = table[1:, j - 1] - table[:-1, j - 1]
        table[1:, j] = table[1:, j - 1] + change / (4.0**j - 1)
    return table


def _own_errors(table: Array) -> Array:
    """Return how much each entry changes from the column before; the first column, to the column after."""
    change = np.abs(np.diff(table, axis=1))
    return np.concatenate([change[:, :1], change], axis=1)


def _contradictions(table: Array, error: Array) -> Array:
    """Return by how much each entry is outside of what entries of finer steps allow."""
    # Finer entries together allow what lies within the narrowest interval on either side.
    low = np.where(np.isfinite(error), table - error, -np.inf).max(axis=1)
    high = np.where(np.isfinite(error), table + error, np.inf).min(axis=1)
    low, high = _finer(np.maximum, low, -np.inf), _finer(np.minimum, high, np.inf)
    beyond: Array = np.fmax(np.fmax(low[:, None] - table, table - high[:, None]), 0.0)
    return beyond


def _finer(extreme: np.ufunc, rows: Array, none: float) -> Array:
    after: Array = extreme.accumulate(np.append(rows[1:], none)[::-1])[::-1]
    return after


def _kink(above: Array, below: Array, middle: float, noise: float) -> float:
    """Return by how much the slopes to both sides differ, where that is more than noise."""
    h = steps()
    with np.errstate(invalid="ignore", over="ignore"):
        turn = (above + below - 2 * middle) / h  # kink + curvature h + ...
        kink = np.abs(2 * turn[1:] - turn[:-1])
    doubt = 16 * noise / h[1:]
    usable = np.isfinite(kink) & np.isfinite(doubt)
    if not usable.any():
        return 0.0
    best = int(np.argmin(np.where(usable, kink + doubt, np.inf)))
    # The terms that are left of a smooth function fall as fast as doubt grows: at best they are about as large.
    return float(kink[best]) if kink[best] > CLEAR * doubt[best] else 0.0
