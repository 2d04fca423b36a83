"""What figures of cells share: which are drawn where nobody chose, and what is said of them."""

import json
import re
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import xarray as xr

from biasvar.errors import BiasvarError
from biasvar.studies.base import error_name
from biasvar.views.figures import GREY, ORANGE, SIGMA, SKY
from biasvar.views.findings import short, who_leads

#: What risks may be sums of, from the bottom up: variables, names and colours.
PARTS = (
    ("irreducible_risk", "noise", GREY),
    ("bayes_risk", "Bayes risk", GREY),
    ("bias2", "bias²", ORANGE),
    ("bias", "bias", ORANGE),
    ("bias2_plus_noise", "bias² + noise", ORANGE),
    ("variance", "variance", SKY),
)
NO_WIDTH = "\u200b"
MOST_LETTERS = 24  # of a name in a figure: tables have all of it
ROUNDING = 1e-12  # of the largest value
MOST_PANELS = 5  # side by side
NEARLY_ALL = 0.8  # of cells that are finite, where nobody chose


def selected(
    summary: xr.Dataset, labels: dict[str, Any], keep: Collection[str], of: str = "expected_risk"
) -> xr.Dataset:
    """Select cells by labels: dimensions to keep stay, of each other one label is left.

    Where none is given that is, of noise levels, the highest at which nearly all cells are finite; of training-set
    sizes the least; of others the first. :func:`about` says so.

    Parameters
    ----------
    summary : xarray.Dataset
        A node of a summary.
    labels : dict
        By dimension, a label or several.
    keep : collection of str
        Dimensions that the figure draws.
    of : str
        The variable whose dimensions they are.

    Raises
    ------
    BiasvarError
        If a label is unknown.
    """
    for axis, label in labels.items():
        if axis not in summary.dims:
            raise BiasvarError(
                f"{axis}: is no dimension of the summary; choose from {', '.join(map(str, summary.dims))}"
            )
        if unknown := [value for value in np.ravel(label).tolist() if value not in summary[axis].values]:
            raise BiasvarError(
                f"{axis}={unknown[0]!r} is not in the summary; choose from {summary[axis].values.tolist()}"
            )
    cells = summary.sel(labels).compute()
    choices = {}
    # Noise first: sizes are looked through at that level.
    for axis in sorted(map(str, cells[of].dims), key=lambda dim: dim != "noise"):
        if axis not in keep:
            known = cells[axis].values.tolist()
            cells = cells.isel({axis: _telling(cells[of], axis)})
            if len(known) > 1:
                choices[axis] = known
    missing = [axis for axis in keep if axis in cells.coords and cells[axis].ndim == 0]
    found = cells.expand_dims(missing) if missing else cells
    return found.assign_attrs(choices=choices, left_out=[])


def _telling(values: xr.DataArray, axis: str) -> int:
    """Return which label along a dimension tells most, where nobody chose."""
    rest = tuple(i for i, dim in enumerate(values.dims) if dim != axis)
    share = np.isfinite(values.values).mean(axis=rest)
    places = np.flatnonzero(share >= NEARLY_ALL)
    if axis not in ("n_train", "noise") or not places.size:
        return 0
    known = values[axis].values[places]
    return int(places[known.argmax() if axis == "noise" else known.argmin()])


def few(cells: xr.Dataset, axis: str, best: Sequence[int] = (), most: int = MOST_PANELS) -> xr.Dataset:
    """Leave at most so many labels of a dimension: the best ones, the first and last, others evenly between."""
    count = cells.sizes[axis]
    if count <= most:
        return cells
    even = np.linspace(0, count - 1, most - len(best)).round().astype(int)
    places = sorted({*even.tolist(), *best})
    left_out = [*cells.attrs["left_out"], f"{len(places)} of {count} {PLURALS.get(axis, axis)}"]
    return cells.isel({axis: places}).assign_attrs(left_out=left_out)


