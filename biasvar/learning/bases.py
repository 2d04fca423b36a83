"""Features phi(x) that least-squares hypothesis sets are linear in, nested: the first p serve the smaller sets."""

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import combinations_with_replacement
from math import comb
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from biasvar.compiling import njit
from biasvar.learning.inputs import Inputs
from biasvar.learning.quadrature import orthonormal_recurrence


class Basis(Protocol):
    """A nested family of features."""

    def evaluate(self, x: NDArray[np.float64], size: int) -> NDArray[np.float64]:
        """Return the first ``size`` features, shape (size, ...), of inputs (...,) or (..., dim)."""


@dataclass(frozen=True)
class Coordinates:
    """Take the coordinates of the input themselves as features."""

    dim: int

    def evaluate(self, x: NDArray[np.float64], size: int) -> NDArray[np.float64]:
        """Return the first ``size`` coordinates."""
        if self.dim == 1:
            return x[None].copy()
        return np.ascontiguousarray(np.moveaxis(x[..., :size], -1, 0))


@dataclass(frozen=True)
class Monomials:
    """Take the powers of x up to ``degree``; in more dimensions their products, ordered by total degree."""

    dim: int
    degree: int = field(compare=False)

    @cached_property
    def size(self) -> int:
        """How many features there are."""
        return comb(self.dim + self.degree, self.degree)

    def evaluate(self, x: NDArray[np.float64], size: int) -> NDArray[np.float64]:
        """Return the first ``size`` products of powers."""
        return _products(x, _exponents(self.dim, self.degree)[:size], np.array([[0.0, 0.0, 1.0]] * self.degree))


@dataclass(frozen=True)
class OrthonormalPolynomials:
    """Take the polynomials that are orthonormal under the law of one coordinate, and their products.

    Bases of different ``degree`` are equal: they begin with the same features.
    """

    inputs: Inputs
    degree: int = field(compare=False)

    @cached_property
    def size(self) -> int:
        """How many features there are."""
        return comb(self.inputs.dim + self.degree, self.degree)

    @cached_property
    def recurrence(self) -> NDArray[np.float64]:
        """Three-term recurrence of the one-dimensional polynomials, one row per degree."""
        points = self.inputs.marginal().test_points(None, (), 0)
        return orthonormal_recurrence(points.x, points.weights, self.degree)

    def evaluate(self, x: NDArray[np.float64], size: int) -> NDArray[np.float64]:
        """Return the first ``size`` products of orthonormal polynomials."""
        return _products(x, _exponents(self.inputs.dim, self.degree)[:size], self.recurrence)


@lru_cache(maxsize=64)
def _exponents(dim: int, degree: int) -> tuple[tuple[int, ...], ...]:
    """List the degrees in each coordinate of all products up to a total degree, by total degree."""
    return tuple(
        tuple(chosen.count(axis) for axis in range(dim))
        for total in range(degree + 1)
        for chosen in combinations_with_replacement(range(dim), total)
    )


def _products(
    x: NDArray[np.float64], exponents: tuple[tuple[int, ...], ...], recurrence: NDArray[np.float64]
) -> NDArray[np.float64]:
    highest = max(max(exponent) for exponent in exponents)
    rows = recurrence[:highest].reshape(highest, 3)
    if len(exponents[0]) == 1:
        out = np.empty((len(rows) + 1, *x.shape))
        _recur(np.ascontiguousarray(x).reshape(-1), rows, out.reshape(len(rows) + 1, -1))
        return out
    out = np.empty((len(exponents), *x.shape[:-1]))
    places = np.ascontiguousarray(x).reshape(-1, x.shape[-1])
    _multiply(places, np.array(exponents), rows, out.reshape(len(exponents), -1))
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _recur(x, rows, out):  # type: ignore[no-untyped-def]
    tile = 1024  # stays in the first-level cache over all degrees
    for start in range(0, x.size, tile):
        stop = min(start + tile, x.size)
        for i in range(start, stop):
            out[0, i] = 1.0
        for k in range(rows.shape[0]):
            alpha, beta, scale = rows[k, 0], rows[k, 1], 1.0 / rows[k, 2]
            if k == 0:
                for i in range(start, stop):
                    out[1, i] = (x[i] - alpha) * scale
            else:
                for i in range(start, stop):
                    out[k + 1, i] = ((x[i] - alpha) * out[k, i] - beta * out[k - 1, i]) * scale


@njit(cache=True, nogil=True, error_model="numpy")
def _multiply(x, exponents, rows, out):  # type: ignore[no-untyped-def]
    """Fill in products (features, N) of polynomials in the coordinates of x (N, dim), axis after axis."""
    tile = 256  # its powers stay in the first-level cache
    size, dim = x.shape
    place, powers = np.empty(tile), np.empty((dim, rows.shape[0] + 1, tile))
    for start in range(0, size, tile):
        count = min(tile, size - start)
        for axis in range(dim):
            for i in range(count):
                place[i] = x[start + i, axis]
            _recur(place[:count], rows, powers[axis])
        for feature in range(len(exponents)):
            target = out[feature, start : start + count]
            for i in range(count):
                target[i] = 1.0
            for axis in range(dim):
                if exponents[feature, axis] > 0:
                    power = powers[axis, exponents[feature, axis]]
                    for i in range(count):
                        target[i] *= power[i]
