"""Figures of classification: where the majority votes against Bayes, and what surrogate losses promise."""

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from biasvar.errors import BiasvarError
from biasvar.learning.labels import TwoClasses
from biasvar.learning.losses.margin import BY_NAME
from biasvar.views.figures import BLACK, BLUE, GREY, LINES, ORANGE, panels_or_given, set_title
from biasvar.views.plot.cells import MOST_PANELS, about, few, least, selected, shown
from biasvar.views.plot.doors import made_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

TAIL = 1e-3  # of the inputs on either side, which is not shown
ZERO_ONE = {"loss": "zero_one"}


@made_of("centre", "x_weight", "target", "bias", dims=("x", "hypothesis"), labels=ZERO_ONE)
def votes(summary: xr.Dataset, *, ax: "Axes | None" = None, title: str | None = None, **sel: object) -> "Figure":
    """Draw the share of votes for +1 and P(y = +1) along x, a panel for each hypothesis set.

    Where one is above 1/2 and the other below, shaded, the majority votes against Bayes: bias comes from there.

    Parameters
    ----------
    summary : xarray.Dataset
        Summary of a classification study with one-dimensional inputs and the loss ``zero_one``.
    ax, title
        See :mod:`biasvar.plot`.
    **sel : labels
        Which cells, for example ``n_train=10``.

    Raises
    ------
    BiasvarError
        If the inputs have several coordinates, the loss is missing, or a label is unknown.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.ClassificationStudy(
    ...     name="two", inputs=bv.GaussianClasses(means=[-1, 1], stds=[2, 1]), losses=["zero_one", "squared"],
    ...     hypotheses={"mean": bv.Discriminant(covariance="identity")}, n_train=[10], replicates=256, block_size=16,
    ... )
    >>> figure = bv.plot.votes(bv.lazy(study).compute())
    >>> figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()
    ('input x', 'probability')
    """
    if "x" not in summary.dims or "zero_one" not in summary.loss.values:
        raise BiasvarError("votes: needs inputs of one coordinate and the loss zero_one")
    cells = selected(summary, ZERO_ONE | sel, keep=("hypothesis",))
    words = title or _against_bayes(cells)
    cells = few(cells, "hypothesis", least(cells))
    chance = TwoClasses.flipped(cells.target.values, float(cells.noise))
    below = np.cumsum(cells.x_weight.values)
    seen = (below > TAIL) & (below < 1 - TAIL)
    figure, axes = panels_or_given(ax, 1, cells.sizes["hypothesis"], sharey=True)
    for panel, label in zip(axes[0], cells.hypothesis.values, strict=True):
        _draw_votes(panel, cells.sel(hypothesis=label).isel(x=seen), chance[seen])
        panel.set_xlabel("input x")
    axes[0, 0].set_ylabel("probability")
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside right upper", frameon=False, fontsize="small")
    set_title(figure, axes, ax, words, about(cells))
    return figure


def _draw_votes(panel: "Axes", cell: xr.Dataset, chance: Array) -> None:
    x, share, error = cell.x.values, cell.centre.values, np.nan_to_num(cell.centre_se.values)
    against = (share > 0.5) != (chance > 0.5)
    panel.fill_between(x, 0, 1, where=against, color=ORANGE, alpha=0.4, step="mid", label="against Bayes")
    panel.plot(x, chance, color=BLACK, linewidth=2.5, label="P(y = +1 | x)")
    panel.fill_between(x, share - error, share + error, color=BLUE, alpha=0.3, linewidth=0)
    panel.plot(x, share, color=BLUE, linestyle="--", linewidth=2, label="share of votes for +1")
    panel.axhline(0.5, color=GREY, linewidth=0.8)
    bias = float(cell.bias)
    known = f"bias {bias:.3g}" if np.isfinite(bias) else "bias unknown"
    panel.set_title(f"{shown(cell.hypothesis.item())}: {known}", fontsize="medium")


def _against_bayes(cells: xr.Dataset) -> str:
    """Say for which set the majority errs most against Bayes."""
    bias = cells.bias.where(np.isfinite(cells.bias), -np.inf)
    worst = cells.hypothesis.values[int(bias.argmax("hypothesis"))]
    if not np.isfinite(float(bias.max())):
        return "Where the majority votes against Bayes"
    size = float(cells.bias.sel(hypothesis=worst))
    if size <= 0:
        return "The majority votes as Bayes does, everywhere"
    return f"The majority of {shown(worst)} votes against Bayes most: that costs {size:.2g}"


