"""Figures, each a noun for what is seen: ``bv.plot.fits(study)``, ``bv.plot.learning_curves(summary)``.

Each takes what it is made of, labels to select with (``n_train=10``), ``ax`` for a panel of one's own and ``title`` for
words of one's own, and returns the matplotlib Figure. Titles say what the numbers say; what is infinite is an arrow at
the frame, and what has no standard error is hollow. Where labels are not given, a figure chooses, and says so below.
:func:`figures_of` tells which figures a summary has the numbers for.
"""

from biasvar.studies.base import Summary, nodes_of
from biasvar.views.plot.along_x import along_x, fits
from biasvar.views.plot.budgets import budget_curves, three_errors
from biasvar.views.plot.comparison import differences, status_map
from biasvar.views.plot.convexity import curvature, plane, witness
from biasvar.views.plot.descents import curves, paths
from biasvar.views.plot.doors import needs_of
from biasvar.views.plot.edge import sharpness
from biasvar.views.plot.grids import expected_best, learning_rates, performance_profile, sensitivity
from biasvar.views.plot.maps import cost_map, heat
from biasvar.views.plot.precision import digits, precision
from biasvar.views.plot.remainders import remainders
from biasvar.views.plot.risk import decomposition, learning_curves, noise_curves
from biasvar.views.plot.sources import sources_of_error
from biasvar.views.plot.votes import margins, votes

__all__ = [
    "along_x",
    "budget_curves",
    "cost_map",
    "curvature",
    "curves",
    "decomposition",
    "differences",
    "digits",
    "expected_best",
    "figures_of",
    "fits",
    "heat",
    "learning_curves",
    "learning_rates",
    "margins",
    "noise_curves",
    "paths",
    "performance_profile",
    "plane",
    "precision",
    "remainders",
    "sensitivity",
    "sharpness",
    "sources_of_error",
    "status_map",
    "three_errors",
    "votes",
    "witness",
]

#: In the order in which they tell of a summary, the main ones first.
_TELLING = (
    budget_curves,
    three_errors,
    decomposition,
    along_x,
    fits,
    learning_curves,
    votes,
    margins,
    sources_of_error,
    noise_curves,
    differences,
    curves,
    paths,
    sharpness,
    learning_rates,
    heat,
    cost_map,
    sensitivity,
    expected_best,
    performance_profile,
    witness,
    curvature,
    plane,
    remainders,
    status_map,
    digits,
)


def figures_of(summary: Summary) -> list[str]:
    """Return the names of the figures that a summary has the numbers for, the main one first, in order of telling.

    Each works without labels: ``getattr(bv.plot, name)(summary)``.

    Parameters
    ----------
    summary : xarray.Dataset or xarray.DataTree
        What :func:`biasvar.run` or :func:`biasvar.open` returned.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.RiskStudy(
    ...     name="mean", target=bv.Sine(), inputs=bv.Uniform(-1, 1), hypotheses={"H0": bv.Polynomial(0)}, n_train=[4],
    ...     replicates=256, block_size=16,
    ... )
    >>> bv.plot.figures_of(bv.lazy(study).compute())
    ['decomposition', 'along_x', 'fits', 'sources_of_error', 'status_map', 'digits']
    """
    nodes = list(nodes_of(summary).values())
    names = (figure.__name__ for figure in _TELLING)
    return [name for name in names if (needs := needs_of(name)) and any(map(needs.met_by, nodes))]
