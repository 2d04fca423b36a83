"""Rules that follow the gradient, or a running mean of it: plain descent, heavy ball, Nesterov, Lion."""

import numpy as np

from biasvar.compiling import njit
from biasvar.fields import component
from biasvar.optimization.rules.base import Array, Fractions, NonNegatives, Positives, Schedule, State, UpdateRule
from biasvar.optimization.rules.small import flushed


@component
class SGD(UpdateRule):
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

    learning_rate: Positives = (0.01,)
    schedule: Schedule | None = None

    def init(self, theta: Array) -> State:
        """Return no state."""
        return ()

    def update(
        self, theta: Array, gradient: Array, state: State, step: int, *, learning_rate: Array
    ) -> tuple[Array, State]:
        """Return theta after a step, and no state."""
        return _sgd(theta, gradient, learning_rate), ()


@component
class Momentum(UpdateRule):
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

    learning_rate: Positives = (0.01,)
    momentum: Fractions = (0.9,)
    schedule: Schedule | None = None

    def init(self, theta: Array) -> State:
        """Return the velocity, zero."""
        return (np.zeros_like(theta),)

    def update(
        self, theta: Array, gradient: Array, state: State, step: int, *, learning_rate: Array, momentum: Array
    ) -> tuple[Array, State]:
        """Return theta and velocity after a step."""
        (velocity,) = state
        theta, velocity = _momentum(theta, gradient, velocity, learning_rate, momentum)
        return theta, (velocity,)

    def moved(self, state: State, before: Array, after: Array) -> State:
        """Return the velocity that the step had within a set."""
        return (after - before,)


@component
class Nesterov(UpdateRule):
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

    learning_rate: Positives = (0.01,)
    momentum: Fractions = (0.9,)
    schedule: Schedule | None = None

    def init(self, theta: Array) -> State:
        """Return the velocity, zero."""
        return (np.zeros_like(theta),)

    def lookahead(self, theta: Array, state: State, *, momentum: Array, **_: object) -> Array:
        """Return theta + a v, where the gradient is taken."""
        return ahead(theta, state[0], momentum)

    def update(
        self, theta: Array, gradient: Array, state: State, step: int, *, learning_rate: Array, momentum: Array
    ) -> tuple[Array, State]:
        """Return theta and velocity after a step along the gradient at ``lookahead``."""
        (velocity,) = state
        theta, velocity = _momentum(theta, gradient, velocity, learning_rate, momentum)
        return theta, (velocity,)

    def moved(self, state: State, before: Array, after: Array) -> State:
        """Return the velocity that the step had within a set."""
        return (after - before,)


@component
class Lion(UpdateRule):
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

    learning_rate: Positives = (0.001,)
    beta1: Fractions = (0.9,)
    beta2: Fractions = (0.99,)
    weight_decay: NonNegatives = (0.0,)
    schedule: Schedule | None = None

    def init(self, theta: Array) -> State:
        """Return the mean gradient m, zero."""
        return (np.zeros_like(theta),)

    def update(
        self,
        theta: Array,
        gradient: Array,
        state: State,
        step: int,
        *,
        learning_rate: Array,
        beta1: Array,
        beta2: Array,
        weight_decay: Array,
    ) -> tuple[Array, State]:
        """Return theta and mean gradient after a step."""
        (mean,) = state
        theta, mean = _lion(theta, gradient, mean, learning_rate, beta1, beta2, weight_decay)
        return theta, (mean,)


def ahead(theta: Array, velocity: Array, momentum: Array) -> Array:
    """Return theta + a v, where Nesterov's gradient is taken."""
    there: Array = _ahead(theta, velocity, momentum)
    return there


@njit(cache=True, nogil=True, error_model="numpy")
def _sgd(theta, gradient, learning_rate):  # type: ignore[no-untyped-def]
    after = np.empty_like(theta)
    for d in range(theta.shape[0]):
        for k in range(theta.shape[1]):
            after[d, k] = flushed(theta[d, k] - learning_rate[k] * gradient[d, k])
    return after


@njit(cache=True, nogil=True, error_model="numpy")
def _ahead(theta, velocity, momentum):  # type: ignore[no-untyped-def]
    there = np.empty_like(theta)
    for d in range(theta.shape[0]):
        for k in range(theta.shape[1]):
            there[d, k] = theta[d, k] + momentum[k] * velocity[d, k]
    return there


@njit(cache=True, nogil=True, error_model="numpy")
def _momentum(theta, gradient, velocity, learning_rate, momentum):  # type: ignore[no-untyped-def]
    after, moved = np.empty_like(theta), np.empty_like(theta)
    for d in range(theta.shape[0]):
        for k in range(theta.shape[1]):
            v = flushed(momentum[k] * velocity[d, k] - learning_rate[k] * gradient[d, k])
            moved[d, k] = v
            after[d, k] = flushed(theta[d, k] + v)
    return after, moved


@njit(cache=True, nogil=True, error_model="numpy")
def _lion(theta, gradient, mean, learning_rate, beta1, beta2, weight_decay):  # type: ignore[no-untyped-def]
    after, mixed = np.empty_like(theta), np.empty_like(theta)
    for d in range(theta.shape[0]):
        for k in range(theta.shape[1]):
            m, g = mean[d, k], gradient[d, k]
            direction = np.sign(beta1[k] * m + (1 - beta1[k]) * g)
            after[d, k] = flushed(theta[d, k] - learning_rate[k] * (direction + weight_decay[k] * theta[d, k]))
            mixed[d, k] = flushed(beta2[k] * m + (1 - beta2[k]) * g)
    return after, mixed
