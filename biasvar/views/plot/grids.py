"""Figures of grids of hyperparameters: what rates come to, how soon luck finds good ones, which matter."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from biasvar.errors import several
from biasvar.notation import plainly
from biasvar.studies.base import nodes_of
from biasvar.views.figures import BLUE, GREY, ORANGE, draw_hollow, name_lines, panels_or_given, set_title
from biasvar.views.plot.cells import MOST_PANELS, shown, study_name
from biasvar.views.plot.cells import label as written
from biasvar.views.plot.doors import made_of
from biasvar.views.plot.optimizers import Array, below_zero, nodes_with, positive, set_heights, style_of, varied

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ERRORS = "errors: one standard error over random starts and orders"


@made_of("objective", "hyperparameter", "learning_rate", dims=("learning_rate",), several=("learning_rate",))
def learning_rates(
    tree: xr.DataTree,
    *,
    objective: str | None = None,
    target: int = -1,
    ax: "Axes | None" = None,
    title: str | None = None,
) -> "Figure":
    """Draw what each learning rate comes to, the best over other hyperparameters, a line for each update rule.

    That is the median cost of reaching a target, or the mean objective at the last step where there is no target, or
    none that is reached. Dashed is 2 / L, where it is known: from there on plain descent leaves the minimiser.

    Parameters
    ----------
    tree : xarray.DataTree
        Summary of an optimizer study.
    objective : str, optional
        Which; all unless given, a panel for each.
    target : int
        Number of the target, from 0; the last unless given.
    ax, title
        See :mod:`biasvar.plot`.

    Raises
    ------
    BiasvarError
        If the summary lacks the objective.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.OptimizerStudy(
    ...     name="bowl", objectives={"bowl": bv.Quadratic([1, 10])}, optimizers={"sgd": bv.SGD([0.01, 0.1])},
    ...     steps=50, replicates=2, targets={"bowl": [1e-3]},
    ... )
    >>> figure = bv.plot.learning_rates(bv.lazy(study).compute())
    >>> figure.axes[0].get_ylabel()
    'gradients to J = 0.001'
    """
    nodes = dict(list(nodes_with(tree, "objective", objective).items())[:MOST_PANELS])
    every = nodes_of(tree)
    figure, axes = panels_or_given(ax, 1, len(nodes))
    if ax is None:
        figure.set_size_inches(2.4 + 4.6 * len(nodes), 4.8)
    for panel, (name, rules) in zip(axes[0], nodes.items(), strict=True):
        goal = _reached(rules, target)
        panel.set(xscale="log", xlim=_range(rules), xlabel="learning rate")
        values = [np.ravel(_by_rate(node, goal)) for node in rules.values() if "learning_rate" in node.objective.dims]
        keep = set_heights(panel, np.concatenate([[], *values]))
        ends = [_draw_rates(panel, rule, i, node, goal, keep) for i, (rule, node) in enumerate(rules.items())]
        panel.set_title(shown(name))
        limit = float(every[name].get("learning_rate_limit", np.nan)) if name in every else np.nan
        if panel.get_xlim()[0] < limit < panel.get_xlim()[1]:
            panel.axvline(limit, color=GREY, linestyle="--", linewidth=1.2)
            panel.annotate(
                "2 / L", (limit, 1), (2, -2), xycoords=("data", "axes fraction"), textcoords="offset points", va="top"
            )
        name_lines(panel, [end for end in ends if end is not None], direct=False)
    words = f"{study_name(every[''])}: the best over other hyperparameters; rings: the best rate; lines end where none"
    set_title(figure, axes, ax, title or _widest(next(iter(nodes.values())), target), f"{words} arrives")
    return figure


def _reached(rules: Mapping[str, xr.Dataset], target: int) -> int | None:
    """Return the target if any rule reaches it in most replicates."""
    costs = [node.median_cost_to_target.isel(target=target) for node in rules.values() if "target" in node.dims]
    return target if any(np.isfinite(cost).any() for cost in costs) else None


def _range(rules: Mapping[str, xr.Dataset]) -> tuple[float, float]:
    """Return between which learning rates to draw."""
    rates = np.concatenate([np.ravel(node.learning_rate) for node in rules.values()])
    return float(rates.min()) / 1.5, float(rates.max()) * 1.5


def _by_rate(node: xr.Dataset, target: int | None) -> xr.DataArray:
    values = node.objective.isel(step=-1) if target is None else node.median_cost_to_target.isel(target=target)
    found: xr.DataArray = values.min([dim for dim in values.dims if dim != "learning_rate"]).compute()
    return found


def _draw_rates(
    panel: "Axes", rule: str, place: int, node: xr.Dataset, target: int | None, keep: Callable[[ArrayLike], Array]
) -> Any:
    if "learning_rate" not in node.objective.dims:
        return None
    (color, mark), found = style_of(rule, place), _by_rate(node, target)
    values = keep(found.values)
    panel.plot(found.learning_rate, values, color=color, marker=mark, markersize=4, label=shown(rule))
    goal = None if target is None else float(node.target_value.isel(target=target))
    panel.set_ylabel("objective J at the end" if goal is None else f"gradients to J = {goal:.2g}")
    if not np.isfinite(values).any():
        return None
    best, last = int(np.nanargmin(values)), int(np.flatnonzero(np.isfinite(values))[-1])
    rate = found.learning_rate.values
    panel.plot(rate[best], values[best], color=color, marker="o", markersize=11, markerfacecolor="none")
    return shown(rule), float(rate[last]), float(values[last]), color


def _widest(rules: Mapping[str, xr.Dataset], target: int) -> str:
    """Say which rule forgives a wrong learning rate most: the widest range within a factor of 2 of its best."""
    widths, goal = {}, _reached(rules, target)
    for rule, node in rules.items():
        if node.sizes.get("learning_rate", 0) > 1:
            found = _by_rate(node, goal)
            if below_zero(found):
                return "What learning rates come to"
            values = positive(found.values)
            if np.isfinite(values).any():
                good = found.learning_rate.values[values <= 2 * np.nanmin(values)]
                widths[rule] = float(good.max() / good.min())
    if not widths:
        return "No learning rate arrives"
    rule = max(widths, key=widths.__getitem__)
    if widths[rule] == 1:
        return "No rule forgives: one rate each is within a factor of 2 of its best"
    return f"{shown(rule)} forgives most: within a factor of 2 of its best at rates {plainly(widths[rule])} times apart"


@made_of("expected_best", "expected_best_se", "draws", dims=("draws", "step"), several=("draws",))
def expected_best(
    tree: xr.DataTree, *, objective: str | None = None, ax: "Axes | None" = None, title: str | None = None
) -> "Figure":
    """Draw the expected objective of the best of some random configurations, a line for each update rule.

    Parameters
    ----------
    tree : xarray.DataTree
        Summary of an optimizer study.
    objective : str, optional
        Which; all unless given, a panel for each.
    ax, title
        See :mod:`biasvar.plot`.

    Raises
    ------
    BiasvarError
        If the summary lacks the objective.
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
    >>> figure = bv.plot.expected_best(bv.lazy(study).compute())
    >>> figure.axes[0].get_xlabel()
    'random configurations tried'
    """
    nodes = dict(list(nodes_with(tree, "expected_best", objective).items())[:MOST_PANELS])
    figure, axes = panels_or_given(ax, 1, len(nodes))
    if ax is None:
        figure.set_size_inches(2.4 + 4.6 * len(nodes), 4.8)
    for panel, (name, rules) in zip(axes[0], nodes.items(), strict=True):
        panel.set(xscale="log", xlabel="random configurations tried")
        lasts = {rule: node.isel(step=-1) for rule, node in rules.items()}
        keep = set_heights(panel, np.concatenate([last.expected_best for last in lasts.values()]))
        ends = [_draw_luck(panel, rule, i, last, keep) for i, (rule, last) in enumerate(lasts.items())]
        panel.set_title(shown(name))
        name_lines(panel, [end for end in ends if np.isfinite(end[2])])
    axes[0, 0].set_ylabel("expected objective J of the best")
    about = f"{study_name(nodes_of(tree)[''])}: at the last step; {ERRORS}; none where one diverged"
    set_title(figure, axes, ax, title or _luck(nodes), about)
    return figure


def _draw_luck(
    panel: "Axes", rule: str, place: int, last: xr.Dataset, keep: Callable[[ArrayLike], Array]
) -> tuple[str, float, float, str]:
    (color, mark), draws = style_of(rule, place), last.draws.values
    value, error = keep(last.expected_best.values), last.expected_best_se.values
    panel.fill_between(draws, value - error, value + error, color=color, alpha=0.25, linewidth=0)
    panel.plot(draws, value, color=color, marker=mark, markersize=4, label=shown(rule))
    draw_hollow(panel, draws, value, error, color=color, marker=mark)
    return shown(rule), float(draws[-1]), float(value[-1]), color


def _luck(nodes: Mapping[str, Mapping[str, xr.Dataset]]) -> str:
    """Say how many random configurations come within a factor of 2 of the grid's best, for the rule that ends best."""
    needed = {}
    for rule, node in next(iter(nodes.values())).items():
        values = node.expected_best.isel(step=-1).values
        if np.isfinite(values[-1]) and not below_zero(values):
            near = np.flatnonzero(np.isfinite(values) & (values <= 2 * values[-1]))
            needed[rule] = (float(values[-1]), int(node.draws.values[near[0]]), int(node.draws.values[-1]))
    if not needed:
        return "Luck in a grid"
    rule = min(needed, key=needed.__getitem__)
    _, few, every = needed[rule]
    if few == every:
        return f"{shown(rule)} needs its whole grid, {every} configurations, to come within a factor of 2 of its best"
    return f"{shown(rule)} is within a factor of 2 of its best after {several(few, 'random configuration')} of {every}"


