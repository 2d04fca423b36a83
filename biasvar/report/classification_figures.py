"""Figures of a classification study: what surrogates bound, and where the majority votes against Bayes.

Each takes the summary that :func:`biasvar.run` or :func:`biasvar.open` returned and gives a matplotlib ``Figure``.
Error bars are one standard error.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from biasvar.errors import BiasvarError
from biasvar.learning.labels import TwoClasses
from biasvar.learning.losses.margin import BY_NAME
from biasvar.report.figures import BLACK, BLUE, GREEN, GREY, ORANGE, SKY, VERMILION, new_panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = (BLUE, VERMILION, GREEN, ORANGE, SKY, BLACK)
MARKERS = "osD^vP"


def excess_against_surrogates(summary: xr.Dataset, *, noise: float) -> "Figure":
    """Draw the excess 0-1 risk against that of each surrogate: a dot for each set and training-set size.

    The line is the least excess of the surrogate that leaves so much 0-1 excess, psi: dots lie to its right.

    Parameters
    ----------
    summary : xarray.Dataset
        Summary of a classification study with the loss ``zero_one`` and at least one other.
    noise : number
        Which cells, by their label.

    Raises
    ------
    BiasvarError
        If one of the losses is missing.
    """
    others = [str(loss) for loss in summary.loss.values if loss in BY_NAME and loss != "zero_one"]
    if "zero_one" not in summary.loss.values or not others:
        raise BiasvarError(f"losses: expected zero_one and a surrogate, got {', '.join(map(str, summary.loss.values))}")
    cells = summary.sel(noise=noise)
    figure, axes = new_panels(1, len(others), sharey=True)
    for panel, loss in zip(np.ravel(axes), others, strict=True):
        _draw_excess(panel, cells, loss)
    first = np.ravel(axes)[0]
    first.set_ylabel("excess 0-1 risk")
    first.legend(fontsize=8)
    figure.suptitle("A small surrogate risk promises a small 0-1 risk, not the other way round")
    return figure


def _draw_excess(panel: Any, cells: xr.Dataset, loss: str) -> None:
    for i, label in enumerate(cells.hypothesis.values):
        x, y = (cells.sel(loss=which, hypothesis=label) for which in (loss, "zero_one"))
        panel.errorbar(
            x.excess_risk,
            y.excess_risk,
            xerr=x.excess_risk_se,
            yerr=y.excess_risk_se,
            fmt=MARKERS[i % len(MARKERS)],
            color=COLOURS[i % len(COLOURS)],
            markersize=4,
            label=str(label),
        )
    largest = float(cells.excess_risk.sel(loss="zero_one").max())
    theta = np.linspace(0, 1.1 * largest, 100)
    panel.plot([BY_NAME[loss].psi(float(t)) for t in theta], theta, color=GREY, label="bound")
    panel.set_xlabel(f"excess {loss} risk")
    panel.set_title(loss)


def votes_along_x(summary: xr.Dataset, *, n_train: int, noise: float) -> "Figure":
    """Draw the share of votes for +1 and P(y = +1) along x, a panel for each hypothesis set.

    Where one is above 1/2 and the other below, shaded, the majority votes against Bayes: bias comes from there.

    Parameters
    ----------
    summary : xarray.Dataset
        Summary of a classification study with one-dimensional inputs and the loss ``zero_one``.
    n_train, noise : number
        Which cells, by their labels.

    Raises
    ------
    BiasvarError
        If the inputs have several coordinates, or the loss is missing.
    """
    if "x" not in summary.dims or "zero_one" not in summary.loss.values:
        raise BiasvarError("votes_along_x: needs inputs of one coordinate and the loss zero_one")
    cells = summary.sel(loss="zero_one", n_train=n_train, noise=noise)
    p = TwoClasses.flipped(cells.target.values, noise)
    below = np.cumsum(cells.x_weight.values)
    seen = (below > 1e-3) & (below < 1 - 1e-3)
    figure, axes = new_panels(1, cells.sizes["hypothesis"], sharey=True)
    for panel, label in zip(np.ravel(axes), cells.hypothesis.values, strict=True):
        cell = cells.sel(hypothesis=label).isel(x=seen)
        x, share, chance = cell.x.values, cell.centre.values, p[seen]
        panel.fill_between(x, 0, 1, where=(share > 0.5) != (chance > 0.5), color=ORANGE, alpha=0.4, step="mid")
        panel.plot(x, chance, color=BLACK, label="P(y = +1 | x)")
        panel.plot(x, share, color=BLUE, label="share of votes for +1")
        panel.axhline(0.5, color=GREY, linewidth=0.8)
        panel.set_title(f"{label}: bias {float(cell.bias):.3g}")
        panel.set_xlabel("input x")
    first = np.ravel(axes)[0]
    first.set_ylabel("probability")
    first.legend(fontsize=8)
    figure.suptitle("Bias of 0-1 loss lies where the majority votes against Bayes (shaded)")
    return figure
