"""The identities of the workflow against sympy, and that a wrong rule or layout of each is found."""

import importlib.util

import numpy as np
import pytest
import sympy
from helpers import WORKFLOWS

import biasvar as bv
from biasvar.errors import StudyError


def module():
    spec = importlib.util.spec_from_file_location("matrix_calculus", WORKFLOWS / "matrix_calculus.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


CALCULUS = module()
x = sympy.Matrix(sympy.symbols("x0:3", real=True))
X = sympy.Matrix(2, 3, sympy.symbols("X0:6", real=True))
A, B, b = (sympy.Matrix(np.asarray(part).tolist()) for part in (CALCULUS.A, CALCULUS.B, CALCULUS.b))
QUADRATIC = (x.T * B * x)[0]
TANH = (A * x).applyfunc(sympy.tanh)
Y = sympy.Matrix(sympy.symbols("y0:2", real=True))
OUTER = sympy.Matrix([Y[0] * Y[1], Y[0] ** 2, Y[1]])
#: Each function as sympy knows it, of x; derivatives are sympy's own.
SYMBOLIC = {
    "b'x": (b.T * x)[0],
    "Ax": A * x,
    "x'Bx": QUADRATIC,
    "|x|^2": x.norm() ** 2,
    "|X|_F^2": X.norm() ** 2,
    "f g": QUADRATIC * (b.T * x)[0],
    "u'w": (TANH.T * A * x)[0],
    "h(f(x))": sympy.sin(QUADRATIC),
    "v(u(x))": OUTER.subs(dict(zip(Y, TANH, strict=True))),
}


@pytest.mark.parametrize("name", SYMBOLIC)
def test_each_rule_is_the_derivative_that_sympy_finds(name):
    identity, expression = CALCULUS.IDENTITIES[name], SYMBOLIC[name]
    symbols = list(X) if name.startswith("|X|") else list(x)
    points = np.random.default_rng(1).normal(size=(5, identity.dim))
    whole = expression if isinstance(expression, sympy.MatrixBase) else sympy.Matrix([expression])
    jacobian = sympy.lambdify([symbols], whole.jacobian(symbols))
    value = sympy.lambdify([symbols], whole)
    for point, found, at in zip(points, identity.derivative(points), identity.value(points), strict=True):
        wanted = np.array(jacobian(point), dtype=float)
        # A gradient is a column as long as x, a Jacobian has a row per value.
        assert found.shape == (wanted.shape if "x" in identity.layout else (identity.dim,))
        np.testing.assert_allclose(found, wanted.reshape(found.shape), rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(
            at, np.array(value(point), dtype=float).reshape(np.shape(at)), rtol=1e-12, atol=1e-13
        )


def test_every_identity_is_against_sympy():
    assert SYMBOLIC.keys() == CALCULUS.IDENTITIES.keys()


@pytest.mark.parametrize("name", SYMBOLIC)
def test_each_agrees_with_its_values_and_a_rule_off_by_a_millionth_does_not(name):
    identity = CALCULUS.IDENTITIES[name]
    found = bv.check_derivatives(identity.map)
    assert found.verdict.values[0] == "agrees"
    assert float(found.error[0]) < 1e-10
    slope = float(found.slope.sel(order=2))
    assert np.isnan(slope) if name in ("b'x", "Ax") else abs(slope - 2) < 0.005
    kind = type(identity.map)
    off = kind(identity.dim, identity.value, lambda at: identity.derivative(at) * (1 + 1e-6))
    assert bv.check_derivatives(off).verdict.values[0] == "wrong"


def test_a_transposed_jacobian_is_refused():
    identity = CALCULUS.IDENTITIES["Ax"]
    turned = CALCULUS.Map(3, identity.value, lambda at: np.swapaxes(identity.derivative(at), -1, -2))
    with pytest.raises(StudyError, match="a row per value, a column per parameter"):
        bv.check_derivatives(turned)
