"""An objective whose parameters are kept in a set."""

from functools import cached_property

from biasvar.optimization.objectives.base import Array, Batch, Objective
from biasvar.optimization.sets import ConvexSet


def constrained(objective: Objective, within: ConvexSet) -> Objective:
    """Return an objective whose parameters are kept in a set: its least value is that within.

    Parameters
    ----------
    objective : Objective
        What is minimised.
    within : ConvexSet
        What parameters are kept in.

    Examples
    --------
    >>> from biasvar import Quadratic, Simplex
    >>> constrained(Quadratic([1, 3]), Simplex(dim=2)).minimizer.round(12).tolist()
    [0.75, 0.25]
    """
    return _Constrained(objective, within)


def unconstrained(objective: Objective) -> Objective:
    """Return an objective without the set that its parameters are kept in."""
    return objective.objective if isinstance(objective, _Constrained) else objective


class _Constrained(Objective):
    def __init__(self, objective: Objective, within: ConvexSet) -> None:
        self.objective, self._within = objective, within

    @property
    def within(self) -> ConvexSet:
        return self._within

    @property
    def dim(self) -> int:
        return self.objective.dim

    def value(self, theta: Array) -> Array:
        return self.objective.value(theta)

    def gradient(self, theta: Array, batch: Batch | None = None) -> Array:
        return self.objective.gradient(theta, batch)

    def hessian_product(self, theta: Array, v: Array) -> Array:
        return self.objective.hessian_product(theta, v)

    @property
    def has_hessian_product(self) -> bool:
        return self.objective.has_hessian_product

    @cached_property
    def minimizer(self) -> Array | None:
        return self.objective.minimizer_within(self.within)

    @property
    def examples(self) -> int | None:
        return self.objective.examples

    @property
    def has_held_out(self) -> bool:
        return self.objective.has_held_out

    def risk(self, theta: Array) -> Array:
        return self.objective.risk(theta)

    @property
    def elementwise(self) -> bool:
        return self.objective.elementwise and self.within.elementwise
