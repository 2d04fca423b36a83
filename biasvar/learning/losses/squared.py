"""Squared loss: the three fast ways to its averages, one for each type of fit.

With g the fit on a random training set and m = E[g | X] its mean over label noise,

    E(g) = sigma^2 + E_x (E[g] - f)^2 + E_x Var[g],      Var[g] = Var[m] + sigma^2 E[sum_i S_i(x)^2],

the second equality for fits g = S y that are linear in the labels. A record holds the moments of m, the mean noise
gain, the training error and the largest losses; everything else is a function of averaged records.

References
----------
S. Geman, E. Bienenstock, R. Doursat, Neural networks and the bias/variance dilemma, 1992.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from biasvar.errors import StudyError
from biasvar.fields import component
from biasvar.learning.decomposition import Best, Problem, best_in_class
from biasvar.learning.fits import Coefficients, Fit, Predictions, SmootherWeights, Trained, is_linear
from biasvar.learning.hypotheses.base import HypothesisSet, TailIndex
from biasvar.learning.inputs import Independent
from biasvar.learning.least_squares import Fits, LinearModel, Projection, fit_nested, fit_one
from biasvar.learning.loss_tails import Index, LossTails, has_all_moments, noise_index, signal_index
from biasvar.learning.losses.base import Attempt, Cell, Loss
from biasvar.learning.losses.squared_measures import CURVES, MEASURES, SquaredAverages, SquaredReduction, SquaredSeries
from biasvar.learning.nested_polynomials import fit_degrees
from biasvar.learning.record import Record
from biasvar.learning.reduction import Series
from biasvar.learning.training_sets import TrainingSets
from biasvar.montecarlo.linear_algebra import matmul
from biasvar.montecarlo.moments import (
    TAIL_SIZE,
    Average,
    largest,
    weighted_covariance,
    weighted_mean,
    weighted_variance,
)

Array = NDArray[np.float64]


@component
class Squared(Loss):
    """Charge (y - g)^2, whose expectation splits into noise, squared bias and variance.

    Examples
    --------
    >>> Squared().value(np.array([1.0]), np.array([3.0])).tolist()
    [4.0]
    """

    measures = MEASURES
    curves = CURVES

    def value(self, labels: Array, predictions: Array) -> Array:
        """Return the squared difference."""
        return (labels - predictions) ** 2

    def expected(self, f: Array, noise: float, predictions: Array) -> Array:
        """Return the squared difference from the target, plus the noise's variance."""
        return (f - predictions) ** 2 + noise**2

    def integrates_noise(self, fit: Fit) -> bool:
        """Return True for fits that are linear in the labels."""
        return is_linear(fit)

    def is_smooth(self, problem: Problem, cell: Cell, n_train: int) -> bool:
        """Return True for least squares with an intercept on a smooth target, where theory knows the tails."""
        if not isinstance(cell.fit, Coefficients) or not isinstance(problem.inputs, Independent):
            return False
        known = cell.hypothesis.tail_index(problem.inputs, n_train)
        return cell.fit.model.intercept and not np.isnan(known.noise) and has_all_moments(known, problem)

    def record(self, points: int) -> Record:
        """Return the moments that the decomposition is made of."""
        return _record(points)

    def best_in_class(self, problem: Problem, hypothesis: HypothesisSet, noise: float) -> Best | None:
        """Project the target onto what spans the set."""
        return best_in_class(problem, hypothesis)

    def reduction(self, problem: Problem, average: Average, noise: float | None, block_size: int) -> SquaredReduction:
        """Return the second pass over a cell's records."""
        return SquaredReduction(problem, self.record(len(problem.f)), average, block_size)

    def averages(
        self,
        problem: Problem,
        series: Series,
        noise: float,
        best: Best | None,
        quadrature_error: float,
        extremes: float,
    ) -> SquaredAverages:
        """Return what the measures are functions of."""
        assert isinstance(series, SquaredSeries)
        return SquaredAverages(problem, series, noise, best, quadrature_error, extremes)

    def tails(self, problem: Problem, known: TailIndex, series: Series, noisy: bool) -> LossTails:
        """Return the tail indices of the loss without label noise and of what the noise adds."""
        return LossTails(
            signal_index(known, problem, series.loss_tail.index),
            noise_index(known, series.gain_tail.index) if noisy else Index.known(np.inf),
        )

    def headline(self, problem: Problem, parts: Mapping[str, Array], noise: Array) -> Array:
        """Return each block's excess risk."""
        loss = matmul((parts["mean"] - problem.f) ** 2 + parts["variance"], problem.test.weights)
        return np.asarray(loss + noise[:, None] ** 2 * (matmul(parts["noise_gain"], problem.test.weights)))

    def attempts(self, sets: TrainingSets, cells: Sequence[Cell]) -> Iterator[Attempt]:
        """Group cells that are computed together: least-squares sets that share a factorisation, else one by one."""
        nested: list[tuple[int, LinearModel, Projection]] = []
        for i, cell in enumerate(cells):
            match cell.fit:
                case Coefficients(model):
                    projection = sets.problem.projection(cell.hypothesis, model)
                    if not model.shares_factorisation(sets.n_train):
                        yield [i], partial(self._one, sets, model, projection)
                    elif reason := sets.problem.undetermined(cell.hypothesis, model, sets.n_train):
                        yield [i], partial(_refuse, reason)
                    else:
                        nested.append((i, model, projection))
                case SmootherWeights() as fit:
                    yield [i], partial(self._smoothed, sets, fit)
                case Trained() | Predictions() as fit:
                    yield [i], partial(self._predicted, sets, fit, cell.noise)
        while nested:
            basis = nested[0][1].basis
            family = [entry for entry in nested if entry[1].basis == basis]
            nested = [entry for entry in nested if entry[1].basis != basis]
            short = [(i, model) for i, model, _ in family if sets.problem.spans(model)]
            if short:
                yield [i for i, _ in short], partial(self._polynomials, sets, [model.size for _, model in short])
            rest = [(i, model, p) for i, model, p in family if not sets.problem.spans(model)]
            if rest:
                yield [i for i, *_ in rest], partial(self._nested, sets, [(model, p) for _, model, p in rest])

    def _polynomials(self, sets: TrainingSets, sizes: list[int]) -> list[Array]:
        polynomials, n = sets.problem.polynomials, sets.n_train
        best = matmul(polynomials.values, sets.problem.test.weights * sets.problem.f)
        records = {
            p: self._packed(
                polynomials.values[:p],
                **vars(found),
                residual_gain=(n - p) / n,
            )
            for p, found in fit_degrees(polynomials, best, sorted(set(sizes)), sets.in_cache()).items()
        }
        return [records[p] for p in sizes]

    def _nested(self, sets: TrainingSets, models: list[tuple[LinearModel, Projection]]) -> list[Array]:
        largest_model, projection = max(models, key=lambda pair: pair[0].size)
        sizes = sorted({model.size for model, _ in models})
        fits = fit_nested(largest_model.basis, sizes, projection, sets.x, sets.f, sets.weights)
        records = {p: self.of_coefficients(sets, projection, fit) for p, fit in zip(sizes, fits, strict=True)}
        return [records[model.size] for model, _ in models]

    def _one(self, sets: TrainingSets, model: LinearModel, projection: Projection) -> list[Array]:
        fits = fit_one(model, projection, sets.x, sets.f, sets.weights)
        return [self.of_coefficients(sets, projection, fits)]

    def of_coefficients(self, sets: TrainingSets, projection: Projection, fits: Fits) -> Array:
        """Take moments of coefficients, then move them to the test points: a cost that is paid once per block."""
        psi = projection.orthonormal[: len(fits.coefficients)]
        best = matmul(psi, sets.problem.test.weights * sets.problem.f)
        mean = weighted_mean(fits.coefficients, sets.weights)
        loss = ((fits.coefficients - best[:, None]) ** 2).sum(axis=0)
        return self._packed(
            psi,
            mean=mean,
            covariance=weighted_covariance(fits.coefficients, mean, sets.weights),
            noise=fits.covariance,
            residual=float(matmul(fits.residual, sets.weights)),
            residual_gain=fits.residual_gain,
            largest_loss=largest(loss, TAIL_SIZE),
            largest_gain=largest(fits.gain, TAIL_SIZE),
        )

    def _packed(
        self,
        psi: Array,
        *,
        mean: Array,
        covariance: Array,
        noise: Array,
        residual: float,
        residual_gain: float,
        largest_loss: Array,
        largest_gain: Array,
    ) -> Array:
        """Lay out the moments of coefficients of psi (p, points), moved to the test points."""
        return self.record(psi.shape[1]).pack(
            mean=matmul(mean, psi),
            variance=(psi * (matmul(covariance, psi))).sum(axis=0),
            noise_gain=(psi * (matmul(noise, psi))).sum(axis=0),
            training_error=residual,
            training_noise_gain=residual_gain,
            largest_loss=largest_loss,
            largest_noise_gain=largest_gain,
        )

    def _smoothed(self, sets: TrainingSets, fit: SmootherWeights) -> list[Array]:
        n, size = sets.f.shape
        points = len(sets.problem.f)
        predictions, gains = np.empty((points, size)), np.empty((points, size))
        training, training_gain = np.empty(size), np.empty(size)
        for tile, smoother in sets.smoothers(fit):
            at_test, hat = smoother[:, :points], smoother[:, points:]
            labels = sets.f[:, tile].T[..., None]
            predictions[:, tile] = matmul(at_test, labels)[..., 0].T
            gains[:, tile] = np.einsum("kmn,kmn->mk", at_test, at_test)
            training[tile] = ((labels - matmul(hat, labels)) ** 2).mean(axis=(1, 2))
            training_gain[tile] = ((np.eye(n) - hat) ** 2).sum(axis=(1, 2)) / n
        return [self._of_predictions(sets, predictions, gains, training, training_gain)]

    def _predicted(self, sets: TrainingSets, fit: Trained | Predictions, noise: float | None) -> list[Array]:
        points, size = len(sets.problem.f), sets.block.size
        labels = sets.labels(noise)
        predictions, training = np.empty((points, size)), np.empty(size)
        for tile, fitted in sets.predictions(fit, labels):
            predictions[:, tile] = fitted[:points]
            training[tile] = ((labels[:, tile] - fitted[points:]) ** 2).mean(axis=0)
        return [self._of_predictions(sets, predictions, np.zeros((points, size)), training, np.zeros(size))]

    def _of_predictions(
        self, sets: TrainingSets, predictions: Array, gains: Array, training: Array, training_gain: Array
    ) -> Array:
        test = sets.problem.test
        mean = weighted_mean(predictions, sets.weights)
        loss = matmul(test.weights, (predictions - sets.problem.f[:, None]) ** 2)
        return self.record(len(sets.problem.f)).pack(
            mean=mean,
            variance=weighted_variance(predictions, mean, sets.weights),
            noise_gain=weighted_mean(gains, sets.weights),
            training_error=matmul(training, sets.weights),
            training_noise_gain=matmul(training_gain, sets.weights),
            largest_loss=largest(loss, TAIL_SIZE),
            largest_noise_gain=largest(matmul(test.weights, gains), TAIL_SIZE),
        )


@lru_cache(maxsize=16)
def _record(points: int) -> Record:
    """Lay a record out once: it is asked for several times a cell and block."""
    return Record(
        {
            "mean": points,
            "variance": points,
            "noise_gain": points,
            "training_error": 0,
            "training_noise_gain": 0,
            "largest_loss": TAIL_SIZE,
            "largest_noise_gain": TAIL_SIZE,
        }
    )


def _refuse(reason: str) -> list[Array]:
    raise StudyError(reason)
