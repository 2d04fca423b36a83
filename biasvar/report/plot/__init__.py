"""Figures, each a noun for what is seen: ``bv.plot.fits(study)``, ``bv.plot.learning_curves(summary)``.

Each takes what it is made of, labels to select with (``n_train=10``), ``ax`` for a panel of one's own and ``title`` for
words of one's own, and returns the matplotlib Figure. Titles say what the numbers say; what is infinite is an arrow at
the frame, and what has no standard error is hollow.
"""

from biasvar.report.plot.along_x import along_x, fits
from biasvar.report.plot.budgets import budget_curves, three_errors
from biasvar.report.plot.comparison import differences, status_map
from biasvar.report.plot.risk import decomposition, learning_curves, noise_curves

__all__ = [
    "along_x",
    "budget_curves",
    "decomposition",
    "differences",
    "fits",
    "learning_curves",
    "noise_curves",
    "status_map",
    "three_errors",
]
