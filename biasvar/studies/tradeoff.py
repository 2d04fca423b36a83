"""Tradeoff studies: what a budget of gradient evaluations buys, split into three errors."""

import traceback
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from biasvar.errors import MACHINE_FAULTS, StudyError, sentence
from biasvar.fields import NonNegativeInt, PositiveInt, one_or_more
from biasvar.learning.decomposition import Problem
from biasvar.learning.hypotheses import adapted as adapted_set
from biasvar.learning.hypotheses.base import LeastSquaresSet
from biasvar.learning.hypotheses.linear import Polynomial, Ridge
from biasvar.learning.losses.base import Cell
from biasvar.learning.losses.squared import Squared
from biasvar.learning.record import Record
from biasvar.learning.simulation import simulate_block
from biasvar.learning.stopped import Bowls, Descents, record_of, stopped_records
from biasvar.learning.training_sets import TrainingSets
from biasvar.optimization import rehearsal, rules
from biasvar.optimization.batches import FULL, steps_within
from biasvar.optimization.objectives.functions import Quadratic
from biasvar.optimization.rules import UpdateRule
from biasvar.studies import components, optimizer_fields, sizes
from biasvar.studies.base import BlockRecords, BlockSource, Group, Reducer, problem_name
from biasvar.studies.drawn import DrawnStudy
from biasvar.studies.labels import check_labels, named
from biasvar.studies.marks import Axis, Component, Fixed, Labelled
from biasvar.studies.optimizer_fields import check_rule
from biasvar.studies.optimizer_replicates import agrees
from biasvar.studies.tradeoff_summary import MINIMISER, Stopped, TradeoffGrid, precise, reserved

PARTS = 64  # of the largest budget, of which a trial does fewer


