"""Result tables as text."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from biasvar.report.best import labels_of_best
from biasvar.report.numbers import with_error
from biasvar.studies.base import Summary


def results(summary: Summary) -> str:
    """Lay out what a study found: risks and errors, or the best configuration of each optimizer."""
    if isinstance(summary, xr.DataTree):
        return optimizer_table(summary)
    return f"{cell_table(summary)}\n{counts(summary)}"


def optimizer_table(tree: xr.DataTree) -> str:
    """Lay out an optimizer study's summary: tables of the best configuration of each objective and optimizer.

    What is best is said above each table: the cheapest to a target, one table a target, then the one with the lowest
    objective J at the last step. Costs are gradient evaluations, medians over replicates. J has its standard error in
    the last digits in parentheses; where it chose the configuration, it is judged on replicates that did not choose.

    Parameters
    ----------
    tree : xarray.DataTree
        What :func:`biasvar.run` or :func:`biasvar.open` returned.
    """
    nodes = {node.path.strip("/"): node.to_dataset().load() for node in tree.leaves}
    targets = max(node.sizes.get("target", 0) for node in nodes.values())
    step = int(next(iter(nodes.values())).step[-1])
    lines: list[str] = []
    for target in range(targets):
        rows = [[*path.split("/"), *_cheapest(node, target)] for path, node in nodes.items()]
        header = ["objective", "optimizer", "configuration", "target J", "cost", "reached", f"J at step {step}"]
        lines += [f"cheapest to target {target + 1}", *_align([header, *rows], left=(0, 1, 2)), ""]
    rows = [[*path.split("/"), *_lowest(node)] for path, node in nodes.items()]
    header = ["objective", "optimizer", "configuration", "J", "agree", "diverged", "failed"]
    lines += [f"lowest objective J at the last step, {step}", *_align([header, *rows], left=(0, 1, 2))]
    return "\n".join(lines)


def _cheapest(node: xr.Dataset, target: int) -> list[str]:
    """Return the configuration that is the cheapest to a target: settings, target, cost, share of replicates, J."""
    labels, goal = labels_of_best(node, target=target), f"{float(node.target_value[target]):g}"
    if not labels:
        return ["none reached it", goal, "-", "-", "-"]
    cell = node.sel(labels).isel(step=-1, target=target)
    value = _objective(float(cell.objective), float(cell.objective_se)) if "objective" in cell else "-"
    cost, share = f"{float(cell.median_cost_to_target):g}", f"{float(cell.reached_share):.0%}"
    return [_settings(node, labels), goal, cost, share, value]


def _lowest(node: xr.Dataset) -> list[str]:
    """Return the configuration that is lowest at the end: settings, J, share of choices that agree; what went wrong."""
    labels, last = labels_of_best(node), node.isel(step=-1)
    wrong = [f"{float((node.outcome == outcome).mean()):.0%}" for outcome in ("diverged", "failed")]
    if not labels:
        return [f"none: all {'failed' if (node.status == 'failed').all() else 'diverged or failed'}", "-", "-", *wrong]
    value = _objective(float(last.best_objective), float(last.best_objective_se))
    return [_settings(node, labels), value, f"{float(last.best_share):.0%}", *wrong]


def _settings(node: xr.Dataset, labels: Mapping[str, float]) -> str:
    """Write the hyperparameters that differ over the grid."""
    written = {name: f"{value:.3g}" for name, value in labels.items()}
    if labels["batch_size"] == 0:
        written["batch_size"] = "all"
    return ", ".join(f"{name}={value}" for name, value in written.items() if node.sizes[name] > 1) or "the only one"


def _objective(value: float, error: float) -> str:
    """Write an objective; that of a single replicate is what one descent reached, though not what others would."""
    return f"{value:.4g}(?)" if np.isfinite(value) and np.isnan(error) else with_error(value, error, powers=True)


def cell_table(summary: xr.Dataset, columns: Sequence[str] = ()) -> str:
    """Lay out the cells of a summary: a row for each, a column for each number that says it belongs into tables.

    Digits in parentheses are standard errors in the last place, ``?`` stands for a number that has none. Flagged cells
    are explained below the table.

    Parameters
    ----------
    summary : xarray.Dataset
        What :func:`biasvar.run` or :func:`biasvar.open` returned.
    columns : sequence of str
        Variables shown; those with an attribute ``column``, in that order, unless given.
    """
    summary = summary.load()
    axes = str(summary.status.attrs.get("rows", "")).split() or [str(axis) for axis in summary.status.dims]
    columns = columns or columns_of(summary)
    header = [*axes, *(heading(summary, name) for name in columns), "status"]
    words = [i for i, axis in enumerate(axes) if not _is_number(summary, axis)]
    rows, notes = [], []
    for labels in product(*(summary[axis].values for axis in axes)):
        at = dict(zip(axes, labels, strict=True))
        cell = summary.sel(at)
        numbers = [with_error(float(cell[name]), float(cell[f"{name}_se"])) for name in columns]
        rows.append([*map(_label, labels), *numbers, str(cell.status.item())])
        if reason := str(cell.status_reason.item()):
            notes.append(f"{_cell_name(summary, axes, at)}: {reason}")
    lines = _align([header, *rows], left=(*words, len(header) - 1))
    return "\n".join([*lines, *notes, *_limits(summary, axes)])


def _limits(summary: xr.Dataset, axes: Sequence[str]) -> list[str]:
    """Say where test points, not training sets, make up most of a standard error."""
    if "of" not in getattr(summary.get("quadrature_error"), "attrs", {}):
        return []
    said = summary.quadrature_error.attrs
    # Errors add in squares: more than half of the square.
    led = summary.quadrature_error > np.sqrt(0.5) * summary[said["of"]]
    if not led.any():
        return []
    first = {str(dim): led[dim].values[i] for dim, i in zip(led.dims, np.argwhere(led.values)[0], strict=True)}
    others = ", and others" if int(led.sum()) > 1 else ""
    return [
        f"{_cell_name(summary, axes, first)}{others}: most of the standard error is that of the test points: "
        f"more replicates cannot lower it, {said['remedy']} can"
    ]


def _cell_name(summary: xr.Dataset, axes: Sequence[str], labels: Mapping[str, Any]) -> str:
    """Name a cell: words as they are, numbers with their axis."""
    words = [_label(labels[axis]) for axis in axes if not _is_number(summary, axis)]
    return ", ".join([*words, *(f"{axis}={_label(labels[axis])}" for axis in axes if _is_number(summary, axis))])


def _is_number(summary: xr.Dataset, axis: str) -> bool:
    return summary[axis].dtype.kind in "iuf"


def columns_of(summary: xr.Dataset) -> list[str]:
    """Return the variables that belong into tables, by their attribute ``column``; all with errors if none has it."""
    names = [str(name) for name in summary.data_vars]
    chosen = [name for name in names if "column" in summary[name].attrs]
    return sorted(chosen, key=lambda name: int(summary[name].attrs["column"])) or [
        name for name in names if f"{name}_se" in summary and summary[name].dims == summary.status.dims
    ]


def heading(summary: xr.Dataset, name: str) -> str:
    """Return what a variable is called at the head of a column."""
    return str(summary[name].attrs.get("short_name", name))


def _label(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def counts(summary: xr.Dataset) -> str:
    """Say how many training sets are behind a summary."""
    replicates = np.unique(summary.replicates.values[summary.replicates.values > 0])
    if replicates.size == 0:
        return "no replicates"
    spread = str(replicates[0]) if replicates.size == 1 else f"{replicates[0]} to {replicates[-1]}"
    return f"{spread} training sets a cell"


def _align(rows: Sequence[Sequence[str]], left: Sequence[int]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            text.ljust(width) if i in left else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return lines
