"""What a summary says of an objective itself: how it bends at its minimiser, and what its parameters are kept in."""

from collections.abc import Mapping

import xarray as xr

from biasvar.optimization.curvature import curvature_at_minimizer
from biasvar.optimization.objectives import Objective
from biasvar.optimization.rules import UpdateRule
from biasvar.optimization.sets import ConvexSet

_LABELS = {
    "mu": ("least eigenvalue of the Hessian at the minimiser", "mu", "J/theta^2"),
    "L": ("greatest eigenvalue of the Hessian at the minimiser", "L", "J/theta^2"),
    "learning_rate_limit": ("2 / L, above which gradient descent leaves the minimiser", "2/L", "theta^2/J"),
    "quickest_learning_rate": ("2 / (mu + L), at which gradient descent is quickest", "2/(mu+L)", "theta^2/J"),
    "contraction": ("(L - mu) / (L + mu), by which its steps then shorten the distance", "contraction", "1"),
}


def problem_dataset(objective: Objective, rules: Mapping[str, UpdateRule], outside: int, starts: int) -> xr.Dataset:
    """Return what is known of an objective without any descent.

    Parameters
    ----------
    objective : Objective
        Within its set, if it has one.
    rules : dict of str to UpdateRule
        What descends it.
    outside, starts : int
        How many of the starts were looked at, and how many of them were outside the set.
    """
    if objective.within is not None:
        return xr.Dataset(attrs={"notes": "\n".join(_notes(objective.within, rules, outside, starts))})
    bend = curvature_at_minimizer(objective)
    if bend is None:
        return xr.Dataset()
    values = (bend.mu, bend.L, bend.limit, bend.quickest, bend.contraction)
    return xr.Dataset(
        {
            name: ((), value, {"long_name": label, "short_name": short, "units": unit})
            for (name, (label, short, unit)), value in zip(_LABELS.items(), values, strict=True)
        }
    )


def _notes(within: ConvexSet, rules: Mapping[str, UpdateRule], outside: int, starts: int) -> list[str]:
    """Say what parameters are kept in, how many starts were outside, and which rules are projected in another norm."""
    notes = [f"kept in {within!r}"]
    if outside:
        notes.append(f"{outside} of {starts} starts were outside, and begin at the nearest point of the set")
    for label, rule in rules.items():
        if why := _foreign_norm(within, rule):
            notes.append(f"{label}: {why}: projected by Euclidean distance, it may settle away from the minimum")
    return notes


def _foreign_norm(within: ConvexSet, rule: UpdateRule) -> str:
    """Say why nearest points are not in the norm of a rule; empty text if they are."""
    if within.separable or rule.linear:
        return ""
    if not rule.has_metric:
        return "the rule has no metric"
    return "" if within.takes_weights else "project(theta) of the set takes no weights"
