"""Tail indices: how often a verdict on which moments exist is wrong, over laws whose index is known.

Statistical tests have a false-alarm rate of at most 1e-4 each under the seeds' randomness, unless they say otherwise.
"""

import numpy as np
import pytest
from scipy import special, stats
from sklearn.svm import SVR

from biasvar.montecarlo import moments
from biasvar.montecarlo.tails import BOUNDED, UNKNOWN, Status, Tail, Tops, estimate_tail_index, status_of

SIZES = [(16, 16), (32, 128), (64, 4096), (256, 1)]  # blocks and replicates in each; the first is the smallest allowed
SHAPES = {256: (16, 16), 4096: (16, 256), 2**17: (32, 2**12)}  # by replicates: what records of 16 losses leave least of

#: Laws by what they are at the probability p of more, and their tail index.
LAWS = {
    "pareto 0.5": (lambda p: p**-2.0, 0.5),
    "pareto 0.8": (lambda p: p**-1.25, 0.8),
    "pareto 1.25": (lambda p: p**-0.8, 1.25),
    "pareto 1.5": (lambda p: p ** (-1 / 1.5), 1.5),
    "pareto 2.2": (lambda p: p ** (-1 / 2.2), 2.2),
    "pareto 3": (lambda p: p ** (-1 / 3), 3.0),
    "cauchy": (lambda p: 1 / np.tan(np.pi * p / 2), 1.0),
    "squared cauchy": (lambda p: 1 / np.tan(np.pi * p / 2) ** 2, 0.5),
    "squared t2": (lambda p: special.stdtrit(2, p / 2) ** 2, 1.0),
    "squared t3": (lambda p: special.stdtrit(3, p / 2) ** 2, 1.5),
    "squared t5": (lambda p: special.stdtrit(5, p / 2) ** 2, 2.5),
    "squared t10": (lambda p: special.stdtrit(10, p / 2) ** 2, 5.0),
    "squared exp(x^2/3)": (lambda p: np.exp(2 * special.ndtri(p / 2) ** 2 / 3), 0.75),
    "squared exp(x^2/5)": (lambda p: np.exp(2 * special.ndtri(p / 2) ** 2 / 5), 1.25),
    "squared normal": (lambda p: special.ndtri(p / 2) ** 2, np.inf),
    "exponential": (lambda p: -np.log(p), np.inf),
    "uniform": (lambda p: 1 - p, np.inf),
}
FALSE_ALARMS, MISSED = 0.02, 0.05


def tops(losses, kept=moments.TAIL_SIZE):
    """Each block's largest losses, as a record keeps them."""
    return np.array([moments.largest(row, kept) for row in losses])


def index_of(losses):
    return estimate_tail_index(tops(losses), losses.shape[1]).value


def verdict(block_tops, size):
    return status_of(estimate_tail_index(block_tops, size).most)


def largest_of(law, rng, blocks, size):
    """Draw the largest of many losses without the others: logarithms of uniforms' order statistics have known gaps."""
    kept = min(moments.TAIL_SIZE, size)
    gaps = rng.standard_exponential((blocks, kept)) / (size - np.arange(kept))
    return law(-np.expm1(-np.cumsum(gaps, axis=1)))[:, ::-1]


def verdicts(name, replicates, count):
    """Count the verdicts on many samples of a law."""
    rng = np.random.default_rng([replicates, list(LAWS).index(name)])
    blocks, size = SHAPES[replicates]
    found = [verdict(largest_of(LAWS[name][0], rng, blocks, size), size) for _ in range(count)]
    return {status: found.count(status) for status in (Status.OK, Status.SE_UNRELIABLE, Status.INFINITE)}


def is_above(count, of, rate):
    return stats.binomtest(count, of, rate, alternative="greater").pvalue < 1e-4


@pytest.mark.parametrize("replicates", SHAPES)
@pytest.mark.parametrize("name", LAWS)
def test_verdicts_are_wrong_no_more_often_than_is_said(name, replicates):
    count, index = 500, LAWS[name][1]
    found = verdicts(name, replicates, count)
    false_alarms = (found[Status.INFINITE] if index > 1 else 0) + (found[Status.SE_UNRELIABLE] if index > 2 else 0)
    assert not is_above(false_alarms, count, FALSE_ALARMS)
    if index <= 1 and replicates >= 4096:
        assert not is_above(found[Status.OK], count, MISSED)
    if index <= 1.25 and replicates >= 2**17:
        assert not is_above(found[Status.OK], count, 5 * MISSED)  # nor are losses without a variance


@pytest.mark.parametrize("name", [name for name, (_, index) in LAWS.items() if index <= 1])
def test_a_verdict_of_infinite_stays_as_a_sample_grows(name):
    rng = np.random.default_rng(list(LAWS).index(name))
    samples, size, flips = 300, 256, 0
    for _ in range(samples):
        drawn = largest_of(LAWS[name][0], rng, 512, size)
        found = [verdict(drawn[:blocks], size) for blocks in (16, 64, 512)]
        flips += Status.INFINITE in found[:-1] and found[-1] is Status.OK
    assert not is_above(flips, samples, MISSED)


