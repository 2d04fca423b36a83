"""What figures of cells share: which are drawn, and what is said of them."""

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr

from biasvar.errors import BiasvarError
from biasvar.report.figures import GREY, ORANGE, SIGMA, SKY

PARTS = (("irreducible_risk", "noise", GREY), ("bias2", "bias²", ORANGE), ("variance", "variance", SKY))


def selected(
    summary: xr.Dataset, labels: dict[str, Any], one: Iterable[str] = (), many: Iterable[str] = ()
) -> xr.Dataset:
    """Select cells by labels: one label of some dimensions, the only one unless given; others stay dimensions."""
    for axis, label in labels.items():
        if axis not in summary.dims:
            raise BiasvarError(
                f"{axis}: is no dimension of the summary; choose from {', '.join(map(str, summary.dims))}"
            )
        if unknown := [value for value in np.ravel(label).tolist() if value not in summary[axis].values]:
            raise BiasvarError(
                f"{axis}={unknown[0]!r} is not in the summary; choose from {summary[axis].values.tolist()}"
            )
    cells = summary.sel(labels).compute()
    for axis in one:
        if axis in cells.dims:
            if cells.sizes[axis] > 1:
                raise BiasvarError(f"{axis}: select one of {cells[axis].values.tolist()}")
            cells = cells.isel({axis: 0})
    missing = [axis for axis in ("hypothesis", *many) if axis in cells.coords and axis not in cells.dims]
    return cells.expand_dims(missing) if missing else cells


def about(cells: xr.Dataset) -> str:
    """Say of what a figure is: the study, what was selected, and how large errors are."""
    study = json.loads(cells.attrs.get("study", "{}")).get("name", "a study")  # a lazy summary carries none
    words = [
        f"{name} {cells[axis].item():g}"
        for axis, name in (("n_train", "examples:"), ("noise", f"noise {SIGMA} ="))
        if cells[axis].ndim == 0
    ]
    error = float(cells.expected_risk_se.max())
    sizes = f"standard errors of the risk at most {error:.1g}" if error > 0 else "no Monte-Carlo error in the risk"
    unknown = "" if (cells.status == "ok").all() else "; none where hollow, ? or infinite"
    return f"{study}: {', '.join([*words, sizes])}{unknown}"
