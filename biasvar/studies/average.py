"""Studies whose numbers are averages over replicates: the short way to a kind of study of one's own."""

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Annotated, Any, ClassVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from biasvar.errors import StudyError
from biasvar.fields import PositiveInt
from biasvar.learning.loss_tails import Index
from biasvar.learning.record import Record
from biasvar.learning.reduction import Collected
from biasvar.montecarlo.intervals import standard_error
from biasvar.montecarlo.moments import TAIL_SIZE, largest
from biasvar.montecarlo.streams import Purpose, Stream
from biasvar.montecarlo.tails import Status, Tops, status_of
from biasvar.studies.attempts import attempted
from biasvar.studies.base import BlockRecords, BlockSource, Chunk, Group, Reducer, first_failure
from biasvar.studies.marks import AtLeast, Axis, Fixed
from biasvar.studies.study import Study

MIN_BLOCKS = 16  # a standard error from fewer blocks would itself be a guess
FINGERPRINT_REPLICATES = 4
PROBLEM = "cells"
_MISSING = {Status.INFINITE: "mean", Status.SE_UNRELIABLE: "variance"}


@dataclass(frozen=True)
class Number:
    """A number that every cell of an :class:`AverageStudy` has.

    Parameters
    ----------
    name, label : str
        What it is called in code and in words.
    unit : str
        Its unit.

    Examples
    --------
    >>> import biasvar as bv
    >>> bv.Number("gain", "what an hour is worth", unit="EUR / h").unit
    'EUR / h'
    """

    name: str
    label: str
    unit: str = "1"


@dataclass(frozen=True)
class _Averages:
    """What some blocks come to: of each cell its blocks' averages and the largest sizes, and why it failed first."""

    cells: tuple[Collected, ...]
    failures: tuple[str, ...]

    @classmethod
    def joined(cls, parts: Sequence["_Averages"]) -> "_Averages":
        """Join what blocks that follow each other come to."""
        cells = zip(*(part.cells for part in parts), strict=True)
        failures = zip(*(part.failures for part in parts), strict=True)
        return cls(tuple(map(Collected.joined, cells)), tuple(map(first_failure, failures)))


