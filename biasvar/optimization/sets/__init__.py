"""Convex sets that parameters are kept in: what is in them, the nearest point, the farthest point, points at random.

:class:`ConvexSet` says what each offers, and what a user's own one may.
"""

from biasvar.optimization.sets.base import Columnwise, ConvexSet, adapted

__all__ = ["Columnwise", "ConvexSet", "adapted"]
