"""Random streams that belong to a position in a study, never to a worker or a chunk."""

import hashlib
from dataclasses import dataclass
from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a stream's numbers are for; streams of different purpose are independent."""

    INPUTS = 0
    LABEL_NOISE = 1
    ESTIMATOR = 2
    TEST_POINTS = 3
    INITIAL_POINT = 4
    BATCHES = 5
    DIRECTIONS = 6
    SEGMENTS = 7
    ORDER = 8


@dataclass(frozen=True)
class Stream:
    """Name one block's source of randomness by what it is: study seed, label, block number.

    The label is hashed, so that adding a value to an axis of the study moves no other stream.

    Parameters
    ----------
    seed : int
        The study's seed, any non-negative integer.
    label : str
        What the draws are for, for example ``"n_train=10"``.
    block : int
        Block number, below 2**32.

    Examples
    --------
    >>> a = Stream(0, "n_train=2", 7).generator(Purpose.INPUTS).random()
    >>> b = Stream(0, "n_train=2", 7).generator(Purpose.INPUTS).random()
    >>> a == b
    True
    """

    seed: int
    label: str
    block: int

    def generator(self, purpose: Purpose) -> np.random.Generator:
        """Make the PCG64DXSM generator of this stream for one purpose."""
        words = np.frombuffer(hashlib.sha256(self.label.encode()).digest()[:16], dtype="<u4")
        # A fixed number of words, each below 2**32: longer integers would collide (numpy cuts them up).
        key = (*(int(word) for word in words), self.block, int(purpose))
        return np.random.Generator(np.random.PCG64DXSM(np.random.SeedSequence(self.seed, spawn_key=key)))
