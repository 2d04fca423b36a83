"""Which examples each step sees: the same for all configurations of a replicate."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from biasvar.montecarlo.streams import Purpose, Stream

Order = Literal["shuffled", "replacement", "fixed"]
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

    def gradient_evaluations(self, steps: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many examples' gradients have been taken after so many steps.

        Examples
        --------
        >>> Batches(Stream(0, "", 0), 5, 2).gradient_evaluations(np.array([1, 3, 4])).tolist()
        [2, 5, 7]
        """
        if self.order == "replacement":
            return steps * self.size
        an_epoch = -(-self.examples // self.size)
        return steps // an_epoch * self.examples + steps % an_epoch * self.size
