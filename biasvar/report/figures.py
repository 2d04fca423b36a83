"""Figures of a risk study: along x, by hypothesis set, and as learning curves.

Each takes the summary that :func:`biasvar.run` or :func:`biasvar.open` returned and gives a matplotlib ``Figure``;
narrow the summary first, ``summary.sel(hypothesis=["H1", "H3"])``, to draw fewer panels. Error bars, and shades around
lines, are one standard error; a line below the panels says how large they are at most.
"""

import json
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from biasvar.errors import BiasvarError, MissingDependencyError
from biasvar.report.numbers import with_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which the colour-blind can tell apart. A colour means the same in every figure.
BLACK, GREY, ORANGE, SKY = "#000000", "#999999", "#E69F00", "#56B4E9"
BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"

DPI = 150
MARKED = 20  # test points up to which each is marked
NAMES = {
    "mean_prediction": "mean prediction",
    "bias2_x": "bias²",
    "variance_x": "variance",
    "expected_risk": "expected risk",
    "empirical_risk": "training error",
}
FLAGS = {
    "infinite": "infinite risk",
    "se_unreliable": "variance has no standard error",
    "failed": "failed",
}


def along_x(summary: xr.Dataset, *, n_train: int, noise: float) -> "Figure":
    """Draw fits and their errors along x, a column for each hypothesis set.

    Above the target, the best in class, and the mean prediction with a band of one standard deviation over training
    sets, sqrt(variance_x); below the squared bias, the variance and the noise at x.

    Parameters
    ----------
    summary : xarray.Dataset
        Summary of a risk study with one-dimensional inputs.
    n_train, noise : number
        Which cells, by their labels.

    Raises
    ------
    BiasvarError
        If the inputs have several coordinates, or the summary lacks these labels.
    MissingDependencyError
        If matplotlib is not installed.
    """
    if "x" not in summary.dims:
        raise BiasvarError(f"along_x: needs inputs of one coordinate, got {summary.sizes['coordinate']}")
    cells = _select(summary, n_train=n_train, noise=noise)
    figure, axes = new_panels(2, cells.sizes["hypothesis"], sharex=True, sharey="row")
    for (upper, lower), label in zip(axes.T, cells.hypothesis.values, strict=True):
        cell = cells.sel(hypothesis=label)
        _draw_fits(upper, cell)
        _draw_errors(lower, cell)
        upper.set_title(_panel_title(str(label), cell))
        lower.set_xlabel("input x")
    axes[0, 0].set_ylabel("prediction (y)")
    axes[1, 0].set_ylabel("squared error (y²)")
    _set_words(
        figure,
        axes,
        cells,
        rf"n_train = {n_train}, noise $\sigma$ = {noise:g}",
        ("mean_prediction", "bias2_x", "variance_x"),
    )
    return figure


def risk_by_hypothesis(
    summary: xr.Dataset, *, noise: float, top: float | None = None, axis: str = "hypothesis set"
) -> "Figure":
    """Stack noise, squared bias and variance for every hypothesis set, a panel for each training-set size.

    The stack ends at the expected risk, which has an error bar; the training error stands beside it.

    Parameters
    ----------
    summary : xarray.Dataset
        Summary of a risk study.
    noise : float
        Which cells, by their label.
    top : float, optional
        Largest risk shown, in units of y²; longer bars are cut there and carry their number.
    axis : str
        What the hypothesis sets are, for example ``"polynomials of degree"``.

    Raises
    ------
    BiasvarError
        If the summary lacks this noise level.
    MissingDependencyError
        If matplotlib is not installed.
    """
    cells = _select(summary, noise=noise)
    top = top or _ceiling(cells)
    figure, axes = new_panels(1, cells.sizes["n_train"], sharey=True)
    places = np.arange(cells.sizes["hypothesis"])
    for panel, n_train in zip(axes[0], cells.n_train.values, strict=True):
        cell = cells.sel(n_train=n_train)
        _draw_stack(panel, cell, top)
        _draw_risk(panel, places - 0.15, cell.expected_risk, cell.expected_risk_se)
        _draw_risk(panel, places + 0.15, cell.empirical_risk, cell.empirical_risk_se)
        panel.set_title(f"n_train = {n_train}")
        panel.set_xticks(places, [str(label) for label in cell.hypothesis.values])
        panel.set_xlabel(axis)
    axes[0, 0].set_ylim(-0.02 * top, top)
    axes[0, 0].set_ylabel("risk (y²)")
    _set_words(figure, axes, cells, rf"noise $\sigma$ = {noise:g}", ("expected_risk", "empirical_risk"), top)
    return figure


