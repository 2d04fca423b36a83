"""Norms, and sets as functions: 0 inside, infinite outside."""

from functools import cached_property
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from biasvar.errors import StudyError
from biasvar.fields import PositiveInt, component
from biasvar.montecarlo.powers import powers
from biasvar.optimization.objectives.base import Described, Objective, check_dim, refuse_batch
from biasvar.optimization.sets import ConvexSet
from biasvar.optimization.sets import adapted as adapted_set

Array = NDArray[np.float64]


def _power(value: object) -> Any:
    return float("inf") if value == "inf" else value


@component
class Norm(Described, Objective):
    """Evaluate ``J(theta) = (sum_i |theta_i|^p)^(1/p)``, a norm for p >= 1, the greatest ``|theta_i|`` for p = inf.

    Below 1 it is none, and not convex. At kinks the gradient is one of those beside it, or between them.

    Parameters
    ----------
    p : float
        The power, above 0; ``"inf"`` in YAML.
    dim : int
        How many parameters there are.

    References
    ----------
    S. Boyd, L. Vandenberghe, Convex Optimization, 2004, appendix A.1.

    Examples
    --------
    >>> theta = np.array([3.0, -4.0])
    >>> [float(Norm(p, 2).value(theta).round(12)) for p in (1, 2, np.inf)]
    [7.0, 5.0, 4.0]
    >>> Norm(2, 2).gradient(theta).round(12).tolist()
    [0.6, -0.8]
    """

    p: Annotated[float, BeforeValidator(_power), Field(gt=0)]
    # With Field, what is abstract in the base is there when the class is made.
    dim: PositiveInt = Field()

    minimum = 0.0

    @cached_property
    def minimizer(self) -> Array:
        """The origin."""
        return np.zeros(self.dim)

    def to_fields(self) -> dict[str, Any]:
        """Return the fields as JSON."""
        return {"p": "inf" if np.isinf(self.p) else self.p, "dim": self.dim}

    def value(self, theta: Array) -> Array:
        """Return the norm, shape (...)."""
        check_dim(theta, self.dim)
        largest = np.abs(theta).max(axis=-1)
        if np.isinf(self.p):
            return np.asarray(largest)[()]
        # Relative to the largest, so that no power overflows.
        shares = self._shares(theta, largest)
        return np.asarray(largest * powers(powers(shares, self.p).sum(axis=-1), 1 / self.p))[()]

    def gradient(self, theta: Array, batch: NDArray[np.intp] | None = None) -> Array:
        """Return sign(theta_i) (|theta_i| / |theta|)^(p - 1); zero at zeros, and at the origin."""
        refuse_batch(self, batch)
        norm = np.asarray(self.value(theta))[..., None]
        if np.isinf(self.p):
            most = np.abs(theta) == norm
            return np.where(norm > 0, np.sign(theta) * most / most.sum(axis=-1, keepdims=True), 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            slopes = powers(np.abs(theta) / norm, self.p - 1)
        return np.where(theta == 0, 0.0, np.sign(theta) * slopes)

    def hessian_product(self, theta: Array, v: Array) -> Array:
        """Return (p - 1) / |theta| ((|theta_i| / |theta|)^(p - 2) v - g g'v), where no parameter is zero."""
        theta = np.broadcast_to(theta, np.shape(v))
        if np.isinf(self.p) or self.p == 1:
            return np.zeros_like(v, dtype=float)
        norm = np.asarray(self.value(theta))[..., None]
        g = self.gradient(theta)
        with np.errstate(divide="ignore", invalid="ignore"):
            bent = np.where(theta == 0, 0.0, powers(np.abs(theta) / norm, self.p - 2))
            product: Array = (self.p - 1) / norm * (bent * v - g * (g * v).sum(axis=-1, keepdims=True))
        return np.where(norm > 0, product, 0.0)

    def _shares(self, theta: Array, largest: Array) -> Array:
        scale = np.where(largest > 0, largest, 1.0)[..., None]
        shares: Array = np.abs(theta) / scale
        return shares


@component
class Indicator(Objective):
    """Evaluate J(theta) = 0 inside a set and infinity outside: convex if and only if the set is.

    Parameters
    ----------
    set : ConvexSet or alike
        The set; of one's own it needs ``contains(theta)`` and ``dim`` only.

    References
    ----------
    S. Boyd, L. Vandenberghe, Convex Optimization, 2004, section 3.1.2.

    Examples
    --------
    >>> from biasvar.optimization.sets.round import Ball
    >>> Indicator(Ball(1, dim=2)).value(np.array([[0.0, 1.0], [1.0, 1.0]])).tolist()
    [0.0, inf]
    """

    set: Any

    minimum = 0.0

    def __post_init__(self) -> None:
        _ = self._set

    @property
    def dim(self) -> int:
        """Number of parameters."""
        return self._set.dim

    def value(self, theta: Array) -> Array:
        """Return 0 or infinity, shape (...)."""
        return np.where(self._set.contains(theta), 0.0, np.inf)[()]

    def gradient(self, theta: Array, batch: NDArray[np.intp] | None = None) -> Array:
        """Return zeros inside; outside there is none, which NaN says."""
        refuse_batch(self, batch)
        return np.where(np.isfinite(self.value(theta))[..., None], np.zeros_like(theta), np.nan)

    @cached_property
    def _set(self) -> ConvexSet:
        try:
            return adapted_set(self.set)
        except StudyError as error:
            raise StudyError(f"set: {error}") from error
