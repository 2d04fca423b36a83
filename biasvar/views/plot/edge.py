"""The figure of sharpness along descents: the edge of stability."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from biasvar.studies.base import nodes_of
from biasvar.views.figures import BLACK, INK, LINES, name_lines, panels_or_given, set_title
from biasvar.views.plot.cells import MOST_PANELS, shown, study_name
from biasvar.views.plot.doors import made_of
from biasvar.views.plot.optimizers import configured, nodes_with, set_heights, set_steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]


@made_of("sharpness", "sharpness_se", "objective", "learning_rate", dims=("step", "learning_rate"))
def sharpness(
    tree: xr.DataTree,
    *,
    objective: str | None = None,
    optimizer: str | None = None,
    ax: None = None,
    title: str | None = None,
    **sel: object,
) -> "Figure":
    """Draw J and the sharpness along descents, for each learning rate e: on a quadratic 2 / e is the edge of stability.

    Parameters
    ----------
    tree : xarray.DataTree
        Summary of an optimizer study that recorded ``sharpness``.
    objective, optimizer : str, optional
        Which; the first that has it unless given.
    ax : None
        There are always two panels.
    title : str, optional
        What stands above, instead of what the numbers say.
    **sel : labels
        Values of hyperparameters but the learning rate; the best unless given.

    Raises
    ------
    BiasvarError
        If the summary lacks one of these.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.OptimizerStudy(
    ...     name="bowl", objectives={"bowl": bv.Quadratic([1, 10])}, optimizers={"sgd": bv.SGD([0.01, 0.1])},
    ...     steps=50, replicates=2, record=["objective", "sharpness"],
    ... )
    >>> figure = bv.plot.sharpness(bv.lazy(study).compute())
    >>> figure.get_suptitle()
    'Sharpness ends at 0.5 of 2 / learning rate at rate 0.1, at 0.05 at 0.01'
    """
    name, rules = next(iter(nodes_with(tree, "sharpness", objective, optimizer).items()))
    rule, node = next(iter(rules.items()))
    _, best = configured(node, sel)
    cells = node.sel({axis: value for axis, value in best.items() if axis != "learning_rate"}).compute()
    figure, axes = panels_or_given(ax, 1, 2)
    figure.set_size_inches(11, 4.8)
    (left, right), rates = axes[0], _some(cells.learning_rate.values)
    left.set_ylabel("objective J")
    keep, ends = set_heights(left, cells.objective), []
    for rate, (color, mark) in zip(rates, LINES, strict=False):
        cell = cells.sel(learning_rate=rate)
        _draw(left, cell.step, keep(cell.objective), cell.objective_se, color, mark, f"{rate:g}")
        edge = cell.sharpness * rate / 2
        _draw(right, cell.step, edge.values, cell.sharpness_se * rate / 2, color, mark, f"{rate:g}")
        if np.isfinite(edge[-1]):
            ends.append((f"{rate:g}", float(cell.step[-1]), float(edge[-1]), color))
    right.axhline(1.0, color=BLACK, linestyle="--", linewidth=1)
    right.text(0.3, 1.02, "sharpness = 2 / learning rate", va="bottom", fontsize="small", color=INK)
    right.set(ylabel="sharpness \N{MULTIPLICATION SIGN} learning rate / 2")
    for panel in (left, right):
        set_steps(panel)
    right.set_ylim(bottom=0)
    name_lines(right, ends)
    some = (
        f"{len(rates)} of {cells.sizes['learning_rate']} learning rates"
        if len(rates) < cells.sizes["learning_rate"]
        else "a line for each learning rate"
    )
    about = f"{study_name(nodes_of(tree)[''])}: {shown(name)} by {shown(rule)}; {some}; bands: one standard error"
    set_title(figure, axes, ax, title or _at_edge(cells, rates), about)
    return figure


def _some(rates: Array) -> list[float]:
    """Return at most a few learning rates, evenly."""
    places = np.unique(np.linspace(0, len(rates) - 1, min(len(rates), MOST_PANELS)).round().astype(int))
    return [float(rate) for rate in rates[places]]


def _draw(panel: "Axes", step: Array, value: Array, error: Array, color: str, mark: str, name: str) -> None:
    width = np.nan_to_num(np.asarray(error))
    panel.fill_between(step, value - width, value + width, color=color, alpha=0.25, linewidth=0)
    panel.plot(step, value, color=color, marker=mark, markevery=max(1, len(step) // 8), markersize=5, label=name)


def _at_edge(cells: xr.Dataset, rates: list[float]) -> str:
    """Say how near the edge each of the outermost learning rates ends."""
    ends = {rate: float(cells.sharpness.sel(learning_rate=rate)[-1]) * rate / 2 for rate in (rates[0], rates[-1])}
    low, high = (f"{ends[rate]:.2g}" for rate in (rates[0], rates[-1]))
    if rates[0] == rates[-1]:
        return f"Sharpness ends at {high} of 2 / learning rate"
    return f"Sharpness ends at {high} of 2 / learning rate at rate {rates[-1]:g}, at {low} at {rates[0]:g}"
