"""Half-spaces and affine sets."""

from functools import cached_property
from typing import Annotated

import numpy as np
from pydantic import BeforeValidator, Field

from biasvar.errors import StudyError
from biasvar.fields import Real, Reals, component, one_or_more
from biasvar.optimization.sets.base import SLACK, Array, ConvexSet, Mask, check_dim

Rows = Annotated[tuple[Reals, ...], BeforeValidator(one_or_more), Field(min_length=1)]
RANK = 1e-10  # relative size below which a row of equations is one of the others


@component
class Halfspace(ConvexSet):
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

    normal: Reals
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
        size = np.abs(theta) @ np.abs(self._normal) + abs(self.offset)
        inside: Mask = theta @ self._normal <= self.offset + SLACK * size
        return inside

    def project(self, theta: Array, weights: Array | None = None) -> Array:
        """Go back to the plane, along the normal over the weights."""
        check_dim(theta, self.dim)
        way = self._normal if weights is None else self._normal / weights
        beyond = np.maximum(theta @ self._normal - self.offset, 0.0) / (way * self._normal).sum(axis=-1)
        nearest: Array = theta - beyond[..., None] * way
        return nearest

    def support(self, direction: Array) -> Array:
        """Return the offset times the length along the normal; infinite in every other direction."""
        check_dim(direction, self.dim)
        length = direction @ self._normal / (self._normal @ self._normal)
        off = np.abs(direction - length[..., None] * self._normal).max(axis=-1)
        along = (off <= SLACK * np.abs(direction).max(axis=-1)) & (length >= 0)
        return np.where(along, length * self.offset, np.inf)

    @cached_property
    def _normal(self) -> Array:
        return np.array(self.normal)


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
        off = np.abs(a @ self._point - b)
        if (off > 1e-9 * (np.abs(a) @ np.abs(self._point) + np.abs(b))).any():
            raise StudyError("is empty: no theta solves A theta = b; leave out the equations that contradict others")

    @property
    def dim(self) -> int:
        """Number of parameters."""
        return len(self.A[0])

    def contains(self, theta: Array) -> Mask:
        """Return whether the equations hold."""
        check_dim(theta, self.dim)
        off = np.abs((theta - self._point) @ self._rows.T)
        size = np.sqrt(np.square(theta).sum(axis=-1)) + np.sqrt(self._point @ self._point)
        inside: Mask = (off <= SLACK * self.dim * size[..., None]).all(axis=-1)
        return inside

    def project(self, theta: Array, weights: Array | None = None) -> Array:
        """Go back along the rows over the weights: theta - W^-1 Q' (Q W^-1 Q')^-1 Q (theta - point)."""
        check_dim(theta, self.dim)
        off = (theta - self._point) @ self._rows.T
        if weights is None:
            near: Array = theta - off @ self._rows
            return near
        # Relative weights do as well, and square matrices of them are well within range.
        relative = np.asarray(weights).min(axis=-1, keepdims=True) / weights
        square = np.einsum("...d,id,jd->...ij", relative, self._rows, self._rows)
        factors = np.linalg.solve(square, off[..., None])[..., 0]
        nearest: Array = theta - relative * (factors @ self._rows)
        return nearest

    def support(self, direction: Array) -> Array:
        """Return <point, direction> across the set; infinite along it."""
        check_dim(direction, self.dim)
        off = np.abs(direction - direction @ self._rows.T @ self._rows).max(axis=-1)
        across = off <= SLACK * self.dim * np.abs(direction).max(axis=-1)
        return np.where(across, direction @ self._point, np.inf)

    @cached_property
    def _rows(self) -> Array:
        """Orthonormal rows that span those of A."""
        _, sizes, rows = np.linalg.svd(np.array(self.A), full_matrices=False)
        return np.ascontiguousarray(rows[sizes > RANK * sizes.max(initial=0)])

    @cached_property
    def _point(self) -> Array:
        """The point of the set that is the nearest to the origin."""
        point: Array = np.linalg.lstsq(np.array(self.A), np.array(self.b), rcond=RANK)[0]
        return point