def least(cells: xr.Dataset, of: str = "expected_risk") -> list[int]:
    """Return the place of the hypothesis set with the least of a variable; none if none is finite."""
    values = cells[of].values
    return [int(np.nanargmin(np.where(np.isfinite(values), values, np.nan)))] if np.isfinite(values).any() else []


PLURALS = {"hypothesis": "sets", "n_train": "sizes", "noise": "noise levels"}


def about(cells: xr.Dataset, of: str = "expected_risk") -> str:
    """Say of what a figure is: the study, what was selected, by whom, and how large errors are."""
    words = [*_said(cells), *cells.attrs.get("left_out", ())]
    error = float(error_of(cells, of).max())
    name = cells[of].attrs.get("short_name", of).removeprefix("expected ")
    # What is left of rounding has no error worth the name.
    there = error > ROUNDING * float(abs(cells[of]).where(np.isfinite(cells[of])).max())
    sizes = f"standard errors of the {name} at most {error:.1g}" if there else f"no Monte-Carlo error in the {name}"
    unknown = "" if "status" not in cells or (cells.status == "ok").all() else "; none where hollow, ? or infinite"
    return f"{study_name(cells)}: {', '.join([*words, sizes])}{unknown}"


def _said(cells: xr.Dataset) -> list[str]:
    """Write the labels of which one is left; of which others, if it was not asked for."""
    choices, words = cells.attrs.get("choices", {}), []
    for axis in dict.fromkeys(("n_train", "noise", *choices)):
        if axis in cells.coords and cells[axis].ndim == 0:
            of = f" (of {', '.join(map(label, choices[axis]))})" if axis in choices else ""
            words.append(f"{written(cells[axis])}{of}")
    return words


def written(coordinate: xr.DataArray) -> str:
    """Write one label with the name of its dimension."""
    name, value = str(coordinate.name), label(coordinate.item())
    if name == "noise":
        return f"noise {SIGMA} = {value}" if coordinate.attrs.get("units") == "y" else f"labels flipped: {value}"
    return f"{value} examples" if name == "n_train" else f"{name.replace('_', ' ')} {value}"


def parts_of(cells: xr.Dataset) -> list[tuple[str, str, str]]:
    """Return of what the risk of these cells is the sum, but for what is 0: variables, names and colours."""
    return [part for part in PARTS if part[0] in cells and (cells[part[0]] != 0).any()]


def error_of(cells: xr.Dataset, name: str) -> xr.DataArray:
    """Return the standard error that intervals are made of: over data sets, where one stands for a law."""
    return cells[error_name(cells[name])]


def units(values: xr.DataArray) -> str:
    """Write a variable's unit after its name."""
    unit = values.attrs.get("units", "1").replace("^2", "²")
    return "" if unit == "1" else f" ({unit})"


def label(value: str | float) -> str:
    """Write a label: numbers short, words as they are."""
    return shown(short(value))


def leading(cells: xr.Dataset) -> str:
    """Say for a title who errs least."""
    return _as_it_is(who_leads(cells))


def shown(name: object) -> str:
    """Write what users named as it is, of a long name both ends.

    Examples
    --------
    >>> shown("line"), shown("a line through the mean of all examples")
    ('line', 'a line through…l examples')
    """
    name = str(name)
    return _as_it_is(name if len(name) <= MOST_LETTERS else f"{name[: MOST_LETTERS - 10]}…{name[-10:]}")


def _as_it_is(words: str) -> str:
    """Write words so that there is no mathematics between dollars, and no name that a legend would leave out."""
    # Matplotlib's legends pass over what begins with an underscore.
    return re.sub("^_", f"{NO_WIDTH}_", words.replace("$", r"\$"))


def as_named(words: str) -> str:
    """Return the words of a figure as they are read: names in them as users wrote them.

    Examples
    --------
    >>> as_named(shown("_$5"))
    '_$5'
    """
    return words.replace(r"\$", "$").replace(NO_WIDTH, "")


def study_name(node: xr.Dataset) -> str:
    """Return what the study is called."""
    # A lazy summary carries no study.
    return shown(json.loads(node.attrs.get("study", "{}")).get("name", "a study"))
