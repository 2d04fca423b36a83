"""The law of data with its test points, and the best that a hypothesis set can do under it.

References
----------
L. Bottou and O. Bousquet, The tradeoffs of large scale learning, 2008 (approximation and estimation error).
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from biasvar.errors import TargetError
from biasvar.learning import targets
from biasvar.learning.bases import OrthonormalPolynomials
from biasvar.learning.hypotheses.base import HypothesisSet
from biasvar.learning.inputs import PROBED_PANELS, Continuous, FixedDesign, Independent, Inputs
from biasvar.learning.labels import AdditiveNoise, Labels
from biasvar.learning.least_squares import LinearModel, Projection
from biasvar.learning.nested_polynomials import Polynomials
from biasvar.learning.quadrature import TestPoints, adaptive_averages
from biasvar.learning.targets import Target
from biasvar.montecarlo.linear_algebra import matmul


@dataclass(frozen=True)
class Problem:
    """A law of data: target, inputs, labels, and the test points at which risk is evaluated."""

    target: Target
    inputs: Inputs
    test: TestPoints
    labels: Labels = field(default_factory=AdditiveNoise)

    @classmethod
    def of(cls, target: Target, inputs: Inputs, test_points: int | None, seed: int) -> Self:
        """Choose the test points and check the target on them."""
        return cls(target, inputs, inputs.test_points(test_points, targets.breakpoints(target), seed)).checked()

    def checked(self) -> Self:
        """Return the problem, having seen that its target is a function."""
        self.test.x.flags.writeable = False
        if not np.array_equal(self.f, self.evaluate(self.test.x)):
            raise TargetError(
                f"target: {self.target!r} gives different values for the same x; take what is random out of it"
            )
        return self

    @cached_property
    def f(self) -> NDArray[np.float64]:
        """Target values at the test points."""
        return self.evaluate(self.test.x)

    def evaluate(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return target values at inputs (...,) or (..., dim), checked."""
        f = targets.evaluate(self.target, x, self.inputs.dim)
        self.labels.check(self.target, x, f)
        return f

    @property
    def smooth(self) -> bool:
        """Whether all derivatives of the target are bounded on bounded sets, or it is seen at finitely many inputs."""
        return targets.is_smooth(self.target) or isinstance(self.inputs, FixedDesign)

    @cached_property
    def square_tail_index(self) -> float:
        """Tail index of f(x)^2 under the inputs; infinite where it has all moments, or was not looked at."""
        if self.inputs.dim > 1 or not isinstance(self.inputs, Independent):
            return np.inf
        return targets.square_tail_index(self.target, self.inputs.quantile)

    def projection(self, hypothesis: HypothesisSet, model: LinearModel) -> Projection:
        """Return the features of a set's model under the test points, made once."""
        if id(hypothesis) not in self._projections:
            features = model.basis.evaluate(self.test.x, model.size)
            self._projections[id(hypothesis)] = hypothesis, Projection.of(features, self.test.weights)
        return self._projections[id(hypothesis)][1]

    def undetermined(self, hypothesis: HypothesisSet, model: LinearModel, n_train: int) -> str | None:
        """Return why the test points do not tell the coefficients of a set's model apart, or None if they need not."""
        points = len(self.projection(hypothesis, model).change)
        if points >= model.size or not model.shares_factorisation(n_train):
            return None
        return f"{model.size} coefficients cannot be determined by {points} distinct test points"

    @cached_property
    def polynomials(self) -> Polynomials:
        """Polynomials that are orthonormal under the test points of one coordinate."""
        return Polynomials.under(self.test)

    def spans(self, model: LinearModel) -> bool:
        """Tell whether :attr:`polynomials` span a model: one of polynomials in one random input, of low degree."""
        plain = isinstance(model.basis, OrthonormalPolynomials) and isinstance(self.inputs, Independent)
        return plain and self.inputs.dim == 1 and model.size <= self.polynomials.size

    @cached_property
    def _projections(self) -> dict[int, tuple[HypothesisSet, Projection]]:
        """Projections by the identity of their hypothesis, which is kept with them so that it stays alive."""
        return {}

    def quadrature_error(self) -> float:
        """Compare averages of f over x by this rule, by one cut into more pieces, and by adaptive panels.

        Far above rounding only where f jumps, bends or has a narrow feature between the test points.
        """
        if self.inputs.dim > 1:
            return 0.0  # sampled test points: their error is estimated from their spread
        fine = self.inputs.finer_points(len(self.f), targets.breakpoints(self.target))
        values = targets.evaluate(self.target, fine.x, self.inputs.dim)
        scale = 1 / np.abs(fine.x).max() if fine.x.any() else 1.0
        errors = [
            matmul(self.f * (self.test.x * scale), self.test.weights) - matmul(values * (fine.x * scale), fine.weights),
            *(matmul(self.f**power, self.test.weights) - matmul(values**power, fine.weights) for power in (1, 2)),
        ]
        rounding = 1e-13 * max(1.0, float(matmul(values**2, fine.weights)))
        worst = max(float(np.abs(errors).max()), self._unresolved(scale))
        return worst if worst > rounding else 0.0

    def _unresolved(self, scale: float) -> float:
        """Return how far averages of f, f^2 and x f by the test points are from those by adaptive panels."""
        if not isinstance(self.inputs, Continuous):
            return 0.0

        def values(x: NDArray[np.float64]) -> NDArray[np.float64]:
            f = targets.evaluate(self.target, x, 1)
            return np.stack([f, f**2, f * (x * scale)])

        low, high = self.inputs.support()
        edges = np.linspace(low, high, PROBED_PANELS + 1)
        edges = np.union1d(edges, np.clip(targets.breakpoints(self.target), low, high))
        try:
            averages, errors = adaptive_averages(values, self.inputs.density, edges)
        except TargetError:
            return 0.0  # not defined so far out; that is said where inputs are drawn
        by_rule = matmul(np.stack([self.f, self.f**2, self.f * (self.test.x * scale)]), self.test.weights)
        return float((np.abs(by_rule - averages) + errors).max())


