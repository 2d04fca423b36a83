"""Every violation of every condition ends in a chord; the theorem's identities; exact points; the second lock."""

from fractions import Fraction
from functools import partial

import numpy as np
import pytest

import biasvar as bv
from biasvar.errors import StudyError
from biasvar.optimization.conditions import CONDITIONS, Sample, Surface
from biasvar.optimization.segments import Domain, Grid, Segments
from biasvar.optimization.witnesses import Chord, Prover


def sample_of(objective, within, count, seed=0):
    rng = np.random.default_rng(seed)
    domain = Domain(within.dim, within.uniforms_per_point, within.place, within.contains)
    segments = Segments.draw(domain, rng, count)
    own = objective.hessian_product if objective.has_hessian_product else None
    surface = Surface(objective.value, objective.gradient, own)
    return Sample.of(surface, segments, rng.standard_normal((within.dim, count)).T), segments.reach(domain)


def prover(objective, within, count):
    sample, inside = sample_of(objective, within, count)
    return sample, Prover(sample, inside, lambda: np.random.default_rng(1))


VALLEY = bv.Rosenbrock(), bv.Box(-2, 2, dim=2)
NETWORK = bv.EmpiricalRisk(data="iris", loss="squared", model=bv.MLP(width=3)), bv.Ball(4, dim=19)


@pytest.mark.parametrize(("function", "count"), [(VALLEY, 1000), (NETWORK, 100)], ids=["valley", "network"])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_each_violation_ends_in_a_chord_of_its_own(condition, function, count):
    sample, turn = prover(*function, count)
    violated = np.flatnonzero(sample.measured(condition).violated)[:60]
    assert len(violated) > 3
    chords = [turn.chord(condition, np.array([i])) for i in violated]
    # A chord of its own that hardly lies below may be lost to the shifts; a ladder has others.
    assert chords.count(None) <= (len(chords) / 20 if condition == "jensen" else 0)
    for chord in filter(None, chords):
        assert chord.gap < -chord.margin
        fx, fy, fz = sample.surface.values(np.stack([chord.x, chord.y, chord.z]))
        assert (1 - chord.theta) * fx + chord.theta * fy < fz
        assert function[1].contains(np.stack([chord.x, chord.y])).all()


def test_the_identities_of_the_proofs():
    sample, _ = sample_of(*VALLEY, 1000)
    f, g, s = sample.surface.values, sample.surface.gradients, sample.segments

    def above(a, b):
        return f(a) - f(b) - (g(b) * (a - b)).sum(axis=1)

    jensen = sample.measured("jensen").gap
    scale = np.abs(f(s.x)) + np.abs(f(s.y)) + np.abs(f(s.z))
    assert (abs(jensen - (1 - s.theta) * above(s.x, s.z) - s.theta * above(s.y, s.z)) < 1e-12 * scale).all()
    first, monotone = sample.measured("first_order").gap, sample.measured("monotone").gap
    assert np.allclose(first, above(s.y, s.x), atol=1e-9)
    assert np.allclose(monotone, above(s.y, s.x) + above(s.x, s.y), atol=1e-8)


def test_curvatures_of_a_quadratic_are_the_same_along_each_segment():
    sample, _ = sample_of(bv.Quadratic([1, 100]), bv.Ball(1, dim=2), 500)
    found = [sample.measured(condition).curvature for condition in CONDITIONS[:3]]
    s = sample.segments
    exact = (s.along**2 * np.array([1, 100])).sum(axis=1) / s.length2
    for each in found:
        assert np.allclose(each, exact, rtol=1e-6)


@pytest.mark.parametrize("low", [-1.0, 1e-3, 1e6, -1e12])
def test_points_between_any_two_of_a_grid_are_exact(low):
    rng = np.random.default_rng(0)
    points = low + rng.random((200, 3)) * np.array([1.0, 1e-3, 50.0])
    grid = Grid.of(points)
    x, y = grid.rounded(points[:100]), grid.rounded(points[100:])
    segments = Segments(x, y, grid.thetas(rng.random(100)), grid)
    assert ((segments.theta > 0) & (segments.theta < 1)).all()
    for i in range(100):
        for d in range(3):
            a, b, t, z = (Fraction(float(each)) for each in (x[i, d], y[i, d], segments.theta[i], segments.z[i, d]))
            assert z == a + t * (b - a)


def test_a_chord_that_rounding_made_does_not_hold_when_it_is_shifted():
    """The worst raw triple of a linear function: margins lock it out, and so do the shifts."""
    slope = np.array([0.3, -1.7])
    domain = Domain(2, 2, lambda u: 4 * u - 2)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        segments = Segments.draw(domain, rng, 4096)
        sample = Sample.of(Surface(lambda t: t @ slope + 3), segments, np.empty((4096, 2)))
        gap = sample.measured("jensen").gap
        i = int(np.argmin(gap))
        assert gap[i] < 0
        chord = Chord(segments.x[i], segments.y[i], float(segments.theta[i]), float(gap[i]), 0.0)
        shifts = partial(np.random.default_rng, 100 + seed)
        assert not Prover(sample, lambda points: np.ones(len(points), bool), shifts)._holds(chord)


def test_what_is_no_number_is_told_where():
    surface = Surface(lambda t: np.where(t[:, 0] > 0.5, np.nan, t[:, 0]))
    with pytest.raises(StudyError, match=r"value: is nan at theta=\[0.75\]; return inf where theta is outside"):
        surface.values(np.array([[0.25], [0.75]]))
    falling = Surface(lambda t: np.log(t[:, 0]))
    with pytest.raises(StudyError, match=r"value: is -inf at theta=\[0.\]"):
        falling.values(np.array([[0.0]]))
