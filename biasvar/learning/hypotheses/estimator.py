"""Any scikit-learn estimator as a hypothesis set, one fit a replicate."""

import importlib.util
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasvar.errors import MissingDependencyError, StudyError
from biasvar.learning.hypotheses.base import Predictor


class Estimator(Predictor):
    """Fit a clone of a scikit-learn estimator on every training set.

    Label noise is simulated. Every ``random_state`` among the estimator's parameters is seeded by the study, with the
    same seeds for all noise levels. Inputs are passed as a matrix (n, dim), labels as a vector.

    Parameters
    ----------
    estimator : object or mapping
        Anything with ``fit``, ``predict`` and ``get_params``; or, as in YAML, ``{"module:Class": {parameter: value}}``,
        which imports nothing until it is fitted.

    Examples
    --------
    >>> Estimator({"sklearn.tree:DecisionTreeRegressor": {"max_depth": 3}})
    Estimator({'sklearn.tree:DecisionTreeRegressor': {'max_depth': 3}})
    """

    def __init__(self, estimator: Any) -> None:
        self.spec: Any
        self._given = None if isinstance(estimator, Mapping) else estimator
        if isinstance(estimator, Mapping):
            self.spec = _checked(estimator)
        elif hasattr(estimator, "fit") and hasattr(estimator, "predict") and hasattr(estimator, "get_params"):
            self.spec = _describe(estimator)
        else:
            raise StudyError(
                f"Estimator: {estimator!r} has no fit, predict and get_params; "
                "pass a scikit-learn estimator, or give your own set a fit_predict method"
            )

    def __repr__(self) -> str:
        return f"Estimator({self.spec!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Estimator) and self.spec == other.spec

    def __hash__(self) -> int:
        return hash(repr(self.spec))

    def __getstate__(self) -> dict[str, Any]:
        return {"spec": self.spec, "_given": self._given}

    @cached_property
    def prototype(self) -> Any:
        """The unfitted estimator that is cloned."""
        return self._given if self._given is not None else _build(self.spec)

    def fit_predict(
        self,
        x: NDArray[np.float64],
        y: NDArray[np.float64],
        at: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> NDArray[np.float64]:
        """Fit one clone a replicate and predict, shape (K, m)."""
        sklearn = _import("sklearn")
        seeded = [name for name in self.prototype.get_params(deep=True) if name.split("__")[-1] == "random_state"]
        seeds = rng.integers(0, 2**31 - 1, size=(len(y), len(seeded)))
        x, at = (a[..., None] if a.ndim == 2 else a for a in (x, at))
        out = np.empty((len(y), at.shape[1]))
        out[0] = self._fit_one(x[0], y[0], at[0], dict(zip(seeded, seeds[0].tolist(), strict=True)))
        # The first fit checked the parameters, and the arrays are ours: the others need no checks.
        with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
            for k in range(1, len(y)):
                out[k] = self._fit_one(x[k], y[k], at[k], dict(zip(seeded, seeds[k].tolist(), strict=True)))
        return out

    def _fit_one(
        self, x: NDArray[np.float64], y: NDArray[np.float64], at: NDArray[np.float64], states: dict[str, int]
    ) -> NDArray[np.float64]:
        estimator = self._clone(states)
        # Copies, for some estimators may be told to overwrite their data.
        return np.asarray(estimator.fit(x.copy(), y.copy()).predict(at), dtype=float).reshape(-1)

    def _clone(self, states: dict[str, int]) -> Any:
        if self._plain_parameters is not None and states.keys() <= self._plain_parameters.keys():
            # What clone() comes to for parameters that need no cloning themselves, at a tenth of its time.
            return type(self.prototype)(**{**self._plain_parameters, **states})
        from sklearn.base import clone

        estimator = clone(self.prototype)
        return estimator.set_params(**states) if states else estimator

    @cached_property
    def _plain_parameters(self) -> dict[str, Any] | None:
        """The prototype's parameters, if a clone consists of nothing else and they are numbers, text and the like."""
        parameters: dict[str, Any] = self.prototype.get_params(deep=False)
        plain = all(value is None or isinstance(value, bool | int | float | str) for value in parameters.values())
        configured = vars(self.prototype).keys() & {"_sklearn_output_config", "_metadata_request"}
        own = "__sklearn_clone__" in {name for kind in type(self.prototype).__mro__[:-1] for name in _own_methods(kind)}
        return parameters if plain and not configured and not own else None


def _own_methods(kind: type) -> set[str]:
    """Return what a class defines, unless it is scikit-learn's base of all estimators."""
    return set() if kind.__module__ == "sklearn.base" else set(vars(kind))


def _describe(value: Any) -> Any:
    """Turn an estimator into {"module:Class": parameters that differ from their defaults}, nested ones too."""
    if hasattr(value, "get_params") and not isinstance(value, type):
        kind = type(value)
        defaults = _defaults(kind)
        parameters = {
            name: _describe(parameter)
            for name, parameter in value.get_params(deep=False).items()
            if name not in defaults or repr(defaults[name]) != repr(parameter)
        }
        return {f"{_public_module(kind)}:{kind.__qualname__}": parameters}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return [_describe(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise StudyError(
        f"Estimator: parameter {value!r} of type {type(value).__name__} cannot be written into a study; "
        "use numbers, text, lists or estimators, or give your own set a fit_predict method"
    )


def _defaults(kind: type) -> dict[str, Any]:
    import inspect

    signature = inspect.signature(kind.__init__)  # type: ignore[misc]
    return {name: p.default for name, p in signature.parameters.items() if p.default is not p.empty}


def _public_module(kind: type) -> str:
    """Return the package that exports a class: sklearn.tree rather than sklearn.tree._classes."""
    package = kind.__module__.split("._")[0]
    return package if getattr(importlib.import_module(package), kind.__qualname__, None) is kind else kind.__module__


def _checked(spec: Mapping[str, Any]) -> dict[str, Any]:
    if len(spec) != 1 or ":" not in next(iter(spec)):
        raise StudyError(
            f"Estimator: expected one 'module:Class' with its parameters, got {dict(spec)!r}; "
            "for example {'sklearn.tree:DecisionTreeRegressor': {'max_depth': 3}}"
        )
    name, parameters = next(iter(spec.items()))
    return {name: dict(parameters or {})}


def _build(spec: Any) -> Any:
    if isinstance(spec, list):
        return [_build(item) for item in spec]
    if not (isinstance(spec, dict) and len(spec) == 1 and ":" in next(iter(spec))):
        return spec
    name, parameters = next(iter(spec.items()))
    module, _, qualname = name.partition(":")
    kind = getattr(_import(module), qualname, None)
    if kind is None:
        raise StudyError(f"Estimator: module {module!r} has no class {qualname!r}")
    try:
        estimator = kind(**{key: _build(value) for key, value in (parameters or {}).items()})
    except TypeError as error:
        raise StudyError(f"Estimator: {qualname}: {error}") from error
    if not all(hasattr(estimator, method) for method in ("fit", "predict", "get_params")):
        raise StudyError(f"Estimator: {name} has no fit, predict and get_params")
    return estimator


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if module.partition(".")[0] == "sklearn" and not importlib.util.find_spec("sklearn"):
            raise MissingDependencyError("scikit-learn", "estimators") from error
        raise StudyError(f"Estimator: cannot import module {module!r}: {error}") from error