@made_of("sensitivity", "sensitivity_se", "total_sensitivity", "hyperparameter", dims=("hyperparameter",), varied=2)
def sensitivity(
    tree: xr.DataTree, *, objective: str | None = None, ax: "Axes | None" = None, title: str | None = None
) -> "Figure":
    """Draw which hyperparameters matter: the share of the variance of ranks that each explains, a panel for each rule.

    Parameters
    ----------
    tree : xarray.DataTree
        Summary of an optimizer study.
    objective : str, optional
        Which; the first unless given.
    ax, title
        See :mod:`biasvar.plot`.

    Raises
    ------
    BiasvarError
        If the summary lacks the objective.
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
    >>> figure = bv.plot.sensitivity(bv.lazy(study).compute())
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['learning rate', 'momentum']
    """
    found = nodes_with(tree, "sensitivity", objective)
    first, rules = next(
        (name, some)
        for name, nodes in found.items()
        if (some := {r: n for r, n in nodes.items() if len(varied(n)) > 1})
    )
    several = dict(list(rules.items())[:MOST_PANELS])
    figure, axes = panels_or_given(ax, 1, len(several))
    if ax is None:
        figure.set_size_inches(
            2.6 + 3.4 * len(several), 1.8 + 0.6 * max(len(varied(node)) for node in several.values())
        )
    tops = {}
    for panel, (rule, node) in zip(axes[0], several.items(), strict=True):
        tops[rule] = _draw_shares(panel, node.isel(step=-1).compute(), varied(node))
        panel.set_title(shown(rule))
    axes[0, -1].legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize="small")
    words = "; ".join(f"{shown(rule)}: {name.replace('_', ' ')} {share:.0%}" for rule, (name, share) in tops.items())
    about = f"{study_name(nodes_of(tree)[''])}: {first} at the last step; share of the variance of ranks; {ERRORS}"
    set_title(figure, axes, ax, title or f"What matters most, alone: {words}", about)
    return figure


