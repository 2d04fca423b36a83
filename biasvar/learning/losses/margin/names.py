"""Losses of scores by name, and a user's own."""

import numpy as np
from numpy.typing import NDArray

from biasvar.adapting import adapt, offers
from biasvar.errors import StudyError
from biasvar.learning.losses.base import checked
from biasvar.learning.losses.margin.base import MarginLoss
from biasvar.learning.losses.margin.brier import Brier
from biasvar.learning.losses.margin.surrogates import OURS
from biasvar.learning.losses.margin.votes import ZeroOne

Array = NDArray[np.float64]


#: Losses by the name that they have in a study.
BY_NAME: dict[str, MarginLoss] = {"zero_one": ZeroOne(), **OURS, "brier": Brier()}


def adapted(own: object, where: str) -> MarginLoss:
    """Take a user's object for a loss of scores: the one door at which it is asked which methods it has.

    Parameters
    ----------
    own : object
        A :class:`MarginLoss`, or any object with ``phi(margins)`` and perhaps ``slope(margins)``, its derivative.
    where : str
        What complaints begin with.

    Raises
    ------
    StudyError
        If it has no ``phi``, or gives anything but one number for each margin.
    """
    if isinstance(own, MarginLoss):
        return own
    if not offers(own, "phi"):
        raise StudyError(
            f"{where}: expected one of {', '.join(BY_NAME)}, or an object with phi(margins) and slope(margins), "
            f"got {own!r}"
        )
    return adapt(own, _Adapted, MarginLoss, ["slope"])


class _Adapted(MarginLoss):
    """A user's object with a method ``phi``."""

    def __init__(self, own: MarginLoss) -> None:
        self.own = own

    def phi(self, margins: Array) -> Array:
        return checked(self.own, "phi", self.own.phi(margins), margins.shape)

    def slope(self, margins: Array) -> Array:
        return checked(self.own, "slope", self.own.slope(margins), margins.shape)
