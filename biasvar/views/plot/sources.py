"""Figures of where errors come from, and of how well they are known."""

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from biasvar.studies.base import Summary, nodes_of
from biasvar.views.figures import BLACK, BLUE, GREEN, GREY, ORANGE, SKY, VERMILION, finite, panels_or_given, set_title
from biasvar.views.plot.cells import about, few, selected, shown, study_name, units
from biasvar.views.plot.doors import made_of
from biasvar.views.plot.risk import ceiling, draw_points, draw_stack, name_places

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

ROUNDING = 1e-12  # of the largest value

#: Where a risk comes from, from the bottom up: variables, names and colours.
SOURCES = (
    ("irreducible_risk", "noise", GREY),
    ("bayes_risk", "Bayes risk", GREY),
    ("approximation_error", "approximation: the set is too poor", ORANGE),
    ("surrogate_error", "surrogate: another loss is minimised", VERMILION),
    ("estimation_error", "estimation: too few data", SKY),
)


@made_of("approximation_error", "estimation_error", "expected_risk", "expected_risk_se", dims=("hypothesis", "n_train"))
def sources_of_error(
    summary: xr.Dataset, *, ax: "Axes | None" = None, title: str | None = None, top: float | None = None, **sel: object
) -> "Figure":
    """Stack where the risk of every hypothesis set comes from: noise, approximation, surrogate loss, estimation.

    Parameters
    ----------
    summary : xarray.Dataset
        Summary of a study of hypothesis sets.
    ax, title
        See :mod:`biasvar.plot`.
    top : float, optional
        Largest risk shown; what is above it ends in an arrow with its number.
    **sel : labels
        Which cells; one noise level and loss.

    Raises
    ------
    BiasvarError
        If a label is unknown.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.load("two-point-sine", ["replicates=256", "block_size=16"])
    >>> figure = bv.plot.sources_of_error(bv.lazy(study).compute(), noise=0)
    >>> [panel.get_title() for panel in figure.axes]
    ['2 examples', '10 examples']
    """
    cells = selected(summary, sel, keep=("hypothesis", "n_train"))
    words, cells = title or _largest(cells), few(cells, "n_train")
    top = top or ceiling(cells)
    parts = [part for part in SOURCES if part[0] in cells and (cells[part[0]].fillna(0) != 0).any()]
    figure, axes = panels_or_given(ax, 1, cells.sizes["n_train"], sharey=True)
    places = np.arange(cells.sizes["hypothesis"], dtype=float)
    for panel, n_train in zip(axes[0], cells.n_train.values, strict=True):
        cell = cells.sel(n_train=n_train)
        draw_stack(panel, cell, parts, top)
        draw_points(panel, places, cell, "expected_risk", BLACK, "o", top)
        panel.set_title(f"{n_train} examples")
        name_places(panel, places, [shown(name) for name in cell.hypothesis.values])
    axes[0, 0].set_ylim(0, top)
    axes[0, 0].set_ylabel(f"risk{units(cells.expected_risk)}")
    axes[0, -1].legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize="small")
    set_title(figure, axes, ax, words, about(cells))
    return figure


def _largest(cells: xr.Dataset) -> str:
    """Say where most of the error above noise of the best set comes from, with few data and with many."""
    said = []
    for n_train in dict.fromkeys(cells.n_train.values[[0, -1]].tolist()):
        cell = cells.sel(n_train=n_train)
        known = np.isfinite(cell.expected_risk + cell.approximation_error + cell.estimation_error)
        best = int(np.argmin(np.where(known, cell.expected_risk, np.inf)))
        parts = {
            words.partition(":")[0]: float(cell[name][best])
            for name, words, _ in SOURCES[2:]
            if name in cell and np.isfinite(cell[name][best])
        }
        if parts and sum(parts.values()) > 0:
            source = max(parts, key=parts.__getitem__)
            share = parts[source] / sum(map(abs, parts.values()))
            said.append(f"{source} ({share:.0%}) of {shown(cell.hypothesis.values[best])} at {n_train} examples")
    return f"Most error above noise is {', '.join(said)}" if said else "Where errors come from"


