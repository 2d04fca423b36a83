"""A descent but for its configurations, and what is recorded of a trajectory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from biasvar.optimization.objectives import Objective
from biasvar.optimization.quantities import OBJECTIVE, QUANTITIES
from biasvar.optimization.rules import UpdateRule

Array = NDArray[np.float64]


class Outcome(IntEnum):
    """What became of a trajectory.

    It *diverged* if, at a look, J had reached 1e12 (1 + the size of J at the start), or if something was not finite
    after J or theta had grown so much: J, the gradient or theta, all gradients before having been finite. It *failed*
    if something was not finite without such growth (a logarithm of a negative number, 0 / 0), or if objective or rule
    raised.
    """

    RUNNING = 0  # when the last step was done
    CONVERGED = 1  # the gradient norm fell below the tolerance
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
    """

    objective: Objective
    rule: UpdateRule
    dim: int
    steps: int
    record_steps: tuple[int, ...]
    tolerance: float = 0.0
    targets: tuple[float, ...] = ()
    parameters: bool = False

    @property
    def quantities(self) -> int:
        """Numbers recorded of a trajectory each time."""
        return len(QUANTITIES) + self.parameters * self.dim

    @property
    def measured(self) -> int:
        """Numbers recorded of a trajectory over all looks."""
        return len(self.record_steps) * self.quantities

    @property
    def statistics(self) -> int:
        """Numbers in a trajectory's record: all quantities at each look, the outcome, and its step."""
        return self.measured + 2

    def cut(self, steps: int) -> "Descent":
        """Return the first steps of this descent."""
        first = tuple(step for step in self.record_steps if step < steps)
        return replace(self, record_steps=(*first, steps))

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
