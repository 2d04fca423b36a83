"""Every stored descent under the reader's sliders: what is packed into the page, and how."""

import base64
import json
import zlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from biasvar.optimization.objectives import Objective
from biasvar.pages import html
from biasvar.studies.base import Summary, nodes_of
from biasvar.views.plot.optimizers import in_plane, over_plane, style_of
from biasvar.views.plot.studies import study_of

MOST_NUMBERS = 600_000  # of all curves and paths: more would make a page of several megabytes
DROPPED = 10  # bits of 32, so that four digits are left
GRID = (161, 121)  # points along each parameter at which an objective's contours are found
LEVELS = 18
MOST_LOOKS = (0.05, 0.95)  # shares of what paths pass, between which the view lies where no minimiser is known

Json = dict[str, object]
Array = NDArray[np.float64]


class _Leaf(NamedTuple):
    """The descents of one optimizer on one objective: only axes with several values are the reader's to move."""

    node: xr.Dataset
    axes: tuple[str, ...]

    @classmethod
    def of(cls, node: xr.Dataset) -> "_Leaf":
        """Choose the axes, the longest last to differ first."""
        names = [str(name) for name in node.hyperparameter.values]
        axes = tuple(name for name in names if node.sizes[name] > 1) or (names[0],)
        return cls(node.isel({name: 0 for name in names if name not in axes}), axes)

    @property
    def size(self) -> int:
        """How many numbers its curves and paths have."""
        paths = self.node.parameters.size if in_plane(self.node) else 0
        return int(2 * self.node.objective.size + paths)

    def thinned(self, factor: int) -> "_Leaf":
        """Keep every so many values of the longest axis."""
        longest = max(self.axes, key=lambda name: self.node.sizes[name])
        return _Leaf(self.node.isel({longest: slice(None, None, factor)}), self.axes)


def descents_of(summary: Summary) -> Json:
    """Return what the page needs of an optimizer study's descents; nothing of another study."""
    if not isinstance(summary, xr.DataTree):
        return {}
    found: dict[str, dict[str, _Leaf]] = {}
    for name, child in summary.children.items():
        nodes = {label: leaf.to_dataset() for label, leaf in child.children.items()}
        if nodes and all("hyperparameter" in node and "objective" in node for node in nodes.values()):
            found[name] = {label: _Leaf.of(node) for label, node in nodes.items()}
    if not found:
        return {}
    found, thinned = _thinned(found)
    study = study_of(nodes_of(summary)[""])
    objectives = {} if study is None else study.objectives
    return {
        "objectives": {name: _objective(leaves, objectives.get(name)) for name, leaves in found.items()},
        "thinned": thinned,
    }


def _thinned(found: dict[str, dict[str, _Leaf]]) -> tuple[dict[str, dict[str, _Leaf]], bool]:
    """Thin the longest axis of the largest leaf until all fit."""
    thinned = False
    while sum(leaf.size for leaves in found.values() for leaf in leaves.values()) > MOST_NUMBERS:
        name, label = max(((n, x) for n in found for x in found[n]), key=lambda key: found[key[0]][key[1]].size)
        if max(found[name][label].node.sizes[axis] for axis in found[name][label].axes) < 3:
            break
        found[name][label] = found[name][label].thinned(2)
        thinned = True
    return found, thinned


def _objective(leaves: Mapping[str, _Leaf], objective: Objective | None) -> Json:
    paths = [leaf.node for leaf in leaves.values() if in_plane(leaf.node)]
    first = next(iter(leaves.values())).node
    rules = {label: {"color": style_of(label, i)[0]} | _rule(leaf) for i, (label, leaf) in enumerate(leaves.items())}
    drawn: Json = {}
    if paths and objective is not None:
        drawn = _plane(paths, objective)
    targets = [float(value) for value in first.target_value.values] if "target_value" in first else []
    minimum = None if objective is None else objective.minimum
    return {"rules": rules, "targets": targets, "minimum": minimum, **drawn}


