"""What is recorded of a descent, as data: each quantity is one entry of a table.

Records, their names in stores, what a study may ask for, and the labelled summary all follow from the table.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from biasvar.optimization.columns import Array
from biasvar.optimization.curvature import STEPS, sharpness
from biasvar.optimization.objectives import Objective


@dataclass(frozen=True)
class Look:
    """Some trajectories at one step; the gradient is taken once for all quantities.

    Parameters
    ----------
    objective : Objective
        What they descend.
    theta : ndarray of shape (K, D)
        Where they are.
    """

    objective: Objective
    theta: Array

    @cached_property
    def gradient(self) -> Array:
        """The gradient over all examples, shape (K, D)."""
        return np.asarray(self.objective.gradient(self.theta))


def _always(objective: Objective) -> bool:
    return True


def _nothing(objective: Objective) -> float:
    return 0.0


@dataclass(frozen=True)
class Quantity:
    """A number that is recorded of each trajectory at each look.

    Parameters
    ----------
    name, label, short_name, unit : str
        What its mean is called in code, in words, and at the head of a column; and its unit.
    measure : callable
        Its values, shape (K,), of a :class:`Look`.
    recorded_of : callable, optional
        Whether it is recorded of an objective; missing where it is not.
    shown_of : callable, optional
        Whether the summary shows it; where it is recorded unless given.
    less : callable, optional
        What the summary takes from it, of the objective alone.
    recorded_as : str
        What stores call it, if not its name.
    label_within : str
        What it is in words within a set, if not the same.
    """

    name: str
    label: str
    short_name: str
    unit: str
    measure: Callable[[Look], Array]
    recorded_of: Callable[[Objective], bool] = field(default=_always, kw_only=True)
    shown_of: Callable[[Objective], bool] | None = field(default=None, kw_only=True)
    less: Callable[[Objective], float] = field(default=_nothing, kw_only=True)
    recorded_as: str = field(default="", kw_only=True)
    label_within: str = field(default="", kw_only=True)

    @property
    def stored_name(self) -> str:
        """What stores call it."""
        return self.recorded_as or self.name

    def label_of(self, objective: Objective) -> str:
        """Return what it is in words, of an objective."""
        return self.label_within if self.label_within and objective.within is not None else self.label

    def is_shown(self, objective: Objective) -> bool:
        """Tell whether the summary of an objective's descents has it."""
        return (self.shown_of or self.recorded_of)(objective)


def _value(look: Look) -> Array:
    return np.asarray(look.objective.value(look.theta))


def _gradient_norm(look: Look) -> Array:
    within, step = look.objective.within, look.gradient
    if within is not None:
        step = look.theta - within.project(look.theta - step)
    norm: Array = np.sqrt((step**2).sum(axis=-1))
    return norm


def _gap(look: Look) -> Array:
    within, gradient = look.objective.within, look.gradient
    if within is None:
        return np.full(len(look.theta), np.nan)
    gap: Array = (gradient * look.theta).sum(axis=-1) + within.support(-gradient)
    # Within the set none is below zero, but for rounding.
    return np.maximum(gap, 0.0)


def _distance(look: Look) -> Array:
    minimizer = np.asarray(look.objective.minimizer, dtype=float)
    distance: Array = np.sqrt(((look.theta - minimizer) ** 2).sum(axis=-1))
    return distance


def _risk(look: Look) -> Array:
    return np.asarray(look.objective.risk(look.theta))


def _least_risk(objective: Objective) -> float:
    minimizer = objective.minimizer
    return np.nan if minimizer is None else float(np.asarray(objective.risk(minimizer[None]))[0])


def _has_minimizer(objective: Objective) -> bool:
    return objective.minimizer is not None


def _has_bounds(objective: Objective) -> bool:
    return objective.within is not None


def _has_held_out(objective: Objective) -> bool:
    return objective.has_held_out


#: Recorded of all descents, in this order. The first two decide what becomes of a trajectory.
QUANTITIES = (
    Quantity("objective", "objective J", "J", "J", _value),
    Quantity(
        "gradient_norm",
        "norm of the gradient of J over all examples",
        "|grad J|",
        "J/theta",
        _gradient_norm,
        label_within="length of the step along the gradient of J, over all examples, to the nearest point of the set",
    ),
    Quantity("distance", "distance to the minimiser", "distance", "theta", _distance, recorded_of=_has_minimizer),
    # What is recorded needs no minimiser: the least risk is taken off when the records are summarised.
    Quantity(
        "excess_risk",
        "risk on held-out data less that of the minimiser",
        "excess risk",
        "loss",
        _risk,
        recorded_of=_has_held_out,
        shown_of=lambda objective: _has_minimizer(objective) and _has_held_out(objective),
        less=_least_risk,
        recorded_as="risk",
    ),
)
#: Recorded of descents within sets. For convex J it bounds J - J*, by the first-order condition
#: J(s) >= J(theta) + <grad J(theta), s - theta> for all s in the set.
GAP = Quantity(
    "gap",
    "greatest <grad J, theta - s> over s in the set, at least J - J* if J is convex",
    "gap",
    "J",
    _gap,
    recorded_of=_has_bounds,
)
#: Recorded where it is asked for.
SHARPNESS = Quantity(
    "sharpness",
    f"greatest eigenvalue of the Hessian of J, by at most {STEPS} steps of Lanczos' method",
    "sharpness",
    "J/theta^2",
    lambda look: sharpness(look.objective, look.theta),
    recorded_of=lambda objective: objective.has_hessian_product,
)
NAMES = tuple(quantity.name for quantity in QUANTITIES)
#: What a study may ask for.
RECORDABLE = (*NAMES, GAP.name, SHARPNESS.name)
OBJECTIVE, GRADIENT_NORM = NAMES.index("objective"), NAMES.index("gradient_norm")

#: What may be recorded besides: all of theta.
PARAMETERS = "parameters"
