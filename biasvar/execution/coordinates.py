"""What the cells of a group, and the numbers of its records, are: three small arrays beside its records."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasvar.errors import StoreError
from biasvar.execution.backends import Location
from biasvar.execution.zarr_files import ZarrArray, whole_array
from biasvar.studies.base import Group

COORDINATES = ("cell", "moment", "place")


def coordinate_files(group: Group, statistic: Mapping[str, object]) -> dict[str, bytes]:
    """Return the files that say what the cells of a group and the numbers of a record are, by key."""
    files: dict[str, bytes] = {}
    for name, (dim, values) in _coordinates(group, statistic).items():
        files |= whole_array(f"blocks/{group.path}/{name}", (dim,), values, {"checksum": _digest(values)})
    return files


def read_coordinates(location: Location, group: Group) -> dict[str, NDArray[Any]] | None:
    """Return what a group's cells, and the numbers of its records, are; None if that is damaged."""
    try:
        found = {name: _read(location, f"blocks/{group.path}/{name}") for name in COORDINATES}
    except StoreError:
        raise
    except Exception:  # whatever is made of bytes that are not those of an array
        return None
    return found if _digest(found["cell"]) == _digest(np.array(group.cells, dtype=object)) else None


def _read(location: Location, path: str) -> NDArray[Any]:
    array = ZarrArray.parse(path, location.read(f"{path}/zarr.json"))
    content = location.read(array.key((0,)))
    values = array.decode(content)
    # Stores of before have no checksums.
    if content is None or array.attributes.get("checksum", _digest(values)) != _digest(values):
        raise ValueError(f"{path} is damaged")
    return values


def _coordinates(group: Group, statistic: Mapping[str, object]) -> dict[str, tuple[str, NDArray[Any]]]:
    cells = {"cell": ("cell", np.array(group.cells, dtype=object))}
    return cells | {name: ("statistic", np.asarray(values)) for name, values in statistic.items()}


def _digest(values: NDArray[Any]) -> str:
    return hashlib.blake2b(json.dumps([str(value) for value in values]).encode(), digest_size=8).hexdigest()
