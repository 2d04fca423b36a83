"""Components by name: how inputs, targets and hypothesis sets are written in YAML and JSON.

A component is written ``{Name: {field: value}}``, ``{Name: value}`` or ``{Name: [value, value]}`` with the fields in
their order, or just ``Name`` where the defaults serve; a user's own one ``module:Name``. Written components of a user
are imported when a study is run, not when it is read.
"""

import dataclasses
import dis
import hashlib
import importlib
import importlib.util
import inspect
import logging
import re
import sys
import types
from collections.abc import Iterator, Mapping, Sequence, Set
from functools import cached_property
from typing import Annotated, Any, Union, get_args, get_origin

import numpy as np
from numpy.typing import NDArray

from biasvar.errors import StudyError
from biasvar.learning import hypotheses, inputs, losses
from biasvar.optimization import objectives, rules, sets
from biasvar.studies.public import public_classes

_log = logging.getLogger("biasvar")


#: Components by name, family by family: those among the package's public names.
INPUTS = public_classes("learning.inputs", inputs.Inputs) | public_classes("learning.classes", inputs.Inputs)
MARGIN_LOSSES = public_classes("learning.losses.margin", losses.Loss)
LOSSES = {
    name: kind for name, kind in public_classes("learning.losses", losses.Loss).items() if name not in MARGIN_LOSSES
}
TARGETS = public_classes("learning.targets")
HYPOTHESES = public_classes("learning.hypotheses", hypotheses.HypothesisSet)
OBJECTIVES = public_classes("optimization.objectives", objectives.Objective)
OPTIMIZERS = public_classes("optimization.rules", rules.UpdateRule)
SCHEDULES = public_classes("optimization.schedules")
SETS = public_classes("optimization.sets", sets.ConvexSet)
OURS = {
    each
    for known in (INPUTS, LOSSES, MARGIN_LOSSES, TARGETS, HYPOTHESES, OBJECTIVES, OPTIMIZERS, SCHEDULES, SETS)
    for each in known.values()
}
NESTED = {
    "schedule": SCHEDULES,
    "set": SETS | HYPOTHESES,
    "rule": OPTIMIZERS,
}  # fields of components that are components themselves
LONGEST_LABEL = 100
LABEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # of what names a group in a store


def imported(reference: str) -> Any:
    """Import a user's object by ``module:name``.

    Raises
    ------
    StudyError
        If it cannot be imported.
    """
    module_name, _, name = reference.partition(":")
    try:
        found = importlib.util.find_spec(module_name.partition(".")[0])  # which runs nothing yet
        _log.info("importing %s from %s", reference, found.origin if found else "nowhere")
        value: Any = importlib.import_module(module_name)
        for part in name.split("."):
            value = getattr(value, part)
    except (ImportError, AttributeError) as error:
        raise StudyError(f"{reference!r} cannot be imported: {error}; is its folder on PYTHONPATH?") from error
    except Exception as error:  # a user's module may raise anything
        raise StudyError(f"{reference!r} cannot be imported: {type(error).__name__}: {error}") from error
    return value


class Imported:
    """A user's component that is known by ``module:name`` (and its arguments) and imported when first used."""

    def __init__(self, reference: str, arguments: Mapping[str, object] | None = None) -> None:
        self.reference, self.arguments = reference, None if arguments is None else dict(arguments)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in (self.arguments or {}).items())
        return self.reference if self.arguments is None else f"{self.reference}({arguments})"

    @cached_property
    def _object(self) -> Any:
        value = imported(self.reference)
        if self.arguments is None and not isinstance(value, type):
            return value
        try:
            return value(**(self.arguments or {}))
        except Exception as error:  # and so may its class
            raise StudyError(f"{self.reference!r}: {type(error).__name__}: {error}") from error

    def identity(self) -> dict[str, Any]:
        """Return what identifies it: its name, its arguments, and the code that they lead to."""
        arguments = None if self.arguments is None else plain(self.arguments)
        return {"import": self.reference, "arguments": arguments, "fingerprint": fingerprint(self._object)}

    def __getstate__(self) -> dict[str, Any]:
        return {"reference": self.reference, "arguments": self.arguments}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("reference", "arguments"):
            raise AttributeError(name)
        return getattr(self._object, name)

    def __call__(self, *args: object) -> Any:
        """Call the component."""
        return self._object(*args)


def resolved(component: object) -> Any:
    """Return a component itself: imported, if it is known by name only."""
    return component._object if isinstance(component, Imported) else component


