"""What a risk study's blocks come to: a labelled summary of risks and errors with standard errors.

Arrays below do the arithmetic; here they get their names, and cells whose numbers do not exist get their flags.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from biasvar.learning.decomposition import Best, Problem
from biasvar.learning.fits import Fit
from biasvar.learning.hypotheses import HypothesisSet
from biasvar.learning.loss_tails import TARGET, LossTails
from biasvar.learning.losses import Loss
from biasvar.learning.measures import Averages, Curve, Measure, evaluate
from biasvar.learning.reduction import Series, reduce_blocks
from biasvar.learning.simulation import Cell
from biasvar.montecarlo.moments import RunningMean
from biasvar.montecarlo.tails import Status
from biasvar.studies.base import BlockSource, Group


class _Key(NamedTuple):
    """Where a simulated cell's numbers go."""

    hypothesis: str
    noise: float | None  # None: all levels, integrated exactly


@dataclass(frozen=True)
class RiskGrid:
    """The cells of a risk study: hypothesis sets by training-set sizes by noise levels, on one problem."""

    problem: Problem
    loss: Loss
    hypotheses: Mapping[str, HypothesisSet]
    n_train: tuple[int, ...]
    noise: tuple[float, ...]
    block_size: int

    @cached_property
    def cells(self) -> dict[str, _Key]:
        """Simulated cells by key: one per set, or one per set and noise level where noise is simulated."""
        keys: dict[str, _Key] = {}
        for label in self.hypotheses:
            if self.integrates_noise(label):
                keys[label] = _Key(label, None)
            else:
                keys |= {f"{label}@{noise!r}": _Key(label, noise) for noise in self.noise}
        return keys

    @cached_property
    def fits(self) -> dict[str, Fit]:
        """How each set is fitted."""
        return {label: hypothesis.fit(self.problem.inputs) for label, hypothesis in self.hypotheses.items()}

    def integrates_noise(self, label: str) -> bool:
        """Tell whether one simulated cell of a set serves all noise levels."""
        return self.loss.integrates_noise(self.fits[label])

    def cell(self, key: str) -> Cell:
        """Return what is simulated under a key."""
        label, noise = self.cells[key]
        return Cell(self.hypotheses[label], self.fits[label], noise)

    def key(self, label: str, noise: float) -> str:
        """Return the key of the simulated cell that serves a hypothesis set at a noise level."""
        return label if label in self.cells else f"{label}@{noise!r}"

    def layout(self) -> xr.Dataset:
        """Return the empty labelled summary."""
        cells = {"hypothesis": len(self.hypotheses), "n_train": len(self.n_train), "noise": len(self.noise)}
        points = len(self.problem.f)
        sizes = {**cells, "versus": len(self.hypotheses), self._x_dim: points}
        variables: dict[str, Any] = {}

        def add(
            name: str, dims: tuple[str, ...], label: str, unit: str = "", fill: Any = np.nan, **more: str | int
        ) -> None:
            dtype = object if fill == "" else None
            values = np.full(tuple(sizes[dim] for dim in dims), fill, dtype)
            said = {"long_name": label, "units": unit} | more
            variables[name] = (dims, values, {key: value for key, value in said.items() if value})

        axes, pairs = tuple(cells), ("hypothesis", "versus", "n_train", "noise")
        # Averages over sampled test points have as many degrees of freedom as there are sets of points, at most.
        test_sets = self.problem.test.replicates
        behind: dict[str, str | int] = {"blocks": "block_count", "at_most": test_sets if test_sets > 1 else 0}
        for measure in self.loss.measures:
            name, unit = measure.name, measure.unit
            shift = f"{name}_shift" if measure.shift else ""
            add(
                name,
                axes,
                measure.label,
                unit,
                short_name=measure.short_name,
                column=measure.column,
                shift=shift,
                **behind,
            )
            add(f"{name}_se", axes, f"standard error of {name}", unit)
            if shift:
                add(shift, axes, f"variance along one direction: shifts the interval of {name} upwards", unit)
            if measure.paired:
                add(f"{name}_difference", pairs, f"{name} less that of versus", unit, **behind)
                add(f"{name}_difference_se", pairs, f"standard error of {name}_difference, paired", unit)
        add("target", (self._x_dim,), "target f at x", "y")
        add("best_in_class", ("hypothesis", self._x_dim), "best in class at x", "y")
        for curve in self.loss.curves:
            add(
                curve.name,
                (*axes, self._x_dim),
                curve.label,
                curve.unit,
                short_name=curve.short_name,
                shift_error=curve.shift_error,
                blocks="block_count",
            )
            add(f"{curve.name}_se", (*axes, self._x_dim), f"standard error of {curve.name}", curve.unit)
        if self.headline:
            add(
                "quadrature_error",
                axes,
                f"part of {self.headline.name}_se that the test points leave: more replicates do not lower it",
                self.headline.unit,
                of=f"{self.headline.name}_se",
                remedy="more test_points"
                if self._x_dim == "point"
                else "the target's breakpoints, or more test_points",
            )
        add(
            "tail_index",
            axes,
            "tail index of the loss: risk exists above 1, its standard error above 2",
            blocks="block_count",
        )
        add("tail_index_se", axes, "standard error of tail_index: 0 by theory, NaN where the estimate is infinite")
        add("replicates", axes, "random training sets behind the numbers", fill=0, counted="training sets")
        add("block_count", axes, "independent blocks behind the standard errors", fill=0)
        add("status", axes, "what can be said of the numbers", fill="", rows="n_train noise hypothesis")
        add("status_reason", axes, "why, in words", fill="")
        return xr.Dataset(variables, self._coordinates())

    def summarise(self, source: BlockSource) -> xr.Dataset:
        """Turn blocks into risks and errors with standard errors."""
        out = self.layout()
        table = {str(name): variable.values for name, variable in out.data_vars.items()}  # views: filled in place
        table["target"][:] = self.problem.f
        best = [self.loss.best_in_class(self.problem, hypothesis) for hypothesis in self.hypotheses.values()]
        for row, found in zip(table["best_in_class"], best, strict=True):
            if found is not None:
                row[:] = found.values
        quadrature_error = self.problem.quadrature_error()
        for j, n in enumerate(self.n_train):
            cells = _Column(self, n)
            for group in source.groups():
                if group.problem == problem_name(n):
                    cells.read(group, source)
            for k, noise in enumerate(self.noise):
                column = [
                    cells.averages(label, noise, found, quadrature_error)
                    for label, found in zip(self.hypotheses, best, strict=True)
                ]
                for i, (label, result) in enumerate(zip(self.hypotheses, column, strict=True)):
                    _fill(table, (i, j, k), cells, label, noise, result)
                _fill_differences(table, (j, k), self.loss, column)
        return out

    @property
    def headline(self) -> Measure | None:
        """The first measure whose differences are of interest, and which test points limit."""
        return next((measure for measure in self.loss.measures if measure.paired and measure.along_x), None)

    @property
    def _x_dim(self) -> str:
        return "x" if self.problem.inputs.dim == 1 else "point"

    def _coordinates(self) -> dict[str, Any]:
        labels = np.array(list(self.hypotheses), dtype=object)
        test = self.problem.test
        coordinates: dict[str, Any] = {
            "hypothesis": ("hypothesis", labels, {"long_name": "hypothesis set"}),
            "versus": ("versus", labels, {"long_name": "hypothesis set compared with"}),
            "n_train": ("n_train", np.array(self.n_train), {"long_name": "training-set size"}),
            "noise": ("noise", np.array(self.noise), {"long_name": "std of the label noise", "units": "y"}),
            "x_weight": (self._x_dim, test.weights, {"long_name": "probability that the test point stands for"}),
        }
        if self.problem.inputs.dim == 1:
            coordinates["x"] = ("x", test.x, {"long_name": "input", "units": "x"})
        else:
            coordinates["x"] = (("point", "coordinate"), test.x, {"long_name": "input", "units": "x"})
        return coordinates


