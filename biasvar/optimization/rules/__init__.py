"""Update rules of gradient descent, each for many trajectories at once.

:class:`UpdateRule` says what each offers, and what a user's own one may; ``advance`` how a step is made of that.

Theta has shape (D, K): D parameters of K trajectories, trajectories innermost, as has all state that belongs to a
parameter. Steps count from 1. Each hyperparameter comes as an array (K,), the learning rate times the factor of the
schedule. A trajectory has the same bits whatever stands beside it.

Below 1e-150 theta and state are zero, but that 1e-306 is added to mean squares at each step, for rules divide by their
roots: processors are slow with numbers below 1e-308.

Hyperparameters have Keras' names, and its default values unless said otherwise; each takes one number, or several that
make an axis of a grid. How libraries differ in what they call by one name is said with each rule: g is the gradient, e
the learning rate, d epsilon; products, roots and quotients are elementwise.
"""

from biasvar.optimization.rules.base import UpdateRule, adapted, advance, descend, logspace

__all__ = ["UpdateRule", "adapted", "advance", "descend", "logspace"]
