"""Which descents are compiled as a whole, and many steps of such a one."""

from collections.abc import Mapping
from typing import cast

import numpy as np

from biasvar.optimization import sets
from biasvar.optimization.columns import Array
from biasvar.optimization.objectives import Objective
from biasvar.optimization.objectives.columnwise import Columnwise
from biasvar.optimization.objectives.constrained import unconstrained
from biasvar.optimization.rules import UpdateRule
from biasvar.optimization.rules.base import State
from biasvar.optimization.rules.elementwise import Elementwise

_MEMBERS = ("update", "lookahead", "metric", "moved")


def why_stepwise(rule: UpdateRule, objective: Objective) -> str:
    """Say why steps have to be taken one at a time; empty text where compiled functions take many.

    What overrides a method of ours is asked for each step: it may do other things.

    Examples
    --------
    >>> import biasvar as bv
    >>> why_stepwise(bv.Adam(), bv.Quadratic([1, 100]))
    ''
    >>> why_stepwise(bv.Adam(), bv.EmpiricalRisk(([[1.0], [2.0]], [2.0, 4.0]), "squared"))
    'the gradient of EmpiricalRisk is not given as a slope'
    """
    within, bare = objective.within, unconstrained(objective)
    if type(bare).gradient is not Columnwise.gradient:
        return f"the gradient of {type(bare).__name__} is not given as a slope"
    if any(getattr(type(rule), name) is not getattr(Elementwise, name) for name in _MEMBERS):
        return f"{type(rule).__name__} is not given by its arithmetic"
    if within is not None and (within.nearest is None or type(within).project is not sets.Columnwise.project):
        return f"nearest points of {type(within).__name__} are not compiled"
    return ""


def advance_many(
    rule: UpdateRule,
    objective: Objective,
    theta: Array,
    state: State,
    steps: range,
    total: int,
    hyper: Mapping[str, Array],
) -> tuple[Array, State, Array]:
    """Take steps as :func:`~biasvar.optimization.rules.advance` does, with the same bits, where nothing forbids it.

    Parameters
    ----------
    rule, objective : UpdateRule, Objective
        What ``why_stepwise`` has nothing to say of.
    theta, state : ndarray of shape (D, K), tuple of ndarray
        Where the trajectories are.
    steps : range
        Which steps these are, from 1.
    total : int
        How many there will be.
    hyper : mapping of str to ndarray of shape (K,)
        Hyperparameters of each trajectory.

    Returns
    -------
    theta, state, gradients
        After these steps; the gradients are those of the last one.
    """
    arithmetic, slope = cast(Elementwise, rule).arithmetic, cast(Columnwise, unconstrained(objective)).slope
    schedule, nearest = rule.schedule, None if objective.within is None else objective.within.nearest
    factors = np.array([1.0 if schedule is None else schedule(step, total) for step in steps])
    theta, *after = (np.array(part, order="C") for part in (theta, *state))
    slopes = arithmetic.descend(slope, theta, after, [hyper[name] for name in arithmetic.hyper], factors, nearest)
    return theta, tuple(after), slopes
