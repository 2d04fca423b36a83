"""Stores that hold parts of one study made one: blocks are copied and checked by their checksums, none is simulated."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasvar.errors import RunError, StoreError, several
from biasvar.execution.backends import Place
from biasvar.execution.blocks import StoredBlocks
from biasvar.execution.computing import computing
from biasvar.execution.records import Records
from biasvar.execution.reopen import study_in
from biasvar.execution.store import Store
from biasvar.studies.base import Chunk, Group, Summary
from biasvar.studies.study import Study


def merge(stores: Sequence[Place], into: Place, *, study: Study[Any] | None = None) -> Summary:
    """Merge stores that hold parts of one study into one, with the same bits as if it had been run at once.

    The parts may differ in whatever may be extended: training-set sizes, noise, hypothesis sets, objectives, grids of
    hyperparameters, replicates; of descents with more and with fewer steps, the longer ones are taken. The stores are
    read only. A merge that was interrupted can be repeated.

    Parameters
    ----------
    stores : sequence of path-like or str
        Stores made by :func:`~biasvar.run`, finished or not.
    into : path-like or str
        The store to make, or to go on with.
    study : RiskStudy or OptimizerStudy, optional
        The study that all of them are parts of. By default the least one, made of what the stores say; give it where
        they hold functions of a script, which cannot be imported again.

    Returns
    -------
    xarray.Dataset or xarray.DataTree
        The labelled summary, as of :func:`~biasvar.run`.

    Raises
    ------
    StudyChangedError
        If they are not parts of one study, with the differences.
    StudyError
        If something of a user's cannot be imported again.
    StoreError
        If one of them is no store, or ``into`` is one of them or held by a run.
    RunError
        If some blocks are in none of them, or damaged in all: the rest is merged, and a run simulates those.

    Examples
    --------
    >>> import biasvar as bv, tempfile
    >>> study = bv.RiskStudy(
    ...     name="constant", target=bv.Sine(), inputs=bv.Uniform(-1, 1), hypotheses={"H0": bv.Polynomial(0)},
    ...     n_train=[2], replicates=2**10, block_size=2**6,
    ... )
    >>> folder = tempfile.mkdtemp()
    >>> for n in (2, 10):
    ...     _ = bv.run(study.replace(n_train=n), f"{folder}/{n}.zarr")
    >>> bv.merge([f"{folder}/2.zarr", f"{folder}/10.zarr"], f"{folder}/all.zarr").n_train.values.tolist()
    [2, 10]
    """
    sources, target = _sources(stores), Store(into)
    if target.location in [source.location for source in sources]:
        raise StoreError(f"store {target.location}: is one of the stores to merge; choose another for the result")
    with target.location.hold(_say):
        parts = [*sources, target] if target.exists() else sources
        whole: Any = study or reduce(_union, map(study_in, parts))
        for part in parts:
            part.check(whole)
        target.claim(whole)
        target.remove_partial_files()
        donors = [records for source in sources for records in source.groups(of=whole).values()]
        _make_room(whole, target, donors)
        said: set[tuple[Records, int]] = set()
        for records in target.groups().values():
            _copy(records, donors, whole.block_size, said)
        return _summarised(whole, target)


def _sources(stores: Sequence[Place]) -> list[Store]:
    if isinstance(stores, str) or not isinstance(stores, Iterable):
        raise StoreError(f"stores: expected several, as in ['a.zarr', 'b.zarr'], got {stores!r}")
    sources = [Store(place) for place in stores]
    if not sources:
        raise StoreError("stores: got none; name at least one")
    for source in sources:
        source.attributes()
    return sources


def _union(one: Study[Any], other: Study[Any]) -> Study[Any]:
    return one.union(other)


def _say(message: str) -> None:
    print(message, file=sys.stderr)


def _make_room(study: Study[Any], target: Store, donors: Sequence[Records]) -> None:
    """Create the groups of all cells that a donor has; those of one group come from the same donors."""
    stored = target.groups()
    blocks = dict(study.blocks_needed())
    holders: dict[tuple[str, str], tuple[int, ...]] = {}
    for i, donor in enumerate(donors):
        problem = donor.group.problem
        blocks[problem] = max(blocks[problem], donor.blocks)
        for cell in donor.group.cells:
            holders[problem, cell] = (*holders.get((problem, cell), ()), i)
    for records in stored.values():
        records.grow(blocks[records.group.problem])
    for group in study.groups(_cells(stored)):
        shares: dict[tuple[int, ...], list[str]] = {}
        for cell in group.cells:
            shares.setdefault(holders.get((group.problem, cell), ()), []).append(cell)
        for held, cells in shares.items():
            if held:
                part = replace(group, cells=tuple(cells))
                chunk = min(donors[i].chunk_size for i in held)
                target.create(part, blocks[part.problem], chunk, study.record_coordinates(part))


def _cells(groups: Iterable[Group]) -> set[tuple[str, str]]:
    return {(group.problem, cell) for group in groups for cell in group.cells}


def _copy(records: Records, donors: Iterable[Records], count: int, said: set[tuple[Records, int]]) -> None:
    """Copy each missing chunk that donors have all blocks of."""
    row = {cell: i for i, cell in enumerate(records.group.cells)}
    near = [d for d in donors if d.group.problem == records.group.problem and not row.keys().isdisjoint(d.group.cells)]
    for chunk in records.missing():
        gathered = _Gathered(records, chunk)
        for donor in near:
            if gathered.take(donor, row) and (donor, chunk) not in said:
                said.add((donor, chunk))
                first, last = gathered.blocks[0], gathered.blocks[-1]
                _say(f"store {donor.location}: blocks {first} to {last} of {donor.group.path} are damaged; left out")
        if gathered.have.all():
            records.write(chunk, gathered.content, count, gathered.traces)


class _Gathered:
    """What was found of one chunk."""

    def __init__(self, records: Records, chunk: int) -> None:
        self.blocks = records.blocks_of(chunk)
        shape = (len(records.group.cells), len(self.blocks))
        self.content = Chunk(np.full((*shape, records.group.record_size), np.nan), np.full(shape, "", dtype=object))
        self.have: NDArray[np.bool_] = np.zeros(shape, bool)
        self.traces = [""] * len(self.blocks)

    def take(self, donor: Records, row: Mapping[str, int]) -> bool:
        """Take what a donor has and is not here yet; tell whether some of it is damaged."""
        pairs = [(row[cell], i) for i, cell in enumerate(donor.group.cells) if cell in row]
        here, there = (np.array(rows) for rows in zip(*pairs, strict=True))
        if self.blocks.start >= donor.blocks or self.have[here].all():
            return False
        content, sound, traces, damaged = donor.sound(self.blocks)
        new = np.zeros_like(self.have)
        new[here, : sound.shape[1]] = sound[there]
        new &= ~self.have
        for name in ("records", "failures"):
            mine, theirs = getattr(self.content, name), getattr(content, name)
            spread = np.zeros_like(mine)
            spread[here, : sound.shape[1]] = theirs[there]
            mine[new] = spread[new]
        self.have |= new
        for block, trace in enumerate(traces):
            if new[:, block].any():
                self.traces[block] = self.traces[block] or trace
        return damaged


def _summarised(study: Study[Any], store: Store) -> Summary:
    """Summarise what was merged, if that is all."""
    blocks = study.blocks_needed()
    while True:
        _refuse_gaps(study, store, blocks)
        with computing:
            summary: Summary = study.summarise(StoredBlocks(study, store, blocks))
        following = {problem: max(n, blocks[problem]) for problem, n in study.blocks_needed(summary).items()}
        if following == blocks:
            return store.write_summary(study, summary)
        blocks = following


def _refuse_gaps(study: Study[Any], store: Store, blocks: Mapping[str, int]) -> None:
    groups, gaps = store.groups(), 0
    for group, records in groups.items():
        records.grow(blocks[group.problem])
        gaps += len(records.missing())
    cells = sum(len(group.cells) for group in study.groups(_cells(groups)))
    if gaps or cells:
        raise RunError(
            f"store {store.location}: {several(gaps, 'chunk')} and {several(cells, 'cell')} are whole in none of "
            f"the stores; the rest is merged, and these are simulated by: biasvar run --resume {store.location}"
        )
