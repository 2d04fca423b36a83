"""A study's Zarr store: the labelled summary at the root, the blocks' records beneath ``blocks/``.

Each group of cells is three arrays, chunked alike along ``block``::

    blocks/n10/H0+H1/records   (cell, block, statistic)   what the blocks' moments are
    blocks/n10/H0+H1/checksum  (cell, block)              of each record, with its place
    blocks/n10/H0+H1/count     (block)                    replicates in the block; written last

A chunk is written by one task, its count last: what has a count is whole, and a run that is killed anywhere leaves
chunks that are either done or absent. Checksums cover a record's place as well as its bytes, so that neither
altered nor exchanged files go unnoticed.
"""

import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from zarr.core.sync import sync

from biasvar.errors import DamagedChunkError, StoreError, StudyChangedError
from biasvar.studies.base import Chunk, Group, Study

SCHEMA = 1
SOFTWARE = "biasvar"
NO_COUNT = -1
_ARRAYS = ("records", "checksum", "failure", "count")


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
        except (OSError, ValueError, KeyError, TypeError) as error:
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
        with _readable(self.path):
            if not self.exists():
                self.path.mkdir(parents=True, exist_ok=True)
                zarr.create_group(self.path, attributes=_attributes(study, complete=False))
                return
        if errors := study.extension_errors(self.study_json()):
            raise StudyChangedError(
                f"store {self.path}: holds a different study ({'; '.join(errors)}); choose another store, or state the "
                "study as it was"
            )
        with _readable(self.path):
            self._write_root_attributes(_attributes(study, complete=False))

    # Groups

    def groups(self) -> list[Group]:
        """Return the groups that are stored, by path; those whose metadata is gone or torn are left out."""
        found = []
        for metadata in sorted(self.path.glob("blocks/*/*/zarr.json")):
            try:
                group = Group.from_json(json.loads(metadata.read_text())["attributes"])
            except (OSError, ValueError, KeyError, TypeError):
                continue
            if self._has_arrays(group):
                found.append(group)
        return found

    def ensure(self, group: Group, blocks: int, chunk: int, statistic: Mapping[str, Any]) -> None:
        """Create a group's arrays, or lengthen them to ``blocks`` blocks; a stored chunk size is kept."""
        with _readable(self.path):
            if not self._has_arrays(group):
                self._create(group, blocks, chunk, statistic)
                return
            arrays = self._arrays(group, "r+")
            before, size = self.blocks(group), self.chunk_size(group)
            if blocks > before and before % size:
                self.forget(group, before // size)  # it was the last chunk, and is not whole any more
            for name in _ARRAYS:  # count last: it says how many blocks there are
                array = arrays[name]
                axis = 0 if name == "count" else 1
                if array.shape[axis] < blocks:
                    array.resize(tuple(blocks if i == axis else length for i, length in enumerate(array.shape)))

    def chunk_size(self, group: Group) -> int:
        """Return how many blocks one chunk of a stored group holds."""
        return int(self._arrays(group, "r")["count"].chunks[0])

    def blocks(self, group: Group) -> int:
        """Return how many blocks a stored group has room for."""
        return int(self._arrays(group, "r")["count"].shape[0])

    def missing(self, group: Group) -> list[int]:
        """Return the chunks, in order, that have blocks without a count."""
        count = self._arrays(group, "r")["count"]
        size, length = count.chunks[0], count.shape[0]

        async def names() -> set[str]:
            return {key async for key in count.store.list_prefix(f"{count.path}/c/")}

        present = sync(names())
        chunks = range(-(-length // size))
        return [i for i in chunks if f"{count.path}/{count.metadata.encode_chunk_key((i,))}" not in present]

    def forget(self, group: Group, chunk: int) -> None:
        """Take a chunk's count away, so that the next run simulates it again."""
        arrays = self._arrays(group, "r")
        key = arrays["count"].metadata.encode_chunk_key((chunk,))
        (self.path / arrays["count"].path / key).unlink(missing_ok=True)

    def write(self, group: Group, chunk: int, records: Chunk, count: int) -> None:
        """Write one chunk, all its blocks: records, checksums, reasons of failures, and the count at the end."""
        arrays = self._arrays(group, "r+")
        size = arrays["count"].chunks[0]
        blocks = slice(chunk * size, chunk * size + records.records.shape[1])
        arrays["records"][:, blocks] = records.records
        arrays["checksum"][:, blocks] = checksums(group, blocks.start, records.records)
        if (records.failures != "").any():
            arrays["failure"][:, blocks] = records.failures
        arrays["count"][blocks] = np.full(records.records.shape[1], count, np.int64)

    def read(self, group: Group, chunk: int, stop: int | None = None) -> Chunk:
        """Read one chunk's blocks up to block number ``stop``, and check them.

        Raises
        ------
        DamagedChunkError
            If a block is missing, torn, altered or in another's place.
        """
        try:
            arrays = self._arrays(group, "r")
            blocks = self._span(group, chunk, stop)
            count = np.asarray(arrays["count"][blocks])
            stored, sound = self._read_sound(group, arrays, blocks)
        except Exception as error:  # whatever a codec makes of bytes that are not its own
            raise DamagedChunkError(group, chunk, f"{type(error).__name__}: {error}") from error
        if (count == NO_COUNT).any():
            raise DamagedChunkError(group, chunk, "it is missing")
        if (count <= 0).any() or (count != count[0]).any():
            raise DamagedChunkError(group, chunk, "its count was altered")
        if not sound.all():
            raise DamagedChunkError(group, chunk, "its checksum does not fit")
        return stored

    def salvage(self, group: Group, chunk: int) -> tuple[Chunk, NDArray[np.bool_]]:
        """Return what a chunk without a count holds all the same, and which of its blocks are sound."""
        blocks = self._span(group, chunk)
        try:
            return self._read_sound(group, self._arrays(group, "r"), blocks)
        except Exception:  # torn: a codec may raise anything, and nothing can be kept
            shape = (len(group.cells), blocks.stop - blocks.start)
            empty = Chunk(np.full((*shape, group.statistics), np.nan), np.full(shape, "", dtype=object))
            return empty, np.zeros(shape[1], bool)

    def _span(self, group: Group, chunk: int, stop: int | None = None) -> slice:
        size, length = self.chunk_size(group), self.blocks(group)
        return slice(chunk * size, min((chunk + 1) * size, length, length if stop is None else stop))

    @staticmethod
    def _read_sound(group: Group, arrays: Mapping[str, Any], blocks: slice) -> tuple[Chunk, NDArray[np.bool_]]:
        records = np.asarray(arrays["records"][:, blocks])
        failures = np.asarray(arrays["failure"][:, blocks], dtype=object)
        stored = np.asarray(arrays["checksum"][:, blocks])
        return Chunk(records, failures), (stored == checksums(group, blocks.start, records)).all(axis=0)

    def sweep(self) -> None:
        """Remove what a killed writer left half written; only for the holder of the lock."""
        for orphan in self.path.rglob("*.partial"):
            orphan.unlink(missing_ok=True)

    # The summary

    def write_summary(self, study: Study, summary: xr.Dataset) -> xr.Dataset:
        """Replace the labelled summary at the root; return it with the root's attributes."""
        with _readable(self.path):
            root = self._root("r+")
            for name in [name for name in root.array_keys() if name not in summary.variables]:
                del root[name]
            # Axes may have grown: an array of another shape cannot be written over.
            for label, variable in summary.variables.items():
                if str(label) in root and getattr(root[str(label)], "shape", None) != variable.shape:
                    del root[str(label)]
            summary.to_zarr(self.path, mode="a", consolidated=False, zarr_format=3)
            self._write_root_attributes(_attributes(study, complete=True) | {"summary_digest": dataset_digest(summary)})
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
        return summary

    # Zarr

    def _root(self, mode: Any) -> zarr.Group:
        return zarr.open_group(self.path, mode=mode, use_consolidated=False)

    def _write_root_attributes(self, attributes: Mapping[str, Any]) -> None:
        # One file is written, at once, and without the consolidated metadata, which may not hold any longer.
        root = self._root("r+")
        root.attrs.put({**root.attrs, **attributes})

    def _arrays(self, group: Group, mode: Any) -> dict[str, Any]:
        base = zarr.open_group(self.path / "blocks" / group.path, mode=mode, use_consolidated=False)
        # Chunks equal to the fill value would not be written, and look missing for ever.
        return {
            name: base[name].with_config({"write_empty_chunks": True})  # type: ignore[union-attr]
            for name in _ARRAYS
        }

    def _has_arrays(self, group: Group) -> bool:
        try:
            self._arrays(group, "r")
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return True

    def _create(self, group: Group, blocks: int, chunk: int, statistic: Mapping[str, Any]) -> None:
        cells, statistics = len(group.cells), group.statistics
        root = self._root("r+")
        base = root.create_group(f"blocks/{group.path}", attributes=group.to_json(), overwrite=True)
        for name, values in {"cell": np.array(group.cells, dtype=object), **statistic}.items():
            values = np.asarray(values)
            dtype = str if values.dtype == object else values.dtype
            array = base.create_array(
                name, shape=values.shape, dtype=dtype, dimension_names=("cell",) if name == "cell" else ("statistic",)
            )
            array[:] = values
        shared = {"dimension_names": ("cell", "block"), "shape": (cells, blocks), "chunks": (cells, chunk)}
        base.create_array(
            "records",
            shape=(cells, blocks, statistics),
            chunks=(cells, chunk, statistics),
            dtype="f8",
            fill_value=np.nan,
            dimension_names=("cell", "block", "statistic"),
        )
        base.create_array("checksum", dtype="u8", fill_value=0, **shared)  # type: ignore[arg-type]
        base.create_array("failure", dtype=str, fill_value="", **shared)  # type: ignore[arg-type]
        base.create_array(
            "count", shape=(blocks,), chunks=(chunk,), dtype="i8", fill_value=NO_COUNT, dimension_names=("block",)
        )


def checksums(group: Group, first_block: int, records: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Return 64 bits of BLAKE2 of every record and its place: problem, cell, block."""
    cells, blocks = records.shape[:2]
    out = np.empty((cells, blocks), np.uint64)
    for i, cell in enumerate(group.cells):
        for j in range(blocks):
            place = f"{group.problem}/{cell}/{first_block + j}".encode()
            data = np.ascontiguousarray(records[i, j], dtype="<f8").tobytes()
            out[i, j] = int.from_bytes(hashlib.blake2b(data, digest_size=8, key=place[:64]).digest(), "little")
    return out


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


def _attributes(study: Study, complete: bool) -> dict[str, Any]:
    from importlib.metadata import version

    text = json.dumps(study.to_json(), sort_keys=True)
    return {
        "software": SOFTWARE,
        "schema": SCHEMA,
        "study": text,
        "study_hash": hashlib.sha256(text.encode()).hexdigest(),
        "seed": study.seed,
        "cells": [[group.problem, cell] for group in study.groups() for cell in group.cells],
        "versions": {name: version(name) for name in ("biasvar", "numpy", "scipy", "numba", "dask", "xarray", "zarr")},
        "complete": complete,
    }


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals into one line."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"store {path}: cannot be written: {error.strerror or error}; choose a path that can, or make room"
        ) from error
