"""A block of draws: replicates that share one independent randomisation."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from biasvar.montecarlo import lattice
from biasvar.montecarlo.elementary import normal_quantiles
from biasvar.montecarlo.order import MIN_COUNT, order_statistics
from biasvar.montecarlo.sobol import MAX_DIMENSION, scrambled_sobol, sobol_tiles
from biasvar.montecarlo.streams import Purpose, Stream

Sampler = Literal["sobol", "random"]

__all__ = ["MAX_DIMENSION", "Block", "Purpose", "Sampler", "Stream", "open_uniforms"]


@dataclass(frozen=True)
class Block:
    """Draw one block: uniforms for the inputs, and on request uniforms or normals for the labels.

    Those are further coordinates of the same Sobol sequence, so that inputs and noise are evenly spread
    together; they never change the inputs.

    Parameters
    ----------
    sampler : {"sobol", "random"}
        Randomised quasi-Monte Carlo, or plain pseudo-random numbers.
    stream : Stream
        Where the randomness comes from.
    dimension : int
        Random numbers an input sample takes: n_train times the dimension of an input.
    size : int
        Replicates in the block; a power of two for ``"sobol"``.
    exchangeable : bool
        Whether each random number makes one example, so that the law of a training set is known by its order
        statistics: those come from the coordinates of ``"sobol"``, from outside in.
    smooth : bool
        Whether only averages of smooth functions are taken: then one or two random inputs lie on a shifted lattice
        with weights, where the sampler is not ``"random"``.

    Examples
    --------
    >>> block = Block("sobol", Stream(0, "n_train=2", 0), dimension=2, size=8)
    >>> uniforms, weights = block.uniforms()
    >>> uniforms.shape, float(weights.sum())
    ((2, 8), 1.0)
    """

    sampler: Sampler
    stream: Stream
    dimension: int
    size: int
    exchangeable: bool = False
    smooth: bool = False

    def uniforms(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return points of shape (dimension, size) in the open unit cube, and weights (size,) that sum to one."""
        (whole,) = self.tiles(self.size)
        return whole

    def tiles(self, step: int) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Yield the same, drawn ``step`` replicates at a time: a multiple of 256, or all."""
        generator = self.stream.generator(Purpose.INPUTS)
        if self.sampler == "random" or self.on_lattice or self.dimension == 0:
            points, weights = self._drawn_at_once(generator)
            for start in range(0, self.size, step):
                yield points[:, start : start + step], weights[start : start + step]
            return
        ordered = self.exchangeable and self.dimension >= MIN_COUNT
        places = self.stream.generator(Purpose.ORDER).permutation(self.dimension) if ordered else None
        for part in sobol_tiles(generator, self.dimension, self.size.bit_length() - 1, 0, step):
            if places is not None:
                order_statistics(part, places)
            yield part, np.full(part.shape[1], 1.0 / self.size)

    def _drawn_at_once(self, generator: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if self.on_lattice:
            return lattice.shifted_lattice(generator, self.dimension, self.size)
        return open_uniforms(generator, (self.dimension, self.size)), np.full(self.size, 1.0 / self.size)

    @property
    def on_lattice(self) -> bool:
        """Whether the inputs lie on a lattice."""
        return self.smooth and self.sampler != "random" and lattice.applies(self.dimension, self.size)

    def label_uniforms(self, count: int) -> NDArray[np.float64]:
        """Return uniforms of shape (count, size) for the labels."""
        generator = self.stream.generator(Purpose.LABEL_NOISE)
        if self.sampler == "random":
            return open_uniforms(generator, (count, self.size))
        return scrambled_sobol(generator, count, self.size.bit_length() - 1, skip=self.dimension)

    def normals(self, count: int) -> NDArray[np.float64]:
        """Return standard normals of shape (count, size) for the label noise."""
        return normal_quantiles(self.label_uniforms(count))


def open_uniforms(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Draw from the open interval (0, 1): random() may return an exact zero, whose normal quantile is infinite."""
    return np.maximum(generator.random(shape), 2.0**-54)
