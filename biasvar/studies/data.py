"""Data studies: expected risk and its split from one data set, with no law to draw from."""

from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from biasvar.errors import StudyError
from biasvar.fields import PositiveInt, PositiveReal, one_or_more
from biasvar.learning.cuts import Cuts
from biasvar.learning.examples import Examples
from biasvar.learning.fits import Fit
from biasvar.learning.hypotheses import HypothesisSet
from biasvar.learning.pair_risks import simulate, why_unfit
from biasvar.learning.record import Record
from biasvar.montecarlo.streams import Purpose, Stream
from biasvar.studies import components, datasets, repeats
from biasvar.studies.attempts import attempted
from biasvar.studies.base import BlockRecords, BlockSource, Group, problem_name
from biasvar.studies.data_summary import NAMES, PARTS, DataGrid, record_of
from biasvar.studies.labels import adapted_sets, asking, check_sets
from biasvar.studies.marks import AtLeast, AtMost, Axis, Component, Fixed, Free, Labelled
from biasvar.studies.study import Study

TESTED = 2**12  # examples, unless given
REPLICATES = 2**11  # the same


class DataStudy(Study[xr.Dataset]):
    """Ask how well hypothesis sets learn from ``n_train`` examples of a law of which there is one data set only.

    Each replicate cuts the data at random into disjoint training sets and a rest to test on. With g1 and g2 fitted to a
    pair of those,

        [(y - g1)^2 + (y - g2)^2] / 2 = (y - g1)(y - g2) + (g1 - g2)^2 / 2
        expected_risk                 = bias2_plus_noise + variance,

    each without bias for the law's value. Squared bias and noise cannot be told apart: that takes several labels at one
    input, or the law.

    Every number has two standard errors. ``<name>_se`` is that of the random cuts, which more replicates shrink;
    ``<name>_se_data`` is how far the number may be from the law's, as another data set of this size would show: the
    variance over data sets, told without bias by risks on disjoint halves of the data, and that of the cuts. It takes
    2 (2 n_train + 1) examples, else it is NaN and ``se_data_reason`` says so.

    Parameters
    ----------
    name : str
        Name of the study: letters, digits, ``.``, ``-`` and ``_``.
    data : (array, array), DataFrame, Dataset, str or path
        Inputs (N,) or (N, columns) and labels (N,); a pandas DataFrame or an xarray Dataset; the path of a CSV, Parquet
        or Zarr file; or a name: ``"breast_cancer"``, and of scikit-learn's ``"diabetes"``, ``"digits"``, ``"iris"`` and
        ``"wine"``. Its rows are taken for independent draws of one law.
    label : str, optional
        The label's column, where there are columns.
    columns : sequence of str, optional
        The columns that are inputs; all others unless given.
    hypotheses : dict of str to hypothesis set
        What is fitted, by label: all sets of :class:`RiskStudy`, and any estimator of scikit-learn.
    n_train : sequence of int
        Training-set sizes, at most half of the data.
    loss : {"squared", "zero_one"}
        Squared loss of numbers, or the share of wrong votes; there the parts are those of Kohavi and Wolpert.
    stratified : bool
        Whether each training set has the classes in the shares that they have in the data.
    test_examples : int, optional
        How many examples that train nothing in a replicate are tested on: all, but no more than 4096, unless given.
    replicates : int, optional
        Random cuts: a multiple of ``block_size``, at least 256 and 16 blocks; 2048 unless ``precision`` is given.
    block_size : int
        Cuts in a block, the unit of standard errors.
    precision : dict of str to float, optional
        The largest standard errors of the cuts that are wanted, by variable, such as ``{"expected_risk": 0.01}``: cuts
        are added until all cells are below.
    max_replicates : int, optional
        Where ``precision`` gives up; 2**24 unless given.
    seed : int
        Seed of everything random in the study.
    description : str
        A line about the study for people.

    Raises
    ------
    StudyError
        If a field is wrong, or the data have values that are missing or are no numbers: then it names the column.

    References
    ----------
    R. Kohavi and D. Wolpert, Bias plus variance decomposition for zero-one loss functions, 1996.
    Q. Wang and B. Lindsay, Variance estimation of a general U-statistic with application to cross-validation, 2014.

    Examples
    --------
    The mean of n labels has variance S^2 / n, and what it leaves is S^2.

    >>> import biasvar as bv, numpy as np
    >>> labels = np.arange(40.0)
    >>> study = bv.DataStudy(
    ...     name="mean", data=(np.zeros(40), labels), hypotheses={"mean": bv.Polynomial(0)}, n_train=5, replicates=1024
    ... )
    >>> found = bv.lazy(study).compute().squeeze()
    >>> bool(abs(found.variance - labels.var(ddof=1) / 5) < 4 * found.variance_se)
    True
    """

    kind: ClassVar[str] = "data"
    instead_of: ClassVar[Mapping[str, tuple[str, ...]]] = repeats.INSTEAD_OF

    data: Annotated[Any, Fixed(written_as="_identity")]
    label: Annotated[str | None, Free()] = None
    columns: Annotated[tuple[str, ...] | None, BeforeValidator(lambda v: v if v is None else tuple(v)), Free()] = None
    hypotheses: Annotated[dict[str, Any], Labelled(Component(components.HYPOTHESES))]
    n_train: Annotated[tuple[PositiveInt, ...], BeforeValidator(one_or_more), Field(min_length=1), Axis()]
    loss: Annotated[Literal["squared", "zero_one"], Fixed()] = "squared"
    stratified: Annotated[bool, Fixed()] = False
    test_examples: Annotated[PositiveInt, Fixed()] = TESTED
    replicates: Annotated[PositiveInt | None, AtLeast()] = None
    block_size: Annotated[PositiveInt, Fixed()] = 2**6
    precision: Annotated[dict[str, PositiveReal] | None, AtMost()] = None
    max_replicates: Annotated[PositiveInt | None, AtLeast()] = None

    def _completed(self, fields: Mapping[str, object]) -> Mapping[str, Any]:
        given = repeats.completed(fields, REPLICATES)
        if given.get("data") is None:
            return given
        return {**given, "data": datasets.read(given["data"], given.get("label"), given.get("columns"))}

    def _fit_together(self) -> None:
        if len(set(self.n_train)) < len(self.n_train):
            raise ValueError(f"n_train: {list(self.n_train)} has a value twice; list each once")
        check_sets(self.hypotheses)
        if self.stratified and self.loss != "zero_one":
            raise ValueError("stratified: goes with loss='zero_one', for numbers have no classes")
        repeats.check(self, lambda: NAMES)
        _ = self.cuts

    # What it is

    @property
    def _identity(self) -> dict[str, Any]:
        identity: dict[str, Any] = self.data.identity()
        return identity

    def supplement(self) -> dict[str, Any]:
        """Return what it takes to make the study again, with the place that the data were read from."""
        return super().supplement() | {"source": self.data.source}

    @cached_property
    def examples(self) -> Examples:
        """The data as numbers."""
        found: Examples = self.data.votes() if self.loss == "zero_one" else self.data.numbers()
        return found

    @cached_property
    def cuts(self) -> dict[str, Cuts]:
        """How the data are cut, by problem."""
        return {problem_name(n): Cuts.of(self.examples, n, self.stratified, self.test_examples) for n in self.n_train}

    @cached_property
    def sets(self) -> dict[str, HypothesisSet]:
        """The hypothesis sets, imported and adapted."""
        return adapted_sets(self.hypotheses)

    @cached_property
    def fits(self) -> dict[str, Fit]:
        """How each set is fitted."""
        return {label: hypothesis.fit(self.examples.inputs) for label, hypothesis in self.sets.items()}

    @cached_property
    def grid(self) -> DataGrid:
        """The cells of the study and what is made of them."""
        return DataGrid(self.examples, self.cuts, tuple(self.hypotheses), self.n_train, self.loss, self.block_size)

    # What the engine asks

    def call_user_code(self) -> None:
        """Ask users' sets what they say of themselves, and refuse those that cannot have such labels."""
        for label, hypothesis in self.sets.items():
            with asking(label):
                reason = why_unfit(self.examples, hypothesis, self.fits[label], self.loss)
                for n in self.n_train:
                    hypothesis.why_unfit(self.examples.inputs, n)
            if reason:
                raise StudyError(f"hypotheses.{label}: {reason}")

    def groups(self, stored: Collection[tuple[str, str]] = ()) -> list[Group]:
        """Arrange the cells that are not stored yet: one group per training-set size."""
        groups = []
        for problem, cuts in self.cuts.items():
            cells = tuple(label for label in self.hypotheses if (problem, label) not in stored)
            if cells:
                groups.append(Group(problem, cells, record_of(cuts, self.block_size).size))
        return groups

    def blocks_needed(self, summary: xr.Dataset | None = None) -> dict[str, int]:
        """Return how many blocks each training-set size needs: doubled where ``precision`` is not reached yet."""
        return repeats.blocks_needed(self, summary)

    @property
    def open_goal(self) -> str:
        """``precision``, if it is given."""
        return "" if self.precision is None else "precision"

    def unmet_goals(self, summary: xr.Dataset) -> list[str]:
        """Say which standard errors are above what ``precision`` asks for."""
        return repeats.unmet_goals(self, summary)

    def record_coordinates(self, group: Group) -> dict[str, NDArray[Any]]:
        """Return the numbers of each replicate."""
        return self._record(group).coordinates

    def _record(self, group: Group) -> Record:
        return record_of(self.cuts[group.problem], self.block_size)

    @property
    def headline_name(self) -> str:
        """Which number of a cell is shown while the study runs."""
        return "expected risk"

    @property
    def headline_goal(self) -> float | None:
        """What ``precision`` asks of it."""
        return (self.precision or {}).get("expected_risk")

    def headline(self, group: Group, records: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return each block's mean expected risk."""
        parts = self._record(group).unpack(records)
        mean: NDArray[np.float64] = (parts["bias2_plus_noise"] + parts["variance"]).mean(axis=-1)
        return mean

    def simulate(self, group: Group, block: int, work: int | None = None) -> BlockRecords:
        """Fit a group's cells to the pairs of one block of cuts."""
        cuts, size = self.cuts[group.problem], work or self.block_size
        stream = Stream(self.seed, group.problem, block)
        cut = cuts.draw(stream.generator(Purpose.INPUTS), size)
        record = record_of(cuts, size)

        def one(label: str) -> NDArray[np.float64] | str:
            hypothesis = self.sets[label]
            if reason := hypothesis.why_unfit(self.examples.inputs, cuts.n_train):
                return reason
            # The same random numbers for all sets that draw some.
            generator = stream.generator(Purpose.ESTIMATOR)
            found = simulate(self.examples, hypothesis, self.fits[label], self.loss, cuts, cut, generator)
            values = dict(zip(PARTS, found.mean, strict=True))
            pairs = {f"{name} of pairs": each.ravel() for name, each in zip(PARTS, found.halves, strict=True)}
            return record.pack(**values, **pairs)

        return attempted(group, record.size, one)

    # What comes of it

    def layout(self) -> xr.Dataset:
        """Return the empty labelled summary."""
        return self.grid.layout()

    def summarise(self, source: BlockSource) -> xr.Dataset:
        """Turn blocks into risks with both standard errors."""
        return self.grid.summarise(source)
