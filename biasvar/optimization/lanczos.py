"""Extreme eigenvalues of many symmetric matrices at once, known by their products with vectors alone."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from biasvar.compiling import njit
from biasvar.montecarlo.linear_algebra import dots, eigh

Array = NDArray[np.float64]

STEPS = 16
EPS = float(np.finfo(float).eps)
HALVINGS = 56  # of the interval that an eigenvalue is known to lie in: to the last digit
TILE = 64  # matrices at a time, so that their bases stay in a cache


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
        vectors = eigh(self._matrices)[1][:, :, 0]
        return dots(vectors[:, None], np.moveaxis(self.basis, 0, -1))

    @cached_property
    def _extremes(self) -> tuple[Array, Array]:
        if len(self.diagonal) == 1:
            return self.diagonal[0], self.diagonal[0]
        if len(self.diagonal) == 2:  # in the plane there are many
            middle, half = self.diagonal.sum(axis=0) / 2, (self.diagonal[0] - self.diagonal[1]) / 2
            reach = np.sqrt(half * half + self.beside[0] ** 2)
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
        # Rotations have no end where one number is none.
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
    basis = np.zeros((steps, dim, count))
    basis[0] = (start / np.sqrt(dots(start, start))[:, None]).T
    scale, going = np.zeros(count), np.ones(count, bool)
    for j in range(steps):
        # Columns, as objectives want them.
        image = np.ascontiguousarray(np.asarray(product(basis[j].T), dtype=float).T)
        _advance(j, image, basis, diagonal, beside, scale, going)
    return Lanczos(diagonal, beside, basis.transpose(0, 2, 1))


@njit(cache=True, nogil=True, error_model="numpy")
def _advance(j, image, basis, diagonal, beside, scale, going):  # type: ignore[no-untyped-def]
    """Put down what step j tells, and the next vector of each basis."""
    count = image.shape[1]
    for first in range(0, count, TILE):
        last = min(first + TILE, count)
        columns = np.empty((len(image), last - first))
        for d in range(len(columns)):
            columns[d] = image[d, first:last]
        on, goes = diagonal[j, first:last], going[first:last]
        _along(columns, basis[j], first, on)
        for k in range(len(on)):
            on[k] = on[k] if goes[k] else diagonal[0, first + k]
        if j + 1 < len(basis):
            _orthogonalise(columns, basis, first, j + 1)
            _lengthen(columns, basis[j + 1], first, on, beside[j, first:last], scale[first:last], goes)


@njit(cache=True, nogil=True, error_model="numpy")
def _orthogonalise(columns, basis, first, count):  # type: ignore[no-untyped-def]
    products = np.empty(columns.shape[1])
    for _ in range(2):  # twice is enough
        for i in range(count):
            _along(columns, basis[i], first, products)
            for d in range(len(columns)):
                column, vector = columns[d], basis[i, d, first : first + len(products)]
                for k in range(len(products)):
                    column[k] -= products[k] * vector[k]


@njit(cache=True, nogil=True, error_model="numpy")
def _lengthen(columns, vectors, first, on, beside, scale, goes):  # type: ignore[no-untyped-def]
    """Make columns the next vectors, where they are more than rounding."""
    squares = np.empty(len(on))
    _along(columns, columns, 0, squares)
    for k in range(len(on)):
        length = np.sqrt(squares[k])
        scale[k] = max(scale[k], abs(on[k]) + length)
        goes[k] = goes[k] and length > len(columns) * EPS * scale[k]
        beside[k] = length if goes[k] else 0.0
        squares[k] = 1 / length if goes[k] else 0.0
    for d in range(len(columns)):
        column, vector = columns[d], vectors[d, first : first + len(on)]
        for k in range(len(on)):
            vector[k] = column[k] * squares[k] if goes[k] else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _along(columns, vectors, first, products):  # type: ignore[no-untyped-def]
    """Put down how long columns are along vectors."""
    products[:] = 0.0
    for d in range(len(columns)):
        column, vector = columns[d], vectors[d, first : first + len(products)]
        for k in range(len(products)):
            products[k] += column[k] * vector[k]


@njit(cache=True, nogil=True, error_model="numpy")
def _least(diagonal, beside):  # type: ignore[no-untyped-def]
    """Return least eigenvalues of tridiagonal matrices: bisection by whether a pivot of T - x is negative."""
    steps, count = diagonal.shape
    found = np.empty(count)
    for first in range(0, count, TILE):
        width = min(TILE, count - first)
        on, squares = np.empty((steps, width)), np.empty((steps - 1, width))
        low, high = np.full(width, np.inf), np.full(width, np.inf)
        for i in range(steps):
            for k in range(width):
                on[i, k] = diagonal[i, first + k]
                reach = (abs(beside[i - 1, first + k]) if i > 0 else 0.0) + (
                    abs(beside[i, first + k]) if i + 1 < steps else 0.0
                )
                low[k] = min(low[k], on[i, k] - reach)
                high[k] = min(high[k], on[i, k])
                if i > 0:
                    # So that no pivot is 0 / 0.
                    squares[i - 1, k] = max(beside[i - 1, first + k] * beside[i - 1, first + k], 1e-300)
        pivot, lowest = np.empty(width), np.empty(width)
        for _ in range(HALVINGS):
            for k in range(width):
                pivot[k] = on[0, k] - 0.5 * (low[k] + high[k])
                lowest[k] = pivot[k]
            for i in range(1, steps):
                for k in range(width):
                    pivot[k] = on[i, k] - 0.5 * (low[k] + high[k]) - squares[i - 1, k] / pivot[k]
                    lowest[k] = min(lowest[k], pivot[k])
            for k in range(width):
                middle = 0.5 * (low[k] + high[k])
                high[k] = middle if lowest[k] < 0 else high[k]
                low[k] = low[k] if lowest[k] < 0 else middle
        for k in range(width):
            found[first + k] = 0.5 * (low[k] + high[k])
    return found
