"""The loop of studies: many configurations of one update rule descend one objective, side by side.

Its specification is the plain loop, :func:`~biasvar.optimization.rules.base.descend`.

Parameters are kept as arrays (D, K), trajectories innermost; objectives are given the transposed view (K, D). All that
happens to a trajectory depends on itself alone: tiles have the width that belongs to D, padded if need be, so that a
matrix product gives it the same bits whichever others stand beside it. The place of one that has stopped is taken by a
copy of one that runs, so that nothing is asked of it any more; what raises is halved until the one whose fault it is
stands alone.
"""

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice, repeat
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from biasvar.errors import MACHINE_FAULTS, sentence
from biasvar.optimization import columns, keeping
from biasvar.optimization.columns import Array, Places
from biasvar.optimization.descent import Descent, Outcome
from biasvar.optimization.fused import advance_many
from biasvar.optimization.objectives import Objective
from biasvar.optimization.quantities import GRADIENT_NORM, OBJECTIVE, Look
from biasvar.optimization.rules import advance
from biasvar.optimization.rules.base import State

TILE_NUMBERS = 1 << 14  # parameters in a tile, so that it and the state of its rule stay in the cache
LEAST_WIDTH, PADDED_WIDTH = 64, 1024
SHORT, LONG = 16, 512  # steps that are taken before a look whether all is well: twice as many each time it is
GROWN = 1e12  # times the size of the objective, or of theta, at the start, and more

Batch = NDArray[np.intp] | None


class Trajectories(NamedTuple):
    """What K trajectories left behind."""

    records: Array  # (K, statistics); missing where it failed
    failures: tuple[str, ...]  # why, empty where it did not
    traceback: str = ""  # of the first failure that was an exception


class Begun(NamedTuple):
    """What K trajectories left behind after fewer steps, none of them failed."""

    descent: Descent  # of so many steps, with the same looks up to there
    records: Array  # (K, statistics of that descent)


def run(
    descent: Descent,
    initial: Array,
    hyper: Mapping[str, Array],
    batches: Iterable[NDArray[np.intp]] | None,
    begun: Begun | None = None,
) -> Trajectories:
    """Run K configurations from one point.

    Parameters
    ----------
    descent : Descent
        What all have in common.
    initial : ndarray of shape (D,)
        Where all start.
    hyper : mapping of str to ndarray of shape (K,)
        Hyperparameters of each configuration.
    batches : iterable of index arrays, or None
        Examples that each step sees, the same for all; None: all examples.
    begun : Begun, optional
        Records of their first steps, with the states of those that run: they go on from there, with the same bits.

    Returns
    -------
    Trajectories
        What was recorded (infinite once diverged), the :class:`~biasvar.optimization.descent.Outcome`, and the step at
        which it came.
    """
    count, parts = len(next(iter(hyper.values()))), []
    for real, chosen in _tiles(descent, count):
        tile = _Tile(descent, initial, {name: np.ascontiguousarray(values[chosen]) for name, values in hyper.items()})
        known = None if begun is None else begun._replace(records=begun.records[chosen])
        parts.append(tile.run(batches, real, known))
    return Trajectories(
        np.concatenate([part.records for part in parts]),
        tuple(reason for part in parts for reason in part.failures),
        next((part.traceback for part in parts if part.traceback), ""),
    )


def trace_of(error: Exception) -> str:
    """Return the traceback of what was raised."""
    return "".join(traceback.format_exception(error))


