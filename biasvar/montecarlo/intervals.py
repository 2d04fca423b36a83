"""Standard errors by jackknife over independent blocks, and confidence intervals.

For averages the delete-one-block jackknife is the usual standard error of a mean. Squared bias is the one
estimate here that is quadratic in the block means; its jackknife is written in closed form, so that no
leave-one-out loop runs.
"""

import numpy as np
from numpy.typing import NDArray

from biasvar.montecarlo.linear_algebra import matmul

MAX_PAIRED_BLOCKS = 256
DRAWS = 512


def standard_error(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard error of the mean over the last axis (blocks), which holds at least two.

    Examples
    --------
    >>> float(standard_error(np.array([1.0, 2.0, 3.0, 4.0])).round(4))
    0.6455
    """
    count = blocks.shape[-1]
    error: NDArray[np.float64] = blocks.std(axis=-1, ddof=1) / np.sqrt(count)
    return error


def jackknife(full: float, left_out: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Free a smooth function of averages of what a finite number of blocks adds to it, to second order.

    Parameters
    ----------
    full : float
        The function of all blocks' average.
    left_out : ndarray of shape (B,)
        The same without each block.

    Returns
    -------
    value : float
        B full - (B - 1) mean(left_out).
    influence : ndarray of shape (B,)
        Centred pseudo-values: what each block contributes.

    Examples
    --------
    >>> x = np.array([1.0, 2.0, 6.0])
    >>> value, influence = jackknife(3.0**2, ((9 - x) / 2) ** 2)
    >>> bool(np.isclose(value, 3.0**2 - x.var(ddof=1) / 3))
    True
    """
    count = left_out.size
    return float(count * full - (count - 1) * left_out.mean()), -(count - 1) * (left_out - left_out.mean())


def other_averages(deviations: NDArray[np.float64], blocks: int) -> NDArray[np.float64]:
    """Draw by how much averages would differ had other blocks been averaged: for functions of them that are steps.

    Sums of the deviations with standard normal weights, the same at every call, have the covariance of the average.

    Parameters
    ----------
    deviations : ndarray of shape (b, numbers)
        Deviations of some blocks (the first ``MAX_PAIRED_BLOCKS`` serve) from the mean of those blocks.
    blocks : int
        B, how many blocks are averaged.

    Returns
    -------
    ndarray of shape (DRAWS, numbers)
        The draws.

    References
    ----------
    A. van der Vaart and J. Wellner, Weak Convergence and Empirical Processes, 1996, section 2.9 (multipliers).

    Examples
    --------
    >>> x = np.random.default_rng(1).normal(size=(100, 1))
    >>> bool(abs(other_averages(x - x.mean(), 100).std() / standard_error(x[:, 0]) - 1) < 0.1)
    True
    """
    weights = np.random.default_rng(0).standard_normal((DRAWS, len(deviations)))
    return np.asarray(matmul(weights, deviations) / np.sqrt((len(deviations) - 1) * blocks))


def unbiased_square(mean_square: float, deviations: NDArray[np.float64]) -> float:
    """Remove from |mean|^2 the inflation that a finite number of blocks leaves in it.

    E|m|^2 = |E m|^2 + tr Cov / B, and sum_b |d_b|^2 / (B (B - 1)) estimates the second term without bias.

    Parameters
    ----------
    mean_square : float
        |m|^2, squared norm of the mean over B blocks.
    deviations : ndarray of shape (B,)
        Squared norms |d_b|^2 of each block's deviation from the mean.
    """
    count = deviations.size
    return float(mean_square - deviations.sum() / (count * (count - 1)))


def square_influence(products: NDArray[np.float64], deviations: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return jackknife pseudo-values, centred, of :func:`unbiased_square`.

    Leaving block b out moves the estimate by
    -2 <m, d_b> / (B - 1) + |d_b|^2 / (B - 1)^2 + the change of the correction; pseudo-values are -(B - 1) times that.

    Parameters
    ----------
    products : ndarray of shape (B,)
        Inner products <m, d_b> of the mean with each block's deviation.
    deviations : ndarray of shape (B,)
        Squared norms |d_b|^2.
    """
    count = deviations.size
    total = deviations.sum()
    rest = total - deviations * count / (count - 1)
    left_out = (
        -2 * products / (count - 1)
        + deviations / (count - 1) ** 2
        - rest / ((count - 1) * (count - 2))
        + total / (count * (count - 1))
    )
    centred: NDArray[np.float64] = -(count - 1) * (left_out - left_out.mean())
    return centred


def square_variance(influence: NDArray[np.float64], second_order: float) -> float:
    """Return the variance of :func:`unbiased_square`, true also where the mean is (nearly) zero.

    The jackknife counts the second-order part of a quadratic estimate twice (Efron and Stein); near a zero mean
    that part is all there is, so it is taken off once, and never less than it is reported.

    References
    ----------
    B. Efron and C. Stein, The jackknife estimate of variance, 1981.
    """
    count = influence.size
    jackknife = float((influence**2).sum() / (count * (count - 1)))
    return max(jackknife - second_order, second_order)


def second_order_variance(deviations: NDArray[np.float64], blocks: int) -> float:
    """Estimate 2 tr(C^2) / (B (B - 1)), the variance of |mean|^2 that is left when the mean is zero.

    Parameters
    ----------
    deviations : ndarray of shape (b, points)
        Deviations of some blocks' means (the first ``MAX_PAIRED_BLOCKS`` serve) from the mean of those blocks, each
        scaled by the square root of its point's weight.
    blocks : int
        B, how many blocks the estimate averages.
    """
    count = len(deviations)
    gram = matmul(deviations, deviations.T)
    squares = float((gram**2).sum() - (np.diag(gram) ** 2).sum())
    trace = float(np.trace(gram)) / (count - 1)
    # Distinct pairs estimate tr C^2 but for the common mean, which takes (tr C)^2 / (count - 1)-like terms with it.
    pairs = count * (count - 1)
    estimate = squares / pairs - trace**2 / (count * (count - 1))
    return max(2 * estimate, 0.0) / (blocks * (blocks - 1))


def square_shift(deviations: NDArray[np.float64], second_order: float) -> float:
    """Return the typical variance of the mean along one direction, tr(C^2) / tr(C) / B.

    It shifts intervals of squares to the right.

    Parameters
    ----------
    deviations : ndarray of shape (B,)
        Squared norms |d_b|^2 of each block's deviation from the mean.
    second_order : float
        What :func:`second_order_variance` returned.
    """
    count = deviations.size
    mean_error2 = float(deviations.sum()) / (count * (count - 1))
    return second_order / (2 * mean_error2) if mean_error2 > 0 else 0.0


def square_interval(
    square: NDArray[np.float64],
    error: NDArray[np.float64],
    shift: NDArray[np.float64],
    blocks: NDArray[np.int64],
    level: float = 0.95,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the confidence interval of a squared length: squares of those lengths that Student's interval holds.

    For a single number m with standard error r that is all m^2 with m in estimate +- t r. Written for the square,
    whose standard error is e = 2 |m| r to first order, it reaches from m^2 - t e + t^2 r^2, but not below 0, to
    m^2 + t e + t^2 r^2. Vectors are taken to vary along one direction, with variance ``shift`` instead of r^2.

    Parameters
    ----------
    square, error, shift : array_like
        Unbiased estimates, their standard errors, and what :func:`square_shift` says of them, any shape.
    blocks : array_like of int
        Number of independent blocks behind each; degrees of freedom are one less.
    level : float
        Coverage, between 0 and 1.

    Examples
    --------
    >>> low, high = square_interval(1.0 - 0.01, 0.2 * (1 - 0.01 / 2) ** 0.5, 0.01, 32)
    >>> round(float(low) ** 0.5, 3), round(float(high) ** 0.5, 3)  # of 1.0(1)
    (0.796, 1.204)
    """
    quantile, shift = _quantile(blocks, level), np.asarray(shift)
    half = quantile * np.sqrt(np.asarray(error) ** 2 + 2 * shift**2)  # of the square with its inflation
    plain, reach = np.asarray(square) + shift, quantile**2 * shift
    with np.errstate(invalid="ignore", divide="ignore"):  # no shift, no floor
        floor = half**2 / (4 * reach)
    # Where Student's interval of the length holds zero, so does this: errors of the estimates do not lift it off.
    low = np.where(half > 2 * reach, plain - half + reach, np.minimum(plain - floor, 0.0))
    return np.where(reach > 0, low, plain - half), plain + half + reach


def interval(
    estimate: NDArray[np.float64], error: NDArray[np.float64], blocks: NDArray[np.int64], level: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the Student confidence interval of an estimate whose error comes from ``blocks`` blocks.

    Parameters
    ----------
    estimate, error : array_like
        Estimates and their standard errors, any shape.
    blocks : array_like of int
        Number of independent blocks behind each; degrees of freedom are one less.
    level : float
        Coverage, between 0 and 1.

    Examples
    --------
    >>> low, high = interval(1.0, 0.1, 32)
    >>> round(float(low), 4), round(float(high), 4)
    (0.796, 1.204)
    """
    half = _quantile(blocks, level) * np.asarray(error)
    return np.asarray(estimate) - half, np.asarray(estimate) + half


def _quantile(blocks: NDArray[np.int64], level: float) -> NDArray[np.float64]:
    """Return by how many standard errors a Student interval reaches to each side."""
    from scipy.special import stdtrit

    return np.asarray(stdtrit(np.asarray(blocks) - 1, 0.5 + level / 2), dtype=float)
