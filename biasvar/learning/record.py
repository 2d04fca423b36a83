"""How averages over training sets are laid out in rows of numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Record:
    """How one block's averages of one cell are laid out in a row of numbers.

    Parameters
    ----------
    fields : mapping of str to int
        Names and lengths, in order; 0 stands for a single number. Names that begin with ``largest`` hold the block's
        largest losses, padded with NaN.
    may_lack : tuple of str
        Names of which numbers may be NaN, for what is infinite.

    Examples
    --------
    >>> record = Record({"mean": 2, "training_loss": 0})
    >>> record.unpack(record.pack(mean=[1.0, 2.0], training_loss=3.0))["mean"].tolist()
    [1.0, 2.0]
    """

    fields: Mapping[str, int]
    may_lack: tuple[str, ...] = ()

    @cached_property
    def size(self) -> int:
        """Length of the row."""
        return sum(max(length, 1) for length in self.fields.values())

    @property
    def coordinates(self) -> dict[str, NDArray[Any]]:
        """What each number of the row is: ``moment``, the name of its field, and ``place`` within that field."""
        lengths = [max(length, 1) for length in self.fields.values()]
        return {
            "moment": np.repeat(np.array(list(self.fields), dtype=object), lengths),
            "place": np.concatenate([np.arange(length) for length in lengths]),
        }

    def pack(self, **values: ArrayLike) -> Array:
        """Lay named values out in a row."""
        row = np.empty(self.size)
        for name, place in self._places.items():
            row[place] = values[name]
        return row

    def unpack(self, rows: Array) -> dict[str, Array]:
        """Return views of the named parts of rows (..., size); numbers that stand alone lose their axis."""
        return {name: rows[..., place] for name, place in self._places.items()}

    def is_finite(self, row: Array) -> bool:
        """Tell whether a row holds a number wherever it must."""
        return bool(np.isfinite(row[self._needed]).all())

    @cached_property
    def _needed(self) -> NDArray[np.bool_]:
        """Where a row must hold a number."""
        needed = np.ones(self.size, bool)
        for name, place in self._places.items():
            needed[place] = not name.startswith("largest") and name not in self.may_lack
        return needed

    @cached_property
    def _places(self) -> dict[str, int | slice]:
        places: dict[str, int | slice] = {}
        start = 0
        for name, length in self.fields.items():
            places[name] = slice(start, start + length) if length else start
            start += max(length, 1)
        return places
