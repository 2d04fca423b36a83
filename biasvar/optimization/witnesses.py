"""From a violation of any condition to one chord that lies below a function, told by values alone.

The first-order characterisation of convex functions, and both its proofs, are the way. J = (1 - theta) D(x, z) +
theta D(y, z): a chord below f is a violation of the first-order condition at z. And J / theta -> D(y, x) as theta -> 0:
such a violation gives a chord at some theta = 2^-k. Monotone gradients are D(x, y) + D(y, x), and a negative eigenvalue
of the Hessian at z is a chord from z - h v to z + h v.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from biasvar.montecarlo.linear_algebra import dots
from biasvar.optimization.conditions import Sample
from biasvar.optimization.derivatives import compare

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

CANDIDATES = 8  # violations that chords are looked for from
HALVINGS = 28  # of the length of a segment along an eigenvector
LONGEST = 4.0  # spreads of the domain
CHECKED = 4  # of the chords found
SHIFTS = 32
SHIFT = 2.0**-14  # of a segment, by which it is shifted
ENOUGH = 8  # shifts that have to tell


class Chord(NamedTuple):
    """A chord that lies below a function, by ``gap``, negative; ``margin`` is what rounding may do."""

    x: Array
    y: Array
    theta: float
    gap: float
    margin: float

    @property
    def z(self) -> Array:
        """The point between."""
        return self.x + self.theta * (self.y - self.x)


@dataclass(frozen=True)
class Prover:
    """What turns violations into chords.

    Parameters
    ----------
    sample : Sample
        The function on segments.
    inside : callable
        Which points (K, D) belong to the domain that convexity is asked on.
    new_generator : callable
        Makes what shifts are drawn from.
    """

    sample: Sample
    inside: Callable[[Array], Mask]
    new_generator: Callable[[], np.random.Generator]

    @cached_property
    def generator(self) -> np.random.Generator:
        """What shifts are drawn from; making one takes longer than many a block without a chord."""
        return self.new_generator()

    def chord(self, condition: str, which: NDArray[np.intp]) -> Chord | None:
        """Return a chord found from segments that violate a condition; None if there is none."""
        if not len(which):
            return None
        segments = self.sample.segments
        x, y, theta = segments.x[which], segments.y[which], segments.theta[which]
        if condition == "jensen":
            return self._best(x, y, theta)
        if condition == "second_order":
            return self.chord_along(x, self._eigenvectors(which))
        shares = np.ldexp(1.0, -np.arange(1, segments.grid.theta_digits + 1))
        ends = [(x, y), (y, x)] if condition == "monotone" else [(x, y)]
        several = [(_each(a, shares), _each(b, shares), np.tile(shares, len(a))) for a, b in ends]
        return self._best(*(np.concatenate(parts) for parts in zip(*several, strict=True)))

    def chord_along(self, points: Array, vectors: Array) -> Chord | None:
        """Return a chord found on both sides of points, along vectors in which the curvature is negative."""
        segments = self.sample.segments
        scale = np.where(segments.spread > 0, segments.spread, np.inf)
        longest = LONGEST / np.abs(vectors / scale).max(axis=1, keepdims=True)
        lengths = np.ldexp(1.0, -np.arange(HALVINGS))
        steps = (lengths[:, None, None] * (longest * vectors)).swapaxes(0, 1).reshape(-1, points.shape[1])
        # Halves of segments on the grid: the point between is exact.
        steps, middle = segments.grid.rounded(steps), segments.grid.rounded(np.repeat(points, HALVINGS, axis=0))
        moved = steps.any(axis=1)
        return self._best((middle - steps)[moved], (middle + steps)[moved], np.full(int(moved.sum()), 0.5))

    def contradiction(self, condition: str, which: NDArray[np.intp]) -> bool:
        """Tell whether derivatives at segments that violate a condition are wrong, by differences of values."""
        surface, segments = self.sample.surface, self.sample.segments
        if condition == "jensen" or not len(which):
            return False
        ends = [segments.x[which], segments.y[which]] if condition == "monotone" else [segments.x[which]]
        along = segments.along[which]
        if condition == "second_order":
            along = self._eigenvectors(which)
            along *= np.sqrt(np.square(segments.spread).sum()) / len(segments.spread) ** 0.5
        pairs = [(x, v) for points in ends for x, v in zip(points, along, strict=True)]
        if any(one.is_wrong for x, v in pairs for one in compare(surface.value, surface.gradients, x, [v])):
            return True
        if condition != "second_order" or surface.by_differences:
            return False

        def wrong(x: Array, v: Array) -> bool:
            slope = lambda points: dots(np.asarray(surface.gradient(points), dtype=float), v)  # type: ignore[misc]  # noqa: E731
            product = lambda points: surface.products(points, np.broadcast_to(v, points.shape), segments.spread)  # noqa: E731
            return any(one.is_wrong for one in compare(slope, product, x, [v]))

        return any(wrong(x, v) for x, v in pairs)

    def _eigenvectors(self, which: NDArray[np.intp]) -> Array:
        return self.sample.segments.in_space(self.sample.curvatures(which).least_vector)

    def _best(self, x: Array, y: Array, theta: Array) -> Chord | None:
        """Return the chord that lies below by the most margins, and still does when it is shifted."""
        gap, margin = self._gaps(x, y, theta, self.inside(x) & self.inside(y))
        below = np.flatnonzero(gap < -margin)
        order = below[np.argsort(gap[below] / margin[below], kind="stable")]
        for i in order[:CHECKED]:
            chord = Chord(x[i], y[i], float(theta[i]), float(gap[i]), float(margin[i]))
            if self._holds(chord):
                return chord
        return None

    def _gaps(self, x: Array, y: Array, theta: Array, allowed: Mask) -> tuple[Array, Array]:
        """Return gaps and margins; NaN where an end is not in the domain."""
        gap, margin = np.full(len(x), np.nan), np.full(len(x), np.nan)
        some = np.flatnonzero(allowed)
        if not len(some):
            return gap, margin
        x, y, theta = x[some], y[some], theta[some]
        ends = np.concatenate([x, y, x + theta[:, None] * (y - x)])
        fx, fy, fz = self.sample.surface.values(ends).reshape(3, -1)
        gap[some], margin[some] = self.sample.chord_gap(fx, fy, fz, theta)
        gap[some] = np.where(np.isfinite(fx) & np.isfinite(fy), gap[some], np.nan)
        return gap, margin

    def _holds(self, chord: Chord) -> bool:
        """Tell whether a chord still lies below when it is shifted: rounding changes sign then."""
        if chord.gap == -np.inf:  # no rounding puts a point outside that lies between two others
            return True
        segments = self.sample.segments
        scale = np.where(segments.spread > 0, segments.spread, np.inf)
        size = SHIFT * float(np.abs((chord.y - chord.x) / scale).max())
        # Along other segments, so that shifts stay in a flat domain.
        some = self.generator.integers(len(segments), size=SHIFTS)
        shifts = size * self.generator.uniform(-1, 1, size=(SHIFTS, 1)) * segments.along[some]
        shifts = segments.grid.rounded(shifts)
        theta = np.full(SHIFTS, chord.theta)
        gaps, _ = self._gaps(chord.x + shifts, chord.y + shifts, theta, np.ones(SHIFTS, bool))
        told = ~np.isnan(gaps)
        return bool(told.sum() >= ENOUGH and (gaps[told] < 0).all())


def _each(points: Array, shares: Array) -> Array:
    """Repeat each point for all shares."""
    return np.repeat(points, len(shares), axis=0)
