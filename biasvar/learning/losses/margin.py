"""Losses of scores for two classes: expected risk is Bayes risk, bias and variance, whatever the loss.

With L(x; g) the loss of a score g at x, averaged over labels, L* its least value, and the centre what a loss averages
of the scores of all training sets (scores themselves, votes for 0-1 loss, probabilities for Brier's):

    E(g_n) = bayes_risk + bias + variance,   bias = L(centre) - L*,   variance = E L(g_n) - L(centre),

averaged over x. Variance is what an average, or a vote, over all training sets would gain; bias is what even that pays.

References
----------
G. James, Variance and bias for general loss functions, 2003.
P. Bartlett, M. Jordan, J. McAuliffe, Convexity, classification, and risk bounds, 2006 (psi).
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, xlogy

from biasvar.adapting import adapt, offers
from biasvar.errors import StudyError
from biasvar.fields import component
from biasvar.learning.bisection import bisect
from biasvar.learning.classes import TwoClassProblem
from biasvar.learning.decomposition import Best, Problem
from biasvar.learning.hypotheses.base import HypothesisSet, TailIndex
from biasvar.learning.labels import TwoClasses
from biasvar.learning.loss_tails import Index, LossTails
from biasvar.learning.losses.base import Attempt, Cell, Loss, checked
from biasvar.learning.losses.margin_measures import (
    CURVES,
    MEASURES,
    VOTE_MEASURES,
    Centre,
    HingeCentre,
    MarginAverages,
    MarginReduction,
    MarginSeries,
    VoteCentre,
)
from biasvar.learning.record import Record
from biasvar.learning.reduction import Series
from biasvar.learning.surrogates import minimiser
from biasvar.learning.training_sets import TrainingSets
from biasvar.montecarlo.moments import TAIL_SIZE, RunningMean, largest
from biasvar.optimization.stable import softplus_of_minus

Array = NDArray[np.float64]
PSI_BISECTIONS = 60
SCORES_BISECTIONS = 60
HIGHEST_SCORE = 50.0


class MarginLoss(Loss):
    """A loss phi(m) of the margin m = y g: the label, -1 or +1, times the score.

    A loss of one's own needs :meth:`phi` and :meth:`slope`.
    """

    measures = MEASURES
    curves = CURVES
    noise_moves_best: ClassVar[bool] = True

    #: With which power the loss grows with the score; 0 for bounded ones.
    growth: ClassVar[float] = 1.0

    #: What :attr:`~biasvar.learning.hypotheses.HypothesisSet.minimises` says of sets that minimise this loss.
    surrogate: ClassVar[str] = ""

    #: What is made of averages.
    centres: ClassVar[type[Centre]] = Centre

    @abstractmethod
    def phi(self, margins: Array) -> Array:
        """Return the loss, elementwise."""

    def slope(self, margins: Array) -> Array:
        """Return the derivative of :meth:`phi`, elementwise."""
        step = 1e-6
        return (self.phi(margins + step) - self.phi(margins - step)) / (2 * step)

    def curvature(self, margins: Array) -> Array:
        """Return the second derivative of :meth:`phi`, elementwise."""
        step = 1e-4
        return (self.slope(margins + step) - self.slope(margins - step)) / (2 * step)

    def both(self, scores: Array) -> tuple[Array, Array]:
        """Return the loss of scores for label +1, and for label -1."""
        return self.phi(scores), self.phi(-scores)

    def bayes(self, p: Array) -> Array:
        """Return the least loss where P(y = +1) is p."""
        ends = np.full(p.shape, -HIGHEST_SCORE), np.full(p.shape, HIGHEST_SCORE)
        best = bisect(lambda g: p * self.slope(g) < (1 - p) * self.slope(-g), *ends, SCORES_BISECTIONS)
        return mixed(p, *self.both(best))

    def excess_bound(self, excess: float) -> float:
        """Return what an excess risk bounds the excess 0-1 risk by: psi^-1 (Bartlett, Jordan, McAuliffe)."""
        low, high = 0.0, 1.0
        for _ in range(PSI_BISECTIONS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.psi(middle) < excess else (low, middle)
        return high

    def psi(self, theta: float) -> float:
        """Return phi(0) less the least loss where the classes have probabilities (1 +- theta) / 2: for convex phi."""
        return float(self.phi(np.zeros(1))[0] - self.bayes(np.array([(1 + theta) / 2]))[0])

    # What a loss is asked

    def value(self, labels: Array, predictions: Array) -> Array:
        """Return the loss of each score."""
        return self.phi(labels * predictions)

    def expected(self, f: Array, noise: float, predictions: Array) -> Array:
        """Return the loss of each score, averaged over labels that are +1 with probability f before flips."""
        return mixed(TwoClasses.flipped(f, noise), *self.both(predictions))

    def record(self, points: int) -> Record:
        """Return what is kept of a block."""
        return Record(
            {
                "centre": points,
                "loss": points,
                "training_loss": 0,
                "interpolated": 0,
                "one_class": 0,
                "largest_loss": TAIL_SIZE,
            },
            may_lack=("centre", "loss", "training_loss"),
        )

    def attempts(self, sets: TrainingSets, cells: Sequence[Cell]) -> Iterator[Attempt]:
        """Fit each set once per noise level, for all losses."""
        families: dict[tuple[int, float | None], list[int]] = {}
        for i, cell in enumerate(cells):
            families.setdefault((id(cell.hypothesis), cell.noise), []).append(i)
        for indices in families.values():
            yield indices, partial(_scored, sets, [cells[i] for i in indices])

    def centre(self, problem: TwoClassProblem, noise: float) -> Centre:
        """Return what is made of averages of scores."""
        return self.centres(problem, noise, self)

    def averaged(self, scores: Array) -> Array:
        """Return what of the scores is averaged over training sets."""
        return scores

    def at_centre(self, p: Array, centre: Array) -> Array:
        """Return the loss of the centre, where P(y = +1) is p."""
        return mixed(p, *self.both(centre))

    def bend(self, p: Array, centre: Array) -> Array:
        """Return the second derivative of :meth:`at_centre` along the centre."""
        return mixed(p, self.curvature(centre), self.curvature(-centre))

    def reduction(self, problem: Problem, average: RunningMean, noise: float | None) -> MarginReduction:
        """Return the second pass over a cell's records."""
        assert isinstance(problem, TwoClassProblem) and noise is not None  # noqa: PT018
        return MarginReduction(self.centre(problem, noise), self.record(len(problem.f)), average)

    def averages(
        self,
        problem: Problem,
        series: Series,
        noise: float,
        best: Best | None,
        quadrature_error: float,
        extremes: float,
    ) -> MarginAverages:
        """Return what the measures are functions of."""
        assert isinstance(problem, TwoClassProblem) and isinstance(series, MarginSeries)  # noqa: PT018
        return MarginAverages(problem, series, quadrature_error, extremes, self.centre(problem, noise), best)

    def tails(self, problem: Problem, known: TailIndex, series: Series, noisy: bool) -> LossTails:
        """Return the tail index of the loss: known where it is bounded, or infinite, or where labels are random."""
        assert isinstance(series, MarginSeries)
        return LossTails(self._tail(problem, known, series), Index.known(np.inf))

    def _tail(self, problem: Problem, known: TailIndex, series: MarginSeries) -> Index:
        if self.growth == 0:
            return Index.known(np.inf)
        if series.infinite:
            return Index.known(0.0, "scores are infinite on some training sets")
        found = Index.estimated(series.loss_tail.index)
        random = bool(problem.test.weights @ (problem.f * (1 - problem.f)) > 0)
        if np.isnan(known.noise) or not random:
            return found
        # Random labels are label noise: the square of a score has the tails of its gain.
        return Index.known(known.noise * 2 / self.growth if np.isfinite(known.noise) else np.inf)

    def best_in_class(self, problem: Problem, hypothesis: HypothesisSet, noise: float) -> Best | None:
        """Return the best score in a set's span under the loss that its fits minimise, charged by this one."""
        assert isinstance(problem, TwoClassProblem)
        centre = self.centre(problem, noise)
        values = _best_score(problem, hypothesis, SURROGATES.get(hypothesis.minimises), noise)
        if values is None:
            return None
        excess_x = self.at_centre(centre.p, self.averaged(values)) - centre.bayes_x
        excess, error = centre.excess_of(values), centre.rule_error(self.averaged(values))
        approximation = excess
        if self.surrogate != hypothesis.minimises:
            approximation = self._approximation(centre, hypothesis, noise)
        return Best(values, excess, float(np.hypot(problem.test.sampling_error(excess_x), error)), approximation)

    def _approximation(self, centre: Centre, hypothesis: HypothesisSet, noise: float) -> float:
        """Return the excess risk of the best in a set's span under this loss itself; NaN where it is not known."""
        values = _best_score(centre.problem, hypothesis, SURROGATES.get(self.surrogate), noise)
        return np.nan if values is None else centre.excess_of(values)


