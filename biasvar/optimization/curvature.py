"""How an objective bends: the greatest eigenvalue of its Hessian along descents, and what it says of learning rates."""

from dataclasses import dataclass

import numpy as np

from biasvar.montecarlo.linear_algebra import eigh
from biasvar.montecarlo.streams import Purpose, Stream
from biasvar.optimization.columns import Array
from biasvar.optimization.lanczos import lanczos
from biasvar.optimization.objectives import Objective

STEPS = 20  # of Lanczos' method
MOST_DIM = 512  # up to which all eigenvalues are worked out


def sharpness(objective: Objective, theta: Array) -> Array:
    """Return the greatest eigenvalue of the Hessian at each point: never too large, and right to some digits.

    Parameters
    ----------
    objective : Objective
        What bends; it knows Hessian products.
    theta : ndarray of shape (K, D)
        Where.

    References
    ----------
    J. Cohen, S. Kaur, Y. Li, J. Z. Kolter, A. Talwalkar, Gradient descent on neural networks typically occurs at the
    edge of stability, 2021.

    Examples
    --------
    >>> from biasvar import Quadratic
    >>> sharpness(Quadratic([1, 100]), np.zeros((1, 2))).round(9).tolist()
    [100.0]
    """
    count, dim = theta.shape
    # The same for all, so that a trajectory has the same bits whichever others stand beside it.
    first = Stream(0, "sharpness", 0).generator(Purpose.DIRECTIONS).normal(size=(dim, 1))
    start = np.repeat(first, count, axis=1).T
    return lanczos(lambda v: objective.hessian_product(theta, v), start, STEPS).greatest


@dataclass(frozen=True)
class Curvature:
    """Least and greatest eigenvalue of the Hessian at a minimiser, and what gradient descent near it comes to.

    Parameters
    ----------
    mu, L : float
        The eigenvalues.

    References
    ----------
    Y. Nesterov, Introductory Lectures on Convex Optimization, 2004, theorem 2.1.15.

    Examples
    --------
    >>> ravine = Curvature(1.0, 100.0)
    >>> ravine.limit, round(ravine.quickest, 6), round(ravine.contraction, 6)
    (0.02, 0.019802, 0.980198)
    """

    mu: float
    L: float

    @property
    def limit(self) -> float:
        """2 / L, the learning rate from which on gradient descent does not come to the minimiser."""
        return 2 / self.L

    @property
    def quickest(self) -> float:
        """2 / (mu + L), the learning rate of the quickest gradient descent."""
        return 2 / (self.mu + self.L)

    @property
    def contraction(self) -> float:
        """(kappa - 1) / (kappa + 1), by which its steps then shorten the distance; kappa = L / mu."""
        return (self.L - self.mu) / (self.L + self.mu)


def curvature_at_minimizer(objective: Objective) -> Curvature | None:
    """Return the extreme eigenvalues of the Hessian at the minimiser.

    None where minimiser or Hessian products are not known, parameters are very many, or nothing bends.

    Examples
    --------
    >>> from biasvar import Rosenbrock
    >>> found = curvature_at_minimizer(Rosenbrock())
    >>> round(found.mu, 4), round(found.L, 1)
    (0.3994, 1001.6)
    """
    minimizer = objective.minimizer
    if minimizer is None or not objective.has_hessian_product or len(minimizer) > MOST_DIM:
        return None
    unit = np.eye(len(minimizer))
    hessian = np.asarray(objective.hessian_product(np.repeat(minimizer[:, None], len(unit), axis=1).T, unit))
    if not np.isfinite(hessian).all():
        return None
    values = eigh((hessian + hessian.T)[None] / 2)[0][0].tolist()
    return Curvature(max(values[0], 0.0), values[-1]) if values[-1] > 0 else None
