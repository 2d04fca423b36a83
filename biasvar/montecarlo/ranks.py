"""Quantiles and the least of many numbers, at a fraction of what general functions take for short arrays."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def quantiles(values: Array, shares: Sequence[float]) -> Array:
    """Return quantiles, on straight lines between values; NaN of none.

    Parameters
    ----------
    values : ndarray of shape (K,)
        Numbers in any order, without NaN.
    shares : sequence of float
        Which quantiles, between 0 and 1.

    Examples
    --------
    >>> values = np.random.default_rng(0).random(1000)
    >>> np.allclose(quantiles(values, (0.1, 0.5)), np.quantile(values, (0.1, 0.5)), rtol=1e-14)
    True
    """
    if not len(values):
        return np.full(len(shares), np.nan)
    # One sort takes a third of the time of a partition at many places.
    ordered, places = np.sort(values), np.array(shares) * (len(values) - 1)
    found: Array = np.interp(places, np.arange(len(values)), ordered)
    return found


def least(values: Array, count: int) -> NDArray[np.intp]:
    """Return where the least values stand, the least first, and the first of equal ones first.

    Parameters
    ----------
    values : ndarray of shape (K,)
        Numbers in any order; NaN stands behind all others.
    count : int
        How many; all if there are fewer.

    Examples
    --------
    >>> least(np.array([3.0, 1.0, np.nan, 1.0, 2.0]), 3)
    array([1, 3, 4])
    """
    if count < len(values):
        # What is not among them need not be put in order.
        most = np.partition(values, count - 1)[count - 1]
        some = np.flatnonzero(~(values > most))
    else:
        some = np.arange(len(values))
    return some[np.argsort(values[some], kind="stable")[:count]]
