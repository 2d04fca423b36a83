"""Elementary functions: against 60 digits, at their edges, and equal in bits on every path through a loop."""

import mpmath
import numpy as np
import pytest
from scipy import special

from biasvar.compiling import njit
from biasvar.montecarlo import elementary, powers

RNG = np.random.default_rng(5)
EVERYWHERE = 10.0 ** RNG.uniform(-320, 308, 1000)
PROBABILITIES = np.concatenate(
    [RNG.random(1500), 10.0 ** RNG.uniform(-300, -1, 500), 1 - 2.0 ** -RNG.uniform(1, 53, 500), [0.5, 0.075, 0.925]]
)


def compiled(function):
    @njit(nogil=True, error_model="numpy")
    def fill(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    def apply(x):
        out = np.empty_like(x)
        fill(x, out)
        return out

    return apply


def exact_quantile(u):
    x = mpmath.mpf(float(special.ndtri(float(u))))
    for _ in range(3):
        # Newton's method from sixteen digits, on the side where the probability is small
        side = -1 if x > 0 else 1
        probability = u if side == 1 else 1 - u
        x -= side * (mpmath.ncdf(side * x) - probability) / mpmath.npdf(x)
    return x


#: Name: arguments, the function to 60 digits, and how many units in the last place it may be off.
FUNCTIONS = {
    "sin_pi": (
        np.concatenate([RNG.uniform(-1, 1, 1500), RNG.uniform(-100, 100, 500), [1e-300, 1 - 2.0**-53, 2.0**60]]),
        mpmath.sinpi,
        3,
    ),
    "log": (np.concatenate([RNG.random(1000), EVERYWHERE, 1 + 1e-4 * RNG.normal(size=500)]), mpmath.log, 2.5),
    "exp": (np.concatenate([RNG.uniform(-1, 1, 1000), RNG.uniform(-708, 709, 1000)]), mpmath.exp, 1.5),
    "softplus_of_minus": (
        np.concatenate([RNG.uniform(-3, 3, 1000), RNG.uniform(-50, 700, 1000)]),
        lambda x: mpmath.log1p(mpmath.exp(-x)),
        3,
    ),
    "normal_quantile": (PROBABILITIES, exact_quantile, 6),
    "normal_distribution": (
        np.concatenate([RNG.uniform(-1, 1, 1000), RNG.uniform(-37, 9, 1500), [0.0, -0.67448975, 5.656854249492380]]),
        mpmath.ncdf,
        6,
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_right_to_a_few_units_in_the_last_place(name):
    x, exact, allowed = FUNCTIONS[name]
    found = compiled(getattr(elementary, name))(x)
    with mpmath.workdps(60):
        for at, value in zip(x.tolist(), found.tolist(), strict=True):
            truth = exact(mpmath.mpf(at))
            assert abs(value - truth) <= allowed * float(np.spacing(abs(float(truth)))), at


@pytest.mark.parametrize("k", [1, 2, 3, 10, 100])
def test_roots_are_right_to_fourteen_digits(k):
    @njit(nogil=True, error_model="numpy")
    def fill(u, exponent, out):
        for i in range(u.size):
            out[i] = elementary.power(u[i], exponent)

    u = np.concatenate([RNG.random(500), 2.0 ** -RNG.uniform(1, 53, 200), 1 - 2.0 ** -RNG.uniform(1, 53, 200)])
    found = np.empty_like(u)
    fill(u, 1 / k, found)
    with mpmath.workdps(60):
        for at, value in zip(u.tolist(), found.tolist(), strict=True):
            assert abs(value / mpmath.root(mpmath.mpf(at), k) - 1) < 1e-14


@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.5, 2.0, 3.0, 1 / 3, -0.5, -2.0, 17.0, 40.0])
def test_powers_are_right_to_two_units_in_the_last_place(exponent):
    x = np.concatenate([RNG.random(500), 10.0 ** RNG.uniform(-320, 308, 500), 1 + 1e-4 * RNG.normal(size=300)])
    found = powers.powers(x, exponent)
    with mpmath.workdps(60):
        truth = [mpmath.mpf(at) ** mpmath.mpf(exponent) for at in x.tolist()]
    for at, value, exact in zip(x.tolist(), found.tolist(), truth, strict=True):
        if at > 1e-300 and 1e-300 < exact < 1e300:
            assert abs(value - exact) <= 2 * float(np.spacing(float(exact))), at
        elif exact < 1e-330 or exact > 1e309:
            assert value == (0.0 if exact < 1 else np.inf), at


def test_edges_of_powers():
    x = np.array([0.0, 1.0, np.inf, -1.0, np.nan])
    for exponent, expected in {
        2.0: [0.0, 1.0, np.inf, np.nan, np.nan],
        -0.5: [np.inf, 1.0, 0.0, np.nan, np.nan],
        0.0: [1.0] * 5,
    }.items():
        assert np.array_equal(powers.powers(x, exponent), expected, equal_nan=True)


def test_powers_of_one_half_are_exact():
    assert [powers.raised(0.5, float(k)) for k in range(60)] == [2.0**-k for k in range(60)]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_bits_do_not_depend_on_where_in_a_loop_an_element_stands(name):
    x = FUNCTIONS[name][0]
    apply = compiled(getattr(elementary, name))
    together = apply(x)
    assert np.array_equal(together[5:12], apply(x[5:12].copy()))
    assert np.array_equal(together[:200], np.concatenate([apply(x[i : i + 1].copy()) for i in range(200)]))


NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("name", "x", "expected"),
    [
        ("sin_pi", [0.0, 1.0, -7.0, 0.5, 1.5, INFINITE, NAN], [0.0, 0.0, 0.0, 1.0, -1.0, NAN, NAN]),
        ("log", [0.0, 1.0, -1.0, INFINITE, NAN], [-INFINITE, 0.0, NAN, INFINITE, NAN]),
        ("exp", [-INFINITE, -800.0, 0.0, 710.0, INFINITE, NAN], [0.0, 0.0, 1.0, INFINITE, INFINITE, NAN]),
        ("softplus_of_minus", [-INFINITE, -800.0, 800.0, INFINITE, NAN], [INFINITE, 800.0, 0.0, 0.0, NAN]),
        ("normal_quantile", [0.0, 0.5, 1.0, -0.1, 1.1, NAN], [-INFINITE, 0.0, INFINITE, NAN, NAN, NAN]),
    ],
)
def test_edges(name, x, expected):
    assert np.array_equal(compiled(getattr(elementary, name))(np.array(x)), expected, equal_nan=True)


@pytest.mark.parametrize("x", [np.float64(0.3), np.full((2, 3), 0.3), np.full((4, 6), 0.3)[::2, ::2], np.empty((0, 2))])
def test_arrays_keep_their_shapes(x):
    for function, plain in (
        (elementary.sines_pi, lambda x: np.sin(np.pi * x)),
        (elementary.exps, np.exp),
        (elementary.softpluses_of_minus, lambda x: np.log1p(np.exp(-x))),
        (elementary.normal_quantiles, special.ndtri),
    ):
        found = function(x)
        assert found.shape == np.shape(x)
        assert found == pytest.approx(plain(x), rel=1e-15)


def test_symmetry_is_exact():
    x, u = RNG.uniform(-3, 3, 1000), np.ldexp(RNG.integers(1, 2**52, 1000).astype(float), -52)
    assert np.array_equal(elementary.sines_pi(-x), -elementary.sines_pi(x))
    assert np.array_equal(elementary.normal_quantiles(1 - u), -elementary.normal_quantiles(u))
