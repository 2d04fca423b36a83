"""From the records of all blocks of one cell to risks and errors with standard errors. Arrays only.

Averages come first and the nonlinear step last. Whoever reads the blocks averages their records in a first pass; in a
second each block is reduced to a few numbers: its loss, gain and training error, and how far its mean prediction lies
from the average one. All standard errors follow from those, so memory does not grow with the number of replicates but
for these few.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from biasvar.learning.decomposition import Problem
from biasvar.learning.losses import Record, Squared
from biasvar.montecarlo.intervals import (
    MAX_PAIRED_BLOCKS,
    second_order_variance,
    square_influence,
    square_lean,
    square_variance,
    standard_error,
    unbiased_square,
)
from biasvar.montecarlo.moments import RunningMean, add_in_order
from biasvar.montecarlo.tails import Tail

NEGLIGIBLE = 1e-20  # of a squared error, relative to the target's square
ROUNDING = 2.0**-50  # of a prediction or a target's value, relative; common to all blocks, so that they do not show it
Blocks = Iterable[NDArray[np.float64]]  # chunks (cells, blocks, statistics) in index order


@dataclass(frozen=True)
class Series:
    """One cell, noise level not yet chosen: curves along x and a number a block."""

    mean: NDArray[np.float64]  # (points,): average prediction
    loss_x: NDArray[np.float64]  # (points,): E (m - f)^2
    gain_x: NDArray[np.float64]  # (points,): E sum_i S_i^2
    spread_x: NDArray[np.float64]  # (3, points): sums over blocks for the errors along x
    loss: NDArray[np.float64]  # (blocks,)
    gain: NDArray[np.float64]  # (blocks,)
    training: NDArray[np.float64]  # (blocks,)
    training_gain: NDArray[np.float64]  # (blocks,)
    products: NDArray[np.float64]  # (blocks,): <E m - f, d_b>
    deviations: NDArray[np.float64]  # (blocks,): |d_b|^2
    deviation_x: NDArray[np.float64]  # (points,): sum_b d_b(x)^2
    second_order: float  # variance of |E m - f|^2 were the bias zero
    loss_tail: Tail
    gain_tail: Tail

    @property
    def blocks(self) -> int:
        """Number of blocks behind the numbers."""
        return len(self.loss)


def reduce_blocks(problem: Problem, averages: Sequence[RunningMean], chunks: Blocks, block_size: int) -> list[Series]:
    """Reduce the blocks of a group of cells, whose averages are known, to one :class:`Series` a cell."""
    layout = Squared().record(len(problem.f))
    passes = [_SecondPass(problem, layout, state) for state in averages]
    for chunk in chunks:
        for second, rows in zip(passes, chunk, strict=True):
            second.add(rows)
    return [second.finish(block_size) for second in passes]


class _SecondPass:
    """Collect what depends on the overall average."""

    def __init__(self, problem: Problem, layout: Record, average: RunningMean) -> None:
        self.problem, self.layout, self.blocks = problem, layout, average.count
        self.average = layout.unpack(average.mean)
        self.bias = self.average["mean"] - problem.f
        self.loss_x = np.zeros_like(self.bias)
        self.sums = np.zeros((3, len(self.bias)))
        self.deviation_x = np.zeros_like(self.bias)
        self.series: dict[str, list[NDArray[np.float64]]] = {}
        self.head: list[NDArray[np.float64]] = []

    def add(self, rows: NDArray[np.float64]) -> None:
        weights, average = self.problem.test.weights, self.average
        parts = self.layout.unpack(rows)
        deviation = parts["mean"] - average["mean"]
        loss_x = (parts["mean"] - self.problem.f) ** 2 + parts["variance"]
        # (m - f)^2 less what the square of the overall bias has of each block: the block's influence on the variance.
        influence = loss_x - (self.bias**2 + average["variance"]) - 2 * self.bias * deviation
        gain = parts["noise_gain"] - average["noise_gain"]
        self.loss_x = add_in_order(self.loss_x, loss_x / self.blocks)
        self.deviation_x = add_in_order(self.deviation_x, deviation**2)
        products = np.stack([influence**2, influence * gain, gain**2], axis=1)
        self.sums = add_in_order(self.sums, products)
        if sum(len(part) for part in self.head) < MAX_PAIRED_BLOCKS:
            self.head.append(parts["mean"].copy())
        for name, values in {
            "loss": (loss_x * weights).sum(axis=1),
            "gain": (parts["noise_gain"] * weights).sum(axis=1),
            "training": parts["training_error"],
            "training_gain": parts["training_noise_gain"],
            "products": (deviation * (weights * self.bias)).sum(axis=1),
            "deviations": (deviation**2 * weights).sum(axis=1),
            "largest_loss": parts["largest_loss"],
            "largest_gain": parts["largest_noise_gain"],
        }.items():
            self.series.setdefault(name, []).append(values.copy())

    def finish(self, block_size: int) -> Series:
        series = {name: np.concatenate(parts) for name, parts in self.series.items()}
        head = np.concatenate(self.head)[:MAX_PAIRED_BLOCKS]
        scaled = (head - head.mean(axis=0)) * np.sqrt(self.problem.test.weights)
        # Of a loss that is zero but for rounding, the tail is that of rounding errors.
        negligible = NEGLIGIBLE * float(self.problem.test.weights @ self.problem.f**2)
        largest_loss, largest_gain = series.pop("largest_loss"), series.pop("largest_gain")
        return Series(
            mean=self.average["mean"],
            loss_x=self.loss_x,
            gain_x=self.average["noise_gain"],
            spread_x=self.sums,
            deviation_x=self.deviation_x,
            second_order=second_order_variance(scaled, self.blocks),
            loss_tail=Tail.of(np.where(largest_loss > negligible, largest_loss, 0.0), block_size),
            gain_tail=Tail.of(largest_gain, block_size),
            **series,
        )


@dataclass(frozen=True)
class Estimates:
    """Everything about one cell at one noise level: values and standard errors by name, and curves along x."""

    values: dict[str, float]
    errors: dict[str, float]
    curves: dict[str, NDArray[np.float64]]
    excess: NDArray[np.float64]  # (blocks,): for paired differences
    excess_x: NDArray[np.float64]  # (points,)
    bias2_lean: float  # see montecarlo.intervals.square_lean
    extremes: float  # least standard error of the excess risk, from the tails of the loss
    quadrature_error: float  # part of the standard error of the excess risk that the test points leave


def estimate(
    problem: Problem,
    series: Series,
    noise: float,
    best: tuple[NDArray[np.float64], float, float] | None,
    quadrature_error: float,
    extremes: float,
) -> Estimates:
    """Decompose the expected risk of one cell at one noise level.

    Parameters
    ----------
    problem : Problem
        The law of data.
    series : Series
        The cell's blocks.
    noise : float
        Standard deviation of the label noise; where it was simulated, the level at which it was.
    best : tuple or None
        What :func:`~biasvar.learning.decomposition.best_in_class` returned.
    quadrature_error : float
        How far averages over x may be off for want of test points.
    extremes : float
        The least standard error of the excess risk, from the tails of the loss.
    """
    blocks, irreducible = series.blocks, noise**2
    excess = series.loss + irreducible * series.gain
    training = series.training + irreducible * series.training_gain
    bias = series.mean - problem.f
    bias2 = unbiased_square(float(problem.test.weights @ bias**2), series.deviations)
    influence = square_influence(series.products, series.deviations)
    variance_influence = (excess - excess.mean()) - influence
    mean_error2 = series.deviation_x / (blocks * (blocks - 1))
    bias2_x = bias**2 - mean_error2
    excess_x = series.loss_x + irreducible * series.gain_x
    variance_x = excess_x - bias2_x
    one, two, three = series.spread_x
    spread2 = (one + 2 * irreducible * two + irreducible**2 * three) / (blocks * (blocks - 1))

    target_square = float(problem.test.weights @ problem.f**2)

    def over_x(curve: NDArray[np.float64]) -> float:
        square = abs(float(problem.test.weights @ curve))
        return float(np.hypot(sampled_x_error(problem, curve), quadrature_error) + _rounding(square, target_square))

    spread = max(float(standard_error(excess)), extremes)
    variance_spread = max(np.sqrt(square_variance(variance_influence, series.second_order)), extremes)
    gap_spread = max(float(standard_error(excess - training)), extremes)
    values = {
        "irreducible_risk": irreducible,
        "bias2": bias2,
        "variance": float(excess.mean()) - bias2,
        "excess_risk": float(excess.mean()),
        "expected_risk": irreducible + float(excess.mean()),
        "empirical_risk": float(training.mean()),
        "generalization_gap": irreducible + float((excess - training).mean()),
    }
    excess_error = float(np.hypot(spread, over_x(excess_x)))
    errors = {
        "irreducible_risk": 0.0,
        "bias2": float(np.hypot(np.sqrt(square_variance(influence, series.second_order)), over_x(bias2_x))),
        "variance": float(np.hypot(variance_spread, over_x(variance_x))),
        "excess_risk": excess_error,
        "expected_risk": excess_error,
        "empirical_risk": float(standard_error(training)) + _rounding(float(training.mean()), target_square),
        "generalization_gap": float(np.hypot(gap_spread, over_x(excess_x))),
    }
    if best is not None:
        best_x, approximation, approximation_error = best
        best_risk_x = (best_x - problem.f) ** 2
        values["approximation_error"] = approximation
        values["best_in_class_risk"] = irreducible + approximation
        values["estimation_error"] = values["excess_risk"] - approximation
        rounding = _rounding(abs(approximation), target_square)
        errors["approximation_error"] = float(np.hypot(approximation_error, quadrature_error)) + rounding
        errors["best_in_class_risk"] = errors["approximation_error"]
        errors["estimation_error"] = float(np.hypot(spread, over_x(excess_x - best_risk_x)))
    curves = {
        "mean_prediction": series.mean,
        "mean_prediction_se": np.sqrt(mean_error2),
        "bias2_x": bias2_x,
        "bias2_x_se": np.sqrt(np.maximum(4 * bias**2 * mean_error2 - 2 * mean_error2**2, 2 * mean_error2**2)),
        "variance_x": variance_x,
        # Along x, extremes are taken to add in the same proportion.
        "variance_x_se": np.sqrt(np.maximum(spread2, 0) + 2 * mean_error2**2) * _inflation(excess, extremes),
    }
    lean = square_lean(series.deviations, series.second_order)
    left = float(np.hypot(sampled_x_error(problem, excess_x), quadrature_error))
    return Estimates(values, errors, curves, excess, excess_x, lean, extremes, left)


def _rounding(square: float, target_square: float) -> float:
    """Return what rounding leaves in an average of squared differences from the target."""
    slip = ROUNDING * np.sqrt(target_square + square)
    return float(2 * np.sqrt(square) * slip + slip**2)


def sampled_x_error(problem: Problem, curve: NDArray[np.float64]) -> float:
    """Return the standard error that sampled test points leave in an average of ``curve`` over x; 0 for quadrature."""
    count = problem.test.replicates
    if count == 1:
        return 0.0
    means = curve.reshape(count, -1).mean(axis=1)
    return float(means.std(ddof=1) / np.sqrt(count))


def paired_difference(problem: Problem, one: Estimates, other: Estimates) -> tuple[float, float]:
    """Return the difference of two excess risks under common random numbers, and its standard error."""
    difference = one.excess - other.excess
    spread = float(standard_error(difference))
    # Extremes may cancel or not: where they do, so does the spread, of which they are the same multiple as before.
    multiple = spread * max(_inflation(each.excess, each.extremes) for each in (one, other))
    spread = max(spread, min(multiple, float(np.hypot(one.extremes, other.extremes))))
    return float(difference.mean()), float(np.hypot(spread, sampled_x_error(problem, one.excess_x - other.excess_x)))


def _inflation(excess: NDArray[np.float64], extremes: float) -> float:
    """Return by what factor the tails of the loss widen the standard error that blocks show."""
    shown = float(standard_error(excess))
    return max(1.0, extremes / shown) if shown > 0 else 1.0
