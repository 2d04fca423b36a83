"""Rules that treat each parameter by itself: what they do to numbers is compiled into steps, and into descents."""

from abc import abstractmethod

import numpy as np

from biasvar.optimization.kernels import Arithmetic
from biasvar.optimization.rules.base import Array, State, UpdateRule


class Elementwise(UpdateRule):
    """An update rule that is given by its arithmetic.

    Examples
    --------
    >>> from biasvar import Momentum
    >>> Momentum().arithmetic.states, Momentum().arithmetic.hyper
    (('velocity',), ('learning_rate', 'momentum'))
    """

    @property
    @abstractmethod
    def arithmetic(self) -> Arithmetic:
        """What a step does to numbers."""

    @property
    def looks_ahead(self) -> bool:
        """Whether the gradient is wanted elsewhere than at theta."""
        return self.arithmetic.ahead is not None or type(self).lookahead is not Elementwise.lookahead

    @property
    def has_metric(self) -> bool:
        """Whether steps are the shortest in another norm than the Euclidean."""
        return self.arithmetic.metric is not None or type(self).metric is not Elementwise.metric

    def init(self, theta: Array) -> State:
        """Return the state before the first step, zero: numbers of parameters (D, K), then of trajectories (K,)."""
        return self.arithmetic.start(theta)

    def lookahead(self, theta: Array, state: State, **hyper: Array) -> Array:
        """Return where the gradient is taken."""
        if self.arithmetic.ahead is None:
            return theta
        known = [hyper[name] for name in self.arithmetic.hyper]
        return self.arithmetic.lead(np.ascontiguousarray(theta), state, known)

    def update(self, theta: Array, gradient: Array, state: State, step: int, **hyper: Array) -> tuple[Array, State]:
        """Return theta and state after a step."""
        arithmetic = self.arithmetic
        known = [hyper[name] for name in arithmetic.hyper]
        return arithmetic.step(np.ascontiguousarray(theta), np.ascontiguousarray(gradient), state, known)

    def metric(self, state: State, **hyper: Array) -> Array | None:
        """Return the weights (D, K) of the norm that a step was made in, from the state after it."""
        arithmetic = self.arithmetic
        return (
            None if arithmetic.metric is None else arithmetic.weigh(state, [hyper[name] for name in arithmetic.hyper])
        )

    def moved(self, state: State, before: Array, after: Array) -> State:
        """Return the state with the velocity that a step had within a set."""
        names = (*self.arithmetic.states, *self.arithmetic.corrections)
        made = {self.arithmetic.velocity: after - before} if self.arithmetic.velocity else {}
        return tuple(made.get(name, part) for name, part in zip(names, state, strict=True))