def build(spec: object, known: Mapping[str, type[Any]], where: str) -> Any:
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
    here = f"{where}.{name}"
    if ":" in name:
        if fields is not None and not isinstance(fields, Mapping):
            raise StudyError(f"{here}: expected fields, got {fields!r}; write them as {{field: value}}")
        return Imported(name, None if fields is None else _built(fields, here))
    if name not in known:
        raise StudyError(f"{where}: unknown name {name!r}; choose one of {', '.join(known)}, or write module:name")
    try:
        return known[name](**_built(_named(known[name], fields, here), here))
    except StudyError as error:
        raise type(error)(f"{where}.{error}") from error
    except TypeError as error:
        raise StudyError(f"{here}: {error}") from error


def _named(kind: type, fields: object, where: str) -> Mapping[str, Any]:
    """Return a component's fields by name: one value is that of its first field, several are those of the first few."""
    if fields is None or isinstance(fields, Mapping):
        return fields or {}
    names = list(inspect.signature(kind).parameters)
    values = list(fields) if isinstance(fields, list | tuple) and not _takes_a_list(kind) else [fields]
    if len(values) > len(names):
        raise StudyError(f"{where}: got {len(values)} values for {', '.join(names) or 'no fields'}; leave some out")
    return dict(zip(names, values, strict=False))


def _takes_a_list(kind: type) -> bool:
    """Tell whether a component's first field is a list itself."""
    first = dataclasses.fields(kind)[:1] if dataclasses.is_dataclass(kind) else ()
    return any(_is_list(field.type) for field in first)


