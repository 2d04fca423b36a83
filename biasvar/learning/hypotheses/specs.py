"""Objects of scikit-learn as JSON, and back: what an estimator is made of, nested objects too.

============================================  =========================================================
``{"module:Class": {parameter: value}}``      an estimator, kernel, splitter or distribution; parameters
                                              that have their default values are left out
``{"array": [...]}``                          a NumPy array, with a ``"dtype"`` where the numbers do not tell
``{"tuple": [...]}``                          a tuple inside a mapping, such as a grid of parameters
``{"dict": [[key, value], ...]}``             a mapping whose keys are no text, or that looks like one of these
``{"import": "module:name"}``                 a function or class
any other mapping, list, number, text, null   itself
============================================  =========================================================

Lists stand for tuples where the default of a parameter is one.
"""

import importlib
import importlib.util
import inspect
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from biasvar.errors import MissingDependencyError, StudyError

if TYPE_CHECKING:
    from scipy.stats._distn_infrastructure import rv_frozen

_MARKS = ({"array"}, {"array", "dtype"}, {"tuple"}, {"dict"}, {"import"})
_OWN = "or give your own set a fit_predict method"


def described(value: object, where: str = "estimator") -> Any:
    """Turn an object into JSON that :func:`rebuilt` reads.

    Parameters
    ----------
    value : object
        An estimator, or what may be a parameter of one.
    where : str
        What complaints call it.

    Raises
    ------
    StudyError
        If it cannot be written, with the way out.

    Examples
    --------
    >>> described({"alpha": np.array([0.5, 1.0]), "size": (3, 4)})
    {'alpha': {'array': [0.5, 1.0]}, 'size': {'tuple': [3, 4]}}
    """
    return _described(value, where, nested=False)


def _described(value: object, where: str, nested: bool) -> Any:
    """Describe a value; ``nested`` says whether it stands in a mapping, where nothing tells lists from tuples."""
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray):
        return _described_array(value, where)
    if isinstance(value, Mapping):
        return _described_mapping(value, where)
    if isinstance(value, list | tuple):
        items = [_described(item, where, nested) for item in value]
        return {"tuple": items} if nested and isinstance(value, tuple) else items
    if isinstance(value, type) or (callable(value) and not hasattr(value, "get_params")):
        return {"import": _name_of_callable(value, where)}
    return _described_object(value, where)


def _described_array(value: NDArray[Any], where: str) -> dict[str, Any]:
    if value.dtype.kind not in "biufU":
        raise StudyError(f"{where}: an array of {value.dtype} cannot be written into a study; use numbers or text")
    items = value.tolist()
    plain = np.array(items)
    if plain.shape != value.shape:
        raise StudyError(
            f"{where}: an array of shape {value.shape}, with nothing in it, cannot be written into a study"
        )
    return {"array": items} if plain.dtype == value.dtype else {"array": items, "dtype": value.dtype.str}


def _described_mapping(value: Mapping[object, object], where: str) -> dict[str, Any]:
    items = [[key, _described(item, f"{where}[{key!r}]", nested=True)] for key, item in value.items()]
    plain = dict(items) if all(isinstance(key, str) for key in value) else None
    if plain is not None and not _is_marked(plain) and _object_name(plain) is None:
        return plain
    return {"dict": [[_described(key, where, nested=True), item] for key, item in items]}


def _described_object(value: object, where: str) -> dict[str, Any]:
    kind: Any = type(value)
    if isinstance(value, np.random.RandomState | np.random.Generator):
        raise StudyError(
            f"{where}: a {kind.__name__} cannot be written into a study; pass an integer or leave it None, "
            "for the study seeds every random_state"
        )
    if hasattr(value, "dist") and hasattr(value, "kwds") and hasattr(value, "rvs"):
        return _described_distribution(value, where)
    parameters = _parameters(value)
    if parameters is None:
        raise StudyError(
            f"{where}: {value!r} of type {kind.__name__} cannot be written into a study; use numbers, text, lists, "
            f"mappings, arrays, functions of a module or objects of scikit-learn, {_OWN}"
        )
    if hasattr(value, "fit") and import_module("sklearn.base").clone(value, safe=False) is value:
        raise StudyError(f"{where}: a frozen {value!r} has seen data already; pass an estimator that is fitted anew")
    defaults = _defaults(kind)
    return {
        f"{_public_module(kind)}:{kind.__qualname__}": {
            name: _described(parameter, f"{where}.{name}", nested=False)
            for name, parameter in parameters.items()
            if name not in defaults or repr(defaults[name]) != repr(parameter)
        }
    }


def _parameters(value: object) -> dict[str, Any] | None:
    """Return what an object is made from: an estimator, a kernel, or what splits data; None for another."""
    if hasattr(value, "get_params"):
        return dict(value.get_params(deep=False))
    if not is_splitter(value):
        return None
    own = vars(value)
    # Repeated splitters keep what they hand on in a mapping, as their own repr knows.
    kept = {**own.get("cvargs", {}), **own}
    names = inspect.signature(type(value)).parameters
    return {name: kept[name] for name in names} if names.keys() <= kept.keys() else None


def is_splitter(value: object) -> bool:
    """Tell whether an object splits data for cross-validation."""
    return hasattr(value, "split") and hasattr(value, "get_n_splits") and not isinstance(value, type)


