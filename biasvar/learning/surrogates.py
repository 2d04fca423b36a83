"""The best score in the span of given functions, under a loss of margins and a known law."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from biasvar.montecarlo.linear_algebra import lstsq, matmul, qr

Array = NDArray[np.float64]
STEPS = 200
TOLERANCE = 1e-12  # of the gradient in orthonormal functions
UNBOUNDED = 500.0  # a score that no minimiser of ours needs: it runs away


class Surrogate(Protocol):
    """A convex loss of margins with its derivatives."""

    @property
    def surrogate(self) -> str:
        """Its name."""

    def slope(self, margins: Array) -> Array:
        """Return the derivative, elementwise."""

    def curvature(self, margins: Array) -> Array:
        """Return the second derivative, elementwise."""


def minimiser(loss: Surrogate, features: Array, p: Array, weights: Array) -> Array | None:
    """Minimise the expected loss over all combinations of functions.

    Parameters
    ----------
    loss : Surrogate
        What is minimised.
    features : ndarray of shape (size, points)
        The functions at the test points.
    p : ndarray of shape (points,)
        P(y = +1) there.
    weights : ndarray of shape (points,)
        Probabilities of the points.

    Returns
    -------
    ndarray of shape (points,) or None
        The best score; None where none is: where the scores of ever lower risk grow without bound.
    """
    seen = weights > 0
    basis = qr((features[:, seen] * np.sqrt(weights[seen])).T[None])[0][0] / np.sqrt(weights[seen])[:, None]
    # Functions that depend on each other there leave columns of zeros, which span nothing new.
    if loss.surrogate == "hinge":
        c = _least_hinges(basis, p[seen], weights[seen])
    else:
        c = _newton(loss, basis, p[seen], weights[seen])
    if c is None:
        return None
    found = np.full(len(weights), np.nan)
    found[seen] = matmul(basis, c)
    coefficients = lstsq(features[:, seen].T, found[seen])
    return np.asarray(np.where(seen, found, matmul(coefficients, features)))


def _newton(loss: Surrogate, basis: Array, p: Array, weights: Array) -> Array | None:
    """Take damped Newton steps, which no score follows further than four."""
    c = np.zeros(basis.shape[1])
    for _ in range(STEPS):
        scores = matmul(basis, c)
        gradient = matmul(basis.T, weights * (p * loss.slope(scores) - (1 - p) * loss.slope(-scores)))
        if np.abs(gradient).max() <= TOLERANCE:
            return c
        bend = weights * (p * loss.curvature(scores) + (1 - p) * loss.curvature(-scores))
        hessian = matmul(basis.T, bend[:, None] * basis)
        step = lstsq(hessian, -gradient)
        furthest = np.abs(matmul(basis, step)).max()
        if furthest <= 1e-10:
            return c
        c = c + step * min(1.0, 4.0 / furthest)
        if np.abs(matmul(basis, c)).max() > UNBOUNDED:
            return None
    return None


def _least_hinges(basis: Array, p: Array, weights: Array) -> Array | None:
    """Solve a linear programme: hinges are the least slacks with slack >= 1 - margin and slack >= 0."""
    # They take a fifth of a second to import.
    from scipy.optimize import linprog
    from scipy.sparse import eye, hstack

    points, size = basis.shape
    costs = np.concatenate([np.zeros(size), weights * p, weights * (1 - p)])
    scores = np.vstack([-basis, basis])
    bounds = [(None, None)] * size + [(0, None)] * (2 * points)
    found = linprog(costs, A_ub=hstack([scores, -eye(2 * points)]).tocsr(), b_ub=-np.ones(2 * points), bounds=bounds)
    return np.asarray(found.x[:size]) if found.status == 0 else None
