"""What a running study tells a Dask scheduler, about once a second: how its numbers stand.

The scheduler keeps the last events of a topic by itself, and the page reads them: there is no state of ours in it. A
browser that comes late sees all, and a run that died leaves its last state.
"""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from biasvar.execution.progress import Progress
from biasvar.studies.study import Study

if TYPE_CHECKING:
    from distributed import Client

TOPIC = "biasvar"
TELL_SECONDS = 1.0
MOST_CELLS = 400


class Snapshot(TypedDict):
    """What is told, in what msgpack can write."""

    study: str
    store: str
    headline: str
    goal: float | None
    unit: int
    done: int
    total: int
    seconds: float
    left: float | None
    stage: str
    least_known: str
    blocks: list[tuple[str, int, int]]  # problem, done, planned
    cells: list[tuple[str, str, int, float | None, float | None]]


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

    def tell(
        self, client: "Client | None", progress: Progress, planned: Mapping[str, int], *, complete: bool = False
    ) -> None:
        """Tell, unless the last time is less than a second ago; nothing that goes wrong in it disturbs the run."""
        if client is None or not (complete or time.monotonic() - self._told > TELL_SECONDS):
            return
        self._told = time.monotonic()
        try:
            client.log_event(TOPIC, self.snapshot(progress, planned, complete))
        # Whatever a client may raise that has just lost its scheduler: the run finds that out by itself.
        except Exception:
            return

    def snapshot(self, progress: Progress, planned: Mapping[str, int], complete: bool) -> Snapshot:
        """Return how the numbers stand, in what msgpack can write: lists, numbers, None, text."""
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
            "left": None if np.isnan(progress.seconds_left) else progress.seconds_left,
            "stage": "done" if complete else progress.stage,
            "least_known": progress.precision,
            "blocks": [(problem, done[problem], number) for problem, number in planned.items()],
            "cells": [(*estimate,) for estimate in progress.estimates(MOST_CELLS)],
        }
