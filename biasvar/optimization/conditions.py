"""Four conditions of convexity as one quantity, the curvature v'Hv averaged along segments, and what rounding hides.

With D(a, b) = f(a) - f(b) - <grad f(b), a - b> and l = |y - x|,

    jensen        2 ((1 - theta) f(x) + theta f(y) - f(z)) / (theta (1 - theta) l^2)
    first_order   2 D(y, x) / l^2
    monotone      <grad f(y) - grad f(x), y - x> / l^2
    second_order  the least eigenvalue of H(x), by Lanczos' method

lie between the least and the greatest curvature of the domain, and below zero nowhere if f is convex there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from biasvar.errors import StudyError
from biasvar.montecarlo.linear_algebra import matmul
from biasvar.montecarlo.ranks import least, quantiles
from biasvar.optimization.lanczos import Lanczos, lanczos
from biasvar.optimization.noise import EPS, POINTS, WIDTHS, line_places, noise_on_lines
from biasvar.optimization.segments import Segments

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

CONDITIONS = ("jensen", "first_order", "monotone", "second_order")

ROUNDING = 4.0  # times the size of what is added up
NOISE = 16.0  # times the deviation of the noise
EIGENVALUES = 8.0  # times D and the size of the matrix
BY_DIFFERENCES = 1e-8  # of the size of a Hessian: how far products by differences of gradients may be off
STEP = float(np.cbrt(EPS))  # of differences, in spreads
NEARER = STEP / 6
COARSE = 2.5e-3  # of the size of points, which steps are not shorter shares of
DOUBTS = 4.0  # changes between such steps
LINES = 32  # along which noise is looked for
LINES_OF_PRODUCTS = 16
FLAT_LINES = 0.25  # share of lines without any change, from which on values are stairs
TILE = 2**19  # numbers in a vector of Lanczos' bases


@dataclass(frozen=True)
class Surface:
    """A function and those of its derivatives that it has.

    Parameters
    ----------
    value : callable
        Of points (K, D), shape (K,); infinite outside its domain.
    gradient : callable, optional
        Of points, shape (K, D).
    product : callable, optional
        The Hessian at points times vectors, both (K, D); differences of gradients unless given.
    """

    value: Callable[[Array], Array]
    gradient: Callable[[Array], Array] | None = None
    product: Callable[[Array, Array], Array] | None = None

    @property
    def conditions(self) -> tuple[str, ...]:
        """The conditions that can be measured."""
        return CONDITIONS if self.gradient is not None else CONDITIONS[:1]

    @property
    def by_differences(self) -> bool:
        """Whether products with the Hessian are differences of gradients."""
        return self.product is None

    def values(self, points: Array) -> Array:
        """Return values, shape (K,): numbers, or infinity outside the domain.

        Raises
        ------
        StudyError
            Where one is something else.
        """
        with np.errstate(all="ignore"):
            found = np.asarray(self.value(points), dtype=float)
        return _refusing(found, points, np.isnan(found) | (found == -np.inf), "value")

    def gradients(self, points: Array) -> Array:
        """Return gradients, shape (K, D), at points inside the domain."""
        assert self.gradient is not None
        with np.errstate(all="ignore"):
            found = np.asarray(self.gradient(points), dtype=float)
        return _refusing(found, points, ~np.isfinite(found).all(axis=1), "gradient")

    def products(self, points: Array, vectors: Array, spread: Array, share: float = STEP) -> Array:
        """Return Hessians times vectors, shape (K, D), at points inside a domain that is spread so far.

        NaN where differences reach out of the domain.
        """
        if self.product is None:
            return self.differences(points, vectors, spread, share)
        with np.errstate(all="ignore"):
            found = np.asarray(self.product(points, vectors), dtype=float)
        return _refusing(found, points, ~np.isfinite(found).all(axis=1), "hessian_product")

    def differences(self, points: Array, vectors: Array, spread: Array, share: float) -> Array:
        """Return central differences of gradients, over steps that are a share of how far the domain is spread."""
        assert self.gradient is not None
        length = np.abs(vectors).max(axis=1, keepdims=True)
        relative = np.abs(vectors / np.where(spread > 0, spread, np.inf)).max(axis=1, keepdims=True)
        # Far from the origin rounding asks for longer ones.
        coarse = COARSE * np.abs(points).max(axis=1, keepdims=True)
        with np.errstate(all="ignore"):
            step = share * np.where(length > 0, np.maximum(1 / relative, coarse / length), 1.0)
            above, below = (np.asarray(self.gradient(points + t * step * vectors), dtype=float) for t in (1, -1))
            found = (above - below) / (2 * step)
        return np.where(np.isfinite(found), found, np.nan)

    def curvatures(
        self, points: Array, start: Array, spread: Array, tangent: Array | None = None, share: float = STEP
    ) -> Lanczos:
        """Return what Lanczos' method tells of the Hessians at points, along directions that tangents span."""
        if tangent is None:
            return lanczos(lambda v: self.products(points, v, spread, share), start)
        rank = tangent.shape[1]
        across = lambda v: matmul(tangent, v.T).T  # noqa: E731
        return lanczos(
            lambda v: matmul(tangent.T, self.products(points, across(v), spread, share).T).T, start[:, :rank]
        )


