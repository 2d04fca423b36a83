"""Pairs of disjoint training sets out of one data set: expected risk and its split, without a law.

Two training sets of size n and a test example, drawn without replacement from N independent examples, are independent
draws of the law that those came from. With g1 and g2 fitted to the two,

    [(y - g1)^2 + (y - g2)^2] / 2 = (y - g1)(y - g2) + (g1 - g2)^2 / 2

on every example, and on average

    expected risk = (bias^2 + noise) + variance,

each side free of bias whatever the law is. Half the squared distance of labels and votes in one-hot form is 0-1 loss,
which therefore splits in the same way: what is averaged are then the terms of Kohavi and Wolpert.

References
----------
R. Kohavi and D. Wolpert, Bias plus variance decomposition for zero-one loss functions, 1996.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from biasvar.learning import fits
from biasvar.learning.cuts import MOST_SETS, Cuts, Indices
from biasvar.learning.examples import Examples
from biasvar.learning.fits import Fit, Predictions
from biasvar.learning.hypotheses.base import HypothesisSet
from biasvar.learning.hypotheses.estimator import Estimator
from biasvar.learning.training_sets import tiles
from biasvar.montecarlo.linear_algebra import matmul

Array = NDArray[np.float64]
Loss = Literal["squared", "zero_one"]


class Parts(NamedTuple):
    """The two terms that expected risk splits into, on test examples of pairs of fits."""

    bias2_plus_noise: Array
    variance: Array


def squared_parts(y: Array, one: Array, other: Array) -> Parts:
    """Split squared loss, of labels and two predictions of the same shape.

    Examples
    --------
    >>> squared_parts(np.array([3.0]), np.array([1.0]), np.array([2.0]))
    Parts(bias2_plus_noise=array([2.]), variance=array([0.5]))
    """
    return Parts((y - one) * (y - other), (one - other) ** 2 / 2)


def zero_one_parts(y: Array, one: Array, other: Array) -> Parts:
    """Split 0-1 loss, of classes and two votes of the same shape.

    Examples
    --------
    >>> zero_one_parts(np.array([0, 0, 0]), np.array([1, 1, 0]), np.array([1, 0, 0]))
    Parts(bias2_plus_noise=array([1., 0., 0.]), variance=array([0. , 0.5, 0. ]))
    """
    apart = one != other
    return Parts(((y != one) * 1.0 + (y != other) - apart) / 2, apart / 2)


PARTS: Mapping[str, Callable[[Array, Array, Array], Parts]] = {"squared": squared_parts, "zero_one": zero_one_parts}


class PairRisks(NamedTuple):
    """What pairs of fits come to: first the bias and noise together, then the variance.

    Parameters
    ----------
    mean : ndarray of shape (2, K)
        Averages over all pairs of a cut, and all examples that are in neither of its sets.
    halves : ndarray of shape (2, K, 2, pairs)
        Each pair on each half of the rest.
    """

    mean: Array
    halves: Array


def simulate(
    examples: Examples,
    hypothesis: HypothesisSet,
    fit: Fit,
    loss: Loss,
    cuts: Cuts,
    cut: Indices,
    generator: np.random.Generator,
) -> PairRisks:
    """Fit a set to the training sets of all cuts, shape (K, examples in a cut), and average the parts of its risk.

    Random numbers of the set, and the order of training examples, come from ``generator``.
    """
    predict = _predict(examples, hypothesis, fit, loss)
    training = cuts.training(cut, generator)
    found = np.empty((len(cuts.pairs), 3, 2, len(cut)))
    size, tested = cut.shape
    for tile in tiles(size, tested * (examples.inputs.dim + MOST_SETS)):
        at, y = examples.x[cut[tile]], examples.y[cut[tile]]
        predicted = [predict(chosen[tile], at, generator) for chosen in training]
        for row, weights, (i, j) in zip(found, cuts.weights, cuts.pairs, strict=True):
            for k, part in enumerate(PARTS[loss](y, predicted[i], predicted[j])):
                row[:, k, tile] = matmul(weights, part.T)
    mean = found[:, 0].mean(axis=0)
    return PairRisks(mean, np.ascontiguousarray(np.moveaxis(found[:, 1:], (2, 3), (0, 1)).swapaxes(2, 3)))


Predict = Callable[[Indices, Array, np.random.Generator], Array]


def _predict(examples: Examples, hypothesis: HypothesisSet, fit: Fit, loss: Loss) -> Predict:
    """Return what fits a set to chosen examples and predicts numbers, or classes for 0-1 loss.

    Classifiers are told the classes. Whatever fits numbers is fitted to labels -1 and +1 and votes by its sign; what is
    linear in the labels is fitted to each class against the others where there are several, and the largest one wins.
    """

    def number(chosen: Indices, at: Array, generator: np.random.Generator) -> Array:
        return fits.predictions(fit, examples.x[chosen], examples.y[chosen], at, generator)

    def classify(classifier: Estimator, chosen: Indices, at: Array, generator: np.random.Generator) -> Array:
        x, y = examples.x[chosen], examples.y[chosen]
        # Classifiers refuse training sets of one class: there is nothing to be told.
        several = (y != y[:, :1]).any(axis=1)
        out = np.repeat(y[:, :1], at.shape[1], axis=1)
        if several.any():
            out[several] = classifier.fit_vote(x[several], y[several], at[several], generator)
        return out

    def by_sign(chosen: Indices, at: Array, generator: np.random.Generator) -> Array:
        scores = fits.predictions(fit, examples.x[chosen], 2 * examples.y[chosen] - 1, at, generator)
        return (scores > 0).astype(float)

    def by_largest(chosen: Indices, at: Array, generator: np.random.Generator) -> Array:
        x, y = examples.x[chosen], examples.y[chosen]
        scores = [fits.predictions(fit, x, (y == code) * 1.0, at, generator) for code in range(examples.classes)]
        return np.asarray(np.argmax(scores, axis=0), dtype=float)

    if loss == "squared":
        return number
    if isinstance(hypothesis, Estimator) and hypothesis.classifies:
        return partial(classify, hypothesis)
    return by_sign if examples.classes == 2 else by_largest


def why_unfit(examples: Examples, hypothesis: HypothesisSet, fit: Fit, loss: Loss) -> str:
    """Say why a set cannot be fitted to such labels; empty text if it can."""
    classifier = isinstance(hypothesis, Estimator) and hypothesis.classifies
    if loss == "squared" and classifier:
        return "it predicts classes, and squared loss is of numbers; use loss='zero_one', or a regressor"
    if loss == "zero_one" and examples.classes > 2 and not classifier and isinstance(fit, Predictions):
        return (
            f"it predicts a number, whose sign tells two classes apart, and there are {examples.classes}; "
            "use Estimator of a classifier, or a set that is linear in the labels"
        )
    return ""
