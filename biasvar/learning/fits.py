"""What a fit is: one of four types, which say how its label noise can be treated."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from biasvar.learning.bases import Basis
from biasvar.learning.least_squares import LinearModel

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Coefficients:
    """A fit that is linear in the labels and known by its coefficients: label noise is integrated in their space."""

    model: LinearModel


@dataclass(frozen=True)
class SmootherWeights:
    """A fit that is linear in the labels and known by its weights, g = S y: label noise is integrated exactly.

    Parameters
    ----------
    weights : callable
        ``weights(x, at)`` returns S, shape (K, m, n), for training inputs (K, n) or (K, n, dim) and places (K, m) or
        (K, m, dim).
    """

    weights: Callable[[Array, Array], Array]


@dataclass(frozen=True)
class Trained:
    """A fit whose coefficients are found from the labels by a rule that need not be linear: label noise is simulated.

    Parameters
    ----------
    basis : Basis
        Its features.
    size : int
        How many of them it has.
    train : callable
        ``train(features, y)`` returns coefficients (size, K) of features (size, n, K) and labels (n, K).
    """

    basis: Basis
    size: int
    train: Callable[[Array, Array], Array]


@dataclass(frozen=True)
class Predictions:
    """A fit that is known by what it predicts: label noise is simulated.

    Parameters
    ----------
    fit_predict : callable
        ``fit_predict(x, y, at, rng)`` returns predictions, shape (K, m), of sets fitted to labels y (K, n).
    """

    fit_predict: Callable[[Array, Array, Array, np.random.Generator], Array]


Fit = Coefficients | SmootherWeights | Trained | Predictions


def is_linear(fit: Fit) -> bool:
    """Tell whether a fit is linear in the labels."""
    return isinstance(fit, Coefficients | SmootherWeights)
