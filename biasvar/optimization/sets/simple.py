"""Boxes and simplices."""

from collections.abc import Iterable
from functools import cached_property
from math import isinf, isnan
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, Field

from biasvar.compiling import njit
from biasvar.errors import StudyError
from biasvar.fields import PositiveInt, PositiveReal, component
from biasvar.montecarlo.elementary import logs
from biasvar.optimization.kernels import Nearest
from biasvar.optimization.sets.base import SLACK, Array, Columnwise, Mask, check_dim


def _bounds(value: object) -> Any:
    """Take one bound or several; None and an infinite number stand for none."""
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | dict):
        return tuple(_bounds(item) for item in value)
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float) and isnan(value):
        raise ValueError("expected numbers, or None for no bound, got nan")
    return None if isinstance(value, float) and isinf(value) else value


Bounds = Annotated[float | tuple[float | None, ...] | None, BeforeValidator(_bounds)]


@component
class Box(Columnwise):
    """Keep each parameter between two bounds: low <= theta <= high.

    The nearest point is the same whatever the weights: each parameter is put between its own bounds.

    Parameters
    ----------
    low, high : float or sequence of float
        The bounds, the same for all parameters or one for each; None where there is none: ``Box(0, dim=3)`` are the
        points without a negative parameter.
    dim : int, optional
        How many parameters there are; needed where no bound is a sequence.

    Examples
    --------
    >>> box = Box(0, [1, None])
    >>> box.project(np.array([2.0, 2.0])).tolist(), box.contains(np.array([[0.5, 9.0], [-1.0, 0.0]])).tolist()
    ([1.0, 2.0], [True, False])
    """

    low: Bounds = None
    high: Bounds = None
    dim: PositiveInt = Field(default=0, validate_default=False)

    def __post_init__(self) -> None:
        given = {len(bound) for bound in (self.low, self.high) if isinstance(bound, tuple)}
        given |= {self.dim} - {0}
        if len(given) != 1:
            said = "no dim" if not given else f"{' and '.join(map(str, sorted(given)))} parameters"
            raise StudyError(f"expected bounds of one length, or dim, got {said}; say how many parameters there are")
        object.__setattr__(self, "dim", given.pop())
        if (self._low > self._high).any():
            worst = int(np.argmax(self._low > self._high))
            raise StudyError(f"is empty: low is {self._low[worst]:g} and high {self._high[worst]:g}; exchange them")

    def contains(self, theta: Array) -> Mask:
        """Return whether all parameters are between their bounds."""
        check_dim(theta, self.dim)
        return np.asarray(((theta >= self._low) & (theta <= self._high)).all(axis=-1))

    @cached_property
    def nearest(self) -> Nearest:
        """Each parameter between its bounds."""
        return Nearest(_between, data=(self._low, self._high))

    @property
    def separable(self) -> bool:
        """Whether each parameter is kept by itself."""
        return True

    def support(self, direction: Array) -> Array:
        """Return the sum over parameters of the farther bound times the direction."""
        check_dim(direction, self.dim)
        far = np.where(direction > 0, self._high, self._low)
        # Where a direction has no component, a bound that is not there does not count.
        reach: Array = (np.where(direction == 0, 0.0, far) * direction).sum(axis=-1)
        return reach

    @property
    def uniforms_per_point(self) -> int:
        """One for each parameter."""
        if not np.isfinite(self._low).all() or not np.isfinite(self._high).all():
            raise StudyError("Box: has no uniform law of its points where a bound is missing; give all, or a law")
        return self.dim

    def place(self, uniforms: Array) -> Array:
        """Return low + (high - low) u."""
        return np.asarray(self._low + (self._high - self._low) * uniforms)

    @cached_property
    def _low(self) -> Array:
        return _filled(self.low, -np.inf, self.dim)

    @cached_property
    def _high(self) -> Array:
        return _filled(self.high, np.inf, self.dim)


@njit(cache=True, nogil=True, error_model="numpy")
def _between(theta, low, high):  # type: ignore[no-untyped-def]
    for d in range(theta.shape[0]):
        least, most = low[d], high[d]
        for k in range(theta.shape[1]):
            x = theta[d, k]
            x = least if x < least else x
            theta[d, k] = most if x > most else x


def _filled(bound: object, missing: float, dim: int) -> Array:
    values = bound if isinstance(bound, tuple) else (bound,) * dim
    return np.array([missing if value is None else value for value in values], dtype=float)


@component
class Simplex(Columnwise):
    """Keep parameters from zero up, with a given sum: shares of a whole, such as probabilities or a portfolio.

    The nearest point is max(0, theta_i - m / w_i) for the one m that makes the sum right, found by leaving out what
    would be negative until nothing is.

    Parameters
    ----------
    dim : int
        How many parameters there are.
    total : float
        Their sum.

    References
    ----------
    C. Michelot, A finite algorithm for finding the projection of a point onto the canonical simplex of R^n, 1986.

    Examples
    --------
    >>> Simplex(dim=3).project(np.array([1.0, 0.5, -2.0])).tolist()
    [0.75, 0.25, 0.0]
    """

    # With Field, what is abstract in the base is there when the class is made.
    dim: PositiveInt = Field()
    total: PositiveReal = 1.0

    def contains(self, theta: Array) -> Mask:
        """Return whether no parameter is negative and their sum is right."""
        check_dim(theta, self.dim)
        size = np.maximum(np.abs(theta).sum(axis=-1), self.total)
        off = np.abs(theta.sum(axis=-1) - self.total)
        inside: Mask = (off <= SLACK * size) & (theta >= -SLACK * self.total).all(axis=-1)
        return inside

    @cached_property
    def nearest(self) -> Nearest:
        """The points max(0, theta_i - m / w_i)."""
        return Nearest(_on_simplex, _on_simplex_weighted, data=(self.total,))

    def support(self, direction: Array) -> Array:
        """Return the greatest component times the sum: all of it there."""
        check_dim(direction, self.dim)
        reach: Array = self.total * np.max(direction, axis=-1)
        return reach

    @property
    def uniforms_per_point(self) -> int:
        """One for each parameter."""
        return self.dim

    def place(self, uniforms: Array) -> Array:
        """Return shares of exponential numbers, which are uniform on the simplex."""
        waits = -logs(uniforms)
        return np.asarray(self.total * waits / waits.sum(axis=-1, keepdims=True))


@njit(cache=True, nogil=True, error_model="numpy")
def _on_simplex(theta, total):  # type: ignore[no-untyped-def]
    _on_simplex_weighted(theta, np.ones_like(theta), total)


@njit(cache=True, nogil=True, error_model="numpy")
def _on_simplex_weighted(theta, weights, total):  # type: ignore[no-untyped-def]
    dim, count = theta.shape
    level = np.full(count, -np.inf)
    left, paces = np.empty(count), np.empty(count)
    for d in range(dim):
        for k in range(count):
            weights[d, k] = 1 / weights[d, k]
    # What has been left out stays out: the level only rises.
    for _ in range(dim + 1):
        left[:], paces[:] = -total, 0.0
        for d in range(dim):
            for k in range(count):
                out = theta[d, k] <= level[k] * weights[d, k]
                left[k] += 0.0 if out else theta[d, k]
                paces[k] += 0.0 if out else weights[d, k]
        rising = 0
        for k in range(count):
            higher = left[k] / paces[k]
            rises = higher > level[k]
            level[k] = higher if rises or higher != higher else level[k]
            rising += rises
        if rising == 0:
            break
    for d in range(dim):
        for k in range(count):
            rest = theta[d, k] - level[k] * weights[d, k]
            theta[d, k] = 0.0 if rest < 0 else rest
