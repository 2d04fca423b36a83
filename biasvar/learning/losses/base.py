"""What a loss is: what is averaged over training sets, and which measures are made of the averages."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from biasvar.adapting import adapt, offers
from biasvar.errors import StudyError
from biasvar.learning.decomposition import Best, Problem
from biasvar.learning.fits import Fit
from biasvar.learning.hypotheses.base import HypothesisSet, TailIndex
from biasvar.learning.loss_tails import Index, LossTails
from biasvar.learning.losses.simulated import CURVES, MEASURES, LossAverages, LossReduction
from biasvar.learning.measures import Averages, Curve, Measure
from biasvar.learning.quadrature import hermite_rule
from biasvar.learning.record import Record
from biasvar.learning.reduction import Reduction, Series
from biasvar.learning.training_sets import TrainingSets
from biasvar.montecarlo.linear_algebra import matmul
from biasvar.montecarlo.moments import TAIL_SIZE, Average, largest, weighted_mean

Array = NDArray[np.float64]
Attempt = tuple[list[int], Callable[[], list[Array]]]
NOISE_NODES = 64


class Cell(NamedTuple):
    """One hypothesis set and how it is fitted, at one noise level, or (None) at all where noise is integrated."""

    hypothesis: HypothesisSet
    fit: Fit
    noise: float | None
    loss: "Loss"


class Loss(ABC):
    """What a prediction costs, and what of it is averaged over training sets.

    A user's own loss needs :meth:`value` and, unless it is smooth, :meth:`expected`. Label noise is then simulated for
    every hypothesis set; of test labels it is integrated by :meth:`expected`. Which numbers follow is said by
    :attr:`measures` and :attr:`curves`; here they are the expected and the empirical risk.

    Examples
    --------
    >>> class Absolute(Loss):
    ...     def value(self, labels, predictions):
    ...         return np.abs(labels - predictions)
    >>> [measure.name for measure in Absolute().measures]
    ['expected_risk', 'empirical_risk', 'generalization_gap']
    """

    #: Numbers that every cell has.
    measures: Sequence[Measure] = MEASURES

    #: Functions of x that every cell has.
    curves: Sequence[Curve] = CURVES

    @abstractmethod
    def value(self, labels: Array, predictions: Array) -> Array:
        """Return the loss of each prediction, elementwise."""

    def expected(self, f: Array, noise: float, predictions: Array) -> Array:
        """Return the loss of each prediction, averaged over labels f + noise e with a standard normal e.

        Gauss-Hermite quadrature of :meth:`value`: exact for polynomials, but not where the loss has a kink.
        """
        e, weights = hermite_rule(0.0, 1.0, NOISE_NODES if noise else 1)
        return sum((w * self.value(f + noise * node, predictions) for node, w in zip(e, weights, strict=True)), 0.0 * f)

    def integrates_noise(self, fit: Fit) -> bool:
        """Tell whether label noise of training sets is integrated exactly for such a fit, at all levels at once."""
        return False

    def is_smooth(self, problem: Problem, cell: Cell, n_train: int) -> bool:
        """Tell whether averages are of smooth functions of the inputs alone, with tails that theory knows.

        Then few random inputs may lie on a lattice whose points have unequal weights.
        """
        return False

    def record(self, points: int) -> Record:
        """Return what is kept of a block, for so many test points."""
        return Record({"mean": points, "loss": points, "training_loss": 0, "largest_loss": TAIL_SIZE})

    def attempts(self, sets: TrainingSets, cells: Sequence[Cell]) -> Iterator[Attempt]:
        """Yield which cells are computed together, and what computes their records."""
        for i, cell in enumerate(cells):
            yield [i], partial(self._simulated, sets, cell)

    #: Whether the best in class moves with the noise level.
    noise_moves_best: ClassVar[bool] = False

    def best_in_class(self, problem: Problem, hypothesis: HypothesisSet, noise: float) -> Best | None:
        """Return the minimiser of expected risk inside a hypothesis set, or None where it is not known."""
        return None

    def reduction(self, problem: Problem, average: Average, noise: float | None, block_size: int) -> Reduction:
        """Return the second pass over a cell's records, whose average is known; None stands for all noise levels."""
        return LossReduction(problem, self.record(len(problem.f)), average, block_size)

    def averages(
        self,
        problem: Problem,
        series: Series,
        noise: float,
        best: Best | None,
        quadrature_error: float,
        extremes: float,
    ) -> Averages:
        """Return what the measures are functions of, for one cell at one noise level."""
        return LossAverages(problem, series, quadrature_error, extremes)

    def tails(self, problem: Problem, known: TailIndex, series: Series, noisy: bool) -> LossTails:
        """Return the tail indices of a cell's loss.

        Parameters
        ----------
        problem : Problem
            The law of data.
        known : TailIndex
            What theory knows of the set's squared error.
        series : Series
            The cell's blocks.
        noisy : bool
            Whether label noise adds to the loss in ``series``.
        """
        return LossTails(Index.estimated(series.loss_tail.index), Index.known(np.inf))

    def headline(self, problem: Problem, parts: Mapping[str, Array], noise: Array) -> Array:
        """Return one number per cell and block, whose standard error is shown while a study runs.

        Parameters
        ----------
        problem : Problem
            The law of data.
        parts : mapping of str to ndarray
            Unpacked records, shape (cells, blocks) or (cells, blocks, length).
        noise : ndarray of shape (cells,)
            Noise levels, where records are of all of them.
        """
        return np.asarray(matmul(parts["loss"], problem.test.weights))

    def _simulated(self, sets: TrainingSets, cell: Cell) -> list[Array]:
        points, size = len(sets.problem.f), sets.block.size
        noise = cell.noise or 0.0
        labels, f = sets.labels(noise), sets.problem.f
        predictions, losses, training = np.empty((points, size)), np.empty((points, size)), np.empty(size)
        for tile, fitted in sets.predictions(cell.fit, labels):
            predictions[:, tile] = fitted[:points]
            at_test = fitted[:points].T
            losses[:, tile] = self.expected(np.broadcast_to(f, at_test.shape), noise, at_test).T
            training[tile] = self.value(labels[:, tile].T, fitted[points:].T).mean(axis=1)
        row = self.record(points).pack(
            mean=weighted_mean(predictions, sets.weights),
            loss=weighted_mean(losses, sets.weights),
            training_loss=matmul(training, sets.weights),
            largest_loss=largest(matmul(sets.problem.test.weights, losses), TAIL_SIZE),
        )
        return [row]


