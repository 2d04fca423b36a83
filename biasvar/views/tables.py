"""Result tables."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from biasvar.notation import rounded, with_error
from biasvar.rows import FORMS, Table, as_text
from biasvar.studies.base import Summary, nodes_of
from biasvar.views.best_table import best_tables
from biasvar.views.budget_table import budget_table
from biasvar.views.findings import compared_axis, leaders


def results(summary: Summary, form: str = "text") -> str:
    """Write what a study found, in the kind of tables that its summary asks for by its attribute ``table``.

    Without one, cells: a table for each node that has a status.

    Parameters
    ----------
    summary : xarray.Dataset or xarray.DataTree
        What :func:`biasvar.run` or :func:`biasvar.open` returned.
    form : str
        ``"text"``, ``"md"``, ``"latex"`` or ``"html"``.
    """
    return "\n\n".join(FORMS[form](table) for table in tables(summary))


def tables(summary: Summary) -> list[Table]:
    """Lay out what a study found; the tables that :func:`results` writes."""
    return _KINDS[summary.attrs.get("table", "cells")](summary)


def _tables_of_cells(summary: Summary) -> list[Table]:
    nodes = {path: node for path, node in nodes_of(summary).items() if "status" in node}
    return [cells(node, title=path) for path, node in nodes.items()]


def _tables_of_budgets(tree: xr.DataTree) -> list[Table]:
    """Lay out what all optimizers are compared with, then what each budget buys."""
    return [cells(tree.to_dataset(), title="least squares"), budget_table(tree)]


def cell_table(summary: xr.Dataset, columns: Sequence[str] = ()) -> str:
    """Write the table that :func:`cells` lays out, for a terminal."""
    return as_text(cells(summary, columns))


def cells(summary: xr.Dataset, columns: Sequence[str] = (), title: str = "") -> Table:
    """Lay out the cells of a summary: a row for each, a column for each number that says it belongs into tables.

    Digits in parentheses are standard errors in the last place, ``?`` stands for a number that has none. Flagged cells
    are explained below the table, as are numbers that are NaN where their attribute ``reason`` names what says why, and
    so are sentences, variables with the attribute ``sentences``. Another variable is shown for the status where that
    names it by its attribute ``shown_as``.

    Parameters
    ----------
    summary : xarray.Dataset
        What :func:`biasvar.run` or :func:`biasvar.open` returned.
    columns : sequence of str
        Variables shown; those with an attribute ``column``, in that order, unless given.
    title : str
        What stands above.
    """
    stated = str(summary.status.attrs.get("rows", "")).split() or [str(axis) for axis in summary.status.dims]
    axes = [axis for axis in stated if axis in summary.coords]
    # What was selected by one label has a row as well.
    summary = summary.load().expand_dims([axis for axis in axes if not summary[axis].dims])
    columns = columns or columns_of(summary)
    said = str(summary.status.attrs.get("shown_as", "status"))
    header = [*axes, *(heading(summary, name) for name in columns), said]
    words = [i for i, axis in enumerate(axes) if not _is_number(summary, axis)]
    rows, notes = [], []
    errors = [error for name in columns if (error := f"{name}_se") in summary]
    # Cells are taken one by one: of what is not shown, too, that would take long.
    shown = summary[list({*columns, *errors, said, "status", "status_reason"})]
    for labels in product(*(summary[axis].values for axis in axes)):
        at = dict(zip(axes, labels, strict=True))
        cell = shown.sel(at)
        numbers = [_number(cell, name) for name in columns]
        rows.append([*map(_label, labels), *numbers, str(cell[said].item() or cell.status.item() or "-")])
        if reason := str(cell.status_reason.item()):
            notes.append(f"{_cell_name(summary, axes, at)}: {reason}")
    notes += [
        *sentences_of(summary),
        *_unknown(summary, axes, columns),
        *_limits(summary, axes),
        *counts(summary).splitlines(),
    ]
    # Without their axis, differences are of nobody knows whom.
    leading, mark = _leading(summary, axes, columns) if axes == stated else (set(), "")
    return Table(header, rows, (*words, len(header) - 1), title, notes, leading, mark)


def sentences_of(summary: xr.Dataset) -> list[str]:
    """Return what a summary says in whole sentences: variables with the attribute ``sentences``."""
    found = [variable for variable in summary.data_vars.values() if "sentences" in variable.attrs]
    return [str(sentence) for variable in found for sentence in variable.values.ravel() if sentence]


def _leading(summary: xr.Dataset, axes: Sequence[str], columns: Sequence[str]) -> tuple[set[tuple[int, int]], str]:
    """Find the least of each group, and what cannot be told from it: a variable of paired differences says how."""
    found = [name for name in columns if "compared_by" in summary[name].attrs]
    if not found:
        return set(), ""
    name = found[0]
    others = [axis for axis in axes if axis != compared_axis(summary, name)]
    rows = np.flatnonzero(leaders(summary, name).transpose(*axes))
    each = f" of each {' and '.join(others)}" if others else ""
    said = f"least {heading(summary, name)}{each}, or not told from it (paired difference, 95 %)"
    return {(int(row), len(axes) + columns.index(name)) for row in rows}, said


def _number(cell: xr.Dataset, name: str) -> str:
    """Write a number with its standard error; without one as many digits as it asks for, two of what is an error."""
    if not cell.status.item():  # there is no such cell
        return "-"
    value, error = float(cell[name]), f"{name}_se"
    return with_error(value, float(cell[error])) if error in cell else rounded(value, cell[name].attrs.get("digits", 2))


def _unknown(summary: xr.Dataset, axes: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Say why numbers are unknown that name a variable of reasons: each reason once, with the first of its cells."""
    named = [(name, summary[name].attrs["reason"]) for name in columns if "reason" in summary[name].attrs]
    named = [(name, reason) for name, reason in named if np.isnan(summary[name]).any()]
    told = summary[[variable for pair in named for variable in pair]]
    cells: dict[str, list[str]] = {}
    for labels in product(*(summary[axis].values for axis in axes)) if named else ():
        at = dict(zip(axes, labels, strict=True))
        cell = told.sel(at)
        reasons = {str(cell[reason].item()) for name, reason in named if np.isnan(cell[name])}
        for reason in sorted(reasons - {""}):
            cells.setdefault(reason, []).append(_cell_name(summary, axes, at))
    return [f"{found[0]}{_others(len(found) - 1)}: {reason}" for reason, found in cells.items()]


def _others(count: int) -> str:
    return f", and {count} other{'s' if count > 1 else ''}" if count else ""


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


def _label(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def counts(summary: xr.Dataset) -> str:
    """Say how much is behind the numbers, if a variable says by its attribute ``counted`` what it counts."""
    found = [variable for variable in summary.data_vars.values() if "counted" in variable.attrs]
    return "\n".join(_counted(variable) for variable in found)


def _counted(variable: xr.DataArray) -> str:
    numbers = np.unique(variable.values[variable.values > 0])
    if numbers.size == 0:
        return f"no {variable.name}"
    spread = str(numbers[0]) if numbers.size == 1 else f"{numbers[0]} to {numbers[-1]}"
    return f"{spread} {variable.attrs['counted']} per cell"


#: Kinds of tables by the name that a summary asks for.
_KINDS: dict[str, Callable[[Any], list[Table]]] = {
    "cells": _tables_of_cells,
    "best": best_tables,
    "budgets": _tables_of_budgets,
}
