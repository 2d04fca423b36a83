"""Figures of descents: quantities along them, and their paths in the plane."""

from collections.abc import Mapping
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from biasvar.errors import BiasvarError
from biasvar.notation import plainly
from biasvar.optimization.objectives import Objective
from biasvar.studies.base import nodes_of
from biasvar.views.figures import BLACK, GREY, name_lines, panels_or_given, set_title
from biasvar.views.plot.cells import MOST_PANELS, shown, study_name
from biasvar.views.plot.doors import made_of
from biasvar.views.plot.optimizers import (
    BANDS,
    configured,
    in_plane,
    nodes_with,
    over_plane,
    set_heights,
    set_steps,
    settings,
    signed_roots,
    style_of,
)
from biasvar.views.plot.studies import study_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

AXES = {"step": "steps", "gradient_evaluations": "gradient evaluations"}
MARKS = 8  # along a line
WANDER = 1.5  # times the way from start to end that a path may go aside and still be in the picture
PANEL_LETTERS = 38  # of a line above a panel of paths
QUARTILES = (0.25, 0.5, 0.75)

Curves = Mapping[str, xr.DataArray]


@made_of("objective", "objective_quantile", "hyperparameter", dims=("step",))
def curves(
    tree: xr.DataTree | Mapping[str, Curves],
    *,
    objective: str | None = None,
    value: str = "objective",
    x: str = "step",
    ax: "Axes | None" = None,
    title: str | None = None,
    **sel: object,
) -> "Figure":
    """Draw a quantity along the descents of each update rule, in its best configuration, a panel for each objective.

    Lines are medians over replicates, bands lie between quartiles. The axis of steps is linear up to step 10.

    Parameters
    ----------
    tree : xarray.DataTree or mapping of str to mapping of str to DataArray
        Summary of an optimizer study; or curves of your own: for each panel, by what its axis says, a DataArray for
        each label, with dimensions ``step`` and ``replicate`` and the coordinate ``x``; its attributes may have
        ``color``, ``marker``, ``linestyle`` and ``linewidth``.
    objective : str, optional
        Which; all unless given.
    value : str
        The variable drawn.
    x : str
        ``"step"`` or ``"gradient_evaluations"``.
    ax, title
        See :mod:`biasvar.plot`.
    **sel : labels
        Hyperparameters; the best that are left unless given.

    Raises
    ------
    BiasvarError
        If the summary lacks the objective, the variable or a label.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.OptimizerStudy(
    ...     name="bowl", objectives={"bowl": bv.Quadratic([1, 10])}, optimizers={"sgd": bv.SGD([0.01, 0.1])},
    ...     steps=50, replicates=2,
    ... )
    >>> figure = bv.plot.curves(bv.lazy(study).compute())
    >>> figure.axes[0].get_xscale()  # step 0 is where it is
    'symlog'
    """
    if isinstance(tree, xr.DataTree):
        panels, about = _of_study(tree, objective, value, sel)
    else:
        panels, about = {name: dict(found) for name, found in tree.items()}, ""
    figure, axes = panels_or_given(ax, 1, len(panels))
    if ax is None:
        figure.set_size_inches(2.4 + 4.6 * len(panels), 4.8)
    for panel, (name, found) in zip(axes[0], panels.items(), strict=True):
        quartiles = {label: _quartiles(curve) for label, curve in found.items()}
        keep = set_heights(panel, np.concatenate([band.ravel() for band in quartiles.values()]))
        ends = [
            _draw_curve(panel, label, i, found[label], x, keep(band))
            for i, (label, band) in enumerate(quartiles.items())
        ]
        panel.set_ylabel(name)
        set_steps(panel, AXES.get(x, x))
        name_lines(panel, [end for end in ends if np.isfinite(end[2])])
    bands = any(_replicates(curve) for found in panels.values() for curve in found.values())
    words = "; ".join(filter(None, [about, BANDS if bands else "one replicate: no band"]))
    first = _first(tree, objective) if isinstance(tree, xr.DataTree) and value == "objective" else ""
    set_title(figure, axes, ax, title or first or _lowest(panels), words)
    return figure


