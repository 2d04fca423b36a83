"""Arrays and groups of Zarr format 3 as whole files: what describes them, and the bytes of a chunk.

A chunk that is written whole is one file, whose bytes are the array's. To make it here takes microseconds, where Zarr's
own arrays, which can index and compress, take about a millisecond; any Zarr reads it. Of what Zarr's arrays write,
chunks that zstd has compressed can be read too, for stores of before hold them.
"""

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasvar.fields import Json

TEXT = "string"
_NUMBERS = {"bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64"}


@dataclass(frozen=True)
class ZarrArray:
    """An array in a store: what its ``zarr.json`` says.

    Parameters
    ----------
    path : str
        Where it lies in the store.
    dims : tuple of str
        Names of its axes.
    shape, chunks : tuple of int
        Lengths of the array's axes, and of a chunk's.
    kind : str
        Zarr's name of what its elements are: numpy's for numbers, ``"string"`` for text.
    fill : float, int, bool or str
        What stands where no chunk is stored.
    attributes : mapping
        Whatever else is said of it.
    compressed : bool
        Whether zstd compresses its chunks, as in stores of before.

    Examples
    --------
    >>> array = ZarrArray("count", ("block",), (5,), (2,), "int64", -1)
    >>> array.key((1,)), len(array.encode(np.array([7])))
    ('count/c/1', 16)
    >>> array.decode(array.encode(np.array([7]))).tolist()
    [7, -1]
    """

    path: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    kind: str
    fill: Any
    attributes: Json = field(default_factory=dict)
    compressed: bool = False

    @classmethod
    def parse(cls, path: str, content: bytes | None) -> "ZarrArray":
        """Make an array of the bytes of its ``zarr.json``.

        Raises
        ------
        FileNotFoundError, ValueError, KeyError, TypeError
            If there are none, or they do not describe an array that this module can read.
        """
        if content is None:
            raise FileNotFoundError(f"{path}/zarr.json")
        about = json.loads(content)
        kind, grid = about["data_type"], about["chunk_grid"]
        found = cls(
            path,
            tuple(map(str, about["dimension_names"])),
            tuple(map(int, about["shape"])),
            tuple(map(int, grid["configuration"]["chunk_shape"])),
            kind,
            str(about["fill_value"]) if kind == TEXT else _number(kind, about["fill_value"]),
            about["attributes"],
            compressed=len(about["codecs"]) > 1,
        )
        codecs = [codec["name"] for codec in about["codecs"]]
        expected = found.metadata() | {name: about[name] for name in ("codecs", "fill_value")}
        if about != expected or codecs != [codec["name"] for codec in found._codecs]:
            # It would be read wrongly.
            raise ValueError(f"{path}/zarr.json describes an array that no store of ours has")
        return found

    @property
    def dtype(self) -> np.dtype[Any]:
        """What its elements are in memory; text is an object."""
        return np.dtype(object) if self.kind == TEXT else np.dtype(self.kind).newbyteorder("<")

    @property
    def _codecs(self) -> list[Json]:
        if self.kind == TEXT:
            first: Json = {"name": "vlen-utf8", "configuration": {}}
        else:
            first = {"name": "bytes", "configuration": {"endian": "little"}}
        return [first, {"name": "zstd", "configuration": {"level": 0, "checksum": False}}][: 1 + self.compressed]

    def metadata(self) -> dict[str, Any]:
        """Return what its ``zarr.json`` says."""
        return {
            "zarr_format": 3,
            "node_type": "array",
            "shape": list(self.shape),
            "data_type": self.kind,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(self.chunks)}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": "NaN" if self.fill != self.fill else self.fill,
            "codecs": self._codecs,
            "attributes": dict(self.attributes),
            "dimension_names": list(self.dims),
            "storage_transformers": [],
        }

    def resized(self, dim: str, length: int) -> "ZarrArray":
        """Return the array with another length along an axis."""
        return replace(self, shape=tuple(length if d == dim else n for d, n in zip(self.dims, self.shape, strict=True)))

    def file(self) -> dict[str, bytes]:
        """Return its ``zarr.json``, by key."""
        return {f"{self.path}/zarr.json": _written(self.metadata())}

    def key(self, place: tuple[int, ...]) -> str:
        """Return the key of the chunk at a place in the grid of chunks."""
        return "/".join([self.path, "c", *map(str, place)])

    def encode(self, values: NDArray[Any]) -> bytes:
        """Return the bytes of a chunk; what ``values`` lack at its end, where the array ends, is filled up."""
        whole = values
        if values.shape != self.chunks:
            whole = np.full(self.chunks, self.fill, self.dtype)
            whole[tuple(map(slice, values.shape))] = values
        content = _text_bytes(whole) if self.kind == TEXT else np.ascontiguousarray(whole, self.dtype).tobytes()
        return bytes(_zstd().compress(content, 0)) if self.compressed else content

    def decode(self, content: bytes | None) -> NDArray[Any]:
        """Return the elements of a chunk of these bytes, not to be written to; of a chunk that is not stored, ``fill``.

        Raises
        ------
        ValueError, RuntimeError, IndexError, UnicodeDecodeError
            If the bytes are not those of a chunk.
        """
        if content is None:
            return np.full(self.chunks, self.fill, self.dtype)
        if self.compressed:
            content = bytes(_zstd().decompress(content))
        if self.kind == TEXT:
            return _text_of(content, math.prod(self.chunks)).reshape(self.chunks)
        return np.frombuffer(content, self.dtype).reshape(self.chunks)


