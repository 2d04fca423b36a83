"""Roots of many functions at once, by halving intervals that hold them."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def bisect(is_right: Callable[[Array], NDArray[np.bool_]], low: Array, high: Array, times: int) -> Array:
    """Halve intervals again and again, keeping the half that holds the root.

    Parameters
    ----------
    is_right : callable
        Whether each root lies right of a place.
    low, high : ndarray
        Ends of the intervals.
    times : int
        How often they are halved.

    Examples
    --------
    >>> bisect(lambda x: x**2 < 2, np.zeros(1), np.full(1, 2.0), 50).round(9).tolist()
    [1.414213562]
    """
    for _ in range(times):
        middle = (low + high) / 2
        right = is_right(middle)
        low, high = np.where(right, middle, low), np.where(right, high, middle)
    return np.asarray((low + high) / 2)
