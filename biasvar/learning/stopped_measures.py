"""What fits by a stopped update rule come to: their risk, and the optimization error beside the minimiser's.

    E(g_k) - E(f) = approximation_error + estimation_error + optimization_error,

with the optimization error E(g_k) - E(g_n) over the minimiser of empirical risk on the same training sets. It is
negative where stopping regularises. What optimizers see is the empirical one, E_n(g_k) - E_n(g_n) >= 0.

References
----------
L. Bottou and O. Bousquet, The tradeoffs of large scale learning, 2008.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from biasvar.learning.decomposition import Problem
from biasvar.learning.hypotheses.base import HAS_MEAN, TailIndex
from biasvar.learning.loss_tails import LossTails, signal_index
from biasvar.learning.losses import squared_measures
from biasvar.learning.losses.squared import Squared
from biasvar.learning.losses.squared_measures import SquaredAverages, SquaredReduction, SquaredSeries
from biasvar.learning.measures import LESS_BIAS, LESS_SPREAD, Measure, Part
from biasvar.learning.reduction import Collected
from biasvar.learning.stopped import record_of
from biasvar.montecarlo.intervals import standard_error
from biasvar.montecarlo.moments import Average

Array = NDArray[np.float64]
OF_SQUARED = {measure.name: measure for measure in squared_measures.MEASURES}
OPTIMIZATION = "optimization_error"
OF_STOPPED = ("excess", "excess_gain", "grown", "diverged")  # of a record


@dataclass(frozen=True, kw_only=True)
class StoppedSeries(SquaredSeries):
    """One cell of stopped fits; NaN but for ``diverged`` where any fit diverged."""

    training_excess: Array  # (blocks,): of labels without noise, or with what is simulated
    training_excess_gain: Array  # (blocks,): what unit noise adds
    grown: Array  # (blocks,): share of fits whose training error became much larger than that of zero
    diverged: Array  # (blocks,): share of fits


class StoppedReduction(SquaredReduction):
    """Reduce each block to what squared loss needs, the empirical excess and how many fits grew and diverged."""

    #: What is left of a way to the minimum spans powers of ten however short it is: that is no tail of the loss.
    smallest: ClassVar[float] = 1e-9

    def __init__(self, problem: Problem, average: Average, block_size: int) -> None:
        super().__init__(problem, record_of(len(problem.f)), average, block_size)

    def collect(self, rows: Array, first: int) -> Collected:
        """Collect what squared loss needs of some blocks, and what is of stopped fits only."""
        found, parts = super().collect(rows, first), self.record.unpack(rows)
        return Collected(found.sums, {**found.series, **{name: parts[name].copy() for name in OF_STOPPED}}, found.tops)

    def finish(self, found: Collected) -> StoppedSeries:
        """Return what was collected of all blocks as series."""
        common = {name: values for name, values in found.series.items() if name not in OF_STOPPED}
        excess, gain, grown, diverged = (found.series[name] for name in OF_STOPPED)
        return StoppedSeries(
            **vars(super().finish(Collected(found.sums, common, found.tops))),
            training_excess=excess,
            training_excess_gain=gain,
            grown=grown,
            diverged=diverged,
        )


def stopped_tails(problem: Problem, known: TailIndex, series: StoppedSeries, noisy: bool) -> LossTails:
    """Return the tail indices of stopped fits.

    Where no training error grew, what steps of bounded rates have made is no larger than what they would end at, and
    after so many of them bounded by the labels: the mean exists, and tails are no heavier than those of the minimiser.

    Parameters
    ----------
    problem : Problem
        The law of data.
    known : TailIndex
        What theory knows of the minimiser.
    series : StoppedSeries
        The cell's blocks.
    noisy : bool
        Whether label noise adds to the loss in ``series``.
    """
    found = Squared().tails(problem, TailIndex(), series, noisy)
    if series.grown.any() or problem.square_tail_index <= 1:
        return found
    signal = signal_index(known, problem, series.loss_tail.index)
    noise = found.noise if np.isnan(known.noise) else found.noise.at_least(known.noise)
    return LossTails(signal.at_least(HAS_MEAN.least), noise.at_least(HAS_MEAN.least))


@dataclass(frozen=True)
class StoppedAverages(SquaredAverages):
    """One cell of stopped fits at one noise level, beside the minimisers of empirical risk on the same sets."""

    series: StoppedSeries
    minimiser: SquaredAverages | None = None

    @property
    def training_excess(self) -> Array:
        """Empirical risk over that of the minimiser, of each block."""
        return self.series.training_excess + self.irreducible * self.series.training_excess_gain

    def over_minimiser(self) -> tuple[float, float]:
        """Return by how much the risk is above the minimiser's, and the paired standard error; NaN if that failed."""
        if self.minimiser is None:
            return np.nan, np.nan
        return OF_SQUARED["excess_risk"].difference(self, self.minimiser)


def _of_squared(name: str, **changes: object) -> Measure:
    """Return a measure of squared loss with its place in tables of stopped fits."""
    return Measure(**{**vars(OF_SQUARED[name]), "column": 0, **changes})


MEASURES: tuple[Measure, ...] = (
    _of_squared("excess_risk", label="excess risk: approximation + estimation + optimization error", column=1),
    _of_squared("bias2", part=None),
    _of_squared("variance", part=None),
    Measure(
        OPTIMIZATION,
        "optimization error: risk over that of the minimiser of empirical risk; negative where stopping helps",
        "optimization",
        value=lambda a: a.over_minimiser()[0],
        error=lambda a: a.over_minimiser()[1],
        spoiled="with_the_loss",
        column=2,
        of_target="value",
        part=Part("excess_risk", "more steps, or a learning rate that needs fewer,"),
    ),
    _of_squared("empirical_risk", spoiled="with_the_loss", column=3),
    Measure(
        "empirical_optimization_error",
        "empirical optimization error: empirical risk over its least",
        "empirical optimization",
        value=lambda a: float(a.training_excess.mean()),
        influence=lambda a: a.training_excess,
        spoiled="with_the_loss",
        column=4,
        of_target="value",
    ),
    Measure(
        "diverged_share",
        "share of training sets on which the descent diverged",
        "diverged",
        value=lambda a: float(a.series.diverged.mean()),
        error=lambda a: float(standard_error(a.series.diverged)),
        unit="1",
    ),
)

MINIMISER_MEASURES: tuple[Measure, ...] = (
    _of_squared("approximation_error", column=1, part=Part("excess_risk", LESS_BIAS)),
    _of_squared("estimation_error", column=2, part=Part("excess_risk", LESS_SPREAD)),
    _of_squared("excess_risk", label="excess risk of the minimiser of empirical risk", column=3),
    _of_squared("empirical_risk", label="least empirical risk", column=4),
)
