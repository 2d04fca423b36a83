"""A block of draws: replicates that share one independent randomisation."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from biasvar.montecarlo import calibration
from biasvar.montecarlo.elementary import normal_quantiles
from biasvar.montecarlo.sobol import MAX_DIMENSION, scrambled_sobol
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

    def uniforms(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return points of shape (dimension, size) in the open unit cube, and weights (size,) that sum to one."""
        halves = self._points(Purpose.INPUTS, self.dimension, skip=0)
        if len(halves) == 2:
            return np.concatenate(halves, axis=1), calibration.calibrated_weights(*halves)
        return halves[0], np.full(self.size, 1.0 / self.size)

    def label_uniforms(self, count: int) -> NDArray[np.float64]:
        """Return uniforms of shape (count, size) for the labels."""
        return np.concatenate(self._points(Purpose.LABEL_NOISE, count, skip=self.dimension), axis=1)

    def normals(self, count: int) -> NDArray[np.float64]:
        """Return standard normals of shape (count, size) for the label noise."""
        return normal_quantiles(self.label_uniforms(count))

    def _points(self, purpose: Purpose, dimension: int, skip: int) -> list[NDArray[np.float64]]:
        generator = self.stream.generator(purpose)
        if self.sampler == "random" or dimension == 0:
            return [open_uniforms(generator, (dimension, self.size))]
        log2_size = self.size.bit_length() - 1
        halves = int(calibration.applies(self.dimension, log2_size))
        return [scrambled_sobol(generator, dimension, log2_size - halves, skip) for _ in range(1 + halves)]


def open_uniforms(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Draw from the open interval (0, 1): random() may return an exact zero, whose normal quantile is infinite."""
    return np.maximum(generator.random(shape), 2.0**-54)
