"""What blocks of fits come to: a labelled summary of risks and errors with standard errors.

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
from biasvar.learning.loss_tails import LossTails
from biasvar.learning.losses import Cell, Loss
from biasvar.learning.measures import Averages, Curve, Measure, evaluate
from biasvar.learning.reduction import Reduction, Series
from biasvar.montecarlo.moments import Average
from biasvar.montecarlo.tails import Status
from biasvar.studies.base import BlockSource, Group, problem_name
from biasvar.studies.cells import Passes, Table, extremes_of, strike


class _Key(NamedTuple):
    """Where a simulated cell's numbers go."""

    loss: str
    hypothesis: str
    noise: float | None  # None: all levels, integrated exactly


class _At(NamedTuple):
    """A cell of the summary."""

    loss: str
    hypothesis: str
    noise: float


@dataclass(frozen=True)
class CellGrid:
    """The cells of a study of fits: losses by hypothesis sets by training-set sizes by noise levels, on one problem.

    Parameters
    ----------
    problem : Problem
        The law of data.
    losses : mapping of str to Loss
        Losses by label; one without a label makes no axis.
    hypotheses : mapping of str to HypothesisSet
        Sets by label.
    n_train : tuple of int
        Sizes of training sets.
    noise : tuple of float
        Noise levels.
    block_size : int
        Replicates per block.
    """

    problem: Problem
    losses: Mapping[str, Loss]
    hypotheses: Mapping[str, HypothesisSet]
    n_train: tuple[int, ...]
    noise: tuple[float, ...]
    block_size: int

    @cached_property
    def cells(self) -> dict[str, _Key]:
        """Simulated cells by key: one per loss and set, or one per noise level too where noise is simulated."""
        keys: dict[str, _Key] = {}
        for loss in self.losses:
            for label in self.hypotheses:
                levels = (None,) if self.integrates_noise(loss, label) else self.noise
                keys |= {_written(key): key for key in (_Key(loss, label, noise) for noise in levels)}
        return keys

    @cached_property
    def fits(self) -> dict[str, Fit]:
        """How each set is fitted."""
        return {label: hypothesis.fit(self.problem.inputs) for label, hypothesis in self.hypotheses.items()}

    def integrates_noise(self, loss: str, label: str) -> bool:
        """Tell whether one simulated cell of a set serves all noise levels."""
        return self.losses[loss].integrates_noise(self.fits[label])

    def cell(self, key: str) -> Cell:
        """Return what is simulated under a key."""
        loss, label, noise = self.cells[key]
        return Cell(self.hypotheses[label], self.fits[label], noise, self.losses[loss])

    def key(self, loss: str, label: str, noise: float) -> str:
        """Return the key of the simulated cell that serves a hypothesis set at a noise level."""
        return _written(_Key(loss, label, None if self.integrates_noise(loss, label) else noise))

    @cached_property
    def axes(self) -> dict[str, int]:
        """The axes of what every cell has, with their lengths."""
        sizes = {"hypothesis": len(self.hypotheses), "n_train": len(self.n_train), "noise": len(self.noise)}
        return {"loss": len(self.losses)} | sizes if self._has_loss_axis else sizes

    @cached_property
    def measures(self) -> dict[str, Measure]:
        """The numbers that cells have, of one loss or another."""
        return {measure.name: measure for loss in self.losses.values() for measure in loss.measures}

    @cached_property
    def curves(self) -> dict[str, Curve]:
        """The functions of x that cells have, of one loss or another."""
        return {curve.name: curve for loss in self.losses.values() for curve in loss.curves}

    @property
    def _has_loss_axis(self) -> bool:
        return "" not in self.losses

    @property
    def _best_axes(self) -> tuple[str, ...]:
        """The axes along which the best in class differs."""
        moves = any(loss.noise_moves_best for loss in self.losses.values())
        return tuple(axis for axis in self.axes if axis != "n_train" and (moves or axis != "noise"))

    def layout(self) -> xr.Dataset:
        """Return the empty labelled summary."""
        sizes = {**self.axes, "versus": len(self.hypotheses), self._x_dim: len(self.problem.f)}
        variables: dict[str, Any] = {}

        def add(
            name: str, dims: tuple[str, ...], label: str, unit: str = "", fill: object = np.nan, **more: str | int
        ) -> None:
            dtype = object if fill == "" else None
            values = np.full(tuple(sizes[dim] for dim in dims), fill, dtype)
            said = {"long_name": label, "units": unit} | more
            variables[name] = (dims, values, {key: value for key, value in said.items() if value})

        axes = tuple(self.axes)
        pairs = (*axes[:-2], "versus", *axes[-2:])
        labels = self.problem.labels
        # Averages over sampled test points have as many degrees of freedom as there are sets of points, at most.
        test_sets = self.problem.test.replicates
        behind: dict[str, str | int] = {"blocks": "block_count", "at_most": test_sets if test_sets > 1 else 0}
        for name, measure in self.measures.items():
            unit = measure.unit
            shift = f"{name}_shift" if measure.shift else ""
            add(
                name,
                axes,
                measure.label,
                unit,
                short_name=measure.short_name,
                column=measure.column,
                shift=shift,
                compared_by=measure.compared_by,
                **(measure.part.attributes() if measure.part else {}),
                **behind,
            )
            add(f"{name}_se", axes, f"standard error of {name}", unit)
            if shift:
                add(shift, axes, f"variance along one direction: shifts the interval of {name} upwards", unit)
            if measure.paired:
                add(f"{name}_difference", pairs, f"{name} less that of versus", unit, **behind)
                add(f"{name}_difference_se", pairs, f"standard error of {name}_difference, paired", unit)
        add("target", (self._x_dim,), *labels.target)
        add("best_in_class", (*self._best_axes, self._x_dim), "best in class at x", "y")
        for curve in self.curves.values():
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
        add("status", axes, "what can be said of the numbers", fill="", rows=" ".join([*axes[-2:], *axes[:-2]]))
        add("status_reason", axes, "why, in words", fill="")
        return xr.Dataset(variables, self._coordinates())

    def summarise(self, source: BlockSource) -> xr.Dataset:
        """Turn blocks into risks and errors with standard errors."""
        out = self.layout()
        table = {str(name): variable.values for name, variable in out.data_vars.items()}  # views: filled in place
        table["target"][:] = self.problem.f
        best = self._best(table["best_in_class"])
        quadrature_error = self.problem.quadrature_error()
        for j, n in enumerate(self.n_train):
            cells = _Column(self, n)
            for group in source.groups():
                if group.problem == problem_name(n):
                    cells.read(group, source)
            for place, loss in self._places():
                for k, noise in enumerate(self.noise):
                    column = [
                        cells.averages(_At(loss, label, noise), best[loss, label, noise], quadrature_error)
                        for label in self.hypotheses
                    ]
                    for i, (label, result) in enumerate(zip(self.hypotheses, column, strict=True)):
                        _fill(table, (*place, i, j, k), cells, _At(loss, label, noise), result)
                    _fill_differences(table, (place, (j, k)), self.losses[loss], column)
        return out

    def passes(self, group: Group) -> Passes:
        """Return the passes over a group's blocks."""
        return Passes(group, self.cells, self._reduction)

    def _reduction(self, key: str, average: Average) -> Reduction:
        loss, _, noise = self.cells[key]
        return self.losses[loss].reduction(self.problem, average, noise, self.block_size)

    def _best(self, table: NDArray[Any]) -> dict[tuple[str, str, float], Best | None]:
        """Find the best in class of every loss, set and noise level, and write it into the summary."""
        found: dict[tuple[str, str, float], Best | None] = {}
        for place, label in self._places():
            loss = self.losses[label]
            for i, (name, hypothesis) in enumerate(self.hypotheses.items()):
                for k, noise in enumerate(self.noise):
                    if k and not loss.noise_moves_best:
                        best = found[label, name, self.noise[0]]
                    else:
                        best = loss.best_in_class(self.problem, hypothesis, noise)
                        if best is not None:
                            table[(*place, i, k) if "noise" in self._best_axes else (*place, i)] = best.values
                    found[label, name, noise] = best
        return found

    def _places(self) -> list[tuple[tuple[int, ...], str]]:
        """Return each loss with where it stands on its axis, if it has one."""
        return [((i,) if self._has_loss_axis else (), label) for i, label in enumerate(self.losses)]

    @cached_property
    def headline(self) -> Measure | None:
        """The first measure whose differences are of interest, and which test points limit."""
        return next((measure for measure in self.measures.values() if measure.paired and measure.along_x), None)

    @property
    def _x_dim(self) -> str:
        return "x" if self.problem.inputs.dim == 1 else "point"

    def _coordinates(self) -> dict[str, Any]:
        labels = np.array(list(self.hypotheses), dtype=object)
        test, noise = self.problem.test, self.problem.labels.noise
        losses = np.array(list(self.losses), dtype=object)
        coordinates: dict[str, Any] = {
            "loss": ("loss", losses, {"long_name": "what a prediction costs"}),
            "hypothesis": ("hypothesis", labels, {"long_name": "hypothesis set"}),
            "versus": ("versus", labels, {"long_name": "hypothesis set compared with"}),
            "n_train": ("n_train", np.array(self.n_train), {"long_name": "training-set size"}),
            "noise": ("noise", np.array(self.noise), dict(zip(("long_name", "units"), noise, strict=True))),
            "x_weight": (self._x_dim, test.weights, {"long_name": "probability that the test point stands for"}),
        }
        if self.problem.inputs.dim == 1:
            coordinates["x"] = ("x", test.x, {"long_name": "input", "units": "x"})
        else:
            coordinates["x"] = (("point", "coordinate"), test.x, {"long_name": "input", "units": "x"})
        return {name: value for name, value in coordinates.items() if name != "loss" or self._has_loss_axis}


