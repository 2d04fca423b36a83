"""A study's own training sets, drawn again, and the single fits to them."""

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from biasvar.errors import StudyError
from biasvar.learning import fits
from biasvar.learning.fits import Fit
from biasvar.learning.training_sets import TrainingSets
from biasvar.studies.replicated import ReplicatedStudy

PLACES = 201  # at which a curve looks smooth


def replicates(
    study: ReplicatedStudy, *, n_train: int | None = None, noise: float | None = None, count: int = 200
) -> xr.Dataset:
    """Draw the first training sets of a study again, and fit its hypothesis sets to each.

    They are those of the study's first block, which a run simulates: what it averages over, to be looked at one by one.
    Where a run takes points of a lattice, whose weights differ, they are a sample of the same law.

    Parameters
    ----------
    study : RiskStudy or ClassificationStudy
        A study of hypothesis sets on random training sets.
    n_train : int, optional
        Their size, one of the study's; the first unless given.
    noise : float, optional
        The noise level, one of the study's; the first unless given.
    count : int
        How many training sets, at most as many as a block has.

    Returns
    -------
    xarray.Dataset
        ``x`` and ``y`` of each example (replicate, example), ``prediction`` of each fit (hypothesis, replicate, at) and
        ``target`` at 201 places ``at`` between the outermost test points; in several dimensions at the test points
        themselves, of which ``at`` is then the number. A set that cannot be fitted to so few examples is left out.

    Raises
    ------
    StudyError
        If the study has no such training sets.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.RiskStudy(
    ...     name="lines", target=bv.Sine(), inputs=bv.Uniform(-1, 1), hypotheses={"H1": bv.Polynomial(1)}, n_train=[2],
    ...     replicates=256, block_size=16,
    ... )
    >>> drawn = replicates(study, count=16)
    >>> dict(drawn.prediction.sizes)
    {'hypothesis': 1, 'replicate': 16, 'at': 201}
    """
    if not isinstance(study, ReplicatedStudy):
        raise StudyError(f"study: expected one of hypothesis sets on random training sets, got {type(study).__name__}")
    n_train, noise = _of_study(study, "n_train", n_train), _of_study(study, "noise", noise)
    if not 1 <= count <= study.block_size:
        raise StudyError(f"count: expected 1 to {study.block_size}, the study's block_size, got {count}")
    problem = study.problem
    block = study.draws(n_train, 0, study.block_size)
    sets = TrainingSets(problem, n_train, block)
    labels = sets.labels(noise)[:, :count].T.copy()
    places = _places(problem.test.x)
    drawn = {
        label: _predictions(sets, study.grid.fits[label], labels, places)
        for label, hypothesis in study.grid.hypotheses.items()
        if hypothesis.why_unfit(study.law, n_train) is None
    }
    found = _labelled(sets.rows[:count], labels, places, drawn, problem.evaluate(places))
    return found.assign_attrs(n_train=n_train, noise=noise)


def _of_study(study: ReplicatedStudy, field: str, value: object) -> Any:
    known = list(getattr(study, field))
    if value is not None and value not in known:
        raise StudyError(f"{field}: {value!r} is not of the study; choose from {', '.join(map(str, known))}")
    return known[0] if value is None else value


def _places(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where to predict: places close together along a line, else the test points."""
    return np.linspace(x.min(), x.max(), PLACES) if x.ndim == 1 else x


def _predictions(
    sets: TrainingSets, fit: Fit, labels: NDArray[np.float64], places: NDArray[np.float64]
) -> NDArray[np.float64]:
    rows = sets.rows[: len(labels)]
    at = np.broadcast_to(places, (len(rows), *places.shape))
    scores = sets.problem.labels.scores
    return fits.predictions(fit, rows, labels, at, sets.estimator_generator(), infinite=scores)


def _labelled(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    places: NDArray[np.float64],
    drawn: dict[str, NDArray[np.float64]],
    target: NDArray[np.float64],
) -> xr.Dataset:
    examples = ("replicate", "example", "coordinate")[: x.ndim]
    at = places if places.ndim == 1 else np.arange(len(places))
    found = xr.Dataset(
        {
            "x": (examples, x, {"long_name": "input of a training example"}),
            "y": (("replicate", "example"), y, {"long_name": "its label"}),
            "prediction": (
                ("hypothesis", "replicate", "at"),
                np.stack(list(drawn.values())) if drawn else np.empty((0, len(x), len(at))),
                {"long_name": "prediction of the fit to a training set"},
            ),
            "target": ("at", target, {"long_name": "target f"}),
        },
        {"hypothesis": list(drawn), "at": ("at", at, {"long_name": "input"})},
    )
    return found if places.ndim == 1 else found.assign_coords(place=(("at", "coordinate"), places))
