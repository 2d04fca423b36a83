"""Adam and its kin: running means of gradient and square, both corrected for their start at zero."""

import numpy as np

from biasvar.compiling import njit
from biasvar.fields import component
from biasvar.optimization.rules.base import Array, Fractions, NonNegatives, Positives, Schedule, State, UpdateRule
from biasvar.optimization.rules.small import flushed, held


@component
class Adam(UpdateRule):
    """Divide a running mean of the gradient by the root of one of its square, both corrected for their start at zero.

    s <- b1 s + (1 - b1) g
    r <- b2 r + (1 - b2) g^2
    theta <- theta - e s / (1 - b1^t) / (sqrt(r / (1 - b2^t)) + d)

    torch and optax have the same, with d = 1e-8 unless given. Keras adds d to sqrt(r) before the correction: its d acts
    as d / sqrt(1 - b2^t) does here.

    References
    ----------
    D. Kingma and J. Ba, Adam: a method for stochastic optimization, 2015, algorithm 1; I. Goodfellow, Y. Bengio,
    A. Courville, Deep Learning, 2016, algorithm 8.7.

    Examples
    --------
    >>> from biasvar.optimization.rules import descend
    >>> descend(Adam(0.25), lambda theta: 2 * theta, [1.0], 3)[:, 0, 0].round(3).tolist()
    [1.0, 0.75, 0.504, 0.268]
    """

    learning_rate: Positives = (0.001,)
    beta1: Fractions = (0.9,)
    beta2: Fractions = (0.999,)
    epsilon: NonNegatives = (1e-7,)
    schedule: Schedule | None = None

    def init(self, theta: Array) -> State:
        """Return s, r and their corrections 1 - b1^t and 1 - b2^t (K,), all zero."""
        return _start(theta, moments=2, corrections=2)

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
        epsilon: Array,
    ) -> tuple[Array, State]:
        """Return theta, means and corrections after a step."""
        mean, square, c1, c2 = state
        theta, *after = _adam(theta, gradient, mean, square, c1, c2, learning_rate, beta1, beta2, epsilon)
        return theta, tuple(after)

    def metric(self, state: State, *, epsilon: Array, **_: object) -> Array:
        """Return sqrt(r / (1 - b2^t)) + d."""
        roots: Array = _roots(state[1], state[-1], epsilon)
        return roots


@component
class AdamW(UpdateRule):
    """Shrink theta by e w theta beside each step of Adam, not by way of the gradient.

    theta <- theta - e w theta - e s / (1 - b1^t) / (sqrt(r / (1 - b2^t)) + d), with s and r as of :class:`Adam`

    torch and optax have the same, with w = 1e-2 and 1e-4 unless given; d of Keras is that of its Adam. In the paper a
    schedule multiplies both steps but the learning rate only the second: w there is e w here.

    References
    ----------
    I. Loshchilov and F. Hutter, Decoupled weight decay regularization, 2019, algorithm 2.

    Examples
    --------
    >>> from biasvar.optimization.rules import descend
    >>> descend(AdamW(0.25, weight_decay=0.4), lambda theta: 2 * theta, [1.0], 3)[:, 0, 0].round(3).tolist()
    [1.0, 0.65, 0.343, 0.085]
    """

    learning_rate: Positives = (0.001,)
    beta1: Fractions = (0.9,)
    beta2: Fractions = (0.999,)
    epsilon: NonNegatives = (1e-7,)
    weight_decay: NonNegatives = (0.004,)
    schedule: Schedule | None = None

    def init(self, theta: Array) -> State:
        """Return s, r and their corrections 1 - b1^t and 1 - b2^t (K,), all zero."""
        return _start(theta, moments=2, corrections=2)

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
        epsilon: Array,
        weight_decay: Array,
    ) -> tuple[Array, State]:
        """Return theta, means and corrections after a step."""
        mean, square, c1, c2 = state
        theta, *after = _adamw(
            theta, gradient, mean, square, c1, c2, learning_rate, beta1, beta2, epsilon, weight_decay
        )
        return theta, tuple(after)

    def metric(self, state: State, *, epsilon: Array, **_: object) -> Array:
        """Return sqrt(r / (1 - b2^t)) + d."""
        roots: Array = _roots(state[1], state[-1], epsilon)
        return roots


