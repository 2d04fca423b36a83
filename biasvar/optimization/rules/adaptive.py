"""Rules that divide by the root of a mean square of the gradient: AdaGrad, RMSProp, AdaDelta."""

import numpy as np

from biasvar.compiling import njit
from biasvar.fields import component
from biasvar.optimization.kernels import Arithmetic
from biasvar.optimization.rules.base import Fractions, NonNegatives, Positives, Schedule
from biasvar.optimization.rules.elementwise import Elementwise
from biasvar.optimization.rules.momentum import ahead
from biasvar.optimization.rules.small import flushed, held


@njit(nogil=True, error_model="numpy")
def _adagrad(theta, gradient, square, learning_rate, epsilon):  # type: ignore[no-untyped-def]
    r = square + gradient * gradient
    return flushed(theta - learning_rate * gradient / (epsilon + np.sqrt(r))), r


@njit(nogil=True, error_model="numpy")
def _mean_square(gradient, square, rho):  # type: ignore[no-untyped-def]
    return held(rho * square + (1 - rho) * (gradient * gradient))


@njit(nogil=True, error_model="numpy")
def _rmsprop(theta, gradient, square, learning_rate, rho, epsilon):  # type: ignore[no-untyped-def]
    r = _mean_square(gradient, square, rho)
    return flushed(theta - learning_rate * gradient / (epsilon + np.sqrt(r))), r


@njit(nogil=True, error_model="numpy")
def _rmsprop_inside(theta, gradient, square, learning_rate, rho, epsilon):  # type: ignore[no-untyped-def]
    r = _mean_square(gradient, square, rho)
    return flushed(theta - learning_rate * gradient / np.sqrt(r + epsilon)), r


@njit(nogil=True, error_model="numpy")
def _rmsprop_nesterov(theta, gradient, velocity, square, learning_rate, rho, momentum, epsilon):  # type: ignore[no-untyped-def]
    r = _mean_square(gradient, square, rho)
    v = flushed(momentum * velocity - learning_rate * gradient / (epsilon + np.sqrt(r)))
    return flushed(theta + v), v, r


@njit(nogil=True, error_model="numpy")
def _rmsprop_nesterov_inside(theta, gradient, velocity, square, learning_rate, rho, momentum, epsilon):  # type: ignore[no-untyped-def]
    r = _mean_square(gradient, square, rho)
    v = flushed(momentum * velocity - learning_rate * gradient / np.sqrt(r + epsilon))
    return flushed(theta + v), v, r


@njit(nogil=True, error_model="numpy")
def _adadelta(theta, gradient, square, moves, pace, learning_rate, rho, epsilon):  # type: ignore[no-untyped-def]
    r = _mean_square(gradient, square, rho)
    p = np.sqrt((moves + epsilon) / (r + epsilon))
    u = p * gradient
    return flushed(theta - learning_rate * u), r, flushed(rho * moves + (1 - rho) * (u * u)), p


@njit(nogil=True, error_model="numpy")
def _root(square, epsilon):  # type: ignore[no-untyped-def]
    return epsilon + np.sqrt(square)


@njit(nogil=True, error_model="numpy")
def _root_inside(square, epsilon):  # type: ignore[no-untyped-def]
    return np.sqrt(square + epsilon)


@njit(nogil=True, error_model="numpy")
def _inverse(pace):  # type: ignore[no-untyped-def]
    return 1 / pace


_ADAGRAD = Arithmetic(_adagrad, ("square",), metric=_root)
_RMSPROP = Arithmetic(_rmsprop, ("square",), metric=_root)
_RMSPROP_INSIDE = Arithmetic(_rmsprop_inside, ("square",), metric=_root_inside)
_RMSPROP_NESTEROV, _RMSPROP_NESTEROV_INSIDE = (
    Arithmetic(each, ("velocity", "square"), ahead=ahead, metric=metric, velocity="velocity")
    for each, metric in ((_rmsprop_nesterov, _root), (_rmsprop_nesterov_inside, _root_inside))
)
# The pace is kept for the norm of the step: what it was made of is gone after it.
_ADADELTA = Arithmetic(_adadelta, ("square", "moves", "pace"), metric=_inverse)


