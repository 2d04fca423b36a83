"""What a block of segments says of one condition: numbers, and the worst violation as a chord."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from biasvar.montecarlo.linear_algebra import dots
from biasvar.montecarlo.ranks import least, quantiles
from biasvar.optimization.conditions import Measured, Sample
from biasvar.optimization.dents import least_curvature
from biasvar.optimization.witnesses import CANDIDATES, Chord, Prover

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

QUANTILES = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
PLACES = 65  # along a chord at which the function is kept
POINTS = 128  # of a block that are kept in the plane


@dataclass(frozen=True)
class Evidence:
    """One condition on one block.

    Parameters
    ----------
    tested, violations, ties, between : int
        Segments with both ends in the domain; of these, how many violate the condition, how many rounding hides, and
        how many have a point outside between their ends.
    at_most, at_least : float
        Bounds of the least and greatest curvature of the domain.
    found : float
        The least curvature that a search found; NaN without one.
    noise : float
        Deviation of the noise in values.
    contradicted : bool
        Whether a violation goes back to derivatives that are not those of the values.
    chord : Chord, optional
        The worst violation.
    theta : float
        Where the point between lies: on the chord, else on the longest segment.
    profile : ndarray of shape (PLACES,)
        The function along that.
    slope : float
        Of its tangent at the point between, per length of the segment.
    quantiles : ndarray of shape (9,)
        Quantiles of the curvature.
    points : ndarray of shape (POINTS, D + 1)
        A few points with their curvature.
    """

    tested: int = 0
    violations: int = 0
    ties: int = 0
    between: int = 0
    at_most: float = np.nan
    at_least: float = np.nan
    found: float = np.nan
    noise: float = np.nan
    contradicted: bool = False
    chord: Chord | None = None
    theta: float = np.nan
    profile: Array = field(default_factory=lambda: np.full(PLACES, np.nan))
    slope: float = np.nan
    quantiles: Array = field(default_factory=lambda: np.full(len(QUANTILES), np.nan))
    points: Array = field(default_factory=lambda: np.empty((0, 0)))

    @classmethod
    def of(
        cls,
        sample: Sample,
        condition: str,
        inside: Callable[[Array], Mask],
        generator: Callable[[], np.random.Generator],
        search: int,
    ) -> "Evidence":
        """Measure a condition, and turn what violates it into a chord.

        Parameters
        ----------
        sample : Sample
            A function on segments.
        condition : str
            Which condition.
        inside : callable
            Which points belong to the domain.
        generator : callable
            Makes what a witness is shifted by.
        search : int
            Points from which negative curvature is searched where no segment has any.
        """
        if not len(sample.segments):
            return cls()
        measured, prover = sample.measured(condition), Prover(sample, inside, generator)
        worst = measured.worst(CANDIDATES)
        chord, found = prover.chord(condition, worst), np.nan
        contradicted = chord is None and prover.contradiction(condition, worst)
        if condition == "second_order" and search and not len(worst) and sample.surface.gradient is not None:
            starts = least(measured.gap, search)
            curvature, margin, points, vectors = least_curvature(sample, inside, starts)
            found, dents = float(np.nanmin(curvature + margin)), curvature < -margin
            chord = prover.chord_along(points[dents], vectors[dents]) if dents.any() else None
        finite = measured.curvature[np.isfinite(measured.curvature)]
        shown = chord or _longest(sample)
        return cls(
            tested=int((~np.isnan(measured.gap)).sum()),
            violations=int(measured.violated.sum()),
            ties=int(measured.tied.sum()),
            between=int((measured.gap == -np.inf).sum()),
            at_most=measured.at_most,
            at_least=measured.at_least,
            found=found,
            noise=sample.noise.absolute,
            contradicted=contradicted,
            chord=chord,
            quantiles=quantiles(finite, QUANTILES),
            points=_points(measured),
            theta=shown.theta,
            profile=_profile(sample, shown),
            slope=_slope(sample, shown),
        )


def _points(measured: Measured) -> Array:
    found = np.full((POINTS, measured.at.shape[1] + 1), np.nan)
    some = min(POINTS, len(measured.at))
    found[:some, :-1], found[:some, -1] = measured.at[:some], measured.curvature[:some]
    return found


def _longest(sample: Sample) -> Chord:
    """Return the chord of the longest segment; whether it lies below the function is not asked."""
    segments = sample.segments
    i = int(np.argmax(segments.length2))
    return Chord(segments.x[i], segments.y[i], 0.5, np.nan, np.nan)


def _profile(sample: Sample, chord: Chord) -> Array:
    """Return the function along a chord."""
    return sample.surface.values(chord.x + np.linspace(0, 1, PLACES)[:, None] * (chord.y - chord.x))


def _slope(sample: Sample, chord: Chord) -> float:
    """Return the slope of the tangent at the point between; NaN where that is outside the domain."""
    surface = sample.surface
    if surface.gradient is None or not np.isfinite(surface.values(chord.z[None])).all():
        return np.nan
    return float(dots(surface.gradients(chord.z[None])[0], chord.y - chord.x))
