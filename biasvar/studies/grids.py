"""Grids of hyperparameters: axes, points and their names."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from biasvar.optimization.batches import FULL


@dataclass(frozen=True)
class Configuration:
    """One point of a grid."""

    hyper: dict[str, float]
    batch_size: int

    @property
    def key(self) -> str:
        """Name of the configuration, the same whatever else is in the grid."""
        parts = [f"{name}={value!r}" for name, value in self.hyper.items()]
        batch = "all" if self.batch_size == FULL else str(self.batch_size)
        return ",".join([*parts, f"batch_size={batch}"])


@dataclass(frozen=True)
class Grid:
    """All configurations of one update rule, the batch size last and fastest.

    Parameters
    ----------
    hyper : dict of str to tuple of float
        Values of each hyperparameter.
    batch_sizes : tuple of int
        Batch sizes; 0 is all examples.

    Examples
    --------
    >>> list(Grid({"learning_rate": (0.1, 0.2)}, (0,)).configurations)
    ['learning_rate=0.1,batch_size=all', 'learning_rate=0.2,batch_size=all']
    """

    hyper: dict[str, tuple[float, ...]]
    batch_sizes: tuple[int, ...]

    @property
    def axes(self) -> dict[str, Sequence[float]]:
        """Values by axis, the batch size among them."""
        return {**self.hyper, "batch_size": self.batch_sizes}

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return tuple(len(values) for values in self.axes.values())

    @cached_property
    def configurations(self) -> dict[str, Configuration]:
        """All points by name."""
        return {each.key: each for each in self._points()}

    def _points(self) -> Iterator[Configuration]:
        for *values, size in product(*self.axes.values()):
            yield Configuration(dict(zip(self.hyper, values, strict=True)), int(size))
