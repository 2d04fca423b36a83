"""What summaries say, found from their numbers: which is least, how sure that is, in words for titles and tables."""

from collections.abc import Hashable, Iterable, Sequence

import numpy as np
import xarray as xr

from biasvar.notation import brief
from biasvar.studies.base import error_name

AXES = {"n_train": "training-set size"}  # in words
SURE = 1.96  # standard errors of a difference by which two cells are told apart, at 95 %


def labelled(cell: xr.DataArray | xr.Dataset, dims: Iterable[Hashable]) -> str:
    """Name one cell by its labels: words as they are, numbers with their axis."""
    labels = {dim: cell[dim].item() for dim in dims}
    return ", ".join(
        short(label) if isinstance(label, str) else f"{dim} {short(label)}" for dim, label in labels.items()
    )


def short(label: str | float) -> str:
    """Write a label: numbers short, words as they are."""
    return label if isinstance(label, str) else f"{label:g}"


def ranked(risk: xr.DataArray) -> list[str]:
    """Return the labels along a variable's only dimension, that of the least value first, without those not finite."""
    (axis,) = risk.dims
    return [label for label in risk.sortby(risk)[axis].values.tolist() if np.isfinite(risk.sel({axis: label}))]


def compared_axis(summary: xr.Dataset, name: str) -> str:
    """Return the dimension along which a variable's cells are compared, by its paired differences."""
    dims = summary[summary[name].attrs["compared_by"]].dims
    return str(dims[dims.index("versus") - 1])


def leaders(summary: xr.Dataset, name: str) -> xr.DataArray:
    """Tell which cells have the least of a variable, of those along one dimension, or cannot be told from it.

    Parameters
    ----------
    summary : xarray.Dataset
        With a variable of paired differences, which the attribute ``compared_by`` names.
    name : str
        The variable.
    """
    difference = summary[summary[name].attrs["compared_by"]]
    compared = compared_axis(summary, name)
    pairs = [
        found.sel(versus=summary[compared].values)  # of a selection, too
        for found in (difference, summary[error_name(difference)])
    ]
    others = [axis for axis in summary[name].dims if axis != compared]
    risk = summary[name].transpose(*others, compared)
    least = np.where(np.isfinite(risk), risk, np.inf).argmin(axis=-1)[..., np.newaxis, np.newaxis]
    more, error = (
        np.take_along_axis(found.transpose(*others, compared, "versus").values, least, axis=-1)[..., 0]
        for found in pairs
    )
    first = least[..., 0] == np.arange(risk.sizes[compared])
    found: xr.DataArray = np.isfinite(risk) & ((more <= SURE * error) | first)
    return found


def who_leads(summary: xr.Dataset, name: str = "expected_risk") -> str:
    """Say in a sentence which cells have the least of a variable; along at most one other dimension, how that changes.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.RiskStudy(
    ...     name="lines", target=bv.Sine(), inputs=bv.Uniform(-1, 1), replicates=256, block_size=16, n_train=[2, 20],
    ...     hypotheses={"H0": bv.Polynomial(0), "H1": bv.Polynomial(1)},
    ... )
    >>> who_leads(bv.lazy(study).compute().isel(noise=0))
    'H0 errs least at training-set size 2, H1 at 20'
    """
    found = leaders(summary, name)
    compared = compared_axis(summary, name)
    rest = [dim for dim in found.dims if dim != compared]
    if alone := {dim: 0 for dim in rest if found.sizes[dim] == 1}:
        return who_leads(summary.isel(alone), name)
    if not rest:
        return _alone(summary, name, found, compared)
    if len(rest) > 1 or not found.any(compared).all():
        return ""
    (dim,) = rest
    names = [" or ".join(map(str, cell[compared].values[cell.values])) for cell in found.transpose(dim, compared)]
    labels = [short(label) for label in found[dim].values.tolist()]
    return _ranges(names, labels, AXES.get(str(dim), str(dim)))


def _alone(summary: xr.Dataset, name: str, found: xr.DataArray, compared: str) -> str:
    """Say which is least, and by how much the next is above."""
    order = ranked(summary[name])
    if not order:
        return f"no {summary[name].attrs.get('short_name', name)} is finite"
    best = [str(label) for label in found[compared].values[found.values]]
    if len(best) > 1:
        return f"{', '.join(best[:-1])} and {best[-1]} cannot be told apart"
    numbers = [_number(summary, name, compared, label) for label in order[:2]]
    against = f" against {numbers[1]} ({order[1]})" if len(order) > 1 else ""
    return f"{order[0]} errs least: {numbers[0]}{against}"


def _number(summary: xr.Dataset, name: str, axis: str, label: str) -> str:
    """Write a number in as few digits as a title needs, fewer where its standard error is larger."""
    cell = summary.sel({axis: label})
    return brief(float(cell[name]), float(cell[f"{name}_se"]))


def _ranges(names: Sequence[str], labels: Sequence[str], dim: str) -> str:
    """Say who leads where: runs of the same name together."""
    starts = [i for i, name in enumerate(names) if i == 0 or names[i - 1] != name]
    if len(starts) == 1:
        return f"{names[0]} errs least at every {dim}"
    if len(starts) > 4:
        return ""
    parts: list[str] = []
    for start, stop in zip(starts, [*starts[1:], len(names)], strict=True):
        at = labels[start] if stop == start + 1 else f"{labels[start]} to {labels[stop - 1]}"
        parts.append(f"{names[start]} at {at}" if parts else f"{names[start]} errs least at {dim} {at}")
    return ", ".join(parts)
