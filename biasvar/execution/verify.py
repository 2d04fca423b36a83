"""Whether what is stored is what was written: every chunk against its checksums, the summary against its digest."""

from dataclasses import dataclass

from biasvar.errors import several
from biasvar.execution.backends import Place
from biasvar.execution.promise import promise
from biasvar.execution.reading import Reading, read_through
from biasvar.execution.store import Store
from biasvar.execution.summaries import summary_digest
from biasvar.studies.base import Summary


@dataclass(frozen=True, repr=False)
class Verification:
    """What :func:`verify` found.

    Parameters
    ----------
    chunks : int
        Chunks looked at.
    problems : tuple of str
        A line for each thing that is missing, torn or altered; none if all is well.
    promise : str
        Where the same study gives the same bits: what is not biasvar's own narrows that.
    """

    chunks: int
    problems: tuple[str, ...]
    promise: str

    @property
    def ok(self) -> bool:
        """True if the store is complete and sound."""
        return not self.problems

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        if self.ok:
            return f"{several(self.chunks, 'chunk')}: all sound; {self.promise}"
        found = f"{several(self.chunks, 'chunk')}, {several(len(self.problems), 'problem')}"
        return "\n".join([*self.problems, f"{found}: run the study again to repair"])


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

    Examples
    --------
    >>> import tempfile
    >>> import biasvar as bv
    >>> study = bv.RiskStudy(
    ...     name="mean", target=bv.Sine(), inputs=bv.Uniform(-1, 1), hypotheses={"H0": bv.Polynomial(0)}, n_train=[4],
    ...     replicates=256, block_size=16,
    ... )
    >>> folder = tempfile.TemporaryDirectory()
    >>> _ = bv.run(study, f"{folder.name}/mean.zarr", progress=False)
    >>> bv.verify(f"{folder.name}/mean.zarr").problems
    ()
    >>> folder.cleanup()
    """
    target = Store(store)
    return verified(target, read_through(target), _summary(target))


def verified(store: Store, found: Reading, summary: Summary | None) -> Verification:
    """Check a store whose blocks have been read, and its summary, if it could be."""
    attributes, groups = store.attributes(), store.groups()
    problems = store.metadata_problems()
    problems += [f"another store lies in this one, at {place}; move it out" for place in store.intruders()]
    stored = {(group.problem, cell) for group in groups for cell in group.cells}
    problems += [
        f"blocks of cell {problem}/{cell} are missing"
        for problem, cell in attributes["cells"]
        if (problem, cell) not in stored
    ]
    problems += map(str, found.damages)
    if not attributes["complete"]:
        problems.append("the summary is not written yet")
    elif summary is None or summary_digest(summary) != attributes["summary_digest"]:
        problems.append("the summary was altered")
    return Verification(sum(records.chunks for records in groups.values()), tuple(problems), promise(attributes))


def _summary(store: Store) -> Summary | None:
    try:
        return store.summary().load()
    except Exception:  # whatever a codec makes of bytes that are not its own
        return None