@component
class LogisticLoss(MarginLoss):
    """Charge log(1 + exp(-m)), in nats.

    Examples
    --------
    >>> LogisticLoss().phi(np.array([0.0])).round(6).tolist()
    [0.693147]
    """

    surrogate: ClassVar[str] = "logistic"

    def phi(self, margins: Array) -> Array:
        """Return log(1 + exp(-m))."""
        return softplus_of_minus(margins)

    def slope(self, margins: Array) -> Array:
        """Return -1 / (1 + exp(m))."""
        return np.asarray(-expit(-margins))

    def curvature(self, margins: Array) -> Array:
        """Return the logistic density."""
        p = expit(margins)
        return np.asarray(p * (1 - p))

    def both(self, scores: Array) -> tuple[Array, Array]:
        """Return both losses, of one logarithm."""
        of_minus = softplus_of_minus(-scores)
        with np.errstate(invalid="ignore"):
            of_plus = of_minus - scores
        return np.where(scores == np.inf, 0.0, of_plus) if np.isinf(scores).any() else of_plus, of_minus

    def bayes(self, p: Array) -> Array:
        """Return the entropy of the label."""
        return np.asarray(-xlogy(p, p) - xlogy(1 - p, 1 - p))


@component
class SquaredMargin(MarginLoss):
    """Charge (1 - m)^2, which is (y - g)^2.

    Examples
    --------
    >>> SquaredMargin().phi(np.array([3.0])).tolist()
    [4.0]
    """

    growth: ClassVar[float] = 2.0
    surrogate: ClassVar[str] = "squared"

    def phi(self, margins: Array) -> Array:
        """Return (1 - m)^2."""
        return (1 - margins) ** 2

    def slope(self, margins: Array) -> Array:
        """Return 2 (m - 1)."""
        return 2 * (margins - 1)

    def curvature(self, margins: Array) -> Array:
        """Return 2."""
        return np.full_like(margins, 2.0)

    def bayes(self, p: Array) -> Array:
        """Return four times the variance of a Bernoulli number."""
        return 4 * p * (1 - p)


