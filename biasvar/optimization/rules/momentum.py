"""Rules that follow the gradient, or a running mean of it: plain descent, heavy ball, Nesterov, Lion."""

import numpy as np

from biasvar.compiling import njit
from biasvar.fields import component
from biasvar.optimization.kernels import Arithmetic
from biasvar.optimization.rules.base import Fractions, NonNegatives, Positives, Schedule
from biasvar.optimization.rules.elementwise import Elementwise
from biasvar.optimization.rules.small import flushed


@njit(nogil=True, error_model="numpy")
def _sgd(theta, gradient, learning_rate):  # type: ignore[no-untyped-def]
    return (flushed(theta - learning_rate * gradient),)


@njit(nogil=True, error_model="numpy")
def _momentum(theta, gradient, velocity, learning_rate, momentum):  # type: ignore[no-untyped-def]
    v = flushed(momentum * velocity - learning_rate * gradient)
    return flushed(theta + v), v


@njit(nogil=True, error_model="numpy")
def ahead(theta, velocity, momentum):  # type: ignore[no-untyped-def]
    """Return theta + a v, where Nesterov's gradient is taken."""
    return theta + momentum * velocity


@njit(nogil=True, error_model="numpy")
def _lion(theta, gradient, mean, learning_rate, beta1, beta2, weight_decay):  # type: ignore[no-untyped-def]
    direction = np.sign(beta1 * mean + (1 - beta1) * gradient)
    after = flushed(theta - learning_rate * (direction + weight_decay * theta))
    return after, flushed(beta2 * mean + (1 - beta2) * gradient)


_SGD = Arithmetic(_sgd)
_MOMENTUM = Arithmetic(_momentum, ("velocity",), velocity="velocity")
_NESTEROV = Arithmetic(_momentum, ("velocity",), ahead=ahead, velocity="velocity")
_LION = Arithmetic(_lion, ("mean",))


@component
class SGD(Elementwise):
    """Step against the gradient.

    theta <- theta - e g

    torch and optax have the same under this name, with momentum and Nesterov's as options; see :class:`Momentum`.

    References
    ----------
    I. Goodfellow, Y. Bengio, A. Courville, Deep Learning, 2016, algorithm 8.1.

    Examples
    --------
    >>> from biasvar.optimization.rules import descend
    >>> descend(SGD(0.25), lambda theta: 2 * theta, [1.0], 3)[:, 0, 0].tolist()
    [1.0, 0.5, 0.25, 0.125]
    """

    linear = True
    arithmetic = _SGD

    learning_rate: Positives = (0.01,)
    schedule: Schedule | None = None


@component
class Momentum(Elementwise):
    """Let a velocity build up: Polyak's heavy ball.

    v <- a v - e g
    theta <- theta + v

    The rate is within the velocity, as in Keras. torch and optax keep b = a b + g and step by -e b: the same path where
    the rate is constant, another under a schedule. Momentum is 0.9 unless given; Keras' default of 0 is :class:`SGD`.

    References
    ----------
    I. Goodfellow, Y. Bengio, A. Courville, Deep Learning, 2016, algorithm 8.2.

    Examples
    --------
    >>> from biasvar.optimization.rules import descend
    >>> descend(Momentum(0.25, 0.5), lambda theta: 2 * theta, [1.0], 3)[:, 0, 0].tolist()
    [1.0, 0.5, 0.0, -0.25]
    """

    linear = True
    arithmetic = _MOMENTUM

    learning_rate: Positives = (0.01,)
    momentum: Fractions = (0.9,)
    schedule: Schedule | None = None


@component
class Nesterov(Elementwise):
    """Let a velocity build up from gradients where it leads: Nesterov's momentum.

    v <- a v - e g(theta + a v)
    theta <- theta + v

    What torch, optax and Keras record under this name is theta + a v, where the gradient is taken. Theirs starts there
    with v = 0 and has the same path (for torch and optax: where the rate is constant). Momentum is 0.9 unless given.

    References
    ----------
    I. Goodfellow, Y. Bengio, A. Courville, Deep Learning, 2016, algorithm 8.3.

    Examples
    --------
    >>> from biasvar.optimization.rules import descend
    >>> descend(Nesterov(0.25, 0.5), lambda theta: 2 * theta, [1.0], 3)[:, 0, 0].tolist()
    [1.0, 0.5, 0.125, -0.03125]
    """

    linear = True
    arithmetic = _NESTEROV

    learning_rate: Positives = (0.01,)
    momentum: Fractions = (0.9,)
    schedule: Schedule | None = None


@component
class Lion(Elementwise):
    """Step by the sign of a mix of gradient and momentum.

    theta <- theta - e (sign(b1 m + (1 - b1) g) + w theta)
    m <- b2 m + (1 - b2) g

    optax and Keras have the same; optax's weight decay is 1e-3 unless given, ours 0. torch has none.

    References
    ----------
    X. Chen et al., Symbolic discovery of optimization algorithms, 2023, algorithm 2.

    Examples
    --------
    >>> from biasvar.optimization.rules import descend
    >>> descend(Lion(0.25), lambda theta: 2 * theta, [1.0], 3)[:, 0, 0].tolist()
    [1.0, 0.75, 0.5, 0.25]
    """

    arithmetic = _LION

    learning_rate: Positives = (0.001,)
    beta1: Fractions = (0.9,)
    beta2: Fractions = (0.99,)
    weight_decay: NonNegatives = (0.0,)
    schedule: Schedule | None = None
