"""What a tradeoff study's blocks come to: a labelled tree, three errors and what is best for each budget."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from biasvar.learning.decomposition import Best, Problem, best_in_class
from biasvar.learning.hypotheses.base import LeastSquaresSet
from biasvar.learning.loss_tails import LossTails
from biasvar.learning.losses.squared import Squared
from biasvar.learning.losses.squared_measures import SquaredAverages, SquaredReduction
from biasvar.learning.measures import Measure, evaluate
from biasvar.learning.reduction import Series
from biasvar.learning.stopped_measures import (
    MEASURES,
    MINIMISER_MEASURES,
    OPTIMIZATION,
    StoppedAverages,
    StoppedReduction,
    StoppedSeries,
    stopped_tails,
)
from biasvar.montecarlo.moments import Average
from biasvar.montecarlo.tails import Status
from biasvar.optimization import tuning
from biasvar.optimization.batches import steps_within
from biasvar.optimization.rules import UpdateRule
from biasvar.studies.base import BlockSource, Group, problem_name
from biasvar.studies.cells import Passes, Table, extremes_of, strike
from biasvar.studies.grids import Configuration, Grid

Array = NDArray[np.float64]
MINIMISER = "minimiser"  # of empirical risk: the cell that all stopped fits are compared with
ATTRIBUTES = {"table": "budgets"}  # how the summary is printed
ROOT = ("n_train", "noise")


class Stopped(NamedTuple):
    """One cell of an optimizer: a configuration at a budget, and at a noise level where noise is simulated."""

    configuration: Configuration
    budget: int
    noise: float | None

    @property
    def hyper(self) -> tuple[float, ...]:
        """Hyperparameters in the order of the rule's."""
        return tuple(self.configuration.hyper.values())

    @property
    def batch_size(self) -> int:
        """Examples per step; 0 for all."""
        return self.configuration.batch_size

    @property
    def level(self) -> float:
        """The noise level that is simulated; 0 where none is."""
        return self.noise or 0.0


