"""Which moments of a cell's loss exist: by theory where its premises hold, else on the evidence of the largest losses.

Label noise adds noise^2 times the gain |S|^2 of a fit S y to the loss, so theory of the gain is theory of noisy losses.
Without noise a fit to |f| <= c is at most c |S|: there the index of the gain is a lower bound, and that for bounded
targets only. A lower bound never proves that a moment is missing.
"""

from dataclasses import dataclass

import numpy as np

from biasvar.learning.decomposition import Problem
from biasvar.learning.hypotheses import TailIndex
from biasvar.montecarlo.tails import LEAST_INDEX, IndexEstimate, Status, Tail, status_of

THEORY = "by theory"
TARGET = "that of the target's square, by its values far out"
_MOMENTS = {Status.INFINITE: ("mean", 1), Status.SE_UNRELIABLE: ("variance", 2)}


@dataclass(frozen=True)
class Index:
    """A tail index, its standard error, and the bounds within which all that is known puts it."""

    value: float
    se: float
    least: float
    most: float
    source: str = ""  # nothing: estimated from the largest losses

    @classmethod
    def known(cls, value: float, source: str = THEORY) -> "Index":
        """Take an index as given."""
        return cls(value, 0.0, value, value, source)

    @classmethod
    def estimated(cls, estimate: IndexEstimate) -> "Index":
        """Take an index as estimated from the largest losses."""
        return cls(estimate.value, estimate.se, estimate.least, estimate.most)

    def at_least(self, bound: float) -> "Index":
        """Put in a lower bound that theory knows."""
        if bound > 2 and bound >= self.value:
            return self.known(bound)
        return Index(max(self.value, bound), self.se, max(self.least, bound), max(self.most, bound), self.source)

    @property
    def status(self) -> Status:
        """Which moments are missing, on evidence."""
        return status_of(self.most)

    def standard_error(self, tail: Tail, replicates: int) -> float:
        """Return the standard error that no block shows, where there is one."""
        undecided = self.value <= 2 and self.status is Status.OK
        return tail.standard_error(LEAST_INDEX if undecided else self.value, replicates)


@dataclass(frozen=True)
class LossTails:
    """Tail indices of the loss without label noise, and of what the noise adds."""

    signal: Index
    noise: Index

    @property
    def decisive(self) -> Index:
        """The index that says most against the numbers: of those with fewest moments, the lower one."""
        return min(self.noise, self.signal, key=lambda index: (status_of(index.most) is Status.OK, index.value))

    @property
    def status(self) -> Status:
        """What can be said of the cell's numbers."""
        return status_of(min(self.signal.most, self.noise.most))

    def reason(self, replicates: int) -> str:
        """Say in words which moment is missing, or that so few replicates do not tell; nothing if all is well."""
        index = self.decisive
        if self.status in _MOMENTS:
            moment, bound = _MOMENTS[self.status]
            if index.source:
                found = f"{index.value:.3g} ({index.source})"
                return f"the loss has no finite {moment}: its tail index is {found}, not above {bound}"
            return (
                f"the loss seems to have no finite {moment}: its tail index is {index.value:.3g} +- {index.se:.2g} "
                f"(estimated from the largest losses), below {bound}"
            )
        if min(self.signal.least, self.noise.least) > 2:
            return ""
        index = min(self.signal, self.noise, key=lambda index: index.least)
        found = f"{index.value:.3g} +- {index.se:.2g}" if np.isfinite(index.value) else f"above {index.least:.2g}"
        why = (
            f"its tail index is {found} (estimated from the largest losses)" if index.least else "few losses stand out"
        )
        return f"{replicates} training sets are too few to tell whether the loss has a finite variance: {why}"


def has_all_moments(known: TailIndex, problem: Problem) -> bool:
    """Tell whether theory says that the loss without label noise has all moments."""
    # Fits to a smooth target are averages of interpolants, bounded by the target's derivatives.
    averages = np.isnan(known.signal) and not np.isnan(known.noise) and problem.inputs.dim == 1
    return bool(problem.smooth and np.isinf(problem.square_tail_index) and (averages or np.isinf(known.signal)))


def signal_index(known: TailIndex, problem: Problem, estimate: IndexEstimate) -> Index:
    """Return the tail index of the loss without label noise.

    Parameters
    ----------
    known : TailIndex
        What theory says of the set, for bounded targets.
    problem : Problem
        The law of data, whose target may have tails of its own.
    estimate : IndexEstimate
        What the largest losses say.
    """
    signal, gain, least = known
    target, found = problem.square_tail_index, Index.estimated(estimate)
    if np.isfinite(signal):
        return Index.known(signal)
    if target <= 1:
        return Index.known(target, TARGET)
    if has_all_moments(known, problem):
        return Index.known(np.inf)
    bounded = np.isinf(target)
    bound = target if np.isinf(signal) else gain if bounded and not np.isnan(gain) else least
    # Evidence against what theory says of bounded targets is evidence that the target is none.
    return found if found.most <= 2 < bound else found.at_least(bound)


def noise_index(known: TailIndex, estimate: IndexEstimate) -> Index:
    """Return the tail index of what unit label noise adds to the loss."""
    return Index.estimated(estimate).at_least(known.least) if np.isnan(known.noise) else Index.known(known.noise)
