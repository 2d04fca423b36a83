"""How far the run in a store is, who runs it, and what failed in it."""

import json
from dataclasses import asdict, dataclass

from biasvar.errors import several
from biasvar.execution.backends import Place
from biasvar.execution.lock import in_words
from biasvar.execution.progress import Estimate
from biasvar.execution.store import Store
from biasvar.studies.base import Group


@dataclass(frozen=True, repr=False)
class StoreStatus:
    """Progress of the run in a store, read from the store alone.

    Parameters
    ----------
    name : str
        The study.
    complete : bool
        True if all is there, and summarised.
    chunks, done, failed : int
        Chunks that there will be, that are stored, and those of them in which something failed.
    running : str
        Who runs it; empty if no one does.
    rate, seconds_left, worst_error : float or None
        Chunks per second, seconds to go and the worst standard error of a cell's headline number, as last told.
    least_known : str
        Which number of which cell that is.
    headline : str
        Which number of each cell is followed.
    estimates : tuple of Estimate
        How well it is known in each cell, as last told; of very many cells the least known.
    """

    name: str
    complete: bool
    chunks: int
    done: int
    failed: int = 0
    running: str = ""
    rate: float | None = None
    seconds_left: float | None = None
    worst_error: float | None = None
    least_known: str = ""
    headline: str = ""
    estimates: tuple[Estimate, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return the status as JSON."""
        return asdict(self) | {"estimates": [estimate._asdict() for estimate in self.estimates]}

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        parts = [
            "complete" if self.complete else "not finished",
            f"{self.done} of {several(self.chunks, 'chunk')}",
            f"failures in {self.failed}" if self.failed else "",
            "" if self.rate is None else f"{self.rate:.3g} chunks per second",
            "" if self.worst_error is None else f"least known: {self.least_known} +-{self.worst_error:.2g}",
            "" if self.seconds_left is None else f"{self.seconds_left:.0f} s left",
        ]
        held = f"; {self.running} is running on it" if self.running else ""
        return f"{self.name}: {', '.join(part for part in parts if part)}{held}"


def store_status(store: Place) -> StoreStatus:
    """Say how far the run in a store is, and who runs it.

    Parameters
    ----------
    store : path-like or str
        A store made by :func:`~biasvar.run`.

    Raises
    ------
    StoreError
        If the path holds no store.
    """
    target = Store(store)
    attributes = target.attributes()
    groups = target.groups().values()
    chunks = sum(records.chunks for records in groups)
    missing = sum(len(records.missing()) for records in groups)
    who = target.location.holder()
    told = who["progress"] if who else {}
    return StoreStatus(
        name=json.loads(attributes["study"])["name"],
        complete=attributes["complete"] and not missing,
        chunks=chunks,
        done=chunks - missing,
        failed=sum(len(records.failed()) for records in groups),
        running=in_words(who),
        rate=told["done"] / told["seconds"] if told.get("seconds") else None,
        seconds_left=told.get("seconds_left"),
        worst_error=told.get("worst_error"),
        least_known=told.get("least_known", ""),
        headline=told.get("headline", ""),
        estimates=tuple(Estimate(*row) for row in told.get("estimates", ())),
    )


def failures(store: Place) -> dict[Group, str]:
    """Return the first traceback of each group in which a user's function failed."""
    found = {}
    for group, records in Store(store).groups().items():
        traces = (trace for chunk in records.failed() for trace in records.tracebacks(chunk) if trace)
        if trace := next(traces, ""):
            found[group] = trace
    return found