@dataclass(frozen=True)
class TradeoffGrid:
    """The cells of a tradeoff study: where numbers go, and what is made of them.

    Parameters
    ----------
    problem : Problem
        The law of data.
    model : LeastSquaresSet
        What is fitted.
    rules : mapping of str to UpdateRule
        Optimizers by label.
    batch_sizes, n_train, noise, budgets : tuple
        Values of these axes.
    block_size : int
        Replicates per block.
    """

    problem: Problem
    model: LeastSquaresSet
    rules: Mapping[str, UpdateRule]
    batch_sizes: tuple[int, ...]
    n_train: tuple[int, ...]
    noise: tuple[float, ...]
    budgets: tuple[int, ...]
    block_size: int

    @cached_property
    def _cells(self) -> dict[str, dict[str, Stopped]]:
        return {label: {self._key(label, cell): cell for cell in self._listed(label)} for label in self.rules}

    def cells_of(self, label: str) -> dict[str, Stopped]:
        """Return the simulated cells of an optimizer by key: one for all noise levels where its rule is linear."""
        return self._cells[label]

    def _grid(self, label: str) -> Grid:
        return Grid(self.rules[label].hyperparameters, self.batch_sizes)

    def _levels(self, label: str) -> tuple[float | None, ...]:
        return (None,) if self.rules[label].linear else self.noise

    def _listed(self, label: str) -> Iterator[Stopped]:
        for configuration in self._grid(label).configurations.values():
            for noise in self._levels(label):
                for budget in self.budgets:
                    yield Stopped(configuration, budget, noise)

    @staticmethod
    def _key(label: str, cell: Stopped) -> str:
        noise = "" if cell.noise is None else f"@{cell.noise!r}"
        return f"{label}:{cell.configuration.key},budget={cell.budget}{noise}"

    # The labelled tree

    def layout(self) -> xr.DataTree:
        """Return the labelled summary, all numbers missing."""
        return self._tree(self._layouts())

    def _layouts(self) -> dict[str, xr.Dataset]:
        return {"": self._root(), **{label: self._node(label) for label in self.rules}}

    @staticmethod
    def _tree(nodes: Mapping[str, xr.Dataset]) -> xr.DataTree:
        return xr.DataTree.from_dict({f"/{path}": dataset for path, dataset in nodes.items()})

    def _root(self) -> xr.Dataset:
        sizes = {"n_train": len(self.n_train), "noise": len(self.noise)}
        variables = _variables(MINIMISER_MEASURES, ROOT, sizes, rows="noise n_train")
        return xr.Dataset(variables, self._coordinates(ROOT), ATTRIBUTES)

    def _node(self, label: str) -> xr.Dataset:
        hyper = self.rules[label].hyperparameters
        axes = {**self._grid(label).axes, "n_train": self.n_train, "noise": self.noise, "budget": self.budgets}
        sizes = {name: len(values) for name, values in axes.items()}
        rows = " ".join([*hyper, "batch_size", "noise", "n_train", "budget"])
        variables = _variables(MEASURES, tuple(axes), sizes, rows)
        of_steps = "steps that the budget pays for"
        variables["steps"] = _variable(("batch_size", "n_train", "budget"), self._steps(), of_steps, "steps", "steps")
        variables |= _of_best((*hyper, "n_train"), sizes)
        coordinates: dict[str, Any] = {
            name: (name, np.array(values), {"long_name": name.replace("_", " ")}) for name, values in hyper.items()
        }
        return xr.Dataset(variables, coordinates | self._coordinates(("batch_size", *ROOT, "budget")))

    def _steps(self) -> NDArray[np.int64]:
        budgets = np.array(self.budgets)
        return np.stack([[steps_within(budgets, n, size) for n in self.n_train] for size in self.batch_sizes])

    def _coordinates(self, names: Collection[str]) -> dict[str, Any]:
        noise = dict(zip(("long_name", "units"), self.problem.labels.noise, strict=True))
        every: dict[str, Any] = {
            "batch_size": (self.batch_sizes, {"long_name": "examples per step; 0 for all"}),
            "n_train": (self.n_train, {"long_name": "training-set size"}),
            "noise": (self.noise, noise),
            "budget": (self.budgets, {"long_name": "gradients taken, each of one example", "units": "gradients"}),
        }
        return {name: (name, np.array(every[name][0]), every[name][1]) for name in names}

    # What is made of blocks

    def summarise(self, source: BlockSource) -> xr.DataTree:
        """Turn blocks into risks and errors with standard errors, and choose the best for each budget."""
        nodes = self._layouts()
        tables: dict[str, Table] = {
            path: {str(name): variable.values for name, variable in node.data_vars.items()}
            for path, node in nodes.items()
        }
        best = best_in_class(self.problem, self.model)
        error = self.problem.quadrature_error()
        excess: dict[str, dict[tuple[int, ...], Array]] = {label: {} for label in self.rules}
        for j, n in enumerate(self.n_train):
            column = _Column(self, n, source, best, error)
            minimisers = [column.minimiser(tables[""], (j, k), noise) for k, noise in enumerate(self.noise)]
            for label in self.rules:
                shape = self._grid(label).shape
                for i, configuration in enumerate(self._grid(label).configurations.values()):
                    before = np.unravel_index(i, shape)
                    for k, noise in enumerate(self.noise):
                        for b, budget in enumerate(self.budgets):
                            at = (*map(int, before), j, k, b)
                            level = None if self.rules[label].linear else noise
                            key = self._key(label, Stopped(configuration, budget, level))
                            found = column.stopped(tables[label], at, key, noise, minimisers[k])
                            column.compare(tables[label], at, tables[""]["status"][j, k])
                            if found is not None:
                                excess[label][at] = found
        for label in self.rules:
            self._choose(label, tables[label], excess[label])
        return self._tree(nodes)

    def passes(self, group: Group) -> Passes:
        """Return the passes over a group's blocks."""
        wanted = {MINIMISER, *(key for label in self.rules for key in self.cells_of(label))}
        return Passes(group, wanted, self._reduction)

    def _reduction(self, key: str, average: Average) -> SquaredReduction:
        if key == MINIMISER:
            return Squared().reduction(self.problem, average, None, self.block_size)
        return StoppedReduction(self.problem, average, self.block_size)

    def _choose(self, label: str, table: Table, excess: Mapping[tuple[int, ...], Array]) -> None:
        """Find the best training-set size and hyperparameters for each budget, and judge them on other blocks."""
        if not excess:
            return
        blocks = min(len(found) for found in excess.values())
        *hyper, sizes, n_count, noises, budgets = table["status"].shape
        values = [*self.rules[label].hyperparameters.items(), ("n_train", self.n_train)]
        for s, k, b in np.ndindex(sizes, noises, budgets):
            losses = np.full((*hyper, n_count, blocks), np.inf)
            for place in np.ndindex(*hyper, n_count):
                found = excess.get((*place[:-1], s, place[-1], k, b))
                if found is not None:
                    losses[place] = found[:blocks]
            flat = losses.reshape(-1, blocks)
            if not np.isfinite(flat).any():
                continue
            chosen, share = tuning.best(flat)
            (judged,), (error,) = tuning.expected_best(flat, [len(flat)])
            place = tuple(map(int, np.unravel_index(chosen, losses.shape[:-1])))
            own = table["excess_risk_se"][(*place[:-1], s, place[-1], k, b)]
            for (name, axis), i in zip(values, place, strict=True):
                table[f"best_{name}"][s, k, b] = axis[i]
            table["best_excess_risk"][s, k, b] = judged
            # What the chosen one's error has besides the spread of blocks: its tails, and the test points.
            table["best_excess_risk_se"][s, k, b] = np.nan if np.isnan(own) else max(float(error), float(own))
            table["best_share"][s, k, b], table["best_block_count"][s, k, b] = share, blocks


