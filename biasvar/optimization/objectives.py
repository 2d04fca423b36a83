"""Objectives J(theta) that are minimised: functions with a formula, and the protocol that all objectives follow.

A user's own objective is any object with the first two of these; the rest is used where it is there.

==================================  ===================================================================================
``value(theta)``                    J, for theta of shape (..., D); shape (...)
``gradient(theta, batch=None)``     its gradient, shape (..., D); ``batch`` is None, or a one-dimensional array of the
                                    examples to average over (a penalty counts in full in any batch)
``dim``                             D
``hessian_product(theta, v)``       the Hessian at theta times v, shape (..., D); theta has the shape of v, or is one
                                    point (D,)
``minimum``, ``minimizer``          the least value and where it is attained, shape (D,); None where it is unknown, or
                                    attained nowhere
``examples``                        how many training examples there are; absent from objectives without data
``has_held_out``, ``risk(theta)``   whether examples were held out, and the mean loss on them, without penalty
``elementwise``                     whether it takes no matrix product over parameters: then few configurations need not
                                    be padded to as many as a tile holds, for the same bits
``to_fields()``                     what identifies the objective, as JSON
==================================  ===================================================================================

Trajectories are kept as C-contiguous arrays (D, K) and handed over as their transposed views (K, D): ours read and
return those without a copy.
"""

import dataclasses
import reprlib
from functools import cached_property
from typing import Annotated, Any, Protocol, runtime_checkable

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from biasvar.errors import StudyError
from biasvar.fields import PositiveInt, Reals, component, one_or_more

Rows = Annotated[tuple[Reals, ...], BeforeValidator(one_or_more), Field(min_length=1)]

CHUNK = 64  # columns of a Hessian made at a time


