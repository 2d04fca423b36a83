"""How far a run is, and how that is shown: a bar on a terminal and in a notebook, a line now and then elsewhere."""

import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from biasvar.errors import StudyError, several
from biasvar.studies.base import Group

MOST_LETTERS = 40  # of a cell's key, in a line
MOST_ROWS = 40  # of cells of one group; of larger groups the best cell is told
MOST_TOLD = 60  # estimates that those are told who watch a store
LINE_SECONDS = 5.0  # between lines where there is no terminal


class Estimate(NamedTuple):
    """How well a cell's headline number is known so far; of a group of many cells only its least is told."""

    problem: str
    cell: str
    blocks: int
    mean: float | None
    error: float | None


@dataclass
class Progress:
    """How far a run is: its stage, chunks, seconds, and which cell's headline number is least known so far.

    ``name`` says which number of a cell that is, ``called`` what cells of a group are called beside it.
    """

    done: int = 0
    total: int = 0
    seconds: float = 0.0
    stage: str = "planning"
    name: str = "mean"
    called: Callable[[Group], Sequence[str]] = attrgetter("cells")
    messages: list[str] = field(default_factory=list)
    cells: dict[Group, NDArray[np.float64]] = field(default_factory=dict)  # count, mean, squared deviations
    _names: dict[Group, Sequence[str]] = field(default_factory=dict)

    def add(self, group: Group, token: NDArray[np.float64]) -> None:
        """Take in the token of a finished task: count, mean and squared deviations of every cell."""
        self.done += 1
        if group not in self._names:
            self._names[group] = self.called(group)
        count, mean, squares = token.T
        n, m, s = self.cells.get(group, np.zeros((3, len(token))))
        total, shift = n + count, mean - m
        self.cells[group] = np.stack([total, m + shift * count / total, s + squares + shift**2 * n * count / total])

    def behind(self, missing: int) -> None:
        """Take in how many chunks the store still lacks: tokens may be lost, chunks are not."""
        self.done = self.total - missing

    def to_json(self) -> dict[str, Any]:
        """Return what those who watch the store are told."""
        told = {"done": self.done, "total": self.total, "seconds": self.seconds, "least_known": self.least_known}
        told |= {"headline": self.name, "estimates": [list(estimate) for estimate in self.estimates(MOST_TOLD)]}
        numbers = {"worst_error": self.worst_error, "seconds_left": self.seconds_left}
        return told | {name: _number(value) for name, value in numbers.items()}

    def estimates(self, most: int) -> list[Estimate]:
        """Return estimates of all cells, or of so many that are the least known."""
        found = _least_of_each(row for group, moments in self.cells.items() for row in self._estimates(group, moments))
        return least_known_of(found, most)

    def _estimates(self, group: Group, moments: NDArray[np.float64]) -> Iterator[Estimate]:
        count, mean, squares = moments
        error = np.sqrt(squares / (count * (count - 1))) if count[0] > 1 else np.full(len(mean), np.nan)
        many = len(mean) > MOST_ROWS
        if many and np.isnan(mean).all():
            return
        for i in [int(np.nanargmin(mean))] if many else range(len(mean)):
            cell = f"{group.title}: the least" if many else self._names[group][i]
            yield Estimate(group.problem, cell, int(count[i]), _number(mean[i]), _number(error[i]))

    @property
    def worst_error(self) -> float:
        """Largest standard error among the cells seen in this run; NaN while there is none."""
        return self._worst[0]

    @property
    def least_known(self) -> str:
        """The number that it is of; nothing while there is none."""
        return self._worst[1]

    @property
    def _worst(self) -> tuple[float, str]:
        worst = np.nan, ""
        for group, (n, _, s) in self.cells.items():
            errors = np.sqrt(s / (n * (n - 1))) if n[0] > 1 else np.full(1, np.nan)
            if np.isnan(errors).all() or np.nanmax(errors) <= worst[0]:
                continue
            cell = self._names[group][int(np.nanargmax(errors))]
            short = cell if len(cell) <= MOST_LETTERS else f"{cell[:MOST_LETTERS]}..."
            worst = float(np.nanmax(errors)), f"{group.problem} {short}, {self.name}"
        return worst

    @property
    def seconds_left(self) -> float:
        """Seconds that the rest takes at this run's pace."""
        return self.seconds * (self.total - self.done) / self.done if self.done else np.nan

    @property
    def precision(self) -> str:
        """How precise the run is so far, in words."""
        error, name = self._worst
        return "no standard error yet" if np.isnan(error) else f"least known: {name} +-{error:.2g}"


