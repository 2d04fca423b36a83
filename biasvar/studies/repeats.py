"""How many replicates there are: as many as are asked for, or as a precision takes."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from biasvar.studies.base import Summary, nodes_of, problem_name

MIN_BLOCKS = 16  # a standard error from fewer blocks would itself be a guess
MIN_REPLICATES = 256
MAX_REPLICATES = 2**24  # unless given, where precision gives up

#: Fields that one of these stands in for.
INSTEAD_OF: Mapping[str, tuple[str, ...]] = {
    "replicates": ("precision", "max_replicates"),
    "precision": ("replicates",),
}


class Repeated(Protocol):
    """A study of replicates in blocks, with a problem for each training-set size."""

    @property
    def n_train(self) -> tuple[int, ...]:
        """Training-set sizes."""

    @property
    def block_size(self) -> int:
        """Replicates per block."""

    @property
    def replicates(self) -> int | None:
        """How many are asked for."""

    @property
    def precision(self) -> dict[str, float] | None:
        """Standard errors that are asked for, by variable."""

    @property
    def max_replicates(self) -> int | None:
        """Where precision gives up."""


def completed(fields: Mapping[str, object], default_replicates: int) -> Mapping[str, Any]:
    """Return a study's fields with the one of the two that was not given."""
    precise = fields.get("precision") is not None
    name, default = ("max_replicates", MAX_REPLICATES) if precise else ("replicates", default_replicates)
    return {**fields, name: default} if fields.get(name) is None else fields


def check(study: Repeated, known: Callable[[], Collection[str]]) -> None:
    """Refuse, with a ValueError, numbers of replicates that make no standard errors, and unknown variables.

    ``known`` returns the variables whose standard errors may be asked for, which takes the law's test points.
    """
    if study.replicates is not None and study.precision is not None:
        raise ValueError("precision: cannot be combined with replicates; give one of the two (and max_replicates)")
    if study.replicates is not None and study.max_replicates is not None:
        raise ValueError("max_replicates: goes with precision, not with replicates")
    field, count = ("replicates", study.replicates) if study.replicates else ("max_replicates", study.max_replicates)
    assert count is not None
    least = _first_blocks(study) * study.block_size
    if count < least:
        raise ValueError(
            f"{field}: {count} is too few for standard errors; use at least {least} "
            f"({MIN_BLOCKS} blocks, {MIN_REPLICATES} replicates), or a smaller block_size"
        )
    if count % study.block_size:
        raise ValueError(f"{field}: {count} is not a multiple of block_size={study.block_size}")
    for variable in study.precision or {}:
        if variable not in known():
            raise ValueError(f"precision: unknown variable {variable!r}; choose from {', '.join(known())}")


def blocks_needed(study: Repeated, summary: Summary | None) -> dict[str, int]:
    """Return how many blocks each training-set size needs: doubled where ``precision`` is not reached yet."""
    if study.precision is None:
        assert study.replicates is not None
        return {problem_name(n): study.replicates // study.block_size for n in study.n_train}
    if summary is None:
        return {problem_name(n): _first_blocks(study) for n in study.n_train}
    assert study.max_replicates is not None
    plan = {}
    for n in study.n_train:
        parts = [node.sel(n_train=n) for node in nodes_of(summary).values()]
        have = max(int(part.replicates.max()) for part in parts) // study.block_size
        # A comparison with NaN is false: cells that have no standard error do not keep a study running.
        short = any(
            (part[f"{name}_se"] > goal).any()
            for name, goal in study.precision.items()
            for part in parts
            if name in part
        )
        plan[problem_name(n)] = min(2 * have, study.max_replicates // study.block_size) if short else have
    return plan


def unmet_goals(study: Repeated, summary: Summary) -> list[str]:
    """Say which standard errors are above what ``precision`` asks for."""
    out = []
    for name, goal in (study.precision or {}).items():
        nodes = (node for node in nodes_of(summary).values() if name in node)
        # The largest of nothing but NaN is NaN, which is no larger than 0.
        worst = max(0.0, *(float(node[f"{name}_se"].max()) for node in nodes))
        if worst > goal:
            out.append(
                f"precision not reached: the largest standard error of {name} is {worst:.2g}, not {goal:g}, "
                f"after max_replicates={study.max_replicates}"
            )
    return out


def _first_blocks(study: Repeated) -> int:
    return max(MIN_BLOCKS, -(-MIN_REPLICATES // study.block_size))
