"""A summary as Zarr has it: its files, its nodes opened again, its digest."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from zarr.storage import MemoryStore

from biasvar.execution.backends import Location
from biasvar.studies.base import Summary, nodes_of


def encoded(nodes: Mapping[str, xr.Dataset]) -> dict[str, bytes]:
    """Return the files of a summary in Zarr."""
    draft: dict[str, Any] = {}
    for path, node in nodes.items():
        node.to_zarr(MemoryStore(draft), group=path or None, mode="a", consolidated=False, zarr_format=3)
    return {key: value.to_bytes() for key, value in draft.items()}


def opened(location: Location, path: str, order: Sequence[str]) -> xr.Dataset:
    """Open a node of the summary, its variables in this order; a store lists them in any."""
    node = xr.open_zarr(location.zarr, group=path or None, consolidated=False, chunks=None, zarr_format=3)
    # Zarr gives text back as numpy's StringDType, with which xarray cannot do all that it can with objects.
    labels = {name: node[name].astype(object) for name in node.coords if node[name].dtype.kind == "T"}
    labelled: xr.Dataset = node.assign_coords(labels)
    names = [*order, *(str(name) for name in labelled.variables if name not in order)]
    values, coordinates = (
        {name: labelled[name] for name in names if name in some} for some in (labelled.data_vars, labelled.coords)
    )
    return xr.Dataset(values, coordinates, labelled.attrs)


def summary_digest(summary: Summary) -> str:
    """Return the SHA-256 of a summary's values, by path and name."""
    total = hashlib.sha256()
    for path, node in sorted(nodes_of(summary).items()):
        for name in sorted(str(name) for name in node.variables):
            values = node[name].values
            total.update(f"{path}/{name}{values.shape}".encode())
            if values.dtype.kind in "OTU":
                total.update(json.dumps([str(v) for v in values.ravel()]).encode())
            else:
                if values.dtype.kind == "f":
                    values = np.where(np.isnan(values), np.nan, values)  # Zarr may give one NaN back for another
                total.update(np.ascontiguousarray(values).tobytes())
    return total.hexdigest()
