"""Figures of convexity studies: chords and tangents, how curvature is spread, where in the plane it is negative."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from biasvar.errors import BiasvarError
from biasvar.notation import plainly
from biasvar.studies.base import nodes_of
from biasvar.views.figures import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    SKY,
    VERMILION,
    finite,
    panels_or_given,
    set_title,
)
from biasvar.views.plot.cells import shown, study_name
from biasvar.views.plot.doors import made_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VIOLATED = "not convex"
ACROSS = 4  # panels side by side
MOST = 8  # panels
LINEAR = 1e-3  # of the greatest curvature, below which the axis is linear


@made_of("profile", "witness", "gap", "theta", dims=("place",))
def witness(
    tree: xr.DataTree, *, objectives: Sequence[str] = (), ax: "Axes | None" = None, title: str | None = None
) -> "Figure":
    """Draw each function along a segment, with its chord and its tangent at the point between.

    Where a function is not convex that is its witness, the chord that lies below it by the most margins; else the
    longest segment, where the chord lies above and the tangent below.

    Parameters
    ----------
    tree : xarray.DataTree
        Summary of a convexity study.
    objectives : sequence of str
        Which; all unless given, of many those that are not convex first.
    ax, title
        See :mod:`biasvar.plot`.

    Raises
    ------
    BiasvarError
        If an objective is unknown.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.ConvexityStudy(
    ...     name="valley", objectives={"valley": bv.Rosenbrock()}, within={"valley": bv.Box(-2, 2, dim=2)},
    ...     segments=512, block_size=64,
    ... )
    >>> figure = bv.plot.witness(bv.lazy(study).compute())
    >>> figure.get_suptitle()
    'valley is not convex: its chord lies below it'
    """
    nodes = nodes_of(tree)
    chosen, left_out = _chosen(nodes, objectives, {name for name in nodes if name})
    figure, axes = _panels(ax, len(chosen))
    for panel, label in zip(axes.flat, chosen, strict=False):
        _draw_chord(panel, _worst(nodes[label]), shown(label))
    for panel in axes[:, 0]:
        panel.set_ylabel("f")
    _set_legend(figure, axes, ax)
    about = "a function is convex if and only if no chord lies below it; then no tangent lies above it"
    words = f"{study_name(nodes[''])}{left_out}: {about}"
    set_title(figure, axes, ax, title or _verdicts(nodes[""], chosen), words)
    return figure


def _panels(ax: "Axes | None", count: int) -> tuple["Figure", Any]:
    rows = -(-count // ACROSS)
    figure, axes = panels_or_given(ax, rows, -(-count // rows))
    for panel in axes.flat[count:]:
        panel.set_visible(False)
    return figure, axes


def _set_legend(figure: "Figure", axes: Any, ax: "Axes | None", **style: object) -> None:
    """Name lines once, beside all panels."""
    handles: dict[str, Any] = {}
    for panel in axes.flat:
        for handle, name in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, handle)
    place: dict[str, Any] = {"loc": "outside right upper"} if ax is None else {"loc": "upper right"}
    where = figure if ax is None else axes[0, 0]
    where.legend(handles.values(), handles.keys(), fontsize="small", frameon=False, **(place | style))


def _violated(root: xr.Dataset) -> list[str]:
    """Return the objectives of which a condition is surely violated."""
    wrong = (root.violations > 0).any("condition")
    return [str(label) for label in root.objective.values[wrong.values]]


def _verdicts(root: xr.Dataset, chosen: Sequence[str]) -> str:
    wrong = _violated(root)
    names = [shown(label) for label in chosen if label in wrong]
    if not names:
        return "No chord lies below its function"
    if root.sizes["objective"] == 1:
        return f"{names[0]} is not convex: its chord lies below it"
    return f"{len(wrong)} of {root.sizes['objective']} functions are not convex: {', '.join(names)}"


def _worst(node: xr.Dataset) -> xr.Dataset:
    """Return the condition whose witness is the clearest, else the first."""
    ratio = (node.gap / node.margin.where(node.margin > 0, 1e-300)).values
    return node.isel(condition=0 if np.isnan(ratio).all() else int(np.nanargmin(ratio)))


def _draw_chord(panel: "Axes", cell: xr.Dataset, label: str) -> None:
    place, theta, values = cell.place.values, float(cell.theta), cell.profile.values
    ends = values[[0, -1]]
    at, chord = float(np.interp(theta, place, values)), float((1 - theta) * ends[0] + theta * ends[1])
    violated = bool(cell.gap.notnull())
    panel.plot(place, finite(values), color=BLACK, label="f along the segment")
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


@made_of("curvature_quantile", "mu_at_most", "L_at_least", dims=("objective", "condition", "quantile"))
def curvature(
    tree: xr.DataTree, *, objectives: Sequence[str] = (), ax: "Axes | None" = None, title: str | None = None
) -> "Figure":
    """Draw how curvature is spread over segments: a panel for each objective, a row for each condition.

    Thin lines hold all but 1 in 1,000 segments on either side, thick ones 90 %, dots are medians. Upright lines
    are bounds: the least curvature, mu, is at most the dashed one, the greatest, L, at least the dash-dotted one.

    Parameters
    ----------
    tree : xarray.DataTree
        Summary of a convexity study.
    objectives : sequence of str
        Which; all whose curvature is known unless given, of many those that are not convex first.
    ax, title
        See :mod:`biasvar.plot`.

    Raises
    ------
    BiasvarError
        If an objective is unknown.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.ConvexityStudy(
    ...     name="valley", objectives={"valley": bv.Rosenbrock()}, within={"valley": bv.Box(-2, 2, dim=2)},
    ...     segments=512, block_size=64,
    ... )
    >>> figure = bv.plot.curvature(bv.lazy(study).compute())
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['jensen', 'first order', 'monotone', 'second order']
    """
    nodes = nodes_of(tree)
    root = nodes[""].compute()
    known = np.isfinite(root.mu_at_most) & np.isfinite(root.L_at_least)
    chosen, left_out = _chosen(nodes, objectives, set(map(str, root.objective.values[known.values])))
    figure, axes = _panels(ax, len(chosen))
    names = [str(name).replace("_", " ") for name in root.condition.values]
    for i, (panel, label) in enumerate(zip(axes.flat, chosen, strict=False)):
        _draw_curvatures(panel, root.sel(objective=label))
        panel.set_title(shown(label), fontsize="medium")
        panel.set_yticks(range(len(names)), names if i % axes.shape[1] == 0 else [""] * len(names))
        panel.set_ylim(len(names) - 0.5, -0.5)
    if ax is None:
        figure.set_size_inches(2.6 + 2.9 * axes.shape[1], 1.6 + 2.8 * axes.shape[0])
    about = "curvature along segments (second order: least eigenvalue at points); below zero, shaded, f is not convex"
    words = f"{study_name(root)}{left_out}: {about}"
    set_title(figure, axes, ax, title or _steepest(root, chosen), words)
    return figure


def _steepest(root: xr.Dataset, chosen: Sequence[str]) -> str:
    """Say which function has the most different curvatures, as far as seen."""
    cells = root.sel(objective=list(chosen))
    ratio = (cells.L_at_least / cells.mu_at_most.where(cells.mu_at_most > 0)).values
    if np.isfinite(ratio).any():
        place = int(np.nanargmax(ratio))
        return f"Of {shown(chosen[place])} the greatest curvature is {plainly(ratio[place])} times the least, or more"
    low = int(np.nanargmin(cells.mu_at_most.values))
    return f"Curvature of {shown(chosen[low])} goes down to {plainly(float(cells.mu_at_most[low]))}"


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
    for bound, name, color, dash in ((low, "mu ≤", ORANGE, "--"), (high, "L ≥", GREEN, "-.")):
        panel.axvline(bound, color=color, linestyle=dash, label=f"{name} {plainly(bound)}")
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


@made_of("sample", "sample_curvature", "witness", dims=("shown",), sizes={"axis": 2})
def plane(
    tree: xr.DataTree, *, objectives: Sequence[str] = (), ax: "Axes | None" = None, title: str | None = None
) -> "Figure":
    """Draw points of the plane at which curvature is negative, and the witness, a panel for each objective.

    The curvature is the least eigenvalue of the Hessian there; of a function without one that of segments, drawn at
    the point between their ends.

    Parameters
    ----------
    tree : xarray.DataTree
        Summary of a convexity study.
    objectives : sequence of str
        Which; all with two parameters unless given.
    ax, title
        See :mod:`biasvar.plot`.

    Raises
    ------
    BiasvarError
        If an objective is unknown, or none has two parameters.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.ConvexityStudy(
    ...     name="valley", objectives={"valley": bv.Rosenbrock()}, within={"valley": bv.Box(-2, 2, dim=2)},
    ...     segments=512, block_size=64,
    ... )
    >>> figure = bv.plot.plane(bv.lazy(study).compute())
    >>> figure.axes[0].get_aspect()
    1.0
    """
    nodes = nodes_of(tree)
    flat = {name for name, node in nodes.items() if "sample" in node}
    chosen, left_out = _chosen(nodes, objectives, flat)
    chosen = [label for label in chosen if label in flat]
    if not chosen:
        raise BiasvarError("plane: needs an objective with two parameters, got none")
    figure, axes = _panels(ax, len(chosen))
    shares = {}
    for panel, label in zip(axes.flat, chosen, strict=False):
        shares[label] = _draw_plane(panel, nodes[label])
        panel.set_title(shown(label), fontsize="medium")
        panel.set_xlabel("θ₁")
    axes[0, 0].set_ylabel("θ₂")
    _set_legend(figure, axes, ax, markerscale=3)
    most = max(shares, key=shares.__getitem__)
    words = f"{shown(most)} bends down, or is left, at {shares[most]:.0%} of the points seen"
    found = words if shares[most] > 0 else "No function bends down at any point seen"
    about = "where curvature is negative, or a point between two of the domain is outside"
    set_title(figure, axes, ax, title or found, f"{study_name(nodes[''])}{left_out}: {about}")
    return figure


def _draw_plane(panel: "Axes", node: xr.Dataset) -> float:
    """Draw points by the sign of curvature; return the share of those where it is negative."""
    measured = node.sample_curvature.notnull().any("shown")
    cell = node.isel(condition=int(np.flatnonzero(measured.values)[-1]))
    (x, y), below = cell.sample.values.T, cell.sample_curvature.values
    for which, color, name in (
        (below >= 0, SKY, "curvature of at least 0"),
        (below < 0, VERMILION, "negative, or outside"),
    ):
        if which.any():
            panel.scatter(x[which], y[which], s=4, color=color, linewidths=0, label=name, rasterized=True)
    clearest = _worst(node).witness
    if clearest.notnull().all():
        ends, between = clearest.sel(point=["x", "y"]).values, clearest.sel(point="z").values
        panel.plot(ends[:, 0], ends[:, 1], color=BLACK, marker="o", markersize=2, label="witness")
        panel.plot(between[0], between[1], color=BLACK, marker="x")
    panel.axhline(0, color=GREY, linewidth=0.5, zorder=0)
    panel.axvline(0, color=GREY, linewidth=0.5, zorder=0)
    panel.set_aspect("equal")
    return float((below[~np.isnan(below)] < 0).mean())


def _chosen(nodes: Mapping[str, xr.Dataset], objectives: Sequence[str], able: Collection[str]) -> tuple[list[str], str]:
    """Return the objectives that are drawn, and what is said of others: of many those that are not convex first."""
    known = [str(label) for label in nodes[""].objective.values]
    for label in objectives:
        if label not in known:
            raise BiasvarError(f"objectives: {label!r} is not in the summary; choose from {', '.join(known)}")
    if objectives:
        return list(objectives), ""
    wrong, drawn = _violated(nodes[""]), [label for label in known if label in able]
    first = sorted(drawn, key=lambda label: label not in wrong)[:MOST]
    left_out = f", {len(first)} of {len(known)} functions" if len(first) < len(known) else ""
    return [label for label in known if label in first], left_out
