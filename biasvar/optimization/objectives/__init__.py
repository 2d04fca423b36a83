"""Objectives J(theta) that update rules minimise: functions with a formula, and empirical risks.

:class:`Objective` says what each offers, and what a user's own one may.
"""

from biasvar.optimization.objectives.base import Objective, adapted
from biasvar.optimization.objectives.empirical import EmpiricalRisk
from biasvar.optimization.objectives.examples import Examples, repeated
from biasvar.optimization.objectives.functions import LogSumExp, Quadratic, Rosenbrock
from biasvar.optimization.objectives.models import MLP

__all__ = [
    "MLP",
    "EmpiricalRisk",
    "Examples",
    "LogSumExp",
    "Objective",
    "Quadratic",
    "Rosenbrock",
    "adapted",
    "repeated",
]
