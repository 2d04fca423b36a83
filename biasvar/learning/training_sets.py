"""The random training sets of one block, and what fits to them predict."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from biasvar.errors import StudyError
from biasvar.learning.decomposition import Problem
from biasvar.learning.fits import Coefficients, Fit, Predictions, SmootherWeights, Trained
from biasvar.learning.least_squares import label_maps
from biasvar.montecarlo.draws import Block, Purpose

Array = NDArray[np.float64]
TILE_BYTES = 1 << 24


@dataclass(frozen=True)
class TrainingSets:
    """Training sets of one block, the same for all cells.

    Parameters
    ----------
    problem : Problem
        The law of data.
    n_train : int
        Examples per training set.
    block : Block
        The draws.
    x : ndarray of shape (n, K) or (n, K, dim)
        Inputs, replicates innermost.
    f : ndarray of shape (n, K)
        Target values there.
    weights : ndarray of shape (K,)
        Weights of the replicates.
    """

    problem: Problem
    n_train: int
    block: Block
    x: Array
    f: Array
    weights: Array

    @classmethod
    def draw(cls, problem: Problem, n_train: int, block: Block) -> "TrainingSets":
        """Draw the inputs of a block and evaluate the target there."""
        uniforms, weights = block.uniforms()
        x = read_only(problem.inputs.inputs_from(uniforms, n_train))
        f = read_only(problem.evaluate(x))
        return cls(problem, n_train, block, x, f, weights)

    @cached_property
    def rows(self) -> Array:
        """Training inputs with the replicate first, (K, n) or (K, n, dim)."""
        return read_only(np.ascontiguousarray(np.swapaxes(self.x, 0, 1)))

    def labels(self, noise: float | None) -> Array:
        """Return labels with the replicate first, (K, n), at a noise level."""
        return read_only(np.ascontiguousarray(self.problem.labels.draw(self.f, noise or 0.0, self.block).T))

    def estimator_generator(self) -> np.random.Generator:
        """Return the random numbers of an estimator that draws some: the same for all cells."""
        return self.block.stream.generator(Purpose.ESTIMATOR)

    def tiles(self, numbers_each: int) -> Iterator[slice]:
        """Cut the block so that arrays of ``numbers_each`` floats per replicate stay small."""
        step = max(1, TILE_BYTES // (8 * numbers_each))
        for start in range(0, self.block.size, step):
            yield slice(start, min(start + step, self.block.size))

    def places(self, tile: slice) -> Array:
        """Return test points, then training points, for each replicate of a tile: where predictions are wanted."""
        rows = self.rows[tile]
        test = np.broadcast_to(self.problem.test.x, (len(rows), *self.problem.test.x.shape))
        return np.concatenate([test, rows], axis=1)

    def smoother(self, fit: SmootherWeights, tile: slice) -> Array:
        """Return the weights of a smoother's fits at :meth:`places`, shape (K, points + n, n)."""
        places = self.places(tile)
        shape = (len(places), places.shape[1], self.n_train)
        return _shaped(fit.weights(self.rows[tile], places), shape, fit.weights)

    def predictions(self, fit: Fit, labels: Array) -> Iterator[tuple[slice, Array]]:
        """Fit the training sets to labels (K, n), a tile at a time.

        Yields
        ------
        (slice, ndarray of shape (K, points + n))
            A tile, and its predictions at the test points, then at the training points.
        """
        points, rng = len(self.problem.f), self.estimator_generator()
        for tile in self.tiles((points + self.n_train) * (self.problem.inputs.dim + 1)):
            rows, goal = self.rows[tile], labels[tile]
            match fit:
                case Predictions(fit_predict):
                    shape = (len(rows), points + self.n_train)
                    found = fit_predict(rows, goal, self.places(tile), rng)
                    yield tile, _shaped(found, shape, fit_predict, infinite=self.problem.labels.scores)
                case SmootherWeights():
                    yield tile, (self.smoother(fit, tile) @ goal[..., None])[..., 0]
                case Coefficients(model):
                    coefficients = (label_maps(model, self.x[:, tile]) @ goal[..., None])[..., 0]
                    features = model.basis.evaluate(self.places(tile), model.size)
                    yield tile, np.einsum("kp,pkm->km", coefficients, features)
                case Trained(basis, size, train):
                    features = basis.evaluate(self.x[:, tile], size)
                    coefficients = train(features, np.ascontiguousarray(goal.T))
                    at_test = coefficients.T @ basis.evaluate(self.problem.test.x, size)
                    yield tile, np.hstack([at_test, np.einsum("pk,pnk->kn", coefficients, features)])


def read_only(array: Array) -> Array:
    """Guard what all cells share: a user's set that writes into it fails, and spoils no other's numbers."""
    array.flags.writeable = False
    return array


def _shaped(values: object, shape: tuple[int, ...], method: Callable[..., object], infinite: bool = False) -> Array:
    """Check what a user's method returned; ``infinite`` is whether it may be sure of a class."""
    found = np.asarray(values)
    if np.iscomplexobj(found):
        raise StudyError(f"{method.__qualname__} returned complex numbers")
    array = found.astype(float, copy=False)
    if array.shape != shape:
        raise StudyError(f"{method.__qualname__} returned shape {array.shape}, expected {shape}")
    if np.isnan(array).any() or not (infinite or np.isfinite(array).all()):
        raise StudyError(f"{method.__qualname__} returned values that are not finite")
    return array
