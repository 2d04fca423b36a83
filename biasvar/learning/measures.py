"""Measures: numbers that are made of averages over training sets, as data.

What is averaged is a loss's affair; a measure is a function of the averages, with the influence that each block has on
it. One loop makes values, standard errors, paired differences and flags of all of them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from biasvar.learning.decomposition import Problem
from biasvar.montecarlo.intervals import square_variance, standard_error
from biasvar.montecarlo.linear_algebra import matmul

Array = NDArray[np.float64]
ROUNDING = 2.0**-50  # of a prediction or a target's value, relative; common to all blocks, so that they do not show it

#: What heavy tails do to a number: nothing; take its standard error or make it infinite, as they do with the mean loss;
#: take its standard error where they are those of the fits without label noise.
Spoiled = Literal["never", "with_the_loss", "with_the_signal"]

#: What a target without a second moment takes besides: nothing, the standard error, or the number.
OfTarget = Literal["nothing", "error", "value"]


class Averages(ABC):
    """The averages of one cell at one noise level, over all blocks.

    Parameters
    ----------
    problem : Problem
        The law of data.
    quadrature_error : float
        How far averages over x may be off for want of test points.
    extremes : float
        Standard error of the mean loss that blocks do not show, from the tails of the loss.
    """

    problem: Problem
    quadrature_error: float
    extremes: float

    @property
    @abstractmethod
    def blocks(self) -> int:
        """How many blocks are averaged."""

    @property
    def remark(self) -> str:
        """What is to be said of the numbers, beside what their tails forbid; nothing unless a loss has something."""
        return ""

    @property
    def second_order(self) -> float:
        """Variance of a square that is left when what is squared is zero."""
        return 0.0

    @cached_property
    def target_square(self) -> float:
        """Mean square of the target."""
        return float(matmul(self.problem.test.weights, self.problem.f**2))

    def rounding(self, square: float) -> float:
        """Return what rounding leaves in an average of squared differences from the target."""
        slip = ROUNDING * np.sqrt(self.target_square + square)
        return float(2 * np.sqrt(square) * slip + slip**2)

    def over_x(self, curve: Array) -> float:
        """Return the standard error that averaging a curve over x leaves."""
        square = abs(float(matmul(self.problem.test.weights, curve)))
        return self.test_points_error(curve) + self.rounding(square)

    def test_points_error(self, curve: Array) -> float:
        """Return the part of :meth:`over_x` that more or better test points would lower."""
        return float(np.hypot(self.problem.test.sampling_error(curve), self.quadrature_error))

    def unseen(self, influence: Array) -> float:
        """Return what the blocks' largest losses do not show, in standard errors that blocks show."""
        shown = float(standard_error(influence))
        return self.extremes / shown if shown > 0 else 0.0


@dataclass(frozen=True)
class Part:
    """What a measure is a part of, and what lowers it: of this diagnoses are made.

    Parameters
    ----------
    of : str
        The measure that it is a part of; all its parts add up to it.
    remedy : str
        What lowers it, as the subject of *would lower it*; empty if nothing does.
    floor : str
        The measure below which no fit of the same set can bring it.
    nearer : str
        What lowers it where it is mostly above that floor.
    zero : str
        The measure that is zero where fits pass through all examples.
    through : str
        What lowers it there.
    """

    of: str
    remedy: str
    floor: str = ""
    nearer: str = ""
    zero: str = ""
    through: str = ""

    def attributes(self) -> dict[str, str]:
        """Return what a summary's variable says of it."""
        said = {"part_of" if name == "of" else name: text for name, text in vars(self).items()}
        return {name: text for name, text in said.items() if text}


#: What lowers what every loss has.
LESS_SPREAD = "more examples, or a set that is poorer or held tighter,"
#: Where fits pass through all examples, a few more of these or a poorer set may lead to the peak of variance.
LESS_THROUGH = "many more examples, or a set that is held tighter,"
LESS_BIAS = "a richer set"
NEARER = "less penalty, more steps, or more examples"