@made_of("excess_risk", "excess_risk_se", dims=("loss", "hypothesis", "n_train"), several=("loss",), labels=ZERO_ONE)
def margins(summary: xr.Dataset, *, ax: "Axes | None" = None, title: str | None = None, **sel: object) -> "Figure":
    """Draw the excess 0-1 risk against that of each surrogate: a dot for each set and training-set size.

    The line is the least excess of the surrogate that leaves so much 0-1 excess, psi: dots lie to its right.

    Parameters
    ----------
    summary : xarray.Dataset
        Summary of a classification study with the loss ``zero_one`` and at least one other.
    ax, title
        See :mod:`biasvar.plot`.
    **sel : labels
        Which cells; one noise level.

    Raises
    ------
    BiasvarError
        If one of the losses is missing, or a label is unknown.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.ClassificationStudy(
    ...     name="two", inputs=bv.GaussianClasses(means=[-1, 1], stds=[2, 1]), losses=["zero_one", "squared"],
    ...     hypotheses={"mean": bv.Discriminant(covariance="identity")}, n_train=[10], replicates=256, block_size=16,
    ... )
    >>> figure = bv.plot.margins(bv.lazy(study).compute())
    >>> figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()
    ('excess squared risk', 'excess 0-1 risk')
    """
    others = [str(loss) for loss in summary.loss.values if loss in BY_NAME and loss != "zero_one"][:MOST_PANELS]
    if "zero_one" not in summary.loss.values or not others:
        raise BiasvarError(f"losses: expected zero_one and a surrogate, got {', '.join(map(str, summary.loss.values))}")
    cells = selected(summary, sel, keep=("loss", "hypothesis", "n_train"))
    figure, axes = panels_or_given(ax, 1, len(others), sharey=True)
    for panel, loss in zip(axes[0], others, strict=True):
        _draw_excess(panel, cells, loss)
    axes[0, 0].set_ylabel("excess 0-1 risk")
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside right upper", frameon=False, fontsize="small")
    set_title(figure, axes, ax, title or _promise(cells, others), f"{about(cells)}; a dot for each training-set size")
    return figure


def _draw_excess(panel: "Axes", cells: xr.Dataset, loss: str) -> None:
    for i, name in enumerate(cells.hypothesis.values):
        x, y = (cells.sel(loss=which, hypothesis=name) for which in (loss, "zero_one"))
        color, mark = LINES[i % len(LINES)]
        errors = {"xerr": x.excess_risk_se, "yerr": y.excess_risk_se}
        style: Any = {"fmt": mark, "color": color, "markersize": 5, "label": shown(name)}
        panel.errorbar(x.excess_risk, y.excess_risk, **errors, **style)
    largest = float(cells.excess_risk.sel(loss="zero_one").max())
    theta = np.geomspace(largest / 100, 1.1 * largest, 100)
    panel.plot([BY_NAME[loss].psi(float(t)) for t in theta], theta, color=GREY, linewidth=2, label="bound psi")
    panel.set(xscale="log", yscale="log", xlabel=f"excess {loss} risk")
    panel.set_title(loss)


def _promise(cells: xr.Dataset, others: list[str]) -> str:
    """Say how far the bound is from what it bounds: the least excess of a surrogate over what psi asks for."""
    zero_one = cells.excess_risk.sel(loss="zero_one").values
    slack = {}
    for loss in others:
        excess, asked = (
            cells.excess_risk.sel(loss=loss).values,
            np.vectorize(BY_NAME[loss].psi)(np.maximum(zero_one, 0)),
        )
        there = np.isfinite(excess) & (asked > 0)
        slack[loss] = float((excess[there] / asked[there]).min()) if there.any() else np.inf
    loss = min(slack, key=slack.__getitem__)
    if not np.isfinite(slack[loss]):
        return "A small surrogate risk promises a small 0-1 risk"
    return f"Small surrogate risk promises small 0-1 risk: {loss} pays at least {slack[loss]:.2g} times its bound"