def _gradients(cost: float) -> str:
    """Write a median cost, which may lie between two numbers: these must not look equal."""
    if not np.isfinite(cost):
        return "never"
    return f"{cost:.0f}" if cost >= 100 else f"{cost:g}"


def _first(tree: xr.DataTree, objective: str | None) -> str:
    """Say which rule is first at the last target of the first objective; nothing where there are no targets."""
    found = nodes_with(tree, "best_cost_to_target")
    nodes = found.get(objective or next(iter(found), ""), {})
    costs = {rule: float(node.best_cost_to_target.isel(target=-1)) for rule, node in nodes.items()}
    order = sorted(costs, key=costs.__getitem__)
    if len(order) < 2 or not np.isfinite(costs[order[0]]):
        return ""
    goal = f"J = {float(nodes[order[0]].target_value.isel(target=-1)):.2g}"
    best, *others = (f"{_gradients(costs[rule])} ({shown(rule)})" for rule in order)
    against = " and ".join(dict.fromkeys((others[0], others[-1])))
    return f"{shown(order[0])} is first at {goal}: {best.partition(' ')[0]} gradients against {against}"


def _of_study(
    tree: xr.DataTree, objective: str | None, value: str, labels: Mapping[str, Any]
) -> tuple[dict[str, dict[str, xr.DataArray]], str]:
    """Return curves of the best configuration of each rule, by objective."""
    found: dict[str, dict[str, xr.DataArray]] = {}
    nodes = nodes_with(tree, value, objective)
    if not nodes:
        raise BiasvarError(f"value: {value!r} is not in the summary")
    for name, rules in list(nodes.items())[:MOST_PANELS]:
        symbol = next(iter(rules.values()))[value].attrs.get("short_name", value)
        panel = found.setdefault(f"{symbol} of {shown(name)}", {})
        for rule, node in rules.items():
            cell, _ = configured(node, labels)
            panel[rule] = cell[f"{value}_quantile" if f"{value}_quantile" in cell else value]
    left_out = f", {MOST_PANELS} of {len(nodes)} objectives" if len(nodes) > MOST_PANELS else ""
    return found, f"{study_name(nodes_of(tree)[''])}: the best configuration of each rule{left_out}"


def _replicates(curve: xr.DataArray) -> bool:
    return "quantile" in curve.dims or curve.sizes.get("replicate", 1) > 1


def _quartiles(curve: xr.DataArray) -> Any:
    """Return the quartiles of a curve over replicates, shape (3, steps)."""
    if "quantile" in curve.dims:
        return curve.sel(quantile=list(QUARTILES)).transpose("quantile", "step").values
    if "replicate" not in curve.dims:
        return np.broadcast_to(curve.values, (3, curve.sizes["step"]))
    return np.quantile(curve.transpose("replicate", "step").values, QUARTILES, axis=0)


