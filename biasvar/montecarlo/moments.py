"""Moments of a block, and how blocks are averaged: always centred, always in index order."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from biasvar.compiling import njit

TAIL_SIZE = 16
LANES = 16  # sums that go on side by side, and are added up in order


def weighted_mean(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average ``values`` of shape (..., size) with weights (size,) that sum to one, in an order of its own."""
    mean = np.empty(values.shape[:-1])
    rows = np.ascontiguousarray(values, dtype=float).reshape(-1, len(weights))
    _add_along(rows, np.ascontiguousarray(weights), mean.reshape(-1))
    return mean


def weighted_variance(
    values: NDArray[np.float64], mean: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return sum_k w_k (v_k - mean)^2 over the last axis: the block's own, uncorrected, variance."""
    centred = values - mean[..., None]
    return weighted_mean(centred * centred, weights)


def weighted_covariance(
    values: NDArray[np.float64], mean: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the p x p matrix sum_k w_k (v_k - mean)(v_k - mean)' of ``values`` (p, size)."""
    centred = values - mean[:, None]
    return np.stack([weighted_mean(row * centred, weights) for row in centred])


def largest(values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return the ``count`` largest of ``values`` in ascending order, padded in front with NaN."""
    top = np.full(count, -np.inf)
    keep_largest(values, top)
    return kept(top)


def kept(top: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what :func:`keep_largest` has kept, with NaN for what it has not."""
    return np.where(top == -np.inf, np.nan, top)


@njit(cache=True, nogil=True, error_model="numpy")
def keep_largest(values, top):  # type: ignore[no-untyped-def]
    """Keep the largest of ``values`` and of ``top``, which is ascending and begins as minus infinities, in ``top``."""
    count = top.size
    for value in values:
        if value > top[0]:
            place = 0
            while place + 1 < count and top[place + 1] < value:
                top[place] = top[place + 1]
                place += 1
            top[place] = value


@njit(cache=True, nogil=True, error_model="numpy")
def _add_along(values, weights, out):  # type: ignore[no-untyped-def]
    sums = np.empty(LANES)
    whole = len(weights) // LANES * LANES
    for i in range(values.shape[0]):
        for k in range(LANES):
            sums[k] = 0.0
        for start in range(0, whole, LANES):
            part, weight = values[i, start : start + LANES], weights[start : start + LANES]
            for k in range(LANES):
                sums[k] += part[k] * weight[k]
        for k in range(len(weights) - whole):
            sums[k] += values[i, whole + k] * weights[whole + k]
        total = 0.0
        for k in range(LANES):
            total += sums[k]
        out[i] = total


def added(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add ``rows`` (count, ...) up, one after another: NumPy's own sums take an order that the shape decides."""
    return np.asarray(np.cumsum(rows, axis=0)[-1])


@dataclass(frozen=True)
class Average:
    """The average of some arrays, and what it takes to join it to others: it is centred on the first of them.

    Sums in another order have other bits, so averages are those of leaves that are joined in one tree:
    ``biasvar.studies.tree``.

    Examples
    --------
    >>> whole = Average.joined([Average.of(np.array([[1.0], [2.0]])), Average.of(np.array([[6.0]]))])
    >>> whole.count, whole.mean.tolist()
    (3, [3.0])
    """

    count: int
    first: NDArray[np.float64]
    #: Sum of the deviations from it.
    total: NDArray[np.float64]

    @classmethod
    def of(cls, rows: NDArray[np.float64]) -> "Average":
        """Average rows (blocks, ...), of which there is at least one."""
        return cls(len(rows), rows[0].copy(), added(rows - rows[0]))

    @classmethod
    def joined(cls, parts: Sequence["Average"]) -> "Average":
        """Average what several averages are of, in their order."""
        first = parts[0].first
        totals = [part.total + part.count * (part.first - first) for part in parts]
        return cls(sum(part.count for part in parts), first, added(np.stack(totals)))

    @property
    def mean(self) -> NDArray[np.float64]:
        """The average."""
        return self.first + self.total / self.count