def _draw_shares(panel: "Axes", last: xr.Dataset, names: list[str]) -> tuple[str, float]:
    """Draw shares alone and with interactions; return what explains most alone."""
    places, cell = np.arange(len(names))[::-1], last.sel(hyperparameter=names)
    for shift, name, words, color in (
        (0.2, "sensitivity", "alone", BLUE),
        (-0.2, "total_sensitivity", "with interactions", ORANGE),
    ):
        error = np.nan_to_num(cell[f"{name}_se"].values)
        bars: Any = {"height": 0.38, "color": color, "label": words, "capsize": 3}
        panel.barh(places + shift, cell[name].values, xerr=error, **bars)
    panel.set_yticks(places, [name.replace("_", " ") for name in names])
    panel.set(xlabel="share explained", xlim=(0, 1))
    top = int(np.nanargmax(np.nan_to_num(cell.sensitivity.values)))
    return names[top], float(cell.sensitivity.values[top])


@made_of("performance_profile", "ratio", "optimizer", dims=("optimizer", "ratio"))
def performance_profile(tree: xr.DataTree, *, ax: "Axes | None" = None, title: str | None = None) -> "Figure":
    """Draw on what share of problems each update rule is at most so many times as dear as the best one.

    Parameters
    ----------
    tree : xarray.DataTree
        Summary of an optimizer study with targets.
    ax, title
        See :mod:`biasvar.plot`.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.

    References
    ----------
    E. D. Dolan, J. J. More, Benchmarking optimization software with performance profiles, 2002.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.OptimizerStudy(
    ...     name="bowl", objectives={"bowl": bv.Quadratic([1, 10])},
    ...     optimizers={"sgd": bv.SGD(0.1), "lion": bv.Lion(0.1)},
    ...     steps=50, replicates=2, targets={"bowl": [1e-3]},
    ... )
    >>> figure = bv.plot.performance_profile(bv.lazy(study).compute())
    >>> figure.get_suptitle()
    'sgd is the cheapest on 100% of objectives and targets'
    """
    root = nodes_of(tree)[""].compute()
    figure, axes = panels_or_given(ax, 1, 1)
    panel, ratio = axes[0, 0], root.ratio.values
    if ax is None:
        figure.set_size_inches(7.5, 4.8)
    ends = []
    for i, rule in enumerate(map(str, root.optimizer.values)):
        (color, mark), share = style_of(rule, i), root.performance_profile.sel(optimizer=rule).values
        every = max(1, len(ratio) // 6)
        panel.step(
            ratio, share, where="post", color=color, marker=mark, markevery=(i % every, every), label=shown(rule)
        )
        ends.append((shown(rule), float(ratio[-1]), float(share[-1]), color))
    panel.set(
        xscale="log",
        ylim=(-0.03, 1.05),
        xlabel="cost, in times that of the best rule",
        ylabel="share of objectives and targets",
    )
    name_lines(panel, ends, direct=False)
    first = root.performance_profile.isel(ratio=0)
    leader = str(root.optimizer.values[int(first.values.argmax())])
    words = f"{shown(leader)} is the cheapest on {float(first.max()):.0%} of objectives and targets"
    about = f"{study_name(root)}: each rule at its best, up to {written(ratio[-1])} times the least cost"
    set_title(figure, axes, ax, title or words, about)
    return figure
