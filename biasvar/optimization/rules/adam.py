"""Adam and its kin: running means of gradient and square, both corrected for their start at zero."""

import numpy as np

from biasvar.compiling import Compiled, njit
from biasvar.fields import component
from biasvar.optimization.kernels import Arithmetic
from biasvar.optimization.rules.base import Fractions, NonNegatives, Positives, Schedule
from biasvar.optimization.rules.elementwise import Elementwise
from biasvar.optimization.rules.small import flushed, held

# 1 - b^t is b c + (1 - b) of the c before, as if the gradient were 1 all the time: K powers a step would cost more than
# all the rest, and rounding does not add up as it does in running products. The quotients of the equations are put on
# one denominator, since a division costs as much as all but the root.


@njit(nogil=True, error_model="numpy")
def _corrected(c1, c2, learning_rate, beta1, beta2, epsilon):  # type: ignore[no-untyped-def]
    after = beta2 * c2 + (1 - beta2)
    return beta1 * c1 + (1 - beta1), after, learning_rate * after, epsilon * after


@njit(nogil=True, error_model="numpy")
def _means(gradient, mean, square, beta1, beta2):  # type: ignore[no-untyped-def]
    s = flushed(beta1 * mean + (1 - beta1) * gradient)
    return s, held(beta2 * square + (1 - beta2) * (gradient * gradient))


@njit(nogil=True, error_model="numpy")
def _adam(theta, gradient, mean, square, c1, c2, pace, shift, beta1, beta2):  # type: ignore[no-untyped-def]
    s, r = _means(gradient, mean, square, beta1, beta2)
    return flushed(theta - pace * s / (c1 * (np.sqrt(r * c2) + shift))), s, r


@njit(nogil=True, error_model="numpy")
def _adamw(  # type: ignore[no-untyped-def]
    theta, gradient, mean, square, c1, c2, pace, shift, learning_rate, beta1, beta2, weight_decay
):
    s, r = _means(gradient, mean, square, beta1, beta2)
    kept = theta - learning_rate * weight_decay * theta
    return flushed(kept - pace * s / (c1 * (np.sqrt(r * c2) + shift))), s, r


@njit(nogil=True, error_model="numpy")
def _amsgrad(theta, gradient, mean, square, largest, c1, c2, pace, shift, beta1, beta2):  # type: ignore[no-untyped-def]
    s, r = _means(gradient, mean, square, beta1, beta2)
    q = r if r > largest else largest
    return flushed(theta - pace * s / (c1 * (np.sqrt(q * c2) + shift))), s, r, q


@njit(nogil=True, error_model="numpy")
def _nadam(theta, gradient, mean, square, c1, c2, pace, shift, beta1, beta2):  # type: ignore[no-untyped-def]
    s, r = _means(gradient, mean, square, beta1, beta2)
    c = beta1 * c1 + (1 - beta1)
    ahead = beta1 * s * c1 + (1 - beta1) * gradient * c
    return flushed(theta - pace * ahead / (c1 * c * (np.sqrt(r * c2) + shift))), s, r


# sqrt(r / (1 - b2^t)) + d, times 1 - b2^t, which is the same for all parameters of a trajectory.
@njit(nogil=True, error_model="numpy")
def _root(square, c2, epsilon):  # type: ignore[no-untyped-def]
    return np.sqrt(square * c2) + epsilon * c2


@njit(nogil=True, error_model="numpy")
def _root_of_largest(largest, c2, epsilon):  # type: ignore[no-untyped-def]
    return _root(largest, c2, epsilon)


def _arithmetic(each: Compiled, *more: str, metric: Compiled = _root) -> Arithmetic:
    states, corrections, shared = ("mean", "square", *more), ("c1", "c2"), ("pace", "shift")
    return Arithmetic(each, states, _corrected, corrections, shared, metric=metric)


_ADAM, _ADAMW, _NADAM = (_arithmetic(each) for each in (_adam, _adamw, _nadam))
_AMSGRAD = _arithmetic(_amsgrad, "largest", metric=_root_of_largest)


@component
class Adam(Elementwise):
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

    arithmetic = _ADAM

    learning_rate: Positives = (0.001,)
    beta1: Fractions = (0.9,)
    beta2: Fractions = (0.999,)
    epsilon: NonNegatives = (1e-7,)
    schedule: Schedule | None = None


@component
class AdamW(Elementwise):
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

    arithmetic = _ADAMW

    learning_rate: Positives = (0.001,)
    beta1: Fractions = (0.9,)
    beta2: Fractions = (0.999,)
    epsilon: NonNegatives = (1e-7,)
    weight_decay: NonNegatives = (0.004,)
    schedule: Schedule | None = None


@component
class AMSGrad(Elementwise):
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

    arithmetic = _AMSGRAD

    learning_rate: Positives = (0.001,)
    beta1: Fractions = (0.9,)
    beta2: Fractions = (0.999,)
    epsilon: NonNegatives = (1e-7,)
    schedule: Schedule | None = None


@component
class NAdam(Elementwise):
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

    arithmetic = _NADAM

    learning_rate: Positives = (0.001,)
    beta1: Fractions = (0.9,)
    beta2: Fractions = (0.999,)
    epsilon: NonNegatives = (1e-7,)
    schedule: Schedule | None = None