def _draw_curve(
    panel: "Axes", label: str, place: int, curve: xr.DataArray, x: str, band: Array
) -> tuple[str, float, float, str]:
    """Draw one curve with its band, low, middle and high; return name, x, y and colour of its end."""
    (color, mark), places = style_of(label, place), curve[x].values
    low, middle, high = band
    style: dict[str, Any] = {"color": color, "marker": mark, "linewidth": 2.0, "markersize": 5} | _given(curve)
    panel.plot(places, middle, markevery=max(1, len(places) // MARKS), label=shown(label), **style)
    if _replicates(curve):
        panel.fill_between(places, low, high, color=color, alpha=0.2, linewidth=0)
    there = np.flatnonzero(np.isfinite(middle))
    last = there[-1] if there.size else 0
    return shown(label), float(places[last]), float(middle[last]), style["color"]


def _given(curve: xr.DataArray) -> dict[str, Any]:
    return {name: curve.attrs[name] for name in ("linestyle", "linewidth", "color", "marker") if name in curve.attrs}


def _lowest(panels: Mapping[str, Curves]) -> str:
    """Say which curve of the first panel ends lowest, and where the next one does."""
    name, found = next(iter(panels.items()))
    ends = sorted((float(_quartiles(curve)[1, -1]), shown(label)) for label, curve in found.items())
    ends = [end for end in ends if np.isfinite(end[0])]
    if not ends:
        return "Every descent diverged"
    if len(found) == 1:
        begin = float(_quartiles(next(iter(found.values())))[1, 0])
        return f"{ends[0][1]} takes {name} from {plainly(begin, 2)} to {plainly(ends[0][0], 2)}"
    if len(ends) == 1:
        return f"All but {ends[0][1]} diverged"
    low, second = (plainly(end, 2) for end, _ in ends[:2])
    if low == second:
        return f"{ends[0][1]} and {ends[1][1]} end alike: {low}"
    return f"{ends[0][1]} ends lowest: {name} {low} against {second} ({ends[1][1]})"


@made_of("parameters", "hyperparameter", dims=("step",), sizes={"parameter": 2})
def paths(
    tree: xr.DataTree,
    *,
    objective: str | None = None,
    at: str | Mapping[str, Mapping[str, Any]] = "best",
    replicate: int = 0,
    ax: None = None,
    title: str | None = None,
    **sel: object,
) -> "Figure":
    """Draw a path of each update rule in the plane over the contours of an objective, all from one start.

    Paths begin at the first recorded step, where rules have parted already if it is not step 0.

    Parameters
    ----------
    tree : xarray.DataTree
        Summary of an optimizer study that recorded ``parameters``.
    objective : str, optional
        One of two parameters; the first unless given.
    at : str or mapping of str to labels
        ``"best"``: the configuration of least mean objective at the end. ``"inside"``: the least of those that never
        leave the picture, twice as far from the end as the start is. Or hyperparameters of each rule.
    replicate : int
        Which start.
    ax : None
        There is a panel for each rule.
    title : str, optional
        What stands above, instead of what the numbers say.
    **sel : labels
        Hyperparameters; the best that are left unless given.

    Raises
    ------
    BiasvarError
        If no objective of two parameters was recorded, or a label is unknown.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.OptimizerStudy(
    ...     name="bowl", objectives={"bowl": bv.Quadratic([1, 10])}, optimizers={"sgd": bv.SGD([0.01, 0.1])},
    ...     steps=50, replicates=2, record=["objective", "parameters"],
    ... )
    >>> figure = bv.plot.paths(bv.lazy(study).compute())
    >>> figure.axes[0].get_aspect()  # as the objective is
    1.0
    """
    nodes = nodes_with(tree, "parameters", objective)
    name = next((each for each, rules in nodes.items() if all(map(in_plane, rules.values()))), None)
    if name is None:
        raise BiasvarError("paths: needs parameters of an objective of two parameters, which no node has recorded")
    chosen = {rule: _chosen(node, rule, at, replicate, sel) for rule, node in nodes[name].items()}
    columns = min(3, len(chosen))
    figure, axes = panels_or_given(ax, -(-len(chosen) // columns), columns)
    function, room = _function(tree, name), _room([path for path, *_ in chosen.values()])
    for i, (panel, (rule, (path, words))) in enumerate(zip(axes.flat, chosen.items(), strict=False)):
        _draw_path(panel, function, path, room, *style_of(rule, i))
        panel.set_title(f"{shown(rule)}\n{fill(words, PANEL_LETTERS)}" if words else shown(rule), fontsize="medium")
    for panel in axes.flat[len(chosen) :]:
        panel.set_visible(False)
    across, along = room[1] - room[0]
    figure.set_size_inches(1.2 + 3.4 * columns, 1.4 + len(axes) * (0.9 + 2.6 * float(np.clip(along / across, 0.2, 2))))
    first = int(next(iter(nodes[name].values())).step[0])
    begin = "the start" if first == 0 else f"step {first}, the first recorded"
    marks = f"start {replicate} for all; o: {begin}, +: the end, a mark for each recorded step"
    about = f"{study_name(nodes_of(tree)[''])}: {shown(name)}, {marks}"
    contours = "" if function else "; no contours: the objective is not biasvar's own"
    set_title(figure, axes, ax, title or _ends(chosen, name, function), f"{about}{contours}")
    return figure


def _chosen(
    node: xr.Dataset,
    rule: str,
    at: str | Mapping[str, Mapping[str, object]],
    replicate: int,
    labels: Mapping[str, object],
) -> Any:
    """Return a path (steps, 2), and what its configuration is called."""
    if at == "inside":
        labels = _inside(node, replicate) | dict(labels)
    elif not isinstance(at, str):
        labels = {**at.get(rule, {}), **labels}
    elif at != "best":
        raise BiasvarError(f"at: expected best, inside or labels of each rule, got {at!r}")
    cell, where = configured(node, labels)
    path = cell.parameters.isel(replicate=replicate).transpose("step", "parameter").values
    there = np.isfinite(path).all(axis=1)
    return path[there], settings(node, where)


def _inside(node: xr.Dataset, replicate: int) -> dict[str, float]:
    """Return the best configuration of those that stay near: never twice as far from the end as the start was."""
    path = node.parameters.isel(replicate=replicate).compute()
    end = configured(node, {})[0].parameters.isel(replicate=replicate, step=-1)
    reach = 2 * abs(path.isel(step=0) - end).max("parameter")
    stays = (abs(path - end).max("parameter") <= reach).all("step")
    last = node.objective.isel(step=-1).where(stays & np.isfinite(node.objective.isel(step=-1))).compute()
    if not np.isfinite(last).any():
        return {}
    place = np.unravel_index(np.nanargmin(last.values), last.shape)
    return {str(axis): float(last[axis][i]) for axis, i in zip(last.dims, place, strict=True)}


def _function(tree: xr.DataTree, name: str) -> Objective | None:
    """Return the objective, if it is one of biasvar's own, which no foreign code is needed for."""
    study = study_of(nodes_of(tree)[""])
    return None if study is None else study.objectives[name]


def _room(found: list[Any]) -> tuple[Array, Array]:
    """Return the corners of a picture: of the start, where paths end, and what of them lies near these; some room."""
    start = found[0][0]
    ends = np.array([path[-1] for path in found])
    middle = np.median(ends, axis=0)
    size = max(float(np.abs(start - middle).max()), 1e-12)
    points = np.vstack([start, *found])
    points = points[np.abs(points - (start + middle) / 2).max(axis=1) <= WANDER * size]
    low, high = points.min(axis=0), points.max(axis=0)
    room = 0.1 * max(float((high - low).max()), size)
    return low - room, high + room


def _draw_path(
    panel: "Axes", function: Objective | None, path: Array, room: tuple[Array, Array], color: str, mark: str
) -> None:
    low, high = room
    if function is not None:
        across, along = (np.linspace(a, b, 201) for a, b in zip(low, high, strict=True))
        heights = _heights(over_plane(function.value, across, along), function.minimum or 0.0)
        panel.contour(across, along, heights, levels=14, colors=GREY, linewidths=0.6, linestyles="solid")
    panel.plot(*path.T, color=color, marker=mark, markersize=3, linewidth=1.2)
    panel.plot(*path[0], color=BLACK, marker="o", markersize=7, markerfacecolor="white", linestyle="none", zorder=5)
    panel.plot(*path[-1], color=BLACK, marker="+", markersize=11, markeredgewidth=2, linestyle="none", zorder=5)
    panel.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal", xlabel="θ₁", ylabel="θ₂")


def _heights(values: Array, least: float) -> Array:
    """Return values on a grid as contours tell most of them: the floor of a hollow, or both sides of a saddle."""
    row, column = np.unravel_index(values.argmin(), values.shape)
    if not (0 < row < len(values) - 1 and 0 < column < values.shape[1] - 1):
        return signed_roots(values - least)
    above = values - values.min()
    heights: Array = np.log(above + 1e-3 * np.median(above) + 1e-300)
    return heights


def _ends(chosen: Mapping[str, Any], name: str, function: Objective | None) -> str:
    """Say which path ends lowest, and which highest."""
    if function is None:
        return f"Paths over {shown(name)}"
    found = {rule: float(np.ravel(function.value(path[-1:]))[0]) for rule, (path, *_) in chosen.items()}
    low, high = min(found, key=found.__getitem__), max(found, key=found.__getitem__)
    words = f"{shown(low)} ends at J = {plainly(found[low], 2)}"
    return words if low == high else f"{words}, {shown(high)} at {plainly(found[high], 2)}"
