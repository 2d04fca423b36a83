"""Confidence intervals of whatever a study found, from its summary alone."""

import xarray as xr

from biasvar.errors import StudyError
from biasvar.montecarlo import intervals


def confidence_interval(summary: xr.Dataset | xr.DataTree, variable: str, level: float = 0.95) -> xr.Dataset:
    """Return the confidence interval of a variable of a summary, as variables ``low`` and ``high``.

    Student's, with one degree of freedom less than there are independent blocks behind the standard error: those that
    the variable's attribute ``blocks`` names, and no more than its attribute ``at_most``, where sampled test points
    leave fewer. For squared biases it leans to the right, as their estimates do. NaN where there is no standard error.

    Parameters
    ----------
    summary : xarray.Dataset or xarray.DataTree
        What :func:`~biasvar.run` returned; of an optimizer study one node, such as ``tree["ravine/adam"]``.
    variable : str
        A variable with a standard error, for example ``"expected_risk"``.
    level : float
        Coverage.

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
    if f"{variable}_se" not in summary:
        raise StudyError(f"variable: {variable!r} has no standard error in this summary")
    if not 0 < level < 1:
        raise StudyError(f"level: expected a number between 0 and 1, got {level!r}")
    said = summary[variable].attrs
    given = [summary[variable], summary[f"{variable}_se"]]
    blocks = _blocks(summary, variable)
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
    return xr.Dataset({"low": low, "high": high}, attrs={"variable": variable, "level": level})


def _blocks(summary: xr.Dataset, variable: str) -> xr.DataArray:
    """Return how many independent blocks are behind a variable's standard error: a variable, or the length of a dim."""
    said = summary[variable].attrs
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
