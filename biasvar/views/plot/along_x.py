"""Figures along x: single fits, mean fits, and their errors."""

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from biasvar.errors import BiasvarError
from biasvar.notation import brief
from biasvar.studies.classification import ClassificationStudy
from biasvar.studies.replicates import replicates
from biasvar.studies.risk import RiskStudy
from biasvar.views.figures import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    SKY,
    VERMILION,
    finite,
    panels_or_given,
    set_title,
)
from biasvar.views.plot.cells import about, few, leading, least, parts_of, selected, shown, written
from biasvar.views.plot.doors import made_of
from biasvar.views.plot.risk import FAR
from biasvar.views.plot.studies import study_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

FEW_PLACES = 40
MOST_FITS = 200  # thin lines that can be told apart


@made_of("target", "hypothesis", dims=("x",), study=True)
def fits(
    study: RiskStudy | ClassificationStudy | xr.Dataset,
    *,
    n_train: int | None = None,
    noise: float | None = None,
    count: int | None = None,
    ax: "Axes | None" = None,
    title: str | None = None,
) -> "Figure":
    """Draw single fits as thin lines over the target, with their mean and two standard deviations about it.

    The training sets are the study's own (:func:`biasvar.replicates`); those of the first two fits are shown as points.
    Of more than five hypothesis sets some are drawn, the first and the last among them, and the best if a summary says
    which that is.

    Parameters
    ----------
    study : RiskStudy, ClassificationStudy or xarray.Dataset
        With inputs of one coordinate; or its summary, where no part of the study is a user's own.
    n_train, noise : number, optional
        Which training sets; unless given the study's first, or those that tell most of a summary, as in other figures.
    count : int, optional
        How many of them; 200 unless given, or as many as a block has.
    ax, title
        See :mod:`biasvar.plot`.

    Raises
    ------
    StudyError
        If the study has no such training sets.
    BiasvarError
        If its inputs have several coordinates.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.load("two-point-sine", ["replicates=256", "block_size=16"])
    >>> figure = bv.plot.fits(study, n_train=2, count=16)
    >>> len(figure.axes)  # a panel for each hypothesis set
    2
    """
    best: list[str] = []
    if isinstance(study, xr.Dataset):
        given = {"n_train": n_train, "noise": noise}
        cells = selected(study, {axis: label for axis, label in given.items() if label is not None}, ("hypothesis",))
        best = [str(cells.hypothesis.values[i]) for i in least(cells)]
        n_train, noise, study = cells.n_train.item(), cells.noise.item(), _again(study)
    count = count or min(MOST_FITS, study.block_size)
    drawn, kind = replicates(study, n_train=n_train, noise=noise, count=count), study.problem.labels
    if "coordinate" in drawn.dims:
        raise BiasvarError(f"fits: needs inputs of one coordinate, got {drawn.sizes['coordinate']}")
    names = drawn.hypothesis.values.tolist()
    drawn = few(drawn.assign_attrs(left_out=[]), "hypothesis", [names.index(label) for label in best if label in names])
    figure, axes = panels_or_given(ax, 1, drawn.sizes["hypothesis"], sharex=True, sharey=True)
    for panel, label in zip(axes[0], drawn.hypothesis.values, strict=True):
        _draw_single_fits(panel, drawn.sel(hypothesis=label), "P(y = +1 | x)" if kind.scores else "target f")
        panel.set_title(shown(label))
        panel.set_xlabel("input x")
    axes[0, 0].set_ylabel("score" if kind.scores else "prediction (y)")
    axes[0, 0].set_xlim(*_seen(drawn))
    reach = np.abs(finite(drawn.target)).max() + 2 * float(drawn.noise)
    axes[0, 0].set_ylim(-3 * reach, 3 * reach)
    axes[0, 0].legend(loc="upper left", frameon=False, fontsize="small")
    level = xr.DataArray(drawn.noise, name="noise", attrs={"units": kind.noise[1]})
    words = f"{count} training sets of {drawn.n_train} examples, {count} fits: none is their mean"
    set_title(
        figure,
        axes,
        ax,
        title or words,
        "; ".join([f"{shown(study.name)}: {written(level)}", "points: the first two sets", *drawn.left_out]),
    )
    return figure


