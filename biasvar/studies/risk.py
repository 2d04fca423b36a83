"""Risk studies: how the expected risk of hypothesis sets splits into noise, bias and variance."""

from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from biasvar.errors import StudyError
from biasvar.learning import decomposition
from biasvar.learning.decomposition import Cell, Problem, Record
from biasvar.learning.fields import NonNegativeInt, NonNegativeReal, PositiveInt, PositiveReal, _plain, _sequence
from biasvar.learning.hypotheses import TailIndex
from biasvar.learning.summary import Estimates, Series, estimate, paired_difference, reduce_blocks
from biasvar.montecarlo import intervals
from biasvar.montecarlo.draws import MAX_DIMENSION, Block, Sampler, Stream
from biasvar.montecarlo.tails import Status, status_of
from biasvar.studies import components
from biasvar.studies.base import BlockRecords, BlockSource, Group

MIN_BLOCKS = 16  # a standard error from fewer blocks would itself be a guess
MIN_REPLICATES = 256
DEFAULT_REPLICATES = 2**17

_LABELS = {
    "irreducible_risk": "irreducible risk: variance of the label noise",
    "bias2": "squared bias of the average fit, averaged over x",
    "variance": "variance of the fit over training sets, averaged over x",
    "excess_risk": "excess risk: squared bias + variance",
    "expected_risk": "expected risk: noise + squared bias + variance",
    "empirical_risk": "empirical risk: expected mean squared training error",
    "generalization_gap": "generalization gap: expected risk - empirical risk",
    "approximation_error": "approximation error: excess risk of the best in class",
    "best_in_class_risk": "expected risk of the best in class",
    "estimation_error": "estimation error: expected risk - risk of the best in class",
}
_CURVES = {
    "mean_prediction": "average prediction at x",
    "bias2_x": "squared bias at x",
    "variance_x": "variance of the prediction at x",
}
_NOT_FOR_ALL = ("approximation_error", "best_in_class_risk", "estimation_error")
#: What a heavy-tailed loss spoils; a mean prediction and training errors exist all the same.
_SPOILED = ("variance", "excess_risk", "expected_risk", "generalization_gap", "estimation_error")


def _labels(value: Any) -> Any:
    return _sequence(value) if not isinstance(_plain(value), int | float) else (_plain(value),)


class _Key(NamedTuple):
    """Where a simulated cell's numbers go."""

    hypothesis: str
    noise: float | None  # None: all levels, integrated exactly


