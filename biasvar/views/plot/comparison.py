"""Figures that compare: paired differences between sets, and which numbers are sound."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from biasvar.notation import plainly
from biasvar.views.figures import BLUE, GREY, INK, ORANGE, SKY, finite, panels_or_given, set_title
from biasvar.views.findings import SURE
from biasvar.views.plot.cells import about, error_of, few, leading, selected, shown, study_name, units, written
from biasvar.views.plot.doors import made_of
from biasvar.views.plot.risk import FAR

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]


STATES = {"ok": "white", "se_unreliable": SKY, "infinite": ORANGE, "failed": GREY}
WORDS = {"se_unreliable": "no error"}  # that a narrow cell has room for
ROW = 0.4  # inches, two lines of text


@made_of("expected_risk", "expected_risk_se", "versus", dims=("hypothesis",), several=("hypothesis",))
def differences(summary: xr.Dataset, *, ax: "Axes | None" = None, title: str | None = None, **sel: object) -> "Figure":
    """Draw how much more each hypothesis set errs than the best one, with 95 % intervals of the paired differences.

    Parameters
    ----------
    summary : xarray.Dataset
        Summary of a study of hypothesis sets.
    ax, title
        See :mod:`biasvar.plot`.
    **sel : labels
        Which cells: one of each dimension but the hypothesis sets.

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
    >>> figure = bv.plot.differences(bv.lazy(study).compute(), noise=0)
    >>> figure.axes[0].get_xlabel()
    'expected risk above that of H0 (y²)'
    """
    cells = selected(summary, sel, keep=("hypothesis",)).sortby("expected_risk")
    name = cells.expected_risk.attrs["compared_by"]
    best = cells.hypothesis.values[0]
    others = cells.isel(hypothesis=slice(1, None)).sel(versus=best)
    figure, axes = panels_or_given(ax, 1, 1)
    panel, places = axes[0, 0], -np.arange(others.sizes["hypothesis"], dtype=float)
    if ax is None:
        figure.set_size_inches(7, 1.6 + 0.4 * max(len(places), 1))
    error = SURE * finite(error_of(others, name))
    panel.errorbar(finite(others[name]), places, xerr=error, color=BLUE, marker="o", linestyle="none", capsize=3)
    _set_reach(panel, finite(others[name]), others[name].values, places, float(cells.expected_risk[0]))
    panel.axvline(0, color=GREY, linewidth=1)
    panel.set_yticks(places, [shown(label) for label in others.hypothesis.values])
    panel.set_ylim(0.5 - max(len(places), 1), 0.5)
    panel.set_xlabel(f"expected risk above that of {shown(best)}{units(cells.expected_risk)}")
    set_title(figure, axes, ax, title or leading(cells), f"{about(cells)}; bars: 95 % intervals, paired")
    return figure


def _set_reach(panel: "Axes", values: Array, numbers: Array, places: Array, best: float) -> None:
    """End the axis not far above the best risk; what is beyond is an arrow with its number."""
    far = FAR * best
    if np.isfinite(numbers).all() and not (values > far).any():
        return
    inside = values[values <= far]
    end = max(1.3 * float(inside.max()), 0.1 * best) if inside.size else far
    panel.set_xlim(-0.05 * end, end)
    for place, number in zip(places, numbers, strict=True):
        if not number <= end:
            words = "?" if np.isnan(number) else plainly(number)
            panel.annotate(f"{words} →", (end, place), (-2, 0), textcoords="offset points", ha="right", va="center")


@made_of("status", "expected_risk", dims=("hypothesis", "n_train"))
def status_map(summary: xr.Dataset, *, ax: "Axes | None" = None, title: str | None = None, **sel: object) -> "Figure":
    """Draw which numbers are sound: cells by training-set size and hypothesis set, with tail indices where they matter.

    Parameters
    ----------
    summary : xarray.Dataset
        Summary of a study of hypothesis sets.
    ax, title
        See :mod:`biasvar.plot`.
    **sel : labels
        Which cells; a panel for each noise level that is left.

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
    >>> figure = bv.plot.status_map(bv.lazy(study).compute())
    >>> figure.axes[0].get_xlabel()
    'training examples'
    """
    cells = selected(summary, sel, keep=("hypothesis", "n_train", "noise"))
    each = [cells]
    if "noise" in cells.dims:
        cells = few(cells, "noise")
        each = [cells.isel(noise=i) for i in range(cells.sizes["noise"])]
    figure, axes = panels_or_given(ax, 1, len(each), sharex=True, sharey=True)
    for panel, found in zip(axes[0], each, strict=True):
        _draw_states(panel, found.transpose("hypothesis", "n_train", ...))
        panel.set_title(written(found.noise) if "noise" in found.coords else "")
        panel.set_xlabel("training examples")
    flagged = int((cells.status != "ok").sum())
    if ax is None:
        width, height = figure.get_size_inches()
        figure.set_size_inches(width, max(height, 1.6 + ROW * cells.sizes["hypothesis"]))
    are = "is" if flagged == 1 else "are"
    words = f"{flagged} of {cells.status.size} cells {are} flagged" if flagged else "All cells are sound"
    below = f"{study_name(cells)}: numbers are tail indices; above 1 the loss has a mean, above 2 its mean an error"
    set_title(figure, axes, ax, title or words, below)
    return figure


def _draw_states(panel: "Axes", cells: xr.Dataset) -> None:
    from matplotlib.colors import to_rgb

    colors = [[to_rgb(STATES[str(status)]) for status in row] for row in cells.status.values]
    rows, columns = cells.status.shape
    panel.pcolormesh(np.arange(columns + 1) - 0.5, np.arange(rows + 1) - 0.5, colors, edgecolor=GREY, linewidth=0.5)
    for (row, column), status in np.ndenumerate(cells.status.values):
        index = float(cells.tail_index[row, column]) if "tail_index" in cells else np.nan
        number = f"\n{index:.2g}" if status != "ok" and np.isfinite(index) else ""
        words = WORDS.get(str(status), str(status)) + number
        panel.text(column, row, words, ha="center", va="center", fontsize="x-small", color=INK, in_layout=False)
    panel.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    panel.set_xticks(range(columns), [str(n) for n in cells.n_train.values])
    panel.set_yticks(range(rows), [shown(label) for label in cells.hypothesis.values])
