"""Half-spaces and affine sets."""

from functools import cached_property
from typing import Annotated

import numpy as np
from pydantic import BeforeValidator, Field

from biasvar.compiling import njit
from biasvar.errors import StudyError
from biasvar.fields import Real, Reals, component, one_or_more
from biasvar.montecarlo.linear_algebra import dots, solve_positive
from biasvar.optimization.kernels import Nearest
from biasvar.optimization.sets.base import SLACK, Array, Columnwise, ConvexSet, Mask, check_dim

Rows = Annotated[tuple[Reals, ...], BeforeValidator(one_or_more), Field(min_length=1)]
RANK = 1e-10  # relative size below which a row of equations is one of the others


def _of_one_plane(normal: object) -> object:
    """Refuse the rows of a polyhedron."""
    rows = normal if isinstance(normal, list | tuple | np.ndarray) else ()
    if any(np.ndim(row) for row in rows):
        raise ValueError(
            f"got {len(rows)} rows, a polyhedron, whose nearest points take a solver of quadratic programs; "
            "give the normal of one plane"
        )
    return normal


@component
class Halfspace(Columnwise):
    """Keep parameters on one side of a plane: normal' theta <= offset.

    Parameters
    ----------
    normal : sequence of float
        Where the other side is.
    offset : float
        How far the plane is that way, in lengths of the normal.

    Examples
    --------
    >>> Halfspace([1, 1], 1).project(np.array([2.0, 1.0])).tolist()
    [1.0, 0.0]
    """

    normal: Annotated[Reals, BeforeValidator(_of_one_plane)]
    offset: Real = 0.0

    def __post_init__(self) -> None:
        if not self._normal.any():
            raise StudyError("normal: is zero, and has no other side; give another, or leave the constraint out")

    @property
    def dim(self) -> int:
        """Number of parameters."""
        return len(self.normal)

    def contains(self, theta: Array) -> Mask:
        """Return whether points are on the side of the plane that they are kept on."""
        check_dim(theta, self.dim)
        size = dots(np.abs(theta), np.abs(self._normal)) + abs(self.offset)
        inside: Mask = dots(theta, self._normal) <= self.offset + SLACK * size
        return inside

    @cached_property
    def nearest(self) -> Nearest:
        """The way back to the plane, along the normal over the weights."""
        return Nearest(_behind, _behind_weighted, data=(self._normal, self.offset))

    def support(self, direction: Array) -> Array:
        """Return the offset times the length along the normal; infinite in every other direction."""
        check_dim(direction, self.dim)
        length = dots(direction, self._normal) / dots(self._normal, self._normal)
        off = np.abs(direction - length[..., None] * self._normal).max(axis=-1)
        along = (off <= SLACK * np.abs(direction).max(axis=-1)) & (length >= 0)
        return np.where(along, length * self.offset, np.inf)

    @cached_property
    def _normal(self) -> Array:
        return np.array(self.normal)


@njit(cache=True, nogil=True, error_model="numpy")
def _behind(theta, normal, offset):  # type: ignore[no-untyped-def]
    _behind_weighted(theta, np.ones_like(theta), normal, offset)


@njit(cache=True, nogil=True, error_model="numpy")
def _behind_weighted(theta, weights, normal, offset):  # type: ignore[no-untyped-def]
    beyond, size = np.full(theta.shape[1], -offset), np.zeros(theta.shape[1])
    for d in range(theta.shape[0]):
        n = normal[d]
        for k in range(theta.shape[1]):
            weights[d, k] = n / weights[d, k]
            beyond[k] += n * theta[d, k]
            size[k] += n * weights[d, k]
    for k in range(theta.shape[1]):
        beyond[k] = 0.0 if beyond[k] <= 0.0 else beyond[k] / size[k]
    for d in range(theta.shape[0]):
        for k in range(theta.shape[1]):
            theta[d, k] -= beyond[k] * weights[d, k]


