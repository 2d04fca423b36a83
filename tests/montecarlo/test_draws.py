"""Draws: scrambled Sobol nets, weighted lattices, streams and blocks.

Statistical tests here are two-sided with a false-alarm rate of at most 1e-4 each under the seeds' randomness.
"""

from dataclasses import replace
from itertools import combinations, pairwise, product

import numpy as np
import pytest
from scipy import stats
from scipy.stats import qmc

from biasvar.montecarlo import lattice
from biasvar.montecarlo.draws import Block, Purpose, Stream
from biasvar.montecarlo.sobol import BITS, MAX_DIMENSION, direction_numbers, scrambled_sobol

ALPHA = 1e-4
Z = stats.norm.isf(ALPHA / 2)
SAMPLERS = ("sobol", "random")


def generator(seed=0):
    return np.random.default_rng(seed)


def scipys_points(dimension, size, skip=0):
    """Return the first digits of scipy's points, which come in Gray-code order, in the order of their numbers."""
    number = np.arange(size)
    points = np.empty((dimension, size), int)
    points[:, number ^ (number >> 1)] = (qmc.Sobol(skip + dimension, scramble=False).random(size).T * size)[skip:]
    return points


def shared_digits(codes):
    """For all pairs of integers, the position of the highest binary digit in which they differ."""
    return np.frexp((codes[:, None] ^ codes[None, :]).astype(float))[1]


# Scrambled Sobol points


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("log2_size", [0, 1, 4, 9])
@pytest.mark.parametrize("dimension", [1, 3, 40])
def test_every_coordinate_has_one_point_in_each_elementary_interval(dimension, log2_size, seed):
    size = 2**log2_size
    u = scrambled_sobol(generator(seed), dimension, log2_size)
    assert u.shape == (dimension, size)
    for row in u:
        assert sorted((row * size).astype(int)) == list(range(size))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("log2_size", [1, 5, 10])
def test_first_two_coordinates_have_one_point_in_each_elementary_rectangle(log2_size, seed):
    u, v = scrambled_sobol(generator(seed), 2, log2_size)
    for first in range(log2_size + 1):
        second = log2_size - first
        cells = (u * 2**first).astype(int) * 2**second + (v * 2**second).astype(int)
        assert len(set(cells)) == 2**log2_size


@pytest.mark.parametrize(
    ("dimension", "log2_size"), [(1, 1), (2, 0), (3, 1), (8, 20), (40, 12), (700, 9), (MAX_DIMENSION, 4)]
)
def test_direction_numbers_are_scipys(dimension, log2_size):
    # Points come in Gray-code order: number 2**bit differs from the one before by one direction number.
    points = (qmc.Sobol(dimension, scramble=False).random(2**log2_size) * 2**log2_size).astype(np.uint32)
    theirs = [points[2**bit] ^ points[2**bit - 1] for bit in range(log2_size)]
    assert np.array_equal(direction_numbers(dimension, log2_size).T, np.reshape(theirs, (log2_size, dimension)))


@pytest.mark.parametrize(("dimension", "skip"), [(5, 0), (3, 2), (2, 30)])
@pytest.mark.parametrize("log2_size", [3, 7])
def test_scrambling_is_owens_of_scipys_sequence(dimension, skip, log2_size):
    # Nested uniform scrambling permutes digits below each prefix: how many leading digits two points share survives.
    size = 2**log2_size
    ours = scrambled_sobol(generator(1), dimension, log2_size, skip)
    for theirs, own in zip(scipys_points(dimension, size, skip), ours, strict=True):
        assert np.array_equal(shared_digits(theirs), shared_digits((own * size).astype(int)))


def test_scrambling_flips_each_prefix_on_its_own():
    # A digital shift alone would flip the second digit in both halves together.
    seeds, size = 2000, 8
    codes = np.stack([scrambled_sobol(generator(seed), 1, 3)[0] * size for seed in range(seeds)]).astype(int)
    flips = codes ^ scipys_points(1, size)
    sums = []
    for digit in (0, 1, 2):  # from the last
        above = scipys_points(1, size)[0] >> (digit + 1)
        coins = [flips[:, above == prefix][:, 0] >> digit & 1 for prefix in np.unique(above)]
        sums += [coin.sum() for coin in coins]
        sums += [(one ^ other).sum() for one, other in combinations(coins, 2)]
        sums += [np.bitwise_xor.reduce(coins).sum()]
    assert all(stats.binomtest(int(total), seeds).pvalue > ALPHA for total in sums)


def test_hashed_coins_are_independent_between_scrambles():
    # Blocks are independent only if scrambles are: coins of one prefix in consecutive scrambles, and all their pairs.
    codes = np.stack([scrambled_sobol(generator(seed), 1, 8)[0] * 256 for seed in range(512)]).astype(int)
    coins = 1.0 - 2 * (codes[:, :64] & 1)
    correlations = (coins @ coins.T / 64)[np.triu_indices(512, 1)] * 8
    assert abs((correlations**2).mean() - 1) < Z * np.sqrt(2 / len(correlations))


