"""Least squares by an update rule that is stopped: what one block of training sets has learnt at each budget.

With y = f + sigma e and H = phi'phi / n, the rule descends J(c) = |y - phi c|^2 / (2 n) from c = 0, along the gradient
H c - phi'y / n. On the eigenvectors of H a rule that is linear in gradients of all examples is one scalar recurrence
per eigenvalue l, whatever the labels: after k steps it has made s_k(l) of a unit slope. So the fit is linear in the
labels, its noise is integrated exactly, and a step costs the same for every n.

Of minibatches a linear rule still makes a sum of what it makes of f and of e: two paths serve all noise levels, the
cross term being zero on average over the sign of e. Other rules see simulated labels, level by level.

References
----------
L. Bottou and O. Bousquet, The tradeoffs of large scale learning, 2008.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from biasvar.compiling import njit
from biasvar.learning.least_squares import Fits, LinearModel, Projection
from biasvar.learning.losses.squared import Squared
from biasvar.learning.record import Record
from biasvar.learning.training_sets import TrainingSets
from biasvar.montecarlo.linear_algebra import eigh, matmul
from biasvar.montecarlo.streams import Purpose
from biasvar.optimization.batches import FULL, shuffled_batches
from biasvar.optimization.rules.base import UpdateRule, looks

Array = NDArray[np.float64]
TILE_NUMBERS = 1 << 16  # parameters that descend side by side, so that they stay in the cache
GROWN = 4.0  # times the mean square of the labels, and more: then the empirical risk grows
FAR = 1e12  # times that, and more: then it diverges
ROUNDING = 1e-13  # of the largest eigenvalue: below, there is none


def record_of(points: int) -> Record:
    """Return what is kept of a block: that of squared loss, the empirical excess, how many fits grew and diverged.

    Where any diverged, all else is NaN.
    """
    more = dict.fromkeys(("excess", "excess_gain", "grown", "diverged"), 0)
    return Record({**Squared().record(points).fields, **more})


@dataclass(frozen=True)
class Descents:
    """Configurations of one rule that descend side by side.

    Parameters
    ----------
    rule : UpdateRule
        What updates.
    hyper : mapping of str to ndarray of shape (C,)
        Hyperparameters of each configuration.
    batch_size : int
        Examples per step; 0 for all.
    steps : tuple of int
        After which steps to look, ascending.
    noise : tuple of float
        Noise levels that are simulated; none for rules that are linear.
    """

    rule: UpdateRule
    hyper: Mapping[str, Array]
    batch_size: int
    steps: tuple[int, ...]
    noise: tuple[float, ...]


class Bowls:
    """The empirical risks of one block of training sets, K quadratic bowls in p coefficients.

    Parameters
    ----------
    sets : TrainingSets
        The block.
    model : LinearModel
        What is fitted; without a penalty.
    projection : Projection
        Its features made orthonormal under the test points.
    """

    def __init__(self, sets: TrainingSets, model: LinearModel, projection: Projection) -> None:
        self.sets, self.model, self.projection = sets, model, projection
        features = model.basis.evaluate(sets.rows, model.size)
        self.features = np.ascontiguousarray(np.moveaxis(features, 0, -1))  # (K, n, p)
        square = matmul(np.swapaxes(self.features, 1, 2), self.features) / sets.n_train
        self.square = np.ascontiguousarray(np.moveaxis(square, 0, -1))  # (p, p, K)
        values, self.vectors = eigh(square)
        self.values = np.ascontiguousarray(np.maximum(values, 0).T)  # (p, K)
        self.frame = matmul(projection.change, self.vectors)  # (K, rank, p)
        self.slope = self.slopes(sets.f.T)
        missed = sets.f.T - self.predicted(self._minimisers())
        #: Mean square of what the minimisers leave of labels without noise, (K,).
        self.residual = (missed**2).mean(axis=1)

    def slopes(self, labels: Array) -> Array:
        """Return phi'y / n, shape (p, K), of labels (K, n)."""
        return np.ascontiguousarray(matmul(labels[:, None], self.features)[:, 0].T / self.sets.n_train)

    def predicted(self, coefficients: Array) -> Array:
        """Return predictions (K, n) of coefficients (p, K) at the training inputs."""
        return np.asarray(matmul(self.features, coefficients.T[..., None])[..., 0])

    def modes(self, vectors: Array) -> Array:
        """Return components (p, K) of vectors (p, K) along the eigenvectors."""
        return np.asarray(np.einsum("kij,ik->jk", self.vectors, vectors))

    def excess(self, gradient: Array) -> Array:
        """Return 2 (J - min J), shape (K,), where the gradient has components (p, K) along the eigenvectors."""
        return np.asarray((gradient**2 * self.inverse).sum(axis=0))

    @cached_property
    def inverse(self) -> Array:
        """Return 1 over each eigenvalue, 0 where there is none, shape (p, K)."""
        known = self.values > ROUNDING * self.values.max(axis=0)
        return np.where(known, 1 / np.where(known, self.values, 1.0), 0.0)

    @cached_property
    def freedom(self) -> float:
        """What unit label noise leaves of itself in the training error of the minimisers: 1 - rank / n."""
        rank = (self.inverse > 0).sum(axis=0)
        return float(matmul(1 - rank / self.sets.n_train, self.sets.weights))

    @cached_property
    def normals(self) -> Array:
        """The noise of the labels, (K, n): the same for all levels."""
        return np.ascontiguousarray(self.sets.block.normals(self.sets.n_train).T)

    def _minimisers(self) -> Array:
        along = self.modes(self.slope) * self.inverse
        return np.asarray(np.einsum("kij,jk->ik", self.vectors, along))


