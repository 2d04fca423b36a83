"""Shifted lattices with weights that make them exact for smooth integrands, in one or two dimensions.

The mean over a lattice of a smooth function that is periodic has an error that falls faster than any power of the
number of points. Any smooth function is made so by a change of variables u = psi(t) whose derivative vanishes at both
ends, Sidi's

    psi'(t) = (8/3) sin^4(pi t),

and its points weigh as much as psi' says. The lattice is shifted by uniform numbers, so that each point is uniform in
t, and averages are unbiased. What jumps or bends gains nothing; and points of unequal weight are no sample of the law,
so that tails cannot be read from them.
"""

import numpy as np
from numpy.typing import NDArray

from biasvar.compiling import njit
from biasvar.montecarlo.elementary import sin_pi

MAX_DIMENSION = 2
MIN_SIZE = 512  # with fewer points weights cost more than they bring
GOLDEN = 1.618033988749895
LEAST = 2.0**-53  # of a coordinate, and of what is left to one
APART = 1e-7  # so far two coordinates are at least: what is fitted to a pair divides by their difference

# psi(t) / t^5 in powers of t^2, interpolated at Chebyshev's points of [0, 1/4].
_PSI = (
    51.951515218134632,
    -244.16233487626636,
    562.28331947057518,
    -816.81157328383812,
    829.26335386122335,
    -624.03820078061929,
    362.36081927830006,
    -167.32027200864649,
    62.895583164487767,
    -19.565849566327974,
    4.9831250064151144,
    -0.86763306039609167,
)


def applies(dimension: int, size: int) -> bool:
    """Tell whether there is such a lattice of ``size`` points that is worth its weights."""
    return 1 <= dimension <= MAX_DIMENSION and size >= MIN_SIZE and size & (size - 1) == 0


def shifted_lattice(
    generator: np.random.Generator, dimension: int, size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw one randomly shifted lattice.

    Parameters
    ----------
    generator : numpy.random.Generator
        Source of the shift.
    dimension : int
        One or two.
    size : int
        How many points, a power of two.

    Returns
    -------
    points : ndarray of shape (dimension, size)
        Points in the open unit cube.
    weights : ndarray of shape (size,)
        Their weights, which sum to one.

    Notes
    -----
    Coordinates nearer than 1e-7 to each other are moved apart as far, and those outside [2^-53, 1 - 2^-53] to its ends:
    of a smooth function that changes the mean by a part in 10^14.

    References
    ----------
    A. Sidi, A new variable transformation for numerical integration, 1993.
    I. H. Sloan and S. Joe, Lattice Methods for Multiple Integration, 1994.

    Examples
    --------
    >>> u, w = shifted_lattice(np.random.default_rng(0), dimension=2, size=4096)
    >>> bool(abs(w @ np.exp(u[0] * u[1]) - 1.3179021514544038) < 1e-12)
    True
    """
    points, weights = np.empty((dimension, size)), np.full(size, 1.0 / size)
    step = int(size / GOLDEN) | 1  # odd, and hard to approximate by fractions
    for row, multiplier in zip(points, (1, step), strict=False):
        _place(multiplier, generator.random(), row, weights)
    if dimension == MAX_DIMENSION:
        _move_apart(*points)
    return points, weights


@njit(cache=True, nogil=True, error_model="numpy")
def _place(multiplier, shift, row, weights):  # type: ignore[no-untyped-def]
    """Fill one coordinate, and multiply the weights by its own."""
    size = row.size
    for k in range(size):
        t = ((k * multiplier) & (size - 1)) / size + shift
        t = t - 1.0 if t >= 1.0 else t
        near = min(t, 1.0 - t)
        s = near * near
        p = _PSI[11]
        p = p * s + _PSI[10]
        p = p * s + _PSI[9]
        p = p * s + _PSI[8]
        p = p * s + _PSI[7]
        p = p * s + _PSI[6]
        p = p * s + _PSI[5]
        p = p * s + _PSI[4]
        p = p * s + _PSI[3]
        p = p * s + _PSI[2]
        p = p * s + _PSI[1]
        p = p * s + _PSI[0]
        u = s * s * near * p
        row[k] = min(max(u if t <= 0.5 else 1.0 - u, LEAST), 1.0 - LEAST)
        sine = sin_pi(near)
        weights[k] *= (8.0 / 3.0) * (sine * sine) * (sine * sine)


@njit(cache=True, nogil=True, error_model="numpy")
def _move_apart(first, second):  # type: ignore[no-untyped-def]
    """Move second coordinates that nearly touch the first, toward the middle."""
    for k in range(first.size):
        apart = first[k] + (APART if first[k] < 0.5 else -APART)
        second[k] = apart if abs(first[k] - second[k]) < APART else second[k]
