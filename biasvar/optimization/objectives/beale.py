"""Beale's function: plateaus and steep corners in the plane."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from biasvar.compiling import njit
from biasvar.fields import component
from biasvar.optimization.kernels import Slope
from biasvar.optimization.objectives.base import Described, check_dim
from biasvar.optimization.objectives.columnwise import Columnwise

Three = list[NDArray[np.float64]]


@component
class Beale(Described, Columnwise):
    """Evaluate J(x, y) = sum_i (c_i - x (1 - y^i))^2, i = 1, 2, 3: plateaus, steep corners, least at (3, 1/2).

    The c_i are 1.5, 2.25 and 2.625. A descent that starts with x < 0 and y > 1 may go off for ever: as x goes to minus
    infinity and y to 1, J falls to 0.452, and not to 0.

    References
    ----------
    E. M. L. Beale, On an iterative method for finding a local minimum of a function of more than one variable, 1958.

    Examples
    --------
    >>> float(Beale().value(np.array([3.0, 0.5]))), float(Beale().value(np.array([1.0, 1.0])))
    (0.0, 14.203125)
    """

    dim = 2
    minimum = 0.0

    @cached_property
    def minimizer(self) -> NDArray[np.float64]:
        """The point (3, 1/2)."""
        return np.array([3.0, 0.5])

    def value(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return J, shape (...)."""
        residuals = self._residuals(theta)[0]
        return np.asarray(sum(residual * residual for residual in residuals))[()]

    @property
    def slope(self) -> Slope:
        """2 sum_i r_i (y^i - 1, i x y^(i - 1)) of the residuals r_i."""
        return Slope(_beale)

    def hessian_product(self, theta: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return 2 sum_i (g_i <g_i, v> + r_i H_i v) of the residuals r_i, their gradients g_i and Hessians H_i."""
        residuals, across, along = self._residuals(theta)
        check_dim(v, self.dim)
        (x, y), (a, b) = (np.moveaxis(each, -1, 0) for each in (theta, v))
        rates = [p * a + q * b for p, q in zip(across, along, strict=True)]
        # How the gradients of the residuals change along v: their mixed and second derivatives in y.
        mixed, bent = (1.0, 2 * y, 3 * y * y), (0.0, 2 * x, 6 * x * y)
        turned = self._sums(
            residuals, [m * b for m in mixed], [m * a + c * b for m, c in zip(mixed, bent, strict=True)]
        )
        return _of_pairs([p + q for p, q in zip(self._sums(rates, across, along), turned, strict=True)], v)

    def _residuals(self, theta: NDArray[np.float64]) -> tuple[Three, Three, Three]:
        """Return the three residuals, and their derivatives in x and in y."""
        check_dim(theta, self.dim)
        x, y = np.moveaxis(theta, -1, 0)
        across = [y - 1, y * y - 1, y * y * y - 1]
        residuals = [c + x * part for c, part in zip((1.5, 2.25, 2.625), across, strict=True)]
        return residuals, across, [x, 2 * x * y, 3 * x * y * y]

    @staticmethod
    def _sums(residuals: Three, across: Three, along: Three) -> Three:
        products = ([r * part for r, part in zip(residuals, parts, strict=True)] for parts in (across, along))
        return [2 * np.asarray(sum(three)) for three in products]


def _of_pairs(pair: Sequence[NDArray[np.float64]], like: NDArray[np.float64]) -> NDArray[np.float64]:
    """Put two coordinates together, in the memory order of other points."""
    out = np.empty_like(like, dtype=float)
    out[..., 0], out[..., 1] = pair
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _beale(theta, out):  # type: ignore[no-untyped-def]
    for k in range(theta.shape[1]):
        x, y = theta[0, k], theta[1, k]
        first, second, third = y - 1, y * y - 1, y * y * y - 1
        r, s, t = 1.5 + x * first, 2.25 + x * second, 2.625 + x * third
        out[0, k] = 2 * (r * first + s * second + t * third)
        out[1, k] = 2 * (r * x + s * (2 * x * y) + t * (3 * x * y * y))