class _Column:
    """All cells of one training-set size."""

    def __init__(self, grid: TradeoffGrid, n_train: int, source: BlockSource, best: Best | None, error: float) -> None:
        self.grid, self.n_train, self.best, self.error = grid, n_train, best, error
        self.series: dict[str, Series] = {}
        self.failures: dict[str, str] = {}
        for group in source.groups():
            if group.problem == problem_name(n_train):
                series, failures = grid.passes(group).read(source)
                self.series |= series
                self.failures |= failures

    def minimiser(self, table: Table, at: tuple[int, ...], noise: float) -> SquaredAverages | None:
        """Write the errors of the minimiser of empirical risk at one noise level, and return its averages."""
        series = self.series.get(MINIMISER)
        if series is None:
            self._fail(table, at, MINIMISER)
            return None
        known = self.grid.model.tail_index(self.grid.problem.inputs, self.n_train)
        tails = Squared().tails(self.grid.problem, known, series, noise > 0)
        extremes = extremes_of(tails, series, noise, self._replicates(series))
        found = Squared().averages(self.grid.problem, series, noise, self.best, self.error, extremes)
        self._fill(table, at, MINIMISER_MEASURES, found, tails)
        return found

    def stopped(
        self, table: Table, at: tuple[int, ...], key: str, noise: float, minimiser: SquaredAverages | None
    ) -> Array | None:
        """Write a cell of stopped fits at one noise level; return its excess risk block by block, where it has one."""
        series = self.series.get(key)
        if series is None:
            self._fail(table, at, key)
            return None
        assert isinstance(series, StoppedSeries)
        known = self.grid.model.tail_index(self.grid.problem.inputs, self.n_train)
        tails = stopped_tails(self.grid.problem, known, series, noise > 0)
        extremes = extremes_of(tails, series, noise, self._replicates(series))
        found = StoppedAverages(self.grid.problem, series, noise, self.best, self.error, extremes, minimiser=minimiser)
        self._fill(table, at, MEASURES, found, tails)
        if share := float(series.diverged.mean()):
            _diverge(table, at, share)
        return None if table["status"][at] == Status.INFINITE else found.excess

    @staticmethod
    def compare(table: Table, at: tuple[int, ...], of_minimiser: str) -> None:
        """Take away what is known of a risk over that of a minimiser which has none, or none that is reliable."""
        value, error = table[OPTIMIZATION], table[f"{OPTIMIZATION}_se"]
        if of_minimiser == Status.OK:
            return
        error[at] = np.nan
        if of_minimiser == Status.INFINITE and table["status"][at] != Status.FAILED:
            value[at] = np.nan if table["status"][at] == Status.INFINITE else -np.inf

    def _fill(
        self, table: Table, at: tuple[int, ...], measures: tuple[Measure, ...], found: SquaredAverages, tails: LossTails
    ) -> None:
        numbers, _ = evaluate(measures, (), found)
        for name, value in numbers.items():
            table[name][at] = value
        replicates = self._replicates(found.series)
        if tails.status is not Status.OK:
            strike(table, at, tails, measures, moved=bool(np.ptp(found.series.loss)))
        table["replicates"][at], table["block_count"][at] = replicates, found.blocks
        table["status"][at], table["status_reason"][at] = str(tails.status), tails.reason(replicates)

    def _fail(self, table: Table, at: tuple[int, ...], key: str) -> None:
        table["status"][at] = str(Status.FAILED)
        table["status_reason"][at] = self.failures.get(key, "not simulated")

    def _replicates(self, series: Series) -> int:
        return series.blocks * self.grid.block_size


