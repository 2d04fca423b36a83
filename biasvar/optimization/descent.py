"""The loop of all studies: many configurations of one update rule descend one objective, side by side.

Parameters are kept as arrays (D, K), trajectories innermost; objectives are given the transposed view (K, D). All that
happens to a trajectory depends on itself alone: tiles have the width that belongs to D, padded if need be, so that a
matrix product gives it the same bits whichever others stand beside it. A step is
:func:`biasvar.optimization.rules.advance`; :func:`biasvar.optimization.rules.descend` is the same loop without tiles,
looks and outcomes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from biasvar.optimization.objectives import Objective
from biasvar.optimization.rules import UpdateRule, advance

TILE_NUMBERS = 1 << 14  # parameters in a tile, so that it and the state of its rule stay in the cache
LEAST_WIDTH, PADDED_WIDTH = 64, 1024
DIVERGED = 1e12  # times the size of the objective at the start, and more
QUANTITIES = ("objective", "gradient_norm", "distance", "risk")

Array = NDArray[np.float64]


class Outcome(IntEnum):
    """What became of a trajectory."""

    RUNNING = 0  # when the last step was done
    CONVERGED = 1  # the gradient norm fell below the tolerance
    REACHED = 2  # all target values were reached
    DIVERGED = 3
    FAILED = 4  # objective or rule raised


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
    def statistics(self) -> int:
        """Numbers in a trajectory's record: all quantities at each look, the outcome, and its step."""
        return len(self.record_steps) * self.quantities + 2

    def cut(self, steps: int) -> "Descent":
        """Return the first steps of this descent."""
        first = tuple(step for step in self.record_steps if step < steps)
        return replace(self, record_steps=(*first, steps))

    def unpack(self, records: Array) -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
        """Take records (..., statistics) apart: looks (..., looks, quantities), outcomes and their steps."""
        looks = records[..., :-2].reshape(*records.shape[:-1], len(self.record_steps), self.quantities)
        outcomes = np.nan_to_num(records[..., -2], nan=Outcome.FAILED).astype(np.int64)
        stops = np.nan_to_num(records[..., -1], nan=0).astype(np.int64)
        return looks, outcomes, stops

    def last_objective(self, records: Array) -> Array:
        """Return the objective at the last look of records (..., statistics)."""
        last: Array = records[..., -2 - self.quantities]
        return last

    def run(self, initial: Array, hyper: Mapping[str, Array], batches: Iterable[NDArray[np.intp]] | None) -> Array:
        """Run K configurations from one point.

        Parameters
        ----------
        initial : ndarray of shape (D,)
            Where all start.
        hyper : mapping of str to ndarray of shape (K,)
            Hyperparameters of each configuration.
        batches : iterable of index arrays, or None
            Examples that each step sees, the same for all; None: all examples.

        Returns
        -------
        ndarray of shape (K, statistics)
            What was recorded (infinite once diverged), the :class:`Outcome`, and the step at which it came.
        """
        count = len(next(iter(hyper.values())))
        parts = []
        for chosen in self._tiles(count):
            tile = _Tile(self, initial, {name: np.ascontiguousarray(values[chosen]) for name, values in hyper.items()})
            parts.append(tile.run(batches))
        return np.concatenate(parts)[:count]

    def _tiles(self, count: int) -> Iterator[NDArray[np.intp]]:
        """Yield the configurations of each tile; the last tile is padded with copies, which are then forgotten."""
        width = max(LEAST_WIDTH, TILE_NUMBERS // _power_of_two(self.dim))
        elementwise = self.objective.elementwise
        if not elementwise:
            width = min(width, PADDED_WIDTH)
        for start in range(0, count, width):
            stop = max(min(start + width, count), start + LEAST_WIDTH) if elementwise else start + width
            yield np.minimum(np.arange(start, stop), count - 1)


def _power_of_two(least: int) -> int:
    return 1 << (max(least, 1) - 1).bit_length()


class _Tile:
    """So many trajectories as are computed together."""

    def __init__(self, descent: Descent, initial: Array, hyper: Mapping[str, Array]) -> None:
        self.descent, self.hyper = descent, dict(hyper)
        width = len(next(iter(hyper.values())))
        self.theta: Array = np.repeat(np.asarray(initial, dtype=float)[:, None], width, axis=1)
        self.state = descent.rule.init(self.theta)
        self.outcomes = np.zeros(width, np.int64)
        self.stops = np.full(width, descent.steps)
        self.records: list[Array] = []
        self.bound = np.inf

    def run(self, batches: Iterable[NDArray[np.intp]] | None) -> Array:
        done, source = 0, iter(repeat(None) if batches is None else batches)
        with np.errstate(all="ignore"):  # what diverges is told by its outcome
            self.bound = self._bound()
            for record_step in self.descent.record_steps:
                if (self.outcomes != Outcome.RUNNING).all():
                    self.records.append(self.records[-1])
                    continue
                self._advance(done, record_step, source)
                done = record_step
                self._look(record_step)
        looks = np.stack(self.records, axis=1)
        return np.column_stack([looks.reshape(len(looks), -1), self.outcomes, self.stops])

    def _bound(self) -> float:
        start = float(np.asarray(self.descent.objective.value(self.theta[:, :1].T)).reshape(-1)[0])
        return DIVERGED * (1 + abs(start))

    def _advance(self, first: int, last: int, source: Iterator[NDArray[np.intp] | None]) -> None:
        """Take steps first + 1 to last."""
        rule, objective, steps = self.descent.rule, self.descent.objective, self.descent.steps

        def gradient(place: Array) -> Array:
            return np.asarray(objective.gradient(place.T, next(source))).T

        for step in range(first + 1, last + 1):
            self.theta, self.state = advance(rule, gradient, self.theta, self.state, step, steps, self.hyper)

    def _look(self, step: int) -> None:
        """Record all trajectories, and stop those that are done."""
        found = self._measure()
        value, norm = found[:, 0], found[:, 1]
        stopped = self.outcomes != Outcome.RUNNING
        if stopped.any():
            found[stopped] = self.records[-1][stopped]
        diverged = ~stopped & ~(np.isfinite(value) & np.isfinite(norm) & (value < self.bound))
        found[diverged] = np.inf
        stopped |= diverged
        converged = ~stopped & (norm < self.descent.tolerance)
        reached = ~stopped & ~converged & (value <= min(self.descent.targets, default=-np.inf))
        for mask, outcome in (
            (diverged, Outcome.DIVERGED),
            (converged, Outcome.CONVERGED),
            (reached, Outcome.REACHED),
        ):
            self.outcomes[mask], self.stops[mask] = outcome, step
        self.records.append(found)

    def _measure(self) -> Array:
        """Return all quantities of all trajectories, shape (K, quantities); NaN for what the objective lacks."""
        objective, at = self.descent.objective, self.theta.T
        found = np.full((len(at), self.descent.quantities), np.nan)
        found[:, 0] = objective.value(at)
        found[:, 1] = np.sqrt((np.asarray(objective.gradient(at)) ** 2).sum(axis=-1))
        if (minimizer := objective.minimizer) is not None:
            found[:, 2] = np.sqrt(((at - minimizer) ** 2).sum(axis=-1))
        if objective.has_held_out:
            found[:, 3] = objective.risk(at)
        if self.descent.parameters:
            found[:, len(QUANTITIES) :] = at
        return found


def log_spaced(steps: int, count: int) -> Sequence[int]:
    """Return up to ``count`` steps from 1 to ``steps``, evenly spaced on a logarithmic scale.

    Examples
    --------
    >>> log_spaced(1000, 7)
    [1, 3, 10, 32, 100, 316, 1000]
    """
    return sorted({round(value) for value in np.geomspace(1, steps, count).tolist()})
