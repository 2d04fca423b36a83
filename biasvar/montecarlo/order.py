"""Order statistics in place of uniforms that may come in any order.

What is fitted to a training set seldom depends on the order of its examples, and what it depends on most is the
outermost ones. So the first coordinates of a Sobol point, which are spread best, become the least input, the greatest,
the second least, and so on inwards; each has a closed inverse distribution function given those before. The law of the
set of inputs is that of independent draws. Its order is not: ranks are dealt to the examples by one random permutation
a block, so that whatever looks at the order sees no more of it than it should, on average over blocks.
"""

import numpy as np
from numpy.typing import NDArray

from biasvar.compiling import njit
from biasvar.montecarlo.elementary import power

MIN_COUNT = 3  # of fewer, the order says nothing that two coordinates do not
TILE = 256
LEAST = 2.0**-53  # of a number, and of what is left to one


def order_statistics(uniforms: NDArray[np.float64], places: NDArray[np.int64]) -> None:
    """Turn independent uniforms into uniforms that come in one random order of ranks, in place.

    Of k numbers left between low and high, the least lies at low + (high - low) (1 - v^(1/k)) and the greatest at
    low + (high - low) v^(1/k), v uniform.

    Parameters
    ----------
    uniforms : ndarray of shape (n, size)
        Independent uniforms, one set a column; then as many numbers that are, but for their order, independent too.
    places : ndarray of shape (n,)
        A random permutation: the row of each rank, the same for all columns.

    References
    ----------
    L. Devroye, Non-Uniform Random Variate Generation, 1986, section V.3.

    Examples
    --------
    >>> u = np.random.default_rng(0).random((5, 10000))
    >>> order_statistics(u, np.random.default_rng(1).permutation(5))
    >>> bool(abs((u**2).mean() - 1 / 3) < 0.01), len(np.unique(np.argsort(u, axis=0), axis=1).T)
    (True, 1)
    """
    _outside_in(uniforms, places)


@njit(cache=True, nogil=True, error_model="numpy")
def _outside_in(u, place):  # type: ignore[no-untyped-def]
    """Replace u (n, K) by order statistics, rank i in row place[i]."""
    n, size = u.shape
    out = np.empty((n, TILE))
    low, width = np.empty(TILE), np.empty(TILE)
    for start in range(0, size, TILE):
        length = min(TILE, size - start)
        for k in range(length):
            low[k], width[k] = 0.0, 1.0
        for j in range(n):
            root = u[j, start : start + length]
            _take_root(root, n - j)
            row = out[place[j // 2 if j % 2 == 0 else n - 1 - j // 2]]
            if j % 2 == 0:
                for k in range(length):
                    rest = width[k] * root[k]
                    low[k] += width[k] - rest
                    width[k] = rest
                    row[k] = low[k]
            else:
                for k in range(length):
                    width[k] *= root[k]
                    row[k] = low[k] + width[k]
        for j in range(n):
            row = u[j, start : start + length]
            for k in range(length):
                row[k] = min(max(out[j, k], LEAST), 1.0 - LEAST)


@njit(cache=True, nogil=True, error_model="numpy")
def _take_root(v, k):  # type: ignore[no-untyped-def]
    """Replace v by v^(1/k)."""
    if k in (2, 4):
        for i in range(v.size):
            v[i] = np.sqrt(v[i])
    if k == 4:
        for i in range(v.size):
            v[i] = np.sqrt(v[i])
    elif k not in (1, 2):
        for i in range(v.size):
            v[i] = power(v[i], 1.0 / k)
