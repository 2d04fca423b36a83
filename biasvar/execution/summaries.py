"""A summary as Zarr has it: its files, its nodes opened again, its digest."""

import hashlib
import json
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from biasvar.execution.backends import Location
from biasvar.execution.zarr_files import group_content, whole_array
from biasvar.studies.base import Summary, nodes_of


def encoded(nodes: Mapping[str, xr.Dataset]) -> dict[str, bytes]:
    """Return the files of a summary, by key; the root's own ``zarr.json`` is not among them."""
    files: dict[str, bytes] = {}
    for path, node in nodes.items():
        variables, attributes = xr.conventions.encode_dataset_coordinates(node)
        if path:
            files[f"{path}/zarr.json"] = group_content(attributes)
        for name, variable in variables.items():
            plain = xr.conventions.encode_cf_variable(variable, name=name)
            # Zarr's fill value is for what is not stored, and nothing is left out.
            about = {key: value for key, value in plain.attrs.items() if key != "_FillValue"}
            files |= whole_array(f"{path}/{name}".lstrip("/"), tuple(map(str, plain.dims)), plain.values, about)
    return files


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
