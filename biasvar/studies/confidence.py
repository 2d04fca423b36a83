"""Confidence intervals of whatever a study found, from its summary alone."""

import xarray as xr

from biasvar.errors import StudyError
from biasvar.montecarlo import intervals
from biasvar.studies.base import error_name


def confidence_interval(
    summary: xr.Dataset | xr.DataTree, variable: str, level: float = 0.95, *, error: str | None = None
) -> xr.Dataset:
    """Return the confidence interval of a variable of a summary, as variables ``low`` and ``high``.

    Student's. The standard error is the variable that the variable's attribute ``error`` names, else ``<variable>_se``.
    There is one degree of freedom less than there are independent blocks behind it: those that the attribute ``blocks``
    names, the standard error's if it has one, else the variable's, and no more than ``at_most``, where sampled test
    points leave fewer. For squared biases it leans to the right, as their estimates do. NaN where there is no standard
    error.

    Parameters
    ----------
    summary : xarray.Dataset or xarray.DataTree
        What :func:`~biasvar.run` returned; of an optimizer study one node, such as ``tree["ravine/adam"]``.
    variable : str
        A variable with a standard error, for example ``"expected_risk"``.
    level : float
        Coverage.
    error : str, optional
        Another standard error of the summary. Intervals of a data study are those of the law, which other data sets
        would show; ``error="expected_risk_se"`` asks for that of the random cuts, which more replicates shrink.

    Returns
    -------
    xarray.Dataset
        ``low`` and ``high``, with the attributes ``variable``, ``level`` and ``error``.

    Raises
    ------
    StudyError
        If the summary has no such standard error, or does not say how many blocks are behind it.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.RiskStudy(
    ...     name="interval", target=bv.Sine(), inputs=bv.Uniform(-1, 1), hypotheses={"H0": bv.Polynomial(0)},
    ...     n_train=[10], replicates=2**14, block_size=2**10,
    ... )
    >>> bounds = confidence_interval(bv.lazy(study).compute(), "variance").squeeze()
    >>> bool(bounds.low < 0.05 < bounds.high)
    True
    """
    summary = summary.to_dataset() if isinstance(summary, xr.DataTree) else summary
    if variable not in summary:
        raise StudyError(f"variable: {variable!r} is not in this summary")
    known = error_name(summary[variable])
    if (error or known) not in summary:
        asked = f"error: {error!r} is not" if error else f"variable: {variable!r} has no standard error"
        raise StudyError(f"{asked} in this summary")
    error = error or known
    if not 0 < level < 1:
        raise StudyError(f"level: expected a number between 0 and 1, got {level!r}")
    said = summary[variable].attrs
    given = [summary[variable], summary[error]]
    blocks = _blocks(summary, variable, error)
    if "shift" in said:
        given.append(summary[said["shift"]])
    elif "shift_error" in said:
        given.append(summary[said["shift_error"]] ** 2)
    low, high = xr.apply_ufunc(
        intervals.interval if len(given) == 2 else intervals.square_interval,
        *given,
        blocks,
        kwargs={"level": level},
        output_core_dims=[[], []],
        dask="parallelized",
        output_dtypes=[float, float],
    )
    return xr.Dataset({"low": low, "high": high}, attrs={"variable": variable, "level": level, "error": error})


def _blocks(summary: xr.Dataset, variable: str, error: str) -> xr.DataArray:
    """Return how many independent blocks are behind a standard error: a variable, or the length of a dim."""
    said = summary[error if "blocks" in summary[error].attrs else variable].attrs
    name = said.get("blocks")
    if name in summary.dims:
        blocks = xr.DataArray(summary.sizes[name])
    elif name in summary:
        blocks = summary[name]
    else:
        raise StudyError(
            f"variable: {variable!r} does not say which variable or dim of this summary counts its blocks; "
            "give it an attribute 'blocks', and keep what that names"
        )
    return blocks.clip(max=said["at_most"]) if "at_most" in said else blocks
