"""The study that a summary is of, where no foreign code is needed to have it."""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import xarray as xr

from biasvar.errors import BiasvarError
from biasvar.studies import catalog

_REFERENCE = re.compile(r"[\w.]+:[\w.]+")  # module:name


def study_of(root: xr.Dataset) -> Any:
    """Return the study whose results these are, or None if parts of it are not biasvar's own: none are imported.

    Parameters
    ----------
    root : xarray.Dataset
        The root of a summary.
    """
    if "study" not in root.attrs:
        return None
    supplement = root.attrs.get("supplement", "{}")
    return _made(root.attrs["study"], supplement if isinstance(supplement, str) else json.dumps(supplement))


@lru_cache(8)
def _made(text: str, more: str) -> Any:
    """Make a study of its JSON, once for all figures of it: to check its fields takes as long as to draw it."""
    study, supplement = json.loads(text), json.loads(more)
    if supplement.get("imports") or {"kind", "source"} & set(supplement) or _names_code(study):
        return None
    try:
        return catalog.from_json(study, supplement)
    except BiasvarError:
        return None


def _names_code(part: object) -> bool:
    """Tell whether JSON of a study may name what is imported: ``module:name``, wherever it stands."""
    if isinstance(part, Mapping):
        return any(_names_code(each) for item in part.items() for each in item)
    if isinstance(part, list):
        return any(map(_names_code, part))
    return isinstance(part, str) and _REFERENCE.fullmatch(part) is not None
