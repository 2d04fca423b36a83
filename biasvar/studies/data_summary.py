"""What a data study's blocks come to: risks with two standard errors, that of the cuts and that of the data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from biasvar.learning.cuts import Cuts
from biasvar.learning.examples import Examples
from biasvar.learning.loss_tails import Index
from biasvar.learning.measures import LESS_BIAS, LESS_SPREAD, Part
from biasvar.learning.pair_risks import Loss, Parts
from biasvar.learning.record import Record
from biasvar.montecarlo.data_variance import data_variance
from biasvar.montecarlo.intervals import standard_error
from biasvar.montecarlo.moments import TAIL_SIZE
from biasvar.montecarlo.tails import Status, estimate_tail_index, status_of
from biasvar.studies.base import BlockSource, Group, first_failure

Array = NDArray[np.float64]
MIN_REPLICATES = 1024  # below, the variance over data sets is told too badly
PARTS = Parts._fields
NAMES = {
    "bias2_plus_noise": ("squared bias and noise together", "bias2 + noise", 1),
    "variance": ("variance", "variance", 3),
    "expected_risk": ("expected risk", "expected risk", 5),
}
OF_RISK = {
    "bias2_plus_noise": Part("expected_risk", f"{LESS_BIAS} or less noise, which one data set cannot tell apart,"),
    "variance": Part("expected_risk", LESS_SPREAD),
}
_MISSING = {Status.INFINITE: "mean", Status.SE_UNRELIABLE: "variance"}


def record_of(cuts: Cuts, size: int) -> Record:
    """Return how a block's numbers are laid out: each part of the risk for each cut, and for its pairs on each half."""
    fields = dict.fromkeys(PARTS, size)
    if cuts.two_draws:
        fields |= {f"{name} of pairs": size * 2 * len(cuts.pairs) for name in PARTS}
    return Record(fields)


class _Cell(NamedTuple):
    """Numbers of one cell by name."""

    mean: Mapping[str, Array]  # (blocks, cuts in a block)
    pairs: Mapping[str, Array]  # (blocks, cuts, halves, pairs); empty where there are no two draws

    def less(self, other: "_Cell") -> "_Cell":
        """Return the differences between two cells that saw the same cuts."""
        return _Cell(
            {name: value - other.mean[name] for name, value in self.mean.items()},
            {name: value - other.pairs[name] for name, value in self.pairs.items()},
        )


class _Told(NamedTuple):
    """A number with what is told of its errors."""

    value: float
    se: float
    se_data: float = np.nan
    why: str = ""  # what there is to say of ``se_data``


