"""Balls."""

from functools import cached_property

import numpy as np
from pydantic import Field
from scipy.special import ndtri

from biasvar.compiling import njit
from biasvar.errors import StudyError
from biasvar.fields import NonNegativeReal, PositiveInt, Reals, component
from biasvar.optimization.sets.base import SLACK, Array, ConvexSet, Mask, check_dim, columns_of

NEWTON = 50  # steps at the most; they come from one side, and seven or so do


@component
class Ball(ConvexSet):
    """Keep parameters within a radius of a center: |theta - center| <= radius.

    Without weights the nearest point lies on the way to the center; with weights w it is
    center + w d / (w + m), d = theta - center, for the one m >= 0 that makes it as long as the radius.

    Parameters
    ----------
    radius : float
        How far parameters may be.
    center : sequence of float, optional
        From where; the origin unless given.
    dim : int, optional
        How many parameters there are; needed where no center is given.

    References
    ----------
    J. More, D. Sorensen, Computing a trust region step, 1983, for m.

    Examples
    --------
    >>> Ball(1, dim=2).project(np.array([3.0, 4.0])).round(12).tolist()
    [0.6, 0.8]
    >>> Ball(2, [0, 1]).support(np.array([3.0, 4.0])).item()
    14.0
    """

    radius: NonNegativeReal
    center: Reals | None = None
    dim: PositiveInt = Field(default=0, validate_default=False)

    def __post_init__(self) -> None:
        given = {self.dim, len(self.center or ())} - {0}
        if len(given) != 1:
            said = "neither" if not given else f"{len(self.center or ())} numbers and dim={self.dim}"
            raise StudyError(f"expected a center, or dim, got {said}; say how many parameters there are")
        object.__setattr__(self, "dim", given.pop())

    def contains(self, theta: Array) -> Mask:
        """Return whether points are no farther from the center than the radius."""
        check_dim(theta, self.dim)
        size = self.radius + np.abs(self._center).max()
        inside: Mask = np.sqrt(np.square(theta - self._center).sum(axis=-1)) <= self.radius + SLACK * size
        return inside

    def project(self, theta: Array, weights: Array | None = None) -> Array:
        """Return the nearest point."""
        check_dim(theta, self.dim)
        distance = theta - self._center
        if weights is None:
            length = np.sqrt(np.square(distance).sum(axis=-1, keepdims=True))
            outside = length > self.radius
            return np.where(outside, self._center + distance * (self.radius / np.where(outside, length, 1.0)), theta)
        columns, scaled = columns_of(distance, weights)
        shorter: Array = _in_ball(columns, scaled, self.radius).T
        nearest = self._center + shorter.reshape(theta.shape)
        inside = (shorter == columns.T).all(axis=1).reshape(*theta.shape[:-1], 1)
        return np.where(inside, theta, nearest)

    @property
    def elementwise(self) -> bool:
        """Whether no matrix product is taken."""
        return True

    def support(self, direction: Array) -> Array:
        """Return <center, direction> + radius |direction|."""
        check_dim(direction, self.dim)
        reach: Array = direction @ self._center + self.radius * np.sqrt(np.square(direction).sum(axis=-1))
        return reach

    @property
    def uniforms_per_point(self) -> int:
        """One for each parameter, and one for how far out."""
        return self.dim + 1

    def place(self, uniforms: Array) -> Array:
        """Return points in a random direction, at radius u^(1/D)."""
        normals = ndtri(uniforms[..., :-1])
        length = np.sqrt(np.square(normals).sum(axis=-1, keepdims=True))
        return np.asarray(self._center + self.radius * uniforms[..., -1:] ** (1 / self.dim) * normals / length)

    @cached_property
    def _center(self) -> Array:
        return np.zeros(self.dim) if self.center is None else np.array(self.center)


@njit(cache=True, nogil=True, error_model="numpy")
def _in_ball(distance, weights, radius):  # type: ignore[no-untyped-def]
    dim, count = distance.shape
    out = np.empty((dim, count))
    for k in range(count):
        m = _multiplier(distance[:, k], weights[:, k], radius)
        for d in range(dim):
            if m == 0:
                out[d, k] = distance[d, k]
            else:
                out[d, k] = weights[d, k] * distance[d, k] / (weights[d, k] + m)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _multiplier(distance, weights, radius):  # type: ignore[no-untyped-def]
    """Solve 1 / |w d / (w + m)| = 1 / radius for m, by Newton's steps from below."""
    length = 0.0
    for one in distance:
        length += one * one
    if not length > radius * radius:
        return 0.0 if length == length else np.nan
    if radius == 0:
        return np.inf
    # The largest m at which even the lightest weight leaves the point outside: no step goes beyond the solution.
    m = max(0.0, weights.min() * (np.sqrt(length) / radius - 1))
    for _ in range(NEWTON):
        length, slope = 0.0, 0.0
        for d in range(len(distance)):
            part = weights[d] * distance[d] / (weights[d] + m)
            length += part * part
            slope += part * part / (weights[d] + m)
        step = (np.sqrt(length) / radius - 1) * length / slope
        if not step > 1e-16 * m:
            break
        m += step
    return m
