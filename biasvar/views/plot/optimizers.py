"""What figures of optimizer studies share: which nodes and configurations are drawn, in which colours."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from biasvar.errors import BiasvarError
from biasvar.studies.base import Summary, nodes_of
from biasvar.views.best import labels_of_best
from biasvar.views.figures import BLACK, BLUE, GREEN, LINES, ORANGE, SKY, VERMILION, finite
from biasvar.views.plot.cells import ROUNDING
from biasvar.views.plot.cells import label as written

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: An update rule has one colour and mark in every figure.
STYLES = {
    "sgd": (BLACK, "o"),
    "momentum": (BLUE, "s"),
    "nesterov": (SKY, "D"),
    "adagrad": (ORANGE, "^"),
    "rmsprop": (GREEN, "v"),
    "adam": (VERMILION, "P"),
}
BANDS = "lines: medians over random starts; bands: from the first to the third quartile"
MOST_TICKS = 8
FIRST_STEPS = 10  # up to which the axis of steps is linear, so that step 0 is where it is

Array = NDArray[np.float64]
Nodes = dict[str, dict[str, xr.Dataset]]


def nodes_with(summary: Summary, variable: str, objective: str | None = None, optimizer: str | None = None) -> Nodes:
    """Return the nodes that have a variable, by objective and optimizer.

    Raises
    ------
    BiasvarError
        If there is no such objective or optimizer.
    """
    found: Nodes = {}
    for path, node in nodes_of(summary).items():
        if variable in node.variables:
            first, _, rest = path.partition("/")
            found.setdefault(first, {})[rest] = node
    found = _only(found, "objective", objective)
    return {first: _only(nodes, "optimizer", optimizer) for first, nodes in found.items()}


def _only(known: dict[str, Any], what: str, name: str | None) -> dict[str, Any]:
    if name is not None and name not in known:
        raise BiasvarError(f"{what}: {name!r} is not in the summary; choose from {', '.join(known)}")
    return known if name is None else {name: known[name]}


def in_plane(node: xr.Dataset) -> bool:
    """Tell whether a node has paths of two parameters."""
    return "parameters" in node and node.sizes["parameter"] == 2


def over_plane(value: Callable[[Array], Array], across: Array, along: Array) -> Array:
    """Evaluate a function of two parameters on a grid, for contours: shape (along, across)."""
    mesh = np.stack(np.meshgrid(across, along), axis=-1).reshape(-1, 2)
    return np.asarray(value(mesh), float).reshape(len(along), len(across))


def signed_roots(values: Array) -> Array:
    """Return roots with the sign of what they are of: of these, contours show what is near zero, too."""
    roots: Array = np.copysign(np.sqrt(np.abs(values)), values)
    return roots


def configured(node: xr.Dataset, labels: Mapping[str, Any]) -> tuple[xr.Dataset, dict[str, float]]:
    """Select one configuration: the one of these labels, the best one of those that are left.

    The best is the first at the last target, where there are targets; else the lowest at the last step.

    Raises
    ------
    BiasvarError
        If a label is unknown.
    """
    axes = [str(name) for name in node.hyperparameter.values]
    asked = {axis: value for axis, value in labels.items() if axis in axes}
    for axis, value in asked.items():
        if value not in node[axis].values:
            raise BiasvarError(f"{axis}={value!r} is not in the summary; choose from {node[axis].values.tolist()}")
    best = (labels_of_best(node, target=-1) if "target" in node.dims else {}) or labels_of_best(node)
    if asked:
        left = node.objective.isel(step=-1).sel(asked)
        values = np.where(np.isfinite(left), left, np.inf)
        place = np.unravel_index(values.argmin(), values.shape)
        best = {str(axis): float(left[axis][i]) for axis, i in zip(left.dims, place, strict=True)} | asked
    if not best:  # every configuration diverged
        best = {axis: float(node[axis][0]) for axis in axes}
    return node.sel(best).compute(), best


def settings(node: xr.Dataset, chosen: Mapping[str, float]) -> str:
    """Write the hyperparameters of a configuration that differ over the grid."""
    return ", ".join(
        f"{name.replace('_', ' ')} {written(value)}" for name, value in chosen.items() if node.sizes.get(name, 1) > 1
    )


def style_of(label: str, place: int) -> tuple[str, str]:
    """Return colour and mark of an update rule, or those of a line of that number."""
    return STYLES.get(label, LINES[place % len(LINES)])


def varied(node: xr.Dataset) -> list[str]:
    """Return the hyperparameters with several values, those that matter most first."""
    last = node.total_sensitivity.isel(step=-1).values
    order = np.argsort(-np.nan_to_num(last), kind="stable")
    return [name for i in order if node.sizes.get(name := str(node.hyperparameter.values[i]), 1) > 1]


def set_steps(panel: "Axes", x: str = "steps") -> None:
    """Make the axis of steps: linear at first, for step 0 is where it is, then logarithmic."""
    panel.set_xscale("symlog", linthresh=FIRST_STEPS, linscale=0.5)
    panel.set_xlim(left=0)
    panel.set_xlabel(x)


def below_zero(values: ArrayLike) -> bool:
    """Tell whether finite numbers fall below zero, by more than rounding: as a saddle's do.

    Examples
    --------
    >>> below_zero([1.0, -0.5, np.nan]), below_zero([1.0, -1e-17]), below_zero([np.inf])
    (True, False, False)
    """
    found = np.asarray(values, float)
    found = found[np.isfinite(found)]
    return bool((found < -ROUNDING * np.abs(found).max(initial=0)).any())


def set_heights(panel: "Axes", values: ArrayLike) -> Callable[[ArrayLike], Array]:
    """Make the upright axis logarithmic, on both sides of zero if values fall below; return what leaves the rest out.

    To be called before anything is drawn: bands of nothing would leave limits that no logarithmic axis has.
    """
    if not below_zero(values):
        panel.set_yscale("log")
        return positive
    from matplotlib.ticker import SymmetricalLogLocator

    sizes = np.abs(finite(values))
    near = float(np.nanmedian(sizes[sizes > 0]))
    panel.set_yscale("symlog", linthresh=near)
    ticks = SymmetricalLogLocator(base=10, linthresh=near)
    ticks.set_params(numticks=MOST_TICKS)
    panel.yaxis.set_major_locator(ticks)
    return finite


def positive(values: ArrayLike) -> Array:
    """Return numbers with NaN for what a logarithmic axis cannot show."""
    found = np.asarray(values, float)
    return np.where(np.isfinite(found) & (found > 0), found, np.nan)
