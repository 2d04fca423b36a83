"""What a hypothesis set is: all that the rest of biasvar asks of one.

A user's own set needs no base class: any object with one of the three methods ``linear_model``, ``weights`` and
``fit_predict`` is ``adapted`` when a study is validated; what else it says of itself is optional.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from biasvar.adapting import adapt, offers, shown
from biasvar.errors import StudyError
from biasvar.learning.fits import Coefficients, Fit, Predictions, SmootherWeights
from biasvar.learning.inputs import Inputs
from biasvar.learning.least_squares import LinearModel


class TailIndex(NamedTuple):
    """State tail indices of a set's squared error, as theory knows them.

    P(loss > t) falls like t^-index: the risk exists for an index above 1, its standard error above 2. ``nan`` is for
    "not known": then the index is estimated from the largest losses, and ``least`` is what both are above.
    """

    signal: float = np.nan
    noise: float = np.nan
    least: float = 0.0


BOUNDED = TailIndex(np.inf, np.inf)
HAS_MEAN = TailIndex(least=float(np.nextafter(1.0, 2.0)))


class HypothesisSet(ABC):
    """A family of functions with a rule that fits one of them to a training set.

    ``LeastSquaresSet``, ``LinearSmoother`` and ``Predictor`` are its three kinds.
    A user's own set need not inherit from this: an object with ``fit_predict(x, y, at)`` serves as it is.

    Examples
    --------
    >>> import biasvar as bv
    >>> all(isinstance(each, bv.HypothesisSet) for each in (bv.Polynomial(1), bv.NearestNeighbors(5)))
    True
    >>> bv.Polynomial(3).why_unfit(bv.Uniform(-1, 1), n_train=4) is None
    True
    """

    @property
    def breakpoints(self) -> tuple[float, ...]:
        """Places at which all fits may jump, in one dimension."""
        return ()

    @property
    def minimises(self) -> str:
        """The loss whose mean over the training set a fit minimises, where anything spans the set."""
        return "squared"

    @abstractmethod
    def fit(self, inputs: Inputs) -> Fit:
        """Return how the set is fitted to training sets whose inputs follow this law."""

    def why_unfit(self, inputs: Inputs, n_train: int) -> str | None:
        """Return why the set cannot be fitted to training sets of this size, or None."""
        return None

    def tail_index(self, inputs: Inputs, n_train: int) -> TailIndex:
        """Return what theory knows of the tails of the squared error without and with label noise."""
        return TailIndex()

    def spanning_functions(self, inputs: Inputs, x: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Return the functions that span the set, at x, shape (p, len(x)), or None where nothing spans it.

        They are what makes the best in class known.
        """
        return None

    def offset(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what every member of the set has in common, at x, shape (len(x),)."""
        return np.zeros(len(x))


class LeastSquaresSet(HypothesisSet):
    """A set that is linear in its coefficients and fitted by least squares."""

    @abstractmethod
    def linear_model(self, inputs: Inputs) -> LinearModel:
        """Return the features, their number and the penalty."""

    def fit(self, inputs: Inputs) -> Fit:
        """Return that the fit is known by its coefficients."""
        return Coefficients(self.linear_model(inputs))

    def spanning_functions(self, inputs: Inputs, x: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Return the model's features."""
        model = self.linear_model(inputs)
        return model.basis.evaluate(x, model.size)


class LinearSmoother(HypothesisSet):
    """A set whose predictions are weighted sums of the labels, g = S(X) y."""

    @abstractmethod
    def weights(self, x: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return S, shape (K, m, n), for training inputs (K, n[, dim]) and places (K, m[, dim])."""

    def fit(self, inputs: Inputs) -> Fit:
        """Return that the fit is known by its weights."""
        return SmootherWeights(self.weights)


class Predictor(HypothesisSet):
    """A set of which nothing is known but what its fits predict."""

    @abstractmethod
    def fit_predict(
        self, x: NDArray[np.float64], y: NDArray[np.float64], at: NDArray[np.float64], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Fit training sets x (K, n[, dim]), y (K, n), and predict at places (K, m[, dim]): shape (K, m)."""

    def fit(self, inputs: Inputs) -> Fit:
        """Return that the fit is known by its predictions."""
        return Predictions(self.fit_predict)


def adapted(own: object, where: str) -> HypothesisSet:
    """Take a user's object for a hypothesis set: the one door at which it is asked which methods it has.

    Parameters
    ----------
    own : object
        A :class:`HypothesisSet`, or any object with ``linear_model(inputs)``, ``weights(x, at)`` or
        ``fit_predict(x, y, at, rng)``.
    where : str
        What complaints begin with.

    Raises
    ------
    StudyError
        If it has none of the three.

    Examples
    --------
    >>> class Mean:
    ...     def weights(self, x, at):
    ...         return np.full((len(x), at.shape[1], x.shape[1]), 1 / x.shape[1])
    >>> adapted(Mean(), "hypotheses.mean").why_unfit(None, 3) is None
    True
    """
    if isinstance(own, HypothesisSet):
        return own
    if isinstance(own, type):
        raise StudyError(f"{where}: {own.__name__} is a class; make one: {own.__name__}(...)")
    for method, (adapter, family) in _WAYS.items():
        if offers(own, method):
            return adapt(own, adapter, family, OPTIONAL)
    # scikit-learn's own, which Estimator takes as they are.
    foreign = offers(own, "fit", "get_params")
    way_out = f"write Estimator({own!r})" if foreign else "give it one of the two"
    raise StudyError(f"{where}: {own!r} has no weights(x, at) and no fit_predict(x, y, at, rng); {way_out}")


class _Adapted(HypothesisSet):
    """A user's object: the members that sets of all three kinds may have."""

    def __init__(self, own: HypothesisSet) -> None:
        self.own = own

    def __repr__(self) -> str:
        return shown(self.own)

    @property
    def breakpoints(self) -> tuple[float, ...]:
        return tuple(float(place) for place in self.own.breakpoints)

    @property
    def minimises(self) -> str:
        return self.own.minimises

    def why_unfit(self, inputs: Inputs, n_train: int) -> str | None:
        return self.own.why_unfit(inputs, n_train)

    def tail_index(self, inputs: Inputs, n_train: int) -> TailIndex:
        return TailIndex(*self.own.tail_index(inputs, n_train))

    def spanning_functions(self, inputs: Inputs, x: NDArray[np.float64]) -> NDArray[np.float64] | None:
        known = self.own.spanning_functions(inputs, x)
        return None if known is None else np.asarray(known, dtype=float)

    def offset(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(self.own.offset(x), dtype=float)


class _AdaptedLeastSquares(_Adapted, LeastSquaresSet):
    def linear_model(self, inputs: Inputs) -> LinearModel:
        return cast(LeastSquaresSet, self.own).linear_model(inputs)


class _AdaptedSmoother(_Adapted, LinearSmoother):
    def weights(self, x: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
        return cast(LinearSmoother, self.own).weights(x, at)


class _AdaptedPredictor(_Adapted, Predictor):
    def fit_predict(
        self, x: NDArray[np.float64], y: NDArray[np.float64], at: NDArray[np.float64], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        return cast(Predictor, self.own).fit_predict(x, y, at, rng)


OPTIONAL = ("breakpoints", "minimises", "why_unfit", "tail_index", "spanning_functions", "offset")

#: The method that tells a kind of set, its adapter, and its defaults: the first that an object has.
_WAYS: dict[str, tuple[Callable[[HypothesisSet], HypothesisSet], type]] = {
    "linear_model": (_AdaptedLeastSquares, LeastSquaresSet),
    "weights": (_AdaptedSmoother, LinearSmoother),
    "fit_predict": (_AdaptedPredictor, Predictor),
}
