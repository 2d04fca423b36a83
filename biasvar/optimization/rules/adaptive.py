"""Rules that divide by the root of a mean square of the gradient: AdaGrad, RMSProp, AdaDelta."""

import numpy as np

from biasvar.compiling import njit
from biasvar.fields import component
from biasvar.optimization.rules.base import Array, Fractions, NonNegatives, Positives, Schedule, State, UpdateRule
from biasvar.optimization.rules.momentum import ahead
from biasvar.optimization.rules.small import flushed, held


@component
class AdaGrad(UpdateRule):
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

    learning_rate: Positives = (0.001,)
    epsilon: NonNegatives = (1e-7,)
    schedule: Schedule | None = None

    def init(self, theta: Array) -> State:
        """Return the sum of squares r, zero."""
        return (np.zeros_like(theta),)

    def update(
        self, theta: Array, gradient: Array, state: State, step: int, *, learning_rate: Array, epsilon: Array
    ) -> tuple[Array, State]:
        """Return theta and the sum of squares after a step."""
        (square,) = state
        theta, square = _adagrad(theta, gradient, square, learning_rate, epsilon)
        return theta, (square,)

    def metric(self, state: State, *, epsilon: Array, **_: object) -> Array:
        """Return d + sqrt(r)."""
        roots: Array = _roots(state[0], epsilon, False)
        return roots


@component
class RMSProp(UpdateRule):
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

    def init(self, theta: Array) -> State:
        """Return the mean square r, zero."""
        return (np.zeros_like(theta),)

    def update(
        self,
        theta: Array,
        gradient: Array,
        state: State,
        step: int,
        *,
        learning_rate: Array,
        rho: Array,
        epsilon: Array,
    ) -> tuple[Array, State]:
        """Return theta and the mean square after a step."""
        (square,) = state
        theta, square = _rmsprop(theta, gradient, square, learning_rate, rho, epsilon, self.epsilon_inside)
        return theta, (square,)

    def metric(self, state: State, *, epsilon: Array, **_: object) -> Array:
        """Return d + sqrt(r), or sqrt(d + r)."""
        roots: Array = _roots(state[0], epsilon, self.epsilon_inside)
        return roots


@component
class RMSPropNesterov(UpdateRule):
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

    def init(self, theta: Array) -> State:
        """Return the velocity and the mean square r, zero."""
        return (np.zeros_like(theta), np.zeros_like(theta))

    def lookahead(self, theta: Array, state: State, *, momentum: Array, **_: object) -> Array:
        """Return theta + a v, where the gradient is taken."""
        return ahead(theta, state[0], momentum)

    def update(
        self,
        theta: Array,
        gradient: Array,
        state: State,
        step: int,
        *,
        learning_rate: Array,
        rho: Array,
        momentum: Array,
        epsilon: Array,
    ) -> tuple[Array, State]:
        """Return theta, velocity and mean square after a step along the gradient at ``lookahead``."""
        velocity, square = state
        theta, velocity, square = _rmsprop_nesterov(
            theta, gradient, velocity, square, learning_rate, rho, momentum, epsilon, self.epsilon_inside
        )
        return theta, (velocity, square)

    def metric(self, state: State, *, epsilon: Array, **_: object) -> Array:
        """Return d + sqrt(r), or sqrt(d + r)."""
        roots: Array = _roots(state[1], epsilon, self.epsilon_inside)
        return roots

    def moved(self, state: State, before: Array, after: Array) -> State:
        """Return the velocity that the step had within a set."""
        return (after - before, state[1])