class TradeoffStudy(DrawnStudy[xr.DataTree]):
    """Ask what least squares by an update rule has learnt when a budget of gradient evaluations is spent.

    With f the target, g* the best in class, g_n the minimiser of empirical risk and g_k what the rule has reached,

        excess_risk = approximation_error + estimation_error + optimization_error
        E(g_k) - E(f) = E(g*) - E(f) + E(g_n) - E(g*) + E(g_k) - E(g_n).

    The last is negative where stopping early regularises; of empirical risk it never is. All budgets are looked at in
    one pass, and all fits are made on the same training sets.

    The root of the summary has approximation and estimation error, a node for each optimizer the rest, with dims
    (hyperparameters, batch_size, n_train, noise, budget), and for each budget the training-set size and the
    hyperparameters that are best, ``best_n_train``, with the risk that they have on blocks that did not choose them,
    ``best_excess_risk``.

    Parameters
    ----------
    name : str
        Name of the study: letters, digits, ``.``, ``-`` and ``_``.
    target : callable
        f in y = f(x) + noise e.
    inputs : Uniform, Normal, FixedDesign or alike
        Law of x.
    model : Polynomial or LeastSquares
        What is fitted, a set that is linear in its coefficients and has no penalty. The rule descends from coefficients
        of zero on ``|y - phi c|^2 / (2 n)`` in the set's own features, which for ``Polynomial`` are orthonormal under
        the law of x.
    optimizers : dict of str to update rule
        What descends, by label, each with a grid of hyperparameters. ``SGD``, ``Momentum`` and ``Nesterov`` are linear:
        their label noise is integrated exactly with all examples, and serves all levels with fewer; of others it is
        simulated. A schedule must not depend on the number of steps.
    budgets : sequence of int
        Gradient evaluations, each of one example: ``budget // n_train`` steps with all examples.
    batch_size : sequence of int or None
        Examples per step: None for all, 1 for online, in epochs of random order.
    n_train : sequence of int
        Training-set sizes.
    noise : sequence of float
        Standard deviations of the label noise, in units of y.
    replicates : int, optional
        Random training sets per cell, at least 256 and a multiple of ``block_size``; 4096 unless ``precision`` is
        given.
    block_size : int
        Replicates in a block, the unit of standard errors; a power of two for Sobol.
    sampler : {"sobol", "random"}
        Scrambled Sobol points, or pseudo-random numbers.
    seed : int
        Seed of everything random in the study.
    precision : dict of str to float, optional
        Instead of ``replicates``: largest standard errors allowed, by variable.
    max_replicates : int, optional
        Where ``precision`` gives up; 2**24 unless given.
    test_points : int, optional
        Quadrature nodes per smooth piece in one dimension (64), Sobol points in more (2048).
    description : str
        A line about the study for people.

    Raises
    ------
    StudyError
        If a field is unknown, missing, of the wrong type or does not fit the others.

    References
    ----------
    L. Bottou and O. Bousquet, The tradeoffs of large scale learning, 2008.

    Examples
    --------
    Two noisy points and a line, whose least squares has no finite risk:

    >>> import biasvar as bv
    >>> study = bv.TradeoffStudy(
    ...     name="early", target=bv.Sine(), inputs=bv.Uniform(-1, 1), model=bv.Polynomial(1), n_train=2, noise=0.5,
    ...     optimizers={"descent": bv.SGD(0.2)}, budgets=[20, 200], replicates=2**13, block_size=2**9,
    ... )
    >>> tree = bv.lazy(study).compute()
    >>> float(tree.estimation_error.item()), tree["descent"].status.values.ravel().tolist()
    (inf, ['ok', 'ok'])
    >>> bool(abs(tree["descent"].excess_risk.sel(budget=200).item() - (0.708665 + 2.180184 / 4)) < 0.01)
    True
    """

    kind: ClassVar[str] = "tradeoff"
    default_replicates: ClassVar[int] = 2**12

    model: Annotated[Any, Component(components.HYPOTHESES)] = Polynomial(3)
    optimizers: Annotated[dict[str, Any], Labelled(Component(components.OPTIMIZERS, grid=True))]
    batch_size: Annotated[
        tuple[NonNegativeInt, ...], BeforeValidator(optimizer_fields.sizes), Field(min_length=1), Axis()
    ] = (FULL,)
    budgets: Annotated[tuple[PositiveInt, ...], BeforeValidator(one_or_more), Field(min_length=1), Axis()]
    block_size: Annotated[PositiveInt, Fixed()] = 2**8

    def _check_components(self) -> None:
        super()._check_components()
        if not callable(self.target):
            raise ValueError(f"target: expected a vectorised callable, got {self.target!r}")
        check_labels("optimizers", self.optimizers)
        if not isinstance(self.model, components.Imported):  # those are imported when the study runs
            _check_model(self.model)
            self._check_batches()
        for label, rule in self.optimizers.items():
            check_rule(label, rule, reserved())
            if not isinstance(rule, components.Imported):
                self._check_schedule(label)

    def _check_batches(self) -> None:
        for name in ("batch_size", "budgets"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name}: {list(values)} has a value twice; list each once")
        if max(self.batch_size) > min(self.n_train):
            raise ValueError(
                f"batch_size: {max(self.batch_size)} is more than the {min(self.n_train)} examples of the smallest "
                "n_train; use None for all of them"
            )

    def _check_schedule(self, label: str) -> None:
        longest = max(max(self._steps(n, size)) for n in self.n_train for size in self.batch_size)
        if not agrees(self.rule(label).schedule, longest, 2 * longest):
            raise ValueError(
                f"optimizers.{label}: the schedule depends on the number of steps, so that one pass does not serve all "
                "budgets; use InverseSqrt or StepDecay"
            )

    def _check_sizes(self) -> None:
        super()._check_sizes()
        if not isinstance(self.model, components.Imported):
            sizes.check_model("model", self.set.fit(self.law), self.test_points or 0)

    def _check_labels(self) -> None:
        sizes.check_magnitudes(self.noise, self.problem)

    def _problem(self) -> Problem:
        return Problem.of(self.target, self.law, self.test_points, self.seed)

    def _precise(self) -> Collection[str]:
        return precise()

    # What it is

    @cached_property
    def set(self) -> LeastSquaresSet:
        """The model, imported and adapted."""
        found = adapted_set(components.resolved(self.model), "model")
        assert isinstance(found, LeastSquaresSet)
        return found

    def rule(self, label: str) -> UpdateRule:
        """Return an update rule, imported if need be, with every member that a rule has."""
        with named(f"optimizers.{label}"):
            return rules.adapted(components.resolved(self.optimizers[label]))

    @cached_property
    def grid(self) -> TradeoffGrid:
        """The cells of the study and what is made of them."""
        chosen = {label: self.rule(label) for label in self.optimizers}
        return TradeoffGrid(
            self.problem, self.set, chosen, self.batch_size, self.n_train, self.noise, self.budgets, self.block_size
        )

    def _steps(self, n_train: int, batch_size: int) -> list[int]:
        return [int(steps) for steps in steps_within(np.array(self.budgets), n_train, batch_size)]

    # What the engine asks

    @property
    def block_work(self) -> int:
        """Parts of the largest budget."""
        return PARTS

    def call_user_code(self) -> None:
        """Call the model and every update rule and schedule once, as a descent will."""
        try:  # what was not imported yet is checked now
            _check_model(self.set)
            self._check_batches()
            for label in self.optimizers:
                check_rule(label, self.rule(label), reserved())
                if (schedule := self.rule(label).schedule) is not None:
                    rehearsal.rehearse_schedule(schedule, label, max(self.budgets))
                self._check_schedule(label)
        except ValueError as error:
            raise StudyError(str(error)) from error
        bowl = Quadratic((1.0,) * self.set.linear_model(self.law).size)
        for label in self.optimizers:
            rule = self.rule(label)
            first = {name: values[0] for name, values in rule.hyperparameters.items()}
            rehearsal.rehearse_rule(rule, label, bowl, np.ones(bowl.dim), first, max(self.budgets))

    def groups(self, stored: Collection[tuple[str, str]] = ()) -> list[Group]:
        """Arrange the cells that are not stored yet: for each size the minimiser, and a group for each optimizer."""
        groups, points = [], len(self.problem.f)
        for n in self.n_train:
            problem = problem_name(n)
            if (problem, MINIMISER) not in stored:
                groups.append(Group(problem, (MINIMISER,), Squared().record(points).size))
            for label in self.optimizers:
                keys = tuple(key for key in self.grid.cells_of(label) if (problem, key) not in stored)
                if keys:
                    groups.append(Group(problem, keys, record_of(points).size, label))
        return groups

    def record_coordinates(self, group: Group) -> dict[str, NDArray[Any]]:
        """Return what is kept of a block."""
        return self._record(group).coordinates

    def _record(self, group: Group) -> Record:
        points = len(self.problem.f)
        return Squared().record(points) if group.cells == (MINIMISER,) else record_of(points)

    @property
    def headline_name(self) -> str:
        """Which number of a cell is shown while the study runs."""
        return "excess risk"

    def headline(self, group: Group, records: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return each block's excess risk without label noise, or with what is simulated."""
        parts = self._record(group).unpack(records)
        return Squared().headline(self.problem, parts, np.zeros(len(group.cells)))

    def simulate(self, group: Group, block: int, work: int | None = None) -> BlockRecords:
        """Simulate one block of the minimiser, or of an optimizer's configurations at all budgets."""
        n_train, draws = self._sizes[group.problem], self._draws(group, block, self.block_size)
        if reason := self.set.why_unfit(self.law, n_train):
            return BlockRecords(self._nothing(group), (reason,) * len(group.cells))
        if group.cells == (MINIMISER,):
            cell = Cell(self.set, self.set.fit(self.law), None, Squared())
            (found,) = simulate_block(self.problem, [cell], n_train, draws)
            return BlockRecords(found.record[None], (found.failure,), found.traceback)
        model = self.set.linear_model(self.law)
        sets = TrainingSets(self.problem, n_train, draws)
        bowls = Bowls(sets, model, self.problem.projection(self.set, model))
        cells = [self.grid.cells_of(group.label)[key] for key in group.cells]
        records, failures, trace = self._nothing(group), [""] * len(cells), ""
        for size in dict.fromkeys(cell.batch_size for cell in cells):
            places = [i for i, cell in enumerate(cells) if cell.batch_size == size]
            try:
                records[places] = self._descend(group.label, bowls, [cells[i] for i in places], (work or PARTS) / PARTS)
            except MACHINE_FAULTS:
                raise  # not the rule's fault: nothing to remember
            except Exception as error:  # a user's rule may raise anything
                trace = trace or "".join(traceback.format_exception(error))
                for i in places:
                    failures[i] = sentence(error) or "failed"
        return BlockRecords(records, tuple(failures), trace)

    def _nothing(self, group: Group) -> NDArray[np.float64]:
        return np.full((len(group.cells), group.record_size), np.nan)

    def _descend(self, label: str, bowls: Bowls, cells: Sequence[Stopped], share: float) -> NDArray[np.float64]:
        """Return the records of cells of one batch size, having spent a share of each budget: all in one pass."""
        rule = self.rule(label)
        budgets, levels, configurations = (
            sorted({getattr(cell, name) for cell in cells}) for name in ("budget", "level", "hyper")
        )
        spent = (np.array(budgets) * share).astype(np.int64)
        steps = steps_within(spent, bowls.sets.n_train, cells[0].batch_size)
        columns = np.array(configurations).T
        hyper = dict(zip(rule.hyperparameters, np.ascontiguousarray(columns), strict=True))
        noise = () if rule.linear else tuple(levels)
        found = stopped_records(bowls, Descents(rule, hyper, cells[0].batch_size, tuple(steps.tolist()), noise))
        return np.stack(
            [
                found[configurations.index(cell.hyper), levels.index(cell.level), budgets.index(cell.budget)]
                for cell in cells
            ]
        )

    # What comes of it

    def layout(self) -> xr.DataTree:
        """Return the empty labelled summary."""
        return self.grid.layout()

    def reducer(self, group: Group, known: object = None) -> Reducer:
        """Return one of the two passes over a group's blocks."""
        return self.grid.passes(group).reducer(known)

    def summarise(self, source: BlockSource) -> xr.DataTree:
        """Turn blocks into risks and errors with standard errors, and the best training-set size for each budget."""
        return self.grid.summarise(source)


def _check_model(model: object) -> None:
    """Refuse what has no coefficients, or pays for them."""
    if not isinstance(model, LeastSquaresSet) or isinstance(model, Ridge):
        raise ValueError(
            f"model: expected a set that is linear in its coefficients and has no penalty, such as Polynomial(3), "
            f"got {model!r}"
        )
