"""Balls."""

from functools import cached_property

import numpy as np
from pydantic import Field

from biasvar.compiling import njit
from biasvar.errors import StudyError
from biasvar.fields import NonNegativeReal, PositiveInt, Reals, component
from biasvar.montecarlo.elementary import exps, logs, normal_quantiles
from biasvar.montecarlo.linear_algebra import dots
from biasvar.optimization.kernels import Nearest
from biasvar.optimization.sets.base import SLACK, Array, Columnwise, Mask, check_dim

STEPS = 50  # at the most; three or so do
CLOSE = 3e-5  # relative size of a step after which the next, a part of its cube, is lost in rounding


@component
class Ball(Columnwise):
    """Keep parameters within a radius of a center: ``|theta - center| <= radius``.

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

    @cached_property
    def nearest(self) -> Nearest:
        """The nearest points, as the class says."""
        return Nearest(_near, _near_weighted, data=(self._center, self.radius))

    def support(self, direction: Array) -> Array:
        """Return <center, direction> + radius |direction|."""
        check_dim(direction, self.dim)
        reach: Array = dots(direction, self._center) + self.radius * np.sqrt(np.square(direction).sum(axis=-1))
        return reach

    @property
    def uniforms_per_point(self) -> int:
        """One for each parameter, and one for how far out."""
        return self.dim + 1

    def place(self, uniforms: Array) -> Array:
        """Return points in a random direction, at radius u^(1/D)."""
        normals = normal_quantiles(uniforms[..., :-1])
        length = np.sqrt(np.square(normals).sum(axis=-1, keepdims=True))
        return np.asarray(self._center + self.radius * exps(logs(uniforms[..., -1:]) / self.dim) * normals / length)

    @cached_property
    def _center(self) -> Array:
        return np.zeros(self.dim) if self.center is None else np.array(self.center)


@njit(cache=True, nogil=True, error_model="numpy")
def _near(theta, center, radius):  # type: ignore[no-untyped-def]
    shares, most = np.zeros(theta.shape[1]), radius * radius
    for d in range(theta.shape[0]):
        c = center[d]
        for k in range(theta.shape[1]):
            away = theta[d, k] - c
            shares[k] += away * away
    # Of the way to the center; none, exactly, from inside.
    for k in range(theta.shape[1]):
        share = 1 - radius / np.sqrt(max(shares[k], most))
        shares[k] = share if shares[k] > most else 0.0
    for d in range(theta.shape[0]):
        c = center[d]
        for k in range(theta.shape[1]):
            theta[d, k] -= (theta[d, k] - c) * shares[k]


@njit(cache=True, nogil=True, error_model="numpy")
def _near_weighted(theta, weights, center, radius):  # type: ignore[no-untyped-def]
    m = _multipliers(theta, weights, center, radius)
    for d in range(theta.shape[0]):
        c = center[d]
        for k in range(theta.shape[1]):
            x, w = theta[d, k], weights[d, k]
            near = c + w * (x - c) / (w + m[k])
            theta[d, k] = x if m[k] == 0.0 else near


@njit(cache=True, nogil=True, error_model="numpy")
def _multipliers(theta, weights, center, radius):  # type: ignore[no-untyped-def]
    """Solve 1 / |w d / (w + m)| = 1 / radius for m, which is nearly a straight line in m, by Halley's steps from 0."""
    count = theta.shape[1]
    if radius == 0:
        return np.full(count, np.inf)
    m, goes, by_radius = np.zeros(count), np.ones(count, np.bool_), 1 / radius
    square, first, second = np.empty_like(m), np.empty_like(m), np.empty_like(m)
    for round_ in range(STEPS):
        square[:], first[:], second[:] = 0.0, 0.0, 0.0
        for d in range(theta.shape[0]):
            c = center[d]
            for k in range(count):
                w = weights[d, k]
                inverse = 1 / (w + m[k])
                part = w * (theta[d, k] - c) * inverse
                part *= part
                square[k] += part
                first[k] += part * inverse
                second[k] += part * inverse * inverse
        left = 0
        for k in range(count):
            outside = square[k] > radius * radius or round_ > 0
            by_first, beyond = 1 / first[k], np.sqrt(square[k]) * by_radius - 1
            step = beyond * square[k] * by_first
            bend = 1 - 1.5 * beyond * (second[k] * by_first * square[k] * by_first - 1)
            # Far from the solution, twice Newton's step at the most, and none to where the other side is.
            after = m[k] + step / (bend if bend > 0.5 else 0.5)
            after = 0.5 * m[k] if after < 0.0 else after
            far = abs(after - m[k]) > CLOSE * m[k]
            goes[k] = goes[k] and outside
            m[k] = after if goes[k] else m[k]
            goes[k] = goes[k] and far
            left += goes[k]
        if left == 0:
            break
    return m