def _again(summary: xr.Dataset) -> RiskStudy | ClassificationStudy:
    """Return the study that a summary is of."""
    study: RiskStudy | ClassificationStudy | None = study_of(summary)
    if study is None:
        raise BiasvarError("fits: parts of the study are not biasvar's own; give the study in the place of its summary")
    return study


def _seen(drawn: xr.Dataset) -> tuple[float, float]:
    """Return between which inputs to draw: where training sets are, if that is much less than where test points are."""
    at, low, high = drawn["at"].values, float(drawn.x.min()), float(drawn.x.max())
    room = (high - low) / 10
    if at[-1] - at[0] < 1.5 * (high - low):
        return at[0] - (at[-1] - at[0]) / 20, at[-1] + (at[-1] - at[0]) / 20
    return low - room, high + room


def _draw_single_fits(panel: "Axes", drawn: xr.Dataset, target: str) -> None:
    from matplotlib.collections import LineCollection

    at, predictions = drawn["at"].values, drawn.prediction.values
    # So many lines are a picture of their own in files of vectors, which else are a hundred times as large.
    lines = list(np.stack(np.broadcast_arrays(at, predictions), axis=-1))
    panel.add_collection(LineCollection(lines, colors=GREY, linewidths=0.4, alpha=0.35, zorder=1, rasterized=True))
    panel.plot(at, drawn.target, color=BLACK, linewidth=2.5, label=target)
    mean, deviation = predictions.mean(axis=0), predictions.std(axis=0)
    panel.plot(at, mean, color=BLUE, linewidth=2, label="mean fit")
    for side, words in ((-1, "±1 std. dev."), (1, None)):
        panel.plot(at, mean + side * deviation, color=BLUE, linewidth=1, linestyle=":", zorder=3, label=words)
    for i, color in enumerate((VERMILION, GREEN)[: len(predictions)]):
        panel.plot(at, predictions[i], color=color, linewidth=1.2)
        panel.plot(drawn.x[i], drawn.y[i], color=color, marker="o", markersize=5, linestyle="none", zorder=4)


@made_of("mean_prediction", "bias2_x", "variance_x", "target", "best_in_class", dims=("x", "hypothesis"))
def along_x(
    summary: xr.Dataset, *, ax: None = None, title: str | None = None, top: float | None = None, **sel: object
) -> "Figure":
    """Draw fits and their errors along x, a column for each hypothesis set.

    Above the target, the best in class, and the mean prediction with a band of one standard deviation over training
    sets, sqrt(variance_x); below the squared bias, the variance and the noise at x.

    Parameters
    ----------
    summary : xarray.Dataset
        Summary of a risk study with one-dimensional inputs.
    ax : None
        There are always two rows.
    title : str, optional
        What stands above, instead of what the numbers say.
    top : float, optional
        Largest error shown below, in y².
    **sel : labels
        Which cells, for example ``n_train=10, noise=0.5``.

    Raises
    ------
    BiasvarError
        If the inputs have several coordinates, or a label is unknown.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.load("two-point-sine", ["replicates=256", "block_size=16"])
    >>> figure = bv.plot.along_x(bv.lazy(study).compute(), n_train=2, noise=0)
    >>> len(figure.axes)  # fits above their errors, of two hypothesis sets
    4
    """
    if "x" not in summary.dims:
        raise BiasvarError(f"along_x: needs inputs of one coordinate, got {summary.sizes['coordinate']}")
    cells = selected(summary, sel, keep=("hypothesis",))
    words, cells = title or leading(cells) or "Errors along x", few(cells, "hypothesis", least(cells))
    figure, axes = panels_or_given(ax, 2, cells.sizes["hypothesis"], sharex=True, sharey="row")
    for (upper, lower), label in zip(axes.T, cells.hypothesis.values, strict=True):
        cell = cells.sel(hypothesis=label)
        _draw_mean_fit(upper, cell)
        _draw_errors(lower, cell)
        upper.set_title(_numbers_of(shown(label), cell), fontsize="medium")
        lower.set_xlabel("input x")
    axes[0, 0].set_ylabel("prediction (y)")
    axes[1, 0].set_ylabel("squared error (y²)")
    axes[0, 0].set_ylim(*_near(axes[0, 0].get_ylim(), finite(cells.target)))
    axes[1, 0].set_ylim(0, top or _lowest_errors(cells))
    for row in axes:
        row[0].legend(loc="best", frameon=False, fontsize="small")
    set_title(figure, axes, ax, words, about(cells))
    return figure


