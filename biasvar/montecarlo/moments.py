"""Moments of a block, and how blocks are averaged: always centred, always in index order."""

from collections.abc import Iterable
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


def add_in_order(total: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add ``rows`` (count, ...) to ``total`` one after another, so that how they were chunked changes no bit."""
    return np.asarray(np.cumsum(np.concatenate([total[None], rows]), axis=0)[-1])


@dataclass
class RunningMean:
    """Average arrays that arrive in index order, centred on the first.

    There is no merge: sums in another order have other bits.

    Examples
    --------
    >>> state = RunningMean()
    >>> for value in (1.0, 2.0, 6.0):
    ...     state.add(np.array([[value]]))
    >>> state.count, state.mean.tolist()
    (3, [3.0])
    """

    count: int = 0
    first: NDArray[np.float64] | None = None
    total: NDArray[np.float64] | None = None

    def add(self, rows: NDArray[np.float64]) -> None:
        """Take in rows (blocks, ...), of which there is at least one."""
        if self.first is None:
            self.first, self.total = rows[0].copy(), np.zeros_like(rows[0])
        assert self.total is not None
        self.total = add_in_order(self.total, rows - self.first)
        self.count += len(rows)

    @property
    def mean(self) -> NDArray[np.float64]:
        """Average of all rows so far."""
        assert self.first is not None
        assert self.total is not None
        return self.first + self.total / self.count

    @classmethod
    def of(cls, chunks: Iterable[NDArray[np.float64]]) -> "RunningMean":
        """Average the rows of all ``chunks``."""
        state = cls()
        for chunk in chunks:
            state.add(chunk)
        return state
