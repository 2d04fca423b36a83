"""Does the mean exist, and does its standard error? The tail index says.

A loss whose tail falls like P(L > t) ~ t^-a has a mean for a > 1 only, and a Monte-Carlo standard error that
means anything for a > 2 only. Where theory knows a, that is that. An estimate of it carries an error of its own, and
takes a mean or a standard error away on evidence only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from biasvar.montecarlo.elementary import exps, logs

MIN_EXCEEDANCES = 20
EXTREMES = 10
LEAST_INDEX = 2.1  # an estimate below says that the variance is not seen yet, not how large it is
EVIDENCE = 2.0  # standard errors
TIE = 1e-9  # losses that differ by less, relatively, are one value
SMALL = 30  # so few exceedances put an estimate twice as far off as its error in the limit of many
PRIOR = 10  # a weak prior centred on a shape of one half, worth so many observations, as is usual for small samples


class Status(StrEnum):
    """What can be said of a cell's numbers."""

    OK = "ok"
    SE_UNRELIABLE = "se_unreliable"
    INFINITE = "infinite"
    FAILED = "failed"


def status_of(tail_index: float) -> Status:
    """Classify a tail index: mean and variance exist, only the mean, or neither.

    Examples
    --------
    >>> [str(status_of(a)) for a in (3.0, 1.5, 0.5)]
    ['ok', 'se_unreliable', 'infinite']
    """
    if tail_index <= 1:
        return Status.INFINITE
    return Status.SE_UNRELIABLE if tail_index <= 2 else Status.OK


@dataclass(frozen=True)
class IndexEstimate:
    """A tail index as the shape of a generalised Pareto law, its reciprocal, with what is known of its error.

    Parameters
    ----------
    shape : float
        Estimated shape; 0 or less for light and bounded tails.
    shape_se : float
        Its standard error, in the limit of many exceedances (1 + shape) / sqrt(exceedances); infinite where there are
        too few to tell.
    upper_shape : float
        The shape that the upper half of the exceedances has by itself.

    References
    ----------
    R. L. Smith, Estimating tails of probability distributions, 1987 (the standard error).
    """

    shape: float
    shape_se: float
    upper_shape: float

    @property
    def value(self) -> float:
        """The tail index; infinite where the tail is light."""
        return 1 / self.shape if self.shape > 0 else np.inf

    @property
    def se(self) -> float:
        """Standard error of the index; NaN where that is infinite."""
        return self.shape_se / self.shape**2 if self.shape > 0 else np.nan

    @property
    def most(self) -> float:
        """What the index is below, on the evidence of all exceedances that their upper half does not contradict."""
        if self.shape <= 0 or self.upper_shape <= 0:
            return np.inf
        return max(self.value + EVIDENCE * self.se, 1 / self.upper_shape)

    @property
    def least(self) -> float:
        """What the index is above."""
        highest = self.shape + EVIDENCE * self.shape_se
        return 1 / highest if highest > 0 else np.inf


BOUNDED = IndexEstimate(0.0, 0.0, 0.0)
UNKNOWN = IndexEstimate(0.0, np.inf, 0.0)