def adapted(own: object, where: str) -> Loss:
    """Take a user's object for a loss: the one door at which it is asked which methods it has.

    Parameters
    ----------
    own : object
        A :class:`Loss`, or any object with ``value(labels, predictions)`` and perhaps
        ``expected(f, noise, predictions)``.
    where : str
        What complaints begin with.

    Raises
    ------
    StudyError
        If it has no ``value``, or gives anything but one number for each prediction.
    """
    if isinstance(own, Loss):
        return own
    if not offers(own, "value"):
        raise StudyError(
            f"{where}: expected a loss such as Squared(), or an object with value(labels, predictions), got {own!r}"
        )
    return adapt(own, _Adapted, Loss, ["expected"])


class _Adapted(Loss):
    """A user's object with a method ``value``."""

    def __init__(self, own: Loss) -> None:
        self.own = own

    def value(self, labels: Array, predictions: Array) -> Array:
        return checked(self.own, "value", self.own.value(labels, predictions), predictions.shape)

    def expected(self, f: Array, noise: float, predictions: Array) -> Array:
        return checked(self.own, "expected", self.own.expected(f, noise, predictions), predictions.shape)


def checked(own: object, method: str, found: ArrayLike, shape: tuple[int, ...]) -> Array:
    """Refuse what a method of a user's loss returned, unless it is one number for each prediction."""
    array = np.asarray(found, dtype=float)
    if array.shape != shape:
        raise StudyError(f"{type(own).__name__}.{method} returned shape {array.shape}, expected {shape}")
    return array