class _Column:
    """All cells of one training-set size: their series, or why they have none."""

    def __init__(self, grid: RiskGrid, n_train: int) -> None:
        self.grid, self.n_train = grid, n_train
        self.series: dict[str, Series] = {}
        self.failures: dict[str, str] = {}

    def read(self, group: Group, source: BlockSource) -> None:
        """Reduce one group's blocks, in two passes."""
        averages = {i: RunningMean() for i, key in enumerate(group.cells) if key in self.grid.cells}
        for chunk in source.chunks(group):
            for i in list(averages):
                if reasons := [reason for reason in chunk.failures[i] if reason]:
                    self.failures[group.cells[i]] = reasons[0]
                    del averages[i]
                else:
                    averages[i].add(chunk.records[i])
        if sound := list(averages):
            records = (chunk.records[sound] for chunk in source.chunks(group))
            passes = [self.grid.loss.reduction(self.grid.problem, average) for average in averages.values()]
            reduced = reduce_blocks(passes, records, self.grid.block_size)
            self.series |= {group.cells[i]: series for i, series in zip(sound, reduced, strict=True)}

    def averages(self, label: str, noise: float, best: Best | None, quadrature_error: float) -> Averages | None:
        """Return what is known of one hypothesis set at one noise level; None where it failed."""
        series = self.series.get(self.grid.key(label, noise))
        if series is None:
            return None
        tails, replicates = self.tails(label, noise), self.replicates(label, noise)
        extremes = np.hypot(
            tails.signal.standard_error(series.loss_tail, replicates),
            noise**2 * tails.noise.standard_error(series.gain_tail, replicates),
        )
        return self.grid.loss.averages(self.grid.problem, series, noise, best, quadrature_error, float(extremes))

    def replicates(self, label: str, noise: float) -> int:
        """Return how many training sets are behind a cell."""
        return self.series[self.grid.key(label, noise)].blocks * self.grid.block_size

    def tails(self, label: str, noise: float) -> LossTails:
        """Return the tail indices of the loss without label noise and of what the noise adds."""
        series, problem = self.series[self.grid.key(label, noise)], self.grid.problem
        known = self.grid.hypotheses[label].tail_index(problem.inputs, self.n_train)
        noisy = self.grid.integrates_noise(label) and noise > 0
        return self.grid.loss.tails(problem, known, series, noisy)