def whole_array(path: str, dims: tuple[str, ...], values: NDArray[Any], attributes: Json) -> dict[str, bytes]:
    """Return the files of an array of one chunk, by key.

    Parameters
    ----------
    path : str
        Where it is to lie.
    dims : tuple of str
        Names of the axes.
    values : ndarray
        Numbers, or text as objects.
    attributes : mapping
        Whatever else is said of it.

    Raises
    ------
    TypeError
        If the values are neither numbers nor text.
    """
    kind = TEXT if _is_text(values) else values.dtype.name
    if kind not in {TEXT, *_NUMBERS}:
        raise TypeError(f"{path}: expected numbers or text, got {values.dtype}")
    # What is nowhere stored reads as this: as what Zarr's own arrays have by default.
    fill = "" if kind == TEXT else values.dtype.type(np.nan if values.dtype.kind == "f" else 0).item()
    chunks = tuple(max(1, length) for length in values.shape)
    array = ZarrArray(path, dims, values.shape, chunks, kind, fill, attributes)
    return array.file() | ({array.key((0,) * values.ndim): array.encode(values)} if values.size else {})


def group_content(attributes: Json, nodes: Mapping[str, Json] | None = None) -> bytes:
    """Return the ``zarr.json`` of a group, for a root's with the metadata of all nodes beneath it, by path."""
    about: dict[str, Any] = {"attributes": dict(attributes), "zarr_format": 3, "node_type": "group"}
    return _written(about if nodes is None else about | _consolidated(nodes))


def node_metadata(files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return what the ``zarr.json`` among some files say, by path, as a root repeats it; what is torn is left out."""
    found: dict[str, Any] = {}
    for key, content in files.items():
        path, _, name = key.rpartition("/")
        if name == "zarr.json":
            with suppress(ValueError):
                about = json.loads(content)
                found[path] = about | _consolidated({}) if about["node_type"] == "group" else about
    return found


def _consolidated(nodes: Mapping[str, Json]) -> dict[str, Any]:
    # Parent by parent: of children that do not stand together zarr-python keeps the last ones only.
    listed = dict(sorted(nodes.items(), key=lambda node: node[0].rpartition("/")[0]))
    return {"consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": listed}}


def _written(about: Json) -> bytes:
    # Attributes may be NumPy's numbers and arrays.
    return json.dumps(about, default=lambda value: value.tolist()).encode()


def _zstd() -> Any:
    return import_module("numcodecs.zstd")


def _number(kind: str, fill: object) -> Any:
    if kind not in _NUMBERS:
        raise ValueError(f"{kind} is no kind of numbers")
    return np.dtype(kind).type(fill).item()


def _is_text(values: NDArray[Any]) -> bool:
    if values.dtype == object:
        return all(issubclass(kind, str) for kind in set(map(type, values.ravel().tolist())))
    return values.dtype.kind in "TU"


def _text_bytes(values: NDArray[Any]) -> bytes:
    """Return text as Zarr's codec vlen-utf8 has it: how many, then the length and the bytes of each."""
    texts = values.ravel().tolist()
    # Many are the same: words for what can be said of a cell.
    pieces = {text: _length(len(content)) + content for text in set(texts) for content in [str(text).encode()]}
    return b"".join([_length(len(texts)), *map(pieces.__getitem__, texts)])


def _length(number: int) -> bytes:
    return number.to_bytes(4, "little")


def _text_of(content: bytes, count: int) -> NDArray[np.object_]:
    """Return the text that :func:`_text_bytes` made bytes of."""
    found, start = np.empty(count, object), 4
    if int.from_bytes(content[:4], "little") != count:
        raise ValueError(f"expected {count} texts")
    for i in range(count):
        stop = start + 4 + int.from_bytes(content[start : start + 4], "little")
        if stop > len(content):
            raise ValueError(f"text {i} is cut short")
        found[i] = content[start + 4 : stop].decode()
        start = stop
    if start != len(content):
        raise ValueError("bytes follow the last text")
    return found
