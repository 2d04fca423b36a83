"""Components by name: how inputs, targets and hypothesis sets are written in YAML and JSON.

A component is written ``{Name: {field: value}}``, or just ``Name`` where the defaults serve; a user's own one
``module:Name``. Written components of a user are imported when a study is run, not when it is read.
"""

import dataclasses
import hashlib
import importlib
import inspect
import types
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import ValidationError

from biasvar.errors import StudyError
from biasvar.learning import hypotheses, inputs, targets

INPUTS: dict[str, Any] = {cls.__name__: cls for cls in (inputs.Uniform, inputs.Normal, inputs.FixedDesign)}
TARGETS: dict[str, Any] = {
    cls.__name__: cls for cls in (targets.Sine, targets.PolynomialTarget, targets.Linear, targets.Step)
}
HYPOTHESES: dict[str, Any] = {
    cls.__name__: cls
    for cls in (
        hypotheses.Polynomial,
        hypotheses.Ridge,
        hypotheses.LeastSquares,
        hypotheses.NearestNeighbors,
        hypotheses.KernelSmoother,
        hypotheses.Constant,
        hypotheses.Interpolator,
        hypotheses.Estimator,
    )
}


class Imported:
    """A user's component that is known by ``module:name`` (and its arguments) and imported when first used."""

    def __init__(self, reference: str, arguments: Mapping[str, Any] | None = None) -> None:
        self.reference, self.arguments = reference, None if arguments is None else dict(arguments)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in (self.arguments or {}).items())
        return self.reference if self.arguments is None else f"{self.reference}({arguments})"

    @cached_property
    def _object(self) -> Any:
        module_name, _, name = self.reference.partition(":")
        try:
            value: Any = importlib.import_module(module_name)
            for part in name.split("."):
                value = getattr(value, part)
        except (ImportError, AttributeError) as error:
            raise StudyError(f"{self.reference!r} cannot be imported: {error}; is its folder on PYTHONPATH?") from error
        if self.arguments is None and not isinstance(value, type):
            return value
        try:
            return value(**(self.arguments or {}))
        except TypeError as error:
            raise StudyError(f"{self.reference!r}: {error}") from error

    def __getstate__(self) -> dict[str, Any]:
        return {"reference": self.reference, "arguments": self.arguments}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("reference", "arguments"):
            raise AttributeError(name)
        return getattr(self._object, name)

    def __call__(self, *args: Any) -> Any:
        """Call the component."""
        return self._object(*args)


def build(spec: Any, known: Mapping[str, Any], where: str) -> Any:
    """Turn a written component into the object; pass objects through.

    Raises
    ------
    StudyError
        For an unknown name or bad fields, naming ``where``, the value and what would be right.
    """
    if isinstance(spec, str):
        spec = {spec: None}
    if not isinstance(spec, Mapping):
        return spec
    if len(spec) != 1:
        raise StudyError(
            f"{where}: expected one name with its fields, got {dict(spec)!r}; write it as {{Name: {{field: value}}}}"
        )
    name, fields = next(iter(spec.items()))
    if not isinstance(name, str):
        raise StudyError(f"{where}: expected a name, got {name!r}")
    if fields is not None and not isinstance(fields, Mapping):
        raise StudyError(f"{where}.{name}: expected fields, got {fields!r}; write them as {{field: value}}")
    if ":" in name:
        return Imported(name, fields)
    if name not in known:
        raise StudyError(f"{where}: unknown name {name!r}; choose one of {', '.join(known)}, or write module:name")
    try:
        return known[name](**(fields or {}))
    except ValidationError as error:
        raise StudyError(f"{where}.{name}{validation_text(error)}") from error
    except TypeError as error:
        raise StudyError(f"{where}.{name}: {error}") from error


