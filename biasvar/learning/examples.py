"""A data set as numbers, and what hypothesis sets are told of the law that it came from."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from biasvar.learning.inputs import Inputs
from biasvar.learning.quadrature import TestPoints

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ObservedInputs(Inputs):
    """The inputs of a data set, each as likely as another: what hypothesis sets are told of the law.

    Parameters
    ----------
    x : ndarray of shape (N,) or (N, dim)
        The inputs.
    """

    x: Array

    @property
    def dim(self) -> int:
        """Dimension of one input."""
        return 1 if self.x.ndim == 1 else self.x.shape[1]

    def uniforms_per_set(self, n_train: int) -> int:
        """Return one random number per input."""
        return n_train

    def inputs_from(self, uniforms: Array, n_train: int) -> Array:
        """Draw inputs with replacement, shape (n_train, size) or (n_train, size, dim)."""
        return self.x[(uniforms * len(self.x)).astype(np.int64)]

    def test_points(self, count: int | None, breakpoints: Sequence[float], seed: int) -> TestPoints:
        """Return all inputs, each with weight 1/N."""
        return TestPoints.deterministic(self.x, np.full(len(self.x), 1 / len(self.x)))

    def marginal(self) -> "ObservedInputs":
        """Return all coordinates together."""
        return ObservedInputs(self.x.reshape(-1))


@dataclass(frozen=True, eq=False)
class Examples:
    """A data set as numbers.

    Parameters
    ----------
    x : ndarray of shape (N,) or (N, dim)
        Inputs.
    y : ndarray of shape (N,)
        Labels: numbers, or for 0-1 loss which class it is, from 0.
    classes : int
        How many classes there are; 0 where labels are numbers.
    """

    x: Array
    y: Array
    classes: int = 0

    @cached_property
    def inputs(self) -> ObservedInputs:
        """The law that puts the same weight on each input."""
        return ObservedInputs(self.x)
