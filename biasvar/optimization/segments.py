"""Random segments within a domain, with ends and points between that floating-point numbers have exactly.

A chord that lies below a function is then one in exact arithmetic, which anyone can check.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from biasvar.errors import StudyError
from biasvar.montecarlo.draws import open_uniforms
from biasvar.montecarlo.linear_algebra import eigh, matmul, qr

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

DIGITS = 52  # binary ones of a point between two ends
MOST_OF_THETA = 20  # of these, how many the share along the segment may take
SHARE_OF_THETA = 0.4
FLAT = 1e-6  # spread across a domain relative to that along it, below which it has none


@dataclass(frozen=True)
class Domain:
    """Where segments lie: what turns uniforms into points, and which points belong to it.

    Parameters
    ----------
    dim : int
        D, the number of parameters.
    uniforms_per_point : int
        Random numbers that a point takes.
    place : callable
        Turns uniforms (K, uniforms_per_point) into points (K, D).
    contains : callable, optional
        Whether points (K, D) belong to it; those between points that were drawn do unless given.
    """

    dim: int
    uniforms_per_point: int
    place: Callable[[Array], Array]
    contains: Callable[[Array], Mask] | None = None

    def draw(self, generator: np.random.Generator, count: int) -> Array:
        """Return random points, shape (count, D)."""
        points = np.asarray(self.place(open_uniforms(generator, (self.uniforms_per_point, count)).T), dtype=float)
        if points.shape != (count, self.dim):
            raise StudyError(f"draws have shape {points.shape}, expected {(count, self.dim)}")
        if not np.isfinite(points).all():
            raise StudyError(f"draws such as {points[~np.isfinite(points).all(axis=1)][0]} are not finite")
        return points


class Grid(NamedTuple):
    """Numbers of few digits: steps of each coordinate, and digits of shares along segments, all powers of two."""

    step: Array
    theta_digits: int

    @classmethod
    def of(cls, points: Array) -> "Grid":
        """Choose one for points like these: as fine as lets every point between two of its points be exact."""
        low, high = points.min(axis=0), points.max(axis=0)
        top = _exponent(np.maximum(np.abs(low), np.abs(high)))
        # Far from the origin the leading digits are the same.
        same = int(np.clip(top - _exponent(high - low), 0, None)[high > low].max(initial=0))
        digits = int(np.clip(SHARE_OF_THETA * (DIGITS - same), 2, MOST_OF_THETA))
        return cls(np.ldexp(1.0, top - (DIGITS - digits)), digits)

    def rounded(self, points: Array) -> Array:
        """Return the nearest points of the grid."""
        nearest: Array = np.rint(points / self.step) * self.step
        return nearest

    def thetas(self, uniforms: Array) -> Array:
        """Return shares strictly between 0 and 1."""
        most = 2**self.theta_digits
        shares: Array = np.clip(np.rint(uniforms * most), 1, most - 1) / most
        return shares


def _exponent(size: Array) -> NDArray[np.intc]:
    """Return by which power of two numbers are bounded."""
    return np.frexp(np.where(size > 0, size, 1.0))[1]


@dataclass(frozen=True)
class Segments:
    """K segments from x to y, with a point z = x + theta (y - x) on each.

    Parameters
    ----------
    x, y : ndarray of shape (K, D)
        Their ends.
    theta : ndarray of shape (K,)
        Where z lies.
    grid : Grid
        What all of these are multiples of.

    Examples
    --------
    >>> square = Domain(2, 2, lambda u: 2 * u - 1)
    >>> drawn = Segments.draw(square, np.random.default_rng(0), 1000)
    >>> from fractions import Fraction as F
    >>> x, y, theta, z = (F(float(each)) for each in (drawn.x[7, 1], drawn.y[7, 1], drawn.theta[7], drawn.z[7, 1]))
    >>> z == x + theta * (y - x)
    True
    """

    x: Array
    y: Array
    theta: Array
    grid: Grid

    @classmethod
    def draw(cls, domain: Domain, generator: np.random.Generator, count: int) -> "Segments":
        """Draw segments between independent points of a domain, and uniform shares along them."""
        x, y = domain.draw(generator, count), domain.draw(generator, count)
        grid = Grid.of(np.concatenate([x, y]))
        return cls(grid.rounded(x), grid.rounded(y), grid.thetas(open_uniforms(generator, (count,))), grid)

    def __len__(self) -> int:
        return len(self.theta)

    def chosen(self, which: Mask | NDArray[np.intp]) -> "Segments":
        """Return some of the segments."""
        return Segments(self.x[which], self.y[which], self.theta[which], self.grid)

    @cached_property
    def along(self) -> Array:
        """The vectors y - x, shape (K, D)."""
        return self.y - self.x

    @cached_property
    def z(self) -> Array:
        """The points between."""
        return self.x + self.theta[:, None] * self.along

    @cached_property
    def length2(self) -> Array:
        """Squared lengths, shape (K,)."""
        return np.asarray(np.square(self.along).sum(axis=1))

    @cached_property
    def spread(self) -> Array:
        """How far each coordinate is spread, shape (D,)."""
        deviation: Array = np.concatenate([self.x, self.y]).std(axis=0)
        return deviation

    @cached_property
    def tangent(self) -> Array | None:
        """Orthonormal columns (D, r) that span the directions of segments; None where these are all directions."""
        count, dim = self.x.shape
        if count < 2 * dim:  # too few to tell
            return None
        scale = np.where(self.spread > 0, self.spread, 1.0)
        relative = self.along / scale
        values, vectors = eigh(matmul(relative.T, relative)[None] / count)
        spanned = values[0] > FLAT**2
        if spanned.all():
            return None
        basis: Array = qr((scale[:, None] * vectors[0])[None, :, spanned])[0][0]
        return basis

    def in_space(self, vectors: Array) -> Array:
        """Return vectors (K, rank) along the tangent in the coordinates of points, (K, D); themselves without one."""
        return vectors if self.tangent is None else matmul(self.tangent, vectors.T).T

    def reach(self, domain: Domain) -> Callable[[Array], Mask]:
        """Return what tells which points belong to the domain: those between points drawn where rounding would."""
        if domain.contains is not None and self.tangent is None:
            return domain.contains
        ends = np.concatenate([self.x, self.y])
        low, high = ends.min(axis=0), ends.max(axis=0)
        return lambda points: np.asarray(((points >= low) & (points <= high)).all(axis=-1))
