"""Figures of what budgets of gradient evaluations buy: the best training-set size, and the three errors."""

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from biasvar.errors import BiasvarError
from biasvar.studies.base import nodes_of
from biasvar.views.figures import BLACK, GREY, ORANGE, SKY, VERMILION, finite, halo, panels_or_given, set_title
from biasvar.views.plot.cells import label as written
from biasvar.views.plot.cells import study_name
from biasvar.views.plot.cells import written as named
from biasvar.views.plot.doors import made_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

#: Errors of a stopped fit, from the bottom up.
ERRORS = (
    ("approximation_error", "approximation", GREY),
    ("estimation_error", "estimation", SKY),
    ("optimization_error", "optimization", ORANGE),
)


@made_of("excess_risk", "excess_risk_se", "best_n_train", dims=("budget", "n_train"))
def budget_curves(
    tree: xr.DataTree,
    *,
    optimizer: str | None = None,
    ax: "Axes | None" = None,
    title: str | None = None,
    **sel: object,
) -> "Figure":
    """Draw the excess risk against the training-set size, a curve for each budget, a panel for each batch size.

    Their minima are joined: the size that a budget is best spent on. Dashed is least squares, which no budget stops.

    Parameters
    ----------
    tree : xarray.DataTree
        Summary of a tradeoff study.
    optimizer : str, optional
        Which of its optimizers; the first unless given.
    ax, title
        See :mod:`biasvar.plot`.
    **sel : labels
        A noise level and a value of each hyperparameter, the first unless given; batch sizes, 0 for all examples.

    Raises
    ------
    BiasvarError
        If a label is unknown.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.TradeoffStudy(
    ...     name="early", target=bv.Sine(), inputs=bv.Uniform(-1, 1), model=bv.Polynomial(1), n_train=[5, 20],
    ...     optimizers={"descent": bv.SGD(0.2)}, budgets=[20, 200], replicates=256, block_size=16,
    ... )
    >>> figure = bv.plot.budget_curves(bv.lazy(study).compute())
    >>> figure.axes[0].get_xlabel()
    'training examples'
    """
    root, cells, chosen = _selected(tree, optimizer, sel, keep=("batch_size", "n_train", "budget"))
    figure, axes = panels_or_given(ax, 1, cells.sizes["batch_size"], sharey=True)
    for panel, size in zip(axes[0], cells.batch_size.values, strict=True):
        _draw_budgets(panel, cells.sel(batch_size=size))
        panel.plot(
            root.n_train, finite(root.excess_risk), color=BLACK, linestyle="--", linewidth=1, label="least squares"
        )
        panel.set(xscale="log", yscale="log", xlabel="training examples")
        panel.set_title(_batch(int(size)))
    if ax is None:
        figure.set_size_inches(2 + 4.6 * len(axes[0]), 4.8)
    axes[0, 0].set_ylabel("excess risk (y²)")
    axes[0, 0].legend(frameon=False, fontsize="small")
    words = title or _best_sizes(cells)
    about = ["a curve per budget of gradients, of one example each; crosses: its best n", *chosen]
    set_title(figure, axes, ax, words, f"{study_name(nodes_of(tree)[''])}: {'; '.join(about)}")
    return figure


def _draw_budgets(panel: "Axes", cells: xr.Dataset) -> None:
    from matplotlib import colormaps

    shades = colormaps["cividis"](np.linspace(0, 0.9, cells.sizes["budget"]))
    minima = []
    for color, budget in zip(shades, cells.budget.values, strict=True):
        cell = cells.sel(budget=budget)
        value = finite(cell.excess_risk)
        panel.errorbar(cell.n_train, value, cell.excess_risk_se, color=color, capsize=2, linewidth=1.5)
        if np.isfinite(cell.best_n_train):
            best = float(cell.best_n_train)
            minima.append((best, float(cell.excess_risk.sel(n_train=best))))
            beside: Any = {"textcoords": "offset points", "fontsize": "small", "annotation_clip": False}
            panel.annotate(f"{int(budget)}", minima[-1], (7, -4), path_effects=halo(), zorder=5, **beside)
    if minima:
        x, y = zip(*minima, strict=True)
        panel.plot(
            x, y, color=VERMILION, marker="X", markersize=8, linestyle=":", label="best n for a budget", zorder=4
        )


def _best_sizes(cells: xr.Dataset) -> str:
    """Say how the best size grows from the least to the greatest budget, for each batch size."""
    said = []
    for size in cells.batch_size.values:
        best = cells.best_n_train.sel(batch_size=size).values
        if np.isfinite(best[[0, -1]]).all():
            said.append(f"{_batch(int(size))}: best n {best[0]:.0f} to {best[-1]:.0f}")
    low, high = (int(cells.budget[i]) for i in (0, -1))
    return f"From {low} to {high} gradients, " + "; ".join(said) if said else "What budgets buy"


def _batch(size: int) -> str:
    return (
        "all examples per step" if size == 0 else "one example per step" if size == 1 else f"{size} examples per step"
    )


