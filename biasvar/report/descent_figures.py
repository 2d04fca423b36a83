"""Figures of optimizer studies: paths and curves of descents, and what a grid of hyperparameters says.

Curves are medians over replicates and bands from the first to the third quartile; error bars are one standard error.
An update rule has one colour in every figure.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from biasvar.errors import BiasvarError
from biasvar.report.figures import BLACK, BLUE, GREEN, GREY, ORANGE, SKY, VERMILION, new_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PURPLE = "#CC79A7"
COLORS = {"sgd": BLACK, "momentum": BLUE, "nesterov": SKY, "adagrad": ORANGE, "rmsprop": GREEN, "adam": VERMILION}
OTHERS = (BLACK, VERMILION, BLUE, ORANGE, GREEN, SKY, PURPLE)
AXES = {
    "step": "steps",
    "gradient_evaluations": "gradient evaluations",
    "objective": "objective J",
    "excess": "objective above its minimum, J - J*",
}

SMALL: Any = {"fontsize": "small", "color": "#444444"}
BANDS = "curves: medians over random starts, bands from the first to the third quartile"

Curves = Mapping[str, xr.DataArray]


def descents(panels: Mapping[str, Curves], *, x: str, title: str) -> "Figure":
    """Draw quantities along descents on logarithmic axes: the median over replicates, and a band between quartiles.

    Parameters
    ----------
    panels : mapping of str to mapping of str to DataArray
        For each panel, by what its axis says, a curve for each label: dimensions ``step`` and ``replicate``.
    x : str
        Coordinate along which they are drawn, ``"step"`` or ``"gradient_evaluations"``.
    title : str
        What stands above.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.
    """
    figure, axes = new_panels(1, len(panels))
    figure.set_size_inches(2 + 4.2 * len(panels), 4.2)
    for panel, (name, curves) in zip(axes[0], panels.items(), strict=True):
        draw_curves(panel, curves, x)
        panel.set_ylabel(AXES.get(name, name))
    _set_legend(axes[0, -1])
    figure.suptitle(title)
    bands = any(curve.sizes["replicate"] > 1 for curves in panels.values() for curve in curves.values())
    if bands:
        figure.supxlabel(BANDS, **SMALL)
    return figure


def redundancy(curves: Curves, *, examples: int, title: str) -> "Figure":
    """Draw how far above its minimum an objective is, against gradient evaluations; a second axis counts epochs.

    Parameters
    ----------
    curves : mapping of str to DataArray
        By label, dimensions ``step`` and ``replicate``, with the coordinate ``gradient_evaluations``. Of each two the
        second takes the same steps: it is dashed, for it may lie upon the first.
    examples : int
        Gradient evaluations in an epoch.
    title : str
        What stands above.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.
    """
    figure, axes = new_panels(1, 1)
    figure.set_size_inches(8, 5)
    panel = axes[0, 0]
    for place, (label, curve) in enumerate(curves.items()):
        color, style = ((VERMILION, "-"), (BLACK, "--"), (SKY, "-"), (BLUE, "--"))[place % 4]
        width = 4 if style == "-" else 1.5
        seen = curve.isel(step=slice(1, None))  # logarithmic axes have no zero
        panel.plot(seen.gradient_evaluations, seen.values[0], style, color=color, linewidth=width, label=label)
    panel.set(xscale="log", yscale="log", xlabel=AXES["gradient_evaluations"], ylabel=AXES["excess"])
    epochs = panel.secondary_xaxis("top", functions=(lambda x: x / examples, lambda x: x * examples))
    epochs.set_xlabel("epochs over one copy")
    for cheap, dear in zip(list(curves.values())[::2], list(curves.values())[1::2], strict=True):
        _draw_ratio(panel, cheap, dear)
    panel.legend(loc="lower left", frameon=False)
    figure.suptitle(title)
    return figure


def ravine(
    objective: Any,
    paths: Mapping[str, tuple[str, Any]],
    curves: Curves,
    tradeoff: Mapping[str, Any],
    rates: Mapping[str, Any],
    limit: float,
    target: float,
) -> "Figure":
    """Draw up to six paths in the plane over contours, descents, what calm costs in steps, and the limit of rates.

    Parameters
    ----------
    objective : Objective
        A function of two parameters.
    paths : mapping of str to (str, ndarray of shape (n, 2))
        Settings and parameters of each update rule's path; all start at one point.
    curves : mapping of str to DataArray
        Objectives, dimensions ``step`` and ``replicate``, with the coordinate ``gradient_evaluations``.
    tradeoff : mapping of str to (ndarray, ndarray)
        Numbers of steps, ascending, and the least jitter with which each rule reaches the target in so many.
    rates : mapping of str to (ndarray, ndarray)
        Learning rates of each rule, and steps to the target, infinite where it is not reached.
    limit : float
        Learning rate from which on plain descent leaves the minimiser.
    target : float
        Value of the objective.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.
    """
    figure, _ = new_panels(1, 1)
    figure.clear()
    figure.set_size_inches(12, 9)
    grid = figure.add_gridspec(3, 6, height_ratios=(1, 1, 1.5))
    for place, (label, (settings, path)) in enumerate(paths.items()):
        panel = figure.add_subplot(grid[place // 3, 2 * (place % 3) : 2 * (place % 3) + 2])
        _draw_path(panel, objective, path, COLORS[label])
        panel.set_title(f"{label}\n{settings}", fontsize="medium")
        panel.set_xlabel("shallow coordinate θ₁" if place >= 3 else "")
        panel.set_ylabel("steep coordinate θ₂" if place % 3 == 0 else "")
    left, right, last = (figure.add_subplot(grid[2, 2 * place : 2 * place + 2]) for place in range(3))
    draw_curves(left, curves, "gradient_evaluations")
    left.set(ylabel="objective J", title="the fastest configuration of each", ylim=(target, None))
    for label, (steps, jitter) in tradeoff.items():
        right.step(steps, jitter, where="post", color=COLORS[label], label=label)
    right.set(xscale="log", xlabel=f"steps to J = {target:.0e}", ylabel="least jitter of those so quick")
    right.set(title="jitter: share that change sides", ylim=(-0.03, 1.05))
    _draw_limit(last, rates, limit)
    for panel in (left, right, last):
        panel.spines[["top", "right"]].set_visible(False)
    _set_legend(last)
    figure.suptitle("ravine: the calmest path of each rule that is as quick as plain descent")
    figure.supxlabel(f"{BANDS}; paths: from o to +, one dot per step for forty steps", **SMALL)
    return figure


def stability(node: xr.Dataset) -> "Figure":
    """Draw J and the sharpness along gradient descent, for each learning rate e; steps are just not too long at 2 / e.

    Parameters
    ----------
    node : xarray.Dataset
        ``objective`` and ``sharpness`` with their errors, dimensions ``learning_rate`` and ``step``.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.
    """
    figure, axes = new_panels(1, 2)
    figure.set_size_inches(11, 4.4)
    left, right = axes[0]
    for place, rate in enumerate(node.learning_rate.values):
        cell, color = node.sel(learning_rate=rate), OTHERS[place % len(OTHERS)]
        for panel, name, scale in ((left, "objective", 1.0), (right, "sharpness", rate / 2)):
            value, error = scale * cell[name].values, scale * np.nan_to_num(cell[f"{name}_se"].values)
            panel.plot(cell.step, value, color=color, label=f"{rate:g}")
            panel.fill_between(cell.step, value - error, value + error, color=color, alpha=0.25, linewidth=0)
    right.axhline(1.0, color=BLACK, linestyle="--", linewidth=1)
    right.text(1, 1.02, "2 / learning rate", va="bottom", **SMALL)
    left.set(xscale="log", yscale="log", xlabel=AXES["step"], ylabel=AXES["objective"])
    right.set(xscale="log", xlabel=AXES["step"], ylabel=r"sharpness $\times$ learning rate / 2", ylim=(0, None))
    _set_legend(right)
    right.get_legend().set_title("learning rate")
    figure.suptitle("gradient descent makes the network sharper, up to the edge of stability")
    figure.supxlabel("bands: one standard error over random starts", **SMALL)
    return figure


def gaps(cells: Mapping[str, Mapping[str, xr.Dataset]]) -> "Figure":
    """Draw, for each objective, the gap along one descent of each rule; a rule without its own norm is dashed.

    Parameters
    ----------
    cells : mapping of str to mapping of str to Dataset
        By objective and rule, ``gap`` with dimension ``step``; rules without their norm are called ``rule-no-norm``.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.
    """
    figure, axes = new_panels(1, len(cells))
    figure.set_size_inches(2.4 + 4.4 * len(cells), 4.4)
    for panel, (name, found) in zip(axes[0], cells.items(), strict=True):
        for label, cell in found.items():
            rule, _, without = label.partition("-")
            style: Any = {"linestyle": "--", "linewidth": 3, "alpha": 0.6} if without else {}
            shown = f"{rule}, Euclidean" if without else rule
            gap = np.maximum(cell.gap.values, np.finfo(float).eps)
            panel.plot(cell.step, gap, color=COLORS[rule], label=shown, **style)
        panel.set(xscale="log", yscale="log", xlabel=AXES["step"], title=name)
    axes[0, 0].set_ylabel("gap, at least J - J*")
    _set_legend(axes[0, -1])
    figure.suptitle("within a simplex: rules that are projected in their own norm, and by Euclidean distance")
    return figure


def hyperparameters(node: xr.Dataset, *, rows: str = "beta1", columns: str = "learning_rate") -> "Figure":
    """Draw what a grid says at the last step: a heat map, the best of random draws, and sensitivities.

    The heat map has the mean objective of the best configuration at two values, over all the rest of the grid.

    Parameters
    ----------
    node : xarray.Dataset
        Of one objective and optimizer, ``tree["cancer/adam"].to_dataset()``; some hyperparameters may be selected.
    rows, columns : str
        Hyperparameters of the heat map.

    Raises
    ------
    BiasvarError
        If the grid lacks these hyperparameters.
    MissingDependencyError
        If matplotlib is not installed.
    """
    for name in (rows, columns):
        if name not in node.objective.dims:
            axes = [str(axis) for axis in node.hyperparameter.values if axis in node.objective.dims]
            raise BiasvarError(f"{name!r} is no axis of the grid; choose from {', '.join(axes)}")
    last = node.isel(step=-1).load()
    figure, axes = new_panels(1, 3)
    figure.set_size_inches(14, 4.8)
    _draw_heat(axes[0, 0], last, rows, columns)
    _draw_expected_best(axes[0, 1], last)
    _draw_sensitivity(axes[0, 2], last)
    count = int(last.draws.max())
    figure.suptitle(f"{count:,} configurations after {int(last.step)} steps".replace(",", " "))
    figure.supxlabel("error bars and band: one standard error over random starts and orders", **SMALL)
    return figure


def draw_curves(panel: "Axes", curves: Curves, x: str) -> None:
    """Draw a curve for each label on logarithmic axes."""
    for place, (label, curve) in enumerate(curves.items()):
        color = COLORS.get(label, OTHERS[place % len(OTHERS)])
        style = {"linestyle": curve.attrs.get("linestyle", "-"), "linewidth": curve.attrs.get("linewidth", 1.6)}
        low, middle, high = np.quantile(curve.transpose("replicate", "step").values, (0.25, 0.5, 0.75), axis=0)
        places = curve[x].values
        panel.plot(places, _positive(middle), color=color, label=label, **style)
        if curve.sizes["replicate"] > 1:
            panel.fill_between(places, _positive(low), _positive(high), color=color, alpha=0.2, linewidth=0)
    panel.set(xscale="log", yscale="log", xlabel=AXES.get(x, x))


def _draw_ratio(panel: "Axes", cheap: xr.DataArray, dear: xr.DataArray) -> None:
    """Say how many times as much the same steps cost, half way down, where it is more."""
    half = cheap.sizes["step"] // 2
    (low, high), value = (float(curve.gradient_evaluations[half]) for curve in (cheap, dear)), cheap.values[0, half]
    if high > low:
        panel.annotate("", (high, value), (low, value), arrowprops={"arrowstyle": "->", "color": BLACK})
        panel.text((low * high) ** 0.5, 1.2 * value, rf"$\times$ {high / low:g}", ha="center", va="bottom")


def _draw_path(panel: "Axes", objective: Any, path: Any, color: str) -> None:
    reach = np.abs(path).max(axis=0)
    centre = np.sign(path[0]) * reach * (0.45, 0)
    across, along = (np.linspace(c - r, c + r, 201) for c, r in zip(centre, reach * (0.75, 1.25), strict=True))
    mesh = np.stack(np.meshgrid(across, along), axis=-1)
    values = np.sqrt(objective.value(mesh.reshape(-1, 2)).reshape(mesh.shape[:2]))
    panel.contour(across, along, values, levels=12, colors=GREY, linewidths=0.6)
    panel.plot(*path.T, color=color, marker=".", markersize=4, linewidth=1)
    panel.plot(*path[0], color=BLACK, marker="o", markersize=6, markerfacecolor="white", linestyle="none")
    panel.plot(0, 0, color=BLACK, marker="+", markersize=10, linestyle="none", zorder=5)


def _draw_limit(panel: "Axes", rates: Mapping[str, Any], limit: float) -> None:
    """Draw steps to the target against learning rates, up to those that do not come there; and the limit of descent."""
    for label, (rate, steps) in rates.items():
        panel.plot(rate, _positive(steps), color=COLORS[label], label=label)
    panel.axvline(limit, color=BLACK, linestyle="--", linewidth=1, label="sgd: 2 / L")
    panel.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="steps")
    panel.set_title("steps to the target")


def _draw_heat(panel: "Axes", last: xr.Dataset, rows: str, columns: str) -> None:
    from matplotlib.colors import LogNorm

    rest = [name for name in last.objective.dims if name not in (rows, columns)]
    best = last.objective.min(rest).transpose(rows, columns)
    finite = best.where(np.isfinite(best))
    image = panel.imshow(finite, norm=LogNorm(), cmap="viridis_r", aspect="auto", origin="lower")
    row, column = np.unravel_index(np.argmin(best.fillna(np.inf).values), best.shape)
    panel.plot(column, row, color=VERMILION, marker="*", markersize=12, linestyle="none", label="best of all")
    panel.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False, borderpad=0)
    panel.figure.colorbar(image, ax=panel, label="objective J, best over the rest")
    for axis, name in ((panel.xaxis, columns), (panel.yaxis, rows)):
        values = best[name].values
        every = 1 if len(values) <= 8 else (len(values) - 1) // 5
        axis.set_ticks(range(0, len(values), every), [f"{value:.3g}" for value in values[::every]])
    panel.set(xlabel=columns.replace("_", " "), ylabel=rows.replace("_", " "))
    panel.spines[["top", "right"]].set_visible(True)


def _draw_expected_best(panel: "Axes", last: xr.Dataset) -> None:
    draws, value, error = last.draws.values, last.expected_best.values, last.expected_best_se.values
    panel.fill_between(draws, value - error, value + error, color=SKY, alpha=0.5, linewidth=0)
    panel.plot(draws, value, color=BLUE, marker=".")
    panel.set(xscale="log", yscale="log", xlabel="random configurations tried")
    panel.set_ylabel("expected objective J of the best")


def _draw_sensitivity(panel: "Axes", last: xr.Dataset) -> None:
    names = [str(name) for name in last.hyperparameter.values]
    places = np.arange(len(names))[::-1]
    for shift, name, label, color in (
        (0.2, "sensitivity", "alone", BLUE),
        (-0.2, "total_sensitivity", "with interactions", ORANGE),
    ):
        error = np.nan_to_num(last[f"{name}_se"].values)
        bars: Any = {"height": 0.38, "color": color, "label": label, "capsize": 3}
        panel.barh(places + shift, last[name].values, xerr=error, **bars)
    panel.set_yticks(places, [name.replace("_", " ") for name in names])
    panel.set(xlabel="share of the variance of ranks explained", xlim=(0, 1))
    panel.legend(frameon=False, loc="lower right")


def _set_legend(panel: "Axes") -> None:
    panel.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _positive(values: Any) -> Any:
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)
