"""What every loss of scores for two classes is."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from biasvar.learning.bisection import bisect
from biasvar.learning.classes import TwoClassProblem
from biasvar.learning.decomposition import Best, Problem
from biasvar.learning.hypotheses.base import HypothesisSet, TailIndex
from biasvar.learning.labels import TwoClasses
from biasvar.learning.loss_tails import Index, LossTails
from biasvar.learning.losses.base import Attempt, Cell, Loss
from biasvar.learning.losses.margin.centres import Centre
from biasvar.learning.losses.margin.charging import expected_losses
from biasvar.learning.losses.margin.measures import CURVES, MEASURES, MarginAverages
from biasvar.learning.losses.margin.series import MarginReduction, MarginSeries
from biasvar.learning.record import Record
from biasvar.learning.reduction import Series
from biasvar.learning.surrogates import minimiser
from biasvar.learning.training_sets import TrainingSets, cached_tiles
from biasvar.montecarlo.linear_algebra import lstsq, matmul
from biasvar.montecarlo.moments import TAIL_SIZE, Average, largest, weighted_mean

Array = NDArray[np.float64]
PSI_BISECTIONS = 60
SCORES_BISECTIONS = 60
HIGHEST_SCORE = 50.0


class MarginLoss(Loss):
    """A loss phi(m) of the margin m = y g: the label, -1 or +1, times the score.

    A loss of one's own needs :meth:`phi` and :meth:`slope`.

    Examples
    --------
    >>> import numpy as np
    >>> import biasvar as bv
    >>> class Cubed(bv.MarginLoss):
    ...     def phi(self, margins):
    ...         return np.maximum(1 - margins, 0) ** 3
    >>> Cubed().slope(np.array([0.0, 2.0])).round(6).tolist()
    [-3.0, 0.0]
    """

    measures = MEASURES
    curves = CURVES
    noise_moves_best: ClassVar[bool] = True

    #: With which power the loss grows with the score; 0 for bounded ones.
    growth: ClassVar[float] = 1.0

    #: What :attr:`biasvar.HypothesisSet.minimises` says of sets that minimise this loss.
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

    def reduction(self, problem: Problem, average: Average, noise: float | None, block_size: int) -> MarginReduction:
        """Return the second pass over a cell's records."""
        assert isinstance(problem, TwoClassProblem) and noise is not None  # noqa: PT018
        return MarginReduction(self.centre(problem, noise), self.record(len(problem.f)), average, block_size)

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
        random = bool(matmul(problem.test.weights, problem.f * (1 - problem.f)) > 0)
        if np.isnan(known.noise) or not random:
            return found.at_least(known.least * 2 / self.growth)
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


#: Losses that sets may minimise, by the name that they have there; files of losses add their own.
SURROGATES: dict[str, MarginLoss] = {}


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
            found = matmul(lstsq(features.T, found), there)
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
        scores[:, tile], training[:, tile] = fitted[:points], fitted[points:]
    right = (training > 0) == (labels > 0)
    shares = {
        "interpolated": float(weighted_mean(right.all(axis=0), sets.weights)),
        "one_class": float(weighted_mean((labels == labels[0]).all(axis=0), sets.weights)),
    }
    p = sets.problem.probability(noise)
    rows = []
    for cell in cells:
        assert isinstance(cell.loss, MarginLoss)
        rows.append(_charged(cell.loss, sets, p, scores, cell.loss.value(labels, training).mean(axis=0), shares))
    return rows


def _charged(
    loss: MarginLoss, sets: TrainingSets, p: Array, scores: Array, training: Array, shares: Mapping[str, float]
) -> Array:
    centre, along_x, each = np.zeros(len(p)), np.zeros(len(p)), np.empty(len(sets.weights))
    for tile in cached_tiles(len(each), len(p)):
        some, weights = np.ascontiguousarray(scores[:, tile]), sets.weights[tile]
        centre += weighted_mean(loss.averaged(some), weights)
        along, each[tile] = _expected(loss, some, p, sets.problem.test.weights, weights)
        along_x += along
    return loss.record(len(p)).pack(
        centre=_known(centre),
        loss=along_x,
        training_loss=_known(weighted_mean(training, sets.weights)),
        largest_loss=largest(each, TAIL_SIZE) if loss.growth else np.full(TAIL_SIZE, np.nan),
        **shares,
    )


def _expected(loss: MarginLoss, scores: Array, p: Array, at: Array, sets: Array) -> tuple[Array, Array]:
    """Return the loss along x and of each training set; NaN where some are infinite that have a probability."""
    of_plus, of_minus = loss.both(scores)
    along_x, each = expected_losses(of_plus, of_minus, p, at, sets)
    if np.isfinite(along_x).all():
        return along_x, each
    losses = _known(mixed(p[:, None], of_plus, of_minus))
    return weighted_mean(losses, sets), matmul(at, losses)


def _known(values: Array) -> Array:
    """Return NaN, which records may hold, for what is infinite."""
    return np.where(np.isfinite(values), values, np.nan)
