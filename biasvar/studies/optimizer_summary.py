"""What an optimizer study's records come to: a labelled tree, a dataset for each objective and optimizer.

Arrays in ``biasvar.optimization.tuning`` do the arithmetic; here they get their names.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from biasvar.errors import several
from biasvar.montecarlo.tails import Status
from biasvar.optimization import tuning
from biasvar.optimization.batches import FULL, Order, gradient_evaluations
from biasvar.optimization.descent import Descent, Outcome
from biasvar.optimization.objectives.functions import Quadratic
from biasvar.optimization.quantities import OBJECTIVE, PARAMETERS, RECORDABLE
from biasvar.optimization.rules.momentum import SGD
from biasvar.studies.base import BlockSource
from biasvar.studies.grids import Grid

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
RATIOS = tuple(float(ratio) for ratio in 2.0 ** np.arange(0, 10.5, 0.5))
TABLE = {"table": "best"}  # how the summary is printed
_STAYS = "at the first look from which on the target was kept until the last; infinite where it was not"
_KEPT = "that were at the target at the last look"
OUTCOMES = [outcome.name.lower() for outcome in Outcome]


@dataclass(frozen=True)
class OptimizerGrid:
    """The tree of an optimizer study: where numbers go, and what is made of them.

    Parameters
    ----------
    descents : dict of (str, str) to Descent
        How each optimizer descends each objective, by their labels.
    grids : dict of (str, str) to Grid
        The configurations of each optimizer on each objective.
    problems : dict of str to Dataset
        What is known of each objective without any descent.
    replicates : int
        Replicates of each configuration.
    record : tuple of str
        What is summarised.
    order : str
        How minibatches are drawn.
    """

    descents: Mapping[tuple[str, str], Descent]
    grids: Mapping[tuple[str, str], Grid]
    problems: Mapping[str, xr.Dataset]
    replicates: int
    record: tuple[str, ...]
    order: Order

    def layout(self) -> xr.DataTree:
        """Return the labelled summary, all numbers missing."""
        sizes = {pair: len(self.grids[pair].configurations) for pair in self.descents}
        return self._tree(
            {
                pair: _Records.empty(sizes[pair], self.replicates, descent.statistics)
                for pair, descent in self.descents.items()
            }
        )

    def summarise(self, source: BlockSource) -> xr.DataTree:
        """Turn records into the labelled summary."""
        return self._tree({pair: self._records(source, *pair) for pair in self.descents})

    def _records(self, source: BlockSource, objective: str, optimizer: str) -> "_Records":
        """Return the records of all configurations in the order of the grid."""
        place = {key: i for i, key in enumerate(self.grids[objective, optimizer].configurations)}
        out = _Records.empty(len(place), self.replicates, self.descents[objective, optimizer].statistics)
        for group in source.groups():
            rows = [(i, place[key]) for i, key in enumerate(group.cells) if key in place]
            if group.problem != problem_name(objective, optimizer) or not rows:
                continue
            mine, there = (np.array(part) for part in zip(*rows, strict=True))
            found = source.reduced(group)
            out.numbers[there, : found.blocks] = found.records[mine]
            out.failures[there, : found.blocks] = found.failures[mine]
        return out

    def _tree(self, records: Mapping[tuple[str, str], "_Records"]) -> xr.DataTree:
        nodes = {
            pair: _Node(self.descents[pair], self.grids[pair], self.record, self.order).dataset(found)
            for pair, found in records.items()
        }
        parents = {objective: self.problems.get(objective, xr.Dataset()) for objective, _ in nodes}
        paths = {"/".join(pair): node for pair, node in nodes.items()}
        return xr.DataTree.from_dict({"/": self._root(nodes), **parents, **paths})

    def _root(self, nodes: Mapping[tuple[str, str], xr.Dataset]) -> xr.Dataset:
        """Compare optimizers over all objectives and targets."""
        if not all(descent.targets for descent in self.descents.values()):
            return xr.Dataset(attrs=TABLE)
        objectives, optimizers = (list(dict.fromkeys(labels)) for labels in zip(*nodes, strict=True))
        costs = [
            np.stack([nodes[objective, optimizer].best_cost_to_target.values for optimizer in optimizers], axis=-1)
            for objective in objectives
        ]
        profile = tuning.performance_profile(np.concatenate(costs), np.array(RATIOS))
        variable = (
            ("optimizer", "ratio"),
            profile,
            {"long_name": "share of objectives and targets reached at this cost"},
        )
        return xr.Dataset(
            {"performance_profile": variable},
            {
                "optimizer": ("optimizer", _text(optimizers), {"long_name": "update rule, best of its grid"}),
                "ratio": ("ratio", np.array(RATIOS), {"long_name": "cost relative to the cheapest optimizer"}),
            },
            TABLE,
        )


_MeanAndError = tuple[NDArray[np.float64], NDArray[np.float64]]


class _Records(NamedTuple):
    """What all configurations of a grid left behind: records (C, R, statistics), and why some are missing (C, R)."""

    numbers: NDArray[np.float64]
    failures: NDArray[np.object_]

    @classmethod
    def empty(cls, configurations: int, replicates: int, statistics: int) -> "_Records":
        """Make room for records; those that are never read stay missing."""
        shape = (configurations, replicates)
        return cls(np.full((*shape, statistics), np.nan), np.full(shape, "not simulated", object))


def problem_name(objective: str, optimizer: str) -> str:
    """Return what the engine calls the descents of one objective by one optimizer."""
    return f"{objective}~{optimizer}"


@dataclass(frozen=True)
class _Node:
    """The dataset of one objective and optimizer."""

    descent: Descent
    grid: Grid
    record: tuple[str, ...]
    order: Order

    @property
    def draws(self) -> tuple[int, ...]:
        """Numbers of configurations tried: powers of two, and all."""
        count = len(self.grid.configurations)
        return (*(2**power for power in range((count - 1).bit_length())), count)

    def dataset(self, records: _Records) -> xr.Dataset:
        """Return the labelled numbers of records."""
        with np.errstate(invalid="ignore"):  # what diverged is infinite
            looks, outcomes, stops = self.descent.unpack(records.numbers)
            values = looks[..., OBJECTIVE]
            variables = self._quantities(looks) | self._outcomes(outcomes, stops, records.failures)
            if self.descent.targets:
                variables |= self._targets(values)
            variables |= self._tuning(values)
        return xr.Dataset(variables, self._coordinates(records.numbers.shape[1]))

    def _quantities(self, looks: NDArray[np.float64]) -> dict[str, Any]:
        """Return means, errors and quantiles of what is recorded, looks (C, R, looks, quantities)."""
        out: dict[str, Any] = {}
        objective = self.descent.objective
        for column, quantity in enumerate(self.descent.recorded):
            if quantity.name not in self.record or not quantity.is_shown(objective):
                continue
            values = looks[..., column] - quantity.less(objective)
            mean = tuning.mean_and_error(np.moveaxis(values, 1, -1))
            out |= self._estimate(
                quantity.name, mean, ("step",), quantity.label_of(objective), quantity.short_name, quantity.unit
            )
            if column == OBJECTIVE:
                out["objective_quantile"] = self._along(
                    _quantiles(values), ("quantile", "step"), "quantiles over replicates", "J quantile", quantity.unit
                )
        if self.descent.parameters:
            paths = looks[..., len(self.descent.recorded) :]
            out[PARAMETERS] = self._along(
                paths, ("replicate", "step", "parameter"), "parameters theta", "theta", "theta"
            )
        return out

    def _outcomes(
        self, outcomes: NDArray[np.int64], stops: NDArray[np.int64], failures: NDArray[np.object_]
    ) -> dict[str, Any]:
        names = _text(OUTCOMES)[outcomes]
        status, reason = (_text(part) for part in zip(*_status(outcomes, failures), strict=True))
        share = tuning.mean_and_error((outcomes[:, None, :] == np.arange(len(OUTCOMES))[:, None]).astype(float))
        return {
            "outcome": self._along(names, ("replicate",), "what became of the trajectory", "outcome"),
            "stop_step": self._along(
                stops, ("replicate",), "step at which it was seen to have stopped", "stopped at", "steps"
            ),
            **self._estimate("outcome_share", share, ("kind",), "share of replicates with this outcome", "share"),
            "status": self._along(status, (), "what can be said of the numbers at the last step", "status"),
            "status_reason": self._along(reason, (), "why, in words", "reason"),
        }

    def _targets(self, values: NDArray[np.float64]) -> dict[str, Any]:
        """Say when each target was first reached, and since when J stayed there; infinite (censored) where not."""
        steps, goals = np.array(self.descent.record_steps, dtype=float), np.array(self.descent.targets)
        first, stay = tuning.arrivals(values, goals, steps)
        cost = np.where(np.isfinite(first), self._cost(first), np.inf)
        reached, stayed = (
            tuning.mean_and_error(np.isfinite(found).astype(float).transpose(0, 2, 1)) for found in (first, stay)
        )
        median = np.median(cost, axis=1)
        none = ~np.isfinite(median).any(axis=0)
        cheapest_at = {
            f"cheapest_{name}": _variable(
                ("target",), values, f"{name} at best_cost_to_target; NaN if none", f"cheapest {name}"
            )
            for name, values in self._labels(median.argmin(axis=0), none).items()
        }
        label, each = "at the first look at which the target was reached; infinite where it was not", "replicate"
        return {
            "steps_to_target": self._along(first, (each, "target"), f"steps {label}", "steps", "steps"),
            "steps_to_stay": self._along(stay, (each, "target"), f"steps {_STAYS}", "steps to stay", "steps"),
            "cost_to_target": self._along(cost, (each, "target"), f"gradient evaluations {label}", "cost", "gradients"),
            "median_cost_to_target": self._along(median, ("target",), "median over replicates", "cost", "gradients"),
            **self._estimate(
                "reached_share", reached, ("target",), "share of replicates that reached the target", "reached"
            ),
            **self._estimate("stayed_share", stayed, ("target",), f"share of replicates {_KEPT}", "stayed"),
            "best_cost_to_target": _variable(
                ("target",), median.min(axis=0), "least median_cost_to_target", "least cost", "gradients"
            ),
            "target_value": _variable(("target",), goals, "value of the objective to be reached", "target J", "J"),
            **cheapest_at,
        }

    def _tuning(self, values: NDArray[np.float64]) -> dict[str, Any]:
        """Say which configuration is best at each look, how good luck would find it, and what matters."""
        failed = np.isnan(values).any(axis=1).all(axis=0)  # all of them, look by look
        values = np.where(np.isnan(values), np.inf, values)  # what failed is never the best
        looks = range(values.shape[-1])
        chosen, share = (np.array(part) for part in zip(*(tuning.best(values[..., i]) for i in looks), strict=True))
        expected, error = (
            np.stack(part, axis=-1)
            for part in zip(*(tuning.expected_best(values[..., i], self.draws) for i in looks), strict=True)
        )
        index, index_error = (
            np.stack(part, axis=-1)
            for part in zip(*(tuning.sensitivity(values[..., i], self.grid.shape) for i in looks), strict=True)
        )
        none = ~np.isfinite(values.mean(axis=1)).any(axis=0)
        expected, share = np.where(failed, np.nan, expected), np.where(none, np.nan, share)
        judged = "judged on replicates that did not choose it"
        out: dict[str, Any] = {
            **_estimate(
                "best_objective",
                (expected[-1], error[-1]),
                ("step",),
                f"objective of the best configuration, {judged}",
                "J",
                "J",
            ),
            "best_share": _variable(("step",), share, "share of leave-one-out choices that agree", "agree"),
            **_estimate(
                "expected_best",
                (expected, error),
                ("draws", "step"),
                f"best of random configurations, {judged}",
                "best J",
                "J",
            ),
        }
        for name, best in self._labels(chosen, none).items():
            label = f"{name} of the configuration with the least objective; NaN where all diverged or failed"
            out[f"best_{name}"] = _variable(("step",), best, label, f"best {name}")
        for row, name, what in ((0, "sensitivity", "alone"), (1, "total_sensitivity", "with all its interactions")):
            label = f"share of the variance of ranks that a hyperparameter explains {what}"
            both = index[row], index_error[row]
            out |= _estimate(name, both, ("hyperparameter", "step"), label, name.replace("_", " "))
        return out

    def _labels(self, configurations: NDArray[np.intp], none: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
        """Return the hyperparameters of some configurations by name; missing where there is none."""
        places = np.unravel_index(configurations, self.grid.shape)
        return {
            name: np.where(none, np.nan, np.array(axis, dtype=float)[place])
            for (name, axis), place in zip(self.grid.axes.items(), places, strict=True)
        }

    def _along(self, values: NDArray[Any], dims: tuple[str, ...], label: str, short_name: str, unit: str = "") -> Any:
        """Give values (C, ...) the axes of the grid."""
        values = values.reshape(*self.grid.shape, *values.shape[1:])
        return _variable((*self.grid.axes, *dims), values, label, short_name, unit)

    def _estimate(
        self, name: str, found: _MeanAndError, dims: tuple[str, ...], label: str, short_name: str, unit: str = ""
    ) -> dict[str, Any]:
        """Return a mean (C, ...) and its standard error, along the axes of the grid."""
        mean, error = (part.reshape(*self.grid.shape, *part.shape[1:]) for part in found)
        return _estimate(name, (mean, error), (*self.grid.axes, *dims), label, short_name, unit)

    def _cost(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return gradient evaluations after steps of shape (C, ...): of one example each, or calls without data."""
        sizes = np.array([each.batch_size for each in self.grid.configurations.values()])
        out = np.empty_like(steps)
        finite = np.where(np.isfinite(steps), steps, 0).astype(np.int64)
        for size in self.grid.batch_sizes:
            out[sizes == size] = self._evaluations(finite[sizes == size], size)
        return out

    def _evaluations(self, steps: NDArray[np.int64], size: int) -> NDArray[np.int64]:
        return gradient_evaluations(steps, self.descent.objective.examples or 1, size, self.order)

    def _coordinates(self, replicates: int) -> dict[str, Any]:
        steps = np.array(self.descent.record_steps)
        evaluations = np.stack([self._evaluations(steps, size) for size in self.grid.batch_sizes])
        data = self.descent.objective.examples is not None
        coordinates: dict[str, Any] = {
            name: (name, np.array(values), {"long_name": name.replace("_", " ")})
            for name, values in self.grid.axes.items()
        }
        coordinates |= {
            "batch_size": (
                "batch_size",
                np.array(self.grid.batch_sizes),
                {"long_name": "examples per step; 0 for all"},
            ),
            "step": ("step", steps, {"long_name": "steps taken", "units": "steps", "shown": "last"}),
            "gradient_evaluations": (
                ("batch_size", "step"),
                evaluations,
                {"long_name": "gradients taken, each of one example" if data else "gradients taken"},
            ),
            "replicate": ("replicate", np.arange(replicates), {"long_name": "random start and order"}),
            "kind": ("kind", _text(OUTCOMES), {"long_name": "outcome"}),
            "draws": ("draws", np.array(self.draws), {"long_name": "configurations tried"}),
            "hyperparameter": ("hyperparameter", _text(self.grid.axes), {"long_name": "axis of the grid"}),
        }
        if "objective" in self.record:
            coordinates["quantile"] = ("quantile", np.array(QUANTILES), {"long_name": "share of replicates below"})
        return coordinates


