"""The random training sets of one block, and what fits to them predict."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from biasvar.learning import fits
from biasvar.learning.decomposition import Problem
from biasvar.learning.fits import Fit, SmootherWeights, Trained
from biasvar.learning.nested_polynomials import LANES
from biasvar.montecarlo.draws import Block, Purpose

Array = NDArray[np.float64]
TILE_BYTES = 1 << 24
CACHED_NUMBERS = 1 << 15
DRAWN = 256  # replicates at least that are drawn at a time


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
    """

    problem: Problem
    n_train: int
    block: Block

    @cached_property
    def _drawn(self) -> tuple[Array, Array]:
        """What inputs are made of, (per set, K), and the weights of the replicates, (K,)."""
        uniforms, weights = self.block.uniforms()
        return read_only(uniforms), weights

    @property
    def weights(self) -> Array:
        """Weights of the replicates, (K,)."""
        return self._drawn[1]

    @cached_property
    def x(self) -> Array:
        """Training inputs, (n, K) or (n, K, dim), replicates innermost."""
        return read_only(self.problem.inputs.inputs_from(self._drawn[0], self.n_train))

    @cached_property
    def f(self) -> Array:
        """Target values there, (n, K)."""
        return read_only(self.problem.evaluate(self.x))

    def in_cache(self) -> Iterator[tuple[Array, Array, Array]]:
        """Yield x, f and weights of some replicates at a time, so few that they stay in the second-level cache."""
        for uniforms, weights in self.block.tiles(cached(self.n_train, DRAWN)):
            x = read_only(self.problem.inputs.inputs_from(uniforms, self.n_train))
            yield x, self.problem.evaluate(x), weights

    @cached_property
    def rows(self) -> Array:
        """Training inputs with the replicate first, (K, n) or (K, n, dim)."""
        return read_only(np.ascontiguousarray(np.swapaxes(self.x, 0, 1)))

    def labels(self, noise: float | None) -> Array:
        """Return labels, (n, K), at a noise level."""
        return read_only(self.problem.labels.draw(self.f, noise or 0.0, self.block))

    def estimator_generator(self) -> np.random.Generator:
        """Return the random numbers of an estimator that draws some: the same for all cells."""
        return self.block.stream.generator(Purpose.ESTIMATOR)

    def tiles(self, numbers_each: int) -> Iterator[slice]:
        """Cut the block so that arrays of ``numbers_each`` floats per replicate stay small."""
        return tiles(self.block.size, numbers_each)

    def places(self, tile: slice) -> Array:
        """Return test points, then training points, for each replicate of a tile: where predictions are wanted."""
        rows = self.rows[tile]
        test = np.broadcast_to(self.problem.test.x, (len(rows), *self.problem.test.x.shape))
        return np.concatenate([test, rows], axis=1)

    def smoothers(self, fit: SmootherWeights) -> Iterator[tuple[slice, Array]]:
        """Yield a tile, and the weights of a smoother's fits at :meth:`places`, shape (K, points + n, n)."""
        n, rng = self.n_train, self.estimator_generator()
        for tile in self.tiles((len(self.problem.f) + n) * n * 2):
            yield tile, fits.smoother(fit, self.rows[tile], self.places(tile), rng)

    def predictions(self, fit: Fit, labels: Array) -> Iterator[tuple[slice, Array]]:
        """Fit the training sets to labels (n, K), a tile at a time.

        Yields
        ------
        (slice, ndarray of shape (points + n, K))
            A tile, and its predictions at the test points, then at the training points, replicates innermost.
        """
        places, rng = len(self.problem.f) + self.n_train, self.estimator_generator()
        features = self.n_train * fit.size if isinstance(fit, Trained) else places * self.problem.inputs.dim
        for tile in self.tiles(places + features):
            if isinstance(fit, Trained):
                yield tile, self._trained(fit, np.ascontiguousarray(labels[:, tile]), tile)
            else:
                rows, goal, scores = self.rows[tile], read_only(labels[:, tile].T.copy()), self.problem.labels.scores
                yield tile, fits.predictions(fit, rows, goal, self.places(tile), rng, infinite=scores).T

    def _trained(self, fit: Trained, goal: Array, tile: slice) -> Array:
        """Predict with features that are made once for the test points, which are the same for all training sets."""
        features = fit.basis.evaluate(self.x[:, tile], fit.size)
        coefficients = fit.train(features, goal)
        at_test = fit.basis.evaluate(self.problem.test.x, fit.size)
        points, n = at_test.shape[1], self.n_train
        out = np.empty((points + n, coefficients.shape[1]))
        fits.combine(at_test[..., None], coefficients, out[:points])
        fits.combine(features, coefficients, out[points:])
        return out


def tiles(size: int, numbers_each: int) -> Iterator[slice]:
    """Cut replicates so that arrays of ``numbers_each`` floats for each stay small."""
    step = max(1, TILE_BYTES // (8 * numbers_each))
    return (slice(start, min(start + step, size)) for start in range(0, size, step))


def cached(numbers_each: int, lanes: int) -> int:
    """Return of how many replicates, a multiple of lanes, ``numbers_each`` floats stay in the second-level cache."""
    return max(lanes, CACHED_NUMBERS // numbers_each // lanes * lanes)


def cached_tiles(size: int, numbers_each: int) -> Iterator[slice]:
    """Cut replicates so that arrays of ``numbers_each`` floats for each stay in the second-level cache."""
    step = cached(numbers_each, LANES)
    return (slice(start, min(start + step, size)) for start in range(0, size, step))


def read_only(array: Array) -> Array:
    """Guard what all cells share: a user's set that writes into it fails, and spoils no other's numbers."""
    array.flags.writeable = False
    return array
