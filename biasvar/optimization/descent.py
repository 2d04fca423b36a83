"""A descent but for its configurations, and what is recorded of a trajectory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from biasvar.optimization import keeping
from biasvar.optimization.fused import why_stepwise
from biasvar.optimization.objectives import Objective
from biasvar.optimization.quantities import GAP, OBJECTIVE, QUANTITIES, SHARPNESS, Quantity
from biasvar.optimization.rules import UpdateRule

Array = NDArray[np.float64]

_TENTHS = (10, 15, 20, 25, 30, 40, 50, 60, 70, 80, 90)


class Outcome(IntEnum):
    """What became of a trajectory.

    It *diverged* if, at a look, J had reached 1e12 (1 + the size of J at the start), or if something was not finite
    after J or theta had grown so much: J, the gradient or theta, all gradients before having been finite. It *failed*
    if something was not finite without such growth (a logarithm of a negative number, 0 / 0), or if objective or rule
    raised.
    """

    RUNNING = 0  # when the last step was done
    CONVERGED = 1  # the gradient norm, or that of the step to the nearest point, fell below the tolerance
    REACHED = 2  # all target values were reached
    DIVERGED = 3
    FAILED = 4


@dataclass(frozen=True)
class Descent:
    """A descent but for its configurations: objective, rule, and when to look and to stop.

    Parameters
    ----------
    objective : Objective
        What is minimised.
    rule : UpdateRule
        What updates the parameters.
    dim : int
        D, number of parameters.
    steps : int
        How many steps at the most.
    record_steps : sequence of int
        After which steps trajectories are looked at, ascending; 0 is the start. It is then that they stop.
    tolerance : float
        Gradient norm at which a trajectory has converged; 0 never.
    targets : sequence of float
        Values of the objective to be reached; a trajectory that has reached the lowest stops.
    parameters : bool
        Whether the parameters are recorded too.
    keep_state : bool
        Whether the record says at the end where trajectories were, and in which state, so that others go on from there.
    sharpness : bool
        Whether the greatest eigenvalue of the Hessian is recorded too.
    """

    objective: Objective
    rule: UpdateRule
    dim: int
    steps: int
    record_steps: tuple[int, ...]
    tolerance: float = 0.0
    targets: tuple[float, ...] = ()
    parameters: bool = False
    keep_state: bool = False
    sharpness: bool = False

    @cached_property
    def recorded(self) -> tuple[Quantity, ...]:
        """What is recorded of a trajectory each time, but for its parameters."""
        more = {GAP: True, SHARPNESS: self.sharpness}
        return (*QUANTITIES, *(each for each, asked in more.items() if asked and each.recorded_of(self.objective)))

    @cached_property
    def stepwise(self) -> str:
        """Why steps are taken one at a time; empty text where compiled functions take many."""
        return why_stepwise(self.rule, self.objective)

    @property
    def quantities(self) -> int:
        """Numbers recorded of a trajectory each time."""
        return len(self.recorded) + self.parameters * self.dim

    @property
    def measured(self) -> int:
        """Numbers recorded of a trajectory over all looks."""
        return len(self.record_steps) * self.quantities

    @property
    def statistics(self) -> int:
        """Numbers in a trajectory's record: all quantities at each look, the outcome, its step, and what is kept."""
        return self.measured + 2 + len(self.kept)

    @cached_property
    def kept(self) -> tuple[str, ...]:
        """What is kept of a trajectory that runs at the end, by name."""
        return tuple(keeping.names(self.rule, self.dim)) if self.keep_state else ()

    def cut(self, steps: int) -> "Descent":
        """Return the first steps of this descent."""
        first = tuple(step for step in self.record_steps if step < steps)
        return replace(self, record_steps=(*first, steps))

    def kept_rows(self, records: Array) -> Array:
        """Return what records (..., statistics) keep of states."""
        rows: Array = records[..., self.measured + 2 :]
        return rows

    def unpack(self, records: Array) -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
        """Take records (..., statistics) apart: looks (..., looks, quantities), outcomes and their steps."""
        end = self.measured
        looks = records[..., :end].reshape(*records.shape[:-1], len(self.record_steps), self.quantities)
        outcomes = np.nan_to_num(records[..., end], nan=Outcome.FAILED).astype(np.int64)
        stops = np.nan_to_num(records[..., end + 1], nan=0).astype(np.int64)
        return looks, outcomes, stops

    def last_objective(self, records: Array) -> Array:
        """Return the objective at the last look of records (..., statistics)."""
        last: Array = records[..., self.measured - self.quantities + OBJECTIVE]
        return last


def log_spaced(steps: int, count: int) -> Sequence[int]:
    """Return up to ``count`` steps from 1 to ``steps``, evenly spaced on a logarithmic scale.

    Examples
    --------
    >>> log_spaced(1000, 7)
    [1, 3, 10, 32, 100, 316, 1000]
    """
    return sorted({round(value) for value in np.geomspace(1, steps, count).tolist()})


def round_steps(steps: int) -> Sequence[int]:
    """Return the round numbers up to ``steps``, eleven per decade: those of more steps begin with those of fewer.

    Examples
    --------
    >>> round_steps(120)
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 40, 50, 60, 70, 80, 90, 100]
    """
    decades = [10**power for power in range(len(str(steps)))]
    found = {tenths * decade // 10 for decade in decades for tenths in _TENTHS if tenths * decade % 10 == 0}
    return sorted(step for step in found if step <= steps)
