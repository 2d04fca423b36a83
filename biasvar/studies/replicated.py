"""What studies of fits to many random training sets have in common: replicates in blocks, cells, precision."""

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from biasvar.errors import StudyError
from biasvar.fields import (
    NonNegativeReal,
    PositiveInt,
    PositiveReal,
    one_or_more,
)
from biasvar.learning import inputs
from biasvar.learning.decomposition import Problem
from biasvar.learning.fits import Coefficients, Predictions
from biasvar.learning.hypotheses import HypothesisSet
from biasvar.learning.inputs import DEFAULT_NODES, Independent, Inputs
from biasvar.learning.losses import Loss
from biasvar.learning.record import Record
from biasvar.learning.simulation import is_repeatable, simulate_block
from biasvar.montecarlo.draws import MAX_DIMENSION, Block, Sampler, Stream
from biasvar.montecarlo.tails import Status, status_of
from biasvar.studies import components, sizes
from biasvar.studies.base import BlockRecords, BlockSource, Group, problem_name
from biasvar.studies.cell_summary import CellGrid
from biasvar.studies.labels import adapted_sets, asking, check_sets
from biasvar.studies.marks import AtLeast, AtMost, Axis, Component, Fixed, Labelled
from biasvar.studies.study import Study

MIN_BLOCKS = 16  # a standard error from fewer blocks would itself be a guess
MIN_REPLICATES = 256
DEFAULT_REPLICATES = 2**17
MAX_REPLICATES = 2**24  # unless given, where precision gives up
FINGERPRINT_POINTS = 32
REHEARSED = 2  # training sets that a set is fitted to twice, to see whether it repeats itself


