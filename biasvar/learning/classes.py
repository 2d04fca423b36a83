"""Two classes: laws of x that know P(y = +1 | x), and the problem of telling the classes apart."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator

from biasvar.errors import StudyError
from biasvar.fields import Points, Real, as_tuple, component
from biasvar.learning import targets
from biasvar.learning.bisection import bisect
from biasvar.learning.class_kernels import fill_inputs, fill_log_density, fill_probability
from biasvar.learning.decomposition import Problem
from biasvar.learning.inputs import TAILS, Continuous, Inputs, Normal
from biasvar.learning.labels import Labels, TwoClasses
from biasvar.learning.panels import NODES, Panels
from biasvar.learning.quadrature import TestPoints
from biasvar.learning.targets import Target
from biasvar.montecarlo.elementary import exps, normal_distributions
from biasvar.montecarlo.linear_algebra import cholesky, matmul

Array = NDArray[np.float64]
OCTILES = tuple(i / 8 for i in range(1, 8))
FAR_CUTS = (1e-5, 1e-2, 1 - 1e-2, 1 - 1e-5)
PROBES = 4096  # places between which the classes' border is looked for
BISECTIONS = 60
FINER_NODES = 128  # per panel, where a loss has kinks

Matrices = Annotated[tuple[tuple[tuple[Real, ...], ...], ...], BeforeValidator(as_tuple), Field(min_length=2)]


@component
class GaussianClasses(Continuous):
    """Draw x from one of two normal laws; the one that it is from is its class.

    Parameters
    ----------
    means : sequence
        Mean of class -1, then of class +1: numbers in one dimension, else vectors.
    stds : sequence, optional
        Their standard deviations: numbers, which serve all coordinates, or vectors.
    covariances : sequence, optional
        Their covariance matrices, instead of ``stds``; both standard deviations are 1 unless one of the two is given.
    prior : float
        Probability of class +1.

    Examples
    --------
    >>> classes = GaussianClasses(means=[-1, 1])
    >>> classes.probability(np.array([0.0, 0.5])).round(3).tolist()
    [0.5, 0.731]
    """

    means: Points
    stds: Points | None = None
    covariances: Matrices | None = None
    prior: Annotated[Real, Field(gt=0, lt=1)] = 0.5

    @model_validator(mode="after")
    def _of_two_classes(self) -> "GaussianClasses":
        if len(self.means) > 2:
            raise ValueError(f"means: got {len(self.means)}, and more than two classes are not supported yet; give two")
        if len(self.means) != 2 or np.ndim(self.means[0]) != np.ndim(self.means[1]):
            raise ValueError(f"means: expected that of class -1 and that of class +1, got {self.means}")
        if self._centres.ndim != 2:
            raise ValueError(f"means: expected two vectors of one length, got {self.means}")
        if self.stds is not None and self.covariances is not None:
            raise ValueError("covariances: give these or stds, not both")
        if self.stds is not None and (len(self.stds) != 2 or np.min(self.stds) <= 0):
            raise ValueError(f"stds: expected two positive numbers, or vectors, got {self.stds}")
        try:
            _ = self._roots
        except np.linalg.LinAlgError:
            raise ValueError("covariances: expected two symmetric, positive definite matrices") from None
        except ValueError:
            raise ValueError(
                f"means, stds and covariances: expected one dimension, got {self._centres.shape[1]} for "
                "the means and another for the rest"
            ) from None
        return self

    @cached_property
    def _centres(self) -> Array:
        """Means, shape (2, dim)."""
        return np.asarray([np.atleast_1d(mean) for mean in self.means], dtype=float)

    @cached_property
    def _roots(self) -> Array:
        """Cholesky factors of the covariances, shape (2, dim, dim)."""
        dim = self._centres.shape[1]
        if self.covariances is None:
            stds = np.array([np.broadcast_to(std, dim) for std in (self.stds or (1.0, 1.0))], dtype=float)
            return np.asarray(stds[:, :, None] * np.eye(dim))
        matrices = np.asarray(self.covariances, dtype=float)
        if matrices.shape != (2, dim, dim):
            raise ValueError(matrices.shape)
        if not np.allclose(matrices, np.swapaxes(matrices, 1, 2)):
            raise np.linalg.LinAlgError
        roots = cholesky(matrices)
        if np.isnan(roots).any():
            raise np.linalg.LinAlgError
        return roots

    @property
    def dim(self) -> int:
        """Dimension of one input."""
        return int(self._centres.shape[1])

    def uniforms_per_set(self, n_train: int) -> int:
        """Return how many random numbers a training set takes: n_train times ``dim``."""
        return n_train * self.dim

    @property
    def exchangeable(self) -> bool:
        """Whether each uniform makes one input: in one dimension."""
        return self.dim == 1

    def inputs_from(self, uniforms: Array, n_train: int) -> Array:
        """Turn uniforms (n_train * dim, size) into inputs: the first of each input says its class too."""
        u = uniforms.reshape(n_train, self.dim, -1)
        out = np.empty((n_train, u.shape[2], self.dim))
        fill_inputs(np.ascontiguousarray(u), self.prior, self._centres, self._roots, out)
        return out[..., 0] if self.dim == 1 else out

    def test_points(self, count: int | None, breakpoints: Sequence[float], seed: int) -> TestPoints:
        """Return quadrature nodes in one dimension, sixteen independent scrambles of a Sobol set in more."""
        if self.dim == 1:
            return panel_rule(self, panels_of(self, count, breakpoints))
        return self.scrambled_points(count, seed)

    def probability(self, x: Array) -> Array:
        """Return P(y = +1 | x), elementwise, or over the last axis in more dimensions."""
        minus, plus = (self._log_density(x, i) for i in (0, 1))
        fill_probability(plus.reshape(-1), minus.reshape(-1))
        return plus

    def marginal(self) -> Inputs:
        """Return a normal law with the mean and spread of all coordinates together."""
        if self.dim == 1:
            return self
        share = np.array([1 - self.prior, self.prior])
        squares = (self._roots**2).sum(axis=2) + self._centres**2
        mean = float((matmul(share, self._centres)).mean())
        return Normal(mean, float(np.sqrt((matmul(share, squares)).mean() - mean**2)))

    def class_probability(self) -> Callable[[Array], Array]:
        """Return :meth:`probability`."""
        return self.probability

    def density(self, x: Array) -> Array:
        """Return the density of x."""
        one, other = (exps(self._log_density(x, i)) for i in (0, 1))
        return np.asarray(one + other)

    def quantile(self, uniforms: Array) -> Array:
        """Apply the inverse distribution function, elementwise, by bisection."""
        (low, high), u = self.support(), np.asarray(uniforms, dtype=float)
        means, stds = self._centres[:, 0], self._roots[:, 0, 0]

        def is_right(x: Array) -> NDArray[np.bool_]:
            minus, plus = (normal_distributions((x - mean) / std) for mean, std in zip(means, stds, strict=True))
            return np.asarray((1 - self.prior) * minus + self.prior * plus < u)

        return bisect(is_right, np.full(u.shape, low), np.full(u.shape, high), BISECTIONS)

    def support(self) -> tuple[float, float]:
        """Return the means less and plus nine standard deviations, whichever is further out."""
        means, stds = self._centres[:, 0], self._roots[:, 0, 0]
        return float((means - TAILS * stds).min()), float((means + TAILS * stds).max())

    def _log_density(self, x: Array, label: int) -> Array:
        """Return the logarithm of a class's share of the density."""
        root, places = self._roots[label], np.asarray(x, dtype=float)
        out = np.empty(places.shape if self.dim == 1 else places.shape[:-1])
        flat, share = np.ascontiguousarray(places).reshape(-1, self.dim), self.prior if label else 1 - self.prior
        fill_log_density(flat, self._centres[label], root, share, out.reshape(-1))
        return out