@pytest.mark.parametrize("seed", range(3))
def test_first_coordinates_do_not_depend_on_how_many_follow(seed):
    few, many = (scrambled_sobol(generator(seed), dimension, 6) for dimension in (3, 17))
    assert np.array_equal(few, many[:3])


def test_points_lie_in_the_open_interval_and_are_exact():
    u = scrambled_sobol(generator(), 50, 12)
    assert u.min() > 0
    assert u.max() < 1
    doubled = u * 2.0 ** (BITS + 1)
    assert np.array_equal(doubled, np.rint(doubled))
    assert np.all(doubled % 2 == 1)


@pytest.mark.parametrize("point", [0, 5, 15])
def test_each_point_is_uniform(point):
    values = [scrambled_sobol(generator(seed), 2, 4)[:, point] for seed in range(2000)]
    for coordinate in np.transpose(values):
        assert stats.kstest(coordinate, "uniform").pvalue > ALPHA


def test_coordinates_are_scrambled_independently():
    values = np.array([scrambled_sobol(generator(seed), 2, 3)[:, 0] for seed in range(2000)])
    assert stats.pearsonr(*values.T).pvalue > ALPHA


# Lattices


@pytest.mark.parametrize(
    ("dimension", "size", "expected"),
    [(1, 512, True), (2, 512, True), (3, 4096, False), (2, 256, False), (0, 512, False), (2, 768, False)],
)
def test_lattices_are_for_one_or_two_dimensions_and_enough_points(dimension, size, expected):
    assert lattice.applies(dimension, size) is expected
    assert Block("sobol", Stream(0, "a", 0), dimension, size, smooth=True).on_lattice is expected
    assert not Block("sobol", Stream(0, "a", 0), dimension, size).on_lattice
    assert not Block("random", Stream(0, "a", 0), dimension, size, smooth=True).on_lattice


@pytest.mark.parametrize("size", [512, 4096, 2**15])
@pytest.mark.parametrize("dimension", [1, 2])
def test_points_are_sidis_transform_of_a_lattice(dimension, size):
    shift = generator(3).random(dimension)
    points, weights = lattice.shifted_lattice(generator(3), dimension, size)
    multiplier = int(size / lattice.GOLDEN) | 1
    t = (np.outer([1, multiplier][:dimension], np.arange(size)) % size / size + shift[:, None]) % 1
    expected = t + (np.sin(4 * np.pi * t) - 8 * np.sin(2 * np.pi * t)) / (12 * np.pi)
    assert points[0] == pytest.approx(expected[0], abs=1e-15)
    assert points == pytest.approx(expected, abs=2.1e-7)  # the second may have been moved away from the first
    assert np.mean(np.abs(points - expected) > 1e-14) < 1e-2
    assert weights * size == pytest.approx((8 / 3 * np.sin(np.pi * t) ** 4).prod(axis=0), abs=1e-13)
    assert weights.sum() == pytest.approx(1, abs=1e-13)
    assert points.min() >= 2.0**-53
    assert points.max() <= 1 - 2.0**-53
    assert np.abs(points[0] - points[-1]).min() > (0.99e-7 if dimension == 2 else -1)


@pytest.mark.parametrize(("size", "error"), [(1024, 1e-8), (2**14, 1e-11)])
def test_lattices_average_smooth_functions_almost_exactly(size, error):
    for seed in range(5):
        (u, v), weights = lattice.shifted_lattice(generator(seed), 2, size)
        assert weights @ (u**4 * v**3) == pytest.approx(1 / 20, abs=error)
        assert weights @ np.exp(u * v) == pytest.approx(1.3179021514544038, abs=error)  # Ei(1) - Euler's constant
        assert weights @ stats.norm.ppf(u) ** 2 == pytest.approx(1, abs=1e-6)


def rough(u, v):
    return (u > 0.3) * np.exp(3 * u * v) / np.sqrt(v)


def test_weights_leave_averages_unbiased():
    # The mean of rough over the unit square, by quadrature to 1e-10; neither smooth nor symmetric.
    x, w = np.polynomial.legendre.leggauss(60)
    u, root = 0.65 + 0.35 * x[:, None], 0.5 + 0.5 * x[None, :]  # v = root**2 takes the square root away
    expected = 0.35 * w @ (np.exp(3 * u * root**2) * 2) @ w * 0.5
    estimates = []
    for seed in range(2000):
        points, weights = lattice.shifted_lattice(generator(seed), 2, 512)
        estimates.append(weights @ rough(*points))
    assert abs(np.mean(estimates) - expected) < Z * stats.sem(estimates)


@pytest.mark.parametrize("point", [0, 77])
def test_each_point_alone_is_unbiased(point):
    # A weight times a function has the function's mean, point by point.
    rng, terms = generator(9), []
    for _ in range(4000):
        points, weights = lattice.shifted_lattice(rng, 2, 512)
        terms.append(512 * weights[point] * np.array([1.0, *points[:, point], points[0, point] < 0.2]))
    for values, expected in zip(np.transpose(terms), (1, 0.5, 0.5, 0.2), strict=True):
        assert abs(values.mean() - expected) < Z * stats.sem(values)


# Streams