def learning_curves(summary: xr.Dataset, *, noise: float, top: float | None = None) -> "Figure":
    """Draw expected risk and training error against the training-set size, a panel for each hypothesis set.

    Dashed is the risk of the best in class, which both approach. A hollow marker has no standard error.

    Parameters
    ----------
    summary : xarray.Dataset
        Summary of a risk study.
    noise : float
        Which cells, by their label.
    top : float, optional
        Largest risk shown, in units of y².

    Raises
    ------
    BiasvarError
        If the summary lacks this noise level.
    MissingDependencyError
        If matplotlib is not installed.
    """
    cells = _select(summary, noise=noise).sortby("n_train")
    top = top or _ceiling(cells)
    figure, axes = new_panels(1, cells.sizes["hypothesis"], sharex=True, sharey=True)
    for panel, label in zip(axes[0], cells.hypothesis.values, strict=True):
        cell, n_train = cells.sel(hypothesis=label), cells.n_train.values
        _draw_line(panel, n_train, cell.best_in_class_risk, "best in class", color=VERMILION, linestyle="--")
        _draw_risk(panel, n_train, cell.expected_risk, cell.expected_risk_se, "-")
        _draw_risk(panel, n_train, cell.empirical_risk, cell.empirical_risk_se, "-")
        panel.set_title(str(label))
        _set_number_axis(panel, n_train.tolist())
    axes[0, 0].set_ylim(-0.02 * top, top)
    axes[0, 0].set_ylabel("risk (y²)")
    _set_words(figure, axes, cells, rf"noise $\sigma$ = {noise:g}", ("expected_risk", "empirical_risk"), top)
    return figure


def save(figure: "Figure", path: str | PathLike[str]) -> Path:
    """Write a figure to a file, in a folder that is made where it is missing, and return the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
    return path


def _select(summary: xr.Dataset, **labels: float) -> xr.Dataset:
    for axis, label in labels.items():
        if label not in summary[axis].values:
            raise BiasvarError(f"{axis}={label!r} is not in the summary; choose one of {summary[axis].values.tolist()}")
    return summary.sel(labels).compute()


def new_panels(rows: int, columns: int, **shared: Any) -> tuple["Figure", Any]:
    """Make a figure with rows and columns of panels, or say which library is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("matplotlib", "figures") from error
    figure = Figure(figsize=(2.6 + 2.7 * columns, 1.3 + 2.5 * rows), dpi=DPI)
    figure.set_layout_engine("constrained", wspace=0.04)
    axes = figure.subplots(rows, columns, squeeze=False, **shared)
    for panel in axes.flat:
        panel.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _draw_fits(panel: "Axes", cell: xr.Dataset) -> None:
    x, mean = cell.x.values, cell.mean_prediction.values
    deviation = np.sqrt(_finite(cell.variance_x).clip(min=0))  # rounding may leave an exact 0 below it
    panel.fill_between(x, mean - deviation, mean + deviation, color=SKY, alpha=0.4, linewidth=0, label="±1 std. dev.")
    _draw_line(panel, x, cell.target, "target f", color=BLACK, linewidth=2.5)
    _draw_line(panel, x, cell.mean_prediction, "mean prediction", color=BLUE)
    _draw_line(panel, x, cell.best_in_class, "best in class", color=VERMILION, linestyle="--")


def _draw_errors(panel: "Axes", cell: xr.Dataset) -> None:
    x = cell.x.values
    panel.axhline(float(cell.noise) ** 2, color=GREY, linewidth=3, label="noise")
    for name, color in (("bias2_x", ORANGE), ("variance_x", SKY)):
        value, error = _finite(cell[name]), cell[f"{name}_se"].values
        panel.fill_between(x, value - error, value + error, color=color, alpha=0.5, linewidth=0)
        _draw_line(panel, x, cell[name], NAMES[name], color=color)