class _Column:
    """All cells of one training-set size: their series, or why they have none."""

    def __init__(self, grid: CellGrid, n_train: int) -> None:
        self.grid, self.n_train = grid, n_train
        self.series: dict[str, Series] = {}
        self.failures: dict[str, str] = {}

    def read(self, group: Group, source: BlockSource) -> None:
        """Reduce one group's blocks, in two passes."""
        series, failures = self.grid.passes(group).read(source)
        self.series |= series
        self.failures |= failures

    def averages(self, cell: _At, best: Best | None, quadrature_error: float) -> Averages | None:
        """Return what is known of one hypothesis set at one noise level; None where it failed."""
        series = self.series.get(self.grid.key(*cell))
        if series is None:
            return None
        noise, extremes = cell.noise, extremes_of(self.tails(cell), series, cell.noise, self.replicates(cell))
        loss = self.grid.losses[cell.loss]
        return loss.averages(self.grid.problem, series, noise, best, quadrature_error, extremes)

    def replicates(self, cell: _At) -> int:
        """Return how many training sets are behind a cell."""
        return self.series[self.grid.key(*cell)].blocks * self.grid.block_size

    def tails(self, cell: _At) -> LossTails:
        """Return the tail indices of the loss without label noise and of what the noise adds."""
        series, problem = self.series[self.grid.key(*cell)], self.grid.problem
        known = self.grid.hypotheses[cell.hypothesis].tail_index(problem.inputs, self.n_train)
        noisy = self.grid.integrates_noise(cell.loss, cell.hypothesis) and cell.noise > 0
        return self.grid.losses[cell.loss].tails(problem, known, series, noisy)