def _rule(leaf: _Leaf) -> Json:
    """Pack one optimizer's curves, costs and paths, configurations in the order of the axes."""
    node, axes = leaf
    shape = [node.sizes[axis] for axis in axes]
    end = node.outcome_share.sel(kind="diverged").transpose(*axes).values.reshape(-1)
    out: Json = {
        "axes": [{"name": axis.replace("_", " "), "values": [float(v) for v in node[axis].values]} for axis in axes],
        "shape": shape,
        "steps": [int(step) for step in node.step.values],
        "replicates": int(node.sizes["replicate"]),
        "curves": _packed(node.objective.transpose(*axes, "step").values),
        "errors": _packed(node.objective_se.transpose(*axes, "step").values),
        "diverged": _packed(end),
    }
    if "median_cost_to_target" in node:
        cost = node.median_cost_to_target.transpose("target", *axes).values
        out["cost"] = [_packed(each.reshape(-1)) for each in cost]
    if in_plane(node):
        out["paths"] = _packed(node.parameters.transpose(*axes, "replicate", "parameter", "step").values)
    return out


def _packed(values: Array) -> str:
    """Return numbers in text, to four digits: as changes along the last axis, the bytes of a kind together, deflated.

    Of 32 bits, the last ten are rounded away; of neighbours alike, the first ones do not change.
    """
    with np.errstate(over="ignore"):  # what is too large for 32 bits is infinite
        bits = np.ascontiguousarray(values, "<f4").view("<i4")
    rounded = (bits + (1 << DROPPED - 1)) & (-1 << DROPPED)
    changes = np.diff(rounded, axis=-1, prepend=np.int32(0))
    planes = np.ascontiguousarray(changes, "<i4").view(np.uint8).reshape(-1, 4).T
    return base64.b64encode(zlib.compress(planes.tobytes(), 9)).decode()


def _plane(nodes: list[xr.Dataset], objective: Objective) -> Json:
    """Return the part of the plane that is shown, with contours: starts and the minimiser, and room around them.

    Where no minimiser is known it is what most of the paths keep to.
    """
    from contourpy import contour_generator

    starts = np.concatenate([node.parameters.isel(step=0).values.reshape(-1, 2) for node in nodes])
    starts = starts[np.isfinite(starts).all(axis=1)]
    least = objective.minimizer
    if least is None:
        looks = np.concatenate([node.parameters.transpose(..., "parameter").values.reshape(-1, 2) for node in nodes])
        ends = np.quantile(looks[np.isfinite(looks).all(axis=1)], MOST_LOOKS, axis=0)
    else:
        ends = np.asarray(least, float).reshape(1, 2)
    points = np.vstack([starts, ends])
    low, high = points.min(axis=0), points.max(axis=0)
    room = 0.25 * np.maximum(high - low, 0.4 * (high - low).max() + 1e-12)
    low, high = low - room, high + room
    x, y = np.linspace(low[0], high[0], GRID[0]), np.linspace(low[1], high[1], GRID[1])
    values = over_plane(objective.value, x, y)
    # Square roots of heights are as far apart as a bowl's contours are.
    height = np.sqrt(values - values.min())
    levels = np.linspace(0, float(height.max()), LEVELS)[1:-1]
    generator = contour_generator(x, y, height)
    lines = [np.round(np.asarray(line), 4).tolist() for level in levels for line in generator.lines(float(level))]
    return {
        "view": [float(low[0]), float(high[0]), float(low[1]), float(high[1])],
        "contours": lines,
        "minimizer": None if least is None else np.asarray(least, float).reshape(-1).tolist(),
    }


def section(descents: Json) -> str:
    """Return the part of the page in which descents are explored; nothing without descents."""
    if not descents:
        return ""
    words = "Choose an optimizer, move its hyperparameters or press the map: each curve and path was computed."
    if descents["thinned"]:
        words += " Of long axes every second value, or fewer, is kept, so that the page stays small."
    return html.section(
        "Explore the descents",
        html.element("p", html.text(words), class_="about"),
        html.element("div", id="explorer", class_="explorer"),
        html.element("noscript", html.text("This part needs JavaScript.")),
        html.data("descents", json.dumps(descents, separators=(",", ":"), allow_nan=False)),
    )
