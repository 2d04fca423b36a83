"""One group's records in a store: five arrays, chunked alike along ``block``.

::

    records   (cell, block, statistic)   moments of each block
    failure   (cell, block)              why there are none, where a set failed
    checksum  (cell, block)              of each record, its failure and its place
    traceback (block)                    of a block's first failure that was an exception
    count     (block)                    replicates in the block; written last

A chunk is written by one task as whole files, its count after all others: what has a count is whole, and a run that is
killed anywhere leaves chunks that are either done or absent. Checksums cover a record's place as well as its bytes, so
that neither torn, altered nor exchanged files go unnoticed: nothing waits for the disk, and they find what a power cut
leaves of a file under its name. A traceback is no result (its lines may differ between machines): no checksum or digest
covers it.
"""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasvar.errors import DamagedChunkError, StoreError
from biasvar.execution.backends import Location
from biasvar.execution.coordinates import COORDINATES, coordinate_files
from biasvar.execution.zarr_files import TEXT, ZarrArray, group_content
from biasvar.studies.base import Chunk, Group

NO_COUNT = -1
SPAN_BYTES = 1 << 22  # of records that are read at a time: an object store takes hardly longer for some than for one
_NAMES = ("records", "failure", "checksum", "traceback", "count")
ARRAYS = (*_NAMES, *COORDINATES)
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

    def __init__(self, location: Location, group: Group) -> None:
        self.location, self.group = location, group
        paths = [f"blocks/{group.path}/{name}" for name in _NAMES]
        contents = location.read_all([f"{path}/zarr.json" for path in paths])
        self._arrays = dict(zip(_NAMES, map(ZarrArray.parse, paths, contents), strict=True))

    @classmethod
    def create(
        cls, location: Location, group: Group, blocks: int, chunk: int, statistic: Mapping[str, object]
    ) -> "Records":
        """Create the arrays of a group, ``chunk`` blocks per chunk; ``statistic`` says what a record's numbers are."""
        path, cells, size = f"blocks/{group.path}", len(group.cells), group.record_size

        def files(name: str, dims: Sequence[str], kind: str, fill: object) -> dict[str, bytes]:
            lengths = {"cell": (cells, cells), "block": (blocks, chunk), "statistic": (size, size)}
            shape, chunks = zip(*(lengths[dim] for dim in dims), strict=True)
            return ZarrArray(f"{path}/{name}", tuple(dims), shape, chunks, kind, fill).file()

        location.delete_tree(path)
        location.write_all(
            {f"{path}/zarr.json": group_content(group.to_json())}
            | coordinate_files(group, statistic)
            | files("records", ("cell", "block", "statistic"), "float64", np.nan)
            | files("failure", ("cell", "block"), TEXT, "")
            | files("checksum", ("cell", "block"), "uint64", 0)
            | files("traceback", ("block",), TEXT, "")
            | files("count", ("block",), "int64", NO_COUNT)
        )
        return cls(location, group)

    @property
    def blocks(self) -> int:
        """Number of blocks that there is room for."""
        return self._arrays["count"].shape[0]

    @property
    def chunk_size(self) -> int:
        """Blocks per chunk."""
        return self._arrays["count"].chunks[0]

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
        for name in _NAMES:  # count last: it says how many blocks there are
            self._arrays[name] = self._arrays[name].resized("block", blocks)
            self.location.write_all(self._arrays[name].file())

    def missing(self) -> list[int]:
        """Return the chunks, in order, that have no count."""
        present = self._stored("count")
        return [chunk for chunk in range(self.chunks) if chunk not in present]

    def begun(self) -> frozenset[int]:
        """Return the chunks without a count that hold something all the same."""
        return frozenset(self._stored("checksum") - self._stored("count"))

    def failed(self) -> list[int]:
        """Return the chunks, in order, that hold a failure: only those have a file of reasons."""
        return sorted(self._stored("failure"))

    def discard(self, chunk: int, entirely: bool = False) -> None:
        """Take a chunk's count away, so that its missing or damaged blocks are simulated again.

        With ``entirely`` all its blocks are. Its failures go before its checksums, so that whatever a kill leaves is
        either sound or simulated again.
        """
        for name in ("count", "traceback", "failure", "checksum") if entirely else ("count",):
            self.location.delete(self._key(name, chunk))

    def write(self, chunk: int, content: Chunk, count: int, tracebacks: Sequence[str] = ()) -> None:
        """Write one chunk, all its blocks, the count at the end; ``tracebacks`` are one text per block."""
        sums = checksums(self.group, chunk * self.chunk_size, content)
        values: dict[str, NDArray[Any]] = {"records": content.records, "checksum": sums}
        if (content.failures != "").any():
            values["failure"] = content.failures
        if any(tracebacks):
            values["traceback"] = np.array(tracebacks, dtype=object)
        files = {self._key(name, chunk): self._arrays[name].encode(value) for name, value in values.items()}
        # Where nothing failed goes what an earlier try may have left.
        self.location.write_all({self._key("failure", chunk): None, **files})
        counts = self._arrays["count"].encode(np.full(content.records.shape[1], count, np.int64))
        self.location.write(self._key("count", chunk), counts)

    def tracebacks(self, chunk: int) -> list[str]:
        """Return the traceback of each of a chunk's blocks, empty where nothing was raised."""
        return [str(text) for text in self._load(["traceback"], self._span(chunk))["traceback"]]

    def read_all(self, blocks: range | None = None) -> Iterator[Chunk]:
        """Read some consecutive blocks in order, all unless given, and check them; several chunks at a time.

        Raises
        ------
        DamagedChunkError
            If a block is missing, torn, altered or in another's place.
        """
        for found in self.read_through(blocks):
            if isinstance(found, DamagedChunkError):
                raise found
            yield found[0]

    def read_through(
        self, blocks: range | None = None
    ) -> Iterator[tuple[Chunk, NDArray[np.uint64]] | DamagedChunkError]:
        """Yield the same blocks with their checksums; in the place of a chunk that is damaged, what is wrong."""
        wanted = range(self.blocks) if blocks is None else blocks
        for chunks in self._spans(wanted):
            try:
                yield self._read_together(chunks, wanted)
            except DamagedChunkError:
                for chunk in chunks:
                    try:
                        yield self._read_together(range(chunk, chunk + 1), wanted)
                    except DamagedChunkError as damage:
                        yield damage

    def _spans(self, blocks: range) -> Iterator[range]:
        """Yield the chunks of some blocks that are read together."""
        chunks = range(blocks.start // self.chunk_size, -(-blocks.stop // self.chunk_size))
        together = max(1, SPAN_BYTES // (self.group.block_bytes * self.chunk_size))
        for first in chunks[::together]:
            yield range(first, min(first + together, chunks.stop))

    def _read_together(self, chunks: range, wanted: range) -> tuple[Chunk, NDArray[np.uint64]]:
        """Read what is wanted of the blocks of some chunks, and check it."""
        chunk, size = chunks[0], self.chunk_size
        blocks = slice(max(wanted.start, chunks.start * size), min(wanted.stop, chunks.stop * size))
        try:
            found = self._load(["records", "failure", "checksum", "count"], blocks)
        except StoreError:
            raise
        except Exception as error:  # whatever is made of bytes that are not those of a chunk
            raise DamagedChunkError(self.group, chunk, f"{type(error).__name__}: {error}") from error
        content, sound, count = *self._checked(found, blocks), found["count"]
        if (count == NO_COUNT).any():
            raise DamagedChunkError(self.group, chunk, "it is missing")
        if (count <= 0).any() or (count != count[0]).any():
            raise DamagedChunkError(self.group, chunk, "its count was altered")
        if not sound.all():
            raise DamagedChunkError(self.group, chunk, "its checksum does not fit")
        return content, found["checksum"]

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
        where = slice(blocks.start, max(blocks.start, min(blocks.stop, self.blocks)))
        try:
            found = self._load(_NAMES, where)
        except StoreError:
            raise
        except Exception:  # torn: whatever is made of bytes that are not those of a chunk
            return *self._nothing(where), [""] * (where.stop - where.start), True
        content, sound = self._checked(found, where)
        damaged = ((found["count"] != NO_COUNT) & ~sound.all(axis=0)).any()
        return content, sound, [str(text) for text in found["traceback"]], bool(damaged)

    def recover(self, chunk: int) -> tuple[Chunk, NDArray[np.bool_]]:
        """Return what a chunk without a count holds, to be filled up, and which of its blocks are sound."""
        blocks = self._span(chunk)
        try:
            content, sound = self._checked(self._load(["records", "failure", "checksum"], blocks), blocks)
        except StoreError:
            raise
        except Exception:  # torn: whatever is made of bytes that are not those of a chunk
            return self.blank(chunk)
        return content, np.asarray(sound.all(axis=0))

    def blank(self, chunk: int) -> tuple[Chunk, NDArray[np.bool_]]:
        """Return a chunk in which nothing is sound, to be filled up."""
        content, sound = self._nothing(self._span(chunk))
        return content, np.asarray(sound.all(axis=0))

    def _nothing(self, blocks: slice) -> tuple[Chunk, NDArray[np.bool_]]:
        shape = (len(self.group.cells), blocks.stop - blocks.start)
        empty = Chunk(np.full((*shape, self.group.record_size), np.nan), np.full(shape, "", dtype=object))
        return empty, np.zeros(shape, bool)

    def _load(self, names: Sequence[str], blocks: slice) -> dict[str, NDArray[Any]]:
        """Return what arrays hold of some blocks of some chunks, each in memory of its own."""
        chunks = range(blocks.start // self.chunk_size, -(-blocks.stop // self.chunk_size))
        contents = iter(self.location.read_all([self._key(name, chunk) for name in names for chunk in chunks]))
        first, found = chunks.start * self.chunk_size, {}
        for name in names:
            array = self._arrays[name]
            parts = [array.decode(next(contents)) for _ in chunks]
            axis = array.dims.index("block")
            whole = np.concatenate(parts, axis=axis)
            within = slice(blocks.start - first, blocks.stop - first)
            found[name] = whole[(slice(None),) * axis + (within,)]
        return found

    def _checked(self, found: Mapping[str, NDArray[Any]], blocks: slice) -> tuple[Chunk, NDArray[np.bool_]]:
        content = Chunk(found["records"], found["failure"])
        return content, np.equal(found["checksum"], checksums(self.group, blocks.start, content))

    def _span(self, chunk: int) -> slice:
        return slice(chunk * self.chunk_size, min((chunk + 1) * self.chunk_size, self.blocks))

    def _stored(self, name: str) -> set[int]:
        """Return the chunks of an array that are stored."""
        folder = self._key(name, 0).rpartition("/")[0]
        return {int(child) for child in self.location.children(folder) if child.isdecimal()}

    def _key(self, name: str, chunk: int) -> str:
        array = self._arrays[name]
        return array.key(tuple(chunk if dim == "block" else 0 for dim in array.dims))


def checksums(group: Group, first_block: int, content: Chunk) -> NDArray[np.uint64]:
    """Return 64 bits of BLAKE2 of every record, its failure, and its place: problem, cell, block."""
    cells, blocks, size = content.records.shape
    # One buffer and one call a record: there may be many, and small ones.
    data, step = memoryview(np.ascontiguousarray(content.records, "<f8").tobytes()), 8 * size
    places = [f"/{block}\0".encode() for block in range(first_block, first_block + blocks)]
    digests, start = [], 0
    for cell, failures in zip(group.cells, content.failures.tolist(), strict=True):
        path = f"{group.problem}/{cell}".encode()
        for place, failure in zip(places, failures, strict=True):
            whole = b"".join((path, place, data[start : start + step], str(failure).encode()))
            digests.append(blake2b(whole, digest_size=8).digest())
            start += step
    return np.frombuffer(b"".join(digests), "<u8").reshape(cells, blocks)
