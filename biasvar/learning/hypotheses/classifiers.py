"""Sets of scores for two classes: a fit's value is a score g(x), and its class is +1 where g(x) > 0.

Every other set serves too: fitted to labels -1 and +1, least squares is the squared surrogate, and nearest neighbours
vote.
"""

from functools import partial
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator

from biasvar.fields import NonNegativeInt, NonNegativeReal, Real, Reals, component
from biasvar.learning.bases import Monomials
from biasvar.learning.fits import Fit, Trained
from biasvar.learning.hypotheses.base import HypothesisSet, Predictor
from biasvar.learning.inputs import Inputs
from biasvar.learning.margin_fits import minimise
from biasvar.montecarlo.elementary import logs
from biasvar.montecarlo.linear_algebra import cholesky, solve_positive

Array = NDArray[np.float64]
Surrogate = Literal["logistic", "exponential", "squared", "squared_hinge", "hinge"]


def _positive(penalty: float) -> float:
    if not penalty > 0:
        raise ValueError(
            f"expected a positive number, got {penalty:g}: without penalty a training set of one class, or a separable "
            "one, has no fit, and those come at every size"
        )
    return penalty


def _ascending(edges: tuple[float, ...]) -> tuple[float, ...]:
    if list(edges) != sorted(set(edges)):
        raise ValueError(f"expected ascending numbers, got {list(edges)}")
    return edges


@component
class LinearClassifier(HypothesisSet):
    """Minimise a surrogate loss of scores that are polynomials in x, of total degree up to ``degree``.

    Minimises ``sum_i phi(y_i <c, features of x_i>) + penalty/2 |c|^2`` over the coefficients c of monomials, the
    intercept penalised like the others: for ``loss="logistic"`` this is scikit-learn's
    ``LogisticRegression(C=1/penalty, fit_intercept=False)`` on monomials with a constant.

    Parameters
    ----------
    degree : int
        Total degree of the monomials; 0 is a constant, 1 a hyperplane.
    loss : {"logistic", "exponential", "squared", "squared_hinge", "hinge"}
        phi: log(1 + exp(-m)), exp(-m), (1 - m)^2, max(0, 1 - m)^2, max(0, 1 - m).
    penalty : float
        Positive: there is then exactly one fit to any training set, separable or of one class though it be.

    References
    ----------
    P. Bartlett, M. Jordan, J. McAuliffe, Convexity, classification, and risk bounds, 2006.

    Examples
    --------
    >>> LinearClassifier(degree=1, loss="hinge", penalty=0.1)
    LinearClassifier(degree=1, loss='hinge', penalty=0.1)
    """

    degree: NonNegativeInt
    loss: Surrogate = "logistic"
    penalty: Annotated[Real, AfterValidator(_positive)] = 1.0

    @property
    def minimises(self) -> str:
        """The surrogate."""
        return self.loss

    def fit(self, inputs: Inputs) -> Fit:
        """Return that coefficients of monomials are trained."""
        basis = Monomials(inputs.dim, self.degree)
        return Trained(basis, basis.size, partial(minimise, self.loss, self.penalty))

    def spanning_functions(self, inputs: Inputs, x: Array) -> Array:
        """Return the monomials."""
        basis = Monomials(inputs.dim, self.degree)
        return basis.evaluate(x, basis.size)