@made_of("expected_risk", "expected_risk_se", "block_count")
def precision(summary: Summary, *, ax: "Axes | None" = None, title: str | None = None) -> "Figure":
    """Draw how well numbers are known: their standard errors against themselves, a mark for each cell.

    Diagonals are one, two, three ... certain digits. What is exact, or has no standard error, is counted below.

    Parameters
    ----------
    summary : xarray.Dataset or xarray.DataTree
        What :func:`biasvar.run` or :func:`biasvar.open` returned.
    ax, title
        See :mod:`biasvar.plot`.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.load("two-point-sine", ["replicates=256", "block_size=16"])
    >>> figure = bv.plot.precision(bv.lazy(study).compute())
    >>> figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()
    ('number', 'its standard error')
    """
    pairs = _numbers(summary)
    figure, axes = panels_or_given(ax, 1, 1)
    panel = axes[0, 0]
    if ax is None:
        figure.set_size_inches(7.5, 5)
    every = [np.column_stack(pair) for pair in pairs.values()]
    known = np.vstack(every) if every else np.empty((0, 2))
    there = known[(known > 0).all(axis=1)]
    for (name, (value, error)), (color, mark) in zip(pairs.items(), _MARKS, strict=False):
        seen = (value > 0) & (error > 0)
        panel.plot(value[seen], error[seen], color=color, marker=mark, linestyle="none", markersize=5, label=name)
    if len(there):
        _draw_digits(panel, there)
        panel.legend(frameon=False, fontsize="small", loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    panel.set(xscale="log", yscale="log", xlabel="number", ylabel="its standard error")
    exact = int((known[:, 1] == 0).sum())
    unknown = int(np.isnan(known[:, 1]).sum())
    counts = f"{len(there)} numbers, {exact} more exact, {unknown} without a standard error"
    set_title(figure, axes, ax, title or _digits(there), f"{study_name(nodes_of(summary)[''])}: {counts}")
    return figure


_MARKS = ((BLUE, "o"), (VERMILION, "s"), (GREEN, "D"), (BLACK, "^"), (ORANGE, "v"), (SKY, "P"))


def _numbers(summary: Summary) -> dict[str, Any]:
    """Return values and standard errors of what tables show, by name."""
    found: dict[str, list[Any]] = {}
    for node in nodes_of(summary).values():
        for name, variable in node.data_vars.items():
            if "column" in variable.attrs and f"{name}_se" in node:
                value, error = np.abs(finite(variable).ravel()), finite(node[f"{name}_se"]).ravel()
                # What is left of rounding has no error worth the name.
                error = np.where(error < ROUNDING * np.nanmax(value, initial=0), 0, error)
                pair = np.stack([value, error])
                found.setdefault(variable.attrs.get("short_name", str(name)), []).append(pair)
    return {name: np.concatenate(pairs, axis=1) for name, pairs in list(found.items())[: len(_MARKS)]}


def _draw_digits(panel: "Axes", there: Array) -> None:
    low, high = there[:, 0].min() / 2, there[:, 0].max() * 2
    for digits in range(int(np.floor(np.log10(there[:, 0] / there[:, 1]).max())) + 2):
        ends = np.array([low, high])
        panel.plot(ends, ends * 10.0**-digits, color=GREY, linewidth=0.8, zorder=0)
        panel.annotate(f"{digits}", (high, high * 10.0**-digits), (3, 0), textcoords="offset points", fontsize="small")
    panel.set_xlim(low, high)
    panel.set_ylim(there[:, 1].min() / 3, there[:, 1].max() * 3)


def _digits(there: Array) -> str:
    if not len(there):
        return "Every number is exact, or without a standard error"
    digits = np.log10(there[:, 0] / there[:, 1])
    low, middle = np.quantile(digits, (0, 0.5))
    return f"Half of the numbers have {middle:.1f} certain digits or more, the least known {max(low, 0):.1f}"