@component
class AMSGrad(UpdateRule):
    """Divide in Adam by the largest mean square so far, so that no rate grows back.

    q <- max(q, r)
    theta <- theta - e s / (1 - b1^t) / (sqrt(q / (1 - b2^t)) + d), with s and r as of :class:`Adam`

    torch has the same, as Adam(amsgrad=True); Keras too but for its d. optax keeps the largest of the corrected r.
    The paper corrects neither and has d = 0.

    References
    ----------
    S. Reddi, S. Kale, S. Kumar, On the convergence of Adam and beyond, 2018, algorithm 2.

    Examples
    --------
    >>> from biasvar.optimization.rules import descend
    >>> descend(AMSGrad(0.25), lambda theta: 2 * theta, [1.0], 3)[:, 0, 0].round(3).tolist()
    [1.0, 0.75, 0.504, 0.268]
    """

    learning_rate: Positives = (0.001,)
    beta1: Fractions = (0.9,)
    beta2: Fractions = (0.999,)
    epsilon: NonNegatives = (1e-7,)
    schedule: Schedule | None = None

    def init(self, theta: Array) -> State:
        """Return s, r, q and the corrections 1 - b1^t and 1 - b2^t (K,), all zero."""
        return _start(theta, moments=3, corrections=2)

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
        epsilon: Array,
    ) -> tuple[Array, State]:
        """Return theta, means, largest mean square and corrections after a step."""
        mean, square, most, c1, c2 = state
        theta, *after = _amsgrad(theta, gradient, mean, square, most, c1, c2, learning_rate, beta1, beta2, epsilon)
        return theta, tuple(after)

    def metric(self, state: State, *, epsilon: Array, **_: object) -> Array:
        """Return sqrt(q / (1 - b2^t)) + d."""
        roots: Array = _roots(state[2], state[-1], epsilon)
        return roots


@component
class NAdam(UpdateRule):
    """Take in Adam the mean of the gradient a step ahead, as Nesterov's momentum does.

    theta <- theta - e (b1 s / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t)) / (sqrt(r / (1 - b2^t)) + d)

    with s and r as of :class:`Adam`. optax has the same, with d = 1e-8 unless given. torch and Keras let b1 rise,
    as b1 (1 - 0.96^(c t) / 2) with c = 0.004 and 1; torch with a huge ``momentum_decay`` c is the same as here.

    References
    ----------
    T. Dozat, Incorporating Nesterov momentum into Adam, 2016, algorithm 2 (mu constant).

    Examples
    --------
    >>> from biasvar.optimization.rules import descend
    >>> descend(NAdam(0.25), lambda theta: 2 * theta, [1.0], 3)[:, 0, 0].round(3).tolist()
    [1.0, 0.632, 0.38, 0.171]
    """

    learning_rate: Positives = (0.001,)
    beta1: Fractions = (0.9,)
    beta2: Fractions = (0.999,)
    epsilon: NonNegatives = (1e-7,)
    schedule: Schedule | None = None

    def init(self, theta: Array) -> State:
        """Return s, r and their corrections 1 - b1^t and 1 - b2^t (K,), all zero."""
        return _start(theta, moments=2, corrections=2)

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
        epsilon: Array,
    ) -> tuple[Array, State]:
        """Return theta, means and corrections after a step."""
        mean, square, c1, c2 = state
        theta, *after = _nadam(theta, gradient, mean, square, c1, c2, learning_rate, beta1, beta2, epsilon)
        return theta, tuple(after)

    def metric(self, state: State, *, epsilon: Array, **_: object) -> Array:
        """Return sqrt(r / (1 - b2^t)) + d."""
        roots: Array = _roots(state[1], state[-1], epsilon)
        return roots


def _start(theta: Array, moments: int, corrections: int) -> State:
    shapes = [theta.shape] * moments + [theta.shape[1:]] * corrections
    return tuple(np.zeros(shape) for shape in shapes)


# 1 - b^t is b c + (1 - b) of the c before, as if the gradient were 1 all the time: K powers a step would cost more than
# all the rest, and rounding does not add up as it does in running products. The quotients of the equations are put on
# one denominator, since a division costs as much as all but the root.


@njit(cache=True, nogil=True, error_model="numpy")
def _move(mean, square, c1, c2, learning_rate, epsilon):  # type: ignore[no-untyped-def]
    return learning_rate * c2 * mean / (c1 * (np.sqrt(square * c2) + epsilon * c2))


@njit(cache=True, nogil=True, error_model="numpy")
def _roots(square, correction, epsilon):  # type: ignore[no-untyped-def]
    roots, inverse = np.empty_like(square), 1 / correction
    for d in range(square.shape[0]):
        for k in range(square.shape[1]):
            roots[d, k] = np.sqrt(square[d, k] * inverse[k]) + epsilon[k]
    return roots


