"""Losses: what is averaged over training sets."""

from biasvar.learning.losses.base import Cell, Loss, adapted

__all__ = ["Cell", "Loss", "adapted"]
