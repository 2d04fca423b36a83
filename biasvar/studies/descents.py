"""What optimizer studies are about: objectives, sets, update rules, starts; what is refused of them."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from biasvar.errors import StudyError
from biasvar.fields import Json, NonNegativeInt, NonNegativeReal, PositiveInt, one_or_more
from biasvar.learning.inputs import Normal
from biasvar.montecarlo.draws import Purpose, Stream, open_uniforms
from biasvar.optimization import objectives, rehearsal, rules, sets
from biasvar.optimization.batches import FULL, Order
from biasvar.optimization.descent import Descent
from biasvar.optimization.objectives import Objective
from biasvar.optimization.objectives.constrained import constrained
from biasvar.optimization.quantities import NAMES, PARAMETERS, SHARPNESS
from biasvar.optimization.rules import UpdateRule
from biasvar.optimization.sets import ConvexSet
from biasvar.studies import components
from biasvar.studies import optimizer_fields as fields
from biasvar.studies import optimizer_replicates as replicates
from biasvar.studies.derivatives import check_derivatives, wrong
from biasvar.studies.grids import Grid
from biasvar.studies.labels import check_known, check_labels, named
from biasvar.studies.marks import AtLeast, Axis, Component, Fixed, Labelled, Selection, Unwritten
from biasvar.studies.optimizer_summary import reserved
from biasvar.studies.study import Study

CHECKED = 8  # starts, at which derivatives within a set are compared with values


class DescentStudy(Study[xr.DataTree]):
    """A study of update rules that descend objectives: its fields, and what is known before anything descends."""

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
        Selection(decisive=(SHARPNESS.name, PARAMETERS)),
    ] = NAMES
    record_steps: Annotated[
        Annotated[tuple[NonNegativeInt, ...], BeforeValidator(one_or_more)] | None, Fixed(written_as="all_record_steps")
    ] = None
    keep_state: Annotated[bool, Fixed(silent=True)] = False
    check: Annotated[bool, Unwritten()] = False

    @classmethod
    def without_defaults(cls, fields: Json) -> Json:
        """Leave out record_steps that are those of so many steps anyhow."""
        default = replicates.default_steps(fields["steps"], fields.get("keep_state", False))
        return {
            name: value
            for name, value in fields.items()
            if name != "record_steps" or value != sorted({*default, fields["steps"]})
        }

    def _fit_together(self) -> None:
        for name in ("objectives", "optimizers"):
            check_labels(name, getattr(self, name))
        for name in ("initial", "targets", "constraints"):
            check_known(name, getattr(self, name), self.objectives)
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
            fields.check_objective(label, known(objective), self.starts[label], self.batch_size, self.record)
        for label, within in self.constraints.items():
            fields.check_constraint(label, known(within), known(self.objectives[label]), self.starts[label])
        for label, rule in self.optimizers.items():
            fields.check_rule(label, known(rule), reserved())

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
        return self.free(label) if within is None else constrained(self.free(label), within)

    def free(self, label: str) -> Objective:
        """Return an objective, imported if need be, without constraint."""
        with named(f"objectives.{label}"):
            return objectives.adapted(components.resolved(self.objectives[label]))

    def within(self, label: str) -> ConvexSet | None:
        """Return the set that an objective's parameters are kept in, imported if need be; None if in none."""
        if label not in self.constraints:
            return None
        with named(f"constraints.{label}"):
            return sets.adapted(components.resolved(self.constraints[label]))

    def rule(self, label: str) -> UpdateRule:
        """Return an update rule, imported if need be, with every member that a rule has."""
        with named(f"optimizers.{label}"):
            return rules.adapted(components.resolved(self.optimizers[label]))

    def dim(self, label: str) -> int:
        """Return how many parameters an objective has."""
        start = self.initial.get(label)
        return len(start) if isinstance(start, tuple) else self.free(label).dim

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
            SHARPNESS.name in self.record,
        )

    def initial_point(self, objective: str, replicate: int) -> NDArray[np.float64]:
        """Return where a replicate starts, the same for all optimizers: within its set."""
        point, within = self.drawn_point(objective, replicate), self.within(objective)
        return point if within is None else within.project(point)

    def drawn_point(self, objective: str, replicate: int) -> NDArray[np.float64]:
        """Return where a replicate would start if there were no set."""
        start: Any = self.starts[objective]
        if isinstance(start, tuple):
            return np.array(start)
        dim = self.dim(objective)
        generator = self.stream(objective, replicate).generator(Purpose.INITIAL_POINT)
        point: NDArray[np.float64] = start.inputs_from(open_uniforms(generator, (dim, 1)), dim)[:, 0]
        return point

    def stream(self, objective: str, replicate: int) -> Stream:
        """Return the random numbers of a replicate of an objective."""
        return Stream(self.seed, f"objective={objective}", replicate)

    # What is a user's

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
            at: Any = self.starts[label]
            if label in self.constraints:
                # Outside its set an objective need not be defined.
                points = [self.initial_point(label, replicate) for replicate in range(CHECKED)]
                at = points[0] if isinstance(at, tuple) else np.stack(points)
            elif isinstance(at, tuple):
                at = np.array(at)
            with named(f"objectives.{label}"):
                found[label] = check_derivatives(self.free(label), at=at, seed=self.seed)
        return found

    def _refuse_wrong_derivatives(self) -> None:
        for label, found in self.check_derivatives().items():
            for reason in wrong(found):
                raise StudyError(f"objectives.{label}.{reason}")

    def fingerprint_values(self) -> dict[str, list[float]]:
        """Return each objective's value and the size of its gradient where a few replicates start."""
        found: dict[str, list[float]] = {}
        for label in self.objectives:
            objective = self.free(label)
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
