"""From where a user's functions and objects are imported again, when a study is made of what a store says of it."""

import inspect
import json
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from biasvar.errors import StudyError
from biasvar.fields import Json
from biasvar.studies.components import NESTED, OURS, Imported, describe, fields_of, plain, resolved

STATE_AGAIN = "make the study as it was made, from its YAML file or script"


def origins(parts: Iterable[object]) -> dict[str, Any]:
    """Return, as JSON, where a user's functions and objects among components are imported from, if they can be.

    It is kept beside a study's JSON, not in it: the same function is the same from wherever it was imported.
    """
    found = {}
    for part in _users(parts):
        if (origin := _origin(part)) is not None:
            found[_key(describe(part, {}))] = origin
    return found


def _users(parts: Iterable[object]) -> Iterator[Any]:
    """Yield what is a user's among components and what they are made of."""
    for part in parts:
        if type(part) in OURS:
            yield from _users(value for name, value in fields_of(part).items() if name in NESTED and value is not None)
        elif not isinstance(part, Imported):
            yield part


def _origin(value: object) -> dict[str, Any] | None:
    """Return module and name of a user's function; of an object its class and arguments, where these are its state."""
    reference = importable(value)
    if reference is not None:
        return {"import": reference}
    kind = importable(type(value))
    if kind is None or isinstance(value, types.FunctionType):
        return None
    names = inspect.signature(type(value)).parameters
    arguments = {name: getattr(value, name, None) for name in names}
    try:
        json.dumps(arguments)
    except (TypeError, ValueError):
        return None
    return {"import": kind, "arguments": plain(arguments)}


def importable(value: object) -> str | None:
    """Return module:name of what a module holds under its own name."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if module in (None, "__main__", "builtins") or not isinstance(name, str):
        return None
    place: Any = sys.modules.get(module)
    for part in name.split("."):
        place = getattr(place, part, None)
    return f"{module}:{name}" if place is value else None


def restored(spec: object, where: str, known_origins: Mapping[str, Json]) -> Any:
    """Turn JSON of a study into what :func:`build` reads: a user's functions and objects are imported again.

    Raises
    ------
    StudyError
        For what cannot be imported, is not what it was, or was never written.
    """
    if isinstance(spec, list):
        return [restored(part, f"{where}[{i}]", known_origins) for i, part in enumerate(spec)]
    if not isinstance(spec, Mapping):
        return spec
    if spec.keys() == {"shape", "sha256"}:
        raise StudyError(f"{where}: an array, of which a store keeps a fingerprint only; {STATE_AGAIN}")
    if _is_imported(spec):
        return _unchanged(Imported(spec["import"], spec["arguments"]), spec, where)
    if "function" in spec and "fingerprint" not in spec:
        return resolved(Imported(spec["function"]))
    if _is_users(spec):
        name, origin = _key(spec).split()[0], known_origins.get(_key(spec))
        if origin is None:
            raise StudyError(
                f"{where}: {name!r} is of a script or a session, not of a module to import it from; {STATE_AGAIN}"
            )
        component = resolved(Imported(origin["import"], origin.get("arguments")))
        return _unchanged(component, spec, where)
    return {name: restored(part, f"{where}.{name}".lstrip("."), known_origins) for name, part in spec.items()}


def as_stated(spec: object) -> Any:
    """Turn JSON of a study into what states it in YAML: what is imported by its name, and arguments."""
    if isinstance(spec, list):
        return [as_stated(part) for part in spec]
    if not isinstance(spec, Mapping):
        return spec
    if _is_imported(spec):
        return spec["import"] if spec["arguments"] is None else {spec["import"]: spec["arguments"]}
    return {name: as_stated(part) for name, part in spec.items()}


def _unchanged(component: object, spec: Mapping[str, object], where: str) -> Any:
    if describe(component, {}) != spec:
        raise StudyError(f"{where}: {component!r} is not what it was when the store was made; {STATE_AGAIN}")
    return component


def _is_imported(spec: Mapping[str, object]) -> bool:
    """Tell whether JSON names a user's function or object by where it is imported from."""
    return "import" in spec and "fingerprint" in spec


def _is_users(spec: Mapping[str, object]) -> bool:
    """Tell whether JSON only identifies a user's function or object."""
    if spec.keys() == {"function", "fingerprint"}:
        return True
    return len(spec) == 1 and all(isinstance(v, Mapping) and v.keys() == {"fingerprint"} for v in spec.values())


def _key(spec: Json) -> str:
    """Return a name for JSON that only identifies a user's function or object."""
    if "function" in spec:
        return f"{spec['function']} {spec.get('fingerprint')}"
    ((name, content),) = spec.items()
    return f"{name} {content['fingerprint']}"