def _draw_line(panel: "Axes", x: Any, values: xr.DataArray, label: str, **style: Any) -> None:
    """Draw a line, unless there is nothing to draw, with a mark at each point where they are few."""
    finite = _finite(values)
    if not np.isnan(finite).all():
        marker = "." if "x" in values.dims and len(x) <= MARKED else ""
        panel.plot(x, finite, label=label, marker=marker, **style)


def _draw_stack(panel: "Axes", cells: xr.Dataset, top: float) -> None:
    base = np.zeros(cells.sizes["hypothesis"])
    parts = (("irreducible_risk", "noise", GREY), ("bias2", "bias²", ORANGE), ("variance", "variance", SKY))
    for name, label, color in parts:
        height = np.minimum(cells[name].values, 10 * top)  # an infinite bar has no end to draw
        panel.bar(range(len(base)), height, bottom=base, width=0.75, color=color, label=label)
        base = base + height
    for place, (risk, error) in enumerate(zip(cells.expected_risk.values, cells.expected_risk_se.values, strict=True)):
        if risk > top:
            panel.text(place, 0.98 * top, f"{with_error(risk, error)} →", rotation=90, ha="center", va="top", size=8)


def _draw_risk(panel: "Axes", places: Any, risk: xr.DataArray, error: xr.DataArray, line: str = "none") -> None:
    """Draw risks with error bars, hollow where there is no standard error."""
    value, name = _finite(risk), str(risk.name)
    color, marker = (BLACK, "o") if name == "expected_risk" else (GREEN, "s")
    style: dict[str, Any] = {"color": color, "marker": marker, "markersize": 4, "markeredgewidth": 1}
    panel.errorbar(places, value, error.values, linestyle=line, linewidth=1, capsize=3, label=NAMES[name], **style)
    unknown = np.isnan(error.values)
    panel.plot(places[unknown], value[unknown], linestyle="none", markerfacecolor="white", zorder=3, **style)


def _set_number_axis(panel: "Axes", n_train: Sequence[int]) -> None:
    panel.set_xscale("log")
    ticks = _far_apart(n_train)
    panel.set_xticks(ticks, [str(n) for n in ticks])
    panel.minorticks_off()
    panel.set_xlabel("training points n_train")


def _far_apart(values: Sequence[int], factor: float = 1.4) -> list[int]:
    """Return the values that are so far from the one before that their labels do not touch on a logarithmic axis."""
    kept: list[int] = []
    for value in values:
        if not kept or value >= factor * kept[-1]:
            kept.append(value)
    return kept


def _panel_title(label: str, cell: xr.Dataset) -> str:
    flag = FLAGS.get(str(cell.status.item()))
    return f"{label}\n({flag})" if flag else label


def _ceiling(cells: xr.Dataset) -> float:
    return 1.08 * float(np.nanmax(_finite(cells.expected_risk)))


def _finite(values: xr.DataArray) -> Any:
    return np.where(np.isfinite(values.values), values.values, np.nan)


def _set_words(
    figure: "Figure", axes: Any, cells: xr.Dataset, title: str, names: Sequence[str], top: float = np.inf
) -> None:
    """Add the title, a legend right of each row of panels, and how large the standard errors are."""
    study = json.loads(cells.attrs.get("study", "{}")).get("name", "risk")  # a lazy summary carries no study
    figure.suptitle(f"{study}: {title}")
    figure.supxlabel(_errors_sentence(cells, names, top), fontsize="small", color="#444444")
    for row in axes:
        found = [zip(*panel.get_legend_handles_labels(), strict=True) for panel in row]
        entries = {label: handle for panel in found for handle, label in panel}
        row[-1].legend(entries.values(), entries, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _errors_sentence(cells: xr.Dataset, names: Sequence[str], top: float) -> str:
    errors = {NAMES[name]: float(cells[f"{name}_se"].where(cells[name] <= top).max()) for name in names}
    sizes = ", ".join(f"{error:.1g} ({name})" for name, error in errors.items() if error > 0)
    sentence = f"standard errors at most {sizes}" if sizes else "no Monte-Carlo error: integrated exactly"
    return sentence if (cells.status == "ok").all() else f"{sentence}; none exists where hollow, ? or infinite"