def _refusing(found: Array, points: Array, wrong: Mask, name: str) -> Array:
    if wrong.any():
        first = int(np.argmax(wrong))
        at = np.array2string(points[first], precision=8, threshold=6, max_line_width=10**6)
        shown = np.array2string(found[first], precision=8, threshold=6, max_line_width=10**6)
        raise StudyError(f"{name}: is {shown} at theta={at}; return inf where theta is outside the domain")
    return found


@dataclass(frozen=True)
class Noise:
    """How noisy a quantity is: a part that is the same everywhere, and one that goes with its size."""

    absolute: float
    relative: float

    @classmethod
    def along(
        cls, function: Callable[[Array, Array], Array], segments: Segments, count: int, known: Array | None = None
    ) -> "Noise":
        """Estimate the noise of a function of points and directions from its values along the first few segments.

        Stairs are looked for in values that are ``known``.
        """
        some = np.arange(min(count, len(segments)))
        places, per_line = line_places().ravel(), len(WIDTHS) * POINTS
        along = np.repeat(segments.along[some], per_line, axis=0)
        points = np.repeat(segments.x[some], per_line, axis=0) + np.tile(places, len(some))[:, None] * along
        with np.errstate(all="ignore"):
            values = np.asarray(function(points, along), dtype=float).reshape(len(some), len(WIDTHS), POINTS)
            found = noise_on_lines(values)
            shares = found / np.abs(values).max(axis=(1, 2))
        shares = np.where(np.isfinite(shares), shares, 0.0)
        height, share = (0.0, 0.0) if known is None else _stairs(values, known)
        absolute, relative = float(quantiles(found, (0.9,))[0]), float(quantiles(shares, (0.1,))[0])
        return cls(max(absolute, height / ROUNDING), max(EPS, share, relative))

    def margin(self, size: Array) -> Array:
        """Return what may be the noise alone of a sum of numbers whose sizes add up to ``size``."""
        return ROUNDING * self.relative * size + NOISE * self.absolute


def _stairs(values: Array, known: Array) -> tuple[float, float]:
    """Return how high the lowest stairs are that values of few digits make, and relative to these values.

    Zeros where values along lines are not flat.
    """
    flat = np.ptp(values[:, :-1], axis=(1, 2)) == 0  # but for the widest
    levels = np.unique(known[np.isfinite(known)]) if flat.mean() >= FLAT_LINES else known[:0]
    if len(levels) < 2:
        return 0.0, 0.0
    heights, sizes = np.diff(levels), np.maximum(np.abs(levels[1:]), np.abs(levels[:-1]))
    return float(heights.min()), float((heights / sizes).min())


