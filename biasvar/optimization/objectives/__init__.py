"""Objectives J(theta) that update rules minimise: functions with a formula, sets, and empirical risks.

:class:`Objective` says what each offers, and what a user's own one may.
"""

from biasvar.optimization.objectives.base import Objective, adapted

__all__ = ["Objective", "adapted"]
