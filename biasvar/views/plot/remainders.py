"""The figure of checked derivatives."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from biasvar.views.figures import BLUE, GREEN, GREY, VERMILION, panels_or_given, set_title
from biasvar.views.plot.cells import shown
from biasvar.views.plot.doors import made_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = ("f(x + t v) - f(x)", "- t g'v", "- t² v'Hv / 2")
ORDERS = ((BLUE, "o"), (GREEN, "s"), (VERMILION, "^"))


@made_of("remainder", "slope", "floor", "verdict", dims=("order", "step"))
def remainders(
    found: xr.Dataset | Mapping[str, xr.Dataset], *, ax: "Axes | None" = None, title: str | None = None
) -> "Figure":
    """Draw what Taylor's polynomials leave of a function along a line, against the step, on logarithmic axes.

    With right derivatives the lines fall with slopes 1, 2 and 3, until they meet what noise in the values leaves; a
    line with the slope of the one before shows a wrong gradient or Hessian. Dotted lines have those slopes.

    Parameters
    ----------
    found : xarray.Dataset, or mapping of str to Dataset
        What :func:`biasvar.check_derivatives` returned, a panel for each.
    ax, title
        See :mod:`biasvar.plot`.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> import biasvar as bv
    >>> figure = bv.plot.remainders(bv.check_derivatives(bv.Rosenbrock()))
    >>> figure.get_suptitle()
    'Derivatives agree with values'
    """
    each = {"f": found} if isinstance(found, xr.Dataset) else dict(found)
    figure, axes = panels_or_given(ax, 1, len(each), sharey=True)
    for panel, (label, checked) in zip(axes[0], each.items(), strict=True):
        _draw(panel, checked)
        panel.set_title(f"{shown(label)}: {_verdict(checked)}")
        panel.set_xlabel("step t")
        panel.legend(loc="upper left", fontsize="small", frameon=False)
    axes[0, 0].set_ylabel("remainder")
    if ax is None:
        figure.set_size_inches(2 + 4.2 * len(each), 4.6)
    about = "right derivatives leave remainders of slopes 1, 2 and 3 (dotted), down to the noise in the values (dashed)"
    set_title(figure, axes, ax, title or _verdicts(each), about)
    return figure


def _draw(panel: "Axes", checked: xr.Dataset) -> None:
    t = checked.step.values
    left = checked.remainder.where(checked.remainder > 0)
    for i, (color, mark) in zip(range(left.sizes["order"]), ORDERS, strict=False):
        order, slope = int(checked.order[i]), float(checked.slope[i])
        power = "" if np.isnan(slope) else f": slope {slope:.2f}"
        panel.loglog(t, left[i], color=color, marker=mark, markersize=4, label=f"{NAMES[i]}{power}")
        panel.loglog(t, _guide(left.values[i], t, order), color=color, linestyle=":", linewidth=1)
    floor = float(checked.floor)
    panel.axhline(floor, color=GREY, linestyle="--", linewidth=2, label="noise in values")
    highest = float(left.max())
    panel.set_ylim(floor / 100 if floor > 0 else None, 10 * highest if np.isfinite(highest) else None)


def _guide(row: np.ndarray[Any, Any], t: np.ndarray[Any, Any], order: int) -> np.ndarray[Any, Any]:
    """Return c t^order through the coarsest remainder that is there."""
    there = np.flatnonzero(np.isfinite(row))
    if not len(there):
        return np.full_like(t, np.nan)
    first = there[min(4, len(there) - 1)]
    guide: np.ndarray[Any, Any] = row[first] * (t / t[first]) ** order
    return guide


def _verdict(checked: xr.Dataset) -> str:
    verdicts = list(checked.verdict.values)
    return next((word for word in ("wrong", "cannot tell") if word in verdicts), "agrees")


def _verdicts(each: Mapping[str, xr.Dataset]) -> str:
    wrong = [shown(label) for label, checked in each.items() if _verdict(checked) == "wrong"]
    if wrong:
        return f"Derivatives of {', '.join(wrong)} are wrong"
    sure = sum(_verdict(checked) == "agrees" for checked in each.values())
    return (
        f"Derivatives of {sure} of {len(each)} functions agree with their values"
        if len(each) > 1
        else ("Derivatives agree with values" if sure else "Whether derivatives agree with values cannot be told")
    )