@dataclass(frozen=True)
class Measured:
    """One condition on K segments.

    Parameters
    ----------
    gap : ndarray of shape (K,)
        What is not negative of a convex function; minus infinity where a point between two of the domain is outside,
        NaN where nothing could be measured.
    margin : ndarray of shape (K,)
        How far below zero rounding may put it.
    per_gap : ndarray of shape (K,)
        What turns gaps into curvatures.
    at : ndarray of shape (K, D)
        A point that stands for the segment.
    greatest : ndarray of shape (K,), optional
        The greatest curvature there, where it is not the least.
    """

    gap: Array
    margin: Array
    per_gap: Array
    at: Array
    greatest: Array | None = None

    @cached_property
    def violated(self) -> Mask:
        """Which segments violate the condition."""
        return self.gap < -self.margin

    @property
    def tied(self) -> Mask:
        """Where rounding hides whether they do."""
        return (np.abs(self.gap) <= self.margin) & (self.margin > 0)

    @cached_property
    def curvature(self) -> Array:
        """Curvature averaged along each segment."""
        return self.gap * self.per_gap

    @property
    def at_most(self) -> float:
        """A number that the least curvature of the domain does not exceed, whatever rounding does."""
        return float(_finite(self.curvature + self.margin * self.per_gap).min(initial=np.inf))

    @property
    def at_least(self) -> float:
        """A number that the greatest curvature of the domain is not below."""
        most = self.curvature if self.greatest is None else self.greatest
        return float(_finite(most - self.margin * self.per_gap).max(initial=-np.inf))

    def worst(self, count: int) -> NDArray[np.intp]:
        """Return which segments violate the condition most, in margins; as many as there are, ``count`` at most."""
        some = np.flatnonzero(self.violated)
        return some[least(self.gap[some] / self.margin[some], count)]


def _dot(one: Array, other: Array) -> Array:
    products: Array = (one * other).sum(axis=1)
    return products


def _finite(values: Array) -> Array:
    return values[np.isfinite(values)]


