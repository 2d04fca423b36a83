"""What a loss is: what is averaged over training sets, and how a record of it is laid out."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasvar.learning.fits import Fit
from biasvar.learning.quadrature import hermite_rule
from biasvar.learning.training_sets import Cell, TrainingSets
from biasvar.montecarlo.moments import TAIL_SIZE, largest, weighted_mean

Array = NDArray[np.float64]
Attempt = tuple[list[int], Callable[[], list[Array]]]
NOISE_NODES = 64


@dataclass(frozen=True)
class Record:
    """How one block's averages of one cell are laid out in a row of numbers.

    Parameters
    ----------
    fields : mapping of str to int
        Names and lengths, in order; 0 stands for a single number. Names that begin with ``largest`` hold the block's
        largest losses, padded with NaN.

    Examples
    --------
    >>> record = Record({"mean": 2, "training_loss": 0})
    >>> record.unpack(record.pack(mean=[1.0, 2.0], training_loss=3.0))["mean"].tolist()
    [1.0, 2.0]
    """

    fields: Mapping[str, int]

    @property
    def size(self) -> int:
        """Length of the row."""
        return sum(max(length, 1) for length in self.fields.values())

    def pack(self, **values: Any) -> Array:
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
        parts = self.unpack(row).items()
        return all(bool(np.isfinite(value).all()) for name, value in parts if not name.startswith("largest"))

    @cached_property
    def _places(self) -> dict[str, int | slice]:
        places: dict[str, int | slice] = {}
        start = 0
        for name, length in self.fields.items():
            places[name] = slice(start, start + length) if length else start
            start += max(length, 1)
        return places


class Loss(ABC):
    """What a prediction costs, and what of it is averaged over training sets.

    A user's own loss needs :meth:`value` and, unless it is smooth, :meth:`expected`. Label noise is then simulated for
    every hypothesis set; of test labels it is integrated by :meth:`expected`.
    """

    @abstractmethod
    def value(self, labels: Array, predictions: Array) -> Array:
        """Return the loss of each prediction, elementwise."""

    def expected(self, f: Array, noise: float, predictions: Array) -> Array:
        """Return the loss of each prediction, averaged over labels f + noise e with a standard normal e.

        Gauss-Hermite quadrature of :meth:`value`: exact for polynomials, but not where the loss has a kink.
        """
        e, weights = hermite_rule(0.0, 1.0, NOISE_NODES if noise else 1)
        return sum((w * self.value(f + noise * node, predictions) for node, w in zip(e, weights, strict=True)), 0.0 * f)

    def integrates_noise(self, fit: Fit) -> bool:
        """Tell whether label noise of training sets is integrated exactly for such a fit, at all levels at once."""
        return False

    def record(self, points: int) -> Record:
        """Return what is kept of a block, for so many test points."""
        return Record({"mean": points, "loss": points, "training_loss": 0, "largest_loss": TAIL_SIZE})

    def attempts(self, sets: TrainingSets, cells: Sequence[Cell]) -> Iterator[Attempt]:
        """Yield which cells are computed together, and what computes their records."""
        for i, cell in enumerate(cells):
            yield [i], partial(self._simulated, sets, cell)

    def _simulated(self, sets: TrainingSets, cell: Cell) -> list[Array]:
        points, size = len(sets.problem.f), sets.block.size
        noise = cell.noise or 0.0
        labels, f = sets.labels(noise), sets.problem.f
        predictions, losses, training = np.empty((points, size)), np.empty((points, size)), np.empty(size)
        for tile, fitted in sets.predictions(cell.fit, labels):
            at_test = fitted[:, :points]
            predictions[:, tile] = at_test.T
            losses[:, tile] = self.expected(np.broadcast_to(f, at_test.shape), noise, at_test).T
            training[tile] = self.value(labels[tile], fitted[:, points:]).mean(axis=1)
        row = self.record(points).pack(
            mean=weighted_mean(predictions, sets.weights),
            loss=weighted_mean(losses, sets.weights),
            training_loss=training @ sets.weights,
            largest_loss=largest(sets.problem.test.weights @ losses, TAIL_SIZE),
        )
        return [row]