def _tiles(descent: Descent, count: int) -> Iterator[tuple[int, Places]]:
    """Yield the configurations of each tile, and how many they are; the last tile is padded with copies."""
    width = max(LEAST_WIDTH, TILE_NUMBERS // _power_of_two(descent.dim))
    elementwise = descent.objective.elementwise
    if not elementwise:
        width = min(width, PADDED_WIDTH)
    for start in range(0, count, width):
        stop = max(min(start + width, count), start + LEAST_WIDTH) if elementwise else start + width
        yield min(stop, count) - start, np.minimum(np.arange(start, stop), count - 1)


def _power_of_two(least: int) -> int:
    return 1 << (max(least, 1) - 1).bit_length()


class _Step(NamedTuple):
    """One step: where the gradient was taken, the gradient, and what came of it."""

    place: Array  # (D, K)
    slope: Array  # (D, K)
    theta: Array
    state: Any


class _Gradient:
    """The gradient over a batch, as update rules see it: where it was taken last, and what it was, (D, K)."""

    place: Array
    slope: Array

    def __init__(self, objective: Objective) -> None:
        self._gradient = objective.gradient
        self.batch: Batch = None

    def __call__(self, place: Array) -> Array:
        self.place = place
        self.slope = np.asarray(self._gradient(place.T, self.batch)).T
        return self.slope


class _Tile:
    """So many trajectories as are computed together."""

    def __init__(self, descent: Descent, initial: Array, hyper: Mapping[str, Array]) -> None:
        self.descent, self.hyper, self.gradient = descent, dict(hyper), _Gradient(descent.objective)
        self.width = len(next(iter(hyper.values())))
        column = np.asarray(initial, dtype=float)[:, None]
        self.theta: Array = np.broadcast_to(column, (len(column), self.width)).copy()
        self.state: Any = descent.rule.init(self.theta)
        self.outcomes = np.zeros(self.width, np.int64)
        self.stops = np.full(self.width, descent.steps)
        self.records: list[Array] = []
        self.done, self.stride = 0, SHORT
        self.failures, self.traceback = [""] * self.width, ""
        self.suspects: dict[int, str] = {}  # of those whose gradient was not finite since the last look: why not
        self.value_bound = self.theta_bound = np.inf

    @property
    def runs(self) -> NDArray[np.bool_]:
        """Whether each trajectory runs."""
        # NumPy takes its time to compare with an enum as it is.
        runs: NDArray[np.bool_] = self.outcomes == int(Outcome.RUNNING)
        return runs

    @property
    def running(self) -> Places:
        """The trajectories that run."""
        return np.flatnonzero(self.runs)

    def run(self, batches: Iterable[NDArray[np.intp]] | None, real: int, begun: Begun | None = None) -> Trajectories:
        """Run the first ``real`` ones; the others only fill the tile."""
        with np.errstate(all="ignore"):  # the outcome says what diverged
            self._set_bounds()
            if begun is not None:
                self._take_up(begun)
            self.outcomes[real:] = Outcome.FAILED
            if begun is not None:
                self._fill()
            source = islice(iter(repeat(None) if batches is None else batches), self.done, None)
            for record_step in self.descent.record_steps[len(self.records) :]:
                self._advance(record_step, source)
                self._look(record_step)
        return Trajectories(self._numbers()[:real], tuple(self.failures[:real]), self.traceback)

    def _numbers(self) -> Array:
        looks = np.stack(self.records, axis=1).reshape(self.width, -1)
        numbers = np.column_stack([looks, self.outcomes, self.stops])
        if self.descent.keep_state:
            rows = keeping.keep(self.descent.rule, self.theta, self.state)
            rows[~self.runs] = np.nan
            numbers = np.column_stack([numbers, rows])
        numbers[self.outcomes == Outcome.FAILED] = np.nan
        return numbers

    def _take_up(self, begun: Begun) -> None:
        """Be where the last look of a shorter descent left the trajectories."""
        looks, self.outcomes, stops = begun.descent.unpack(begun.records)
        self.records = list(np.moveaxis(looks, 1, 0))
        self.done = begun.descent.record_steps[-1]
        self.stops = np.where(self.runs, self.stops, stops)
        if self.runs.any():
            rows = begun.descent.kept_rows(begun.records)
            self.theta, self.state = keeping.restore(self.descent.rule, self.descent.dim, rows)

    def _set_bounds(self) -> None:
        start = float(np.asarray(self.descent.objective.value(self.theta[:, :1].T)).reshape(-1)[0])
        self.value_bound = GROWN * (1 + abs(start))
        self.theta_bound = GROWN * (1 + float(np.abs(self.theta[:, 0]).max(initial=0)))

    # Steps

    def _advance(self, last: int, source: Iterator[Batch]) -> None:
        """Take the steps up to ``last``, as long as any trajectory runs."""
        while self.done < last and self.runs.any():
            steps = range(self.done + 1, min(self.done + self.stride, last) + 1)
            batches, start = list(islice(source, len(steps))), (self.theta, self.state)
            try:
                again = len(self._unsound(self._stride(steps, batches))) > 0
            except MACHINE_FAULTS:
                raise
            except Exception:  # a user's objective or rule may raise anything
                again = True
            self.stride = SHORT if again else min(2 * self.stride, LONG)
            if again:
                self.theta, self.state = start
                self._walk(steps, batches)
            self.done = steps[-1]

    def _stride(self, steps: range, batches: list[Batch]) -> Array:
        """Take some steps without a look to the side; return the last gradient."""
        rule, total, theta, state = self.descent.rule, self.descent.steps, self.theta, self.state
        objective = self.descent.objective
        if not self.descent.stepwise:
            self.theta, self.state, slope = advance_many(rule, objective, theta, state, steps, total, self.hyper)
            return slope
        for step, self.gradient.batch in zip(steps, batches, strict=True):
            theta, state = advance(rule, self.gradient, theta, state, step, total, self.hyper, objective.within)
        self.theta, self.state = theta, state
        return self.gradient.slope

    def _walk(self, steps: range, batches: list[Batch]) -> None:
        """Take the same steps; see to it after each that what raised has failed, and what is not finite is known."""
        before = self.theta
        for step, batch in zip(steps, batches, strict=True):
            try:
                taken = self._step(step, batch, self.hyper, self.theta, self.state)
            except MACHINE_FAULTS:
                raise
            except Exception:
                taken = self._step_apart(step, batch)
            self._suspect(step, taken, before)
            before, self.theta, self.state = taken.place, taken.theta, taken.state
            if not self.runs.any():
                break
            self._fill()

    def _step(self, step: int, batch: Batch, hyper: Mapping[str, Array], theta: Array, state: State) -> _Step:
        self.gradient.batch = batch
        rule, total, within = self.descent.rule, self.descent.steps, self.descent.objective.within
        theta, state = advance(rule, self.gradient, theta, state, step, total, hyper, within)
        return _Step(self.gradient.place, self.gradient.slope, theta, state)

    def _step_apart(self, step: int, batch: Batch) -> _Step:
        """Take a step that raised, without those whose fault it is."""

        def act(some: Places) -> _Step:
            chosen = (columns.take(part, some) for part in (self.hyper, self.theta, self.state))
            return self._step(step, batch, *chosen)

        whole = _Step(self.theta, np.zeros_like(self.theta), self.theta, self.state)
        for some, part in self._apart(act, self.running):
            whole = _Step(*columns.put(tuple(whole), some, tuple(part)))
        return whole

    def _apart(self, act: Callable[[Places], Any], some: Places) -> list[tuple[Places, Any]]:
        """Return what ``act`` makes of parts of some trajectories; those fail on which, alone, it raises.

        It is given places that fill the tile, ``some`` the first of them.
        """
        try:
            return [(some, act(np.resize(some, self.width)))] if len(some) else []
        except MACHINE_FAULTS:
            raise
        except Exception as error:
            if len(some) == 1:
                self.traceback = self.traceback or trace_of(error)
                self._fail(int(some[0]), sentence(error))
                return []
            half = len(some) // 2
            return self._apart(act, some[:half]) + self._apart(act, some[half:])

    def _fail(self, one: int, reason: str) -> None:
        self.outcomes[one], self.failures[one] = Outcome.FAILED, reason

    def _fill(self) -> None:
        """Put a copy of one that runs in the place of all that have stopped."""
        runs = self.runs
        if runs.any() and not runs.all():
            places = np.where(runs, np.arange(self.width), runs.argmax())
            self.hyper, self.theta, self.state = (
                columns.take(part, places) for part in (self.hyper, self.theta, self.state)
            )

    # Looks

    def _look(self, step: int) -> None:
        """Record all trajectories, and stop those that are done."""
        if not self.runs.any():
            missing = np.full((self.width, self.descent.quantities), np.nan)
            self.records.append(self.records[-1] if self.records else missing)
            return
        stopped_before = ~self.runs
        found, slopes = self._measured()
        value, norm = found[:, OBJECTIVE], found[:, GRADIENT_NORM]
        runs = self.runs
        lost = runs & ~(np.isfinite(value) & np.isfinite(norm) & (value < self.value_bound))
        for one in np.flatnonzero(lost):
            if reason := self._reason(int(one), value[one], slopes[one]):
                self._fail(int(one), reason)
                lost[one] = runs[one] = False
        found[lost] = np.inf
        converged = runs & ~lost & (norm < self.descent.tolerance)
        reached = runs & ~lost & ~converged & (value <= min(self.descent.targets, default=-np.inf))
        for mask, outcome in ((lost, Outcome.DIVERGED), (converged, Outcome.CONVERGED), (reached, Outcome.REACHED)):
            if mask.any():
                self.outcomes[mask], self.stops[mask] = outcome, step
        if self.records and stopped_before.any():
            found[stopped_before] = self.records[-1][stopped_before]
        self.records.append(found)
        self.suspects.clear()
        self._fill()

    def _measured(self) -> tuple[Array, Array]:
        """Return all quantities of all trajectories, (K, quantities), and gradients (K, D)."""
        try:
            return self._measure(self.theta)
        except MACHINE_FAULTS:
            raise
        except Exception:  # a user's objective may raise anything
            found, slopes = np.full((self.width, self.descent.quantities), np.nan), np.zeros_like(self.theta.T)
            for some, (numbers, slope) in self._apart(
                lambda places: self._measure(self.theta[:, places]), self.running
            ):
                found[some], slopes[some] = numbers[: len(some)], slope[: len(some)]
            return found, slopes

    def _measure(self, theta: Array) -> tuple[Array, Array]:
        """Return all quantities, NaN for what the objective lacks."""
        look = Look(self.descent.objective, theta.T)
        found = np.full((len(look.theta), self.descent.quantities), np.nan)
        for column, quantity in enumerate(self.descent.recorded):
            if quantity.recorded_of(look.objective):
                found[:, column] = quantity.measure(look)
        if self.descent.parameters:
            found[:, len(self.descent.recorded) :] = look.theta
        return found, look.gradient

    # Whether what is not finite has grown

    def _suspect(self, step: int, taken: _Step, before: Array) -> None:
        """Remember whose gradient is not finite, and, unless J or theta had grown beyond bounds, where that was."""
        new = self._unsound(taken.slope)
        if len(new):
            grown = np.asarray(self._has_grown(taken.place) | self._has_grown(before))
            for one in new.tolist():
                self.suspects[one] = "" if grown[one] else _words(taken.place[:, one], step, "gradient")

    def _unsound(self, slope: Array) -> Places:
        """Return those that run, are no suspects yet, and have a gradient that is not finite."""
        flat = slope if slope.flags.c_contiguous else slope.T
        if np.isfinite(np.vdot(flat, flat)):  # quick, and nearly always so
            return np.empty(0, np.intp)
        known = np.asarray(np.isfinite(slope).all(axis=0))
        known[list(self.suspects)] = True
        return np.flatnonzero(~known & self.runs)

    def _has_grown(self, theta: Array) -> NDArray[np.bool_]:
        try:
            value = np.asarray(self.descent.objective.value(theta.T), dtype=float)
        except MACHINE_FAULTS:
            raise
        except Exception:  # a user's objective may raise anything: then theta alone has to tell
            value = np.zeros(self.width)
        grown: NDArray[np.bool_] = (value >= self.value_bound) | (np.abs(theta) >= self.theta_bound).any(axis=0)
        return grown

    def _reason(self, one: int, value: float, slope: Array) -> str:
        """Say why one that was lost has failed; nothing if it diverged."""
        theta = self.theta[:, one]
        if one in self.suspects:
            return self.suspects[one]
        if value >= self.value_bound or (np.abs(theta) >= self.theta_bound).any():
            return ""
        if not np.isfinite(slope).all():
            return _words(theta, self.done + 1, "gradient")
        return "" if np.isfinite(value) else _words(theta, self.done + 1, "objective")


def _words(theta: Array, step: int, what: str) -> str:
    if not np.isfinite(theta).all():
        return f"theta is not finite after step {step - 1}, though all gradients were"
    return f"{what} is not finite at theta={np.array2string(theta, precision=6, threshold=6, max_line_width=10**6)}"
