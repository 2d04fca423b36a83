"""Tell whether what is stored is what was written, how far it is, and whether it is the same as elsewhere."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from os import PathLike

from biasvar.errors import DamagedChunkError
from biasvar.execution.lock import holder
from biasvar.execution.records import Records, checksums
from biasvar.execution.store import Store, summary_digest


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


def verify(store: str | PathLike[str]) -> Verification:
    """Read a whole store and check every chunk against its checksums, and the summary against its digest.

    Parameters
    ----------
    store : path-like
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


def digest(store: str | PathLike[str]) -> str:
    """Return the SHA-256 of a finished study's results: all records in order, and the summary.

    Equal digests mean equal bits, wherever and however the study was run.

    Parameters
    ----------
    store : path-like
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
        for chunk in range(records.chunks):
            content = records.read(chunk)
            for part, row in zip(parts, checksums(group, chunk * records.chunk_size, content), strict=True):
                part.append(row.astype("<u8").tobytes())
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
        for chunk in range(records.chunks):
            try:
                records.read(chunk)
            except DamagedChunkError as damage:
                yield records, damage


def _summary_is_sound(store: Store, expected: str) -> bool:
    try:
        return summary_digest(store.summary().load()) == expected
    except Exception:  # whatever a codec makes of bytes that are not its own
        return False


@dataclass(frozen=True, repr=False)
class Status:
    """How far the run in a store is, read from the store alone."""

    name: str
    complete: bool
    chunks: int
    done: int
    running: str

    def to_json(self) -> dict[str, str | int | bool]:
        """Return the status as JSON."""
        return asdict(self)

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        state = "complete" if self.complete else "not finished"
        held = f"; {self.running} is running on it" if self.running else ""
        return f"{self.name}: {state}, {self.done} of {self.chunks} chunks{held}"


def status(store: str | PathLike[str]) -> Status:
    """Say how far the run in a store is, and who runs it.

    Parameters
    ----------
    store : path-like
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
    name = json.loads(attributes["study"])["name"]
    return Status(name, attributes["complete"] and not missing, chunks, chunks - missing, holder(target.path) or "")
