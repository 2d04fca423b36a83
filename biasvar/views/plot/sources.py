"""Figures of where errors come from, and of how well they are known."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from biasvar.views.figures import BLACK, GREY, ORANGE, SKY, VERMILION, panels_or_given, set_title
from biasvar.views.plot.cells import about, few, selected, shown, units
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
        name_places(panel, places, cell.hypothesis.values.tolist())
        panel.set_xlabel("hypothesis set")
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
            said.append(f"{share:.0%} is {source} at {n_train} examples ({shown(cell.hypothesis.values[best])})")
    return f"Of the best set's error above noise {', '.join(said)}" if said else "Where errors come from"
