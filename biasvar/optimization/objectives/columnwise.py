"""Objectives whose gradient is compiled, and may be compiled into descents."""

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from biasvar.optimization.kernels import Slope
from biasvar.optimization.objectives.base import Array, Objective, as_columns, from_columns, refuse_batch


class Columnwise(Objective):
    """An objective without examples that is given by its slope.

    Examples
    --------
    >>> from biasvar import Quadratic
    >>> Quadratic([1, 100]).slope(np.array([[1.0, 2.0], [0.5, 1.0]])).tolist()
    [[1.0, 2.0], [50.0, 100.0]]
    """

    @property
    @abstractmethod
    def slope(self) -> Slope:
        """The gradient of columns."""

    @property
    def elementwise(self) -> bool:
        """Whether no matrix product is taken by BLAS: never."""
        return True

    def gradient(self, theta: Array, batch: NDArray[np.intp] | None = None) -> Array:
        """Return the gradient of J, shape (..., D)."""
        refuse_batch(self, batch)
        return from_columns(self.slope(as_columns(theta, self.dim)), np.shape(theta))
