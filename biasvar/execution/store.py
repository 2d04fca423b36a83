"""A study's Zarr store: the labelled summary at the root, the groups' records beneath ``blocks/``."""

import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from biasvar.errors import StoreError, StudyChangedError
from biasvar.execution.records import UNREADABLE, Records, writing
from biasvar.studies.base import Group, Study

SCHEMA = 1
SOFTWARE = "biasvar"


class Store:
    """Open a study's store, or make one.

    Parameters
    ----------
    path : path-like
        A directory on a local file system.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r})"

    # The study it holds

    def exists(self) -> bool:
        """Tell whether there is a store here; refuse what is something else.

        Raises
        ------
        StoreError
            If the path is taken by anything but a store of ours.
        """
        if not self.path.exists():
            return False
        if self.path.is_dir() and not any(self.path.iterdir()):
            return False
        self.attributes()
        return True

    def attributes(self) -> dict[str, Any]:
        """Return what the root says of the study.

        Raises
        ------
        StoreError
            If the path holds no store of ours, or a later schema.
        """
        if not self.path.exists():
            raise StoreError(f"store {self.path}: does not exist; make it with: biasvar run STUDY --store {self.path}")
        try:
            found = dict(self._root("r").attrs)
        except UNREADABLE as error:
            raise StoreError(
                f"store {self.path}: is not a biasvar store ({type(error).__name__}); choose another path"
            ) from error
        if found.get("software") != SOFTWARE or "study" not in found:
            raise StoreError(f"store {self.path}: is a Zarr store of something else; choose another path")
        if found["schema"] != SCHEMA:
            raise StoreError(
                f"store {self.path}: has schema {found['schema']}, this version of biasvar reads {SCHEMA}; "
                "use the version named in its attributes"
            )
        return found

    def study_json(self) -> dict[str, Any]:
        """Return the stored study as JSON."""
        study: dict[str, Any] = json.loads(self.attributes()["study"])
        return study

    def adopt(self, study: Study) -> None:
        """Make the store a store of ``study``: create it, or extend it, or refuse.

        Raises
        ------
        StudyChangedError
            If it holds a study that this one does not extend, with the differences.
        """
        with writing(self.path):
            if not self.exists():
                self.path.mkdir(parents=True, exist_ok=True)
                zarr.create_group(self.path, attributes=_root_attributes(study, complete=False))
                return
        if errors := study.extension_errors(self.study_json()):
            raise StudyChangedError(
                f"store {self.path}: holds a different study ({'; '.join(errors)}); choose another store, or state the "
                "study as it was"
            )
        with writing(self.path):
            self._write_root_attributes(_root_attributes(study, complete=False))

    # Its groups

    def groups(self) -> dict[Group, Records]:
        """Open all groups, in the order of their paths; those whose metadata is gone or torn are left out."""
        found = {}
        for metadata in sorted(self.path.glob("blocks/*/*/zarr.json")):
            try:
                group = Group.from_json(json.loads(metadata.read_text())["attributes"])
                found[group] = Records(self.path, group, "r+")
            except UNREADABLE:
                continue
        return found

    def create(self, group: Group, blocks: int, chunk: int, statistic: Mapping[str, Any]) -> Records:
        """Create a group's arrays."""
        with writing(self.path):
            return Records.create(self.path, group, blocks, chunk, statistic)

    def sweep(self) -> None:
        """Remove what a killed writer left half written; only for the holder of the lock."""
        for orphan in self.path.rglob("*.partial"):
            orphan.unlink(missing_ok=True)

    # The summary

    def write_summary(self, study: Study, summary: xr.Dataset) -> xr.Dataset:
        """Replace the labelled summary at the root; return it with the root's attributes."""
        with writing(self.path):
            root = self._root("r+")
            for name in [name for name in root.array_keys() if name not in summary.variables]:
                del root[name]
            # Axes may have grown: an array of another shape cannot be written over.
            for label, variable in summary.variables.items():
                if str(label) in root and getattr(root[str(label)], "shape", None) != variable.shape:
                    del root[str(label)]
            # With the attributes, for xarray replaces the root's: killed before the next line, it is still our store.
            unfinished = summary.assign_attrs(_root_attributes(study, complete=False))
            unfinished.to_zarr(self.path, mode="a", consolidated=False, zarr_format=3)
            self._write_root_attributes(
                _root_attributes(study, complete=True) | {"summary_digest": dataset_digest(summary)}
            )
            with warnings.catch_warnings():
                # Consolidated metadata is what lets a plain xr.open_zarr open the root without a warning of its own.
                warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
                zarr.consolidate_metadata(self.path)
        return summary.assign_attrs(self.attributes())

    def summary(self) -> xr.Dataset:
        """Open the labelled summary lazily.

        Raises
        ------
        StoreError
            If the store has none yet.
        """
        attributes = self.attributes()
        if not attributes["complete"]:
            raise StoreError(
                f"store {self.path}: its run has not finished; finish it with the command that began it, or see: "
                f"biasvar status {self.path}"
            )
        summary: xr.Dataset = xr.open_zarr(self.path, consolidated=False, chunks=None)
        # Zarr gives text back as numpy's StringDType, with which xarray cannot do all that it can with objects.
        labels = {name: summary[name].astype(object) for name in summary.coords if summary[name].dtype.kind == "T"}
        return summary.assign_coords(labels)

    # Zarr

    def _root(self, mode: Any) -> zarr.Group:
        return zarr.open_group(self.path, mode=mode, use_consolidated=False)

    def _write_root_attributes(self, attributes: Mapping[str, Any]) -> None:
        # One file is written, at once, and without the consolidated metadata, which may not hold any longer.
        root = self._root("r+")
        root.attrs.put({**root.attrs, **attributes})


def dataset_digest(dataset: xr.Dataset) -> str:
    """Return the SHA-256 of a dataset's values, by name."""
    total = hashlib.sha256()
    for name in sorted(str(name) for name in dataset.variables):
        values = dataset[name].values
        total.update(f"{name}{values.shape}".encode())
        if values.dtype.kind in "OTU":
            total.update(json.dumps([str(v) for v in values.ravel()]).encode())
        else:
            total.update(np.ascontiguousarray(values).tobytes())
    return total.hexdigest()


def study_attributes(study: Study) -> dict[str, Any]:
    """Return what is to be known of a study beside its results."""
    from importlib.metadata import version

    text = json.dumps(study.to_json(), sort_keys=True)
    return {
        "software": SOFTWARE,
        "schema": SCHEMA,
        "study": text,
        "study_hash": hashlib.sha256(text.encode()).hexdigest(),
        "seed": study.seed,
        "versions": {name: version(name) for name in ("biasvar", "numpy", "scipy", "numba", "dask", "xarray", "zarr")},
    }


def _root_attributes(study: Study, complete: bool) -> dict[str, Any]:
    cells = [[group.problem, cell] for group in study.groups() for cell in group.cells]
    return study_attributes(study) | {"cells": cells, "complete": complete}
