"""Sobol points under nested scrambling in the manner of Owen, one coordinate per row.

Nested scrambling, rather than the cheaper linear matrix scrambling, because block means then are close to
normal, so that intervals from the spread between blocks cover what they say; and because each coordinate is
scrambled by its own words, so that adding coordinates (label noise) moves no other coordinate.

Owen's random tree flips a digit by a coin that belongs to the digits above it. Here the coin is a hash of them: with
the digits in reverse order that is a function whose every bit depends on itself and on lower bits only, as sums,
products and x ^ (x * even) do, and those take a few cycles for many points at once.
"""

from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from biasvar.compiling import njit

BITS = 52  # points are odd multiples of 2**-53: never 0, never 1, exact in float64
KEYS = 11  # random words a coordinate: with fewer for the hash, coins near the root are visibly dependent
TILE_BITS = 8  # so many points are scrambled side by side

# Numba widens every operation on 32 bits to 64; cut short again one by one, LLVM takes the lanes of 32 bits.
U = np.uint32
W = np.uint64
MAX_DIMENSION = 21201


@lru_cache(maxsize=64)
def direction_numbers(dimension: int, log2_size: int) -> NDArray[np.uint32]:
    """Return Joe and Kuo's direction numbers, shape (dimension, log2_size), as ``log2_size``-bit integers.

    References
    ----------
    S. Joe and F. Y. Kuo, Constructing Sobol sequences with better two-dimensional projections, 2008.
    """
    polynomials, first = (table[:dimension] for table in _joe_kuo())
    numbers = np.zeros((dimension, max(log2_size, first.shape[1])), np.int64)
    numbers[:, : first.shape[1]] = first
    numbers[0] = 1  # the first coordinate is van der Corput's, of no polynomial
    degrees = np.array([int(polynomial).bit_length() - 1 for polynomial in polynomials])
    for degree in range(1, degrees.max() + 1):
        rows = degrees == degree
        for bit in range(degree, log2_size):
            next_number = numbers[rows, bit - degree]
            for back in range(1, degree + 1):
                coefficient = polynomials[rows] >> (degree - back) & 1
                next_number ^= coefficient * numbers[rows, bit - back] << back
            numbers[rows, bit] = next_number
    return (numbers[:, :log2_size] << np.arange(log2_size)[::-1]).astype(np.uint32)


