"""A search for negative curvature: downhill in the least eigenvalue of the Hessian, from where that is least.

It finds smooth dents that random points miss, since eigenvalues fall towards them from afar; not compact ones.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from biasvar.montecarlo.linear_algebra import matmul
from biasvar.optimization.conditions import NEARER, Sample, doubt

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

STEPS = 30
FIRST = 0.25  # length of a step, in spreads of the domain
LONGER, SHORTER = 1.5, 0.5
SHORTEST = 1e-3  # below which a search is given up
APART = 1e-3  # of points of a second difference of gradients, in spreads


def least_curvature(sample: Sample, inside: Callable[[Array], Mask], starts: NDArray[np.intp]) -> tuple[Array, ...]:
    """Follow the least eigenvalue downhill from some points of a sample.

    Its slope is the gradient of v'H(x)v for the eigenvector v, a second difference of gradients.

    Parameters
    ----------
    sample : Sample
        A function with gradients and Hessian products on segments.
    inside : callable
        Which points (K, D) belong to the domain, which steps do not leave.
    starts : ndarray of int
        From which of the points x.

    Returns
    -------
    least, margin : ndarray of shape (n,)
        The least eigenvalues found, and how far below zero rounding may put them.
    points, vectors : ndarray of shape (n, D)
        Where, and their eigenvectors.
    """
    segments = sample.segments
    x, start, tangent = segments.x[starts], sample.start[starts], segments.tangent
    scale = np.where(segments.spread > 0, segments.spread, 0.0)
    least, margin, vectors = _curvature(sample, x, start)
    length = np.full(len(x), FIRST)
    for _ in range(STEPS):
        if ((least < -margin) | (length < SHORTEST)).all():
            break
        downhill = -scale * _slope(sample, x, vectors, scale)
        if tangent is not None:
            along = matmul(tangent, matmul(tangent.T, (downhill * scale).T)).T
            downhill = along / np.where(scale > 0, scale, 1.0)
        size = np.abs(downhill).max(axis=1)
        going = np.isfinite(size) & (size > 0)
        if not going.any():
            break
        steps = np.where(going, length / np.where(going, size, 1.0), 0.0)[:, None] * downhill * scale
        trial = x + steps
        allowed = going & inside(trial)
        allowed[allowed] = np.isfinite(sample.surface.values(trial[allowed]))
        better = np.zeros(len(x), bool)
        if allowed.any():
            found = _curvature(sample, trial[allowed], start[allowed])
            better[allowed] = found[0] < least[allowed]
            lower = better[allowed]
            x[better] = trial[better]
            least[better], margin[better], vectors[better] = (part[lower] for part in found)
        length *= np.where(better, LONGER, SHORTER)
    return least, margin, x, vectors


def _curvature(sample: Sample, x: Array, start: Array) -> tuple[Array, Array, Array]:
    surface, spread, tangent = sample.surface, sample.segments.spread, sample.segments.tangent
    found = surface.curvatures(x, start, spread, tangent)
    vectors = sample.segments.in_space(found.least_vector)
    margin = sample.eigenvalue_margin(found.least, found.greatest)
    if surface.by_differences:
        nearer = surface.curvatures(x, start, spread, tangent, NEARER)
        margin += doubt((found.least, found.greatest), (nearer.least, nearer.greatest))
    return found.least.copy(), margin, vectors


def _slope(sample: Sample, x: Array, vectors: Array, scale: Array) -> Array:
    """Return the gradient of v'H(x)v, shape (n, D); NaN where points beside x are outside the domain."""
    gradient = sample.surface.gradient
    assert gradient is not None
    size = np.abs(vectors / np.where(scale > 0, scale, np.inf)).max(axis=1, keepdims=True)
    step = APART / size
    with np.errstate(all="ignore"):
        points = np.concatenate([x + t * step * vectors for t in (1, 0, -1)])
        above, middle, below = np.asarray(gradient(points), dtype=float).reshape(3, *x.shape)
    difference: Array = (above - 2 * middle + below) / step**2
    return difference