@component
class Hinge(MarginLoss):
    """Charge max(0, 1 - m).

    Examples
    --------
    >>> Hinge().phi(np.array([-1.0, 2.0])).tolist()
    [2.0, 0.0]
    """

    surrogate: ClassVar[str] = "hinge"
    centres: ClassVar[type[Centre]] = HingeCentre

    def phi(self, margins: Array) -> Array:
        """Return max(0, 1 - m)."""
        return np.maximum(1 - margins, 0)

    def slope(self, margins: Array) -> Array:
        """Return -1 below margin 1, else 0."""
        return np.where(margins < 1, -1.0, 0.0)

    def curvature(self, margins: Array) -> Array:
        """Return 0: it bends at one place only."""
        return np.zeros_like(margins)

    def bayes(self, p: Array) -> Array:
        """Return twice the probability of the less likely class."""
        return 2 * np.minimum(p, 1 - p)


@component
class SquaredHinge(MarginLoss):
    """Charge max(0, 1 - m)^2.

    Examples
    --------
    >>> SquaredHinge().phi(np.array([-1.0, 2.0])).tolist()
    [4.0, 0.0]
    """

    growth: ClassVar[float] = 2.0
    surrogate: ClassVar[str] = "squared_hinge"
    centres: ClassVar[type[Centre]] = HingeCentre

    def phi(self, margins: Array) -> Array:
        """Return max(0, 1 - m)^2."""
        return np.maximum(1 - margins, 0) ** 2

    def slope(self, margins: Array) -> Array:
        """Return -2 max(0, 1 - m)."""
        return -2 * np.maximum(1 - margins, 0)

    def curvature(self, margins: Array) -> Array:
        """Return 2 below margin 1, else 0."""
        return np.where(margins < 1, 2.0, 0.0)

    def bayes(self, p: Array) -> Array:
        """Return four times the variance of a Bernoulli number."""
        return 4 * p * (1 - p)