@dataclass(frozen=True)
class DataGrid:
    """The cells of a data study: hypothesis sets by training-set sizes."""

    examples: Examples
    cuts: Mapping[str, Cuts]
    hypotheses: tuple[str, ...]
    n_train: tuple[int, ...]
    loss: Loss
    block_size: int

    def layout(self) -> xr.Dataset:
        """Return the empty labelled summary."""
        axes, differences = ("hypothesis", "n_train"), ("hypothesis", "versus", "n_train")
        sizes = {"hypothesis": len(self.hypotheses), "versus": len(self.hypotheses), "n_train": len(self.n_train)}
        variables: dict[str, Any] = {}
        unit = "1" if self.loss == "zero_one" else "y^2"

        def add(name: str, dims: tuple[str, ...], label: str, fill: object = np.nan, **said: object) -> None:
            values = np.full(tuple(sizes[dim] for dim in dims), fill, object if fill == "" else None)
            variables[name] = (dims, values, {"long_name": label} | said)

        behind = {"units": unit, "blocks": "block_count"}
        over_data = "of the cuts and of the data: as another data set would show"
        told = {"units": unit, "blocks": "examples", "reason": "se_data_reason"}
        for name, (label, short, column) in NAMES.items():
            compared = {"compared_by": "expected_risk_difference"} if name == "expected_risk" else {}
            part = OF_RISK[name].attributes() if name in OF_RISK else {}
            said = {"short_name": short, "column": column, "error": f"{name}_se_data"}
            add(name, axes, label, **said, **compared, **behind, **part)
            add(f"{name}_se", axes, f"standard error of {name}, of the cuts", units=unit)
            said = {"short_name": "+- data", "column": column + 1}
            add(f"{name}_se_data", axes, f"standard error of {name}, {over_data}", **said, **told)
            error = f"{name}_difference_se_data"
            add(f"{name}_difference", differences, f"{name} less that of versus", error=error, **behind)
            add(f"{name}_difference_se", differences, f"standard error of {name}_difference, paired", units=unit)
            add(error, differences, f"the same, {over_data}", units=unit, blocks="examples")
        add("se_data_reason", axes, "what there is to say of standard errors over data sets", "")
        add("replicates", axes, "random cuts behind the numbers", 0, counted="random cuts of the data")
        add("block_count", axes, "independent blocks of cuts", 0)
        add("examples", axes, "examples in the data", len(self.examples.y))
        add("status", axes, "what can be said of the numbers", "", rows="n_train hypothesis")
        add("status_reason", axes, "why, in words", "")
        labels = np.array(self.hypotheses, dtype=object)
        coordinates: dict[str, Any] = {
            "hypothesis": ("hypothesis", labels, {"long_name": "hypothesis set"}),
            "versus": ("versus", labels, {"long_name": "hypothesis set compared with"}),
            "n_train": ("n_train", np.array(self.n_train), {"long_name": "training-set size"}),
        }
        return xr.Dataset(variables, coordinates)

    def summarise(self, source: BlockSource) -> xr.Dataset:
        """Turn blocks into risks with both standard errors."""
        out = self.layout()
        table = {str(name): variable.values for name, variable in out.data_vars.items()}  # views: filled in place
        table["status"][...], table["status_reason"][...] = str(Status.FAILED), "not simulated"
        for j, (problem, cuts) in enumerate(self.cuts.items()):
            cells: dict[str, _Cell] = {}
            for group in source.groups():
                if group.problem == problem:
                    cells |= self._read(group, cuts, source, table, j)
            for label, cell in cells.items():
                self._fill(table, (self.hypotheses.index(label), j), cell, cuts)
            self._fill_differences(table, j, cells, cuts)
        return out

    def _read(
        self, group: Group, cuts: Cuts, source: BlockSource, table: Mapping[str, NDArray[Any]], j: int
    ) -> dict[str, _Cell]:
        """Return the numbers of a group's cells that did not fail, and say why the others did."""
        records, failures = source.reduced(group)
        record = record_of(cuts, self.block_size)
        found = {}
        for i, label in enumerate(group.cells):
            if label not in self.hypotheses:
                continue
            if why := first_failure(failures[i]):
                table["status_reason"][self.hypotheses.index(label), j] = why
                continue
            parts = record.unpack(records[i])
            mean = {name: parts[name] for name in PARTS}
            shape = (-1, self.block_size, 2, len(cuts.pairs))
            pairs = {name: parts[f"{name} of pairs"].reshape(shape) for name in PARTS} if cuts.two_draws else {}
            found[label] = _Cell(_with_sum(mean), _with_sum(pairs))
        return found

    def _fill(self, table: Mapping[str, NDArray[Any]], at: tuple[int, int], cell: _Cell, cuts: Cuts) -> None:
        """Write one cell into the summary."""
        risk = cell.mean["expected_risk"]
        status, reason = self._status(risk)
        table["block_count"][at], table["replicates"][at] = len(risk), risk.size
        table["status"][at], table["status_reason"][at] = str(status), reason
        reasons = []
        for name in NAMES:
            told = self._told(cell, name, cuts)
            table[name][at] = told.value
            if status is Status.OK:
                table[f"{name}_se"][at], table[f"{name}_se_data"][at] = told.se, told.se_data
            reasons.append(told.why)
        table["se_data_reason"][at] = "; ".join(filter(None, dict.fromkeys(reasons)))

    def _status(self, risk: Array) -> tuple[Status, str]:
        """Say whether the largest losses leave the mean a standard error."""
        if self.loss == "zero_one":
            return Status.OK, ""
        tops = np.sort(risk, axis=1)[:, -TAIL_SIZE:]
        index = Index.estimated(estimate_tail_index(tops, self.block_size))
        status = status_of(index.most)
        if status is Status.OK:
            return status, ""
        return status, (
            f"the loss seems to have no finite {_MISSING[status]}: its tail index is {index.value:.3g} +- "
            f"{index.se:.2g} (estimated from the largest losses)"
        )

    def _fill_differences(
        self, table: Mapping[str, NDArray[Any]], j: int, cells: Mapping[str, _Cell], cuts: Cuts
    ) -> None:
        """Write the paired differences between all sets at one training-set size."""
        for label, one in cells.items():
            i = self.hypotheses.index(label)
            for other_label, other in cells.items():
                k = self.hypotheses.index(other_label)
                sound = table["status"][i, j] == table["status"][k, j] == Status.OK
                for name in NAMES:
                    told = self._told(one.less(other), name, cuts) if i != k else _Told(0.0, 0.0, 0.0)
                    table[f"{name}_difference"][i, k, j] = told.value
                    if sound:
                        table[f"{name}_difference_se"][i, k, j] = told.se
                        table[f"{name}_difference_se_data"][i, k, j] = told.se_data

    def _told(self, cell: _Cell, name: str, cuts: Cuts) -> _Told:
        """Return a number, averaged over all cuts, and its standard errors."""
        numbers = cell.mean[name]
        blocks = numbers.mean(axis=1)
        value, se = float(blocks.mean()), float(standard_error(blocks))
        if not cuts.two_draws:
            need = 2 * (2 * cuts.n_train + 1)
            return _Told(
                value,
                se,
                why=(
                    f"n_train={cuts.n_train}: what another data set would show takes {need} examples"
                    f"{' of as many classes' if len(cuts.strata) > 1 else ''}, and there are {len(self.examples.y)}"
                ),
            )
        if numbers.size < MIN_REPLICATES:
            return _Told(value, se, why=f"what another data set would show takes {MIN_REPLICATES} replicates")
        found = data_variance(_square(cell.pairs[name], cuts))
        total = max(found.value, 0.0) + se**2
        if found.se > total:
            noisy = f"{numbers.size} replicates are too few to tell the variance of {name} over data sets"
            return _Told(value, se, why=f"{noisy}: {found.value:.2g} +- {found.se:.1g}")
        why = f"no variance of {name} over data sets is seen above that of the cuts" if found.value < 0 else ""
        # What the cuts leave unknown of the variance counts as variance.
        return _Told(value, se, float(np.sqrt(total + found.se)), why)


def _with_sum(parts: dict[str, Array]) -> dict[str, Array]:
    return parts | {"expected_risk": parts["bias2_plus_noise"] + parts["variance"]} if parts else {}


def _square(pairs: Array, cuts: Cuts) -> Array:
    """Lay numbers of pairs out by their first and their second set."""
    out = np.zeros((*pairs.shape[:-1], cuts.sets, cuts.sets))
    one, other = np.array(cuts.pairs).T
    out[..., one, other] = out[..., other, one] = pairs
    return out