def _joe_kuo() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return primitive polynomials (MAX_DIMENSION,) and the numbers that each recurrence starts from."""
    # The file that scipy.stats.qmc.Sobol reads: importing scipy.stats takes half a second.
    with (files("scipy") / "stats" / "_sobol_direction_numbers.npz").open("rb") as file, np.load(file) as tables:
        return tables["poly"], tables["vinit"]


def scrambled_sobol(
    generator: np.random.Generator, dimension: int, log2_size: int, skip: int = 0
) -> NDArray[np.float64]:
    """Draw one scrambled Sobol block.

    Parameters
    ----------
    generator : numpy.random.Generator
        Source of the scrambling; the first coordinates do not depend on how many follow.
    dimension : int
        Number of coordinates.
    log2_size : int
        Base-2 logarithm of the number of points.
    skip : int
        Leave out this many coordinates of the sequence: they were drawn by another call.

    Returns
    -------
    ndarray of shape (dimension, 2**log2_size)
        Points in the open unit interval, the point index innermost.

    References
    ----------
    A. B. Owen, Randomly permuted (t,m,s)-nets and (t,s)-sequences, 1995.
    S. Laine and T. Karras, Stratified sampling for stochastic transparency, 2011 (scrambling by a hash).

    Examples
    --------
    >>> u = scrambled_sobol(np.random.default_rng(0), dimension=2, log2_size=4)
    >>> sorted((u[1] * 16).astype(int).tolist()) == list(range(16))  # one point in every sixteenth
    True
    """
    (points,) = sobol_tiles(generator, dimension, log2_size, skip, 1 << log2_size)
    return points


def sobol_tiles(
    generator: np.random.Generator, dimension: int, log2_size: int, skip: int, step: int
) -> Iterator[NDArray[np.float64]]:
    """Yield the points of :func:`scrambled_sobol`, ``step`` at a time: a multiple of 256, or all."""
    directions = _reversed_directions(skip + dimension, log2_size)[skip:]
    keys = generator.integers(0, 2**32, size=(dimension, KEYS), dtype=U)
    for start in range(0, 1 << log2_size, step):
        points = np.empty((dimension, min(step, (1 << log2_size) - start)))
        _scramble(directions, keys, start, points)
        yield points


@lru_cache(maxsize=64)
def _reversed_directions(dimension: int, log2_size: int) -> NDArray[np.uint32]:
    """Return direction numbers with their most significant digit in the lowest bit."""
    plain = direction_numbers(dimension, log2_size)
    out = np.zeros_like(plain)
    for bit in range(log2_size):
        out |= (plain >> U(bit) & U(1)) << U(log2_size - 1 - bit)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _scramble(directions, keys, start, points):  # type: ignore[no-untyped-def]
    """Fill in points from number ``start`` on; directions (dimension, m) are reversed, keys random."""
    dimension, log2_size = directions.shape
    low_bits = min(TILE_BITS, log2_size)
    size = 1 << low_bits
    low = np.empty(size, U)
    nested, rest = np.empty(size, U), np.empty(size, U)
    bits = np.empty(size, W)
    shown = bits.view(np.float64)
    for j in range(dimension):
        a, b, c, d, e, f, g, h, i, shift, fresh = keys[j]
        _combine(directions[j, :low_bits], low)
        for tile in range(start >> low_bits, (start + points.shape[1]) >> low_bits):
            high = U(0)
            for bit in range(log2_size - low_bits):
                if (tile >> bit) & 1:
                    high = U(high ^ directions[j, low_bits + bit])
            row = points[j, (tile << low_bits) - start : ((tile + 1) << low_bits) - start]
            for k in range(size):
                plain = U(high ^ low[k])
                # The shift makes each point uniform whatever the hash does, and so averages unbiased.
                hashed = _hash_upward(_hash_upward(_hash_upward(plain, a, b, c), d, e, f), g, h, i)
                nested[k] = U(_reverse(hashed) ^ shift)
                rest[k] = U(_mix(U(plain ^ fresh)) >> U(12))
            for k in range(size):
                # As the fraction of a number in [1, 2): cheaper than to convert integers of 64 bits.
                bits[k] = (W(nested[k]) << W(20)) | W(rest[k]) | W(0x3FF0000000000000)
            for k in range(size):
                row[k] = shown[k] - (1.0 - 2.0**-53)


@njit(cache=True, nogil=True, error_model="numpy")
def _combine(directions, out):  # type: ignore[no-untyped-def]
    """Fill out (2**m,) with the sums modulo 2 of all subsets of m directions."""
    out[0] = U(0)
    for bit in range(directions.shape[0]):
        for k in range(1 << bit):
            out[(1 << bit) + k] = U(out[k] ^ directions[bit])


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _hash_upward(x, a, b, c):  # type: ignore[no-untyped-def]
    """Hash so that each bit is flipped by a coin that belongs to the bits below it, whatever the keys."""
    x = U(U(x * U(a | U(1))) + b)
    return U(x ^ U(x * U(c & U(0xFFFFFFFE))))


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _reverse(x):  # type: ignore[no-untyped-def]
    """Turn 32 bits round."""
    x = U(U(U(x >> U(1)) & U(0x55555555)) | U(U(x & U(0x55555555)) << U(1)))
    x = U(U(U(x >> U(2)) & U(0x33333333)) | U(U(x & U(0x33333333)) << U(2)))
    x = U(U(U(x >> U(4)) & U(0x0F0F0F0F)) | U(U(x & U(0x0F0F0F0F)) << U(4)))
    x = U(U(U(x >> U(8)) & U(0x00FF00FF)) | U(U(x & U(0x00FF00FF)) << U(8)))
    return U(U(x >> U(16)) | U(x << U(16)))


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _mix(x):  # type: ignore[no-untyped-def]
    """Permute 32-bit words so that each bit depends on all."""
    x = U(x ^ U(x >> U(16)))
    x = U(x * U(0x9E3779B1))
    x = U(x ^ U(x >> U(15)))
    x = U(x * U(0x85EBCA77))
    return U(x ^ U(x >> U(16)))