def _status(outcomes: NDArray[np.int64], failures: NDArray[np.object_]) -> list[tuple[str, str]]:
    """Return what can be said of each configuration's numbers, and why, of outcomes and failures (C, R)."""
    of, diverged, failed = several(outcomes.shape[1], "replicate"), outcomes == Outcome.DIVERGED, failures != ""
    alone = Status.SE_UNRELIABLE.value, "one replicate has no spread; use two or more"
    said = [alone if outcomes.shape[1] == 1 else (Status.OK.value, "")] * len(outcomes)
    for i in np.flatnonzero(diverged.any(axis=1)):
        said[i] = Status.INFINITE.value, f"{diverged[i].sum()} of {of} diverged"
    for i in np.flatnonzero(failed.any(axis=1)):
        said[i] = Status.FAILED.value, f"{failed[i].sum()} of {of} failed: {failures[i][failed[i]][0]}"
    return said


def _quantiles(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return quantiles over replicates of (C, R, looks) as (C, quantiles, looks), attained ones."""
    found: NDArray[np.float64] = np.quantile(values, QUANTILES, axis=1, method="inverted_cdf")
    return np.moveaxis(found, 0, 1)


def _variable(dims: tuple[str, ...], values: object, label: str, short_name: str, unit: str = "", **more: str) -> Any:
    said = {"long_name": label, "short_name": short_name, "units": unit} | more
    return dims, values, {key: value for key, value in said.items() if value}


def _estimate(
    name: str, found: _MeanAndError, dims: tuple[str, ...], label: str, short_name: str, unit: str = ""
) -> dict[str, Any]:
    """Return the variables of a number and of its standard error, behind which stand the replicates."""
    mean, error = found
    said = f"standard error of {name}; NaN where there is none"
    return {
        name: _variable(dims, mean, label, short_name, unit, blocks="replicate"),
        f"{name}_se": _variable(dims, error, said, f"error of {short_name}", unit),
    }


@cache
def reserved() -> frozenset[str]:
    """Return the names that no hyperparameter may have: those of a summary's dims and variables, and of arguments."""
    descent = Descent(Quadratic((1.0,)), SGD((1.0,)), 1, 1, (1,), targets=(0.0,), parameters=True)
    pair = ("bowl", "sgd")
    grid = OptimizerGrid({pair: descent}, {pair: Grid({}, (FULL,))}, {}, 2, (*RECORDABLE, PARAMETERS), "shuffled")
    tree = grid.layout()
    names = {str(name) for node in tree.subtree for name in (*node.variables, *node.dims)}
    return frozenset({*names, *RECORDABLE, "theta", "gradient", "state"})


def _text(values: Iterable[object]) -> NDArray[np.object_]:
    return np.array(list(values), dtype=object)