_Table = dict[str, NDArray[Any]]


def _fill(
    table: _Table, at: tuple[int, int, int], cells: _Column, label: str, noise: float, result: Averages | None
) -> None:
    """Write one cell into the summary, and what its tails forbid."""
    measures, curves = cells.grid.loss.measures, cells.grid.loss.curves
    if result is None:
        for measure in measures:
            if measure.known is not None:
                table[measure.name][at], table[f"{measure.name}_se"][at] = measure.known(noise), 0.0
        table["status"][at] = str(Status.FAILED)
        table["status_reason"][at] = cells.failures.get(cells.grid.key(label, noise), "not simulated")
        return
    for found in evaluate(measures, curves, result):
        for name, value in found.items():
            table[name][at] = value
    if (headline := cells.grid.headline) and headline.along_x:
        table["quadrature_error"][at] = result.test_points_error(headline.along_x(result))
    tails, replicates = cells.tails(label, noise), cells.replicates(label, noise)
    if tails.status is not Status.OK:
        _strike(table, at, tails, cells.grid.loss, moved=bool(np.ptp(cells.series[cells.grid.key(label, noise)].loss)))
    table["tail_index"][at], table["tail_index_se"][at] = tails.decisive.value, tails.decisive.se
    table["block_count"][at] = result.blocks
    table["replicates"][at] = replicates
    table["status"][at] = str(tails.status)
    table["status_reason"][at] = tails.reason(replicates)


def _strike(table: _Table, at: tuple[int, int, int], tails: LossTails, loss: Loss, moved: bool) -> None:
    """Take away the numbers and standard errors that do not exist; ``moved`` is whether blocks differ."""
    of_target = tails.signal.source == TARGET
    numbers: list[Measure | Curve] = [*loss.measures, *loss.curves]
    for each in numbers:
        value, error = table[each.name], table[f"{each.name}_se"]
        spoiled = each.spoiled == "with_the_loss" and (moved or not of_target)
        spoiled = spoiled or (of_target and each.of_target == "value")
        if spoiled or (of_target and each.of_target == "error"):
            error[at] = np.nan
        if spoiled and tails.status is Status.INFINITE and not np.isnan(value[at]).all():
            value[at] = np.inf
        if each.spoiled == "with_the_signal" and tails.signal.status is not Status.OK:
            error[at] = np.nan


def _fill_differences(table: _Table, at: tuple[int, int], loss: Loss, column: list[Averages | None]) -> None:
    """Write the paired differences between all sets at one training-set size and noise level."""
    status = [table["status"][(i, *at)] for i in range(len(column))]
    for measure in loss.measures:
        if not measure.paired:
            continue
        value, error = table[f"{measure.name}_difference"], table[f"{measure.name}_difference_se"]
        for i, one in enumerate(column):
            if one is not None:
                value[(i, i, *at)], error[(i, i, *at)] = 0.0, 0.0
            for j, other in enumerate(column[:i]):
                # A difference with an infinite number has neither value nor error.
                if one is None or other is None or Status.INFINITE in (status[i], status[j]):
                    continue
                difference, se = measure.difference(one, other)
                value[(i, j, *at)], value[(j, i, *at)] = difference, -difference
                if status[i] == status[j] == Status.OK:
                    error[(i, j, *at)] = error[(j, i, *at)] = se


def problem_name(n_train: int) -> str:
    """Return what the engine calls the draws of one training-set size."""
    return f"n{n_train}"