def _fill(table: Table, at: tuple[int, ...], cells: _Column, cell: _At, result: Averages | None) -> None:
    """Write one cell into the summary, and what its tails forbid."""
    loss, key = cells.grid.losses[cell.loss], cells.grid.key(*cell)
    measures, curves = loss.measures, loss.curves
    if result is None:
        for measure in measures:
            if measure.known is not None:
                table[measure.name][at], table[f"{measure.name}_se"][at] = measure.known(cell.noise), 0.0
        table["status"][at] = str(Status.FAILED)
        table["status_reason"][at] = cells.failures.get(key, "not simulated")
        return
    for found in evaluate(measures, curves, result):
        for name, value in found.items():
            table[name][at] = value
    if (headline := cells.grid.headline) and headline.along_x:
        table["quadrature_error"][at] = result.test_points_error(headline.along_x(result))
    tails, replicates = cells.tails(cell), cells.replicates(cell)
    if tails.status is not Status.OK:
        strike(table, at, tails, [*measures, *curves], moved=bool(np.ptp(cells.series[key].loss)))
    table["tail_index"][at], table["tail_index_se"][at] = tails.decisive.value, tails.decisive.se
    table["block_count"][at] = result.blocks
    table["replicates"][at] = replicates
    table["status"][at] = str(tails.status)
    table["status_reason"][at] = "; ".join(filter(None, [tails.reason(replicates), result.remark]))


def _fill_differences(
    table: Table, at: tuple[tuple[int, ...], tuple[int, int]], loss: Loss, column: list[Averages | None]
) -> None:
    """Write the paired differences between all sets under one loss, at one training-set size and noise level."""
    before, after = at
    status = [table["status"][(*before, i, *after)] for i in range(len(column))]
    for measure in loss.measures:
        if not measure.paired:
            continue
        value, error = table[f"{measure.name}_difference"], table[f"{measure.name}_difference_se"]
        for i, one in enumerate(column):
            if one is not None:
                value[(*before, i, i, *after)], error[(*before, i, i, *after)] = 0.0, 0.0
            for j, other in enumerate(column[:i]):
                # A difference with an infinite number has neither value nor error.
                if one is None or other is None or Status.INFINITE in (status[i], status[j]):
                    continue
                difference, se = measure.difference(one, other)
                here, mirrored = (*before, i, j, *after), (*before, j, i, *after)
                value[here], value[mirrored] = difference, -difference
                if status[i] == status[j] == Status.OK:
                    error[here] = error[mirrored] = se


def _written(key: _Key) -> str:
    """Return a key as text: labels have no @."""
    noise = "" if key.noise is None else f"@{key.noise!r}"
    return f"{key.hypothesis}{noise}@{key.loss}" if key.loss else f"{key.hypothesis}{noise}"
