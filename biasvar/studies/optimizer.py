"""Optimizer studies: update rules over grids of hyperparameters, descending objectives."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from biasvar.errors import StudyError
from biasvar.fields import NonNegativeInt, NonNegativeReal, PositiveInt, one_or_more
from biasvar.learning.inputs import Normal
from biasvar.montecarlo.draws import Purpose, Stream, open_uniforms
from biasvar.optimization import objectives, rehearsal, rules, sets, trajectories
from biasvar.optimization.batches import FULL, Batches, Order
from biasvar.optimization.descent import Descent
from biasvar.optimization.objectives import Objective
from biasvar.optimization.objectives.constrained import constrained
from biasvar.optimization.quantities import GAP, NAMES, PARAMETERS
from biasvar.optimization.rules import UpdateRule
from biasvar.optimization.sets import ConvexSet
from biasvar.studies import components
from biasvar.studies import optimizer_fields as fields
from biasvar.studies import optimizer_replicates as replicates
from biasvar.studies.base import Begun, BlockRecords, BlockSource, Group, edition_of
from biasvar.studies.derivatives import check_derivatives, wrong
from biasvar.studies.grids import Grid
from biasvar.studies.marks import AtLeast, Axis, Component, Fixed, Labelled, Selection, Unwritten
from biasvar.studies.optimizer_summary import OptimizerGrid, problem_name
from biasvar.studies.study import Study

MAX_CELLS = 4096  # configurations in a group, so that large grids are shared out among workers


class OptimizerStudy(Study[xr.DataTree]):
    """Ask how update rules descend objectives, over grids of their hyperparameters.

    Every configuration of a replicate starts at the same point and sees the same minibatches.

    Parameters
    ----------
    name : str
        Name of the study: letters, digits, ``.``, ``-`` and ``_``.
    objectives : dict of str to objective
        What is minimised, by label; see :mod:`biasvar.optimization.objectives`.
    optimizers : dict of str to update rule
        What minimises it, each with a grid of hyperparameters; see :mod:`biasvar.optimization.rules`.
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
        norm of the update rule; see :mod:`biasvar.optimization.sets`. Starts outside begin at their nearest point.
    tolerance : float
        Gradient norm at which a trajectory has converged, and stops; within a set, length of the step along the
        gradient to the nearest point.
    targets : dict of str to sequence of float, optional
        Values of each objective whose cost is asked for, as many for each; a trajectory stops at the lowest.
    record : sequence of str
        What is summarised: objective, gradient_norm, distance (to the minimiser), excess_risk (on held-out data, over
        that of the minimiser); gap (within a set: at least J - J* if J is convex); parameters. Unless given, all but
        the last.
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
        Compare derivatives with values before anything runs, and refuse wrong ones: see
        :func:`biasvar.check_derivatives`.
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

    objectives: Annotated[dict[str, Any], Labelled(Component(components.OBJECTIVES))]
    optimizers: Annotated[dict[str, Any], Labelled(Component(components.OPTIMIZERS, grid=True))]
    steps: Annotated[PositiveInt, AtLeast()]
    batch_size: Annotated[tuple[NonNegativeInt, ...], BeforeValidator(fields.sizes), Field(min_length=1), Axis()] = (
        FULL,
    )
    order: Annotated[Order, Fixed()] = "shuffled"
    replicates: Annotated[PositiveInt, AtLeast()] = 16
    initial: Annotated[Mapping[str, Any], Labelled(fields.Start(), written_as="starts")] = MappingProxyType({})
    constraints: Annotated[Mapping[str, Any], Labelled(Component(components.SETS), silent=True)] = MappingProxyType({})
    tolerance: Annotated[NonNegativeReal, Fixed()] = 0.0
    targets: Annotated[Mapping[str, fields.Goals], Labelled(Fixed(), all_or_none=True)] = MappingProxyType({})
    record: Annotated[
        tuple[fields.Recordable, ...],
        BeforeValidator(one_or_more),
        Field(min_length=1),
        Selection(decisive=(PARAMETERS,)),
    ] = NAMES
    record_steps: Annotated[
        Annotated[tuple[NonNegativeInt, ...], BeforeValidator(one_or_more)] | None, Fixed(written_as="all_record_steps")
    ] = None
    keep_state: Annotated[bool, Fixed(silent=True)] = False
    check: Annotated[bool, Unwritten()] = False

    @classmethod
    def without_defaults(cls, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Leave out record_steps that are those of so many steps anyhow."""
        default = replicates.default_steps(fields["steps"], fields.get("keep_state", False))
        return {
            name: value
            for name, value in fields.items()
            if name != "record_steps" or value != sorted({*default, fields["steps"]})
        }

    def _fit_together(self) -> None:
        for name in ("objectives", "optimizers"):
            fields.check_labels(name, getattr(self, name))
        for name in ("initial", "targets", "constraints"):
            fields.check_known(name, getattr(self, name), self.objectives)
        fields.check_targets(self.targets, self.objectives)
        if len(set(self.batch_size)) < len(self.batch_size):
            raise ValueError(f"batch_size: {list(self.batch_size)} has a value twice; list each once")
        late = [step for step in self.record_steps or () if step > self.steps]
        if late:
            raise ValueError(f"record_steps: {late[0]} comes after the last step, {self.steps}")
        self._check_components(lambda component: component)
        fields.check_some_data(self.objectives.values(), self.batch_size)

    def _check_components(self, known: Callable[[Any], Any]) -> None:
        """Refuse objectives, constraints and update rules that cannot be; ``known`` may import them first."""
        for label, objective in self.objectives.items():
            fields.check_objective(label, known(objective), self.starts[label], self.batch_size)
        for label, within in self.constraints.items():
            fields.check_constraint(label, known(within), known(self.objectives[label]), self.starts[label])
        for label, rule in self.optimizers.items():
            fields.check_rule(label, known(rule))

    # What it is

    @property
    def starts(self) -> dict[str, Any]:
        """Where each objective's descents start, or the law of that."""
        return {label: Normal() for label in self.objectives} | dict(self.initial)

    @cached_property
    def all_record_steps(self) -> tuple[int, ...]:
        """Steps after which trajectories are looked at, the last one included."""
        given = (
            replicates.default_steps(self.steps, self.keep_state) if self.record_steps is None else self.record_steps
        )
        return tuple(sorted({*given, self.steps}))

    @cached_property
    def grids(self) -> dict[tuple[str, str], Grid]:
        """The configurations of each optimizer on each objective."""
        return {
            (objective, optimizer): Grid(self.rule(optimizer).hyperparameters, self.batch_sizes(objective))
            for objective in self.objectives
            for optimizer in self.optimizers
        }

    def batch_sizes(self, objective: str) -> tuple[int, ...]:
        """Return the batch sizes of an objective: of one without data there are no minibatches."""
        return (FULL,) if self.objective(objective).examples is None else self.batch_size

    def objective(self, label: str) -> Objective:
        """Return an objective, within its set if it has one, with every member that an objective has."""
        within = self.within(label)
        return self._free(label) if within is None else constrained(self._free(label), within)

    def _free(self, label: str) -> Objective:
        """Return an objective, imported if need be, without constraint."""
        with fields.named(f"objectives.{label}"):
            return objectives.adapted(components.resolved(self.objectives[label]))

    def within(self, label: str) -> ConvexSet | None:
        """Return the set that an objective's parameters are kept in, imported if need be; None if in none."""
        if label not in self.constraints:
            return None
        with fields.named(f"constraints.{label}"):
            return sets.adapted(components.resolved(self.constraints[label]))

    def rule(self, label: str) -> UpdateRule:
        """Return an update rule, imported if need be, with every member that a rule has."""
        with fields.named(f"optimizers.{label}"):
            return rules.adapted(components.resolved(self.optimizers[label]))

    def dim(self, label: str) -> int:
        """Return how many parameters an objective has."""
        start = self.initial.get(label)
        return len(start) if isinstance(start, tuple) else self._free(label).dim

    def descent(self, objective: str, optimizer: str) -> Descent:
        """Return how an optimizer descends an objective."""
        return Descent(
            self.objective(objective),
            self.rule(optimizer),
            self.dim(objective),
            self.steps,
            self.all_record_steps,
            self.tolerance,
            self.targets.get(objective, ()),
            PARAMETERS in self.record,
            self.keep_state,
        )

    def initial_point(self, objective: str, replicate: int) -> NDArray[np.float64]:
        """Return where a replicate starts, the same for all optimizers: within its set."""
        point, within = self._drawn_point(objective, replicate), self.within(objective)
        return point if within is None else within.project(point)

    def _drawn_point(self, objective: str, replicate: int) -> NDArray[np.float64]:
        start: Any = self.starts[objective]
        if isinstance(start, tuple):
            return np.array(start)
        dim = self.dim(objective)
        generator = self._stream(objective, replicate).generator(Purpose.INITIAL_POINT)
        point: NDArray[np.float64] = start.inputs_from(open_uniforms(generator, (dim, 1)), dim)[:, 0]
        return point

    def _stream(self, objective: str, replicate: int) -> Stream:
        return Stream(self.seed, f"objective={objective}", replicate)

    # What the engine asks

    @property
    def block_size(self) -> int:
        """Replicates in a block: one."""
        return 1

    @property
    def block_work(self) -> int:
        """Steps of a replicate."""
        return self.steps

    def call_user_code(self) -> None:
        """Call every objective and update rule once, as a descent will."""
        try:  # what was not imported yet is checked now
            self._check_components(components.resolved)
        except ValueError as error:
            raise StudyError(str(error)) from error
        for label in self.optimizers:
            if (schedule := self.rule(label).schedule) is not None:
                rehearsal.rehearse_schedule(schedule, label, self.steps)
        for label in self.objectives:
            self._rehearse(label)
        if self.check:
            self._refuse_wrong_derivatives()

    def _rehearse(self, label: str) -> None:
        objective, within, start = self.objective(label), self.within(label), self.initial_point(label, 0)
        largest, points = max(self.batch_sizes(label)), rehearsal.points_near(start)
        if within is not None:
            points = rehearsal.rehearse_set(within, f"constraints.{label}", points)
        batch = np.arange(largest) if largest != FULL else None
        rehearsal.rehearse_objective(objective, f"objectives.{label}", points, batch)
        for name in self.optimizers:
            first = next(iter(self.grids[label, name].configurations.values()))
            rehearsal.rehearse_rule(self.rule(name), name, objective, start, first.hyper, self.steps, self.keep_state)

    def check_derivatives(self) -> dict[str, xr.Dataset]:
        """Compare each objective's derivatives with its values, where its descents start."""
        found = {}
        for label in self.objectives:
            start = self.starts[label]
            at = np.array(start) if isinstance(start, tuple) else start
            with fields.named(f"objectives.{label}"):
                found[label] = check_derivatives(self._free(label), at=at, seed=self.seed)
        return found

    def _refuse_wrong_derivatives(self) -> None:
        for label, found in self.check_derivatives().items():
            for reason in wrong(found):
                raise StudyError(f"objectives.{label}.{reason}")

    def fingerprint_values(self) -> dict[str, list[float]]:
        """Return each objective's value and the size of its gradient where a few replicates start."""
        found: dict[str, list[float]] = {}
        for label in self.objectives:
            objective = self._free(label)
            points = np.stack([self.initial_point(label, replicate) for replicate in range(2)])
            sizes = np.abs(np.asarray(objective.gradient(points))).sum(axis=1)
            found[label] = [*np.asarray(objective.value(points)).tolist(), *sizes.tolist()]
        return found

    def changed_values(self, stored: Mapping[str, Sequence[float]]) -> str:
        """Say which objective has changed, though its name is the same."""
        mine = self.fingerprint_values()
        for label, numbers in stored.items():
            # Not to the last bit: mathematical functions differ between CPUs.
            if not np.allclose(mine[label], numbers, rtol=1e-6, atol=1e-9):
                return f"objectives.{label}: its values are not those that the store was made with"
        return ""

    def groups(self, stored: Collection[tuple[str, str]] = ()) -> list[Group]:
        """Arrange the configurations that are not stored yet: a group for each objective and optimizer."""
        groups = []
        for problem in self._problems():
            keys = [key for key in problem.keys if (problem.name, key) not in stored]
            size, edition = self.descent(*problem.labels).statistics, self.editions[problem.name]
            for start in range(0, len(keys), MAX_CELLS):
                chosen = tuple(keys[start : start + MAX_CELLS])
                groups.append(Group(problem.name, chosen, size, problem.labels[1], edition))
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

    def blocks_needed(self, summary: Any = None) -> dict[str, int]:
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
        return None if examples is None else Batches(self._stream(objective, replicate), examples, size, self.order)

    def headline(self, group: Group, records: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the last recorded objective, where it is finite."""
        last = self.descent(*labels_of(group)).last_objective(records)
        return np.where(np.isfinite(last), last, np.nan)

    def record_coordinates(self, group: Group) -> dict[str, NDArray[Any]]:
        """Return the name of every number of a record, and the step at which it was recorded."""
        return replicates.coordinates(self.descent(*labels_of(group)))

    def extension_errors(self, stored: Mapping[str, Any]) -> list[str]:
        """Say where this study differs from a stored one, in JSON, beyond extending it."""
        if self.steps > stored.get("steps", self.steps):  # then looks may be others too, and nothing need be kept
            stored = {**stored, "record_steps": self.to_json()["record_steps"], "keep_state": self.keep_state}
        known = stored.get("constraints", {})
        newly = [label for label in stored["objectives"] if label in self.constraints and label not in known]
        errors = [f"constraints.{label}: the store has none, the study {self.constraints[label]!r}" for label in newly]
        return errors + super().extension_errors(stored)

    def superseded(self, stored: Mapping[str, Any]) -> str:
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
        longer = max(self, other, key=lambda study: getattr(study, "steps", 0))
        return super().union(other).replace(record_steps=longer.record_steps, keep_state=longer.keep_state)

    @cached_property
    def grid(self) -> OptimizerGrid:
        """What is made of the records."""
        descents = {problem.labels: self.descent(*problem.labels) for problem in self._problems()}
        # Of stores that are older than the gap, the default must stay what it was.
        record = (*NAMES, GAP.name) if self.record == NAMES else self.record
        return OptimizerGrid(descents, self.grids, self.replicates, record, self.order)

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
