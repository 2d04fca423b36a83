"""Figures of a convexity study: chords and tangents, how curvature is spread, where in the plane it is negative.

Each takes the tree that :func:`biasvar.run` or :func:`biasvar.open` returned and gives a matplotlib ``Figure``.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from biasvar.errors import BiasvarError
from biasvar.report.figures import BLACK, BLUE, GREEN, GREY, ORANGE, SKY, VERMILION, new_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VIOLATED = "not convex"
LINEAR = 1e-3  # of the greatest curvature, below which the axis is linear


def chords(tree: xr.DataTree, *, objectives: Sequence[str] = ()) -> "Figure":
    """Draw each function along a segment, with its chord and its tangent at the point between.

    Where a function is not convex that is its witness, the chord that lies below it by the most margins; else the
    longest segment, where the chord lies above and the tangent below.

    Parameters
    ----------
    tree : xarray.DataTree
        Summary of a convexity study.
    objectives : sequence of str
        Which; all unless given.

    Raises
    ------
    BiasvarError
        If an objective is unknown.
    """
    chosen = _chosen(tree, objectives)
    figure, axes = new_panels(1, len(chosen))
    for panel, label in zip(axes[0], chosen, strict=True):
        _draw_chord(panel, _worst(tree[label].to_dataset()), label)
    axes[0, 0].set_ylabel("f")
    handles = {
        name: handle for panel in axes[0] for handle, name in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles), fontsize="small")
    figure.suptitle("A function is convex if and only if no chord lies below it; then no tangent lies above it")
    return figure


def _worst(node: xr.Dataset) -> xr.Dataset:
    """Return the condition whose witness is the clearest, else the first."""
    ratio = (node.gap / node.margin.where(node.margin > 0, 1e-300)).values
    return node.isel(condition=0 if np.isnan(ratio).all() else int(np.nanargmin(ratio)))


def _draw_chord(panel: "Axes", cell: xr.Dataset, label: str) -> None:
    place, theta, values = cell.place.values, float(cell.theta), cell.profile.values
    ends = values[[0, -1]]
    at, chord = float(np.interp(theta, place, values)), float((1 - theta) * ends[0] + theta * ends[1])
    violated = bool(cell.gap.notnull())
    panel.plot(place, np.where(np.isfinite(values), values, np.nan), color=BLACK, label="f along the segment")
    panel.plot([0, 1], ends, color=BLUE, marker="o", markersize=4, label="chord")
    if np.isfinite(float(cell.slope)):
        low, high = _limits(values)
        tangent = at + float(cell.slope) * (place - theta)
        shown = (tangent > low) & (tangent < high)
        panel.plot(place[shown], tangent[shown], color=GREEN, linestyle="--", label="tangent at z")
    if not np.isfinite(at):
        panel.axvline(theta, color=VERMILION, linewidth=1, label="z, outside the domain")
    elif violated:
        panel.plot([theta, theta], [chord, at], color=VERMILION, linewidth=3, label="f above its chord")
    panel.set_xticks([0, theta, 1], ["x", "z", "y"])
    panel.set_title(f"{label}: {VIOLATED if violated else 'no violation'}", fontsize="medium")


def _limits(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[float, float]:
    """Return between which heights a tangent is shown."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values[np.isfinite(values)]))
    room = 0.25 * (high - low)
    return low - room, high + room


def curvatures(tree: xr.DataTree, *, objectives: Sequence[str] = ()) -> "Figure":
    """Draw how curvature is spread over segments: a panel for each objective, a row for each condition.

    Thin lines hold all but 1 in 1,000 segments on either side, thick ones 90 %, dots are medians. Dashed lines are
    bounds: the least curvature, mu, is at most the left one, the greatest, L, at least the right one.

    Parameters
    ----------
    tree : xarray.DataTree
        Summary of a convexity study.
    objectives : sequence of str
        Which; all unless given.

    Raises
    ------
    BiasvarError
        If an objective is unknown.
    """
    root, chosen = tree.to_dataset(), _chosen(tree, objectives)
    figure, axes = new_panels(1, len(chosen), sharey=True)
    for panel, label in zip(axes[0], chosen, strict=True):
        _draw_curvatures(panel, root.sel(objective=label))
        panel.set_title(label, fontsize="medium")
    names = [str(name).replace("_", " ") for name in root.condition.values]
    axes[0, 0].set_yticks(range(len(names)), names)
    axes[0, 0].set_ylim(len(names) - 0.5, -0.5)
    figure.supxlabel(
        "curvature along segments (second order: least eigenvalue at points); below zero, shaded, f is not convex",
        fontsize="medium",
    )
    return figure


