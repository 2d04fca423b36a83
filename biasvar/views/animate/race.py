"""Update rules that descend objectives of two parameters, side by side, from the same start."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from biasvar.errors import BiasvarError
from biasvar.optimization.objectives import Objective, adapted
from biasvar.studies.components import resolved
from biasvar.views.animate.film import Film, Scene, moments_of, new_figure
from biasvar.views.figures import GREY, INK
from biasvar.views.plot.optimizers import in_plane, over_plane, signed_roots, style_of

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

PANEL, ALONE = (2.9, 2.35), (6.4, 3.4)  # inches: of panels above, and of one that stands alone
LOWER, APART, LEFT = 1.55, 0.72, 0.8  # height of those below, room between columns, and on the left
MARGIN = 0.28  # of the way from the start to the end, on all sides
LEVELS = 14  # contours
TICKS = [0, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000]


def race(tree: xr.DataTree, objectives: Mapping[str, Any], *, title: str | None = None) -> Film:
    """Let update rules race over the contours of objectives of two parameters; below, J falls to its target.

    Each rule runs at the settings, of those that stay in the picture, that are first at the first target and keep it
    (``steps_to_stay``), of the first replicate; without targets, at those of the least J in the end. A frame is a step
    up to 40, then ever more.

    Parameters
    ----------
    tree : xarray.DataTree
        Summary of an optimizer study with ``record=["objective", "parameters"]``, best at every step.
    objectives : mapping of str to objective
        What is descended, by label, such as the study's ``objectives``; those of two parameters are shown.
    title : str, optional
        What stands above, instead of who is first where.

    Raises
    ------
    BiasvarError
        If none of the objectives has paths of two parameters in the tree.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.OptimizerStudy(
    ...     name="bowl", objectives={"bowl": bv.Quadratic([1, 4])}, initial={"bowl": [2, 0.4]},
    ...     targets={"bowl": [0.01]}, optimizers={"sgd": bv.SGD([0.05, 0.4])}, steps=30,
    ...     record=["objective", "parameters"], record_steps=range(31), replicates=1,
    ... )
    >>> film = bv.animate.race(bv.lazy(study).compute(), study.objectives)
    >>> film.figure.axes[0].get_title().splitlines()
    ['bowl', 'first sgd, 6 steps']
    """
    seen = [label for label in objectives if label in tree.children and has_paths(tree.children[label])]
    shape = ALONE if len(seen) == 1 else PANEL
    tracks = {label: _Track.of(tree.children[label], adapted(resolved(objectives[label])), shape) for label in seen}
    if not tracks:
        raise BiasvarError(
            "race: no objective has paths of two parameters; run a study of one of two parameters, with "
            "record=[objective, parameters] and record_steps=range(steps + 1)"
        )
    scene = _Race(tracks, shape, title or _who_is_first(tracks))
    return Film(scene, moments_of(max(track.last for track in tracks.values())))


def has_paths(tree: object) -> bool:
    """Tell whether a summary has paths of two parameters."""
    return isinstance(tree, xr.DataTree) and any(in_plane(node.to_dataset()) for node in tree.subtree)


@dataclass(frozen=True)
class _Runner:
    """A rule at chosen settings: where it was at each look (looks, 2), and since when it was at the target."""

    label: str
    path: Array
    arrived: float
    stopped: float


@dataclass(frozen=True)
class _Track:
    """The runners on one objective, and what of it is seen."""

    objective: Objective
    runners: tuple[_Runner, ...]
    steps: Array
    view: tuple[float, float, float, float]
    target: float | None

    @classmethod
    def of(cls, tree: xr.DataTree, objective: Objective, shape: tuple[float, float]) -> "_Track":
        """Choose what is seen, in a panel of some shape, and the settings of each rule."""
        nodes = {name: _settings(child.to_dataset()) for name, child in tree.children.items() if has_paths(child)}
        costs = {name: _costs(node, objective) for name, node in nodes.items()}
        quickest = [_path(node)[int(np.argmin(costs[name]))] for name, node in nodes.items()]
        ends = [path[-1] for path in quickest if np.isfinite(path[-1]).all()] or [quickest[0][0]]
        aim = np.median(ends, axis=0) if objective.minimizer is None else objective.minimizer
        view = _view(np.stack([quickest[0][0], aim]), shape)
        runners = tuple(_runner(name, node, costs[name], view) for name, node in nodes.items())
        one = next(iter(nodes.values()))
        target = float(one.target_value[0]) if "target_value" in one else None
        return cls(objective, runners, one.step.values.astype(float), view, target)

    @property
    def last(self) -> int:
        """The step after which nothing moves."""
        return int(max(runner.stopped for runner in self.runners))

    def seen(self, step: int) -> int:
        """Return how many looks there were up to a step, one at the least."""
        return max(int(np.searchsorted(self.steps, step, side="right")), 1)

    @property
    def ranking(self) -> list[_Runner]:
        """Those that arrived, the first ones first."""
        return sorted((one for one in self.runners if np.isfinite(one.arrived)), key=lambda one: one.arrived)

    def excess(self, theta: Array) -> Array:
        """Return J - J*, or J where there is no least value, shape (...)."""
        value: Array = self.objective.value(theta) - (self.objective.minimum or 0.0)
        return value

    def words(self, label: str) -> str:
        """Say who arrived first, and who last or not."""
        ranking = self.ranking
        if not ranking:
            return label
        first, last = ranking[0], ranking[-1]
        late = [one.label for one in self.runners if not np.isfinite(one.arrived)]
        rest = f"; not {', '.join(late)}" if late else f"; last {last.label}, {last.arrived:.0f}"
        return f"{label}\nfirst {first.label}, {first.arrived:.0f} steps{rest if len(self.runners) > 1 else ''}"


def _settings(node: xr.Dataset) -> xr.Dataset:
    """Return the first replicate of all configurations in one row."""
    names = [name for name in ("parameters", "steps_to_stay", "stop_step", "target_value") if name in node]
    return node[names].load().isel(replicate=0).stack(setting=[str(name) for name in node.hyperparameter.values])


def _path(node: xr.Dataset) -> Array:
    path: Array = node.parameters.transpose("setting", "step", "parameter").values
    return path


def _costs(node: xr.Dataset, objective: Objective) -> Array:
    """Return what settings are chosen by: steps to the first target, there to stay; behind those, J in the end."""
    with np.errstate(all="ignore"):  # what diverged is infinite
        ends = np.asarray(objective.value(_path(node)[:, -1]))
    behind = float(node.step.max()) + 1 + np.argsort(np.argsort(ends))
    last: Array = np.where(np.isfinite(ends), behind, np.inf)
    if "steps_to_stay" not in node:
        return last
    steps = node.steps_to_stay.isel(target=0).values
    return np.where(np.isfinite(steps), steps, last)


def _view(points: Array, shape: tuple[float, float]) -> tuple[float, float, float, float]:
    """Return what is seen, (left, right, bottom, top): all points, a margin, and as much as makes the axes equal."""
    low, high = points.min(axis=0), points.max(axis=0)
    margin = MARGIN * max(float(np.max(high - low)), 1e-12)
    middle, half = (low + high) / 2, (high - low) / 2 + margin
    wide = max(half[0], half[1] * shape[0] / shape[1])
    half = np.array([wide, wide * shape[1] / shape[0]])
    return middle[0] - half[0], middle[0] + half[0], middle[1] - half[1], middle[1] + half[1]


def _runner(label: str, node: xr.Dataset, costs: Array, view: tuple[float, float, float, float]) -> _Runner:
    """Choose the settings of least cost, of those that stay in the picture if there are any."""
    paths = _path(node)
    low, high = np.array(view[0::2]), np.array(view[1::2])
    inside = np.isfinite(costs) & ((paths > low) & (paths < high)).all(axis=(1, 2))
    chosen = int(np.argmin(np.where(inside, costs, np.inf) if inside.any() else costs))
    cell = node.isel(setting=chosen)
    arrived = float(cell.steps_to_stay[0]) if "steps_to_stay" in node else np.inf
    return _Runner(label, paths[chosen], arrived, float(cell.stop_step))


def _who_is_first(tracks: Mapping[str, _Track]) -> str:
    """Say who is first where, if there are targets."""
    firsts = {label: track.ranking[0].label for label, track in tracks.items() if track.ranking}
    if not firsts:
        return "From the same start, each rule at its least J in the end"
    return "First at the target: " + ", ".join(f"{name} on {label}" for label, name in firsts.items())


class _Race(Scene):
    """Contours and falling curves, and what moves over them."""

    def __init__(self, tracks: Mapping[str, _Track], shape: tuple[float, float], title: str) -> None:
        from matplotlib.patheffects import Normal, Stroke

        self.tracks, self.halo = tracks, [Stroke(linewidth=3.4, foreground="white"), Normal()]
        columns, (wide, high) = len(tracks), shape
        width, height = LEFT + columns * (wide + APART) - APART + 0.2, 1.15 + high + 0.5 + LOWER + 0.75
        self.figure = new_figure(width, height)
        across = {"left": LEFT / width, "right": 1 - 0.2 / width, "wspace": APART / wide}
        upper = self.figure.add_gridspec(1, columns, top=1 - 1.15 / height, bottom=1 - (1.15 + high) / height, **across)
        lower = self.figure.add_gridspec(1, columns, top=(0.75 + LOWER) / height, bottom=0.75 / height, **across)
        self.moving: list[tuple[_Track, _Runner, list[Any]]] = []
        for column, (label, track) in enumerate(tracks.items()):
            panel, below = self.figure.add_subplot(upper[column]), self.figure.add_subplot(lower[column])
            _draw_contours(panel, track, track.words(label))
            _set_curves(below, track)
            if column == 0:
                panel.set_ylabel(r"$\theta_2$", labelpad=1)
            self.moving += [(track, runner, self._artists(i, panel, below)) for i, runner in enumerate(track.runners)]
        self._write(title)

    def _artists(self, number: int, panel: "Axes", below: "Axes") -> list[Any]:
        """Return what moves of one runner: path, head, curve and its head."""
        label = next(iter(self.tracks.values())).runners[number].label
        color, mark = style_of(label, number)
        line: Any = {"color": color, "linewidth": 1.6, "animated": True, "zorder": 5}
        head: Any = {"color": color, "marker": mark, "markeredgecolor": "white", "linestyle": "", "animated": True}
        return [
            *panel.plot([], [], path_effects=self.halo, **line),
            *panel.plot([], [], markersize=9, zorder=6, **head),
            *below.plot([], [], **line),
            *below.plot([], [], markersize=7.5, zorder=6, **head),
        ]

    def _write(self, title: str) -> None:
        """Write the title, the names of the rules, the clock, and how settings were chosen."""
        figure, (width, height) = self.figure, self.figure.get_size_inches()
        left = LEFT / width
        figure.text(left, 1 - 0.27 / height, title, fontsize=12, fontweight="bold", va="center")
        names = list(dict.fromkeys(runner.label for _, runner, _ in self.moving))
        marks = [_mark(number, name) for number, name in enumerate(names)]
        place: Any = {"loc": "center left", "bbox_to_anchor": (left - 0.012, 1 - 0.57 / height), "frameon": False}
        figure.legend(handles=marks, ncols=len(names), columnspacing=1.3, handletextpad=0.5, **place)
        targets = any(track.ranking for track in self.tracks.values())
        words = "first at the target, to stay" if targets else "lowest in the end"
        figure.text(
            left, 0.16 / height, f"Same start; each rule at the settings that are {words}.", color=INK, fontsize=9
        )
        self.clock = figure.text(
            1 - 0.2 / width, 0.16 / height, "", ha="right", family="monospace", fontweight="bold", animated=True
        )

    def show(self, moment: int) -> Iterator["Artist"]:
        """Yield paths and curves up to a step, then all heads, then the clock."""
        for track, runner, (line, head, curve, dot) in self.moving:
            count = track.seen(moment)
            path, steps = runner.path[:count], track.steps[:count]
            # Where a path has stopped its curve does, too.
            running = steps <= runner.stopped
            excess = np.maximum(track.excess(path), _floor(track))
            line.set_data(*path.T)
            head.set_data(*path[-1:].T)
            curve.set_data(steps[running], excess[running])
            dot.set_data(steps[running][-1:], excess[running][-1:])
            yield line
            yield curve
        for _, _, (_, head, _, dot) in self.moving:
            yield head
            yield dot
        self.clock.set_text(f"step {moment:4d}")
        yield self.clock


def _mark(number: int, label: str) -> Any:
    from matplotlib.lines import Line2D

    color, mark = style_of(label, number)
    return Line2D([], [], color=color, marker=mark, markeredgecolor="white", markersize=9, linewidth=2, label=label)


def _draw_contours(panel: "Axes", track: _Track, title: str) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    left, right, bottom, top = track.view
    across, along = np.linspace(left, right, 241), np.linspace(bottom, top, 201)
    height = signed_roots(over_plane(track.excess, across, along))
    paper = LinearSegmentedColormap.from_list("paper", ["#ffffff", "#c9ced6"])
    panel.contourf(across, along, height, levels=LEVELS, cmap=paper)
    panel.contour(across, along, height, levels=LEVELS, colors="#8a93a3", linewidths=0.5, linestyles="solid")
    minimizer = track.objective.minimizer
    if minimizer is not None:
        panel.plot(*minimizer, "*", color="white", markeredgecolor="black", markersize=13, zorder=4)
    start = track.runners[0].path[0]
    panel.plot(*start, "o", color="white", markeredgecolor="black", markersize=6, zorder=4)
    panel.set(xlim=(left, right), ylim=(bottom, top), xlabel=r"$\theta_1$")
    panel.locator_params(nbins=5)
    panel.set_title(title, fontsize=10)


def _floor(track: _Track) -> float:
    """Return the least that curves are drawn at."""
    if track.objective.minimum is None:
        return -np.inf
    goal = -1.0 if track.target is None else track.target - track.objective.minimum
    return goal / 30 if goal > 0 else 1e-12


def _set_curves(below: "Axes", track: _Track) -> None:
    from matplotlib.ticker import LogLocator

    start, lowest = float(track.excess(track.runners[0].path[0])), _floor(track)
    goal = None if track.target is None else track.target - (track.objective.minimum or 0.0)
    below.set_xscale("symlog", linthresh=10, linscale=0.7)
    last = max(track.last, 1)
    ticks = [tick for tick in TICKS if tick <= last]
    below.set_xticks(ticks, [str(tick) for tick in ticks])
    below.minorticks_off()
    below.set(xlim=(0, last * 1.12), xlabel="steps")
    if np.isfinite(lowest):
        below.set(yscale="log", ylim=(lowest / 1.5, start * 5), ylabel=r"$J - J^*$")
        below.yaxis.set_major_locator(LogLocator(numticks=5))
    else:
        reach = start - (goal if goal is not None and goal < start else -start)
        below.set(ylim=(start - 1.25 * reach, start + 0.15 * reach), ylabel="J")
    if goal is not None:
        below.axhline(goal, color=GREY, linewidth=1, linestyle=":")
        below.text(
            0.01, goal, "target", color=INK, fontsize=9, ha="left", va="bottom", transform=below.get_yaxis_transform()
        )
    below.yaxis.labelpad = 1
    below.spines[["top", "right"]].set_visible(False)