@component
class Affine(ConvexSet):
    """Keep linear equations: A theta = b.

    Parameters
    ----------
    A : sequence of sequences of float
        Their coefficients, a row per equation.
    b : sequence of float
        Their right sides.

    Examples
    --------
    >>> Affine([[1, 1]], [1]).project(np.array([1.0, 1.0])).round(12).tolist()
    [0.5, 0.5]
    """

    A: Rows
    b: Reals

    def __post_init__(self) -> None:
        lengths = sorted({len(row) for row in self.A})
        if len(lengths) > 1:
            raise StudyError(f"A: expected rows of one length, got lengths {lengths}")
        if len(self.A) != len(self.b):
            raise StudyError(f"b: got {len(self.b)} numbers for {len(self.A)} rows of A; give one per row")
        a, b = np.array(self.A), np.array(self.b)
        if not a.any():
            raise StudyError("every row of A is zero, and keeps no parameter; leave the constraint out")
        off = np.abs(dots(a, self._point) - b)
        if (off > 1e-9 * (dots(np.abs(a), np.abs(self._point)) + np.abs(b))).any():
            raise StudyError("is empty: no theta solves A theta = b; leave out the equations that contradict others")

    @property
    def dim(self) -> int:
        """Number of parameters."""
        return len(self.A[0])

    def contains(self, theta: Array) -> Mask:
        """Return whether the equations hold."""
        check_dim(theta, self.dim)
        off = np.abs(self._off(theta))
        size = np.sqrt(np.square(theta).sum(axis=-1)) + np.sqrt(dots(self._point, self._point))
        inside: Mask = (off <= SLACK * self.dim * size[..., None]).all(axis=-1)
        return inside

    def project(self, theta: Array, weights: Array | None = None) -> Array:
        """Go back along the rows over the weights: theta - W^-1 Q' (Q W^-1 Q')^-1 Q (theta - point)."""
        check_dim(theta, self.dim)
        off = self._off(theta)
        if weights is None:
            near: Array = theta - dots(off[..., None, :], self._rows.T)
            return near
        # Relative weights do as well, and square matrices of them are well within range.
        relative = np.asarray(weights).min(axis=-1, keepdims=True) / weights
        square = dots(relative[..., None, None, :], self._rows[:, None] * self._rows)
        factors = solve_positive(square, off[..., None])[..., 0]
        nearest: Array = theta - relative * dots(factors[..., None, :], self._rows.T)
        return nearest

    def support(self, direction: Array) -> Array:
        """Return <point, direction> across the set; infinite along it."""
        check_dim(direction, self.dim)
        along = dots(direction[..., None, :], self._rows)
        off = np.abs(direction - dots(along[..., None, :], self._rows.T)).max(axis=-1)
        across = off <= SLACK * self.dim * np.abs(direction).max(axis=-1)
        return np.where(across, dots(direction, self._point), np.inf)

    def _off(self, theta: Array) -> Array:
        """Return how far points are off along each row."""
        return dots((theta - self._point)[..., None, :], self._rows)

    @property
    def _rows(self) -> Array:
        """Orthonormal rows that span those of A."""
        return self._equations[0]

    @cached_property
    def _point(self) -> Array:
        """The point of the set that is the nearest to the origin."""
        rows, right = self._equations
        return dots(rows.T, right)

    @cached_property
    def _equations(self) -> tuple[Array, Array]:
        """The same equations with orthonormal rows, by Gram and Schmidt's method, the longest that is left first."""
        rest, right = np.array(self.A), np.array(self.b)
        rows: list[Array] = []
        rights: list[float] = []
        most = np.sqrt(dots(rest, rest).max())
        for _ in range(min(rest.shape)):
            i = int(dots(rest, rest).argmax())
            length = np.sqrt(dots(rest[i], rest[i]))
            if length <= RANK * most:
                break
            row, value = rest[i] / length, float(right[i] / length)
            # Once more, for what rounding has left of the others.
            for other, its in zip(rows, rights, strict=True):
                share = float(dots(row, other))
                row, value = row - share * other, value - share * its
            size = np.sqrt(dots(row, row))
            rows.append(row / size)
            rights.append(float(value / size))
            shares = dots(rest, rows[-1])
            rest, right = rest - shares[:, None] * rows[-1], right - shares * rights[-1]
        return np.array(rows), np.array(rights)