def test_the_largest_are_drawn_as_if_all_were():
    rng = np.random.default_rng(0)
    drawn = np.array([largest_of(lambda p: 1 - p, rng, 1, 64)[0, [0, -1]] for _ in range(2000)]).T
    for values, rank in zip(drawn, (16, 1), strict=True):
        assert stats.kstest(values, stats.beta(64 + 1 - rank, rank).cdf).pvalue > 1e-4


def votes(rng, count):
    """Losses of averages of the three labels nearest, twelve noisy points of a sine: bounded, but for the noise."""
    at = np.linspace(-1, 1, 33)
    x = rng.uniform(-1, 1, (count, 12))
    y = np.sin(np.pi * x) + 0.1 * rng.standard_normal(x.shape)
    nearest = np.argpartition(np.abs(x[:, None, :] - at[:, None]), 2, axis=2)[..., :3]
    fits = np.take_along_axis(np.broadcast_to(y[:, None, :], (count, 33, 12)), nearest, axis=2).mean(axis=2)
    return ((fits - np.sin(np.pi * at)) ** 2).mean(axis=1)


def parabolas(rng, count):
    """Losses of parabolas through four points of |x|: tail index 2, and an atom where all points lie on one side."""
    x = rng.uniform(-1, 1, (count, 4))
    q, r = np.linalg.qr(x[..., None] ** np.arange(3))
    coefficients = np.linalg.solve(r, np.swapaxes(q, 1, 2) @ np.abs(x)[..., None])[..., 0]
    at, weights = np.polynomial.legendre.leggauss(32)
    return (coefficients @ at ** np.arange(3)[:, None] - np.abs(at)) ** 2 @ weights / 2


def trees(rng, count):
    """Losses of one split in the middle of five points: a step between two averages."""
    at = np.linspace(-1, 1, 33)
    x = np.sort(rng.uniform(-1, 1, (count, 5)), axis=1)
    y = np.sin(np.pi * x) + 0.1 * rng.standard_normal(x.shape)
    split = (x[:, 1] + x[:, 2])[:, None] / 2
    fits = np.where(at < split, y[:, :2].mean(axis=1, keepdims=True), y[:, 2:].mean(axis=1, keepdims=True))
    return ((fits - np.sin(np.pi * at)) ** 2).mean(axis=1)


@pytest.mark.parametrize(("replicates", "count"), [(256, 300), (4096, 60)])
@pytest.mark.parametrize("losses", [votes, trees, parabolas])
def test_fits_whose_loss_has_a_mean_are_not_called_infinite(losses, replicates, count):
    rng, (blocks, size) = np.random.default_rng(3), SHAPES[replicates]
    found = [verdict(tops(losses(rng, replicates).reshape(blocks, size)), size) for _ in range(count)]
    assert not is_above(found.count(Status.INFINITE), count, FALSE_ALARMS)
    if losses is not parabolas:
        assert not is_above(found.count(Status.SE_UNRELIABLE), count, FALSE_ALARMS)


def test_support_vector_machines_are_hardly_ever_flagged():
    rng = np.random.default_rng(5)
    at = np.linspace(-1, 1, 33)[:, None]

    def loss():
        x = rng.uniform(-1, 1, (10, 1))
        y = np.sin(np.pi * x[:, 0]) + 0.3 * rng.standard_normal(10)
        return ((SVR().fit(x, y).predict(at) - np.sin(np.pi * at[:, 0])) ** 2).mean()

    pool, count = np.array([loss() for _ in range(4000)]), 300
    samples = (rng.choice(pool, 256, replace=False).reshape(16, 16) for _ in range(count))
    flagged = sum(verdict(tops(sample), 16) is not Status.OK for sample in samples)
    assert not is_above(flagged, count, FALSE_ALARMS)


def test_losses_that_are_the_same_but_for_rounding_are_one_value():
    # An atom at the threshold: its rounding errors are no small exceedances.
    rng = np.random.default_rng(0)
    losses = np.concatenate([np.full(1000, 2 / 3) * (1 + 1e-15 * rng.standard_normal(1000)), 1 + rng.random(24)])
    found = estimate_tail_index(tops(rng.permutation(losses).reshape(16, 64)), 64)
    assert status_of(found.most) is Status.OK
    assert found.value > 2


def test_too_few_losses_that_stand_out_say_nothing():
    losses = np.zeros((16, 64))
    losses[:, 0] = 2.0 ** np.arange(16)
    found = estimate_tail_index(tops(losses), 64)
    assert found == UNKNOWN
    assert (status_of(found.most), found.least) == (Status.OK, 0)


@pytest.mark.parametrize("index", [1.5, 3.0])
def test_the_error_of_an_index_is_true(index):
    # The prior draws estimates together by a tenth, and 300 samples tell a spread to 4 %: a fifth is four errors.
    rng = np.random.default_rng(1)
    found = [estimate_tail_index(largest_of(lambda p: p ** (-1 / index), rng, 64, 64), 64) for _ in range(300)]
    assert np.std([each.shape for each in found]) == pytest.approx(np.mean([each.shape_se for each in found]), rel=0.2)