class RiskStudy(BaseModel):
    """Ask how the expected risk of hypothesis sets splits into noise, squared bias and variance.

    Parameters
    ----------
    name : str
        Name of the study: letters, digits, ``.``, ``-`` and ``_``.
    target : callable
        f in y = f(x) + noise e. One of :mod:`biasvar.learning.targets` or any vectorised callable.
    inputs : Uniform, Normal, FixedDesign or alike
        Law of x.
    hypotheses : dict of str to hypothesis set
        What is fitted, by label; see :mod:`biasvar.learning.hypotheses`.
    n_train : sequence of int
        Training-set sizes.
    noise : sequence of float
        Standard deviations of the label noise, in units of y.
    replicates : int, optional
        Random training sets a cell, a multiple of ``block_size``, 131072 unless ``precision`` is given.
    block_size : int
        Replicates in a block, the unit of standard errors: there must be at least 16 blocks. A power of two for Sobol.
    sampler : {"sobol", "random"}
        Scrambled Sobol points through the inputs' inverse distribution function, or pseudo-random numbers.
    seed : int
        Seed of everything random in the study.
    precision : dict of str to float, optional
        Instead of ``replicates``: largest standard errors allowed, by variable, as in ``{"expected_risk": 1e-4}``.
        Blocks are doubled until every cell that has a standard error meets them.
    max_replicates : int, optional
        Where ``precision`` gives up; 2**24 unless given.
    test_points : int, optional
        Points at which risk over x is averaged: quadrature nodes a smooth piece in one dimension (64), Sobol points in
        more (2048).
    description : str
        A line about the study for people.

    Raises
    ------
    StudyError
        If a field is unknown, missing, of the wrong type or does not fit the others.

    References
    ----------
    Y. Abu-Mostafa, M. Magdon-Ismail, H.-T. Lin, Learning From Data, 2012, section 2.3.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.RiskStudy(
    ...     name="two-point-sine", target=bv.Sine(), inputs=bv.Uniform(-1, 1),
    ...     hypotheses={"H0": bv.Polynomial(0), "H1": bv.Polynomial(1)},
    ...     n_train=[2, 10], noise=[0.0, 0.5], replicates=2**13, block_size=2**9,
    ... )
    >>> [group.path for group in study.groups()]
    ['n2/H0+H1', 'n10/H0+H1']
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    target: Any
    inputs: Any
    hypotheses: dict[str, Any]
    n_train: Annotated[tuple[PositiveInt, ...], BeforeValidator(_labels), Field(min_length=1)]
    noise: Annotated[tuple[NonNegativeReal, ...], BeforeValidator(_labels), Field(min_length=1)] = (0.0,)
    replicates: PositiveInt | None = None
    block_size: PositiveInt = 2**12
    sampler: Sampler = "sobol"
    seed: NonNegativeInt = 0
    precision: dict[str, PositiveReal] | None = None
    max_replicates: PositiveInt | None = None
    test_points: PositiveInt | None = None
    description: str = ""

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise StudyError(components.validation_text(error).removeprefix(".").removeprefix(": ")) from error

    @model_validator(mode="before")
    @classmethod
    def _build_components(cls, fields: Any) -> Any:
        fields = dict(fields)
        for name, known in (("target", components.TARGETS), ("inputs", components.INPUTS)):
            if name in fields:
                fields[name] = components.build(fields[name], known, name)
        if isinstance(fields.get("hypotheses"), Mapping):
            fields["hypotheses"] = {
                label: components.build(spec, components.HYPOTHESES, f"hypotheses.{label}")
                for label, spec in fields["hypotheses"].items()
            }
        if fields.get("replicates") is None and fields.get("precision") is None:
            fields["replicates"] = DEFAULT_REPLICATES
        if fields.get("precision") is not None and fields.get("max_replicates") is None:
            fields["max_replicates"] = 2**24
        return fields

    @model_validator(mode="after")
    def _fit_together(self) -> "RiskStudy":
        self._check_components()
        for axis in ("n_train", "noise"):
            values = getattr(self, axis)
            if len(set(values)) < len(values):
                raise ValueError(f"{axis}: {list(values)} has a value twice; list each once")
        self._check_replicates()
        dimension = max(self.inputs.dimension(n) + n for n in self.n_train)
        if self.sampler == "sobol" and dimension > MAX_DIMENSION:
            raise ValueError(
                f"sampler: 'sobol' reaches {MAX_DIMENSION} dimensions, n_train={max(self.n_train)} needs {dimension}; "
                "use sampler='random'"
            )
        # TargetError and its kind are ValueErrors: pydantic reports them like any other bad field.
        _ = self.problem.f
        return self

    def _check_components(self) -> None:
        if not callable(self.target):
            raise ValueError(f"target: expected a vectorised callable, got {self.target!r}")
        if not (hasattr(self.inputs, "place") and hasattr(self.inputs, "test_points")):
            raise ValueError(f"inputs: expected a law such as Uniform(-1, 1), got {self.inputs!r}")
        if not self.hypotheses:
            raise ValueError("hypotheses: is empty; name at least one hypothesis set")
        for label, hypothesis in self.hypotheses.items():
            if not label or any(c in label for c in "/\\@\0") or label.startswith((".", "__")):
                raise ValueError(f"hypotheses: {label!r} cannot be a label; avoid / \\ @ and a leading . or __")
            if not isinstance(hypothesis, components.Imported):  # those are imported when the study runs
                _check_hypothesis(label, hypothesis)

    def _check_replicates(self) -> None:
        if self.sampler == "sobol" and self.block_size & (self.block_size - 1):
            lower = 1 << (self.block_size.bit_length() - 1)
            raise ValueError(
                f"block_size: {self.block_size} is not a power of two, which sampler 'sobol' needs; "
                f"use {lower} or {2 * lower}, or sampler='random'"
            )
        if self.replicates is not None and self.precision is not None:
            raise ValueError("precision: cannot be combined with replicates; give one of the two (and max_replicates)")
        if self.replicates is not None and self.max_replicates is not None:
            raise ValueError("max_replicates: goes with precision, not with replicates")
        field, count = ("replicates", self.replicates) if self.replicates else ("max_replicates", self.max_replicates)
        assert count is not None
        least = max(MIN_BLOCKS * self.block_size, -(-MIN_REPLICATES // self.block_size) * self.block_size)
        if count < least:
            raise ValueError(
                f"{field}: {count} is too few for standard errors; use at least {least} "
                f"({MIN_BLOCKS} blocks, {MIN_REPLICATES} replicates), or a smaller block_size"
            )
        if count % self.block_size:
            raise ValueError(f"{field}: {count} is not a multiple of block_size={self.block_size}")
        for variable in self.precision or {}:
            if variable not in _LABELS:
                raise ValueError(f"precision: unknown variable {variable!r}; choose from {', '.join(_LABELS)}")

    def __reduce__(self) -> Any:
        return _rebuild, (type(self), {name: getattr(self, name) for name in type(self).model_fields})

    # What it is

    @cached_property
    def problem(self) -> Problem:
        """The law of data with its test points."""
        return Problem.of(self.target, self.inputs, self.test_points, self.seed)

    def to_json(self) -> dict[str, Any]:
        """Return the study in canonical form."""
        fields: dict[str, Any] = self.model_dump(exclude={"target", "inputs", "hypotheses", "description"}, mode="json")
        return fields | {
            "kind": "risk",
            "target": components.describe(self.target, components.TARGETS),
            "inputs": components.describe(self.inputs, components.INPUTS),
            "hypotheses": {
                label: components.describe(hypothesis, components.HYPOTHESES)
                for label, hypothesis in self.hypotheses.items()
            },
        }

    def extension_errors(self, stored: Mapping[str, Any]) -> list[str]:
        """Say where this study differs from a stored one beyond extending it."""
        mine, errors = self.to_json(), []
        for field in ("kind", "target", "inputs", "block_size", "sampler", "seed", "test_points"):
            if mine[field] != stored.get(field):
                errors.append(f"{field}: the store has {stored.get(field)}, the study {mine[field]}")
        for field in ("n_train", "noise"):
            if missing := [value for value in stored.get(field, []) if value not in mine[field]]:
                errors.append(f"{field}: the store has {missing}, which the study lacks")
        for label, spec in stored.get("hypotheses", {}).items():
            if label not in mine["hypotheses"]:
                errors.append(f"hypotheses: the store has {label}, which the study lacks")
            elif mine["hypotheses"][label] != spec:
                errors.append(f"hypotheses.{label}: the store has {spec}, the study {mine['hypotheses'][label]}")
        return errors + _replicate_errors(mine, stored)

    # What the engine asks

    def groups(self, stored: Collection[tuple[str, str]] = ()) -> list[Group]:
        """Arrange the cells that are not stored yet: one group a training-set size."""
        size = Record(len(self.problem.f)).size
        groups = []
        for n in self.n_train:
            cells = tuple(key for key in self._cells if (_problem_name(n), key) not in stored)
            if cells:
                groups.append(Group(_problem_name(n), cells, size))
        return groups

    def planned_blocks(self, summary: xr.Dataset | None = None) -> dict[str, int]:
        """Return how many blocks each training-set size needs: doubled where ``precision`` is not reached yet."""
        if self.precision is None:
            assert self.replicates is not None
            return {_problem_name(n): self.replicates // self.block_size for n in self.n_train}
        assert self.max_replicates is not None
        first = max(MIN_BLOCKS, -(-MIN_REPLICATES // self.block_size))
        if summary is None:
            return {_problem_name(n): first for n in self.n_train}
        plan = {}
        for n in self.n_train:
            cells = summary.sel(n_train=n)
            have = int(cells.replicates.max()) // self.block_size
            # A comparison with NaN is false: cells that have no standard error do not keep a study running.
            short = any((cells[f"{name}_se"] > goal).any() for name, goal in self.precision.items())
            plan[_problem_name(n)] = min(2 * have, self.max_replicates // self.block_size) if short else have
        return plan

    def simulate(self, group: Group, block: int) -> BlockRecords:
        """Simulate one block of a group's cells on common training sets."""
        return self._simulate(group, block, self.block_size)

    def trial(self, group: Group, replicates: int) -> None:
        """Simulate a small block and forget it."""
        self._simulate(group, 0, replicates)

    def headline(self, group: Group, records: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return each block's excess risk, at the highest noise where its standard error exists."""
        parts, weights = Record(len(self.problem.f)).unpack(records), self.problem.test.weights
        loss = ((parts["mean"] - self.problem.f) ** 2 + parts["variance"]) @ weights
        gain = parts["noise_gain"] @ weights
        n_train = int(group.problem[1:])
        for row, key in enumerate(group.cells):
            hypothesis = self._cell(key).hypothesis
            known = hypothesis.tail_index(self.inputs, n_train) if hasattr(hypothesis, "tail_index") else TailIndex()
            if status_of(known.noise) is Status.OK:
                loss[row] += max(self.noise) ** 2 * gain[row]
        return loss

    def _simulate(self, group: Group, block: int, size: int) -> BlockRecords:
        n_train = int(group.problem[1:])
        stream = Stream(self.seed, f"n_train={n_train}", block)
        draws = Block(self.sampler, stream, self.inputs.dimension(n_train), size)
        cells = [self._cell(key) for key in group.cells]
        reasons = [decomposition.refuses(cell.hypothesis, self.inputs, n_train) for cell in cells]
        fitted = [cell for cell, reason in zip(cells, reasons, strict=True) if reason is None]
        outcomes = iter(decomposition.simulate_block(self.problem, fitted, n_train, draws) if fitted else [])
        records = np.full((len(cells), group.statistics), np.nan)
        failures = []
        for row, reason in zip(records, reasons, strict=True):
            if reason is None:
                outcome = next(outcomes)
                row[:] = outcome.record
                reason = outcome.failure
            failures.append(reason)
        return BlockRecords(records, tuple(failures))

    def statistic_coordinates(self) -> dict[str, NDArray[Any]]:
        """Return the name of every number of a record, and its place within that name."""
        fields = Record(len(self.problem.f)).fields
        return {
            "moment": np.repeat(np.array(list(fields), dtype=object), list(fields.values())),
            "place": np.concatenate([np.arange(length) for length in fields.values()]),
        }

    def layout(self) -> xr.Dataset:
        """Return the empty labelled summary."""
        cells = {"hypothesis": len(self.hypotheses), "n_train": len(self.n_train), "noise": len(self.noise)}
        points = len(self.problem.f)
        sizes = {**cells, "versus": len(self.hypotheses), self._x_dim: points}
        variables: dict[str, Any] = {}

        def add(name: str, dims: tuple[str, ...], label: str, unit: str = "", fill: Any = np.nan) -> None:
            dtype = object if fill == "" else None
            values = np.full(tuple(sizes[dim] for dim in dims), fill, dtype)
            variables[name] = (dims, values, {"long_name": label} | ({"units": unit} if unit else {}))

        axes, pairs = tuple(cells), ("hypothesis", "versus", "n_train", "noise")
        for name, label in _LABELS.items():
            add(name, axes, label, "y^2")
            add(f"{name}_se", axes, f"standard error of {name}", "y^2")
        add("excess_risk_difference", pairs, "excess risk less that of versus", "y^2")
        add("excess_risk_difference_se", pairs, "standard error of excess_risk_difference, paired", "y^2")
        add("target", (self._x_dim,), "target f at x", "y")
        add("best_in_class", ("hypothesis", self._x_dim), "best in class at x", "y")
        for name, label in _CURVES.items():
            unit = "y" if name == "mean_prediction" else "y^2"
            add(name, (*axes, self._x_dim), label, unit)
            add(f"{name}_se", (*axes, self._x_dim), f"standard error of {name}", unit)
        add("tail_index", axes, "tail index of the loss: risk exists above 1, its standard error above 2")
        add("replicates", axes, "random training sets behind the numbers", fill=0)
        add("block_count", axes, "independent blocks behind the standard errors", fill=0)
        add("status", axes, "what can be said of the numbers", fill="")
        add("status_reason", axes, "why, in words", fill="")
        return xr.Dataset(variables, self._coordinates())

    def summarise(self, source: BlockSource) -> xr.Dataset:
        """Turn blocks into risks and errors with standard errors."""
        out = self.layout()
        table = {str(name): variable.values for name, variable in out.data_vars.items()}  # views: filled in place
        table["target"][:] = self.problem.f
        best = [decomposition.best_in_class(self.problem, hypothesis) for hypothesis in self.hypotheses.values()]
        for row, found in zip(table["best_in_class"], best, strict=True):
            if found is not None:
                row[:] = found[0]
        quadrature_error = self.problem.quadrature_error()
        for j, n in enumerate(self.n_train):
            cells = _Cells(self, n)
            for group in source.groups():
                if group.problem == _problem_name(n):
                    cells.read(group, source)
            for k, noise in enumerate(self.noise):
                column = [
                    cells.estimate(label, noise, found, quadrature_error)
                    for label, found in zip(self.hypotheses, best, strict=True)
                ]
                for i, (label, result) in enumerate(zip(self.hypotheses, column, strict=True)):
                    _fill(table, (i, j, k), cells, label, noise, result)
                _fill_differences(table, (j, k), self.problem, column)
        return out

    # Helpers

    @cached_property
    def _cells(self) -> dict[str, _Key]:
        """Simulated cells by key: one a set, or one a set and noise level where noise is simulated."""
        keys: dict[str, _Key] = {}
        for label, hypothesis in self.hypotheses.items():
            _check_hypothesis(label, hypothesis)
            if decomposition.simulates_noise(hypothesis):
                keys |= {f"{label}@{noise!r}": _Key(label, noise) for noise in self.noise}
            else:
                keys[label] = _Key(label, None)
        return keys

    def _cell(self, key: str) -> Cell:
        label, noise = self._cells[key]
        return Cell(self.hypotheses[label], noise)

    @property
    def _x_dim(self) -> str:
        return "x" if self.inputs.dim == 1 else "point"

    def _coordinates(self) -> dict[str, Any]:
        labels = np.array(list(self.hypotheses), dtype=object)
        test = self.problem.test
        coordinates: dict[str, Any] = {
            "hypothesis": ("hypothesis", labels, {"long_name": "hypothesis set"}),
            "versus": ("versus", labels, {"long_name": "hypothesis set compared with"}),
            "n_train": ("n_train", np.array(self.n_train), {"long_name": "training-set size"}),
            "noise": ("noise", np.array(self.noise), {"long_name": "std of the label noise", "units": "y"}),
            "x_weight": (self._x_dim, test.weights, {"long_name": "probability that the test point stands for"}),
        }
        if self.inputs.dim == 1:
            coordinates["x"] = ("x", test.x, {"long_name": "input", "units": "x"})
        else:
            coordinates["x"] = (("point", "coordinate"), test.x, {"long_name": "input", "units": "x"})
        return coordinates


class _Cells:
    """All cells of one training-set size: their series, or why they have none."""

    def __init__(self, study: RiskStudy, n_train: int) -> None:
        self.study, self.n_train = study, n_train
        self.series: dict[str, Series] = {}
        self.failures: dict[str, str] = {}

    def read(self, group: Group, source: BlockSource) -> None:
        """Reduce one group's blocks."""
        wanted = [i for i, key in enumerate(group.cells) if key in self.study._cells]
        for chunk in source.chunks(group):
            for i in wanted:
                if reasons := [reason for reason in chunk.failures[i] if reason]:
                    self.failures.setdefault(group.cells[i], reasons[0])
        sound = [i for i in wanted if group.cells[i] not in self.failures]

        def chunks() -> Iterator[NDArray[np.float64]]:
            for chunk in source.chunks(group):
                yield chunk.records[sound]

        if sound:
            reduced = reduce_blocks(self.study.problem, chunks, len(sound))
            self.series |= {group.cells[i]: series for i, series in zip(sound, reduced, strict=True)}

    def key(self, label: str, noise: float) -> str:
        """Return the key of the simulated cell that serves a hypothesis at a noise level."""
        return label if label in self.study._cells else f"{label}@{noise!r}"

    def estimate(self, label: str, noise: float, best: Any, quadrature_error: float) -> Estimates | None:
        """Return what is known of one hypothesis set at one noise level; None where it failed."""
        series = self.series.get(self.key(label, noise))
        if series is None:
            return None
        tails = self.tails(label, noise)
        replicates = series.blocks * self.study.block_size
        extremes = np.hypot(
            series.loss_tail.standard_error(tails.signal, replicates),
            noise**2 * series.gain_tail.standard_error(tails.noise, replicates),
        )
        return estimate(self.study.problem, series, noise, best, quadrature_error, float(extremes))

    def tails(self, label: str, noise: float) -> "_Tails":
        """Return the tail indices of the loss without and with label noise, from theory where it is known."""
        hypothesis, series = self.study.hypotheses[label], self.series[self.key(label, noise)]
        known = TailIndex()
        if hasattr(hypothesis, "tail_index"):
            known = hypothesis.tail_index(self.study.inputs, self.n_train)
        signal, gain = known
        if np.isnan(signal) and not np.isnan(gain) and self.study.inputs.dim == 1:
            # Fits to a smooth target are averages of interpolants, bounded by the target's derivatives.
            signal = np.inf if getattr(self.study.target, "smooth", False) else signal
        theory = [not np.isnan(signal), not np.isnan(gain)]
        signal = signal if theory[0] else series.loss_tail.index
        gain = gain if theory[1] else series.gain_tail.index
        if decomposition.simulates_noise(hypothesis) or noise == 0:
            gain, theory[1] = np.inf, True
        return _Tails(signal, gain, theory[int(gain < signal)])


class _Tails(NamedTuple):
    """Tail indices of a cell's loss."""

    signal: float
    noise: float
    by_theory: bool  # whether the lower one is

    @property
    def lower(self) -> float:
        """The index that decides."""
        return min(self.signal, self.noise)


_Table = dict[str, NDArray[Any]]


def _fill(
    table: _Table, at: tuple[int, int, int], cells: _Cells, label: str, noise: float, result: Estimates | None
) -> None:
    """Write one cell into the summary, and what its tails forbid."""
    table["irreducible_risk"][at], table["irreducible_risk_se"][at] = noise**2, 0.0
    if result is None:
        table["status"][at] = str(Status.FAILED)
        table["status_reason"][at] = cells.failures.get(cells.key(label, noise), "not simulated")
        return
    for name, value in result.values.items():
        table[name][at], table[f"{name}_se"][at] = value, result.errors[name]
    for name, curve in result.curves.items():
        table[name][at] = curve
    tails = cells.tails(label, noise)
    status = status_of(tails.lower)
    if status is not Status.OK:
        for name in (*_SPOILED, "variance_x"):
            table[f"{name}_se"][at] = np.nan
            if status is Status.INFINITE and not np.isnan(table[name][at]).all():
                table[name][at] = np.inf
        if status_of(tails.signal) is not Status.OK:
            for name in ("bias2", "bias2_x", "mean_prediction"):
                table[f"{name}_se"][at] = np.nan
    table["tail_index"][at] = tails.lower
    table["block_count"][at] = len(result.excess)
    table["replicates"][at] = len(result.excess) * cells.study.block_size
    table["status"][at] = str(status)
    table["status_reason"][at] = _reason(status, tails)


def _reason(status: Status, tails: _Tails) -> str:
    what = {Status.INFINITE: ("mean", 1), Status.SE_UNRELIABLE: ("variance", 2)}
    if status not in what:
        return ""
    moment, least = what[status]
    how = "by theory" if tails.by_theory else "estimated from the largest losses"
    return f"the loss has no finite {moment}: its tail index is {tails.lower:.3g} ({how}), not above {least}"


def _fill_differences(table: _Table, at: tuple[int, int], problem: Problem, column: list[Estimates | None]) -> None:
    """Write the paired differences of excess risk between all sets at one training-set size and noise level."""
    value, error = table["excess_risk_difference"], table["excess_risk_difference_se"]
    status = [table["status"][(i, *at)] for i in range(len(column))]
    for i, one in enumerate(column):
        if one is not None:
            value[(i, i, *at)], error[(i, i, *at)] = 0.0, 0.0
        for j, other in enumerate(column[:i]):
            # A difference with an infinite number has neither value nor error.
            if one is None or other is None or Status.INFINITE in (status[i], status[j]):
                continue
            difference, se = paired_difference(problem, one, other)
            value[(i, j, *at)], value[(j, i, *at)] = difference, -difference
            if status[i] == status[j] == Status.OK:
                error[(i, j, *at)] = error[(j, i, *at)] = se


def _replicate_errors(mine: Mapping[str, Any], stored: Mapping[str, Any]) -> list[str]:
    """Say why the number of replicates is not an extension: fewer, or less precise, or the other kind."""
    if (mine["replicates"] is None) != (stored["replicates"] is None):
        kinds = ["precision" if study["replicates"] is None else "replicates" for study in (stored, mine)]
        return [f"the store was made with {kinds[0]}, the study has {kinds[1]}"]
    if mine["replicates"] is not None:
        if mine["replicates"] < stored["replicates"]:
            return [f"replicates: the store has {stored['replicates']}, the study only {mine['replicates']}"]
        return []
    errors = []
    for name, goal in stored["precision"].items():
        if mine["precision"].get(name, np.inf) > goal:
            errors.append(f"precision.{name}: the store has {goal}, the study {mine['precision'].get(name)}")
    if mine["max_replicates"] < stored["max_replicates"]:
        errors.append(f"max_replicates: the store has {stored['max_replicates']}, the study {mine['max_replicates']}")
    return errors


def _check_hypothesis(label: str, hypothesis: Any) -> None:
    if not any(hasattr(hypothesis, name) for name in ("linear_model", "weights", "fit_predict")):
        raise StudyError(
            f"hypotheses.{label}: {hypothesis!r} has no weights(x, at) and no fit_predict(x, y, at, rng); "
            "give it one of the two"
        )


def _problem_name(n_train: int) -> str:
    return f"n{n_train}"


def _rebuild(kind: type[RiskStudy], fields: dict[str, Any]) -> RiskStudy:
    return kind(**fields)


def confidence_interval(summary: xr.Dataset, variable: str, level: float = 0.95) -> xr.Dataset:
    """Return the confidence interval of a variable of a summary, as variables ``low`` and ``high``.

    Student's, with one degree of freedom less than there are blocks; NaN where there is no standard error.

    Parameters
    ----------
    summary : xarray.Dataset
        What :func:`~biasvar.run` returned.
    variable : str
        A variable along hypothesis, n_train and noise, for example ``"expected_risk"``.
    level : float
        Coverage.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.RiskStudy(
    ...     name="interval", target=bv.Sine(), inputs=bv.Uniform(-1, 1), hypotheses={"H0": bv.Polynomial(0)},
    ...     n_train=[10], replicates=2**14, block_size=2**10,
    ... )
    >>> bounds = confidence_interval(bv.lazy(study).compute(), "variance").squeeze()
    >>> bool(bounds.low < 0.05 < bounds.high)
    True
    """
    low, high = xr.apply_ufunc(
        intervals.interval,
        summary[variable],
        summary[f"{variable}_se"],
        summary["block_count"],
        kwargs={"level": level},
        output_core_dims=[[], []],
        dask="parallelized",
        output_dtypes=[float, float],
    )
    return xr.Dataset({"low": low, "high": high}, attrs={"variable": variable, "level": level})