@njit(cache=True, nogil=True, error_model="numpy")
def _corrected(correction1, correction2, beta1, beta2):  # type: ignore[no-untyped-def]
    c1, c2 = np.empty_like(correction1), np.empty_like(correction2)
    for k in range(len(c1)):
        c1[k] = beta1[k] * correction1[k] + (1 - beta1[k])
        c2[k] = beta2[k] * correction2[k] + (1 - beta2[k])
    return c1, c2


@njit(cache=True, nogil=True, error_model="numpy")
def _adam(  # type: ignore[no-untyped-def]
    theta, gradient, mean, square, correction1, correction2, learning_rate, beta1, beta2, epsilon
):
    after, averaged, squared = np.empty_like(theta), np.empty_like(theta), np.empty_like(theta)
    c1, c2 = _corrected(correction1, correction2, beta1, beta2)
    for d in range(theta.shape[0]):
        for k in range(theta.shape[1]):
            g = gradient[d, k]
            s = flushed(beta1[k] * mean[d, k] + (1 - beta1[k]) * g)
            r = held(beta2[k] * square[d, k] + (1 - beta2[k]) * (g * g))
            averaged[d, k] = s
            squared[d, k] = r
            after[d, k] = flushed(theta[d, k] - _move(s, r, c1[k], c2[k], learning_rate[k], epsilon[k]))
    return after, averaged, squared, c1, c2


@njit(cache=True, nogil=True, error_model="numpy")
def _adamw(  # type: ignore[no-untyped-def]
    theta, gradient, mean, square, correction1, correction2, learning_rate, beta1, beta2, epsilon, weight_decay
):
    after, averaged, squared = np.empty_like(theta), np.empty_like(theta), np.empty_like(theta)
    c1, c2 = _corrected(correction1, correction2, beta1, beta2)
    for d in range(theta.shape[0]):
        for k in range(theta.shape[1]):
            g = gradient[d, k]
            s = flushed(beta1[k] * mean[d, k] + (1 - beta1[k]) * g)
            r = held(beta2[k] * square[d, k] + (1 - beta2[k]) * (g * g))
            averaged[d, k] = s
            squared[d, k] = r
            kept = theta[d, k] - learning_rate[k] * weight_decay[k] * theta[d, k]
            after[d, k] = flushed(kept - _move(s, r, c1[k], c2[k], learning_rate[k], epsilon[k]))
    return after, averaged, squared, c1, c2


@njit(cache=True, nogil=True, error_model="numpy")
def _amsgrad(  # type: ignore[no-untyped-def]
    theta, gradient, mean, square, largest, correction1, correction2, learning_rate, beta1, beta2, epsilon
):
    after, averaged, squared = np.empty_like(theta), np.empty_like(theta), np.empty_like(theta)
    most = np.empty_like(theta)
    c1, c2 = _corrected(correction1, correction2, beta1, beta2)
    for d in range(theta.shape[0]):
        for k in range(theta.shape[1]):
            g = gradient[d, k]
            s = flushed(beta1[k] * mean[d, k] + (1 - beta1[k]) * g)
            r = held(beta2[k] * square[d, k] + (1 - beta2[k]) * (g * g))
            q = r if r > largest[d, k] else largest[d, k]
            averaged[d, k] = s
            squared[d, k] = r
            most[d, k] = q
            after[d, k] = flushed(theta[d, k] - _move(s, q, c1[k], c2[k], learning_rate[k], epsilon[k]))
    return after, averaged, squared, most, c1, c2


@njit(cache=True, nogil=True, error_model="numpy")
def _nadam(  # type: ignore[no-untyped-def]
    theta, gradient, mean, square, correction1, correction2, learning_rate, beta1, beta2, epsilon
):
    after, averaged, squared = np.empty_like(theta), np.empty_like(theta), np.empty_like(theta)
    c1, c2 = _corrected(correction1, correction2, beta1, beta2)
    for d in range(theta.shape[0]):
        for k in range(theta.shape[1]):
            g = gradient[d, k]
            s = flushed(beta1[k] * mean[d, k] + (1 - beta1[k]) * g)
            r = held(beta2[k] * square[d, k] + (1 - beta2[k]) * (g * g))
            averaged[d, k] = s
            squared[d, k] = r
            c = beta1[k] * c1[k] + (1 - beta1[k])
            ahead = beta1[k] * s * c1[k] + (1 - beta1[k]) * g * c
            after[d, k] = flushed(theta[d, k] - _move(ahead, r, c1[k] * c, c2[k], learning_rate[k], epsilon[k]))
    return after, averaged, squared, c1, c2
