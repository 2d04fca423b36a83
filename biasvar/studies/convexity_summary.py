"""What a convexity study's blocks come to: rates with exact limits, bounds of curvature, witnesses, verdicts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from biasvar.learning.record import Record
from biasvar.montecarlo.intervals import standard_error
from biasvar.montecarlo.proportions import clopper_pearson
from biasvar.montecarlo.tails import Status
from biasvar.optimization.evidence import PLACES, POINTS, QUANTILES, Evidence
from biasvar.studies.base import BlockSource, first_failure

Array = NDArray[np.float64]

NOT_CONVEX, HELD, ROUNDED = "not convex", "no violation", "no violation: equal to rounding"
CONTRADICTED = "gradient contradicts the values"
SHOWN_BLOCKS = 32  # of which points are shown in the plane
_CELLS, _NODE = ("objective", "condition"), ("condition",)


def record_of(dim: int) -> Record:
    """Return how the numbers of one block and condition are laid out."""
    single = (
        "violations", "tested", "ties", "between", "at_most", "at_least", "found", "noise", "contradicted",
        "theta", "gap", "margin", "slope",
    )  # fmt: skip
    fields = dict.fromkeys(single, 0) | {"x": dim, "y": dim, "profile": PLACES, "quantiles": len(QUANTILES)}
    return Record(fields | ({"points": 3 * POINTS} if dim == 2 else {}))


def packed(record: Record, found: Evidence) -> Array:
    """Lay evidence out in a row; NaN stands for a chord that there is none of."""
    chord, dim = found.chord, record.fields["x"]
    values = {name: value for name, value in vars(found).items() if name in record.fields}
    values |= {name: np.nan if chord is None else getattr(chord, name) for name in ("gap", "margin")}
    values |= {name: np.full(dim, np.nan) if chord is None else getattr(chord, name) for name in ("x", "y")}
    if dim == 2:
        values["points"] = found.points.ravel() if found.points.size else np.full(3 * POINTS, np.nan)
    return record.pack(**values)


class _Row(NamedTuple):
    """One condition of one objective: the record of each block, (blocks, numbers), and why some are missing."""

    parts: Mapping[str, Array]
    blocks: int
    failure: str

    @property
    def tested(self) -> int:
        return int(np.nansum(self.parts["tested"]))

    @property
    def violations(self) -> int:
        return int(np.nansum(self.parts["violations"]))

    @property
    def worst(self) -> int | None:
        """The block with the chord that lies the farthest below the function, in margins."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = self.parts["gap"] / self.parts["margin"]
        return None if np.isnan(ratio).all() else int(np.nanargmin(ratio))

    @property
    def verdict(self) -> str:
        if self.worst is not None:
            return NOT_CONVEX
        if np.nansum(self.parts["contradicted"]) > 0:
            return CONTRADICTED
        tied = np.nansum(self.parts["ties"]) == self.tested
        return ROUNDED if tied or self.violations or _least(self.parts["found"]) < 0 else HELD


