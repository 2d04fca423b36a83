"""A study from wherever it is stated: a YAML file, a name, or a store that holds its results."""

import json
from collections.abc import Sequence
from os import PathLike
from typing import Any

from biasvar.errors import StudyError
from biasvar.execution.backends import Location
from biasvar.execution.store import Store
from biasvar.studies import catalog
from biasvar.studies.study import Study


def load(study: str | PathLike[str], changes: Sequence[str] = ()) -> Study[Any]:
    """Load a study: from a YAML file, a bundled one by name, or the one whose results a store holds.

    Functions and objects of a user's own are imported again, from the module that they came from, and must be what
    they were.

    Parameters
    ----------
    study : str or path-like
        Path of a YAML file, or ``-`` for standard input; name of a bundled study; or a store made by
        :func:`~biasvar.run`.
    changes : sequence of str
        Fields to set instead of those, as ``key=value`` with YAML values; dots lead into nested fields:
        ``"hypotheses.H3.Polynomial.degree=3"``.

    Raises
    ------
    StudyError
        If there is no such study, the file is no YAML, a field is wrong, or something of a user's cannot be imported
        again.
    StoreError
        If it is a place that holds no store.

    Examples
    --------
    >>> load("two-point-sine", ["seed=7"]).seed
    7
    """
    if not is_store(study):
        return catalog.load(study, changes)  # type: ignore[arg-type]
    return study_in(Store(study), changes)


def study_in(store: Store, changes: Sequence[str] = ()) -> Study[Any]:
    """Make the study again whose results a store holds, with some fields set instead."""
    attributes = store.attributes()
    title = f"in store {store.location}"
    loaded = catalog.from_json(json.loads(attributes["study"]), attributes.get("supplement", {}), changes, title)
    if not changes and loaded.to_json() != json.loads(attributes["study"]):
        differences = "; ".join(loaded.extension_errors(json.loads(attributes["study"])))
        raise StudyError(f"study {title}: this version of biasvar reads it otherwise ({differences})")
    return loaded


def is_store(study: str | PathLike[str]) -> bool:
    """Tell whether this names a store, or at least no YAML file and no bundled study."""
    if not isinstance(study, str | PathLike) or catalog.is_file_or_name(study):  # type: ignore[arg-type]
        return False
    return "://" in str(study) or str(study).rstrip("/").endswith(".zarr") or Location.of(study).exists()
