"""Which film a store's summary can be made into."""

from typing import Any

from biasvar.errors import BiasvarError
from biasvar.views.animate.film import Film
from biasvar.views.animate.race import has_paths, race
from biasvar.views.animate.repeat import has_fits, repeat


def film_of(study: Any, summary: Any) -> Film:
    """Return the film of what a summary holds: paths of two parameters, or fits along x.

    Parameters
    ----------
    study : Study
        Of which the summary is.
    summary : xarray.Dataset or xarray.DataTree
        Of a run.

    Raises
    ------
    BiasvarError
        If it holds neither.
    """
    if has_paths(summary):
        return race(summary, study.objectives)
    if has_fits(summary):
        return repeat(study, summary)
    raise BiasvarError(
        f"{study.name}: has nothing that moves; expected paths of two parameters (record=[objective, parameters] of an "
        "objective of two), or bias² and variance along x"
    )