@component
class Exponential(MarginLoss):
    """Charge exp(-m).

    Examples
    --------
    >>> Exponential().phi(np.array([0.0])).tolist()
    [1.0]
    """

    growth: ClassVar[float] = np.inf
    surrogate: ClassVar[str] = "exponential"

    def phi(self, margins: Array) -> Array:
        """Return exp(-m)."""
        with np.errstate(over="ignore"):  # infinite, which is told
            return np.exp(-margins)

    def slope(self, margins: Array) -> Array:
        """Return -exp(-m)."""
        return -self.phi(margins)

    def curvature(self, margins: Array) -> Array:
        """Return exp(-m)."""
        return self.phi(margins)

    def bayes(self, p: Array) -> Array:
        """Return twice the standard deviation of a Bernoulli number."""
        return 2 * np.sqrt(p * (1 - p))


@component
class Brier(MarginLoss):
    """Charge (1 - q)^2, q the probability 1 / (1 + exp(-m)) that the score gives to the label; the centre averages q.

    Examples
    --------
    >>> Brier().phi(np.array([0.0])).tolist()
    [0.25]
    """

    growth: ClassVar[float] = 0.0

    def phi(self, margins: Array) -> Array:
        """Return (1 - q)^2."""
        return np.asarray(expit(-margins) ** 2)

    def averaged(self, scores: Array) -> Array:
        """Return probabilities of class +1."""
        return np.asarray(expit(scores))

    def at_centre(self, p: Array, centre: Array) -> Array:
        """Return the loss of a probability."""
        return p * (1 - centre) ** 2 + (1 - p) * centre**2

    def bend(self, p: Array, centre: Array) -> Array:
        """Return 2."""
        return np.full_like(centre, 2.0)

    def bayes(self, p: Array) -> Array:
        """Return the variance of a Bernoulli number."""
        return p * (1 - p)

    def psi(self, theta: float) -> float:
        """Return theta^2 / 4: what a probability of one half pays more than the right one."""
        return theta**2 / 4


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
        plus = np.where(scores > 0, 1.0, 0.0)
        return 1 - plus, plus

    def averaged(self, scores: Array) -> Array:
        """Return votes for class +1."""
        return np.where(scores > 0, 1.0, 0.0)

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


#: Losses that sets may minimise, by the name that they have there.
SURROGATES: dict[str, MarginLoss] = {
    loss.surrogate: loss for loss in (LogisticLoss(), SquaredMargin(), Hinge(), SquaredHinge(), Exponential())
}

#: Losses by the name that they have in a study.
BY_NAME: dict[str, MarginLoss] = {"zero_one": ZeroOne(), **SURROGATES, "brier": Brier()}


def _best_score(
    problem: TwoClassProblem, hypothesis: HypothesisSet, loss: MarginLoss | None, noise: float
) -> Array | None:
    """Return the best score in a set's span under a loss that sets may minimise, at the test points."""
    if loss is None:
        return None
    key = hypothesis, loss.surrogate, noise
    if key not in problem.best_scores:
        test = problem.finer
        features = hypothesis.spanning_functions(problem.inputs, test.x)
        found = None
        if features is not None:
            p = TwoClasses.flipped(problem.evaluate(test.x), noise)
            found = minimiser(loss, features, p, test.weights)
        if found is not None:
            there = hypothesis.spanning_functions(problem.inputs, problem.test.x)
            assert features is not None and there is not None  # noqa: PT018
            found = np.linalg.lstsq(features.T, found, rcond=None)[0] @ there
        problem.best_scores[key] = found
    return problem.best_scores[key]


