"""Elementary functions of our own: the same bits on every CPU, and many arguments at once.

A mathematical library picks its code by the CPU that it finds, and its last bits with it. These are sums, products,
quotients and square roots of IEEE arithmetic in a fixed order, without branches, so that compiled loops over them take
as many lanes as a CPU has and round the same way on all. Kernels call the scalar functions; those on arrays apply one
of them to each element.

References
----------
J.-M. Muller, Elementary Functions: Algorithms and Implementation, 2016.
M. J. Wichura, Algorithm AS 241: the percentage points of the normal distribution, 1988.
W. J. Cody, Rational Chebyshev approximations for the error function, 1969; Algorithm 715, 1993 (its distribution).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from biasvar.compiling import njit

Array = NDArray[np.float64]

F, W = np.float64, np.uint64
LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10  # ln 2, the first part of 33 bits
LOG2_E = 1.4426950408889634
LN2 = 0.6931471805599453
ONE_BITS, SQRT_HALF_BITS = 0x3FF0000000000000, 0x3FE6A09E667F3BCD
SQRT_TWO = 1.4142135623730951
FRACTION_BITS, BIAS = 52, 1023
# 2^52, which added to a whole number shows it in the lowest bits: cheaper than a conversion.
SHIFT, SHIFT_BITS = 2.0**52, 0x4330000000000000
HUGE = 1100.0  # whose exponential, or its inverse, is beyond all numbers
SMALLEST_NORMAL = 2.0**-1022

# Interpolated at Chebyshev's points in 60 digits: (exp(r) - 1 - r) / r^2 in powers of r, |r| <= ln(2) / 2,
_EXP = (
    0.5000000000000001,
    0.16666666666666667,
    0.041666666666624128,
    0.0083333333333300618,
    0.0013888888917213717,
    0.00019841269863053617,
    2.4801521295954375e-5,
    2.7557268459997065e-6,
    2.7620088445409748e-7,
    2.5100385495510319e-8,
)
# (2 artanh(s) - 2 s) / s^3 in powers of s^2, |s| <= 3 - sqrt(8),
_LOG = (
    0.66666666666666697,
    0.39999999999899443,
    0.28571428626003269,
    0.22222211130259877,
    0.18182889455674946,
    0.15331710618210772,
    0.14616585424888622,
)
# sin(pi r) / (r (1 - r^2)) in powers of r^2, r between -1 and 1.
_SINE = (
    3.1415926535897932,
    -2.0261201264601768,
    0.52404391341716792,
    -0.075220615903612044,
    0.0069252707074136899,
    -0.00044516023778380135,
    2.1142566317251724e-5,
    -7.7278356542307975e-7,
    2.2416709304455551e-8,
    -5.268163527919996e-10,
    9.4496048660088396e-12,
)
# Wichura's rational functions: numerator and denominator near one half, in the tails, far out.
_NEAR = (
    (3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
     4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3),
    (1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
     2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3),
)  # fmt: skip
_TAIL = (
    (1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
     1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4),
    (1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
     1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9),
)  # fmt: skip
_FAR = (
    (6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1,
     2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7),
    (1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
     7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15),
)  # fmt: skip
HALF_WIDTH = 0.425  # of the middle
FAR_OUT = 5.0  # sqrt(-log p)
# Cody's: of Phi(x) - 1/2 over x in powers of x^2, of the tail over exp(-x^2 / 2) in powers of x, and of what that lacks
# of 1 / (x sqrt(2 pi)) in powers of 1 / x^2.
_CENTRE = (
    (18154.981253343561, 1067.6894854603710, 161.02823106855588, 2.2352520354606839, 0.065682337918207449),
    (45507.789335026730, 10260.932208618978, 976.09855173777669, 47.202581904688241, 1.0),
)
_SIDE = (
    (9842.7148383839780, 11602.651437647350, 6848.1904505362823, 2494.5375852903727, 597.27027639480026,
     93.506656132177856, 8.8831497943883759, 0.39894151208813467, 1.0765576773720192e-8),
    (19685.429676859990727, 38912.003286093271, 34900.952721145978, 18615.571640885098, 6485.5582982667608,
     1519.3775994075548, 235.38790178262500, 22.266688044328116, 1.0),
)  # fmt: skip
_END = (
    (2.9112874951168792e-5, 0.0014216191932278935, 0.022235277870649807, 0.12740116116024736, 0.21589853405795699,
     0.023073441764940173),
    (7.2975155508396621e-5, 0.0037823963320275824, 0.065988137868928552, 0.46823821248086512, 1.2842600961449112, 1.0),
)  # fmt: skip
MIDDLE, FURTHEST = 0.67448975, 5.656854249492380  # to either side
INVERSE_ROOT_TWO_PI = 0.39894228040143268


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def sin_pi(x):  # type: ignore[no-untyped-def]
    """Return sin(pi x): exactly 0 at integers, within 3 units in the last place elsewhere."""
    r = x - 2.0 * np.rint(0.5 * x)
    s = r * r
    p = _SINE[10]
    p = p * s + _SINE[9]
    p = p * s + _SINE[8]
    p = p * s + _SINE[7]
    p = p * s + _SINE[6]
    p = p * s + _SINE[5]
    p = p * s + _SINE[4]
    p = p * s + _SINE[3]
    p = p * s + _SINE[2]
    p = p * s + _SINE[1]
    p = p * s + _SINE[0]
    return r * ((1.0 - r) * (1.0 + r)) * p


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _twice_artanh(s):  # type: ignore[no-untyped-def]
    """Return 2 artanh(s), which is log((1 + s) / (1 - s)), for s between -0.172 and 0.172."""
    return 2.0 * s + beyond_twice(s)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def beyond_twice(s):  # type: ignore[no-untyped-def]
    """Return 2 artanh(s) - 2 s."""
    z = s * s
    p = _LOG[6]
    p = p * z + _LOG[5]
    p = p * z + _LOG[4]
    p = p * z + _LOG[3]
    p = p * z + _LOG[2]
    p = p * z + _LOG[1]
    p = p * z + _LOG[0]
    return s * z * p


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _log_of_normal(x):  # type: ignore[no-untyped-def]
    """Return the logarithm of a positive number with all its digits."""
    whole = F(x).view(W)
    # x = 2^e m with m between sqrt(1/2) and sqrt(2), and log m = 2 artanh(s).
    biased = W(whole + W(ONE_BITS - SQRT_HALF_BITS)) >> W(FRACTION_BITS)
    m = W(whole + (W(BIAS) << W(FRACTION_BITS)) - (biased << W(FRACTION_BITS))).view(F)
    e = W(biased | W(SHIFT_BITS)).view(F) - (SHIFT + BIAS)
    return e * LN2_HIGH + (e * LN2_LOW + _twice_artanh((m - 1.0) / (m + 1.0)))


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def log(x):  # type: ignore[no-untyped-def]
    """Return the natural logarithm: -inf at 0, NaN below."""
    tiny = x < SMALLEST_NORMAL
    found = _log_of_normal(x * 2.0**54 if tiny else x) - (54.0 * LN2 if tiny else 0.0)
    outside = x if x > 0.0 else (-np.inf if x == 0.0 else np.nan)
    return found if 0.0 < x < np.inf else outside


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def power_of_two(n):  # type: ignore[no-untyped-def]
    """Return 2^n for whole numbers between -1022 and 1023."""
    return W((F(n + (1.5 * SHIFT + BIAS)).view(W)) << W(FRACTION_BITS)).view(F)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def rest_of_exp(y, n):  # type: ignore[no-untyped-def]
    """Return exp(y) / 2^n - 1, with n the whole number next to y / ln 2."""
    r = (y - n * LN2_HIGH) - n * LN2_LOW
    p = _EXP[9]
    p = p * r + _EXP[8]
    p = p * r + _EXP[7]
    p = p * r + _EXP[6]
    p = p * r + _EXP[5]
    p = p * r + _EXP[4]
    p = p * r + _EXP[3]
    p = p * r + _EXP[2]
    p = p * r + _EXP[1]
    p = p * r + _EXP[0]
    return p * r * r + r


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _exp_of_rest(y, n):  # type: ignore[no-untyped-def]
    """Return exp(y) / 2^n."""
    return 1.0 + rest_of_exp(y, n)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def exp(x):  # type: ignore[no-untyped-def]
    """Return the exponential function."""
    y = min(max(x if x == x else 0.0, -HUGE), HUGE)
    n = np.rint(y * LOG2_E)
    # In two steps, for 2^n may be beyond all numbers where the product is not.
    half = np.rint(0.5 * n)
    found = _exp_of_rest(y, n) * power_of_two(half) * power_of_two(n - half)
    return found if x == x else x


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def tanh(x):  # type: ignore[no-untyped-def]
    """Return the hyperbolic tangent, to full relative precision."""
    # Of twice the size y it is m / (m + 2), with m = exp(y) - 1 = 2^n (1 + rest) - 1; beyond 60 it is one.
    y = min(2.0 * abs(x), 60.0) if x == x else 0.0
    n = np.rint(y * LOG2_E)
    scale = power_of_two(n)
    m = scale * rest_of_exp(y, n) + (scale - 1.0)
    found = m / (m + 2.0)
    return (-found if x < 0.0 else found) if x == x else x


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def power(u, exponent):  # type: ignore[no-untyped-def]
    """Return u^exponent for u between 1e-300 and 1 and exponents between 0 and 1, to some 1e-14."""
    y = _log_of_normal(u) * exponent
    n = np.rint(y * LOG2_E)
    return _exp_of_rest(y, n) * power_of_two(n)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def softplus_of_minus(x):  # type: ignore[no-untyped-def]
    """Return log(1 + exp(-x)), to full relative precision."""
    t = exp(-abs(x))
    # Of 1 + t or of half of it, whichever is nearer to one.
    far = t > SQRT_TWO - 1.0
    near_one = _twice_artanh((t - 1.0 if far else t) / (t + 3.0 if far else t + 2.0))
    return ((LN2_LOW + near_one) + LN2_HIGH if far else near_one) + (-x if x < 0.0 else 0.0)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _ratio(x, numerator, denominator):  # type: ignore[no-untyped-def]
    p, q = numerator[7], denominator[7]
    p, q = p * x + numerator[6], q * x + denominator[6]
    p, q = p * x + numerator[5], q * x + denominator[5]
    p, q = p * x + numerator[4], q * x + denominator[4]
    p, q = p * x + numerator[3], q * x + denominator[3]
    p, q = p * x + numerator[2], q * x + denominator[2]
    p, q = p * x + numerator[1], q * x + denominator[1]
    return (p * x + numerator[0]) / (q * x + denominator[0])


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def normal_quantile(u):  # type: ignore[no-untyped-def]
    """Return where the standard normal distribution function is u."""
    q = u - 0.5
    near = q * _ratio(HALF_WIDTH * HALF_WIDTH - q * q, _NEAR[0], _NEAR[1])
    beyond = u if q < 0.0 else 1.0 - u
    r = np.sqrt(-log(beyond))
    out = _ratio(r - FAR_OUT, _FAR[0], _FAR[1]) if r > FAR_OUT else _ratio(r - 1.6, _TAIL[0], _TAIL[1])
    out = out if r < np.inf else r
    return near if abs(q) <= HALF_WIDTH else (-out if q < 0.0 else out)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _in_powers(x, ratio):  # type: ignore[no-untyped-def]
    """Return a rational function of x whose coefficients, of rising powers, are ``ratio``."""
    p, q = 0.0, 0.0
    for k in range(len(ratio[0]) - 1, -1, -1):
        p, q = p * x + ratio[0][k], q * x + ratio[1][k]
    return p / q


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def normal_distribution(x):  # type: ignore[no-untyped-def]
    """Return the standard normal distribution function at x, to full relative precision far to the left, too."""
    y = abs(x)
    # Of two factors the first is exact in its argument, so that what is squared keeps its last bits.
    coarse = np.trunc(y * 16.0) / 16.0
    bell = exp(-0.5 * coarse * coarse) * exp(-0.5 * (y - coarse) * (y + coarse))
    s = 1.0 / (y * y)
    end = (INVERSE_ROOT_TWO_PI - s * _in_powers(s, _END)) / y
    beyond = bell * (_in_powers(y, _SIDE) if y <= FURTHEST else end)
    beyond = beyond if y < np.inf else 0.0
    centre = 0.5 + x * _in_powers(y * y, _CENTRE)
    return centre if y <= MIDDLE else (beyond if x < 0.0 else 1.0 - beyond)


def _on_arrays(fill: Callable[[Array, Array], None], meaning: str) -> Callable[[Array], Array]:
    def apply(x: Array) -> Array:
        given = np.asarray(x, dtype=float, order="C")
        out = np.empty_like(given)
        fill(given.reshape(-1), out.reshape(-1))
        return out

    apply.__doc__ = f"Return {meaning} of each element of an array."
    return apply


@njit(cache=True, nogil=True, error_model="numpy")
def _fill_sin_pi(x, out):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        out[i] = sin_pi(x[i])


@njit(cache=True, nogil=True, error_model="numpy")
def _fill_log(x, out):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        out[i] = log(x[i])


@njit(cache=True, nogil=True, error_model="numpy")
def _fill_exp(x, out):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        out[i] = exp(x[i])


@njit(cache=True, nogil=True, error_model="numpy")
def _fill_tanh(x, out):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        out[i] = tanh(x[i])


@njit(cache=True, nogil=True, error_model="numpy")
def _fill_softplus_of_minus(x, out):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        out[i] = softplus_of_minus(x[i])


@njit(cache=True, nogil=True, error_model="numpy")
def _fill_normal_quantile(u, out):  # type: ignore[no-untyped-def]
    for i in range(u.size):
        out[i] = normal_quantile(u[i])


@njit(cache=True, nogil=True, error_model="numpy")
def _fill_normal_distribution(x, out):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        out[i] = normal_distribution(x[i])


sines_pi = _on_arrays(_fill_sin_pi, "sin(pi x)")
logs = _on_arrays(_fill_log, "the natural logarithm")
exps = _on_arrays(_fill_exp, "the exponential function")
tanhs = _on_arrays(_fill_tanh, "the hyperbolic tangent")
softpluses_of_minus = _on_arrays(_fill_softplus_of_minus, "log(1 + exp(-x))")
normal_quantiles = _on_arrays(_fill_normal_quantile, "the standard normal quantile")
normal_distributions = _on_arrays(_fill_normal_distribution, "the standard normal distribution function")


def sigmoids(x: Array) -> Array:
    """Return 1 / (1 + exp(-x)) of each element of an array."""
    return np.asarray(1 / (1 + exps(-x)))
