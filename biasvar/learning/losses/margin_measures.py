"""What losses of scores come to: Bayes risk, bias and variance around a centre, of averaged records.

Averages over training sets are noisy by block, and bias is what a nonlinear function makes of them: its standard error
is that of the jackknife, each block left out in turn. For 0-1 loss that function is a step: an indicator on test points
would not see how far the vote's border moves, and its standard error would be zero where it is most wrong. In one
dimension the border is therefore interpolated, and risk integrated up to it.

References
----------
R. Kohavi and D. Wolpert, Bias plus variance decomposition for zero-one loss functions, 1996.
G. James, Variance and bias for general loss functions, 2003.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from biasvar.learning.classes import FINER_NODES, TwoClassProblem
from biasvar.learning.decomposition import Best
from biasvar.learning.labels import TwoClasses
from biasvar.learning.losses.simulated import RISK_X, LossAverages
from biasvar.learning.measures import Curve, Measure
from biasvar.learning.record import Record
from biasvar.learning.reduction import Reduction, Series
from biasvar.montecarlo.intervals import MAX_PAIRED_BLOCKS, jackknife, second_order_variance, square_shift
from biasvar.montecarlo.moments import RunningMean, add_in_order
from biasvar.montecarlo.tails import Tail

Array = NDArray[np.float64]
ROUNDING = 1e-13  # of a risk, by which rules with more and fewer nodes may differ
OUTSKIRTS = 1e-4  # probability on either side within which borders are not counted
UNDECIDED = 0.1  # of the excess risk
UNTOLD = "so few training sets do not tell which class their majority votes for: bias and variance have no value"
BY_BORDERS = 4.0  # standard errors of that share, by which a border may move
SURE = 2.0  # standard errors of a vote's share


class Charges(Protocol):
    """What a centre asks of its loss."""

    @property
    def growth(self) -> float:
        """Return with which power it grows with the score."""

    def averaged(self, scores: Array) -> Array:
        """Return what of scores is averaged."""

    def at_centre(self, p: Array, centre: Array) -> Array:
        """Return the loss of an average where P(y = +1) is p."""

    def bend(self, p: Array, centre: Array) -> Array:
        """Return its second derivative along the average."""

    def bayes(self, p: Array) -> Array:
        """Return the least loss."""

    def excess_bound(self, excess: float) -> float:
        """Return what an excess risk bounds the excess 0-1 risk by."""


@dataclass(frozen=True)
class Centre:
    """Averages of scores over training sets, on a law with known class probabilities.

    Parameters
    ----------
    problem : TwoClassProblem
        The law.
    noise : float
        Probability that a label is flipped.
    loss : MarginLoss
        What is charged.
    """

    problem: TwoClassProblem
    noise: float
    loss: Charges

    @cached_property
    def p(self) -> Array:
        """P(y = +1) at the test points."""
        return self.problem.probability(self.noise)

    @property
    def weights(self) -> Array:
        """Probabilities of the test points."""
        return self.problem.test.weights

    @cached_property
    def bayes_x(self) -> Array:
        """Least loss at x."""
        return self.loss.bayes(self.p)

    @cached_property
    def bayes(self) -> float:
        """Bayes risk."""
        return float(self.weights @ self.bayes_x)

    def risk(self, centres: Array) -> Array:
        """Return the risks of centres (rows, points)."""
        return np.asarray((self.loss.at_centre(self.p, centres) * self.weights).sum(axis=1))

    def excess_of(self, scores: Array) -> float:
        """Return the excess risk of one score, known at the test points."""
        return float(self.risk(self.loss.averaged(scores)[None])[0]) - self.bayes

    def rule_error(self, centre: Array) -> float:
        """Return how far off the risk of a centre is where the loss bends between test points, in one dimension."""
        if self.problem.panels is None:
            return 0.0
        p = TwoClasses.flipped(self.problem.finer_f, self.noise)
        finer = self.loss.at_centre(p, self.problem.panels.refined(centre, FINER_NODES))
        here, there = self.weights @ self.loss.at_centre(self.p, centre), self.problem.finer.weights @ finer
        error = abs(float(here - there))
        return error if error > ROUNDING * abs(there) else 0.0

    def numbers(self, centres: Array) -> dict[str, Array]:
        """Return what else is a nonlinear function of centres (rows, points), a number per row."""
        return {}

    def scaled(self, deviations: Array, centre: Array) -> Array:
        """Scale deviations (rows, points) from a centre so that their squares add up to what they add to its risk."""
        return deviations * np.sqrt(np.maximum(self.weights * self.loss.bend(self.p, centre) / 2, 0))

    def undecided(self, centre: Array, error: Array) -> float:
        """Return the share of risk at places where it is not known which way the centre goes."""
        return 0.0


@dataclass(frozen=True)
class VoteCentre(Centre):
    """Shares of votes for class +1, of which the majority counts."""

    @cached_property
    def _stakes(self) -> Array:
        """What votes for +1 cost more than votes for -1 at each test point, weighted."""
        return self.weights * (1 - 2 * self.p)

    def risk(self, centres: Array) -> Array:
        """Return the risks of majority votes (rows, points), integrated up to where they change."""
        stakes = np.broadcast_to(self._stakes, centres.shape)
        return np.asarray(float(self.weights @ self.p) + self._where_plus(centres, stakes))

    def excess_of(self, scores: Array) -> float:
        """Return the excess risk of one score, integrated up to where it changes sign."""
        return float(self.risk(scores[None] + 0.5)[0]) - self.bayes

    def rule_error(self, centre: Array) -> float:
        """Return 0: the step is where the rule is cut."""
        return 0.0

    def numbers(self, centres: Array) -> dict[str, Array]:
        """Return the variance where the vote is not Bayes', and Kohavi's and Wolpert's parts."""
        p, weights, bayes = self.p, self.weights, self.p > 0.5
        stake = np.abs(self._stakes)
        # Where the vote is not Bayes', variance is -|2p - 1| times the share of the minority.
        for_plus, for_minus = ~bayes * stake * (1 - centres), bayes * stake * centres
        return {
            "biased": for_minus.sum(axis=1) + self._where_plus(centres, for_plus - for_minus),
            "kw_bias2": ((centres - p) ** 2 * weights).sum(axis=1),
            "kw_variance": (centres * (1 - centres) * weights).sum(axis=1),
        }

    def scaled(self, deviations: Array, centre: Array) -> Array:
        """Return how far the vote's borders move, each such that its square is what that adds to the risk."""
        panels = self.problem.panels
        if panels is None:
            return np.zeros((len(deviations), 1))
        _, places, _ = panels.crossings((centre - 0.5)[None])
        if not len(places):
            return np.zeros((len(deviations), 1))
        x, density = panels.nodes, self.weights / panels.weights
        share_slope = np.gradient(centre, x)
        stake_slope = np.gradient(2 * self.p - 1, x)
        slope = np.interp(places, x, share_slope)
        moves = np.stack([np.interp(places, x, row) for row in deviations]) / np.where(slope == 0, np.inf, slope)
        stakes = np.abs(np.interp(places, x, stake_slope) * np.interp(places, x, density)) / 2
        return np.asarray(moves * np.sqrt(stakes))

    def undecided(self, centre: Array, error: Array) -> float:
        """Return the stakes at places whose vote is not known, but for those that a border may move past."""
        unsure = np.abs(centre - 0.5) <= SURE * error
        if (panels := self.problem.panels) is not None and unsure.any():
            _, places, _ = panels.crossings((centre - 0.5)[None])
            slopes = np.interp(places, panels.nodes, np.abs(np.gradient(centre, panels.nodes)))
            for place, slope in zip(places, slopes, strict=True):
                unsure &= np.abs(panels.nodes - place) * slope > BY_BORDERS * error
        return float(np.abs(self._stakes)[unsure].sum())

    def borders(self, centres: Array) -> NDArray[np.int64]:
        """Return how many borders the votes (rows, points) have, but for the outskirts of the law."""
        assert self.problem.panels is not None
        rows, places, _ = self.problem.panels.crossings(centres - 0.5)
        x, below = self.problem.panels.nodes, np.cumsum(self.weights)
        low, high = np.interp([OUTSKIRTS, 1 - OUTSKIRTS], below, x)
        return np.bincount(rows[(low < places) & (places < high)], minlength=len(centres))

    def best_of_span(self, features: Array) -> float:
        """Return the least excess 0-1 risk of scores in a span, known where they are all polynomials up to a degree.

        Such scores change sign at most as often as their degree: the best vote for that many borders.
        """
        panels, changes = self.problem.panels, len(features) - 1
        if panels is None or not _are_polynomials(features, panels.nodes):
            return np.nan
        side = (self.p > 0.5).reshape(-1, panels.size)[:, panels.size // 2]
        stakes = self._stakes.reshape(-1, panels.size).sum(axis=1)
        runs = np.concatenate([[0], np.cumsum(side[1:] != side[:-1])])
        # costs[c, s]: least cost so far with c changes, where the last vote is s.
        costs = np.full((changes + 1, 2), np.inf)
        costs[0] = 0.0
        for stake in np.bincount(runs, stakes):
            switched = np.vstack([[np.inf, np.inf], costs[:-1, ::-1]])
            costs = np.minimum(costs, switched) + np.array([0.0, stake])
        return max(float(self.weights @ self.p + costs.min()) - self.bayes, 0.0)

    def _where_plus(self, centres: Array, weighted: Array) -> Array:
        """Integrate functions (rows, points), times weights, over where the majority votes for +1."""
        if self.problem.panels is None:
            return np.asarray(((centres > 0.5) * weighted).sum(axis=1))
        return self.problem.panels.over_positive(centres - 0.5, weighted)


@dataclass(frozen=True)
class HingeCentre(Centre):
    """Averages of scores under max(0, 1 - m)^k: risk is integrated up to where they reach margin 1."""

    def risk(self, centres: Array) -> Array:
        """Return the risks of centres (rows, points)."""
        if (panels := self.problem.panels) is None:
            return super().risk(centres)
        total = np.zeros(len(centres))
        for sign, share in ((1, self.p), (-1, 1 - self.p)):
            short = 1 - sign * centres
            total += panels.over_positive(short, self.weights * share * short**self.loss.growth)
        return total

    def rule_error(self, centre: Array) -> float:
        """Return 0: the bend is where the rule is cut."""
        return 0.0


def _are_polynomials(features: Array, x: Array) -> bool:
    """Tell whether functions span the polynomials of a degree below their number."""
    if not (0 < len(features) < len(x)):
        return False
    vander = np.linalg.qr(np.polynomial.legendre.legvander(2 * (x - x[0]) / (x[-1] - x[0]) - 1, len(features) - 1))[0]
    scaled = features / np.linalg.norm(features, axis=1, keepdims=True)
    inside = np.abs(scaled - (scaled @ vander) @ vander.T).max() < 1e-8
    return bool(inside and np.linalg.matrix_rank(scaled) == len(features))


@dataclass(frozen=True, kw_only=True)
class MarginSeries(Series):
    """One cell; ``loss`` is that of each block, averaged over x and test labels."""

    centre: Array  # (points,): average
    centre_error: Array  # (points,): its standard error
    loss_x: Array  # (points,): expected loss
    loss_spread: Array  # (points,): sum over blocks of squared deviations from it
    per_block: dict[str, Array]  # training loss and shares, (blocks,)
    full: dict[str, float]  # nonlinear numbers of the average
    left_out: dict[str, Array]  # the same without each block, (blocks,)
    deviations: Array  # (blocks,): what each block's deviation adds to the centre's risk
    rule_error: float  # how far off the centre's risk is for want of test points
    second_order: float  # variance of the bias were it zero
    kw_deviations: Array  # (blocks,)
    kw_second_order: float
    infinite: bool  # whether some losses are
    undecided: str  # why it is not known which class the majority votes for; empty if it is


class MarginReduction(Reduction):
    """Reduce each block to its losses, and to what the centre's risk is without it."""

    def __init__(self, centre: Centre, record: Record, average: RunningMean) -> None:
        self.of, self.record, self.blocks = centre, record, average.count
        self.average = record.unpack(average.mean)
        self.spread = {name: np.zeros(len(centre.p)) for name in ("centre", "loss")}
        self.series: dict[str, list[Array]] = {}
        self.left_out: dict[str, list[Array]] = {}
        self.heads: list[Array] = []
        self.borders: set[int] = set()

    @np.errstate(over="ignore", invalid="ignore")  # what is infinite is told
    def add(self, rows: Array) -> None:
        """Take in records of further blocks."""
        parts, weights = self.record.unpack(rows), self.of.weights
        for name in self.spread:
            self.spread[name] = add_in_order(self.spread[name], (parts[name] - self.average[name]) ** 2)
        others = (self.blocks * self.average["centre"] - parts["centre"]) / (self.blocks - 1)
        for name, values in {"risk": self.of.risk(others), **self.of.numbers(others)}.items():
            self.left_out.setdefault(name, []).append(values)
        if isinstance(self.of, VoteCentre) and self.of.problem.panels is not None:
            self.borders.update(self.of.borders(others).tolist())
        deviations = parts["centre"] - self.average["centre"]
        if sum(len(part) for part in self.heads) < MAX_PAIRED_BLOCKS:
            self.heads.append(parts["centre"].copy())
        for name, values in {
            "loss": (parts["loss"] * weights).sum(axis=1),
            "deviations": (self.of.scaled(deviations, self.average["centre"]) ** 2).sum(axis=1),
            "kw_deviations": (deviations**2 * weights).sum(axis=1),
            **{name: parts[name] for name in ("training_loss", "interpolated", "one_class", "largest_loss")},
        }.items():
            self.series.setdefault(name, []).append(values.copy())

    @np.errstate(over="ignore", invalid="ignore")
    def finish(self, block_size: int) -> MarginSeries:
        """Return what was collected."""
        series = {name: np.concatenate(parts) for name, parts in self.series.items()}
        head = np.concatenate(self.heads)[:MAX_PAIRED_BLOCKS]
        head = head - head.mean(axis=0)
        centre, whole = self.average["centre"], self.average["centre"][None]
        full = {"risk": self.of.risk(whole), **self.of.numbers(whole)}
        error = np.sqrt(self.spread["centre"] / (self.blocks * (self.blocks - 1)))
        stakes = self.of.undecided(centre, error)
        excess = float(series["loss"].mean()) - self.of.bayes
        undecided = len(self.borders) > 1 or stakes > UNDECIDED * max(excess, 0.0)
        scaled = self.of.scaled(head, centre)
        largest = series.pop("largest_loss")
        return MarginSeries(
            loss=series.pop("loss"),
            loss_tail=Tail.of(largest, block_size),
            gain_tail=Tail.of(np.zeros_like(largest), block_size),
            centre=centre,
            centre_error=error,
            loss_x=self.average["loss"],
            loss_spread=self.spread["loss"],
            full={name: float(value[0]) for name, value in full.items()},
            left_out={name: np.concatenate(parts) for name, parts in self.left_out.items()},
            deviations=series.pop("deviations"),
            rule_error=self.of.rule_error(centre),
            second_order=max(second_order_variance(scaled, self.blocks), (stakes / 2) ** 2),
            kw_deviations=series.pop("kw_deviations"),
            kw_second_order=second_order_variance(head * np.sqrt(self.of.weights), self.blocks),
            per_block=series,
            infinite=bool(np.isnan(self.average["loss"]).any()),
            undecided=UNTOLD if undecided else "",
        )


@dataclass(frozen=True)
class MarginAverages(LossAverages):
    """One cell under one loss."""

    of: Centre
    best: Best | None

    def test_points_error(self, curve: Array) -> float:
        """Return what test points leave of a risk's error, where the loss bends between them too."""
        return float(np.hypot(super().test_points_error(curve), self.series.rule_error))

    @property
    def remark(self) -> str:
        """What is to be said of the numbers, beside their tails."""
        return str(self.series.undecided)

    @property
    def second_order(self) -> float:
        """Variance of the bias that is left when it is zero."""
        return float(self.series.second_order)

    @cached_property
    def mean_loss(self) -> float:
        """Expected risk."""
        return np.inf if self.series.infinite else float(self.series.loss.mean())

    def jackknife(self, name: str) -> tuple[float, Array]:
        """Return a nonlinear number of the centre, freed of what a finite number of blocks adds, and its influence."""
        return jackknife(self.series.full[name], self.series.left_out[name])

    @cached_property
    def bias(self) -> float:
        """Risk of the centre less Bayes risk; NaN where the majority's vote is not known."""
        return np.nan if self.series.undecided or self.series.infinite else self.jackknife("risk")[0] - self.of.bayes

    @cached_property
    def bias_influence(self) -> Array:
        """What each block contributes to the bias."""
        return np.full(self.blocks, np.nan) if self.series.infinite else self.jackknife("risk")[1]

    @property
    def bias_x(self) -> Array:
        """Bias at x."""
        return self.of.loss.at_centre(self.of.p, self.series.centre) - self.of.bayes_x

    @property
    def excess_x(self) -> Array:
        """Excess risk at x."""
        return np.asarray(self.series.loss_x - self.of.bayes_x)

    @cached_property
    def biased(self) -> float:
        """What variance takes off where the vote is not Bayes'."""
        return np.nan if self.series.undecided else self.jackknife("biased")[0]

    @property
    def best_excess(self) -> float:
        """Excess risk of the best that fits can do."""
        return np.nan if self.best is None else self.best.excess_risk

    @property
    def approximation(self) -> float:
        """Excess risk of the best in class under this loss."""
        return np.nan if self.best is None else self.best.approximation

    @property
    def best_error(self) -> float:
        """Standard error of what is known of the best in class."""
        return np.nan if self.best is None else float(np.hypot(self.best.standard_error, self.quadrature_error))

    @property
    def excess_bound(self) -> float:
        """What the excess risk bounds the excess 0-1 risk by."""
        return self.of.loss.excess_bound(max(self.mean_loss - self.of.bayes, 0.0))

    @property
    def excess_bound_error(self) -> float:
        """Its standard error: how far the bound moves with the excess risk."""
        if self.series.infinite:
            return np.nan
        excess, error = max(self.mean_loss - self.of.bayes, 0.0), EXCESS_RISK.standard_error(self)
        return self.of.loss.excess_bound(excess + error) - self.of.loss.excess_bound(excess)


EXCESS_RISK = Measure(
    "excess_risk",
    "excess risk: bias + variance",
    "excess risk",
    value=lambda a: a.mean_loss - a.of.bayes,
    influence=lambda a: a.series.loss,
    along_x=lambda a: a.excess_x,
    unit="loss",
    spoiled="with_the_loss",
)

MEASURES: tuple[Measure, ...] = (
    Measure(
        "bayes_risk",
        "Bayes risk: the least risk of any rule",
        "Bayes risk",
        value=lambda a: a.of.bayes,
        along_x=lambda a: a.of.bayes_x,
        unit="loss",
        column=1,
    ),
    Measure(
        "bias",
        "bias: what the average over all training sets risks above Bayes risk",
        "bias",
        value=lambda a: a.bias,
        influence=lambda a: a.bias_influence,
        along_x=lambda a: a.bias_x,
        unit="loss",
        square=True,
        shift=lambda a: square_shift(a.series.deviations, a.second_order),
        spoiled="with_the_loss",
        column=2,
    ),
    Measure(
        "variance",
        "variance: what that average would gain",
        "variance",
        value=lambda a: a.mean_loss - a.of.bayes - a.bias,
        influence=lambda a: (a.series.loss - a.series.loss.mean()) - a.bias_influence,
        along_x=lambda a: a.excess_x - a.bias_x,
        unit="loss",
        square=True,
        spoiled="with_the_loss",
        column=3,
    ),
    EXCESS_RISK,
    Measure(
        "expected_risk",
        "expected risk: Bayes risk + bias + variance",
        "expected risk",
        value=lambda a: a.mean_loss,
        influence=lambda a: a.series.loss,
        along_x=lambda a: a.series.loss_x,
        unit="loss",
        spoiled="with_the_loss",
        column=4,
        paired=True,
        compared_by="expected_risk_difference",
    ),
    Measure(
        "empirical_risk",
        "empirical risk: mean loss on the training set",
        "training error",
        value=lambda a: float(a.series.per_block["training_loss"].mean()),
        influence=lambda a: a.series.per_block["training_loss"],
        unit="loss",
        column=5,
    ),
    Measure(
        "generalization_gap",
        "generalization gap: expected risk - empirical risk",
        "generalization gap",
        value=lambda a: a.mean_loss - float(a.series.per_block["training_loss"].mean()),
        influence=lambda a: a.series.loss - a.series.per_block["training_loss"],
        along_x=lambda a: a.series.loss_x,
        unit="loss",
        spoiled="with_the_loss",
    ),
    Measure(
        "approximation_error",
        "approximation error: excess risk of the best in class under this loss",
        "approximation error",
        value=lambda a: a.approximation,
        error=lambda a: a.best_error if np.isfinite(a.approximation) else np.nan,
        unit="loss",
    ),
    Measure(
        "surrogate_error",
        "surrogate error: what the best in class under the loss that fits minimise risks above the best under this one",
        "surrogate error",
        value=lambda a: a.best_excess - a.approximation,
        error=lambda a: a.best_error if np.isfinite(a.approximation) else np.nan,
        unit="loss",
    ),
    Measure(
        "best_in_class_risk",
        "expected risk of the best in class under the loss that fits minimise",
        "best in class",
        value=lambda a: a.of.bayes + a.best_excess,
        error=lambda a: a.best_error,
        unit="loss",
    ),
    Measure(
        "estimation_error",
        "estimation error: expected risk - risk of that best in class",
        "estimation error",
        value=lambda a: a.mean_loss - a.of.bayes - a.best_excess,
        influence=lambda a: a.series.loss,
        along_x=lambda a: a.excess_x,
        unit="loss",
        spoiled="with_the_loss",
    ),
    Measure(
        "excess_bound",
        "bound of the excess 0-1 risk by the excess risk: psi^-1",
        "bound of 0-1 excess",
        value=lambda a: a.excess_bound,
        error=lambda a: a.excess_bound_error,
        unit="1",
        spoiled="with_the_loss",
    ),
    Measure(
        "interpolated",
        "share of training sets whose labels are all met",
        "interpolated",
        value=lambda a: float(a.series.per_block["interpolated"].mean()),
        influence=lambda a: a.series.per_block["interpolated"],
        unit="1",
    ),
    Measure(
        "one_class",
        "share of training sets of one class",
        "one class",
        value=lambda a: float(a.series.per_block["one_class"].mean()),
        influence=lambda a: a.series.per_block["one_class"],
        unit="1",
    ),
)


def _kw_variance(a: MarginAverages) -> float:
    return a.jackknife("kw_variance")[0]


VOTE_MEASURES: tuple[Measure, ...] = (
    Measure(
        "variance_unbiased",
        "variance where the majority's vote is Bayes': what single fits lose there",
        "unbiased variance",
        value=lambda a: a.mean_loss - a.of.bayes - a.bias + a.biased,
        influence=lambda a: (a.series.loss - a.series.loss.mean()) - a.bias_influence + a.jackknife("biased")[1],
        unit="loss",
        square=True,
    ),
    Measure(
        "variance_biased",
        "variance where the majority's vote is not Bayes': what single fits gain there",
        "biased variance",
        value=lambda a: a.biased,
        influence=lambda a: a.jackknife("biased")[1],
        unit="loss",
        square=True,
    ),
    Measure(
        "kw_noise",
        "Kohavi and Wolpert's noise: E p (1 - p)",
        "KW noise",
        value=lambda a: float(a.of.weights @ (a.of.p * (1 - a.of.p))),
        along_x=lambda a: a.of.p * (1 - a.of.p),
        unit="loss",
    ),
    Measure(
        "kw_bias2",
        "Kohavi and Wolpert's squared bias: E (share of votes - p)^2",
        "KW bias2",
        value=lambda a: a.jackknife("kw_bias2")[0],
        influence=lambda a: a.jackknife("kw_bias2")[1],
        along_x=lambda a: (a.series.centre - a.of.p) ** 2,
        unit="loss",
        shift=lambda a: square_shift(a.series.kw_deviations, a.series.kw_second_order),
    ),
    Measure(
        "kw_variance",
        "Kohavi and Wolpert's variance: E s (1 - s), s the share of votes",
        "KW variance",
        value=_kw_variance,
        influence=lambda a: a.jackknife("kw_variance")[1],
        along_x=lambda a: a.series.centre * (1 - a.series.centre),
        unit="loss",
    ),
)

CURVES: tuple[Curve, ...] = (
    Curve(
        "centre",
        "average at x: of scores; for 0-1 loss the share of votes for +1, for Brier's of probabilities",
        "average",
        value=lambda a: a.series.centre,
        error=lambda a: a.series.centre_error,
        unit="",
    ),
    RISK_X,
)
