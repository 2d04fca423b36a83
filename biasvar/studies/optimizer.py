"""Optimizer studies: update rules over grids of hyperparameters, descending objectives."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from biasvar.fields import Json
from biasvar.optimization import trajectories
from biasvar.optimization.batches import FULL, Batches
from biasvar.optimization.descent import Descent
from biasvar.optimization.quantities import GAP, NAMES
from biasvar.studies import optimizer_replicates as replicates
from biasvar.studies.base import Begun, BlockRecords, BlockSource, Group, edition_of
from biasvar.studies.descents import DescentStudy
from biasvar.studies.optimizer_problems import problem_dataset
from biasvar.studies.optimizer_summary import OptimizerGrid, problem_name

LOOKED_AT = 1000  # starts, at most, of which it is said how many are outside a set
MAX_CELLS = 4096  # configurations in a group, so that large grids are shared out among workers


class OptimizerStudy(DescentStudy):
    """Ask how update rules descend objectives, over grids of their hyperparameters.

    Every configuration of a replicate starts at the same point and sees the same minibatches.

    Parameters
    ----------
    name : str
        Name of the study: letters, digits, ``.``, ``-`` and ``_``.
    objectives : dict of str to objective
        What is minimised, by label; see ``biasvar.optimization.objectives``.
    optimizers : dict of str to update rule
        What minimises it, each with a grid of hyperparameters; see ``biasvar.optimization.rules``.
    steps : int
        How many steps at the most. More than a store has extend it: its descents go on if it has ``keep_state``, else
        they are simulated again.
    batch_size : sequence of int or None
        Examples per step: None for all, 1 for online. Objectives without data have None alone, whether it is among
        these or not.
    order : {"shuffled", "replacement", "fixed"}
        Minibatches of shuffled epochs, of independent draws, or in the order of the data.
    replicates : int
        Random starting points and orders.
    initial : dict of str to point or law, optional
        Starting point of each objective, or the law of its coordinates; ``Normal(0, 1)`` unless given.
    constraints : dict of str to set, optional
        What the parameters of objectives are kept in: after each step the nearest point of the set is taken, in the
        norm of the update rule; see ``biasvar.optimization.sets``. Starts outside begin at their nearest point.
    tolerance : float
        Gradient norm at which a trajectory has converged, and stops; within a set, length of the step along the
        gradient to the nearest point.
    targets : dict of str to sequence of float, optional
        Values of each objective whose cost is asked for, as many for each; a trajectory stops at the lowest.
    record : sequence of str
        What is summarised: objective, gradient_norm, distance (to the minimiser), excess_risk (on held-out data, over
        that of the minimiser); gap (within a set: at least J - J* if J is convex, infinite where the set has no end);
        sharpness (greatest eigenvalue of the Hessian); parameters. All but the last two unless given.
    record_steps : sequence of int, optional
        After which steps trajectories are looked at, and may stop; 0 is the start. Log-spaced unless given; with
        ``keep_state`` the round numbers 1, 2, ..., 10, 15, 20, 25, 30, 40, ..., 100, 150, ..., and the last.
    keep_state : bool
        Keep where descents end, and in which state of the rule, so that a study with more steps goes on from there,
        with the bits of one run. What looks elsewhere on its way, or has a schedule that depends on the number of
        steps, is simulated again.
    seed : int
        Seed of everything random in the study.
    check : bool
        Refuse derivatives that values contradict, before anything runs: see :func:`biasvar.check_derivatives`.
    description : str
        A line about the study for people.

    Raises
    ------
    StudyError
        If a field is unknown, missing, of the wrong type or does not fit the others.

    References
    ----------
    I. Goodfellow, Y. Bengio, A. Courville, Deep Learning, 2016, chapter 8.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.OptimizerStudy(
    ...     name="ravine", objectives={"ravine": bv.Quadratic(eigenvalues=[1, 100])},
    ...     optimizers={"sgd": bv.SGD(learning_rate=[0.001, 0.01])}, steps=100, replicates=4,
    ... )
    >>> [group.path.split("~")[:2] for group in study.groups()]
    [['ravine', 'sgd/sgd']]
    """

    kind: ClassVar[str] = "optimizer"

    # What the engine asks

    @property
    def block_size(self) -> int:
        """Replicates in a block: one."""
        return 1

    @property
    def block_work(self) -> int:
        """Steps of a replicate."""
        return self.steps

    def groups(self, stored: Collection[tuple[str, str]] = ()) -> list[Group]:
        """Arrange the configurations that are not stored yet: a group for each objective and optimizer."""
        return self._arranged(frozenset(stored)) if stored else self._all_groups

    @cached_property
    def _all_groups(self) -> list[Group]:
        return self._arranged(frozenset())

    def _arranged(self, stored: frozenset[tuple[str, str]]) -> list[Group]:
        groups = []
        for problem in self._problems():
            name = problem.name
            keys = [key for key in problem.keys if (name, key) not in stored]
            size, edition = self.descent(*problem.labels).statistics, self.editions[name]
            for start in range(0, len(keys), MAX_CELLS):
                chosen = tuple(keys[start : start + MAX_CELLS])
                groups.append(Group(name, chosen, size, problem.labels[1], edition))
        return groups

    @cached_property
    def editions(self) -> dict[str, str]:
        """Which records each problem has: others with other steps."""
        return {problem.name: self._edition(self.descent(*problem.labels)) for problem in self._problems()}

    def _edition(self, descent: Descent) -> str:
        return edition_of(replicates.coordinates(descent))

    def _problems(self) -> Iterator["_Problem"]:
        for labels, grid in self.grids.items():
            yield _Problem(labels, tuple(grid.configurations))

    def blocks_needed(self, summary: xr.DataTree | None = None) -> dict[str, int]:
        """Return how many replicates each problem needs: all the same."""
        return {problem.name: self.replicates for problem in self._problems()}

    def simulate(self, group: Group, block: int, work: int | None = None) -> BlockRecords:
        """Run one replicate of a group's configurations."""
        descent = self.descent(*labels_of(group))
        return self._descend(descent if work is None else descent.cut(work), group, block, {})

    def work_begun(self, group: Group, statistic: Mapping[str, NDArray[Any]]) -> int:
        """Return after how many steps descents go on that an earlier edition has kept; 0 if they begin anew."""
        names = np.asarray(statistic["moment"]).tolist()
        steps = int(statistic["place"][names.index("outcome")]) if "outcome" in names else 0
        if not 0 < steps < self.steps:
            return 0
        before = replicates.shorter(self.descent(*labels_of(group)), steps)
        return steps if before is not None and self._edition(before) == edition_of(statistic) else 0

    def go_on(self, group: Group, block: int, begun: Sequence[Begun]) -> BlockRecords:
        """Run one replicate of a group's configurations, each from where the longest of those before left off."""
        descent = self.descent(*labels_of(group))
        return self._descend(descent, group, block, replicates.taken_up(descent, begun))

    def _descend(
        self, descent: Descent, group: Group, block: int, begun: Mapping[str, trajectories.Begun]
    ) -> BlockRecords:
        objective, optimizer = labels_of(group)
        grid = self.grids[objective, optimizer].configurations
        replicate = replicates.Replicate(
            descent, self.initial_point(objective, block), lambda size: self._batches(objective, block, size)
        )
        return replicate.run({key: grid[key] for key in group.cells}, begun)

    def _batches(self, objective: str, replicate: int, size: int) -> Iterable[NDArray[np.intp]] | None:
        if size == FULL:
            return None
        examples = self.objective(objective).examples
        return None if examples is None else Batches(self.stream(objective, replicate), examples, size, self.order)

    @property
    def headline_name(self) -> str:
        """Which number of a cell is shown while the study runs."""
        return "objective J"

    def headline(self, group: Group, records: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the last recorded objective, where it is finite."""
        last = self.descent(*labels_of(group)).last_objective(records)
        return np.where(np.isfinite(last), last, np.nan)

    def record_coordinates(self, group: Group) -> dict[str, NDArray[Any]]:
        """Return the name of every number of a record, and the step at which it was recorded."""
        return replicates.coordinates(self.descent(*labels_of(group)))

    def extension_errors(self, stored: Json) -> list[str]:
        """Say where this study differs from a stored one, in JSON, beyond extending it."""
        if self.steps > stored.get("steps", self.steps):  # then looks may be others too, and nothing need be kept
            stored = {**stored, "record_steps": self.to_json()["record_steps"], "keep_state": self.keep_state}
        known = stored.get("constraints", {})
        newly = [label for label in stored["objectives"] if label in self.constraints and label not in known]
        errors = [f"constraints.{label}: the store has none, the study {self.constraints[label]!r}" for label in newly]
        return errors + super().extension_errors(stored)

    def superseded(self, stored: Json) -> str:
        """Say what becomes of descents where there are more steps: they go on, or are simulated again."""
        before = stored.get("steps", self.steps)
        if self.steps <= before:
            return ""
        why = f"steps: {before} in the store, {self.steps} now"
        if not stored.get("keep_state"):
            return f"{why}: descents are simulated again, from the start"
        if stored["record_steps"] != [step for step in self.all_record_steps if step <= before]:
            return (
                f"{why}: descents are simulated again, from the start, since record_steps up to {before} are not those "
                f"of the store, {', '.join(map(str, stored['record_steps']))}"
            )
        again = [
            label for label in self.optimizers if not replicates.agrees(self.rule(label).schedule, before, self.steps)
        ]
        but = f", but those of {', '.join(again)} from the start: schedules there depend on the number of steps"
        return f"{why}: descents go on from where they ended{but if again else ''}"

    def union(self, other: Self) -> Self:
        """Return the least study that extends both, with the looks of the longer one, and what it keeps."""
        both = super().union(other)
        longer = max(self, other, key=lambda study: study.steps)
        return both.replace(record_steps=longer.record_steps, keep_state=longer.keep_state)

    @cached_property
    def grid(self) -> OptimizerGrid:
        """What is made of the records."""
        descents = {problem.labels: self.descent(*problem.labels) for problem in self._problems()}
        # Of stores that are older than the gap, the default must stay what it was.
        record = (*NAMES, GAP.name) if self.record == NAMES else self.record
        return OptimizerGrid(descents, self.grids, self._problem_datasets(), self.replicates, record, self.order)

    def _problem_datasets(self) -> dict[str, xr.Dataset]:
        chosen = {label: self.rule(label) for label in self.optimizers}
        looked_at = range(min(self.replicates, LOOKED_AT))
        found = {}
        for label in self.objectives:
            within = self.within(label)
            drawn = [] if within is None else [self.drawn_point(label, replicate) for replicate in looked_at]
            outside = 0 if within is None else int((~within.contains(np.stack(drawn))).sum())
            found[label] = problem_dataset(self.objective(label), chosen, outside, len(drawn))
        return found

    def layout(self) -> xr.DataTree:
        """Return the empty labelled summary."""
        return self.grid.layout()

    def summarise(self, source: BlockSource) -> xr.DataTree:
        """Turn records into means, quantiles, outcomes, best configurations and sensitivities."""
        return self.grid.summarise(source)


@dataclass(frozen=True)
class _Problem:
    """One objective descended by one optimizer."""

    labels: tuple[str, str]
    keys: tuple[str, ...]

    @property
    def name(self) -> str:
        return problem_name(*self.labels)


def labels_of(group: Group) -> tuple[str, str]:
    """Return a group's objective and optimizer."""
    objective, _, optimizer = group.problem.partition("~")
    return objective, optimizer
