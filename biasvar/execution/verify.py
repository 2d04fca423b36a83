"""Tell whether what is stored is what was written, how far it is, and whether it is the same as elsewhere."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from biasvar.errors import DamagedChunkError
from biasvar.execution.location import Place
from biasvar.execution.lock import holder, in_words
from biasvar.execution.records import Records, checksums
from biasvar.execution.store import Store, summary_digest
from biasvar.studies.base import Group


@dataclass(frozen=True, repr=False)
class Verification:
    """What :func:`verify` found.

    Parameters
    ----------
    chunks : int
        Chunks looked at.
    problems : tuple of str
        A line for each thing that is missing, torn or altered; none if all is well.
    """

    chunks: int
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """True if the store is complete and sound."""
        return not self.problems

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        if self.ok:
            return f"{self.chunks} chunks: all sound"
        return "\n".join(
            [*self.problems, f"{self.chunks} chunks, {len(self.problems)} problems: run the study again to repair"]
        )


def verify(store: Place) -> Verification:
    """Read a whole store and check every chunk against its checksums, and the summary against its digest.

    Parameters
    ----------
    store : path-like or str
        A store made by :func:`~biasvar.run`.

    Returns
    -------
    Verification
        What is missing, torn or altered. :func:`~biasvar.run` repairs it.

    Raises
    ------
    StoreError
        If the path holds no store.
    """
    target = Store(store)
    attributes = target.attributes()
    groups = target.groups()
    problems = target.metadata_problems()
    stored = {(group.problem, cell) for group in groups for cell in group.cells}
    problems += [
        f"blocks of cell {problem}/{cell} are missing"
        for problem, cell in attributes["cells"]
        if (problem, cell) not in stored
    ]
    problems += [str(damage) for _, damage in damaged_chunks(target)]
    if not attributes["complete"]:
        problems.append("the summary is not written yet")
    elif not _summary_is_sound(target, attributes["summary_digest"]):
        problems.append("the summary was altered")
    return Verification(sum(records.chunks for records in groups.values()), tuple(problems))


def digest(store: Place) -> str:
    """Return the SHA-256 of a finished study's results: all records in order, and the summary.

    Equal digests mean equal bits, wherever and however the study was run.

    Parameters
    ----------
    store : path-like or str
        A store made by :func:`~biasvar.run`.

    Raises
    ------
    StoreError
        If the store is none, unfinished or damaged.
    """
    target = Store(store)
    summary = target.summary().load()
    cells: dict[tuple[str, str], bytes] = {}
    for group, records in target.groups().items():
        parts: list[list[bytes]] = [[] for _ in group.cells]
        first = 0
        for content in records.read_all():
            for part, row in zip(parts, checksums(group, first, content), strict=True):
                part.append(row.astype("<u8").tobytes())
            first += content.records.shape[1]
        cells |= {(group.problem, cell): b"".join(part) for cell, part in zip(group.cells, parts, strict=True)}
    total = hashlib.sha256(target.attributes()["study_hash"].encode())
    for (problem, cell), blocks in sorted(cells.items()):
        total.update(f"{problem}/{cell}/{len(blocks)}".encode())
        total.update(blocks)
    total.update(summary_digest(summary).encode())
    return total.hexdigest()


def damaged_chunks(store: Store) -> Iterator[tuple[Records, DamagedChunkError]]:
    """Yield every chunk that cannot be read back as it was written, and the records that it belongs to."""
    for records in store.groups().values():
        for damage in records.damages():
            yield records, damage


def _summary_is_sound(store: Store, expected: str) -> bool:
    try:
        return summary_digest(store.summary().load()) == expected
    except Exception:  # whatever a codec makes of bytes that are not its own
        return False


def failures(store: Place) -> dict[Group, str]:
    """Return the first traceback of each group in which a user's function failed."""
    found = {}
    for group, records in Store(store).groups().items():
        traces = (trace for chunk in records.failed() for trace in records.tracebacks(chunk) if trace)
        if trace := next(traces, ""):
            found[group] = trace
    return found


@dataclass(frozen=True, repr=False)
class Status:
    """How far the run in a store is, read from the store alone.

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
        Chunks a second, seconds to go and the worst standard error of a cell's headline number, as last told.
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

    def to_json(self) -> dict[str, str | int | float | bool | None]:
        """Return the status as JSON."""
        return asdict(self)

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        parts = [
            "complete" if self.complete else "not finished",
            f"{self.done} of {self.chunks} chunks",
            f"failures in {self.failed}" if self.failed else "",
            "" if self.rate is None else f"{self.rate:.3g} chunks a second",
            "" if self.worst_error is None else f"worst standard error {self.worst_error:.2g}",
            "" if self.seconds_left is None else f"{self.seconds_left:.0f} s left",
        ]
        held = f"; {self.running} is running on it" if self.running else ""
        return f"{self.name}: {', '.join(part for part in parts if part)}{held}"


def status(store: Place) -> Status:
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
    who = holder(target.location)
    told = who["progress"] if who else {}
    return Status(
        name=json.loads(attributes["study"])["name"],
        complete=attributes["complete"] and not missing,
        chunks=chunks,
        done=chunks - missing,
        failed=sum(len(records.failed()) for records in groups),
        running=in_words(who),
        rate=told["done"] / told["seconds"] if told.get("seconds") else None,
        seconds_left=told.get("seconds_left"),
        worst_error=told.get("worst_error"),
    )