def _diverge(table: Table, at: tuple[int, ...], share: float) -> None:
    """Write a cell in which some descents diverged: its risks are infinite."""
    for measure in MEASURES:
        if measure.name != "diverged_share":
            table[measure.name][at] = np.inf if measure.spoiled == "with_the_loss" else np.nan
            table[f"{measure.name}_se"][at] = np.nan
    table["status"][at] = str(Status.INFINITE)
    table["status_reason"][at] = f"the descent diverged on {share:.2g} of the training sets; use a lower learning rate"


def _variables(
    measures: tuple[Measure, ...], dims: tuple[str, ...], sizes: Mapping[str, int], rows: str
) -> dict[str, Any]:
    """Return the empty variables that every cell has."""
    shape = tuple(sizes[dim] for dim in dims)
    variables: dict[str, Any] = {}
    for each in measures:
        said: dict[str, Any] = {"blocks": "block_count"} | ({"column": each.column} if each.column else {})
        if each.part:
            said |= each.part.attributes()
        if each.shift:
            said["shift"] = f"{each.name}_shift"
        variables[each.name] = _variable(dims, np.full(shape, np.nan), each.label, each.short_name, each.unit, **said)
        error = f"standard error of {each.name}"
        variables[f"{each.name}_se"] = _variable(dims, np.full(shape, np.nan), error, "", each.unit)
        if each.shift:
            label = f"variance along one direction: shifts the interval of {each.name} upwards"
            variables[said["shift"]] = _variable(dims, np.full(shape, np.nan), label, "", each.unit)
    counted = {"counted": "training sets"}
    variables["replicates"] = _variable(
        dims, np.zeros(shape, int), "random training sets behind the numbers", "replicates", **counted
    )
    variables["block_count"] = _variable(dims, np.zeros(shape, int), "independent blocks behind the errors", "blocks")
    variables["status"] = _variable(
        dims, np.full(shape, "", object), "what can be said of the numbers", "status", rows=rows
    )
    variables["status_reason"] = _variable(dims, np.full(shape, "", object), "why, in words", "reason")
    return variables


def _of_best(axes: Collection[str], sizes: Mapping[str, int]) -> dict[str, Any]:
    """Return the empty variables that say what is best for each budget."""
    dims = ("batch_size", "noise", "budget")
    shape = tuple(sizes[dim] for dim in dims)
    judged = "excess risk of the best n_train and hyperparameters, on blocks that did not choose them"
    said = {f"best_{name}": (f"{name} of least excess risk; NaN where no risk is known", "") for name in axes} | {
        "best_excess_risk": (judged, "y^2"),
        "best_excess_risk_se": ("standard error of best_excess_risk", "y^2"),
        "best_share": ("share of choices with a block left out that agree", ""),
    }
    variables = {
        name: _variable(dims, np.full(shape, np.nan), label, name.replace("_", " "), unit)
        for name, (label, unit) in said.items()
    }
    variables["best_excess_risk"][2]["blocks"] = "best_block_count"
    counted = "blocks that chose and judged"
    return variables | {"best_block_count": _variable(dims, np.zeros(shape, int), counted, "blocks")}


def _variable(
    dims: tuple[str, ...], values: object, label: str, short_name: str, unit: str = "", **more: object
) -> Any:
    said = {"long_name": label, "short_name": short_name, "units": unit} | more
    return dims, values, {key: value for key, value in said.items() if value}


def precise() -> list[str]:
    """Return the variables whose standard errors may be asked for."""
    return list(dict.fromkeys(measure.name for measure in (*MINIMISER_MEASURES, *MEASURES)))


@cache
def reserved() -> frozenset[str]:
    """Return the names that no hyperparameter may have: those of a node's dims and variables, and of arguments."""
    variables = _variables(MEASURES, ("n_train",), {"n_train": 1}, "")
    return frozenset({*variables, "batch_size", "n_train", "noise", "budget", "steps", "theta", "gradient", "state"})
