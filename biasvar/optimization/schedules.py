"""Schedules: factors on the learning rate, step by step.

A schedule is called as ``schedule(step, steps)`` and returns the factor of that step; steps count from 1 to ``steps``.
Any callable of these two integers serves; it has to be a pure function of them.
"""

import math

from biasvar.fields import NonNegativeReal, PositiveInt, PositiveReal, component
from biasvar.montecarlo.elementary import sin_pi
from biasvar.montecarlo.powers import raised


@component
class ConstantRate:
    """Leave the learning rate as it is: factor 1.

    Examples
    --------
    >>> ConstantRate()(7, 100)
    1.0
    """

    def __call__(self, step: int, steps: int) -> float:
        """Return the factor of a step."""
        return 1.0


@component
class InverseSqrt:
    """Let the rate fall as 1 / sqrt(t), after a linear rise to 1 over the first ``warmup`` steps.

    factor = min(t / warmup, sqrt(warmup / t)), which is 1 / sqrt(t) for ``warmup=1``.

    References
    ----------
    A. Vaswani et al., Attention is all you need, 2017, section 5.3 (there not scaled to a peak of 1).

    Examples
    --------
    >>> [InverseSqrt()(step, 100) for step in (1, 4, 16)]
    [1.0, 0.5, 0.25]
    >>> [InverseSqrt(warmup=4)(step, 100) for step in (1, 4, 16)]
    [0.25, 1.0, 0.5]
    """

    warmup: PositiveInt = 1

    def __call__(self, step: int, steps: int) -> float:
        """Return the factor of a step."""
        return min(step / self.warmup, math.sqrt(self.warmup / step))


@component
class StepDecay:
    """Multiply the rate by ``factor`` after every ``every`` steps: factor ** floor((t - 1) / every).

    References
    ----------
    I. Goodfellow, Y. Bengio, A. Courville, Deep Learning, 2016, section 8.3.1.

    Examples
    --------
    >>> [StepDecay(0.5, every=2)(step, 100) for step in (1, 2, 3, 4, 5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    factor: PositiveReal
    every: PositiveInt

    def __call__(self, step: int, steps: int) -> float:
        """Return the factor of a step."""
        return float(raised(self.factor, float((step - 1) // self.every)))


@component
class Cosine:
    """Let the rate fall along half a cosine from 1 at the first step to ``final`` after the last.

    factor = final + (1 - final) (1 + cos(pi (t - 1) / steps)) / 2, so that no step is wasted on a rate of zero.

    References
    ----------
    I. Loshchilov and F. Hutter, SGDR: stochastic gradient descent with warm restarts, 2017, equation 5.

    Examples
    --------
    >>> [round(Cosine()(step, 4), 3) for step in (1, 2, 3, 4)]
    [1.0, 0.854, 0.5, 0.146]
    """

    final: NonNegativeReal = 0.0

    def __call__(self, step: int, steps: int) -> float:
        """Return the factor of a step."""
        return self.final + (1 - self.final) * (1 + float(sin_pi(0.5 - (step - 1) / steps))) / 2
