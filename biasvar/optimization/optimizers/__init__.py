"""Update rules of gradient descent, each for many trajectories at once.

A rule is any object with two pure functions, and fields that are its hyperparameters:

==================================================  ============================================================
``init(theta)``                                     returns the state before the first step, a tuple of arrays
``update(theta, gradient, state, step, **hyper)``   returns the new theta and state, and writes into no argument
``lookahead(theta, state, **hyper)``                optional: where the gradient is wanted; theta itself unless given
==================================================  ============================================================

Theta has shape (D, K): D parameters of K trajectories, trajectories innermost, as has all state that belongs to a
parameter. Steps count from 1. Each hyperparameter comes as an array (K,), the learning rate times the factor of the
schedule. A trajectory has the same bits whatever stands beside it.

Hyperparameters have Keras' names, and its default values unless said otherwise; each takes one number, or several that
make an axis of a grid. How libraries differ in what they call by one name is said with each rule: g is the gradient, e
the learning rate, d epsilon; products, roots and quotients are elementwise.
"""

from biasvar.optimization.optimizers.adam import Adam, AdamW, AMSGrad, NAdam
from biasvar.optimization.optimizers.adaptive import AdaDelta, AdaGrad, RMSProp, RMSPropNesterov
from biasvar.optimization.optimizers.base import Optimizer, descend, logspace
from biasvar.optimization.optimizers.momentum import SGD, Lion, Momentum, Nesterov

__all__ = [
    "SGD",
    "AMSGrad",
    "AdaDelta",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Lion",
    "Momentum",
    "NAdam",
    "Nesterov",
    "Optimizer",
    "RMSProp",
    "RMSPropNesterov",
    "descend",
    "logspace",
]
