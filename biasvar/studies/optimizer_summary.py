"""What an optimizer study's records come to: a labelled tree, a dataset for each objective and optimizer.

Arrays in :mod:`biasvar.optimization.tuning` do the arithmetic; here they get their names.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from biasvar.montecarlo.tails import Status
from biasvar.optimization import tuning
from biasvar.optimization.batches import Order, gradient_evaluations
from biasvar.optimization.descent import QUANTITIES, Descent, Outcome
from biasvar.studies.base import BlockSource
from biasvar.studies.grids import Grid

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
RATIOS = tuple(float(ratio) for ratio in 2.0 ** np.arange(0, 10.5, 0.5))
LABELS = {
    "objective": "objective J",
    "gradient_norm": "norm of the gradient of J over all examples",
    "distance": "distance to the minimiser",
    "excess_risk": "risk on held-out data less that of the minimiser",
}
OUTCOMES = [outcome.name.lower() for outcome in Outcome]
#: Names of dims and variables, which no hyperparameter may have.
RESERVED = frozenset(
    """
    objective gradient_norm distance excess_risk parameters objective_quantile outcome stop_step outcome_share status
    status_reason steps_to_target cost_to_target median_cost_to_target reached_share target_value expected_best
    sensitivity total_sensitivity batch_size step gradient_evaluations replicate kind draws hyperparameter quantile
    target parameter optimizer ratio theta gradient state
    """.split()  # noqa: SIM905  # a line a name would be thirty
)


@dataclass(frozen=True)
class OptimizerGrid:
    """The tree of an optimizer study: where numbers go, and what is made of them.

    Parameters
    ----------
    ways : dict of (str, str) to Descent
        How each optimizer descends each objective, by their labels.
    grids : dict of str to Grid
        The configurations of each optimizer.
    replicates : int
        Replicates of each configuration.
    record : tuple of str
        What is summarised.
    order : str
        How minibatches are drawn.
    """

    ways: Mapping[tuple[str, str], Descent]
    grids: Mapping[str, Grid]
    replicates: int
    record: tuple[str, ...]
    order: Order

    def layout(self) -> xr.DataTree:
        """Return the labelled summary, all numbers missing."""
        sizes = {pair: len(self.grids[pair[1]].configurations) for pair in self.ways}
        return self._tree(
            {pair: _Records.empty(sizes[pair], self.replicates, way.statistics) for pair, way in self.ways.items()}
        )

    def summarise(self, source: BlockSource) -> xr.DataTree:
        """Turn records into the labelled summary."""
        return self._tree({pair: self._records(source, *pair) for pair in self.ways})

    def _records(self, source: BlockSource, objective: str, optimizer: str) -> "_Records":
        """Return the records of all configurations in the order of the grid."""
        place = {key: i for i, key in enumerate(self.grids[optimizer].configurations)}
        out = _Records.empty(len(place), self.replicates, self.ways[objective, optimizer].statistics)
        for group in source.groups():
            rows = [(i, place[key]) for i, key in enumerate(group.cells) if key in place]
            if group.problem != problem_name(objective, optimizer) or not rows:
                continue
            mine, there = (np.array(part) for part in zip(*rows, strict=True))
            start = 0
            for chunk in source.chunks(group):
                stop = start + chunk.records.shape[1]
                out.numbers[there, start:stop] = chunk.records[mine]
                out.failures[there, start:stop] = chunk.failures[mine]
                start = stop
        return out

    def _tree(self, records: Mapping[tuple[str, str], "_Records"]) -> xr.DataTree:
        nodes = {
            pair: _Node(self.ways[pair], self.grids[pair[1]], self.record, self.order).dataset(found)
            for pair, found in records.items()
        }
        parents = {objective: xr.Dataset() for objective, _ in nodes}
        paths = {"/".join(pair): node for pair, node in nodes.items()}
        return xr.DataTree.from_dict({"/": self._root(nodes), **parents, **paths})

    def _root(self, nodes: Mapping[tuple[str, str], xr.Dataset]) -> xr.Dataset:
        """Compare optimizers over all objectives and targets."""
        if not all(way.targets for way in self.ways.values()):
            return xr.Dataset()
        objectives = list(dict.fromkeys(objective for objective, _ in nodes))
        costs = [
            np.stack([nodes[objective, optimizer].best_cost_to_target.values for optimizer in self.grids], axis=-1)
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
                "optimizer": ("optimizer", _text(self.grids), {"long_name": "update rule, best of its grid"}),
                "ratio": ("ratio", np.array(RATIOS), {"long_name": "cost relative to the cheapest optimizer"}),
            },
        )


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

    way: Descent
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
            looks, outcomes, stops = self.way.unpack(records.numbers)
            variables = self._quantities(looks) | self._outcomes(outcomes, stops, records.failures)
            if self.way.targets:
                variables |= self._targets(looks[..., 0])
            variables |= self._tuning(looks[..., 0])
        return xr.Dataset(variables, self._coordinates(records.numbers.shape[1]))

    def _quantities(self, looks: NDArray[np.float64]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for name in (name for name in LABELS if name in self.record and self._has(name)):
            values = looks[..., QUANTITIES.index("risk" if name == "excess_risk" else name)]
            if name == "excess_risk":
                values = values - self._least_risk()
            mean, error = tuning.mean_and_error(np.moveaxis(values, 1, -1))
            out[name] = self._along(mean, ("step",), LABELS[name])
            out[f"{name}_se"] = self._along(error, ("step",), f"standard error of {name}; NaN where there is none")
            if name == "objective":
                quantiles = _quantiles(values)
                out["objective_quantile"] = self._along(quantiles, ("quantile", "step"), "quantiles over replicates")
        if self.way.parameters:
            paths = looks[..., len(QUANTITIES) :]
            out["parameters"] = self._along(paths, ("replicate", "step", "parameter"), "parameters theta")
        return out

    def _has(self, name: str) -> bool:
        known = self.way.objective.minimizer is not None
        return {"distance": known, "excess_risk": known and self.way.objective.has_held_out}.get(name, True)

    def _least_risk(self) -> float:
        minimizer = self.way.objective.minimizer
        return np.nan if minimizer is None else float(np.asarray(self.way.objective.risk(minimizer[None]))[0])

    def _outcomes(
        self, outcomes: NDArray[np.int64], stops: NDArray[np.int64], failures: NDArray[np.object_]
    ) -> dict[str, Any]:
        names = _text(OUTCOMES)[outcomes]
        status, reason = (_text(part) for part in zip(*map(_status, outcomes, failures), strict=True))
        share, error = tuning.mean_and_error((outcomes[:, None, :] == np.arange(len(OUTCOMES))[:, None]).astype(float))
        return {
            "outcome": self._along(names, ("replicate",), "what became of the trajectory"),
            "stop_step": self._along(stops, ("replicate",), "step at which it was seen to have stopped"),
            "outcome_share": self._along(share, ("kind",), "share of replicates with this outcome"),
            "outcome_share_se": self._along(error, ("kind",), "standard error of outcome_share"),
            "status": self._along(status, (), "what can be said of the numbers at the last step"),
            "status_reason": self._along(reason, (), "why, in words"),
        }

    def _targets(self, values: NDArray[np.float64]) -> dict[str, Any]:
        """Say at which look each target was first reached; infinite (censored) where it was not."""
        steps, goals = np.array(self.way.record_steps, dtype=float), np.array(self.way.targets)
        hit = values[..., None] <= goals  # (C, R, looks, targets)
        first = np.where(hit.any(axis=2), steps[hit.argmax(axis=2)], np.inf)
        cost = np.where(np.isfinite(first), self._cost(first), np.inf)
        reached, error = tuning.mean_and_error(np.isfinite(first).astype(float).transpose(0, 2, 1))
        median = np.median(cost, axis=1)
        none = ~np.isfinite(median).any(axis=0)
        cheapest_at = {
            f"cheapest_{name}": (("target",), values, {"long_name": f"{name} at best_cost_to_target; NaN if none"})
            for name, values in self._labels(median.argmin(axis=0), none).items()
        }
        label = "at the first look at which the target was reached; infinite where it was not"
        return {
            "steps_to_target": self._along(first, ("replicate", "target"), f"steps {label}"),
            "cost_to_target": self._along(cost, ("replicate", "target"), f"gradient evaluations {label}"),
            "median_cost_to_target": self._along(median, ("target",), "median over replicates"),
            "reached_share": self._along(reached, ("target",), "share of replicates that reached the target"),
            "reached_share_se": self._along(error, ("target",), "standard error of reached_share"),
            "best_cost_to_target": (("target",), median.min(axis=0), {"long_name": "least median_cost_to_target"}),
            "target_value": (("target",), goals, {"long_name": "value of the objective to be reached"}),
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
            "best_objective": (
                ("step",),
                expected[-1],
                {"long_name": f"objective of the best configuration, {judged}"},
            ),
            "best_objective_se": (("step",), error[-1], {"long_name": "standard error of best_objective"}),
            "best_share": (("step",), share, {"long_name": "share of leave-one-out choices that agree"}),
            "expected_best": (("draws", "step"), expected, {"long_name": f"best of random configurations, {judged}"}),
            "expected_best_se": (("draws", "step"), error, {"long_name": "standard error of expected_best"}),
        }
        for name, best in self._labels(chosen, none).items():
            label = f"{name} of the configuration with the least objective; NaN where all diverged or failed"
            out[f"best_{name}"] = (("step",), best, {"long_name": label})
        for row, name, what in ((0, "sensitivity", "alone"), (1, "total_sensitivity", "with all its interactions")):
            label = f"share of the variance of ranks that a hyperparameter explains {what}"
            out[name] = (("hyperparameter", "step"), index[row], {"long_name": label})
            out[f"{name}_se"] = (
                ("hyperparameter", "step"),
                index_error[row],
                {"long_name": f"standard error of {name}"},
            )
        return out

    def _labels(self, configurations: NDArray[np.intp], none: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
        """Return the hyperparameters of some configurations by name; missing where there is none."""
        places = np.unravel_index(configurations, self.grid.shape)
        return {
            name: np.where(none, np.nan, np.array(axis, dtype=float)[place])
            for (name, axis), place in zip(self.grid.axes.items(), places, strict=True)
        }

    def _along(self, values: NDArray[Any], dims: tuple[str, ...], label: str) -> Any:
        """Give values (C, ...) the axes of the grid."""
        return (*self.grid.axes, *dims), values.reshape(*self.grid.shape, *values.shape[1:]), {"long_name": label}

    def _cost(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return gradient evaluations after steps of shape (C, ...): of one example each, or calls without data."""
        sizes = np.array([each.batch_size for each in self.grid.configurations.values()])
        out = np.empty_like(steps)
        finite = np.where(np.isfinite(steps), steps, 0).astype(np.int64)
        for size in self.grid.batch_sizes:
            out[sizes == size] = self._evaluations(finite[sizes == size], size)
        return out

    def _evaluations(self, steps: NDArray[np.int64], size: int) -> NDArray[np.int64]:
        return gradient_evaluations(steps, self.way.objective.examples or 1, size, self.order)

    def _coordinates(self, replicates: int) -> dict[str, Any]:
        steps = np.array(self.way.record_steps)
        evaluations = np.stack([self._evaluations(steps, size) for size in self.grid.batch_sizes])
        data = self.way.objective.examples is not None
        coordinates: dict[str, Any] = {
            name: (name, np.array(values), {"long_name": name.replace("_", " ")})
            for name, values in self.grid.axes.items()
        }
        coordinates |= {
            "batch_size": (
                "batch_size",
                np.array(self.grid.batch_sizes),
                {"long_name": "examples a step; 0 for all"},
            ),
            "step": ("step", steps, {"long_name": "steps taken"}),
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


def _status(outcomes: NDArray[np.int64], failures: NDArray[np.object_]) -> tuple[str, str]:
    """Return what can be said of one configuration's numbers, and why."""
    count = len(outcomes)
    if failed := [reason for reason in failures if reason]:
        return Status.FAILED.value, f"{len(failed)} of {count} replicates failed: {failed[0]}"
    if diverged := int((outcomes == Outcome.DIVERGED).sum()):
        return Status.INFINITE.value, f"{diverged} of {count} replicates diverged"
    if count == 1:
        return Status.SE_UNRELIABLE.value, "one replicate has no spread; use two or more"
    return Status.OK.value, ""


def _quantiles(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return quantiles over replicates of (C, R, looks) as (C, quantiles, looks), attained ones."""
    found: NDArray[np.float64] = np.quantile(values, QUANTILES, axis=1, method="inverted_cdf")
    return np.moveaxis(found, 0, 1)


def _text(values: Any) -> NDArray[np.object_]:
    return np.array(list(values), dtype=object)