@dataclass(frozen=True)
class Measure:
    """A number that every cell has, with its standard error.

    Parameters
    ----------
    name, label, short_name : str
        What it is called in code, in words, and at the head of a column.
    value : callable
        Its value, of the ``Averages`` of a cell.
    influence : callable, optional
        What each block contributes, shape (blocks,): its spread gives the standard error. None where no block shows it.
    along_x : callable, optional
        The curve whose average over x it is, shape (points,): what test points leave of an error follows from it.
    extremes : callable, optional
        Its standard error that blocks do not show, instead of that of the mean loss.
    error : callable, optional
        Its standard error, instead of what follows from ``influence`` and ``along_x``.
    unit : str
        Its unit.
    square : bool
        Whether it is quadratic in what is averaged: its standard error then has a second-order part.
    shift : callable, optional
        By which variance its interval reaches further to the right, as that of a square does.
    spoiled : {"never", "with_the_loss", "with_the_signal"}
        What heavy tails do to it.
    of_target : {"nothing", "error", "value"}
        What a target without a second moment takes of it.
    known : callable, optional
        Its value of the noise level alone, where it needs no fit: then cells that failed have it too.
    column : int
        Its place in result tables, from 1; 0 for none.
    paired : bool
        Whether differences between hypothesis sets are of interest; ``influence`` then averages to the value.
    compared_by : str
        Variable of differences by which tables tell the least of it from the rest; nothing: they do not.
    part : Part, optional
        What it is a part of, if it is one of several that add up.

    Examples
    --------
    >>> import biasvar as bv
    >>> {each.name: each.unit for each in bv.Squared().measures if each.column in (1, 2)}
    {'bias2': 'y^2', 'variance': 'y^2'}
    """

    name: str
    label: str
    short_name: str
    value: Callable[[Any], float]
    influence: Callable[[Any], Array] | None = None
    along_x: Callable[[Any], Array] | None = None
    error: Callable[[Any], float] | None = None
    unit: str = field(default="y^2", kw_only=True)
    square: bool = field(default=False, kw_only=True)
    shift: Callable[[Any], float] | None = field(default=None, kw_only=True)
    extremes: Callable[[Any], float] = field(default=lambda averages: float(averages.extremes), kw_only=True)
    spoiled: Spoiled = field(default="never", kw_only=True)
    of_target: OfTarget = field(default="nothing", kw_only=True)
    known: Callable[[float], float] | None = field(default=None, kw_only=True)
    column: int = field(default=0, kw_only=True)
    paired: bool = field(default=False, kw_only=True)
    compared_by: str = field(default="", kw_only=True)
    part: Part | None = field(default=None, kw_only=True)

    def standard_error(self, averages: Averages) -> float:
        """Return the standard error of :attr:`value`, from the spread between blocks and what test points leave."""
        if self.error is not None:
            return self.error(averages)
        spread = 0.0 if self.influence is None else self._spread(averages, self.influence(averages))
        if self.along_x is None:
            return spread + averages.rounding(abs(self.value(averages)))
        return float(np.hypot(spread, averages.over_x(self.along_x(averages))))

    def _spread(self, averages: Averages, influence: Array) -> float:
        if self.square:
            shown = float(np.sqrt(square_variance(influence, averages.second_order)))
        else:
            shown = float(standard_error(influence))
        return float(np.hypot(shown, self.extremes(averages))) if self.spoiled == "with_the_loss" else shown

    def difference(self, one: Averages, other: Averages) -> tuple[float, float]:
        """Return the difference of two cells under common random numbers, and its standard error."""
        assert self.influence is not None
        mine, others = self.influence(one), self.influence(other)
        spread = float(standard_error(mine - others))
        # Extremes may cancel or not: where they do, so does the spread, of which they are the same multiple as before.
        multiple = spread * max(one.unseen(mine), other.unseen(others))
        spread = float(np.hypot(spread, min(multiple, np.hypot(one.extremes, other.extremes))))
        along = 0.0
        if self.along_x is not None:
            along = one.problem.test.sampling_error(self.along_x(one) - self.along_x(other))
        return float((mine - others).mean()), float(np.hypot(spread, along))


@dataclass(frozen=True)
class Curve:
    """A function of x that every cell has, with its standard error.

    Parameters
    ----------
    name, label, short_name, unit, spoiled, of_target
        As for :class:`Measure`.
    value, error : callable
        Values and standard errors at the test points, shape (points,), of the ``Averages`` of a cell.
    shift_error : str
        The variable whose square is the variance by which intervals reach further to the right.

    Examples
    --------
    >>> import biasvar as bv
    >>> [curve.name for curve in bv.Squared().curves if isinstance(curve, bv.Curve)]
    ['mean_prediction', 'bias2_x', 'variance_x']
    """

    name: str
    label: str
    short_name: str
    value: Callable[[Any], Array]
    error: Callable[[Any], Array]
    shift_error: str = field(default="", kw_only=True)
    unit: str = field(default="y^2", kw_only=True)
    spoiled: Spoiled = field(default="never", kw_only=True)
    of_target: OfTarget = field(default="nothing", kw_only=True)


def evaluate(
    measures: Sequence[Measure], curves: Sequence[Curve], averages: Averages
) -> tuple[dict[str, float], dict[str, Array]]:
    """Return numbers and curves by name, with their standard errors as ``<name>_se`` and shifts as ``<name>_shift``."""
    numbers: dict[str, float] = {}
    for measure in measures:
        numbers[measure.name] = measure.value(averages)
        numbers[f"{measure.name}_se"] = measure.standard_error(averages)
        if measure.shift is not None:
            numbers[f"{measure.name}_shift"] = measure.shift(averages)
    along_x: dict[str, Array] = {}
    for curve in curves:
        along_x[curve.name], along_x[f"{curve.name}_se"] = curve.value(averages), curve.error(averages)
    return numbers, along_x
