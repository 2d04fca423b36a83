"""The study that a summary is of, where no foreign code is needed to have it."""

import json
from typing import Any

import xarray as xr

from biasvar.errors import BiasvarError
from biasvar.studies import catalog


def study_of(root: xr.Dataset) -> Any:
    """Return the study whose results these are, or None if parts of it are not biasvar's own: none are imported.

    Parameters
    ----------
    root : xarray.Dataset
        The root of a summary.
    """
    supplement = root.attrs.get("supplement", {})
    supplement = json.loads(supplement) if isinstance(supplement, str) else supplement
    if "study" not in root.attrs or supplement.get("imports") or {"kind", "source"} & set(supplement):
        return None
    try:
        return catalog.from_json(json.loads(root.attrs["study"]), supplement)
    except BiasvarError:
        return None
