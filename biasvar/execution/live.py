"""What a running study tells a Dask scheduler, about once a second: how its numbers stand.

The scheduler keeps the last events of a topic by itself, and the page reads them: there is no state of ours in it. A
browser that comes late sees all, and a run that died leaves its last state.
"""

import math
import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasvar.execution.progress import Progress
from biasvar.studies.base import Group
from biasvar.studies.study import Study

TOPIC = "biasvar"
TELL_SECONDS = 1.0
MOST_ROWS = 40  # of cells of one group; of larger groups the best cell is told
MOST_CELLS = 400


class Broadcast:
    """Tells a scheduler's topic how a run's numbers stand.

    Parameters
    ----------
    study : Study
        What runs.
    store : str
        Where to.
    """

    def __init__(self, study: Study[Any], store: str) -> None:
        self._study, self._store, self._told = study, store, 0.0

    def tell(self, client: Any, progress: Progress, planned: Mapping[str, int], *, complete: bool = False) -> None:
        """Tell, unless the last time is less than a second ago; nothing that goes wrong in it disturbs the run."""
        if client is None or not (complete or time.monotonic() - self._told > TELL_SECONDS):
            return
        self._told = time.monotonic()
        try:
            client.log_event(TOPIC, self.snapshot(progress, planned, complete))
        # Whatever a client may raise that has just lost its scheduler: the run finds that out by itself.
        except Exception:
            return

    def snapshot(self, progress: Progress, planned: Mapping[str, int], complete: bool) -> dict[str, Any]:
        """Return how the numbers stand, in what msgpack can write: lists, numbers, None, text."""
        cells = _least_of_each(row for group, moments in progress.cells.items() for row in _rows(group, moments))
        least_known = sorted(cells, key=lambda row: -(row[4] or 0))[:MOST_CELLS]
        done = dict.fromkeys(planned, 0)
        for group, (count, _, _) in progress.cells.items():
            done[group.problem] = max(done.get(group.problem, 0), int(count[0]))
        return {
            "study": self._study.name,
            "store": self._store,
            "headline": self._study.headline_name,
            "goal": self._study.headline_goal,
            "unit": self._study.block_size,
            "done": progress.done,
            "total": progress.total,
            "seconds": progress.seconds,
            "left": _number(progress.seconds_left),
            "stage": "done" if complete else progress.stage,
            "least_known": progress.precision,
            "blocks": [[problem, done[problem], number] for problem, number in planned.items()],
            "cells": [row for row in cells if row in least_known],
        }


def _rows(group: Group, moments: NDArray[np.float64]) -> Iterable[list[Any]]:
    """Yield problem, cell, blocks, mean and standard error; of a group of many cells only of the least mean."""
    count, mean, squares = moments
    error = np.sqrt(squares / (count * (count - 1))) if count[0] > 1 else np.full(len(mean), np.nan)
    many = len(mean) > MOST_ROWS
    if many and np.isnan(mean).all():
        return
    for i in [int(np.nanargmin(mean))] if many else range(len(mean)):
        cell = f"{group.title}: the least" if many else group.cells[i]
        yield [group.problem, cell, int(count[i]), _number(mean[i]), _number(error[i])]


def _least_of_each(rows: Iterable[list[Any]]) -> list[list[Any]]:
    """Keep one row per problem and cell: large groups are several, of the same name."""
    found: dict[tuple[str, str], list[Any]] = {}
    for row in rows:
        other = found.setdefault((row[0], row[1]), row)
        if row[3] is not None and (other[3] is None or row[3] < other[3]):
            found[row[0], row[1]] = row
    return list(found.values())


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
