"""What a study will cost: groups, blocks, chunks, tasks, seconds, bytes. Frozen data, made before anything runs."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from biasvar.errors import StudyError, several
from biasvar.execution import settings
from biasvar.execution.computing import computing
from biasvar.rows import Table, as_html
from biasvar.studies.base import Group
from biasvar.studies.sizes import RECORD_BYTES, STUDY_BYTES, in_words
from biasvar.studies.study import Study, check_is_study

TRIAL_SECONDS = 0.02
MIN_TASK_SECONDS = 0.5  # so that the millisecond that Dask takes for a task, and the ten that Zarr takes, are little
TASKS_WANTED = 32  # so that a few workers all have something to do
CHUNK_BYTES = 1 << 24
MAX_TASKS = 10_000_000


@dataclass(frozen=True)
class GroupPlan:
    """One group: how many blocks, how many of them per task, and seconds per block."""

    group: Group
    blocks: int
    chunk: int
    seconds_per_block: float

    @property
    def tasks(self) -> int:
        """Number of tasks."""
        return -(-self.blocks // self.chunk)

    @property
    def seconds(self) -> float:
        """CPU seconds on one core of this machine."""
        return self.blocks * self.seconds_per_block

    @property
    def bytes(self) -> int:
        """Bytes of records, before compression."""
        return self.blocks * self.group.block_bytes


@dataclass(frozen=True, repr=False)
class Plan:
    """The whole study, or what is left of it.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.RiskStudy(
    ...     name="plan", target=bv.Sine(), inputs=bv.Uniform(-1, 1), hypotheses={"H0": bv.Polynomial(0)},
    ...     n_train=[2], replicates=2**13, block_size=2**9,
    ... )
    >>> plan = bv.plan(study)
    >>> plan.replicates, plan.cells
    (8192, 1)
    """

    name: str
    block_size: int
    groups: tuple[GroupPlan, ...]

    @property
    def tasks(self) -> int:
        """Number of tasks."""
        return sum(plan.tasks for plan in self.groups)

    @property
    def cells(self) -> int:
        """Number of simulated cells: one serves all noise levels where noise is integrated exactly."""
        return sum(len(plan.group.cells) for plan in self.groups)

    @property
    def replicates(self) -> int:
        """Number of random training sets, over all training-set sizes."""
        return self.block_size * sum(plan.blocks for plan in self.groups)

    @property
    def seconds(self) -> float:
        """CPU seconds on one core of this machine."""
        return sum(plan.seconds for plan in self.groups)

    @property
    def bytes(self) -> int:
        """Bytes of records, before compression."""
        return sum(plan.bytes for plan in self.groups)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        rows = [
            [
                plan.group.task_name,
                str(len(plan.group.cells)),
                str(plan.blocks),
                str(plan.tasks),
                f"{plan.seconds:.2g}",
                f"{plan.bytes / 1e6:.3g}",
                "\N{FULL BLOCK}" * round(20 * plan.seconds / self.seconds) if self.seconds else "",
            ]
            for plan in self.groups
        ]
        head = ["group", "cells", "blocks", "tasks", "CPU seconds", "MB", "share of seconds"]
        return as_html(Table(head, rows, left=(0, 6), title=self.name, notes=[str(self)]))

    def __str__(self) -> str:
        return (
            f"{self.name}: {several(self.cells, 'cell')}, {several(self.replicates, 'replicate')} "
            f"in {several(self.tasks, 'task')}, about {self.seconds:.2g} CPU seconds, "
            f"{self.bytes / 1e6:.3g} MB of records"
        )


def plan(study: Study[Any], groups: list[Group] | None = None, blocks: Mapping[str, int] | None = None) -> Plan:
    """Find out what a study will cost, by simulating a few replicates of each group.

    Parameters
    ----------
    study : Study
        The study.
    groups : list of Group, optional
        Only these groups.
    blocks : mapping of str to int, optional
        Blocks of each problem; those the study begins with unless given.

    Returns
    -------
    Plan
        Groups with their blocks, tasks, seconds and bytes.

    Raises
    ------
    StudyError
        If it is no study, or takes more than any run can hold, with the bytes and hours that it would take.
    SettingError
        If a setting in Dask's configuration is wrong.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.RiskStudy(
    ...     name="mean", target=bv.Sine(), inputs=bv.Uniform(-1, 1), hypotheses={"H0": bv.Polynomial(0)}, n_train=[4],
    ...     replicates=256, block_size=16,
    ... )
    >>> [group.blocks for group in bv.plan(study).groups]
    [16]
    """
    check_is_study(study)
    settings.check()
    if groups is None:  # as a run does before it plans
        study.call_user_code()
        groups = study.groups()
    blocks = study.blocks_needed() if blocks is None else blocks
    check_bytes(study.name, groups, blocks)
    costs = [seconds_per_block(study, group) for group in groups]
    total = sum(cost * blocks[group.problem] for cost, group in zip(costs, groups, strict=True))
    seconds = min(max(total / TASKS_WANTED, MIN_TASK_SECONDS), settings.seconds("task-seconds"))
    plans = [
        GroupPlan(group, blocks[group.problem], _chunk(group, cost, seconds, blocks[group.problem]), cost)
        for cost, group in zip(costs, groups, strict=True)
    ]
    found = Plan(study.name, study.block_size, tuple(plans))
    if found.tasks > MAX_TASKS:
        raise StudyError(
            f"study {study.name}: {found.tasks} tasks, {found.seconds / 3600:.2g} CPU hours and "
            f"{in_words(found.bytes)} of records are too much for one run, which holds {MAX_TASKS} tasks; "
            "ask for fewer replicates, or for larger tasks by the setting biasvar.task-seconds"
        )
    return found


def check_bytes(name: str, groups: list[Group], blocks: Mapping[str, int]) -> None:
    """Refuse a study whose records no store can hold.

    Raises
    ------
    StudyError
        Saying how many bytes they would be.
    """
    for group in groups:
        if group.block_bytes > RECORD_BYTES:
            raise StudyError(
                f"study {name}: a block of {group.problem} takes {in_words(group.block_bytes)} of records, and a store "
                f"holds {in_words(RECORD_BYTES)} at most; use fewer test_points or cells"
            )
    total = sum(group.block_bytes * blocks[group.problem] for group in groups)
    if total > STUDY_BYTES:
        raise StudyError(
            f"study {name}: takes {in_words(total)} of records, at most {in_words(STUDY_BYTES)} are possible; "
            "ask for fewer replicates, or larger blocks"
        )


def seconds_per_block(study: Study[Any], group: Group) -> float:
    """Time ever larger trials until one takes long enough to tell the cost of a whole block.

    The last two tell what a unit of work costs apart from what a block costs however small it is.
    """
    sizes = [1]
    with computing:
        # Twice, and the faster one counts: the first may compile.
        seconds = [min(_trial_seconds(study, group, 1) for _ in range(2))]
        while sizes[-1] < study.block_work and (len(sizes) == 1 or seconds[-1] < TRIAL_SECONDS):
            sizes.append(min(8 * sizes[-1], study.block_work))
            seconds.append(_trial_seconds(study, group, sizes[-1]))
            if seconds[-1] >= TRIAL_SECONDS:  # or something else had the processor
                seconds[-1] = min(seconds[-1], _trial_seconds(study, group, sizes[-1]))
    if len(sizes) == 1:
        return seconds[0]
    each = max(0.0, seconds[-1] - seconds[-2]) / (sizes[-1] - sizes[-2])
    return seconds[-1] + each * (study.block_work - sizes[-1])


def _trial_seconds(study: Study[Any], group: Group, work: int) -> float:
    start = time.perf_counter()
    study.simulate(group, 0, work)
    return time.perf_counter() - start


def _chunk(group: Group, cost: float, seconds: float, blocks: int) -> int:
    """Choose the number of blocks per task: about ``seconds`` of work, and not too many bytes."""
    by_time = int(seconds / max(cost, 1e-9))
    by_bytes = CHUNK_BYTES // group.block_bytes
    return max(1, min(by_time, by_bytes, blocks))
