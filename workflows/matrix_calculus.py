"""Matrix calculus, checked: each identity is a map, its rule the derivative, and values say whether they agree.

A gradient is a column, as long as x; a Jacobian has a row per value and a column per parameter. What a rule leaves of
f(x + t v) - f(x) must fall with the square of t.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

import biasvar as bv
from biasvar.views import figures

Function = Callable[[np.ndarray], np.ndarray]

N, M = 3, 2
b = np.array([1.0, -2.0, 0.5])
A = np.array([[1.0, 2.0, -1.0], [0.5, -1.0, 3.0]])  # M x N
B = np.array([[2.0, 1.0, 0.0], [-1.0, 1.0, 1.0], [0.5, 3.0, -1.0]])  # N x N, not symmetric
LESSON = """
What to see
- All agree with their values to ten digits or more, along random lines through random points.
- The remainder of a linear map is nothing but rounding; of all others it falls with the square of the step, slope 2.
- A transposed Jacobian has another shape, and is refused. That the gradient of x'Bx is 2 B x, which is right for
  symmetric B alone, is found out:
  {wrong}"""


@dataclass(frozen=True)
class Identity:
    """A function of x (..., n) with its rule: a gradient if it has one value, a Jacobian if it has several."""

    rule: str
    layout: str
    value: Function
    derivative: Function
    dim: int = N

    @property
    def map(self) -> object:
        """What :func:`biasvar.check_derivatives` takes."""
        return (
            Map(self.dim, self.value, self.derivative)
            if " x " in self.layout
            else Scalar(self.dim, self.value, self.derivative)
        )


@dataclass(frozen=True)
class Scalar:
    """A function of one value (...) and its gradient (..., n)."""

    dim: int
    value: Function
    gradient: Function


@dataclass(frozen=True)
class Map:
    """A function of m values (..., m) and its Jacobian (..., m, n)."""

    dim: int
    value: Function
    jacobian: Function


def dot(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return u'v."""
    return (u * v).sum(axis=-1)


def col(s: np.ndarray) -> np.ndarray:
    """Let a number multiply a column."""
    return s[..., None]


def rows(J: np.ndarray, u: np.ndarray) -> np.ndarray:  # noqa: N803
    """Return J'u."""
    return np.einsum("...mn,...m->...n", J, u)


def f(x: np.ndarray) -> np.ndarray:
    """Return x'Bx."""
    return dot(x @ B, x)


def df(x: np.ndarray) -> np.ndarray:
    """Return its gradient."""
    return x @ (B + B.T)


def u(x: np.ndarray) -> np.ndarray:
    """Return tanh(Ax), a map to M values."""
    return np.tanh(x @ A.T)


def du(x: np.ndarray) -> np.ndarray:
    """Return its Jacobian."""
    return col(1 - u(x) ** 2) * A


def v(y: np.ndarray) -> np.ndarray:
    """Return (y1 y2, y1^2, y2), a map of M numbers."""
    return np.stack([y[..., 0] * y[..., 1], y[..., 0] ** 2, y[..., 1]], axis=-1)


def dv(y: np.ndarray) -> np.ndarray:
    """Return its Jacobian."""
    one, two, zero = y[..., 0], y[..., 1], 0 * y[..., 0]
    return np.stack([np.stack(row, axis=-1) for row in ((two, one), (2 * one, zero), (zero, zero + 1))], axis=-2)


IDENTITIES = {
    "b'x": Identity("b", "n", lambda x: x @ b, lambda x: b + 0 * x),
    "Ax": Identity("A", "m x n", lambda x: x @ A.T, lambda x: A + 0 * col(x @ A.T)),
    "x'Bx": Identity("(B + B')x", "n", f, df),
    "|x|^2": Identity("2x", "n", lambda x: dot(x, x), lambda x: 2 * x),
    "|X|_F^2": Identity("2X", "m n", lambda x: dot(x, x), lambda x: 2 * x, dim=M * N),
    "f g": Identity("g grad f + f grad g", "n", lambda x: f(x) * (x @ b), lambda x: col(x @ b) * df(x) + col(f(x)) * b),
    "u'w": Identity(
        "Ju'w + Jw'u", "n", lambda x: dot(u(x), x @ A.T), lambda x: rows(du(x), x @ A.T) + rows(A + 0 * du(x), u(x))
    ),
    "h(f(x))": Identity("h'(f) grad f", "n", lambda x: np.sin(f(x)), lambda x: col(np.cos(f(x))) * df(x)),
    "v(u(x))": Identity("Jv(u) Ju", "k x n", lambda x: v(u(x)), lambda x: dv(u(x)) @ du(x)),
}


def table(found: dict[str, xr.Dataset]) -> str:
    """Lay out each identity with its rule, layout, verdict, how far it agrees, and the slope of what it leaves."""
    lines = [f"{'function':10}{'derivative':22}{'layout':8}{'verdict':10}{'agrees to':>11}{'slope':>8}"]
    for name, checked in found.items():
        each, first = IDENTITIES[name], checked.isel(what=0)
        slope = float(checked.slope.sel(order=2))
        said = "exact" if np.isnan(slope) else f"{slope:.2f}"
        row = f"{name:10}{each.rule:22}{each.layout:8}{first.verdict.item():10}"
        lines.append(f"{row}{float(first.error):11.0e}{said:>8}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Check all identities, print their table and save a figure of what four of them leave."""
    parser = argparse.ArgumentParser(description=" ".join(__doc__.split()))
    parser.add_argument("--figure", default="figures/matrix-calculus.png", help="picture to save [%(default)s]")
    args = parser.parse_args(argv)

    found = {name: bv.check_derivatives(each.map) for name, each in IDENTITIES.items()}
    print(table(found))
    wrong = bv.check_derivatives(Scalar(N, f, lambda x: 2 * x @ B.T))
    print(LESSON.format(wrong=wrong.reason.values[0]))
    shown = {name: found[name] for name in ("x'Bx", "f g", "h(f(x))", "v(u(x))")}
    print("figure:", figures.save(bv.plot.remainders(shown), args.figure))


if __name__ == "__main__":
    main()
