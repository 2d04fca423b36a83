"""Maps of two hyperparameters: the objective at the end, and what a target costs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from biasvar.errors import BiasvarError
from biasvar.notation import plainly
from biasvar.studies.base import nodes_of
from biasvar.views.figures import VERMILION, finite, panels_or_given, set_title
from biasvar.views.plot.cells import shown, study_name
from biasvar.views.plot.doors import made_of
from biasvar.views.plot.optimizers import below_zero, nodes_with, positive, varied

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ABOVE: Any = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 2, "frameon": False, "fontsize": "small"}


@made_of("objective", "total_sensitivity", "hyperparameter", dims=("step",), varied=2)
def heat(
    tree: xr.DataTree,
    *,
    objective: str | None = None,
    optimizer: str | None = None,
    rows: str | None = None,
    columns: str | None = None,
    ax: "Axes | None" = None,
    title: str | None = None,
    **sel: object,
) -> "Figure":
    """Draw the mean objective at the last step over two hyperparameters, the best over all others.

    Parameters
    ----------
    tree : xarray.DataTree
        Summary of an optimizer study.
    objective, optimizer : str, optional
        Which grid; the first with two hyperparameters of several values unless given.
    rows, columns : str, optional
        Hyperparameters; the two that matter most unless given.
    ax, title
        See :mod:`biasvar.plot`.
    **sel : labels
        Values of other hyperparameters.

    Raises
    ------
    BiasvarError
        If there is no such grid or label.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.OptimizerStudy(
    ...     name="bowl", objectives={"bowl": bv.Quadratic([1, 10])},
    ...     optimizers={"momentum": bv.Momentum([0.01, 0.1], [0.5, 0.9])},
    ...     steps=50, replicates=2,
    ... )
    >>> figure = bv.plot.heat(bv.lazy(study).compute(), rows="momentum", columns="learning_rate")
    >>> figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()
    ('learning rate', 'momentum')
    """
    where, node = _grid(tree, "objective", objective, optimizer)
    values = _selected(node, sel).objective.isel(step=-1)
    names = f"objective J of {where}", f"after {int(values.step)} steps"
    return _map(tree, node, values.compute(), rows, columns, names, "J = {}", ax, title)


@made_of("median_cost_to_target", "total_sensitivity", "hyperparameter", varied=2)
def cost_map(
    tree: xr.DataTree,
    *,
    objective: str | None = None,
    optimizer: str | None = None,
    rows: str | None = None,
    columns: str | None = None,
    target: int = -1,
    ax: "Axes | None" = None,
    title: str | None = None,
    **sel: object,
) -> "Figure":
    """Draw the median cost of reaching a target over two hyperparameters, the least over all others; a cross: never.

    Parameters
    ----------
    tree : xarray.DataTree
        Summary of an optimizer study with targets.
    objective, optimizer, rows, columns, ax, title, **sel
        As of :func:`heat`.
    target : int
        Number of the target, from 0; the last unless given.

    Raises
    ------
    BiasvarError
        If there is no such grid or label.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.OptimizerStudy(
    ...     name="bowl", objectives={"bowl": bv.Quadratic([1, 10])},
    ...     optimizers={"momentum": bv.Momentum([0.01, 0.1], [0.5, 0.9])},
    ...     steps=50, replicates=2, targets={"bowl": [1e-3]},
    ... )
    >>> figure = bv.plot.cost_map(bv.lazy(study).compute(), rows="momentum", columns="learning_rate")
    >>> figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()
    ('learning rate', 'momentum')
    """
    where, node = _grid(tree, "median_cost_to_target", objective, optimizer)
    values = _selected(node, sel).median_cost_to_target.isel(target=target)
    level = float(node.target_value.isel(target=target))
    names = f"gradients to J = {level:.2g}", f"of {where}"
    return _map(tree, node, values.compute(), rows, columns, names, "{} gradients", ax, title)


def _grid(tree: xr.DataTree, variable: str, objective: str | None, optimizer: str | None) -> tuple[str, xr.Dataset]:
    """Return the first grid of at least two hyperparameters, and its name."""
    for first, rules in nodes_with(tree, variable, objective, optimizer).items():
        for rule, node in rules.items():
            if len(varied(node)) > 1:
                return f"{shown(first)} by {shown(rule)}", node
    raise BiasvarError(f"{variable}: no grid has two hyperparameters of several values")


def _selected(node: xr.Dataset, labels: Mapping[str, Any]) -> xr.Dataset:
    for axis, value in labels.items():
        known = node[axis].values.tolist() if axis in node.hyperparameter.values else []
        if value not in known:
            raise BiasvarError(f"{axis}={value!r} is not in the summary; choose from {known}")
    return node.sel(labels)


def _map(
    tree: xr.DataTree,
    node: xr.Dataset,
    values: xr.DataArray,
    rows: str | None,
    columns: str | None,
    names: tuple[str, str],
    number: str,
    ax: "Axes | None",
    title: str | None,
) -> "Figure":
    """Draw a variable over two hyperparameters, the least over the rest."""
    known = [axis for axis in varied(node) if axis in values.dims]
    for name in (rows, columns):
        if name is not None and name not in known:
            raise BiasvarError(f"{name!r} is no axis of the grid; choose from {', '.join(known)}")
    # The one with most values lies along the bottom.
    first = [axis for axis in known if axis not in (rows, columns)][: 2 - sum(map(bool, (rows, columns)))]
    first.sort(key=lambda axis: node.sizes[axis])
    rows = rows or first.pop(0)
    columns = columns or first.pop(0)
    rest = [axis for axis in values.dims if axis not in (rows, columns)]
    best = values.min(rest).transpose(rows, columns)
    figure, axes = panels_or_given(ax, 1, 1)
    if ax is None:
        figure.set_size_inches(8, 4.8)
    found = _draw_map(axes[0, 0], best, names[0], number)
    over = f"; the best over {', '.join(str(axis).replace('_', ' ') for axis in rest if values.sizes[axis] > 1)}"
    about = f"{study_name(nodes_of(tree)[''])}: {' '.join(names)}{over if over[-1] != ' ' else ''}; bright is low"
    set_title(figure, axes, ax, title or found, about)
    return figure


def _draw_map(panel: "Axes", best: xr.DataArray, name: str, number: str) -> str:
    """Draw a map with its best place; say where that is, and how many places are as good within a factor of 2."""
    from matplotlib.colors import LogNorm

    fallen = below_zero(best)
    values = (finite if fallen else positive)(best.values)
    if not np.isfinite(values).any():
        raise BiasvarError("no configuration has a finite value")
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    scale: Any = {"norm": LogNorm(low, high)} if high > 10 * low > 0 else {}
    image = panel.imshow(values, cmap="cividis_r", aspect="auto", origin="lower", interpolation="nearest", **scale)
    panel.figure.colorbar(image, ax=panel, label=name)
    missing = np.argwhere(np.isnan(values))
    panel.plot(missing[:, 1], missing[:, 0], color=VERMILION, marker="x", linestyle="none", label="diverged or never")
    row, column = np.unravel_index(np.nanargmin(values), values.shape)
    panel.plot(
        column,
        row,
        color=VERMILION,
        marker="*",
        markersize=14,
        markeredgecolor="white",
        linestyle="none",
        label="best of all",
    )
    shown_marks = 2 if len(missing) else 1
    panel.legend(*(part[-shown_marks:] for part in panel.get_legend_handles_labels()), **_ABOVE)
    y, x = map(str, best.dims)
    for axis, dim in ((panel.xaxis, x), (panel.yaxis, y)):
        labels = best[dim].values
        every = 1 if len(labels) <= 8 else (len(labels) - 1) // 5
        axis.set_ticks(range(0, len(labels), every), [f"{each:.3g}" for each in labels[::every]])
    panel.set(xlabel=x.replace("_", " "), ylabel=y.replace("_", " "))
    panel.spines[["top", "right"]].set_visible(True)
    near = int((values <= 2 * low).sum())
    at = ", ".join(f"{dim.replace('_', ' ')} {best[dim].values[i]:.3g}" for dim, i in ((x, column), (y, row)))
    found = number.format(plainly(low))
    if fallen:
        return f"Best at {at}: {found}"
    return f"Best at {at}: {found}; {near} of {values.size} places within a factor of 2"
