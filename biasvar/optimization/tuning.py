"""What a grid of configurations says of its update rule: the best one, luck in finding it, and what matters.

Arrays (C, R) of losses: C configurations, R replicates; infinite where a trajectory diverged. Whatever is chosen by
looking at losses is judged on replicates that had no say in the choice, so that no number is too good to be true.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from biasvar.montecarlo.elementary import exps, logs

Array = NDArray[np.float64]


def left_out_means(losses: Array) -> Array:
    """Return each configuration's mean over all replicates but one, shape (C, R); the mean itself if there is one only.

    Examples
    --------
    >>> left_out_means(np.array([[1.0, 2.0, 6.0]])).tolist()
    [[4.0, 3.5, 1.5]]
    """
    count = losses.shape[1]
    if count == 1:
        return losses
    # Sums of those before and after, for taking one off the sum of all may leave nothing but rounding.
    none = np.zeros((len(losses), 1))
    before = np.cumsum(np.hstack([none, losses[:, :-1]]), axis=1)
    after = np.cumsum(np.hstack([none, losses[:, :0:-1]]), axis=1)[:, ::-1]
    others: Array = (before + after) / (count - 1)
    return others


def mean_and_error(values: Array) -> tuple[Array, Array]:
    """Return mean and standard error over the last axis, replicates.

    The error is NaN where the mean is infinite, or of one replicate; the mean is NaN where all values are.

    Examples
    --------
    >>> mean, error = mean_and_error(np.array([[1.0, 3.0], [1.0, np.inf]]))
    >>> mean.tolist(), error.tolist()
    ([2.0, inf], [1.0, nan])
    """
    mean: Array = values.mean(axis=-1)
    count = values.shape[-1]
    if count == 1:
        return mean, np.full_like(mean, np.nan)
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf, and what is too large to be squared
        shifted = values - values[..., :1]  # so that equal values have no error at all
        error: Array = shifted.std(axis=-1, ddof=1) / np.sqrt(count)
    return mean, error


def draw_weights(count: int, draws: int) -> Array:
    """Return the probabilities that the best of ``draws`` distinct ones of ``count`` is the first, second, ... in rank.

    P(rank i is the best) = C(count - i, draws - 1) / C(count, draws).

    References
    ----------
    J. Dodge, S. Gururangan, D. Card, R. Schwartz, N. A. Smith, Show your work: improved reporting of experimental
    results, 2019.

    Examples
    --------
    >>> draw_weights(4, 1).round(3).tolist(), draw_weights(4, 3).round(3).tolist()
    ([0.25, 0.25, 0.25, 0.25], [0.75, 0.25, 0.0, 0.0])
    """
    rest = count - np.arange(1, count + 1)
    possible = rest >= draws - 1
    log_factorials = np.concatenate([[0.0], np.cumsum(logs(np.arange(1.0, count + 1)))])

    def log_choose(n: NDArray[np.int64], k: int) -> Array:
        return np.asarray(log_factorials[n] - log_factorials[k] - log_factorials[n - k])

    log_weight = log_choose(rest[possible], draws - 1) - log_choose(np.array(count), draws)
    weights = np.zeros(count)
    weights[possible] = exps(log_weight)
    return weights


def expected_best(losses: Array, draws: Sequence[int]) -> tuple[Array, Array]:
    """Return the expected loss of the best of some random configurations of the grid, and its standard error.

    Configurations are ranked by the other replicates' mean, and their loss in this one counts.

    Parameters
    ----------
    losses : ndarray of shape (C, R)
        Losses.
    draws : sequence of int
        How many distinct configurations are tried; all of them is the best of the grid.

    Returns
    -------
    expected, error : ndarray of shape (len(draws),)
        Infinite if a diverged one may be the best.
    """
    ranked = np.take_along_axis(losses, np.argsort(left_out_means(losses), axis=0, kind="stable"), axis=0)
    each = np.empty((len(draws), losses.shape[1]))
    for row, number in zip(each, draws, strict=True):
        weights = draw_weights(len(losses), number)
        used = weights > 0
        row[:] = (weights[used, None] * ranked[used]).sum(axis=0)
    return mean_and_error(each)


def best(losses: Array) -> tuple[int, float]:
    """Return the configuration with the lowest mean loss, and in what share of leave-one-out choices it is the one.

    The share is NaN of one replicate: none are left to choose.

    Examples
    --------
    >>> best(np.array([[1.0, 1.0, 4.0], [2.0, 2.0, 2.5]]))
    (0, 0.3333333333333333)
    """
    chosen = int(np.argmin(losses.mean(axis=1)))
    if losses.shape[1] == 1:
        return chosen, float("nan")
    choices = np.argmin(left_out_means(losses), axis=0)
    return chosen, float((choices == chosen).mean())


def sensitivity(losses: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Return how much of the variation of ranks over the grid each axis explains, and standard errors.

    First-order indices Var(E[z | axis]) / Var(z) and total ones 1 - Var(E[z | all others]) / Var(z) of the ranks z of
    mean losses: ranks, for losses span magnitudes and diverged ones have none. Errors by the jackknife over replicates.

    Parameters
    ----------
    losses : ndarray of shape (C, R)
        Losses.
    shape : tuple of int
        Lengths of the grid's axes, whose product is C.

    Returns
    -------
    indices, errors : ndarray of shape (2, len(shape))
        First-order and total; NaN where all losses are equal.

    References
    ----------
    I. M. Sobol, Global sensitivity indices for nonlinear mathematical models and their Monte Carlo estimates, 2001.
    """
    count = losses.shape[1]
    if count == 1:
        found = _indices(losses, shape)[..., 0]
        return found, np.full_like(found, np.nan)
    every = _indices(np.column_stack([losses.mean(axis=1), left_out_means(losses)]), shape)
    found, left_out = every[..., 0], every[..., 1:]
    spread = ((left_out - left_out.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1)
    return found, np.sqrt((count - 1) / count * spread)


def mean_ranks(values: Array) -> Array:
    """Return ranks from 1 upwards, equal values sharing the mean of theirs; importing scipy.stats takes half a second.

    Examples
    --------
    >>> mean_ranks(np.array([3.0, 1.0, 3.0, np.inf])).tolist()
    [2.5, 1.0, 2.5, 4.0]
    """
    ordered = np.sort(values)
    below, upto = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    ranks: Array = (below + 1 + upto) / 2
    return ranks


def arrivals(values: Array, goals: Array, steps: Array) -> tuple[Array, Array]:
    """Return the steps at which values first came down to each goal, and since when they stayed there until the end.

    What oscillates passes a goal by chance, and is above it again at the next look.

    Parameters
    ----------
    values : ndarray of shape (..., looks)
        Values along trajectories; NaN where there is none.
    goals : ndarray of shape (goals,)
        What is to be reached.
    steps : ndarray of shape (looks,)
        When values were looked at.

    Returns
    -------
    first, stay : ndarray of shape (..., goals)
        Infinite where they did not.

    Examples
    --------
    >>> first, stay = arrivals(np.array([9.0, 1.0, 3.0, 1.0, 0.0]), np.array([1.0, 0.0, -1.0]), np.arange(5.0))
    >>> first.tolist(), stay.tolist()
    ([1.0, 4.0, inf], [3.0, 4.0, inf])
    """
    hit = values[..., None] <= goals
    first = np.where(hit.any(axis=-2), steps[hit.argmax(axis=-2)], np.inf)
    # Looks since the last one above the goal.
    since = np.where(hit.all(axis=-2), len(steps), (~hit[..., ::-1, :]).argmax(axis=-2))
    stay = np.append(steps, np.inf)[len(steps) - since]
    return first, stay


def performance_profile(costs: Array, ratios: Array) -> Array:
    """Return in what share of problems each solver costs at most ``ratio`` times as much as the cheapest.

    Parameters
    ----------
    costs : ndarray of shape (problems, solvers)
        Infinite where a solver fails; problems that no solver solves count as failures of all.
    ratios : ndarray of shape (ratios,)
        From 1 upwards.

    Returns
    -------
    ndarray of shape (solvers, ratios)

    References
    ----------
    E. D. Dolan and J. J. More, Benchmarking optimization software with performance profiles, 2002.

    Examples
    --------
    >>> performance_profile(np.array([[1.0, 2.0], [3.0, np.inf]]), np.array([1.0, 2.0])).tolist()
    [[1.0, 1.0], [0.0, 0.5]]
    """
    cheapest = costs.min(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):  # the cheapest may cost nothing
        relative = np.where(costs == cheapest, 1.0, costs / cheapest)
    relative[~np.isfinite(costs)] = np.inf
    share: Array = (relative[:, :, None] <= ratios).mean(axis=0)
    return share


def _indices(means: Array, shape: tuple[int, ...]) -> Array:
    """Return first-order and total indices of each column of means (C, columns), shape (2, axes, columns)."""
    z = np.column_stack([mean_ranks(column) for column in means.T]).reshape(*shape, -1)
    axes = range(len(shape))
    total = z.var(axis=tuple(axes))
    total = np.where(total > 0, total, np.nan)
    first = [_variance(z.mean(axis=tuple(other for other in axes if other != axis))) for axis in axes]
    others = [_variance(z.mean(axis=axis)) for axis in axes]
    return np.stack([np.stack(first) / total, 1 - np.stack(others) / total])


def _variance(values: Array) -> Array:
    """Return the variance over all axes but the last."""
    variance: Array = values.reshape(-1, values.shape[-1]).var(axis=0)
    return variance