@component
class Discriminant(Predictor):
    """Score x by the log odds of two normal laws that are fitted to the classes.

    Parameters
    ----------
    covariance : {"pooled", "identity", "each"}
        One covariance for both classes (linear), none (the nearest mean), or one for each (quadratic). One observation
        of unit scatter is added to each, so that it has an inverse.

    Notes
    -----
    Shares of the classes count as (k + 1/2) / (n + 1), but not in the nearest mean. The mean of a class that a training
    set lacks is taken to be 0.

    References
    ----------
    T. Hastie, R. Tibshirani, J. Friedman, The Elements of Statistical Learning, 2009, section 4.3.

    Examples
    --------
    >>> x, y = np.array([[-1.0, 1.0]]), np.array([[-1.0, 1.0]])
    >>> Discriminant("identity").fit_predict(x, y, np.array([[0.5]]), np.random.default_rng()).tolist()
    [[1.0]]
    """

    covariance: Literal["pooled", "identity", "each"] = "pooled"

    def fit_predict(self, x: Array, y: Array, at: Array, rng: np.random.Generator) -> Array:
        """Fit means and covariances, and score: shape (K, m)."""
        x, at = (a[..., None] if a.ndim == 2 else a for a in (x, at))
        members = [y <= 0, y > 0]
        counts = [member.sum(axis=1) for member in members]
        means = [
            np.einsum("kn,kni->ki", member, x) / np.maximum(count, 1)[:, None]
            for member, count in zip(members, counts, strict=True)
        ]
        scatters = [_scatter(x - mean[:, None], member) for mean, member in zip(means, members, strict=True)]
        if self.covariance == "identity":
            inverses = [np.broadcast_to(np.eye(x.shape[2]), scatters[0].shape)] * 2
        elif self.covariance == "pooled":
            inverses = [_inverse(scatters[0] + scatters[1], y.shape[1] * np.ones(len(y)))] * 2
        else:
            inverses = [_inverse(scatter, count) for scatter, count in zip(scatters, counts, strict=True)]
        minus, plus = (
            -np.einsum("kmi,kij,kmj->km", at - mean[:, None], inverse, at - mean[:, None]) / 2
            for mean, inverse in zip(means, inverses, strict=True)
        )
        score = plus - minus
        if self.covariance == "each":
            score += (_log_determinant(inverses[1]) - _log_determinant(inverses[0]))[:, None] / 2
        if self.covariance != "identity":
            score += logs((counts[1] + 0.5) / (counts[0] + 0.5))[:, None]
        return np.asarray(score)


@component
class Histogram(Predictor):
    """Score x by the log odds of the labels that fall into its cell of a partition of the line.

    Parameters
    ----------
    edges : sequence of float
        Where cells meet, ascending: k edges make k + 1 cells, the outer ones unbounded.
    smoothing : float
        Added to the counts of both classes; without it a cell of one class is infinitely sure. Empty cells score 0.

    Notes
    -----
    Fits jump at the edges, so that the quadrature of the whole study is cut there. A store of other test points cannot
    be extended by it: have it in the study from the start, or in a store of its own.

    Examples
    --------
    >>> x, y = np.array([[-1.0, -2.0, 1.0]]), np.array([[-1.0, -1.0, 1.0]])
    >>> scores = Histogram([0.0], smoothing=1).fit_predict(x, y, np.array([[-5.0, 5.0]]), np.random.default_rng())
    >>> np.exp(scores).round(6).tolist()
    [[0.333333, 2.0]]
    """

    edges: Annotated[Reals, AfterValidator(_ascending)]
    smoothing: NonNegativeReal = 0.5

    @property
    def breakpoints(self) -> tuple[float, ...]:
        """The edges."""
        return self.edges

    def why_unfit(self, inputs: Inputs, n_train: int) -> str | None:
        """Say that it is for one dimension."""
        return f"Histogram is for inputs of one dimension, got {inputs.dim}" if inputs.dim > 1 else None

    def fit_predict(self, x: Array, y: Array, at: Array, rng: np.random.Generator) -> Array:
        """Count labels, and score: shape (K, m)."""
        cells = np.arange(len(self.edges) + 1)
        inside = np.searchsorted(self.edges, x, side="right")[..., None] == cells
        plus, minus = (((sign * y > 0)[..., None] & inside).sum(axis=1) + self.smoothing for sign in (1, -1))
        with np.errstate(divide="ignore", invalid="ignore"):
            scores = np.where(plus == minus, 0.0, logs(plus) - logs(minus))
        return np.asarray(np.take_along_axis(scores, np.searchsorted(self.edges, at, side="right"), axis=1))


def _scatter(away: Array, member: NDArray[np.bool_]) -> Array:
    return np.asarray(np.einsum("kn,kni,knj->kij", member, away, away))


def _inverse(scatter: Array, count: Array) -> Array:
    one = np.eye(scatter.shape[1])
    return solve_positive((scatter + one) / (count + 1)[:, None, None], np.broadcast_to(one, scatter.shape))


def _log_determinant(matrices: Array) -> Array:
    return np.asarray(2 * logs(np.diagonal(cholesky(matrices), axis1=1, axis2=2)).sum(axis=1))
