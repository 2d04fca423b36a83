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

from biasvar.learning.decomposition import Problem, best_in_class
from biasvar.learning.fits import Fit
from biasvar.learning.hypotheses import HypothesisSet
from biasvar.learning.loss_tails import TARGET, Index, LossTails, noise_index, signal_index
from biasvar.learning.losses import Loss
from biasvar.learning.simulation import Cell
from biasvar.learning.summary import Estimates, Series, estimate, paired_difference, reduce_blocks
from biasvar.montecarlo.moments import RunningMean
from biasvar.montecarlo.tails import Status
from biasvar.studies.base import BlockSource, Group

LABELS = {
    "irreducible_risk": "irreducible risk: variance of the label noise",
    "bias2": "squared bias of the average fit, averaged over x",
    "variance": "variance of the fit over training sets, averaged over x",
    "excess_risk": "excess risk: squared bias + variance",
    "expected_risk": "expected risk: noise + squared bias + variance",
    "empirical_risk": "empirical risk: expected mean squared training error",
    "generalization_gap": "generalization gap: expected risk - empirical risk",
    "approximation_error": "approximation error: excess risk of the best in class",
    "best_in_class_risk": "expected risk of the best in class",
    "estimation_error": "estimation error: expected risk - risk of the best in class",
}
_CURVES = {
    "mean_prediction": "average prediction at x",
    "bias2_x": "squared bias at x",
    "variance_x": "variance of the prediction at x",
}
#: What a heavy-tailed loss spoils; a mean prediction and training errors exist all the same.
_SPOILED = ("variance", "excess_risk", "expected_risk", "generalization_gap", "estimation_error")
#: What a target without a second moment spoils besides.
_OF_TARGET = {"bias2", "approximation_error", "best_in_class_risk"}


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
        """Simulated cells by key: one a set, or one a set and noise level where noise is simulated."""
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

        def add(name: str, dims: tuple[str, ...], label: str, unit: str = "", fill: Any = np.nan) -> None:
            dtype = object if fill == "" else None
            values = np.full(tuple(sizes[dim] for dim in dims), fill, dtype)
            variables[name] = (dims, values, {"long_name": label} | ({"units": unit} if unit else {}))

        axes, pairs = tuple(cells), ("hypothesis", "versus", "n_train", "noise")
        for name, label in LABELS.items():
            add(name, axes, label, "y^2")
            add(f"{name}_se", axes, f"standard error of {name}", "y^2")
        add(
            "bias2_lean",
            axes,
            "variance of the mean prediction along a direction: intervals of bias2 lean by it",
            "y^2",
        )
        add("excess_risk_difference", pairs, "excess risk less that of versus", "y^2")
        add("excess_risk_difference_se", pairs, "standard error of excess_risk_difference, paired", "y^2")
        add("target", (self._x_dim,), "target f at x", "y")
        add("best_in_class", ("hypothesis", self._x_dim), "best in class at x", "y")
        for name, label in _CURVES.items():
            unit = "y" if name == "mean_prediction" else "y^2"
            add(name, (*axes, self._x_dim), label, unit)
            add(f"{name}_se", (*axes, self._x_dim), f"standard error of {name}", unit)
        add(
            "quadrature_error",
            axes,
            "part of the standard error of the risk that the test points leave: more replicates do not lower it",
            "y^2",
        )
        add("tail_index", axes, "tail index of the loss: risk exists above 1, its standard error above 2")
        add("tail_index_se", axes, "standard error of tail_index: 0 by theory, NaN where the estimate is infinite")
        add("replicates", axes, "random training sets behind the numbers", fill=0)
        add("block_count", axes, "independent blocks behind the standard errors", fill=0)
        add("status", axes, "what can be said of the numbers", fill="")
        add("status_reason", axes, "why, in words", fill="")
        return xr.Dataset(variables, self._coordinates())

    def summarise(self, source: BlockSource) -> xr.Dataset:
        """Turn blocks into risks and errors with standard errors."""
        out = self.layout()
        table = {str(name): variable.values for name, variable in out.data_vars.items()}  # views: filled in place
        table["target"][:] = self.problem.f
        best = [best_in_class(self.problem, hypothesis) for hypothesis in self.hypotheses.values()]
        for row, found in zip(table["best_in_class"], best, strict=True):
            if found is not None:
                row[:] = found[0]
        quadrature_error = self.problem.quadrature_error()
        for j, n in enumerate(self.n_train):
            cells = _Column(self, n)
            for group in source.groups():
                if group.problem == problem_name(n):
                    cells.read(group, source)
            for k, noise in enumerate(self.noise):
                column = [
                    cells.estimate(label, noise, found, quadrature_error)
                    for label, found in zip(self.hypotheses, best, strict=True)
                ]
                for i, (label, result) in enumerate(zip(self.hypotheses, column, strict=True)):
                    _fill(table, (i, j, k), cells, label, noise, result)
                _fill_differences(table, (j, k), self.problem, column)
        return out

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
            reduced = reduce_blocks(self.grid.problem, list(averages.values()), records, self.grid.block_size)
            self.series |= {group.cells[i]: series for i, series in zip(sound, reduced, strict=True)}

    def estimate(self, label: str, noise: float, best: Any, quadrature_error: float) -> Estimates | None:
        """Return what is known of one hypothesis set at one noise level; None where it failed."""
        series = self.series.get(self.grid.key(label, noise))
        if series is None:
            return None
        tails, replicates = self.tails(label, noise), self.replicates(label, noise)
        extremes = np.hypot(
            tails.signal.standard_error(series.loss_tail, replicates),
            noise**2 * tails.noise.standard_error(series.gain_tail, replicates),
        )
        return estimate(self.grid.problem, series, noise, best, quadrature_error, float(extremes))

    def replicates(self, label: str, noise: float) -> int:
        """Return how many training sets are behind a cell."""
        return self.series[self.grid.key(label, noise)].blocks * self.grid.block_size

    def tails(self, label: str, noise: float) -> LossTails:
        """Return the tail indices of the loss without label noise and of what the noise adds."""
        series, problem = self.series[self.grid.key(label, noise)], self.grid.problem
        known = self.grid.hypotheses[label].tail_index(problem.inputs, self.n_train)
        noisy = self.grid.integrates_noise(label) and noise > 0
        return LossTails(
            signal_index(known, problem, series.loss_tail.index),
            noise_index(known, series.gain_tail.index) if noisy else Index.known(np.inf),
        )


