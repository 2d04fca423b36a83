"""What a store says of its study, in attributes that every netCDF format holds too."""

import hashlib
import json
from functools import cache
from importlib.metadata import version
from typing import Any

from biasvar.fields import Json
from biasvar.studies.numerics import NUMERICS
from biasvar.studies.study import Study

SCHEMA = 2
SOFTWARE = "biasvar"
#: Attributes that are JSON text where a netCDF attribute cannot hold them; stores of older versions have them as JSON.
_STRUCTURED = ("cells", "complete", "editions", "evidence", "nodes", "seed", "supplement", "versions")
_NETCDF_INTEGERS = range(-(2**31), 2**31)


def as_text(attributes: Json) -> dict[str, str | int]:
    """Return attributes as every netCDF format holds them: text, integers of 32 bits, and JSON text for the rest."""
    return {name: _encoded_attribute(value) for name, value in attributes.items()}


def from_text(attributes: Json) -> dict[str, Any]:
    """Return attributes with those structures that :func:`as_text` wrote as JSON.

    Raises
    ------
    ValueError
        If one of them is no JSON.
    """
    return {**attributes, **{name: _decoded(attributes[name]) for name in _STRUCTURED if name in attributes}}


def study_attributes(study: Study[Any]) -> dict[str, Any]:
    """Return what is to be known of a study beside its results."""
    text = json.dumps(study.to_json(), sort_keys=True)
    return {
        "software": SOFTWARE,
        "schema": SCHEMA,
        "numerics": NUMERICS,
        "study": text,
        "study_hash": hashlib.sha256(text.encode()).hexdigest(),
        "seed": study.seed,
        "supplement": study.supplement(),
        "versions": _versions(),
    }


@cache
def _versions() -> dict[str, str]:
    # To look them up takes milliseconds.
    return {name: version(name) for name in ("biasvar", "numpy", "scipy", "numba", "dask", "xarray", "zarr")}


def root_attributes(study: Study[Any], complete: bool) -> dict[str, Any]:
    """Return what the root of a store says: what its cells are, and whether its summary is complete."""
    cells = [[group.problem, cell] for group in study.groups() for cell in group.cells]
    return study_attributes(study) | {
        "cells": cells,
        "editions": editions_of(study),
        "evidence": study.fingerprint_values(),
        "complete": complete,
    }


def editions_of(study: Study[Any]) -> dict[str, str]:
    """Return the editions of a study's groups by problem."""
    return {group.problem: group.edition for group in study.groups() if group.edition}


def _encoded_attribute(value: object) -> str | int:
    if isinstance(value, str) or (type(value) is int and value in _NETCDF_INTEGERS):
        return value
    return json.dumps(value)


def _decoded(value: object) -> Any:
    return json.loads(value) if isinstance(value, str) else value
