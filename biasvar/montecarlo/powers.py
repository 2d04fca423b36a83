"""Powers of any exponent: the same bits on every CPU, within two units in the last place.

References
----------
T. J. Dekker, A floating-point technique for extending the available precision, 1971, for products in two parts.
"""

import numpy as np

from biasvar.compiling import njit
from biasvar.montecarlo.elementary import (
    BIAS,
    FRACTION_BITS,
    HUGE,
    LN2_HIGH,
    LN2_LOW,
    LOG2_E,
    ONE_BITS,
    SHIFT,
    SHIFT_BITS,
    SMALLEST_NORMAL,
    SQRT_HALF_BITS,
    Array,
    F,
    W,
    beyond_twice,
    exp,
    log,
    power_of_two,
    rest_of_exp,
)

SPLIT = 2.0**27 + 1.0  # which takes the first half of the digits of what it multiplies


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _product(a, b):  # type: ignore[no-untyped-def]
    """Return a b and what rounding takes from it (Dekker, 1971)."""
    above, beside = SPLIT * a, SPLIT * b
    a1, b1 = above - (above - a), beside - (beside - b)
    a2, b2 = a - a1, b - b1
    found = a * b
    return found, ((a1 * b1 - found) + a1 * b2 + a2 * b1) + a2 * b2


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _log_in_two(x):  # type: ignore[no-untyped-def]
    """Return the logarithm of a normal number as a sum of two, to some 2^-58 of it."""
    whole = F(x).view(W)
    biased = W(whole + W(ONE_BITS - SQRT_HALF_BITS)) >> W(FRACTION_BITS)
    m = W(whole + (W(BIAS) << W(FRACTION_BITS)) - (biased << W(FRACTION_BITS))).view(F)
    e = W(biased | W(SHIFT_BITS)).view(F) - (SHIFT + BIAS)
    below = m + 1.0
    s = (m - 1.0) / below
    there, rest = _product(s, below)
    lost = (((m - 1.0) - there) - rest - s * (m - (below - 1.0))) / below
    high = e * LN2_HIGH + 2.0 * s
    low = 2.0 * s - (high - e * LN2_HIGH)
    return high, low + (2.0 * lost + beyond_twice(s) + e * LN2_LOW)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def raised(x, exponent):  # type: ignore[no-untyped-def]
    """Return x^exponent for x from 0, NaN below, within 2 units in the last place."""
    high, low = _log_in_two(x if SMALLEST_NORMAL <= x < np.inf else 1.0)
    y, rest = _product(exponent, high)
    rest += exponent * low
    total = min(max(y + rest, -HUGE), HUGE)
    n = np.rint(total * LOG2_E)
    near, rest = rest_of_exp(total, n), rest - (y + rest - y)
    half = np.rint(0.5 * n)
    found = (1.0 + (near + (rest + near * rest))) * power_of_two(half) * power_of_two(n - half)
    tiny = exp(exponent * log(x)) if x > 0.0 else (0.0 if exponent > 0.0 else np.inf)
    found = found if SMALLEST_NORMAL <= x < np.inf else tiny
    return 1.0 if exponent == 0.0 else (found if x >= 0.0 else np.nan)


@njit(cache=True, nogil=True, error_model="numpy")
def _fill_raised(x, exponent, out):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        out[i] = raised(x[i], exponent)


def powers(x: Array, exponent: float) -> Array:
    """Return x^exponent of each element x >= 0 of an array."""
    given = np.asarray(x, dtype=float, order="C")
    out = np.empty_like(given)
    _fill_raised(given.reshape(-1), exponent, out.reshape(-1))
    return out
