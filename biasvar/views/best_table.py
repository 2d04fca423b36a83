"""Tables of the best configuration of each objective and optimizer."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from biasvar.notation import with_error
from biasvar.rows import Table
from biasvar.views.best import descents_of, labels_of_best

COST = "cost: gradient evaluations, the median over replicates; reached: share of replicates"
AGREE = "agree: share of the replicates that, left out of the choice, leave it as it is"
SHARES = "diverged, failed: shares of the whole grid"


def best_tables(tree: xr.DataTree) -> list[Table]:
    """Lay out an optimizer study's summary: tables of the best configuration of each objective and optimizer.

    What is best is said above each table: the cheapest to a target, one table a target, then the one with the lowest
    objective J at the last step. Costs are gradient evaluations, medians over replicates. J has its standard error in
    the last digits in parentheses; where it chose the configuration, it is judged on replicates that did not choose.

    Parameters
    ----------
    tree : xarray.DataTree
        What :func:`biasvar.run` or :func:`biasvar.open` returned.
    """
    nodes = descents_of(tree)
    targets = max(node.sizes.get("target", 0) for node in nodes.values())
    step = int(next(iter(nodes.values())).step[-1])
    return [*(_cheapest_table(nodes, target, step) for target in range(targets)), _lowest_table(tree, nodes, step)]


def _cheapest_table(nodes: Mapping[str, xr.Dataset], target: int, step: int) -> Table:
    head = ["objective", "optimizer", "configuration", "target J", "cost", "reached", f"J at step {step}"]
    rows = [[*path.split("/"), *_cheapest(node, target)] for path, node in nodes.items()]
    return Table(head, rows, left=(0, 1, 2), title=f"cheapest to {_goal(nodes, target)}", notes=[COST])


def _goal(nodes: Mapping[str, xr.Dataset], target: int) -> str:
    """Name a target by its value, where it is the same for all."""
    values = {float(node.target_value[target]) for node in nodes.values()}
    return f"J = {values.pop():g}" if len(values) == 1 else f"target {target + 1}"


def _lowest_table(tree: xr.DataTree, nodes: Mapping[str, xr.Dataset], step: int) -> Table:
    head = ["objective", "optimizer", "configuration", "J", "agree", "diverged", "failed"]
    rows = [[*path.split("/"), *_lowest(node)] for path, node in nodes.items()]
    bends = [
        f"{name}: {note}"
        for name, objective in tree.children.items()
        for note in str(objective.attrs.get("notes", "")).splitlines()
    ]
    title = f"lowest objective J at the last step, {step}"
    return Table(head, rows, left=(0, 1, 2), title=title, notes=[f"{AGREE}; {SHARES}", *bends])


def _cheapest(node: xr.Dataset, target: int) -> list[str]:
    """Return the configuration that is the cheapest to a target: settings, target, cost, share of replicates, J."""
    labels, goal = labels_of_best(node, target=target), f"{float(node.target_value[target]):g}"
    if not labels:
        return ["none reached it", goal, "-", "-", "-"]
    cell = node.sel(labels).isel(step=-1, target=target)
    value = _objective(float(cell.objective), float(cell.objective_se)) if "objective" in cell else "-"
    cost, share = f"{float(cell.median_cost_to_target):g}", f"{float(cell.reached_share):.0%}"
    return [_settings(node, labels), goal, cost, share, value]


def _lowest(node: xr.Dataset) -> list[str]:
    """Return the configuration that is lowest at the end: settings, J, share of choices that agree; what went wrong."""
    labels, last = labels_of_best(node), node.isel(step=-1)
    wrong = [f"{float((node.outcome == outcome).mean()):.0%}" for outcome in ("diverged", "failed")]
    if not labels:
        return [f"none: all {'failed' if (node.status == 'failed').all() else 'diverged or failed'}", "-", "-", *wrong]
    value = _objective(float(last.best_objective), float(last.best_objective_se))
    share = float(last.best_share)
    return [_settings(node, labels), value, "-" if np.isnan(share) else f"{share:.0%}", *wrong]


def _settings(node: xr.Dataset, labels: Mapping[str, float]) -> str:
    """Write the hyperparameters that differ over the grid."""
    written = {name: f"{value:.3g}" for name, value in labels.items()}
    if labels["batch_size"] == 0:
        written["batch_size"] = "all"
    return ", ".join(f"{name}={value}" for name, value in written.items() if node.sizes[name] > 1) or "the only one"


def _objective(value: float, error: float) -> str:
    """Write an objective; that of a single replicate is what one descent reached, though not what others would."""
    return f"{value:.4g}(?)" if np.isfinite(value) and np.isnan(error) else with_error(value, error, powers=True)
