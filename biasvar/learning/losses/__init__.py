"""Losses: what is averaged over training sets."""

from biasvar.learning.losses.base import Cell, Loss, adapted
from biasvar.learning.losses.squared import Squared

__all__ = ["Cell", "Loss", "Squared", "adapted"]