@dataclass(frozen=True)
class ConvexityGrid:
    """The tree of a convexity study: where numbers go, and what is made of them.

    Parameters
    ----------
    dims : mapping of str to int
        Parameters of each objective.
    known : mapping of str to tuple of str
        The conditions that can be measured of each.
    conditions : tuple of str
        Those that are asked for.
    block_size : int
        Segments in a block.
    """

    dims: Mapping[str, int]
    known: Mapping[str, Sequence[str]]
    conditions: tuple[str, ...]
    block_size: int

    def layout(self) -> xr.DataTree:
        """Return the empty labelled summary."""
        nodes = {label: self._node(dim) for label, dim in self.dims.items()}
        return xr.DataTree.from_dict({"/": self._root(), **nodes})

    def summarise(self, source: BlockSource) -> xr.DataTree:
        """Turn blocks into the labelled summary."""
        rows = self._rows(source)
        root, nodes = self._root(), {label: self._node(dim) for label, dim in self.dims.items()}
        for (label, condition), row in rows.items():
            at = {"objective": label, "condition": condition}
            _fill(root, at, self._numbers(row))
            if not row.failure:
                _fill(nodes[label], {"condition": condition}, self._witness(row, self.dims[label]))
        for label in self.dims:
            own = {condition: row for (each, condition), row in rows.items() if each == label}
            _fill(root, {"objective": label}, _bounds(own) | {"finding": _finding(label, own)})
        return xr.DataTree.from_dict({"/": root, **nodes})

    def _rows(self, source: BlockSource) -> dict[tuple[str, str], _Row]:
        rows = {}
        for group in source.groups():
            records, failures = source.reduced(group)
            record = record_of(self.dims[group.problem])
            for i, condition in enumerate(group.cells):
                if condition in self.conditions:
                    reason = first_failure(failures[i])
                    rows[group.problem, condition] = _Row(record.unpack(records[i]), records.shape[1], reason)
        return rows

    # Numbers

    def _numbers(self, row: _Row) -> dict[str, Any]:
        parts, tested = row.parts, row.tested
        if row.failure or not tested:
            reason = row.failure or "no segment has both ends in the domain; choose another set or law in within"
            return {"status": str(Status.FAILED), "status_reason": reason, "verdict": "", "block_count": row.blocks}
        low, high = clopper_pearson(np.array(row.violations), np.array(tested))
        quantiles = parts["quantiles"][np.isfinite(parts["quantiles"]).all(axis=-1)]
        found = {
            "curvature_at_most": _least([*parts["at_most"], *parts["found"]]),
            "curvature_at_least": _greatest(parts["at_least"]),
            "curvature_found": _least(parts["found"]),
            "violation_rate": row.violations / tested,
            "violation_rate_low": float(low),
            "violation_rate_high": float(high),
            "ties": float(np.nansum(parts["ties"])) / tested,
            "outside": 1 - tested / (row.blocks * self.block_size),
            "noise": float(np.nanmedian(parts["noise"])),
            "violations": row.violations,
            "outside_between": int(np.nansum(parts["between"])),
            "segments": tested,
            "block_count": row.blocks,
            "verdict": row.verdict,
            "status": str(Status.OK),
            "status_reason": "",
        }
        if len(quantiles):
            found["curvature_quantile"] = quantiles.mean(axis=0)
        if len(quantiles) > 1:
            found["curvature_quantile_se"] = standard_error(quantiles.T)
        return found

    def _witness(self, row: _Row, dim: int) -> dict[str, Any]:
        parts = row.parts
        found: dict[str, Any] = {}
        if dim == 2:
            points = parts["points"][:SHOWN_BLOCKS].reshape(-1, 3)
            found["sample"] = np.full((SHOWN_BLOCKS * POINTS, 2), np.nan)
            found["sample_curvature"] = np.full(SHOWN_BLOCKS * POINTS, np.nan)
            found["sample"][: len(points)], found["sample_curvature"][: len(points)] = points[:, :2], points[:, 2]
        shown = 0 if row.worst is None else row.worst
        found |= {name: parts[name][shown] for name in ("theta", "gap", "margin", "slope", "profile")}
        x, y, theta = (parts[name][shown] for name in ("x", "y", "theta"))
        return found | {"witness": np.stack([x, y, x + theta * (y - x)])}

    # Labels

    def _root(self) -> xr.Dataset:
        sizes = {"objective": len(self.dims), "condition": len(self.conditions), "quantile": len(QUANTILES)}
        variables: dict[str, Any] = {}

        def add(name: str, dims: tuple[str, ...], label: str, fill: object = np.nan, **said: object) -> None:
            values = np.full(tuple(sizes[dim] for dim in dims), fill, object if fill == "" else None)
            variables[name] = (dims, values, {"long_name": label} | said)

        unit = {"units": "f / theta^2"}
        add(
            "curvature_at_most",
            _CELLS,
            "the least curvature, mu, is at most this",
            short_name="mu <=",
            column=1,
            digits=3,
            **unit,
        )
        add(
            "curvature_at_least",
            _CELLS,
            "the greatest, L, is at least this",
            short_name="L >=",
            column=2,
            digits=3,
            **unit,
        )
        limits = "exact 95 % limit of violation_rate, two-sided"
        add(
            "violation_rate",
            _CELLS,
            "share of segments that violate the condition",
            short_name="violated",
            column=3,
            digits=3,
        )
        add("violation_rate_low", _CELLS, f"lower {limits}", short_name="from", column=4, digits=3)
        add("violation_rate_high", _CELLS, f"upper {limits}", short_name="to", column=5, digits=3)
        add("ties", _CELLS, "share of segments where rounding hides whether they violate it", column=6)
        add("verdict", _CELLS, "what can be said", "")
        add("curvature_found", _CELLS, "least curvature found by a search downhill", **unit)
        add("noise", _CELLS, "standard deviation of the noise in values", units="f")
        add("outside", _CELLS, "share of segments with an end outside the domain")
        add("violations", _CELLS, "segments that violate the condition", 0)
        add("outside_between", _CELLS, "of these, with a point outside the domain between ends inside", 0)
        add("segments", _CELLS, "segments with both ends in the domain", 0, counted="segments")
        add("block_count", _CELLS, "independent blocks behind the numbers", 0)
        quantiles = (*_CELLS, "quantile")
        add("curvature_quantile", quantiles, "quantiles of curvature", blocks="block_count", **unit)
        add("curvature_quantile_se", quantiles, "standard error of curvature_quantile", **unit)
        bounds = ("objective",)
        add("mu_at_most", bounds, "f is at most so strongly convex: least curvature_at_most", **unit)
        add("L_at_least", bounds, "its gradient is at least so steep: greatest curvature_at_least", **unit)
        add("learning_rate_at_most", bounds, "2 / L: gradient descent needs less than this", units="theta^2 / f")
        add("finding", bounds, "what was found, in a sentence", "", sentences=1)
        add("status", _CELLS, "whether there are numbers", "", shown_as="verdict")
        add("status_reason", _CELLS, "why not, in words", "")
        coordinates = {
            "objective": ("objective", _text(self.dims)),
            "condition": ("condition", _text(self.conditions), {"long_name": "condition of convexity"}),
            "quantile": ("quantile", np.array(QUANTILES), {"long_name": "share of segments below"}),
        }
        return xr.Dataset(variables, coordinates)

    def _node(self, dim: int) -> xr.Dataset:
        sizes = {"condition": len(self.conditions), "point": 3, "parameter": dim, "place": PLACES, "axis": 2}
        sizes["shown"] = SHOWN_BLOCKS * POINTS
        variables: dict[str, Any] = {}

        def add(name: str, dims: tuple[str, ...], label: str, **said: object) -> None:
            variables[name] = (dims, np.full(tuple(sizes[dim] for dim in dims), np.nan), {"long_name": label} | said)

        add("witness", ("condition", "point", "parameter"), "ends and a point between, where f is above the chord")
        along = "the witness, else of the longest segment"
        add("theta", _NODE, f"share of the way at which z lies, of {along}")
        add("gap", _NODE, "chord at z less f(z); minus infinity where z is outside the domain", units="f")
        add("margin", _NODE, "what rounding and noise may do to gap", units="f")
        add("slope", _NODE, f"slope of the tangent at z, per length of {along}", units="f")
        add("profile", ("condition", "place"), f"f along {along}", units="f")
        if dim == 2:
            add("sample", ("condition", "shown", "axis"), "points at which curvature was measured")
            add("sample_curvature", ("condition", "shown"), "curvature there")
        coordinates: dict[str, Any] = {
            "condition": ("condition", _text(self.conditions)),
            "point": ("point", _text("xyz")),
            "place": ("place", np.linspace(0, 1, PLACES), {"long_name": "share of the way from x to y"}),
        }
        return xr.Dataset(variables, coordinates)


