"""What a hypothesis set may say of its tails."""

from typing import NamedTuple

import numpy as np


class TailIndex(NamedTuple):
    """State tail indices of a set's squared error, as theory knows them.

    P(loss > t) falls like t^-index: the risk exists for an index above 1, its standard error above 2. ``nan`` is for
    "not known": then the index is estimated from the largest losses.
    """

    signal: float = np.nan
    noise: float = np.nan


BOUNDED = TailIndex(np.inf, np.inf)
