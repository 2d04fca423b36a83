"""A study's Zarr store: the labelled summary at the root, the groups' records beneath ``blocks/``."""

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from biasvar.errors import StoreError, StudyChangedError
from biasvar.execution.records import UNREADABLE, Records, write_coordinates, writing
from biasvar.studies.base import Group, Study, Summary, nodes_of, summary_of

SCHEMA = 1
SOFTWARE = "biasvar"


class Store:
    """Open a study's store, or make one.

    Parameters
    ----------
    path : path-like
        A directory on a local file system.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path).absolute()  # a run may change its working directory

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
        if not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir())):
            return False
        self.attributes()
        return True

    def attributes(self) -> dict[str, Any]:
        """Return what the store says of its study.

        The root's metadata says it; ``blocks/`` keeps a copy, in case that is lost.

        Raises
        ------
        StoreError
            If the path holds no store of ours, or one of another schema.
        """
        if not self.path.exists():
            raise StoreError(f"store {self.path}: does not exist; make it with: biasvar run STUDY --store {self.path}")
        found = self._attributes_of("") or self._attributes_of("blocks")
        if found is None:
            raise StoreError(f"store {self.path}: is not a biasvar store; choose another path")
        if found["schema"] != SCHEMA:
            raise StoreError(
                f"store {self.path}: has schema {found['schema']}, this version of biasvar reads {SCHEMA}; "
                "use the version named in its attributes"
            )
        return found

    def adopt(self, study: Study[Any]) -> None:
        """Make the store a store of ``study``: create it, or extend it.

        Whatever metadata above the groups was lost is written anew.
        """
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self._write_group("", _root_attributes(study, complete=False))
            self._write_group("blocks", _root_attributes(study, complete=False))
            for problem in {group.problem for group in study.groups()}:
                self._write_group(f"blocks/{problem}", {})

    def check(self, study: Study[Any]) -> None:
        """Refuse a study that the store cannot be extended to.

        Raises
        ------
        StudyChangedError
            If it holds a study that this one does not extend, with the differences.
        StoreError
            If the path holds something else.
        """
        if not self.exists():
            return
        attributes = self.attributes()
        errors = study.extension_errors(json.loads(attributes["study"]))
        if not errors and (changed := study.evidence_errors(attributes["evidence"])):
            errors.append(changed)
        if errors:
            raise StudyChangedError(
                f"store {self.path}: holds a different study ({'; '.join(errors)}); choose another store, or state the "
                "study as it was"
            )

    # Its groups

    def groups(self) -> dict[Group, Records]:
        """Open all groups, in the order of their paths; those whose metadata is gone or torn are left out.

        Raises
        ------
        StoreError
            If the disk does not answer.
        """
        found = {}
        for metadata in sorted(self.path.glob("blocks/*/*/zarr.json")):
            try:
                group = Group.from_json(json.loads(metadata.read_text())["attributes"])
                found[group] = Records(self.path, group, "r+")
            except UNREADABLE:
                continue
            except OSError as error:
                raise StoreError(f"store {self.path}: cannot be read: {error}; nothing was changed") from error
        return found

    def create(self, group: Group, blocks: int, chunk: int, statistic: Mapping[str, Any]) -> Records:
        """Create a group's arrays."""
        with writing(self.path):
            return Records.create(self.path, group, blocks, chunk, statistic)

    def heal(self, group: Group, statistic: Mapping[str, Any]) -> None:
        """Write a stored group's coordinates anew if they cannot be read."""
        if self._coordinates_are_sound(group):
            return
        with writing(self.path):
            base = zarr.open_group(self.path / "blocks" / group.path, mode="r+", use_consolidated=False)
            write_coordinates(base, group, statistic)

    def metadata_problems(self) -> list[str]:
        """Say which metadata above and beside the groups' records is missing or damaged."""
        nodes = ["", "blocks", *sorted({f"blocks/{group.problem}" for group in self.groups()})]
        problems = [f"metadata of {node or 'the root'} is damaged" for node in nodes if self._metadata(node) is None]
        return problems + [
            f"coordinates of blocks/{group.path} are damaged"
            for group in self.groups()
            if not self._coordinates_are_sound(group)
        ]

    def sweep(self) -> None:
        """Remove what a killed writer left half written; only for the holder of the lock."""
        for orphan in self.path.rglob("*.partial"):
            if orphan.is_file():
                orphan.unlink(missing_ok=True)

    # The summary

    def write_summary(self, study: Study[Any], summary: Summary) -> Summary:
        """Replace the labelled summary at the root; return it with the root's attributes."""
        nodes = nodes_of(summary)
        with writing(self.path):
            # All of it: axes may have grown, and what a killed run or a fault left may not be readable.
            for child in self.path.iterdir():
                if child.is_dir() and child.name != "blocks":
                    shutil.rmtree(child)
            # With the attributes, for xarray replaces the root's: killed before the next line, it is still our store.
            unfinished = nodes[""].assign_attrs(_root_attributes(study, complete=False))
            for path, node in (nodes | {"": unfinished}).items():
                node.to_zarr(self.path, group=path or None, mode="a", consolidated=False, zarr_format=3)
            about = {"summary_digest": summary_digest(summary), "nodes": list(nodes)}
            self._write_group("", _root_attributes(study, complete=True) | about)
            with warnings.catch_warnings():
                # Consolidated metadata is what lets a plain xr.open_zarr open the root without a warning of its own.
                warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
                zarr.consolidate_metadata(self.path)
        return summary_of(nodes | {"": nodes[""].assign_attrs(self.attributes())})

    def summary(self) -> Summary:
        """Open the labelled summary lazily.

        Raises
        ------
        StoreError
            If the store has none yet, or it cannot be read.
        """
        attributes = self.attributes()
        if not attributes["complete"]:
            raise StoreError(
                f"store {self.path}: its run has not finished; finish it with the command that began it, or see: "
                f"biasvar status {self.path}"
            )
        try:
            return summary_of({path: self._node(path) for path in attributes["nodes"]})
        except Exception as error:  # whatever is made of metadata that is not its own
            raise StoreError(
                f"store {self.path}: its summary cannot be read ({type(error).__name__}); run the study again"
            ) from error

    def _node(self, path: str) -> xr.Dataset:
        node = xr.open_zarr(self.path, group=path or None, consolidated=False, chunks=None)
        # Zarr gives text back as numpy's StringDType, with which xarray cannot do all that it can with objects.
        labels = {name: node[name].astype(object) for name in node.coords if node[name].dtype.kind == "T"}
        labelled: xr.Dataset = node.assign_coords(labels)
        return labelled

    # Metadata files

    def _metadata(self, node: str) -> dict[str, Any] | None:
        try:
            found = json.loads((self.path / node / "zarr.json").read_text())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        return found if isinstance(found, dict) and found.get("node_type") == "group" else None

    def _attributes_of(self, node: str) -> dict[str, Any] | None:
        attributes = (self._metadata(node) or {}).get("attributes", {})
        return attributes if attributes.get("software") == SOFTWARE and "study" in attributes else None

    def _write_group(self, node: str, attributes: Mapping[str, Any]) -> None:
        """Write a group's metadata: one file, at once, and without consolidated metadata, which may not hold longer."""
        folder = self.path / node
        folder.mkdir(exist_ok=True)
        text = json.dumps({"attributes": dict(attributes), "zarr_format": 3, "node_type": "group"}, indent=2)
        temporary = folder / f"zarr.json.{os.getpid()}.partial"
        temporary.write_text(text)
        temporary.replace(folder / "zarr.json")

    def _coordinates_are_sound(self, group: Group) -> bool:
        try:
            base = zarr.open_group(self.path / "blocks" / group.path, mode="r", use_consolidated=False)
            return all(len(np.asarray(base[name][:])) for name in ("cell", "moment", "place"))  # type: ignore[index]
        except Exception:  # whatever a codec makes of bytes that are not its own
            return False


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


def study_attributes(study: Study[Any]) -> dict[str, Any]:
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


def _root_attributes(study: Study[Any], complete: bool) -> dict[str, Any]:
    cells = [[group.problem, cell] for group in study.groups() for cell in group.cells]
    return study_attributes(study) | {"cells": cells, "evidence": study.evidence(), "complete": complete}
