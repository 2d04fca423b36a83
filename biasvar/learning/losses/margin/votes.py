"""0-1 loss: the centre is the share of votes, and the majority decides.

An indicator on test points would not see how far the border of the majority's vote moves from block to block, and its
standard error would be zero where it is most wrong. In one dimension the border is therefore interpolated, and risk
integrated up to it. It is where half of the training sets vote for +1, a median, and the jackknife is no good for
medians: whole averages are drawn anew, with the covariance that blocks show.

References
----------
R. Kohavi and D. Wolpert, Bias plus variance decomposition for zero-one loss functions, 1996.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from biasvar.fields import component
from biasvar.learning.hypotheses.base import HypothesisSet
from biasvar.learning.losses.margin.base import MarginLoss
from biasvar.learning.losses.margin.centres import Centre
from biasvar.learning.losses.margin.measures import MEASURES
from biasvar.learning.measures import Measure
from biasvar.montecarlo.intervals import square_shift
from biasvar.montecarlo.linear_algebra import matmul, qr

Array = NDArray[np.float64]
BY_BORDERS = 4.0  # standard errors of that share, by which a border may move
UNDECIDED = 0.1  # of the excess risk, beside borders that move
UNDECIDED_POINTS = 0.5  # where points at borders count too
SURE = 2.0  # standard errors of a vote's share


@dataclass(frozen=True)
class VoteCentre(Centre):
    """Shares of votes for class +1, of which the majority counts."""

    @cached_property
    def _stakes(self) -> Array:
        """What votes for +1 cost more than votes for -1 at each test point, weighted."""
        return self.weights * (1 - 2 * self.p)

    def risk(self, centres: Array) -> Array:
        """Return the risks of majority votes (rows, points), integrated up to where they change."""
        stakes = np.broadcast_to(self._stakes, centres.shape)
        return np.asarray(float(matmul(self.weights, self.p)) + self._where_plus(centres, stakes))

    def excess_of(self, scores: Array) -> float:
        """Return the excess risk of one score, integrated up to where it changes sign."""
        return float(self.risk(scores[None] + 0.5)[0]) - self.bayes

    def rule_error(self, centre: Array) -> float:
        """Return 0: the step is where the rule is cut."""
        return 0.0

    def numbers(self, centres: Array) -> dict[str, Array]:
        """Return Kohavi's and Wolpert's parts."""
        return {
            "kw_bias2": ((centres - self.p) ** 2 * self.weights).sum(axis=1),
            "kw_variance": (centres * (1 - centres) * self.weights).sum(axis=1),
        }

    def steps(self, centres: Array) -> dict[str, Array]:
        """Return the risk, and the variance where the vote is not Bayes'."""
        bayes, stake = self.p > 0.5, np.abs(self._stakes)
        # Where the vote is not Bayes', variance is -|2p - 1| times the share of the minority.
        for_plus, for_minus = ~bayes * stake * (1 - centres), bayes * stake * centres
        biased = for_minus.sum(axis=1) + self._where_plus(centres, for_plus - for_minus)
        return {"risk": self.risk(centres), "biased": biased}

    def scaled(self, deviations: Array, centre: Array) -> Array:
        """Return how far the vote's borders move, each such that its square is what that adds to the risk."""
        panels = self.problem.panels
        if panels is None:
            return np.zeros((len(deviations), 1))
        _, places, _ = panels.crossings((centre - 0.5)[None])
        if not len(places):
            return np.zeros((len(deviations), 1))
        x, density = panels.nodes, self.weights / panels.weights
        share_slope = np.gradient(centre, x)
        stake_slope = np.gradient(2 * self.p - 1, x)
        slope = np.interp(places, x, share_slope)
        moves = np.stack([np.interp(places, x, row) for row in deviations]) / np.where(slope == 0, np.inf, slope)
        stakes = np.abs(np.interp(places, x, stake_slope) * np.interp(places, x, density)) / 2
        return np.asarray(moves * np.sqrt(stakes))

    def undecided(self, centre: Array, error: Array) -> float:
        """Return the stakes at places whose vote is not known, but for those that a border may move past."""
        unsure = np.abs(centre - 0.5) <= SURE * error
        if (panels := self.problem.panels) is not None and unsure.any():
            _, places, _ = panels.crossings((centre - 0.5)[None])
            slopes = np.interp(places, panels.nodes, np.abs(np.gradient(centre, panels.nodes)))
            for place, slope in zip(places, slopes, strict=True):
                unsure &= np.abs(panels.nodes - place) * slope > BY_BORDERS * error
        return float(np.abs(self._stakes)[unsure].sum())

    @property
    def tolerated(self) -> float:
        """Which share of the excess risk may be :meth:`undecided`."""
        return UNDECIDED_POINTS if self.problem.panels is None else UNDECIDED

    @property
    def doubtful(self) -> bool:
        """Whether half of what is undecided is an error at least: but for samples of points, which draws serve."""
        return self.problem.test.replicates == 1

    def best_of_span(self, features: Array) -> float:
        """Return the least excess 0-1 risk of scores in a span, known where they are all polynomials up to a degree.

        Such scores change sign at most as often as their degree: the best vote for that many borders.
        """
        panels, changes = self.problem.panels, len(features) - 1
        if panels is None or not _are_polynomials(features, panels.nodes):
            return np.nan
        side = (self.p > 0.5).reshape(-1, panels.size)[:, panels.size // 2]
        stakes = self._stakes.reshape(-1, panels.size).sum(axis=1)
        runs = np.concatenate([[0], np.cumsum(side[1:] != side[:-1])])
        # costs[c, s]: least cost so far with c changes, where the last vote is s.
        costs = np.full((changes + 1, 2), np.inf)
        costs[0] = 0.0
        for stake in np.bincount(runs, stakes):
            switched = np.vstack([[np.inf, np.inf], costs[:-1, ::-1]])
            costs = np.minimum(costs, switched) + np.array([0.0, stake])
        return max(float(matmul(self.weights, self.p) + costs.min()) - self.bayes, 0.0)

    def _where_plus(self, centres: Array, weighted: Array) -> Array:
        """Integrate functions (rows, points), times weights, over where the majority votes for +1."""
        if self.problem.panels is None:
            return np.asarray(((centres > 0.5) * weighted).sum(axis=1))
        return self.problem.panels.over_positive(centres - 0.5, weighted)


def _are_polynomials(features: Array, x: Array) -> bool:
    """Tell whether functions span the polynomials of a degree below their number."""
    if not (0 < len(features) < len(x)):
        return False
    span = np.polynomial.legendre.legvander(2 * (x - x[0]) / (x[-1] - x[0]) - 1, len(features) - 1)
    vander = qr(span[None])[0][0]
    scaled = features / np.linalg.norm(features, axis=1, keepdims=True)
    inside = np.abs(scaled - matmul(matmul(scaled, vander), vander.T)).max() < 1e-8
    return bool(inside and np.linalg.matrix_rank(scaled) == len(features))


VOTE_MEASURES: tuple[Measure, ...] = (
    Measure(
        "variance_unbiased",
        "variance where the majority's vote is Bayes': what single fits lose there",
        "unbiased variance",
        value=lambda a: a.mean_loss - a.of.bayes - a.bias + a.biased,
        influence=lambda a: a.number("loss").influence - a.bias_influence + a.number("biased").influence,
        along_x=lambda a: a.excess_x - a.bias_x + a.biased_x,
        unit="loss",
        square=True,
    ),
    Measure(
        "variance_biased",
        "variance where the majority's vote is not Bayes': what single fits gain there",
        "biased variance",
        value=lambda a: a.biased,
        influence=lambda a: a.number("biased").influence,
        along_x=lambda a: a.biased_x,
        unit="loss",
        square=True,
    ),
    Measure(
        "kw_noise",
        "Kohavi and Wolpert's noise: E p (1 - p)",
        "KW noise",
        value=lambda a: float(matmul(a.of.weights, a.of.p * (1 - a.of.p))),
        along_x=lambda a: a.of.p * (1 - a.of.p),
        unit="loss",
    ),
    Measure(
        "kw_bias2",
        "Kohavi and Wolpert's squared bias: E (share of votes - p)^2",
        "KW bias2",
        value=lambda a: a.number("kw_bias2").value,
        influence=lambda a: a.number("kw_bias2").influence,
        along_x=lambda a: (a.series.centre - a.of.p) ** 2,
        unit="loss",
        shift=lambda a: square_shift(a.series.kw_deviations, a.series.kw_second_order),
    ),
    Measure(
        "kw_variance",
        "Kohavi and Wolpert's variance: E s (1 - s), s the share of votes",
        "KW variance",
        value=lambda a: a.number("kw_variance").value,
        influence=lambda a: a.number("kw_variance").influence,
        along_x=lambda a: a.series.centre * (1 - a.series.centre),
        unit="loss",
    ),
)


@component
class ZeroOne(MarginLoss):
    """Charge 1 for the wrong class, +1 where the score is positive, else -1; the centre is the majority's vote.

    Examples
    --------
    >>> ZeroOne().value(np.array([1.0, 1.0, -1.0]), np.array([0.5, 0.0, 0.0])).tolist()
    [0.0, 1.0, 0.0]
    """

    measures = (*MEASURES, *VOTE_MEASURES)
    centres: ClassVar[type[Centre]] = VoteCentre
    growth: ClassVar[float] = 0.0

    def phi(self, margins: Array) -> Array:
        """Return 1 for margins that are not positive."""
        return np.where(margins > 0, 0.0, 1.0)

    def value(self, labels: Array, predictions: Array) -> Array:
        """Return 1 for a wrong class."""
        return np.where((predictions > 0) == (labels > 0), 0.0, 1.0)

    def both(self, scores: Array) -> tuple[Array, Array]:
        """Return 1 where the score is for the other class."""
        plus = self.averaged(scores)
        return 1 - plus, plus

    def averaged(self, scores: Array) -> Array:
        """Return votes for class +1."""
        return (scores > 0).astype(float)

    def at_centre(self, p: Array, centre: Array) -> Array:
        """Return the loss of the majority's vote."""
        return np.where(centre > 0.5, 1 - p, p)

    def bayes(self, p: Array) -> Array:
        """Return the probability of the less likely class."""
        return np.minimum(p, 1 - p)

    def psi(self, theta: float) -> float:
        """Return theta."""
        return theta

    def _approximation(self, centre: Centre, hypothesis: HypothesisSet, noise: float) -> float:
        assert isinstance(centre, VoteCentre)
        features = hypothesis.spanning_functions(centre.problem.inputs, centre.problem.test.x)
        return np.nan if features is None else centre.best_of_span(features)