def describe(component: Any, known: Mapping[str, Any]) -> Any:
    """Turn a component into JSON that :func:`build` reads, or, for a user's object, that identifies it."""
    if isinstance(component, Imported):
        return component.reference if component.arguments is None else {component.reference: component.arguments}
    name = type(component).__name__
    if isinstance(component, hypotheses.Estimator):
        return {name: {"estimator": component.spec}}
    if known.get(name) is type(component):
        return {name: _plain(_fields(component))}
    if isinstance(component, types.FunctionType):
        return {"function": component.__qualname__, "fingerprint": fingerprint(component)}
    if isinstance(component, types.BuiltinFunctionType | np.ufunc):
        return {"function": f"{getattr(component, '__module__', None) or 'numpy'}:{component.__name__}"}
    return {f"{type(component).__module__}:{type(component).__qualname__}": {"fingerprint": fingerprint(component)}}


def fingerprint(value: Any) -> str:
    """Identify a user's function or object by its code and data: the same in every process, whatever its address.

    Examples
    --------
    >>> fingerprint(lambda x: x + 1) == fingerprint(lambda x: x + 1)
    True
    >>> fingerprint(lambda x: x + 1) == fingerprint(lambda x: x + 2)
    False
    """
    return hashlib.sha256(repr(_essence(value, ())).encode()).hexdigest()[:16]


def validation_text(error: ValidationError) -> str:
    """Put pydantic's first complaint in one line: where, what was wrong, what was got."""
    first = error.errors()[0]
    where = "".join(f".{part}" for part in first["loc"] if not str(part).startswith(("function-", "tuple[")))
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] in ("unexpected_keyword_argument", "extra_forbidden", "unexpected_positional_argument"):
        return f"{where}: unknown field, with value {first['input']!r}; check its spelling"
    if first["type"] in ("missing", "missing_argument"):
        return f"{where}: is missing"
    got = "" if first["type"] == "value_error" else f", got {first['input']!r}"
    return f"{where}: {message[:1].lower()}{message[1:]}{got}"


def _fields(component: Any) -> dict[str, Any]:
    if not dataclasses.is_dataclass(component):
        return {}
    return {field.name: getattr(component, field.name) for field in dataclasses.fields(component)}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _essence(value: Any, seen: tuple[int, ...]) -> Any:
    """Reduce a value to nested tuples of plain data that its behaviour depends on."""
    if id(value) in seen:
        return "..."
    seen = (*seen, id(value))
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return value
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return _essence_of_collection(value, seen)
    if isinstance(value, np.ndarray):
        return ("array", value.dtype.str, value.shape, hashlib.sha256(value.tobytes()).hexdigest())
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, types.CodeType):
        return (value.co_code, value.co_names, tuple(_essence(const, seen) for const in value.co_consts))
    if isinstance(value, types.FunctionType):
        variables = inspect.getclosurevars(value)
        return (
            "function",
            _essence(value.__code__, seen),
            _essence(value.__defaults__, seen),
            _essence(variables.nonlocals, seen),
            _essence({k: v for k, v in variables.globals.items() if not isinstance(v, types.ModuleType)}, seen),
        )
    if isinstance(value, types.MethodType):
        return ("method", _essence(value.__func__, seen), _essence(value.__self__, seen))
    if isinstance(value, type):
        own = {name: part for name, part in vars(value).items() if isinstance(part, types.FunctionType)}
        return ("class", value.__module__, value.__qualname__, _essence(own, seen))
    state = getattr(value, "__dict__", None)
    if state is None and dataclasses.is_dataclass(value):
        state = _fields(value)
    return (_essence(type(value), seen), _essence(state, seen) if state is not None else repr(value))


def _essence_of_collection(value: Any, seen: tuple[int, ...]) -> Any:
    if isinstance(value, Mapping):
        return ("mapping", tuple((str(key), _essence(item, seen)) for key, item in value.items()))
    if isinstance(value, set | frozenset):
        return ("set", tuple(sorted(repr(_essence(item, seen)) for item in value)))
    return tuple(_essence(item, seen) for item in value)
