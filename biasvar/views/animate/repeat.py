"""Fits to one random training set after another, which pile up into their band."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from biasvar.errors import BiasvarError
from biasvar.notation import brief
from biasvar.studies.replicates import replicates
from biasvar.studies.risk import RiskStudy
from biasvar.views.animate.film import Film, Scene, new_figure
from biasvar.views.figures import BLACK, BLUE, INK, ORANGE, SIGMA, SKY, VERMILION, finite
from biasvar.views.plot.cells import leading
from biasvar.views.plot.cells import shown as written

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.gridspec import SubplotSpec

Array = NDArray[np.float64]

COUNT = 600  # training sets
MOST = 3  # hypothesis sets side by side
SINGLE = 12  # training sets that are seen one by one
BRIGHT = 150  # up to which the newest fit is bright
WIDE, ALONE, BESIDE = 3.2, 6.2, 1.1  # inches: of panels, of one alone, and beside them, where numbers stand
CLOSEST = 0.27  # of the height of a panel: how near to each other they may stand
#: What settles, its name, its colour and that of its words.
PARTS = (("bias2", "bias²", ORANGE, "#9c6a00"), ("variance", "variance", BLUE, BLUE))
NEEDED = ("bias2", "variance", "mean_prediction", "variance_x", "target")


def repeat(
    study: RiskStudy,
    summary: xr.Dataset,
    *,
    n_train: int | None = None,
    noise: float | None = None,
    count: int | None = None,
    title: str | None = None,
) -> Film:
    """Repeat the experiment many times: fits pile up into the band, bias² and variance settle to the stored numbers.

    Of more than three hypothesis sets the first, the one of the least risk, and the last are shown. Training sets are
    independent ones of the study's law, whatever its sampler: the shades around running estimates are
    their standard errors, by the jackknife over training sets. At the end stands what the summary says.

    Parameters
    ----------
    study : RiskStudy
        With inputs of one coordinate.
    summary : xarray.Dataset
        Its summary, or a selection of hypothesis sets of it: ``summary.sel(hypothesis=["H1"])``.
    n_train, noise : number, optional
        Which training sets; the study's first unless given.
    count : int, optional
        How many of them, at most as many as the study's blocks have; 600 unless given, or as many as that.
    title : str, optional
        What stands above, instead of which set errs least.

    Raises
    ------
    StudyError
        If the study has no such training sets.
    BiasvarError
        If the summary has no bias² and variance along x.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.RiskStudy(
    ...     name="lines", target=bv.Sine(), inputs=bv.Uniform(-1, 1), hypotheses={"H1": bv.Polynomial(1)}, n_train=[2],
    ...     replicates=2**14, block_size=64,
    ... )
    >>> film = bv.animate.repeat(study, bv.lazy(study).compute(), count=40)
    >>> film.moments[-1]  # what the summary says, after the forty sets, for forty frames
    (41, 40)
    """
    if not has_fits(summary):
        raise BiasvarError(f"repeat: needs {', '.join(NEEDED)} of a risk study with inputs of one coordinate")
    count = min(COUNT, study.block_size) if count is None else count
    drawn = replicates(study.replace(sampler="random"), n_train=n_train, noise=noise, count=count)
    sets = [label for label in drawn.hypothesis.values if label in summary.hypothesis.values]
    labels = {"n_train": drawn.n_train, "noise": drawn.noise, "hypothesis": sets}
    cells = summary.sel(labels).compute()
    shown = _shown(cells)
    found = title or leading(cells) or "One random training set after another"
    scene = _Pile(drawn.sel(hypothesis=shown), cells.sel(hypothesis=shown), found)
    return Film(scene, [*_moments(count), (count + 1, 40)])


def has_fits(summary: object) -> TypeGuard[xr.Dataset]:
    """Tell whether a summary has bias² and variance of fits along x."""
    return isinstance(summary, xr.Dataset) and all(name in summary.variables for name in NEEDED) and "x" in summary.dims


def _shown(cells: xr.Dataset) -> list[str]:
    """Return the labels of a few sets: of many the first, the one of the least risk, and the last."""
    labels = [str(label) for label in cells.hypothesis.values]
    if len(labels) <= MOST:
        return labels
    least = int(np.argmin(np.where(np.isfinite(cells.expected_risk), cells.expected_risk, np.inf)))
    return [labels[i] for i in sorted({0, least, len(labels) - 1})]


def _moments(count: int) -> list[tuple[int, int]]:
    """Return training sets one by one, those first ones for longer, then ever more at once."""
    later = np.unique(np.geomspace(SINGLE + 1, max(count, SINGLE + 1), 60).astype(int)).tolist()
    return [
        (k, 6 if k <= SINGLE // 2 else 3 if k <= SINGLE else 1) for k in (*range(1, SINGLE + 1), *later) if k <= count
    ]


def running_estimates(fits: Array, target: Array, weights: Array) -> tuple[float, float, float, float]:
    """Return bias² and variance of fits to independent training sets, without the share of the variance in bias².

    Parameters
    ----------
    fits : ndarray of shape (K, points)
        Predictions; three fits at the least.
    target, weights : ndarray of shape (points,)
        What is right, and by how much each point counts.

    Returns
    -------
    bias2, bias2_se, variance, variance_se : float
        Errors by the jackknife over fits.
    """
    count = len(fits)
    centred = fits - fits.mean(axis=0)
    squares = (centred**2).sum(axis=0)
    bias2, variance = _both(fits.mean(axis=0), squares / (count - 1), count, target, weights)
    # Without each fit in turn: its mean moves by -c / (K - 1), its sum of squares falls by c^2 K / (K - 1).
    means = fits.mean(axis=0) - centred / (count - 1)
    spreads = (squares - centred**2 * count / (count - 1)) / (count - 2)
    left_out = _both(means, spreads, count - 1, target, weights)
    errors = [float(np.sqrt((count - 1) / count * ((each - each.mean()) ** 2).sum())) for each in left_out]
    return float(bias2), errors[0], float(variance), errors[1]


def _both(mean: Array, spread: Array, count: int, target: Array, weights: Array) -> tuple[Any, Any]:
    variance = spread @ weights
    return ((mean - target) ** 2) @ weights - variance / count, variance


@dataclass(frozen=True)
class _Column:
    """What is seen of one hypothesis set: its fits along x, its cell, what is estimated on the way, and the panels."""

    fits: Array  # (replicate, at)
    cell: xr.Dataset
    estimates: Mapping[int, tuple[float, ...]]  # after so many training sets
    panel: "Axes"
    below: "Axes"
    artists: dict[str, Any]

    def running(self, part: int, moment: int) -> tuple[Array, Array, Array]:
        """Return after how many training sets bias² (0) or variance (1) was what, and the errors, up to a moment."""
        known = [k for k in self.estimates if k <= moment]
        values = np.array([self.estimates[k][2 * part : 2 * part + 2] for k in known]).reshape(-1, 2)
        return np.array(known, dtype=float), values[:, 0], values[:, 1]


class _Pile(Scene):
    """A column for each hypothesis set: fits above, bias² and variance below."""

    def __init__(self, drawn: xr.Dataset, cells: xr.Dataset, title: str) -> None:
        self.drawn, self.at, self.count, self.last = drawn, drawn["at"].values, drawn.sizes["replicate"], 0
        labels = [str(label) for label in drawn.hypothesis.values]
        columns = len(labels)
        wide = ALONE if columns == 1 else WIDE
        width, height = 0.65 + columns * (wide + BESIDE), 6.3
        self.figure = new_figure(width, height)
        across = {"left": 0.65 / width, "right": 1 - BESIDE / width, "wspace": BESIDE / wide}
        upper = self.figure.add_gridspec(1, columns, top=1 - 1.05 / height, bottom=1 - 3.5 / height, **across)
        lower = self.figure.add_gridspec(1, columns, top=2.3 / height, bottom=0.75 / height, **across)
        self.columns = [
            self._column(label, cells.sel(hypothesis=label), upper[i], lower[i]) for i, label in enumerate(labels)
        ]
        self.columns[0].panel.set_ylabel("prediction (y)")
        self.columns[0].below.set_ylabel("estimate ± 1 SE")
        self._write(title)

    def _column(self, label: str, cell: xr.Dataset, upper: "SubplotSpec", lower: "SubplotSpec") -> _Column:
        panel, below = self.figure.add_subplot(upper), self.figure.add_subplot(lower)
        fits = self.drawn.prediction.sel(hypothesis=label).values
        nodes = np.stack([np.interp(cell.x.values, self.at, fit) for fit in fits])
        estimates = {
            k: running_estimates(nodes[:k], cell.target.values, cell.x_weight.values)
            for k, _ in _moments(self.count)
            if k >= 3
        }
        reach = float(np.abs(self.drawn.target).max()) + 2 * float(self.drawn.noise)
        panel.plot(self.at, self.drawn.target, color=BLACK, linewidth=2.4, zorder=1)
        panel.set(xlim=_wider(self.at), ylim=(-2.9 * reach, 2.9 * reach), xlabel="input x")
        panel.set_title(written(label), fontsize=11)
        _set_estimates(below, cell, estimates[max(estimates)], self.count)
        for each in (panel, below):
            each.spines[["top", "right"]].set_visible(False)
        return _Column(fits, cell, estimates, panel, below, self._artists(panel, below))

    def _artists(self, panel: "Axes", below: "Axes") -> dict[str, Any]:
        """Return what moves, or is drawn again, of a column."""
        from matplotlib.patheffects import Normal, Stroke

        halo = [Stroke(linewidth=4.5, foreground="white"), Normal()]
        plots: dict[str, tuple[Any, dict[str, Any]]] = {
            "faint": (panel, {"color": SKY, "linewidth": 0.8}),
            "target": (panel, {"color": BLACK, "linewidth": 2.4}),
            "bright": (panel, {"color": VERMILION, "linewidth": 1.6}),
            "points": (panel, {"color": VERMILION, "marker": "o", "linestyle": "", "markersize": 8}),
            "mean": (panel, {"color": BLUE, "linewidth": 2.4, "path_effects": halo}),
            **{name: (below, {"color": color, "linewidth": 2}) for name, _, color, _ in PARTS},
        }
        plots["points"][1]["markeredgecolor"] = "white"
        return {name: where.plot([], [], animated=True, **style)[0] for name, (where, style) in plots.items()}

    def _write(self, title: str) -> None:
        """Write the title, what lines mean, the clock, and of what it is."""
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        figure, (width, height) = self.figure, self.figure.get_size_inches()
        left = 0.65 / width
        figure.text(left, 1 - 0.27 / height, title, fontsize=12, fontweight="bold", va="center")
        handles = [
            Line2D([], [], color=BLACK, linewidth=2.4, label="target f"),
            Line2D([], [], color=VERMILION, linewidth=1.6, marker="o", label="a fit and its points"),
            Line2D([], [], color=BLUE, linewidth=2.4, label="mean fit"),
            Patch(color=SKY, alpha=0.6, linewidth=0, label="± 1 std. dev."),
        ]
        place: Any = {"loc": "center left", "bbox_to_anchor": (left - 0.012, 1 - 0.57 / height), "frameon": False}
        figure.legend(handles=handles, ncols=len(handles), columnspacing=1.3, handletextpad=0.5, **place)
        words = f"Random training sets of {self.drawn.n_train} examples, noise {SIGMA} = {self.drawn.noise:g}"
        figure.text(left, 0.16 / height, f"{words}; dashed: the study's numbers.", color=INK, fontsize=9)
        self.clock = figure.text(
            1 - 0.2 / width, 0.16 / height, "", ha="right", family="monospace", fontweight="bold", animated=True
        )

    def begin(self) -> None:
        """Take all fits away."""
        self.last = 0

    def leave(self, moment: int) -> Iterator["Artist"]:
        """Yield the fits since the last moment, fainter the more there are."""
        until = min(moment, self.count)
        for column in self.columns:
            for i in range(self.last, until):
                column.artists["faint"].set(data=(self.at, column.fits[i]), alpha=max(0.14, 0.7 / (i + 1) ** 0.4))
                yield column.artists["faint"]
        self.last = until

    def show(self, moment: int) -> Iterator["Artist"]:
        """Yield the newest fit, the mean fit, the running estimates; after the last training set what is stored."""
        ended = moment > self.count
        for column in self.columns:
            yield from self._end(column) if ended else self._fits(column, moment)
            yield from _estimates(column, min(moment, self.count))
        sets = int(self.columns[0].cell.replicates) if ended else moment
        self.clock.set_text(f"{sets:,} training set{'' if sets == 1 else 's'}")
        yield self.clock

    def _fits(self, column: _Column, moment: int) -> Iterator["Artist"]:
        artists = column.artists
        artists["target"].set_data(self.at, self.drawn.target)
        yield artists["target"]
        if moment <= BRIGHT:
            artists["bright"].set_data(self.at, column.fits[moment - 1])
            artists["points"].set_data(self.drawn.x[moment - 1], self.drawn.y[moment - 1])
            yield artists["bright"]
            yield artists["points"]
        if moment >= 3:
            artists["mean"].set_data(self.at, column.fits[:moment].mean(axis=0))
            yield artists["mean"]

    def _end(self, column: _Column) -> Iterator["Artist"]:
        """Yield what the summary says, over a veil."""
        x, mean = column.cell.x.values, finite(column.cell.mean_prediction)
        deviation = np.sqrt(finite(column.cell.variance_x).clip(min=0))
        veil = column.panel.axvspan(*_wider(self.at), color="white", alpha=0.72, linewidth=0, animated=True)
        band = column.panel.fill_between(
            x, mean - deviation, mean + deviation, color=SKY, alpha=0.6, linewidth=0, animated=True
        )
        column.artists["target"].set_data(self.at, self.drawn.target)
        column.artists["mean"].set_data(x, mean)
        yield from (veil, band, column.artists["target"], column.artists["mean"])
        veil.remove()
        band.remove()


def _estimates(column: _Column, moment: int) -> Iterator["Artist"]:
    """Yield running estimates up to a moment, with their errors."""
    for part, (name, _, color, _) in enumerate(PARTS):
        known, values, errors = column.running(part, moment)
        band = column.below.fill_between(
            known, values - errors, values + errors, color=color, alpha=0.25, linewidth=0, animated=True
        )
        yield band
        band.remove()
        column.artists[name].set_data(known, values)
        yield column.artists[name]


def _set_estimates(below: "Axes", cell: xr.Dataset, last: Sequence[float], count: int) -> None:
    """Draw what the summary has, dashed, with its error; its number stands at the right."""
    stored = [float(cell[name]) for name, *_ in PARTS]
    top = 2.0 * max(value if np.isfinite(value) else last[2 * part] for part, value in enumerate(stored))
    below.set(xscale="log", xlim=(1, count), ylim=(0, top), xlabel="training sets so far")
    ticks = [tick for tick in (1, 3, 10, 30, 100, 300, 1000, 3000, 10000) if tick <= count]
    below.set_xticks(ticks, [str(tick) for tick in ticks])
    below.minorticks_off()
    apart = max(CLOSEST * top - abs(stored[0] - stored[1]), 0) / 2 if np.isfinite(stored).all() else 0
    for (name, words, color, ink), value in zip(PARTS, stored, strict=True):
        error = float(cell[f"{name}_se"])
        if np.isfinite(value):
            below.axhline(value, color=color, linewidth=1, linestyle="--", zorder=1)
        if error > 0:
            below.axhspan(value - error, value + error, color=color, alpha=0.25, linewidth=0, zorder=1)
        height = value + (apart if value == max(stored) else -apart) if np.isfinite(value) else 0.9 * top
        text: Any = {"color": ink, "va": "center", "clip_on": False, "fontsize": 9.5}
        below.text(1.08 * count, height, f"{words}\n{_number(value, error)}", **text)


def _number(value: float, error: float) -> str:
    """Write a number in few digits, fewer where its standard error is larger."""
    return "infinite" if np.isinf(value) else brief(value, error)


def _wider(at: Array) -> tuple[float, float]:
    """Return where an axis begins and ends, so that its last ticks are seen."""
    room = 0.004 * float(at[-1] - at[0])
    return float(at[0]) - room, float(at[-1]) + room