class Best(NamedTuple):
    """The best that fits can do: the minimiser, inside a hypothesis set, of the expected risk that they minimise."""

    values: NDArray[np.float64]  # at the test points
    excess_risk: float
    standard_error: float  # of the excess risk: zero for quadrature
    approximation: float = np.nan  # excess risk of the best under the loss that is charged, where fits minimise another


def best_in_class(problem: Problem, hypothesis: HypothesisSet) -> Best | None:
    """Project the target onto a hypothesis set: the minimiser of expected risk inside it.

    Returns
    -------
    Best or None
        g* at the test points, its excess risk and that figure's standard error, by the jackknife over independent test
        sets where test points are sampled; None where the set does not say what spans it.
    """
    features = hypothesis.spanning_functions(problem.inputs, problem.test.x)
    if features is None:
        return None
    offset = hypothesis.offset(problem.test.x)
    test, goal = problem.test, problem.f - offset
    values = _project(features, goal, test.weights)
    error = float(matmul(test.weights, (values - goal) ** 2))
    if test.replicates == 1:
        return Best(values + offset, error, 0.0)
    left_out = np.empty(test.replicates)
    for replicate in range(test.replicates):
        keep = test.replicate != replicate
        weights = test.weights[keep] / test.weights[keep].sum()
        left_out[replicate] = matmul(weights, (_project(features[:, keep], goal[keep], weights) - goal[keep]) ** 2)
    count = test.replicates
    unbiased = count * error - (count - 1) * float(left_out.mean())
    se = float(np.sqrt((count - 1) / count * ((left_out - left_out.mean()) ** 2).sum()))
    return Best(values + offset, unbiased, se)


def _project(
    features: NDArray[np.float64], goal: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    projection = Projection.of(features, weights)
    return matmul(matmul(projection.orthonormal, weights * goal), projection.orthonormal)
