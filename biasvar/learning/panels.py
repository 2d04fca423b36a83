"""Quadrature by panels, and what curves known at its nodes do between them: where they cross a level, partial sums."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from biasvar.learning.bisection import bisect
from biasvar.montecarlo.gauss import legendre_nodes
from biasvar.montecarlo.linear_algebra import matmul

Array = NDArray[np.float64]
BISECTIONS = 40
NODES = 16  # per panel


@dataclass(frozen=True)
class Panels:
    """A one-dimensional rule: Gauss-Legendre nodes on each of several panels.

    Parameters
    ----------
    edges : ndarray of shape (panels + 1,)
        Ends of the panels, ascending.
    size : int
        Nodes per panel.

    Examples
    --------
    >>> panels = Panels(np.array([-1.0, 0.0, 1.0]), 8)
    >>> weighted = panels.weights * panels.nodes**3
    >>> bool(np.isclose(panels.partial_sums(weighted[None], np.array([0]), np.array([0.5]))[0], (0.5**4 - 1) / 4))
    True
    """

    edges: Array
    size: int

    @property
    def nodes(self) -> Array:
        """Nodes, shape (panels * size,), ascending."""
        left, right = self.edges[:-1, None], self.edges[1:, None]
        return np.asarray((left + right) / 2 + (right - left) / 2 * legendre_nodes(self.size)[0]).reshape(-1)

    @property
    def weights(self) -> Array:
        """Weights of an integral over all panels."""
        return np.asarray(np.diff(self.edges)[:, None] / 2 * legendre_nodes(self.size)[1]).reshape(-1)

    def crossings(self, curves: Array) -> tuple[NDArray[np.int64], Array, NDArray[np.bool_]]:
        """Find where curves change from > 0 to <= 0 or back, by cubic interpolation within panels.

        Parameters
        ----------
        curves : ndarray of shape (rows, panels * size)
            Values at the nodes.

        Returns
        -------
        rows, places, rising : ndarray of shape (crossings,)
            Which curve, where, and whether it becomes positive there; the rows ascend, and the places in each.
        """
        positive = curves > 0
        rows, left = np.nonzero(positive[:, 1:] != positive[:, :-1])
        x, rising = self.nodes, ~positive[rows, left]
        panel = left // self.size
        between = (left + 1) % self.size == 0
        edge = self.edges[panel + 1]
        # Curves may jump at edges, so that each panel is asked on its own: is it past zero before the edge?
        before = (self._inside(curves, rows, panel, edge, left) > 0) == rising
        after = (self._inside(curves, rows, np.minimum(panel + 1, len(self.edges) - 2), edge, left) > 0) != rising
        panel = np.where(between & ~before & after, panel + 1, panel)
        low = np.where(between & ~before, edge, x[left])
        high = np.where(between & (before | ~after), edge, x[left + 1])
        support = self._support(panel, left)
        at, values = x[support], curves[rows[:, None], support]
        places = bisect(lambda x: (_cubic(at, values, x) > 0) != rising, low, high, BISECTIONS)
        return rows.astype(np.int64), places, rising

    def over_positive(self, curves: Array, weighted: Array) -> Array:
        """Integrate functions over where curves are positive.

        Parameters
        ----------
        curves, weighted : ndarray of shape (rows, panels * size)
            The curves' values at the nodes; the functions' there, times weights.
        """
        rows, places, rising = self.crossings(curves)
        partial = self.partial_sums(weighted, rows, places)
        total = np.bincount(rows, np.where(rising, -partial, partial), minlength=len(curves))
        return np.asarray(total + (curves[:, -1] > 0) * weighted.sum(axis=1))

    def refined(self, curve: Array, size: int) -> Array:
        """Return a curve, given at the nodes, at those of the same panels with ``size`` nodes each."""
        degree = self.size - 1
        there = np.polynomial.legendre.legvander(legendre_nodes(size)[0], degree)
        here = _legendre_at_nodes(self.size)[:, : self.size]
        scale = legendre_nodes(self.size)[1][:, None] * (2 * np.arange(self.size) + 1) / 2
        return np.asarray(matmul(matmul(curve.reshape(-1, self.size), here * scale), there.T)).reshape(-1)

    def _support(self, panel: NDArray[np.int64], left: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the four nodes of a panel that are nearest to the node ``left`` and the one after it."""
        first = np.clip(left - 1, panel * self.size, (panel + 1) * self.size - 4)
        return first[:, None] + np.arange(4)

    def _inside(
        self, curves: Array, rows: NDArray[np.int64], panel: NDArray[np.int64], at: Array, left: NDArray[np.int64]
    ) -> Array:
        """Evaluate curves by the nodes of one panel alone."""
        support = self._support(panel, left)
        return _cubic(self.nodes[support], curves[rows[:, None], support], at)

    def partial_sums(self, weighted: Array, rows: NDArray[np.int64], places: Array) -> Array:
        """Integrate functions from the left end to given places.

        Parameters
        ----------
        weighted : ndarray of shape (rows, panels * size)
            Values at the nodes times weights.
        rows, places : ndarray of shape (places,)
            Which function is integrated, and how far.
        """
        panel = np.clip(np.searchsorted(self.edges, places, side="right") - 1, 0, len(self.edges) - 2)
        whole = weighted.reshape(len(weighted), -1, self.size)
        before = np.zeros((len(weighted), whole.shape[1] + 1))
        before[:, 1:] = np.cumsum(whole.sum(axis=2), axis=1)
        left, right = self.edges[panel], self.edges[panel + 1]
        share = _shares(self.size, (2 * places - left - right) / (right - left))
        return np.asarray(before[rows, panel] + (share * whole[rows, panel]).sum(axis=1))


def _cubic(x: Array, y: Array, at: Array) -> Array:
    """Evaluate, row by row, the polynomials through points x, y (rows, 4)."""
    out = np.zeros(len(at))
    for i in range(4):
        others = [j for j in range(4) if j != i]
        out += y[:, i] * np.prod([(at - x[:, j]) / (x[:, i] - x[:, j]) for j in others], axis=0)
    return out


@lru_cache(maxsize=16)
def _legendre_at_nodes(size: int) -> Array:
    return np.asarray(np.polynomial.legendre.legvander(legendre_nodes(size)[0], size), dtype=float)


def _shares(size: int, t: Array) -> Array:
    """Return which share of each node's weight lies left of t in [-1, 1], shape (len(t), size).

    The integral of the polynomial that is 1 at node j and 0 at the others, over its integral over all: with P_k the
    Legendre polynomials, (1 + t)/2 + sum_k P_k(x_j) (P_{k+1}(t) - P_{k-1}(t)) / 2.
    """
    p = np.polynomial.legendre.legvander(t, size)
    steps = p[:, 2:] - p[:, :-2]  # P_{k+1} - P_{k-1} for k = 1 .. size - 1
    return np.asarray((1 + t)[:, None] / 2 + matmul(steps, _legendre_at_nodes(size)[:, 1:size].T) / 2)
