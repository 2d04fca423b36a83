"""What a fit is: one of four types, which say how its label noise can be treated."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from biasvar.compiling import njit
from biasvar.errors import StudyError
from biasvar.learning.bases import Basis
from biasvar.learning.least_squares import LinearModel, label_maps
from biasvar.montecarlo.linear_algebra import matmul

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
    drawn : bool, optional
        Whether S depends on random numbers, which do not look at labels: then it is ``weights(x, at, rng)``.
    """

    weights: Callable[..., Array]
    drawn: bool = False


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


def predictions(fit: Fit, x: Array, y: Array, at: Array, rng: np.random.Generator, *, infinite: bool = False) -> Array:
    """Fit training sets x (K, n[, dim]) to labels y (K, n), and predict at places (K, m[, dim]): shape (K, m).

    ``infinite`` is whether predictions may be sure of a class.
    """
    match fit:
        case Predictions(fit_predict):
            return shaped(fit_predict(x, y, at, rng), at.shape[:2], fit_predict, infinite)
        case SmootherWeights():
            return np.asarray(matmul(smoother(fit, x, at, rng), y[..., None])[..., 0])
        case Coefficients(model):
            coefficients = matmul(label_maps(model, np.swapaxes(x, 0, 1)), y[..., None])[..., 0]
            return np.asarray(np.einsum("kp,pkm->km", coefficients, model.basis.evaluate(at, model.size)))
        case Trained(basis, size, train):
            trained = train(basis.evaluate(np.swapaxes(x, 0, 1), size), np.ascontiguousarray(y.T))
            return np.asarray(np.einsum("pk,pkm->km", trained, basis.evaluate(at, size)))


@njit(cache=True, nogil=True, error_model="numpy")
def combine(features, coefficients, out):  # type: ignore[no-untyped-def]
    """Fill in predictions (m, K): features (p, m, K) times coefficients (p, K); features of all K may be (p, m, 1)."""
    p, m = features.shape[:2]
    shared = features.shape[2] == 1
    for i in range(m):
        row = out[i]
        for j in range(p):
            feature, coefficient = features[j, i], coefficients[j]
            factor = feature[0]
            for k in range(row.size):
                here = (factor if shared else feature[k]) * coefficient[k]
                row[k] = here if j == 0 else row[k] + here


def smoother(fit: SmootherWeights, x: Array, at: Array, rng: np.random.Generator) -> Array:
    """Return the weights of a smoother's fits to x (K, n[, dim]) at places (K, m[, dim]), shape (K, m, n)."""
    found = fit.weights(x, at, rng) if fit.drawn else fit.weights(x, at)
    return shaped(found, (*at.shape[:2], x.shape[1]), fit.weights)


def shaped(values: object, shape: tuple[int, ...], method: Callable[..., object], infinite: bool = False) -> Array:
    """Check what a user's method returned; ``infinite`` is whether it may be sure of a class.

    Raises
    ------
    StudyError
        If it is of another shape, or not finite.
    """
    found = np.asarray(values)
    if np.iscomplexobj(found):
        raise StudyError(f"{method.__qualname__} returned complex numbers")
    array = found.astype(float, copy=False)
    if array.shape != shape:
        raise StudyError(f"{method.__qualname__} returned shape {array.shape}, expected {shape}")
    if np.isnan(array).any() or not (infinite or np.isfinite(array).all()):
        raise StudyError(f"{method.__qualname__} returned values that are not finite")
    return array