@dataclass(frozen=True)
class TwoClassProblem(Problem):
    """A law of two classes: the target is P(y = +1 | x), and labels are -1 and +1.

    Parameters
    ----------
    panels : Panels or None
        The quadrature behind the test points, cut where the classes are equally likely; None where test points are
        sampled or a design.
    """

    labels: Labels = TwoClasses()  # noqa: RUF009
    panels: Panels | None = None

    @classmethod
    def of(
        cls, target: Target, inputs: Inputs, test_points: int | None, seed: int, jumps: Sequence[float] = ()
    ) -> Self:
        """Choose the test points, where scores jump at given places, and check the target on them."""
        known = [*targets.breakpoints(target), *jumps]
        if inputs.dim > 1 or not isinstance(inputs, Continuous):
            return cls(target, inputs, inputs.test_points(test_points, known, seed)).checked()
        panels = panels_of(inputs, test_points, [*known, *borders(target, inputs)])
        return cls(target, inputs, panel_rule(inputs, panels), panels=panels).checked()

    def probability(self, noise: float) -> Array:
        """Return P(y = +1 | x) at the test points, flips included."""
        return TwoClasses.flipped(self.f, noise)

    @cached_property
    def finer(self) -> TestPoints:
        """Points close enough together for losses with kinks; the test points where those are no quadrature."""
        if self.panels is None:
            return self.test
        assert isinstance(self.inputs, Continuous)
        return panel_rule(self.inputs, Panels(self.panels.edges, FINER_NODES))

    @cached_property
    def finer_f(self) -> Array:
        """The target at :attr:`finer`."""
        return self.evaluate(self.finer.x)

    @cached_property
    def best_scores(self) -> dict[Any, Array | None]:
        """Best scores by hypothesis set, loss and noise level, as they are found."""
        return {}