def _described_distribution(value: "rv_frozen", where: str) -> dict[str, Any]:
    """Describe a distribution of scipy.stats whose parameters are fixed."""
    import scipy.stats

    name, shapes = str(value.dist.name), str(value.dist.shapes or "")
    if type(getattr(scipy.stats, name, None)) is not type(value.dist):
        raise StudyError(f"{where}: distribution {name!r} is none of scipy.stats; use one of those, {_OWN}")
    names = (*shapes.replace(",", " ").split(), "loc", "scale")
    arguments = {**dict(zip(names, value.args, strict=False)), **value.kwds}
    return {f"scipy.stats:{name}": {key: _described(item, where, nested=False) for key, item in arguments.items()}}


def _name_of_callable(value: object, where: str) -> str:
    """Return the module:name by which a function or class is imported."""
    name = str(getattr(value, "__qualname__", None) or getattr(value, "__name__", ""))
    own: str | None = getattr(value, "__module__", None)
    for module in (own, "numpy", "scipy.special"):
        # Names in a script's own namespace mean nothing elsewhere.
        if module and module != "__main__" and _found(module, name) is value:
            return f"{module}:{name}"
    place = "is defined in the script that runs" if own == "__main__" and "<" not in name else "has no name to import"
    raise StudyError(
        f"{where}: function {name or value!r} {place}, so that it cannot be written into a study; "
        f"define it at the top of a module and import it from there, {_OWN}"
    )


def _found(module: str, name: str) -> Any:
    try:
        return attrgetter(name)(importlib.import_module(module))
    except (ImportError, AttributeError, ValueError):
        return None


def _public_module(kind: type) -> str:
    """Return the package that exports a class: sklearn.tree rather than sklearn.tree._classes."""
    package = kind.__module__.split("._")[0]
    return package if getattr(importlib.import_module(package), kind.__qualname__, None) is kind else kind.__module__


def _defaults(make: Callable[..., object]) -> dict[str, Any]:
    try:
        parameters = inspect.signature(make).parameters
    except (TypeError, ValueError):
        # What is written in C tells no signature.
        return {}
    return {name: each.default for name, each in parameters.items() if each.default is not each.empty}


def written(spec: object) -> Any:
    """Return JSON as someone wrote it, with any objects in it described.

    Examples
    --------
    >>> written({"sklearn.linear_model:RidgeCV": {"alphas": np.array([0.1, 1.0]), "cv": 5}})
    {'sklearn.linear_model:RidgeCV': {'alphas': {'array': [0.1, 1.0]}, 'cv': 5}}
    """
    if isinstance(spec, Mapping):
        items = [[key, written(value)] for key, value in spec.items()]
        return dict(items) if all(isinstance(key, str) for key in spec) else {"dict": items}
    if isinstance(spec, list | tuple):
        return [written(item) for item in spec]
    return described(spec)


def rebuilt(spec: object) -> Any:
    """Make the object that JSON describes.

    Raises
    ------
    StudyError
        If something cannot be imported, or its parameters are unknown.
    MissingDependencyError
        If scikit-learn is not installed.

    Examples
    --------
    >>> rebuilt({"array": [1.0, 2.0]})
    array([1., 2.])
    """
    if isinstance(spec, list):
        return [rebuilt(item) for item in spec]
    if not isinstance(spec, Mapping):
        return spec
    if name := _object_name(spec):
        return _rebuilt_object(name, spec[name] or {})
    if not _is_marked(spec):
        return {key: rebuilt(value) for key, value in spec.items()}
    if "array" in spec:
        return np.array(spec["array"], dtype=spec.get("dtype"))
    if "tuple" in spec:
        return tuple(rebuilt(item) for item in spec["tuple"])
    if "import" in spec:
        return imported(spec["import"])
    return {rebuilt(key): rebuilt(value) for key, value in spec["dict"]}


def _rebuilt_object(name: str, parameters: Mapping[str, object]) -> Any:
    kind = imported(name)
    defaults = _defaults(kind)
    arguments = {key: rebuilt(value) for key, value in parameters.items()}
    for key, value in arguments.items():
        if isinstance(value, list) and isinstance(defaults.get(key), tuple):
            arguments[key] = tuple(value)
    try:
        return kind(**arguments)
    except (TypeError, ValueError) as error:
        raise StudyError(f"Estimator: {name.partition(':')[2]}: {error}") from error


def _is_marked(spec: Mapping[str, object]) -> bool:
    return spec.keys() in _MARKS


def _object_name(spec: Mapping[str, object]) -> str | None:
    """Return the module:Class of a mapping that describes an object."""
    name = next(iter(spec)) if len(spec) == 1 else None
    return name if isinstance(name, str) and ":" in name else None


def imported(name: str) -> Any:
    """Import what ``module:name`` names."""
    module, _, qualname = name.partition(":")
    try:
        found = attrgetter(qualname)(import_module(module))
    except AttributeError as error:
        raise StudyError(f"Estimator: module {module!r} has no class {qualname!r}") from error
    return found


def import_module(module: str) -> Any:
    """Import a module; say what is missing if it cannot be.

    Raises
    ------
    StudyError
        If there is no such module.
    MissingDependencyError
        If it is of scikit-learn, and that is not installed.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, ValueError) as error:
        if module.partition(".")[0] == "sklearn" and not importlib.util.find_spec("sklearn"):
            raise MissingDependencyError("scikit-learn", "estimators") from error
        raise StudyError(f"Estimator: cannot import module {module!r}: {error}") from error
