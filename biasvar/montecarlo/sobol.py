"""Sobol points under Owen's nested uniform scrambling, one coordinate per row.

Nested scrambling, rather than the cheaper linear matrix scrambling, because block means then are close to
normal, so that intervals from the spread between blocks cover what they say; and because each coordinate is
scrambled by its own words, so that adding coordinates (label noise) moves no other coordinate.
"""

from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from biasvar.compiling import njit

BITS = 52  # points are odd multiples of 2**-53: never 0, never 1, exact in float64
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

    Examples
    --------
    >>> u = scrambled_sobol(np.random.default_rng(0), dimension=2, log2_size=4)
    >>> sorted((u[1] * 16).astype(int).tolist()) == list(range(16))  # one point in every sixteenth
    True
    """
    directions = direction_numbers(skip + dimension, log2_size)[skip:]
    words = generator.integers(0, 2**64, size=(dimension, 1 << log2_size), dtype=np.uint64)
    points = np.empty(words.shape)
    _scramble(directions, words, points)
    return points


@njit(cache=True, nogil=True, error_model="numpy")
def _scramble(directions, words, points):  # type: ignore[no-untyped-def]
    dimension, size = words.shape
    log2_size = directions.shape[1]
    low_bits = np.uint64(BITS - log2_size)
    low_mask = (np.uint64(1) << low_bits) - np.uint64(1)
    table = np.empty(size, np.uint32)
    doubled = np.empty(size, np.uint32)
    for j in range(dimension):
        word = words[j]
        # Owen's random tree: node (level, prefix) is word 2**level + prefix, and its top bit says whether the
        # two halves below that prefix change places. Tabulated for all prefixes at once.
        table[0] = 0
        for level in range(log2_size):
            prefixes = 1 << level
            for prefix in range(prefixes):
                flip = np.uint32(word[prefixes + prefix] >> np.uint64(63))
                doubled[2 * prefix] = (table[prefix] << np.uint32(1)) | flip
                doubled[2 * prefix + 1] = (table[prefix] << np.uint32(1)) | (flip ^ np.uint32(1))
            for prefix in range(2 * prefixes):
                table[prefix] = doubled[prefix]
        point = np.uint32(0)
        for i in range(size):
            if i > 0:
                changed, rest = 0, i
                while rest & 1 == 0:
                    rest >>= 1
                    changed += 1
                point ^= directions[j, changed]
            # Below its own elementary interval a point is uniform: fresh bits of the same word.
            bits = (np.uint64(table[point]) << low_bits) | (word[i] & low_mask)
            points[j, i] = (np.float64(bits) + 0.5) * 2.0**-BITS