@dataclass(frozen=True)
class Tops:
    """The largest losses of some blocks: as many of them as all that is said of a tail is made of.

    Parameters
    ----------
    largest : ndarray
        The largest, ascending.
    room : int
        How many are kept at most.
    losses : int
        How many losses they are the largest of.
    found : int
        How many of them the blocks had recorded, those that are not kept included.
    least : float
        The least of those.
    floor : float
        Below, losses are missing: blocks had room for no more.
    """

    largest: NDArray[np.float64]
    room: int
    losses: int
    found: int
    least: float
    floor: float

    @classmethod
    def of(cls, block_tops: NDArray[np.float64], block_size: int, of_all: int) -> "Tops":
        """Look at each block's largest losses, (blocks, m), ascending, NaN where a block has fewer.

        ``of_all`` is how many losses all blocks have, with those that others look at.
        """
        finite = np.sort(block_tops[np.isfinite(block_tops)])
        complete = block_tops[np.isfinite(block_tops).all(axis=1)]
        short = block_size > block_tops.shape[1] and len(complete)
        room = max(_exceedances(of_all), EXTREMES) + 1
        return cls(
            finite[-room:],
            room,
            len(block_tops) * block_size,
            finite.size,
            float(finite[0]) if finite.size else np.inf,
            float(complete[:, 0].max()) if short else -np.inf,
        )

    @classmethod
    def joined(cls, parts: "Sequence[Tops]") -> "Tops":
        """Return the largest losses of all blocks of several parts."""
        room = parts[0].room
        return cls(
            np.sort(np.concatenate([part.largest for part in parts]))[-room:],
            room,
            sum(part.losses for part in parts),
            sum(part.found for part in parts),
            min(part.least for part in parts),
            max(part.floor for part in parts),
        )

    def index(self) -> IndexEstimate:
        """Estimate the tail index: see :func:`estimate_tail_index`."""
        largest = self.largest
        if not largest.size or largest[-1] - self.least <= TIE * max(abs(self.least), abs(largest[-1])):
            return BOUNDED
        threshold = max(largest[-min(self.found, _exceedances(self.losses) + 1)], self.floor)
        excess = _above(largest, threshold)
        if excess.size < MIN_EXCEEDANCES:
            return UNKNOWN
        shape, middle = _pareto_shape(excess), excess[excess.size // 2 - 1]
        upper = _above(threshold + excess, threshold + middle)
        return IndexEstimate(
            shape,
            (1 + max(shape, 0.0)) / np.sqrt(excess.size) * (1 + (SMALL / excess.size) ** 2),
            _pareto_shape(upper) if upper.size >= MIN_EXCEEDANCES // 2 else 0.0,
        )


def _exceedances(losses: int) -> int:
    """Return how many of so many losses make up the tail."""
    return int(min(losses / 5, 3 * np.sqrt(losses)))


@dataclass(frozen=True)
class Tail:
    """The largest losses of a sample, for what the rest of it cannot tell.

    Parameters
    ----------
    threshold : float
        By how much the ``EXTREMES``-th largest loss is above the mean.
    exceedances : int
        How many losses lie above it.
    square : float
        Sum of the squares of what they are above it.
    index : IndexEstimate
        Estimated tail index.
    """

    threshold: float
    exceedances: int
    square: float
    index: IndexEstimate

    @classmethod
    def of(cls, tops: Tops, mean: float) -> "Tail":
        """Look at the largest of all losses, whose mean is ``mean``."""
        losses = tops.largest[::-1]
        count = max(0, min(EXTREMES, len(losses) - 1))
        above = np.maximum(losses[: count + 1] - mean, 0.0)
        threshold = float(above[count]) if count else 0.0
        square = float((above[:count] ** 2).sum())
        return cls(threshold, count, square, tops.index())

    def standard_error(self, index: float, replicates: int) -> float:
        """Return the part of the standard error of the mean loss that its sample does not show.

        E[L^2; L > u] = P(L > u) u^2 a / (a - 2) for a Pareto tail of index a, with P(L > u) taken from the sample, L
        being the loss less its mean: what all losses have in common spreads nothing. Losses so rare that most samples
        lack them are what the spread of a sample does not show: by so much its own largest losses fall short of that
        square. Far from its limit the tail may fall more slowly than theory says of the limit, so a is the estimated
        index where that is lower.

        Parameters
        ----------
        index : float
            The loss's tail index; 0 is returned unless it is finite and above 2.
        replicates : int
            Size of the sample.
        """
        if not 2 < index < np.inf:
            return 0.0
        a = min(index, max(self.index.value, LEAST_INDEX))
        unseen = self.exceedances * self.threshold**2 * a / (a - 2) - self.square
        return float(np.sqrt(max(unseen, 0.0)) / replicates)


#: Where there are no losses to speak of.
NO_TAIL = Tail(0.0, 0, 0.0, BOUNDED)


def estimate_tail_index(block_tops: NDArray[np.float64], block_size: int) -> IndexEstimate:
    """Estimate the tail index of a loss from the largest losses of each block.

    Fits a generalised Pareto law to the largest losses of all, by the quasi-Bayesian estimator of Zhang and Stephens:
    min(N / 5, 3 sqrt N) of N losses (Vehtari and others), or as many of them as every block's record holds.

    Parameters
    ----------
    block_tops : ndarray of shape (blocks, m)
        Each block's m largest losses, ascending; NaN where a block has fewer.
    block_size : int
        Losses in a block.

    Returns
    -------
    IndexEstimate
        The tail index with its error: infinite for light or bounded tails, or where there is no spread at all.

    References
    ----------
    J. Zhang and M. A. Stephens, A new and efficient estimation method for the generalized Pareto distribution, 2009.
    A. Vehtari, D. Simpson, A. Gelman, Y. Yao, J. Gabry, Pareto smoothed importance sampling, 2024.

    Examples
    --------
    >>> losses = np.random.default_rng(1).pareto(1.5, size=(64, 4096))
    >>> found = estimate_tail_index(np.sort(losses, axis=1)[:, -16:], block_size=4096)
    >>> bool(1.2 < found.value < 1.8 and found.most < 2)
    True
    """
    return Tops.of(block_tops, block_size, len(block_tops) * block_size).index()


def _above(losses: NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
    """Return by how much sorted losses exceed a threshold, without those that tie with it."""
    excess: NDArray[np.float64] = losses - threshold
    return excess[excess > TIE * abs(threshold)]


def _pareto_shape(excess: NDArray[np.float64]) -> float:
    """Estimate the shape of a generalised Pareto law from sorted exceedances (Zhang and Stephens, 2009)."""
    size = excess.size
    points = 30 + int(np.sqrt(size))
    grid = np.arange(1, points + 1)
    quartile = excess[int(size / 4 + 0.5) - 1]
    theta = 1 / excess[-1] + (1 - np.sqrt(points / (grid - 0.5))) / (3 * quartile)
    shape = logs(1 - theta[:, None] * excess).mean(axis=1)
    likelihood = size * (logs(-theta / shape) - shape - 1)
    weight = exps(likelihood - likelihood.max())
    theta_hat = float((theta * weight).sum() / weight.sum())
    estimate = float(logs(1 - theta_hat * excess).mean())
    return (size * estimate + PRIOR * 0.5) / (size + PRIOR)
