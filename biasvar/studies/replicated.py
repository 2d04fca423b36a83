"""What studies of hypothesis sets that are fitted to random training sets have in common: cells, and their records."""

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from biasvar.errors import StudyError
from biasvar.learning.fits import Coefficients, Predictions
from biasvar.learning.hypotheses import HypothesisSet
from biasvar.learning.inputs import DEFAULT_NODES, Independent
from biasvar.learning.losses import Loss
from biasvar.learning.record import Record
from biasvar.learning.simulation import is_repeatable, simulate_block
from biasvar.montecarlo.draws import Block, Stream
from biasvar.montecarlo.tails import Status, status_of
from biasvar.studies import components, sizes
from biasvar.studies.base import BlockRecords, BlockSource, Group, Reducer, problem_name
from biasvar.studies.cell_summary import CellGrid
from biasvar.studies.drawn import DrawnStudy
from biasvar.studies.labels import adapted_sets, asking, check_sets
from biasvar.studies.marks import Component, Labelled

REHEARSED = 2  # training sets that a set is fitted to twice, to see whether it repeats itself


class ReplicatedStudy(DrawnStudy[xr.Dataset]):
    """A study of hypothesis sets that are fitted to many random training sets.

    A kind of study adds the law of data and what is charged.
    """

    hypotheses: Annotated[dict[str, Any], Labelled(Component(components.HYPOTHESES))]

    @abstractmethod
    def _losses(self) -> Mapping[str, Loss]:
        """Return what is charged, imported and adapted, by label; one loss that makes no axis has no label."""

    def _precise(self) -> Collection[str]:
        return self.grid.measures

    def _check_components(self) -> None:
        super()._check_components()
        check_sets(self.hypotheses)

    def _check_sizes(self) -> None:
        super()._check_sizes()
        for label, hypothesis in self.hypotheses.items():
            if isinstance(hypothesis, HypothesisSet):  # a user's own is called when the study runs
                sizes.check_model(f"hypotheses.{label}", hypothesis.fit(self.law), self.test_points or 0)

    # What it is

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
        parts = self._record(group.cells[0]).unpack(records)
        loss = self.grid.cell(group.cells[0]).loss
        return loss.headline(self.problem, parts, np.array(self._headline_noise(group)))

    def _headline_noise(self, group: Group) -> list[float]:
        """Return the highest noise level at which each cell has a standard error, where its records are of all."""
        hypotheses = [self.grid.cell(key).hypothesis for key in group.cells]
        indices = [hypothesis.tail_index(self.law, self._sizes[group.problem]).noise for hypothesis in hypotheses]
        return [max(self.noise) if status_of(index) is Status.OK else 0.0 for index in indices]

    def headline_cells(self, group: Group) -> Sequence[str]:
        """Return what cells are called beside that number: with the noise level, where the study has several."""
        if len(self.noise) == 1:
            return group.cells
        each = zip(group.cells, self._headline_noise(group), strict=True)
        return [
            f"{key} \N{GREEK SMALL LETTER SIGMA}={noise:g}" if self.grid.cell(key).noise is None else key
            for key, noise in each
        ]

    def simulate(self, group: Group, block: int, work: int | None = None) -> BlockRecords:
        """Simulate one block of a group's cells on common training sets."""
        n_train = self._sizes[group.problem]
        draws = self._draws(group, block, work or self.block_size)
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

    def layout(self) -> xr.Dataset:
        """Return the empty labelled summary."""
        return self.grid.layout()

    def reducer(self, group: Group, known: object = None) -> Reducer:
        """Return one of the two passes over a group's blocks."""
        return self.grid.passes(group).reducer(known)

    def summarise(self, source: BlockSource) -> xr.Dataset:
        """Turn blocks into risks and errors with standard errors."""
        return self.grid.summarise(source)
