"""Objectives with a formula: quadratics, a saddle, log-sum-exp, Rosenbrock's valley."""

from functools import cached_property
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from biasvar.compiling import njit
from biasvar.errors import StudyError
from biasvar.fields import PositiveInt, Real, Reals, component, one_or_more
from biasvar.montecarlo.elementary import exp, sin_pi
from biasvar.montecarlo.linear_algebra import eigh, matmul, product
from biasvar.optimization.kernels import Slope
from biasvar.optimization.newton import newton_minimizer, whitened
from biasvar.optimization.objectives.base import Described, as_columns, from_columns
from biasvar.optimization.objectives.columnwise import Columnwise
from biasvar.optimization.sets import ConvexSet
from biasvar.optimization.stable import log_sum_exp, softmax, spread_times

_ROUNDING = 1e-12  # times the largest entry or eigenvalue of a matrix: what is left by working it out

Rows = Annotated[tuple[Reals, ...], BeforeValidator(one_or_more), Field(min_length=1)]


@component
class Quadratic(Described, Columnwise):
    """Evaluate J(theta) = theta' A theta / 2 for a diagonal A, given by its eigenvalues, or for a matrix.

    Parameters
    ----------
    eigenvalues : sequence of float
        The diagonal of A, none negative.
    matrix : sequence of sequences of float
        A itself, symmetric but for rounding, of which (A + A') / 2 is taken, and positive semidefinite; exactly one of
        the two is given.
    angle : float, optional
        Degrees by which the plane of two eigenvalues is turned, counterclockwise: the eigenvectors are (cos, sin) and
        (-sin, cos) of it. Update rules that scale each coordinate apart see another problem, the others the same.

    References
    ----------
    Y. Nesterov, Introductory Lectures on Convex Optimization, 2004, section 2.1.

    Examples
    --------
    >>> Quadratic(eigenvalues=[1, 100]).gradient(np.array([2.0, 1.0])).tolist()
    [2.0, 100.0]
    >>> float(Quadratic(matrix=[[2, 1], [1, 2]]).value(np.array([1.0, 1.0])))
    3.0
    >>> Quadratic(eigenvalues=[1, 3], angle=45).gradient(np.array([1.0, 1.0])).round(12).tolist()
    [1.0, 1.0]
    """

    eigenvalues: Reals | None = None
    matrix: Rows | None = None
    angle: Real | None = None

    minimum = 0.0

    def __post_init__(self) -> None:
        if (self.eigenvalues is None) == (self.matrix is None):
            got = "neither" if self.matrix is None else "both"
            raise StudyError(f"expected eigenvalues or matrix, got {got}; give one of the two")
        if self.matrix is not None:
            _check_semidefinite(_rectangle(self.matrix, "matrix"))
        elif min(self.eigenvalues or ()) < 0:
            raise StudyError(f"eigenvalues: expected none below 0, got {min(self.eigenvalues or ())}; see Saddle")
        if self.angle is not None and len(self.eigenvalues or ()) != 2:
            got = "a matrix" if self.eigenvalues is None else f"{len(self.eigenvalues)}"
            raise StudyError(f"angle: turns two eigenvalues, got {got}; leave it out, and turn the matrix: R @ A @ R.T")

    @property
    def dim(self) -> int:
        """Number of parameters."""
        return len(self.eigenvalues or self.matrix or ())

    @cached_property
    def minimizer(self) -> NDArray[np.float64]:
        """The origin."""
        return np.zeros(self.dim)

    def value(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return theta' A theta / 2, shape (...)."""
        products = self.gradient(theta)
        products *= theta
        half: NDArray[np.float64] = products.sum(axis=-1)
        return half / 2

    @cached_property
    def slope(self) -> Slope:
        """A theta."""
        return Slope(_scaled if self._a.ndim == 1 else product, (self._a,))

    def hessian_product(self, theta: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return A v, whatever theta."""
        return self.gradient(v)

    def minimizer_within(self, within: ConvexSet) -> NDArray[np.float64] | None:
        """Return the point of the set that is the nearest to the origin, in the norm that J is, if A is diagonal."""
        normed = self._a.ndim == 1 and self._a.all() and (within.takes_weights or within.separable)
        return within.project(self.minimizer, self._a) if normed else super().minimizer_within(within)

    @cached_property
    def _a(self) -> NDArray[np.float64]:
        if self.matrix is not None:
            given = np.array(self.matrix)
            symmetric: NDArray[np.float64] = (given + given.T) / 2
            return symmetric
        return np.array(self.eigenvalues) if self.angle is None else _turned(self.eigenvalues or (), self.angle)


def _turned(eigenvalues: tuple[float, ...], degrees: float) -> NDArray[np.float64]:
    """Return R diag(two eigenvalues) R', symmetric to the last bit, for the rotation R."""
    first, second = eigenvalues
    cosine, sine = sin_pi(0.5 - degrees / 180), sin_pi(degrees / 180)
    across = (first - second) * cosine * sine
    along = first * cosine**2 + second * sine**2, first * sine**2 + second * cosine**2
    return np.array([[along[0], across], [across, along[1]]])


@njit(cache=True, nogil=True, error_model="numpy")
def _scaled(theta, out, factors):  # type: ignore[no-untyped-def]
    for d in range(theta.shape[0]):
        for k in range(theta.shape[1]):
            out[d, k] = factors[d] * theta[d, k]


@component
class Saddle(Described, Columnwise):
    """Evaluate J(theta) = sum_i a_i theta_i^2 / 2 for a_i of both signs: flat at the origin, and without a minimum.

    J falls for ever along each a_i < 0, and there is no J*: studies record no distance to a minimiser, and ``targets``
    are values of J below 0, such as -1. A descent that has reached the lowest of them stops, there. One without targets
    that never comes to rest at the origin falls until its numbers overflow: then it has diverged, counts as infinite,
    and is never the best.

    Parameters
    ----------
    eigenvalues : sequence of float
        The a_i, at least one above and one below 0. By gradient descent of rate r the way out grows by 1 - r a_i a step
        along a_i < 0, and r must stay below 2 / a_i for each a_i > 0.

    References
    ----------
    R. Ge, F. Huang, C. Jin, Y. Yuan, Escaping from saddle points: online stochastic gradient for tensor decomposition,
    2015.

    Examples
    --------
    >>> saddle = Saddle()
    >>> float(saddle.value(np.array([2.0, 1.0]))), saddle.gradient(np.array([2.0, 1.0])).tolist(), saddle.minimum
    (1.5, [2.0, -1.0], None)
    """

    eigenvalues: Reals = (1.0, -1.0)

    def __post_init__(self) -> None:
        if not min(self.eigenvalues) < 0 < max(self.eigenvalues):
            raise StudyError(f"eigenvalues: expected some below and some above 0, got {list(self.eigenvalues)}")

    @property
    def dim(self) -> int:
        """Number of parameters."""
        return len(self.eigenvalues)

    def value(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return sum_i a_i theta_i^2 / 2, shape (...)."""
        products = self.gradient(theta)
        products *= theta
        half: NDArray[np.float64] = products.sum(axis=-1)
        return half / 2

    @cached_property
    def slope(self) -> Slope:
        """a_i theta_i."""
        return Slope(_scaled, (self._a,))

    def hessian_product(self, theta: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a_i v_i, whatever theta."""
        return self.gradient(v)

    @cached_property
    def _a(self) -> NDArray[np.float64]:
        return np.array(self.eigenvalues)


@component
class LogSumExp(Described, Columnwise):
    """Evaluate J(theta) = log sum_i exp(a_i' theta + b_i): smooth and convex, flat far out, not strongly convex.

    Its minimum is found by Newton's method when it is first asked for; None where it is attained nowhere.

    Parameters
    ----------
    A : sequence of sequences of float
        The a_i as rows, shape (m, D).
    b : sequence of float
        The b_i, m of them.

    References
    ----------
    W. Su, S. Boyd, E. Candes, A differential equation for modeling Nesterov's accelerated gradient method, 2016.

    Examples
    --------
    >>> cosh = LogSumExp(A=[[1], [-1]], b=[0, 0])  # log(2 cosh theta)
    >>> round(cosh.minimum, 12) == round(float(np.log(2)), 12)
    True
    """

    A: Rows
    b: Reals

    def __post_init__(self) -> None:
        rows = _rectangle(self.A, "A")
        if len(rows) != len(self.b):
            raise StudyError(f"b: got {len(self.b)} numbers for {len(rows)} rows of A; give one per row")

    @property
    def dim(self) -> int:
        """Number of parameters."""
        return len(self.A[0])

    @cached_property
    def minimizer(self) -> NDArray[np.float64] | None:
        """The minimiser of least norm."""
        return newton_minimizer(self, whitened(self._a))

    @cached_property
    def minimum(self) -> float | None:
        """The least value."""
        return None if self.minimizer is None else float(self.value(self.minimizer))

    def value(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return log sum_i exp(a_i' theta + b_i), shape (...)."""
        return log_sum_exp(self._exponents(theta)[None]).reshape(theta.shape[:-1])[()]

    @cached_property
    def slope(self) -> Slope:
        """sum_i p_i a_i, where p are the shares of the exponentials in their sum."""
        return Slope(_mean_of_rows, (self._a, self._a.T.copy(), self._b[:, 0]))

    def hessian_product(self, theta: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the covariance of the a_i under the shares p, times v."""
        slopes = matmul(self._a, as_columns(v, self.dim))
        shares = softmax(self._exponents(theta)[None])
        return from_columns(matmul(self._a.T, spread_times(shares, slopes[None])[0]), v.shape)

    def _exponents(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        z = matmul(self._a, as_columns(theta, self.dim))
        z += self._b
        return z

    @cached_property
    def _a(self) -> NDArray[np.float64]:
        return np.array(self.A)

    @cached_property
    def _b(self) -> NDArray[np.float64]:
        return np.array(self.b)[:, None]


@njit(cache=True, nogil=True, error_model="numpy")
def _mean_of_rows(theta, out, rows, transposed, shifts):  # type: ignore[no-untyped-def]
    count, width = rows.shape[0], theta.shape[1]
    z, top, total = np.empty((count, width)), np.full(width, -np.inf), np.zeros(width)
    product(theta, z, rows)
    for i in range(count):
        for k in range(width):
            z[i, k] += shifts[i]
            top[k] = max(top[k], z[i, k])
    for i in range(count):
        for k in range(width):
            z[i, k] = exp(z[i, k] - top[k])
            total[k] += z[i, k]
    for i in range(count):
        for k in range(width):
            z[i, k] /= total[k]
    product(z, out, transposed)


@component
class Rosenbrock(Described, Columnwise):
    """Evaluate J(x) = sum_i 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2: a curved valley, least at (1, ..., 1).

    From ``dim`` 4 on there is a second local minimum, near (-1, 1, ..., 1).

    References
    ----------
    H. H. Rosenbrock, An automatic method for finding the greatest or least value of a function, 1960.

    Examples
    --------
    >>> float(Rosenbrock().value(np.array([-1.0, 2.0])))
    104.0
    """

    dim: Annotated[PositiveInt, Field(ge=2)] = 2

    minimum = 0.0

    @cached_property
    def minimizer(self) -> NDArray[np.float64]:
        """The point (1, ..., 1)."""
        return np.ones(self.dim)

    def value(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return J, shape (...)."""
        columns = np.ascontiguousarray(as_columns(theta, self.dim), dtype=float)
        out = np.zeros(columns.shape[1])
        _height(columns, out)
        return out.reshape(theta.shape[:-1])[()]

    @property
    def slope(self) -> Slope:
        """-400 x_i (x_{i+1} - x_i^2) - 2 (1 - x_i) and, of the term before, 200 (x_i - x_{i-1}^2)."""
        return Slope(_valley)

    def hessian_product(self, theta: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the tridiagonal Hessian times v."""
        there = as_columns(np.broadcast_to(theta, v.shape), self.dim)
        columns, along = (np.ascontiguousarray(part, dtype=float) for part in (there, as_columns(v, self.dim)))
        out = np.empty_like(along)
        _bend(columns, along, out)
        return from_columns(out, v.shape)


@njit(cache=True, nogil=True, error_model="numpy")
def _height(theta, out):  # type: ignore[no-untyped-def]
    for d in range(theta.shape[0] - 1):
        for k in range(theta.shape[1]):
            x = theta[d, k]
            rise = theta[d + 1, k] - x * x
            out[k] += 100 * (rise * rise) + (1 - x) * (1 - x)


@njit(cache=True, nogil=True, error_model="numpy")
def _bend(theta, v, out):  # type: ignore[no-untyped-def]
    last = theta.shape[0] - 1
    for k in range(theta.shape[1]):
        out[0, k] = 0.0
    for d in range(last):
        for k in range(theta.shape[1]):
            x = theta[d, k]
            rise = theta[d + 1, k] - x * x
            out[d, k] += (800 * (x * x) - 400 * rise + 2) * v[d, k] - 400 * x * v[d + 1, k]
            out[d + 1, k] = 200 * v[d + 1, k] - 400 * x * v[d, k]


@njit(cache=True, nogil=True, error_model="numpy")
def _valley(theta, out):  # type: ignore[no-untyped-def]
    last = theta.shape[0] - 1
    for k in range(theta.shape[1]):
        out[0, k] = 0.0
    for d in range(last):
        for k in range(theta.shape[1]):
            x = theta[d, k]
            rise = theta[d + 1, k] - x * x
            out[d, k] += -400 * x * rise - 2 * (1 - x)
            out[d + 1, k] = 200 * rise


def _rectangle(rows: tuple[tuple[float, ...], ...], name: str) -> NDArray[np.float64]:
    lengths = sorted({len(row) for row in rows})
    if len(lengths) > 1:
        raise StudyError(f"expected rows of {name} of one length, got lengths {lengths}")
    return np.array(rows)


def _check_semidefinite(a: NDArray[np.float64]) -> None:
    if a.shape[0] != a.shape[1] or np.abs(a - a.T).max() > _ROUNDING * np.abs(a).max():
        raise StudyError(f"matrix: of shape {a.shape} is not symmetric; give (A + A') / 2")
    least, most = eigh(a[None])[0][0, [0, -1]]
    if least < -_ROUNDING * abs(most):
        raise StudyError(f"matrix: has the eigenvalue {least:.6g}, expected none below 0; the objective has no minimum")
