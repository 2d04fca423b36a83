"""How a data set is cut at random: disjoint training sets, and a rest to test on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from biasvar.errors import StudyError
from biasvar.learning.examples import Examples

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

MOST_SETS = 8  # in a cut
FOR_TWO_DRAWS = 4  # sets of which two pairs can be made: two independent draws of the risk
SHARE_TRAINED = 0.75  # of the data, where more than that many sets can be made of it


class Stratum(NamedTuple):
    """Examples of which every training set has the same number."""

    members: Indices
    n_train: int  # in each training set
    rest: int  # that are in none, and tested on


@dataclass(frozen=True)
class Cuts:
    """Cut a data set at random into disjoint training sets of one size and a rest.

    Any two training sets are a pair, tested on what is in neither. Two disjoint pairs, each tested on its half of the
    rest, are independent draws: where a cut has four sets, they tell the variance over data sets.

    Parameters
    ----------
    strata : tuple of Stratum
        What is cut by itself: all examples, or each class.
    sets : int
        Training sets in a cut.
    """

    strata: tuple[Stratum, ...]
    sets: int

    @classmethod
    def of(cls, examples: Examples, n_train: int, stratified: bool, test_examples: int) -> "Cuts":
        """Say how the data set is cut for training sets of size ``n_train``.

        Raises
        ------
        StudyError
            If two training sets leave no test example.
        """
        total = len(examples.y)
        codes = examples.y if stratified else np.zeros(total)
        groups = [np.flatnonzero(codes == code) for code in np.unique(codes)]
        sizes = apportioned(n_train, [len(members) for members in groups])
        for members, size in zip(groups, sizes, strict=True):
            if 2 * size + 1 > len(members):
                what = f"{2 * size + 1} examples of each class" if stratified else f"{2 * n_train + 1} examples"
                raise StudyError(
                    f"n_train: two disjoint training sets of {n_train} and a test example take {what}, and there are "
                    f"{len(members)}; use n_train of at most {n_train * (len(members) - 1) // (2 * size)}"
                )
        sets = min(_sets_of(len(members), size) for members, size in zip(groups, sizes, strict=True))
        strata = []
        for members, size in zip(groups, sizes, strict=True):
            wanted = max(2, -(-test_examples * len(members) // total))
            strata.append(Stratum(members, size, min(len(members) - sets * size, wanted)))
        return cls(tuple(strata), sets)

    @property
    def n_train(self) -> int:
        """Size of a training set."""
        return sum(stratum.n_train for stratum in self.strata)

    @property
    def two_draws(self) -> bool:
        """Whether a cut has two pairs with test examples of their own."""
        return self.sets >= FOR_TWO_DRAWS

    @cached_property
    def pairs(self) -> list[tuple[int, int]]:
        """All pairs of training sets."""
        return list(combinations(range(self.sets), 2))

    def draw(self, generator: np.random.Generator, size: int) -> Indices:
        """Cut the data set at random, ``size`` times.

        Returns
        -------
        ndarray of shape (size, examples in a cut)
            Examples by index: the training sets one after another, then the halves of the rest, and what is over.
        """
        drawn = [
            stratum.members[
                np.stack(
                    [generator.choice(len(stratum.members), self._taken(stratum), replace=False) for _ in range(size)]
                )
            ]
            for stratum in self.strata
        ]
        ends = [np.cumsum([0, *self._lengths(stratum)]) for stratum in self.strata]
        parts = [
            rows[:, end[i] : end[i + 1]] for i in range(self.sets + 3) for rows, end in zip(drawn, ends, strict=True)
        ]
        return np.concatenate(parts, axis=1)

    def training(self, cut: Indices, generator: np.random.Generator) -> Indices:
        """Return the training sets of cuts, shape (sets, size, n_train), in random order where there are classes."""
        n = self.n_train
        chosen = np.stack([cut[:, n * i : n * (i + 1)] for i in range(self.sets)])
        return generator.permuted(chosen, axis=2) if len(self.strata) > 1 else chosen

    @cached_property
    def weights(self) -> Array:
        """Weights of a cut's examples, shape (pairs, 3, examples in a cut).

        For each pair: over all that is in neither of its sets, and over each half of the rest. Those of a stratum make
        up its share of the data.
        """
        lengths = np.array([self._lengths(stratum) for stratum in self.strata]).T  # (sets + 3, strata)
        total = sum(len(stratum.members) for stratum in self.strata)
        shares = np.array([len(stratum.members) / total for stratum in self.strata])
        last = self.sets + 3
        out = np.empty((len(self.pairs), 3, int(lengths.sum())))
        for row, pair in zip(out, self.pairs, strict=True):
            for weights, used in zip(row, (set(range(last)) - set(pair), {self.sets}, {self.sets + 1}), strict=True):
                chosen = np.where(np.isin(np.arange(last), list(used))[:, None], lengths, 0)
                counts = np.maximum(chosen.sum(axis=0), 1)
                each = np.where(chosen > 0, shares / counts, 0.0)
                weights[:] = np.repeat(each.ravel(), lengths.ravel())
        return out

    def _taken(self, stratum: Stratum) -> int:
        return self.sets * stratum.n_train + stratum.rest

    def _lengths(self, stratum: Stratum) -> list[int]:
        """Return how many examples of a stratum each part of a cut has."""
        half = stratum.rest // 2
        return [stratum.n_train] * self.sets + [half, half, stratum.rest - 2 * half]


def _sets_of(examples: int, n_train: int) -> int:
    """Return how many training sets a cut has: most of the data, but four where they leave two test examples."""
    if n_train == 0:
        return MOST_SETS
    if examples < FOR_TWO_DRAWS * n_train + 2:
        return 2
    return int(max(FOR_TWO_DRAWS, min(SHARE_TRAINED * examples // n_train, MOST_SETS)))


def apportioned(total: int, sizes: Sequence[int]) -> list[int]:
    """Share ``total`` out in proportion to sizes, by largest remainders; at least one each where there are enough.

    Examples
    --------
    >>> apportioned(10, [60, 35, 5])
    [6, 3, 1]
    """
    exact = np.array(sizes) * total / sum(sizes)
    shares = np.maximum(np.floor(exact), 1 if total >= len(sizes) else 0).astype(int)
    while shares.sum() < total:
        shares[np.argmin(shares - exact)] += 1
    while shares.sum() > total:
        shares[np.argmax(shares - exact)] -= 1
    return [int(share) for share in shares]