@component
class AdaGrad(Elementwise):
    """Divide by the root of the sum of squares of all gradients.

    r <- r + g^2
    theta <- theta - e g / (d + sqrt(r))

    torch has the same, with d = 1e-10 unless given. optax and Keras divide by sqrt(r + d), and r starts at 0.1.

    References
    ----------
    I. Goodfellow, Y. Bengio, A. Courville, Deep Learning, 2016, algorithm 8.4.

    Examples
    --------
    >>> from biasvar.optimization.rules import descend
    >>> descend(AdaGrad(0.25), lambda theta: 2 * theta, [1.0], 3)[:, 0, 0].round(3).tolist()
    [1.0, 0.75, 0.6, 0.492]
    """

    arithmetic = _ADAGRAD

    learning_rate: Positives = (0.001,)
    epsilon: NonNegatives = (1e-7,)
    schedule: Schedule | None = None


@component
class RMSProp(Elementwise):
    """Divide by the root of a running mean square of the gradient.

    r <- rho r + (1 - rho) g^2
    theta <- theta - e g / (d + sqrt(r)), or with ``epsilon_inside`` e g / sqrt(d + r)

    torch has the first form, with rho = 0.99 and d = 1e-8 unless given. Keras, optax (unless told otherwise) and the
    book have the second.

    References
    ----------
    I. Goodfellow, Y. Bengio, A. Courville, Deep Learning, 2016, algorithm 8.5 (with ``epsilon_inside``).

    Examples
    --------
    >>> from biasvar.optimization.rules import descend
    >>> descend(RMSProp(0.25), lambda theta: 2 * theta, [1.0], 3)[:, 0, 0].round(3).tolist()
    [1.0, 0.209, 0.039, 0.006]
    """

    learning_rate: Positives = (0.001,)
    rho: Fractions = (0.9,)
    epsilon: NonNegatives = (1e-7,)
    epsilon_inside: bool = False
    schedule: Schedule | None = None

    @property
    def arithmetic(self) -> Arithmetic:
        """What a step does to numbers."""
        return _RMSPROP_INSIDE if self.epsilon_inside else _RMSPROP


@component
class RMSPropNesterov(Elementwise):
    """Divide by the root of a running mean square of the gradient, within Nesterov's momentum.

    g = gradient at theta + a v
    r <- rho r + (1 - rho) g^2
    v <- a v - e g / (d + sqrt(r)), or with ``epsilon_inside`` e g / sqrt(d + r)
    theta <- theta + v

    The book has d = 0. torch's and Keras' RMSprop have plain momentum only, and optax's rmsprop(nesterov=True)
    records theta + a v. Momentum is 0.9 unless given.

    References
    ----------
    I. Goodfellow, Y. Bengio, A. Courville, Deep Learning, 2016, algorithm 8.6.

    Examples
    --------
    >>> from biasvar.optimization.rules import descend
    >>> descend(RMSPropNesterov(0.25, momentum=0.5), lambda theta: 2 * theta, [1.0], 3)[:, 0, 0].round(3).tolist()
    [1.0, 0.209, -0.034, -0.023]
    """

    learning_rate: Positives = (0.001,)
    rho: Fractions = (0.9,)
    momentum: Fractions = (0.9,)
    epsilon: NonNegatives = (1e-7,)
    epsilon_inside: bool = False
    schedule: Schedule | None = None

    @property
    def arithmetic(self) -> Arithmetic:
        """What a step does to numbers."""
        return _RMSPROP_NESTEROV_INSIDE if self.epsilon_inside else _RMSPROP_NESTEROV


@component
class AdaDelta(Elementwise):
    """Divide by the root mean square of gradients, multiply by that of past steps.

    r <- rho r + (1 - rho) g^2
    u = sqrt(s + d) / sqrt(r + d) g
    s <- rho s + (1 - rho) u^2
    theta <- theta - e u

    torch, optax and Keras have the same; torch has e = 1, rho = 0.9 and d = 1e-6 unless given. The paper has e = 1.

    References
    ----------
    M. Zeiler, ADADELTA: an adaptive learning rate method, 2012, algorithm 1.

    Examples
    --------
    >>> from biasvar.optimization.rules import descend
    >>> descend(AdaDelta(1.0, epsilon=1e-2), lambda theta: 2 * theta, [1.0], 3)[:, 0, 0].round(3).tolist()
    [1.0, 0.564, 0.257, 0.103]
    """

    arithmetic = _ADADELTA

    learning_rate: Positives = (0.001,)
    rho: Fractions = (0.95,)
    epsilon: NonNegatives = (1e-7,)
    schedule: Schedule | None = None
