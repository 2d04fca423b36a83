"""One group's records in a store: four arrays, chunked alike along ``block``.

::

    records   (cell, block, statistic)   moments of each block
    failure   (cell, block)              why there are none, where a set failed
    checksum  (cell, block)              of each record and its place
    count     (block)                    replicates in the block; written last

A chunk is written by one task, its count last: what has a count is whole, and a run that is killed anywhere leaves
chunks that are either done or absent. Checksums cover a record's place as well as its bytes, so that neither altered
nor exchanged files go unnoticed.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.sync import sync

from biasvar.errors import DamagedChunkError, StoreError
from biasvar.studies.base import Chunk, Group

NO_COUNT = -1
_NAMES = ("records", "failure", "checksum", "count")
#: What opening missing or damaged metadata may raise. No other OSError: a disk that fails to answer has lost nothing.
UNREADABLE = (FileNotFoundError, ValueError, KeyError, TypeError)


class Records:
    """Open a group's arrays beneath ``path``, the store.

    Raises
    ------
    FileNotFoundError, ValueError, KeyError, TypeError
        If they are not there, or their metadata is damaged.
    """

    def __init__(self, path: Path, group: Group, mode: Literal["r", "r+"] = "r") -> None:
        self.group = group
        base = zarr.open_group(path / "blocks" / group.path, mode=mode, use_consolidated=False)
        # Chunks equal to the fill value would not be written, and look missing for ever.
        self._arrays: dict[str, Any] = {
            name: base[name].with_config({"write_empty_chunks": True})  # type: ignore[union-attr]
            for name in _NAMES
        }

    @classmethod
    def create(cls, path: Path, group: Group, blocks: int, chunk: int, statistic: Mapping[str, Any]) -> "Records":
        """Create the arrays of a group, ``chunk`` blocks a chunk; ``statistic`` says what a record's numbers are."""
        root = zarr.open_group(path, mode="r+", use_consolidated=False)
        base = root.create_group(f"blocks/{group.path}", attributes=group.to_json(), overwrite=True)
        write_coordinates(base, group, statistic)
        cells, statistics = len(group.cells), group.statistics
        shared: dict[str, Any] = {
            "shape": (cells, blocks),
            "chunks": (cells, chunk),
            "dimension_names": ("cell", "block"),
        }
        base.create_array(
            "records",
            shape=(cells, blocks, statistics),
            chunks=(cells, chunk, statistics),
            dtype="f8",
            fill_value=np.nan,
            dimension_names=("cell", "block", "statistic"),
        )
        base.create_array("failure", dtype=str, fill_value="", **shared)
        base.create_array("checksum", dtype="u8", fill_value=0, **shared)
        base.create_array(
            "count", shape=(blocks,), chunks=(chunk,), dtype="i8", fill_value=NO_COUNT, dimension_names=("block",)
        )
        return cls(path, group, "r+")

    @property
    def blocks(self) -> int:
        """How many blocks there is room for."""
        return int(self._arrays["count"].shape[0])

    @property
    def chunk_size(self) -> int:
        """How many blocks a chunk holds."""
        return int(self._arrays["count"].chunks[0])

    @property
    def chunks(self) -> int:
        """How many chunks there are."""
        return -(-self.blocks // self.chunk_size)

    def lengthen(self, blocks: int) -> None:
        """Make room for more blocks, if there is less."""
        if blocks <= self.blocks:
            return
        if self.blocks % self.chunk_size:
            self.forget(self.chunks - 1)  # it was the last chunk, and is not whole any more
        for name in _NAMES:  # count last: it says how many blocks there are
            array = self._arrays[name]
            axis = 0 if name == "count" else 1
            if array.shape[axis] < blocks:
                array.resize(tuple(blocks if i == axis else length for i, length in enumerate(array.shape)))

    def missing(self) -> list[int]:
        """Return the chunks, in order, that have no count."""
        count = self._arrays["count"]

        async def names() -> set[str]:
            return {key async for key in count.store.list_prefix(f"{count.path}/c/")}

        present = sync(names())
        return [chunk for chunk in range(self.chunks) if self._count_key(chunk) not in present]

    def forget(self, chunk: int) -> None:
        """Take a chunk's count away, so that its missing or damaged blocks are simulated again."""
        sync(self._arrays["count"].store.delete(self._count_key(chunk)))

    def write(self, chunk: int, content: Chunk, count: int) -> None:
        """Write one chunk, all its blocks, the count at the end."""
        blocks = self._span(chunk)
        self._arrays["records"][:, blocks] = content.records
        if (content.failures != "").any():
            self._arrays["failure"][:, blocks] = content.failures
        self._arrays["checksum"][:, blocks] = checksums(self.group, blocks.start, content)
        self._arrays["count"][blocks] = np.full(content.records.shape[1], count, np.int64)

    def read(self, chunk: int, stop: int | None = None) -> Chunk:
        """Read one chunk's blocks, up to block number ``stop``, and check them.

        Raises
        ------
        DamagedChunkError
            If a block is missing, torn, altered or in another's place.
        """
        blocks = self._span(chunk, stop)
        try:
            count = np.asarray(self._arrays["count"][blocks])
            content, sound = self._read_sound(blocks)
        except Exception as error:  # whatever a codec makes of bytes that are not its own
            raise DamagedChunkError(self.group, chunk, f"{type(error).__name__}: {error}") from error
        if (count == NO_COUNT).any():
            raise DamagedChunkError(self.group, chunk, "it is missing")
        if (count <= 0).any() or (count != count[0]).any():
            raise DamagedChunkError(self.group, chunk, "its count was altered")
        if not sound.all():
            raise DamagedChunkError(self.group, chunk, "its checksum does not fit")
        return content

    def salvage(self, chunk: int) -> tuple[Chunk, NDArray[np.bool_]]:
        """Return what a chunk without a count holds all the same, and which of its blocks are sound."""
        blocks = self._span(chunk)
        try:
            return self._read_sound(blocks)
        except Exception:  # torn: a codec may raise anything, and nothing can be kept
            shape = (len(self.group.cells), blocks.stop - blocks.start)
            empty = Chunk(np.full((*shape, self.group.statistics), np.nan), np.full(shape, "", dtype=object))
            return empty, np.zeros(shape[1], bool)

    def _read_sound(self, blocks: slice) -> tuple[Chunk, NDArray[np.bool_]]:
        records = np.asarray(self._arrays["records"][:, blocks])
        failures = np.asarray(self._arrays["failure"][:, blocks], dtype=object)
        stored = np.asarray(self._arrays["checksum"][:, blocks])
        content = Chunk(records, failures)
        return content, (stored == checksums(self.group, blocks.start, content)).all(axis=0)

    def _span(self, chunk: int, stop: int | None = None) -> slice:
        end = self.blocks if stop is None else min(self.blocks, stop)
        return slice(chunk * self.chunk_size, min((chunk + 1) * self.chunk_size, end))

    def _count_key(self, chunk: int) -> str:
        count = self._arrays["count"]
        return f"{count.path}/{count.metadata.encode_chunk_key((chunk,))}"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals into one line."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"store {path}: cannot be written: {error.strerror or error}; choose a path that can, or make room; "
            "what is done is kept, and the same run goes on from there"
        ) from error


def write_coordinates(base: zarr.Group, group: Group, statistic: Mapping[str, Any]) -> None:
    """Write what the cells of a group and the numbers of a record are, beside its arrays."""
    coordinates = {"cell": ("cell", np.array(group.cells, dtype=object))}
    coordinates |= {name: ("statistic", np.asarray(values)) for name, values in statistic.items()}
    for name, (dim, values) in coordinates.items():
        dtype = str if values.dtype == object else values.dtype
        array = base.create_array(name, shape=values.shape, dtype=dtype, dimension_names=(dim,), overwrite=True)
        array[:] = values


def checksums(group: Group, first_block: int, content: Chunk) -> NDArray[np.uint64]:
    """Return 64 bits of BLAKE2 of every record, its failure, and its place: problem, cell, block."""
    cells, blocks = content.records.shape[:2]
    out = np.empty((cells, blocks), np.uint64)
    for i, cell in enumerate(group.cells):
        for j in range(blocks):
            state = hashlib.blake2b(f"{group.problem}/{cell}/{first_block + j}\0".encode(), digest_size=8)
            state.update(content.records[i, j].astype("<f8").tobytes())
            state.update(str(content.failures[i, j]).encode())
            out[i, j] = int.from_bytes(state.digest(), "little")
    return out
