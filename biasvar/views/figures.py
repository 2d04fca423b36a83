"""What all figures share: colours that the colour-blind can tell apart, panels, words, files.

A colour means the same in every figure. Error bars, and shades around lines, are one standard error.
"""

from collections.abc import Callable, Sequence
from functools import cache
from os import PathLike
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from biasvar.errors import BiasvarError, MissingDependencyError
from biasvar.notation import with_power

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Okabe and Ito's palette.
BLACK, GREY, ORANGE, SKY = "#000000", "#999999", "#E69F00", "#56B4E9"
BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SIGMA = "\N{GREEK SMALL LETTER SIGMA}"
INK = "#444444"  # of what explains a figure
SMALL: Any = {"fontsize": "small", "color": INK}
#: A colour and a mark of its own for each of several lines, dark ones first: thin lines need contrast.
LINES = tuple(zip((BLUE, VERMILION, GREEN, BLACK, PURPLE, ORANGE, SKY, GREY) * 2, "osD^vPX*<>hp8Hd1", strict=True))

Shared = bool | Literal["none", "all", "row", "col"]
DPI = 150
TITLE_LETTERS, SMALL_LETTERS = 9.5, 14.0  # in an inch
MOST_DIRECT = 6  # lines that carry their names at their ends
ENDS_APART = 0.1  # of a panel's width, at most, between ends of lines with names there
LEGEND_ROW = 14  # points
PLAIN = 5e-4, 2e4  # between which ticks of logarithmic axes are written without powers of ten
MANY_POWERS = 6  # of ten, beyond which an axis has no ticks between them
FAR_NAMES = 2.5  # lines of text that a name may stand away from its end


