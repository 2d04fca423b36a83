"""Test points and weights: the law P(x) as a finite sum."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from biasvar.montecarlo.gauss import hermite_nodes, legendre_nodes
from biasvar.montecarlo.linear_algebra import matmul

PANEL_NODES = 16
PANELS = 4096  # so many that are not resolved are given up
HALVINGS = 50
RESOLVED = 1e-15  # of the whole, by which a panel may differ from its halves


@dataclass(frozen=True)
class TestPoints:
    """Represent the input law by weighted points, so that expected risk over x is a weighted sum.

    Parameters
    ----------
    x : ndarray of shape (points,) or (points, dim)
        Where risk is evaluated.
    weights : ndarray of shape (points,)
        Probabilities; they sum to one.
    replicate : ndarray of shape (points,)
        Which independent randomisation a point belongs to; all zero where the rule is deterministic.

    Examples
    --------
    >>> import numpy as np
    >>> import biasvar as bv
    >>> points = bv.TestPoints.deterministic(np.array([-1.0, 1.0]), np.array([0.25, 0.75]))
    >>> float(points.weights @ points.x), points.replicates
    (0.5, 1)
    """

    __test__ = False  # not a test class, whatever pytest makes of the name

    x: NDArray[np.float64]
    weights: NDArray[np.float64]
    replicate: NDArray[np.int64]

    @property
    def replicates(self) -> int:
        """How many independent randomisations there are; 1 means a deterministic rule without sampling error."""
        return int(self.replicate[-1]) + 1

    def sampling_error(self, curve: NDArray[np.float64]) -> float:
        """Return the standard error that sampling leaves in a curve's average over the points; 0 without sampling."""
        if self.replicates == 1:
            return 0.0
        means = curve.reshape(self.replicates, -1).mean(axis=1)
        return float(means.std(ddof=1) / np.sqrt(self.replicates))

    @classmethod
    def deterministic(cls, x: NDArray[np.float64], weights: NDArray[np.float64]) -> "TestPoints":
        """Make a rule whose only error is that of the quadrature itself."""
        return cls(x, weights, np.zeros(len(weights), np.int64))


def legendre_rule(
    low: float, high: float, size: int, breakpoints: Sequence[float] = ()
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return Gauss-Legendre nodes and weights of the uniform law on [low, high], ``size`` nodes per smooth piece.

    Examples
    --------
    >>> x, w = legendre_rule(-1, 1, 4, breakpoints=[0.0])
    >>> bool(np.isclose(w @ (x > 0), 0.5) and np.isclose(w @ x**6, 1 / 7))
    True
    """
    edges = [low, *sorted(b for b in breakpoints if low < b < high), high]
    nodes, weights = legendre_nodes(size)
    x = [(a + b) / 2 + (b - a) / 2 * nodes for a, b in pairwise(edges)]
    w = [(b - a) / (high - low) / 2 * weights for a, b in pairwise(edges)]
    return np.concatenate(x), np.concatenate(w)


def hermite_rule(mean: float, std: float, size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return Gauss-Hermite nodes and weights of the normal law."""
    nodes, weights = hermite_nodes(size)
    seen = weights > 0  # far out, weights underflow
    return mean + std * nodes[seen], weights[seen] / weights[seen].sum()


def adaptive_averages(
    values: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    density: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    edges: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Average functions over a density by panels that are halved until each is resolved.

    Parameters
    ----------
    values : callable
        Functions of x (points,), shape (functions, points).
    density : callable
        Density of x.
    edges : ndarray
        Ends of the first panels; a feature much narrower than a sixteenth of them may be missed.

    Returns
    -------
    averages, errors : ndarray of shape (functions,)
        The averages, and how far panels and their halves differ in sum.

    Examples
    --------
    >>> jump, error = adaptive_averages(lambda x: (x > 0.3)[None] * 1.0, np.ones_like, np.linspace(0, 1, 5))
    >>> bool(abs(jump[0] - 0.7) < 1e-12 and error[0] < 1e-12)
    True
    """
    nodes, weights = legendre_nodes(PANEL_NODES)

    def sums(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
        half = (right - left)[:, None] / 2
        x = (left + right)[:, None] / 2 + half * nodes
        found = values(x.reshape(-1)) * density(x.reshape(-1))
        integrals: NDArray[np.float64] = (found.reshape(len(found), *x.shape) * (half * weights)).sum(axis=2)
        return integrals

    left, right = edges[:-1], edges[1:]
    whole = sums(left, right)
    scale = np.abs(whole).sum(axis=1, keepdims=True)
    total, error = np.zeros(len(whole)), np.zeros(len(whole))
    for halving in range(HALVINGS):
        middle = (left + right) / 2
        halves = np.stack([sums(left, middle), sums(middle, right)])
        gap = np.abs(whole - halves.sum(axis=0))
        rough = (gap > RESOLVED * scale).any(axis=0)
        if halving == HALVINGS - 1 or rough.sum() > PANELS:
            rough[:] = False
        total += halves[:, :, ~rough].sum(axis=(0, 2))
        error += gap[:, ~rough].sum(axis=1)
        if not rough.any():
            break
        left, right = np.concatenate([left[rough], middle[rough]]), np.concatenate([middle[rough], right[rough]])
        whole = halves[:, :, rough].transpose(1, 0, 2).reshape(len(total), -1)
    return total, error


def orthonormal_recurrence(x: NDArray[np.float64], weights: NDArray[np.float64], degree: int) -> NDArray[np.float64]:
    """Return the recurrence of the polynomials that are orthonormal under a discrete law.

    beta_{k+1} phi_{k+1} = (x - alpha_k) phi_k - beta_k phi_{k-1}, by Stieltjes' procedure.

    Returns
    -------
    ndarray of shape (degree, 3)
        Rows (alpha_k, beta_k, beta_{k+1}).

    References
    ----------
    W. Gautschi, Orthogonal Polynomials: Computation and Approximation, 2004, section 2.2.

    Examples
    --------
    >>> x, w = legendre_rule(-1, 1, 8)
    >>> orthonormal_recurrence(x, w, 1).round(6).tolist()  # phi_1 = sqrt(3) x
    [[0.0, 0.0, 0.57735]]
    """
    rows = np.empty((degree, 3))
    scale = float(np.abs(x).max(initial=1.0))
    previous, current, beta = np.zeros_like(x), np.ones_like(x), 0.0
    for k in range(degree):
        alpha = float(matmul(weights, x * current**2))
        following = (x - alpha) * current - beta * previous
        norm = float(np.sqrt(matmul(weights, following**2)))
        if norm <= 1e-12 * scale:
            # No more distinct points than k + 1: all further polynomials vanish on them.
            following, norm = np.zeros_like(x), np.inf
        # A mean that is rounding error of zero would break the symmetry of symmetric laws.
        rows[k] = (alpha if abs(alpha) > 1e-14 * np.abs(x).max() else 0.0, beta, norm)
        previous, current, beta = current, following / norm, norm if np.isfinite(norm) else 0.0
    return rows