def _draw_curvatures(panel: "Axes", cell: xr.Dataset) -> None:
    quantiles = cell.curvature_quantile
    low, high = float(cell.mu_at_most), float(cell.L_at_least)
    size = max(abs(low), abs(high)) or 1.0
    panel.set_xscale("symlog", linthresh=LINEAR * size)
    for row in range(cell.sizes["condition"]):
        found = quantiles.isel(condition=row)
        for ends, width in (((0.001, 0.999), 1), ((0.05, 0.95), 5)):
            panel.plot(found.sel(quantile=list(ends)), [row, row], color=BLUE, linewidth=width, solid_capstyle="butt")
        panel.plot(float(found.sel(quantile=0.5)), row, color=BLACK, marker="o", markersize=4)
    for bound, name in ((low, "mu <="), (high, "L >=")):
        panel.axvline(bound, color=ORANGE, linestyle="--", label=f"{name} {bound:.3g}")
    left, right = panel.get_xlim()
    panel.axvspan(min(left, -LINEAR * size), 0, color=VERMILION, alpha=0.12, linewidth=0)
    panel.set_xlim(min(left, -LINEAR * size), right)
    panel.set_xticks(_ticks(low, high, size))
    panel.minorticks_off()
    panel.tick_params(axis="x", labelsize="small")
    panel.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.12), frameon=False)


def _ticks(low: float, high: float, size: float) -> list[float]:
    """Return a few powers of ten, and zero."""
    powers = 10.0 ** np.arange(np.ceil(np.log10(LINEAR * size)), np.log10(size) + 1e-9)
    some = powers[:: max(1, len(powers) // 3)]
    return [*(-some[some <= -low][::-1]), 0.0, *some[some <= max(high, 0)]]


def plane(tree: xr.DataTree, *, objectives: Sequence[str] = ()) -> "Figure":
    """Draw points of the plane at which curvature is negative, and the witness, a panel for each objective.

    The curvature is the least eigenvalue of the Hessian there; of a function without one that of segments, drawn at
    the point between their ends.

    Parameters
    ----------
    tree : xarray.DataTree
        Summary of a convexity study.
    objectives : sequence of str
        Which; all with two parameters unless given.

    Raises
    ------
    BiasvarError
        If an objective is unknown, or none has two parameters.
    """
    chosen = [label for label in _chosen(tree, objectives) if "sample" in tree[label]]
    if not chosen:
        raise BiasvarError("plane: needs an objective with two parameters, got none")
    figure, axes = new_panels(1, len(chosen))
    for panel, label in zip(axes[0], chosen, strict=True):
        _draw_plane(panel, tree[label].to_dataset())
        panel.set_title(label, fontsize="medium")
        panel.set_xlabel("theta 1")
    axes[0, 0].set_ylabel("theta 2")
    handles = {
        name: handle for panel in axes[0] for handle, name in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside lower center",
        ncols=len(handles),
        fontsize="small",
        markerscale=3,
    )
    figure.suptitle("Where curvature is negative, or a point between two of the domain is outside")
    return figure


def _draw_plane(panel: "Axes", node: xr.Dataset) -> None:
    measured = node.sample_curvature.notnull().any("shown")
    cell = node.isel(condition=int(np.flatnonzero(measured.values)[-1]))
    (x, y), curvature = cell.sample.values.T, cell.sample_curvature.values
    for which, color, name in (
        (curvature >= 0, SKY, "curvature of at least 0"),
        (curvature < 0, VERMILION, "negative, or outside"),
    ):
        if which.any():
            panel.scatter(x[which], y[which], s=4, color=color, linewidths=0, label=name)
    witness = _worst(node).witness
    if witness.notnull().all():
        ends, between = witness.sel(point=["x", "y"]).values, witness.sel(point="z").values
        panel.plot(ends[:, 0], ends[:, 1], color=BLACK, marker="o", markersize=2, label="witness")
        panel.plot(between[0], between[1], color=BLACK, marker="x")
    panel.axhline(0, color=GREY, linewidth=0.5, zorder=0)
    panel.axvline(0, color=GREY, linewidth=0.5, zorder=0)
    panel.set_aspect("equal")


def _chosen(tree: xr.DataTree, objectives: Sequence[str]) -> list[str]:
    known = [str(label) for label in tree.to_dataset().objective.values]
    for label in objectives:
        if label not in known:
            raise BiasvarError(f"objectives: {label!r} is not in the summary; choose from {', '.join(known)}")
    return list(objectives) or known
