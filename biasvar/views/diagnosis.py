"""Which error dominates, how sure that is, and what lowers it: cell by cell, from a summary alone."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from biasvar.errors import BiasvarError
from biasvar.studies.base import Summary, error_name, nodes_of, summary_of
from biasvar.views.findings import SURE, labelled

Array = NDArray[np.float64]
ROUNDING = 1e-12  # of the risk: a training error below it is zero
Scalar = TypeVar("Scalar", bound=np.generic)


class _Part(NamedTuple):
    """One of several errors that add up, in every cell."""

    name: str
    short_name: str
    value: Array
    error: Array
    remedy: NDArray[np.object_]


def diagnose(summary: Summary) -> Summary:
    r"""Tell which error dominates each cell of a summary, and what would lower it.

    Errors that add up to a total are compared: noise, bias and variance to the expected risk; approximation, estimation
    and optimization error to the excess risk. The largest dominates where it is above the second by more than 1.96
    standard errors of their difference. Of two parts :math:`a + b = t` and parts without error, that one is

    .. math:: \sigma_{a-b}^2 = 2 \sigma_a^2 + 2 \sigma_b^2 - \sigma_t^2,

    so that it is the error of a paired difference; with more than two uncertain parts it is at most
    :math:`\sigma_a + \sigma_b`, which is taken. Where the numbers cannot tell, where a number has no standard error and
    where the risk is infinite, nothing is said. A bias that is mostly above the error of the best in class is that of
    the fits, not of the set: it has another remedy. So has the variance of fits that pass through all examples: a few
    more of these, or a poorer set, may bring them nearer to where it is greatest.

    Parameters
    ----------
    summary : xarray.Dataset or xarray.DataTree
        What :func:`biasvar.run` or :func:`biasvar.open` returned.

    Returns
    -------
    xarray.Dataset or xarray.DataTree
        For each cell ``dominant`` (the variable's name; empty where not known), its ``share`` of the total, ``lead``
        over the next with ``lead_se``, ``remedy``, and all of it as a ``sentence``. Of a tree the nodes that have such
        errors.

    Raises
    ------
    BiasvarError
        If the summary has no errors that add up, as those of optimizer and convexity studies.

    References
    ----------
    L. Bottou and O. Bousquet, The tradeoffs of large scale learning, 2008.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.RiskStudy(
    ...     name="two-points", target=bv.Sine(), inputs=bv.Uniform(-1, 1), n_train=[2], replicates=2**12, block_size=64,
    ...     hypotheses={"H0": bv.Polynomial(0), "H1": bv.Polynomial(1)},
    ... )
    >>> for sentence in diagnose(bv.lazy(study).compute()).sentence.values.ravel():
    ...     print(sentence)
    H0, n_train 2, noise 0: 67 % is bias2; a richer set would lower it
    H1, n_train 2, noise 0: 89 % is variance; many more examples, or a set that is held tighter, would lower it
    """
    if not (found := diagnosed(summary)):
        raise BiasvarError(
            "diagnose: this summary has no errors that add up to a risk; it needs that of a study of risks, "
            "classification, tradeoffs or data"
        )
    return summary_of(found)


def diagnosed(summary: Summary) -> dict[str, xr.Dataset]:
    """Return what :func:`diagnose` tells, by path, of the nodes that have errors that add up."""
    nodes = {path: node.load() for path, node in nodes_of(summary).items()}
    return {
        path: _diagnosis(node, total, list(_parts(path, nodes)))
        for path, node in nodes.items()
        if (total := _total(path, nodes))
    }


def _total(path: str, nodes: Mapping[str, xr.Dataset]) -> str:
    """Return the name of what the errors of a node add up to; empty if nothing."""
    node = nodes[path]
    totals = {str(variable.attrs["part_of"]) for variable in node.data_vars.values() if "part_of" in variable.attrs}
    return next((total for total in sorted(totals) if total in node), "")


def _parts(path: str, nodes: Mapping[str, xr.Dataset]) -> Iterator[_Part]:
    """Yield the errors that add up in a node: its own, and those of the root, which all nodes share."""
    node, total = nodes[path], _total(path, nodes)
    for source in (nodes[""], node) if path else (node,):
        for name, variable in source.data_vars.items():
            if variable.attrs.get("part_of") == total:
                error = source[error_name(variable)]
                cells = [found.broadcast_like(node[total]).transpose(*node[total].dims) for found in (variable, error)]
                remedy = _remedy(source, str(name)).broadcast_like(node[total]).transpose(*node[total].dims)
                short = str(variable.attrs.get("short_name", name))
                yield _Part(str(name), short, cells[0].values, cells[1].values, remedy.values)


def _remedy(node: xr.Dataset, name: str) -> xr.DataArray:
    """Return what lowers an error in each cell; where it is mostly above its floor, what brings fits nearer to that."""
    said = node[name].attrs
    remedy = xr.full_like(node[name], str(said.get("remedy", "")), dtype=object)
    if said.get("zero") in node:
        passed = abs(node[said["zero"]]) <= ROUNDING * abs(node[said["part_of"]])
        remedy = remedy.where(~passed, str(said["through"]))
    if "floor" not in said:
        return remedy
    floor, error = node[said["floor"]], node[f"{name}_se"] + node[f"{said['floor']}_se"]
    return remedy.where(~(node[name] - 2 * floor > SURE * error), str(said["nearer"]))


def _diagnosis(node: xr.Dataset, total_name: str, parts: list[_Part]) -> xr.Dataset:
    """Compare the parts of each cell."""
    total = node[total_name]
    values, errors = np.stack([part.value for part in parts]), np.stack([part.error for part in parts])
    order = np.argsort(np.where(np.isfinite(values), values, -np.inf), axis=0)
    first, second = order[-1][np.newaxis], order[-2][np.newaxis]
    with np.errstate(invalid="ignore", divide="ignore"):  # what is infinite has no difference, a risk of zero no shares
        lead = _pick(values, first) - _pick(values, second)
        share = _pick(values, first) / total.values
        lead_se = _error_of_difference(errors, first, second, node[error_name(total)].values)
    sure = np.isfinite(values).all(axis=0) & (node.status == "ok").values & (lead > SURE * lead_se)
    names = np.array([part.name for part in parts], dtype=object)
    remedies = np.stack([part.remedy for part in parts])
    dims = total.dims
    out = xr.Dataset(
        {
            "dominant": (dims, np.where(sure, names[first[0]], ""), {"long_name": "the error that dominates"}),
            "share": (dims, np.where(sure, share, np.nan), {"long_name": "its share"}),
            "lead": (dims, lead, {"long_name": "by how much it is above the next", "units": total.attrs["units"]}),
            "lead_se": (dims, lead_se, {"long_name": "standard error of lead", "units": total.attrs["units"]}),
            "remedy": (dims, np.where(sure, _pick(remedies, first), ""), {"long_name": "what would lower it"}),
        },
        {name: node[name] for name in dims},
    )
    short = dict(zip(names, [part.short_name for part in parts], strict=True))
    out["sentence"] = (dims, _sentences(out, short), {"long_name": "all of it, in words"})
    return out


def _pick(values: NDArray[Scalar], place: NDArray[np.intp]) -> NDArray[Scalar]:
    picked: NDArray[Scalar] = np.take_along_axis(values, place, axis=0)[0]
    return picked


def _error_of_difference(errors: Array, first: NDArray[np.intp], second: NDArray[np.intp], of_total: Array) -> Array:
    """Return the standard error of the difference between two parts, from those of all and of their sum."""
    one, other = _pick(errors, first), _pick(errors, second)
    rest = np.sqrt(np.maximum((errors**2).sum(axis=0) - one**2 - other**2, 0))
    square = 2 * one**2 + 2 * other**2 - of_total**2
    paired = np.sqrt(np.clip(square, (one - other) ** 2, (one + other) ** 2))
    # Of what is exact but for quadrature and rounding, the sum says next to nothing.
    alone = rest <= 1e-2 * np.maximum(one, other)
    found: Array = np.where(alone, paired, one + other)
    return found


def _sentences(found: xr.Dataset, short: Mapping[str, str]) -> NDArray[np.object_]:
    sentences = np.full(found.dominant.shape, "", dtype=object)
    for at in np.ndindex(sentences.shape):
        cell = found.isel(dict(zip(found.dominant.dims, at, strict=True)))
        if name := str(cell.dominant.item()):
            where = labelled(cell, found.dominant.dims)
            remedy = str(cell.remedy.item())
            lowered = f"{remedy} would lower it" if remedy else "no fit can lower it"
            sentences[at] = f"{where}: {_share(float(cell.share))} is {short[name]}; {lowered}"
    return sentences


def _share(share: float) -> str:
    return f"{share:.0%}".replace("%", " %")
