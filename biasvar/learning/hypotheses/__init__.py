"""Hypothesis sets, each with its fitting rule, batched over replicates.

A set is any object with one of three methods; which one decides how its label noise is treated. Those here derive from
the classes of ``biasvar.learning.hypotheses.base``, which name every member; a user's own need not.

=============================  ==================================================  ======================
method                         returns                                             label noise
=============================  ==================================================  ======================
``linear_model(inputs)``       a :class:`~biasvar.learning.least_squares.          integrated exactly, in
                               LinearModel`                                        coefficient space
``weights(x, at)``             smoother weights S, shape (K, m, n):                integrated exactly
                               predictions are S y
``fit_predict(x, y, at, rng)``  predictions, shape (K, m)                           simulated
=============================  ==================================================  ======================

Training inputs ``x`` have shape (K, n) or (K, n, dim), labels ``y`` (K, n), and ``at``, where predictions are
wanted, (K, m) or (K, m, dim), for K replicates. Optional methods say more about a set:
``spanning_functions(inputs, x)`` (shape (p, len(x)): makes the best in class known), ``offset(x)`` (what all members
have in common), ``tail_index(inputs, n)`` (known tail indices of the loss without and with label noise) and
``why_unfit(inputs, n)`` (why it cannot be fitted).
"""

from biasvar.learning.hypotheses.base import (
    HypothesisSet,
    LeastSquaresSet,
    LinearSmoother,
    Predictor,
    TailIndex,
    adapted,
)

__all__ = ["HypothesisSet", "LeastSquaresSet", "LinearSmoother", "Predictor", "TailIndex", "adapted"]
