"""Target functions f: the part of y = f(x) + sigma e that can be learned.

Any vectorised callable is a target. Two attributes are read where a target has them: ``breakpoints``, where it is not
smooth (quadrature is split there), and ``smooth``, which says that all its derivatives are bounded on bounded sets.
"""

from collections.abc import Callable, Iterable
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from biasvar.adapting import said
from biasvar.errors import TargetError, vectorise_hint
from biasvar.fields import Real, Reals, component
from biasvar.montecarlo.elementary import exps, sines_pi
from biasvar.montecarlo.linear_algebra import matmul

Target = Callable[[NDArray[np.float64]], ArrayLike]

FAR_OUT = (16, 49)  # powers of one half: probabilities from 1e-5 to 4e-15
STRAIGHT = 0.94  # ratio of the slopes of the outer half and the inner one, above which a line is straight


@component
class Sine:
    """Evaluate f(x) = sin(pi * frequency * x), the lecture's target.

    References
    ----------
    Y. Abu-Mostafa, M. Magdon-Ismail, H.-T. Lin, Learning From Data, 2012, example 2.8.

    Examples
    --------
    >>> Sine()(np.array([0.5])).tolist()
    [1.0]
    """

    frequency: Real = 1.0

    smooth = True

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return sin(pi * frequency * x), elementwise."""
        return sines_pi(x if self.frequency == 1 else self.frequency * x)


@component
class PolynomialTarget:
    """Evaluate f(x) = c_0 + c_1 x + c_2 x^2 + ..., coefficients in ascending powers.

    Examples
    --------
    >>> PolynomialTarget([0, 0, 1])(np.array([3.0])).tolist()
    [9.0]
    """

    coefficients: Reals

    smooth = True

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the polynomial at x, elementwise."""
        return np.asarray(np.polynomial.polynomial.polyval(x, self.coefficients), dtype=float)


@component
class Logistic:
    """Evaluate p(x) = 1 / (1 + exp(-(c_0 + <c, x>))), coefficients c_0, c_1, ...: a probability of class +1.

    Examples
    --------
    >>> Logistic([0, 2])(np.array([0.0, 0.5])).round(3).tolist()
    [0.5, 0.731]
    """

    coefficients: Reals

    smooth = True

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probability at x, elementwise, or over the last axis in more dimensions."""
        intercept, *slopes = self.coefficients
        scores = intercept + (slopes[0] * x if len(slopes) == 1 else matmul(x, np.array(slopes)))
        return 1 / (1 + exps(-scores))


@component
class Linear:
    """Evaluate f(x) = <coefficients, x> over the last axis (one coefficient: f(x) = c x).

    Examples
    --------
    >>> Linear([1, 2])(np.array([[3.0, 4.0]])).tolist()
    [11.0]
    """

    coefficients: Reals

    smooth = True

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the inner product of x with the coefficients."""
        if len(self.coefficients) == 1:
            return self.coefficients[0] * x
        y: NDArray[np.float64] = matmul(x, np.array(self.coefficients))
        return y


@component
class Step:
    """Evaluate f(x) = 1 for x >= 0, else -1.

    Examples
    --------
    >>> Step()(np.array([-2.0, 0.0])).tolist()
    [-1.0, 1.0]
    """

    smooth = False
    breakpoints = (0.0,)

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sign of x, with +1 at zero."""
        return np.where(x >= 0, 1.0, -1.0)


def _all_finite(y: NDArray[np.float64]) -> bool:
    """Tell whether all are finite: they are if their sum is, which is sooner told."""
    with np.errstate(all="ignore"):
        return bool(np.isfinite(y.sum())) or bool(np.isfinite(y).all())


def evaluate(target: Target, x: NDArray[np.float64], dim: int) -> NDArray[np.float64]:
    """Evaluate a target and refuse what is not one finite number per input.

    Parameters
    ----------
    target : callable
        Vectorised function of inputs ``(...,)`` in one dimension, ``(..., dim)`` in more.
    x : ndarray
        Inputs.
    dim : int
        Dimension of one input.

    Raises
    ------
    TargetError
        On an exception of the target, a wrong shape, or values that are NaN or infinite.
    """
    expected = x.shape if dim == 1 else x.shape[:-1]
    try:
        with np.errstate(all="ignore"):  # what is not finite is refused below
            y = np.asarray(target(x))
    except Exception as error:
        raise TargetError(
            f"target: {target!r} raised {type(error).__name__} on inputs of shape {x.shape}: "
            f"{error}{vectorise_hint(error)}"
        ) from error
    if np.iscomplexobj(y):
        raise TargetError(f"target: {target!r} returned complex numbers; return its real part if that is meant")
    if y.shape != expected:
        raise TargetError(
            f"target: {target!r} returned shape {y.shape} for inputs of shape {x.shape}, expected {expected}; "
            "make it vectorised, one number for each input"
        )
    y = y.astype(float, copy=False)
    if not _all_finite(y):
        bad = ~np.isfinite(y)
        where = x[bad][0]
        raise TargetError(
            f"target: {target!r} is not finite at x={where}: got {y[bad][0]}; define it on all of the inputs"
        )
    return y


def square_tail_index(target: Target, quantile: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> float:
    """Return the tail index of f(x)^2 under a one-dimensional law, as its quantiles far out show it.

    P(f^2 > t) ~ t^-a where f grows like P(beyond x)^(-1 / 2a), so that log f^2 is a straight line in log P with slope
    1/a. Of targets with all moments, polynomials under a normal law for one, the slope falls on the way out.

    Parameters
    ----------
    target : callable
        The target.
    quantile : callable
        Inverse distribution function of the inputs.

    Returns
    -------
    float
        The index; infinite where the target is bounded or has all moments, as far as it was looked at.

    Examples
    --------
    Under a normal law the index of exp(2 x^2 / 5) is 1.25, up to the logarithm that its tail has as well:

    >>> from scipy.special import ndtri
    >>> round(square_tail_index(lambda x: np.exp(x**2 / 5), ndtri), 2)
    1.27
    >>> square_tail_index(np.sin, ndtri), square_tail_index(lambda x: x**9, ndtri)
    (inf, inf)
    """
    log2_beyond = np.arange(*FAR_OUT)
    index = np.inf
    for beyond in (0.5**log2_beyond, 1 - 0.5**log2_beyond):
        try:
            f = np.abs(evaluate(target, quantile(np.asarray(beyond, dtype=float)), 1))
        except TargetError:
            continue  # no further than inputs are ever drawn
        if not f.all():
            continue
        # The largest so far: what oscillates is as large as its envelope.
        level = 2 * np.log(np.maximum.accumulate(f))
        near, far = (level[len(f) // 2] - level[0], level[-1] - level[len(f) // 2])
        if far > STRAIGHT * near > 0:
            index = min(index, float((log2_beyond[-1] - log2_beyond[len(f) // 2]) * np.log(2) / far))
    return index


def breakpoints(target: Target) -> tuple[float, ...]:
    """Return where a target says that it is not smooth."""
    own = said(target, "breakpoints")
    return () if own is None else tuple(float(place) for place in cast("Iterable[float]", own))


def is_smooth(target: Target) -> bool:
    """Tell whether a target says that all its derivatives are bounded on bounded sets."""
    return bool(said(target, "smooth"))
