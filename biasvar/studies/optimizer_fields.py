"""Fields of optimizer studies: their types, how they are written, and what of them is refused."""

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, cast

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field

from biasvar.errors import StudyError
from biasvar.fields import Real, one_or_more
from biasvar.learning.inputs import FixedDesign, Inputs, is_law
from biasvar.optimization import objectives, rules, sets
from biasvar.optimization.batches import FULL
from biasvar.optimization.objectives import Objective
from biasvar.optimization.quantities import PARAMETERS, RECORDABLE, SHARPNESS
from biasvar.studies import components
from biasvar.studies.marks import Fixed


def _recordable(name: str) -> str:
    if name not in (*RECORDABLE, PARAMETERS):
        raise ValueError(f"expected some of {', '.join((*RECORDABLE, PARAMETERS))}, got {name!r}")
    return name


def sizes(value: object) -> Any:
    """Take one batch size or several; None stands for all examples."""
    values = one_or_more(value)
    return tuple(FULL if size is None else size for size in (values if isinstance(values, tuple) else (values,)))


Recordable = Annotated[str, AfterValidator(_recordable)]
Goals = Annotated[tuple[Real, ...], BeforeValidator(one_or_more), Field(min_length=1)]


class Start(Fixed[Any]):
    """Where the descents of an objective start: a point, or the law of each coordinate."""

    def build(self, spec: object, where: str) -> Any:
        """Make the point or the law."""
        if isinstance(spec, str | Mapping):
            spec = components.build(spec, components.INPUTS, where)
        if isinstance(spec, FixedDesign) or (is_law(spec) and spec.dim != 1):
            raise StudyError(f"{where}: expected the law of one coordinate, such as Normal(0, 1), got {spec!r}")
        if is_law(spec):
            return spec
        try:
            point = np.asarray(spec, dtype=float)
        except (TypeError, ValueError) as error:
            raise StudyError(f"{where}: expected a point or a law such as Normal(0, 1), got {spec!r}") from error
        if point.ndim != 1 or not np.isfinite(point).all():
            raise StudyError(f"{where}: expected a list of finite numbers or a law such as Normal(0, 1), got {spec!r}")
        return tuple(point.tolist())

    def write(self, value: object) -> Any:
        """Return the point as a list, the law by its name and fields."""
        return list(value) if isinstance(value, tuple) else components.describe(value, components.INPUTS)

    def components(self, value: object) -> Iterator[Any]:
        """Yield the law."""
        if not isinstance(value, tuple):
            yield value


def check_targets(targets: Mapping[str, tuple[float, ...]], known: Collection[str]) -> None:
    """Refuse targets that are not as many for each objective."""
    if targets and {len(goals) for goals in targets.values()} != {len(next(iter(targets.values())))}:
        raise ValueError("targets: give as many for each objective")
    if targets and targets.keys() != set(known):
        raise ValueError(f"targets: give some for each objective: {', '.join(known)}")


def check_some_data(given: Collection[object], batch_size: tuple[int, ...]) -> None:
    """Refuse minibatches where no objective has data."""
    known = [one for one in given if not isinstance(one, components.Imported)]
    data = len(known) < len(given) or any(objectives.adapted(one).examples is not None for one in known)
    if not data and max(batch_size) != FULL:
        raise ValueError(f"batch_size: {max(batch_size)} needs data, and no objective has any; use None")


def check_objective(
    label: str,
    objective: object,
    start: Inputs | tuple[float, ...],
    batch_size: tuple[int, ...],
    record: tuple[str, ...],
) -> None:
    """Refuse what is no objective, has no dim though its starts are drawn, less data than a batch, or no sharpness."""
    if isinstance(objective, components.Imported):
        return  # imported when the study runs
    try:
        known = objectives.adapted(objective)
        if is_law(start):
            _ = known.dim
    except StudyError as error:
        raise ValueError(f"objectives.{label}: {error}") from error
    _check_sharpness(label, known, record)
    for size in batch_size:
        if known.examples is not None and size > known.examples:
            raise ValueError(
                f"batch_size: {size} is more than the {known.examples} examples of {label!r}; use None for all of them"
            )


def _check_sharpness(label: str, known: Objective, record: tuple[str, ...]) -> None:
    if SHARPNESS.name in record and not known.has_hessian_product:
        raise ValueError(
            f"record: sharpness needs Hessian products, and objectives.{label} has no hessian_product(theta, v); give "
            "it one, or leave sharpness out"
        )


def check_constraint(label: str, given: object, objective: object, start: Inputs | tuple[float, ...]) -> None:
    """Refuse what is no set, has no nearest points, or another number of parameters than the objective."""
    if isinstance(given, components.Imported) or isinstance(objective, components.Imported):
        return  # imported when the study runs
    known: Objective = objectives.adapted(objective)
    try:
        within = sets.adapted(given)
        if not within.has_project:
            raise StudyError(f"{given!r} has no project(theta), the nearest point of the set; give it one")
        dim, wanted = within.dim, known.dim if is_law(start) else len(cast(tuple[float, ...], start))
    except StudyError as error:
        raise ValueError(f"constraints.{label}: {error}") from error
    if dim != wanted:
        raise ValueError(
            f"constraints.{label}: has {dim} parameters, and the objective {wanted}; give a set with dim={wanted}"
        )


def check_rule(label: str, rule: object, taken: Collection[str]) -> None:
    """Refuse what is no update rule, and grids that are empty or have values twice or names that are ``taken``."""
    if isinstance(rule, components.Imported):
        return
    try:
        axes = rules.adapted(rule).hyperparameters
    except StudyError as error:
        raise ValueError(f"optimizers.{label}: {error}") from error
    for name, values in axes.items():
        if not values:
            raise ValueError(f"optimizers.{label}.{name}: the grid is empty; give at least one value")
        if len(set(values)) < len(values):
            raise ValueError(f"optimizers.{label}.{name}: {list(values)} has a value twice; list each once")
        if not np.isfinite(values).all():
            raise ValueError(f"optimizers.{label}.{name}: {list(values)} has a value that is not finite")
        if name in taken or name.startswith(("best_", "cheapest_")) or name.endswith("_se"):
            raise ValueError(f"optimizers.{label}.{name}: the name is taken in summaries; call it something else")
    if not axes:
        raise ValueError(f"optimizers.{label}: {rule!r} has no hyperparameters; give it at least one")
