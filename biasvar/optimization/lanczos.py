"""Extreme eigenvalues of many symmetric matrices at once, known by their products with vectors alone."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from biasvar.compiling import njit

Array = NDArray[np.float64]

STEPS = 16
EPS = float(np.finfo(float).eps)
HALVINGS = 56  # of the interval that an eigenvalue is known to lie in: to the last digit
TILE = 256  # columns at a time, so that they stay in a cache


@dataclass(frozen=True)
class Lanczos:
    """What Lanczos' method leaves of K symmetric matrices (D, D): tridiagonal ones, m by m, and bases for these.

    Their eigenvalues, Ritz values, are certain on one side: none is below the least eigenvalue of the matrix, none
    above its greatest. With m = D they are its eigenvalues.

    Parameters
    ----------
    diagonal : ndarray of shape (m, K)
        Diagonals.
    beside : ndarray of shape (m - 1, K)
        What stands beside them.
    basis : ndarray of shape (m, K, D)
        Orthonormal vectors.

    References
    ----------
    G. Golub, C. Van Loan, Matrix Computations, 2013, section 10.1.

    Examples
    --------
    >>> matrix = np.diag([-3.0, 1.0, 5.0])
    >>> found = lanczos(lambda v: v @ matrix, np.ones((1, 3)))
    >>> found.least.round(12).tolist(), found.greatest.round(12).tolist(), abs(found.least_vector).round(12).tolist()
    ([-3.0], [5.0], [[1.0, 0.0, 0.0]])
    """

    diagonal: Array
    beside: Array
    basis: Array

    @property
    def least(self) -> Array:
        """The least Ritz values, shape (K,); NaN where products are not finite."""
        return self._extremes[0]

    @property
    def greatest(self) -> Array:
        """The greatest ones."""
        return self._extremes[1]

    @property
    def least_vector(self) -> Array:
        """Unit vectors v with v'Hv = least, shape (K, D)."""
        vectors = np.linalg.eigh(self._matrices)[1][:, :, 0]
        combined: Array = np.einsum("km,mkd->kd", vectors, self.basis)
        return combined

    @cached_property
    def _extremes(self) -> tuple[Array, Array]:
        if len(self.diagonal) == 1:
            return self.diagonal[0], self.diagonal[0]
        if len(self.diagonal) == 2:  # in the plane there are many
            middle, half = self.diagonal.sum(axis=0) / 2, (self.diagonal[0] - self.diagonal[1]) / 2
            reach = np.hypot(half, self.beside[0])
            return middle - reach, middle + reach
        finite = np.isfinite(self.diagonal).all(axis=0)
        least, most = _least(self.diagonal, self.beside), -_least(-self.diagonal, self.beside)
        return np.where(finite, least, np.nan), np.where(finite, most, np.nan)

    @cached_property
    def _matrices(self) -> Array:
        size, count = self.diagonal.shape
        matrices = np.zeros((count, size, size))
        places = np.arange(size)
        matrices[:, places, places] = self.diagonal.T
        matrices[:, places[1:], places[:-1]] = matrices[:, places[:-1], places[1:]] = self.beside.T
        # LAPACK raises where one number is none.
        return np.where(np.isfinite(matrices), matrices, 0.0)


def lanczos(product: Callable[[Array], Array], start: Array, steps: int = STEPS) -> Lanczos:
    """Make K symmetric matrices tridiagonal, in bases that begin with given vectors.

    Parameters
    ----------
    product : callable
        Of vectors (K, D): each matrix times its own.
    start : ndarray of shape (K, D)
        Where bases begin, such as random vectors; not zero.
    steps : int
        Size of the tridiagonal matrices, at most; more than D are not needed.

    Examples
    --------
    Where a basis ends early, what is left out counts as often as its first vector, and not as zero:

    >>> same = lanczos(lambda v: 2 * v, np.ones((1, 5)))
    >>> float(same.least[0].round(12)), float(same.greatest[0].round(12))
    (2.0, 2.0)
    """
    count, dim = start.shape
    steps = min(steps, dim)
    diagonal, beside = np.zeros((steps, count)), np.zeros((steps - 1, count))
    basis = np.zeros((steps, dim, count)).transpose(0, 2, 1)  # columns, as objectives want them
    basis[0] = start / np.sqrt(_dot(start, start))[:, None]
    scale, going = np.zeros(count), np.ones(count, bool)
    for j in range(steps):
        image = np.asarray(product(basis[j]), dtype=float)
        diagonal[j] = np.where(going, _dot(image, basis[j]), diagonal[0])
        if j + 1 == steps:
            break
        columns = np.array(image.T, order="C")  # its own: products may be views
        for _ in range(2):  # twice is enough
            _orthogonalise(columns, basis.swapaxes(1, 2), j + 1)
        image = columns.T
        length = np.sqrt(_dot(image, image))
        scale = np.maximum(scale, np.abs(diagonal[j]) + length)
        going &= length > dim * EPS * scale
        beside[j] = np.where(going, length, 0.0)
        basis[j + 1] = np.where(going[:, None], image / np.where(going, length, 1.0)[:, None], 0.0)
    return Lanczos(diagonal, beside, basis)


@njit(cache=True, nogil=True, error_model="numpy")
def _orthogonalise(columns, basis, count):  # type: ignore[no-untyped-def]
    for first in range(0, columns.shape[1], TILE):
        last = min(first + TILE, columns.shape[1])
        products = np.empty(last - first)
        for j in range(count):
            products[:] = 0.0
            for d in range(len(columns)):
                image, vector = columns[d, first:last], basis[j, d, first:last]
                for k in range(len(products)):
                    products[k] += image[k] * vector[k]
            for d in range(len(columns)):
                image, vector = columns[d, first:last], basis[j, d, first:last]
                for k in range(len(products)):
                    image[k] -= products[k] * vector[k]


@njit(cache=True, nogil=True, error_model="numpy")
def _least(diagonal, beside):  # type: ignore[no-untyped-def]
    """Return least eigenvalues of tridiagonal matrices: bisection by whether a pivot of T - x is negative."""
    steps, count = diagonal.shape
    squares = np.maximum(beside * beside, 1e-300)  # so that no pivot is 0 / 0
    low, high = np.empty(count), np.empty(count)
    for k in range(count):
        low[k], high[k] = np.inf, np.inf
    for i in range(steps):
        for k in range(count):
            reach = (abs(beside[i - 1, k]) if i > 0 else 0.0) + (abs(beside[i, k]) if i + 1 < steps else 0.0)
            low[k] = min(low[k], diagonal[i, k] - reach)
            high[k] = min(high[k], diagonal[i, k])
    pivot, lowest = np.empty(count), np.empty(count)
    for _ in range(HALVINGS):
        for k in range(count):
            pivot[k] = diagonal[0, k] - 0.5 * (low[k] + high[k])
            lowest[k] = pivot[k]
        for i in range(1, steps):
            for k in range(count):
                pivot[k] = diagonal[i, k] - 0.5 * (low[k] + high[k]) - squares[i - 1, k] / pivot[k]
                lowest[k] = min(lowest[k], pivot[k])
        for k in range(count):
            middle = 0.5 * (low[k] + high[k])
            high[k] = middle if lowest[k] < 0 else high[k]
            low[k] = low[k] if lowest[k] < 0 else middle
    return 0.5 * (low + high)


def _dot(one: Array, other: Array) -> Array:
    """Return inner products of rows, added up in one order whatever the number of rows."""
    total: Array = one[:, 0] * other[:, 0]
    for i in range(1, one.shape[1]):
        total += one[:, i] * other[:, i]
    return total