def draw(seed=0, label="n_train=2", block=0, purpose=Purpose.INPUTS):
    return int(Stream(seed, label, block).generator(purpose).integers(0, 2**63))


def test_streams_do_not_depend_on_the_order_of_use():
    names = list(product([0, 7], ["n_train=2", "n_train=3"], [0, 1], Purpose))
    forwards = {name: draw(*name) for name in names}
    backwards = {name: draw(*name) for name in reversed(names)}
    assert forwards == backwards


def test_streams_do_not_collide_for_big_integers():
    seeds = [0, 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**64, 2**64 + 2**32, 2**100, 2**128 + 1, 2**160 + 5]
    blocks = [0, 1, 2, 3, 2**16, 2**31, 2**32 - 1]
    draws = [draw(*name) for name in product(seeds, ["n_train=2", "n_train=21", ""], blocks, Purpose)]
    assert len(set(draws)) == len(draws)


@pytest.mark.parametrize("change", [{"seed": 1}, {"label": "n_train=3"}, {"block": 1}, {"purpose": Purpose.ESTIMATOR}])
def test_a_stream_moves_with_everything_that_names_it(change):
    assert draw(**change) != draw()


def test_streams_of_consecutive_blocks_are_uncorrelated():
    values = np.array([Stream(0, "a", block).generator(Purpose.INPUTS).random(64) for block in range(200)])
    pooled = np.concatenate([a * b for a, b in pairwise(values - 0.5)])
    assert abs(pooled.mean()) < Z * stats.sem(pooled)


# Blocks

SHAPES = [(1, 8), (2, 512), (2, 4096), (7, 64), (40, 16), (5, 1)]  # of dimension and size


def block(sampler, dimension, size, number=0, smooth=False):
    return Block(sampler, Stream(3, "block", number), dimension, size, smooth)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(("dimension", "size"), SHAPES)
@pytest.mark.parametrize("smooth", [False, True])
def test_a_block_is_points_in_the_open_cube_with_weights_that_sum_to_one(sampler, dimension, size, smooth):
    uniforms, weights = block(sampler, dimension, size, smooth=smooth).uniforms()
    assert uniforms.shape == (dimension, size)
    assert weights.shape == (size,)
    assert weights.sum() == pytest.approx(1, abs=1e-13)
    assert uniforms.min() > 0
    assert uniforms.max() < 1


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize(("dimension", "size"), [*SHAPES, (3, 2048), (0, 512)])
def test_tiles_are_parts_of_the_block(sampler, dimension, size, smooth):
    whole = replace(block(sampler, dimension, size, smooth=smooth), exchangeable=True)
    points, weights = whole.uniforms()
    tiles = list(whole.tiles(512))
    assert [part.shape[1] for part, _ in tiles] == [min(512, size - start) for start in range(0, size, 512)]
    assert np.array_equal(np.concatenate([part for part, _ in tiles], axis=1), points)
    assert np.array_equal(np.concatenate([part for _, part in tiles]), weights)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(("dimension", "size"), SHAPES)
@pytest.mark.parametrize("count", [1, 5])
def test_normals_never_change_the_inputs(sampler, dimension, size, count):
    alone, noisy = block(sampler, dimension, size), block(sampler, dimension, size)
    before, weights = alone.uniforms()
    normals = noisy.normals(count)
    after, same_weights = noisy.uniforms()
    assert normals.shape == (count, size)
    assert np.isfinite(normals).all()
    assert np.array_equal(before, after)
    assert np.array_equal(weights, same_weights)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("size", [64, 512])
def test_normals_are_normal_and_independent_of_the_inputs(sampler, size):
    blocks = [block(sampler, 2, size, number) for number in range(2000)]
    inputs = np.array([b.uniforms()[0][0, -1] for b in blocks])
    normals = np.array([b.normals(2)[:, -1] for b in blocks])
    for noise in normals.T:
        assert stats.kstest(noise, "norm").pvalue > ALPHA
        assert stats.spearmanr(inputs, noise).pvalue > ALPHA
    assert stats.spearmanr(*normals.T).pvalue > ALPHA


@pytest.mark.parametrize("dimension", [3, 6])
def test_normals_are_further_coordinates_of_the_same_sequence(dimension):
    draws, size = block("sobol", dimension, 64), 64
    codes = (stats.norm.cdf(draws.normals(2)) * size).astype(int)
    for theirs, ours in zip(scipys_points(2, size, dimension), codes, strict=True):
        assert np.array_equal(shared_digits(theirs), shared_digits(ours))


def test_random_blocks_are_independent_uniforms():
    uniforms, weights = block("random", 3, 4096).uniforms()
    assert np.array_equal(weights, np.full(4096, 1 / 4096))
    for row in uniforms:
        assert stats.kstest(row, "uniform").pvalue > ALPHA


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_block_without_random_inputs_still_has_noise(sampler):
    draws = block(sampler, 0, 32)
    uniforms, weights = draws.uniforms()
    assert uniforms.shape == (0, 32)
    assert weights.sum() == pytest.approx(1)
    assert draws.normals(4).std() == pytest.approx(1, abs=0.35)