@component
class AdaDelta(UpdateRule):
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

    learning_rate: Positives = (0.001,)
    rho: Fractions = (0.95,)
    epsilon: NonNegatives = (1e-7,)
    schedule: Schedule | None = None

    def init(self, theta: Array) -> State:
        """Return the mean squares of gradients r and of steps s, zero."""
        return (np.zeros_like(theta), np.zeros_like(theta))

    def update(
        self,
        theta: Array,
        gradient: Array,
        state: State,
        step: int,
        *,
        learning_rate: Array,
        rho: Array,
        epsilon: Array,
    ) -> tuple[Array, State]:
        """Return theta and the two mean squares after a step."""
        square, moves = state
        theta, square, moves = _adadelta(theta, gradient, square, moves, learning_rate, rho, epsilon)
        return theta, (square, moves)

    def metric(self, state: State, *, epsilon: Array, **_: object) -> Array:
        """Return sqrt(r + d) / sqrt(s + d)."""
        return np.sqrt((state[0] + epsilon) / (state[1] + epsilon))


@njit(cache=True, nogil=True, error_model="numpy")
def _adagrad(theta, gradient, square, learning_rate, epsilon):  # type: ignore[no-untyped-def]
    after, squared = np.empty_like(theta), np.empty_like(theta)
    for d in range(theta.shape[0]):
        for k in range(theta.shape[1]):
            g = gradient[d, k]
            r = square[d, k] + g * g
            squared[d, k] = r
            after[d, k] = flushed(theta[d, k] - learning_rate[k] * g / (epsilon[k] + np.sqrt(r)))
    return after, squared


@njit(cache=True, nogil=True, error_model="numpy")
def _root(square, epsilon, inside):  # type: ignore[no-untyped-def]
    return np.sqrt(square + epsilon) if inside else epsilon + np.sqrt(square)


@njit(cache=True, nogil=True, error_model="numpy")
def _roots(square, epsilon, inside):  # type: ignore[no-untyped-def]
    roots = np.empty_like(square)
    for d in range(square.shape[0]):
        for k in range(square.shape[1]):
            roots[d, k] = _root(square[d, k], epsilon[k], inside)
    return roots


@njit(cache=True, nogil=True, error_model="numpy")
def _rmsprop(theta, gradient, square, learning_rate, rho, epsilon, inside):  # type: ignore[no-untyped-def]
    after, squared = np.empty_like(theta), np.empty_like(theta)
    for d in range(theta.shape[0]):
        for k in range(theta.shape[1]):
            g = gradient[d, k]
            r = held(rho[k] * square[d, k] + (1 - rho[k]) * (g * g))
            squared[d, k] = r
            after[d, k] = flushed(theta[d, k] - learning_rate[k] * g / _root(r, epsilon[k], inside))
    return after, squared


@njit(cache=True, nogil=True, error_model="numpy")
def _rmsprop_nesterov(  # type: ignore[no-untyped-def]
    theta, gradient, velocity, square, learning_rate, rho, momentum, epsilon, inside
):
    after, moved, squared = np.empty_like(theta), np.empty_like(theta), np.empty_like(theta)
    for d in range(theta.shape[0]):
        for k in range(theta.shape[1]):
            g = gradient[d, k]
            r = held(rho[k] * square[d, k] + (1 - rho[k]) * (g * g))
            v = flushed(momentum[k] * velocity[d, k] - learning_rate[k] * g / _root(r, epsilon[k], inside))
            squared[d, k] = r
            moved[d, k] = v
            after[d, k] = flushed(theta[d, k] + v)
    return after, moved, squared


@njit(cache=True, nogil=True, error_model="numpy")
def _adadelta(theta, gradient, square, moves, learning_rate, rho, epsilon):  # type: ignore[no-untyped-def]
    after, squared, moved = np.empty_like(theta), np.empty_like(theta), np.empty_like(theta)
    for d in range(theta.shape[0]):
        for k in range(theta.shape[1]):
            g = gradient[d, k]
            r = held(rho[k] * square[d, k] + (1 - rho[k]) * (g * g))
            u = np.sqrt((moves[d, k] + epsilon[k]) / (r + epsilon[k])) * g
            squared[d, k] = r
            moved[d, k] = held(rho[k] * moves[d, k] + (1 - rho[k]) * (u * u))
            after[d, k] = flushed(theta[d, k] - learning_rate[k] * u)
    return after, squared, moved
