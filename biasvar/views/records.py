"""A summary's cells as records: all numbers, in full, for other programs."""

import csv
import io
from typing import Any

import numpy as np

from biasvar.studies.base import Summary, nodes_of


def records(summary: Summary) -> list[dict[str, Any]]:
    """Return one record per cell, by names: its labels, and all numbers that it has, of curves of steps the last.

    In a tree each also has the ``path`` of its node. A cell is what has a status.

    Parameters
    ----------
    summary : xarray.Dataset or xarray.DataTree
        What :func:`biasvar.run` or :func:`biasvar.open` returned.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.RiskStudy(
    ...     name="mean", target=bv.Sine(), inputs=bv.Uniform(-1, 1), hypotheses={"H0": bv.Polynomial(0)}, n_train=[4],
    ...     replicates=256, block_size=16,
    ... )
    >>> [cell] = records(bv.lazy(study).compute())
    >>> cell["hypothesis"], cell["n_train"], cell["status"], round(cell["bias2"], 2)
    ('H0', 4, 'ok', 0.5)
    """
    cells = []
    for path, node in nodes_of(summary).items():
        if "status" not in node:
            continue
        axes = node.status.dims
        looks = [dim for dim in node.dims if dim in node and node[dim].attrs.get("shown") == "last"]
        last = node.isel(dict.fromkeys(looks, -1)).compute()
        # What is said of several cells at once is said of each.
        known = {str(name): set(variable.dims) for name, variable in last.data_vars.items()}
        names = sorted(name for name, dims in known.items() if dims and dims <= set(axes))
        for index in np.ndindex(node.status.shape):
            cell = last.isel(dict(zip(axes, index, strict=True)))
            labels = {str(axis): cell[axis].item() for axis in axes} | ({"path": path} if path else {})
            cells.append(labels | {name: cell[name].item() for name in names})
    return cells


def as_csv(summary: Summary) -> str:
    """Write the records of a summary as comma-separated values, under one line of names."""
    found = records(summary)
    names = list(dict.fromkeys(name for cell in found for name in cell))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return text.getvalue().rstrip("\n")