_Table = dict[str, NDArray[Any]]


def _fill(
    table: _Table, at: tuple[int, int, int], cells: _Column, label: str, noise: float, result: Estimates | None
) -> None:
    """Write one cell into the summary, and what its tails forbid."""
    table["irreducible_risk"][at], table["irreducible_risk_se"][at] = noise**2, 0.0
    if result is None:
        table["status"][at] = str(Status.FAILED)
        table["status_reason"][at] = cells.failures.get(cells.grid.key(label, noise), "not simulated")
        return
    for name, value in result.values.items():
        table[name][at], table[f"{name}_se"][at] = value, result.errors[name]
    for name, curve in result.curves.items():
        table[name][at] = curve
    table["bias2_lean"][at], table["quadrature_error"][at] = result.bias2_lean, result.quadrature_error
    tails, replicates = cells.tails(label, noise), cells.replicates(label, noise)
    if tails.status is not Status.OK:
        _strike(table, at, tails, result)
    table["tail_index"][at], table["tail_index_se"][at] = tails.decisive.value, tails.decisive.se
    table["block_count"][at] = len(result.excess)
    table["replicates"][at] = replicates
    table["status"][at] = str(tails.status)
    table["status_reason"][at] = tails.reason(replicates)


def _strike(table: _Table, at: tuple[int, int, int], tails: LossTails, result: Estimates) -> None:
    """Take away the numbers and standard errors that do not exist."""
    spoiled = set(_SPOILED)
    if tails.signal.source == TARGET:
        spoiled |= _OF_TARGET
        table["empirical_risk_se"][at] = np.nan
        if not np.ptp(result.excess):  # a set that the data do not move
            spoiled.remove("variance")
    for name in (*spoiled, "variance_x"):
        table[f"{name}_se"][at] = np.nan
        if tails.status is Status.INFINITE and not np.isnan(table[name][at]).all():
            table[name][at] = np.inf
    if tails.signal.status is not Status.OK:
        for name in ("bias2", "bias2_x", "mean_prediction"):
            table[f"{name}_se"][at] = np.nan


def _fill_differences(table: _Table, at: tuple[int, int], problem: Problem, column: list[Estimates | None]) -> None:
    """Write the paired differences of excess risk between all sets at one training-set size and noise level."""
    value, error = table["excess_risk_difference"], table["excess_risk_difference_se"]
    status = [table["status"][(i, *at)] for i in range(len(column))]
    for i, one in enumerate(column):
        if one is not None:
            value[(i, i, *at)], error[(i, i, *at)] = 0.0, 0.0
        for j, other in enumerate(column[:i]):
            # A difference with an infinite number has neither value nor error.
            if one is None or other is None or Status.INFINITE in (status[i], status[j]):
                continue
            difference, se = paired_difference(problem, one, other)
            value[(i, j, *at)], value[(j, i, *at)] = difference, -difference
            if status[i] == status[j] == Status.OK:
                error[(i, j, *at)] = error[(j, i, *at)] = se


def problem_name(n_train: int) -> str:
    """Return what the engine calls the draws of one training-set size."""
    return f"n{n_train}"