def _near(limits: tuple[float, float], target: Array) -> tuple[float, float]:
    """Return limits that are at most three times as far from the target's middle as the target is."""
    middle, reach = (target.max() + target.min()) / 2, 3 * (target.max() - target.min()) / 2
    return (max(limits[0], middle - reach), min(limits[1], middle + reach)) if reach > 0 else limits


def _lowest_errors(cells: xr.Dataset) -> float:
    """Return up to which error to draw: not much above the best set's own."""
    errors = finite(cells.bias2_x + cells.variance_x.clip(min=0)) + float(cells.noise) ** 2
    highest = np.nanmax(np.where(np.isnan(errors), 0, errors), axis=cells.bias2_x.dims.index("x"))
    best = least(cells)
    above = 1.05 * max(float(highest.max()), 1e-300)
    return min(above, FAR * float(highest[best[0]])) if best and highest[best[0]] > 0 else above


def _numbers_of(label: str, cell: xr.Dataset) -> str:
    """Name a set with its bias² and variance."""
    numbers = (
        f"{name} {brief(float(cell[variable]), float(cell[f'{variable}_se']))}"
        for variable, name, _ in parts_of(cell)
        if variable != "irreducible_risk"
    )
    return f"{label}\n{' + '.join(numbers)}"


def _draw_mean_fit(panel: "Axes", cell: xr.Dataset) -> None:
    x, mean = cell.x.values, cell.mean_prediction.values
    deviation = np.sqrt(finite(cell.variance_x).clip(min=0))  # rounding may leave an exact 0 below it
    panel.fill_between(x, mean - deviation, mean + deviation, color=SKY, alpha=0.4, linewidth=0, label="±1 std. dev.")
    panel.plot(x, finite(cell.target), color=BLACK, linewidth=2.5, label="target f", **_nodes(x))
    panel.plot(x, finite(cell.mean_prediction), color=BLUE, label="mean fit", **_nodes(x))
    if np.isfinite(cell.best_in_class).any():
        panel.plot(x, finite(cell.best_in_class), color=VERMILION, linestyle="--", label="best in class")


def _nodes(x: Array) -> dict[str, Any]:
    """Mark where numbers are known, where those places are so few that lines between them are polygons."""
    return {"marker": "o", "markersize": 3} if len(x) <= FEW_PLACES else {}


def _draw_errors(panel: "Axes", cell: xr.Dataset) -> None:
    x = cell.x.values
    for name, label, color in (("bias2_x", "bias²", ORANGE), ("variance_x", "variance", SKY)):
        value, error = finite(cell[name]), cell[f"{name}_se"].values
        panel.fill_between(x, value - error, value + error, color=color, alpha=0.5, linewidth=0)
        panel.plot(x, value, color=color, linewidth=2, label=label, **_nodes(x))
    if float(cell.noise) > 0:
        panel.axhline(float(cell.noise) ** 2, color=GREY, linewidth=2, linestyle="-.", label="noise")