@runtime_checkable
class Objective(Protocol):
    """What an objective must offer; more that it may offer is listed above."""

    def value(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return J, shape (...), for theta of shape (..., D)."""

    def gradient(self, theta: NDArray[np.float64], batch: NDArray[np.intp] | None = None) -> NDArray[np.float64]:
        """Return the gradient of J, or of its estimate by a batch of examples, shape (..., D)."""


class Described:
    """Give a component its JSON, a short repr, and a pickle without what is quickly worked out again."""

    def __repr__(self) -> str:
        shown = (f"{name}={_short(value)}" for name, value in self._fields().items() if value is not None)
        return f"{type(self).__name__}({', '.join(shown)})"

    def to_fields(self) -> dict[str, Any]:
        """Return the fields that are set, as JSON; an array by its shape and fingerprint."""
        return {name: _as_json(value) for name, value in self._fields().items() if value is not None}

    def __getstate__(self) -> dict[str, Any]:
        kept = self._fields().keys() | {"minimum", "minimizer"}
        return {name: value for name, value in self.__dict__.items() if name in kept}

    def _fields(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]


@component
class Quadratic(Described):
    """Evaluate J(theta) = theta' A theta / 2 for a diagonal A, given by its eigenvalues, or for a matrix.

    Parameters
    ----------
    eigenvalues : sequence of float
        The diagonal of A, none negative.
    matrix : sequence of sequences of float
        A itself, symmetric and positive semidefinite; exactly one of the two is given.

    References
    ----------
    Y. Nesterov, Introductory Lectures on Convex Optimization, 2004, section 2.1.

    Examples
    --------
    >>> Quadratic(eigenvalues=[1, 100]).gradient(np.array([2.0, 1.0])).tolist()
    [2.0, 100.0]
    >>> float(Quadratic(matrix=[[2, 1], [1, 2]]).value(np.array([1.0, 1.0])))
    3.0
    """

    eigenvalues: Reals | None = None
    matrix: Rows | None = None

    __repr__ = Described.__repr__
    minimum = 0.0

    @property
    def elementwise(self) -> bool:
        """Whether no matrix product is taken."""
        return self.matrix is None

    def __post_init__(self) -> None:
        if (self.eigenvalues is None) == (self.matrix is None):
            got = "neither" if self.matrix is None else "both"
            raise StudyError(f"expected eigenvalues or matrix, got {got}; give one of the two")
        if self.matrix is not None:
            _check_semidefinite(_rectangle(self.matrix, "matrix"))
        elif min(self.eigenvalues or ()) < 0:
            raise StudyError(f"eigenvalues: expected none below 0, got {min(self.eigenvalues or ())}")

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

    def gradient(self, theta: NDArray[np.float64], batch: None = None) -> NDArray[np.float64]:
        """Return A theta."""
        refuse_batch(self, batch)
        columns = as_columns(theta, self.dim)
        product = _scaled(self._a, columns) if self.matrix is None else self._a @ columns
        return from_columns(product, theta.shape)

    def hessian_product(self, theta: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return A v, whatever theta."""
        return self.gradient(v)

    @cached_property
    def _a(self) -> NDArray[np.float64]:
        return np.array(self.eigenvalues if self.matrix is None else self.matrix)


@njit(cache=True, nogil=True, error_model="numpy")
def _scaled(factors, columns):  # type: ignore[no-untyped-def]
    out = np.empty_like(columns)
    for d in range(columns.shape[0]):
        for k in range(columns.shape[1]):
            out[d, k] = factors[d] * columns[d, k]
    return out


@component
class LogSumExp(Described):
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

    __repr__ = Described.__repr__

    def __post_init__(self) -> None:
        rows = _rectangle(self.A, "A")
        if len(rows) != len(self.b):
            raise StudyError(f"b: got {len(self.b)} numbers for {len(rows)} rows of A; give one a row")

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
        return log_sum_exp(self._exponents(theta), axis=0).reshape(theta.shape[:-1])[()]

    def gradient(self, theta: NDArray[np.float64], batch: None = None) -> NDArray[np.float64]:
        """Return sum_i p_i a_i, where p are the shares of the exponentials in their sum."""
        refuse_batch(self, batch)
        return from_columns(self._a.T @ softmax(self._exponents(theta), axis=0), theta.shape)

    def hessian_product(self, theta: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the covariance of the a_i under the shares p, times v."""
        shares = softmax(self._exponents(theta), axis=0)
        slopes = self._a @ as_columns(v, self.dim)
        slopes -= (shares * slopes).sum(axis=0)
        slopes *= shares
        return from_columns(self._a.T @ slopes, v.shape)

    def _exponents(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        z: NDArray[np.float64] = self._a @ as_columns(theta, self.dim)
        z += self._b
        return z

    @cached_property
    def _a(self) -> NDArray[np.float64]:
        return np.array(self.A)

    @cached_property
    def _b(self) -> NDArray[np.float64]:
        return np.array(self.b)[:, None]


@component
class Rosenbrock(Described):
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
    elementwise = True  # no matrix product is taken

    @cached_property
    def minimizer(self) -> NDArray[np.float64]:
        """The point (1, ..., 1)."""
        return np.ones(self.dim)

    def value(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return J, shape (...)."""
        x, rise = self._split(theta)
        terms = 100 * rise**2 + (1 - x) ** 2
        return np.asarray(terms.sum(axis=-1))[()]

    def gradient(self, theta: NDArray[np.float64], batch: None = None) -> NDArray[np.float64]:
        """Return -400 x_i (x_{i+1} - x_i^2) - 2 (1 - x_i) and, of the term before, 200 (x_i - x_{i-1}^2)."""
        refuse_batch(self, batch)
        x, rise = self._split(theta)
        out = np.zeros_like(theta, dtype=float)
        out[..., :-1] = -400 * x * rise - 2 * (1 - x)
        out[..., 1:] += 200 * rise
        return out

    def hessian_product(self, theta: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the tridiagonal Hessian times v."""
        x, rise = self._split(theta)
        out = np.zeros_like(v, dtype=float)
        out[..., :-1] = (800 * x**2 - 400 * rise + 2) * v[..., :-1] - 400 * x * v[..., 1:]
        out[..., 1:] += 200 * v[..., 1:] - 400 * x * v[..., :-1]
        return out

    def _split(self, theta: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        check_dim(theta, self.dim)
        x = theta[..., :-1]
        return x, theta[..., 1:] - x**2


def check_dim(theta: NDArray[np.float64], dim: int) -> None:
    """Refuse theta that has not ``dim`` parameters on its last axis.

    Raises
    ------
    StudyError
        With both numbers.
    """
    if theta.shape[-1:] != (dim,):
        raise StudyError(f"theta: expected shape (..., {dim}), got {theta.shape}; parameters are the last axis")


def refuse_batch(objective: Any, batch: Any) -> None:
    """Refuse a batch of examples where there are none.

    Raises
    ------
    StudyError
        If ``batch`` is not None.
    """
    if batch is not None:
        raise StudyError(f"batch: {type(objective).__name__} has no examples to choose from; leave batch out")


def as_columns(theta: NDArray[np.float64], dim: int) -> NDArray[np.float64]:
    """Turn points (..., dim) into columns (dim, K), a view wherever one exists.

    Examples
    --------
    >>> kept = np.zeros((3, 5))
    >>> as_columns(kept.T, 3).flags.c_contiguous
    True
    """
    check_dim(theta, dim)
    return theta.reshape(-1, dim).T


def from_columns(columns: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Turn columns (dim, K) back into points of the given shape (..., dim)."""
    return columns.T.reshape(shape)


def log_sum_exp(z: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Return log sum exp z over an axis, without overflow; overwrites z."""
    top = z.max(axis=axis, keepdims=True)
    z -= top
    total = np.exp(z, out=z).sum(axis=axis)
    np.log(total, out=total)
    total += top.squeeze(axis)
    return np.asarray(total)


def softmax(z: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Return exp z over its sum along an axis, without overflow; overwrites z."""
    z -= z.max(axis=axis, keepdims=True)
    np.exp(z, out=z)
    z /= z.sum(axis=axis, keepdims=True)
    return z


def whitened(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a basis (D, rank) of the span of rows (m, D) in which their mean outer product is the identity.

    Coordinates in it are as large as what the rows see of a point, whatever the scale of the features.
    """
    _, scales, directions = np.linalg.svd(rows, full_matrices=False)
    kept = scales > scales[0] * max(rows.shape) * np.finfo(float).eps
    basis: NDArray[np.float64] = directions[kept].T / scales[kept] * np.sqrt(len(rows))
    return basis


def newton_minimizer(
    objective: Any, basis: NDArray[np.float64], floor: float = -np.inf, steps: int = 60
) -> NDArray[np.float64] | None:
    """Minimise a convex objective over the span of a basis (D, r) by Newton's method with halved steps, from zero.

    Returns None where no minimum is attained: a value below ``floor`` proves it, or the steps never shrink. At a
    minimum they shrink quadratically; towards an infimum at infinity each is about as long as the last.
    """
    at = np.zeros(basis.shape[1])
    value = objective.value(basis @ at)
    for _ in range(steps):
        if value < floor:
            return None
        step = _newton_step(objective, basis, at)
        if step is None:
            return None
        if np.abs(step).max(initial=0.0) <= 1e-8 * (1 + np.abs(at).max(initial=0.0)):
            minimizer: NDArray[np.float64] = basis @ (at - step)
            minimizer.flags.writeable = False
            return minimizer
        while not (following := objective.value(basis @ (at - step))) <= value + 1e-14 * abs(value):
            step /= 2
        at, value = at - step, following
    return None


def _newton_step(objective: Any, basis: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64] | None:
    theta = basis @ at
    starts = range(0, basis.shape[1], CHUNK)
    products = [objective.hessian_product(theta, basis.T[start : start + CHUNK]) @ basis for start in starts]
    try:
        step = np.linalg.solve(np.concatenate([np.empty((0, len(at))), *products]), basis.T @ objective.gradient(theta))
    except np.linalg.LinAlgError:  # the surface is flat that far out
        return None
    return step if np.isfinite(step).all() else None


def _rectangle(rows: tuple[tuple[float, ...], ...], name: str) -> NDArray[np.float64]:
    lengths = sorted({len(row) for row in rows})
    if len(lengths) > 1:
        raise StudyError(f"expected rows of {name} of one length, got lengths {lengths}")
    return np.array(rows)


def _check_semidefinite(a: NDArray[np.float64]) -> None:
    if a.shape[0] != a.shape[1] or not np.array_equal(a, a.T):
        raise StudyError(f"matrix: of shape {a.shape} is not symmetric; give (A + A') / 2")
    least, *_, most = np.linalg.eigvalsh(a)[[0, -1]]
    if least < -1e-12 * abs(most):
        raise StudyError(f"matrix: has the eigenvalue {least:.6g}, expected none below 0; the objective has no minimum")


def _as_json(value: Any) -> Any:
    if hasattr(value, "to_fields"):
        return value.to_fields()
    return [_as_json(item) for item in value] if isinstance(value, tuple) else value


def _short(value: Any) -> str:
    if not isinstance(value, tuple):
        return repr(value)
    if isinstance(value[0], tuple) and len(value) * len(value[0]) > 9:
        return f"<{len(value)} x {len(value[0])}>"
    return reprlib.repr(value)
