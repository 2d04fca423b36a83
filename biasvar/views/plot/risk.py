"""Figures of risks: what they are made of, how they fall with examples and rise with noise."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from biasvar.notation import with_error
from biasvar.views.figures import (
    BLACK,
    GREEN,
    GREY,
    INK,
    LINES,
    SMALL,
    draw_hollow,
    finite,
    halo,
    name_lines,
    panels_or_given,
    set_title,
)
from biasvar.views.plot.cells import about, error_of, few, leading, parts_of, selected, shown, units
from biasvar.views.plot.doors import made_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

LETTERS = 24  # that stand side by side under a panel
MOST_GONE = 3  # names of what leaves a picture at one place
FAR = 6  # times the risk of the best set: what is above ends in an arrow


@made_of("expected_risk", "expected_risk_se", "variance", dims=("hypothesis", "n_train"))
def decomposition(
    summary: xr.Dataset,
    *,
    ax: "Axes | None" = None,
    title: str | None = None,
    top: float | None = None,
    axis: str = "hypothesis set",
    **sel: object,
) -> "Figure":
    """Stack noise, bias and variance for every hypothesis set, a panel for each training-set size.

    The stack ends at the expected risk, which has an error bar, a second and longer one for another data set where a
    data set stands for the law; the training error stands beside it.

    Parameters
    ----------
    summary : xarray.Dataset
        Summary of a study of hypothesis sets.
    ax, title
        See :mod:`biasvar.plot`.
    top : float, optional
        Largest risk shown; what is above it ends in an arrow with its number.
    axis : str
        What the hypothesis sets are, for example ``"polynomials of degree"``.
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
    >>> figure = bv.plot.decomposition(bv.lazy(study).compute(), noise=0)
    >>> figure.axes[0].get_xlabel()
    'hypothesis set'
    """
    cells = selected(summary, sel, keep=("hypothesis", "n_train"))
    words, cells = title or leading(cells) or "What expected risk is made of", few(cells, "n_train")
    top = top or ceiling(cells)
    figure, axes = panels_or_given(ax, 1, cells.sizes["n_train"], sharey=True)
    places = np.arange(cells.sizes["hypothesis"], dtype=float)
    for panel, n_train in zip(axes[0], cells.n_train.values, strict=True):
        cell = cells.sel(n_train=n_train)
        draw_stack(panel, cell, parts_of(cells), top)
        draw_points(panel, places - 0.15, cell, "expected_risk", BLACK, "o", top)
        if "empirical_risk" in cell:
            draw_points(panel, places + 0.15, cell, "empirical_risk", GREEN, "s", top)
        panel.set_title(f"{n_train} examples")
        name_places(panel, places, cell.hypothesis.values.tolist())
        panel.set_xlabel(axis)
    axes[0, 0].set_ylim(0, top)
    axes[0, 0].set_ylabel(f"risk{units(cells.expected_risk)}")
    axes[0, -1].legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize="small")
    set_title(figure, axes, ax, words, about(cells))
    return figure


def name_places(panel: "Axes", places: ArrayLike, names: Sequence[str]) -> None:
    """Write what users named at places along x, turned where they would not fit side by side."""
    turned: dict[str, Any] = {"rotation": 30, "ha": "right"} if sum(map(len, names)) > LETTERS else {}
    panel.set_xticks(places, list(map(shown, names)), **turned)


def draw_stack(panel: "Axes", cells: xr.Dataset, parts: Sequence[tuple[str, str, str]], top: float) -> None:
    """Stack parts of the risk; hatched is what they are not told apart in."""
    base, places = np.zeros(cells.sizes["hypothesis"]), range(cells.sizes["hypothesis"])
    for name, label, color in parts:
        height = np.minimum(np.nan_to_num(cells[name].values, posinf=np.inf), 10 * top)  # what is infinite has no end
        panel.bar(places, height, bottom=base, width=0.75, color=color, label=label)
        base = base + height
    rest = np.where(np.isnan([cells[name] for name, *_ in parts]).any(axis=0), cells.expected_risk - base, 0)
    rest = np.nan_to_num(rest)  # what failed has no risk to tell apart
    if rest.any():
        unknown: dict[str, Any] = {"color": "white", "edgecolor": GREY, "hatch": "//", "label": "not told apart"}
        panel.bar(places, rest, bottom=base, width=0.75, **unknown)


@made_of("expected_risk", "expected_risk_se", dims=("hypothesis", "n_train"), several=("n_train",))
def learning_curves(
    summary: xr.Dataset, *, ax: "Axes | None" = None, title: str | None = None, **sel: object
) -> "Figure":
    """Draw the excess risk of each hypothesis set against the training-set size, on logarithmic axes.

    Where the law's own risk is unknown, the expected risk. Where no bias is left, estimation alone falls as 1/n: the
    thin line shows that slope. Hollow is what has no standard error; no solid line leads there.

    Parameters
    ----------
    summary : xarray.Dataset
        Summary of a study of hypothesis sets.
    ax, title
        See :mod:`biasvar.plot`.
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
    >>> figure = bv.plot.learning_curves(bv.lazy(study).compute(), noise=0)
    >>> figure.axes[0].get_xlabel()
    'training examples'
    """
    cells = selected(summary, sel, keep=("hypothesis", "n_train")).sortby("n_train")
    name = "excess_risk" if "excess_risk" in cells else "expected_risk"
    figure, axes = panels_or_given(ax, 1, 1)
    panel, n_train = axes[0, 0], cells.n_train.values
    if ax is None:
        figure.set_size_inches(7.5, 5)
    from matplotlib.ticker import NullLocator

    words = name.replace("_", " ")
    panel.set(xscale="log", yscale="log", xlabel="training examples", ylabel=f"{words}{units(cells[name])}")
    ends = _draw_curves(panel, n_train, cells, name)
    if name == "excess_risk":
        _draw_slope(panel, n_train, cells.excess_risk)
    panel.set_xticks(n_train, [str(n) for n in n_train])
    panel.xaxis.set_minor_locator(NullLocator())
    _name_what_leaves(panel, n_train, cells, name)
    name_lines(panel, ends)
    set_title(figure, axes, ax, title or leading(cells) or "Risk above that of the target", about(cells))
    return figure


def _draw_curves(panel: "Axes", x: Array, cells: xr.Dataset, name: str) -> list[tuple[str, float, float, str]]:
    """Draw a variable of each hypothesis set along x; return where the lines end."""
    ends = []
    for i, label in enumerate(cells.hypothesis.values):
        (color, marker), cell = LINES[i % len(LINES)], cells.sel(hypothesis=label)
        value, error = finite(cell[name]), error_of(cell, name).values
        known = np.where(np.isnan(error), np.nan, value)
        panel.plot(x, value, color=color, linestyle=":", linewidth=1)
        panel.errorbar(x, known, error, color=color, marker=marker, markersize=5, capsize=3, label=shown(label))
        draw_hollow(panel, x, value, error, color=color, marker=marker)
        if np.isfinite(value).any():
            last = np.flatnonzero(np.isfinite(value))[-1]
            ends.append((shown(label), float(x[last]), float(value[last]), color))
    return ends


def _name_what_leaves(panel: "Axes", x: Array, cells: xr.Dataset, name: str) -> None:
    """Write at the frame, with an arrow, which hypothesis sets are above it at each x, or infinite there."""
    top = panel.get_ylim()[1]
    for i, (place, values) in enumerate(zip(x, cells[name].transpose(..., "hypothesis").values, strict=True)):
        gone = [
            shown(label) + (" inf" if np.isinf(value) else "")
            for label, value in zip(cells.hypothesis.values, values, strict=True)
            if value > top
        ]
        more = f" and {len(gone) - MOST_GONE} more" if len(gone) > MOST_GONE else ""
        if gone:
            first = 2 * i < len(x)
            panel.annotate(
                f"{', '.join(gone[:MOST_GONE])}{more} →",  # turned, it points up
                (place, 1),
                (8 if first else -4, -2),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                ha="left" if first else "right",
                va="top",
                rotation=90,
                path_effects=halo(),
                **SMALL,
            )


def _draw_slope(panel: "Axes", n_train: Array, excess: xr.DataArray) -> None:
    """Draw the slope of 1/n below everything."""
    values = finite(excess)
    if len(n_train) < 2 or not (values > 0).any():
        return
    low = float(np.nanmin(np.where(values > 0, values, np.nan)))
    panel.plot(n_train, 0.7 * low * n_train[-1] / n_train, color=GREY, linewidth=0.8)
    panel.annotate("1/n", (n_train[-1], 0.7 * low), (4, 0), textcoords="offset points", color=INK, va="center")


@made_of("expected_risk", "expected_risk_se", dims=("hypothesis", "noise"), several=("noise",))
def noise_curves(
    summary: xr.Dataset, *, ax: "Axes | None" = None, title: str | None = None, top: float | None = None, **sel: object
) -> "Figure":
    """Draw the expected risk of each hypothesis set against the label noise: its variance, or the share of flips.

    Parameters
    ----------
    summary : xarray.Dataset
        Summary of a study of hypothesis sets.
    ax, title
        See :mod:`biasvar.plot`.
    top : float, optional
        Largest risk shown; four times the least at the highest noise unless given.
    **sel : labels
        Which cells; one training-set size and loss.

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
    >>> figure = bv.plot.noise_curves(bv.lazy(study).compute(), n_train=10)
    >>> figure.axes[0].get_xlabel()
    'variance of the label noise σ² (y²)'
    """
    cells = selected(summary, sel, keep=("hypothesis", "noise")).sortby("noise")
    figure, axes = panels_or_given(ax, 1, 1)
    panel, added = axes[0, 0], cells.noise.attrs.get("units") == "y"
    strength = cells.noise.values ** (2 if added else 1)
    if ax is None:
        figure.set_size_inches(7.5, 5)
    across = "variance of the label noise σ² (y²)" if added else "share of labels flipped"
    panel.set(xlabel=across, ylabel=f"expected risk{units(cells.expected_risk)}")
    ends = _draw_curves(panel, strength, cells, "expected_risk")
    # Of sets that err much more than the best, only where they leave the picture is of interest.
    least = finite(cells.expected_risk.min("hypothesis"))
    panel.set_ylim(0, top or min(4 * float(np.nanmax(least)), ceiling(cells)))
    _name_what_leaves(panel, strength, cells, "expected_risk")
    if added:
        panel.plot(strength, strength, color=GREY, linewidth=2, linestyle="-.")
        ends.append(("noise alone", float(strength[-1]), float(strength[-1]), INK))
    name_lines(panel, ends)
    set_title(figure, axes, ax, title or leading(cells) or "What label noise costs", about(cells))
    return figure


def draw_points(
    panel: "Axes", x: Array, cells: xr.Dataset, name: str, color: str, marker: str, top: float, line: str = "none"
) -> None:
    """Draw a variable with its error bars; hollow where it has none, an arrow at the frame where it leaves."""
    value, error = finite(cells[name]), cells[f"{name}_se"].values
    style: dict[str, Any] = {"color": color, "markersize": 4, "markeredgewidth": 1}
    words = {"expected_risk": "expected risk", "empirical_risk": "training error"}
    inside = np.where(value <= top, value, np.nan)
    panel.errorbar(x, inside, error, marker=marker, linestyle=line, capsize=3, label=words[name], **style)
    if f"{name}_se_data" in cells:
        panel.errorbar(x, inside, cells[f"{name}_se_data"], color=GREY, linestyle="none", label="another data set")
    draw_hollow(panel, x, inside, error, marker=marker, zorder=3, **style)
    for place, number, its_error in zip(x, cells[name].values, error, strict=True):
        if number > top:
            panel.annotate(
                f"{with_error(float(number), float(its_error))} →",  # turned, it points up
                (place, 0.99 * top),
                ha="center",
                va="top",
                rotation=90,
                fontsize="small",
                color=color,
            )


def ceiling(cells: xr.Dataset) -> float:
    """Return up to which risk to draw: not much above what the best sets have."""
    risk = finite(cells.expected_risk.transpose("hypothesis", ...))
    if np.isnan(risk).all():
        parts = (cells[name].where(np.isfinite(cells[name]), 0) for name, *_ in parts_of(cells))
        return 1.08 * float(sum(parts, xr.zeros_like(cells.expected_risk)).max()) or 1.0
    # Of what no set can do, there is no least.
    return min(1.08 * float(np.nanmax(risk)), FAR * float(np.nanmax(np.fmin.reduce(risk, axis=0))))