class ReplicatedStudy(Study[xr.Dataset]):
    """A study of hypothesis sets that are fitted to many random training sets.

    A kind of study adds the law of data and what is charged.
    """

    instead_of: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "replicates": ("precision", "max_replicates"),
        "precision": ("replicates",),
    }

    target: Annotated[Any, Component(components.TARGETS)]
    inputs: Annotated[Any, Component(components.INPUTS)]
    hypotheses: Annotated[dict[str, Any], Labelled(Component(components.HYPOTHESES))]
    n_train: Annotated[tuple[PositiveInt, ...], BeforeValidator(one_or_more), Field(min_length=1), Axis()]
    noise: Annotated[tuple[NonNegativeReal, ...], BeforeValidator(one_or_more), Field(min_length=1), Axis()] = (0.0,)
    replicates: Annotated[PositiveInt | None, AtLeast()] = None
    block_size: Annotated[PositiveInt, Fixed()] = 2**12
    sampler: Annotated[Sampler, Fixed()] = "sobol"
    precision: Annotated[dict[str, PositiveReal] | None, AtMost()] = None
    max_replicates: Annotated[PositiveInt | None, AtLeast()] = None
    test_points: Annotated[PositiveInt | None, Fixed()] = None

    def _completed(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        precise = fields.get("precision") is not None
        name, default = ("max_replicates", MAX_REPLICATES) if precise else ("replicates", DEFAULT_REPLICATES)
        return {**fields, name: default} if fields.get(name) is None else fields

    def _fit_together(self) -> None:
        self._check_components()
        for axis in ("n_train", "noise"):
            values = getattr(self, axis)
            if len(set(values)) < len(values):
                raise ValueError(f"{axis}: {list(values)} has a value twice; list each once")
        self._check_replicates()
        dimension = max(self.law.uniforms_per_set(n) + n for n in self.n_train)
        if self.sampler == "sobol" and dimension > MAX_DIMENSION:
            raise ValueError(
                f"sampler: 'sobol' reaches {MAX_DIMENSION} dimensions, n_train={max(self.n_train)} needs {dimension}; "
                "use sampler='random'"
            )
        self._check_sizes()
        self._check_labels()

    @abstractmethod
    def _check_labels(self) -> None:
        """Refuse, with a ValueError, noise levels or a target that make no law of labels."""

    @abstractmethod
    def _problem(self) -> Problem:
        """Return the law of data with its test points."""

    @abstractmethod
    def _losses(self) -> Mapping[str, Loss]:
        """Return what is charged, imported and adapted, by label; one loss that makes no axis has no label."""

    def _check_components(self) -> None:
        _ = self.law
        check_sets(self.hypotheses)

    def _check_sizes(self) -> None:
        largest = max(self.n_train)
        sizes.check_draws(self.block_size, largest, max(self.law.uniforms_per_set(largest), largest))
        if self.test_points is not None:
            sizes.check_test_points(self.test_points, self.law.dim)
        for label, hypothesis in self.hypotheses.items():
            if isinstance(hypothesis, HypothesisSet):  # a user's own is called when the study runs
                sizes.check_model(f"hypotheses.{label}", hypothesis.fit(self.law), self.test_points or 0)

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
            known = self.grid.measures
            if variable not in known:
                raise ValueError(f"precision: unknown variable {variable!r}; choose from {', '.join(known)}")

    # What it is

    @cached_property
    def law(self) -> Inputs:
        """The law of inputs, imported and adapted."""
        return inputs.adapted(components.resolved(self.inputs), "inputs")

    @cached_property
    def problem(self) -> Problem:
        """The law of data with its test points."""
        return self._problem()

    @cached_property
    def grid(self) -> CellGrid:
        """The cells of the study and what is made of them."""
        return CellGrid(self.problem, self.losses_by_label, self.sets, self.n_train, self.noise, self.block_size)

    @cached_property
    def losses_by_label(self) -> Mapping[str, Loss]:
        """What is charged, imported and adapted; one loss that makes no axis has no label."""
        return self._losses()

    @cached_property
    def sets(self) -> dict[str, HypothesisSet]:
        """The hypothesis sets, imported and adapted."""
        return adapted_sets(self.hypotheses)

    # What the engine asks

    def call_user_code(self) -> None:
        """Call what users' sets say of themselves."""
        for label, hypothesis in self.sets.items():
            with asking(label):
                for loss in self.losses_by_label.values():
                    loss.best_in_class(self.problem, hypothesis, self.noise[0])
                for n in self.n_train:
                    hypothesis.tail_index(self.law, n)
                    if not hypothesis.why_unfit(self.law, n) and isinstance(self.law, Independent):
                        self._check_test_points(hypothesis, n)
                self._check_repeatable(label, hypothesis)

    def _check_repeatable(self, label: str, hypothesis: HypothesisSet) -> None:
        """Refuse a set that draws random numbers of its own, which no seed of the study repeats."""
        fit = hypothesis.fit(self.law)
        enough = [n for n in self.n_train if not hypothesis.why_unfit(self.law, n)]
        if not isinstance(fit, Predictions) or not enough:
            return
        n = min(enough)
        block = Block("random", Stream(self.seed, f"n_train={n}", 0), self.law.uniforms_per_set(n), REHEARSED)
        if not is_repeatable(self.problem, fit, max(self.noise), n, block):
            raise StudyError(
                f"hypotheses.{label}: predicts otherwise when it is fitted again to the same training sets; "
                "draw from the rng that fit_predict gets, and keep nothing of earlier fits"
            )

    def _check_test_points(self, hypothesis: HypothesisSet, n_train: int) -> None:
        """Refuse what fits could determine and the test points cannot."""
        fit = hypothesis.fit(self.law)
        if not isinstance(fit, Coefficients):
            return
        reason = self.problem.undetermined(hypothesis, fit.model, n_train)
        if reason is None:
            return
        x, size = self.problem.test.x, fit.model.size
        if np.ptp(x, axis=0).max() < 1e-10 * np.abs(x).max():
            raise StudyError(
                f"inputs: {self.inputs!r} has so little spread around {x.mean():.4g}; subtract that from x"
            )
        if len(x) < size and (size <= DEFAULT_NODES or self.law.dim > 1):
            raise StudyError(f"test_points: {reason}; ask for {size} or more")
        raise StudyError(f"{reason}; polynomials are orthonormal under {DEFAULT_NODES} nodes, so lower the degree")

    def fingerprint_values(self) -> list[float]:
        """Return some test points, and the target there."""
        some = np.linspace(0, len(self.problem.f) - 1, FINGERPRINT_POINTS).astype(int)
        x = self.problem.test.x[some].reshape(FINGERPRINT_POINTS, -1)
        return [float(len(self.problem.f)), *x[:, 0].tolist(), *self.problem.f[some].tolist()]

    def changed_values(self, stored: Sequence[float]) -> str:
        """Say whether the target or the test points have changed."""
        mine = self.fingerprint_values()
        # Not to the last bit: mathematical functions differ between CPUs.
        if len(mine) == len(stored) and np.allclose(mine, stored, rtol=1e-6, atol=1e-9):
            return ""
        points = len(mine) // 2 + 1
        what = "the target's values" if np.allclose(mine[:points], stored[:points]) else "the test points"
        return f"{what} are not those that the store was made with"

    def groups(self, stored: Collection[tuple[str, str]] = ()) -> list[Group]:
        """Arrange the cells that are not stored yet: one group per training-set size."""
        groups = []
        for n in self.n_train:
            cells = [key for key in self.grid.cells if (problem_name(n), key) not in stored]
            groups += [Group(problem_name(n), cells, size) for size, cells in self._by_record(cells).items()]
        return groups

    def _by_record(self, cells: Sequence[str]) -> dict[int, tuple[str, ...]]:
        """Sort cells by the size of their records, which those of a group have in common."""
        sizes = [self._record(key).size for key in cells]
        return {size: tuple(key for key, own in zip(cells, sizes, strict=True) if own == size) for size in sizes}

    def _record(self, cell: str) -> Record:
        return self.grid.cell(cell).loss.record(len(self.problem.f))

    @property
    def open_goal(self) -> str:
        """``precision``, if it is given."""
        return "" if self.precision is None else "precision"

    def blocks_needed(self, summary: xr.Dataset | None = None) -> dict[str, int]:
        """Return how many blocks each training-set size needs: doubled where ``precision`` is not reached yet."""
        if self.precision is None:
            assert self.replicates is not None
            return {problem_name(n): self.replicates // self.block_size for n in self.n_train}
        assert self.max_replicates is not None
        first = max(MIN_BLOCKS, -(-MIN_REPLICATES // self.block_size))
        if summary is None:
            return {problem_name(n): first for n in self.n_train}
        plan = {}
        for n in self.n_train:
            cells = summary.sel(n_train=n)
            have = int(cells.replicates.max()) // self.block_size
            # A comparison with NaN is false: cells that have no standard error do not keep a study running.
            short = any((cells[f"{name}_se"] > goal).any() for name, goal in self.precision.items())
            plan[problem_name(n)] = min(2 * have, self.max_replicates // self.block_size) if short else have
        return plan

    @cached_property
    def _sizes(self) -> dict[str, int]:
        """Training-set sizes by problem."""
        return {problem_name(n): n for n in self.n_train}

    @property
    def headline_name(self) -> str:
        """Which number of a cell is shown while the study runs."""
        return "excess risk"

    @property
    def headline_goal(self) -> float | None:
        """What ``precision`` asks of risks."""
        goals = [goal for name, goal in (self.precision or {}).items() if name in ("expected_risk", "excess_risk")]
        return min(goals, default=None)

    def headline(self, group: Group, records: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return each block's mean loss, at the highest noise where its standard error exists."""
        n_train = self._sizes[group.problem]
        parts = self._record(group.cells[0]).unpack(records)
        loss = self.grid.cell(group.cells[0]).loss
        hypotheses = [self.grid.cell(key).hypothesis for key in group.cells]
        indices = np.array([hypothesis.tail_index(self.law, n_train).noise for hypothesis in hypotheses])
        noise = [max(self.noise) if status_of(index) is Status.OK else 0.0 for index in indices]
        return loss.headline(self.problem, parts, np.array(noise))

    def simulate(self, group: Group, block: int, work: int | None = None) -> BlockRecords:
        """Simulate one block of a group's cells on common training sets."""
        n_train = self._sizes[group.problem]
        stream = Stream(self.seed, f"n_train={n_train}", block)
        draws = Block(self.sampler, stream, self.law.uniforms_per_set(n_train), work or self.block_size)
        cells = [self.grid.cell(key) for key in group.cells]
        reasons = [cell.hypothesis.why_unfit(self.law, n_train) for cell in cells]
        fitted = [cell for cell, reason in zip(cells, reasons, strict=True) if reason is None]
        outcomes = iter(simulate_block(self.problem, fitted, n_train, draws) if fitted else [])
        records = np.full((len(cells), group.record_size), np.nan)
        failures, trace = [], ""
        for row, reason in zip(records, reasons, strict=True):
            if reason is None:
                outcome = next(outcomes)
                row[:] = outcome.record
                reason, trace = outcome.failure, trace or outcome.traceback
            failures.append(reason)
        return BlockRecords(records, tuple(failures), trace)

    def record_coordinates(self, group: Group) -> dict[str, NDArray[Any]]:
        """Return what the loss keeps of a block."""
        return self._record(group.cells[0]).coordinates

    def unmet_goals(self, summary: xr.Dataset) -> list[str]:
        """Say which standard errors are above what ``precision`` asks for."""
        out = []
        for name, goal in (self.precision or {}).items():
            worst = float(summary[f"{name}_se"].max())
            if worst > goal:
                out.append(
                    f"precision not reached: the largest standard error of {name} is {worst:.2g}, not {goal:g}, "
                    f"after max_replicates={self.max_replicates}"
                )
        return out

    def layout(self) -> xr.Dataset:
        """Return the empty labelled summary."""
        return self.grid.layout()

    def summarise(self, source: BlockSource) -> xr.Dataset:
        """Turn blocks into risks and errors with standard errors."""
        return self.grid.summarise(source)