def _fill(dataset: xr.Dataset, at: Mapping[str, str], found: Mapping[str, object]) -> None:
    """Write numbers of one cell into a dataset."""
    place = tuple(list(dataset[dim].values).index(label) for dim, label in at.items())
    for name, value in found.items():
        dataset[name].values[place] = value


def _least(values: Sequence[float] | Array) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return float(min(finite, default=np.nan))


def _greatest(values: Sequence[float] | Array) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return float(max(finite, default=np.nan))


def _bounds(rows: Mapping[str, _Row]) -> dict[str, float]:
    least = _least([value for row in rows.values() for name in ("at_most", "found") for value in row.parts[name]])
    most = _greatest([value for row in rows.values() for value in row.parts["at_least"]])
    return {"mu_at_most": least, "L_at_least": most, "learning_rate_at_most": 2 / most if most > 0 else np.nan}


# In words


def _finding(label: str, rows: Mapping[str, _Row]) -> str:
    """Say in a sentence what was found of an objective."""
    sound = {name: row for name, row in rows.items() if not row.failure and row.tested}
    proven = {name: row.worst for name, row in sound.items() if row.worst is not None}
    if proven:
        name, block = min(proven.items(), key=lambda item: _ratio(sound[item[0]], item[1]))
        return f"{label} is not convex: {_chord({key: part[block] for key, part in sound[name].parts.items()})}"
    wrong = [name for name, row in sound.items() if row.verdict == CONTRADICTED]
    if wrong:
        rate = sound[wrong[0]].violations / sound[wrong[0]].tested
        return (
            f"{label}: its derivatives contradict its values: {', '.join(wrong)} is violated ({rate:.2g} of segments), "
            "yet f is above no chord; see what bv.check_derivatives says"
        )
    if not sound:
        return ""
    held = max(sound.values(), key=lambda row: row.tested)
    if unproven := [name for name, row in sound.items() if row.violations]:
        return (
            f"{label}: equal to rounding: {', '.join(unproven)} is violated, but no chord holds; values are too noisy"
        )
    if all(row.verdict == ROUNDED for row in sound.values()):
        return f"{label}: equal to rounding in all {held.tested} segments: linear, or its values are too coarse to tell"
    limit = float(clopper_pearson(np.array(0), np.array(held.tested))[1])
    found = _bounds(sound)
    curvature = f"mu <= {found['mu_at_most']:.3g}, L >= {found['L_at_least']:.3g}"
    return f"{label}: no violation in {held.tested} segments: at most {limit:.2g} of them violate (95 %); {curvature}"


def _ratio(row: _Row, block: int) -> float:
    return float(row.parts["gap"][block] / row.parts["margin"][block])


def _chord(parts: Mapping[str, Array]) -> str:
    between = f"between x={_point(parts['x'])} and y={_point(parts['y'])}, at theta={float(parts['theta']):.6g},"
    if parts["gap"] == -np.inf:
        return f"{between} is a point outside its domain"
    return f"{between} f is {-float(parts['gap']):.3g} above its chord (rounding at most {float(parts['margin']):.1g})"


def _point(point: Array) -> str:
    shown = ", ".join(f"{value:.6g}" for value in point[:4])
    return f"({shown}{', ...' if len(point) > 4 else ''})"


def _text(values: Iterable[str]) -> NDArray[np.object_]:
    return np.array(list(values), dtype=object)
