"""How noisy the values of a function are: rounding, single precision, cancellation, a simulator's own noise."""

from collections.abc import Callable
from math import factorial

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

POINTS = 12  # equally spaced values on a line: by fewer, levels agree too rarely
#: Lengths of those lines, in units of the argument: noise shows where the function itself hardly changes, and single
#: precision changes no value at all where lines are short.
WIDTHS = (2.0**-42, 2.0**-32, 2.0**-22, 2.0**-14)
LEVELS = (4, 5, 6)  # of the table of differences: a polynomial of degree 3 is gone by then
AGREE = 4.0  # levels that differ by no more than this factor are noise
FLAT = 8  # finest steps without any change that are stairs
EPS = float(np.finfo(float).eps)


def line_places() -> Array:
    """Return the places t > 0 at which :func:`noise_on_lines` wants values, shape (widths, points)."""
    # To one side: a kink at t = 0 is not noise.
    return np.array(WIDTHS)[:, None] * (np.arange(POINTS) + 1) / POINTS


def noise_on_lines(values: Array) -> Array:
    """Estimate the standard deviation of the noise in values along lines, by the table of their differences.

    Differences of order k of independent noise of variance s^2 have variance s^2 (2k)! / (k!)^2, those of a smooth
    function shrink with k: orders that agree on s have seen noise.

    Parameters
    ----------
    values : ndarray of shape (..., widths, points)
        Values at :func:`line_places`.

    Returns
    -------
    ndarray of shape (...)
        The largest that any width shows; 0 where none shows any.

    References
    ----------
    J. More, S. Wild, Estimating computational noise, 2011.

    Examples
    --------
    >>> t = line_places()
    >>> single = noise_on_lines(np.sin(1 + t).astype(np.float32).astype(float))
    >>> bool(1e-9 < single < 1e-7), bool(noise_on_lines(np.sin(1 + t)) < 1e-15)
    (True, True)
    """
    with np.errstate(invalid="ignore", over="ignore"):
        levels = np.stack(_deviations(values), axis=-1)
        agree = levels.max(axis=-1) <= AGREE * levels.min(axis=-1)
    found: Array = np.where(agree & np.isfinite(levels).all(axis=-1), levels.max(axis=-1), 0.0).max(axis=-1)
    return found


def height_of_stairs(above: Array, below: Array, middle: float) -> float:
    """Return how much values jump at once, where they do not change at all over many of the finest steps.

    Values of few digits make stairs, which hide whatever is lower than they are. Other functions have 0 here.

    Parameters
    ----------
    above, below : ndarray of shape (steps,)
        Values at steps that shrink, to both sides.
    middle : float
        The value in between.
    """
    changes = np.abs(np.stack([above, below]) - middle)
    if (changes[:, -FLAT:] != 0).any():
        return 0.0
    return float(changes[(changes > 0) & np.isfinite(changes)].min(initial=np.inf)) if (changes > 0).any() else 0.0


def noise_along(function: Callable[[Array], Array]) -> float:
    """Estimate the noise in the values of a function of a number t near 0; at least that of rounding."""
    values = function(line_places().ravel()).reshape(len(WIDTHS), POINTS)
    return max(float(noise_on_lines(values)), EPS * float(np.abs(values[np.isfinite(values)]).max(initial=0.0)))


def _deviations(values: Array) -> list[Array]:
    """Return what each level of the table says of the noise."""
    found, differences = [], values
    for level in range(1, max(LEVELS) + 1):
        differences = differences[..., 1:] - differences[..., :-1]
        if level in LEVELS:
            scale = factorial(level) ** 2 / factorial(2 * level)
            found.append(np.sqrt(scale * np.square(differences).mean(axis=-1)))
    return found
