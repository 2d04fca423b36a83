"""Which examples each step sees: the same for all configurations of a replicate."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from biasvar.montecarlo.streams import Purpose, Stream

Places = NDArray[np.intp]
Order = Literal["shuffled", "replacement", "fixed"]
FULL = 0  # the batch size that stands for all examples
DRAWN = 1 << 16  # indices drawn with replacement at a time


@dataclass(frozen=True)
class Batches:
    """Yield index arrays for ever; iterating again begins anew, with the same ones.

    Parameters
    ----------
    stream : Stream
        Where the order comes from. It does not depend on the batch size: smaller batches cut the same epochs finer.
    examples : int
        How many there are.
    size : int
        Examples in a batch; the last batch of an epoch has what is left.
    order : {"shuffled", "replacement", "fixed"}
        Epochs in random order, independent draws, or the order of the data.

    Examples
    --------
    >>> from itertools import islice
    >>> [batch.tolist() for batch in islice(Batches(Stream(0, "", 0), 5, 2, "fixed"), 4)]
    [[0, 1], [2, 3], [4], [0, 1]]
    """

    stream: Stream
    examples: int
    size: int
    order: Order = "shuffled"

    def __iter__(self) -> Iterator[NDArray[np.intp]]:
        """Return an iterator over batches."""
        generator = self.stream.generator(Purpose.BATCHES)
        while True:
            epoch = self._epoch(generator)
            for start in range(0, len(epoch), self.size):
                yield epoch[start : start + self.size]

    def _epoch(self, generator: np.random.Generator) -> NDArray[np.intp]:
        if self.order == "fixed":
            return np.arange(self.examples)
        if self.order == "shuffled":
            return generator.permutation(self.examples)
        count = max(1, DRAWN // self.size) * self.size  # whole batches, so that cuts do not depend on the examples
        return generator.integers(0, self.examples, size=count)


def gradient_evaluations(steps: NDArray[np.int64], examples: int, size: int, order: Order) -> NDArray[np.int64]:
    """Return how many examples' gradients have been taken after so many steps.

    Parameters
    ----------
    steps : ndarray of int
        Numbers of steps.
    examples : int
        How many examples there are; 1 for an objective without data.
    size : int
        Examples in a batch; 0 for all.
    order : {"shuffled", "replacement", "fixed"}
        As of :class:`Batches`.

    Examples
    --------
    >>> gradient_evaluations(np.array([1, 3, 4]), examples=5, size=2, order="shuffled").tolist()
    [2, 5, 7]
    """
    if size == FULL:
        return steps * examples
    if order == "replacement":
        return steps * size
    an_epoch = -(-examples // size)
    return steps // an_epoch * examples + steps % an_epoch * size


def steps_within(budgets: NDArray[np.int64], examples: int, size: int) -> NDArray[np.int64]:
    """Return how many steps of shuffled epochs take no more than so many examples' gradients.

    Parameters
    ----------
    budgets : ndarray of int
        Numbers of gradient evaluations.
    examples, size : int
        As of :func:`gradient_evaluations`, which this inverts.

    Examples
    --------
    >>> steps_within(np.array([2, 5, 6, 7]), examples=5, size=2).tolist()
    [1, 3, 3, 4]
    """
    if size == FULL:
        return budgets // examples
    an_epoch = -(-examples // size)
    return budgets // examples * an_epoch + budgets % examples // size


def shuffled_batches(generator: np.random.Generator, replicates: int, examples: int, size: int) -> Iterator[Places]:
    """Yield index arrays (replicates, size) for ever: each replicate has shuffled epochs of its own.

    The last batch of an epoch has what is left. Smaller batches cut the same epochs finer.
    """
    order = np.broadcast_to(np.arange(examples), (replicates, examples))
    while True:
        epoch = generator.permuted(order, axis=1)
        for start in range(0, examples, size):
            yield epoch[:, start : start + size]
