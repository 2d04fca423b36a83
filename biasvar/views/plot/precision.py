"""Figures of how well numbers are known, and of how that comes with replicates."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from biasvar.errors import BiasvarError
from biasvar.execution.backends import Place
from biasvar.execution.reading import read_through
from biasvar.execution.store import Store
from biasvar.studies.base import Group, Summary, nodes_of
from biasvar.studies.study import Study
from biasvar.views.figures import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    INK,
    LINES,
    ORANGE,
    SKY,
    VERMILION,
    finite,
    legend_above,
    panels_or_given,
    set_title,
)
from biasvar.views.plot.cells import ROUNDING, shown, study_name
from biasvar.views.plot.doors import made_of
from biasvar.views.plot.studies import study_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

FIRST = 4  # blocks: of fewer no spread is known
MOST_LINES = 60
MOST_PROBLEMS = 6  # with a colour each
SLOW, MANY = 1.4, 128  # of what is said to fall slowly: times smaller from four times the blocks; blocks that tell it


def precision(
    store: Place, study: Study[Any] | None = None, *, ax: "Axes | None" = None, title: str | None = None
) -> "Figure":
    r"""Draw how standard errors fell with replicates, a line for each cell, beside 1/sqrt(n).

    They are those of the number that is told while a study runs, such as the excess risk, after the first 4, 8, 16, ...
    blocks: :math:`s_b / \sqrt{b}`. A line that falls more slowly than the dashed one, or rises, has a heavy tail.

    Parameters
    ----------
    store : path-like or str
        A store made by :func:`~biasvar.run`, which is read from end to end.
    study : Study, optional
        What it holds; needed where parts of it are not biasvar's own, which are not imported here.
    ax, title
        See :mod:`biasvar.plot`.

    Raises
    ------
    StoreError
        If the store is none, unfinished or damaged.
    BiasvarError
        If the study is needed, or there are too few blocks.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> import biasvar as bv, os, tempfile
    >>> study = bv.load("two-point-sine", ["replicates=512", "block_size=16"])
    >>> store = os.path.join(tempfile.mkdtemp(), "sine.zarr")
    >>> summary = bv.run(study, store, scheduler="synchronous")
    >>> figure = bv.plot.precision(store)
    >>> figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()
    ('replicates', 'standard error of the excess risk')
    """
    target = Store(store)
    known = study or study_of(nodes_of(target.summary())[""])
    if known is None:
        raise BiasvarError("precision: parts of the study are not biasvar's own; give it as the second argument")
    found = read_through(target, known)
    found.check()
    return falling(known, found.headlines, ax=ax, title=title)


def falling(
    study: Study[Any], headlines: Mapping[Group, Array], *, ax: "Axes | None" = None, title: str | None = None
) -> "Figure":
    """Draw that from each block's headline numbers.

    Parameters
    ----------
    study : Study
        Whose they are.
    headlines : mapping of Group to ndarray of shape (cells, blocks)
        The numbers.
    ax, title
        See :mod:`biasvar.plot`.
    """
    lines, exact = _lines(headlines)
    if not lines:
        raise BiasvarError(f"precision: no cell has a standard error and {2 * FIRST} blocks or more")
    kept = sorted(lines, key=lambda at: -lines[at][1][-1])[:MOST_LINES]
    figure, axes = panels_or_given(ax, 1, 1)
    panel = axes[0, 0]
    if ax is None:
        figure.set_size_inches(7.5, 5)
    problems = list(dict.fromkeys(problem for problem, _ in lines))
    for problem, cell in kept:
        blocks, errors = lines[problem, cell]
        color, mark = LINES[problems.index(problem) if len(problems) <= MOST_PROBLEMS else 0]
        style: Any = {"color": color, "marker": mark, "markersize": 4, "linewidth": 1.2, "alpha": 0.8}
        panel.plot(study.block_size * blocks, errors, **style)
    if 1 < len(problems) <= MOST_PROBLEMS:
        for (color, mark), problem in zip(LINES, problems, strict=False):
            panel.plot([], [], color=color, marker=mark, markersize=4, label=shown(problem))
    _draw_rate(panel, study, [lines[at] for at in kept])
    legend_above(panel, 4)
    name = study.headline_name
    panel.set(xscale="log", yscale="log", xlabel="replicates", ylabel=f"standard error of the {name}")
    counts = f"{len(kept)} of {len(lines)} cells, the least known" if len(kept) < len(lines) else f"{len(lines)} cells"
    more = f", {exact} more exact" if exact else ""
    set_title(figure, axes, ax, title or _pace(lines, name), f"{shown(study.name)}: {counts}{more}; a line for each")
    return figure


def _lines(headlines: Mapping[Group, Array]) -> tuple[dict[tuple[str, str], tuple[NDArray[np.int64], Array]], int]:
    """Return blocks and the standard errors after them for each cell that has some, and how many cells are exact."""
    lines: dict[tuple[str, str], tuple[NDArray[np.int64], Array]] = {}
    exact = 0
    for group, values in headlines.items():
        count = values.shape[1]
        if count < 2 * FIRST:
            continue
        blocks = np.unique([*(FIRST * 2 ** np.arange(int(np.log2(count / FIRST)) + 1)), count])
        errors = np.stack([values[:, :b].std(axis=1, ddof=1) / np.sqrt(b) for b in blocks], axis=1)
        there = (errors > ROUNDING * np.abs(values).max(axis=1, keepdims=True)).all(axis=1)
        exact += int((np.isfinite(errors).all(axis=1) & ~there).sum())
        lines |= {(group.problem, group.cells[i]): (blocks, errors[i]) for i in np.flatnonzero(there)}
    return lines, exact


def _draw_rate(panel: "Axes", study: Study[Any], lines: list[tuple[NDArray[np.int64], Array]]) -> None:
    """Draw 1/sqrt(n) from the middle of where lines begin, and the standard error that the study asks for."""
    first, last = min(blocks[0] for blocks, _ in lines), max(blocks[-1] for blocks, _ in lines)
    middle = float(np.exp(np.median([np.log(errors[0]) for _, errors in lines])))
    ends = study.block_size * np.array([first, last])
    panel.plot(ends, middle * np.sqrt(ends[0] / ends), color=BLACK, linestyle="--", linewidth=2, label="1/√n")
    if study.headline_goal is not None:
        panel.axhline(study.headline_goal, color=INK, linestyle=":", linewidth=1.5, label="the goal")


def _pace(lines: Mapping[tuple[str, str], tuple[NDArray[np.int64], Array]], name: str) -> str:
    """Say what four times the replicates do to standard errors, and to which least."""
    times = {at: 4.0 ** -np.polyfit(np.log(blocks), np.log(errors), 1)[0] for at, (blocks, errors) in lines.items()}
    said = f"Four times the replicates made errors of the {name} {np.median(list(times.values())):.2g} times smaller"
    slowest = min(times, key=times.__getitem__)
    if times[slowest] < SLOW and lines[slowest][0][-1] >= MANY:
        problem, cell = map(shown, slowest)
        said += f", but {times[slowest]:.2g} times of {cell}, {problem}"
    return said


@made_of("expected_risk", "expected_risk_se", "block_count")
def digits(summary: Summary, *, ax: "Axes | None" = None, title: str | None = None) -> "Figure":
    """Draw how well numbers are known: their standard errors against themselves, a mark for each cell.

    Diagonals are one, two, three ... certain digits. What is exact, or has no standard error, is counted below.

    Parameters
    ----------
    summary : xarray.Dataset or xarray.DataTree
        What :func:`biasvar.run` or :func:`biasvar.open` returned.
    ax, title
        See :mod:`biasvar.plot`.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.load("two-point-sine", ["replicates=256", "block_size=16"])
    >>> figure = bv.plot.digits(bv.lazy(study).compute())
    >>> figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()
    ('number', 'its standard error')
    """
    pairs = _numbers(summary)
    figure, axes = panels_or_given(ax, 1, 1)
    panel = axes[0, 0]
    if ax is None:
        figure.set_size_inches(7.5, 5)
    every = [np.column_stack(pair) for pair in pairs.values()]
    known = np.vstack(every) if every else np.empty((0, 2))
    there = known[(known > 0).all(axis=1)]
    for (name, (value, error)), (color, mark) in zip(pairs.items(), _MARKS, strict=False):
        seen = (value > 0) & (error > 0)
        panel.plot(value[seen], error[seen], color=color, marker=mark, linestyle="none", markersize=5, label=name)
    if len(there):
        _draw_digits(panel, there)
        legend_above(panel, 3)
    panel.set(xscale="log", yscale="log", xlabel="number", ylabel="its standard error")
    exact = int((known[:, 1] == 0).sum())
    unknown = int(np.isnan(known[:, 1]).sum())
    counts = f"lines: certain digits; {len(there)} numbers, {exact} more exact, {unknown} without a standard error"
    set_title(figure, axes, ax, title or _digits(there), f"{study_name(nodes_of(summary)[''])}: {counts}")
    return figure


_MARKS = ((BLUE, "o"), (VERMILION, "s"), (GREEN, "D"), (BLACK, "^"), (ORANGE, "v"), (SKY, "P"))


def _numbers(summary: Summary) -> dict[str, Any]:
    """Return values and standard errors of what tables show, by name."""
    found: dict[str, list[Any]] = {}
    for node in nodes_of(summary).values():
        for name, variable in node.data_vars.items():
            if "column" in variable.attrs and f"{name}_se" in node:
                value, error = np.abs(finite(variable).ravel()), finite(node[f"{name}_se"]).ravel()
                # What is left of rounding has no error worth the name.
                error = np.where(error < ROUNDING * np.nanmax(value, initial=0), 0, error)
                pair = np.stack([value, error])
                found.setdefault(variable.attrs.get("short_name", str(name)), []).append(pair)
    return {name: np.concatenate(pairs, axis=1) for name, pairs in list(found.items())[: len(_MARKS)]}


def _draw_digits(panel: "Axes", there: Array) -> None:
    low, high = there[:, 0].min() / 2, there[:, 0].max() * 2
    for digits in range(int(np.floor(np.log10(there[:, 0] / there[:, 1]).max())) + 2):
        ends = np.array([low, high])
        panel.plot(ends, ends * 10.0**-digits, color=GREY, linewidth=0.8, zorder=0)
        panel.annotate(f"{digits}", (high, high * 10.0**-digits), (3, 0), textcoords="offset points", fontsize="small")
    panel.set_xlim(low, high)
    panel.set_ylim(there[:, 1].min() / 3, there[:, 1].max() * 3)


def _digits(there: Array) -> str:
    if not len(there):
        return "Every number is exact, or without a standard error"
    digits = np.log10(there[:, 0] / there[:, 1])
    low, middle = np.quantile(digits, (0, 0.5))
    return f"Half of the numbers have {middle:.1f} certain digits or more, the least known {max(low, 0):.1f}"