@dataclass(frozen=True)
class Sample:
    """A surface on segments with both ends inside its domain; each thing is evaluated once, when it is asked for.

    Parameters
    ----------
    surface : Surface
        The function.
    segments : Segments
        The segments.
    fx, fy : ndarray of shape (K,)
        Values at their ends.
    start : ndarray of shape (K, D)
        Where Lanczos' bases begin.
    """

    surface: Surface
    segments: Segments
    fx: Array
    fy: Array
    start: Array

    @classmethod
    def of(cls, surface: Surface, segments: Segments, start: Array) -> "Sample":
        """Evaluate a surface at the ends of segments, and leave out those that are not inside, or are points."""
        fx, fy = surface.values(segments.x), surface.values(segments.y)
        inside = np.isfinite(fx) & np.isfinite(fy) & (segments.length2 > 0)
        if inside.all():
            return cls(surface, segments, fx, fy, start)
        return cls(surface, segments.chosen(inside), fx[inside], fy[inside], start[inside])

    def measured(self, condition: str) -> Measured:
        """Measure one of the four conditions."""
        measure: Callable[[], Measured] = getattr(self, f"_{condition}")
        return measure()

    @cached_property
    def noise(self) -> Noise:
        """Noise of values."""
        ends = np.concatenate([self.fx, self.fy])
        return Noise.along(lambda points, along: self.surface.values(points), self.segments, LINES, ends)

    @cached_property
    def noise_of_slopes(self) -> Noise:
        """Noise of slopes along segments."""

        def slope(points: Array, along: Array) -> Array:
            assert self.surface.gradient is not None
            return _dot(np.asarray(self.surface.gradient(points), dtype=float), along)

        return Noise.along(slope, self.segments, LINES)

    @cached_property
    def noise_of_curvature(self) -> Noise:
        """Noise of curvatures along segments."""

        def curvature(points: Array, along: Array) -> Array:
            unit = along / np.sqrt(_dot(along, along))[:, None]
            if self.surface.product is None:
                return _dot(self.surface.differences(points, unit, self.segments.spread, STEP), unit)
            return _dot(np.asarray(self.surface.product(points, unit), dtype=float), unit)

        return Noise.along(curvature, self.segments, LINES_OF_PRODUCTS)

    @cached_property
    def slopes(self) -> tuple[Array, Array, Array, Array]:
        """Slopes along segments at both ends, each with the sum of the sizes of its terms."""
        found: list[Array] = []
        for points in (self.segments.x, self.segments.y):
            terms = self.surface.gradients(points) * self.segments.along
            found += [terms.sum(axis=1), np.abs(terms).sum(axis=1)]
        return found[0], found[1], found[2], found[3]

    @cached_property
    def eigenvalues(self) -> tuple[Array, Array]:
        """Least and greatest Ritz values of the Hessians at x."""
        return self._ritz_values(STEP)

    def _ritz_values(self, share: float) -> tuple[Array, Array]:
        count, dim = self.segments.x.shape
        size = max(1, TILE // dim)
        found = [self.curvatures(slice(first, first + size), share) for first in range(0, count, size)]
        return np.concatenate([one.least for one in found]), np.concatenate([one.greatest for one in found])

    def curvatures(self, which: slice | NDArray[np.intp], share: float = STEP) -> Lanczos:
        """Return what Lanczos' method tells of the Hessians at some of the points x."""
        segments = self.segments
        x, start = segments.x[which], self.start[which]
        return self.surface.curvatures(x, start, segments.spread, segments.tangent, share)

    def chord_margin(self, fx: Array, fy: Array, fz: Array, theta: Array) -> Array:
        """Return how far above its chord rounding may put a convex function."""
        return self.noise.margin((1 - theta) * np.abs(fx) + theta * np.abs(fy) + np.abs(fz))

    def chord_gap(self, fx: Array, fy: Array, fz: Array, theta: Array) -> tuple[Array, Array]:
        """Return how far a function is below its chord, and the margin; minus infinity where z is outside."""
        outside = ~np.isfinite(fz)
        fz = np.where(outside, 0.0, fz)
        gap = np.where(outside, -np.inf, (1 - theta) * (fx - fz) + theta * (fy - fz))
        return gap, self.chord_margin(fx, fy, fz, theta)

    def _jensen(self) -> Measured:
        theta, z = self.segments.theta, self.segments.z
        gap, margin = self.chord_gap(self.fx, self.fy, self.surface.values(z), theta)
        return Measured(gap, margin, 2 / (theta * (1 - theta) * self.segments.length2), z)

    def _first_order(self) -> Measured:
        slope, size, _, _ = self.slopes
        margin = self.noise.margin(np.abs(self.fx) + np.abs(self.fy)) + self.noise_of_slopes.margin(size)
        if np.ptp(np.concatenate([self.fx, self.fy])) == 0 and slope.any():
            # Values that never change though slopes say so are too coarse to tell.
            margin = np.full_like(margin, np.inf)
        return Measured(self.fy - self.fx - slope, margin, 2 / self.segments.length2, self.segments.x)

    def _monotone(self) -> Measured:
        slope, size, other, other_size = self.slopes
        margin = self.noise_of_slopes.margin(size + other_size)
        return Measured(other - slope, margin, 1 / self.segments.length2, self.segments.z)

    def _second_order(self) -> Measured:
        lowest, greatest = self.eigenvalues
        margin = self.eigenvalue_margin(lowest, greatest)
        if self.surface.by_differences:
            margin += doubt((lowest, greatest), self._ritz_values(NEARER))
        return Measured(lowest, margin, np.ones_like(lowest), self.segments.x, greatest)

    def eigenvalue_margin(self, lowest: Array, greatest: Array) -> Array:
        """Return how far below zero rounding may put the least eigenvalue of a matrix that has none there."""
        size = np.maximum(np.abs(lowest), np.abs(greatest))
        # Terms that cancel here are as large as the Hessian is elsewhere.
        rounding = EIGENVALUES * self.segments.x.shape[1] * EPS * self._largest
        margin: Array = rounding + BY_DIFFERENCES * self.surface.by_differences * size
        return margin + self.noise_of_curvature.margin(size)

    @cached_property
    def _largest(self) -> float:
        """The largest eigenvalue in size."""
        return float(max(np.abs(_finite(part)).max(initial=0.0) for part in self.eigenvalues))


def doubt(usual: tuple[Array, Array], nearer: tuple[Array, Array]) -> Array:
    """Return how far off eigenvalues by differences may be, from what they are by differences of nearer points.

    Differences reach across where a function bends sharply, as it does beside the border of its domain.
    """
    change = np.maximum(*(np.abs(one - other) for one, other in zip(usual, nearer, strict=True)))
    return np.where(np.isfinite(change), DOUBTS * change, np.inf)