@made_of("optimization_error", "optimization_error_se", "empirical_optimization_error", dims=("budget",))
def three_errors(
    tree: xr.DataTree,
    *,
    optimizer: str | None = None,
    ax: "Axes | None" = None,
    title: str | None = None,
    **sel: object,
) -> "Figure":
    """Stack approximation, estimation and optimization error against the budget; the last may dip below zero.

    Their sum is the excess risk. Dotted is the empirical optimization error, which is never negative.

    Parameters
    ----------
    tree : xarray.DataTree
        Summary of a tradeoff study.
    optimizer : str, optional
        Which of its optimizers; the first unless given.
    ax, title
        See :mod:`biasvar.plot`.
    **sel : labels
        One of each dimension but the budget. The first unless given, of training-set sizes the least at which least
        squares has a risk with a standard error.

    Raises
    ------
    BiasvarError
        If a label is unknown, or least squares has no finite risk there: nothing can be stacked.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.TradeoffStudy(
    ...     name="early", target=bv.Sine(), inputs=bv.Uniform(-1, 1), model=bv.Polynomial(1), n_train=[5, 20],
    ...     optimizers={"descent": bv.SGD(0.2)}, budgets=[20, 200], replicates=256, block_size=16,
    ... )
    >>> figure = bv.plot.three_errors(bv.lazy(study).compute())
    >>> figure.axes[0].get_xlabel()
    'gradient evaluations'
    """
    root, cells, chosen = _selected(tree, optimizer, sel, keep=("budget",))
    if not np.isfinite(root.estimation_error):
        raise BiasvarError(f"n_train={int(root.n_train)}: least squares has no known risk there; select a larger one")
    figure, axes = panels_or_given(ax, 1, 1)
    panel, budget, base = axes[0, 0], cells.budget.values, 0.0
    if ax is None:
        figure.set_size_inches(8, 5)
    for name, label, color in ERRORS[:2]:
        above = base + float(finite(root[name]))
        panel.fill_between(budget, base, above, color=color, alpha=0.8, linewidth=0, label=label)
        base = above
    x, extra = _with_zeros(budget, finite(cells.optimization_error))
    # Below zero it takes from what is stacked above.
    panel.fill_between(x, base, base + extra.clip(0), color=ORANGE, alpha=0.8, linewidth=0, label="optimization")
    panel.fill_between(x, 0, np.minimum(extra, 0), color=ORANGE, alpha=0.8, linewidth=0)
    panel.errorbar(budget, finite(cells.excess_risk), cells.excess_risk_se, color=BLACK, marker="o", label="excess")
    seen = finite(cells.empirical_optimization_error)
    panel.plot(budget, seen, color=VERMILION, linestyle=":", marker="s", label="optimization, empirical")
    panel.axhline(0, color=BLACK, linewidth=0.8)
    panel.set(xscale="log", xlabel="gradient evaluations", ylabel="error (y²)")
    panel.legend(frameon=False, fontsize="small", loc="upper right")
    words = title or _sign(cells)
    set_title(figure, axes, ax, words, f"{study_name(nodes_of(tree)[''])}: {'; '.join(chosen)}")
    return figure


def _with_zeros(x: Array, y: Array) -> tuple[Array, Array]:
    """Add the points at which lines between those of opposite sign, on a logarithmic axis, are zero."""
    left = np.flatnonzero(y[:-1] * y[1:] < 0)
    share = y[left] / (y[left] - y[left + 1])
    zeros = x[left] * (x[left + 1] / x[left]) ** share
    return np.insert(x.astype(float), left + 1, zeros), np.insert(y, left + 1, 0.0)


def _sign(cells: xr.Dataset) -> str:
    """Say whether stopping helps: where the optimization error is surely below zero."""
    extra, error = cells.optimization_error, 2 * cells.optimization_error_se
    helps = cells.budget.values[(extra + error < 0).values]
    if helps.size == 0:
        costs = bool((extra - error > 0).all())
        return "Stopping early costs at every budget" if costs else "Whether stopping early helps cannot be told"
    where = f"from {helps[0]} to {helps[-1]}" if helps.size > 1 else f"at {helps[0]}"
    return f"Stopping helps {where} gradients: a negative optimization error"


def _selected(
    tree: xr.DataTree, optimizer: str | None, labels: dict[str, Any], keep: tuple[str, ...]
) -> tuple[xr.Dataset, xr.Dataset, list[str]]:
    """Select cells of the root and of one optimizer: one of each dimension but those to keep; say which."""
    nodes = {path: node.compute() for path, node in nodes_of(tree).items()}
    root, names = nodes[""], [path for path in nodes if path]
    name = optimizer or names[0]
    if name not in names:
        raise BiasvarError(f"optimizer: {name!r} is not in the summary; choose from {', '.join(names)}")
    cells = nodes[name]
    for axis, label in labels.items():
        if axis not in cells.dims or label not in cells[axis].values:
            raise BiasvarError(f"{axis}={label!r} is not in the summary")
    chosen = []
    for axis in map(str, cells.excess_risk.dims):
        label = labels.get(axis)
        if label is None and axis in keep:
            continue
        known = cells[axis].values
        of = f" (of {', '.join(map(written, known))})" if label is None and len(known) > 1 else ""
        if label is None:
            label = known[_first_finite(root, axis)]
        if axis not in keep:
            words = _batch(int(label)) if axis == "batch_size" else named(cells[axis].sel({axis: label}))
            chosen.append(f"{words}{of}")
        one = {axis: [label] if axis in keep else label}
        cells, root = cells.sel(one), root.sel(one) if axis in root.dims else root
    return root, cells, chosen


def _first_finite(root: xr.Dataset, axis: str) -> int:
    """Return the first label at which least squares has a known error everywhere; the first where that is no matter."""
    if axis not in root.estimation_error.dims:
        return 0
    error = root.estimation_error_se
    return int(np.isfinite(error).all([dim for dim in error.dims if dim != axis]).argmax(axis))
