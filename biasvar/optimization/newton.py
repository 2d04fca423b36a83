"""Newton's method for convex objectives, with a proof where no minimum is attained."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from biasvar.montecarlo.linear_algebra import matmul, singular, solve_positive

# Columns of a Hessian made at a time.
CHUNK = 64


class Convex(Protocol):
    """What Newton's method asks of an objective."""

    def value(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return J at theta (D,)."""

    def gradient(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return its gradient (D,)."""

    def hessian_product(self, theta: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the Hessian at theta (D,) times each row of v (k, D)."""


def whitened(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a basis (D, rank) of the span of rows (m, D) in which their mean outer product is the identity.

    Coordinates in it are as large as what the rows see of a point, whatever the scale of the features.
    """
    found = singular(rows)
    kept = found.values > found.values[0] * max(rows.shape) * np.finfo(float).eps
    basis: NDArray[np.float64] = found.right[kept].T / found.values[kept] * np.sqrt(len(rows))
    return basis


def newton_minimizer(
    objective: Convex, basis: NDArray[np.float64], floor: float = -np.inf, steps: int = 60
) -> NDArray[np.float64] | None:
    """Minimise a convex objective over the span of a basis (D, r) by Newton's method with halved steps, from zero.

    Returns None where no minimum is attained: a value below ``floor`` proves it, or the steps never shrink. At a
    minimum they shrink quadratically; towards an infimum at infinity each is about as long as the last.
    """
    at = np.zeros(basis.shape[1])
    value = objective.value(matmul(basis, at))
    for _ in range(steps):
        if value < floor:
            return None
        step = _newton_step(objective, basis, at)
        if step is None:
            return None
        if np.abs(step).max(initial=0.0) <= 1e-8 * (1 + np.abs(at).max(initial=0.0)):
            minimizer = matmul(basis, at - step)
            minimizer.flags.writeable = False
            return minimizer
        while not (following := objective.value(matmul(basis, at - step))) <= value + 1e-14 * abs(value):
            step /= 2
        at, value = at - step, following
    return None


def _newton_step(objective: Convex, basis: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64] | None:
    theta = matmul(basis, at)
    starts = range(0, basis.shape[1], CHUNK)
    products = [matmul(objective.hessian_product(theta, basis.T[start : start + CHUNK]), basis) for start in starts]
    hessian, slope = np.concatenate([np.empty((0, len(at))), *products]), matmul(basis.T, objective.gradient(theta))
    # Where the surface is flat that far out, nothing finite comes of it.
    step = solve_positive(hessian, slope[:, None])[:, 0]
    return step if np.isfinite(step).all() else None