def panels_of(inputs: Continuous, size: int | None, breakpoints: Sequence[float]) -> Panels:
    """Cut the support of a one-dimensional law at its octiles, far out, and at given places."""
    low, high = inputs.support()
    far = inputs.quantile(np.array(FAR_CUTS))
    cuts = inputs.quantile(np.array(OCTILES)).tolist()
    if high - low > 1.5 * (far[-1] - far[0]):  # the support is long past where there is any probability
        cuts += far.tolist()
    edges = [low, high]
    for place in [*breakpoints, *cuts]:  # the first of neighbours stays
        if low < place < high and min(abs(place - edge) for edge in edges) > 1e-9 * (high - low):
            edges.append(float(place))
    return Panels(np.array(sorted(edges)), size or NODES)


def panel_rule(inputs: Continuous, panels: Panels) -> TestPoints:
    """Weight the nodes of panels by a law's density."""
    weights = panels.weights * inputs.density(panels.nodes)
    return TestPoints.deterministic(panels.nodes, weights / weights.sum())


def borders(target: Target, inputs: Continuous) -> Array:
    """Return where P(y = +1 | x) crosses one half."""
    low, high = inputs.support()
    inside = inputs.quantile((np.arange(PROBES) + 0.5) / PROBES)
    x = np.unique(np.concatenate([np.linspace(low, high, PROBES), inside]))
    plus = targets.evaluate(target, x, 1) > 0.5
    at = np.flatnonzero(plus[1:] != plus[:-1])
    rising = ~plus[at]
    return bisect(lambda x: (targets.evaluate(target, x, 1) > 0.5) != rising, x[at], x[at + 1], BISECTIONS)


def class_probability(target: Target | None, inputs: Inputs) -> Target:
    """Return P(y = +1 | x): the target, or where there is none, what the law of x says.

    Raises
    ------
    StudyError
        If neither or both say.
    """
    known = inputs.class_probability()
    if target is None:
        if known is None:
            raise StudyError(
                f"target: is missing; give P(y = +1 | x), such as Logistic([0, 2]), for inputs {inputs!r} know no "
                "classes"
            )
        return known
    if known is not None:
        raise StudyError(f"target: inputs {inputs!r} know P(y = +1 | x) already; leave target out")
    return target
