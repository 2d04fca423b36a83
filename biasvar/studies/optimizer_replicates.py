"""One replicate of an optimizer study: its configurations start at one point and see the same minibatches."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasvar.errors import MACHINE_FAULTS, sentence
from biasvar.optimization import keeping, trajectories
from biasvar.optimization.descent import Descent, Outcome, log_spaced, round_steps
from biasvar.optimization.rules.base import Schedule
from biasvar.optimization.trajectories import Trajectories, trace_of
from biasvar.studies.base import Begun, BlockRecords
from biasvar.studies.grids import Configuration

RECORDS = 40  # log-spaced steps, unless they are given


@dataclass(frozen=True)
class Replicate:
    """One replicate of some configurations.

    Parameters
    ----------
    descent : Descent
        What all have in common.
    initial : ndarray of shape (D,)
        Where all start.
    batches : callable
        Index arrays of the examples that each step sees, of a batch size; None for all.
    """

    descent: Descent
    initial: NDArray[np.float64]
    batches: Callable[[int], Iterable[NDArray[np.intp]] | None]

    def run(self, configurations: Mapping[str, Configuration], begun: Mapping[str, trajectories.Begun]) -> BlockRecords:
        """Descend, those that have begun from where they are."""
        keys, chosen = list(configurations), list(configurations.values())
        shape = (len(chosen), self.descent.statistics)
        records, failures, trace = np.full(shape, np.nan), [""] * len(chosen), ""
        steps = {key: known.descent.steps for key, known in begun.items()}
        kinds = [(each.batch_size, steps.get(key, 0)) for key, each in configurations.items()]
        for size, done in sorted(set(kinds)):
            some = [i for i, kind in enumerate(kinds) if kind == (size, done)]
            hyper = {name: np.array([chosen[i].hyper[name] for i in some]) for name in chosen[0].hyper}
            parts = [begun[keys[i]] for i in some] if done else []
            known = trajectories.Begun(parts[0].descent, np.stack([part.records for part in parts])) if parts else None
            found = self._descend(hyper, size, known)
            records[some], trace = found.records, trace or found.traceback
            for i, reason in zip(some, found.failures, strict=True):
                failures[i] = reason
        return BlockRecords(records, tuple(failures), trace)

    def _descend(self, hyper: dict[str, NDArray[Any]], size: int, known: trajectories.Begun | None) -> Trajectories:
        try:
            return trajectories.run(self.descent, self.initial, hyper, self.batches(size), known)
        except MACHINE_FAULTS:
            raise
        except Exception as error:  # where all of them start, or in a schedule: all of them fail
            count = len(next(iter(hyper.values())))
            missing = np.full((count, self.descent.statistics), np.nan)
            return Trajectories(missing, (sentence(error),) * count, trace_of(error))


def shorter(descent: Descent, steps: int) -> Descent | None:
    """Return the descent of fewer steps, with all that it keeps, that one begins with; None if it is another."""
    if steps not in descent.record_steps or not agrees(descent.rule.schedule, steps, descent.steps):
        return None
    return replace(descent.cut(steps), steps=steps, keep_state=True)


def taken_up(descent: Descent, begun: Sequence[Begun]) -> dict[str, trajectories.Begun]:
    """Return, by configuration, from where a descent goes on: the longest of those before."""
    known: dict[str, trajectories.Begun] = {}
    for part in begun:
        if before := shorter(descent, part.work):
            outcomes = before.unpack(part.records)[1]
            serves = (outcomes != Outcome.RUNNING) | keeping.are_kept(before.kept_rows(part.records))
            for i, key in enumerate(part.cells):
                # What failed is tried again, from the start.
                if serves[i] and outcomes[i] != Outcome.FAILED and not part.failures[i]:
                    known.setdefault(key, trajectories.Begun(before, part.records[i]))
    return known


def coordinates(descent: Descent) -> dict[str, NDArray[Any]]:
    """Return what the numbers of a descent's records are."""
    parameters = (f"parameter {i}" for i in range(descent.quantities - len(descent.recorded)))
    names = [*(quantity.stored_name for quantity in descent.recorded), *parameters]
    last = ["outcome", "stop_step", *descent.kept]
    return {
        "moment": np.array([*(names * len(descent.record_steps)), *last], dtype=object),
        "place": np.array([*np.repeat(descent.record_steps, len(names)), *[descent.steps] * len(last)]),
    }


def default_steps(steps: int, keep_state: bool) -> Sequence[int]:
    """Return after which steps trajectories are looked at unless that is given."""
    return round_steps(steps) if keep_state else log_spaced(steps, RECORDS)


def agrees(schedule: Schedule | None, steps: int, more: int) -> bool:
    """Tell whether a schedule is the same, up to ``steps``, when there are more steps."""
    return schedule is None or all(schedule(t, steps) == schedule(t, more) for t in range(1, steps + 1))
