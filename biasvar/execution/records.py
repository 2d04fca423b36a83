"""One group's records in a store: five arrays, chunked alike along ``block``.

::

    records   (cell, block, statistic)   moments of each block
    failure   (cell, block)              why there are none, where a set failed
    checksum  (cell, block)              of each record, its failure and its place
    traceback (block)                    of a block's first failure that was an exception
    count     (block)                    replicates in the block; written last

A chunk is written by one task, its count last: what has a count is whole, and a run that is killed anywhere leaves
chunks that are either done or absent. Checksums cover a record's place as well as its bytes, so that neither altered
nor exchanged files go unnoticed. A traceback is no result (its lines may differ between machines): no checksum or
digest covers it.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray

from biasvar.errors import DamagedChunkError, StoreError
from biasvar.execution.backends import Location, reading, writing
from biasvar.studies.base import Chunk, Group

NO_COUNT = -1
SPAN_BYTES = 1 << 22  # of records that are read at a time: several small chunks take hardly longer than one
_NAMES = ("records", "failure", "checksum", "traceback", "count")
#: What opening missing or damaged metadata may raise. No other OSError: a place that fails to answer has lost nothing.
UNREADABLE = (FileNotFoundError, ValueError, KeyError, TypeError)


class Records:
    """Open a group's arrays in a store.

    Raises
    ------
    FileNotFoundError, ValueError, KeyError, TypeError
        If they are not there, or their metadata is damaged.
    StoreError
        If the store refuses, or does not answer.
    """

    def __init__(self, location: Location, group: Group, mode: Literal["r", "r+"] = "r") -> None:
        self.location, self.group = location, group
        with reading(location):
            base = open_group(location, f"blocks/{group.path}", mode)
            # Chunks equal to the fill value would not be written, and look missing for ever.
            self._arrays: dict[str, Any] = {
                name: base[name].with_config({"write_empty_chunks": True})  # type: ignore[union-attr]
                for name in _NAMES
            }

    @classmethod
    def create(
        cls, location: Location, group: Group, blocks: int, chunk: int, statistic: Mapping[str, object]
    ) -> "Records":
        """Create the arrays of a group, ``chunk`` blocks per chunk; ``statistic`` says what a record's numbers are."""
        with writing(location):
            cls._create(open_group(location, "", "r+"), group, blocks, chunk, statistic)
        return cls(location, group, "r+")

    @staticmethod
    def _create(root: zarr.Group, group: Group, blocks: int, chunk: int, statistic: Mapping[str, object]) -> None:
        base = root.create_group(f"blocks/{group.path}", attributes=group.to_json(), overwrite=True)
        write_coordinates(base, group, statistic)
        cells = len(group.cells)
        shared: dict[str, Any] = {
            "shape": (cells, blocks),
            "chunks": (cells, chunk),
            "dimension_names": ("cell", "block"),
        }
        base.create_array(
            "records",
            shape=(cells, blocks, group.record_size),
            chunks=(cells, chunk, group.record_size),
            dtype="f8",
            fill_value=np.nan,
            dimension_names=("cell", "block", "statistic"),
        )
        base.create_array("failure", dtype=str, fill_value="", **shared)
        base.create_array("checksum", dtype="u8", fill_value=0, **shared)
        shared = {"shape": (blocks,), "chunks": (chunk,), "dimension_names": ("block",)}
        base.create_array("traceback", dtype=str, fill_value="", **shared)
        base.create_array("count", dtype="i8", fill_value=NO_COUNT, **shared)

    @property
    def blocks(self) -> int:
        """Number of blocks that there is room for."""
        return int(self._arrays["count"].shape[0])

    @property
    def chunk_size(self) -> int:
        """Blocks per chunk."""
        return int(self._arrays["count"].chunks[0])

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return -(-self.blocks // self.chunk_size)

    def grow(self, blocks: int) -> None:
        """Make room for more blocks, if there is less."""
        if blocks <= self.blocks:
            return
        if self.blocks % self.chunk_size:
            self.discard(self.chunks - 1)  # it was the last chunk, and is not whole any more
        with writing(self.location):
            for name in _NAMES:  # count last: it says how many blocks there are
                array = self._arrays[name]
                axis = array.metadata.dimension_names.index("block")
                if array.shape[axis] < blocks:
                    array.resize(tuple(blocks if i == axis else length for i, length in enumerate(array.shape)))

    def missing(self) -> list[int]:
        """Return the chunks, in order, that have no count."""
        present = self._stored("count")
        return [chunk for chunk in range(self.chunks) if chunk not in present]

    def failed(self) -> list[int]:
        """Return the chunks, in order, that hold a failure: only those have a file of reasons."""
        return sorted(self._stored("failure"))

    def discard(self, chunk: int, entirely: bool = False) -> None:
        """Take a chunk's count away, so that its missing or damaged blocks are simulated again.

        With ``entirely`` all its blocks are. Its failures go before its checksums, so that whatever a kill leaves is
        either sound or simulated again.
        """
        for name in ("count", "traceback", "failure", "checksum") if entirely else ("count",):
            self._delete(name, chunk)

    def write(self, chunk: int, content: Chunk, count: int, tracebacks: Iterable[str] | None = None) -> None:
        """Write one chunk, all its blocks, the count at the end; ``tracebacks`` are one text per block."""
        blocks, traces = self._span(chunk), [] if tracebacks is None else list(tracebacks)
        with writing(self.location):
            self._arrays["records"][:, blocks] = content.records
            if (content.failures != "").any():
                self._arrays["failure"][:, blocks] = content.failures
            else:
                self._delete("failure", chunk)  # of an earlier try
            self._arrays["checksum"][:, blocks] = checksums(self.group, blocks.start, content)
            if any(traces):
                self._arrays["traceback"][blocks] = np.array(traces, dtype=object)
            self._arrays["count"][blocks] = np.full(content.records.shape[1], count, np.int64)

    def tracebacks(self, chunk: int) -> list[str]:
        """Return the traceback of each of a chunk's blocks, empty where nothing was raised."""
        with reading(self.location):
            return [str(text) for text in self._arrays["traceback"][self._span(chunk)]]

    def read(self, chunk: int, stop: int | None = None) -> Chunk:
        """Read one chunk's blocks, up to block number ``stop``, and check them.

        Raises
        ------
        DamagedChunkError
            If a block is missing, torn, altered or in another's place.
        """
        return self._read(chunk, self._span(chunk, stop))

    def read_all(self, stop: int | None = None) -> Iterator[Chunk]:
        """Read all blocks in order, up to block number ``stop``, and check them; several chunks at a time.

        Raises
        ------
        DamagedChunkError
            As :meth:`read`.
        """
        for chunks in self._spans(stop):
            try:
                yield self._read_together(chunks, stop)
            except DamagedChunkError:
                for chunk in chunks:  # one of them says what it is
                    yield self.read(chunk, stop)

    def damages(self) -> Iterator[DamagedChunkError]:
        """Yield what is wrong with each chunk that cannot be read back as it was written."""
        for chunks in self._spans():
            try:
                self._read_together(chunks)
            except DamagedChunkError:
                for chunk in chunks:
                    try:
                        self.read(chunk)
                    except DamagedChunkError as damage:
                        yield damage

    def _spans(self, stop: int | None = None) -> Iterator[range]:
        """Yield the chunks that are read together."""
        end = self.blocks if stop is None else min(self.blocks, stop)
        chunks = range(-(-end // self.chunk_size))
        together = max(1, SPAN_BYTES // (self.group.block_bytes * self.chunk_size))
        for first in chunks[::together]:
            yield chunks[first : first + together]

    def _read_together(self, chunks: range, stop: int | None = None) -> Chunk:
        return self._read(chunks[0], slice(self._span(chunks[0]).start, self._span(chunks[-1], stop).stop))

    def _read(self, chunk: int, blocks: slice) -> Chunk:
        try:
            with reading(self.location):
                count = np.asarray(self._arrays["count"][blocks])
                content, sound = self._read_sound(blocks)
        except StoreError:
            raise
        except Exception as error:  # whatever a codec makes of bytes that are not its own
            raise DamagedChunkError(self.group, chunk, f"{type(error).__name__}: {error}") from error
        if (count == NO_COUNT).any():
            raise DamagedChunkError(self.group, chunk, "it is missing")
        if (count <= 0).any() or (count != count[0]).any():
            raise DamagedChunkError(self.group, chunk, "its count was altered")
        if not sound.all():
            raise DamagedChunkError(self.group, chunk, "its checksum does not fit")
        return content

    def blocks_of(self, chunk: int) -> range:
        """Return the blocks of a chunk."""
        span = self._span(chunk)
        return range(span.start, span.stop)

    def sound(self, blocks: range) -> tuple[Chunk, NDArray[np.bool_], list[str], bool]:
        """Return what is stored of some blocks for another store to copy.

        Returns
        -------
        content : Chunk
            The records and failures of the blocks that there are.
        sound : ndarray of shape (cells, blocks)
            Which of them are as they were written.
        tracebacks : list of str
            One text per block.
        damaged : bool
            Whether one was finished, and is not sound.
        """
        where = slice(blocks.start, min(blocks.stop, self.blocks))
        try:
            with reading(self.location):
                finished = np.asarray(self._arrays["count"][where]) != NO_COUNT
                content, sound = self._read_sound(where)
                traces = [str(text) for text in self._arrays["traceback"][where]]
        except StoreError:
            raise
        except Exception:  # torn: a codec may raise anything
            shape = (len(self.group.cells), max(where.stop - where.start, 0))
            nothing = np.full((*shape, self.group.record_size), np.nan), np.full(shape, "", dtype=object)
            return Chunk(*nothing), np.zeros(shape, bool), [""] * shape[1], True
        return content, sound, traces, bool((finished & ~sound.all(axis=0)).any())

    def recover(self, chunk: int) -> tuple[Chunk, NDArray[np.bool_]]:
        """Return what a chunk without a count holds all the same, and which of its blocks are sound."""
        blocks = self._span(chunk)
        try:
            with reading(self.location):
                if np.asarray(self._arrays["checksum"][:, blocks]).any():  # else nothing was begun
                    content, sound = self._read_sound(blocks)
                    return content, np.asarray(sound.all(axis=0))
        except StoreError:
            raise
        except Exception:  # torn: a codec may raise anything, and nothing can be kept
            pass
        shape = (len(self.group.cells), blocks.stop - blocks.start)
        empty = Chunk(np.full((*shape, self.group.record_size), np.nan), np.full(shape, "", dtype=object))
        return empty, np.zeros(shape[1], bool)

    def _read_sound(self, blocks: slice) -> tuple[Chunk, NDArray[np.bool_]]:
        records = np.asarray(self._arrays["records"][:, blocks])
        failures = np.asarray(self._arrays["failure"][:, blocks], dtype=object)
        stored = np.asarray(self._arrays["checksum"][:, blocks])
        content = Chunk(records, failures)
        sound: NDArray[np.bool_] = np.equal(stored, checksums(self.group, blocks.start, content))
        return content, sound

    def _span(self, chunk: int, stop: int | None = None) -> slice:
        end = self.blocks if stop is None else min(self.blocks, stop)
        return slice(chunk * self.chunk_size, min((chunk + 1) * self.chunk_size, end))

    def _stored(self, name: str) -> set[int]:
        """Return the chunks of an array that are stored."""
        folder = self._key(name, 0).rpartition("/")[0]
        return {int(child) for child in self.location.children(folder) if child.isdecimal()}

    def _delete(self, name: str, chunk: int) -> None:
        self.location.delete(self._key(name, chunk))

    def _key(self, name: str, chunk: int) -> str:
        array = self._arrays[name]
        place = tuple(chunk if dim == "block" else 0 for dim in array.metadata.dimension_names)
        return f"{array.path}/{array.metadata.encode_chunk_key(place)}"


def open_group(location: Location, path: str, mode: Literal["r", "r+"]) -> zarr.Group:
    """Open a Zarr group of a store; of format 3 only, since a store of format 2 may have a codec that runs code."""
    return zarr.open_group(location.zarr, path=path, mode=mode, zarr_format=3, use_consolidated=False)


def write_coordinates(base: zarr.Group, group: Group, statistic: Mapping[str, object]) -> None:
    """Write what the cells of a group and the numbers of a record are, beside its arrays."""
    for name, (dim, values) in _coordinates(group, statistic).items():
        array = base.create_array(
            name,
            shape=values.shape,
            dtype=str if values.dtype == object else values.dtype,
            dimension_names=(dim,),
            attributes={"checksum": _digest(values)},
            overwrite=True,
        )
        array[:] = values


def coordinates_are_sound(base: zarr.Group, group: Group, found: Mapping[str, NDArray[Any]]) -> bool:
    """Tell whether the coordinates that were ``found`` beside a group's arrays are what was written."""
    digests = {name: _digest(values) for name, values in found.items()}
    # Stores of before have no checksums.
    written = {name: base[name].attrs.get("checksum", digest) for name, digest in digests.items()}
    return digests == written and digests["cell"] == _digest(np.array(group.cells, dtype=object))


def _coordinates(group: Group, statistic: Mapping[str, object]) -> dict[str, tuple[str, NDArray[Any]]]:
    cells = {"cell": ("cell", np.array(group.cells, dtype=object))}
    return cells | {name: ("statistic", np.asarray(values)) for name, values in statistic.items()}


def _digest(values: NDArray[Any]) -> str:
    return hashlib.blake2b(json.dumps([str(value) for value in values]).encode(), digest_size=8).hexdigest()


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
