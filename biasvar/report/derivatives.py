"""Checks of derivatives as a table and as a figure."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from biasvar.report.figures import BLUE, GREEN, GREY, VERMILION, new_panels
from biasvar.rows import align

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEAD = ("objective", "what", "comparisons", "agrees to", "could see", "verdict")
NAMES = ("f(x + t v) - f(x)", "- t g'v", "- t² v'Hv / 2")


def table(found: Mapping[str, xr.Dataset]) -> str:
    """Lay out checks of derivatives, a row for each thing that was compared; what is wrong where stands below.

    ``agrees to`` is the largest relative difference, ``could see`` the relative error that would have been seen.

    Parameters
    ----------
    found : mapping of str to xarray.Dataset
        What :func:`biasvar.check_derivatives` returned, by the objective's label.

    Examples
    --------
    >>> import biasvar as bv
    >>> table({"valley": bv.check_derivatives(bv.Rosenbrock())}).splitlines()[2].split()[:3]
    ['valley', 'gradient', '32']
    """
    rows: list[tuple[str, ...]] = [HEAD]
    notes = []
    for label, checked in found.items():
        for row in as_json({label: checked}):
            rows.append(_cells(row))
            if row["reason"]:
                notes.append(f"{label}.{row['what']}: {row['reason']}")
    return "\n".join([*align(rows, left=(0, 1, 5)), *notes])


def as_json(found: Mapping[str, xr.Dataset]) -> list[dict[str, Any]]:
    """Return the rows of that table as JSON; a number that does not exist is null."""
    rows = []
    for label, checked in found.items():
        for i in range(checked.sizes["what"]):
            row = {str(name): checked[name].values[i] for name in checked.data_vars if checked[name].dims == ("what",)}
            numbers = {name: _plain(value) for name, value in row.items()}
            rows.append({"objective": label, "what": str(checked.what.values[i])} | numbers)
    return rows


def _plain(value: Any) -> Any:
    plain = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(plain, float) and not np.isfinite(plain) else plain


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    numbers = ("-" if row[name] is None else f"{row[name]:.1e}" for name in ("error", "resolution"))
    return (row["objective"], row["what"], str(row["comparisons"]), *numbers, row["verdict"])


def remainders(found: Mapping[str, xr.Dataset]) -> "Figure":
    """Draw what Taylor's polynomials leave of a function along a line, against the step, on logarithmic axes.

    With right derivatives the lines fall with slopes 1, 2 and 3, until they meet what noise in the values leaves; a
    line with the slope of the one before shows a wrong gradient or Hessian. Dotted lines have those slopes.

    Parameters
    ----------
    found : mapping of str to xarray.Dataset
        What :func:`biasvar.check_derivatives` returned, a panel for each.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.
    """
    figure, axes = new_panels(1, len(found), sharey=True)
    for panel, (label, checked) in zip(axes[0], found.items(), strict=True):
        _draw(panel, checked)
        panel.set_title(f"{label}: {_verdict(checked)}")
        panel.set_xlabel("step t")
    axes[0, 0].set_ylabel("remainder")
    axes[0, 0].legend(loc="lower right", fontsize="small")
    return figure


def _draw(panel: "Axes", checked: xr.Dataset) -> None:
    t = checked.step.values
    shown = checked.remainder.where(checked.remainder > 0)
    for i, color in zip(range(shown.sizes["order"]), (BLUE, GREEN, VERMILION), strict=False):
        order, slope = int(checked.order[i]), float(checked.slope[i])
        power = "" if np.isnan(slope) else f": slope {slope:.2f}"
        panel.loglog(t, shown[i], color=color, marker=".", label=f"{NAMES[i]}{power}")
        panel.loglog(t, _guide(shown.values[i], t, order), color=color, linestyle=":", linewidth=0.8)
    floor = float(checked.floor)
    panel.axhline(floor, color=GREY, linestyle="--", label="noise in values")
    highest = float(shown.max())
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