def mixed(p: Array, of_plus: Array, of_minus: Array) -> Array:
    """Average losses for the two labels; what has no probability costs nothing, infinite though it be."""
    p = np.broadcast_to(p, of_plus.shape)
    with np.errstate(invalid="ignore"):
        out = p * of_plus + (1 - p) * of_minus
        if not np.isfinite(out).all():
            out = np.where(p > 0, p * of_plus, 0.0) + np.where(p < 1, (1 - p) * of_minus, 0.0)
    return np.asarray(out)


def _scored(sets: TrainingSets, cells: list[Cell]) -> list[Array]:
    """Fit the training sets once, and charge the scores by each cell's loss."""
    assert isinstance(sets.problem, TwoClassProblem)
    noise = cells[0].noise or 0.0
    points, size = len(sets.problem.f), sets.block.size
    labels = sets.labels(noise)
    scores, training = np.empty((points, size)), np.empty((sets.n_train, size))
    for tile, fitted in sets.predictions(cells[0].fit, labels):
        scores[:, tile], training[:, tile] = fitted[:, :points].T, fitted[:, points:].T
    right = (training > 0) == (labels.T > 0)
    shares = {
        "interpolated": right.all(axis=0) @ sets.weights,
        "one_class": (labels == labels[:, :1]).all(axis=1) @ sets.weights,
    }
    p = sets.problem.probability(noise)
    rows = []
    for cell in cells:
        assert isinstance(cell.loss, MarginLoss)
        rows.append(_charged(cell.loss, sets, p, scores, cell.loss.value(labels.T, training).mean(axis=0), shares))
    return rows


def _charged(
    loss: MarginLoss, sets: TrainingSets, p: Array, scores: Array, training: Array, shares: Mapping[str, Any]
) -> Array:
    weights = sets.problem.test.weights
    of_plus, of_minus = loss.both(scores)
    if np.isfinite(of_plus).all() and np.isfinite(of_minus).all():
        along_x = p * (of_plus @ sets.weights) + (1 - p) * (of_minus @ sets.weights)
        each = (weights * p) @ of_plus + (weights * (1 - p)) @ of_minus
    else:
        losses = mixed(p[:, None], of_plus, of_minus)
        along_x, each = _mean(losses, sets.weights), weights @ np.where(np.isfinite(losses), losses, np.nan)
    return loss.record(len(p)).pack(
        centre=_mean(loss.averaged(scores), sets.weights),
        loss=along_x,
        training_loss=_mean(training, sets.weights),
        largest_loss=largest(each, TAIL_SIZE) if loss.growth else np.full(TAIL_SIZE, np.nan),
        **shares,
    )


def _mean(values: Array, weights: Array) -> Array:
    """Average over the last axis; NaN, which records may hold, where a value is infinite."""
    return (values if np.isfinite(values).all() else np.where(np.isfinite(values), values, np.nan)) @ weights


def adapted(own: object, where: str) -> MarginLoss:
    """Take a user's object for a loss of scores: the one door at which it is asked which methods it has.

    Parameters
    ----------
    own : object
        A :class:`MarginLoss`, or any object with ``phi(margins)`` and perhaps ``slope(margins)``, its derivative.
    where : str
        What complaints begin with.

    Raises
    ------
    StudyError
        If it has no ``phi``, or gives anything but one number for each margin.
    """
    if isinstance(own, MarginLoss):
        return own
    if not offers(own, "phi"):
        raise StudyError(
            f"{where}: expected one of {', '.join(BY_NAME)}, or an object with phi(margins) and slope(margins), "
            f"got {own!r}"
        )
    return adapt(own, _Adapted, MarginLoss, ["slope"])


class _Adapted(MarginLoss):
    """A user's object with a method ``phi``."""

    def __init__(self, own: MarginLoss) -> None:
        self.own = own

    def phi(self, margins: Array) -> Array:
        return checked(self.own, "phi", self.own.phi(margins), margins.shape)

    def slope(self, margins: Array) -> Array:
        return checked(self.own, "slope", self.own.slope(margins), margins.shape)
