"""Tables of what budgets of gradient evaluations buy."""

import numpy as np
import xarray as xr

from biasvar.notation import with_error
from biasvar.rows import Table
from biasvar.studies.base import nodes_of

ERRORS = ("approximation_error", "estimation_error", "optimization_error")
JUDGED = "excess risk: on blocks that did not choose; agree: share of the choices with one block left out that agree"
HEADER = ("optimizer", "batch", "noise", "budget", "best n_train", "configuration", "excess risk", "agree")


def budget_table(tree: xr.DataTree) -> Table:
    """Lay out a tradeoff study's summary: for each budget the best training-set size, and its three errors.

    The excess risk is judged on blocks that did not choose; the errors are those of all blocks, and add up to theirs.
    Digits in parentheses are standard errors in the last place, ``?`` stands for a number that has none.

    Parameters
    ----------
    tree : xarray.DataTree
        What :func:`biasvar.run` or :func:`biasvar.open` returned.
    """
    nodes = {path: node.load() for path, node in nodes_of(tree).items()}
    root = nodes.pop("")
    rows = [
        [path, *_row(root, node.sel(batch_size=size, noise=noise, budget=budget))]
        for path, node in nodes.items()
        for size in node.batch_size.values
        for noise in node.noise.values
        for budget in node.budget.values
    ]
    header = [*HEADER, *(name.removesuffix("_error") for name in ERRORS)]
    return Table(header, rows, left=(0, 5), title="best n_train for each budget of gradients", notes=[JUDGED])


def _row(root: xr.Dataset, cells: xr.Dataset) -> list[str]:
    """Return what there is to say of one batch size, noise level and budget."""
    size = int(cells.batch_size)
    start = ["all" if size == 0 else str(size), f"{float(cells.noise):g}", str(int(cells.budget))]
    if np.isnan(cells.best_n_train):
        return [*start, "none", *["-"] * 6]
    axes = [str(dim) for dim in cells.excess_risk.dims]
    best = cells.sel({axis: float(cells[f"best_{axis}"]) for axis in axes})
    given = [f"{axis}={float(best[axis]):.3g}" for axis in axes if axis != "n_train" and cells.sizes[axis] > 1]
    there = root.sel(n_train=best.n_train, noise=best.noise)
    errors = [(there if name in there else best, name) for name in ERRORS]
    return [
        *start,
        str(int(best.n_train)),
        ", ".join(given) or "the only one",
        with_error(float(cells.best_excess_risk), float(cells.best_excess_risk_se)),
        f"{float(cells.best_share):.0%}",
        *(with_error(float(node[name]), float(node[f"{name}_se"])) for node, name in errors),
    ]