@pytest.mark.parametrize("index", [0.8, 1.5, 3.0])
def test_tail_index_of_pareto_losses(index):
    # Thirty samples of some 200 exceedances each: their median is known to about 5 %, and the prior moves it less.
    losses = np.random.default_rng(0).pareto(index, (30, 32, 1024)) + 1
    estimates = [index_of(sample) for sample in losses]
    assert np.median(estimates) == pytest.approx(index, rel=0.2)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_tail_index_does_not_depend_on_units(scale):
    losses = np.random.default_rng(0).pareto(1.5, (32, 1024))
    assert index_of(losses * scale) == pytest.approx(index_of(losses), rel=1e-6)


@pytest.mark.parametrize(("blocks", "size"), SIZES)
def test_losses_without_a_mean_are_noticed(blocks, size):
    losses = np.random.default_rng(1).pareto(0.5, (100, blocks, size))
    found = [verdict(tops(sample), size) for sample in losses]
    assert sum(status is not Status.OK for status in found) >= 99
    assert sum(status is Status.INFINITE for status in found) >= 50


LIGHT = {
    "uniform": lambda rng, shape: rng.random(shape),
    "arcsine": lambda rng, shape: np.sin(3 * rng.random(shape)) ** 2,
    "beta": lambda rng, shape: rng.beta(0.1, 1.0, shape),  # most losses next to nothing, none above one
    "exponential": lambda rng, shape: rng.standard_exponential(shape),
    "squared normal": lambda rng, shape: rng.standard_normal(shape) ** 2,
}


@pytest.mark.parametrize(("blocks", "size"), SIZES)
@pytest.mark.parametrize("law", LIGHT)
def test_losses_with_all_moments_are_hardly_ever_flagged(law, blocks, size):
    # A false flag takes away a standard error: one study in fifty is the most that is fit for use.
    reps = 200 if blocks * size < 10_000 else 10
    rng = np.random.default_rng(2)
    flagged = sum(verdict(tops(LIGHT[law](rng, (blocks, size))), size) is not Status.OK for _ in range(reps))
    assert flagged <= 0.02 * reps + 3.7 * np.sqrt(0.02 * reps)


@pytest.mark.parametrize("value", [0.0, 1.0, 1e300])
def test_constant_losses_have_no_tail(value):
    assert index_of(np.full((16, 16), value)) == np.inf


@pytest.mark.parametrize("blocks", [1, 16])
def test_no_losses_have_no_tail(blocks):
    assert estimate_tail_index(np.full((blocks, 16), np.nan), 16) == BOUNDED


@pytest.mark.parametrize(
    ("index", "status"),
    [
        (0.5, "infinite"),
        (1.0, "infinite"),
        (np.nextafter(1, 2), "se_unreliable"),
        (2.0, "se_unreliable"),
        (np.nextafter(2, 3), "ok"),
        (np.inf, "ok"),
    ],
)
def test_status_of_tail_indices(index, status):
    assert status_of(index) == status


def test_extremes_are_of_what_losses_exceed_their_mean_by():
    # A Pareto law of index 4 above 1, and the same law 50 further up: what all losses have in common spreads nothing.
    losses = 1 + np.random.default_rng(2).pareto(4.0, size=(64, 256))
    tops = np.sort(losses, axis=1)[:, -16:]
    low, high = (Tail.of(Tops.of(tops + far, 256, losses.size), losses.mean() + far) for far in (0.0, 50.0))
    assert high.threshold == pytest.approx(low.threshold)
    errors = [tail.standard_error(2.2, losses.size) for tail in (low, high)]
    assert errors[1] == pytest.approx(errors[0], rel=1e-6)
    assert errors[0] > 0


@pytest.mark.parametrize("size", [4, 16, 17, 4096])
@pytest.mark.parametrize("index", [1.5, 3.0, np.inf])
def test_the_largest_losses_of_parts_say_the_same_as_all_and_are_few(size, index):
    rng = np.random.default_rng(size)
    losses = np.exp(rng.exponential(1 / index, (600, size))) if index < np.inf else rng.uniform(-1, 1, (600, size))
    block_tops = np.full((600, 16), np.nan)
    block_tops[:, 16 - min(16, size) :] = np.sort(losses, axis=1)[:, -16:]
    block_tops[5] = np.nan  # a block that has recorded none
    parts = [Tops.of(part, size, losses.size) for part in np.split(block_tops, [1, 70, 300, 301])]
    joined = Tops.joined([Tops.joined(parts[:3]), *parts[3:]])
    assert joined.index() == estimate_tail_index(block_tops, size)
    assert len(joined.largest) <= 3 * np.sqrt(losses.size) + 11
    assert joined.found == np.isfinite(block_tops).sum()
    whole = Tops.of(block_tops, size, losses.size)
    assert Tail.of(joined, losses.mean()) == Tail.of(whole, losses.mean())