def stopped_records(bowls: Bowls, descents: Descents) -> Array:
    """Return records of shape (C, levels, looks, record size); one level where label noise is integrated."""
    levels, count = max(1, len(descents.noise)), len(next(iter(descents.hyper.values())))
    size = record_of(len(bowls.sets.problem.f)).size
    records = np.empty((count, levels, len(descents.steps), size))
    way = _OnModes if descents.rule.linear and descents.batch_size == FULL else _OnLabels
    width = max(1, TILE_NUMBERS // (bowls.slope.size * levels))
    with np.errstate(over="ignore", invalid="ignore"):  # what diverges becomes infinite
        for start in range(0, count, width):
            some = {name: values[start : start + width] for name, values in descents.hyper.items()}
            descent = way(bowls, descents, len(next(iter(some.values()))))
            for look, theta in enumerate(descent.looks(some)):
                records[start : start + width, :, look] = descent.records(theta)
    return records


class _Way:
    """One way to descend: theta (p, C x labels x K), replicates innermost, and what is kept of it."""

    labels: int

    def __init__(self, bowls: Bowls, descents: Descents, configurations: int) -> None:
        self.bowls, self.descents, self.configurations = bowls, descents, configurations
        self.weights = bowls.sets.weights

    def looks(self, hyper: Mapping[str, Array]) -> Iterator[Array]:
        """Yield theta, (C, labels, p, K), at each look."""
        p, size = self.bowls.slope.shape
        columns = {name: np.repeat(values, self.labels * size) for name, values in hyper.items()}
        start = np.zeros((p, self.configurations * self.labels * size))
        for theta in looks(self.descents.rule, self.gradient, start, columns, self.descents.steps):
            ways = theta.reshape(p, self.configurations, self.labels, size)
            # In a layout that does not depend on what else descends, and so are the bits of sums.
            yield np.ascontiguousarray(np.moveaxis(ways, 0, 2))

    def gradient(self, theta: Array) -> Array:
        """Return the gradient, of the shape of theta."""
        raise NotImplementedError

    def records(self, theta: Array) -> Array:
        """Return records (C, levels, record size) of theta (C, labels, p, K)."""
        raise NotImplementedError

    def record(self, fits: Fits, excess: Array, excess_gain: Array, noise: float = 0.0) -> Array:
        """Lay out one configuration at one level; ``noise`` is what is simulated."""
        sets = self.bowls.sets
        square = (sets.f**2).mean(axis=0)
        far = ~((excess < FAR * (1 + square)) & (excess_gain < FAR))
        if far.any():
            row = np.full(record_of(len(sets.problem.f)).size, np.nan)
            row[-1] = far.mean()
            return row
        grown = (excess > GROWN * (square + noise**2)) | (excess_gain > GROWN)
        row = Squared().of_coefficients(sets, self.bowls.projection, fits)
        return np.concatenate(
            [row, [matmul(excess, self.weights), matmul(excess_gain, self.weights), grown.mean(), 0.0]]
        )


class _OnModes(_Way):
    """All examples and a linear rule: what becomes of a unit slope on each eigenvector, whatever the labels."""

    labels = 1

    def __init__(self, bowls: Bowls, descents: Descents, configurations: int) -> None:
        super().__init__(bowls, descents, configurations)
        self.values = np.tile(bowls.values, (1, configurations))
        self.slope = bowls.modes(bowls.slope)
        self.lengths = (bowls.frame**2).sum(axis=1).T  # (p, K)

    def gradient(self, theta: Array) -> Array:
        return self.values * theta - 1

    def records(self, theta: Array) -> Array:
        return np.stack([self._record(made)[None] for (made,) in theta])

    def _record(self, made: Array) -> Array:
        """Return the record of what is made of unit slopes, (p, K)."""
        bowls, n = self.bowls, self.bowls.sets.n_train
        left = 1 - bowls.values * made
        noise = made**2 * bowls.values / n  # what unit label noise adds along each eigenvector
        excess = bowls.excess(left * self.slope)
        excess_gain = (left**2 * (bowls.inverse > 0)).sum(axis=0) / n
        spread = np.moveaxis(bowls.frame * (noise * self.weights).T[:, None], 0, 1).reshape(bowls.frame.shape[1], -1)
        fits = Fits(
            coefficients=np.einsum("kij,jk->ik", bowls.frame, made * self.slope),
            gain=(self.lengths * noise).sum(axis=0),
            covariance=matmul(spread, np.moveaxis(bowls.frame, 0, 1).reshape(len(spread), -1).T),
            residual=bowls.residual + excess,
            residual_gain=bowls.freedom + float(matmul(excess_gain, self.weights)),
        )
        return self.record(fits, excess, excess_gain)


class _OnLabels(_Way):
    """Minibatches, or a rule that is not linear: paths of coefficients, for each set of labels."""

    def __init__(self, bowls: Bowls, descents: Descents, configurations: int) -> None:
        super().__init__(bowls, descents, configurations)
        f = bowls.sets.f.T
        if descents.noise:
            ways = [f + level * bowls.normals if level else f for level in descents.noise]
        else:
            ways = [f, bowls.normals]
        self.labels = len(ways)
        self.slopes = np.stack([bowls.slopes(labels) for labels in ways])  # (labels, p, K)
        # Side by side, for the next example of each training set is anywhere in memory.
        self.examples = np.concatenate([bowls.features, np.stack(ways, axis=-1)], axis=-1)  # (K, n, p + labels)
        self._batches: Iterator[NDArray[np.intp]] | None = None
        if descents.batch_size != FULL:
            generator = bowls.sets.block.stream.generator(Purpose.BATCHES)
            self._batches = shuffled_batches(generator, len(f), bowls.sets.n_train, descents.batch_size)

    def gradient(self, theta: Array) -> Array:
        out = np.empty_like(theta)
        if self._batches is None:
            _gradient(self.bowls.square, self.slopes, theta, out)
        else:
            _batch_gradient(self.examples, next(self._batches), self.labels, theta, out)
        return out

    def records(self, theta: Array) -> Array:
        if self.descents.noise:
            return np.stack([self._at_levels(ways) for ways in theta])
        return np.stack([self._of_both(*ways)[None] for ways in theta])

    def _at_levels(self, ways: Sequence[Array]) -> Array:
        """Return the records of labels that were simulated at each noise level."""
        bowls, rows = self.bowls, []
        for level, theta, slope in zip(self.descents.noise, ways, self.slopes, strict=True):
            coefficients, excess = matmul(bowls.projection.change, theta), self._excess(theta, slope)
            nothing = np.zeros_like(excess)
            fits = Fits(
                coefficients,
                gain=nothing,
                covariance=np.zeros((len(coefficients), len(coefficients))),
                residual=bowls.residual + level**2 * bowls.freedom + excess,
                residual_gain=0.0,
            )
            rows.append(self.record(fits, excess, nothing, level))
        return np.stack(rows)

    def _of_both(self, of_f: Array, of_e: Array) -> Array:
        """Return the record of a linear rule: what it makes of the target, and of the noise."""
        bowls = self.bowls
        excess, excess_gain = self._excess(of_f, self.slopes[0]), self._excess(of_e, self.slopes[1])
        noise = matmul(bowls.projection.change, of_e)
        fits = Fits(
            coefficients=matmul(bowls.projection.change, of_f),
            gain=(noise**2).sum(axis=0),
            covariance=matmul(noise * self.weights, noise.T),
            residual=bowls.residual + excess,
            residual_gain=bowls.freedom + float(matmul(excess_gain, self.weights)),
        )
        return self.record(fits, excess, excess_gain)

    def _excess(self, theta: Array, slope: Array) -> Array:
        """Return by how much the mean square training error is above its least."""
        bowls = self.bowls
        return np.asarray(bowls.excess(bowls.values * bowls.modes(theta) - bowls.modes(slope)))


@njit(cache=True, nogil=True, error_model="numpy")
def _gradient(square, slopes, theta, out):  # type: ignore[no-untyped-def]
    """Fill out (p, ways x K) with square (p, p, K) times theta less slopes (labels, p, K), way by way."""
    labels, p, size = slopes.shape
    for way in range(theta.shape[1] // size):
        start = way * size
        for i in range(p):
            for k in range(size):
                out[i, start + k] = -slopes[way % labels, i, k]
            for j in range(p):
                for k in range(size):
                    out[i, start + k] += square[i, j, k] * theta[j, start + k]


@njit(cache=True, nogil=True, error_model="numpy")
def _batch_gradient(examples, batch, labels, theta, out):  # type: ignore[no-untyped-def]
    """Fill out (p, ways x K) with gradients over batch (K, b) of examples (K, n, p + labels), features first."""
    size, p = len(examples), len(theta)
    for k in range(size):
        for column in range(k, theta.shape[1], size):
            for d in range(p):
                out[d, column] = 0.0
        for place in batch[k]:
            example = examples[k, place]
            for way in range(theta.shape[1] // size):
                column = way * size + k
                missed = -example[p + way % labels]
                for d in range(p):
                    missed += example[d] * theta[d, column]
                for d in range(p):
                    out[d, column] += missed * example[d] / batch.shape[1]