def _is_list(hint: object) -> bool:
    if get_origin(hint) is Annotated:
        return _is_list(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return any(_is_list(part) for part in get_args(hint))
    return get_origin(hint) is tuple


def _built(fields: Mapping[str, object], where: str) -> dict[str, Any]:
    """Make the components among a component's fields, and the numbers of ``{logspace: [low, high, count]}``."""
    return {name: _field(name, value, f"{where}.{name}") for name, value in fields.items()}


def _field(name: str, value: object, where: str) -> Any:
    if isinstance(value, Mapping) and set(value) == {"logspace"}:
        try:
            return rules.logspace(*value["logspace"])
        except (TypeError, ValueError) as error:
            raise StudyError(f"{where}: logspace: expected [low, high, count], got {value['logspace']!r}") from error
    return build(value, NESTED[name], where) if name in NESTED and value is not None else value


def describe(component: object, known: Mapping[str, type[Any]]) -> Any:
    """Turn a component into JSON that :func:`build` reads, or, for a user's object, that identifies it."""
    if isinstance(component, Imported):
        return component.identity()
    name = type(component).__name__
    if known.get(name) is type(component):
        return {name: component.to_fields() if hasattr(component, "to_fields") else plain(fields_of(component))}
    if isinstance(component, types.FunctionType):
        return {"function": component.__qualname__, "fingerprint": fingerprint(component)}
    if isinstance(component, types.BuiltinFunctionType | np.ufunc):
        return {"function": f"{getattr(component, '__module__', None) or 'numpy'}:{component.__name__}"}
    return {f"{type(component).__module__}:{type(component).__qualname__}": {"fingerprint": fingerprint(component)}}


def fingerprint(value: object) -> str:
    """Identify a user's function or object by its code and data: the same in every process, whatever its address.

    Examples
    --------
    >>> fingerprint(lambda x: x + 1) == fingerprint(lambda x: x + 1)
    True
    >>> fingerprint(lambda x: x + 1) == fingerprint(lambda x: x + 2)
    False
    """
    return hashlib.sha256(repr(_essence(value, ())).encode()).hexdigest()[:16]


def fields_of(component: object) -> dict[str, Any]:
    """Return the fields of a component that is a dataclass, by name."""
    if not dataclasses.is_dataclass(component):
        return {}
    return {field.name: getattr(component, field.name) for field in dataclasses.fields(component)}


def plain(value: object) -> Any:
    """Turn a field's value into JSON."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return describe(value, {**SCHEDULES, **SETS, **HYPOTHESES, **OPTIMIZERS})


def _essence(value: object, seen: tuple[int, ...]) -> Any:
    """Reduce a value to nested tuples of plain data that its behaviour depends on, the same in every process."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return value
    if id(value) in seen:
        return "..."
    seen = (*seen, id(value))
    if isinstance(python := getattr(value, "py_func", None), types.FunctionType):
        return _essence(python, seen)  # Numba's: what it was before it was compiled
    for kinds, reduce in _REDUCTIONS:
        if isinstance(value, kinds):
            return reduce(value, seen)
    try:
        reduced = value.__reduce_ex__(4)  # what pickle would keep of it, also of objects without a __dict__
    except Exception:  # locks, files and the like: only what they are
        return _essence(type(value), seen)
    if isinstance(reduced, str):
        return (type(value).__qualname__, reduced)
    state = tuple(list(part) if isinstance(part, Iterator) else part for part in reduced[1:])
    return (_essence(type(value), seen), _name_of(reduced[0]), _essence(state, seen))


def _of_function(value: types.FunctionType, seen: tuple[int, ...]) -> Any:
    # A function made inside another, or a lambda, shares its name with others.
    if _is_of_a_library(value.__module__) and "<" not in value.__qualname__:
        return ("function", _name_of(value))
    variables = inspect.getclosurevars(value)
    # Attributes that are named as a global is are not that: ``a.mean()`` knows nothing of a variable ``mean``.
    loaded = {step.argval for step in dis.get_instructions(value) if step.opname == "LOAD_GLOBAL"}
    known = {name: part for name, part in variables.globals.items() if name in loaded}
    used = {**known, **variables.nonlocals}
    used = {name: part for name, part in used.items() if not isinstance(part, types.ModuleType)}
    parts = (value.__code__, value.__defaults__, value.__kwdefaults__, value.__dict__, used)
    return ("function", *(_essence(part, seen) for part in parts))


def _is_of_a_library(module: str | None) -> bool:
    """Tell whether code is known by its name and the versions that a store keeps: what it leads to is not walked."""
    package = (module or "").split(".")[0]
    return package in sys.stdlib_module_names - {"__main__"} or package in ("numpy", "scipy", "sklearn", "biasvar")


def _of_code(value: types.CodeType, seen: tuple[int, ...]) -> Any:
    return (value.co_code, value.co_names, tuple(_essence(constant, seen) for constant in value.co_consts))


def _of_class(value: type, seen: tuple[int, ...]) -> Any:
    """Take in a class and those of its bases that come from the same package: their methods and plain attributes."""
    if _is_of_a_library(value.__module__):
        return ("class", _name_of(value))
    package = value.__module__.split(".")[0]
    own = [base for base in value.__mro__ if base.__module__.split(".")[0] == package]
    return ("class", *((_name_of(base), _essence(_attributes(base), seen)) for base in own))


def _attributes(kind: type) -> dict[str, Any]:
    out = {}
    for name, part in vars(kind).items():
        part = getattr(part, "__func__", part)  # of static and class methods
        part = part.fget if isinstance(part, property) else part
        if isinstance(part, types.FunctionType | int | float | str | tuple | list | dict | np.ndarray):
            out[name] = part
    return {name: part for name, part in out.items() if name not in ("__doc__", "__module__", "__annotations__")}


def _of_array(value: NDArray[Any], seen: tuple[int, ...]) -> Any:
    content = value.tobytes() if value.dtype != object else repr(_essence(value.tolist(), seen)).encode()
    return ("array", value.dtype.str, value.shape, hashlib.sha256(content).hexdigest())


def _of_mapping(value: Mapping[object, object], seen: tuple[int, ...]) -> Any:
    return ("mapping", tuple((str(key), _essence(item, seen)) for key, item in value.items()))


def _of_set(value: Set[object], seen: tuple[int, ...]) -> Any:
    return ("set", tuple(sorted(repr(_essence(item, seen)) for item in value)))


def _of_sequence(value: Sequence[object], seen: tuple[int, ...]) -> Any:
    return tuple(_essence(item, seen) for item in value)


def _name_of(value: object) -> str:
    return f"{getattr(value, '__module__', '')}:{getattr(value, '__qualname__', type(value).__qualname__)}"


_REDUCTIONS: tuple[tuple[Any, Any], ...] = (
    (np.generic, lambda value, seen: value.item()),
    (np.ndarray, _of_array),
    (Mapping, _of_mapping),
    ((list, tuple), _of_sequence),
    ((set, frozenset), _of_set),
    (types.CodeType, _of_code),
    (types.FunctionType, _of_function),
    ((types.BuiltinFunctionType, types.ModuleType, np.ufunc), lambda value, seen: _name_of(value)),
    (types.MethodType, lambda value, seen: (_essence(value.__func__, seen), _essence(value.__self__, seen))),
    (type, _of_class),
)