def least_known_of(estimates: Sequence[Estimate], most: int) -> list[Estimate]:
    """Return so many of the estimates, in their order, that are the least known."""
    kept = sorted(estimates, key=lambda estimate: -(estimate.error or 0))[:most]
    return [estimate for estimate in estimates if estimate in kept]


def _least_of_each(estimates: Iterable[Estimate]) -> list[Estimate]:
    """Keep one estimate per problem and cell: large groups are several, of the same name."""
    found: dict[tuple[str, str], Estimate] = {}
    for estimate in estimates:
        key = estimate.problem, estimate.cell
        other = found.setdefault(key, estimate)
        if estimate.mean is not None and (other.mean is None or estimate.mean < other.mean):
            found[key] = estimate
    return list(found.values())


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


Report = Callable[[Progress], None]


def shown(progress: bool | Report | None) -> AbstractContextManager[Report]:
    """Return what shows a run's progress as long as it is entered.

    Parameters
    ----------
    progress : bool or callable, optional
        None: a bar on a terminal and in a notebook, lines elsewhere. True: a bar. False: messages only.

    Raises
    ------
    StudyError
        If it is something else.
    """
    if not (progress is None or isinstance(progress, bool) or callable(progress)):
        raise StudyError(f"progress: expected True, False or a callable, got {progress!r}")
    if progress is not None and not isinstance(progress, bool):
        return nullcontext(progress)
    if progress is False:
        return nullcontext(_tell)
    seen = _in_notebook() or (sys.stderr is not None and sys.stderr.isatty())
    return _bar() if progress or seen else nullcontext(_Lines())


def _tell(state: Progress) -> None:
    while state.messages:
        _say(state.messages.pop(0))


def _say(text: str) -> None:
    if sys.stderr is not None:  # a daemon may have closed it
        print(text, file=sys.stderr, flush=True)


class _Lines:
    """A line now and then."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, state: Progress) -> None:
        _tell(state)
        if 0 < state.done < state.total and time.monotonic() - self._last > LINE_SECONDS:
            self._last = time.monotonic()
            _say(f"{state.done} of {several(state.total, 'chunk')}, {state.precision}, {state.seconds_left:.0f} s left")


@contextmanager
def _bar() -> Iterator[Report]:
    bar: Any = None

    def report(state: Progress) -> None:
        nonlocal bar
        while state.messages:
            _tqdm().write(state.messages.pop(0), file=sys.stderr)
        if bar is None and state.total:
            bar = _tqdm()(desc=f"{state.stage}: ", total=state.total, bar_format=BAR, **_size())
        if bar is not None:
            bar.total = state.total
            bar.set_description(state.stage, refresh=False)
            bar.set_postfix_str(state.precision, refresh=False)
            bar.update(state.done - bar.n)
            if state.done == state.total:
                bar.refresh()

    try:
        yield report
    finally:
        if bar is not None:
            bar.close()


def _size() -> dict[str, int]:
    """Return a size for terminals that say they have none, as those of containers may; else tqdm looks itself."""
    try:
        known = os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except (OSError, AttributeError, ValueError):  # no terminal, such as a notebook's
        return {}
    return {} if known else {"ncols": 80, "nrows": 24}


@cache
def _tqdm() -> Any:
    """Return tqdm's bar: a widget in a notebook that can show one, else text."""
    if _in_notebook() and find_spec("ipywidgets"):
        from tqdm.notebook import tqdm
    else:
        from tqdm.std import tqdm
    # Neither a thread that watches the bar nor a lock that other processes share: only the driver draws.
    bar = type("Bar", (tqdm,), {"monitor_interval": 0})
    bar.set_lock(_LOCK)  # type: ignore[attr-defined]
    return bar


_LOCK = threading.RLock()
# Neither a share nor a pace: the name of the least known number needs their room on a terminal of 80 columns.
BAR = "{desc}{n_fmt}/{total_fmt} {bar} {remaining} left{postfix}"


def _in_notebook() -> bool:
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and "IPKernelApp" in shell.config
