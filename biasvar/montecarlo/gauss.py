"""Gauss's quadrature rules of symmetric laws, with the same bits on every CPU.

The nodes are the eigenvalues of a tridiagonal matrix with zeros on its diagonal and beta_1, beta_2, ... beside it, the
recurrence's coefficients: beta_k phi_k = x phi_{k-1} - beta_{k-1} phi_{k-2}. They are found by bisection, for how many
are smaller than x is a count of signs; and the weights are 1 / sum_k phi_k(x)^2.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
BISECTIONS = 60
LARGE = 1e100  # far out polynomials overflow; what is scaled down by its square has no weight


@lru_cache(maxsize=16)
def legendre_nodes(size: int) -> tuple[Array, Array]:
    """Return the nodes and weights of Gauss's rule on [-1, 1], for the density 1.

    Examples
    --------
    >>> nodes, weights = legendre_nodes(3)
    >>> nodes.round(6).tolist(), weights.round(6).tolist()
    ([-0.774597, 0.0, 0.774597], [0.555556, 0.888889, 0.555556])
    """
    k = np.arange(1.0, size)
    nodes, weights = _rule(k / np.sqrt(4 * k * k - 1), size)
    return nodes, 2 * weights


@lru_cache(maxsize=16)
def hermite_nodes(size: int) -> tuple[Array, Array]:
    """Return the nodes and weights of Gauss's rule for the standard normal law; weights sum to one.

    Examples
    --------
    >>> nodes, weights = hermite_nodes(3)
    >>> (nodes**2).round(6).tolist(), weights.round(6).tolist()
    ([3.0, 0.0, 3.0], [0.166667, 0.666667, 0.166667])
    """
    return _rule(np.sqrt(np.arange(1.0, size)), size)


def _rule(beta: Array, size: int) -> tuple[Array, Array]:
    """Return nodes, ascending, and weights, which sum to one; symmetric to the last bit."""
    right = _positive_nodes(beta, size)
    middle = np.zeros(size % 2)
    half = np.concatenate([middle, right])
    weights = _weights(beta, half)
    nodes = np.concatenate([-right[::-1], half])
    weights = np.concatenate([weights[len(middle) :][::-1], weights])
    for each in (nodes, weights):
        each.setflags(write=False)  # they are kept
    return nodes, weights


def _positive_nodes(beta: Array, size: int) -> Array:
    """Return the eigenvalues above zero, ascending."""
    rank = np.arange((size + 1) // 2, size)
    low, high = np.zeros(len(rank)), np.full(len(rank), 2 * beta.max(initial=0.0))
    square = beta * beta
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        above = _count_below(square, middle) > rank
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.asarray((low + high) / 2)


def _count_below(square: Array, x: Array) -> NDArray[np.int64]:
    """Return how many eigenvalues are below each x: the negative ones of the pivots of the matrix less x."""
    pivot = -x
    count = (pivot < 0).astype(np.int64)
    with np.errstate(divide="ignore"):
        # A pivot of zero makes the next one infinite, and the one after it is as if it had been tiny.
        for each in square:
            pivot = -x - each / pivot
            count += pivot < 0
    return count


def _weights(beta: Array, x: Array) -> Array:
    """Return 1 / sum_k phi_k(x)^2 of the orthonormal polynomials."""
    before, now, total, scale = np.zeros_like(x), np.ones_like(x), np.ones_like(x), np.ones_like(x)
    last = 0.0
    for each in beta:
        before, now = now, (x * now - last * before) / each
        last = each
        total = total + now * now
        down = np.where(np.abs(now) > LARGE, 1 / LARGE, 1.0)
        before, now, total, scale = before * down, now * down, total * down * down, scale * down * down
    return np.asarray(scale / total)
