"""Checks of derivatives as a table."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from biasvar.rows import align

HEAD = ("objective", "what", "comparisons", "agrees to", "could see", "verdict")


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


def _plain(value: object) -> Any:
    plain = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(plain, float) and not np.isfinite(plain) else plain


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    numbers = ("-" if row[name] is None else f"{row[name]:.1e}" for name in ("error", "resolution"))
    return (row["objective"], row["what"], str(row["comparisons"]), *numbers, row["verdict"])
