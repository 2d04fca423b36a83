"""How much a number would vary over data sets, told from one: by its values on disjoint parts of it.

U, the average of h over all choices of m of N examples, has the variance E U^2 - (E h)^2 over data sets. The product of
h on two disjoint choices estimates (E h)^2 without bias, so that on one data set

    U^2 - average of h(A) h(B) over disjoint A and B = - covariance of h(A) and h(B) over random choices

estimates the variance without bias: of what one part has too much, the others have too little.

References
----------
Q. Wang and B. Lindsay, Variance estimation of a general U-statistic with application to cross-validation, 2014.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from biasvar.montecarlo.intervals import standard_error

Array = NDArray[np.float64]


class DataVariance(NamedTuple):
    """An unbiased estimate, which may be negative, and the standard error that is due to the random cuts."""

    value: float
    se: float


def data_variance(pairs: Array) -> DataVariance:
    """Estimate the variance over data sets of a number's average over all cuts.

    Parameters
    ----------
    pairs : ndarray of shape (blocks, cuts in a block, 2, sets, sets)
        For each random cut, the number of each pair of disjoint training sets on each of two disjoint sets of test
        examples; symmetric in the training sets, of which there are four at least. The diagonal is not looked at.

    Examples
    --------
    The mean of N numbers varies by S^2 / N, whatever they are cut into.

    >>> values, generator = np.arange(12.0), np.random.default_rng(0)
    >>> cuts = np.stack([generator.permutation(values) for _ in range(2**14)]).reshape(64, 256, 12)
    >>> sets, tests = cuts[..., :4], cuts[..., 4:].reshape(64, 256, 2, 4).mean(axis=-1)
    >>> pairs = (sets[..., None, :, None] + sets[..., None, None, :] + tests[..., None, None]) / 3
    >>> found = data_variance(pairs)
    >>> bool(abs(found.value - values.var(ddof=1) / 12) < 4 * found.se)
    True
    """
    sets = pairs.shape[-1]
    apart = pairs * ~np.eye(sets, dtype=bool)
    mean = apart.sum(axis=(2, 3, 4)) / (2 * sets * (sets - 1))
    apart = np.where(np.eye(sets, dtype=bool), 0.0, pairs - mean[..., None, None, None])
    one, other = apart[:, :, 0], apart[:, :, 1]
    # Products of two pairs that have no set in common: all of them, less those that share one, which has those that
    # share both twice.
    totals = one.sum(axis=(2, 3)) * other.sum(axis=(2, 3))
    share_one = (one.sum(axis=3) * other.sum(axis=3)).sum(axis=2)
    share_both = (one * other).sum(axis=(2, 3))
    products = (totals - 4 * share_one + 2 * share_both) / (sets * (sets - 1) * (sets - 2) * (sets - 3))
    # Each cut is a data set by itself, with a variance of its own; what cuts of one data set differ by is no part.
    differences = (mean - mean.mean()) ** 2 * (mean.size / (mean.size - 1))
    blocks = -(products + differences).mean(axis=1)
    return DataVariance(float(blocks.mean()), float(standard_error(blocks)))
