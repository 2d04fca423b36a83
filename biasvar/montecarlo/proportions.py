"""Exact limits of proportions that independent trials show."""

import math

import numpy as np
from numpy.typing import NDArray

from biasvar.montecarlo.intervals import standard_error

Array = NDArray[np.float64]
NORMAL = 1.959964  # standard errors that 95 % of a normal law are within


def clopper_pearson(hits: NDArray[np.integer], trials: NDArray[np.integer], level: float = 0.95) -> tuple[Array, Array]:
    """Return the exact two-sided confidence limits of a probability, of Clopper and Pearson.

    They are two-sided where nothing was hit, too: one-sided limits there and two-sided ones elsewhere would together
    miss more often than they say.

    Parameters
    ----------
    hits, trials : array_like of int
        How many of how many independent trials hit, any shape; without trials limits are 0 and 1.
    level : float
        Coverage, between 0 and 1: at least so much, whatever the probability.

    References
    ----------
    C. Clopper, E. Pearson, The use of confidence or fiducial limits illustrated in the case of the binomial, 1934.

    Examples
    --------
    >>> low, high = clopper_pearson(0, 1000)
    >>> float(low), round(float(high), 5)
    (0.0, 0.00368)
    """
    # Imported late, as it takes as long as a small study.
    from scipy.special import betaincinv

    k, n = np.asarray(hits, dtype=float), np.asarray(trials, dtype=float)
    tail = (1 - level) / 2
    # Each tail has a law of its own only where something is left to hit or to miss.
    low = np.where(k > 0, betaincinv(np.maximum(k, 1), n - k + 1, tail), 0.0)
    high = np.where(k < n, betaincinv(k + 1, np.maximum(n - k, 1), 1 - tail), 1.0)
    return low, high


def share_error(shares: Array, trials: int) -> float:
    """Return the standard error of a share that blocks show, where it is 0 or 1 too.

    Blocks that all show 0, or 1, have no spread, which says nothing: the share may be as large as leaves so few trials
    without a hit. The error is then that whose normal 95 % interval reaches the exact limit.

    Parameters
    ----------
    shares : ndarray of shape (blocks,)
        Of each block.
    trials : int
        Of all blocks together.

    Examples
    --------
    >>> [round(share_error(shares, 1600), 5) for shares in (np.array([0.5, 0.25, 0.75]), np.zeros(16))]
    [0.14434, 0.00117]
    """
    if shares.min() < shares.max():
        return float(standard_error(shares))
    return float(clopper_pearson(np.array(0), np.array(trials))[1]) / NORMAL


def trials_for(limit: float, level: float = 0.95) -> int:
    """Return how many trials without a hit leave an upper limit of at most ``limit``.

    Examples
    --------
    >>> trials_for(1e-3), float(clopper_pearson(0, trials_for(1e-3))[1].round(6))
    (3688, 0.001)
    """
    return math.ceil(math.log((1 - level) / 2) / math.log1p(-limit))