class AverageStudy(Study[xr.Dataset]):
    """A study of numbers that are averages over replicates, over a grid of the fields marked ``Axis``.

    A kind of study is a subclass with a name, ``kind``, its numbers, its axes as fields, and :meth:`replicate`. It then
    has all that other studies have: standard errors from independent blocks, flags where the largest values say that
    there is none, the same bits on any scheduler, resumption, extension, YAML, tables.

    Parameters
    ----------
    replicates : int
        Replicates per cell: at least 16 blocks.
    block_size : int
        Replicates per block, the unit of randomness and of standard errors.

    Examples
    --------
    >>> from typing import Annotated
    >>> import biasvar as bv
    >>> class Maximum(bv.AverageStudy):
    ...     kind = "maximum"
    ...     numbers = (bv.Number("maximum", "largest of n uniforms"),)
    ...     n: Annotated[tuple[int, ...], bv.Axis()]
    ...     def replicate(self, generator, size, n):
    ...         return generator.random((size, n)).max(axis=1)
    >>> summary = bv.lazy(Maximum(name="maximum", n=(1, 3))).compute()
    >>> bool(abs(summary.maximum.sel(n=3) - 3 / 4) < 4 * summary.maximum_se.sel(n=3))
    True
    """

    numbers: ClassVar[Sequence[Number]]

    replicates: Annotated[PositiveInt, AtLeast()] = 2**14
    block_size: Annotated[PositiveInt, Fixed()] = 2**8

    @abstractmethod
    def replicate(self, generator: np.random.Generator, size: int, **labels: object) -> NDArray[np.float64]:
        """Return the numbers of ``size`` replicates of one cell, shape (size,) or (size, numbers).

        Parameters
        ----------
        generator : numpy.random.Generator
            All random numbers come from it: the same for a cell and block, whatever else is in the study.
        size : int
            How many replicates.
        **labels
            The cell's value on each axis.
        """

    def _fit_together(self) -> None:
        for axis in self._axes:
            values = getattr(self, axis)
            if not values:
                raise ValueError(f"{axis}: is empty; give at least one value")
            if len(set(values)) < len(values):
                raise ValueError(f"{axis}: {list(values)} has a value twice; list each once")
        least = MIN_BLOCKS * self.block_size
        if self.replicates < least or self.replicates % self.block_size:
            raise ValueError(
                f"replicates: expected a multiple of block_size={self.block_size} of at least {least}, "
                f"got {self.replicates}"
            )

    @property
    def _axes(self) -> list[str]:
        return [name for name, mark in self._marks.items() if isinstance(mark, Axis)]

    @cached_property
    def _cells(self) -> dict[str, dict[str, Any]]:
        """Labels of all cells, by key."""
        points = product(*(getattr(self, axis) for axis in self._axes))
        labelled = [dict(zip(self._axes, point, strict=True)) for point in points]
        return {",".join(f"{axis}={value!r}" for axis, value in labels.items()) or "all": labels for labels in labelled}

    # What the engine asks

    def groups(self, stored: Collection[tuple[str, str]] = ()) -> list[Group]:
        """Arrange the cells that are not stored yet in one group."""
        cells = tuple(key for key in self._cells if (PROBLEM, key) not in stored)
        return [Group(PROBLEM, cells, self._record.size)] if cells else []

    def blocks_needed(self, summary: xr.Dataset | None = None) -> dict[str, int]:
        """Return how many blocks all cells need."""
        return {PROBLEM: self.replicates // self.block_size}

    @property
    def _record(self) -> Record:
        fields = {number.name: 0 for number in self.numbers}
        return Record(fields | {f"largest {name}": TAIL_SIZE for name in fields})

    def record_coordinates(self, group: Group) -> dict[str, NDArray[Any]]:
        """Return the numbers, and the largest sizes of each."""
        return self._record.coordinates

    def simulate(self, group: Group, block: int, work: int | None = None) -> BlockRecords:
        """Simulate one block of each cell, from random numbers of its own."""

        def one(key: str) -> NDArray[np.float64]:
            generator = Stream(self.seed, key, block).generator(Purpose.ESTIMATOR)
            return self._averages(generator, work or self.block_size, self._cells[key])

        return attempted(group, group.record_size, one)

    def _replicates(
        self, generator: np.random.Generator, size: int, labels: Mapping[str, object]
    ) -> NDArray[np.float64]:
        """Return the numbers of some replicates, (size, numbers), once they have been looked at."""
        values = np.asarray(self.replicate(generator, size, **labels), dtype=float)
        values = values[:, None] if values.ndim == 1 else values
        if values.shape != (size, len(self.numbers)):
            raise StudyError(f"replicate returned shape {values.shape}, expected {(size, len(self.numbers))}")
        if not np.isfinite(values).all():
            raise StudyError("replicate returned values that are not finite")
        return values

    def _averages(self, generator: np.random.Generator, size: int, labels: Mapping[str, object]) -> NDArray[np.float64]:
        values = self._replicates(generator, size, labels)
        names = [number.name for number in self.numbers]
        means = dict(zip(names, values.mean(axis=0), strict=True))
        tops = {
            f"largest {name}": largest(np.abs(column), TAIL_SIZE) for name, column in zip(names, values.T, strict=True)
        }
        return self._record.pack(**means, **tops)

    def fingerprint_values(self) -> dict[str, list[float]]:
        """Return the averages of a few replicates of each cell that can be simulated."""
        found = {}
        for key, labels in self._cells.items():
            generator = Stream(self.seed, key, 0).generator(Purpose.ESTIMATOR)
            with suppress(Exception):  # a user's code may raise anything: its cell will say so
                found[key] = self._replicates(generator, FINGERPRINT_REPLICATES, labels).mean(axis=0).tolist()
        return found

    def changed_values(self, stored: Mapping[str, Sequence[float]]) -> str:
        """Say in which cell replicates have changed, though the kind of study and its fields are the same."""
        mine = self.fingerprint_values()
        for key in mine:
            # Not to the last bit: mathematical functions differ between CPUs.
            if key in stored and not np.allclose(mine[key], stored[key], rtol=1e-6, atol=1e-9):
                return f"replicate: cell {key} has other values than those that the store was made with"
        return ""

    def layout(self) -> xr.Dataset:
        """Return the empty labelled summary."""
        axes = self._axes
        shape = tuple(len(getattr(self, axis)) for axis in axes)
        variables: dict[str, Any] = {}
        for column, number in enumerate(self.numbers, start=1):
            said = {"long_name": number.label, "short_name": number.name, "units": number.unit, "column": column}
            said["blocks"] = "block_count"
            variables[number.name] = (axes, np.full(shape, np.nan), said)
            error = {"long_name": f"standard error of {number.name}", "units": number.unit}
            variables[f"{number.name}_se"] = (axes, np.full(shape, np.nan), error)
        for name, label in (("replicates", "replicates"), ("block_count", "independent blocks")):
            variables[name] = (axes, np.zeros(shape, int), {"long_name": f"{label} behind the numbers"})
        variables["replicates"][-1]["counted"] = "replicates"
        for name, label in (("status", "what can be said of the numbers"), ("status_reason", "why, in words")):
            variables[name] = (axes, np.full(shape, "", object), {"long_name": label})
        return xr.Dataset(variables, {axis: _coordinate(getattr(self, axis)) for axis in axes})

    def reducer(self, group: Group, known: object = None) -> Reducer:
        """Return what keeps of blocks their averages, and of the largest sizes those that tell of a tail."""
        record, block_size, replicates = self._record, self.block_size, self.replicates
        names = [number.name for number in self.numbers]

        def collected(rows: NDArray[np.float64]) -> Collected:
            parts = record.unpack(rows)
            tops = {name: Tops.of(parts[f"largest {name}"], block_size, replicates) for name in names}
            # A copy, lest the whole record is sent for it.
            return Collected({}, {name: parts[name].copy() for name in names}, tops)

        def reduce(blocks: Chunk, first: int) -> _Averages:
            return _Averages(tuple(map(collected, blocks.records)), tuple(map(first_failure, blocks.failures)))

        return reduce

    def summarise(self, source: BlockSource) -> xr.Dataset:
        """Average all blocks of each cell."""
        out = self.layout()
        out.status[...], out.status_reason[...] = str(Status.FAILED), "not simulated"
        places = {key: np.unravel_index(i, out.status.shape) for i, key in enumerate(self._cells)}
        for group in source.groups():
            found: _Averages = source.reduced(group)
            for key, cell, why in zip(group.cells, found.cells, found.failures, strict=True):
                if key in places:
                    self._fill(out, tuple(int(i) for i in places[key]), cell, why)
        return out

    def _fill(self, out: xr.Dataset, at: tuple[int, ...], cell: Collected, why: str) -> None:
        """Write one cell into the summary; numbers whose standard error does not exist lose it."""
        if why:
            out.status_reason.values[at] = why
            return
        status, reason = Status.OK, ""
        for number in self.numbers:
            blocks = cell.series[number.name]
            index = Index.estimated(cell.tops[number.name].index())
            out[number.name].values[at], out[f"{number.name}_se"].values[at] = blocks.mean(), standard_error(blocks)
            if status_of(index.most) is not Status.OK:
                status = status_of(index.most)
                out[f"{number.name}_se"].values[at] = np.nan
                reason = (
                    f"{number.name} seems to have no finite {_MISSING[status]}: its tail index is {index.value:.3g} +- "
                    f"{index.se:.2g} (estimated from the largest values)"
                )
        out.status.values[at], out.status_reason.values[at] = str(status), reason
        out.block_count.values[at] = len(cell.series[self.numbers[0].name])
        out.replicates.values[at] = out.block_count.values[at] * self.block_size


def _coordinate(values: Sequence[object]) -> NDArray[Any]:
    array = np.array(values)
    return array.astype(object) if array.dtype.kind == "U" else array
