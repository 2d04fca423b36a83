"""Any scikit-learn estimator as a hypothesis set, one fit per replicate."""

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from biasvar.errors import StudyError
from biasvar.learning.hypotheses.base import Predictor
from biasvar.learning.hypotheses.specs import described, import_module, is_splitter, rebuilt, written


class Estimator(Predictor):
    """Fit a clone of a scikit-learn estimator on every training set.

    A classifier's value is a score: its ``decision_function``, else the log odds of ``predict_proba``, else -1 or +1 by
    ``predict``. Training sets of one class are not shown to it: their score is infinitely sure of that class.

    Label noise is simulated. Every ``random_state`` of the estimator, of all that it is made of and of the splitters
    that shuffle its data is seeded by the study, with the same seeds for all noise levels. Inputs are passed as a
    matrix (n, dim), labels as a vector.

    Parameters
    ----------
    estimator : object, str or mapping
        Anything with ``fit``, ``predict`` and ``get_params``: a search over a grid, a pipeline, a stack. Or, as in
        YAML, ``{"module:Class": {parameter: value}}``, which imports nothing until it is fitted; arrays are written
        ``{"array": [...]}`` in it, functions ``{"import": "module:name"}``.
    **spec
        The same mapping, for YAML that says ``Estimator: {"module:Class": {parameter: value}}``.

    Raises
    ------
    StudyError
        If it is no estimator, or is made of something that cannot be written into a study, such as a lambda.

    Examples
    --------
    >>> Estimator({"sklearn.tree:DecisionTreeRegressor": {"max_depth": 3}})
    Estimator({'sklearn.tree:DecisionTreeRegressor': {'max_depth': 3}})
    """

    def __init__(self, estimator: object = None, **spec: object) -> None:
        given = spec if estimator is None else estimator
        if spec and estimator is not None:
            raise StudyError(f"Estimator: expected one 'module:Class', got {estimator!r} and {spec!r}")
        if isinstance(given, str):
            given = {given: None}
        self.spec: dict[str, Any]
        self._given: Any = None
        if isinstance(given, Mapping):
            self.spec = _checked(given)
        else:
            _check_methods(given, repr(given))
            self.spec = described(given, f"Estimator: {type(given).__name__}")
            # Its owner may change theirs.
            self._given = _clone(given)

    def __repr__(self) -> str:
        return f"Estimator({self.spec!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Estimator) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    @cached_property
    def _text(self) -> str:
        return json.dumps(self.spec, sort_keys=True)

    def __getstate__(self) -> dict[str, Any]:
        return {"spec": self.spec, "_given": self._given}

    def to_fields(self) -> dict[str, Any]:
        """Return what identifies the set, as JSON."""
        return {"estimator": self.spec}

    @cached_property
    def prototype(self) -> Any:
        """The unfitted estimator that is cloned."""
        if self._given is not None:
            return self._given
        made = rebuilt(self.spec)
        _check_methods(made, next(iter(self.spec)))
        return made

    @cached_property
    def classifies(self) -> bool:
        """Whether it is a classifier: predicts which of the labels it was told."""
        return bool(import_module("sklearn.base").is_classifier(self.prototype))

    def fit_predict(
        self,
        x: NDArray[np.float64],
        y: NDArray[np.float64],
        at: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> NDArray[np.float64]:
        """Fit one clone per replicate and predict numbers, of classifiers scores, shape (K, m)."""
        return self._fit_each(_scores if self.classifies else _predictions, x, y, at, rng)

    def fit_vote(
        self,
        x: NDArray[np.float64],
        y: NDArray[np.float64],
        at: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> NDArray[np.float64]:
        """Fit one clone of a classifier per replicate and predict which of the labels it is, shape (K, m)."""
        return self._fit_each(_predictions, x, y, at, rng)

    def _fit_each(
        self,
        fit: Callable[..., NDArray[np.float64]],
        x: NDArray[np.float64],
        y: NDArray[np.float64],
        at: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> NDArray[np.float64]:
        sklearn = import_module("sklearn")
        seeds = rng.integers(0, 2**31 - 1, size=(len(y), len(_seats(self.prototype)))).tolist()
        x, at = (a[..., None] if a.ndim == 2 else a for a in (x, at))
        out = np.empty((len(y), at.shape[1]))
        out[0] = fit(self._seeded_clone(seeds[0]), x[0], y[0], at[0])
        # The first fit checked the parameters, and the arrays are ours: the others need no checks.
        with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
            for k in range(1, len(y)):
                out[k] = fit(self._seeded_clone(seeds[k]), x[k], y[k], at[k])
        return out

    def _seeded_clone(self, seeds: list[int]) -> Any:
        if self._plain_parameters is not None:
            # What clone() comes to for parameters that need no cloning themselves, at a tenth of its time.
            states = {"random_state": seeds[0]} if seeds else {}
            return type(self.prototype)(**{**self._plain_parameters, **states})
        estimator = _clone(self.prototype)
        for seat, seed in zip(_seats(estimator) if seeds else (), seeds, strict=True):
            seat.take(seed)
        return estimator

    @cached_property
    def _plain_parameters(self) -> dict[str, Any] | None:
        """The prototype's parameters, if they are numbers, text and the like and a clone consists of nothing else."""
        parameters: dict[str, Any] = self.prototype.get_params(deep=False)
        if not all(map(_is_plain, parameters.values())):
            return None
        made, cloned = type(self.prototype)(**parameters), _clone(self.prototype)
        # What a clone has beside them, such as an output format that was asked for, only clone() brings along.
        same = type(made) is type(cloned) and _plain_state(made) == _plain_state(cloned) is not None
        return parameters if same else None


class _Fits(Protocol):
    """What biasvar asks of an estimator."""

    def fit(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> Self: ...

    def predict(self, x: NDArray[np.float64]) -> ArrayLike: ...

    def get_params(self, deep: bool = True) -> dict[str, Any]: ...


class _Classifier(_Fits, Protocol):
    """What biasvar asks of one that tells classes apart; of the last two it has one, or none."""

    def decision_function(self, x: NDArray[np.float64]) -> ArrayLike: ...

    def predict_proba(self, x: NDArray[np.float64]) -> ArrayLike: ...


def _predictions(
    estimator: _Fits, x: NDArray[np.float64], y: NDArray[np.float64], at: NDArray[np.float64]
) -> NDArray[np.float64]:
    # Copies, for some estimators may be told to overwrite their data.
    return np.asarray(estimator.fit(x.copy(), y.copy()).predict(at), dtype=float).reshape(-1)


def _scores(
    estimator: _Classifier, x: NDArray[np.float64], y: NDArray[np.float64], at: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Fit a classifier to labels -1 and +1; return its decision function, else log odds, else its classes."""
    if not np.isin(y, (-1.0, 1.0)).all():
        raise StudyError(
            f"Estimator: {type(estimator).__name__} is a classifier, and labels here are numbers such as {y[0]:.4g}; "
            "ask a ClassificationStudy, or give a regressor"
        )
    if (y == y[0]).all():  # most classifiers refuse: whoever has seen one class only is sure of it
        return np.full(len(at), y[0] * np.inf)
    estimator.fit(x.copy(), y.copy())
    if hasattr(estimator, "decision_function"):
        return np.asarray(estimator.decision_function(at), dtype=float).reshape(-1)
    if hasattr(estimator, "predict_proba"):
        minus, plus = np.asarray(estimator.predict_proba(at), dtype=float).T
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(plus) - np.log(minus))
    return np.asarray(estimator.predict(at), dtype=float).reshape(-1)


class _Seat(NamedTuple):
    """A place for a seed: a parameter of an estimator, or an attribute of a splitter."""

    owner: Any
    name: str = "random_state"

    def take(self, seed: int) -> None:
        """Seed it."""
        if hasattr(self.owner, "set_params"):
            self.owner.set_params(**{self.name: seed})
        else:
            setattr(self.owner, self.name, seed)


def _seats(estimator: _Fits) -> list[_Seat]:
    """Return whatever of an estimator has a random state: its parts by name, then splitters, then parts in mappings."""
    parts: dict[str, Any] = estimator.get_params(deep=True)
    seats = [_Seat(estimator, name) for name in parts if name.split("__")[-1] == "random_state"]
    seats += [_Seat(part) for part in parts.values() if _shuffles(part)]
    known = set(map(id, parts.values()))
    for hidden in (hidden for part in parts.values() for hidden in _inside(part)):
        if id(hidden) not in known:
            known.add(id(hidden))
            seats += _seats(hidden) if hasattr(hidden, "get_params") else [_Seat(hidden)]
    return seats


def _inside(part: object) -> list[Any]:
    """Return the estimators and shuffling splitters in lists and mappings, such as those of a grid to search."""
    if isinstance(part, Mapping):
        part = list(part.values())
    if isinstance(part, list | tuple):
        return [hidden for item in part for hidden in ([item] if _is_part(item) else _inside(item))]
    return []


def _is_part(value: object) -> bool:
    return _shuffles(value) or (hasattr(value, "get_params") and not isinstance(value, type))


def _shuffles(value: object) -> bool:
    return is_splitter(value) and hasattr(value, "random_state") and getattr(value, "shuffle", True)


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _plain_state(value: object) -> dict[str, str] | None:
    """Return an object's attributes in writing, or None if one of them is more than a number or text."""
    state = getattr(value, "__dict__", {"": value})
    return {name: repr(item) for name, item in state.items()} if all(map(_is_plain, state.values())) else None


def _clone(estimator: object) -> Any:
    clone = import_module("sklearn.base").clone
    try:
        return clone(estimator)
    except (RuntimeError, TypeError) as error:
        raise StudyError(f"Estimator: {type(error).__name__}: {error}") from error


def _check_methods(estimator: object, name: str) -> None:
    if isinstance(estimator, type):
        raise StudyError(f"Estimator: {name} is a class; pass an estimator, {estimator.__name__}()")
    # Some show their predict only when they are fitted: their class has it always.
    if not all(hasattr(estimator, each) or hasattr(type(estimator), each) for each in ("fit", "predict", "get_params")):
        raise StudyError(
            f"Estimator: {name} has no fit, predict and get_params; "
            "pass a scikit-learn estimator, or give your own set a fit_predict method"
        )


def _checked(spec: Mapping[str, object]) -> dict[str, Any]:
    name = next(iter(spec), None)
    if len(spec) != 1 or not isinstance(name, str) or ":" not in name:
        raise StudyError(
            f"Estimator: expected one 'module:Class' with its parameters, got {dict(spec)!r}; "
            "for example {'sklearn.tree:DecisionTreeRegressor': {'max_depth': 3}}"
        )
    parameters = spec[name]
    if parameters is not None and not isinstance(parameters, Mapping):
        raise StudyError(f"Estimator: {name}: expected parameters, got {parameters!r}; write {{parameter: value}}")
    return {name: written(parameters or {})}
