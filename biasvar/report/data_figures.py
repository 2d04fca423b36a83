"""Figures of a data study: risks with the error of the cuts and that of another data set."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from biasvar.report.figures import BLACK, ORANGE, SKY, VERMILION, new_panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTS = (("bias2_plus_noise", "bias² + noise", ORANGE), ("variance", "variance", SKY))


def risks(summary: xr.Dataset, *, title: str = "") -> "Figure":
    """Stack squared bias with noise, and variance, for every hypothesis set, a panel for each training-set size.

    The stack ends at the expected risk. It has two error bars, each of one standard error: the wide one is that of the
    random cuts, which more replicates shrink, often to a line; the narrow one is what another data set would
    show, where that is known.

    Parameters
    ----------
    summary : xarray.Dataset
        Summary of a data study.
    title : str
        A line above the panels.
    """
    cells = summary.compute()
    figure, axes = new_panels(1, cells.sizes["n_train"], sharey=True)
    places = np.arange(cells.sizes["hypothesis"])
    for panel, n in zip(axes[0], cells.n_train.values, strict=True):
        cell, base = cells.sel(n_train=n), np.zeros(len(places))
        for name, label, color in PARTS:
            panel.bar(places, cell[name].values, bottom=base, width=0.7, color=color, label=label)
            base = base + cell[name].values
        risk = cell.expected_risk.values
        style = {"linestyle": "none", "zorder": 3}
        panel.errorbar(
            places, risk, cell.expected_risk_se_data.values, color=BLACK, capsize=6, label="another data set", **style
        )
        panel.errorbar(
            places, risk, cell.expected_risk_se.values, color=VERMILION, capsize=12, label="random cuts", **style
        )
        panel.set_xticks(places, cell.hypothesis.values, rotation=30, ha="right")
        panel.set_title(f"n_train = {n}")
    axes[0, 0].set_ylabel(f"expected risk ({cells.expected_risk.attrs['units']})")
    axes[0, -1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    figure.suptitle(title)
    figure.supxlabel("error bars: one standard error", fontsize="small", color="#444444")
    return figure