def new_panels(rows: int, columns: int, sharex: Shared = False, sharey: Shared = False) -> tuple["Figure", Any]:
    """Make a figure with rows and columns of panels, or say which library is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("matplotlib", "figures") from error
    figure = Figure(figsize=(2.6 + 2.7 * columns, 1.3 + 2.5 * rows), dpi=DPI)
    figure.set_layout_engine("constrained", wspace=0.04)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)
    for panel in axes.flat:
        panel.spines[["top", "right"]].set_visible(False)
    return figure, axes


def panels_or_given(
    ax: "Axes | None", rows: int, columns: int, sharex: Shared = False, sharey: Shared = False
) -> tuple["Figure", Any]:
    """Return a new figure and its panels, or the axes that were given, if one panel is all that is needed.

    Raises
    ------
    BiasvarError
        If there are more panels than the axes that were given.
    """
    if ax is None:
        return new_panels(rows, columns, sharex, sharey)
    if rows * columns > 1:
        raise BiasvarError(f"ax: is one panel, and {rows * columns} are drawn; select fewer labels, or give no ax")
    return cast("Figure", ax.figure), np.array([[ax]])


def set_title(figure: "Figure", axes: NDArray[np.object_], ax: "Axes | None", title: str, about: str) -> None:
    """Write what is seen, and under it, grey, of what: above the figure, or above the axes that were given.

    All is drawn by then: logarithmic axes get plain numbers where they span few powers of ten, and powers elsewhere.
    """
    if ax is None:
        width = figure.get_size_inches()[0]
        figure.suptitle(fill(title, int(TITLE_LETTERS * width)), fontweight="bold", fontsize="large")
        figure.supxlabel(fill(about, int(SMALL_LETTERS * width)), **SMALL)
    else:
        axes[0, 0].set_title(f"{title}\n{about}", fontsize="medium")
    for panel in axes.ravel().tolist():
        _write_ticks(panel.xaxis)
        _write_ticks(panel.yaxis)


def _write_ticks(axis: "Axis") -> None:
    """Write ticks of a logarithmic axis as text: matplotlib sets powers as formulas, which takes half of its time."""
    from matplotlib.ticker import LogFormatterSciNotation, NullLocator

    low, high = axis.get_view_interval()
    if axis.get_scale() == "log" and high > low * 10.0**MANY_POWERS:
        axis.set_minor_locator(NullLocator())
    write = "{:g}".format if PLAIN[0] <= low and high <= PLAIN[1] else with_power
    if type(axis.get_major_formatter()) is LogFormatterSciNotation:
        axis.set_major_formatter(_formatter()(write))
    if type(axis.get_minor_formatter()) is LogFormatterSciNotation:
        axis.set_minor_formatter(_formatter()(write))


@cache
def _formatter() -> Any:
    from matplotlib.ticker import LogFormatterSciNotation

    class Written(LogFormatterSciNotation):
        """Labels where matplotlib has some, as text."""

        def __init__(self, write: Callable[[float], str]) -> None:
            super().__init__()
            self.write = write

        def __call__(self, x: float, pos: int | None = None) -> str:
            return self.write(x) if super().__call__(x, pos) else ""

    return Written


def name_lines(panel: "Axes", ends: Sequence[tuple[str, float, float, str]], direct: bool = True) -> None:
    """Write the names of lines at their right ends; in a legend above where they are too many, or too close there.

    So they are, too, where lines end far from each other: a name would hide what another line does there.

    Parameters
    ----------
    panel : Axes
        With lines that have labels.
    ends : sequence of (str, float, float, str)
        Name, x, y and colour of each.
    direct : bool
        Whether the ends are a place for names: not if other lines pass there.
    """
    line = 1.3 * 10 * panel.figure.dpi / 72
    across, heights = panel.transData.transform([end[1:3] for end in ends] or np.empty((0, 2))).T
    moves = _within(spread(heights, line), line, panel.bbox.y0 + line / 2, panel.bbox.y1) - heights
    apart = np.ptp(across) > ENDS_APART * panel.bbox.width if ends else False
    if not direct or apart or len(ends) > MOST_DIRECT or np.abs(moves).max(initial=0) > FAR_NAMES * line:
        legend_above(panel, min(len(ends), 3) or 1)
        return
    for (name, x, y, color), moved in zip(ends, moves, strict=True):
        panel.annotate(
            name,
            (x, y),
            xytext=(7, moved * 72 / panel.figure.dpi),
            textcoords="offset points",
            color=color,
            va="center",
            annotation_clip=False,
            path_effects=halo(),
        )


def legend_above(panel: "Axes", columns: int) -> None:
    """Put the names of lines above a panel, where nothing is drawn, and its title above them."""
    rows = -(-len(panel.get_legend_handles_labels()[0]) // columns)
    if panel.get_title():
        panel.set_title(panel.get_title(), fontsize=panel.title.get_fontsize(), pad=LEGEND_ROW * rows + 6)
    panel.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, frameon=False, fontsize="small")


def spread(heights: NDArray[np.float64], apart: float) -> NDArray[np.float64]:
    """Return heights at least so far apart, in their order, the nearest in the least-squares sense.

    Examples
    --------
    >>> spread(np.array([0.0, 5.0, 0.0]), 1.0)
    array([-0.5,  5. ,  0.5])
    """
    order = np.argsort(heights, kind="stable")
    steps = apart * np.arange(len(heights))
    # Without the steps they must not fall: those that would are pooled.
    pools: list[tuple[float, int]] = []
    for height in heights[order] - steps:
        mean, count = float(height), 1
        while pools and pools[-1][0] >= mean:
            below, several = pools.pop()
            mean, count = (mean * count + below * several) / (count + several), count + several
        pools.append((mean, count))
    found = np.empty(len(heights))
    found[order] = np.repeat([mean for mean, _ in pools], [count for _, count in pools]) + steps
    return found


def _within(heights: NDArray[np.float64], apart: float, low: float, high: float) -> NDArray[np.float64]:
    """Move heights that are so far apart into a range, where they have room in it, and push others on."""
    order = np.argsort(heights, kind="stable")
    steps = apart * np.arange(len(heights))
    found = np.empty(len(heights))
    found[order] = np.maximum(np.minimum(heights[order], high - steps[::-1]), low + steps)
    return found


def halo() -> list[Any]:
    """Return what draws a white edge about letters, so that lines behind them do not cross them."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=2.5, foreground="white")]


def draw_hollow(
    panel: "Axes",
    x: NDArray[np.generic],
    value: NDArray[np.float64],
    error: NDArray[np.float64],
    **style: Any,
) -> None:
    """Draw hollow marks where there is a value and no standard error."""
    hollow = np.isnan(error) & np.isfinite(value)
    panel.plot(x[hollow], value[hollow], linestyle="none", markerfacecolor="white", **style)


def finite(values: ArrayLike) -> Any:
    """Return numbers with NaN for what cannot be drawn."""
    found = np.asarray(values, float)
    return np.where(np.isfinite(found), found, np.nan)


def save(figure: "Figure", path: str | PathLike[str]) -> Path:
    """Write a figure to a file, in a folder that is made where it is missing, and return the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
    return path
